//! `cargo xtask chaos`: bentpipe as a process on real files, with everything done to it that a process and its disk
//! suffer: kills, power cuts, torn and rotten files, full, read-only and failing disks, clocks that jump. One row for
//! each scenario, with its figures and goals.
//!
//! Owns the list of scenarios and the private mount namespace they run in: no mount of theirs is seen outside, and none
//! outlives them. It never touches the machine's clock or a disk that is not its own image file.

mod clock;
mod content;
mod disk;
mod failing;
mod files;
mod full;
mod journal;
mod junk;
mod kill;
mod load;
mod native;
mod power;
pub(crate) mod random;
mod restart;
mod row;
mod source;
mod stand;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::ValueEnum;
use tokio::task::JoinSet;

use self::random::Random;
use self::row::Row;
use crate::program::{build_bentpipe, build_bentpipe_for_debugging};

/// Says that we are in a namespace of our own already, and of which kind.
const NAMESPACE: &str = "CHAOS_NAMESPACE";

/// What to try.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only this scenario; may be given several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<Scenario>,
    /// Repeats the moments, sizes and damages of another run.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Less of everything, in under a minute.
    #[arg(long)]
    short: bool,
    /// Try the debug binary, which checks its arithmetic, instead of the release one.
    #[arg(long)]
    debug: bool,
    /// Try this binary instead of building one.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// The scenarios, in the order in which they run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Scenario {
    /// kill -9 at random moments under load.
    Kill,
    /// Torn, altered, missing and foreign index files.
    Journal,
    /// Truncated, altered, missing and unreadable content files.
    Content,
    /// Files and folders that do not belong into a cache folder.
    Junk,
    /// A disk that fills up in mid-body.
    Full,
    /// A disk that turns read-only.
    Readonly,
    /// A cache folder that turns forbidden, and is allowed again.
    Forbidden,
    /// A disk that answers everything with an error.
    Errors,
    /// Too few file descriptors.
    Descriptors,
    /// A power cut: what was not synced is gone.
    Power,
    /// A clock that is wrong, and jumps.
    Clock,
    /// SIGTERM under load.
    Restart,
}

/// What every scenario is given.
#[derive(Debug)]
struct Bench {
    binary: PathBuf,
    short: bool,
    seed: u64,
    mounts: Mounts,
}

/// Which mounts can be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mounts {
    /// None.
    Nothing,
    /// Those of a user namespace: file systems in memory.
    Memory,
    /// All: we are root.
    All,
}

impl Bench {
    /// The random numbers of the scenario `name`.
    fn random(&self, name: &str) -> Random {
        Random::new(self.seed, name)
    }
}

/// Runs the scenarios and prints a row for each.
///
/// # Errors
/// When a goal is missed.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let mounts = mounts()?;
    let binary = match (&options.binary, options.debug) {
        (Some(binary), _) => binary.canonicalize().context("--binary")?,
        (None, true) => build_bentpipe_for_debugging()?,
        (None, false) => build_bentpipe()?,
    };
    let bench = Arc::new(Bench { binary, short: options.short, seed: options.seed, mounts });
    let all = Scenario::value_variants().iter().copied();
    let chosen: Vec<_> =
        all.filter(|scenario| options.only.is_empty() || options.only.contains(scenario)).collect();
    let mut is_good = true;
    let mut say = |(row, seconds): (Row, u64)| {
        println!("{row} [{seconds} s]");
        is_good &= row.is_good();
    };
    // Kills are timed, so they have the machine for themselves. The others mostly wait, and in a short run do so together.
    let mut together = JoinSet::new();
    for scenario in chosen {
        if options.short && scenario != Scenario::Kill {
            together.spawn(timed(scenario, Arc::clone(&bench)));
        } else {
            say(timed(scenario, Arc::clone(&bench)).await);
        }
    }
    while let Some(row) = together.join_next().await {
        say(row?);
    }
    if !is_good {
        bail!("a goal was missed; --seed {} repeats what was tried", options.seed);
    }
    Ok(())
}

async fn timed(scenario: Scenario, bench: Arc<Bench>) -> (Row, u64) {
    let start = Instant::now();
    let row = match scenario {
        Scenario::Kill => kill::run(&bench).await,
        Scenario::Journal => journal::run(&bench).await,
        Scenario::Content => content::run(&bench).await,
        Scenario::Junk => junk::run(&bench).await,
        Scenario::Full => full::run(&bench).await,
        Scenario::Readonly => failing::readonly(&bench).await,
        Scenario::Forbidden => failing::forbidden(&bench).await,
        Scenario::Errors => failing::errors(&bench).await,
        Scenario::Descriptors => failing::descriptors(&bench).await,
        Scenario::Power => power::run(&bench).await,
        Scenario::Clock => clock::run(&bench).await,
        Scenario::Restart => restart::run(&bench).await,
    };
    let name = scenario.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    (row.unwrap_or_else(|error| Row::broken(&name, &error)), start.elapsed().as_secs())
}

/// Which mounts we may make. Where a namespace of our own can be had, this command is run again in it, in place of this
/// process.
///
/// # Errors
/// When it cannot be run again.
fn mounts() -> anyhow::Result<Mounts> {
    match std::env::var(NAMESPACE).as_deref() {
        Ok("all") => return Ok(Mounts::All),
        Ok(_) => return Ok(Mounts::Memory),
        Err(_) => {}
    }
    for (kind, arguments) in
        [("all", ["--mount", "--"].as_slice()), ("memory", &["--user", "--map-root-user", "--mount", "--"])]
    {
        let unshare = || {
            let mut command = Command::new("unshare");
            command.args(arguments).env(NAMESPACE, kind);
            command
        };
        let probe = unshare().arg("true").stderr(Stdio::null()).status();
        if probe.is_ok_and(|status| status.success()) {
            // Where this succeeds it does not return.
            let error = unshare().arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).exec();
            return Err(error).context("unshare");
        }
    }
    Ok(Mounts::Nothing)
}
