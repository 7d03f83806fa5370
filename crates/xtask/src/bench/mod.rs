//! `cargo xtask bench`: what bentpipe costs beside bare hyper and the proxies that are installed, on the same work in the same
//! run, with every answer's length and many answers' bytes checked, and hits told from misses by the origin's counter.
//!
//! All run on loopback, each pinned to one processor with load and origin on another where `taskset` is there, in
//! interleaved rounds so that a noisy machine is noisy for all. Processor time per request is the figure to trust.

mod measure;
mod peer;
mod processes;
mod scenario;
mod stand;
mod table;
mod tuning;

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use tokio::signal::unix::{SignalKind, signal};

use measure::{Course, Extent, Reading, rounds};
use peer::{Kind, Peer};
use scenario::{ALL, Measure, Named, Scenario};
use stand::Stand;
use table::{Cell, Column, Row, Table};

use crate::program::{build, build_bentpipe};

/// What to measure, and of whom.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Scenarios, with commas between; all of them unless given. `--list` shows them.
    #[arg(long, value_name = "SCENARIO,...", value_delimiter = ',')]
    only: Vec<Named>,
    /// Servers to compare with: all, none, or some of squid, trafficserver, apache2, nginx, varnish, haproxy.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', default_value = "all")]
    peers: Vec<String>,
    /// A bentpipe binary in place of one built now; several are compared with each other, the first is what ratios are to.
    /// NAME= before the path names its column.
    #[arg(long, value_name = "[NAME=]PATH")]
    binary: Vec<String>,
    /// Rounds for each figure; the median is reported.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of load in each round.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// One round of one second: whether all works, not what it costs.
    #[arg(long)]
    quick: bool,
    /// Also what takes many minutes and gigabytes: a million objects.
    #[arg(long)]
    long: bool,
    /// Leave out the bare hyper handlers.
    #[arg(long)]
    no_floor: bool,
    /// Write all figures with their rounds to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the table to this file.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Fail when a hit of the first bentpipe costs more than this many times the bare handler.
    #[arg(long)]
    limit: Option<f64>,
    /// Show the scenarios and end.
    #[arg(long)]
    list: bool,
}

/// Measures and prints the comparison.
///
/// # Errors
/// When a program cannot be built, bentpipe fails a scenario, or a cost is over the limit. What a peer fails stands in the
/// table.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    if options.list {
        ALL.iter().for_each(|scenario| println!("{:<14} {}", scenario.name, titles(scenario)));
        return Ok(());
    }
    let extent = match options.quick {
        true => Extent { rounds: 1, seconds: 1 },
        false => Extent { rounds: options.rounds, seconds: options.seconds },
    };
    ensure!(extent.rounds > 0 && extent.seconds > 0, "--rounds and --seconds must be at least 1");
    let helper = build(&["--package", "testkit", "--example", "stand"])?;
    let (peers, missing) = contestants(options, helper.clone())?;
    let stand = Stand::start(helper).await?;
    let mut table = Table {
        columns: peers
            .iter()
            .map(|peer| Column { name: peer.name.clone(), version: peer.version() })
            .collect(),
        rows: Vec::new(),
        missing,
        manner: manner(extent, &stand),
    };
    println!("{}", table.heading());
    tokio::select! {
        // Servers have groups of their own and would not hear of it: they end with what holds them.
        () = interrupted() => bail!("interrupted"),
        measured = fill(options, &stand, &peers, extent, &mut table) => measured?,
    }
    println!("{}", table.notes());
    verdict(options, &peers, &table)
}

/// Measures scenario after scenario.
async fn fill(
    options: &Options,
    stand: &Stand,
    peers: &[Peer],
    extent: Extent,
    table: &mut Table,
) -> anyhow::Result<()> {
    for scenario in chosen(options) {
        let rows = compare(stand, peers, scenario, extent).await;
        rows.iter().filter(|row| row.figure.is_shown).for_each(|row| println!("{}", table.line(row)));
        table.rows.extend(rows);
        // Whatever happens later, this is measured.
        write(options, table)?;
    }
    Ok(())
}

/// Ends when somebody wants the bench to end.
async fn interrupted() {
    let Ok(mut asked) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = asked.recv() => {}
    }
}

