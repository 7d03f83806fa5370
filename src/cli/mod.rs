//! Commands and global flags. Each command is one file beside this one; `serve` is here, being what bentpipe does
//! when it is told nothing.

mod ca;
mod cache;
mod capture;
mod config;
mod debug;
mod doctor;
mod forward;
mod link;
mod manual;
mod metrics;
mod reload;
mod rules;
mod secret;
mod setup;
mod shown;
mod tail;
mod top;
mod upgrade;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::clock::Clock;
use crate::config::{self as settings, Flags, Given, Loaded};
use crate::observe::levels::Levels;
use crate::serve::{Proxy, Start};
use crate::systemd;
use crate::upgrade::{Asked, Inheritance, Program};

/// A caching, rate-limiting forward HTTP proxy for the far end of a thin link.
///
/// Without a command it serves: set 127.0.0.1:3128 as your HTTP proxy.
#[derive(Debug, Parser)]
#[command(name = "bentpipe", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy in the foreground (the default)
    Serve,
    /// See or change the link of the running proxy, or simulate, measure or probe one
    #[command(subcommand)]
    Link(link::LinkCommand),
    /// See or change what is stored
    #[command(subcommand)]
    Cache(cache::CacheCommand),
    /// Say what would be done for a URL now, and why
    Explain(cache::Explain),
    /// Show exchanges of the running proxy as they end
    Tail(tail::Tail),
    /// Show who uses the link of the running proxy now; break exchanges off, or re-class them
    Top(top::Top),
    /// Print the metrics of the running proxy
    Metrics(metrics::Metrics),
    /// Make and publish the certificate authority with which HTTPS is opened
    #[command(subcommand)]
    Ca(ca::CaCommand),
    /// Check clock, disk, names, link, TLS and the proxy itself, and say what to do
    Doctor(doctor::Doctor),
    /// Have the running proxy read its configuration again
    Reload(reload::Reload),
    Debug(debug::Debug),
    /// Have a new process take over from the running proxy, without dropping a connection
    Upgrade(upgrade::Upgrade),
    /// Write down what clients of the running proxy say, byte for byte
    Capture(capture::Capture),
    /// Forward plain TCP across a link, without HTTP: --listen 8080 --to HOST:PORT
    Forward(forward::Forward),
    /// Look at the configuration, or change that of the running proxy
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Answer five questions and write the configuration file
    Setup(setup::Setup),
    /// Print what makes a shell complete commands and flags
    Completions(manual::Completions),
    /// Write the manual pages
    Man(manual::Man),
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let matches = command().get_matches();
    let Cli { command, flags } = match Cli::from_arg_matches(&matches) {
        Ok(parsed) => parsed,
        Err(error) => error.format(&mut self::command()).exit(),
    };
    match command {
        None | Some(Command::Serve) => {
            with_config(&flags, |loaded| serve(loaded, Given::here(flags.clone())))
        }
        Some(Command::Link(command)) => with_config(&flags, |loaded| link::run(command, &loaded)),
        Some(Command::Cache(command)) => with_config(&flags, |loaded| cache::run(command, &loaded)),
        Some(Command::Explain(command)) => with_config(&flags, |loaded| cache::explain(&command, &loaded)),
        Some(Command::Tail(command)) => with_config(&flags, |loaded| tail::run(&command, &loaded)),
        Some(Command::Top(command)) => with_config(&flags, |loaded| top::run(&command, &loaded)),
        Some(Command::Metrics(command)) => with_config(&flags, |loaded| metrics::run(&command, &loaded)),
        Some(Command::Ca(command)) => with_config(&flags, |loaded| ca::run(command, &loaded)),
        Some(Command::Doctor(command)) => with_config(&flags, |loaded| doctor::run(&command, &loaded)),
        Some(Command::Reload(command)) => with_config(&flags, |loaded| reload::run(command, &loaded)),
        Some(Command::Config(command)) => config::run(&command, &flags),
        Some(Command::Debug(command)) => with_config(&flags, |loaded| debug::run(&command, &loaded)),
        Some(Command::Upgrade(command)) => with_config(&flags, |loaded| upgrade::run(&command, &loaded)),
        Some(Command::Setup(command)) => setup::run(&command, &flags),
        Some(Command::Completions(command)) => manual::completions(command, self::command()),
        Some(Command::Man(command)) => manual::man(&command, self::command()),
        Some(Command::Capture(command)) => with_config(&flags, |loaded| capture::run(&command, &loaded)),
        Some(Command::Forward(command)) => with_config(&flags, |loaded| forward::run(&command, &loaded)),
    }
}

