//! How much of a link's direction can cross between two moments.
//!
//! Owns `Capacity` and the exact clock of the work it does. It knows no flow and no queue. Everything is asked in
//! terms of work done between two moments, never of a rate, so that a constant rate, one that changes and a trace
//! have the same shape.
//!
//! Work is counted in nanobits: a bit is 10^9 of them, and one bit per second does one of them each nanosecond. So
//! rate times time is a product of integers, and no rounding is ever lost: what a whole nanosecond did beyond the
//! end of a packet is carried into the next one.

mod line;
mod profile;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crate::moment::Moment;
use crate::rate::BitRate;
use crate::trace::Trace;

pub use self::profile::Profile;

/// 20 ms of rate is one turn of a flow, at least `QUANTUM_MIN` and at most one Ethernet payload.
const QUANTUM_MILLIS: u64 = 20;
const QUANTUM_MIN: u64 = 128;
const QUANTUM_MAX: u64 = 1500;
/// A flow keeps two grants or 50 ms of rate waiting, whichever is more, and no more than this many bytes.
const BACKLOG_MILLIS: u64 = 50;
const BACKLOG_MAX: u64 = 64 * 1024;
/// Nanobits of a byte.
const BYTE: u128 = 8_000_000_000;

/// What one direction of a link can carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// Everything crosses at once.
    Unlimited,
    /// A constant rate; zero is a closed link.
    Constant(BitRate),
    /// A rate that changes with time.
    Profile(Arc<Profile>),
    /// The chances of a trace that began at the given moment. One that nobody uses when it comes is lost.
    Trace(Arc<Trace>, Moment),
}

/// A point in link time, exactly: a moment, and the work already done towards what comes after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Clock {
    pub(crate) at: Moment,
    pub(crate) ahead: u128,
}

impl Clock {
    pub(crate) fn starting(at: Moment) -> Self {
        Self { at, ahead: 0 }
    }
}

impl Capacity {
    /// The capacity of a rate of a [`LinkSpec`](crate::LinkSpec), where `None` is unlimited.
    pub fn from_spec(rate: Option<BitRate>) -> Self {
        rate.map_or(Self::Unlimited, Self::Constant)
    }

    /// The rate at `at`: that of a trace is its mean, and `None` is unlimited.
    pub fn rate(&self, at: Moment) -> Option<BitRate> {
        match self {
            Self::Unlimited => None,
            Self::Constant(rate) => Some(*rate),
            Self::Profile(profile) => Some(profile.rate(at))
                .filter(|rate| *rate < Profile::UNLIMITED)
                .map(BitRate::from_bits_per_second),
            Self::Trace(trace, _) => Some(trace.mean_rate()),
        }
    }

    /// Bytes of one turn, which is also the largest packet: 20 ms of the rate at `at`, between 128 and 1500 bytes.
    pub fn quantum(&self, at: Moment) -> u64 {
        self.quantum_of(self.pace(at))
    }

    /// Bytes one flow should have waiting at most: 50 ms of the rate at `at`, at least two quanta and at most 64 KiB.
    pub fn backlog_limit(&self, at: Moment) -> u64 {
        let pace = self.pace(at);
        match self {
            Self::Unlimited => BACKLOG_MAX,
            _ => pace.bytes_in_millis(BACKLOG_MILLIS).clamp(2 * self.quantum_of(pace), BACKLOG_MAX),
        }
    }

    /// Whether nothing can cross at `at`: the rate is zero, or the trace has no chance for longer than four of its mean
    /// gaps and 100 ms.
    pub fn is_closed(&self, at: Moment) -> bool {
        match self {
            Self::Unlimited => false,
            Self::Constant(rate) => *rate == BitRate::ZERO,
            Self::Profile(profile) => profile.rate(at) == 0,
            Self::Trace(trace, start) => trace.is_closed(*start, at),
        }
    }

    /// The first moment from `at` on at which anything can cross, which is `at` itself on an open link; `None` if
    /// nothing ever will.
    pub fn opens(&self, at: Moment) -> Option<Moment> {
        match self {
            Self::Unlimited => Some(at),
            Self::Constant(rate) => (*rate > BitRate::ZERO).then_some(at),
            Self::Profile(profile) => profile.opens(at),
            Self::Trace(trace, start) if trace.is_closed(*start, at) => {
                trace.chance(trace.passed(*start, at) + 1, *start)
            }
            Self::Trace(..) => Some(at),
        }
    }

    /// How long `bytes` take when nothing else crosses; `None` if they never do.
    pub fn time_for(&self, from: Moment, bytes: u64) -> Option<Duration> {
        self.finish(Clock::starting(from), bytes).map(|done| done.at.since(from))
    }

    /// Whole bytes that can cross from `from` to `to`; at most `u64::MAX`, which is also what is unlimited.
    pub fn bytes_between(&self, from: Moment, to: Moment) -> u64 {
        match self {
            Self::Unlimited => u64::MAX,
            _ => u64::try_from(self.advance(Clock::starting(from), to).ahead / BYTE).unwrap_or(u64::MAX),
        }
    }

    /// When `bytes` that start at `from` have crossed, or `None` if they never do.
    pub(crate) fn finish(&self, from: Clock, bytes: u64) -> Option<Clock> {
        if matches!(self, Self::Unlimited) {
            return Some(Clock::starting(from.at));
        }
        let work = u128::from(bytes) * BYTE;
        let missing = match work.checked_sub(from.ahead) {
            Some(missing) if missing > 0 => missing,
            _ => return Some(Clock { at: from.at, ahead: from.ahead - work }),
        };
        let (at, done) = match self {
            Self::Unlimited => return Some(Clock::starting(from.at)),
            Self::Constant(rate) => {
                let rate = u128::from(rate.bits_per_second());
                let nanos = missing.checked_add(rate)?.checked_sub(1)?.checked_div(rate)?;
                (from.at.checked_add_nanos(nanos)?, nanos * rate)
            }
            Self::Profile(profile) => profile.reach(from.at, missing)?,
            Self::Trace(trace, start) => trace.reach(*start, from.at, missing)?,
        };
        Some(Clock { at, ahead: done - missing })
    }

    /// `from` moved to the moment `to`, with the work done in between ahead. An earlier moment changes nothing.
    pub(crate) fn advance(&self, from: Clock, to: Moment) -> Clock {
        let to = to.max(from.at);
        let done = match self {
            Self::Unlimited => return Clock::starting(to),
            Self::Constant(rate) => u128::from(rate.bits_per_second()) * to.since(from.at).as_nanos(),
            Self::Profile(profile) => profile.work(from.at, to),
            Self::Trace(trace, start) => trace.work(*start, from.at, to),
        };
        Clock { at: to, ahead: from.ahead.saturating_add(done) }
    }

    /// The rate that sizes follow. Those of a link that is silent for a while are of what it does otherwise, so that it
    /// does not wake with packets of a closed one.
    fn pace(&self, at: Moment) -> BitRate {
        match self {
            Self::Unlimited => BitRate::from_bits_per_second(u64::MAX),
            Self::Constant(rate) => *rate,
            Self::Profile(profile) => match profile.rate(at) {
                0 => BitRate::from_bits_per_second(profile.nominal(at)),
                rate => BitRate::from_bits_per_second(rate),
            },
            Self::Trace(trace, _) => trace.mean_rate(),
        }
    }

    fn quantum_of(&self, pace: BitRate) -> u64 {
        match self {
            Self::Unlimited => u64::MAX,
            _ => pace.bytes_in_millis(QUANTUM_MILLIS).clamp(QUANTUM_MIN, QUANTUM_MAX),
        }
    }
}
