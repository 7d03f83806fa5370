//! Commands and global flags. Each command is one file beside this one; `serve` is here, being what bentpipe does
//! when it is told nothing.

mod cache;
mod config;
mod link;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::clock::Clock;
use crate::config::{self as settings, Config, Flags};
use crate::serve::Proxy;

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
    /// See or change the link of the running proxy
    #[command(subcommand)]
    Link(link::LinkCommand),
    /// See or change what is stored
    #[command(subcommand)]
    Cache(cache::CacheCommand),
    /// Say what would be done for a URL now, and why
    Explain(cache::Explain),
    /// Look at the configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let Cli { command, flags } = Cli::parse();
    match command {
        None | Some(Command::Serve) => with_config(&flags, |config, _| serve(config)),
        Some(Command::Link(command)) => with_config(&flags, |config, _| link::run(command, &config)),
        Some(Command::Cache(command)) => {
            with_config(&flags, |config, folder_named| cache::run(command, &config, folder_named))
        }
        Some(Command::Explain(command)) => {
            with_config(&flags, |config, folder_named| cache::explain(&command, &config, folder_named))
        }
        Some(Command::Config(command)) => config::run(command, &flags),
    }
}

/// Loads the configuration and runs a command with it, and with whether a cache folder was named. A wrong
/// configuration exits with 2, a failure with 1.
fn with_config(flags: &Flags, run: impl FnOnce(Config, bool) -> anyhow::Result<()>) -> ExitCode {
    let loaded = match settings::load(flags, settings::environment) {
        Ok(loaded) => loaded,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(2);
        }
    };
    let folder_named = !loaded.is_default("cache.dir");
    match run(loaded.config, folder_named) {
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

fn serve(config: Config) -> anyhow::Result<()> {
    let filter: Targets = config.log.level.parse()?;
    let colours = std::io::stderr().is_terminal();
    let format =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colours).with_target(false);
    tracing_subscriber::registry().with(format).with(filter).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        // Before the listeners: who starts us may send the signal as soon as the port answers.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let proxy = Proxy::start(config, Clock::system()).await?;
        eprintln!("{}", proxy.welcome());
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("leaving: finishing what is in flight; a second signal ends it at once");
        tokio::select! {
            () = proxy.shutdown() => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
