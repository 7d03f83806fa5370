//! Whether there is room for more: space the file system has left, and space that pins do not take.
//!
//! Owns what is to be kept free and what was last seen of it. It evicts nothing: the keeper asks how much is lacking.
//! Where there is no room, nothing new is stored, and the log says so once.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::locked::lock;

/// The part of the file system that is kept free where nobody says how much: a twentieth.
const SHARE: u64 = 20;
/// More than this is not kept free of a large one: what a system needs to log, to update itself and to start. Bytes.
const ENOUGH: u64 = 512_000_000;
/// Stands for [`SHARE`] and [`ENOUGH`].
const USUAL: u64 = u64::MAX;

/// A shortage that the keeper ends sooner, by evicting, is none to speak of.
const PASSING: Duration = Duration::from_secs(10);

/// How long there has been too little space, and whether the log was told.
#[derive(Clone, Copy, Debug)]
enum Spell {
    None,
    Since(Instant),
    Said,
}

/// The room of one cache folder.
pub(crate) struct Room {
    folder: PathBuf,
    /// Bytes to be kept free; 0 for none, [`USUAL`] for the usual part.
    wanted: AtomicU64,
    is_short: AtomicBool,
    spell: Mutex<Spell>,
    is_pinned_full: AtomicBool,
}

impl Room {
    /// The room of `folder`, of which nothing needs to be kept free.
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            wanted: AtomicU64::new(0),
            is_short: AtomicBool::new(false),
            spell: Mutex::new(Spell::None),
            is_pinned_full: AtomicBool::new(false),
        }
    }

    /// Keeps `bytes` of the file system free from now on, or the usual part of it. Waits for the disk.
    pub(crate) fn keep_free(&self, bytes: Option<u64>) {
        let wanted = bytes.map_or(USUAL, |bytes| bytes.min(USUAL - 1));
        self.wanted.store(wanted, Ordering::Relaxed);
        self.look();
    }

    /// Looks at the disk and returns how many bytes are lacking to what is to be kept free. Waits for the disk.
    pub(crate) fn look(&self) -> u64 {
        if self.wanted.load(Ordering::Relaxed) == 0 {
            self.note_short(false, 0, 0);
            return 0;
        }
        let Some((free, wanted)) = self.free_and_wanted() else { return 0 };
        self.note_short(free < wanted, free, wanted);
        wanted.saturating_sub(free)
    }

    /// Whether what is being written may go on: while the keeper makes room for it, half of what is to be kept free is
    /// lent. Waits for the disk.
    pub(crate) fn goes_on(&self) -> bool {
        match self.look() {
            0 => true,
            lacking => self.free_and_wanted().is_none_or(|(_, wanted)| lacking <= wanted / 2),
        }
    }

    /// Free bytes of the file system, and how many are to be kept free. `None` when it does not tell.
    pub(crate) fn free_and_wanted(&self) -> Option<(u64, u64)> {
        let disk = rustix::fs::statvfs(&self.folder).ok()?;
        // Unprivileged processes do not get what is reserved for root.
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let wanted = match self.wanted.load(Ordering::Relaxed) {
            USUAL => (disk.f_blocks.saturating_mul(disk.f_frsize) / SHARE).min(ENOUGH),
            wanted => wanted,
        };
        Some((free, wanted))
    }

    /// Pins take all of the cache, or do not any more.
    pub(crate) fn note_pinned_full(&self, is_full: bool) {
        if self.is_pinned_full.swap(is_full, Ordering::Relaxed) == is_full {
            return;
        }
        if is_full {
            tracing::warn!("pinned responses take all of the cache; serving on without storing others");
        } else {
            tracing::info!("pinned responses leave room in the cache again");
        }
    }

    /// Whether pins take all of the cache.
    pub(crate) fn is_pinned_full(&self) -> bool {
        self.is_pinned_full.load(Ordering::Relaxed)
    }

    /// Whether the file system had too little left when last looked at.
    pub(crate) fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Relaxed)
    }

    /// Whether anything new may be stored, by what was last seen.
    pub(crate) fn takes_more(&self) -> bool {
        !self.is_pinned_full() && !self.is_short()
    }

    fn note_short(&self, is_short: bool, free: u64, wanted: u64) {
        self.is_short.store(is_short, Ordering::Relaxed);
        let mut spell = lock(&self.spell);
        match (is_short, *spell) {
            (true, Spell::None) => *spell = Spell::Since(Instant::now()),
            (true, Spell::Since(begun)) if begun.elapsed() >= PASSING => {
                let (free, wanted) = (free >> 20, wanted >> 20);
                tracing::warn!(
                    free_mib = free,
                    wanted_mib = wanted,
                    "the disk has too little space left; serving on without storing"
                );
                *spell = Spell::Said;
            }
            (false, Spell::Said) => {
                tracing::info!("the disk has space for the cache again");
                *spell = Spell::None;
            }
            (false, Spell::Since(_)) => *spell = Spell::None,
            (true, Spell::Since(_) | Spell::Said) | (false, Spell::None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_kept_free_is_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let room = Room::new(folder.path());
        assert!(room.look() == 0 && room.takes_more() && room.goes_on());
        room.keep_free(Some(1 << 60));
        assert!(room.look() > 0 && room.is_short() && !room.takes_more() && !room.goes_on());
        let (free, _) = room.free_and_wanted().unwrap();
        room.keep_free(Some(free + free / 2));
        assert!(!room.takes_more() && room.goes_on(), "half of it is lent");
        room.keep_free(Some(0));
        assert!(!room.is_short() && room.takes_more());
    }

    #[test]
    fn the_usual_part_is_small_beside_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let room = Room::new(folder.path());
        room.keep_free(None);
        let (_, wanted) = room.free_and_wanted().unwrap();
        assert!(wanted > 0 && wanted <= ENOUGH);
    }

    #[test]
    fn pins_that_take_all_leave_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let room = Room::new(folder.path());
        room.note_pinned_full(true);
        assert!(!room.takes_more() && room.is_pinned_full());
        room.note_pinned_full(false);
        assert!(room.takes_more());
    }
}
