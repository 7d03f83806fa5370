//! Short bodies on disk, many to a file: `bundle-N` in the cache folder, appended to and never changed.
//!
//! Owns these files, what waits to be written to them, and how much of each is still referred to. A [`Small`] is such a
//! reference: as long as there is one, its file stays. It decides neither which bodies are short nor when a file is
//! worth rewriting (`compact` does), and knows of no stored response. A body is checked against its checksum whenever it
//! is read, so a record that outlived its body finds nothing, never something else.
//!
//! Appending does not wait for the disk: bytes gather in memory and are written by the flush that writes the records
//! which refer to them, before these.

mod reading;
mod small;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::blocks::{read_at, xxh3_64};
use crate::error::Error;
use crate::keeping::INLINE;
use crate::locked::lock;
use crate::record::Kept;
use reading::Reading;
use small::{Bundle, number_of, path};
pub(crate) use small::{Small, Spot};

/// A bundle that has this many bytes is followed by the next: few enough to be rewritten at once, and enough that a
/// million short bodies are some hundred files.
const LARGEST: u64 = 2 << 20;
/// What waits is worth a flush of its own. Bytes.
const BATCH: u64 = 1 << 20;
/// No more than this waits for a disk that takes nothing. Bytes.
const BACKLOG: u64 = 32 << 20;
/// Bytes in bundles that nobody refers to may be as many as this part of those that somebody does, and this part of what
/// the folder may take; but so few are not worth the work.
const SHARE_OF_LIVE: u64 = 3;
const SHARE_OF_LIMIT: u64 = 8;
const LEAST: u64 = 256 << 10;
/// Bundles rewritten at once.
const AT_ONCE: usize = 16;
/// The unit in which the file system hands out space.
const PAGE: u64 = 4096;
/// There is always a next one.
const NUMBERS: u32 = u32::MAX / 2;

/// The bundles of one cache folder.
pub(crate) struct Bundles {
    folder: PathBuf,
    state: Mutex<State>,
    reading: Reading,
    /// Held while something is written, so that it is written once.
    writing: Mutex<()>,
    /// Bytes that are in no file yet.
    waiting: AtomicU64,
    /// Whether anything may be written.
    is_open: AtomicBool,
    /// Whether bodies were taken out of records of an earlier form.
    took_up: AtomicBool,
}

#[derive(Default)]
struct State {
    all: BTreeMap<u32, Arc<Bundle>>,
    /// The one that is appended to.
    current: Option<Arc<Bundle>>,
    /// Greater than every number in use.
    next: u32,
    /// Those with bytes that wait for a flush, and those with bytes that wait for a sync.
    unwritten: Vec<Arc<Bundle>>,
    unsynced: Vec<Arc<Bundle>>,
    /// Whether the folder has names that wait for a sync.
    has_new: bool,
}

impl Bundles {
    /// Those that are in `folder`, for reading.
    pub(crate) fn new(folder: &Path) -> Self {
        let mut state = State::default();
        state.take_stock(folder);
        let last = state.all.values().next_back().cloned();
        // A start must not leave one more of a few bytes each time.
        state.current = last.filter(|bundle| bundle.size() < LARGEST);
        Self {
            folder: folder.to_owned(),
            state: Mutex::new(state),
            reading: Reading::new(),
            writing: Mutex::default(),
            waiting: AtomicU64::new(0),
            is_open: AtomicBool::new(false),
            took_up: AtomicBool::new(false),
        }
    }

    /// Takes bodies from now on.
    pub(crate) fn open(&self) {
        self.is_open.store(true, Ordering::Relaxed);
    }

    /// Takes none any more: the folder is another process's, which appends to the same files.
    pub(crate) fn renounce(&self) {
        self.is_open.store(false, Ordering::Relaxed);
        self.reading.close_all();
    }

    /// Takes bodies again. What the other process wrote stays behind whatever is referred to here, and goes with it.
    pub(crate) fn resume(&self) {
        let mut state = lock(&self.state);
        state.take_stock(&self.folder);
        state.current = None;
        drop(state);
        self.open();
    }

    /// What is kept of a body that was found in its record, where longer ones than [`INLINE`] were until there were bundles.
    /// Waits for the disk.
    pub(crate) fn take_up(&self, body: &[u8]) -> Kept {
        let is_wanted = body.len() > INLINE && self.is_open.load(Ordering::Relaxed);
        let small = is_wanted.then(|| self.append(body)).flatten();
        // What the disk does not take waits for a later flush.
        if self.is_flush_urgent() {
            drop(self.flush());
        }
        self.took_up.fetch_or(small.is_some(), Ordering::Relaxed);
        small.map_or_else(|| Kept::Inline(Bytes::copy_from_slice(body)), Kept::Small)
    }

    /// Whether the index files still say that bodies are in records which are here by now.
    pub(crate) fn took_up(&self) -> bool {
        self.took_up.load(Ordering::Relaxed)
    }

