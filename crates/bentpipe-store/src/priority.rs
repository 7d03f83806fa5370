//! Where a stored response stands in the order of eviction: a number that can be compared and written down. Pure.
//!
//! What makes one more worth than another is the ledger's.

/// Where something stands in the order of eviction: the lowest goes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Priority(u64);

impl Priority {
    /// As written in a record.
    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    /// From a record. Anything that is no finite positive number counts as nothing.
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self::of(f64::from_bits(bits))
    }

    /// The bits of floating point numbers from +0 upwards are in the order of the numbers.
    pub(crate) fn of(value: f64) -> Self {
        Self(if value.is_finite() && value > 0.0 { value.to_bits() } else { 0 })
    }

    /// As a number.
    pub(crate) fn value(self) -> f64 {
        f64::from_bits(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_counts_as_nothing() {
        for value in [f64::NAN, f64::INFINITY, -1.0, -0.0] {
            assert_eq!(Priority::from_bits(value.to_bits()), Priority::of(0.0));
        }
        assert!(Priority::of(1.5) < Priority::of(2.0) && Priority::of(0.0) < Priority::of(1e-300));
    }
}
