//! What everything on disk costs and is worth: sizes, references by digest, the order of eviction. Pure.
//!
//! Owns the arithmetic and nothing that acts: no files, no clock, no locks. The order is that of GDSF (Greedy-Dual
//! Size Frequency, Cherkasova 1998): a stored response is worth the bytes it is likely to save on the link, per byte
//! of disk it takes, on top of an inflation that rises with every eviction, so that what was popular long ago sinks.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use smallvec::SmallVec;

use crate::blocks::Digest;

/// The unit in which the file system hands out space.
const PAGE: u64 = 4096;
/// What a hit saves beyond the body: the head, the request and their share of a handshake, in bytes of link.
const EXCHANGE: u64 = 2048;

/// The books of one cache folder. `T` is what the caller needs to find a stored response again.
pub(crate) struct Ledger<T> {
    items: HashMap<u64, Item<T>>,
    order: BTreeSet<(Priority, u64)>,
    shares: HashMap<Digest, Share>,
    total: u64,
    inflation: Priority,
}

/// Where something stands in the order of eviction: the lowest goes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Priority(u64);

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
    size: Size,
    uses: u64,
    priority: Priority,
}

struct Share {
    references: u32,
    bytes: u64,
}

impl<T> Ledger<T> {
    /// Nothing stored.
    pub(crate) fn new() -> Self {
        Self {
            items: HashMap::new(),
            order: BTreeSet::new(),
            shares: HashMap::new(),
            total: 0,
            inflation: Priority::of(0.0),
        }
    }

    /// Enters a stored response used `uses` times, or enters it anew after its body changed. Returns its priority and
    /// the content nobody refers to any more.
    pub(crate) fn enter(
        &mut self,
        id: u64,
        what: T,
        size: Size,
        uses: u64,
    ) -> (Priority, SmallVec<[Digest; 1]>) {
        let priority = self.worth(&size, uses);
        (priority, self.enter_at(id, what, size, uses, priority))
    }

    /// Refers to content that no stored response shows yet, so that nobody removes it meanwhile. To be followed by
    /// [`Ledger::let_go`].
    pub(crate) fn hold(&mut self, digest: Digest, length: u64) {
        self.refer(digest, on_disk(length));
    }

    /// Takes the reference of [`Ledger::hold`] away and says whether it was the last.
    pub(crate) fn let_go(&mut self, digest: &Digest) -> bool {
        self.release(digest)
    }

    /// Enters a stored response whose priority is known from before a restart.
    pub(crate) fn restore(&mut self, id: u64, what: T, size: Size, uses: u64, priority: Priority) {
        drop(self.enter_at(id, what, size, uses, priority));
    }

    /// To be called after the last `restore`: nothing left is below the inflation at which something was evicted, so
    /// the lowest priority is where the inflation may start.
    pub(crate) fn restored(&mut self) {
        self.inflation = self.order.first().map_or(self.inflation, |(lowest, _)| *lowest);
    }

    /// Notes that `id` has been used `uses` times by now. `None` when it is not entered.
    pub(crate) fn used(&mut self, id: u64, uses: u64) -> Option<Priority> {
        let priority = self.worth(&self.items.get(&id)?.size, uses);
        let item = self.items.get_mut(&id)?;
        self.order.remove(&(item.priority, id));
        self.order.insert((priority, id));
        item.uses = uses;
        item.priority = priority;
        Some(priority)
    }

    /// Notes that the record of `id` now takes `record` bytes, and returns its uses and priority.
    pub(crate) fn record(&mut self, id: u64, record: u64) -> Option<(u64, Priority)> {
        let item = self.items.get_mut(&id)?;
        self.total = self.total - item.size.record + record;
        item.size.record = record;
        Some((item.uses, item.priority))
    }

