//! What the real uplink is like, seen from the traffic that crosses it anyway: how long handshakes take, and the
//! highest rates that were kept up. Pure: it is told what happened and when, and asks nobody.
//!
//! It does not change the link, and it costs the link nothing: whoever dials and copies tells it.

use std::collections::VecDeque;
use std::time::Duration;

use linkio::{BitRate, Moment};

/// How long an observation counts.
const WINDOW: Duration = Duration::from_secs(600);
/// How long a rate has to be kept up to count.
const SUSTAINED: Duration = Duration::from_secs(1);
/// Totals that come further apart than this are not of one stretch of traffic.
const GAP: Duration = Duration::from_millis(500);
/// Handshakes that are remembered; more only make older ones go earlier.
const HANDSHAKES: usize = 256;
/// Parts of the window, of each of which the best rate is remembered.
const PART: Duration = Duration::from_secs(10);

/// Parts that may be remembered at once, even by a clock that goes back and forth.
const PARTS: usize = 64;

/// What is known of the uplink from passing traffic.
#[derive(Clone, Debug, Default)]
pub(crate) struct Estimate {
    handshakes: VecDeque<(Moment, Duration)>,
    /// Totals of the last second or a little more, one stretch without a gap.
    stretch: VecDeque<Total>,
    /// The best of each part of the window, the oldest first.
    best: VecDeque<Best>,
    /// When anything was first told.
    since: Option<Moment>,
}

/// Payload bytes that had crossed in each direction by a moment.
#[derive(Clone, Copy, Debug)]
struct Total {
    at: Moment,
    down: u64,
    up: u64,
    busy_down: bool,
}

/// The highest rates of one part of the window.
#[derive(Clone, Copy, Debug)]
struct Best {
    part: u64,
    down: Sustained,
    up: Sustained,
}

/// A rate that was kept up for a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Sustained {
    bits_per_second: u64,
    busy: bool,
}

/// The estimate in figures. What was not seen is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// The shortest handshake: the round trip of the idle uplink.
    pub(crate) rtt: Option<Duration>,
    /// The handshake in the middle: the round trip as it mostly is.
    pub(crate) median_rtt: Option<Duration>,
    /// Handshakes these come from.
    pub(crate) rtt_samples: usize,
    /// The highest rate towards us that was kept up for a second.
    pub(crate) down: Option<BitRate>,
    /// Whether traffic waited for more all that second; else more may have been possible.
    pub(crate) down_was_busy: bool,
    /// The highest rate away from us that was kept up for a second.
    pub(crate) up: Option<BitRate>,
    /// How far back all this reaches; zero if nothing was told yet.
    pub(crate) since: Duration,
}

impl Estimate {
    /// A handshake with an origin took `rtt`, the link's own time not included.
    pub(crate) fn dialled(&mut self, rtt: Duration, now: Moment) {
        self.begin(now);
        if self.handshakes.len() == HANDSHAKES {
            self.handshakes.pop_front();
        }
        self.handshakes.push_back((now, rtt));
        self.forget(now);
    }

    /// So many payload bytes have crossed since the beginning. To be called each 100 ms or so while there is traffic.
    /// `busy_down`: since the last call there was always more that wanted to come down.
    pub(crate) fn crossed(&mut self, down_total: u64, up_total: u64, busy_down: bool, now: Moment) {
        self.begin(now);
        let total = Total { at: now, down: down_total, up: up_total, busy_down };
        let continues = self.stretch.back().is_some_and(|last| {
            now > last.at && now.since(last.at) <= GAP && down_total >= last.down && up_total >= last.up
        });
        if !continues {
            self.stretch.clear();
        }
        self.stretch.push_back(total);
        // The one at the front is the youngest that is a second old.
        while self.stretch.get(1).is_some_and(|second| now.since(second.at) >= SUSTAINED) {
            self.stretch.pop_front();
        }
        if let Some(first) = self.stretch.front().filter(|first| now.since(first.at) >= SUSTAINED) {
            let over = now.since(first.at);
            // Of the first total it is not known what was before it.
            let busy = self.stretch.iter().skip(1).all(|total| total.busy_down);
            let down = Sustained { bits_per_second: rate(down_total - first.down, over), busy };
            let up = Sustained { bits_per_second: rate(up_total - first.up, over), busy: false };
            self.note(down, up, now);
        }
        self.forget(now);
    }

    /// What is known at `now`.
    pub(crate) fn summary(&self, now: Moment) -> Summary {
        let Some(since) = self.since else { return Summary::default() };
        let recent = |at: Moment| now.since(at) <= WINDOW;
        let handshakes = self.handshakes.iter().filter(|(at, _)| recent(*at));
        let mut times: Vec<Duration> = handshakes.map(|(_, rtt)| *rtt).collect();
        times.sort_unstable();
        let best = || self.best.iter().filter(|best| is_recent(best.part, now));
        let down = best().map(|best| best.down).max().unwrap_or_default();
        let up = best().map(|best| best.up).max().unwrap_or_default();
        let seen = |rate: Sustained| {
            (rate.bits_per_second > 0).then(|| BitRate::from_bits_per_second(rate.bits_per_second))
        };
        Summary {
            rtt: times.first().copied(),
            median_rtt: times.get(times.len() / 2).copied(),
            rtt_samples: times.len(),
            down: seen(down),
            down_was_busy: down.busy,
            up: seen(up),
            since: now.since(since).min(WINDOW),
        }
    }

    fn begin(&mut self, now: Moment) {
        self.since.get_or_insert(now);
    }

    fn note(&mut self, down: Sustained, up: Sustained, now: Moment) {
        let part = part(now);
        match self.best.back_mut() {
            Some(best) if best.part == part => (best.down, best.up) = (best.down.max(down), best.up.max(up)),
            _ => self.best.push_back(Best { part, down, up }),
        }
    }

