//! Where stored responses live: index, ledger, journal and content, and the changes that touch more than one of them.
//!
//! Owns the order of those changes, so that after a crash a stored response is whole or absent: content is placed and
//! referred to, then the index shows it and the journal says so, under the lock of its key. What is removed leaves the
//! index first, then the journal, then the ledger; its content goes last, if nobody refers to it by then.

use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use bytes::Bytes;
use rfc9111::{CacheKey, StoredResponse};

use crate::blocks::Digest;
use crate::content::Source;
use crate::error::Error;
use crate::head::{contiguous, pack};
use crate::home::Home;
use crate::index::Index;
use crate::journal::Journal;
use crate::ledger::{Ledger, Priority, Removed, Size};
use crate::locked::{lock, read, write};
use crate::pen::Complete;
use crate::record::{Change, Head, Kept, Record, Restored};
use crate::stored::{Holding, Place, Responses, Stored};

/// A key has no more stored responses than this; the oldest goes. A Vary on something unique must not eat the memory.
const VARIANTS: usize = 64;
/// Bodies shorter than this live in their record: a file of their own would take a page at least. Bytes.
const INLINE: u64 = 4096;

/// The stored responses of one cache folder.
pub(crate) struct Shelf {
    pub(crate) home: Arc<Home>,
    pub(crate) index: Index,
    pub(crate) ledger: Mutex<Ledger<Arc<Holding>>>,
    pub(crate) journal: Option<Journal>,
    next_id: AtomicU64,
    /// Held for reading while a body is being kept, for writing to shut the journal: nothing is half kept then.
    keeping: RwLock<()>,
    /// Locked as long as anything may still write to the folder.
    folder_lock: Option<File>,
}

impl Shelf {
    /// Takes up what was loaded. Without a journal, and the locked file that goes with it, nothing can be changed.
    pub(crate) fn new(home: Arc<Home>, restored: Vec<Restored>, writer: Option<(Journal, File)>) -> Self {
        let (index, mut ledger, mut next_id) = (Index::new(), Ledger::new(), 0);
        for restored in restored {
            next_id = next_id.max(restored.id + 1);
            let (id, uses, priority) = (restored.id, restored.uses, Priority::from_bits(restored.priority));
            let size = size_of(&restored.kept, restored.size);
            let place = Place::Kept(Arc::new(restored.kept));
            let holding = Arc::new(Holding::new(id, restored.key, Arc::clone(&home), place, uses));
            ledger.restore(id, Arc::clone(&holding), size, uses, priority);
            let stored = Arc::new(Stored::new(restored.head, Arc::clone(&holding)));
            index.change(&holding.key, |responses| responses.push(stored));
        }
        ledger.restored();
        let (journal, folder_lock) = writer.unzip();
        let (ledger, next_id, keeping) = (Mutex::new(ledger), AtomicU64::new(next_id), RwLock::default());
        Self { home, index, ledger, journal, next_id, keeping, folder_lock }
    }

    /// Takes no more changes, once those that are being made are done. Waits for the disk.
    pub(crate) fn shut(&self) {
        let _keeping = write(&self.keeping);
        if let Some(journal) = &self.journal {
            journal.shut();
        }
    }

    /// Lets another process open the folder. Nothing may be written to it any more.
    pub(crate) fn unlock(&self) {
        if let Some(Err(error)) = self.folder_lock.as_ref().map(File::unlock) {
            tracing::debug!(%error, "the cache folder stays locked");
        }
    }

    /// Whether changes are taken.
    pub(crate) fn is_open(&self) -> bool {
        self.journal.as_ref().is_some_and(Journal::is_open)
    }

