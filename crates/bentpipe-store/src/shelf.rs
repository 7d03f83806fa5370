//! Where stored responses live: index, ledger, journal and content, and the changes that touch more than one of them.
//!
//! Owns the order of those changes, so that after a crash a stored response is whole or absent: content is placed and
//! referred to, then the index shows it and the journal says so, under the lock of its key. What is removed leaves the
//! index first, then the journal, then the ledger; its content goes last, if nobody refers to it by then.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use bytes::Bytes;
use rfc9111::{CacheKey, StoredResponse};
use smallvec::SmallVec;

use crate::blocks::{Digest, Fingerprint};
use crate::content::Source;
use crate::error::Error;
use crate::head::{contiguous, pack};
use crate::home::Home;
use crate::index::Index;
use crate::journal::Journal;
use crate::ledger::{Contents, Ledger, Priority, Removed, Size};
use crate::locked::{lock, read, write};
use crate::parts::{Coming, Parts, Piece};
use crate::pen::{self, Complete, Pen};
use crate::record::{Change, Head, Kept, Record, Restored, RestoredSpool, Spooling};
use crate::spool::Spool;
use crate::stored::{Holding, Place, Responses, Stored};

/// A key has no more stored responses than this; the oldest goes. A Vary on something unique must not eat the memory.
const VARIANTS: usize = 64;
/// Bodies shorter than this live in their record: a file of their own would take a page at least. Bytes.
const INLINE: u64 = 4096;

/// Something that is arriving.
#[derive(Clone)]
pub(crate) struct Ongoing {
    /// The number of its spool.
    pub(crate) id: u64,
    pub(crate) holding: Arc<Holding>,
    /// The position in the body of the spool's first byte.
    pub(crate) first: u64,
    pub(crate) spool: Arc<Spool>,
    /// How many blocks of the temporary file the journal knows; none while it does not know the file.
    noted: Option<usize>,
}

