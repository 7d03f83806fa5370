//! A stored response in memory: its head, and the body it shares with the heads it had before.
//!
//! Owns what a lookup hands out. It does not decide whether a stored response may be reused (rfc9111 does) and does not
//! read bodies itself. A head never changes (RFC 9111 §3.2 freshens by making a new one); the body behind it goes from
//! arriving to kept, and every head that was ever given to it sees that.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rfc9111::{CacheKey, StoredResponse};
use smallvec::SmallVec;

use crate::blocks::Fingerprint;
use crate::body::StoredBody;
use crate::home::Home;
use crate::locked::lock;
use crate::record::Kept;
use crate::spool::Spool;

/// The stored responses of one cache key: what a lookup found.
#[derive(Clone, Default)]
pub struct Found {
    stored: Responses,
}

/// One is the rule, so one needs no allocation.
pub(crate) type Responses = SmallVec<[Arc<Stored>; 1]>;

/// One stored response: complete, or with its body still arriving.
pub struct Stored {
    head: StoredResponse,
    holding: Arc<Holding>,
}

/// The body of a stored response, arriving or kept.
pub(crate) struct Holding {
    /// Names it in the journal and the ledger.
    pub(crate) id: u64,
    /// What it is stored under.
    pub(crate) key: CacheKey,
    home: Arc<Home>,
    place: Mutex<Place>,
    uses: AtomicU64,
    used_since: AtomicBool,
    damaged: AtomicBool,
    struck_out: AtomicBool,
}

/// Where a body is now.
#[derive(Clone)]
pub(crate) enum Place {
    /// Still being written, or written and not yet kept.
    Arriving(Arc<Spool>),
    /// Complete and in the index for good.
    Kept(Arc<Kept>),
}

impl Found {
    pub(crate) fn new(mut stored: Responses) -> Self {
        stored.retain(|stored| !stored.holding.is_damaged());
        Self { stored }
    }

    /// The heads, as `rfc9111::decide` takes them.
    pub fn heads(&self) -> SmallVec<[&StoredResponse; 4]> {
        self.stored.iter().map(|stored| &stored.head).collect()
    }

    /// The stored response whose head is the `index`th of [`Found::heads`].
    pub fn get(&self, index: usize) -> Option<&Arc<Stored>> {
        self.stored.get(index)
    }

    /// Whether nothing is stored under the key.
    pub fn is_empty(&self) -> bool {
        self.stored.is_empty()
    }

    /// Every stored response, in the order of [`Found::heads`].
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Stored>> {
        self.stored.iter()
    }

    /// How many stored responses the key has.
    pub fn len(&self) -> usize {
        self.stored.len()
    }
}

impl Stored {
    pub(crate) fn new(head: StoredResponse, holding: Arc<Holding>) -> Self {
        Self { head, holding }
    }

    /// Its head, as RFC 9111 §3.1 stores it.
    pub fn head(&self) -> &StoredResponse {
        &self.head
    }

    /// The complete length of the body in bytes, once it is known: from Content-Length, or when it has arrived.
    pub fn length(&self) -> Option<u64> {
        match self.holding.place() {
            Place::Arriving(spool) => spool.length(),
            Place::Kept(kept) => Some(kept.length()),
        }
    }

    /// How many bytes of the body are held now.
    pub fn arrived(&self) -> u64 {
        match self.holding.place() {
            Place::Arriving(spool) => spool.arrived(),
            Place::Kept(kept) => kept.length(),
        }
    }

    /// Whether bytes of the body are still to come.
    pub fn is_arriving(&self) -> bool {
        match self.holding.place() {
            Place::Arriving(spool) => spool.is_open(),
            Place::Kept(_) => false,
        }
    }

    /// The body, or the part of it from the first to the last byte of `range` (RFC 9110 §14.1.2). A range that ends
    /// behind the complete length is shortened to it. While the body arrives, the reader follows it.
    pub fn body(self: &Arc<Self>, range: Option<RangeInclusive<u64>>) -> StoredBody {
        StoredBody::new(&self.holding, range)
    }

    /// Notes that this stored response was used to answer a request: it is worth more to keep.
    pub fn note_use(&self) {
        let holding = &self.holding;
        holding.home.counts.hits.fetch_add(1, Ordering::Relaxed);
        holding.uses.fetch_add(1, Ordering::Relaxed);
        // The keeper is told once per round, however often a hot one is used.
        if !holding.used_since.load(Ordering::Relaxed) && !holding.used_since.swap(true, Ordering::Relaxed) {
            holding.home.note_used(Arc::clone(holding));
        }
    }

    pub(crate) fn holding(&self) -> &Arc<Holding> {
        &self.holding
    }
}

impl Holding {
    pub(crate) fn new(id: u64, key: CacheKey, home: Arc<Home>, place: Place, uses: u64) -> Self {
        Self {
            id,
            key,
            home,
            place: Mutex::new(place),
            uses: AtomicU64::new(uses),
            used_since: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            struck_out: AtomicBool::new(false),
        }
    }

    pub(crate) fn home(&self) -> &Arc<Home> {
        &self.home
    }

    pub(crate) fn place(&self) -> Place {
        lock(&self.place).clone()
    }

    /// The kept body; `None` while it is arriving.
    pub(crate) fn kept(&self) -> Option<Arc<Kept>> {
        match &*lock(&self.place) {
            Place::Arriving(_) => None,
            Place::Kept(kept) => Some(Arc::clone(kept)),
        }
    }

    /// The body has arrived and been put where it stays. Who follows the spool goes on following it.
    pub(crate) fn keep(&self, kept: Arc<Kept>) {
        *lock(&self.place) = Place::Kept(kept);
    }

    /// How often it was used; the next use is noted again.
    pub(crate) fn take_uses(&self) -> u64 {
        self.used_since.store(false, Ordering::Relaxed);
        self.uses()
    }

    pub(crate) fn uses(&self) -> u64 {
        self.uses.load(Ordering::Relaxed)
    }

    /// The bytes on disk are not what was stored: no lookup finds it from now on, and the file goes, so that the next
    /// copy of the same content takes its place. To be called where waiting for the disk is allowed.
    pub(crate) fn found_damaged(self: &Arc<Self>) {
        if self.damaged.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(Kept::Content(fingerprint)) = self.kept().as_deref() {
            self.home.content.remove(&fingerprint.digest, || true);
        }
        tracing::warn!(key = self.key.as_str(), "stored body damaged or missing; dropped");
        self.home.note_damaged(Arc::clone(self));
    }

    /// Keeps the whole, verified body in memory for the next reader.
    pub(crate) fn warm(&self, print: &Fingerprint, body: Bytes) {
        let hot = &self.home.hot;
        hot.put(print, body);
        // Struck out before the body was put there, its removal may have come too early to see it.
        if self.struck_out.load(Ordering::Acquire) {
            hot.remove(&print.digest);
        }
    }

    /// It is in no ledger any more. To be called before its content leaves memory.
    pub(crate) fn strike_out(&self) {
        self.struck_out.store(true, Ordering::Release);
    }

    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }
}
