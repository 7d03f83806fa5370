//! How values are spread: a fixed set of upper bounds, and how many values came up to each. Noting a value is two relaxed
//! additions.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::count::Count;

/// Upper bounds, ascending, of values in some small unit, and how many of that unit make one of those that are shown.
#[derive(Debug)]
pub(crate) struct Scale {
    pub(crate) bounds: &'static [u64],
    pub(crate) unit: f64,
}

/// Durations from a millisecond to ten minutes: what a hit takes, and what a page does over a thin link. Microseconds,
/// shown as seconds.
pub(crate) static DURATIONS: Scale = Scale {
    bounds: &[
        1_000,
        5_000,
        25_000,
        100_000,
        250_000,
        500_000,
        1_000_000,
        2_500_000,
        5_000_000,
        10_000_000,
        30_000_000,
        60_000_000,
        600_000_000,
    ],
    unit: 1e6,
};

/// Sizes from a kilobyte to a gigabyte. Bytes.
pub(crate) static SIZES: Scale = Scale {
    bounds: &[
        1_000,
        4_000,
        16_000,
        64_000,
        256_000,
        1_000_000,
        4_000_000,
        16_000_000,
        100_000_000,
        1_000_000_000,
    ],
    unit: 1.0,
};

/// Values on one scale.
#[derive(Debug)]
pub(crate) struct Histogram {
    scale: &'static Scale,
    /// How many values each bound is the first to reach; at the end, those beyond all.
    counts: Box<[AtomicU64]>,
    sum: Count,
}

/// What a histogram came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spread {
    /// Upper bounds, and how many values are no larger.
    pub(crate) buckets: Vec<(f64, u64)>,
    pub(crate) sum: f64,
    pub(crate) count: u64,
}

impl Histogram {
    /// No values yet.
    pub(crate) fn new(scale: &'static Scale) -> Self {
        let counts = (0..=scale.bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { scale, counts, sum: Count::default() }
    }

    /// `value` was seen, in the small unit of the scale.
    pub(crate) fn note(&self, value: u64) {
        let place = self.scale.bounds.iter().position(|bound| value <= *bound);
        if let Some(count) = self.counts.get(place.unwrap_or(self.scale.bounds.len())) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.add(value);
    }

    /// What it came to so far, in the unit that is shown.
    pub(crate) fn spread(&self) -> Spread {
        let mut count = 0;
        let mut upto = |at: usize| {
            count += self.counts.get(at).map_or(0, |counted| counted.load(Ordering::Relaxed));
            count
        };
        let bounds = self.scale.bounds.iter().enumerate();
        let buckets: Vec<_> = bounds.map(|(at, bound)| (*bound as f64 / self.scale.unit, upto(at))).collect();
        let count = upto(self.scale.bounds.len());
        Spread { buckets, sum: self.sum.read() as f64 / self.scale.unit, count }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let histogram = Histogram::new(&DURATIONS);
        [0, 1_000, 1_001, 600_000_001].into_iter().for_each(|value| histogram.note(value));
        let spread = histogram.spread();
        assert_eq!(spread.buckets[..2], [(0.001, 2), (0.005, 3)]);
        assert_eq!((spread.buckets.last(), spread.count), (Some(&(600.0, 3)), 4));
        assert_eq!(spread.sum, 600.002_002);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_buckets_never_fall(values in prop::collection::vec(0..2_000_000_000_u64, 0..50)) {
            let histogram = Histogram::new(&SIZES);
            values.iter().for_each(|value| histogram.note(*value));
            let spread = histogram.spread();
            prop_assert_eq!(spread.count, values.len() as u64);
            prop_assert!(spread.buckets.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1));
            for (bound, count) in spread.buckets {
                prop_assert_eq!(count, values.iter().filter(|value| **value as f64 <= bound).count() as u64);
            }
        }
    }
}
