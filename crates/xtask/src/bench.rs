//! `cargo xtask bench`: what hits and stored misses cost bentpipe, beside a bare hyper handler with the same body.
//!
//! Both run on loopback, pinned to one processor with the load on another where `taskset` is there, in
//! interleaved rounds so that a noisy machine is noisy for both. CPU time per request is the figure to trust.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::{Context, ensure};
use testkit::client::{Client, Request};
use testkit::load::{self, Targets};

use crate::program::{Program, build, build_bentpipe, free_port, serving};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Rounds for each size; the median is reported.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of load in each round.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Keep-alive connections.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Sizes in bytes of the one body that is asked for again and again.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000, 100_000, 10_000_000])]
    sizes: Vec<usize>,
    /// How many bodies of 10 kB are asked for at random.
    #[arg(long, default_value_t = 10_000)]
    distinct: u64,
    /// Fail when a hit costs more than this many times the bare handler.
    #[arg(long)]
    limit: Option<f64>,
}

/// What is measured.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// Hits of one body of so many bytes.
    Hit(usize),
    /// Hits of so many bodies of 10 kB, at random.
    Spread(u64),
    /// Misses of 10 kB, each of which is stored.
    Store,
}

impl Work {
    fn size(self) -> usize {
        match self {
            Self::Hit(size) => size,
            Self::Spread(_) | Self::Store => 10_000,
        }
    }

    fn targets(self, url: &str) -> Arc<Targets> {
        Arc::new(match self {
            Self::Hit(_) => Targets::One(url.to_owned()),
            Self::Spread(count) => Targets::Any(url.to_owned(), count),
            Self::Store => Targets::Each(format!("{url}-new-"), AtomicU64::new(0)),
        })
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Hit(size) => format!("hit, {size} bytes"),
            Self::Spread(count) => format!("{count} x 10000 bytes"),
            Self::Store => "store, 10000 bytes".to_owned(),
        };
        f.pad(&text)
    }
}

/// One round: answers per second and CPU microseconds per answer.
#[derive(Clone, Copy, Debug)]
struct Round {
    rate: f64,
    cost: f64,
}

/// Measures and prints the comparison.
///
/// # Errors
/// When a program cannot be built or started, an answer is not the hit it should be, or a cost is over the limit.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(options.rounds > 0, "--rounds must be at least 1");
    let floor = build(&["--package", "testkit", "--example", "floor"])?;
    let bentpipe = build_bentpipe()?;
    let pinned = pin_load();
    println!(
        "{} connections, {} s a round, medians of {}",
        options.connections, options.seconds, options.rounds
    );
    println!(
        "{}",
        if pinned { "server on processor 0, load on 1" } else { "not pinned: taskset is not there" }
    );
    println!(
        "{:<22} {:>12} {:>12} {:>9} {:>9} {:>6}",
        "", "hyper /s", "bentpipe /s", "hyper us", "us", "ratio"
    );
    let mut worst = 0.0_f64;
    let hits = options.sizes.iter().map(|size| Work::Hit(*size));
    for work in hits.chain([Work::Spread(options.distinct), Work::Store]) {
        let (floor, hits) = measure(&floor, &bentpipe, work, pinned, options).await?;
        let ratio = hits.cost / floor.cost;
        if matches!(work, Work::Hit(_)) {
            worst = worst.max(ratio);
        }
        println!(
            "{work:<22} {:>12.0} {:>12.0} {:>9.1} {:>9.1} {ratio:>6.2}",
            floor.rate, hits.rate, floor.cost, hits.cost
        );
    }
    match options.limit {
        Some(limit) if worst > limit => {
            anyhow::bail!("a hit costs {worst:.2} times the bare handler, more than {limit}")
        }
        _ => Ok(()),
    }
}

/// The medians of the bare handler and of bentpipe, for one kind of work.
async fn measure(
    floor: &Path,
    bentpipe: &Path,
    work: Work,
    pinned: bool,
    options: &Options,
) -> anyhow::Result<(Round, Round)> {
    let cache = tempfile::tempdir()?;
    let origin_address = free_port()?;
    let mut command = on_processor(floor, pinned);
    command.args([origin_address.port().to_string(), work.size().to_string()]);
    let origin = Program::start(command, origin_address).await?;
    // The proxy is started pinned too, so its own command is wrapped by hand.
    let address = free_port()?;
    let mut command = on_processor(bentpipe, pinned);
    command.args(serving(address, cache.path()));
    let proxy = Program::start(command, address).await?;
    let url = format!("http://{origin_address}/body");
    let fill: Vec<_> = match work {
        Work::Spread(count) => (0..count).map(|number| format!("{url}{number}")).collect(),
        Work::Hit(_) | Work::Store => vec![url.clone()],
    };
    let mut client = Client::connect(address).await?;
    for url in fill.iter().chain(&fill[fill.len() - 1..]) {
        let answer = client.request(&Request::new("GET", url)).await?;
        ensure!(
            answer.status == 200 && answer.body.len() == work.size(),
            "{} through bentpipe",
            answer.status_line
        );
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let hit = client.request(&Request::new("GET", &fill[fill.len() - 1])).await?;
    let status = hit.field("cache-status").unwrap_or_default();
    ensure!(status.contains("hit"), "the answer is no hit: Cache-Status is `{status}`");
    let targets = work.targets(&url);
    let mut rounds = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        rounds.0.push(round(&origin, &targets, options).await?);
        rounds.1.push(round(&proxy, &targets, options).await?);
    }
    Ok((median(rounds.0)?, median(rounds.1)?))
}

#[expect(clippy::cast_precision_loss, reason = "figures for people; counts stay far below 2^53")]
async fn round(program: &Program, targets: &Arc<Targets>, options: &Options) -> anyhow::Result<Round> {
    let before = program.processor_time()?;
    let duration = Duration::from_secs(options.seconds);
    let tally = load::run(program.address(), targets, options.connections, duration).await?;
    let used = program.processor_time()?.saturating_sub(before);
    Ok(Round { rate: tally.rate(), cost: used.as_secs_f64() * 1e6 / tally.answers.max(1) as f64 })
}

fn median(mut rounds: Vec<Round>) -> anyhow::Result<Round> {
    rounds.sort_by(|a, b| a.cost.total_cmp(&b.cost));
    rounds.get(rounds.len() / 2).copied().context("no round was measured")
}

/// A command for `program` on processor 0.
fn on_processor(program: &Path, pinned: bool) -> Command {
    if !pinned {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args([PathBuf::from("--cpu-list"), PathBuf::from("0"), program.to_path_buf()]);
    command
}

/// Moves this process to processor 1; false where that is not possible.
fn pin_load() -> bool {
    let own = std::process::id().to_string();
    let moved = Command::new("taskset").args(["--all-tasks", "--cpu-list", "--pid", "1", &own]).output();
    moved.is_ok_and(|output| output.status.success())
}
