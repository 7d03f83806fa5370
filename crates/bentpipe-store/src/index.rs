//! The memory index: cache key -> stored responses. The authority while the store is open.
//!
//! Owns the sharded map and nothing durable; what is written down about a change is written by whoever makes it,
//! inside [`Index::change`], so that the journal's order is the index's.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use rfc9111::CacheKey;
use xxhash_rust::xxh3::xxh3_64;

use crate::locked::{read, write};
use crate::stored::{Responses, Stored};

/// Enough that the threads of a large machine seldom meet.
const SHARDS: usize = 64;

type Shard = RwLock<HashMap<CacheKey, Responses>>;

/// The stored responses of a cache, by key.
pub(crate) struct Index {
    shards: Box<[Shard]>,
}

impl Index {
    /// Nothing stored.
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Shard::default()).collect() }
    }

    /// What is stored under `key`.
    pub(crate) fn lookup(&self, key: &CacheKey) -> Responses {
        read(self.shard(key)).get(key).cloned().unwrap_or_default()
    }

    /// Lets `change` alter what is stored under `key` while nobody else reads or changes it.
    pub(crate) fn change<R>(&self, key: &CacheKey, change: impl FnOnce(&mut Responses) -> R) -> R {
        let mut shard = write(self.shard(key));
        if let Some(responses) = shard.get_mut(key) {
            let result = change(responses);
            if responses.is_empty() {
                shard.remove(key);
            }
            return result;
        }
        let mut responses = Responses::new();
        let result = change(&mut responses);
        if !responses.is_empty() {
            shard.insert(key.clone(), responses);
        }
        result
    }

    /// Everything stored, a shard at a time: no lock is held while the caller looks at it.
    pub(crate) fn all(&self) -> impl Iterator<Item = Arc<Stored>> {
        self.shards.iter().flat_map(|shard| {
            let stored: Vec<_> = read(shard).values().flatten().cloned().collect();
            stored
        })
    }

    fn shard(&self, key: &CacheKey) -> &Shard {
        // The remainder is less than the number of shards.
        &self.shards[(xxh3_64(key.as_str().as_bytes()) % SHARDS as u64) as usize]
    }
}
