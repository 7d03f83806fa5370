//! How what has arrived becomes kept: in its record or as content, in place of what it replaces; and how pieces are
//! joined.
//!
//! Owns the order: content is placed and referred to, then the index shows it and the journal says so, under the lock of
//! its key. It does not write bodies itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::blocks::Fingerprint;
use crate::content::Source;
use crate::error::Error;
use crate::head::contiguous;
use crate::holding::{Holding, Place};
use crate::index::Responses;
use crate::locked::{lock, read};
use crate::ongoing::Ongoing;
use crate::parts::{Parts, Piece};
use crate::pen::{self, Complete};
use crate::record::Kept;
use crate::shelf::{Shelf, find};
use crate::spool::Spool;

/// A key has no more stored responses than this; the oldest goes. A Vary on something unique must not eat the memory.
const VARIANTS: usize = 64;
/// Bodies shorter than this share files: one of their own each costs ten times as much to store. Longer ones are kept once
/// however many responses have them. Bytes.
const SHORT: u64 = 32 * 1024;
/// Bodies no longer than this live in their record, and so in memory: they are less than what is known of them. Bytes.
pub(crate) const INLINE: usize = 64;

impl Shelf {
    /// Whether bytes are few enough to share a file with others.
    pub(crate) fn is_short(length: u64) -> bool {
        length < SHORT
    }

    /// Keeps a short body, or a part of one, that is in memory; there, too, if it `is_wanted`. Does not wait for the disk.
    ///
    /// # Errors
    /// When it left the index while it arrived, the store was closed, or too much waits for the disk.
    pub(crate) fn keep_short(
        &self,
        ongoing: &Ongoing,
        chunks: &[Bytes],
        is_wanted: bool,
    ) -> Result<(), Error> {
        if !self.is_open() {
            return Err(Error::Closed);
        }
        let body = contiguous(|| chunks.iter().map(|chunk| &**chunk));
        let kept = Arc::new(self.put_short(&body).ok_or(Error::Unavailable)?);
        self.keep(ongoing, Arc::clone(&kept))?;
        if is_wanted {
            ongoing.holding.warm(&kept, body);
        }
        Ok(())
    }

    fn put_short(&self, body: &Bytes) -> Option<Kept> {
        if body.len() <= INLINE {
            return Some(Kept::Inline(body.clone()));
        }
        let small = self.home.bundles.append(body)?;
        if self.home.bundles.is_flush_urgent() {
            self.home.bell.notify_one();
        }
        Some(Kept::Small(small))
    }

    /// Makes a body, or a part of it, content and keeps it; in memory too, if it `is_wanted` and short enough. Waits for
    /// the disk.
    ///
    /// # Errors
    /// As for [`Shelf::keep_short`], and what the disk said.
    pub(crate) fn keep_content(
        &self,
        ongoing: &Ongoing,
        complete: Complete,
        is_wanted: bool,
    ) -> Result<(), Error> {
        let _keeping = read(&self.keeping);
        if !self.is_open() {
            return Err(Error::Closed);
        }
        let (source, fingerprint) = complete.into_source();
        let hot = match &source {
            Source::Memory(body) if is_wanted => Some((body.clone(), fingerprint.clone())),
            _ => None,
        };
        let outcome = self.placed(source, &fingerprint.clone(), || {
            self.keep(ongoing, Arc::new(Kept::Content(fingerprint)))
        });
        if let (Ok(()), Some((body, print))) = (&outcome, hot) {
            ongoing.holding.warm(&Kept::Content(print), body);
        }
        outcome
    }

    /// Puts the pieces of a body that is held whole into one file. Waits for the disk.
    pub(crate) fn join(&self, holding: &Arc<Holding>) {
        let _keeping = read(&self.keeping);
        let pieces = holding.with(|place| match place {
            Place::Parts(parts) if parts.is_whole() && !parts.is_unsettled() => Some(parts.pieces().to_vec()),
            _ => None,
        });
        let Some(pieces) = pieces.filter(|_| self.is_open()) else { return };
        let joined = pen::join(&self.home.content, holding, &pieces);
        let outcome = self.home.health.note("joining the parts of a body", joined);
        let Ok(Some(complete)) = outcome else { return self.rewrite(holding) };
        let (source, fingerprint) = complete.into_source();
        let short = match &source {
            Source::Memory(body) if Self::is_short(fingerprint.length) => self.put_short(body),
            _ => None,
        };
        let is_short = short.is_some();
        let kept = Arc::new(short.unwrap_or_else(|| Kept::Content(fingerprint.clone())));
        let put = || {
            holding.put(|place| *place = Place::Kept(kept));
            self.rewrite(holding);
            Ok(())
        };
        let outcome = if is_short { put() } else { self.placed(source, &fingerprint, put) };
        if let Err(error) = outcome {
            tracing::debug!(%error, "the parts of a body stay apart");
        }
    }

