//! The store as the proxy sees it: look up, insert, freshen, invalidate.
//!
//! Owns opening and closing a cache folder and what is said about it. It decides nothing of RFC 9111: what may be
//! stored or reused is rfc9111's; this finds and keeps (RFC 9111 §2, §3, §4.3.4, §4.4 as orders, not as judgements).

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::ops::RangeInclusive;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use rfc9111::{CacheKey, StoredResponse};
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::arrival::{self, Arrival};
use crate::collapse::{Collapse, Collapsing};
use crate::content::Content;
use crate::error::Error;
use crate::home::Home;
use crate::journal::Journal;
use crate::limits::LiveLimits;
use crate::loaded::Loaded;
use crate::locked::lock;
use crate::manage::{self, Listed};
use crate::shelf::Shelf;
use crate::spool::Spool;
use crate::stored::{Found, Stored};
use crate::sweep::{self, Sweep};
use crate::verify::Verification;

/// How much a store may hold, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// What the cache folder may take on disk.
    pub max_size: u64,
    /// The longest body that is stored.
    pub max_object_size: u64,
}

/// The stored responses of one cache folder. Clones are the same store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    shelf: Arc<Shelf>,
    collapsing: Arc<Collapsing>,
    sweep: Arc<Mutex<Sweep>>,
    limits: Arc<LiveLimits>,
    keeper: Option<AbortHandle>,
}

/// What a store holds and has done since it was opened. Sizes in bytes.
#[derive(Clone, Copy, Serialize, Debug)]
pub struct Stats {
    /// Stored responses, whole or in part.
    pub objects: usize,
    /// Bytes on disk of the stored responses (contents in whole pages, their folders, records), and what is being
    /// spooled.
    pub bytes: u64,
    /// Bytes on disk of the whole cache folder, as `du` would count them: the index files as they are, too. This is what
    /// is kept below the limit.
    pub disk_bytes: u64,
    /// What the folder may take.
    pub limit: u64,
    /// Bodies arriving now.
    pub arriving: usize,
    /// Readers of bodies that are arriving now.
    pub followers: usize,
    /// Fetches whose head is not here yet, for which others wait.
    pub leading: usize,
    /// Writes to the folder that failed.
    pub disk_failures: u64,
    /// Bodies that were kept.
    pub kept: u64,
    /// Uses of stored responses that were noted.
    pub hits: u64,
    /// Stored responses that made room for others.
    pub evicted: u64,
    /// Stored responses whose body was found missing or damaged.
    pub damaged: u64,
    /// Stored responses that are never evicted, and the bytes on disk they take.
    pub pinned: usize,
    /// See `pinned`.
    pub pinned_bytes: u64,
    /// Bytes of bodies in memory.
    pub memory_bytes: u64,
    /// What the file system has free, if it says so.
    pub disk_free: Option<u64>,
    /// What of it is to be kept free.
    pub min_free: Option<u64>,
    /// Whether new responses are stored.
    pub is_storing: bool,
    /// Why not, in a few words.
    pub not_storing: Option<&'static str>,
}

