//! A rate that changes with time.
//!
//! Owns what a schedule and the generators make of the rate of one direction, and the work it does between two moments.
//! It keeps no state: a stretch of the schedule and the share that is left of it are found anew for each question, so
//! any moment can be asked about in any order.

use super::line::{Line, RATE_MAX, Slope};
use crate::generator::{Generators, WHOLE};
use crate::moment::Moment;
use crate::track::Track;

/// Changes of the rate that one question looks through. A link that changes more often than that while one thing
/// crosses goes on at its mean rate from there, so that no specification can keep anybody busy for ever.
const CHANGES_MAX: u32 = 100_000;

/// The rate of one direction of a link as a function of time: its schedule, and its outages, passes, rain and
/// handovers. [`LinkModel::capacity`](crate::LinkModel::capacity) makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// When the schedule begins, in nanoseconds of link time. Before that the link is as at its beginning.
    start: u64,
    /// Bits per second.
    rate: Track,
    generators: Generators,
}

impl Profile {
    /// `rate` from `start` on, less what `generators` take.
    pub(crate) fn new(start: Moment, rate: Track, generators: Generators) -> Self {
        Self { start: start.as_nanos(), rate, generators }
    }

    /// The rate of a direction that has no limit of its own but changes with time: so much that nothing waits.
    pub(crate) const UNLIMITED: u64 = RATE_MAX;

    /// The rate at `at`.
    pub(super) fn rate(&self, at: Moment) -> u64 {
        let at = at.as_nanos();
        match self.ahead(at).0 {
            Line::Level(rate) => rate,
            Line::Slope(slope) => slope.rate(at),
        }
    }

    /// What the schedule alone says at `at` or, if that is nothing, the most it ever says.
    pub(super) fn nominal(&self, at: Moment) -> u64 {
        match self.rate.value(at.as_nanos().saturating_sub(self.start)) {
            0 => self.rate.max(),
            rate => rate,
        }
    }

    /// When anything can cross again at or after `at`; `None` if not before the end of link time.
    pub(super) fn opens(&self, at: Moment) -> Option<Moment> {
        let mut from = at.as_nanos();
        for _ in 0..CHANGES_MAX {
            match self.ahead(from) {
                (Line::Level(0), u64::MAX) => return None,
                (Line::Level(0), until) => from = until,
                _ => return Some(Moment::from_nanos(from)),
            }
        }
        None
    }

    /// The first moment from `from` on by which `missing`, which is not zero, was done, and what was done by then.
    pub(super) fn reach(&self, from: Moment, missing: u128) -> Option<(Moment, u128)> {
        let first = from.as_nanos();
        let (mut from, mut done) = (first, 0_u128);
        for _ in 0..CHANGES_MAX {
            let (line, until) = self.ahead(from);
            if let Some(end) = line.reach(from, until, missing - done) {
                return Some((Moment::from_nanos(end), done + line.work(from, end)));
            }
            if until == u64::MAX {
                return None;
            }
            done += line.work(from, until);
            from = until;
        }
        // Only a link that did nothing at all for so many changes is taken for one that never will.
        let mean = done.checked_div(u128::from(from - first))?.max(u128::from(done > 0));
        let nanos = (missing - done).div_ceil(Some(mean).filter(|mean| *mean > 0)?);
        Some((Moment::from_nanos(from).checked_add_nanos(nanos)?, done + mean * nanos))
    }

    /// Work between `from` and `to`.
    pub(super) fn work(&self, from: Moment, to: Moment) -> u128 {
        let (first, to) = (from.as_nanos(), to.as_nanos());
        let (mut from, mut done) = (first, 0_u128);
        for _ in 0..CHANGES_MAX {
            if from >= to {
                return done;
            }
            let (line, until) = self.ahead(from);
            let end = until.min(to);
            done += line.work(from, end);
            from = end;
        }
        let mean = done.checked_div(u128::from(from - first)).unwrap_or(0);
        done + mean * u128::from(to - from)
    }

    /// What the rate does at `at`, and until when.
    fn ahead(&self, at: u64) -> (Line, u64) {
        let Some(offset) = at.checked_sub(self.start) else {
            let rate = self.rate.value(0).min(RATE_MAX);
            return (Line::Level(left(rate, self.generators.share(0).millionths)), self.start);
        };
        let stretch = self.rate.stretch(offset);
        if stretch.from == 0 && stretch.to == 0 {
            return (Line::Level(0), self.moment(stretch.until));
        }
        let share = self.generators.share(offset);
        if share.millionths == 0 {
            return (Line::Level(0), self.moment(share.until));
        }
        let scaled = |rate: u64| left(rate.min(RATE_MAX), share.millionths);
        let (from, to) = (scaled(stretch.from), scaled(stretch.to));
        let line = if stretch.length == 0 || from == to {
            Line::Level(to)
        } else {
            Line::Slope(Slope {
                begin: self.start.saturating_add(stretch.begin),
                length: stretch.length,
                from,
                to,
            })
        };
        (line, self.moment(stretch.until.min(share.until)))
    }

    /// The moment of an offset; the end of link time stays that.
    fn moment(&self, offset: u64) -> u64 {
        self.start.saturating_add(offset)
    }
}

/// What is left of `rate`, and never nothing unless nothing is left.
fn left(rate: u64, millionths: u64) -> u64 {
    match (rate, millionths) {
        (0, _) | (_, 0) => 0,
        (rate, WHOLE) => rate,
        (rate, millionths) => (rate * millionths / WHOLE).max(1),
    }
}
