//! A map whose entries stay where they are: a million of them cost little more than what they are.
//!
//! Owns the slots: entries lie side by side in one vector, and beside it stands a table of four bytes for each. A hash
//! map that has just grown is half empty, which for large entries costs as much again as the entries. A slot names its
//! entry until that is removed. Nothing is ordered.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// A map from `K` to `V`, whose entries also have slots.
pub(crate) struct Roll<K, V> {
    entries: Vec<Option<(K, V)>>,
    free: Vec<u32>,
    slots: HashTable<u32>,
    /// Keys may be anybody's choice (digests are), so the hash is a keyed one.
    hasher: RandomState,
}

impl<K, V> Default for Roll<K, V> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            slots: HashTable::new(),
            hasher: RandomState::default(),
        }
    }
}

impl<K: Hash + Eq, V> Roll<K, V> {
    /// Makes room for `more` entries at once.
    pub(crate) fn reserve(&mut self, more: usize) {
        let Self { entries, slots, hasher, .. } = self;
        entries.reserve_exact(more);
        slots.reserve(more, |slot| hash_of(entries, hasher, *slot));
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The slot of `key`.
    pub(crate) fn slot(&self, key: &K) -> Option<u32> {
        let is_key = |slot: &u32| self.entry(*slot).is_some_and(|(other, _)| other == key);
        self.slots.find(self.hasher.hash_one(key), is_key).copied()
    }

    /// What stands in `slot`.
    pub(crate) fn at(&self, slot: u32) -> Option<&V> {
        self.entry(slot).map(|(_, value)| value)
    }

    /// What stands in `slot`, to be changed.
    pub(crate) fn at_mut(&mut self, slot: u32) -> Option<&mut V> {
        self.entries.get_mut(slot as usize)?.as_mut().map(|(_, value)| value)
    }

    /// What `key` has.
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.at(self.slot(key)?)
    }

    /// What `key` has, to be changed.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.at_mut(self.slot(key)?)
    }

    /// Gives `key` the value `value` and returns its slot. What it had before is gone.
    pub(crate) fn insert(&mut self, key: K, value: V) -> u32 {
        if let Some(slot) = self.slot(&key) {
            self.entries[slot as usize] = Some((key, value));
            return slot;
        }
        let hash = self.hasher.hash_one(&key);
        let slot = match self.free.pop() {
            Some(slot) => {
                self.entries[slot as usize] = Some((key, value));
                slot
            }
            None => {
                self.entries.push(Some((key, value)));
                // So many entries do not fit into any memory.
                u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
            }
        };
        let Self { entries, slots, hasher, .. } = self;
        slots.insert_unique(hash, slot, |slot| hash_of(entries, hasher, *slot));
        slot
    }

    /// Takes `key` out, and returns what it had.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let slot = self.slot(key)?;
        self.remove_at(slot).map(|(_, value)| value)
    }

    /// Takes out what stands in `slot`.
    pub(crate) fn remove_at(&mut self, slot: u32) -> Option<(K, V)> {
        let hash = self.hasher.hash_one(&self.entry(slot)?.0);
        self.slots.find_entry(hash, |other| *other == slot).ok()?.remove();
        self.free.push(slot);
        self.entries.get_mut(slot as usize)?.take()
    }

    /// All entries.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().flatten().map(|(key, value)| (key, value))
    }

    /// All values, by themselves.
    pub(crate) fn into_values(self) -> impl Iterator<Item = V> {
        self.entries.into_iter().flatten().map(|(_, value)| value)
    }

    fn entry(&self, slot: u32) -> Option<&(K, V)> {
        self.entries.get(slot as usize)?.as_ref()
    }
}

fn hash_of<K: Hash, V>(entries: &[Option<(K, V)>], hasher: &RandomState, slot: u32) -> u64 {
    let entry = entries.get(slot as usize).and_then(Option::as_ref);
    entry.map_or(0, |(key, _)| hasher.hash_one(key))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_slot_is_used_again_only_after_its_entry_is_gone() {
        let mut roll = Roll::default();
        let (one, other) = (roll.insert("a", 1), roll.insert("b", 2));
        assert_eq!(roll.insert("a", 3), one);
        assert_eq!((roll.at(one), roll.at(other)), (Some(&3), Some(&2)));
        assert_eq!((roll.remove_at(one), roll.remove_at(one)), (Some(("a", 3)), None));
        assert_eq!((roll.insert("c", 4), roll.at(other)), (one, Some(&2)));
    }

    proptest! {
        #[test]
        fn it_holds_what_a_hash_map_holds(steps in prop::collection::vec((0u8..20, prop::option::of(any::<u8>())), 0..100)) {
            let (mut roll, mut map) = (Roll::default(), HashMap::new());
            for (key, value) in steps {
                match value {
                    Some(value) => {
                        let slot = roll.insert(key, value);
                        map.insert(key, value);
                        prop_assert_eq!(roll.at(slot), Some(&value));
                    }
                    None => prop_assert_eq!(roll.remove(&key), map.remove(&key)),
                }
                prop_assert_eq!(roll.len(), map.len());
                prop_assert_eq!(roll.get(&key), map.get(&key));
            }
            prop_assert_eq!(roll.iter().map(|(key, value)| (*key, *value)).collect::<HashMap<_, _>>(), map);
        }
    }
}