impl Store {
    /// Opens the cache folder `dir`, which is made (for its owner only) if need be. Reads the durable index, so call it
    /// where waiting for the disk is allowed, but inside a tokio runtime: the keeper task is started there.
    ///
    /// # Errors
    /// [`Error::Locked`] while another process has it open, [`Error::NoRuntime`] outside a runtime, and what the disk
    /// said. Damaged contents are no error: what cannot be read is not stored.
    pub fn open(dir: &Path, limits: Limits) -> Result<Self, Error> {
        let runtime = Handle::try_current().map_err(|_| Error::NoRuntime)?;
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let locked = take_lock(dir)?;
        let home = Arc::new(Home::new(Content::new(dir, true)));
        home.bundles.open();
        let mut loaded = Loaded::read(dir, &home.bundles)?;
        let wanted: Vec<_> = loaded.spooling.iter().map(|spooling| &*spooling.file).collect();
        home.content.sweep_temporary(&wanted)?;
        let was_clean = loaded.clean || home.content.is_unused();
        let journal = Journal::start(dir, &loaded, Arc::clone(&home.bundles))?;
        let limits = Arc::new(LiveLimits::new(limits));
        let sweep = Arc::new(Mutex::new(Sweep::new(
            Arc::clone(&limits),
            was_clean,
            std::mem::take(&mut loaded.spooling),
        )));
        let pins = std::mem::take(&mut loaded.pins);
        let shelf = Arc::new(Shelf::new(Arc::clone(&home), loaded, Some((journal, locked))));
        shelf.restore_pins(pins);
        home.bell.notify_one();
        let keeper = runtime.spawn(sweep::keep(Arc::downgrade(&shelf), home, Arc::clone(&sweep)));
        let keeper = Some(keeper.abort_handle());
        Ok(Self { inner: Arc::new(Inner { shelf, collapsing: Arc::default(), sweep, limits, keeper }) })
    }

    /// Reads the index of the cache folder `dir` without locking or changing anything: for looking at the folder of a
    /// proxy, stopped or not. Nothing can be inserted.
    ///
    /// # Errors
    /// What the disk said.
    pub fn open_read_only(dir: &Path) -> Result<Self, Error> {
        let home = Arc::new(Home::new(Content::new(dir, false)));
        let mut loaded = Loaded::read(dir, &home.bundles)?;
        let limits = Arc::new(LiveLimits::new(Limits { max_size: u64::MAX, max_object_size: u64::MAX }));
        let sweep = Arc::new(Mutex::new(Sweep::new(Arc::clone(&limits), true, Vec::new())));
        let pins = std::mem::take(&mut loaded.pins);
        let shelf = Arc::new(Shelf::new(home, loaded, None));
        shelf.restore_pins(pins);
        Ok(Self { inner: Arc::new(Inner { shelf, collapsing: Arc::default(), sweep, limits, keeper: None }) })
    }

    /// What is stored under `key`, including responses whose body is still arriving. Looks only into memory.
    pub fn lookup(&self, key: &CacheKey) -> Found {
        Found::new(self.inner.shelf.index.lookup(key))
    }

    /// Begins to store a response whose body is about to arrive. A lookup finds it at once. `length` is its
    /// Content-Length in bytes, if it has one.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Unavailable`] after a failure of the disk, [`Error::Closed`]: pass the response on
    /// without storing it.
    pub fn insert(
        &self,
        key: CacheKey,
        head: StoredResponse,
        length: Option<u64>,
    ) -> Result<(Arrival, Arc<Stored>), Error> {
        let shelf = &self.inner.shelf;
        self.check_room()?;
        let spool = self.spool(length, length)?;
        let (ongoing, stored) = shelf.arrive(key, head, spool, None);
        Ok((Arrival::new(Arc::clone(shelf), ongoing), stored))
    }

    /// Begins to store a response of which only a part is about to arrive: the bytes of `range` of a body that has
    /// `complete_length` (RFC 9111 §3.3). `head` is that of the complete response. A lookup finds it at once; see
    /// [`Stored::missing`].
    ///
    /// # Errors
    /// As for [`Store::insert`].
    pub fn insert_part(
        &self,
        key: CacheKey,
        head: StoredResponse,
        range: RangeInclusive<u64>,
        complete_length: u64,
    ) -> Result<(Arrival, Arc<Stored>), Error> {
        let shelf = &self.inner.shelf;
        let range = *range.start()..range.end().saturating_add(1);
        self.check_room()?;
        let spool = self.spool(Some(range.end.saturating_sub(range.start)), Some(complete_length))?;
        let (ongoing, stored) = shelf.arrive(key, head, spool, Some((range, complete_length)));
        Ok((Arrival::new(Arc::clone(shelf), ongoing), stored))
    }

