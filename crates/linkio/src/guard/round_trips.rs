//! Round trip times of many origins, and how much of the latest is a queue.
//!
//! Owns each origin's baseline (the least time seen, forgotten slowly), what of a time counts as noise, and the middle
//! of the recent samples. Which direction the queue is in cannot be seen from here.

use std::collections::VecDeque;
use std::time::Duration;

use crate::moment::Moment;

/// Origins whose baseline is kept; of more, the one unheard of for longest is forgotten.
const ORIGINS: usize = 64;

/// A baseline is the least of the present and the last of these times: a route that grew longer is believed in the
/// end. LEDBAT (RFC 6817) keeps ten minutes too.
pub(super) const AGE: Duration = Duration::from_secs(300);

/// Less than this above the baseline is never a queue, nor is less than `NOISE_PERCENT` of it.
const NOISE: Duration = Duration::from_millis(15);
const NOISE_PERCENT: u32 = 15;

/// Nor is less than so many times the usual distance from it: evenly spread jitter reaches to twice its mean.
const SPREADS: u32 = 3;

/// Samples that came in this time count, or the last `FEWEST` if fewer came; older than `OLDEST` none does.
const RECENT: Duration = Duration::from_secs(3);
const FEWEST: usize = 3;
const OLDEST: Duration = Duration::from_secs(15);
const MOST: usize = 32;

/// One round trip, compared with its origin's baseline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Excess {
    pub(super) began: Moment,
    pub(super) ended: Moment,
    /// What it took beyond the baseline.
    pub(super) over: Duration,
    /// The most that still counts as noise.
    pub(super) noise: Duration,
}

impl Excess {
    /// Whether a queue stands on the link.
    pub(super) fn is_queue(&self) -> bool {
        self.over > self.noise
    }

    /// Whether there is neither a queue nor the beginning of one.
    pub(super) fn is_calm(&self) -> bool {
        self.over <= self.noise / 2
    }

    /// How much it is of what is noise, in thousandths: samples of near and far origins compare by it.
    fn level(&self) -> u128 {
        self.over.as_nanos().saturating_mul(1000) / self.noise.as_nanos().max(1)
    }
}

/// The least value of the present and the last `AGE`.
#[derive(Clone, Copy, Debug)]
struct Lowest {
    since: Moment,
    present: Duration,
    last: Duration,
}

impl Lowest {
    fn take(&mut self, sample: Duration, now: Moment) {
        if now.since(self.since) >= AGE {
            (self.last, self.present, self.since) = (self.present, sample, now);
        }
        self.present = self.present.min(sample);
    }

    fn value(&self) -> Duration {
        self.present.min(self.last)
    }
}

#[derive(Clone, Debug)]
struct Origin {
    key: u64,
    lowest: Lowest,
    heard: Moment,
}

/// The round trips of one link.
#[derive(Clone, Debug, Default)]
pub(super) struct RoundTrips {
    origins: Vec<Origin>,
    recent: VecDeque<Excess>,
    /// How far samples without any queue of ours lie above the baseline.
    spread: Duration,
    /// Whether a sample was ever taken while nothing of ours crossed: then the baseline is no queue.
    rested: bool,
}

impl RoundTrips {
    /// Compares a sample that ended at `now` with its origin's baseline, which learns from it. `resting`: nothing of
    /// ours crossed meanwhile. `burst`: what a few packets take on the link, which are no queue. The first sample of an
    /// origin is compared with nothing.
    pub(super) fn compare(
        &mut self,
        key: u64,
        sample: Duration,
        resting: bool,
        burst: Duration,
        now: Moment,
    ) -> Option<Excess> {
        self.rested |= resting;
        let Some(origin) = self.origins.iter_mut().find(|origin| origin.key == key) else {
            self.remember(key, sample, now);
            return None;
        };
        origin.heard = now;
        origin.lowest.take(sample, now);
        let lowest = origin.lowest.value();
        let share = lowest.saturating_mul(NOISE_PERCENT) / 100;
        let noise = NOISE.max(share).max(burst).max(self.spread.saturating_mul(SPREADS));
        let over = sample.saturating_sub(lowest);
        if resting {
            self.spread_to(over.min(noise.saturating_mul(2)));
        }
        Some(Excess { began: now.before(sample), ended: now, over, noise })
    }

    fn remember(&mut self, key: u64, sample: Duration, now: Moment) {
        if self.origins.len() >= ORIGINS {
            let oldest = self.origins.iter().enumerate().min_by_key(|(_, origin)| origin.heard);
            if let Some((place, _)) = oldest {
                self.origins.swap_remove(place);
            }
        }
        let lowest = Lowest { since: now, present: sample, last: sample };
        self.origins.push(Origin { key, lowest, heard: now });
    }

    /// Moves the usual distance from the baseline by an eighth towards `over`.
    pub(super) fn spread_to(&mut self, over: Duration) {
        self.spread = self.spread.saturating_mul(7).saturating_add(over) / 8;
    }

    /// Takes `over` for what the link is like: no rate of ours made it smaller.
    pub(super) fn accept(&mut self, over: Duration) {
        self.spread = self.spread.max(over.saturating_mul(3) / 4);
        self.recent.clear();
    }

