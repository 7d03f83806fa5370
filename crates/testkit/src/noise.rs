//! Noise: bytes without a pattern that follow from a seed, so that whoever knows it can compare them.

/// `length` bytes of the noise of `seed`, which is not zero (Marsaglia, Xorshift RNGs, 2003: 64 bits, 13, 7, 17).
#[must_use]
pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_from_its_seed_and_begins_alike_whatever_its_length() {
        assert_eq!(bytes(7, 20), bytes(7, 100)[..20]);
        assert_ne!(bytes(7, 20), bytes(8, 20));
        assert!(bytes(7, 0).is_empty());
    }
}
