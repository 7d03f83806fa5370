//! What the store holds of one response: its key, its head of the moment, and where its body is.
//!
//! Owns the state that every reader of a stored response shares, and its change from arriving to kept, or to parts. It
//! reads no bytes and writes nothing down: whoever changes it keeps ledger and journal in step (the shelf does).

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rfc9111::CacheKey;

use crate::head::Packed;
use crate::home::Home;
use crate::locked::lock;
use crate::parts::{Parts, Piece};
use crate::record::Kept;
use crate::spool::Spool;

/// A response that is stored or about to be. There are as many as the cache has entries: every byte counts.
pub(crate) struct Holding {
    /// Names it in the journal and the ledger. A later one is greater.
    pub(crate) id: u64,
    /// What it is stored under.
    pub(crate) key: CacheKey,
    home: Arc<Home>,
    state: Mutex<State>,
    uses: AtomicU32,
    used_since: AtomicBool,
    damaged: AtomicBool,
    struck_out: AtomicBool,
    /// Whether it has a record.
    written: AtomicBool,
}

struct State {
    head: Packed,
    place: Place,
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

impl Place {
    /// What is kept of the body.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &Arc<Kept>> {
        let (whole, pieces) = match self {
            Self::Arriving(_) => (None, &[][..]),
            Self::Kept(kept) => (Some(kept), &[][..]),
            Self::Parts(parts) => (None, parts.pieces()),
        };
        whole.into_iter().chain(pieces.iter().map(|piece| &piece.kept))
    }
}

impl Holding {
    /// A response that has no record yet.
    pub(crate) fn new(id: u64, key: CacheKey, home: Arc<Home>, head: Packed, place: Place) -> Self {
        Self {
            id,
            key,
            home,
            state: Mutex::new(State { head, place }),
            uses: AtomicU32::new(0),
            used_since: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            struck_out: AtomicBool::new(false),
            written: AtomicBool::new(false),
        }
    }

    /// The same as it was before a restart: it has a record, and was used `uses` times.
    pub(crate) fn restored(self, uses: u64) -> Self {
        let uses = AtomicU32::new(u32::try_from(uses).unwrap_or(u32::MAX));
        Self { uses, written: AtomicBool::new(true), ..self }
    }

    pub(crate) fn home(&self) -> &Arc<Home> {
        &self.home
    }

    /// Looks at where the body is.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&Place) -> R) -> R {
        look(&lock(&self.state).place)
    }

    /// Looks at the head and where the body is.
    pub(crate) fn with_head<R>(&self, look: impl FnOnce(&Packed, &Place) -> R) -> R {
        let state = lock(&self.state);
        look(&state.head, &state.place)
    }

    /// Changes where the body is. Who follows a spool goes on following it.
    pub(crate) fn put<R>(&self, change: impl FnOnce(&mut Place) -> R) -> R {
        change(&mut lock(&self.state).place)
    }

    /// The complete length of the body in bytes, where it is known.
    pub(crate) fn length(&self) -> Option<u64> {
        self.with(|place| match place {
            Place::Arriving(spool) => spool.length(),
            Place::Kept(kept) => Some(kept.length()),
            Place::Parts(parts) => parts.complete_length,
        })
    }

    /// How many bytes of the body are held now.
    pub(crate) fn arrived(&self) -> u64 {
        self.with(|place| match place {
            Place::Arriving(spool) => spool.arrived(),
            Place::Kept(kept) => kept.length(),
            Place::Parts(parts) => parts.held(),
        })
    }

    /// Whether bytes of the body are arriving.
    pub(crate) fn is_arriving(&self) -> bool {
        self.with(|place| match place {
            Place::Arriving(spool) => spool.is_open(),
            Place::Kept(_) => false,
            Place::Parts(parts) => parts.is_arriving(),
        })
    }

    /// Its head now.
    pub(crate) fn head(&self) -> Packed {
        lock(&self.state).head.clone()
    }

    /// Gives it a new head. Who has the old one keeps it.
    pub(crate) fn put_head(&self, head: Packed) {
        lock(&self.state).head = head;
    }

    /// Whether it has a record.
    pub(crate) fn is_written(&self) -> bool {
        self.written.load(Ordering::Relaxed)
    }

    /// It has a record from now on.
    pub(crate) fn written(&self) {
        self.written.store(true, Ordering::Relaxed);
    }

    /// Whether what is missing of it can be fetched by itself (RFC 9111 §3.4).
    pub(crate) fn is_mendable(&self) -> bool {
        lock(&self.state).head.is_mendable()
    }

    /// Counts a use. It is noted once a round, however often a hot one is used.
    pub(crate) fn note_use(self: &Arc<Self>) {
        self.home.counts.hits.fetch_add(1, Ordering::Relaxed);
        self.uses.fetch_add(1, Ordering::Relaxed);
        if !self.used_since.load(Ordering::Relaxed) && !self.used_since.swap(true, Ordering::Relaxed) {
            self.home.note_used(Arc::clone(self));
        }
    }

    /// How often it was used; the next use is noted again.
    pub(crate) fn take_uses(&self) -> u64 {
        self.used_since.store(false, Ordering::Relaxed);
        self.uses()
    }

    pub(crate) fn uses(&self) -> u64 {
        u64::from(self.uses.load(Ordering::Relaxed))
    }

    /// The bytes `lost` of `kept` are not on the disk as they were stored. What can be mended becomes a body held in
    /// part; else no lookup finds it from now on, and the file goes, so that the next copy of the same content takes its
    /// place. To be called where waiting for the disk is allowed.
    pub(crate) fn found_damaged(self: &Arc<Self>, kept: &Arc<Kept>, lost: &Range<u64>) {
        let is_mendable = self.is_mendable() && self.put(|place| lose(place, kept, lost));
        if self.struck_out.load(Ordering::Acquire) {
            // It left the store while it was read, and its content with it. That is no damage, and the file of this
            // digest, if there is one by now, is somebody else's.
            return;
        }
        if !is_mendable && self.damaged.swap(true, Ordering::Relaxed) {
            return;
        }
        match &**kept {
            Kept::Content(fingerprint) => {
                self.home.hot.remove(&fingerprint.digest);
                if !is_mendable {
                    self.home.content.remove(&fingerprint.digest, || true);
                }
            }
            Kept::Small(small) => self.home.hot.remove_small(small),
            Kept::Inline(_) => {}
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
    pub(crate) fn warm(&self, kept: &Kept, body: Bytes) {
        let hot = &self.home.hot;
        match kept {
            Kept::Inline(_) => {}
            Kept::Small(small) => hot.put_small(small, body),
            Kept::Content(print) => hot.put(print, body),
        }
        // Struck out before the body was put there, its removal may have come too early to see it.
        if self.struck_out.load(Ordering::Acquire) {
            match kept {
                Kept::Inline(_) => {}
                Kept::Small(small) => hot.remove_small(small),
                Kept::Content(print) => hot.remove(&print.digest),
            }
        }
    }

    /// It is in no ledger any more. To be called before its content leaves memory; what it shares with no other leaves it
    /// here.
    pub(crate) fn strike_out(&self) {
        self.struck_out.store(true, Ordering::Release);
        self.with(|place| {
            for kept in place.kept() {
                if let Kept::Small(small) = &**kept {
                    self.home.hot.remove_small(small);
                }
            }
        });
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
