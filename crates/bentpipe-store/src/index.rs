//! The memory index: cache key -> stored responses. The authority while the store is open.
//!
//! Owns the sharded tables and nothing durable; what is written down about a change is written by whoever makes it,
//! inside [`Index::change`], so that the journal's order is the index's. A key is kept once, in what is held of it.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, RwLock};

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;
use hashbrown::HashTable;
use rfc9111::CacheKey;
use smallvec::SmallVec;

use crate::blocks::to_usize;
use crate::holding::Holding;
use crate::locked::{read, write};

/// Enough that the threads of a large machine seldom meet.
const SHARDS: usize = 64;

/// What is held of one cache key, the oldest first. One is the rule, so one needs no allocation.
pub(crate) type Responses = SmallVec<[Arc<Holding>; 1]>;

type Shard = HashTable<Arc<Holding>>;

/// The stored responses of a cache, by key.
pub(crate) struct Index {
    shards: Box<[RwLock<Shard>]>,
    /// Keys are anybody's choice, so the hash is a keyed one. Who cannot see hashes, and nobody is shown any, does not find
    /// out which keys meet.
    hasher: SeedableRandomState,
}

impl Index {
    /// Nothing stored.
    pub(crate) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        // The standard library's keys are the system's random bytes.
        let seed = RandomState::new().hash_one(());
        Self { shards, hasher: SeedableRandomState::with_seed(seed, SharedSeed::global_random()) }
    }

    /// What is stored under `key`.
    pub(crate) fn lookup(&self, key: &CacheKey) -> Responses {
        let hash = self.hash(key);
        of_key(&read(self.shard(hash)), hash, key)
    }

    /// Lets `change` alter what is stored under `key` while nobody else reads or changes it.
    pub(crate) fn change<R>(&self, key: &CacheKey, change: impl FnOnce(&mut Responses) -> R) -> R {
        let hash = self.hash(key);
        let mut shard = write(self.shard(hash));
        let before = of_key(&shard, hash, key);
        let mut now = before.clone();
        let result = change(&mut now);
        let is_among =
            |holding: &Arc<Holding>, among: &Responses| among.iter().any(|other| Arc::ptr_eq(other, holding));
        for gone in before.iter().filter(|holding| !is_among(holding, &now)) {
            if let Ok(entry) = shard.find_entry(hash, |other| Arc::ptr_eq(other, gone)) {
                entry.remove();
            }
        }
        for new in now.iter().filter(|holding| !is_among(holding, &before)) {
            shard.insert_unique(hash, Arc::clone(new), |holding| self.hash(&holding.key));
        }
        result
    }

    /// Makes room for `more` stored responses at once.
    pub(crate) fn reserve(&self, more: usize) {
        // Shards fill unevenly, by about the root of what is in them; one that grows after all costs little.
        let each = more / SHARDS;
        for shard in &self.shards {
            write(shard).reserve(each + each / 32, |holding| self.hash(&holding.key));
        }
    }

    /// Takes up a stored response from before a restart.
    pub(crate) fn restore(&self, holding: Arc<Holding>) {
        let hash = self.hash(&holding.key);
        write(self.shard(hash)).insert_unique(hash, holding, |holding| self.hash(&holding.key));
    }

    /// Everything stored, a shard at a time: no lock is held while the caller looks at it.
    pub(crate) fn all(&self) -> impl Iterator<Item = Arc<Holding>> {
        self.shards.iter().flat_map(|shard| {
            let held: Vec<_> = read(shard).iter().cloned().collect();
            held
        })
    }

    /// What is stored under the keys that are meant, a shard at a time: no lock is held while the caller looks at it.
    pub(crate) fn matching(&self, is_meant: impl Fn(&str) -> bool) -> impl Iterator<Item = Arc<Holding>> {
        self.shards.iter().flat_map(move |shard| {
            let shard = read(shard);
            shard.iter().filter(|holding| is_meant(holding.key.as_str())).cloned().collect::<Vec<_>>()
        })
    }

    fn hash(&self, key: &CacheKey) -> u64 {
        self.hasher.hash_one(key.as_str())
    }

    fn shard(&self, hash: u64) -> &RwLock<Shard> {
        // The tables look at the lowest and the highest bits. The remainder is less than the number of shards.
        &self.shards[to_usize(hash >> 32) % SHARDS]
    }
}

fn of_key(shard: &Shard, hash: u64, key: &CacheKey) -> Responses {
    let same_hash = shard.iter_hash(hash);
    let mut found: Responses = same_hash.filter(|holding| holding.key == *key).cloned().collect();
    found.sort_unstable_by_key(|holding| holding.id);
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use smallvec::smallvec;

    use super::*;
    use crate::content::Content;
    use crate::head::Packed;
    use crate::holding::Place;
    use crate::home::Home;
    use crate::parts::Parts;

    fn holding(id: u64, key: u8) -> Arc<Holding> {
        let home = Arc::new(Home::new(Content::new(std::path::Path::new("nowhere"), false)));
        let place = Place::Parts(Box::new(Parts::new(None)));
        Arc::new(Holding::new(id, key_of(key), home, Packed::from_bytes(b""), place))
    }

    fn key_of(key: u8) -> CacheKey {
        CacheKey::from_normal_form(&format!("http://origin/{key}"))
    }

    fn ids(responses: &Responses) -> Vec<u64> {
        responses.iter().map(|holding| holding.id).collect()
    }

    #[test]
    fn of_one_key_the_oldest_is_first() {
        let index = Index::new();
        index.change(&key_of(1), |responses| *responses = (1..9).rev().map(|id| holding(id, 1)).collect());
        assert_eq!(ids(&index.lookup(&key_of(1))), (1..9).collect::<Vec<_>>());
        assert!(index.lookup(&key_of(2)).is_empty());
    }

    #[test]
    fn an_entry_is_no_larger_than_what_it_must_know() {
        assert!(size_of::<Holding>() <= 88, "{}", size_of::<Holding>());
        assert!(size_of::<crate::record::Kept>() <= 64);
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_holds(steps in prop::collection::vec((0u8..6, 0u8..4), 0..80)) {
            let (index, mut map) = (Index::new(), BTreeMap::<u8, Vec<u64>>::new());
            for (id, (key, step)) in (0..).zip(steps) {
                let now = map.entry(key).or_default();
                match step {
                    0 => {
                        let taken = index.change(&key_of(key), std::mem::take);
                        prop_assert_eq!(ids(&taken), std::mem::take(now));
                    }
                    1 if !now.is_empty() => {
                        now.remove(0);
                        index.change(&key_of(key), |responses| drop(responses.remove(0)));
                    }
                    2 => {
                        *now = vec![id];
                        index.change(&key_of(key), |responses| *responses = smallvec![holding(id, key)]);
                    }
                    _ => {
                        now.push(id);
                        index.change(&key_of(key), |responses| responses.push(holding(id, key)));
                    }
                }
                prop_assert_eq!(&ids(&index.lookup(&key_of(key))), &map[&key]);
            }
            prop_assert_eq!(index.all().count(), map.values().map(Vec::len).sum::<usize>());
        }
    }
}
