//! Bodies that follow from their paths, so that every byte can be checked without remembering anything: each is a piece
//! of one block of random bytes, so that neither making nor checking one costs more than a copy.
//!
//! Paths are `/KIND/LENGTH/NAME`; what the kinds are is the origin's affair.

use std::sync::LazyLock;

/// The longest body, in bytes.
pub(super) const LONGEST: usize = 5_000_000;

static BLOCK: LazyLock<Vec<u8>> =
    LazyLock::new(|| testkit::noise::bytes(0x9e37_79b9_7f4a_7c15, LONGEST / 4 * 8));

/// The body of `path`, whole.
pub(super) fn body(path: &str) -> &'static [u8] {
    let length = path.split('/').nth(2).and_then(|word| word.parse().ok()).unwrap_or(0).min(LONGEST);
    let hash = path.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let room = u64::try_from(BLOCK.len() - length).unwrap_or(1);
    let at = usize::try_from(hash % room).unwrap_or_default();
    BLOCK.get(at..at + length).unwrap_or_default()
}

/// What of `path` its origin is asked to do.
pub(super) fn kind(path: &str) -> &str {
    path.split('/').nth(1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_follows_from_its_path() {
        assert_eq!(body("/keep/1000/a").len(), 1000);
        assert_eq!(body("/keep/1000/a"), body("/keep/1000/a"));
        assert_ne!(body("/keep/1000/a"), body("/keep/1000/b"));
        assert_eq!(body("/keep/5000000/a").len(), LONGEST);
        assert_eq!(body("/keep/999999999/a").len(), LONGEST);
        assert_eq!(body("/nonsense"), b"");
        assert_eq!((kind("/keep/1/a"), kind("x")), ("keep", ""));
    }
}