    /// Makes `source` content and refers to it until `put`, which is to refer to it for good, is done.
    pub(crate) fn placed(
        &self,
        source: Source,
        print: &Fingerprint,
        put: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (digest, length) = (print.digest, print.length);
        let placed = self.home.content.place(source, &digest, || lock(&self.ledger).hold(digest, length));
        self.home.health.note("storing a body", placed)?;
        let outcome = put();
        if lock(&self.ledger).let_go(&digest) {
            self.remove_orphan(&digest);
        }
        outcome
    }

    /// Shows bytes that have arrived as kept: a whole body in place of the older responses for the same nominated
    /// fields, a part beside them.
    fn keep(&self, ongoing: &Ongoing, kept: Arc<Kept>) -> Result<(), Error> {
        let Ongoing { holding, first, spool, .. } = ongoing;
        let replaced = self.index.change(&holding.key, |responses| {
            let own = find(responses, holding.id)?;
            if spool.is_complete() && is_outdated(responses, holding) {
                responses.remove(own);
                self.append_drop(holding);
                return None;
            }
            holding.put(|place| put_kept(place, *first, spool, kept));
            let orphans = self.write_record(holding)?;
            let replaced = take_replaced(responses, holding, |id| lock(&self.ledger).is_pinned(id));
            self.inherit_pin(holding, &replaced);
            replaced.iter().for_each(|other| self.append_drop(other));
            Some((replaced, orphans))
        });
        let Some((replaced, orphans)) = replaced else {
            return Err(if self.is_open() { Error::Invalidated } else { Error::Closed });
        };
        self.forget(ongoing);
        self.home.counts.kept.fetch_add(1, Ordering::Relaxed);
        self.home.note_orphans(orphans);
        self.home.note_orphans(replaced.iter().flat_map(|other| self.strike(other.id)));
        self.note_if_whole(holding);
        Ok(())
    }

    pub(crate) fn note_if_whole(&self, holding: &Arc<Holding>) {
        if holding.with(|place| matches!(place, Place::Parts(parts) if parts.is_whole())) {
            self.home.note_whole(Arc::clone(holding));
        }
    }
}

/// What `spool` brought, which begins at byte `first` of the body, is in `kept` from now on.
fn put_kept(place: &mut Place, first: u64, spool: &Arc<Spool>, kept: Arc<Kept>) {
    match place {
        Place::Arriving(_) if spool.is_complete() => *place = Place::Kept(kept),
        Place::Arriving(_) => {
            let mut parts = Parts::new(spool.length());
            parts.add(&Piece { first: 0, length: kept.length(), at: 0, kept });
            *place = Place::Parts(Box::new(parts));
        }
        Place::Parts(parts) if parts.complete_length == Some(kept.length()) => *place = Place::Kept(kept),
        Place::Parts(parts) => {
            parts.detach(spool);
            if kept.length() > 0 {
                parts.add(&Piece { first, length: kept.length(), at: 0, kept });
            }
        }
        // It was joined to one meanwhile.
        Place::Kept(_) => {}
    }
}

/// Whether a newer response for the same nominated fields came while this one was arriving. RFC 9111 §4: "When more than
/// one suitable response is stored, a cache MUST use the most recent one (as determined by the Date header field)".
fn is_outdated(responses: &Responses, holding: &Holding) -> bool {
    let recency = |holding: &Holding| holding.head().unpack().map(|head| (head.date(), head.response_time));
    let head = holding.head();
    let same = |other: &&Arc<Holding>| {
        other.id != holding.id
            && other.with(|place| matches!(place, Place::Kept(_)))
            && other.head().nominated() == head.nominated()
    };
    responses.iter().filter(same).any(|other| recency(other) > recency(holding))
}

/// Takes out what `holding` replaces: kept responses for the same nominated fields, and the oldest of too many that is not pinned. A
/// response that is held in part replaces only such.
fn take_replaced(
    responses: &mut Responses,
    holding: &Holding,
    is_pinned: impl Fn(u64) -> bool,
) -> Vec<Arc<Holding>> {
    let is_part = |holding: &Holding| holding.with(|place| matches!(place, Place::Parts(_)));
    let is_settled = |holding: &Holding| {
        holding.with(|place| match place {
            Place::Arriving(_) => false,
            Place::Kept(_) => true,
            Place::Parts(parts) => !parts.is_unsettled(),
        })
    };
    let (head, replaces_whole) = (holding.head(), !is_part(holding));
    let mut replaced = Vec::new();
    let mut excess = responses.len().saturating_sub(VARIANTS);
    responses.retain(|other| {
        let may_go = other.id != holding.id && is_settled(other);
        let same = other.head().nominated() == head.nominated() && (replaces_whole || is_part(other));
        let goes = may_go && (same || (excess > 0 && !is_pinned(other.id)));
        if goes {
            excess = excess.saturating_sub(1);
            replaced.push(Arc::clone(other));
        }
        !goes
    });
    replaced
}
