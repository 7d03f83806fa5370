//! `bentpipe forward`: a plain TCP forwarder across a link of its own, in the foreground, for whoever tests programs.

use std::io::Write as _;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::capture::{Output, SECRETS};
use crate::capture::files::Recorder;
use crate::config::Loaded;
use crate::forward::{Forwarder, Target};

const ABOUT: &str = "Each --listen belongs to the --to at the same place. The link is that of --link, or else the \
configured one; all connections of one process share it. A side that ends its sending is passed on as such; a target that \
cannot be reached is told to the client by a reset. At most limits.connections are carried at once, and one on which \
nothing moves for timeouts.tunnel_idle is closed.

Examples:
  bentpipe forward --listen 8080 --to 192.0.2.1:80 --link 512k,rtt=600ms
  bentpipe forward --listen 2525 --to mail.example:25 --listen 1430 --to mail.example:143 -o mail";

/// What to forward, and whether to write it down.
#[derive(Clone, Debug, Args)]
#[command(after_help = ABOUT)]
pub(crate) struct Forward {
    /// Where it leads, for each --listen
    #[arg(long, value_name = "HOST:PORT", required = true)]
    to: Vec<Target>,
    #[command(flatten)]
    output: Output,
}

/// A global flag as its help shows it: it asks no proxy.
pub(super) fn shown(arg: &clap::Arg) -> clap::Arg {
    match arg.get_long() {
        Some("listen") => arg
            .clone()
            .help("Accept connections here: a port of this machine alone, or ADDRESS:PORT; may be repeated"),
        Some("link" | "link-trace" | "config" | "set") => arg.clone(),
        _ => arg.clone().hide(true),
    }
}

/// Forwards until a signal ends it.
///
/// # Errors
/// If ports and targets do not go together, or a port is not free.
pub(super) fn run(command: &Forward, loaded: &Loaded) -> anyhow::Result<()> {
    let config = &loaded.config;
    if !loaded.is_flag("listen") {
        bail!("say where to accept connections: --listen PORT");
    }
    if config.listen.len() != command.to.len() {
        bail!("{} --listen and {} --to: each --listen wants one", config.listen.len(), command.to.len());
    }
    let format = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let filter: tracing_subscriber::filter::Targets = config.log.level.parse()?;
    tracing_subscriber::registry().with(format).with(filter).init();
    let captured = command.output.folder.is_some();
    let place = captured.then(|| command.output.place(false));
    let folder = place.as_ref().map(|place| place.folder.display().to_string());
    let recorder = place.map(Recorder::begin).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let forwarder = Forwarder::start(config, command.to.clone(), recorder, say).await?;
        for (address, target) in forwarder.pairs() {
            say(format!("Forwarding {address} to {target}, over the link {}", forwarder.link().model().spec));
        }
        if let Some(folder) = folder {
            say(format!("Capturing into {folder}.\n{SECRETS}"));
        }
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tokio::select! {
            ended = forwarder.end(PATIENCE) => ended,
            _ = interrupt.recv() => Ok(None),
            _ = terminate.recv() => Ok(None),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    if let Some(sum) = ended? {
        say(sum);
    }
    Ok(())
}

/// How long connections go on after the first signal, those on which something moves.
const PATIENCE: Duration = Duration::from_secs(3);

/// One line, at once. Who closes our output has seen enough.
#[expect(clippy::needless_pass_by_value, reason = "it is handed over as it was made")]
fn say(line: String) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