/// The flags that say which proxy or folder a command is for, and what they say then.
const WHICH: [(&str, Option<&str>); 5] = [
    ("listen", Some("The running proxy that listens on this port; needed where several run")),
    ("control", Some("The running proxy that takes commands at this socket")),
    ("cache-dir", Some("The cache in this folder, of a running proxy or of a stopped one")),
    ("config", None),
    ("set", None),
];

/// The whole command line. Every flag may stand with every command, since one file configures all of them; but the help
/// of those that ask a running proxy shows only what tells it which.
fn command() -> clap::Command {
    let asking = |arg: &clap::Arg| {
        let which = WHICH.iter().find(|(flag, _)| arg.get_long() == Some(flag));
        match which {
            Some((_, Some(help))) => arg.clone().help(*help),
            Some((_, None)) => arg.clone(),
            None => arg.clone().hide(true),
        }
    };
    let command = Cli::command();
    let flags: Vec<_> = command.get_arguments().filter(|arg| arg.is_global_set()).map(asking).collect();
    // A subcommand that has an argument of its own is not given the one from above.
    let simulating: Vec<_> =
        command.get_arguments().filter(|arg| arg.is_global_set()).map(simulating).collect();
    let certifying: Vec<_> =
        command.get_arguments().filter(|arg| arg.is_global_set()).map(certifying).collect();
    let forwarding: Vec<_> =
        command.get_arguments().filter(|arg| arg.is_global_set()).map(forward::shown).collect();
    ["link", "cache", "explain", "doctor", "reload", "upgrade", "tail", "top", "metrics", "debug", "capture"]
        .into_iter()
        .fold(command, |command, name| command.mut_subcommand(name, |asking| asking.args(flags.clone())))
        .mut_subcommand("link", |link| link.mut_subcommand("simulate", |command| command.args(simulating)))
        .mut_subcommand("config", |config| {
            config
                .mut_subcommand("get", |command| command.args(flags.clone()))
                .mut_subcommand("set", |command| command.args(flags.clone()))
        })
        .mut_subcommand("ca", |command| command.args(certifying))
        .mut_subcommand("forward", |command| command.args(forwarding))
}

/// A global flag as the help of `link simulate` shows it: it asks no proxy, but a link it needs.
fn simulating(arg: &clap::Arg) -> clap::Arg {
    let matters = arg.get_long().is_some_and(|flag| ["link", "link-trace", "config", "set"].contains(&flag));
    arg.clone().hide(!matters)
}

/// A global flag as the help of `ca` shows it: where the authority is, and for which hosts it is to be.
fn certifying(arg: &clap::Arg) -> clap::Arg {
    let matters = ["ca-dir", "intercept", "config", "control", "set"];
    arg.clone().hide(!arg.get_long().is_some_and(|flag| matters.contains(&flag)))
}

/// Loads the configuration and runs a command with it. A wrong configuration exits with 2, a failure with 1.
fn with_config(flags: &Flags, run: impl FnOnce(Loaded) -> anyhow::Result<()>) -> ExitCode {
    let loaded = match settings::load_here(flags) {
        Ok(loaded) => loaded,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(2);
        }
    };
    for doubt in &loaded.doubts {
        eprintln!("bentpipe: warning: {doubt}");
    }
    match run(loaded) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bentpipe: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A reader of our output that has seen enough, as `head` does, is no failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    kind == Some(std::io::ErrorKind::BrokenPipe)
}

