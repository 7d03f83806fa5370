//! Rewriting bundles of which too much is dead: the short bodies in them that are still stored move to another.
//!
//! Owns the walk and the order: a body is copied, then the index shows the copy and the journal says so, under the lock
//! of its key. The old file goes when nobody refers to it any more, and not before the copies are on the platter, which is
//! the keeper's to see to. Where a stored response stands in the order of eviction does not change.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::bundles::Spot;
use crate::holding::{Holding, Place};
use crate::locked::lock;
use crate::record::{Change, Kept, Record};
use crate::shelf::{Shelf, find, size_of};

impl Shelf {
    /// Rewrites bundles until no more than `allowance` bytes in all of them are dead, or as many as are rewritten at once.
    /// Waits for the disk.
    pub(crate) fn compact(&self, allowance: u64) {
        let bundles = self.home.bundles.to_rewrite(allowance);
        if bundles.is_empty() {
            return;
        }
        let mut found: Vec<(Spot, Arc<Holding>)> =
            self.index.all().filter_map(|holding| Some((first_in(&holding, &bundles)?, holding))).collect();
        // Read in the order in which they were written.
        found.sort_unstable_by_key(|(spot, _)| *spot);
        for (_, holding) in found {
            // Too much waits for the disk: what is left stays for another round.
            let Some(()) = self.move_bodies(&holding, &bundles) else { return };
            if self.home.bundles.is_flush_urgent() {
                self.write_down();
            }
        }
        self.home.bundles.note_drained(&bundles);
    }

    fn move_bodies(&self, holding: &Arc<Holding>, from: &BTreeSet<u32>) -> Option<()> {
        let mut moved = Vec::new();
        for kept in smalls(holding, from) {
            let Kept::Small(small) = &*kept else { continue };
            match self.home.bundles.read(small) {
                Ok(body) => {
                    let copy = Kept::Small(self.home.bundles.append(&body)?);
                    moved.push((Arc::clone(&kept), Arc::new(copy)));
                }
                Err(_) => holding.found_damaged(&kept, &(0..kept.length())),
            }
        }
        if !moved.is_empty() {
            self.index.change(&holding.key, |responses| {
                find(responses, holding.id)?;
                holding.put(|place| moved.iter().for_each(|(old, new)| replace(place, old, new)));
                self.write_place(holding)
            });
        }
        Some(())
    }

    /// Says in the journal where the body of a stored response is now. To be called under the lock of its key.
    fn write_place(&self, holding: &Holding) -> Option<()> {
        holding.with_head(|head, place| {
            let record = Record::new(holding.id, &holding.key, head, place)?;
            let mut ledger = lock(&self.ledger);
            let (uses, priority) = ledger.standing(holding.id)?;
            let size = self.append(&Change::Keep(record.used(uses, priority.to_bits())))?;
            ledger.record(holding.id, size_of(place, size).record);
            Some(())
        })
    }
}

/// The first short body of a stored response that is in one of these bundles.
fn first_in(holding: &Holding, bundles: &BTreeSet<u32>) -> Option<Spot> {
    holding.with(|place| {
        place.kept().filter_map(|kept| spot(kept)).filter(|spot| bundles.contains(&spot.bundle)).min()
    })
}

fn smalls(holding: &Holding, bundles: &BTreeSet<u32>) -> Vec<Arc<Kept>> {
    let is_there = |kept: &&Arc<Kept>| spot(kept).is_some_and(|spot| bundles.contains(&spot.bundle));
    let mut smalls: Vec<Arc<Kept>> = holding.with(|place| place.kept().filter(is_there).cloned().collect());
    // Several pieces may be of one.
    smalls.sort_unstable_by_key(|kept| spot(kept));
    smalls.dedup_by(|one, other| Arc::ptr_eq(one, other));
    smalls
}

fn spot(kept: &Kept) -> Option<Spot> {
    match kept {
        Kept::Small(small) => Some(small.spot()),
        Kept::Inline(_) | Kept::Content(_) => None,
    }
}

fn replace(place: &mut Place, old: &Arc<Kept>, new: &Arc<Kept>) {
    match place {
        Place::Kept(kept) if Arc::ptr_eq(kept, old) => *kept = Arc::clone(new),
        Place::Parts(parts) => parts.replace(old, new),
        // It came anew meanwhile.
        Place::Arriving(_) | Place::Kept(_) => {}
    }
}
