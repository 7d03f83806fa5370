//! The contents that an origin of a bench gives to a path: as long as the path says, different for every path, and known
//! without asking, so that what comes through a proxy can be compared wherever it is read.
//!
//! A path is `/POLICY/SIZE/NAME`. The contents begin with the path and go on with noise that does not compress. Who serves
//! them, and how fast, is no matter of this file.

use std::sync::OnceLock;

/// Bytes of noise before it begins again; what is longer than this never needs to be in memory as a whole.
pub const PERIOD: usize = 1 << 20;

/// What a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// How it is to be served; the word means what the origin makes of it.
    pub policy: &'a str,
    /// The length of the contents in bytes.
    pub size: u64,
}

/// Reads `/POLICY/SIZE/NAME`; nothing else is such a path.
#[must_use]
pub fn asked(path: &str) -> Option<Asked<'_>> {
    let mut parts = path.strip_prefix('/')?.splitn(3, '/');
    let (policy, size, _name) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Asked { policy, size: size.parse().ok()? })
}

/// The noise: [`PERIOD`] bytes, the same in every process.
#[must_use]
pub fn noise() -> &'static [u8] {
    static NOISE: OnceLock<Vec<u8>> = OnceLock::new();
    NOISE.get_or_init(|| {
        let mut state = 1_u64;
        let mut bytes = Vec::with_capacity(PERIOD);
        while bytes.len() < PERIOD {
            // A linear congruential generator; its lower half is too regular to be noise.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.extend_from_slice(&state.to_be_bytes()[..4]);
        }
        bytes
    })
}

/// The first `size` bytes of the contents of `path`, at most [`PERIOD`].
#[must_use]
pub fn beginning(path: &str, size: usize) -> Vec<u8> {
    let mut bytes = noise()[..size.min(PERIOD)].to_vec();
    bytes.iter_mut().zip(path.bytes()).for_each(|(byte, of_path)| *byte = of_path);
    bytes
}

/// Whether `bytes` are what stands at `offset` in the contents of `path`.
#[must_use]
pub fn are(path: &str, offset: u64, bytes: &[u8]) -> bool {
    let path = path.as_bytes();
    let named = usize::try_from(offset).ok().and_then(|offset| path.get(offset..)).unwrap_or_default();
    let named = &named[..named.len().min(bytes.len())];
    let (head, mut rest) = bytes.split_at(named.len());
    if head != named {
        return false;
    }
    let mut at = usize::try_from((offset + head.len() as u64) % PERIOD as u64).unwrap_or_default();
    while !rest.is_empty() {
        let length = rest.len().min(PERIOD - at);
        let (here, beyond) = rest.split_at(length);
        if here != &noise()[at..at + length] {
            return false;
        }
        (at, rest) = (0, beyond);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_how_much_it_is_and_how_it_is_served() {
        assert_eq!(asked("/kept/1000/a/b"), Some(Asked { policy: "kept", size: 1000 }));
        assert_eq!(asked("/kept/many/a"), None);
        assert_eq!(asked("/kept/1000"), None);
    }

    #[test]
    fn contents_are_known_at_every_offset() {
        let path = "/kept/3000000/name";
        let mut whole = beginning(path, PERIOD);
        whole.extend_from_slice(noise());
        for (start, end) in
            [(0, 10), (0, 100), (5, 60), (17, 18), (18, 19), (40, PERIOD + 40), (PERIOD, PERIOD + 9)]
        {
            assert!(are(path, start as u64, &whole[start..end]), "{start}..{end}");
        }
    }

    #[test]
    fn other_bytes_are_told_apart() {
        let path = "/kept/3000/name";
        let right = beginning(path, 3000);
        for at in [0, 14, 15, 16, 2999] {
            let mut wrong = right.clone();
            wrong[at] ^= 1;
            assert!(!are(path, 0, &wrong), "a wrong byte at {at}");
        }
        assert!(!are("/kept/3000/other", 0, &right), "the contents of another path");
        assert!(!are(path, 1, &right), "moved by one byte");
    }
}