/// The programs in the order of their columns, and the peers that are not there.
fn contestants(options: &Options, helper: PathBuf) -> anyhow::Result<(Vec<Peer>, Vec<String>)> {
    let (servers, missing) = peer::servers(&options.peers)?;
    let mut peers = Vec::new();
    for (index, text) in options.binary.iter().enumerate() {
        let (name, path) = match text.split_once('=') {
            Some((name, path)) => (name.to_owned(), path),
            None if index == 0 => ("bentpipe".to_owned(), text.as_str()),
            None => (format!("bentpipe {}", index + 1), text.as_str()),
        };
        let binary = std::path::absolute(path)?;
        ensure!(binary.is_file(), "no program {path}");
        ensure!(peers.iter().all(|peer: &Peer| peer.name != name), "two columns named {name}");
        peers.push(Peer { name, kind: Kind::Bentpipe, binary });
    }
    if peers.is_empty() {
        peers.push(Peer { name: "bentpipe".to_owned(), kind: Kind::Bentpipe, binary: build_bentpipe()? });
    }
    if !options.no_floor {
        peers.push(Peer { name: "floor".to_owned(), kind: Kind::Floor, binary: helper });
    }
    peers.extend(servers);
    Ok((peers, missing))
}

fn chosen(options: &Options) -> Vec<&'static Scenario> {
    if options.only.is_empty() {
        return ALL.iter().filter(|scenario| options.long || !scenario.is_long).collect();
    }
    options.only.iter().map(|named| named.0).collect()
}

/// One scenario of all programs, round by round.
async fn compare(stand: &Stand, peers: &[Peer], scenario: &'static Scenario, extent: Extent) -> Vec<Row> {
    // `None`: it does not take part. An error: it did, until then.
    let mut courses = Vec::new();
    for peer in peers {
        courses.push(match peer.can(scenario.needs) {
            true => Some(Course::begin(stand, peer, scenario, extent).await),
            false => None,
        });
    }
    let mut readings: Vec<Vec<Reading>> = vec![Vec::new(); peers.len()];
    for number in 0..rounds(scenario, extent) {
        for (course, readings) in courses.iter_mut().zip(&mut readings) {
            let Some(Ok(running)) = course else { continue };
            match running.round(number).await {
                Ok(reading) => readings.push(reading),
                Err(error) => *course = Some(Err(error)),
            }
        }
    }
    let row = |figure| Row {
        scenario,
        figure,
        cells: courses
            .iter()
            .zip(&readings)
            .map(|(course, readings)| cell(course.as_ref(), readings, figure))
            .collect(),
    };
    scenario.figures.iter().map(row).collect()
}

fn cell(
    course: Option<&anyhow::Result<Course<'_>>>,
    readings: &[Reading],
    figure: &scenario::Figure,
) -> Cell {
    match course {
        None => Cell::None,
        Some(Err(error)) => Cell::Failed(format!("{error:#}")),
        Some(Ok(_)) => {
            let values = readings.iter().flatten().filter(|(key, _)| *key == figure.key);
            Cell::Rounds(values.map(|(_, value)| *value).collect())
        }
    }
}

fn write(options: &Options, table: &Table) -> anyhow::Result<()> {
    if let Some(file) = &options.json {
        std::fs::write(file, format!("{:#}\n", table.json())).with_context(|| file.display().to_string())?;
    }
    if let Some(file) = &options.markdown {
        std::fs::write(file, table.markdown()).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

/// Whether the run was a success: bentpipe did all, and within the limit.
fn verdict(options: &Options, peers: &[Peer], table: &Table) -> anyhow::Result<()> {
    for row in &table.rows {
        for (cell, peer) in row.cells.iter().zip(peers) {
            if let (Cell::Failed(why), Kind::Bentpipe) = (cell, peer.kind) {
                bail!("{} failed {}: {why}", peer.name, row.scenario);
            }
        }
        let is_hit = row.figure.key == "cpu"
            && matches!(row.scenario.measure, Measure::Load { policy: "kept", distinct: 1, .. });
        let floor = peers.iter().position(|peer| peer.kind == Kind::Floor).map(|at| &row.cells[at]);
        let costs = row.cells[0].median().zip(floor.and_then(Cell::median));
        if let (true, Some(limit), Some((own, floor))) = (is_hit, options.limit, costs) {
            let ratio = own / floor;
            ensure!(
                ratio <= limit,
                "{} costs {ratio:.2} times the bare handler, more than {limit}",
                row.scenario
            );
        }
    }
    Ok(())
}

fn manner(extent: Extent, stand: &Stand) -> String {
    let pinned = match stand.is_pinned() {
        true => "program on processor 0, load and origin on 1",
        false => "not pinned: taskset is not there",
    };
    format!("Medians of {} rounds of {} s, interleaved; {pinned}.", extent.rounds, extent.seconds)
}

fn titles(scenario: &Scenario) -> String {
    let shown = scenario.figures.iter().filter(|figure| figure.is_shown);
    let titles: Vec<_> = shown.map(|figure| format!("{} {}", figure.title, figure.unit)).collect();
    let long = if scenario.is_long { " (--long)" } else { "" };
    titles.join("; ").trim().to_owned() + long
}
