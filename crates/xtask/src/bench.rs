//! `cargo xtask bench`: what a cache hit costs bentpipe, beside a bare hyper handler with the same body.
//!
//! Both run on loopback, pinned to one processor with the load on another where `taskset` is there, in
//! interleaved rounds so that a noisy machine is noisy for both. CPU time per request is the figure to trust.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use testkit::{client, load};

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
    /// Body sizes in bytes.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000, 100_000])]
    sizes: Vec<usize>,
    /// Fail when a hit costs more than this many times the bare handler.
    #[arg(long)]
    limit: Option<f64>,
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
        "{:>8} {:>12} {:>12} {:>9} {:>9} {:>6}",
        "bytes", "hyper /s", "bentpipe /s", "hyper us", "us", "ratio"
    );
    let mut worst = 0.0_f64;
    for size in &options.sizes {
        let (floor, hits) = measure(&floor, &bentpipe, *size, pinned, options).await?;
        let ratio = hits.cost / floor.cost;
        worst = worst.max(ratio);
        println!(
            "{size:>8} {:>12.0} {:>12.0} {:>9.1} {:>9.1} {ratio:>6.2}",
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

/// The medians of the bare handler and of hits, for one size.
async fn measure(
    floor: &Path,
    bentpipe: &Path,
    size: usize,
    pinned: bool,
    options: &Options,
) -> anyhow::Result<(Round, Round)> {
    let cache = tempfile::tempdir()?;
    let origin_address = free_port()?;
    let mut command = on_processor(floor, pinned);
    command.args([origin_address.port().to_string(), size.to_string()]);
    let origin = Program::start(command, origin_address).await?;
    // The proxy is started pinned too, so its own command is wrapped by hand.
    let address = free_port()?;
    let mut command = on_processor(bentpipe, pinned);
    command.args(serving(address, cache.path()));
    let proxy = Program::start(command, address).await?;
    let url = format!("http://{origin_address}/body");
    for _ in 0..3 {
        let answer = client::get(address, &url).await?;
        ensure!(answer.status == 200 && answer.body.len() == size, "{} through bentpipe", answer.status_line);
    }
    let hit = client::get(address, &url).await?;
    let status = hit.field("cache-status").unwrap_or_default();
    ensure!(status.contains("hit"), "the answer is no hit: Cache-Status is `{status}`");
    let mut rounds = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        rounds.0.push(round(&origin, &url, options).await?);
        rounds.1.push(round(&proxy, &url, options).await?);
    }
    Ok((median(rounds.0)?, median(rounds.1)?))
}

#[expect(clippy::cast_precision_loss, reason = "figures for people; counts stay far below 2^53")]
async fn round(program: &Program, url: &str, options: &Options) -> anyhow::Result<Round> {
    let before = program.processor_time()?;
    let duration = Duration::from_secs(options.seconds);
    let tally = load::run(program.address(), url, options.connections, duration).await?;
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