    /// Strikes `id` out. `None` when it is not entered.
    pub(crate) fn remove(&mut self, id: u64) -> Option<Removed<T>> {
        let item = self.items.remove(&id)?;
        self.order.remove(&(item.priority, id));
        self.total -= item.size.record;
        let contents = item.size.contents.into_iter();
        let orphans = contents.filter_map(|(digest, _)| self.release(&digest).then_some(digest)).collect();
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

    /// Whether any stored response has this content.
    pub(crate) fn refers_to(&self, digest: &Digest) -> bool {
        self.shares.contains_key(digest)
    }

    /// Bytes on disk: records, and each content once, rounded up to whole pages.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// How many stored responses are entered.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Uses and priority of `id`.
    pub(crate) fn standing(&self, id: u64) -> Option<(u64, Priority)> {
        self.items.get(&id).map(|item| (item.uses, item.priority))
    }

    fn enter_at(
        &mut self,
        id: u64,
        what: T,
        size: Size,
        uses: u64,
        priority: Priority,
    ) -> SmallVec<[Digest; 1]> {
        // What is referred to before and after must not look unreferenced in between.
        for (digest, length) in &size.contents {
            self.refer(*digest, on_disk(*length));
        }
        let orphans = self.remove(id).map_or_else(SmallVec::new, |removed| removed.orphans);
        self.total += size.record;
        self.order.insert((priority, id));
        self.items.insert(id, Item { what, size, uses, priority });
        orphans
    }

    fn refer(&mut self, digest: Digest, bytes: u64) {
        match self.shares.entry(digest) {
            Entry::Occupied(mut share) => share.get_mut().references += 1,
            Entry::Vacant(vacant) => {
                self.total += bytes;
                vacant.insert(Share { references: 1, bytes });
            }
        }
    }

    /// Takes one reference away and says whether it was the last.
    fn release(&mut self, digest: &Digest) -> bool {
        let Entry::Occupied(mut share) = self.shares.entry(*digest) else { return false };
        share.get_mut().references -= 1;
        if share.get().references > 0 {
            return false;
        }
        self.total -= share.remove().bytes;
        true
    }

    fn worth(&self, size: &Size, uses: u64) -> Priority {
        let disk = size.record + size.contents.iter().map(|(_, length)| on_disk(*length)).sum::<u64>();
        let saved = (uses + 1) as f64 * (size.body + EXCHANGE) as f64;
        Priority::of(self.inflation.value() + saved / disk.max(1) as f64)
    }
}

impl Priority {
    /// As written in a record.
    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    /// From a record. Anything that is no finite positive number counts as nothing.
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self::of(f64::from_bits(bits))
    }

    /// The bits of floating point numbers from +0 upwards are in the order of the numbers.
    fn of(value: f64) -> Self {
        Self(if value.is_finite() && value > 0.0 { value.to_bits() } else { 0 })
    }

    fn value(self) -> f64 {
        f64::from_bits(self.0)
    }
}