fn serve(loaded: Loaded, given: Given) -> anyhow::Result<()> {
    let levels = Levels::install(&loaded.config.log.level)?;
    // Before there are threads.
    let (program, activated) = (Program::of_this_process(), systemd::sockets()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        // Before the listeners: who starts us may send the signal as soon as the port answers.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        // Where a file may not grow any more (RLIMIT_FSIZE), the write says so then, as on a full disk.
        let _too_large = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
        let mut replace = signal(SignalKind::user_defined2())?;
        let inheritance = Inheritance::of_this_process(activated).await?;
        let is_first = inheritance.predecessor.is_none();
        let start = Start { loaded, given, levels: Some(levels), inheritance };
        let mut proxy = Proxy::assemble(start, Clock::system()).await?;
        match is_first {
            true => eprintln!("{}", proxy.welcome()),
            false => tracing::info!("taken over: {}", proxy.status()),
        }
        systemd::ready(&proxy.status());
        let watchdog = systemd::Watchdog::begin();
        let mut requests = proxy.asked().context("nobody else hears what is asked of it")?;
        let successor = loop {
            let asked = tokio::select! {
                _ = terminate.recv() => break None,
                _ = interrupt.recv() => break None,
                _ = hangup.recv() => {
                    let _reloading = systemd::Reloading::begin();
                    // What comes of it is in the log.
                    tokio::select! {
                        _ = proxy.reload() => continue,
                        _ = terminate.recv() => break None,
                        _ = interrupt.recv() => break None,
                    }
                }
                _ = replace.recv() => Asked::by_signal(),
                Some(asked) = requests.recv() => asked,
            };
            let outcome = tokio::select! {
                outcome = proxy.upgrade(&program, asked.binary.as_deref()) => outcome,
                _ = terminate.recv() => break None,
                _ = interrupt.recv() => break None,
            };
            if let Ok(successor) = &outcome {
                proxy.leave_commands(successor).await;
            }
            asked.answer(&outcome);
            match outcome {
                Ok(successor) => break Some(successor),
                Err(why) => tracing::error!("{why}"),
            }
        };
        drop((watchdog, requests));
        if successor.is_some() {
            tokio::select! {
                () = proxy.retire() => {}
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        } else {
            systemd::stopping();
        }
        tracing::info!("leaving: finishing what is in flight; a second signal ends it at once");
        tokio::select! {
            () = proxy.shutdown() => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    });
    // A name server that does not answer keeps a thread; nothing is worth waiting for it.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    fn help(line: &str) -> String {
        command().try_get_matches_from(line.split(' ')).unwrap_err().to_string()
    }

    #[test]
    fn commands_that_ask_show_only_the_flags_that_say_whom() {
        for asking in [
            "link",
            "link show",
            "link set",
            "cache",
            "cache purge",
            "explain",
            "doctor",
            "reload",
            "tail",
            "top",
            "top stop",
            "metrics",
            "debug",
            "config get",
            "config set",
        ] {
            let help = help(&format!("bentpipe {asking} --help"));
            for (flag, _) in WHICH {
                assert!(help.contains(&format!("--{flag} ")), "{asking}: {flag}: {help}");
            }
            assert!(!help.contains("--cache-size") && !help.contains("--link "), "{asking}: {help}");
        }
        let simulate = help("bentpipe link simulate --help");
        assert!(simulate.contains("--link ") && !simulate.contains("--listen "), "{simulate}");
        for full in ["bentpipe --help", "bentpipe serve --help", "bentpipe config show --help"] {
            assert!(help(full).contains("--cache-size"), "{full}");
        }
    }

    #[test]
    fn hidden_flags_count_wherever_they_stand() {
        let flags = |line: &str| {
            let matches = command().try_get_matches_from(line.split(' ')).unwrap();
            Cli::from_arg_matches(&matches).unwrap().flags
        };
        let before = flags("bentpipe --link 56k --set log.level=warn link show");
        assert_eq!(before, flags("bentpipe link show --link 56k --set log.level=warn"));
        assert_eq!(before, flags("bentpipe link --link 56k show --set log.level=warn"));
        assert_eq!(before, flags("bentpipe link simulate clients=1 --link 56k --set log.level=warn"));
        assert_eq!(before, flags("bentpipe --link 56k link simulate clients=1 --set log.level=warn"));
        assert_ne!(before, Flags::default());
    }
}
