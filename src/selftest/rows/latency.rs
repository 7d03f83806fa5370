//! How long short exchanges take: beside a download, over a round trip, with jitter, and from the cache.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::nominal;
use crate::selftest::figures::{error, mean, percentile};
use crate::selftest::flows::{Flow, Place, Wire, address};
use crate::selftest::origin::{KEPT, OBJECT, SMALL, TINY};
use crate::selftest::stand::{Bench, Stand, during};
use crate::selftest::table::{Goal, Row, Unit};

/// 1 kB on a reused connection: what a download beside it adds.
pub(super) async fn small(bench: &Bench, rate: &'static str) -> anyhow::Result<Vec<Row>> {
    let goal = match nominal(rate)? {
        bits if bits < 1e6 => 20.0,
        bits if bits < 1e7 => 12.0,
        _ => 2.0,
    };
    let stand = bench.stand(rate).await?;
    let mut client = stand.client().await?;
    client.get(SMALL).await?;
    let idle = percentile(&repeated(&mut client, SMALL, bench.period / 2).await?, 50.0);
    let flow = stand.bulk().await?;
    // Its own first packet goes before others', as everybody's does.
    sleep(Duration::from_secs(1)).await;
    let busy = repeated(&mut client, SMALL, bench.period).await?;
    flow.arrivals()?;
    drop((flow, client));
    stand.end().await;
    let row = |metric, value, goal| Row::new(metric, rate, value, Unit::Milliseconds, Goal::AtMost(goal));
    Ok(vec![
        row("1 kB GET beside bulk, excess p50", percentile(&busy, 50.0) - idle, goal),
        row("1 kB GET beside bulk, excess p95", percentile(&busy, 95.0) - idle, 2.0 * goal),
    ])
}

/// Fetches `path` again and again for `period`, and at least ten times, with pauses that no period of the link is a
/// multiple of, and three times as long as it took: one that asks for more than its share waits for it, as it should.
/// Milliseconds.
async fn repeated(client: &mut Wire, path: &str, period: Duration) -> anyhow::Result<Vec<f64>> {
    let (begun, mut taken) = (Instant::now(), Vec::new());
    while begun.elapsed() < period || taken.len() < 10 {
        let time = client.get(path).await?;
        taken.push(time.as_secs_f64() * 1e3);
        sleep(3 * time + Duration::from_micros(3_000 + 7_919 * (taken.len() as u64 % 7))).await;
    }
    Ok(taken)
}

/// Twelve objects of 10 kB over six connections: how much longer they take beside a download.
pub(super) async fn page(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let stand = bench.stand("1M").await?;
    load(&stand).await?;
    let repeats = (bench.period.as_secs() / 2).clamp(1, 5);
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..repeats {
        alone.push(load(&stand).await?.as_secs_f64());
    }
    let flow = stand.bulk().await?;
    for _ in 0..repeats {
        beside.push(load(&stand).await?.as_secs_f64());
    }
    flow.arrivals()?;
    drop(flow);
    stand.end().await;
    let slowdown = percentile(&beside, 50.0) / percentile(&alone, 50.0);
    let setting = "12 objects, 1M";
    Ok(vec![Row::new("page beside bulk : alone", setting, slowdown, Unit::Plain(2), Goal::AtMost(1.40))])
}

/// Loads the page once, as a browser does: whichever of its connections is free takes the next object.
async fn load(stand: &Stand) -> anyhow::Result<Duration> {
    let mut connections = Vec::new();
    for _ in 0..6 {
        connections.push(stand.client().await?);
    }
    let begun = Instant::now();
    let (mut objects, mut loading) = (12_u32.saturating_sub(6), JoinSet::new());
    let fetch = |mut connection: Wire| async move { connection.get(OBJECT).await.map(|_| connection) };
    connections.into_iter().for_each(|connection| {
        loading.spawn(fetch(connection));
    });
    while let Some(fetched) = loading.join_next().await {
        let connection = fetched??;
        if objects > 0 {
            objects -= 1;
            loading.spawn(fetch(connection));
        }
    }
    Ok(begun.elapsed())
}

/// 1 kB from the cache while the link is busy, and what that costs the link.
pub(super) async fn hit(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let stand = bench.stand("1M").await?;
    let mut client = stand.client().await?;
    client.get(KEPT).await?;
    let flow = stand.bulk().await?;
    let flows = [&flow];
    let (hits, window) =
        tokio::join!(repeated(&mut client, KEPT, bench.period), during(&stand, &flows, bench.period));
    let (hits, (_, window)) = (hits?, window?);
    drop((flow, client));
    stand.end().await;
    let time = |metric, value| Row::new(metric, "1M", value, Unit::Milliseconds, Goal::AtMost(10.0));
    Ok(vec![
        time("cache hit on a busy link, p50", percentile(&hits, 50.0)),
        time("cache hit on a busy link, p95", percentile(&hits, 95.0)),
        Row::new(
            "the download beside the hits, error",
            "1M",
            error(window.rate(), 1e6),
            Unit::Percent,
            Goal::Near(0.0, 1.0),
        ),
    ])
}

