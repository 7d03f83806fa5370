//! The keeper's work: carries out what the ledger orders and what readers noted, and recovers after a crash.
//!
//! Owns the rounds (blocking) and the task that starts them. It decides nothing about value: the ledger does. Nothing
//! here is on the path of a request.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use crate::blocks::Digest;
use crate::home::Home;
use crate::journal::{self, Journal};
use crate::limits::LiveLimits;
use crate::locked::lock;
use crate::manage;
use crate::record::{Change, Record, RestoredSpool};
use crate::shelf::Shelf;

/// How often the journal is written: a kill loses at most this.
const FLUSH: Duration = Duration::from_secs(1);
/// A round that syncs is every so many flushes: what a power cut loses is at most 5 s old, of which a round on a slow disk
/// may take 2 s.
const FLUSHES_A_SYNC: u32 = 3;
/// Stored responses evicted between two looks at the journal. Mass deletion slows the file system for seconds.
const BATCH: usize = 32;
/// Evicting goes down to this share of the limit, in percent, so that it is not begun again at once.
const RELIEF: u64 = 95;
/// Parts of the content (of 256) a recovery looks through in a round.
const PARTS: u16 = 16;

/// The state of the keeper's work.
pub(crate) struct Sweep {
    limits: Arc<LiveLimits>,
    /// The next part of the content to look through for what nobody refers to; 256 when there is no more.
    recovery: u16,
    /// What the last process was writing when it ended.
    spooling: Vec<RestoredSpool>,
}

impl Sweep {
    /// Keeps the folder below the size of `limits`. After an unclean stop, content that never got its record is looked for, and
    /// what was being written is taken up.
    pub(crate) fn new(limits: Arc<LiveLimits>, was_clean: bool, spooling: Vec<RestoredSpool>) -> Self {
        Self { limits, recovery: if was_clean { 256 } else { 0 }, spooling }
    }

    /// One round. With `sync`, everything is brought to the platter, and the snapshot renewed if it is due.
    pub(crate) fn round(&mut self, shelf: &Shelf, sync: bool) {
        let Some(journal) = shelf.journal.as_ref().filter(|journal| journal.is_open()) else { return };
        self.tidy(shelf, journal);
        if sync && shelf.home.health.is_good() {
            let written = self.sync(shelf, journal);
            if written.is_err() || shelf.home.health.is_failing() {
                drop(shelf.home.health.note("syncing the index", written));
            }
        }
    }

    fn sync(&self, shelf: &Shelf, journal: &Journal) -> io::Result<()> {
        let Home { content, bundles, .. } = &*shelf.home;
        let unused = bundles.unused();
        journal.flush()?;
        // Bodies first: a record that outlives a power cut finds its own.
        content.sync()?;
        bundles.sync()?;
        journal.sync()?;
        // What was copied out of them is on the platter, and no record refers to them.
        bundles.remove(&unused);
        let limit = self.limits.max_size();
        if journal.is_snapshot_due(limit, index_records(shelf)) {
            write_snapshot(shelf, journal, false)?;
        }
        let room = &shelf.home.room;
        shelf.compact(bundles.allowance(if room.is_short() { 0 } else { limit }));
        Ok(())
    }

    /// The last round: takes no more changes and leaves a snapshot that says so.
    pub(crate) fn close(&mut self, shelf: &Shelf) {
        if !shelf.is_open() {
            return;
        }
        self.prepare_to_close(shelf);
        shelf.shut();
        write_last(shelf, self.is_clean());
    }

    /// Does what is to be done before no more changes are taken.
    pub(crate) fn prepare_to_close(&mut self, shelf: &Shelf) {
        if let Some(journal) = shelf.journal.as_ref().filter(|journal| journal.is_open()) {
            self.tidy(shelf, journal);
        }
    }

    /// Whether all content is accounted for.
    pub(crate) fn is_clean(&self) -> bool {
        self.recovery > 255
    }

    /// The folder was somebody else's: what they left there is looked for, and all that is stored is written down.
    pub(crate) fn begin_anew(&mut self, shelf: &Shelf) {
        self.recovery = 0;
        let Some(journal) = &shelf.journal else { return };
        let written = write_snapshot(shelf, journal, false);
        drop(shelf.home.health.note("writing the index", written));
    }

