//! Link time: nanoseconds since the epoch of one link.
//!
//! Owns `Moment` and its arithmetic. It reads no clock: whoever drives a link decides what its epoch is.

use std::ops::Add;
use std::time::Duration;

/// A moment in a link's time: whole nanoseconds since the link's epoch, good for 584 years.
///
/// Arithmetic saturates at both ends, so no input can make it panic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The link's epoch.
    pub const START: Self = Self(0);

    /// The moment `nanos` nanoseconds after the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The moment a `Duration` after the epoch.
    pub fn after_start(elapsed: Duration) -> Self {
        Self::START + elapsed
    }

    /// Time from `earlier` to this moment; zero if `earlier` is in fact later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This moment moved back by `by`, at most to the epoch.
    pub fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(by)))
    }

    /// This moment plus `nanos`, or `None` beyond the end of link time.
    pub(crate) fn checked_add_nanos(self, nanos: u128) -> Option<Self> {
        u64::try_from(nanos).ok().and_then(|nanos| self.0.checked_add(nanos)).map(Self)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(nanos(by)))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let end = Moment::from_nanos(u64::MAX);
        assert_eq!(end + Duration::MAX, end);
        assert_eq!(Moment::START.before(Duration::from_secs(1)), Moment::START);
        assert_eq!(Moment::START.since(end), Duration::ZERO);
        assert_eq!(end.checked_add_nanos(1), None);
        assert_eq!(end.since(Moment::START).as_nanos(), u128::from(u64::MAX));
    }
}
