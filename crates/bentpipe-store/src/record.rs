//! The form in which changes of the index are written down: versioned, checksummed frames.
//!
//! Owns the bytes of a frame and the mapping between a stored response and its record. It does not know files. A
//! frame is its length, a version, the change (postcard) and an xxh3 of all of that; what does not parse is told from
//! what is damaged only as far as the reader needs: nothing after a cut can be trusted in a journal.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use rfc9111::{CacheKey, Nominated, StoredResponse};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::blocks::{BLOCK, Digest, Fingerprint};
use crate::head::contiguous;
use crate::parts::{Parts, Piece};
use crate::stored::Place;

/// Changes when a frame of the old form can no longer be read. Another version is an empty cache.
const VERSION: u8 = 2;
/// Length (4) and version (1) before the change, checksum (8) after it.
const OVERHEAD: usize = 4 + 1 + 8;
/// No record is larger; a length beyond this is garbage, not a reason to allocate.
const LARGEST: usize = 64 << 20;

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
        #[serde(borrow)]
        head: Head<'a>,
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
    #[serde(borrow)]
    pub(crate) head: Head<'a>,
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
    #[serde(borrow)]
    head: Head<'a>,
    #[serde(borrow)]
    body: Body<'a>,
    uses: u64,
    priority: u64,
}

/// The head of a stored response. Times are nanoseconds since 1970.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct Head<'a> {
    status: u16,
    #[serde(borrow)]
    fields: Vec<(&'a str, &'a [u8])>,
    #[serde(borrow)]
    nominated: Vec<(&'a str, Option<&'a [u8]>)>,
    request_time: u64,
    response_time: u64,
}

#[derive(Serialize, Deserialize, Debug)]
enum Body<'a> {
    Inline(&'a [u8]),
    Content { digest: [u8; 32], length: u64, sums: Vec<u64> },
    Parts { complete_length: Option<u64>, pieces: Vec<PieceOf<'a>> },
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
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kept {
    /// In its record, and so in memory.
    Inline(Bytes),
    /// In a content file.
    Content(Fingerprint),
}

impl Kept {
    /// The complete length of the body in bytes.
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Content(fingerprint) => fingerprint.length,
        }
    }
}

/// What was arriving when the last process ended.
pub(crate) struct RestoredSpool {
    pub(crate) spool: u64,
    pub(crate) id: u64,
    pub(crate) key: CacheKey,
    pub(crate) head: StoredResponse,
    pub(crate) first: u64,
    pub(crate) complete_length: Option<u64>,
    pub(crate) file: Box<str>,
    pub(crate) sums: Vec<u64>,
}

impl Spooling<'_> {
    /// What this says; `None` when its parts make no sense.
    pub(crate) fn restore(self) -> Option<RestoredSpool> {
        Some(RestoredSpool {
            spool: self.spool,
            id: self.id,
            key: CacheKey::parse(self.key)?,
            head: self.head.restore()?,
            first: self.first,
            complete_length: self.complete_length,
            file: self.file.into(),
            sums: self.sums,
        })
    }
}

/// A record as the index takes it up.
pub(crate) struct Restored {
    /// The id of the stored response in the journal.
    pub(crate) id: u64,
    /// Its cache key.
    pub(crate) key: CacheKey,
    /// Its head.
    pub(crate) head: StoredResponse,
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
    pub(crate) fn new(
        id: u64,
        key: &'a CacheKey,
        head: &'a StoredResponse,
        place: &'a Place,
    ) -> Option<Self> {
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
        Some(Self { id, key: key.as_str(), head: Head::new(head), body, uses: 0, priority: 0 })
    }

    /// The same with its use so far.
    pub(crate) fn used(self, uses: u64, priority: u64) -> Self {
        Self { uses, priority, ..self }
    }

    /// The stored response this is the record of; `None` when its parts make no sense.
    pub(crate) fn restore(&self, size: u64) -> Option<Restored> {
        let place = match &self.body {
            Body::Parts { complete_length, pieces } => {
                let mut parts = Parts::new(*complete_length);
                for piece in pieces {
                    parts.add(&piece.restore()?);
                }
                Place::Parts(Box::new(parts))
            }
            body => Place::Kept(Arc::new(body.restore()?)),
        };
        let (id, uses, priority) = (self.id, self.uses, self.priority);
        let key = CacheKey::parse(self.key)?;
        Some(Restored { id, key, head: self.head.restore()?, place, uses, priority, size })
    }
}

impl<'a> Body<'a> {
    fn of(kept: &'a Kept) -> Self {
        match kept {
            Kept::Inline(bytes) => Body::Inline(bytes),
            Kept::Content(print) => {
                Body::Content { digest: print.digest.0, length: print.length, sums: print.sums.to_vec() }
            }
        }
    }