    /// More of `stored` is about to arrive: its bytes from `first` to `last`, or to the end, where that is not known
    /// (RFC 9111 §3.4). Readers follow them, and they are kept beside what is held. `complete_length` is the length of the
    /// whole body, as far as the origin says.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Closed`], and [`Error::Invalidated`] when nothing is missing by now.
    pub fn fill(
        &self,
        stored: &Stored,
        first: u64,
        last: Option<u64>,
        complete_length: Option<u64>,
    ) -> Result<Arrival, Error> {
        let shelf = &self.inner.shelf;
        let end = last.map(|last| last.saturating_add(1));
        // Its readers wait for it, whether or not the disk can take it: what it cannot is passed on to them.
        let spool = self.spool(end.map(|end| end.saturating_sub(first)), stored.length())?;
        let ongoing =
            shelf.fill(stored.holding(), (first, end), complete_length, spool).ok_or(Error::Invalidated)?;
        Ok(Arrival::new(Arc::clone(shelf), ongoing))
    }

    /// Gives `stored` the new `head` in the index (RFC 9111 §3.2, §4.3.4); its body stays. Returns the stored response
    /// with that head, which is right to use even if it left the index meanwhile.
    pub fn freshen(&self, key: &CacheKey, stored: &Arc<Stored>, head: StoredResponse) -> Arc<Stored> {
        self.inner.shelf.freshen(key, stored, head)
    }

    /// Drops every stored response of `key` (RFC 9111 §4.4, or a purge) and returns how many that were. Who reads one
    /// reads on; one that is arriving will not be kept. It is written down by then: a process that is killed right
    /// after this does not bring them back. (A power cut may, within the 5 s between two syncs.)
    pub fn invalidate(&self, key: &CacheKey) -> usize {
        self.inner.shelf.invalidate(key)
    }

    /// Whether a request for `key`, for which nothing fit is stored, should fetch or wait for one that does.
    pub fn wait_for_head(&self, key: &CacheKey) -> Collapse {
        self.inner.collapsing.join(key)
    }

    /// What the store holds and has done.
    pub fn stats(&self) -> Stats {
        let Inner { shelf, limits, collapsing, .. } = &*self.inner;
        let (home, counts) = (&shelf.home, &shelf.home.counts);
        let apart = shelf.apart();
        let (objects, bytes, disk_bytes, (pinned, pinned_bytes)) = {
            let ledger = lock(&shelf.ledger);
            (ledger.len(), ledger.total(), manage::on_disk(&ledger, apart), ledger.pinned())
        };
        let (disk_free, min_free) = home.room.free_and_wanted().unzip();
        let not_storing = self.why_not_storing();
        Stats {
            objects,
            bytes: bytes + counts.spooled.load(Ordering::Relaxed),
            disk_bytes,
            limit: limits.max_size(),
            arriving: counts.arriving.load(Ordering::Relaxed),
            followers: counts.followers.load(Ordering::Relaxed),
            leading: collapsing.running(),
            disk_failures: home.health.failures(),
            kept: counts.kept.load(Ordering::Relaxed),
            hits: counts.hits.load(Ordering::Relaxed),
            evicted: counts.evicted.load(Ordering::Relaxed),
            damaged: counts.damaged.load(Ordering::Relaxed),
            pinned,
            pinned_bytes,
            memory_bytes: home.hot.bytes(),
            disk_free,
            min_free,
            is_storing: not_storing.is_none(),
            not_storing,
        }
    }

    /// Keeps `bytes` of the file system free from now on: what is worth least makes room, and where that is not enough,
    /// nothing is stored. `None` stands for a twentieth of the file system, but no more than 512 MB. Waits for the disk.
    pub fn keep_free(&self, bytes: Option<u64>) {
        let home = &self.inner.shelf.home;
        home.room.keep_free(bytes);
        home.bell.notify_one();
    }

    /// Lets bodies that are asked for again take `bytes` of memory from now on, instead of 32 MB.
    pub fn keep_in_memory(&self, bytes: u64) {
        self.inner.shelf.home.hot.resize(bytes);
    }