/// What a round trip of `millis` takes too long, on reused connections.
pub(super) async fn round_trip(bench: &Bench, millis: u32) -> anyhow::Result<Vec<Row>> {
    let stand = bench.stand(&format!("unlimited,rtt={millis}ms")).await?;
    let taken = round_trips(stand.place, millis, bench.period).await?;
    stand.end().await;
    Ok(round_trip_rows(
        ["RTT error p50", "RTT error p95"],
        &format!("{millis} ms"),
        &taken,
        f64::from(millis),
    ))
}

/// The same beside a download, at a rate that carries the request and response in a quarter of a millisecond.
pub(super) async fn busy_round_trip(bench: &Bench, millis: u32) -> anyhow::Result<Vec<Row>> {
    let stand = bench.stand(&format!("10M,rtt={millis}ms")).await?;
    let flow: Flow = stand.bulk().await?;
    let taken = round_trips(stand.place, millis, bench.period).await?;
    flow.arrivals()?;
    drop(flow);
    stand.end().await;
    let setting = format!("{millis} ms, bulk at 10M");
    Ok(round_trip_rows(["RTT error p50", "RTT error p95"], &setting, &taken, f64::from(millis)))
}

fn round_trip_rows(metrics: [&'static str; 2], setting: &str, taken: &[f64], nominal: f64) -> Vec<Row> {
    let rows = metrics.into_iter().zip([(50.0, 2.0), (95.0, 5.0)]);
    rows.map(|(metric, (percent, goal))| {
        let off = percentile(taken, percent) - nominal;
        Row::new(metric, setting, off, Unit::Milliseconds, Goal::Near(0.0, goal))
    })
    .collect()
}

/// Clients that measure round trips side by side, so that long ones give samples enough.
const PROBES: u32 = 8;

/// Milliseconds of one-byte exchanges on [`PROBES`] reused connections for `period`, three each at the least.
async fn round_trips(place: Place, millis: u32, period: Duration) -> anyhow::Result<Vec<f64>> {
    let mut probes = JoinSet::new();
    for n in 0..PROBES {
        probes.spawn(async move {
            let mut client = Wire::open(place, address(0)).await?;
            // The first one opens a connection to the origin, which costs a round trip of its own; and not all at once.
            client.get(TINY).await?;
            sleep(Duration::from_millis(u64::from(millis * n / PROBES))).await;
            repeated(&mut client, TINY, period.saturating_sub(Duration::from_millis(millis.into()))).await
        });
    }
    let mut taken = Vec::new();
    while let Some(probe) = probes.join_next().await {
        taken.extend(probe??);
    }
    Ok(taken)
}

/// What jitter adds, beside the same links without it: from nothing to the setting, half of it in the mean. Several
/// links with seeds of their own give samples enough. No row where the grammar of a link has no jitter.
pub(super) async fn jitter(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    const SETTING: f64 = 40.0;
    let link = |seed: u32| format!("unlimited,rtt=100ms,jitter={SETTING}ms,seed={seed}");
    if link(1).parse::<linkio::LinkSpec>().is_err() {
        return Ok(Vec::new());
    }
    let mut stands = vec![bench.stand("unlimited,rtt=100ms").await?];
    for seed in 1..=8 {
        stands.push(bench.stand(&link(seed)).await?);
    }
    let mut probing = Vec::new();
    for stand in &stands {
        probing.push(tokio::spawn(round_trips(stand.place, 100, bench.period)));
    }
    let (mut plain, mut jittered) = (None, Vec::new());
    for probe in probing {
        let taken = probe.await??;
        if plain.is_none() { plain = Some(mean(&taken)) } else { jittered.extend(taken) }
    }
    for stand in stands {
        stand.end().await;
    }
    let plain = plain.context("nothing was measured")?;
    // Of the sum of two even draws one in twenty is in the first 0.158 of its range, and as many in the last.
    let middle = (percentile(&jittered, 95.0) - percentile(&jittered, 5.0)) / SETTING;
    let off = error(2.0 * (mean(&jittered) - plain), SETTING);
    Ok(vec![
        Row::new("jitter, twice its mean, error", "40 ms", off, Unit::Percent, Goal::Near(0.0, 5.0)),
        Row::new(
            "jitter, nine tenths of it : setting",
            "40 ms",
            middle,
            Unit::Plain(2),
            Goal::Near(0.68, 0.05),
        ),
    ])
}
