//! What an operator sees and changes of what is stored: a listing, purging, pinning.
//!
//! Owns finding what is meant among everything stored, and carrying one change out on all of it with one write of the
//! journal. What is meant is the caller's to say, first of keys, which costs little, then of what was found.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::CONTENT_TYPE;
use rfc9111::CacheKey;
use serde::{Serialize, Serializer};

use crate::holding::Holding;
use crate::journal::Journal;
use crate::ledger::Ledger;
use crate::locked::lock;
use crate::record::Change;
use crate::shelf::Shelf;
use crate::store::Store;
use crate::stored::Stored;

/// Stored responses looked up in the books at once: more would hold up who stores.
const CHUNK: usize = 1024;

/// One stored response, with what the books say of it.
#[derive(Clone)]
pub struct Listed {
    /// The stored response.
    pub stored: Arc<Stored>,
    /// Whether it is never evicted.
    pub is_pinned: bool,
    /// What it takes on disk, in bytes, if it shares its content with no other; nothing while it arrives.
    pub on_disk: u64,
}

/// One stored response, for people.
#[derive(Clone, Serialize, Debug)]
pub struct Summary {
    /// The cache key: the target URI in normal form.
    pub key: String,
    /// The status code.
    pub status: u16,
    /// The complete length of the body in bytes, if known.
    pub length: Option<u64>,
    /// Whether bytes of the body are still to come.
    pub arriving: bool,
    /// How many bytes of the body are held.
    pub arrived: u64,
    /// Whether some of the body is neither held nor arriving.
    pub partial: bool,
    /// What it takes on disk, in bytes.
    pub on_disk: u64,
    /// Whether it is never evicted.
    pub pinned: bool,
    /// The Content-Type as received.
    pub media_type: Option<String>,
    /// When the response was received or last freshened; written as seconds since 1970.
    #[serde(serialize_with = "seconds")]
    pub stored_at: SystemTime,
    /// How often it was used.
    pub uses: u64,
}

impl Stored {
    /// What it is stored under.
    pub fn key(&self) -> &CacheKey {
        &self.holding().key
    }

    /// How often it was used.
    pub fn uses(&self) -> u64 {
        self.holding().uses()
    }
}

impl Listed {
    /// The Content-Type as received, where it is text.
    pub fn media_type(&self) -> Option<&str> {
        self.stored.head().headers.get(CONTENT_TYPE)?.to_str().ok()
    }

    /// What lists are ordered by: the key, and the order of storing.
    pub(crate) fn rank(&self) -> (&str, u64) {
        let holding = self.stored.holding();
        (holding.key.as_str(), holding.id)
    }

    /// For people.
    pub fn summary(&self) -> Summary {
        let stored = &self.stored;
        let media_type = stored.head().headers.get(CONTENT_TYPE);
        Summary {
            key: stored.key().as_str().to_owned(),
            status: stored.head().status.as_u16(),
            length: stored.length(),
            arriving: stored.is_arriving(),
            arrived: stored.arrived(),
            partial: stored.is_partial(),
            on_disk: self.on_disk,
            pinned: self.is_pinned,
            media_type: media_type.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
            stored_at: stored.head().response_time,
            uses: stored.uses(),
        }
    }
}

impl Store {
    /// Everything stored, in the order of the keys.
    pub fn list(&self) -> Vec<Summary> {
        let mut listed = self.listed(|_| true);
        listed.sort_by(|one, other| one.rank().cmp(&other.rank()));
        listed.iter().map(Listed::summary).collect()
    }

    /// What `meant` take on disk together, in bytes: a body that several of them share counts once.
    pub fn on_disk(&self, meant: &[Listed]) -> u64 {
        self.shelf().on_disk(meant)
    }

    /// Drops `meant` as [`Store::invalidate`] does and returns how many were still stored.
    pub fn purge(&self, meant: &[Listed]) -> usize {
        self.shelf().purge(meant)
    }

    /// Has `meant` never evicted, or evicted like others again, and returns how many that changed. A pin survives
    /// restarts and goes over to the response that takes the place of a pinned one; it does not keep what is damaged or
    /// invalidated. What is still arriving cannot be pinned.
    pub fn pin(&self, meant: &[Listed], is_pinned: bool) -> usize {
        self.shelf().pin(meant, is_pinned)
    }
}

impl Shelf {
    /// What is stored under the keys that are meant.
    pub(crate) fn listed(&self, is_meant: impl Fn(&str) -> bool) -> Vec<Listed> {
        self.looked_up(&self.index.matching(is_meant).collect::<Vec<_>>())
    }