    /// Takes `body`, which must not be empty; `None` when nothing may be written, or too much waits for the disk already.
    /// Does not wait for it.
    pub(crate) fn append(&self, body: &[u8]) -> Option<Small> {
        let length = u32::try_from(body.len()).ok()?;
        if !self.is_open.load(Ordering::Relaxed) || self.waiting.load(Ordering::Relaxed) > BACKLOG {
            return None;
        }
        let mut state = lock(&self.state);
        let bundle = state.with_room_for(u64::from(length))?;
        let at = {
            let mut tail = lock(&bundle.tail);
            let at = u32::try_from(tail.size()).ok()?;
            if tail.pending.is_empty() {
                // As much as usually gathers until a flush has come, so that none of it is moved; what stays untouched
                // takes no memory.
                tail.pending.reserve(2 * BATCH as usize);
            }
            tail.pending.extend_from_slice(body);
            at
        };
        if !state.unwritten.iter().any(|other| Arc::ptr_eq(other, &bundle)) {
            state.unwritten.push(Arc::clone(&bundle));
        }
        drop(state);
        self.waiting.fetch_add(u64::from(length), Ordering::Relaxed);
        Some(Small::new(bundle, (at, length), xxh3_64(body)))
    }

    /// Whether more waits than the next flush should be waited for.
    pub(crate) fn is_flush_urgent(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > BATCH
    }

    /// The body that was written down as being at `spot`; `None` when there cannot be one.
    pub(crate) fn restore(&self, spot: Spot, sum: u64) -> Option<Small> {
        let mut state = lock(&self.state);
        state.next = state.next.max(spot.bundle.min(NUMBERS).saturating_add(1));
        let bundle = Arc::clone(state.all.get(&spot.bundle)?);
        let end = u64::from(spot.at) + u64::from(spot.length);
        (end <= bundle.size()).then(|| Small::new(bundle, (spot.at, spot.length), sum))
    }

