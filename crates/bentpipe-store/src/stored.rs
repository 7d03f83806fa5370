//! A stored response in memory: its head, and the body it shares with the heads it had before.
//!
//! Owns what a lookup hands out. It does not decide whether a stored response may be reused (rfc9111 does) and does not
//! read bodies itself. A head never changes (RFC 9111 §3.2 freshens by making a new one); the body behind it goes from
//! arriving to kept, and every head that was ever given to it sees that.

use std::ops::{Range, RangeInclusive};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rfc9111::{CacheKey, StoredResponse};
use smallvec::SmallVec;

use crate::blocks::Fingerprint;
use crate::body::StoredBody;
use crate::home::Home;
use crate::locked::lock;
use crate::parts::{Parts, Piece};
use crate::record::Kept;
use crate::spool::Spool;

/// The stored responses of one cache key: what a lookup found.
#[derive(Clone, Default)]
pub struct Found {
    stored: Responses,
}

/// One is the rule, so one needs no allocation.
pub(crate) type Responses = SmallVec<[Arc<Stored>; 1]>;

/// One stored response: complete, with its body still arriving, or held in part (RFC 9111 §3.3).
pub struct Stored {
    head: StoredResponse,
    holding: Arc<Holding>,
}

/// The body of a stored response: arriving, kept, or held in part.
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
    /// Whether it has a record.
    written: AtomicBool,
    /// Whether what is missing of it can be fetched by itself: it has a strong validator (RFC 9111 §3.4).
    mendable: bool,
}

/// Where a body is now.
pub(crate) enum Place {
    /// Still being written from its beginning, or written and not yet kept.
    Arriving(Arc<Spool>),
    /// Complete and in the index for good.
    Kept(Arc<Kept>),
    /// Held in part.
    Parts(Box<Parts>),
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

    /// The complete length of the body in bytes, once it is known: from Content-Length or Content-Range, or when it has
    /// arrived.
    pub fn length(&self) -> Option<u64> {
        self.holding.with(|place| match place {
            Place::Arriving(spool) => spool.length(),
            Place::Kept(kept) => Some(kept.length()),
            Place::Parts(parts) => parts.complete_length,
        })
    }

    /// How many bytes of the body are held now.
    pub fn arrived(&self) -> u64 {
        self.holding.with(|place| match place {
            Place::Arriving(spool) => spool.arrived(),
            Place::Kept(kept) => kept.length(),
            Place::Parts(parts) => parts.held(),
        })
    }

    /// Whether bytes of the body are arriving.
    pub fn is_arriving(&self) -> bool {
        self.holding.with(|place| match place {
            Place::Arriving(spool) => spool.is_open(),
            Place::Kept(_) => false,
            Place::Parts(parts) => parts.is_arriving(),
        })
    }

    /// Whether only parts of the body are held, and what is missing is not arriving either.
    pub fn is_partial(&self) -> bool {
        self.missing(0..=u64::MAX).is_some()
    }

    /// Whether what is missing of the body can be fetched by itself (RFC 9111 §3.4 asks for a strong validator), and kept.
    pub fn is_mendable(&self) -> bool {
        self.holding.mendable && !self.holding.is_damaged()
    }

    /// The first bytes of `range` that are neither held nor arriving (RFC 9111 §3.3). A hole behind which nothing is
    /// held reaches to the end of `range` or, where that is known, of the body.
    pub fn missing(&self, range: RangeInclusive<u64>) -> Option<RangeInclusive<u64>> {
        let range = *range.start()..range.end().saturating_add(1);
        self.holding.with(|place| match place {
            Place::Arriving(_) | Place::Kept(_) => None,
            Place::Parts(parts) => parts.hole(&range).map(|hole| hole.start..=hole.end - 1),
        })
    }

    /// All of the gap that `position` lies in, if the byte there is missing: see [`Stored::missing`].
    pub fn gap(&self, position: u64) -> Option<RangeInclusive<u64>> {
        self.missing(position..=position)?;
        self.holding.with(|place| match place {
            Place::Arriving(_) | Place::Kept(_) => None,
            Place::Parts(parts) => {
                let gap = parts.gap(position);
                Some(gap.start..=gap.end - 1)
            }
        })
    }

