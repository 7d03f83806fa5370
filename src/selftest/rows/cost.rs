//! What the link costs: CPU time of many flows, and of streams over a link without limits beside bare ones.

use std::time::{Duration, Instant};

use linkio::{ClientKey, LinkSpec, SharedLink};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::time::sleep;

use super::sharing::downloads;
use crate::selftest::figures::percentile;
use crate::selftest::machine::{cpu_time, prepare};
use crate::selftest::stand::Bench;
use crate::selftest::table::{Goal, Row, Unit};

/// CPU time of `count` downloads, of their origin and of their clients too, as a share of one core.
pub(super) async fn flows(bench: &Bench, count: usize, rate: &'static str) -> anyhow::Result<Vec<Row>> {
    let stand = bench.stand(rate).await?;
    let flows = downloads(bench, &stand, count).await?;
    let (begun, before) = (Instant::now(), cpu_time());
    sleep(bench.period).await;
    let share = (cpu_time() - before).as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0;
    drop(flows);
    stand.end().await;
    let setting = format!("{count} flows, {rate}");
    Ok(vec![Row::new(
        "CPU of a core, clients and origin too",
        setting,
        share,
        Unit::Percent,
        Goal::AtMost(10.0),
    )])
}

/// What a copy took.
struct Copied {
    /// Bytes per second.
    rate: f64,
    /// CPU time for a byte, of the sender too.
    cpu: f64,
}

/// Rounds of both kinds; the middle one of their differences counts.
const ROUNDS: u32 = 25;

/// Streams over an unlimited link beside bare ones, in turns: what the link takes of their throughput, and how much
/// CPU time it adds.
pub(super) async fn unlimited(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let period = bench.period;
    // Sender and receiver on one thread: which of the machine's cores each runs on would matter more than the link.
    let alone = move || Builder::new_current_thread().enable_all().build()?.block_on(compare(period));
    tokio::task::spawn_blocking(alone).await?
}

async fn compare(period: Duration) -> anyhow::Result<Vec<Row>> {
    let round = (period / ROUNDS).clamp(Duration::from_millis(50), Duration::from_secs(1));
    let (mut lost, mut added) = (Vec::new(), Vec::new());
    for turn in 0..ROUNDS {
        // Whoever is first finds the machine as the round before left it.
        let (bare, linked) = if turn % 2 == 0 {
            let bare = copy(false, round).await?;
            (bare, copy(true, round).await?)
        } else {
            let linked = copy(true, round).await?;
            (copy(false, round).await?, linked)
        };
        lost.push((1.0 - linked.rate / bare.rate) * 100.0);
        added.push((linked.cpu / bare.cpu - 1.0) * 100.0);
    }
    let row = |metric, values: &[f64], goal| {
        Row::new(metric, "loopback copy", percentile(values, 50.0), Unit::Percent, Goal::AtMost(goal))
    };
    Ok(vec![
        row("unlimited: throughput lost", &lost, 3.0),
        row("unlimited: CPU time per byte added", &added, 5.0),
    ])
}

/// Copies from a loopback connection for about `period`, over an unlimited link or without one.
async fn copy(linked: bool, period: Duration) -> anyhow::Result<Copied> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let far = TcpStream::connect(listener.local_addr()?).await?;
    let (mut near, _) = listener.accept().await?;
    prepare(&near);
    let sending = tokio::spawn(async move {
        let piece = vec![7; 64 * 1024];
        while near.write_all(&piece).await.is_ok() {}
    });
    let taken = if linked {
        let link = SharedLink::new(LinkSpec::default());
        take(link.wrap(far, ClientKey(1)), period).await
    } else {
        take(far, period).await
    };
    sending.abort();
    taken
}

async fn take(stream: impl AsyncRead + Unpin, period: Duration) -> anyhow::Result<Copied> {
    // A piece of a fixed size at a time, so that the clock is read seldom.
    const PIECE: u64 = 8 << 20;
    let (mut stream, mut bytes) = (stream, 0);
    let (begun, before) = (Instant::now(), cpu_time());
    while begun.elapsed() < period {
        bytes += tokio::io::copy(&mut (&mut stream).take(PIECE), &mut tokio::io::sink()).await?;
    }
    let (over, cpu) = (begun.elapsed(), cpu_time() - before);
    Ok(Copied { rate: bytes as f64 / over.as_secs_f64(), cpu: cpu.as_secs_f64() / bytes as f64 })
}