    /// Lets go of what no longer counts.
    fn forget(&mut self, now: Moment) {
        while self.handshakes.front().is_some_and(|(at, _)| now.since(*at) > WINDOW) {
            self.handshakes.pop_front();
        }
        while self.best.front().is_some_and(|best| !is_recent(best.part, now)) || self.best.len() > PARTS {
            self.best.pop_front();
        }
    }
}

/// The part of all time that `now` is in.
fn part(now: Moment) -> u64 {
    now.since(Moment::START).as_secs() / PART.as_secs()
}

fn is_recent(then: u64, now: Moment) -> bool {
    part(now).saturating_sub(then) <= WINDOW.as_secs() / PART.as_secs()
}

fn rate(bytes: u64, over: Duration) -> u64 {
    let bits = u128::from(bytes) * 8 * 1_000_000_000 / over.as_nanos().max(1);
    u64::try_from(bits).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::after_start(Duration::from_millis(millis))
    }

    /// `bytes` down in each of the tenths of a second from `from` to `to`.
    fn steady(estimate: &mut Estimate, total: &mut u64, bytes: u64, from: u64, to: u64) {
        for tenth in from..=to {
            *total += bytes;
            estimate.crossed(*total, *total / 4, true, at(tenth * 100));
        }
    }

    fn check(tenths: u64, bytes: u64, expected: Option<u64>) {
        let (mut estimate, mut total) = (Estimate::default(), 0);
        steady(&mut estimate, &mut total, bytes, 0, tenths);
        let summary = estimate.summary(at(tenths * 100));
        assert_eq!(summary.down.map(BitRate::bits_per_second), expected);
    }

    #[test]
    fn a_rate_counts_when_it_was_kept_up_for_a_second() {
        check(30, 12_500, Some(1_000_000));
        check(10, 12_500, Some(1_000_000));
        check(9, 12_500, None);
        check(30, 0, None);
    }

    #[test]
    fn the_best_second_counts_and_says_whether_more_was_wanted() {
        let (mut estimate, mut total) = (Estimate::default(), 0);
        steady(&mut estimate, &mut total, 1_000, 0, 20);
        steady(&mut estimate, &mut total, 12_500, 21, 40);
        steady(&mut estimate, &mut total, 1_000, 41, 60);
        let summary = estimate.summary(at(6_000));
        assert_eq!(summary.down.map(BitRate::bits_per_second), Some(1_000_000));
        assert!(summary.down_was_busy);
        let up = summary.up.map_or(0, BitRate::bits_per_second);
        assert!((249_900..=250_000).contains(&up), "{up}");
        estimate.crossed(total + 100_000, 0, false, at(6_100));
        assert_eq!(estimate.summary(at(6_100)).down, summary.down, "totals that fall are another proxy's");
    }

    #[test]
    fn traffic_with_a_gap_is_no_sustained_rate() {
        let mut estimate = Estimate::default();
        for n in 0..10 {
            estimate.crossed(n * 1_000_000, 0, true, at(n * 600));
        }
        assert_eq!(estimate.summary(at(6_000)).down, None);
    }

    #[test]
    fn handshakes_give_the_shortest_and_the_middle_one() {
        let mut estimate = Estimate::default();
        for (n, millis) in [640, 600, 900, 620, 610].into_iter().enumerate() {
            estimate.dialled(Duration::from_millis(millis), at(n as u64 * 1000));
        }
        let summary = estimate.summary(at(5_000));
        assert_eq!(summary.rtt, Some(Duration::from_millis(600)));
        assert_eq!(summary.median_rtt, Some(Duration::from_millis(620)));
        assert_eq!((summary.rtt_samples, summary.since), (5, Duration::from_secs(5)));
    }

    #[test]
    fn what_was_ten_minutes_ago_is_forgotten() {
        let (mut estimate, mut total) = (Estimate::default(), 0);
        estimate.dialled(Duration::from_millis(40), at(0));
        steady(&mut estimate, &mut total, 12_500, 0, 20);
        let later = at(620_000);
        assert_eq!(estimate.summary(later), Summary { since: WINDOW, ..Summary::default() });
        estimate.dialled(Duration::from_millis(600), later);
        assert_eq!(estimate.summary(later).rtt, Some(Duration::from_millis(600)));
    }

    #[test]
    fn nothing_told_is_nothing_known() {
        assert_eq!(Estimate::default().summary(at(1_000)), Summary::default());
    }

    proptest! {
        #[test]
        fn anything_may_be_told(
            told in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>(), any::<bool>()), 0..200)
        ) {
            let mut estimate = Estimate::default();
            for (first, second, third, which) in told {
                let now = Moment::from_nanos(third);
                match which {
                    true => estimate.crossed(first, second, which, now),
                    false => estimate.dialled(Duration::from_nanos(first), now),
                }
                prop_assert!(estimate.handshakes.len() <= HANDSHAKES);
                prop_assert!(estimate.summary(now).since <= WINDOW);
            }
        }

        #[test]
        fn the_estimate_is_never_above_what_any_second_carried(
            pieces in prop::collection::vec(0u64..100_000, 1..300)
        ) {
            let (mut estimate, mut total, mut totals) = (Estimate::default(), 0, Vec::new());
            for (n, bytes) in pieces.iter().enumerate() {
                total += bytes;
                totals.push(total);
                estimate.crossed(total, 0, false, at(n as u64 * 100));
            }
            let seconds = totals.windows(11).map(|window| (window[10] - window[0]) * 8).max();
            let found = estimate.summary(at(pieces.len() as u64 * 100)).down.map(BitRate::bits_per_second);
            prop_assert_eq!(found.unwrap_or(0), seconds.unwrap_or(0));
        }
    }
}
