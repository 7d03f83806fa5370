//! How a download follows a link whose rate changes by itself, as a trace or a generator says: in volume, second by
//! second, and how far it is ahead or behind at any moment.
//!
//! What the link can carry is linkio's to say; that it is carried, and when, is measured.

use std::sync::Arc;
use std::time::Duration;

use linkio::{Direction, LinkModel, LinkSpec, Moment, Source, Trace};

use crate::selftest::figures::Arrivals;
use crate::selftest::stand::{Bench, during};
use crate::selftest::table::{Goal, Row, Unit};

/// How a download follows each of the links to follow: those that were named, or else one of ours of each kind.
pub(super) async fn follow_all(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    if bench.traces.is_empty() {
        let spec: LinkSpec = "3M,handover=2s,seed=1".parse()?;
        rows.extend(follow(bench, "3M,handover=2s", spec.into()).await?);
        let trace = Some(Source::Trace(Arc::new(made_up()?)));
        let model = LinkModel { spec: LinkSpec::default(), down: trace, up: None };
        rows.extend(follow(bench, "a trace of 2.4M", model).await?);
    }
    for (name, model) in &bench.traces {
        rows.extend(follow(bench, name, model.clone()).await?);
    }
    Ok(rows)
}

/// Ten seconds of 2.4 Mbit/s on average, as uneven as a real link.
fn made_up() -> anyhow::Result<Trace> {
    let chances = [100_u64, 300, 500, 250, 0, 125, 500, 20, 100, 125];
    let second = |(second, chances): (u64, u64)| {
        (1..=chances).map(move |chance| format!("{}\n", second * 1000 + chance * 1000 / chances))
    };
    let text: String = (0..).zip(chances).flat_map(second).collect();
    Ok(Trace::parse(&text)?)
}

/// Sets the link to `model` under a download, and compares what arrives from then on with what it can carry.
async fn follow(bench: &Bench, setting: &str, model: LinkModel) -> anyhow::Result<Vec<Row>> {
    let period = bench.period;
    let capacity = model.capacity(Direction::Down, Moment::START);
    let carried = |at: Duration| capacity.bytes_between(Moment::START, Moment::after_start(at)) as f64;
    let stand = bench.stand("1M").await?;
    let flow = stand.bulk().await?;
    let start = stand.now();
    stand.set_model(model)?;
    during(&stand, &[&flow], period).await?;
    let followed = compare(&flow.arrivals()?, start, period, carried);
    drop(flow);
    stand.end().await;
    let row = |metric, value, unit, goal| Row::new(metric, setting, value, unit, goal);
    let a_packet = 1500.0 / followed.mean * 100.0;
    Ok(vec![
        row(
            "trace: volume, error",
            followed.volume,
            Unit::Percent,
            Goal::Near(0.0, 0.05 + a_packet / period.as_secs_f64()),
        ),
        row("trace: rms over seconds", followed.rms, Unit::Percent, Goal::AtMost(0.3 + a_packet)),
        row("trace: most ahead or behind", followed.off, Unit::Bytes, Goal::AtMost(10_000.0)),
    ])
}

/// How a flow compares with its model.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Followed {
    /// All bytes, percent off.
    volume: f64,
    /// Root of the mean square of the differences of whole seconds, in percent of the mean second.
    rms: f64,
    /// The most bytes ahead or behind at any millisecond.
    off: f64,
    /// Bytes of the model in a mean second.
    mean: f64,
}

fn compare(
    arrivals: &Arrivals,
    start: Duration,
    period: Duration,
    model: impl Fn(Duration) -> f64,
) -> Followed {
    let before = arrivals.by(start);
    let ahead = |at: Duration| (arrivals.by(start + at) - before) as f64 - model(at);
    let millis = u64::try_from(period.as_millis()).unwrap_or(u64::MAX);
    let off = (0..=millis).map(|at| ahead(Duration::from_millis(at)).abs()).fold(0.0, f64::max);
    let seconds = period.as_secs().max(1);
    let second = |n: u64| ahead(Duration::from_secs(n + 1)) - ahead(Duration::from_secs(n));
    let squares: f64 = (0..seconds).map(|n| second(n).powi(2)).sum();
    let carried = model(period);
    let mean = carried / period.as_secs_f64();
    Followed {
        volume: ahead(period) / carried * 100.0,
        rms: (squares / seconds as f64).sqrt() / mean * 100.0,
        off,
        mean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1500 bytes each 12 ms from the first second on, but for those of the `lost`th packet.
    fn check(lost: u64, expected: (f64, f64, f64)) {
        let mut arrivals = Arrivals::default();
        (1..=350).for_each(|n| {
            let bytes = if n == 100 + lost { 0 } else { 1500 };
            arrivals.push(Duration::from_secs_f64(0.012 * n as f64 - 0.0001), bytes);
        });
        let packets = |at: Duration| (at.as_millis() / 12 * 1500) as f64;
        let found = compare(&arrivals, Duration::from_millis(1200), Duration::from_secs(3), packets);
        let close = |found: f64, expected: f64| (found - expected).abs() < 0.01;
        assert!(close(found.mean, 125_000.0), "{found:?}");
        assert!(close(found.volume, expected.0) && close(found.rms, expected.1), "{found:?}");
        assert!(close(found.off, expected.2), "{found:?}");
    }

    #[test]
    fn a_flow_is_compared_with_its_model() {
        // Arriving a tenth of a millisecond early it is a packet ahead for no whole millisecond.
        check(1000, (0.0, 0.0, 0.0));
        check(10, (-0.4, 1.2 / 3.0_f64.sqrt(), 1500.0));
    }
}
