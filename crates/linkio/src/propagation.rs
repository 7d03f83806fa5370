//! How long what left the link takes to arrive: half a round trip, jitter, and what is lost.
//!
//! Owns the three as functions of the time since the link began. It holds no bytes and keeps no order: whoever does
//! lets nothing overtake. It decides no loss either, only how likely one is.

use std::time::Duration;

use crate::moment::Moment;
use crate::seed::{Purpose, below, draw};
use crate::spec::{Direction, LinkSpec, Loss, Schedule};
use crate::track::{Track, nanos};

/// Jitter stays the same for at least this long, so that packets of one burst are not torn apart.
const SLOT_MIN: u64 = 10_000_000;

/// The way through one direction of a link after its rate. [`LinkModel::propagation`](crate::LinkModel::propagation)
/// makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Propagation {
    /// What a link does that has no jitter and no schedule of these: most need no more.
    still: Option<Still>,
    start: Moment,
    direction: Direction,
    seed: u64,
    /// How long one draw of the jitter holds, in nanoseconds.
    slot: u64,
    /// In nanoseconds.
    rtt: Track,
    jitter: Track,
    /// In millionths.
    loss: Track,
}

/// A delay and a loss that never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Still {
    one_way: Duration,
    rtt: Duration,
    loss: Loss,
}

impl Propagation {
    /// That of `spec`, of which `schedule` is followed from `start` on.
    pub(crate) fn new(spec: &LinkSpec, schedule: &Schedule, direction: Direction, start: Moment) -> Self {
        let rtt = Track::new(nanos(spec.rtt), schedule, |point| point.rtt.map(nanos));
        let jitter = Track::new(nanos(spec.jitter), schedule, |point| point.jitter.map(nanos));
        let loss =
            Track::new(u64::from(spec.loss.0), schedule, |point| point.loss.map(|loss| u64::from(loss.0)));
        let still = match (rtt.as_constant(), jitter.as_constant(), loss.as_constant()) {
            (Some(rtt), Some(0), Some(loss)) => {
                let (one_way, rtt) = (Duration::from_nanos(rtt / 2), Duration::from_nanos(rtt));
                Some(Still { one_way, rtt, loss: millionths(loss) })
            }
            _ => None,
        };
        let slot = jitter.max().max(SLOT_MIN);
        Self { still, start, direction, seed: spec.seed, slot, rtt, jitter, loss }
    }

    /// Whether everything arrives at once and nothing is lost, now and ever.
    pub fn is_none(&self) -> bool {
        self.still == Some(Still { one_way: Duration::ZERO, rtt: Duration::ZERO, loss: Loss(0) })
    }

    /// How long what departs at `departure` is on its way: half the round trip, and between nothing and half the
    /// jitter.
    pub fn one_way(&self, departure: Moment) -> Duration {
        if let Some(still) = self.still {
            return still.one_way;
        }
        let offset = self.offset(departure);
        let most = self.jitter.value(offset) / 2;
        let late = if most == 0 {
            0
        } else {
            let slot = draw(self.seed, Purpose::Jitter, offset / self.slot, Some(self.direction));
            below(slot, most.saturating_add(1))
        };
        Duration::from_nanos((self.rtt.value(offset) / 2).saturating_add(late))
    }

    /// The round trip at `at`, both directions, without jitter.
    pub fn rtt(&self, at: Moment) -> Duration {
        match self.still {
            Some(still) => still.rtt,
            None => Duration::from_nanos(self.rtt.value(self.offset(at))),
        }
    }

    /// Whether anything is ever lost.
    pub fn loses(&self) -> bool {
        self.loss.max() > 0
    }

    /// How likely a packet that departs at `at` is lost.
    pub fn loss(&self, at: Moment) -> Loss {
        match self.still {
            Some(still) => still.loss,
            None => millionths(self.loss.value(self.offset(at))),
        }
    }

    /// Before it begins, a link is as at its beginning.
    fn offset(&self, at: Moment) -> u64 {
        at.as_nanos().saturating_sub(self.start.as_nanos())
    }
}

