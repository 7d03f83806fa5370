//! What is made of measurements: rates, bursts, shares and percentiles. Pure: it is handed times and never reads a
//! clock.

use std::time::Duration;

/// Bytes as they arrived: when, since an epoch that all of a measurement share, and how many there were by then.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrivals(Vec<(Duration, u64)>);

/// A straight line through arrivals.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    /// Bytes per second.
    slope: f64,
    /// Bytes at the epoch.
    start: f64,
}

impl Line {
    /// Bits per second.
    pub(super) fn rate(self) -> f64 {
        self.slope * 8.0
    }

    /// When this line and `other` have the same bytes, in seconds since the epoch. None for lines that never meet.
    pub(super) fn meets(self, other: Self) -> Option<f64> {
        let at = (other.start - self.start) / (self.slope - other.slope);
        at.is_finite().then_some(at)
    }
}

impl Arrivals {
    /// `bytes` more arrived at `at`, which is not before the last time.
    pub(super) fn push(&mut self, at: Duration, bytes: u64) {
        self.0.push((at, self.total() + bytes));
    }

    /// All bytes that arrived.
    pub(super) fn total(&self) -> u64 {
        self.0.last().map_or(0, |(_, total)| *total)
    }

    /// Those later than `from` and not later than `to`.
    pub(super) fn between(&self, from: Duration, to: Duration) -> Self {
        Self(self.0.iter().filter(|(at, _)| *at > from && *at <= to).copied().collect())
    }

    /// Bytes that had arrived by `at`.
    pub(super) fn by(&self, at: Duration) -> u64 {
        let behind = self.0.partition_point(|(then, _)| *then <= at);
        behind.checked_sub(1).and_then(|last| self.0.get(last)).map_or(0, |(_, total)| *total)
    }

    /// The line of least squares through the arrivals, so that neither the connection's beginning nor a packet that
    /// the period's end cut, nor one late wake-up at either end, counts. None for fewer than three.
    pub(super) fn line(&self) -> Option<Line> {
        if self.0.len() < 3 {
            return None;
        }
        let count = self.0.len() as f64;
        let points = || self.0.iter().map(|(at, total)| (at.as_secs_f64(), *total as f64));
        let (times, totals) = points().fold((0.0, 0.0), |(x, y), (at, total)| (x + at, y + total));
        let (middle, mean) = (times / count, totals / count);
        let (products, squares) = points().fold((0.0, 0.0), |(products, squares), (at, total)| {
            let off = at - middle;
            (products + off * (total - mean), squares + off * off)
        });
        let slope = products / squares;
        slope.is_finite().then_some(Line { slope, start: mean - slope * middle })
    }

    /// Bits per second; zero where there is too little to tell.
    pub(super) fn rate(&self) -> f64 {
        self.line().map_or(0.0, Line::rate)
    }

    /// Sigma: the most by which the bytes of any period exceed what `rate` bits per second carry in it, in bytes.
    pub(super) fn burst(&self, rate: f64) -> f64 {
        let (mut lowest, mut burst, mut before) = (f64::INFINITY, 0.0_f64, None);
        for (at, total) in &self.0 {
            let served = rate / 8.0 * at.as_secs_f64();
            // The bytes of the first arrival are not known to have come at once.
            lowest = lowest.min(before.unwrap_or(*total) as f64 - served);
            burst = burst.max(*total as f64 - served - lowest);
            before = Some(*total);
        }
        burst
    }

    /// The most by which the arrivals are ahead of `rate` bits per second that begin at `start`, in bytes.
    pub(super) fn lead(&self, start: Duration, rate: f64) -> f64 {
        let ahead = |(at, total): &(Duration, u64)| {
            *total as f64 - rate / 8.0 * at.saturating_sub(start).as_secs_f64()
        };
        self.0.iter().map(ahead).fold(0.0, f64::max)
    }

    /// The arrivals of all `flows` as those of one.
    pub(super) fn together(flows: &[Self]) -> Self {
        let mut pieces = Vec::new();
        for flow in flows {
            let mut before = 0;
            for (at, total) in &flow.0 {
                pieces.push((*at, total - before));
                before = *total;
            }
        }
        pieces.sort_unstable();
        let mut all = Self::default();
        pieces.into_iter().for_each(|(at, bytes)| all.push(at, bytes));
        all
    }

    /// When what had arrived changed, and to how many bytes.
    pub(super) fn points(&self) -> &[(Duration, u64)] {
        &self.0
    }
}

/// How far `value` is from `nominal`, in percent of it.
pub(super) fn error(value: f64, nominal: f64) -> f64 {
    (value / nominal - 1.0) * 100.0
}

/// Jain's index: 1 for equal shares, 1/n if one has everything (RFC 5166 §2.3).
pub(super) fn jain(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    sum * sum / (shares.len() as f64 * squares)
}