    /// The bytes of `small`, verified. Waits for the disk, if they are not in memory.
    ///
    /// # Errors
    /// [`Error::Damaged`] when they are not what was stored, and what the disk said when that is not about them.
    pub(crate) fn read(&self, small: &Small) -> Result<Bytes, Error> {
        let Small { bundle, sum, .. } = small;
        let (at, length) = (u64::from(small.at), small.length as usize);
        let file = {
            let tail = lock(&bundle.tail);
            if at >= tail.written {
                return tail.unwritten(at, length).ok_or(Error::Damaged);
            }
            tail.file.clone()
        };
        let file = match file {
            Some(file) => file,
            None => self.reading.open(&self.folder, bundle.number)?,
        };
        // A bad sector is damage as much as a wrong byte.
        let body = read_at(&file, at, length).map_err(|_| Error::Damaged)?;
        if xxh3_64(&body) == *sum { Ok(body.into()) } else { Err(Error::Damaged) }
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// What the disk said. Nothing is lost: the next flush writes to the same places.
    pub(crate) fn flush(&self) -> io::Result<()> {
        let _writing = lock(&self.writing);
        loop {
            let Some(bundle) = lock(&self.state).unwritten.first().cloned() else { return Ok(()) };
            self.flush_one(&bundle)?;
            let mut state = lock(&self.state);
            if lock(&bundle.tail).is_written() {
                state.unwritten.retain(|other| !Arc::ptr_eq(other, &bundle));
            }
            if !state.unsynced.iter().any(|other| Arc::ptr_eq(other, &bundle)) {
                state.unsynced.push(bundle);
            }
        }
    }

    /// Brings what was flushed to the platter.
    ///
    /// # Errors
    /// What the disk said. What was not synced is tried again by the next call.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let (bundles, has_new) = {
            let mut state = lock(&self.state);
            (std::mem::take(&mut state.unsynced), std::mem::take(&mut state.has_new))
        };
        let files = bundles.iter().filter_map(|bundle| lock(&bundle.tail).file.clone());
        let files: Vec<_> = files.collect();
        let synced = files.iter().try_for_each(|file| file.sync_data()).and_then(|()| match has_new {
            true => File::open(&self.folder)?.sync_all(),
            false => Ok(()),
        });
        let mut state = lock(&self.state);
        if synced.is_err() {
            state.unsynced.extend(bundles);
            state.has_new |= has_new;
            return synced;
        }
        for bundle in bundles {
            let is_done = !state.is_current(&bundle) && !state.is_unsynced(&bundle);
            let mut tail = lock(&bundle.tail);
            if is_done && tail.is_written() {
                // Only the one that is appended to stays open.
                tail.file = None;
            }
        }
        synced
    }

    /// Those that nobody refers to nor ever will.
    pub(crate) fn unused(&self) -> Vec<u32> {
        let state = lock(&self.state);
        let unused = state.all.values().filter(|bundle| bundle.is_unused() && !state.is_current(bundle));
        unused.map(|bundle| bundle.number).collect()
    }

    /// Deletes these, of which [`Bundles::unused`] said so. Records that referred to them are to be gone by then.
    pub(crate) fn remove(&self, unused: &[u32]) {
        for number in unused {
            self.reading.close(*number);
            let removed = fs::remove_file(path(&self.folder, *number));
            // One that was never written to is not there; one that stays is looked at again by the next start.
            if let Err(error) = removed.map_or_else(not_found, Ok) {
                tracing::debug!(%error, "bundle not removed");
            }
            let mut state = lock(&self.state);
            if let Some(bundle) = state.all.remove(number) {
                state.unsynced.retain(|other| !Arc::ptr_eq(other, &bundle));
            }
        }
    }

    /// Bytes that are referred to.
    pub(crate) fn live(&self) -> u64 {
        lock(&self.state).all.values().map(|bundle| bundle.live.load(Ordering::Relaxed)).sum()
    }

    /// The bytes that the files take on disk, with what waits for a flush.
    pub(crate) fn on_disk(&self) -> u64 {
        lock(&self.state).all.values().map(|bundle| bundle.size().div_ceil(PAGE) * PAGE).sum()
    }

    /// Bytes that nobody refers to and that may stay in a folder which may take `limit` bytes.
    pub(crate) fn allowance(&self, limit: u64) -> u64 {
        (self.live() / SHARE_OF_LIVE).clamp(LEAST, (limit / SHARE_OF_LIMIT).max(LEAST))
    }

    /// The bundles to rewrite, so that no more than `allowance` bytes stay that nobody refers to: those with most of them,
    /// but not too many at once. They are not appended to any more.
    pub(crate) fn to_rewrite(&self, allowance: u64) -> BTreeSet<u32> {
        let mut state = lock(&self.state);
        let full = state.all.values().filter(|bundle| !bundle.is_drained.load(Ordering::Relaxed));
        let mut dead: Vec<_> = full.map(|bundle| (bundle.dead(), bundle.number)).collect();
        let mut excess = dead.iter().map(|(dead, _)| dead).sum::<u64>().saturating_sub(allowance);
        dead.sort_unstable_by(|one, other| other.cmp(one));
        let mut chosen = BTreeSet::new();
        for (dead, number) in dead.into_iter().take(AT_ONCE) {
            if excess == 0 || dead == 0 {
                break;
            }
            excess = excess.saturating_sub(dead);
            chosen.insert(number);
        }
        state.current.take_if(|current| chosen.contains(&current.number));
        chosen
    }

    /// What was stored in these is elsewhere by now.
    pub(crate) fn note_drained(&self, bundles: &BTreeSet<u32>) {
        let state = lock(&self.state);
        for bundle in bundles.iter().filter_map(|number| state.all.get(number)) {
            bundle.is_drained.store(true, Ordering::Relaxed);
        }
    }

    fn flush_one(&self, bundle: &Bundle) -> io::Result<()> {
        loop {
            let (file, at, bytes) = {
                let mut tail = lock(&bundle.tail);
                if tail.flushing.is_empty() {
                    tail.flushing = std::mem::take(&mut tail.pending).into();
                }
                (tail.file.clone(), tail.written, tail.flushing.clone())
            };
            if bytes.is_empty() {
                return Ok(());
            }
            let file = match file {
                Some(file) => file,
                None => self.file_of(bundle)?,
            };
            file.write_all_at(&bytes, at)?;
            let mut tail = lock(&bundle.tail);
            tail.written += bytes.len() as u64;
            tail.flushing = Bytes::new();
            self.waiting.fetch_sub(bytes.len() as u64, Ordering::Relaxed);
        }
    }

    fn file_of(&self, bundle: &Bundle) -> io::Result<Arc<File>> {
        let path = path(&self.folder, bundle.number);
        let opened =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = Arc::new(opened?);
        lock(&bundle.tail).file = Some(Arc::clone(&file));
        lock(&self.state).has_new = true;
        Ok(file)
    }
}

impl State {
    /// The files that are in `folder`, and how long they are.
    fn take_stock(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let number = entry.file_name().to_str().and_then(number_of);
            let (Some(number), Ok(metadata)) = (number, entry.metadata()) else { continue };
            let bundle = self.all.entry(number).or_insert_with(|| Arc::new(Bundle::new(number)));
            let mut tail = lock(&bundle.tail);
            if tail.is_written() {
                tail.written = metadata.len();
            }
            self.next = self.next.max(number + 1);
        }
    }

    /// The bundle that takes the next `length` bytes.
    fn with_room_for(&mut self, length: u64) -> Option<Arc<Bundle>> {
        if let Some(current) = self.current.as_ref().filter(|current| current.size() + length <= LARGEST) {
            return Some(Arc::clone(current));
        }
        let number = self.next;
        self.next = number.checked_add(1).filter(|next| *next < NUMBERS)?;
        let bundle = Arc::new(Bundle::new(number));
        self.all.insert(number, Arc::clone(&bundle));
        self.current = Some(Arc::clone(&bundle));
        Some(bundle)
    }

    fn is_current(&self, bundle: &Arc<Bundle>) -> bool {
        self.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, bundle))
    }

    fn is_unsynced(&self, bundle: &Arc<Bundle>) -> bool {
        self.unsynced.iter().any(|other| Arc::ptr_eq(other, bundle))
    }
}

fn not_found(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests;