    /// Keeps to `limits` from now on. What is too much goes in the keeper's next rounds; a body that is arriving keeps the
    /// limit it began with. A store that was opened read-only takes note and changes nothing.
    pub fn limit_to(&self, limits: Limits) {
        self.inner.limits.set(limits);
        self.inner.shelf.home.bell.notify_one();
    }

    /// What is stored under the keys that are meant, in no order. Looks only into memory.
    pub fn listed(&self, is_meant: impl Fn(&str) -> bool) -> Vec<Listed> {
        self.inner.shelf.listed(is_meant)
    }

    /// What is stored under `key`, in the order of [`Store::lookup`].
    pub fn listed_under(&self, key: &CacheKey) -> Vec<Listed> {
        self.inner.shelf.listed_under(key)
    }

    /// Whether changes are taken: the store was opened for writing and not closed since.
    pub fn is_open(&self) -> bool {
        self.inner.shelf.is_open()
    }

    /// Checks what is stored, body by body; see [`Verification`].
    pub fn verification(&self, repair: bool) -> Verification {
        Verification::new(Arc::clone(&self.inner.shelf), repair)
    }

    /// Writes down everything that is stored, takes no more, and lets another process have the folder. Bodies that are
    /// still arriving are cut short; what arrived of them is kept, if the rest can be fetched by itself.
    pub async fn close(&self) {
        arrival::give_up_all(&self.inner.shelf).await;
        // Whoever tells another process what is invalidated comes to the end of it.
        *lock(&self.inner.shelf.owed) = None;
        let inner = Arc::clone(&self.inner);
        let closed = tokio::task::spawn_blocking(move || {
            lock(&inner.sweep).close(&inner.shelf);
            inner.shelf.unlock();
        });
        if let Err(error) = closed.await {
            tracing::warn!(%error, "the cache was not closed in good order");
        }
    }
}

impl Store {
    pub(crate) fn shelf(&self) -> &Arc<Shelf> {
        &self.inner.shelf
    }

    pub(crate) fn sweep(&self) -> &Arc<Mutex<Sweep>> {
        &self.inner.sweep
    }

    /// Room for a body of which `length` bytes are to come and which has `complete_length`, as far as known.
    fn spool(&self, length: Option<u64>, complete_length: Option<u64>) -> Result<Arc<Spool>, Error> {
        let Inner { shelf, limits, .. } = &*self.inner;
        let limit = limits.max_object_size();
        if complete_length.is_some_and(|length| length > limit) {
            return Err(Error::TooLarge { limit });
        }
        // Who reads a body that is held in part gets the rest of it to the end, also where it cannot be kept.
        if !shelf.is_open() && !shelf.has_renounced() {
            return Err(Error::Closed);
        }
        Ok(Arc::new(Spool::new(Arc::clone(&shelf.home), length, limit)))
    }

    /// Whether the disk takes anything new.
    fn check_room(&self) -> Result<(), Error> {
        let Inner { shelf, .. } = &*self.inner;
        let home = &shelf.home;
        if !shelf.is_open() {
            return Err(Error::Closed);
        }
        if !home.health.is_good() {
            return Err(Error::Unavailable);
        }
        if home.room.takes_more() { Ok(()) } else { Err(Error::NoRoom) }
    }

    fn why_not_storing(&self) -> Option<&'static str> {
        let Inner { shelf, .. } = &*self.inner;
        let room = &shelf.home.room;
        let reasons = [
            (shelf.has_renounced(), "another process has the folder"),
            (!shelf.is_open(), "the store is closed"),
            (shelf.home.health.is_failing(), "the disk fails"),
            (room.is_short(), "the disk has too little space left (cache.min_free)"),
            (room.is_pinned_full(), "pinned responses take all of the cache"),
        ];
        reasons.into_iter().find_map(|(is_so, why)| is_so.then_some(why))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(keeper) = &self.keeper {
            keeper.abort();
        }
    }
}

fn take_lock(dir: &Path) -> Result<File, Error> {
    let path = dir.join("lock");
    if path.is_dir() {
        std::fs::remove_dir_all(&path)?;
    }
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}