    fn restore(&self) -> Option<Kept> {
        match self {
            Body::Inline(bytes) => Some(Kept::Inline(Bytes::copy_from_slice(bytes))),
            Body::Content { digest, length, sums } if sums.len() as u64 == length.div_ceil(BLOCK) => {
                let sums = sums.clone().into();
                Some(Kept::Content(Fingerprint { digest: Digest(*digest), sums, length: *length }))
            }
            Body::Content { .. } | Body::Parts { .. } => None,
        }
    }
}

impl PieceOf<'_> {
    fn restore(&self) -> Option<Piece> {
        let kept = Arc::new(self.body.restore()?);
        let (end, last) = (self.at.checked_add(self.length)?, self.first.checked_add(self.length)?);
        let Self { first, length, at, .. } = *self;
        (length > 0 && end <= kept.length() && last < u64::MAX).then_some(Piece { first, length, at, kept })
    }
}

impl<'a> Head<'a> {
    /// The durable form of `head`.
    pub(crate) fn new(head: &'a StoredResponse) -> Self {
        Self {
            status: head.status.as_u16(),
            fields: head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect(),
            nominated: head.nominated.parts().map(|(name, value)| (name.as_str(), value)).collect(),
            request_time: to_nanoseconds(head.request_time),
            response_time: to_nanoseconds(head.response_time),
        }
    }

    /// The head this is the form of; `None` when its parts make no sense.
    pub(crate) fn restore(&self) -> Option<StoredResponse> {
        let mut headers = HeaderMap::with_capacity(self.fields.len());
        let mut values = contiguous(|| self.fields.iter().map(|(_, value)| *value));
        for (name, value) in &self.fields {
            let value = HeaderValue::from_maybe_shared(values.split_to(value.len())).ok()?;
            headers.append(to_name(name)?, value);
        }
        let nominated: Option<Vec<_>> = (self.nominated.iter())
            .map(|(name, value)| Some((to_name(name)?, value.map(<[u8]>::to_vec))))
            .collect();
        Some(StoredResponse {
            status: StatusCode::from_u16(self.status).ok()?,
            headers,
            nominated: Nominated::from_parts(nominated?),
            request_time: from_nanoseconds(self.request_time),
            response_time: from_nanoseconds(self.response_time),
        })
    }
}

/// Appends the frame of `change` to `frames` and returns its size in bytes.
pub(crate) fn write(change: &Change<'_>, frames: &mut Vec<u8>) -> u64 {
    // Serializing plain data into memory does not fail; were it to, the change would be one that is not written.
    let Ok(payload) = postcard::to_stdvec(change) else { return 0 };
    let start = frames.len();
    frames.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    frames.push(VERSION);
    frames.extend_from_slice(&payload);
    let sum = xxh3_64(&frames[start..]);
    frames.extend_from_slice(&sum.to_le_bytes());
    (frames.len() - start) as u64
}

/// The changes in `frames`, in order, each with the size of its frame.
pub(crate) struct Changes<'a> {
    frames: &'a [u8],
    after_damage: AfterDamage,
}

/// What a reader does behind a frame that is damaged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterDamage {
    /// Cut: in a journal each change may depend on the one before.
    Cut,
    /// Go on: the records of a snapshot stand alone.
    Skip,
}

impl<'a> Changes<'a> {
    /// Reads `frames`.
    pub(crate) fn new(frames: &'a [u8], after_damage: AfterDamage) -> Self {
        Self { frames, after_damage }
    }
}

impl<'a> Iterator for Changes<'a> {
    type Item = (Change<'a>, u64);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let payload = u32::from_le_bytes(*self.frames.first_chunk()?) as usize;
            if payload > LARGEST {
                return None;
            }
            let (frame, rest) = self.frames.split_at_checked(payload + OVERHEAD)?;
            self.frames = rest;
            if let Some(change) = parse(frame) {
                return Some((change, frame.len() as u64));
            }
            if self.after_damage == AfterDamage::Cut {
                self.frames = &[];
            }
        }
    }
}

fn parse(frame: &[u8]) -> Option<Change<'_>> {
    let (summed, sum) = frame.split_last_chunk()?;
    if xxh3_64(summed) != u64::from_le_bytes(*sum) || summed[4] != VERSION {
        return None;
    }
    postcard::from_bytes(&summed[5..]).ok()
}

fn to_name(name: &str) -> Option<HeaderName> {
    HeaderName::from_bytes(name.as_bytes()).ok()
}

