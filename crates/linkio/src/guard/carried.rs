//! What one direction really carried: how fast, and since when without a pause.
//!
//! Owns rates measured from running totals. It does not know why something was slow: that is the controller's to
//! judge.

use std::collections::VecDeque;
use std::time::Duration;

use crate::moment::Moment;

/// After a longer silence a direction no longer flows. At 8 kbit/s a full packet takes 1.5 s.
pub(super) const PAUSE: Duration = Duration::from_secs(2);

/// Totals noted more often than this say nothing more.
const FINEST: Duration = Duration::from_millis(50);

/// How far back rates are looked for.
const KEPT: Duration = Duration::from_secs(12);

/// Rates are taken over the first of these times in which enough crossed, else over the last.
const WINDOWS: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(6)];

/// Sixteen full packets: one packet more or less at the edge of a window is then 6 % or less.
const ENOUGH: u64 = 24_000;

/// The running total of one direction, and its recent past.
#[derive(Clone, Debug, Default)]
pub(super) struct Carried {
    /// Bytes since the beginning, at moments in order; bounded by `KEPT` and `FINEST`.
    past: VecDeque<(Moment, u64)>,
    reported: Option<u64>,
    flowing_since: Option<Moment>,
    last_byte: Moment,
}

impl Carried {
    /// Takes the total that was reported at `now`. One that is smaller than the last begins anew.
    pub(super) fn note(&mut self, total: u64, now: Moment) {
        let more = total.saturating_sub(self.reported.unwrap_or(total));
        self.reported = Some(total);
        let (before, sum) = self.past.back().copied().unwrap_or((now, 0));
        if more > 0 {
            let paused = now.since(self.last_byte) > PAUSE;
            if self.flowing_since.is_none() || paused {
                self.flowing_since = Some(before.max(now.before(PAUSE)));
            }
            self.last_byte = now;
        } else if now.since(self.last_byte) > PAUSE {
            self.flowing_since = None;
        }
        let crowded = self.past.iter().rev().nth(1).is_some_and(|(then, _)| now.since(*then) < FINEST);
        if crowded {
            self.past.pop_back();
        }
        self.past.push_back((now, sum.saturating_add(more)));
        while self.past.front().is_some_and(|(then, _)| now.since(*then) > KEPT) {
            self.past.pop_front();
        }
    }

    /// Whether bytes cross without a pause.
    pub(super) fn is_flowing(&self) -> bool {
        self.flowing_since.is_some()
    }

    /// When the last byte was seen to have crossed.
    pub(super) fn last_byte(&self) -> Moment {
        self.last_byte
    }

    /// Bits per second lately; `None` until bytes have flowed for a second, since `since`.
    pub(super) fn latest(&self, since: Moment) -> Option<u64> {
        let past = self.flow_after(since);
        let last = past.last()?.0;
        rate_over_windows(&past, |window| {
            past.iter().rev().find(|(then, _)| last.since(*then) >= window).and_then(|start| {
                past.last().map(|end| (end.1.saturating_sub(start.1), end.0.since(start.0)))
            })
        })
    }

    /// The most bits per second in any window of the flow that began after `since`; `None` until bytes have flowed
    /// for a second.
    pub(super) fn peak(&self, since: Moment) -> Option<u64> {
        let past = self.flow_after(since);
        rate_over_windows(&past, |window| fastest(&past, window))
    }

    fn flow_after(&self, since: Moment) -> Vec<(Moment, u64)> {
        let Some(flowing_since) = self.flowing_since else { return Vec::new() };
        let start = since.max(flowing_since);
        self.past.iter().copied().filter(|(then, _)| *then >= start).collect()
    }
}

/// What `measure` finds (bytes and their time) in the first window that is enough, or in all there is.
fn rate_over_windows(
    past: &[(Moment, u64)],
    measure: impl Fn(Duration) -> Option<(u64, Duration)>,
) -> Option<u64> {
    let (first, last) = (past.first()?, past.last()?);
    let span = last.0.since(first.0);
    if span < WINDOWS[0] {
        return None;
    }
    let mut found = None;
    for window in WINDOWS {
        let (bytes, time) = measure(window.min(span))?;
        found = Some(bits_per_second(bytes, time));
        if bytes >= ENOUGH || window >= span {
            break;
        }
    }
    found
}

