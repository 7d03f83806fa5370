//! How often the cache could answer: a reader of exchanges that counts.
//!
//! Owns the counters since the start. Tunnels, refusals and our own answers are none of the cache's business.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::exchange::{CacheStatus, Reader, Record};

/// Answers since the start, and their bytes. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Tally(Arc<Counts>);

#[derive(Default)]
struct Counts {
    hits: AtomicU64,
    hit_bytes: AtomicU64,
    forwarded: AtomicU64,
    forwarded_bytes: AtomicU64,
}

/// What was counted. Bytes are those handed to clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Tallied {
    pub(crate) hits: u64,
    pub(crate) hit_bytes: u64,
    /// Requests that went to the origin, if only to ask whether what is stored still holds.
    pub(crate) forwarded: u64,
    pub(crate) forwarded_bytes: u64,
}

impl Tally {
    /// What was counted so far.
    pub(crate) fn counted(&self) -> Tallied {
        let Counts { hits, hit_bytes, forwarded, forwarded_bytes } = &*self.0;
        let [hits, hit_bytes, forwarded, forwarded_bytes] =
            [hits, hit_bytes, forwarded, forwarded_bytes].map(|count| count.load(Ordering::Relaxed));
        Tallied { hits, hit_bytes, forwarded, forwarded_bytes }
    }

    fn count(&self, cache: &CacheStatus, sent: u64) {
        let (answers, bytes) = match cache {
            CacheStatus::Hit => (&self.0.hits, &self.0.hit_bytes),
            CacheStatus::Forwarded(_) => (&self.0.forwarded, &self.0.forwarded_bytes),
            CacheStatus::Unasked | CacheStatus::Tunnel | CacheStatus::Intercepted => return,
        };
        answers.fetch_add(1, Ordering::Relaxed);
        bytes.fetch_add(sent, Ordering::Relaxed);
    }
}

impl Reader for Tally {
    fn read(&self, record: &Record) {
        record.with(|details| self.count(&details.cache, record.client_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Forwarded;

    #[test]
    fn hits_and_what_was_forwarded_are_counted_apart() {
        let tally = Tally::default();
        tally.count(&CacheStatus::Hit, 10);
        tally.count(&CacheStatus::Forwarded(Forwarded::new("miss")), 100);
        tally.count(&CacheStatus::Forwarded(Forwarded::new("stale")), 1);
        tally.count(&CacheStatus::Tunnel, 1000);
        tally.count(&CacheStatus::Unasked, 1000);
        let expected = Tallied { hits: 1, hit_bytes: 10, forwarded: 2, forwarded_bytes: 101 };
        assert_eq!(tally.counted(), expected);
    }
}
