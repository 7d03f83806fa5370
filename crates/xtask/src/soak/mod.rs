//! `cargo xtask soak`: bentpipe under mixed load for half an hour, and in a storm of hostile connections; every byte is
//! compared, every fault that nobody asked for is counted, and at the end nothing may have grown.
//!
//! Owns the order of things and the table. The origins live in this process, so that what is measured is the proxy's
//! alone.

mod pattern;
mod plain;
mod rough;
mod sample;
mod secure;
mod source;
mod stand;
mod storm;
mod tally;
mod verdict;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::task::JoinSet;

use self::plain::Visitor;
use self::sample::Sample;
use self::stand::{LONGEST_WAIT, Stand};
use self::tally::{Outcome, Tally};
use self::verdict::Goal;
use crate::chaos::random::Random;
use crate::program::{build_bentpipe, build_bentpipe_for_debugging};

/// Longer than any visit may take.
const PATIENCE: Duration = Duration::from_secs(40);
/// From one look to the next.
const INTERVAL: Duration = Duration::from_secs(10);
/// From the end of a storm to the look at what it left.
const AFTER_STORM: Duration = Duration::from_secs(10);
/// Load that is shorter than this shows no more than how the caches fill.
const SETTLED: Duration = Duration::from_secs(15 * 60);
/// Clients of each sort, and the milliseconds of rest that each takes after a visit: the machine is not the subject.
const CLIENTS: [(Sort, usize, u32); 3] =
    [(Sort::Plain, 12, 150), (Sort::Secure, 4, 400), (Sort::Rough, 8, 250)];

/// What to do.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Minutes of load.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// Half a minute of load and a small storm, of the debug binary; memory under load is not judged.
    #[arg(long)]
    short: bool,
    /// No load, only so many storms one after the other.
    #[arg(long, value_name = "STORMS")]
    only_storms: Option<usize>,
    /// Hostile connections of a storm.
    #[arg(long, default_value_t = 2_000)]
    hostile: usize,
    /// Repeats the visits of another run, as far as their order repeats.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Try this binary instead of building one.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// What a client does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sort {
    Plain,
    Secure,
    Rough,
}

/// A soak that is going on.
struct Soak {
    stand: Arc<Stand>,
    tally: Arc<Tally>,
    begun: Instant,
    goals: Vec<Goal>,
}

/// Runs it and prints what was seen.
///
/// # Errors
/// When a goal is missed.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let binary = match &options.binary {
        Some(binary) => binary.canonicalize().context("--binary")?,
        None if options.short => build_bentpipe_for_debugging()?,
        None => build_bentpipe()?,
    };
    let stand = Arc::new(Stand::start(&binary).await?);
    let mut soak = Soak { stand, tally: Arc::default(), begun: Instant::now(), goals: Vec::new() };
    println!("{}", Sample::heading());
    // Settled: what a start leaves behind is gone.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let start = soak.look().await?;
    let mut random = Random::new(options.seed, "storm");
    let hostile = if options.short { options.hostile.min(300) } else { options.hostile };
    if let Some(storms) = options.only_storms {
        let next = Arc::default();
        let mut visitor = Visitor::new(soak.stand.clone(), Random::new(options.seed, "warm"), next);
        storm::warm_up(&mut visitor, &soak.tally, 50).await;
        drop(visitor);
        for _ in 0..storms {
            soak.storm(hostile, &mut random).await?;
        }
    } else {
        let load = if options.short { 30 } else { options.minutes * 60 };
        soak.load(Duration::from_secs(load), options.seed).await?;
        soak.rest().await?;
        soak.storm(hostile, &mut random).await?;
    }
    let end = soak.rest().await?;
    soak.goals.extend(verdict::at_rest(&start, &end));
    soak.judge()
}

impl Soak {
    async fn look(&self) -> anyhow::Result<Sample> {
        let sample = Sample::of(&self.stand, &self.tally, self.begun.elapsed()).await?;
        println!("{sample}");
        Ok(sample)
    }

    /// All clients at once for so long.
    async fn load(&mut self, duration: Duration, seed: u64) -> anyhow::Result<()> {
        let (stop, next) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let mut clients = JoinSet::new();
        for (sort, count, rest) in CLIENTS {
            for number in 0..count {
                let random = Random::new(seed, &format!("{sort:?}{number}"));
                let visitor = Visitor::new(self.stand.clone(), random, next.clone());
                clients.spawn(visit_on(visitor, sort, rest, self.tally.clone(), stop.clone()));
            }
        }
        let (begun, mut samples) = (Instant::now(), Vec::new());
        while begun.elapsed() < duration {
            tokio::time::sleep(INTERVAL.min(duration / 9)).await;
            self.note_uploads();
            samples.push(self.look().await?);
        }
        stop.store(true, Ordering::Relaxed);
        clients.join_all().await;
        if duration >= SETTLED {
            self.goals.extend(verdict::under_load(&samples));
        }
        Ok(())
    }

    async fn storm(&mut self, hostile: usize, random: &mut Random) -> anyhow::Result<()> {
        let before = self.look().await?;
        let peak = storm::blow(&self.stand, &self.tally, hostile, random).await?;
        tokio::time::sleep(AFTER_STORM).await;
        let after = self.look().await?;
        // Uploads of a storm are not what their paths say.
        self.stand.source.check_uploads();
        self.goals.extend(verdict::after_storm(&before, peak, &after));
        Ok(())
    }

    /// Waits until nothing waits any more.
    async fn rest(&self) -> anyhow::Result<Sample> {
        tokio::time::sleep(Duration::from_secs(LONGEST_WAIT)).await;
        self.note_uploads();
        self.look().await
    }

    fn note_uploads(&self) {
        let (_, wrong) = self.stand.source.check_uploads();
        wrong.into_iter().for_each(|upload| self.tally.fault(format!("at the origin: {upload}")));
    }

    /// Prints what came of it.
    ///
    /// # Errors
    /// When a goal is missed.
    fn judge(mut self) -> anyhow::Result<()> {
        let said = self.stand.program.said()?;
        let panics = said.lines().filter(|line| line.contains("panicked at")).count();
        self.goals.push(Goal { text: format!("{panics} panics (goal: 0)"), is_met: panics == 0 });
        print!("\n{}\n", self.tally);
        for Goal { text, is_met } in &self.goals {
            println!("{:<5}{text}", if *is_met { "ok" } else { "FAIL" });
        }
        if self.goals.iter().any(|goal| !goal.is_met) {
            println!("\nbentpipe said:\n{said}");
            bail!("a goal was missed");
        }
        Ok(())
    }
}

/// One client, until it is told to stop.
async fn visit_on(mut visitor: Visitor, sort: Sort, rest: u32, tally: Arc<Tally>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let visits = async {
            match sort {
                Sort::Plain => vec![visitor.visit().await],
                Sort::Secure => visitor.visit_securely().await,
                Sort::Rough => vec![visitor.visit_roughly().await],
            }
        };
        match tokio::time::timeout(PATIENCE, visits).await {
            Ok(outcomes) => outcomes.into_iter().for_each(|(kind, outcome)| tally.count(kind, outcome)),
            Err(_) => tally.count("endless", Outcome::Fault(format!("{sort:?}: no end in {PATIENCE:?}"))),
        }
        tokio::time::sleep(visitor.random.milliseconds(0..rest)).await;
    }
}
