//! A link that is changed under a download: when the change is felt, and that no byte is lost.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::sleep;

use crate::selftest::figures::Arrivals;
use crate::selftest::stand::Bench;
use crate::selftest::table::{Goal, Row, Unit};

/// From 1M to 10M and back. The lines through what arrived before and after meet where the rate really changed. The
/// content is checked byte for byte as it arrives, so that a lost one ends the measurement.
pub(super) async fn change(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let stand = bench.stand("1M").await?;
    let flow = stand.bulk().await?;
    let stretch = (bench.period / 3).max(Duration::from_millis(300));
    sleep(stretch).await;
    let faster = stand.now();
    stand.set("10M")?;
    sleep(stretch).await;
    let slower = stand.now();
    stand.set("1M")?;
    sleep(stretch).await;
    let end = stand.now();
    let arrivals = flow.arrivals()?;
    drop(flow);
    stand.end().await;
    let mut rows = Vec::new();
    let around = [("1M -> 10M", faster - stretch, faster, slower), ("10M -> 1M", faster, slower, end)];
    for (setting, from, changed, to) in around {
        let felt = bend(&arrivals, from, changed, to).context("too little arrived around a change")?;
        let off = (felt - changed.as_secs_f64()).abs() * 1e3;
        rows.push(Row::new(
            "live change is felt after, no byte lost",
            setting,
            off,
            Unit::Milliseconds,
            Goal::AtMost(10.0),
        ));
    }
    Ok(rows)
}

/// When the rate changed, about `changed`, in seconds.
fn bend(arrivals: &Arrivals, from: Duration, changed: Duration, to: Duration) -> Option<f64> {
    let before = arrivals.between(from + MARGIN, changed - MARGIN).line()?;
    let after = arrivals.between(changed + MARGIN, to - MARGIN).line()?;
    before.meets(after)
}

/// Around a change packets of both rates are in flight.
const MARGIN: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    /// 1500 bytes every 12 ms until 600 ms, from `changed` on every 2 ms.
    fn check(changed: u64) {
        let mut arrivals = Arrivals::default();
        (1..=50).for_each(|n| arrivals.push(Duration::from_millis(12 * n), 1500));
        let held = (changed - 600) * 125;
        (1..=300).for_each(|n| {
            arrivals.push(Duration::from_millis(changed + 2 * n), 1500 + if n == 1 { held } else { 0 });
        });
        let millis = Duration::from_millis;
        let felt = bend(&arrivals, millis(0), millis(600), millis(1200)).unwrap();
        assert!((felt * 1e3 - changed as f64).abs() < 0.01, "{felt}");
    }

    #[test]
    fn a_change_is_where_the_lines_meet() {
        check(600);
        check(624);
    }
}
