//! `cargo xtask link`: how exactly bentpipe's link keeps its rate, how equally it shares it and what round trip it
//! adds, measured from outside with real sockets on loopback.
//!
//! A rate is counted from the arrival of the first bytes of content to that of the last ones of the period, so that
//! neither the connection's beginning nor a packet cut by the clock is part of it.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use testkit::{Origin, Reply, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::program::{Program, build_bentpipe};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Rates to hold, each alone.
    #[arg(long, value_delimiter = ',', default_values = ["56k", "512k", "10M", "100M"])]
    rates: Vec<String>,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Flows that share a link of 10M.
    #[arg(long, default_value_t = 10)]
    flows: usize,
    /// Fail when a rate is off by more than this many percent.
    #[arg(long, default_value_t = 0.1)]
    limit: f64,
}

/// What one flow got.
#[derive(Clone, Copy, Debug)]
struct Got {
    bytes: u64,
    over: Duration,
}

impl Got {
    /// Bits per second.
    fn rate(self) -> f64 {
        self.bytes as f64 * 8.0 / self.over.as_secs_f64()
    }
}

/// Measures and prints; one line a measurement.
///
/// # Errors
/// When a rate is further off than the limit, ten flows are not shared equally, or something does not run.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let binary = build_bentpipe()?;
    let period = Duration::from_secs(options.seconds);
    // More than the fastest link carries in the period; the flow is left before its end.
    let origin = Origin::with_handler(|request| {
        let length = if request.target == "/alone" { 160 << 20 } else { 16 << 20 };
        Some(Reply::new(200).field("cache-control", "no-store").body(vec![b'x'; length]))
    })
    .await?;
    let mut failed = false;
    println!("payload bits per second on real sockets, {} s each", options.seconds);
    for rate in &options.rates {
        let started = start(&binary, &format!("--link={rate}")).await?;
        let got = download(started.proxy.address(), &origin.url("/alone"), period).await?;
        let nominal = nominal(rate).context("rates are written 56k or 10M")?;
        let error = (got.rate() / nominal - 1.0) * 100.0;
        failed |= error.abs() > options.limit;
        println!("  {rate:>6}  {:>12.0} bit/s  {error:>+7.3} %", got.rate());
    }

    let started = start(&binary, "--link=10M").await?;
    let mut flows = JoinSet::new();
    for _ in 0..options.flows {
        let (address, url) = (started.proxy.address(), origin.url("/shared"));
        flows.spawn(async move { download(address, &url, period).await });
    }
    let shares =
        flows.join_all().await.into_iter().map(|got| got.map(Got::rate)).collect::<Result<Vec<_>, _>>()?;
    let (sum, squares) =
        shares.iter().fold((0.0, 0.0), |(sum, squares), share| (sum + share, squares + share * share));
    let jain = sum * sum / (shares.len() as f64 * squares);
    failed |= jain < 0.999;
    println!("  {} flows at 10M: Jain {jain:.5}, together {:.3} Mbit/s", options.flows, sum / 1e6);

    let started = start(&binary, "--link=unlimited,rtt=600ms").await?;
    let small =
        Origin::with_handler(|_| Some(Reply::new(200).field("cache-control", "no-store").body("x"))).await?;
    for what in ["a new connection (two round trips)", "a reused one (one)"] {
        let begun = Instant::now();
        let answer = testkit::client::get(started.proxy.address(), &small.url("/")).await?;
        ensure!(answer.is_whole(), "the answer broke off");
        println!("  rtt=600ms: {what} {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);
    }
    ensure!(!failed, "the link is not as exact as it should be");
    Ok(())
}

/// A proxy, and the cache folder that goes after it.
struct Started {
    proxy: Program,
    _cache: tempfile::TempDir,
}

async fn start(binary: &Path, link: &str) -> anyhow::Result<Started> {
    let cache = tempfile::tempdir()?;
    let proxy = Program::bentpipe(binary, cache.path(), &[link]).await?;
    Ok(Started { proxy, _cache: cache })
}

/// Reads `url` for `period` from its first bytes on.
async fn download(proxy: SocketAddr, url: &str, period: Duration) -> io::Result<Got> {
    let mut stream = TcpStream::connect(proxy).await?;
    stream.write_all(&Request::new("GET", url).to_bytes()).await?;
    let mut space = vec![0; 64 * 1024];
    let mut first = None;
    let mut got = Got { bytes: 0, over: Duration::ZERO };
    loop {
        let length = stream.read(&mut space).await?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let now = Instant::now();
        let Some(begun) = first else {
            // The head and what came with it only start the clock.
            first = Some(now);
            continue;
        };
        got = Got { bytes: got.bytes + length as u64, over: now - begun };
        if got.over >= period {
            return Ok(got);
        }
    }
}

/// Bits per second of a rate such as `56k`.
fn nominal(rate: &str) -> Option<f64> {
    let (number, unit) = rate.split_at(rate.len().checked_sub(1)?);
    let unit = match unit {
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        _ => return None,
    };
    number.parse::<f64>().ok().map(|number| number * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_bentpipe_reads_them() {
        assert_eq!(nominal("56k"), Some(56_000.0));
        assert_eq!(nominal("1.5M"), Some(1_500_000.0));
        assert_eq!(nominal("56"), None);
    }
}
