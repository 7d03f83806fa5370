//! Which diagnostics go to standard error, also when that changes while bentpipe runs. Who has changed what is said
//! whatever the level is, unless it is `off` or names the audit itself.

use std::io::{self, IsTerminal as _};

use anyhow::Context as _;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::filter::Filter;

/// The audit's own target.
const AUDIT: &str = "bentpipe::audit";

/// The levels in force.
pub(crate) struct Levels(reload::Handle<Filter, Registry>);

impl Levels {
    /// Has the diagnostics of `level` written to standard error from now on. Once in a process.
    ///
    /// # Errors
    /// If `level` is none.
    pub(crate) fn install(level: &str) -> anyhow::Result<Self> {
        let (filter, handle) = reload::Layer::new(Filter::new(targets(level)?));
        let format = tracing_subscriber::fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal())
            .with_target(false);
        tracing_subscriber::registry().with(filter).with(format).init();
        Ok(Self(handle))
    }

    /// Whether `level` is one.
    ///
    /// # Errors
    /// If it is none.
    pub(crate) fn check(&self, level: &str) -> anyhow::Result<()> {
        targets(level).map(drop)
    }

    /// Others from now on; nothing changes where `level` is none.
    pub(crate) fn set(&self, level: &str) {
        if let Ok(targets) = targets(level)
            && let Err(error) = self.0.reload(Filter::new(targets))
        {
            tracing::warn!(%error, "log.level could not be changed");
        }
    }
}

fn targets(level: &str) -> anyhow::Result<Targets> {
    let targets: Targets = level.parse().with_context(|| format!("log.level = {level:?}"))?;
    let is_silent = targets.iter().next().is_none() && targets.default_level() == Some(LevelFilter::OFF);
    let is_named = targets.iter().any(|(target, _)| target == AUDIT);
    // It warns of frames that a peer sends by the thousand, each time.
    let targets = match targets.iter().any(|(target, _)| target.starts_with("h2")) {
        true => targets,
        false => targets.with_target("h2", LevelFilter::ERROR),
    };
    if is_silent || is_named { Ok(targets) } else { Ok(targets.with_target(AUDIT, LevelFilter::INFO)) }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    /// Whether a change is said at `level`.
    fn check(level: &str, expected: bool) {
        assert_eq!(targets(level).expect("a level").would_enable(AUDIT, &Level::INFO), expected, "{level}");
    }

    #[test]
    fn changes_are_said_at_every_level_but_off() {
        check("info", true);
        check("error", true);
        check("off", false);
        check("off,bentpipe=info", true);
        check("info,bentpipe::audit=off", false);
        assert!(targets("nonsense=").is_err() || targets("a=b=c").is_err());
    }
}