/// The smallest of `shares` as a part of the largest.
pub(super) fn least_of_most(shares: &[f64]) -> f64 {
    let least = shares.iter().copied().fold(f64::INFINITY, f64::min);
    least / shares.iter().copied().fold(0.0, f64::max)
}

/// The value that `percent` of `values` do not exceed (nearest rank). Not a number where there are none.
pub(super) fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// The mean of `values`. Not a number where there are none.
pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 1500 bytes every 12 ms, 1 Mbit/s, each `late(n)` milliseconds late.
    fn packets(count: u64, late: impl Fn(u64) -> f64) -> Arrivals {
        let mut arrivals = Arrivals::default();
        for n in 1..=count {
            arrivals.push(Duration::from_secs_f64((n as f64 * 12.0 + late(n)) / 1e3), 1500);
        }
        arrivals
    }

    fn check(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{found} is not {expected}");
    }

    #[test]
    fn a_steady_flow_has_its_rate_and_bursts_of_a_packet() {
        check(packets(100, |_| 0.0).rate(), 1e6);
        check(packets(100, |_| 0.0).burst(1e6), 1500.0);
        check(packets(100, |_| 0.0).lead(Duration::ZERO, 1e6), 0.0);
        check(packets(2, |_| 0.0).rate(), 0.0);
    }

    #[test]
    fn a_late_end_is_no_lower_rate() {
        let late = packets(400, |n| if n == 400 { 8.0 } else { 0.0 });
        assert!(error(late.rate(), 1e6).abs() < 0.01, "{}", late.rate());
        // From the first to the last byte it would be 0.17 %.
    }

    #[test]
    fn a_backlog_made_good_is_a_burst() {
        // One packet 24 ms late, the two behind it with it at once: three packets together.
        let late = packets(100, |n| match n {
            50 => 24.0,
            51 => 12.0,
            _ => 0.0,
        });
        check(late.burst(1e6), 4500.0);
    }

    #[test]
    fn what_comes_ahead_of_the_rate_leads() {
        let mut arrivals = Arrivals::default();
        arrivals.push(Duration::from_millis(10), 9000);
        arrivals.push(Duration::from_millis(100), 1500);
        check(arrivals.lead(Duration::ZERO, 1e6), 9000.0 - 1250.0);
        // Against what came before it, the second is a packet at once like any other.
        check(arrivals.burst(1e6), 1500.0);
    }

    #[test]
    fn lines_meet_where_the_rate_changed() {
        let (mut before, mut after) = (packets(100, |_| 0.0), Arrivals::default());
        let total = before.total();
        for n in 0..100 {
            after.push(Duration::from_millis(1200 + 3 * (n + 1)), if n == 0 { total + 1500 } else { 1500 });
        }
        let at = before.line().and_then(|line| line.meets(after.line()?));
        check(at.unwrap_or_default(), 1.2);
        assert!(before.line().and_then(|line| line.meets(before.line()?)).is_none());
        before.push(Duration::from_secs(2), 1);
        assert_eq!(
            (before.by(Duration::from_secs(1)), before.by(Duration::from_secs(3))),
            (83 * 1500, 150_001)
        );
    }

    #[test]
    fn shares_compare() {
        check(jain(&[1.0, 1.0, 1.0]), 1.0);
        check(jain(&[1.0, 0.0]), 0.5);
        check(least_of_most(&[1.0, 0.97, 0.98]), 0.97);
        check(least_of_most(&[1.0, 0.0]), 0.0);
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let values = [4.0, 1.0, 3.0, 2.0];
        check(percentile(&values, 50.0), 2.0);
        check(percentile(&values, 95.0), 4.0);
        check(percentile(&values, 0.0), 1.0);
        assert!(percentile(&[], 50.0).is_nan());
        check(mean(&values), 2.5);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_together_and_a_burst_is_never_less_than_a_period_shows(
            flows in prop::collection::vec(prop::collection::vec((0u64..50, 0u64..9000), 0..40), 1..5)
        ) {
            let flows: Vec<Arrivals> = flows.into_iter().map(|pieces| {
                let (mut arrivals, mut at) = (Arrivals::default(), 0);
                for (gap, bytes) in pieces {
                    at += gap;
                    arrivals.push(Duration::from_millis(at), bytes);
                }
                arrivals
            }).collect();
            let all = Arrivals::together(&flows);
            prop_assert_eq!(all.total(), flows.iter().map(Arrivals::total).sum::<u64>());
            let burst = all.burst(1e6);
            for pair in all.points().windows(2) {
                let excess = (pair[1].1 - pair[0].1) as f64;
                prop_assert!(burst + 1e-6 >= excess, "{burst} < {excess}");
            }
        }
    }
}
