//! What the folders that hold content files take on disk. Pure.
//!
//! Owns which folders there are: content lies two folders deep, each named after a byte of its digest, and a folder
//! goes with its last file. With few large objects this is nothing; with many small ones each may have a folder of its
//! own. It makes and removes no folders itself: `content` does.

use std::collections::HashMap;

use crate::blocks::Digest;

/// The folders of the content files that the ledger refers to.
#[derive(Default)]
pub(crate) struct Folders {
    /// What an empty folder takes on this file system, in bytes: a page on ext4, nothing on tmpfs.
    cost: u64,
    /// How many folders each outer folder holds, and how many files each inner one.
    outer: HashMap<u8, u32>,
    inner: HashMap<[u8; 2], u32>,
}

impl Folders {
    /// None yet; each takes `cost` bytes.
    pub(crate) fn new(cost: u64) -> Self {
        Self { cost, ..Self::default() }
    }

    /// A file for `digest` is there; returns the bytes that new folders take for it.
    pub(crate) fn enter(&mut self, digest: &Digest) -> u64 {
        let [first, second, ..] = digest.0;
        let files = self.inner.entry([first, second]).or_default();
        *files += 1;
        if *files > 1 {
            return 0;
        }
        let folders = self.outer.entry(first).or_default();
        *folders += 1;
        if *folders > 1 { self.cost } else { 2 * self.cost }
    }

    /// The file for `digest` is gone; returns the bytes of the folders that go with it.
    pub(crate) fn leave(&mut self, digest: &Digest) -> u64 {
        let [first, second, ..] = digest.0;
        if !is_last(&mut self.inner, &[first, second]) {
            return 0;
        }
        if is_last(&mut self.outer, &first) { 2 * self.cost } else { self.cost }
    }
}

/// Takes one away from what `counts` says of `name`, and says whether it was the last.
fn is_last<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, u32>, name: &K) -> bool {
    let Some(count) = counts.get_mut(name) else { return false };
    *count -= 1;
    if *count > 0 {
        return false;
    }
    counts.remove(name);
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest(first: u8, second: u8, third: u8) -> Digest {
        let mut bytes = [0; 32];
        bytes[..3].copy_from_slice(&[first, second, third]);
        Digest(bytes)
    }

    #[test]
    fn a_folder_costs_once_however_many_files_it_holds() {
        let mut folders = Folders::new(4096);
        assert_eq!(folders.enter(&digest(1, 1, 1)), 8192);
        assert_eq!(folders.enter(&digest(1, 1, 2)), 0);
        assert_eq!(folders.enter(&digest(1, 2, 1)), 4096);
        assert_eq!(folders.leave(&digest(1, 1, 1)), 0);
        assert_eq!(folders.leave(&digest(1, 1, 2)), 4096);
        assert_eq!(folders.leave(&digest(1, 2, 1)), 8192);
        assert_eq!(folders.leave(&digest(9, 9, 9)), 0);
    }

    proptest! {
        #[test]
        fn what_all_files_took_is_given_back(files: Vec<(u8, u8, u8)>, cost in 0u64..10_000) {
            let mut folders = Folders::new(cost);
            let taken: u64 = files.iter().map(|(a, b, c)| folders.enter(&digest(*a, *b % 4, *c))).sum();
            let given: u64 = files.iter().rev().map(|(a, b, c)| folders.leave(&digest(*a, *b % 4, *c))).sum();
            prop_assert_eq!(taken, given);
            prop_assert!(folders.outer.is_empty() && folders.inner.is_empty());
        }
    }
}
