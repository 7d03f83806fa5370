//! How much of a link's direction can cross between two moments.
//!
//! Owns `Capacity` and the exact clock of the work it does. It knows no flow and no queue. Everything is asked in
//! terms of work done between two moments, never of a rate, so a capacity that changes over time has the same shape.
//!
//! Work is counted in nanobits: a bit is 10^9 of them, and one bit per second does one of them each nanosecond. So
//! rate times time is a product of integers, and no rounding is ever lost: what a whole nanosecond did beyond the
//! end of a packet is carried into the next one.

use std::time::Duration;

use crate::moment::Moment;
use crate::rate::BitRate;

/// 20 ms of rate is one turn of a flow, at least `QUANTUM_MIN` and at most one Ethernet payload.
const QUANTUM_MILLIS: u64 = 20;
const QUANTUM_MIN: u64 = 128;
const QUANTUM_MAX: u64 = 1500;
/// A flow keeps two grants or 50 ms of rate waiting, whichever is more, and no more than this many bytes.
const BACKLOG_MILLIS: u64 = 50;
const BACKLOG_MAX: u64 = 64 * 1024;

/// What one direction of a link can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// Everything crosses at once.
    Unlimited,
    /// A constant rate; zero is a closed link.
    Constant(BitRate),
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

    /// Bytes of one turn, which is also the largest packet: 20 ms of rate, between 128 and 1500 bytes.
    pub fn quantum(&self) -> u64 {
        match self {
            Self::Unlimited => u64::MAX,
            Self::Constant(rate) => rate.bytes_in_millis(QUANTUM_MILLIS).clamp(QUANTUM_MIN, QUANTUM_MAX),
        }
    }

    /// Bytes one flow should have waiting at most: 50 ms of rate, at least two quanta and at most 64 KiB.
    pub fn backlog_limit(&self) -> u64 {
        match self {
            Self::Unlimited => BACKLOG_MAX,
            Self::Constant(rate) => {
                rate.bytes_in_millis(BACKLOG_MILLIS).clamp(2 * self.quantum(), BACKLOG_MAX)
            }
        }
    }

    /// How long `bytes` take when nothing else crosses; `None` if they never do.
    pub fn time_for(&self, from: Moment, bytes: u64) -> Option<Duration> {
        self.finish(Clock::starting(from), bytes).map(|done| done.at.since(from))
    }

    /// When `bytes` that start at `from` have crossed, or `None` if they never do.
    pub(crate) fn finish(&self, from: Clock, bytes: u64) -> Option<Clock> {
        let Self::Constant(rate) = self else {
            return Some(Clock::starting(from.at));
        };
        let work = u128::from(bytes) * 8 * 1_000_000_000;
        let Some(missing) = work.checked_sub(from.ahead) else {
            return Some(Clock { at: from.at, ahead: from.ahead - work });
        };
        let rate = u128::from(rate.bits_per_second());
        let nanos =
            if missing == 0 { 0 } else { missing.checked_add(rate)?.checked_sub(1)?.checked_div(rate)? };
        Some(Clock { at: from.at.checked_add_nanos(nanos)?, ahead: nanos * rate - missing })
    }

    /// `from` moved to the moment `to`, with the work done in between ahead.
    pub(crate) fn advance(&self, from: Clock, to: Moment) -> Clock {
        let Self::Constant(rate) = self else {
            return Clock::starting(to);
        };
        let done = u128::from(rate.bits_per_second()) * to.since(from.at).as_nanos();
        Clock { at: to.max(from.at), ahead: from.ahead + done }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn constant(bits: u64) -> Capacity {
        Capacity::Constant(BitRate::from_bits_per_second(bits))
    }

    #[test]
    fn a_quantum_is_twenty_milliseconds_within_bounds() {
        for (bits, quantum, limit) in [
            (0, 128, 256),
            (9_600, 128, 256),
            (56_000, 140, 350),
            (512_000, 1280, 3200),
            (1_000_000, 1500, 6250),
            (10_000_000, 1500, 62_500),
            (100_000_000, 1500, 65_536),
            (u64::MAX, 1500, 65_536),
        ] {
            assert_eq!(
                (constant(bits).quantum(), constant(bits).backlog_limit()),
                (quantum, limit),
                "{bits}"
            );
        }
    }

    #[test]
    fn a_closed_link_never_finishes_but_carries_what_was_done() {
        assert_eq!(constant(0).finish(Clock::default(), 1), None);
        let half = constant(8).advance(Clock::default(), Moment::from_nanos(500_000_000));
        let held = constant(0).advance(half, Moment::from_nanos(9_000_000_000));
        assert_eq!(constant(8).finish(held, 1).map(|done| done.at.as_nanos()), Some(9_500_000_000));
    }

    proptest! {
        #[test]
        fn no_rounding_drifts(bits in 1..20_000_000_000_u64, sizes in prop::collection::vec(1..70_000_u64, 1..200)) {
            let capacity = constant(bits);
            let total: u64 = sizes.iter().sum();
            let piecewise = sizes.iter().try_fold(Clock::default(), |clock, size| capacity.finish(clock, *size));
            prop_assert_eq!(piecewise, capacity.finish(Clock::default(), total));
        }

        #[test]
        fn a_stop_on_the_way_changes_nothing(bits in 1..20_000_000_000_u64, bytes in 1..1_000_000_u64, part in 0..1000_u64) {
            let capacity = constant(bits);
            let whole = capacity.finish(Clock::default(), bytes);
            let end = whole.map_or(0, |clock| clock.at.as_nanos());
            let stop = Moment::from_nanos(end / 1000 * part);
            prop_assert_eq!(capacity.finish(capacity.advance(Clock::default(), stop), bytes).map(|c| c.at), whole.map(|c| c.at));
        }

        #[test]
        fn any_numbers_are_answered(bits: u64, bytes: u64, at: u64) {
            let from = Clock::starting(Moment::from_nanos(at));
            let _ = constant(bits).finish(from, bytes);
            let _ = constant(bits).finish(constant(bits).advance(from, Moment::from_nanos(u64::MAX)), bytes);
        }
    }
}
