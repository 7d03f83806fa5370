//! The work of a rate that stays as it is, or that rises or falls in a straight line.
//!
//! Owns the arithmetic between two moments of which nothing else happens in between. Work is in nanobits. It is
//! additive without any rounding: what is done in two parts of an interval is what is done in the whole, because it is
//! the difference of one function of time, and that function is rounded, not the parts.

/// Rates of a line are at most this many bits per second, so that no product here leaves 128 bits.
pub(super) const RATE_MAX: u64 = 10_000_000_000_000;

/// How many binary digits the mean rate of the part of a slope has behind the point.
const DIGITS: u32 = 16;
/// Steps towards the moment a slope has done its work, before they only halve what is left.
const QUICK_STEPS: u32 = 12;

/// A rate in bits per second over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// It stays.
    Level(u64),
    /// It changes in a straight line.
    Slope(Slope),
}

/// From `from` at `begin`, in `length` nanoseconds, to `to`. The length is not zero, the rates are at most `RATE_MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slope {
    pub(super) begin: u64,
    pub(super) length: u64,
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Line {
    /// Work between two moments of the line.
    pub(super) fn work(self, from: u64, to: u64) -> u128 {
        match self {
            Self::Level(rate) => u128::from(rate) * u128::from(to.saturating_sub(from)),
            Self::Slope(slope) => slope.done(to).saturating_sub(slope.done(from)),
        }
    }

    /// The first moment after `from` by which at least `missing`, which is not zero, was done, if it is not after
    /// `until`.
    pub(super) fn reach(self, from: u64, until: u64, missing: u128) -> Option<u64> {
        match self {
            Self::Level(0) => None,
            Self::Level(rate) => {
                let nanos = u64::try_from(missing.div_ceil(u128::from(rate))).ok()?;
                from.checked_add(nanos).filter(|end| *end <= until)
            }
            Self::Slope(slope) => {
                let done = slope.done(from);
                let target = done.checked_add(missing)?;
                (slope.done(until) >= target).then(|| slope.reach(from, until, done, target))
            }
        }
    }
}

impl Slope {
    /// Work from the beginning of the slope to `at`: it never falls as `at` rises.
    fn done(self, at: u64) -> u128 {
        let passed = at.saturating_sub(self.begin).min(self.length);
        if self.from <= self.to {
            self.climbed(passed)
        } else {
            // A fall is a climb seen from its end.
            self.climbed(self.length) - self.climbed(self.length - passed)
        }
    }

    /// The work of the first `nanos` of the climb from the lower rate to the higher one.
    fn climbed(self, nanos: u64) -> u128 {
        let low = self.from.min(self.to);
        let rise = u128::from(self.from.max(self.to) - low);
        let nanos = u128::from(nanos);
        // Both factors of the last product rise with `nanos`, so it does too, however it is rounded.
        let mean = match u128::from(self.length) {
            // Half of the rise: the ends of a slope are asked about most.
            length if length == nanos => rise << (DIGITS - 1),
            length => ((rise * nanos) << DIGITS) / (2 * length),
        };
        u128::from(low) * nanos + ((mean * nanos) >> DIGITS)
    }

    /// The rate at `at`, about.
    pub(super) fn rate(self, at: u64) -> u64 {
        let passed = u128::from(at.saturating_sub(self.begin).min(self.length));
        let length = u128::from(self.length);
        let rate = (u128::from(self.from) * (length - passed) + u128::from(self.to) * passed) / length;
        u64::try_from(rate).unwrap_or(RATE_MAX)
    }

    /// The first moment in `low..=high` by which `target` was done: not yet at `low`, by when only `done` was, but at
    /// `high`. Each step goes where the rate at the moment before leads to.
    fn reach(self, mut low: u64, mut high: u64, mut done: u128, target: u128) -> u64 {
        let mut at = low;
        let mut steps = 0;
        while high - low > 1 {
            let rate = u128::from(self.rate(at).max(1));
            let guess = if steps >= QUICK_STEPS {
                low + (high - low) / 2
            } else if done < target {
                at.saturating_add(u64::try_from((target - done).div_ceil(rate)).unwrap_or(u64::MAX))
            } else {
                at.saturating_sub(u64::try_from((done - target) / rate).unwrap_or(u64::MAX))
            };
            at = guess.clamp(low + 1, high - 1);
            done = self.done(at);
            if done < target {
                low = at;
            } else {
                high = at;
            }
            steps += 1;
        }
        high
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slope(begin: u64, length: u64, from: u64, to: u64) -> Line {
        Line::Slope(Slope { begin, length, from, to })
    }

    #[test]
    fn a_slope_does_the_work_of_its_mean_rate() {
        let second = 1_000_000_000;
        assert_eq!(slope(0, second, 1000, 3000).work(0, second), 2000 * 1_000_000_000);
        assert_eq!(slope(0, second, 3000, 1000).work(0, second), 2000 * 1_000_000_000);
        assert_eq!(slope(0, second, 0, 4000).work(0, second / 2), 500 * 1_000_000_000);
        assert_eq!(slope(0, second, 4000, 0).work(second / 2, second), 500 * 1_000_000_000);
        assert_eq!(slope(5, second, 0, 4000).reach(5, 5 + second, 500 * 1_000_000_000), Some(5 + second / 2));
        assert_eq!(slope(5, second, 0, 4000).reach(5, 5 + second, 2000 * 1_000_000_001), None);
        assert_eq!(Line::Level(0).reach(0, u64::MAX, 1), None);
    }

    proptest! {
        #[test]
        fn the_moment_reached_is_the_first(
            begin in 0..u64::MAX / 4, length in 1..u64::MAX / 4, from in 0..=RATE_MAX, to in 0..=RATE_MAX,
            short in 1..10_000_000_000_u64, share in 0..1000_u64, bytes in 1..100_000_u64,
        ) {
            for length in [length, short] {
                let line = slope(begin, length, from, to);
                let (start, end) = (begin + length / 1000 * share, begin + length);
                let missing = u128::from(bytes) * 8_000_000_000;
                match line.reach(start, end, missing) {
                    Some(at) => {
                        prop_assert!(at > start && at <= end);
                        prop_assert!(line.work(start, at) >= missing && line.work(start, at - 1) < missing);
                    }
                    None => prop_assert!(line.work(start, end) < missing),
                }
                let middle = start + (end - start) / 3;
                prop_assert_eq!(line.work(start, middle) + line.work(middle, end), line.work(start, end));
            }
        }
    }
}