/// The loss of a track, which came from one.
fn millionths(loss: u64) -> Loss {
    Loss(u32::try_from(loss).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::spec::{Change, Point};

    const MILLI: u64 = 1_000_000;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(millis * MILLI)
    }

    fn propagation(rtt: u64, jitter: u64, direction: Direction) -> Propagation {
        let spec = LinkSpec { rtt: millis(rtt), jitter: millis(jitter), seed: 5, ..LinkSpec::default() };
        Propagation::new(&spec, &Schedule::default(), direction, Moment::START)
    }

    #[test]
    fn a_still_link_delays_by_half_a_round_trip() {
        let still = propagation(600, 0, Direction::Down);
        assert_eq!(
            (still.one_way(at(7)), still.rtt(at(7)), still.loss(at(7))),
            (millis(300), millis(600), Loss(0))
        );
        assert!(
            !still.is_none()
                && propagation(0, 0, Direction::Up).is_none()
                && !propagation(0, 9, Direction::Up).is_none()
        );
    }

    #[test]
    fn jitter_is_uniform_up_to_half_of_itself_each_way() {
        let sides = [Direction::Down, Direction::Up].map(|side| propagation(600, 40, side));
        let mut values = HashSet::new();
        for side in &sides {
            let late: Vec<u64> = (0..5000)
                .map(|slot| nanos(side.one_way(at(slot * 40)).saturating_sub(millis(300))))
                .collect();
            assert!(late.iter().all(|late| *late <= 20 * MILLI));
            let mean = late.iter().sum::<u64>() / 5000;
            // Uniform on 20 ms: a deviation of 5.8 ms / sqrt(5000) = 0.08 ms.
            assert!((9_700_000..10_300_000).contains(&mean), "{mean}");
            for tenth in 0..10 {
                let inside = |late: &&u64| (tenth * 2 * MILLI..(tenth + 1) * 2 * MILLI).contains(late);
                let count = late.iter().filter(inside).count();
                assert!((400..600).contains(&count), "{tenth}: {count}");
            }
            values.extend(late);
        }
        assert!(values.len() > 9900, "both ways and all slots draw for themselves: {}", values.len());
    }

    #[test]
    fn jitter_holds_for_a_slot() {
        for (jitter, slot) in [(40, 40), (2, 10)] {
            let side = propagation(100, jitter, Direction::Up);
            for index in 0..50 {
                let first = side.one_way(at(index * slot));
                assert!((0..slot).all(|within| side.one_way(at(index * slot + within)) == first));
                assert_ne!(side.one_way(at((index + 1) * slot)), first);
            }
        }
    }

    #[test]
    fn a_schedule_moves_all_three() {
        let point = |at: u64, change: Change| Point {
            at: millis(at),
            change,
            down: None,
            up: None,
            rtt: Some(millis(at)),
            jitter: (at == 1000).then_some(millis(10)),
            loss: Some(Loss(20_000)),
        };
        let points = vec![point(1000, Change::Step), point(2000, Change::Ramp)];
        let schedule = Schedule { points, repeat: Some(millis(3000)) };
        let spec = LinkSpec { rtt: millis(100), ..LinkSpec::default() };
        let moved = Propagation::new(&spec, &schedule, Direction::Down, at(500));
        let rtt =
            [0, 500, 1499, 1500, 2000, 2500, 3499, 3500, 4500].map(|now| moved.rtt(at(now)).as_millis());
        assert_eq!(rtt, [100, 100, 100, 1000, 1500, 2000, 2000, 100, 1000]);
        assert_eq!([1499, 1500, 2000, 3500].map(|now| moved.loss(at(now)).0), [0, 20_000, 20_000, 0]);
        assert_eq!(moved.one_way(at(1499)), millis(50));
        assert!((1500..3500).all(|now| moved.one_way(at(now)) <= moved.rtt(at(now)) / 2 + millis(5)));
        assert!((1500..3500).any(|now| moved.one_way(at(now)) > moved.rtt(at(now)) / 2));
        assert!(!moved.is_none());
    }

    proptest! {
        #[test]
        fn any_numbers_are_answered(rtt: u64, jitter: u64, seed: u64, start: u64, now: u64) {
            let (rtt, jitter) = (Duration::from_nanos(rtt), Duration::from_nanos(jitter));
            let spec = LinkSpec { rtt, jitter, seed, ..LinkSpec::default() };
            let side = Propagation::new(&spec, &Schedule::default(), Direction::Up, Moment::from_nanos(start));
            let delay = side.one_way(Moment::from_nanos(now));
            prop_assert!(delay >= rtt / 2 && delay <= rtt / 2 + jitter / 2);
            prop_assert_eq!(side.rtt(Moment::from_nanos(now)), rtt);
        }
    }
}
