//! What is written down about stored responses: the changes of the durable index.
//!
//! Owns the mapping between what is held and its record. It knows neither files nor frames. What does not make sense
//! is left out when it is read, never an error.

use std::sync::Arc;

use bytes::Bytes;
use rfc9111::CacheKey;
use serde::{Deserialize, Serialize};

use crate::blocks::{BLOCK, Digest, Fingerprint};
use crate::bundles::{Bundles, Small, Spot};
use crate::head::Packed;
use crate::holding::Place;
use crate::parts::{Parts, Piece};

/// One change of the durable index.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) enum Change<'a> {
    /// The first frame of a snapshot: the journals from `generation` on come after it.
    Begin {
        /// The first journal which is not contained in this snapshot.
        generation: u64,
        /// Whether the store was closed in good order when this was written.
        clean: bool,
    },
    /// A stored response is held, whole or in part.
    Keep(#[serde(borrow)] Record<'a>),
    /// It got a new head (RFC 9111 §3.2, §4.3.4).
    Freshen {
        /// Which one.
        id: u64,
        /// Its head from now on.
        head: &'a [u8],
    },
    /// It was used.
    Use {
        /// Which one.
        id: u64,
        /// How often by now.
        uses: u64,
        /// Its place in the eviction order, as bits.
        priority: u64,
    },
    /// It is never evicted from now on, or like the others again. Follows its `Keep`.
    Pin {
        /// Which one.
        id: u64,
        /// Whether it is pinned.
        pinned: bool,
    },
    /// It is no longer stored; or, what was arriving has been dealt with.
    Drop {
        /// Which one.
        id: u64,
    },
    /// A body, or a part of one, is arriving in a temporary file.
    Spooling(#[serde(borrow)] Spooling<'a>),
    /// More of it is in the file.
    Spooled {
        /// Which one: the spool of a [`Spooling`].
        spool: u64,
        /// How many blocks come before these.
        known: u64,
        /// The checksums of the blocks that were not known before.
        sums: Vec<u64>,
    },
}

/// A body, or a part of one, that is arriving and of which a kill must not lose everything.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct Spooling<'a> {
    /// What [`Change::Spooled`] and [`Change::Drop`] call it.
    pub(crate) spool: u64,
    /// The stored response it is of.
    pub(crate) id: u64,
    pub(crate) key: &'a str,
    /// See [`Packed`].
    pub(crate) head: &'a [u8],
    /// The position in the body of the first byte of the file.
    pub(crate) first: u64,
    /// The length of the whole body, where it is known.
    pub(crate) complete_length: Option<u64>,
    /// The name of the temporary file.
    pub(crate) file: &'a str,
    /// The checksums of the blocks that are whole in the file.
    pub(crate) sums: Vec<u64>,
}

/// A stored response that is held, whole or in part.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct Record<'a> {
    id: u64,
    key: &'a str,
    head: &'a [u8],
    #[serde(borrow)]
    body: Body<'a>,
    uses: u64,
    priority: u64,
}

#[derive(Serialize, Deserialize, Debug)]
enum Body<'a> {
    Inline(&'a [u8]),
    Content { digest: [u8; 32], length: u64, sums: Vec<u64> },
    Parts { complete_length: Option<u64>, pieces: Vec<PieceOf<'a>> },
    Small { bundle: u32, at: u32, length: u32, sum: u64 },
}

/// See [`Piece`].
#[derive(Serialize, Deserialize, Debug)]
struct PieceOf<'a> {
    first: u64,
    length: u64,
    at: u64,
    #[serde(borrow)]
    body: Body<'a>,
}

/// Where the body of a complete stored response is.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Kept {
    /// In its record, and so in memory.
    Inline(Bytes),
    /// In a file with others.
    Small(Small),
    /// In a content file.
    Content(Fingerprint),
}

impl Kept {
    /// The complete length of the body in bytes.
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Small(small) => u64::from(small.spot().length),
            Self::Content(fingerprint) => fingerprint.length,
        }
    }
}

/// What was arriving when the last process ended.
pub(crate) struct RestoredSpool {
    pub(crate) spool: u64,
    pub(crate) id: u64,
    pub(crate) key: CacheKey,
    pub(crate) head: Packed,
    pub(crate) first: u64,
    pub(crate) complete_length: Option<u64>,
    pub(crate) file: Box<str>,
    pub(crate) sums: Vec<u64>,
}

impl Spooling<'_> {
    /// What this says.
    pub(crate) fn restore(self) -> RestoredSpool {
        RestoredSpool {
            spool: self.spool,
            id: self.id,
            key: CacheKey::from_normal_form(self.key),
            head: Packed::from_bytes(self.head),
            first: self.first,
            complete_length: self.complete_length,
            file: self.file.into(),
            sums: self.sums,
        }
    }
}

/// A record as the index takes it up.
pub(crate) struct Restored {
    /// The id of the stored response in the journal.
    pub(crate) id: u64,
    /// Its cache key.
    pub(crate) key: CacheKey,
    /// Its head.
    pub(crate) head: Packed,
    /// Its body.
    pub(crate) place: Place,
    /// How often it was used.
    pub(crate) uses: u64,
    /// Its place in the eviction order, as bits.
    pub(crate) priority: u64,
    /// The bytes its record takes on disk.
    pub(crate) size: u64,
}

