//! Pins in the ledger: what is never evicted is in no order of eviction. Pure.
//!
//! Owns setting and counting them. They are told by id in a set of their own, because they are few and all others would
//! pay for a mark; striking something out takes its pin with it, which is the ledger's own work.

use super::Ledger;

impl<T> Ledger<T> {
    /// Takes `id` out of the order of eviction, or puts it back. Says whether that changed anything.
    pub(crate) fn pin(&mut self, id: u64, is_pinned: bool) -> bool {
        let Some(item) = self.items.get(&id) else { return false };
        if is_pinned {
            self.order.remove(&(item.priority, id));
            self.pins.insert(id)
        } else {
            self.order.insert((item.priority, id));
            self.pins.remove(&id)
        }
    }

    /// Whether `id` is never evicted.
    pub(crate) fn is_pinned(&self, id: u64) -> bool {
        self.pins.contains(&id)
    }

    /// How many are never evicted, and the bytes on disk they take at most.
    pub(crate) fn pinned(&self) -> (usize, u64) {
        (self.pins.len(), self.pins.iter().filter_map(|id| self.on_disk(*id)).sum())
    }

    /// The bytes on disk of `id`, as if it shared no content.
    pub(crate) fn on_disk(&self, id: u64) -> Option<u64> {
        let item = self.items.get(&id)?;
        let files: u64 = item.files.slots().iter().map(|slot| self.bytes_of(*slot)).sum();
        Some(u64::from(item.record) + files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::Digest;
    use crate::ledger::Size;

    fn size(record: u64, body: u64, content: Option<u8>) -> Size {
        Size { record, body, contents: content.map(|byte| (Digest([byte; 32]), body)).into_iter().collect() }
    }

    #[test]
    fn what_is_pinned_stays_until_it_is_no_more() {
        let mut ledger = Ledger::new();
        for id in 0..3 {
            ledger.enter(id, id, &size(100, 5_000, Some(id as u8)), id);
        }
        assert!(ledger.pin(0, true) && !ledger.pin(0, true) && !ledger.pin(9, true));
        assert_eq!(ledger.pinned(), (1, 100 + 8192));
        // Neither a use nor a body that changes takes the pin away.
        ledger.used(0, 1);
        ledger.enter(0, 0, &size(100, 6_000, Some(9)), 1);
        let evicted: Vec<_> = ledger.evict(0, 9).into_iter().map(|removed| removed.what).collect();
        assert_eq!(evicted, [1, 2]);
        assert!(ledger.is_pinned(0) && ledger.pin(0, false) && !ledger.is_pinned(0));
        assert_eq!(ledger.evict(0, 9).len(), 1);
        ledger.enter(0, 0, &size(100, 5_000, None), 0);
        assert!(!ledger.is_pinned(0), "a pin goes with what it was set on");
    }
}
