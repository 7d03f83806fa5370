//! Where stored responses live: index, ledger, journal and content, and the changes that touch more than one of them.
//!
//! Owns the order of those changes, so that after a crash a stored response is whole or absent: content is placed and
//! referred to, then the index shows it and the journal says so, under the lock of its key. What is removed leaves the
//! index first, then the journal, then the ledger; its content goes last, if nobody refers to it by then.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use rfc9111::{CacheKey, StoredResponse};
use smallvec::SmallVec;
use tokio::sync::{mpsc, watch};

use crate::blocks::Digest;
use crate::error::Error;
use crate::head::Packed;
use crate::holding::{Holding, Place};
use crate::home::Home;
use crate::index::{Index, Responses};
use crate::journal::Journal;
use crate::ledger::{Contents, Ledger, Removed, Size};
use crate::loaded::Loaded;
use crate::locked::{lock, write};
use crate::ongoing::Ongoing;
use crate::priority::Priority;
use crate::record::{Change, Kept, Record};
use crate::stored::Stored;

/// The stored responses of one cache folder.
pub(crate) struct Shelf {
    pub(crate) home: Arc<Home>,
    pub(crate) index: Index,
    pub(crate) ledger: Mutex<Ledger<Arc<Holding>>>,
    pub(crate) journal: Option<Journal>,
    next_id: AtomicU64,
    /// What is arriving, by the number of its spool.
    pub(crate) ongoing: Mutex<BTreeMap<u64, Ongoing>>,
    /// How many are being kept by tasks of their own.
    pub(crate) ending: watch::Sender<usize>,
    /// Held for reading while a body is being kept, for writing to shut the journal: nothing is half kept then.
    pub(crate) keeping: RwLock<()>,
    /// Locked as long as anything may still write to the folder.
    folder_lock: Option<File>,
    /// Whether another process has the folder, by our leave.
    pub(crate) renounced: AtomicBool,
    /// For what that process must invalidate, too.
    pub(crate) owed: Mutex<Option<mpsc::Sender<CacheKey>>>,
}