/// The stored responses of one cache folder.
pub(crate) struct Shelf {
    pub(crate) home: Arc<Home>,
    pub(crate) index: Index,
    pub(crate) ledger: Mutex<Ledger<Arc<Holding>>>,
    pub(crate) journal: Option<Journal>,
    next_id: AtomicU64,
    /// What is arriving, by the number of its spool.
    ongoing: Mutex<BTreeMap<u64, Ongoing>>,
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
            let size = size_of(&restored.place, restored.size);
            let is_whole = matches!(&restored.place, Place::Parts(parts) if parts.is_whole());
            let mendable = is_mendable(&restored.head);
            let holding = Holding::new(id, restored.key, Arc::clone(&home), restored.place, uses, mendable);
            let holding = Arc::new(holding);
            holding.written();
            if is_whole {
                home.note_whole(Arc::clone(&holding));
            }
            ledger.restore(id, Arc::clone(&holding), size, uses, priority);
            let stored = Arc::new(Stored::new(restored.head, Arc::clone(&holding)));
            index.change(&holding.key, |responses| responses.push(stored));
        }
        ledger.restored();
        let (journal, folder_lock) = writer.unzip();
        let (ledger, next_id, keeping) = (Mutex::new(ledger), AtomicU64::new(next_id), RwLock::default());
        Self { home, index, ledger, journal, next_id, keeping, folder_lock, ongoing: Mutex::default() }
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

    /// Shows a response of which bytes are about to arrive: from its beginning, or those that `part` says.
    pub(crate) fn arrive(
        &self,
        key: CacheKey,
        head: StoredResponse,
        spool: Arc<Spool>,
        part: Option<(Range<u64>, u64)>,
    ) -> (Ongoing, Arc<Stored>) {
        let first = part.as_ref().map_or(0, |(range, _)| range.start);
        let mendable = is_mendable(&head);
        // Where parts can be fetched by themselves, a client may ask for what is far behind the bytes that arrive.
        let all = spool.length().filter(|length| mendable && *length > 0).map(|length| (0..length, length));
        let place = match part.or(all) {
            None => Place::Arriving(Arc::clone(&spool)),
            Some((range, complete_length)) => {
                let mut parts = Parts::new(Some(complete_length));
                let (first, end) = (range.start, Some(range.end));
                parts.expect(Coming { first, end, spool: Arc::clone(&spool) });
                Place::Parts(Box::new(parts))
            }
        };
        let holding = Holding::new(self.next_id(), key, Arc::clone(&self.home), place, 0, mendable);
        let holding = Arc::new(holding);
        let stored = Arc::new(Stored::new(pack(head), Arc::clone(&holding)));
        self.index.change(&holding.key, |responses| responses.push(Arc::clone(&stored)));
        (self.begin(holding, first, spool), stored)
    }

    /// More of a body that is held in part is about to arrive: its bytes from `first` to the one before `end`. Where all
    /// of it is held by now, they are not taken.
    pub(crate) fn fill(
        &self,
        holding: &Arc<Holding>,
        (first, end): (u64, Option<u64>),
        complete_length: Option<u64>,
        spool: Arc<Spool>,
    ) -> Option<Ongoing> {
        holding.put(|place| match place {
            Place::Parts(parts) => {
                parts.expect(Coming { first, end, spool: Arc::clone(&spool) });
                parts.complete_length = parts.complete_length.or(complete_length);
                Some(())
            }
            Place::Arriving(_) | Place::Kept(_) => None,
        })?;
        Some(self.begin(Arc::clone(holding), first, spool))
    }

    /// The temporary file of what was arriving is of no use any more.
    pub(crate) fn forget(&self, ongoing: &Ongoing) {
        if ongoing.noted.is_some() {
            self.append(&Change::Drop { id: ongoing.id });
        }
    }

    /// What is arriving is nobody else's to end from now on; `None` when somebody took it before.
    pub(crate) fn take_ongoing(&self, id: u64) -> Option<Ongoing> {
        lock(&self.ongoing).remove(&id)
    }

    /// Everything that is arriving.
    pub(crate) fn all_ongoing(&self) -> Vec<u64> {
        lock(&self.ongoing).keys().copied().collect()
    }

    /// Notes how much of a large body is in its temporary file, so that a kill does not lose it.
    pub(crate) fn note_progress(&self, id: u64) {
        let mut ongoing = lock(&self.ongoing);
        let Some(ongoing) = ongoing.get_mut(&id).filter(|ongoing| ongoing.holding.is_mendable()) else {
            return;
        };
        let (known, sums) = {
            let state = ongoing.spool.state();
            let known = ongoing.noted.unwrap_or(0);
            if state.disk.sums.len() == known {
                return;
            }
            (known, state.disk.sums[known..].to_vec())
        };
        let blocks = known + sums.len();
        let noted = match ongoing.noted {
            Some(_) => self.append(&Change::Spooled { spool: id, known: known as u64, sums }).is_some(),
            None => self.write_spooling(ongoing, |change| self.append(change).map(drop)).is_some(),
        };
        if noted {
            ongoing.noted = Some(blocks);
        }
    }

    /// Writes down everything that is arriving and known to the journal, for a snapshot.
    pub(crate) fn write_ongoing(
        &self,
        mut write: impl FnMut(&Change<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        for ongoing in lock(&self.ongoing).values().filter(|ongoing| ongoing.noted.is_some()) {
            self.write_spooling(ongoing, |change| Some(write(change))).transpose()?;
        }
        Ok(())
    }

    /// Whether bytes are few enough to live in the record.
    pub(crate) fn is_inline(length: u64) -> bool {
        length < INLINE
    }

    /// Keeps a body, or a part of it, that is in memory and short enough for its record. Does not wait for the disk.
    ///
    /// # Errors
    /// When it left the index while it arrived, or the store was closed.
    pub(crate) fn keep_inline(&self, ongoing: &Ongoing, chunks: &[Bytes]) -> Result<(), Error> {
        let kept = contiguous(|| chunks.iter().map(|chunk| &**chunk));
        self.keep(ongoing, Arc::new(Kept::Inline(kept)))
    }

    /// Makes a body, or a part of it, content and keeps it; in memory too, if it `is_wanted` and short enough. Waits for
    /// the disk.
    ///
    /// # Errors
    /// As for [`Shelf::keep_inline`], and what the disk said.
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
            ongoing.holding.warm(&print, body);
        }
        outcome
    }

    /// Takes up what an earlier process was writing when it ended. Waits for the disk.
    pub(crate) fn adopt(&self, spooling: &RestoredSpool) {
        let adopted = self.adopt_file(spooling);
        if let Err(error) = adopted {
            tracing::debug!(%error, key = spooling.key.as_str(), "an interrupted download is not taken up");
        }
        self.append(&Change::Drop { id: spooling.spool });
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
        let is_inline = Self::is_inline(fingerprint.length);
        let kept = Arc::new(match &source {
            Source::Memory(body) if is_inline => Kept::Inline(body.clone()),
            _ => Kept::Content(fingerprint.clone()),
        });
        let put = || {
            holding.put(|place| *place = Place::Kept(kept));
            self.rewrite(holding);
            Ok(())
        };
        let outcome = if is_inline { put() } else { self.placed(source, &fingerprint, put) };
        if let Err(error) = outcome {
            tracing::debug!(%error, "the parts of a body stay apart");
        }
    }

    /// Writes the record of a stored response anew, after its body changed.
    pub(crate) fn rewrite(&self, holding: &Arc<Holding>) {
        let orphans = self.index.change(&holding.key, |responses| {
            let stored = &responses[find(responses, holding.id)?];
            self.write_record(stored.head(), holding)
        });
        self.home.note_orphans(orphans.into_iter().flatten());
    }

    /// Gives a stored response a new head (RFC 9111 §3.2, §4.3.4). One that is no longer stored stays so.
    pub(crate) fn freshen(&self, key: &CacheKey, old: &Stored, head: StoredResponse) -> Arc<Stored> {
        let fresh = Arc::new(Stored::new(pack(head), Arc::clone(old.holding())));
        let id = old.holding().id;
        self.index.change(key, |responses| {
            let Some(place) = find(responses, id) else { return };
            // A body that is arriving gets its record, with the head of that moment, when it is kept.
            if fresh.holding().is_written() {
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
        let orphans: Vec<_> = dropped.iter().flat_map(|stored| self.strike(stored.holding().id)).collect();
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
    fn write_down(&self) {
        // That so few bytes went through does not say that a failing disk has recovered.
        if let Some(Err(error)) = self.journal.as_ref().map(Journal::flush) {
            drop(self.home.health.note::<()>("writing the index", Err(error)));
        }
    }

    fn append_drop(&self, holding: &Holding) {
        if holding.is_written() {
            self.append(&Change::Drop { id: holding.id });
        }
    }

    fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    fn begin(&self, holding: Arc<Holding>, first: u64, spool: Arc<Spool>) -> Ongoing {
        let id = self.next_id();
        let ongoing = Ongoing { id, holding, first, spool, noted: None };
        lock(&self.ongoing).insert(id, ongoing.clone());
        ongoing
    }

    fn write_spooling<R>(
        &self,
        ongoing: &Ongoing,
        write: impl FnOnce(&Change<'_>) -> Option<R>,
    ) -> Option<R> {
        let holding = &ongoing.holding;
        let responses = self.index.lookup(&holding.key);
        let stored = &responses[find(&responses, holding.id)?];
        let complete_length = stored.length();
        let state = ongoing.spool.state();
        write(&Change::Spooling(Spooling {
            spool: ongoing.id,
            id: holding.id,
            key: holding.key.as_str(),
            head: Head::new(stored.head()),
            first: ongoing.first,
            complete_length,
            file: state.disk.name.as_deref()?,
            sums: state.disk.sums.clone(),
        }))
    }

    fn adopt_file(&self, spooling: &RestoredSpool) -> Result<(), Error> {
        let content = &self.home.content;
        let Some(pen) = Pen::adopt(content, &spooling.file, &spooling.sums)? else { return Ok(()) };
        let (source, fingerprint) = pen.finish().into_source();
        self.placed(source, &fingerprint.clone(), || {
            let (first, length) = (spooling.first, fingerprint.length);
            let piece = Piece { first, length, at: 0, kept: Arc::new(Kept::Content(fingerprint)) };
            let found = self.index.lookup(&spooling.key);
            let holding = match find(&found, spooling.id) {
                Some(place) => Arc::clone(found[place].holding()),
                None => {
                    let place = Place::Parts(Box::new(Parts::new(spooling.complete_length)));
                    let (key, home) = (spooling.key.clone(), Arc::clone(&self.home));
                    let mendable = is_mendable(&spooling.head);
                    let holding = Arc::new(Holding::new(spooling.id, key, home, place, 0, mendable));
                    let stored = Arc::new(Stored::new(pack(spooling.head.clone()), Arc::clone(&holding)));
                    self.index.change(&holding.key, |responses| responses.push(stored));
                    holding
                }
            };
            holding.put(|place| {
                if let Place::Parts(parts) = place {
                    parts.add(&piece);
                }
            });
            self.rewrite(&holding);
            self.note_if_whole(&holding);
            Ok(())
        })
    }

    /// Makes `source` content and refers to it until `put`, which is to refer to it for good, is done.
    fn placed(
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
            let stored = Arc::clone(&responses[find(responses, holding.id)?]);
            holding.put(|place| put_kept(place, *first, spool, kept));
            let orphans = self.write_record(stored.head(), holding)?;
            let replaced = take_replaced(responses, &stored);
            replaced.iter().for_each(|stored| self.append_drop(stored.holding()));
            Some((replaced, orphans))
        });
        let Some((replaced, orphans)) = replaced else {
            return Err(if self.is_open() { Error::Invalidated } else { Error::Closed });
        };
        self.forget(ongoing);
        self.home.counts.kept.fetch_add(1, Ordering::Relaxed);
        self.home.note_orphans(orphans);
        self.home.note_orphans(replaced.iter().flat_map(|stored| self.strike(stored.holding().id)));
        self.note_if_whole(holding);
        Ok(())
    }

    fn note_if_whole(&self, holding: &Arc<Holding>) {
        if holding.with(|place| matches!(place, Place::Parts(parts) if parts.is_whole())) {
            self.home.note_whole(Arc::clone(holding));
        }
    }

    /// Enters a stored response in the ledger and the journal as it is now; returns the content nobody refers to any
    /// more. `None` when the journal takes nothing. To be called under the lock of its key.
    fn write_record(&self, head: &StoredResponse, holding: &Arc<Holding>) -> Option<Orphans> {
        holding.with(|place| {
            let (id, uses) = (holding.id, holding.uses());
            let Some(record) = Record::new(id, &holding.key, head, place) else {
                return Some(Orphans::new());
            };
            let mut ledger = lock(&self.ledger);
            let (priority, orphans) = ledger.enter(id, Arc::clone(holding), size_of(place, 0), uses);
            match self.append(&Change::Keep(record.used(uses, priority.to_bits()))) {
                Some(size) => {
                    ledger.record(id, size);
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
type Orphans = SmallVec<[Digest; 1]>;

/// Whether what is missing of a body can be fetched by itself.
fn is_mendable(head: &StoredResponse) -> bool {
    rfc9111::strong_validator(head).is_some()
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

impl Drop for Shelf {
    fn drop(&mut self) {
        // What was noted and not looked at refers back to the notes.
        drop((self.home.take_used(), self.home.take_damaged(), self.home.take_whole()));
    }
}

fn find(responses: &Responses, id: u64) -> Option<usize> {
    responses.iter().position(|stored| stored.holding().id == id)
}

/// Takes out what `stored` replaces: kept responses for the same nominated fields, and the oldest of too many. A
/// response that is held in part replaces only such.
fn take_replaced(responses: &mut Responses, stored: &Stored) -> Vec<Arc<Stored>> {
    let id = stored.holding().id;
    let is_part = |stored: &Stored| stored.holding().with(|place| matches!(place, Place::Parts(_)));
    let is_settled = |stored: &Stored| {
        stored.holding().with(|place| match place {
            Place::Arriving(_) => false,
            Place::Kept(_) => true,
            Place::Parts(parts) => !parts.is_unsettled(),
        })
    };
    let replaces_whole = !is_part(stored);
    let mut replaced = Vec::new();
    let mut excess = responses.len().saturating_sub(VARIANTS);
    responses.retain(|other| {
        let may_go = other.holding().id != id && is_settled(other);
        let same = other.head().nominated == stored.head().nominated && (replaces_whole || is_part(other));
        let goes = may_go && (same || excess > 0);
        if goes {
            excess = excess.saturating_sub(1);
            replaced.push(Arc::clone(other));
        }
        !goes
    });
    replaced
}

fn size_of(place: &Place, record: u64) -> Size {
    let of = |kept: &Kept| match kept {
        Kept::Inline(_) => None,
        Kept::Content(fingerprint) => Some((fingerprint.digest, fingerprint.length)),
    };
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