fn to_nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn from_nanoseconds(nanoseconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> CacheKey {
        CacheKey::parse("http://origin/a?b").unwrap()
    }

    prop_compose! {
        fn any_head()(
            status in 100u16..1000,
            fields in prop::collection::vec(("[a-z][a-z-]{0,9}", "[ -~]{0,20}"), 0..8),
            nominated in prop::collection::vec(("[a-z]{1,9}", prop::option::of(any::<Vec<u8>>())), 0..3),
            times in any::<[u32; 2]>(),
        ) -> StoredResponse {
            let mut headers = HeaderMap::new();
            for (name, value) in &fields {
                headers.append(to_name(name).unwrap(), HeaderValue::from_str(value).unwrap());
            }
            let nominated = nominated.into_iter().map(|(name, value)| (to_name(&name).unwrap(), value));
            StoredResponse {
                status: StatusCode::from_u16(status).unwrap(),
                headers,
                nominated: Nominated::from_parts(nominated),
                request_time: from_nanoseconds(u64::from(times[0]) << 31),
                response_time: from_nanoseconds(u64::from(times[1]) << 31),
            }
        }
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

    fn changes(frames: &[u8], after: AfterDamage) -> Vec<u64> {
        let ids = Changes::new(frames, after).map(|(change, _)| match change {
            Change::Drop { id } => id,
            other => panic!("{other:?} was never written"),
        });
        ids.collect()
    }

    fn drops() -> Vec<u8> {
        let mut frames = Vec::new();
        for id in 0..5 {
            write(&Change::Drop { id }, &mut frames);
        }
        frames
    }

    #[test]
    fn behind_a_damaged_frame_a_journal_is_cut_and_a_snapshot_goes_on() {
        let mut frames = drops();
        let size = frames.len() / 5;
        frames[2 * size + 6] ^= 1;
        assert_eq!(changes(&frames, AfterDamage::Cut), [0, 1]);
        assert_eq!(changes(&frames, AfterDamage::Skip), [0, 1, 3, 4]);
    }

    #[test]
    fn another_version_is_nothing() {
        let mut frames = Vec::new();
        let size = write(&Change::Drop { id: 1 }, &mut frames) as usize;
        frames[4] = VERSION + 1;
        let sum = xxh3_64(&frames[..size - 8]);
        frames[size - 8..].copy_from_slice(&sum.to_le_bytes());
        assert!(changes(&frames, AfterDamage::Cut).is_empty());
    }

    #[test]
    fn checksums_that_do_not_fit_the_length_are_nothing() {
        let print = Fingerprint { digest: Digest([0; 32]), sums: [1, 2].into(), length: BLOCK };
        let (key, place) = (key(), Place::Kept(Arc::new(Kept::Content(print))));
        let head = StoredResponse {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            nominated: Nominated::from_parts([]),
            request_time: SystemTime::UNIX_EPOCH,
            response_time: SystemTime::UNIX_EPOCH,
        };
        assert!(Record::new(1, &key, &head, &place).unwrap().restore(0).is_none());
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(head in any_head(), kept in any_kept(), uses: u64, priority: u64) {
            let key = key();
            let mut frames = Vec::new();
            let place = Place::Kept(Arc::new(kept));
            let record = Record::new(7, &key, &head, &place).unwrap().used(uses, priority);
            let size = write(&Change::Keep(record), &mut frames);
            let Some((Change::Keep(record), read)) = Changes::new(&frames, AfterDamage::Cut).next() else {
                return Err(TestCaseError::fail("not read"));
            };
            prop_assert_eq!((size, read), (frames.len() as u64, frames.len() as u64));
            let restored = record.restore(size).unwrap();
            prop_assert_eq!((restored.id, restored.key, restored.head), (7, key, head));
            prop_assert_eq!((restored.uses, restored.priority, restored.size), (uses, priority, size));
            let (Place::Kept(kept), Place::Kept(restored)) = (place, restored.place) else {
                return Err(TestCaseError::fail("not kept"));
            };
            prop_assert_eq!(kept, restored);
        }

        #[test]
        fn a_torn_tail_is_cut(cut in 0usize..200) {
            let frames = drops();
            let cut = cut.min(frames.len());
            let whole = cut / (frames.len() / 5);
            prop_assert_eq!(changes(&frames[..cut], AfterDamage::Cut), (0..whole as u64).collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>, flip in any::<prop::sample::Index>()) {
            prop_assert_eq!(Changes::new(&bytes, AfterDamage::Skip).count(), 0);
            let mut frames = drops();
            let flip = flip.index(frames.len());
            frames[flip] ^= 0x10;
            prop_assert!(changes(&frames, AfterDamage::Cut).len() <= 4);
        }
    }
}
