//! One value of a schedule as a function of time: steps, straight lines, and the beginning again.
//!
//! Owns the reading of `Schedule` for one value: a rate, a time or a loss, all as whole numbers. It does not know which
//! of them it is. Times are nanoseconds since the schedule began.

use std::time::Duration;

use crate::spec::{Change, Point, Schedule};

/// A value over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Track {
    /// In order of `at`; the first is at zero.
    pieces: Vec<Piece>,
    /// After how long it begins again; zero if it does not.
    repeat: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    at: u64,
    /// How long the value takes from `from` to `to`; zero if it is `to` at once.
    length: u64,
    from: u64,
    to: u64,
}

/// What a track does from one moment until another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// When the line began, maybe before the moment asked about.
    pub(crate) begin: u64,
    /// How long the line takes; zero for a level, of which `from` and `to` are the same.
    pub(crate) length: u64,
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// When something else follows; `u64::MAX` if nothing ever does.
    pub(crate) until: u64,
}

impl Track {
    /// A value that never changes.
    pub(crate) fn constant(value: u64) -> Self {
        Self { pieces: vec![level(0, value)], repeat: 0 }
    }

    /// `initial`, then what `value` finds in the points of `schedule`. Points that are out of order are passed over.
    pub(crate) fn new(initial: u64, schedule: &Schedule, value: impl Fn(&Point) -> Option<u64>) -> Self {
        let mut track = Self::constant(initial);
        let (mut before, mut current) = (0, initial);
        for point in &schedule.points {
            let at = nanos(point.at);
            if at < before {
                continue;
            }
            if let Some(next) = value(point).filter(|next| *next != current) {
                if point.change == Change::Ramp && at > before {
                    track.push(Piece { at: before, length: at - before, from: current, to: next });
                }
                track.push(level(at, next));
                current = next;
            }
            before = at;
        }
        // A track that comes back to where it began only by beginning again is not constant, so the period stays.
        track.repeat = schedule.repeat.map_or(0, nanos);
        track
    }

    /// The value, if it never changes.
    pub(crate) fn as_constant(&self) -> Option<u64> {
        match self.pieces[..] {
            [piece] if piece.length == 0 => Some(piece.to),
            _ => None,
        }
    }

    /// The largest value it ever has.
    pub(crate) fn max(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.from.max(piece.to)).max().unwrap_or(0)
    }

    /// What it does at `offset` and how long.
    pub(crate) fn stretch(&self, offset: u64) -> Stretch {
        let (lap, inner) = match offset.checked_rem(self.repeat) {
            Some(inner) => (offset - inner, inner),
            None => (0, offset),
        };
        // The first piece is at zero, so one is always at or before.
        let next = self.pieces.partition_point(|piece| piece.at <= inner);
        let piece = self.pieces[next.saturating_sub(1)];
        let lap_end = if self.repeat == 0 { u64::MAX } else { self.repeat };
        let until = self.pieces.get(next).map_or(lap_end, |piece| piece.at.min(lap_end));
        Stretch {
            begin: lap + piece.at,
            length: piece.length,
            from: piece.from,
            to: piece.to,
            until: if until == u64::MAX { until } else { lap.saturating_add(until) },
        }
    }

    /// Its value at `offset`.
    pub(crate) fn value(&self, offset: u64) -> u64 {
        self.stretch(offset).value(offset)
    }

    fn push(&mut self, piece: Piece) {
        match self.pieces.last_mut() {
            Some(last) if last.at == piece.at => *last = piece,
            _ => self.pieces.push(piece),
        }
    }
}

impl Stretch {
    /// The value at `offset`, which is within it.
    pub(crate) fn value(&self, offset: u64) -> u64 {
        let (low, high) = (self.from.min(self.to), self.from.max(self.to));
        if self.length == 0 || low == high {
            return self.to;
        }
        let passed = offset.saturating_sub(self.begin).min(self.length);
        let climbed = if self.from < self.to { passed } else { self.length - passed };
        let part = u128::from(high - low) * u128::from(climbed) / u128::from(self.length);
        // At most `high - low`, so it fits.
        low + u64::try_from(part).unwrap_or(0)
    }
}