impl<'a> Record<'a> {
    /// The record of a stored response; `None` while there is nothing to record.
    pub(crate) fn new(id: u64, key: &'a CacheKey, head: &'a Packed, place: &'a Place) -> Option<Self> {
        let body = match place {
            Place::Arriving(_) => return None,
            Place::Kept(kept) => Body::of(kept),
            Place::Parts(parts) if parts.pieces().is_empty() => return None,
            Place::Parts(parts) => {
                let pieces = parts.pieces().iter().map(|piece| PieceOf {
                    first: piece.first,
                    length: piece.length,
                    at: piece.at,
                    body: Body::of(&piece.kept),
                });
                Body::Parts { complete_length: parts.complete_length, pieces: pieces.collect() }
            }
        };
        Some(Self { id, key: key.as_str(), head: head.as_bytes(), body, uses: 0, priority: 0 })
    }

    /// The same with its use so far.
    pub(crate) fn used(self, uses: u64, priority: u64) -> Self {
        Self { uses, priority, ..self }
    }

    /// The stored response this is the record of; `None` when its parts make no sense.
    pub(crate) fn restore(self, size: u64, bundles: &Bundles) -> Option<Restored> {
        let place = match self.body {
            Body::Parts { complete_length, pieces } => {
                let mut parts = Parts::new(complete_length);
                for piece in pieces {
                    parts.add(&piece.restore(bundles)?);
                }
                Place::Parts(Box::new(parts))
            }
            body => Place::Kept(Arc::new(body.restore(bundles)?)),
        };
        let (id, uses, priority) = (self.id, self.uses, self.priority);
        let (key, head) = (CacheKey::from_normal_form(self.key), Packed::from_bytes(self.head));
        Some(Restored { id, key, head, place, uses, priority, size })
    }
}

impl<'a> Body<'a> {
    fn of(kept: &'a Kept) -> Self {
        match kept {
            Kept::Inline(bytes) => Body::Inline(bytes),
            Kept::Small(small) => {
                let Spot { bundle, at, length } = small.spot();
                Body::Small { bundle, at, length, sum: small.sum() }
            }
            Kept::Content(print) => {
                Body::Content { digest: print.digest.0, length: print.length, sums: print.sums.to_vec() }
            }
        }
    }

    fn restore(self, bundles: &Bundles) -> Option<Kept> {
        match self {
            Body::Inline(bytes) => Some(bundles.take_up(bytes)),
            Body::Small { bundle, at, length, sum } => {
                bundles.restore(Spot { bundle, at, length }, sum).map(Kept::Small)
            }
            Body::Content { digest, length, sums } if sums.len() as u64 == length.div_ceil(BLOCK) => {
                Some(Kept::Content(Fingerprint { digest: Digest(digest), sums: sums.into(), length }))
            }
            Body::Content { .. } | Body::Parts { .. } => None,
        }
    }
}

impl PieceOf<'_> {
    fn restore(self, bundles: &Bundles) -> Option<Piece> {
        let Self { first, length, at, body } = self;
        let kept = Arc::new(body.restore(bundles)?);
        let (end, last) = (at.checked_add(length)?, first.checked_add(length)?);
        (length > 0 && end <= kept.length() && last < u64::MAX).then_some(Piece { first, length, at, kept })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frames::{self, AfterDamage, Changes};
    use crate::head::any_head;

    fn key() -> CacheKey {
        CacheKey::parse("http://origin/a?b").unwrap()
    }

    fn nowhere() -> Bundles {
        Bundles::new(std::path::Path::new("nowhere"))
    }

    fn any_kept() -> impl Strategy<Value = Kept> {
        prop_oneof![
            any::<Vec<u8>>().prop_map(|bytes| Kept::Inline(bytes.into())),
            (any::<[u8; 32]>(), prop::collection::vec(any::<u64>(), 1..9)).prop_map(|(digest, sums)| {
                let length = sums.len() as u64 * BLOCK - 1;
                Kept::Content(Fingerprint { digest: Digest(digest), sums: sums.into(), length })
            }),
        ]
    }

    #[test]
    fn checksums_that_do_not_fit_the_length_are_nothing() {
        let print = Fingerprint { digest: Digest([0; 32]), sums: vec![1, 2].into(), length: BLOCK };
        let (key, place) = (key(), Place::Kept(Arc::new(Kept::Content(print))));
        let head = Packed::from_bytes(b"");
        assert!(Record::new(1, &key, &head, &place).unwrap().restore(0, &nowhere()).is_none());
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(head in any_head(), kept in any_kept(), uses: u64, priority: u64) {
            let (key, head) = (key(), Packed::new(&head));
            let mut frames = Vec::new();
            let place = Place::Kept(Arc::new(kept));
            let record = Record::new(7, &key, &head, &place).unwrap().used(uses, priority);
            let size = frames::write(&Change::Keep(record), &mut frames);
            let Some((Change::Keep(record), read)) = Changes::new(&frames, AfterDamage::Cut).next() else {
                return Err(TestCaseError::fail("not read"));
            };
            prop_assert_eq!((size, read), (frames.len() as u64, frames.len() as u64));
            let restored = record.restore(size, &nowhere()).unwrap();
            prop_assert_eq!((restored.id, restored.key, restored.head), (7, key, head));
            prop_assert_eq!((restored.uses, restored.priority, restored.size), (uses, priority, size));
            let (Place::Kept(kept), Place::Kept(restored)) = (place, restored.place) else {
                return Err(TestCaseError::fail("not kept"));
            };
            prop_assert_eq!(kept, restored);
        }
    }
}
