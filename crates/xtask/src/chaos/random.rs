//! Random numbers that a seed repeats, for choosing moments, sizes and what to damage. Not for secrets.

use std::ops::Range;
use std::time::Duration;

/// A splitmix64 generator.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The sequence that belongs to `seed` and `name`: scenarios do not depend on which others run.
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        let hash =
            name.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self(hash)
    }

    /// A number of `range`, which must not be empty.
    pub(crate) fn within(&mut self, range: Range<usize>) -> usize {
        let width = u64::try_from(range.end.saturating_sub(range.start)).unwrap_or(u64::MAX).max(1);
        range.start + usize::try_from(self.next() % width).unwrap_or_default()
    }

    /// A time of `range` milliseconds.
    pub(crate) fn milliseconds(&mut self, range: Range<u32>) -> Duration {
        let width = u64::from(range.end.saturating_sub(range.start)).max(1);
        Duration::from_millis(u64::from(range.start) + self.next() % width)
    }

    /// `length` bytes.
    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[3]).collect()
    }

    /// The length of a body as they occur: many small ones that share files, few large ones.
    pub(crate) fn body_length(&mut self) -> usize {
        match self.within(0..100) {
            0..40 => self.within(0..4_096),
            40..80 => self.within(4_096..65_536),
            80..98 => self.within(65_536..400_000),
            _ => self.within(1_000_000..2_000_000),
        }
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_and_a_name_repeat_their_sequence() {
        let draw = |seed, name| Random::new(seed, name).bytes(16);
        assert_eq!(draw(1, "kill"), draw(1, "kill"));
        assert_ne!(draw(1, "kill"), draw(2, "kill"));
        assert_ne!(draw(1, "kill"), draw(1, "power"));
        let mut random = Random::new(1, "");
        assert!((0..1000).all(|_| (3..7).contains(&random.within(3..7))));
    }
}