/// A duration in nanoseconds, at most 584 years.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn level(at: u64, value: u64) -> Piece {
    Piece { at, length: 0, from: value, to: value }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::spec::Loss;

    /// Points as (milliseconds, loss, whether a ramp), and the value expected at each of some milliseconds.
    fn check(points: &[(u64, u32, bool)], repeat: Option<u64>, expected: &[(u64, u64)]) {
        let track = track(100, points, repeat);
        for (at, value) in expected {
            assert_eq!(track.value(at * 1_000_000), *value, "at {at} ms");
        }
    }

    fn track(initial: u64, points: &[(u64, u32, bool)], repeat: Option<u64>) -> Track {
        let points = points.iter().map(|(at, loss, ramp)| Point {
            at: Duration::from_millis(*at),
            change: if *ramp { Change::Ramp } else { Change::Step },
            down: None,
            up: None,
            rtt: None,
            jitter: None,
            loss: Some(Loss(*loss)),
        });
        let schedule = Schedule { points: points.collect(), repeat: repeat.map(Duration::from_millis) };
        Track::new(initial, &schedule, |point| point.loss.map(|loss| u64::from(loss.0)))
    }

    #[test]
    fn steps_ramps_and_beginnings_again() {
        check(&[], None, &[(0, 100), (u64::MAX / 1_000_000, 100)]);
        check(&[(10, 5, false)], None, &[(9, 100), (10, 5), (1000, 5)]);
        check(&[(10, 200, true)], None, &[(0, 100), (5, 150), (10, 200), (11, 200)]);
        check(&[(10, 0, true)], None, &[(0, 100), (1, 90), (9, 10), (10, 0)]);
        check(
            &[(10, 5, false), (20, 15, true)],
            Some(30),
            &[(9, 100), (10, 5), (15, 10), (29, 15), (30, 100), (45, 10)],
        );
        check(&[(0, 7, true)], None, &[(0, 7)]);
        check(&[(10, 5, false), (5, 9, false)], None, &[(5, 100), (10, 5), (20, 5)]);
        check(&[(10, 5, false)], Some(0), &[(10, 5), (100, 5)]);
    }

    #[test]
    fn a_ramp_begins_at_the_point_before_even_if_that_says_nothing_of_the_value() {
        let mut schedule = Schedule { points: Vec::new(), repeat: None };
        for (at, change, loss) in [(10, Change::Step, None), (20, Change::Ramp, Some(Loss(200)))] {
            let at = Duration::from_millis(at);
            schedule.points.push(Point { at, change, down: None, up: None, rtt: None, jitter: None, loss });
        }
        let track = Track::new(100, &schedule, |point| point.loss.map(|loss| u64::from(loss.0)));
        assert_eq!([5, 10, 15, 20].map(|at| track.value(at * 1_000_000)), [100, 100, 150, 200]);
    }

    #[test]
    fn what_never_changes_is_constant() {
        assert_eq!(track(100, &[], None).as_constant(), Some(100));
        assert_eq!(track(100, &[(5, 100, true)], Some(10)).as_constant(), Some(100));
        assert_eq!(track(100, &[(5, 101, true)], None).as_constant(), None);
        assert_eq!(track(100, &[(0, 101, false)], None).as_constant(), Some(101));
        assert_eq!(track(100, &[(5, 700, true), (6, 1, false)], None).max(), 700);
    }

    proptest! {
        #[test]
        fn a_stretch_lies_around_what_was_asked(
            points in prop::collection::vec((0..50_u64, 0..9_u32, any::<bool>()), 0..8),
            repeat in prop::option::of(0..60_u64), offset: u64,
        ) {
            let track = track(3, &points, repeat);
            for offset in [offset, offset % 200_000_000] {
                let stretch = track.stretch(offset);
                prop_assert!(stretch.begin <= offset && (offset < stretch.until || offset == u64::MAX));
                prop_assert!(track.value(offset) <= track.max());
            }
        }
    }
}