impl Shelf {
    /// Takes up what was loaded. Without a journal, and the locked file that goes with it, nothing can be changed.
    pub(crate) fn new(home: Arc<Home>, loaded: Loaded, writer: Option<(Journal, File)>) -> Self {
        let index = Index::new();
        let mut ledger = Ledger::with_folders(home.content.folder_cost());
        index.reserve(loaded.restored.len());
        ledger.reserve(loaded.restored.len());
        for restored in loaded.restored.into_values() {
            let (id, uses, priority) = (restored.id, restored.uses, Priority::from_bits(restored.priority));
            let size = size_of(&restored.place, restored.size);
            let is_whole = matches!(&restored.place, Place::Parts(parts) if parts.is_whole());
            let home_of = Arc::clone(&home);
            let holding = Holding::new(id, restored.key, home_of, restored.head, restored.place);
            let holding = Arc::new(holding.restored(uses));
            if is_whole {
                home.note_whole(Arc::clone(&holding));
            }
            ledger.restore(id, Arc::clone(&holding), &size, uses, priority);
            index.restore(holding);
        }
        ledger.restored();
        let (journal, folder_lock) = writer.unzip();
        let (ledger, keeping) = (Mutex::new(ledger), RwLock::default());
        let next_id = AtomicU64::new(loaded.next_id);
        Self {
            home,
            index,
            ledger,
            journal,
            next_id,
            keeping,
            folder_lock,
            ongoing: Mutex::default(),
            ending: watch::Sender::new(0),
            renounced: AtomicBool::new(false),
            owed: Mutex::default(),
        }
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

    /// Locks the folder as it was before [`Shelf::unlock`].
    ///
    /// # Errors
    /// [`Error::Locked`] while another process has it.
    pub(crate) fn lock_again(&self) -> Result<(), Error> {
        match self.folder_lock.as_ref().map_or(Ok(()), File::try_lock) {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(Error::Locked),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Whether changes are taken.
    pub(crate) fn is_open(&self) -> bool {
        self.journal.as_ref().is_some_and(Journal::is_open)
    }

    /// Writes the record of a stored response anew, after its body changed.
    pub(crate) fn rewrite(&self, holding: &Arc<Holding>) {
        let orphans = self.index.change(&holding.key, |responses| {
            find(responses, holding.id)?;
            self.write_record(holding)
        });
        self.home.note_orphans(orphans.into_iter().flatten());
    }

    /// Gives a stored response a new head (RFC 9111 §3.2, §4.3.4). One that is no longer stored stays so.
    pub(crate) fn freshen(&self, key: &CacheKey, old: &Stored, head: StoredResponse) -> Arc<Stored> {
        let (packed, holding) = (Packed::new(&head), old.holding());
        self.index.change(key, |responses| {
            if find(responses, holding.id).is_none() {
                return;
            }
            // A body that is arriving gets its record, with the head of that moment, when it is kept.
            if holding.is_written() {
                self.append(&Change::Freshen { id: holding.id, head: packed.as_bytes() });
            }
            holding.put_head(packed.clone());
        });
        Arc::new(Stored::new(head, packed, Arc::clone(holding)))
    }

    /// Drops everything stored under `key`; returns how many that were. What a kill must not bring back is with the
    /// operating system then: the origin has changed it, or somebody wants it gone.
    pub(crate) fn invalidate(&self, key: &CacheKey) -> usize {
        if !self.is_open() {
            return if self.has_renounced() { self.owe(key) } else { 0 };
        }
        let dropped = self.index.change(key, |responses| {
            let dropped = std::mem::take(responses);
            dropped.iter().for_each(|holding| self.append_drop(holding));
            dropped
        });
        let orphans: Vec<_> = dropped.iter().flat_map(|holding| self.strike(holding.id)).collect();
        self.home.note_orphans(orphans);
        if !dropped.is_empty() {
            self.write_down();
        }
        dropped.len()
    }

    /// Drops one stored response from the index and the journal and says whether it was there; the ledger is the caller's.
    pub(crate) fn drop_from_index(&self, holding: &Holding) -> bool {
        self.index.change(&holding.key, |responses| {
            let Some(place) = find(responses, holding.id) else { return false };
            responses.remove(place);
            self.append_drop(holding);
            true
        })
    }

    /// Strikes a stored response out of the ledger; returns the content nobody refers to any more.
    pub(crate) fn strike(&self, id: u64) -> Orphans {
        let removed = lock(&self.ledger).remove(id);
        removed.map_or_else(Orphans::new, |removed| self.struck(&removed))
    }

    /// Lets what the ledger has struck out go from memory; returns the content nobody refers to any more.
    pub(crate) fn struck(&self, removed: &Removed<Arc<Holding>>) -> Orphans {
        removed.what.strike_out();
        removed.orphans.iter().for_each(|digest| self.home.hot.remove(digest));
        removed.orphans.clone()
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
    pub(crate) fn write_down(&self) {
        // That so few bytes went through does not say that a failing disk has recovered.
        if let Some(Err(error)) = self.journal.as_ref().map(Journal::flush) {
            drop(self.home.health.note::<()>("writing the index", Err(error)));
        }
    }

    /// Notes that it is no longer stored.
    pub(crate) fn append_drop(&self, holding: &Holding) {
        if holding.is_written() {
            self.append(&Change::Drop { id: holding.id });
        }
    }

    /// A number that nothing had before.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Enters a stored response in the ledger and the journal as it is now; returns the content nobody refers to any
    /// more. `None` when the journal takes nothing. To be called under the lock of its key.
    pub(crate) fn write_record(&self, holding: &Arc<Holding>) -> Option<Orphans> {
        holding.with_head(|head, place| {
            let (id, uses) = (holding.id, holding.uses());
            let Some(record) = Record::new(id, &holding.key, head, place) else {
                return Some(Orphans::new());
            };
            let mut ledger = lock(&self.ledger);
            // About what its record will take; how much that is is known once it is written.
            let about = (holding.key.as_str().len() + head.as_bytes().len()) as u64;
            let (priority, orphans) = ledger.enter(id, Arc::clone(holding), &size_of(place, about), uses);
            match self.append(&Change::Keep(record.used(uses, priority.to_bits()))) {
                Some(size) => {
                    ledger.record(id, size_of(place, size).record);
                    holding.written();
                    Some(orphans)
                }
                None => {
                    drop(ledger.remove(id));
                    None
                }
            }
        })
    }
}

/// Content nobody refers to any more.
pub(crate) type Orphans = SmallVec<[Digest; 1]>;

impl Drop for Shelf {
    fn drop(&mut self) {
        // What was noted and not looked at refers back to the notes.
        drop((self.home.take_used(), self.home.take_damaged(), self.home.take_whole()));
    }
}

/// Where the stored response `id` is among them.
pub(crate) fn find(responses: &Responses, id: u64) -> Option<usize> {
    responses.iter().position(|holding| holding.id == id)
}

/// What is entered for a stored response whose record takes `record` bytes. Short bodies are counted with it: they share
/// their files as the records share theirs.
pub(crate) fn size_of(place: &Place, record: u64) -> Size {
    let of = |kept: &Kept| match kept {
        Kept::Inline(_) | Kept::Small(_) => None,
        Kept::Content(fingerprint) => Some((fingerprint.digest, fingerprint.length)),
    };
    let short: u64 =
        place.kept().filter(|kept| matches!(***kept, Kept::Small(_))).map(|kept| kept.length()).sum();
    let record = record + short;
    match place {
        Place::Arriving(_) => Size { record, body: 0, contents: Contents::new() },
        Place::Kept(kept) => Size { record, body: kept.length(), contents: of(kept).into_iter().collect() },
        Place::Parts(parts) => {
            let mut contents: Contents = parts.pieces().iter().filter_map(|piece| of(&piece.kept)).collect();
            contents.sort_unstable();
            contents.dedup();
            Size { record, body: parts.pieces().iter().map(|piece| piece.length).sum(), contents }
        }
    }
}