    /// Lets a sample count among the recent ones.
    pub(super) fn push(&mut self, excess: Excess) {
        if self.recent.len() >= MOST {
            self.recent.pop_front();
        }
        self.recent.push_back(excess);
    }

    /// The middle one of the recent samples that began after `since`; `None` while there are not two.
    pub(super) fn middle(&self, since: Moment, now: Moment) -> Option<Excess> {
        let counts = |(place, excess): &(usize, &Excess)| {
            let age = now.since(excess.ended);
            excess.began >= since && age <= OLDEST && (*place < FEWEST || age <= RECENT)
        };
        let recent = self.recent.iter().rev().enumerate().filter(counts);
        let mut recent: Vec<Excess> = recent.map(|(_, excess)| *excess).collect();
        if recent.len() < 2 {
            return None;
        }
        recent.sort_by_key(Excess::level);
        recent.get((recent.len() - 1) / 2).copied()
    }

    /// Whether baselines are known to be free of our own queue.
    pub(super) fn has_rested(&self) -> bool {
        self.rested
    }

    /// When the last sample that counts came.
    pub(super) fn last(&self) -> Option<Moment> {
        self.recent.back().map(|excess| excess.ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::START + Duration::from_secs(seconds)
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Samples of one origin, one a second, while something crosses; whether their middle is a queue.
    fn check(samples: &[u64], expected: Option<bool>) {
        let mut trips = RoundTrips::default();
        let mut now = at(10);
        for sample in samples {
            now = now + Duration::from_secs(1);
            trips
                .compare(1, millis(*sample), false, Duration::ZERO, now)
                .into_iter()
                .for_each(|excess| trips.push(excess));
        }
        let middle = trips.middle(Moment::START, now);
        assert_eq!(middle.map(|excess| excess.is_queue()), expected, "{samples:?}");
    }

    #[test]
    fn a_queue_is_fifteen_milliseconds_or_percent_in_the_middle() {
        check(&[100], None);
        check(&[100, 200], None);
        check(&[100, 101, 102], Some(false));
        check(&[100, 115, 115, 115], Some(false));
        check(&[100, 116, 116, 116], Some(true));
        check(&[600, 690, 690, 690], Some(false));
        check(&[600, 691, 691, 691], Some(true));
        check(&[100, 3100, 101, 102], Some(false));
        check(&[100, 3100, 3100, 102], Some(true));
        check(&[100, 200, 200, 50, 50, 50], Some(false));
    }

    #[test]
    fn every_origin_has_its_own_baseline() {
        let mut trips = RoundTrips::default();
        for (second, (origin, sample)) in
            [(1, 20), (2, 300), (1, 21), (2, 301), (1, 20), (2, 300)].iter().enumerate()
        {
            let now = at(10 + u64::try_from(second).unwrap());
            trips
                .compare(*origin, millis(*sample), false, Duration::ZERO, now)
                .into_iter()
                .for_each(|excess| trips.push(excess));
        }
        assert!(trips.middle(Moment::START, at(16)).unwrap().is_calm());
    }

    #[test]
    fn a_longer_route_is_believed_after_ten_minutes() {
        let mut trips = RoundTrips::default();
        trips.compare(1, millis(100), false, Duration::ZERO, at(0));
        let over = |trips: &mut RoundTrips, second| {
            trips.compare(1, millis(300), false, Duration::ZERO, at(second)).unwrap().over
        };
        assert_eq!(over(&mut trips, 200), millis(200));
        assert_eq!(over(&mut trips, 400), millis(200));
        assert_eq!(over(&mut trips, 800), millis(0));
    }

    #[test]
    fn jitter_seen_at_rest_is_noise() {
        let mut trips = RoundTrips::default();
        for second in 0..100 {
            trips.compare(1, millis(40 + second * 37 % 60), true, Duration::ZERO, at(second));
        }
        let excess = trips.compare(1, millis(85), false, Duration::ZERO, at(101)).unwrap();
        assert!(!excess.is_queue(), "{excess:?}");
        assert!(trips.compare(1, millis(200), false, Duration::ZERO, at(102)).unwrap().is_queue());
    }

    #[test]
    fn what_began_too_early_or_long_ago_does_not_count() {
        let mut trips = RoundTrips::default();
        for second in 10..15 {
            trips
                .compare(1, millis(100), false, Duration::ZERO, at(second))
                .into_iter()
                .for_each(|excess| trips.push(excess));
        }
        assert!(trips.middle(at(10), at(15)).is_some());
        assert!(trips.middle(at(14), at(15)).is_none());
        assert!(trips.middle(at(10), at(40)).is_none());
    }

    #[test]
    fn the_oldest_of_too_many_origins_is_forgotten() {
        let mut trips = RoundTrips::default();
        for key in 0..65 {
            assert!(trips.compare(key, millis(100), false, Duration::ZERO, at(key)).is_none());
        }
        assert_eq!(trips.origins.len(), ORIGINS);
        assert!(trips.compare(64, millis(100), false, Duration::ZERO, at(70)).is_some());
        assert!(trips.compare(0, millis(100), false, Duration::ZERO, at(71)).is_none());
    }
}