    fn tidy(&mut self, shelf: &Shelf, journal: &Journal) {
        let home = &shelf.home;
        self.spooling.drain(..).for_each(|spooling| shelf.adopt(&spooling));
        home.take_whole().iter().for_each(|holding| shelf.join(holding));
        for holding in home.take_damaged() {
            if holding.is_damaged() {
                shelf.drop_from_index(&holding);
                home.note_orphans(shelf.strike(holding.id));
            } else {
                shelf.rewrite(&holding);
            }
        }
        let mut orphans = home.take_orphans();
        note_uses(shelf);
        let (mut used, pinned) = self.used(shelf);
        let ceiling = self.ceiling(shelf, used, pinned);
        loop {
            let evicted = self.evict(shelf, &mut used, ceiling, &mut orphans);
            // Records go before their content: after a kill nothing is left that points to nothing.
            drop(flush(shelf, journal));
            orphans.drain(..).for_each(|digest| shelf.remove_orphan(&digest));
            if evicted == 0 {
                break;
            }
        }
        shelf.home.room.look();
        self.recover(shelf);
    }

    /// What the folder takes, and what of it is pinned. Evicting a short response leaves its bytes in files that are
    /// shared with others, until these are rewritten: so of what is out of date in them, only what may stay counts.
    fn used(&self, shelf: &Shelf) -> (u64, u64) {
        let (limit, apart, shared) = (self.limits.max_size(), shelf.apart(), shelf.shared());
        let allowed = shelf.home.bundles.allowance(limit) + journal::allowance(limit, index_records(shelf));
        let ledger = lock(&shelf.ledger);
        let too_much = shared.saturating_sub(ledger.records()).saturating_sub(allowed);
        (manage::on_disk(&ledger, apart).saturating_sub(too_much), ledger.pinned().1)
    }

    /// What the folder may take now that it takes `used` bytes, `pinned` of them for good: the limit, or less where the
    /// disk is to keep more free than it has.
    fn ceiling(&self, shelf: &Shelf, used: u64, pinned: u64) -> u64 {
        let room = &shelf.home.room;
        room.note_pinned_full(pinned > 0 && pinned > self.limits.max_size() / 100 * RELIEF);
        ceiling(self.limits.max_size(), used, room.look())
    }

    /// Evicts some of what is worth least while the folder takes more than `ceiling`; returns how many that were.
    fn evict(&self, shelf: &Shelf, used: &mut u64, ceiling: u64, orphans: &mut Vec<Digest>) -> usize {
        if *used <= ceiling {
            return 0;
        }
        // Down to a share of the limit, so that it is not begun again at once.
        let target = ceiling.min(self.limits.max_size() / 100 * RELIEF);
        let evicted = {
            let mut ledger = lock(&shelf.ledger);
            let before = ledger.total();
            let evicted = ledger.evict(before.saturating_sub(*used - target), BATCH);
            *used = used.saturating_sub(before - ledger.total());
            evicted
        };
        for removed in &evicted {
            shelf.drop_from_index(&removed.what);
            orphans.extend(shelf.struck(removed));
        }
        shelf.home.counts.evicted.fetch_add(evicted.len() as u64, Ordering::Relaxed);
        evicted.len()
    }

    fn recover(&mut self, shelf: &Shelf) {
        let parts = self.recovery..(self.recovery + PARTS).min(256);
        self.recovery = parts.end;
        for part in parts.filter_map(|part| u8::try_from(part).ok()) {
            let mut found = shelf.home.content.beginning_with(part);
            // Nearly all of it is referred to, which costs one lock here and one for each there.
            found.retain({
                let ledger = lock(&shelf.ledger);
                move |digest| !ledger.refers_to(digest)
            });
            found.iter().for_each(|digest| shelf.remove_orphan(digest));
        }
    }
}

/// What the folder may take now that it takes `used` bytes and the disk has `lacking` too few free. It gives way to who
/// else writes there by at most a quarter at a time: where that cannot help, all of the cache would be gone in vain.
fn ceiling(limit: u64, used: u64, lacking: u64) -> u64 {
    match lacking {
        0 => limit,
        // Some more, so that it is not begun again at once.
        _ if lacking <= used / 4 => limit.min(used - lacking - used / 100 * (100 - RELIEF)),
        _ => limit,
    }
}

