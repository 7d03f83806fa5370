//! `bentpipe link selftest`: measures the link of this build and prints a row a figure.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{anyhow, bail};
use linkio::{LinkModel, LinkSpec, Source};
use serde_json::{Value, json};

use crate::config::trace;
use crate::selftest::{self, Event, Lateness, Options, Row};

/// What to measure and how to print it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Selftest {
    /// Seconds of each measurement; all of them together take about 25 times as long
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=3600))]
    seconds: u16,
    /// Only these: goodput, upload, fairness, cost, kinds, clients, leaving, stalled, small, page, hit, rtt, busyrtt,
    /// jitter, change, trace, unlimited; or one of a kind, such as goodput-512k
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = selftest::check_name)]
    rows: Vec<String>,
    /// A file whose link a download is to follow, in place of our own for the rows called trace; may be repeated
    #[arg(long, value_name = "FILE")]
    trace: Vec<String>,
    /// Print one JSON object when all are done
    #[arg(long)]
    json: bool,
}

/// Measures.
///
/// # Errors
/// If a figure misses its goal, or nothing could be measured.
pub(super) fn run(command: Selftest) -> anyhow::Result<()> {
    let traces = command.trace.iter().map(|file| named(file)).collect::<Result<_, _>>()?;
    let options = Options { period: Duration::from_secs(command.seconds.into()), rows: command.rows, traces };
    let mut out = std::io::stdout().lock();
    let (mut rows, mut idle, mut during) = (Vec::new(), None, None);
    selftest::run(&options, |event| {
        if !command.json {
            out.write_all(text(&event, command.seconds).as_bytes())?;
            out.flush()?;
        }
        match event {
            Event::Idle(lateness) => idle = Some(lateness),
            Event::Row(row) => rows.push(row),
            Event::During(lateness) => during = Some(lateness),
        }
        Ok(())
    })?;
    let failed = rows.iter().filter(|row| !row.passed()).count();
    if command.json {
        writeln!(out, "{:#}", object(&rows, command.seconds, [idle, during]))?;
    } else {
        writeln!(out, "{} of {} figures reach their goals.", rows.len() - failed, rows.len())?;
    }
    match failed {
        0 => Ok(()),
        failed => bail!("{failed} of {} figures miss their goals", rows.len()),
    }
}

/// The link of `file`, and what to call it.
fn named(file: &str) -> anyhow::Result<(String, LinkModel)> {
    let trace = trace::parse(file).map_err(|error| anyhow!("--trace {error}"))?;
    let name =
        Path::new(file).file_stem().map_or_else(|| file.into(), |stem| stem.to_string_lossy().into_owned());
    let mut model = trace.model(LinkSpec::default());
    for source in [&mut model.down, &mut model.up].into_iter().flatten() {
        if let Source::Schedule(schedule) = source {
            // How much crosses is measured; what is late or lost besides would only blur it.
            for point in &mut Arc::make_mut(schedule).points {
                (point.rtt, point.jitter, point.loss) = (None, None, None);
            }
        }
    }
    Ok((name, model))
}

fn text(event: &Event, seconds: u16) -> String {
    match event {
        Event::Idle(lateness) => format!("{}\n{}", preface(seconds, *lateness), Row::heading()),
        Event::Row(row) => row.print(),
        Event::During(lateness) => {
            format!("\nDuring the measurements timers were late by {}.\n", lateness.print())
        }
    }
}

/// What is to be known before any figure.
fn preface(seconds: u16, lateness: Lateness) -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!(
        "bentpipe {version}: the link of this build on loopback, {seconds} s a measurement.
Rates are payload: the HTTP, TLS and tunnel bytes that cross the link. kbit is 1000 bits.
Proxy, origins and clients share this process and this machine's {cores} cores, and a figure is that of all of them:
what else runs here makes timers late and figures worse, never better. Fast links, round trips and bursts suffer
first, long-run rates and shares last. What misses while a timer is more than 10 ms late is measured once more, and
says so; measure again before you believe another miss. Idle, timers here are late by
{lateness}.
{debug}",
        version = env!("CARGO_PKG_VERSION"),
        lateness = lateness.print(),
        debug = if cfg!(debug_assertions) { "THIS IS A DEBUG BUILD: its figures say little.\n" } else { "" },
    )
}

fn object(rows: &[Row], seconds: u16, [idle, during]: [Option<Lateness>; 2]) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "debug_build": cfg!(debug_assertions),
        "seconds": seconds,
        "counts": "payload",
        "timers_late_idle": idle.map(Lateness::json),
        "timers_late": during.map(Lateness::json),
        "rows": rows.iter().map(Row::json).collect::<Vec<_>>(),
        "failed": rows.iter().filter(|row| !row.passed()).count(),
    })
}