    /// Whether all of the body is kept.
    pub fn is_whole(&self) -> bool {
        self.holding.with(|place| matches!(place, Place::Kept(_)))
    }

    /// The parts that are held, in order: the positions of the first and the last byte of each. All of a complete body
    /// is one part.
    pub fn held(&self) -> Vec<RangeInclusive<u64>> {
        self.holding.with(|place| match place {
            Place::Arriving(spool) => whole(spool.arrived()),
            Place::Kept(kept) => whole(kept.length()),
            Place::Parts(parts) => parts.pieces().iter().map(|piece| piece.first..=piece.end() - 1).collect(),
        })
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
    pub(crate) fn new(
        id: u64,
        key: CacheKey,
        home: Arc<Home>,
        place: Place,
        uses: u64,
        mendable: bool,
    ) -> Self {
        Self {
            id,
            key,
            home,
            place: Mutex::new(place),
            uses: AtomicU64::new(uses),
            used_since: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            struck_out: AtomicBool::new(false),
            written: AtomicBool::new(false),
            mendable,
        }
    }

    pub(crate) fn home(&self) -> &Arc<Home> {
        &self.home
    }

    /// Looks at where the body is.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&Place) -> R) -> R {
        look(&lock(&self.place))
    }

    /// Changes where the body is. Who follows a spool goes on following it.
    pub(crate) fn put<R>(&self, change: impl FnOnce(&mut Place) -> R) -> R {
        change(&mut lock(&self.place))
    }

    /// Whether it has a record.
    pub(crate) fn is_written(&self) -> bool {
        self.written.load(Ordering::Relaxed)
    }

    /// It has a record from now on.
    pub(crate) fn written(&self) {
        self.written.store(true, Ordering::Relaxed);
    }

    /// Whether what is missing of it can be fetched by itself.
    pub(crate) fn is_mendable(&self) -> bool {
        self.mendable
    }

    /// How often it was used; the next use is noted again.
    pub(crate) fn take_uses(&self) -> u64 {
        self.used_since.store(false, Ordering::Relaxed);
        self.uses()
    }

    pub(crate) fn uses(&self) -> u64 {
        self.uses.load(Ordering::Relaxed)
    }

    /// The bytes `lost` of `kept` are not on the disk as they were stored. What can be mended becomes a body held in
    /// part; else no lookup finds it from now on, and the file goes, so that the next copy of the same content takes its
    /// place. To be called where waiting for the disk is allowed.
    pub(crate) fn found_damaged(self: &Arc<Self>, kept: &Arc<Kept>, lost: &Range<u64>) {
        let is_mendable = self.mendable && self.put(|place| lose(place, kept, lost));
        if !is_mendable && self.damaged.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Kept::Content(fingerprint) = &**kept {
            self.home.hot.remove(&fingerprint.digest);
            if !is_mendable {
                self.home.content.remove(&fingerprint.digest, || true);
            }
        }
        tracing::warn!(
            key = self.key.as_str(),
            ?lost,
            mended = is_mendable,
            "stored body damaged or missing"
        );
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

/// Takes `lost` of `kept` away from what is held and says whether anything is left.
fn lose(place: &mut Place, kept: &Arc<Kept>, lost: &Range<u64>) -> bool {
    if let Place::Kept(whole) = place
        && Arc::ptr_eq(whole, kept)
    {
        let length = kept.length();
        let mut parts = Parts::new(Some(length));
        parts.add(&Piece { first: 0, length, at: 0, kept: Arc::clone(kept) });
        *place = Place::Parts(Box::new(parts));
    }
    match place {
        Place::Parts(parts) => {
            parts.lose(kept, lost);
            !parts.pieces().is_empty() || parts.is_unsettled()
        }
        // It came anew meanwhile.
        Place::Arriving(_) | Place::Kept(_) => true,
    }
}

fn whole(length: u64) -> Vec<RangeInclusive<u64>> {
    length.checked_sub(1).map(|last| 0..=last).into_iter().collect()
}