/// The keeper: flushes every second, and does a round every three or when the bell rings. Ends with the shelf.
pub(crate) async fn keep(shelf: Weak<Shelf>, home: Arc<Home>, sweep: Arc<Mutex<Sweep>>) {
    let mut ticks = interval(FLUSH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut round: Option<JoinHandle<()>> = None;
    let (mut ticked, mut rang) = (0, false);
    loop {
        tokio::select! {
            _ = ticks.tick() => ticked += 1,
            () = home.bell.notified() => rang = true,
        }
        let Some(shelf) = shelf.upgrade() else { return };
        // A round may sync for seconds on a slow disk; the journal is written all the while.
        let is_sync_due = ticked >= FLUSHES_A_SYNC;
        if (is_sync_due || rang) && round.as_ref().is_none_or(JoinHandle::is_finished) {
            let (shelf, sweep) = (Arc::clone(&shelf), Arc::clone(&sweep));
            round = Some(spawn_blocking(move || lock(&sweep).round(&shelf, is_sync_due)));
            rang = false;
            if is_sync_due {
                ticked = 0;
            }
        }
        if shelf.journal.as_ref().is_some_and(Journal::is_flush_due) {
            let flushed =
                spawn_blocking(move || shelf.journal.as_ref().map(|journal| flush(&shelf, journal)));
            drop(flushed.await);
        }
    }
}

/// Writes down all that is stored, when no more changes are taken.
pub(crate) fn write_last(shelf: &Shelf, is_clean: bool) {
    let Some(journal) = &shelf.journal else { return };
    let Home { content, bundles, .. } = &*shelf.home;
    let closed = flush(shelf, journal)
        .and_then(|()| content.sync())
        .and_then(|()| bundles.sync())
        .and_then(|()| journal.sync())
        .and_then(|()| write_snapshot(shelf, journal, is_clean));
    drop(shelf.home.health.note("closing the index", closed));
}

/// About what a snapshot would take, in bytes.
fn index_records(shelf: &Shelf) -> u64 {
    let live = shelf.home.bundles.live();
    lock(&shelf.ledger).records().saturating_sub(live)
}

fn note_uses(shelf: &Shelf) {
    for holding in shelf.home.take_used() {
        let uses = holding.take_uses();
        let priority = lock(&shelf.ledger).used(holding.id, uses);
        if let Some(priority) = priority {
            shelf.append(&Change::Use { id: holding.id, uses, priority: priority.to_bits() });
        }
    }
}

fn flush(shelf: &Shelf, journal: &Journal) -> io::Result<()> {
    let health = &shelf.home.health;
    if !health.is_good() {
        return Ok(());
    }
    match journal.flush() {
        // Nothing to write says nothing about the disk.
        Ok(0) => Ok(()),
        outcome => health.note("writing the index", outcome.map(drop)),
    }
}

fn write_snapshot(shelf: &Shelf, journal: &Journal, clean: bool) -> io::Result<()> {
    journal.snapshot(clean, |write| {
        for holding in shelf.index.all() {
            let standing = lock(&shelf.ledger).standing(holding.id);
            let Some((uses, priority)) = standing.filter(|_| !holding.is_damaged()) else { continue };
            holding.with_head(|head, place| match Record::new(holding.id, &holding.key, head, place) {
                Some(record) => write(&Change::Keep(record.used(uses, priority.to_bits()))),
                None => Ok(()),
            })?;
            if lock(&shelf.ledger).is_pinned(holding.id) {
                write(&Change::Pin { id: holding.id, pinned: true })?;
            }
        }
        shelf.write_ongoing(write)?;
        // What it refers to is there before it is.
        let bundles = &shelf.home.bundles;
        bundles.flush().and_then(|()| bundles.sync())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_gives_way_as_long_as_that_helps() {
        assert_eq!(ceiling(1_000, 800, 0), 1_000);
        assert_eq!(ceiling(1_000, 800, 10), 750);
        assert_eq!(ceiling(1_000, 800, 200), 560);
        assert_eq!(ceiling(1_000, 800, 201), 1_000);
        assert_eq!(ceiling(1_000, 0, 1), 1_000);
        assert_eq!(ceiling(700, 1_000, 1), 700);
    }
}
