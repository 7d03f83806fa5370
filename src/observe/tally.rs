//! How often the cache could answer: a reader of exchanges that counts.
//!
//! Owns the counters since the start. Tunnels, failures, refusals and our own answers are none of the cache's business. A
//! hit is answered from what is stored alone (`hit`, RFC 9211 §2.1), or stale where the origin could not be asked; what is
//! revalidated costs a question, and its content is served from what is stored (`fwd-status=304`, §2.3); everything else
//! comes from the origin.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::exchange::{Answer, Details, Reader, Record};

/// Answers since the start, and their bytes. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Tally(Arc<Counts>);

#[derive(Default)]
struct Counts {
    hits: AtomicU64,
    hit_bytes: AtomicU64,
    revalidated: AtomicU64,
    revalidated_bytes: AtomicU64,
    forwarded: AtomicU64,
    forwarded_bytes: AtomicU64,
}

/// What was counted. Bytes are those handed to clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Tallied {
    pub(crate) hits: u64,
    pub(crate) hit_bytes: u64,
    /// Requests for which the origin was asked only whether what is stored still holds, and said that it does.
    pub(crate) revalidated: u64,
    pub(crate) revalidated_bytes: u64,
    /// Requests that were answered by the origin.
    pub(crate) forwarded: u64,
    pub(crate) forwarded_bytes: u64,
}

impl Tallied {
    /// Bytes that were served from what is stored, and did not cross the link again.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.hit_bytes.saturating_add(self.revalidated_bytes)
    }
}

impl Tally {
    /// What was counted so far.
    pub(crate) fn counted(&self) -> Tallied {
        let Counts { hits, hit_bytes, revalidated, revalidated_bytes, forwarded, forwarded_bytes } = &*self.0;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Tallied {
            hits: read(hits),
            hit_bytes: read(hit_bytes),
            revalidated: read(revalidated),
            revalidated_bytes: read(revalidated_bytes),
            forwarded: read(forwarded),
            forwarded_bytes: read(forwarded_bytes),
        }
    }

    fn count(&self, details: &Details, sent: u64) {
        let (answers, bytes) = match Answer::of(details) {
            Some(Answer::Hit) => (&self.0.hits, &self.0.hit_bytes),
            Some(Answer::Revalidated) => (&self.0.revalidated, &self.0.revalidated_bytes),
            Some(Answer::Origin) => (&self.0.forwarded, &self.0.forwarded_bytes),
            None => return,
        };
        answers.fetch_add(1, Ordering::Relaxed);
        bytes.fetch_add(sent, Ordering::Relaxed);
    }
}

impl Reader for Tally {
    fn read(&self, record: &Record, details: &Details) {
        self.count(details, record.client_bytes());
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::exchange::{CacheStatus, Forwarded};

    #[test]
    fn hits_and_what_was_forwarded_are_counted_apart() {
        let tally = Tally::default();
        let answered = |cache| Details { cache, status: Some(StatusCode::OK), ..Details::default() };
        let forwarded = |reason| answered(CacheStatus::Forwarded(Forwarded::new(reason)));
        tally.count(&answered(CacheStatus::Hit), 10);
        tally.count(&forwarded("uri-miss"), 100);
        tally.count(&forwarded("stale"), 1);
        let status = Some(StatusCode::NOT_MODIFIED);
        let revalidated = CacheStatus::Forwarded(Forwarded { status, ..Forwarded::new("stale") });
        tally.count(&answered(revalidated), 5);
        let detail = Some("unreachable");
        tally.count(&answered(CacheStatus::Forwarded(Forwarded { detail, ..Forwarded::new("stale") })), 7);
        tally.count(&answered(CacheStatus::Tunnel), 1000);
        tally.count(&answered(CacheStatus::Unasked), 1000);
        tally.count(&Details { error: Some("dns_error"), ..forwarded("uri-miss") }, 1000);
        tally.count(&Details { status: None, ..forwarded("uri-miss") }, 1000);
        let counted = tally.counted();
        let expected = Tallied {
            hits: 2,
            hit_bytes: 17,
            revalidated: 1,
            revalidated_bytes: 5,
            forwarded: 2,
            forwarded_bytes: 101,
        };
        assert_eq!(counted, expected);
        assert_eq!(counted.stored_bytes(), 22);
    }
}
