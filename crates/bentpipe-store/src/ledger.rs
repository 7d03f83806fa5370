//! What everything on disk costs and is worth: sizes, references by digest, the order of eviction. Pure.
//!
//! Owns the arithmetic and nothing that acts: no files, no clock, no locks. The order is that of GDSF (Greedy-Dual
//! Size Frequency, Cherkasova 1998): a stored response is worth the bytes it is likely to save on the link, per byte
//! of disk it takes, on top of an inflation that rises with every eviction, so that what was popular long ago sinks.

mod pins;

use std::collections::{BTreeSet, HashSet};

use smallvec::SmallVec;

use crate::blocks::Digest;
use crate::folders::Folders;
use crate::priority::Priority;
use crate::roll::Roll;

/// The unit in which the file system hands out space.
const PAGE: u64 = 4096;
/// What a hit saves beyond the body: the head, the request and their share of a handshake, in bytes of link.
const EXCHANGE: u64 = 2048;

/// The books of one cache folder. `T` is what the caller needs to find a stored response again.
pub(crate) struct Ledger<T> {
    items: Roll<u64, Item<T>>,
    order: BTreeSet<(Priority, u64)>,
    /// What is never evicted, and so in no order. Few, so they cost the others nothing.
    pins: HashSet<u64>,
    shares: Roll<Digest, Share>,
    folders: Folders,
    total: u64,
    /// The part of the total that is records.
    records: u64,
    inflation: Priority,
}

/// What is entered for one stored response. Sizes in bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Size {
    /// Its record in the index files.
    pub(crate) record: u64,
    /// The bytes of its body that are held.
    pub(crate) body: u64,
    /// Its content files with their lengths, where the body is not in the record; each once.
    pub(crate) contents: Contents,
}

/// Content files with their lengths. One is the rule; only a body that came in pieces has more.
pub(crate) type Contents = SmallVec<[(Digest, u64); 1]>;

/// What an eviction or a removal leaves to be done.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Removed<T> {
    /// The stored response.
    pub(crate) what: T,
    /// The content to unlink: nobody refers to it any more.
    pub(crate) orphans: SmallVec<[Digest; 1]>,
}

struct Item<T> {
    what: T,
    /// The bytes of its body that are held.
    body: u64,
    priority: Priority,
    files: Files,
    /// The bytes of its record.
    record: u32,
    uses: u32,
}

/// The content of an item, as slots of `shares`.
enum Files {
    One(u32),
    Several(Box<[u32]>),
}

struct Share {
    references: u32,
    pages: u32,
}

impl<T> Ledger<T> {
    /// Nothing stored.
    pub(crate) fn new() -> Self {
        Self {
            items: Roll::default(),
            order: BTreeSet::new(),
            pins: HashSet::new(),
            shares: Roll::default(),
            folders: Folders::default(),
            total: 0,
            records: 0,
            inflation: Priority::of(0.0),
        }
    }

    /// Nothing stored, on a file system where an empty folder takes `folder` bytes.
    pub(crate) fn with_folders(folder: u64) -> Self {
        Self { folders: Folders::new(folder), ..Self::new() }
    }

    /// Enters a stored response used `uses` times, or enters it anew after its body changed. Returns its priority and
    /// the content nobody refers to any more.
    pub(crate) fn enter(
        &mut self,
        id: u64,
        what: T,
        size: &Size,
        uses: u64,
    ) -> (Priority, SmallVec<[Digest; 1]>) {
        let files: u64 = size.contents.iter().map(|(_, length)| on_disk(*length)).sum();
        let priority = self.worth(size.record + files, size.body, uses);
        (priority, self.enter_at(id, what, size, uses, priority))
    }

    /// Refers to content that no stored response shows yet, so that nobody removes it meanwhile. To be followed by
    /// [`Ledger::let_go`].
    pub(crate) fn hold(&mut self, digest: Digest, length: u64) {
        self.refer(digest, length);
    }

    /// Takes the reference of [`Ledger::hold`] away and says whether it was the last.
    pub(crate) fn let_go(&mut self, digest: &Digest) -> bool {
        self.shares.slot(digest).is_some_and(|slot| self.release(slot).is_some())
    }

