//! The durable index: one snapshot and the journals of the changes since.
//!
//! Owns the files `snapshot` and `journal-N` of the cache folder and the order in which they are written. It does not
//! decide what is stored. Changes are appended to memory by whoever makes them, under the lock that makes them, so
//! their order is that of the index; a flush writes what has gathered. A snapshot names the first journal it does not
//! contain, and every change sets a state instead of altering one: replaying a change twice does no harm.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::bundles::Bundles;
use crate::frames;
use crate::loaded::Loaded;
use crate::locked::lock;
use crate::record::Change;

/// A snapshot is due when what is out of date is this much more than what is not. Bytes.
const GROWTH: u64 = 16 << 20;
/// In a small folder it is due when it is more by this part of what the folder may take, but not for less than so many
/// bytes.
const SHARE: u64 = 64;
const SMALL: u64 = 256 << 10;
/// The unit in which the file system hands out space.
const PAGE: u64 = 4096;
/// What is out of date in snapshot and journals takes no more than this part of what the folder may take. It is looked at
/// again when the journals have grown by a part of [`GROWTH`].
const SHARE_OF_LIMIT: u64 = 16;
const PART: u64 = 4;
/// A snapshot is due when a start would have to read more journals than this.
const MANY: usize = 4;
/// No journal of ours has a number beyond this; there is always a next one.
pub(crate) const GENERATIONS: u64 = 1 << 62;
/// More than this is not held for a disk that takes nothing: the next snapshot makes up for it. Bytes.
const BACKLOG: usize = 32 << 20;

/// The writer of the durable index.
pub(crate) struct Journal {
    folder: PathBuf,
    /// What is written before the changes that refer to it.
    bundles: Arc<Bundles>,
    pending: Mutex<Pending>,
    writing: Mutex<Writing>,
}

struct Pending {
    frames: Vec<u8>,
    open: bool,
    /// Changes were given up: only a snapshot brings the files back in step.
    lost: bool,
}

struct Writing {
    file: Arc<File>,
    generation: u64,
    written: u64,
    synced: u64,
    older: Vec<u64>,
    older_bytes: u64,
    snapshot_bytes: u64,
}

impl Journal {
    /// Goes on after what was loaded from `folder`, in a journal of its own: a torn tail stays where it is.
    ///
    /// # Errors
    /// When the new journal cannot be made.
    pub(crate) fn start(folder: &Path, loaded: &Loaded, bundles: Arc<Bundles>) -> io::Result<Self> {
        let generation = loaded.next_generation;
        let writing = Writing {
            file: create(folder, generation)?,
            generation,
            written: 0,
            synced: 0,
            older: loaded.journals.clone(),
            older_bytes: loaded.journal_bytes,
            snapshot_bytes: loaded.snapshot_bytes,
        };
        let pending = Pending { frames: Vec::new(), open: true, lost: loaded.is_outdated };
        let (folder, pending, writing) = (folder.to_owned(), Mutex::new(pending), Mutex::new(writing));
        Ok(Self { folder, bundles, pending, writing })
    }

    /// Notes `change` for the next flush and returns the bytes it takes; `None` once the journal is closed.
    pub(crate) fn append(&self, change: &Change<'_>) -> Option<u64> {
        let mut pending = lock(&self.pending);
        if !pending.open {
            return None;
        }
        if pending.frames.len() > BACKLOG {
            pending.frames.clear();
            pending.lost = true;
        }
        Some(frames::write(change, &mut pending.frames))
    }

    /// Whether changes are still taken.
    pub(crate) fn is_open(&self) -> bool {
        lock(&self.pending).open
    }

    /// Takes no more changes.
    pub(crate) fn shut(&self) {
        lock(&self.pending).open = false;
    }

