//! How equally flows and clients share the link, and what one that leaves or stalls means to the others.

use std::time::Duration;

use anyhow::ensure;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::nominal;
use crate::selftest::figures::{Arrivals, error, jain, least_of_most};
use crate::selftest::flows::{Flow, Wire, address};
use crate::selftest::stand::{Bench, Stand, begun, during};
use crate::selftest::table::{Goal, Row, Unit};

/// `count` downloads of one client.
pub(super) async fn flows(bench: &Bench, count: usize, rate: &'static str) -> anyhow::Result<Vec<Row>> {
    let bits = nominal(rate)?;
    let stand = bench.stand(rate).await?;
    let flows = downloads(bench, &stand, count).await?;
    let (each, all) = during(&stand, &flows.iter().collect::<Vec<_>>(), bench.period).await?;
    drop(flows);
    stand.end().await;
    let shares: Vec<f64> = each.iter().map(|flow| share(flow, bench.period)).collect();
    let setting = format!("{count} flows, {rate}");
    Ok(vec![
        Row::new("Jain's index", &*setting, jain(&shares), Unit::Plain(5), Goal::AtLeast(0.9999)),
        Row::new(
            "least / most of a flow",
            &*setting,
            least_of_most(&shares),
            Unit::Plain(3),
            Goal::AtLeast(0.97),
        ),
        Row::new("error of the sum", setting, error(all.rate(), bits), Unit::Percent, Goal::Near(0.0, 0.1)),
    ])
}

/// Begins `count` downloads of one client.
pub(super) async fn downloads(bench: &Bench, stand: &Stand, count: usize) -> anyhow::Result<Vec<Flow>> {
    // A flow has four ends, all of them in this process.
    let needed = 4 * count as u64 + 200;
    ensure!(
        bench.files >= needed,
        "{needed} open files are needed, {} are allowed: see ulimit -n",
        bench.files
    );
    let (mut starting, mut flows) = (JoinSet::new(), Vec::with_capacity(count));
    for _ in 0..count {
        let place = stand.place;
        starting.spawn(async move { Wire::open(place, address(0)).await?.download().await });
        // A listener's queue is not endless.
        if starting.len() >= 64
            && let Some(started) = starting.join_next().await
        {
            flows.push(started??);
        }
    }
    while let Some(started) = starting.join_next().await {
        flows.push(started??);
    }
    begun(&flows.iter().collect::<Vec<_>>()).await?;
    Ok(flows)
}

/// The rate of one of several flows. Of one with too few packets for a line all bytes count.
fn share(flow: &Arrivals, period: Duration) -> f64 {
    let line = flow.line().map(|line| line.rate());
    line.unwrap_or_else(|| flow.points().len() as f64 * 1500.0 * 8.0 / period.as_secs_f64())
}

/// A GET beside a tunnel down the link, and a POST beside a tunnel up the link, all at once.
pub(super) async fn kinds(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let stand = bench.stand("2M").await?;
    let sending = [
        stand.client().await?.upload("posted").await?,
        stand.client().await?.tunnel().await?.upload("tunnelled").await?,
    ];
    let flows =
        [stand.client().await?.download().await?, stand.client().await?.tunnel().await?.download().await?];
    begun(&flows.each_ref()).await?;
    sleep(bench.period / 5).await;
    let from = stand.now();
    let (mut each, down) = during(&stand, &flows.each_ref(), bench.period).await?;
    let to = from + bench.period;
    let uploads = ["posted", "tunnelled"].map(|name| stand.origin.uploaded(name));
    let up = Arrivals::together(&uploads).between(from, to);
    each.extend(uploads.iter().map(|upload| upload.between(from, to)));
    drop((flows, sending));
    stand.end().await;
    let shares: Vec<f64> = each.iter().map(Arrivals::rate).collect();
    let spread = (1.0 / least_of_most(&shares) - 1.0) * 100.0;
    let [down, up] = [down, up].map(|sum| error(sum.rate(), 2e6));
    let worse = if down.abs() > up.abs() { down } else { up };
    Ok(vec![
        Row::new("GET : CONNECT : upload, difference", "2M", spread, Unit::Percent, Goal::AtMost(1.0)),
        Row::new("duplex error, the worse direction", "2M", worse, Unit::Percent, Goal::Near(0.0, 0.02)),
    ])
}

/// A client with one flow, and one with eight.
pub(super) async fn clients(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let stand = bench.stand("2M").await?;
    let mut flows = vec![Wire::open(stand.place, address(1)).await?.download().await?];
    for _ in 0..8 {
        flows.push(Wire::open(stand.place, address(2)).await?.download().await?);
    }
    let flows: Vec<&Flow> = flows.iter().collect();
    begun(&flows).await?;
    sleep(bench.period / 5).await;
    let from = stand.now();
    let (each, all) = during(&stand, &flows, bench.period).await?;
    let eight = flows.iter().skip(1).map(|flow| flow.arrivals()).collect::<Result<Vec<_>, _>>()?;
    let eight = Arrivals::together(&eight).between(from, from + bench.period);
    let one = each.first().map_or(0.0, Arrivals::rate);
    stand.end().await;
    Ok(vec![
        Row::new(
            "client with 1 flow : client with 8",
            "2M",
            one / eight.rate(),
            Unit::Plain(3),
            Goal::Near(1.0, 0.02),
        ),
        Row::new(
            "error of the sum",
            "2 clients, 2M",
            error(all.rate(), 2e6),
            Unit::Percent,
            Goal::Near(0.0, 0.1),
        ),
    ])
}

/// What a client that does not read costs three that do.
pub(super) async fn stalled(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let stand = bench.stand("100M").await?;
    let stalled = Wire::narrow(stand.place, address(0)).await?.stall().await?;
    let flows = downloads(bench, &stand, 3).await?;
    // Until then the stalled client's share fills the buffers between the link and it, some MB.
    sleep(Duration::from_secs(2)).await;
    let (_, all) = during(&stand, &flows.iter().collect::<Vec<_>>(), bench.period).await?;
    drop((stalled, flows));
    stand.end().await;
    let cost = (1.0 - all.rate() / 1e8) * 100.0;
    Ok(vec![Row::new(
        "a client that stops reading costs",
        "3 others, 100M",
        cost,
        Unit::Percent,
        Goal::AtMost(1.0),
    )])
}

/// How much of the link one flow uses in the second after three others left, and after one has come.
pub(super) async fn leaving(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    const SECOND: Duration = Duration::from_secs(1);
    let stand = bench.stand("1M").await?;
    let stays = stand.bulk().await?;
    let others = downloads(bench, &stand, 3).await?;
    sleep(SECOND).await;
    let left = stand.now();
    drop(others);
    sleep(SECOND).await;
    let arrivals = stays.arrivals()?;
    let freed = (arrivals.by(left + SECOND) - arrivals.by(left)) as f64 * 8.0 / 1e6 * 100.0;
    let newcomer = stand.client().await?;
    let came = stand.now();
    let newcomer = newcomer.download().await?;
    sleep(SECOND).await;
    let got = newcomer.arrivals()?.by(came + SECOND) as f64 * 8.0 / 0.5e6 * 100.0;
    drop((stays, newcomer));
    stand.end().await;
    let row = |metric, value| Row::new(metric, "1M", value, Unit::Percent, Goal::AtLeast(95.0));
    Ok(vec![
        row("used in the second after 3 of 4 left", freed),
        row("a newcomer's first second, of its share", got),
    ])
}