    /// Shows a response whose body is about to arrive.
    pub(crate) fn arrive(&self, key: CacheKey, head: StoredResponse, place: Place) -> Arc<Stored> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let holding = Arc::new(Holding::new(id, key, Arc::clone(&self.home), place, 0));
        let stored = Arc::new(Stored::new(pack(head), Arc::clone(&holding)));
        self.index.change(&holding.key, |responses| responses.push(Arc::clone(&stored)));
        stored
    }

    /// Whether the body is short enough to live in its record.
    pub(crate) fn is_inline(length: u64) -> bool {
        length < INLINE
    }

    /// Keeps a complete body that goes into its record. Does not wait for the disk.
    ///
    /// # Errors
    /// When it left the index while it arrived, or the store was closed.
    pub(crate) fn keep_inline(&self, holding: &Arc<Holding>, chunks: &[Bytes]) -> Result<(), Error> {
        let kept = Kept::Inline(contiguous(|| chunks.iter().map(|chunk| &**chunk)));
        self.enter(holding, &kept);
        self.keep(holding, kept)
    }

    /// Makes a complete body content and keeps it; in memory too, if it `is_wanted` and short enough. Waits for the
    /// disk.
    ///
    /// # Errors
    /// As for [`Shelf::keep_inline`], and what the disk said.
    pub(crate) fn keep_content(
        &self,
        holding: &Arc<Holding>,
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
        let digest = fingerprint.digest;
        let kept = Kept::Content(fingerprint);
        let placed = self.home.content.place(source, &digest, || self.enter(holding, &kept));
        self.home.health.note("storing a body", placed)?;
        let outcome = self.keep(holding, kept);
        match (&outcome, hot) {
            (Ok(()), Some((body, print))) => holding.warm(&print, body),
            (Ok(()), None) => {}
            (Err(_), _) => self.remove_orphan(&digest),
        }
        outcome
    }

    /// Gives a stored response a new head (RFC 9111 §3.2, §4.3.4). One that is no longer stored stays so.
    pub(crate) fn freshen(&self, key: &CacheKey, old: &Stored, head: StoredResponse) -> Arc<Stored> {
        let fresh = Arc::new(Stored::new(pack(head), Arc::clone(old.holding())));
        let id = old.holding().id;
        self.index.change(key, |responses| {
            let Some(place) = find(responses, id) else { return };
            // A body that is arriving gets its record, with the head of that moment, when it is kept.
            if fresh.holding().kept().is_some() {
                self.append(&Change::Freshen { id, head: Head::new(fresh.head()) });
            }
            responses[place] = Arc::clone(&fresh);
        });
        fresh
    }

    /// Drops everything stored under `key`; returns how many that were. What a kill must not bring back is with the
    /// operating system then: the origin has changed it, or somebody wants it gone.
    pub(crate) fn invalidate(&self, key: &CacheKey) -> usize {
        if !self.is_open() {
            return 0;
        }
        let dropped = self.index.change(key, |responses| {
            let dropped = std::mem::take(responses);
            dropped.iter().for_each(|stored| self.append_drop(stored.holding()));
            dropped
        });
        let orphans: Vec<_> = dropped.iter().filter_map(|stored| self.strike(stored.holding().id)).collect();
        self.home.note_orphans(orphans);
        if !dropped.is_empty() {
            self.write_down();
        }
        dropped.len()
    }

    /// Drops one stored response from the index and the journal, if it is there; the ledger is the caller's.
    pub(crate) fn drop_from_index(&self, holding: &Holding) {
        self.index.change(&holding.key, |responses| {
            if let Some(place) = find(responses, holding.id) {
                responses.remove(place);
                self.append_drop(holding);
            }
        });
    }

    /// Strikes a stored response out of the ledger; returns the content nobody refers to any more.
    pub(crate) fn strike(&self, id: u64) -> Option<Digest> {
        let removed = lock(&self.ledger).remove(id)?;
        self.struck(&removed)
    }

    /// Lets what the ledger has struck out go from memory; returns the content nobody refers to any more.
    pub(crate) fn struck(&self, removed: &Removed<Arc<Holding>>) -> Option<Digest> {
        removed.what.strike_out();
        removed.orphan.inspect(|digest| self.home.hot.remove(digest))
    }

    /// Unlinks content, unless it is referred to again. Waits for the disk.
    pub(crate) fn remove_orphan(&self, digest: &Digest) {
        self.home.content.remove(digest, || !lock(&self.ledger).refers_to(digest));
    }

    /// Notes a change for the journal; returns the bytes it takes there.
    pub(crate) fn append(&self, change: &Change<'_>) -> Option<u64> {
        self.journal.as_ref()?.append(change)
    }

    /// Writes the journal now. What cannot be written stays for the keeper's next flush.
    fn write_down(&self) {
        // That so few bytes went through does not say that a failing disk has recovered.
        if let Some(Err(error)) = self.journal.as_ref().map(Journal::flush) {
            drop(self.home.health.note::<()>("writing the index", Err(error)));
        }
    }

    fn append_drop(&self, holding: &Holding) {
        if holding.kept().is_some() {
            self.append(&Change::Drop { id: holding.id });
        }
    }

    fn enter(&self, holding: &Arc<Holding>, kept: &Kept) {
        lock(&self.ledger).enter(holding.id, Arc::clone(holding), size_of(kept, 0), holding.uses());
    }

    /// Shows a body that is in the ledger as kept, in place of the older responses for the same nominated fields.
    fn keep(&self, holding: &Arc<Holding>, kept: Kept) -> Result<(), Error> {
        let kept = Arc::new(kept);
        let replaced = self.index.change(&holding.key, |responses| {
            let place = find(responses, holding.id)?;
            let stored = Arc::clone(&responses[place]);
            let (uses, priority) = lock(&self.ledger).standing(holding.id)?;
            let record = Record::new(holding.id, &holding.key, stored.head(), &kept);
            let size = self.append(&Change::Keep(record.used(uses, priority.to_bits())))?;
            lock(&self.ledger).record(holding.id, size);
            holding.keep(Arc::clone(&kept));
            let replaced = take_replaced(responses, &stored);
            replaced.iter().for_each(|stored| self.append_drop(stored.holding()));
            Some(replaced)
        });
        let (Some(replaced), kept) = (replaced, &self.home.counts.kept) else {
            self.strike(holding.id);
            return Err(if self.is_open() { Error::Invalidated } else { Error::Closed });
        };
        kept.fetch_add(1, Ordering::Relaxed);
        let orphans: Vec<_> = replaced.iter().filter_map(|stored| self.strike(stored.holding().id)).collect();
        self.home.note_orphans(orphans);
        Ok(())
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        // What was noted and not looked at refers back to the notes.
        drop((self.home.take_used(), self.home.take_damaged()));
    }
}

fn find(responses: &Responses, id: u64) -> Option<usize> {
    responses.iter().position(|stored| stored.holding().id == id)
}

/// Takes out what `stored` replaces: kept responses for the same nominated fields, and the oldest of too many.
fn take_replaced(responses: &mut Responses, stored: &Stored) -> Vec<Arc<Stored>> {
    let id = stored.holding().id;
    let mut replaced = Vec::new();
    let mut excess = responses.len().saturating_sub(VARIANTS);
    responses.retain(|other| {
        let may_go = other.holding().id != id && other.holding().kept().is_some();
        let same = other.head().nominated == stored.head().nominated;
        let goes = may_go && (same || excess > 0);
        if goes {
            excess = excess.saturating_sub(1);
            replaced.push(Arc::clone(other));
        }
        !goes
    });
    replaced
}

fn size_of(kept: &Kept, record: u64) -> Size {
    let content = match kept {
        Kept::Inline(_) => None,
        Kept::Content(fingerprint) => Some(fingerprint.digest),
    };
    Size { record, body: kept.length(), content }
}
