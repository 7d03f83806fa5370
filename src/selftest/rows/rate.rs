//! How exactly the rate is kept by one flow that has the link to itself, in either direction.

use std::time::Duration;

use tokio::time::sleep;

use super::{nominal, slack};
use crate::selftest::figures::error;
use crate::selftest::stand::{Bench, begun, during};
use crate::selftest::table::{Goal, Row, Unit};

/// A download: the error of its rate, and at rates where a packet is longer than a timer, its bursts.
pub(super) async fn goodput(bench: &Bench, rate: &'static str) -> anyhow::Result<Vec<Row>> {
    let bits = nominal(rate)?;
    let stand = bench.stand(rate).await?;
    let client = stand.client().await?;
    let asked = stand.now();
    let flow = client.download().await?;
    begun(&[&flow]).await?;
    let (_, window) = during(&stand, &[&flow], bench.period).await?;
    let goal = if bits >= 1e9 { 0.1 } else { 0.02 };
    let off = error(window.rate(), bits);
    let mut rows = vec![Row::new("goodput error", rate, off, Unit::Percent, Goal::Near(0.0, goal))];
    if (1e6..=1e7).contains(&bits) {
        let first_second = flow.arrivals()?.between(Duration::ZERO, asked + Duration::from_secs(1));
        let bytes = |metric, value| Row::new(metric, rate, value, Unit::Bytes, Goal::AtMost(slack(bits)));
        rows.push(bytes("sigma: most ahead of the rate", window.burst(bits)));
        rows.push(bytes("start burst", first_second.lead(asked, bits)));
    }
    drop(flow);
    stand.end().await;
    Ok(rows)
}

/// An upload, counted where it arrives.
pub(super) async fn upload(bench: &Bench, rate: &'static str) -> anyhow::Result<Vec<Row>> {
    let bits = nominal(rate)?;
    let stand = bench.stand(rate).await?;
    let sending = stand.client().await?.upload("a").await?;
    sleep(bench.period / 5).await;
    let from = stand.now();
    sleep(bench.period).await;
    let window = stand.origin.uploaded("a").between(from, from + bench.period);
    drop(sending);
    stand.end().await;
    let off = error(window.rate(), bits);
    Ok(vec![Row::new("upload error", rate, off, Unit::Percent, Goal::Near(0.0, 0.02))])
}