    /// What is stored under `key`.
    pub(crate) fn listed_under(&self, key: &CacheKey) -> Vec<Listed> {
        self.looked_up(&self.index.lookup(key))
    }

    fn looked_up(&self, found: &[Arc<Holding>]) -> Vec<Listed> {
        let mut listed = Vec::with_capacity(found.len());
        for chunk in found.chunks(CHUNK) {
            let sound = chunk.iter().filter(|holding| !holding.is_damaged());
            // Looked at before the books are taken: who writes a record has its holding locked, then the books.
            let shown: Vec<_> = sound.filter_map(Stored::of).map(Arc::new).collect();
            let ledger = lock(&self.ledger);
            listed.extend(shown.into_iter().map(|stored| {
                let id = stored.holding().id;
                let (is_pinned, on_disk) = (ledger.is_pinned(id), ledger.on_disk(id).unwrap_or(0));
                Listed { stored, is_pinned, on_disk }
            }));
        }
        listed
    }

    /// What `meant` take on disk together, in bytes.
    pub(crate) fn on_disk(&self, meant: &[Listed]) -> u64 {
        let mut seen = HashSet::new();
        let chunks = meant.chunks(CHUNK);
        let on_disk = chunks.map(|chunk| {
            let ids = chunk.iter().map(|listed| listed.stored.holding().id);
            lock(&self.ledger).on_disk_beside(ids, &mut seen)
        });
        on_disk.sum()
    }

    /// Drops `meant`, as far as they are still stored, and returns how many that were. It is written down by then.
    pub(crate) fn purge(&self, meant: &[Listed]) -> usize {
        if !self.is_open() {
            return 0;
        }
        let mut orphans = Vec::new();
        let mut dropped = 0;
        for Listed { stored, .. } in meant {
            if self.drop_from_index(stored.holding()) {
                orphans.extend(self.strike(stored.holding().id));
                dropped += 1;
            }
        }
        if dropped > 0 {
            self.write_down();
        }
        self.home.note_orphans(orphans);
        dropped
    }

    /// Pins `meant`, or lets them be evicted again; returns how many that changed. It is written down by then. What is
    /// still arriving cannot be pinned.
    pub(crate) fn pin(&self, meant: &[Listed], is_pinned: bool) -> usize {
        if !self.is_open() {
            return 0;
        }
        let changed = meant.iter().filter(|listed| self.pin_one(listed.stored.holding(), is_pinned)).count();
        if changed > 0 {
            self.write_down();
            self.home.bell.notify_one();
        }
        changed
    }

    /// Pins what took the place of something pinned: its URL was meant. To be called under the lock of its key.
    pub(crate) fn inherit_pin(&self, holding: &Holding, replaced: &[Arc<Holding>]) {
        let was_pinned = {
            let ledger = lock(&self.ledger);
            replaced.iter().any(|other| ledger.is_pinned(other.id))
        };
        if was_pinned {
            self.set_pin(holding, true);
        }
    }

    /// Takes up the pins of an earlier process.
    pub(crate) fn restore_pins(&self, pins: impl IntoIterator<Item = u64>) {
        let mut ledger = lock(&self.ledger);
        for id in pins {
            ledger.pin(id, true);
        }
    }

    /// Under the lock of its key, so that nothing takes its place meanwhile.
    fn pin_one(&self, holding: &Holding, is_pinned: bool) -> bool {
        self.index.change(&holding.key, |responses| {
            let is_there = responses.iter().any(|other| other.id == holding.id);
            is_there && self.set_pin(holding, is_pinned)
        })
    }

    fn set_pin(&self, holding: &Holding, is_pinned: bool) -> bool {
        let changed = lock(&self.ledger).pin(holding.id, is_pinned);
        if changed {
            self.append(&Change::Pin { id: holding.id, pinned: is_pinned });
        }
        changed
    }

    /// The bytes on disk of the files that many stored responses share: index files and bundles.
    pub(crate) fn shared(&self) -> u64 {
        self.journal.as_ref().map_or(0, Journal::on_disk) + self.home.bundles.on_disk()
    }

    /// The bytes of the cache folder on disk that are in no stored response's account: the index files and the bundles
    /// beyond what is counted as records, what is being written, the folder itself. Does not take the ledger's lock.
    pub(crate) fn apart(&self) -> u64 {
        self.shared() + self.home.counts.spooled.load(Ordering::Relaxed) + self.home.content.frame()
    }
}

/// The bytes that everything takes on disk, `apart` being what [`Shelf::apart`] says.
pub(crate) fn on_disk<T>(ledger: &Ledger<T>, apart: u64) -> u64 {
    (ledger.total() + apart).saturating_sub(ledger.records())
}

fn seconds<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}
