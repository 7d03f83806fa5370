//! Numbers that look random and are the same every time.
//!
//! Owns a hash of (seed, purpose, index, direction). There is no state: whoever asks about the thousandth outage gets
//! the same answer whether or not anybody asked about those before it. It is no cryptography.

use crate::spec::Direction;

/// What a number decides, so that no two decisions share one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// Where in its period an outage begins.
    Outage,
    /// Where in its period a rain cell begins.
    Rain,
    /// How deep a rain cell is.
    Depth,
    /// How long nothing crosses at a handover.
    Silence,
    /// The share of the rate after a handover.
    Share,
    /// How much later than at best a packet arrives.
    Jitter,
    /// Whether a packet is lost.
    Loss,
}

impl Purpose {
    fn tag(self) -> u64 {
        match self {
            Self::Outage => 1,
            Self::Rain => 2,
            Self::Depth => 3,
            Self::Silence => 4,
            Self::Share => 5,
            Self::Jitter => 6,
            Self::Loss => 7,
        }
    }
}

/// The number for the `index`-th decision of `purpose`; `direction` is `None` where both directions share it.
pub(crate) fn draw(seed: u64, purpose: Purpose, index: u64, direction: Option<Direction>) -> u64 {
    let side = match direction {
        None => 0,
        Some(Direction::Down) => 1,
        Some(Direction::Up) => 2,
    };
    let stream = mix(seed.wrapping_add(GOLDEN).wrapping_add(GOLDEN.wrapping_mul(purpose.tag() * 4 + side)));
    mix(stream.wrapping_add(GOLDEN.wrapping_mul(index)))
}

/// `draw` brought below `bound`, each number as likely as any other to within 2^-64; zero if `bound` is.
pub(crate) fn below(draw: u64, bound: u64) -> u64 {
    // The upper half of the product always fits.
    u64::try_from((u128::from(draw) * u128::from(bound)) >> 64).unwrap_or(0)
}

/// 2^64 divided by the golden ratio: the step of splitmix64.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of splitmix64.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_decisions_share_a_number() {
        let purposes = [Purpose::Outage, Purpose::Rain, Purpose::Depth, Purpose::Share, Purpose::Jitter];
        let sides = [None, Some(Direction::Down), Some(Direction::Up)];
        let mut seen = HashSet::new();
        for number in 0..10 * 5 * 3 * 50 {
            let (seed, side, index) = (number % 10, number / 10 % 3, number / 30 % 50);
            let purpose = purposes[usize::try_from(number / 1500).unwrap()];
            assert!(seen.insert(draw(seed, purpose, index, sides[usize::try_from(side).unwrap()])));
        }
    }

    #[test]
    fn numbers_never_change_between_versions() {
        // A seed is written in configurations and reports: what it stands for must stay.
        assert_eq!(draw(7, Purpose::Outage, 3, None), 0x310f_4d3e_2035_8cd9);
        assert_eq!(draw(7, Purpose::Share, 3, Some(Direction::Up)), 0xf11c_6b8c_fe64_2425);
    }

    #[test]
    fn numbers_spread_evenly_below_a_bound() {
        let mut counts = [0_u32; 10];
        for index in 0..10_000 {
            let place = below(draw(1, Purpose::Jitter, index, Some(Direction::Down)), 10);
            counts[usize::try_from(place).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
        assert_eq!((below(u64::MAX, 0), below(u64::MAX, 10), below(0, 10)), (0, 9, 0));
    }
}
