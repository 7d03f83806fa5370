//! What readers of stored bodies share with the keeper of the folder: the content, and notes on what they saw.
//!
//! Owns the notes (used, damaged, orphaned), the state of the disk's health and the bell that wakes the keeper. It
//! acts on none of them: a reader must not wait for an index, a ledger or a disk because of what it noticed.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::blocks::Digest;
use crate::bundles::Bundles;
use crate::content::Content;
use crate::heads::Heads;
use crate::holding::Holding;
use crate::hot::Hot;
use crate::locked::lock;
use crate::room::Room;

/// How long nothing is stored after the disk failed.
const REST: Duration = Duration::from_secs(10);

/// Shared by everything that reads or writes one cache folder.
pub(crate) struct Home {
    /// The content files.
    pub(crate) content: Content,
    /// The files of short bodies.
    pub(crate) bundles: Arc<Bundles>,
    /// Bodies in memory.
    pub(crate) hot: Hot,
    /// Heads that were unpacked.
    pub(crate) heads: Heads,
    /// Rung when a note must not wait for the keeper's next round.
    pub(crate) bell: Notify,
    /// The disk's health.
    pub(crate) health: Health,
    /// Whether there is room for more.
    pub(crate) room: Room,
    /// What happened so far.
    pub(crate) counts: Counts,
    used: Mutex<Vec<Arc<Holding>>>,
    damaged: Mutex<Vec<Arc<Holding>>>,
    whole: Mutex<Vec<Arc<Holding>>>,
    orphans: Mutex<Vec<Digest>>,
}

/// Counters since the store was opened.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) arriving: AtomicUsize,
    pub(crate) followers: AtomicUsize,
    pub(crate) hits: AtomicU64,
    pub(crate) kept: AtomicU64,
    pub(crate) evicted: AtomicU64,
    pub(crate) damaged: AtomicU64,
    /// Bytes in temporary files.
    pub(crate) spooled: AtomicU64,
}

impl Home {
    /// Nothing noticed yet.
    pub(crate) fn new(content: Content) -> Self {
        Self {
            room: Room::new(content.folder()),
            bundles: Arc::new(Bundles::new(content.folder())),
            content,
            hot: Hot::new(),
            heads: Heads::new(),
            bell: Notify::new(),
            health: Health::default(),
            counts: Counts::default(),
            used: Mutex::default(),
            damaged: Mutex::default(),
            whole: Mutex::default(),
            orphans: Mutex::default(),
        }
    }

    /// Notes a stored response that was used since the last [`Home::take_used`].
    pub(crate) fn note_used(&self, holding: Arc<Holding>) {
        lock(&self.used).push(holding);
    }

    /// Notes a stored response whose body is not what it was.
    pub(crate) fn note_damaged(&self, holding: Arc<Holding>) {
        self.counts.damaged.fetch_add(1, Ordering::Relaxed);
        lock(&self.damaged).push(holding);
        self.bell.notify_one();
    }

    /// Notes a stored response all of whose body is held, in pieces.
    pub(crate) fn note_whole(&self, holding: Arc<Holding>) {
        lock(&self.whole).push(holding);
        self.bell.notify_one();
    }

    /// Notes content nobody refers to.
    pub(crate) fn note_orphans(&self, orphans: impl IntoIterator<Item = Digest>) {
        let mut noted = lock(&self.orphans);
        let before = noted.len();
        noted.extend(orphans);
        if noted.len() > before {
            self.bell.notify_one();
        }
    }

    /// What was used since the last call.
    pub(crate) fn take_used(&self) -> Vec<Arc<Holding>> {
        std::mem::take(&mut *lock(&self.used))
    }

    /// What was found damaged since the last call.
    pub(crate) fn take_damaged(&self) -> Vec<Arc<Holding>> {
        std::mem::take(&mut *lock(&self.damaged))
    }

    /// What became whole since the last call.
    pub(crate) fn take_whole(&self) -> Vec<Arc<Holding>> {
        std::mem::take(&mut *lock(&self.whole))
    }

    /// What was orphaned since the last call.
    pub(crate) fn take_orphans(&self) -> Vec<Digest> {
        std::mem::take(&mut *lock(&self.orphans))
    }
}

/// Whether the disk takes writes. A failure is said once, and again only after it had recovered.
#[derive(Default)]
pub(crate) struct Health {
    failing: AtomicBool,
    failures: AtomicU64,
    until: Mutex<Option<Instant>>,
}

impl Health {
    /// Whether to try storing.
    pub(crate) fn is_good(&self) -> bool {
        !self.failing.load(Ordering::Relaxed) || lock(&self.until).is_none_or(|until| Instant::now() >= until)
    }

    /// Whether the last write failed, however long ago.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Writes that failed so far.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Looks at what came of `doing` something to the disk.
    pub(crate) fn note<T>(&self, doing: &str, outcome: io::Result<T>) -> io::Result<T> {
        match &outcome {
            Ok(_) if self.failing.swap(false, Ordering::Relaxed) => {
                tracing::info!("the cache folder takes writes again");
            }
            Ok(_) => {}
            Err(error) => self.failed(doing, error),
        }
        outcome
    }

    fn failed(&self, doing: &str, error: &io::Error) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        *lock(&self.until) = Some(Instant::now() + REST);
        if !self.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, doing, "the cache folder fails; serving on without storing");
        }
    }
}