    /// Takes changes again, in a journal of its own after all that are there.
    ///
    /// # Errors
    /// When the folder cannot be read or the new journal cannot be made.
    pub(crate) fn resume(&self) -> io::Result<()> {
        let mut journals = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            journals.extend(entry?.file_name().to_str().and_then(generation_of));
        }
        let mut writing = lock(&self.writing);
        let last = journals.iter().copied().max().unwrap_or(0).max(writing.generation);
        let file = create(&self.folder, last + 1)?;
        *writing = Writing {
            file,
            generation: last + 1,
            written: 0,
            synced: 0,
            older: journals,
            older_bytes: 0,
            snapshot_bytes: 0,
        };
        *lock(&self.pending) = Pending { frames: Vec::new(), open: true, lost: true };
        Ok(())
    }

    /// Writes what has gathered and returns how many bytes that was.
    ///
    /// # Errors
    /// What the disk said. Nothing is lost: the next flush writes to the same place.
    pub(crate) fn flush(&self) -> io::Result<usize> {
        self.flush_into(&mut lock(&self.writing))
    }

    /// Brings what was flushed to the platter.
    ///
    /// # Errors
    /// What the disk said.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let (file, written) = {
            let writing = lock(&self.writing);
            if writing.synced == writing.written {
                return Ok(());
            }
            (Arc::clone(&writing.file), writing.written)
        };
        file.sync_data()?;
        let mut writing = lock(&self.writing);
        if Arc::ptr_eq(&writing.file, &file) {
            writing.synced = written;
        }
        Ok(())
    }

    /// Whether anything waits for a flush.
    pub(crate) fn is_flush_due(&self) -> bool {
        !lock(&self.pending).frames.is_empty()
    }

    /// Whether too much of snapshot and journals is out of date, in a folder that may take `limit` bytes. A snapshot of the
    /// present state would take `records` bytes.
    pub(crate) fn is_snapshot_due(&self, limit: u64, records: u64) -> bool {
        let lost = lock(&self.pending).lost;
        let writing = lock(&self.writing);
        let journals = writing.older_bytes + writing.written;
        let is_much = writing.snapshot_bytes + journals > records + allowance(limit, records);
        lost || writing.older.len() > MANY || (journals > growth(limit) / PART && is_much)
    }

    /// The bytes that snapshot and journals take on disk, with what waits for a flush.
    pub(crate) fn on_disk(&self) -> u64 {
        let pending = lock(&self.pending).frames.len() as u64;
        let writing = lock(&self.writing);
        let pages = |bytes: u64| bytes.div_ceil(PAGE) * PAGE;
        // Each older journal ends somewhere in a page.
        let older = writing.older_bytes + writing.older.len() as u64 * PAGE / 2;
        pages(writing.snapshot_bytes) + pages(writing.written + pending) + older
    }

    /// Replaces snapshot and journals by a snapshot of the present state, which `write_all` puts down frame by frame
    /// and which must contain every change appended before this call. `clean` says
    /// that no content is unaccounted for. Once the journal is shut, the snapshot is all that is left.
    ///
    /// # Errors
    /// What the disk said. The old files are still there then, and complete.
    pub(crate) fn snapshot(
        &self,
        clean: bool,
        write_all: impl FnOnce(&mut dyn FnMut(&Change<'_>) -> io::Result<()>) -> io::Result<()>,
    ) -> io::Result<()> {
        let rewritten = self.rewrite(clean, write_all);
        if rewritten.is_err() {
            lock(&self.pending).lost = true;
            // Half a snapshot is of no use and may be what fills the disk.
            drop(fs::remove_file(self.folder.join("snapshot.new")));
        }
        rewritten
    }

    fn rewrite(
        &self,
        clean: bool,
        write_all: impl FnOnce(&mut dyn FnMut(&Change<'_>) -> io::Result<()>) -> io::Result<()>,
    ) -> io::Result<()> {
        let (generation, older) = self.rotate()?;
        let path = self.folder.join("snapshot.new");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        let mut file = BufWriter::with_capacity(1 << 18, file);
        let (mut frame, mut bytes) = (Vec::new(), 0);
        let mut write = |change: &Change<'_>| {
            frame.clear();
            bytes += frames::write(change, &mut frame);
            file.write_all(&frame)
        };
        write(&Change::Begin { generation, clean })?;
        write_all(&mut write)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(path, self.folder.join("snapshot"))?;
        File::open(&self.folder)?.sync_all()?;

        for generation in &older {
            // A journal that stays is older than the snapshot: the next start ignores and deletes it.
            drop(fs::remove_file(journal_path(&self.folder, *generation)));
        }
        let mut writing = lock(&self.writing);
        writing.older.clear();
        writing.older_bytes = 0;
        writing.snapshot_bytes = bytes;
        if !self.is_open() {
            drop(fs::remove_file(journal_path(&self.folder, generation)));
        }
        Ok(())
    }

    /// Starts the next journal; returns its generation and the older ones.
    fn rotate(&self) -> io::Result<(u64, Vec<u64>)> {
        let mut writing = lock(&self.writing);
        let generation = writing.generation + 1;
        let file = create(&self.folder, generation)?;
        let flushed = self.flush_into(&mut writing);
        {
            // What could not be flushed is part of the state the snapshot is about to show.
            let mut pending = lock(&self.pending);
            if flushed.is_err() {
                pending.frames.clear();
            }
            pending.lost = false;
        }
        let previous = writing.generation;
        writing.older.push(previous);
        writing.older_bytes += writing.written;
        writing.file = file;
        writing.generation = generation;
        writing.written = 0;
        writing.synced = 0;
        Ok((generation, writing.older.clone()))
    }

    fn flush_into(&self, writing: &mut Writing) -> io::Result<usize> {
        let frames = std::mem::take(&mut lock(&self.pending).frames);
        if frames.is_empty() {
            return Ok(0);
        }
        let bytes = frames.len();
        let bodies = self.bundles.flush();
        let written = bodies.and_then(|()| writing.file.write_all_at(&frames, writing.written));
        match &written {
            Ok(()) => writing.written += bytes as u64,
            Err(_) => {
                let mut pending = lock(&self.pending);
                let later = std::mem::replace(&mut pending.frames, frames);
                pending.frames.extend_from_slice(&later);
            }
        }
        written.map(|()| bytes)
    }
}

/// How much of snapshot and journals may be out of date where `records` bytes are not, in a folder that may take `limit`
/// bytes: they double at most, and leave most of a small folder to what is stored.
pub(crate) fn allowance(limit: u64, records: u64) -> u64 {
    (records + growth(limit)).min((limit / SHARE_OF_LIMIT).max(growth(limit)))
}

fn growth(limit: u64) -> u64 {
    (limit / SHARE).clamp(SMALL, GROWTH)
}

fn create(folder: &Path, generation: u64) -> io::Result<Arc<File>> {
    let path = journal_path(folder, generation);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    Ok(Arc::new(file))
}

/// The journal of this number.
pub(crate) fn journal_path(folder: &Path, generation: u64) -> PathBuf {
    folder.join(format!("journal-{generation}"))
}

/// The number of the journal of this name, if it is one.
pub(crate) fn generation_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("journal-")?;
    let generation = digits.parse::<u64>().ok().filter(|generation| *generation < GENERATIONS)?;
    // Other spellings of the number are names of other files, and none of ours.
    (generation.to_string() == digits).then_some(generation)
}
