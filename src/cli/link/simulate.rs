//! `bentpipe link simulate`: what a workload would come to over a link. It asks no proxy and opens no socket.

use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use linkio::sim;

use crate::config::Loaded;
use crate::simulate::{Plan, Reading, Report, chart, parse_time, table};

/// Say what a workload would come to over a link
///
/// How long each request takes and how busy the link is, computed as the proxy would have it. The
/// link is what --link says, or else the configured one. Nothing crosses a network: time is
/// virtual, and a day takes seconds. The same input gives the same output.
///
/// A WORKLOAD is one of
///
/// * a HAR file, as the developer tools of browsers save it: NAME.har
///
/// * a file with a list of requests, one a line, # before comments:
///   START CLIENT UP DOWN [host=NAME] [wait=TIME] [class=CLASS] [name=TEXT]
///   such as
///   0s alice 400 120k host=example.org name=/index.html
///   UP and DOWN are the bytes of request and response, wait is how long the origin thinks, and
///   CLASS is interactive, bulk or background
///
/// * a description such as
///   clients=50,for=24h,every=90s,size=100k,objects=8
///   So many clients begin pages for so long, and pause around 90 s (exponentially) after each.
///   A page is a document and then its objects, over six connections; each response is around
///   100 kB (log-normally). Also: hosts=20, up=600 (bytes of a request), wait=0s. What is left
///   out is clients=1,for=10m,every=30s,size=100k,objects=8
#[derive(Clone, Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Simulate {
    /// A file, or a description such as clients=50,for=24h,every=90s,size=100k,objects=8
    workload: String,
    /// End the run after this time, such as 1h30m, whatever is under way
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<Duration>,
    /// What chance depends on: that of a description, and that of the link unless it has a seed of its own
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
    /// Let origins answer at once. What a HAR file has recorded as waiting holds the round trips of its own link
    #[arg(long)]
    no_wait: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Draw a chart into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Simulates, and prints what came of it.
pub(super) fn run(command: &Simulate, loaded: &Loaded) -> anyhow::Result<()> {
    let mut model = loaded.config.link.trace.model(loaded.config.link.spec.clone());
    if model.spec.seed == 0 {
        model.spec.seed = command.seed;
    }
    if model.spec.auto.is_some() {
        bail!("a link of auto= is what is measured; to simulate it give its rates, such as --link 512k/128k");
    }
    let reading = Reading {
        seed: command.seed,
        no_wait: command.no_wait,
        keep_alive: loaded.config.timeouts.keep_alive,
        until: command.until,
    };
    let plan = Plan::read(&command.workload, &reading).map_err(|error| anyhow!(error))?;
    let outcome = sim::run(plan.workload(), &model);
    let report = Report::new(&plan, &model, command.seed, &outcome);
    if let Some(path) = &command.svg {
        fs::write(path, chart(&report)).with_context(|| path.display().to_string())?;
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    if command.json {
        report.write_json(&mut out)?;
    } else {
        out.write_all(table(&report).as_bytes())?;
    }
    Ok(out.flush()?)
}