/// The bytes a content file of `length` takes on disk.
fn on_disk(length: u64) -> u64 {
    length.div_ceil(PAGE) * PAGE
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn size(record: u64, body: u64, content: Option<u8>) -> Size {
        Size { record, body, contents: content.map(|byte| (Digest([byte; 32]), body)).into_iter().collect() }
    }

    /// Enters `(id, body, uses)` and returns the ids in the order in which they are evicted.
    fn order(items: &[(u64, u64, u64)]) -> Vec<u64> {
        let mut ledger = Ledger::new();
        for (id, body, uses) in items {
            ledger.enter(*id, *id, size(500, *body, Some(*id as u8)), *uses);
        }
        ledger.evict(0, usize::MAX).into_iter().map(|removed| removed.what).collect()
    }

    #[test]
    fn what_was_used_less_goes_first() {
        assert_eq!(order(&[(1, 10_000, 5), (2, 10_000, 0), (3, 10_000, 2)]), [2, 3, 1]);
    }

    #[test]
    fn what_wastes_more_of_its_pages_goes_first() {
        assert_eq!(order(&[(1, 4_096, 1), (2, 4_097, 1)]), [2, 1]);
    }

    #[test]
    fn what_was_popular_long_ago_sinks() {
        let mut ledger = Ledger::new();
        ledger.enter(0, 0, size(0, 4096, Some(0)), 3);
        for id in 1..50 {
            ledger.enter(id, id, size(0, 4096, Some(id as u8)), 0);
            ledger.evict(2 * PAGE, 1);
        }
        assert!(ledger.standing(0).is_none());
    }

    #[test]
    fn content_is_an_orphan_after_its_last_reference() {
        let mut ledger = Ledger::new();
        ledger.enter(1, (), size(100, 5_000, Some(7)), 0);
        ledger.enter(2, (), size(100, 5_000, Some(7)), 0);
        assert_eq!(ledger.total(), 200 + 8192);
        assert!(ledger.remove(1).unwrap().orphans.is_empty());
        assert_eq!(ledger.remove(2).unwrap().orphans[..], [Digest([7; 32])]);
        assert_eq!((ledger.total(), ledger.len()), (0, 0));
    }

    #[test]
    fn a_restart_keeps_the_order() {
        let mut ledger = Ledger::new();
        let size = size(0, 4096, None);
        let priorities: Vec<_> = (0..4).map(|id| (id, ledger.enter(id, id, size.clone(), id).0)).collect();
        let mut restarted = Ledger::new();
        for (id, priority) in priorities {
            restarted.restore(id, id, size.clone(), id, Priority::from_bits(priority.to_bits()));
        }
        restarted.restored();
        assert_eq!(restarted.inflation, restarted.standing(0).unwrap().1);
        assert_eq!(Priority::from_bits(f64::NAN.to_bits()), Priority::of(-1.0));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Enter(u64, u64, u64, Option<u8>),
        Remove(u64),
        Use(u64, u64),
        Record(u64, u64),
        Evict(u64, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let id = 0u64..12;
        prop_oneof![
            (id.clone(), 0u64..9_000, 0u64..9_000, prop::option::of(0u8..4))
                .prop_map(|(id, record, body, content)| Step::Enter(id, record, body, content)),
            id.clone().prop_map(Step::Remove),
            (id.clone(), 0u64..100).prop_map(|(id, uses)| Step::Use(id, uses)),
            (id, 0u64..9_000).prop_map(|(id, record)| Step::Record(id, record)),
            (0u64..40_000, 1usize..4).prop_map(|(target, batch)| Step::Evict(target, batch)),
        ]
    }

    proptest! {
        #[test]
        fn the_books_balance(steps in prop::collection::vec(step(), 0..60)) {
            let mut ledger = Ledger::new();
            for step in steps {
                match step {
                    // Equal content has equal length.
                    Step::Enter(id, record, body, content) => {
                        let body = content.map_or(body, |content| u64::from(content) * 5_000);
                        ledger.enter(id, id, size(record, body, content), 0);
                    }
                    Step::Remove(id) => drop(ledger.remove(id)),
                    Step::Use(id, uses) => drop(ledger.used(id, uses)),
                    Step::Record(id, record) => drop(ledger.record(id, record)),
                    Step::Evict(target, batch) => {
                        let evicted = ledger.evict(target, batch).len();
                        prop_assert!(evicted <= batch);
                        prop_assert!(evicted == batch || ledger.total() <= target || ledger.len() == 0);
                    }
                }
                let records: u64 = ledger.items.values().map(|item| item.size.record).sum();
                let contents: BTreeSet<_> = ledger.items.values().flat_map(|item| &item.size.contents).map(|(digest, _)| *digest).collect();
                let shares: u64 = contents.iter().map(|digest| on_disk(u64::from(digest.0[0]) * 5_000)).sum();
                prop_assert_eq!(ledger.total(), records + shares);
                prop_assert_eq!(ledger.order.len(), ledger.len());
                prop_assert!(contents.iter().all(|digest| ledger.refers_to(digest)));
                prop_assert_eq!(contents.len(), ledger.shares.len());
            }
        }
    }
}