    /// Makes room for `more` stored responses at once.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.items.reserve(more);
        self.shares.reserve(more);
    }

    /// Enters a stored response, of an id that is not entered, whose priority is known from before a restart. To be
    /// followed by [`Ledger::restored`].
    pub(crate) fn restore(&mut self, id: u64, what: T, size: &Size, uses: u64, priority: Priority) {
        let item = self.item(what, size, uses, priority);
        self.items.insert(id, item);
    }

    /// To be called after the last `restore`. All at once, the order costs a tenth of what one by one would. Nothing
    /// left is below the inflation at which something was evicted, so the lowest priority is where it may start.
    pub(crate) fn restored(&mut self) {
        self.order = self.items.iter().map(|(id, item)| (item.priority, *id)).collect();
        self.inflation = self.order.first().map_or(self.inflation, |(lowest, _)| *lowest);
    }

    /// Notes that `id` has been used `uses` times by now. `None` when it is not entered.
    pub(crate) fn used(&mut self, id: u64, uses: u64) -> Option<Priority> {
        let item = self.items.get(&id)?;
        let files: u64 = item.files.slots().iter().map(|slot| self.bytes_of(*slot)).sum();
        let priority = self.worth(u64::from(item.record) + files, item.body, uses);
        let item = self.items.get_mut(&id)?;
        // What is pinned is in no order.
        if self.order.remove(&(item.priority, id)) {
            self.order.insert((priority, id));
        }
        item.uses = narrow(uses);
        item.priority = priority;
        Some(priority)
    }

    /// Notes that the record of `id` now takes `record` bytes, and returns its uses and priority.
    pub(crate) fn record(&mut self, id: u64, record: u64) -> Option<(u64, Priority)> {
        let item = self.items.get_mut(&id)?;
        let added = u64::from(narrow(record));
        let removed = u64::from(std::mem::replace(&mut item.record, narrow(record)));
        self.total = self.total - removed + added;
        self.records = self.records - removed + added;
        Some((u64::from(item.uses), item.priority))
    }

    /// Strikes `id` out. `None` when it is not entered.
    pub(crate) fn remove(&mut self, id: u64) -> Option<Removed<T>> {
        let item = self.items.remove(&id)?;
        self.order.remove(&(item.priority, id));
        self.pins.remove(&id);
        self.total -= u64::from(item.record);
        self.records -= u64::from(item.record);
        let orphans = item.files.slots().iter().filter_map(|slot| self.release(*slot)).collect();
        Some(Removed { what: item.what, orphans })
    }

    /// Strikes out what is worth least until at most `target` bytes are left, but at most `batch` of them.
    pub(crate) fn evict(&mut self, target: u64, batch: usize) -> Vec<Removed<T>> {
        let mut evicted = Vec::new();
        while self.total > target && evicted.len() < batch {
            let Some(&(priority, id)) = self.order.first() else { break };
            self.inflation = self.inflation.max(priority);
            evicted.extend(self.remove(id));
        }
        evicted
    }

    /// What `ids` take on disk, in bytes, but for content that is among the `seen` already, which it is noted in: what
    /// several of them have is there once.
    pub(crate) fn on_disk_beside(&self, ids: impl Iterator<Item = u64>, seen: &mut HashSet<u32>) -> u64 {
        let items = ids.filter_map(|id| self.items.get(&id));
        let on_disk = items.map(|item| {
            let files = item.files.slots().iter().filter(|slot| seen.insert(**slot));
            u64::from(item.record) + files.map(|slot| self.bytes_of(*slot)).sum::<u64>()
        });
        on_disk.sum()
    }

    /// Whether any stored response has this content.
    pub(crate) fn refers_to(&self, digest: &Digest) -> bool {
        self.shares.slot(digest).is_some()
    }

    /// Bytes of all records, as far as they are part of the total.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// Bytes on disk: records, and each content once, rounded up to whole pages, with its folders.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// How many stored responses are entered.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Uses and priority of `id`.
    pub(crate) fn standing(&self, id: u64) -> Option<(u64, Priority)> {
        self.items.get(&id).map(|item| (u64::from(item.uses), item.priority))
    }

    fn enter_at(
        &mut self,
        id: u64,
        what: T,
        size: &Size,
        uses: u64,
        priority: Priority,
    ) -> SmallVec<[Digest; 1]> {
        // What is referred to before and after must not look unreferenced in between.
        let item = self.item(what, size, uses, priority);
        let is_pinned = self.is_pinned(id);
        let orphans = self.remove(id).map_or_else(SmallVec::new, |removed| removed.orphans);
        if is_pinned {
            self.pins.insert(id);
        } else {
            self.order.insert((priority, id));
        }
        self.items.insert(id, item);
        orphans
    }

    /// Refers to the contents and counts the record.
    fn item(&mut self, what: T, size: &Size, uses: u64, priority: Priority) -> Item<T> {
        let mut slots = size.contents.iter().map(|(digest, length)| self.refer(*digest, *length));
        let files = match size.contents.len() {
            1 => Files::One(slots.next().unwrap_or_default()),
            _ => Files::Several(slots.collect()),
        };
        let record = narrow(size.record);
        self.total += u64::from(record);
        self.records += u64::from(record);
        Item { what, body: size.body, priority, files, record, uses: narrow(uses) }
    }

    fn refer(&mut self, digest: Digest, length: u64) -> u32 {
        let slot = self.shares.slot(&digest);
        if let Some((slot, share)) = slot.and_then(|slot| Some((slot, self.shares.at_mut(slot)?))) {
            share.references += 1;
            return slot;
        }
        let pages = narrow(length.div_ceil(PAGE));
        self.total += u64::from(pages) * PAGE + self.folders.enter(&digest);
        self.shares.insert(digest, Share { references: 1, pages })
    }

    /// Takes one reference away, and returns the content if it was the last.
    fn release(&mut self, slot: u32) -> Option<Digest> {
        let share = self.shares.at_mut(slot)?;
        share.references -= 1;
        if share.references > 0 {
            return None;
        }
        let (digest, share) = self.shares.remove_at(slot)?;
        self.total -= u64::from(share.pages) * PAGE + self.folders.leave(&digest);
        Some(digest)
    }

    fn bytes_of(&self, slot: u32) -> u64 {
        self.shares.at(slot).map_or(0, |share| u64::from(share.pages) * PAGE)
    }

    /// What is worth keeping of `disk` bytes on disk that hold `body` bytes of a body.
    fn worth(&self, disk: u64, body: u64, uses: u64) -> Priority {
        let saved = (uses + 1) as f64 * (body + EXCHANGE) as f64;
        Priority::of(self.inflation.value() + saved / disk.max(1) as f64)
    }
}

impl Files {
    fn slots(&self) -> &[u32] {
        match self {
            Self::One(slot) => std::slice::from_ref(slot),
            Self::Several(slots) => slots,
        }
    }
}

/// Counts that matter only as far as they are small. 4 billion uses are as good as more, and no record is as long.
fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The bytes a content file of `length` takes on disk.
fn on_disk(length: u64) -> u64 {
    length.div_ceil(PAGE) * PAGE
}

#[cfg(test)]
mod tests;
