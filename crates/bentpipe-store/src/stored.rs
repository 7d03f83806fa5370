//! A stored response as a lookup hands it out: the head it had then, and the body it shares with every other head.
//!
//! Owns the view and nothing behind it. It does not decide whether a stored response may be reused (rfc9111 does) and
//! does not read bodies itself. A head never changes (RFC 9111 §3.2 freshens by making a new one); the body behind it
//! goes from arriving to kept, and every head that was ever given to it sees that.

use std::ops::RangeInclusive;
use std::sync::Arc;

use rfc9111::StoredResponse;
use smallvec::SmallVec;

use crate::body::StoredBody;
use crate::head::Packed;
use crate::holding::{Holding, Place};
use crate::index::Responses;

/// The stored responses of one cache key: what a lookup found.
#[derive(Clone, Default)]
pub struct Found {
    stored: SmallVec<[Arc<Stored>; 1]>,
}

/// One stored response: complete, with its body still arriving, or held in part (RFC 9111 §3.3).
pub struct Stored {
    head: Arc<StoredResponse>,
    /// The head it was unpacked from, which tells one version from the next.
    packed: Packed,
    holding: Arc<Holding>,
}

impl Found {
    /// Shows what is held of a cache key, in that order; not what is damaged.
    pub(crate) fn new(holdings: Responses) -> Self {
        let sound = holdings.into_iter().filter(|holding| !holding.is_damaged());
        Self { stored: sound.filter_map(Stored::looked_up).map(Arc::new).collect() }
    }

    /// The heads, as `rfc9111::decide` takes them.
    pub fn heads(&self) -> SmallVec<[&StoredResponse; 4]> {
        self.stored.iter().map(|stored| &*stored.head).collect()
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
    /// Shows `holding` with its head of the moment; `None` when that makes no sense.
    pub(crate) fn of(holding: &Arc<Holding>) -> Option<Self> {
        let packed = holding.head();
        Some(Self { head: packed.unpack()?.into(), packed, holding: Arc::clone(holding) })
    }

    /// The same, for whoever asks for this one and is likely to ask again.
    fn looked_up(holding: Arc<Holding>) -> Option<Self> {
        let packed = holding.head();
        Some(Self { head: holding.home().heads.unpack(&packed)?, packed, holding })
    }

    /// Shows `holding` with `head`, which is that of `packed`, and with what that was read into: for a short while.
    pub(crate) fn briefly(head: StoredResponse, packed: Packed, holding: Arc<Holding>) -> Self {
        Self { head: head.into(), packed, holding }
    }

    /// Shows `holding` with `head`, which is that of `packed`.
    pub(crate) fn new(head: StoredResponse, packed: Packed, holding: Arc<Holding>) -> Self {
        // Unpacked, it does not hold on to the buffer that `head` was read into.
        let head = packed.unpack().unwrap_or(head);
        Self::briefly(head, packed, holding)
    }

    /// Whether both show the same stored response, with the same version of its head.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.holding, &other.holding) && self.packed.is_same(&other.packed)
    }

    /// Its head, as RFC 9111 §3.1 stores it.
    pub fn head(&self) -> &StoredResponse {
        &self.head
    }

    /// The complete length of the body in bytes, once it is known: from Content-Length or Content-Range, or when it has
    /// arrived.
    pub fn length(&self) -> Option<u64> {
        self.holding.length()
    }

    /// How many bytes of the body are held now.
    pub fn arrived(&self) -> u64 {
        self.holding.arrived()
    }

    /// Whether bytes of the body are arriving.
    pub fn is_arriving(&self) -> bool {
        self.holding.is_arriving()
    }

    /// Whether only parts of the body are held, and what is missing is not arriving either.
    pub fn is_partial(&self) -> bool {
        self.missing(0..=u64::MAX).is_some()
    }

    /// Whether what is missing of the body can be fetched by itself (RFC 9111 §3.4 asks for a strong validator), and kept.
    pub fn is_mendable(&self) -> bool {
        self.packed.is_mendable() && !self.holding.is_damaged()
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
        self.holding.note_use();
    }

    pub(crate) fn holding(&self) -> &Arc<Holding> {
        &self.holding
    }
}

fn whole(length: u64) -> Vec<RangeInclusive<u64>> {
    length.checked_sub(1).map(|last| 0..=last).into_iter().collect()
}
