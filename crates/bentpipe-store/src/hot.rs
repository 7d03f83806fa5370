//! Hot bodies in memory, by digest: what is asked for again and again costs no system call and no copy.
//!
//! Owns the tier and its bounds, in bytes. Every body in it is whole and verified: whoever puts one there has just
//! checked or hashed it. It does not know what refers to a digest: who strikes out the last reference removes it here,
//! and a body that no lookup leads to any more is at worst memory until others need it.

use bytes::Bytes;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use crate::blocks::{Digest, Fingerprint};
use crate::bundles::{Small, Spot};

/// The longest body that is kept here: what a content file gives in one read, so whole and verified at once. A longer
/// one spends its time in the socket. Bytes.
pub(crate) const LARGEST: u64 = 256 * 1024;
/// What all bodies may take unless somebody says otherwise: the styles, scripts and icons that every page of a few hundred
/// sites asks for, and little enough for a computer of 512 MB. Bytes.
const CAPACITY: u64 = 32_000_000;
/// Each share of the cache evicts on its own and silently refuses what is larger than the share: 8 MiB is 32 of the
/// largest bodies, and 4 locks are enough for the threads of one link.
const SHARDS: usize = 4;
/// The part of a share for what was asked for more than once. What is left, 800 KiB, has to hold a few of the largest
/// bodies: were it smaller than one, each that passes through once would push out one that is hot.
const PROVEN: f64 = 0.9;
/// What a body costs beyond its bytes: digest, slot, the allocation's own.
const OVERHEAD: u64 = 128;
/// A guess at the usual body, from which the cache sizes its tables. Bytes.
const USUAL: u64 = 16 * 1024;

/// Whole, verified bodies in memory.
pub(crate) struct Hot {
    bodies: Cache<Name, Bytes, Weigh>,
}

/// What identifies a body.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Name {
    Content(Digest),
    Small(Spot),
}

#[derive(Clone)]
struct Weigh;

impl Weighter<Name, Bytes> for Weigh {
    fn weight(&self, _name: &Name, body: &Bytes) -> u64 {
        body.len() as u64 + OVERHEAD
    }
}

impl Hot {
    /// Nothing in memory yet.
    pub(crate) fn new() -> Self {
        let items = (CAPACITY / USUAL) as usize; // a few thousand
        let (hasher, life) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
        let options = OptionsBuilder::new()
            .estimated_items_capacity(items)
            .weight_capacity(CAPACITY)
            .shards(SHARDS)
            .hot_allocation(PROVEN)
            .build();
        let bodies = match options {
            Ok(options) => Cache::with_options(options, Weigh, hasher, life),
            // Both capacities are given, so there are options; were there none, the defaults would do.
            Err(_) => Cache::with(items, CAPACITY, Weigh, hasher, life),
        };
        Self { bodies }
    }

    /// The whole body with this fingerprint, if it is in memory.
    pub(crate) fn get(&self, print: &Fingerprint) -> Option<Bytes> {
        if print.length > LARGEST { None } else { self.bodies.get(&Name::Content(print.digest)) }
    }

    /// The same for a short body.
    pub(crate) fn get_small(&self, small: &Small) -> Option<Bytes> {
        self.bodies.get(&Name::Small(small.spot()))
    }

    /// See [`Hot::put`].
    pub(crate) fn put_small(&self, small: &Small, body: Bytes) {
        self.bodies.insert(Name::Small(small.spot()), body);
    }

    /// See [`Hot::remove`].
    pub(crate) fn remove_small(&self, small: &Small) {
        self.bodies.remove(&Name::Small(small.spot()));
    }

    /// All bodies may take `bytes` from now on.
    pub(crate) fn resize(&self, bytes: u64) {
        self.bodies.set_capacity(bytes);
    }

    /// The bytes that all bodies take.
    pub(crate) fn bytes(&self) -> u64 {
        self.bodies.weight()
    }

    /// Takes `body`, which must be all of what `print` identifies, verified; nothing else is taken.
    pub(crate) fn put(&self, print: &Fingerprint, body: Bytes) {
        if print.length <= LARGEST && body.len() as u64 == print.length {
            self.bodies.insert(Name::Content(print.digest), body);
        }
    }

    /// Lets the body go.
    pub(crate) fn remove(&self, digest: &Digest) {
        self.bodies.remove(&Name::Content(*digest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(number: u64, length: u64) -> Fingerprint {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.to_le_bytes());
        Fingerprint { digest: Digest(digest), sums: Vec::new().into(), length }
    }

    #[test]
    fn a_body_of_the_largest_length_is_taken_and_a_longer_one_or_a_part_is_not() {
        let hot = Hot::new();
        for (length, body, taken) in
            [(LARGEST, LARGEST, true), (LARGEST + 1, LARGEST + 1, false), (9, 8, false), (0, 0, true)]
        {
            let print = print(length, length);
            hot.put(&print, vec![1; body as usize].into());
            assert_eq!(hot.get(&print).is_some(), taken, "{body} of {length}");
            hot.remove(&print.digest);
            assert!(hot.get(&print).is_none());
        }
    }

    #[test]
    fn its_memory_is_bounded_and_what_is_asked_for_outlives_a_scan() {
        let hot = Hot::new();
        hot.put(&print(0, 10_000), vec![1; 10_000].into());
        assert!(hot.get(&print(0, 10_000)).is_some());
        for number in 1..1_000 {
            hot.put(&print(number, LARGEST), vec![1; LARGEST as usize].into());
            assert!(hot.bodies.weight() <= CAPACITY);
        }
        assert!(hot.bodies.weight() > CAPACITY / 2);
        assert!(hot.get(&print(0, 10_000)).is_some());
    }
}