/// The bytes and time of the fastest stretch that is at least `window` long.
fn fastest(past: &[(Moment, u64)], window: Duration) -> Option<(u64, Duration)> {
    let mut start = 0;
    let mut best: Option<(u64, Duration)> = None;
    for (now, total) in past {
        while past.get(start + 1).is_some_and(|(next, _)| now.since(*next) >= window) {
            start += 1;
        }
        let (then, sum) = past.get(start)?;
        let (bytes, time) = (total.saturating_sub(*sum), now.since(*then));
        let faster = |(most, its)| bits_per_second(bytes, time) > bits_per_second(most, its);
        if time >= window && best.is_none_or(faster) {
            best = Some((bytes, time));
        }
    }
    best
}

fn bits_per_second(bytes: u64, time: Duration) -> u64 {
    let bits = u128::from(bytes) * 8 * 1_000_000_000 / time.as_nanos().max(1);
    u64::try_from(bits).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(millis * 1_000_000)
    }

    /// Notes of each 100 ms in which `bytes` more have crossed each time; returns the last moment, in ms.
    fn carry(carried: &mut Carried, from: u64, bytes: &[u64]) -> u64 {
        let mut total = carried.reported.unwrap_or(0);
        let mut now = from;
        for more in bytes {
            now += 100;
            total += more;
            carried.note(total, at(now));
        }
        now
    }

    #[test]
    fn a_steady_flow_has_its_rate() {
        let mut carried = Carried::default();
        carried.note(0, at(0));
        carry(&mut carried, 0, &[12_500; 30]);
        assert_eq!(carried.latest(Moment::START), Some(1_000_000));
        assert_eq!(carried.peak(Moment::START), Some(1_000_000));
    }

    #[test]
    fn less_than_a_second_says_nothing() {
        let mut carried = Carried::default();
        carried.note(0, at(0));
        carry(&mut carried, 0, &[12_500; 9]);
        assert_eq!(carried.latest(Moment::START), None);
        carry(&mut carried, 900, &[12_500; 30]);
        assert_eq!(carried.latest(at(3000)), None, "only what came after counts");
    }

    #[test]
    fn the_peak_is_the_best_second_and_the_latest_is_the_last() {
        let mut carried = Carried::default();
        carried.note(0, at(0));
        let end = carry(&mut carried, 0, &[50_000; 10]);
        carry(&mut carried, end, &[25_000; 20]);
        assert_eq!(carried.peak(Moment::START), Some(4_000_000));
        assert_eq!(carried.latest(Moment::START), Some(2_000_000));
        assert_eq!(carried.peak(at(1500)), Some(2_000_000));
    }

    #[test]
    fn few_packets_are_counted_over_a_longer_time() {
        let mut carried = Carried::default();
        carried.note(0, at(0));
        // 40 kbit/s in full packets, one each 300 ms: a single second would show 36 or 48 kbit/s.
        let packets: Vec<u64> = (0..120).map(|tick| if tick % 3 == 0 { 1500 } else { 0 }).collect();
        carry(&mut carried, 0, &packets);
        let peak = carried.peak(Moment::START).unwrap();
        assert!((40_000..=42_000).contains(&peak), "{peak}");
    }

    #[test]
    fn a_pause_ends_a_flow_and_what_was_before_it() {
        let mut carried = Carried::default();
        carried.note(0, at(0));
        let end = carry(&mut carried, 0, &[12_500; 20]);
        assert!(carried.is_flowing());
        let end = carry(&mut carried, end, &[0; 22]);
        assert!(!carried.is_flowing());
        assert_eq!(carried.peak(Moment::START), None);
        carry(&mut carried, end, &[1250; 12]);
        assert_eq!(carried.peak(Moment::START), Some(100_000));
    }

    #[test]
    fn many_notes_and_totals_that_fall_are_harmless() {
        let mut carried = Carried::default();
        for millis in 0..5000 {
            carried.note(millis * 100, at(millis));
        }
        assert!(carried.past.len() < 500, "{}", carried.past.len());
        assert_eq!(carried.latest(Moment::START), Some(800_000));
        carried.note(0, at(5000));
        carried.note(u64::MAX, at(5000));
        carried.note(u64::MAX, at(0));
        let _ = (carried.latest(Moment::START), carried.peak(Moment::START));
    }
}
