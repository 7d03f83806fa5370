//! Giving the folder up to another process, and taking it back.
//!
//! Owns the order: what is stored and what is arriving is written down, then nothing more is written, then the lock goes.
//! From there on this store serves what it knows and passes on what arrives, and whoever opens the folder goes on with it,
//! the temporary files of interrupted downloads included. It does not say who comes next, nor when.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rfc9111::CacheKey;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::error::Error;
use crate::locked::lock;
use crate::ongoing::Ongoing;
use crate::shelf::Shelf;
use crate::store::Store;

/// What is invalidated while its store is given up is told to whoever has the folder; more than this at once is not.
const OWED: usize = 4096;

impl Store {
    /// Writes down everything that is stored, takes no more, and lets another process have the folder, as
    /// [`Store::close`] does; but nobody who reads or follows a body notices: what is arriving goes on to its followers
    /// without being stored, and what is stored is served on, as long as whoever has the folder keeps it.
    ///
    /// From the receiver come the keys of what is invalidated from now on, which whoever has the folder must invalidate,
    /// too (RFC 9111 §4.4).
    ///
    /// # Errors
    /// [`Error::Closed`] if the store is not open for writing, and when something of this failed.
    pub async fn give_up(&self) -> Result<mpsc::Receiver<CacheKey>, Error> {
        let (owed, receiver) = mpsc::channel(OWED);
        let (shelf, sweep) = (Arc::clone(self.shelf()), Arc::clone(self.sweep()));
        if !shelf.is_open() {
            return Err(Error::Closed);
        }
        let writing = Arc::clone(&shelf);
        let shut = spawn_blocking(move || {
            // Nobody begins a round meanwhile: it is the last one.
            let mut sweep = lock(&sweep);
            sweep.prepare_to_close(&writing);
            writing.shut();
            writing.renounce(owed);
            sweep.is_clean()
        });
        let is_clean = shut.await.map_err(std::io::Error::other)?;
        // A pen that is at work writes to a file that somebody else is about to take up.
        for ongoing in shelf.everything_ongoing() {
            ongoing.spool.rested().await;
        }
        let leaving = Arc::clone(&shelf);
        spawn_blocking(move || {
            leaving.leave_behind();
            crate::sweep::write_last(&leaving, is_clean);
            leaving.home.bundles.renounce();
            leaving.unlock();
        })
        .await
        .map_err(|error| std::io::Error::other(error).into())
        .map(|()| receiver)
    }

    /// Takes back the folder that was given up: whoever had it has ended. What it stored meanwhile is lost.
    ///
    /// # Errors
    /// [`Error::Locked`] while somebody has it, [`Error::Closed`] if it was not given up, and what the disk said.
    pub async fn take_back(&self) -> Result<(), Error> {
        let (shelf, sweep) = (Arc::clone(self.shelf()), Arc::clone(self.sweep()));
        let taken = spawn_blocking(move || {
            if !shelf.has_renounced() {
                return Err(Error::Closed);
            }
            shelf.lock_again()?;
            shelf.home.content.sweep_others()?;
            shelf.home.bundles.resume();
            if let Some(journal) = &shelf.journal {
                journal.resume()?;
            }
            shelf.reclaim();
            lock(&sweep).begin_anew(&shelf);
            shelf.home.bell.notify_one();
            Ok(())
        });
        taken.await.map_err(std::io::Error::other)?
    }
}

impl Shelf {
    /// Nothing in the folder is ours to change any more; what is arriving is passed on.
    fn renounce(&self, owed: mpsc::Sender<CacheKey>) {
        self.home.content.renounce(true);
        *lock(&self.owed) = Some(owed);
        self.renounced.store(true, Ordering::Release);
        for ongoing in self.everything_ongoing() {
            ongoing.spool.pass_on();
        }
    }

    fn reclaim(&self) {
        self.home.content.renounce(false);
        self.renounced.store(false, Ordering::Release);
        *lock(&self.owed) = None;
    }

    /// Whether the folder was given up.
    pub(crate) fn has_renounced(&self) -> bool {
        self.renounced.load(Ordering::Acquire)
    }

    /// Has whoever has the folder invalidate `key`, and forgets what is known of it; returns how many that were.
    pub(crate) fn owe(&self, key: &CacheKey) -> usize {
        if let Some(owed) = &*lock(&self.owed)
            && owed.try_send(key.clone()).is_err()
        {
            tracing::warn!(
                key = key.as_str(),
                "an invalidation did not reach the process that has the cache"
            );
        }
        self.index.change(key, std::mem::take).len()
    }

    fn everything_ongoing(&self) -> Vec<Ongoing> {
        lock(&self.ongoing).values().cloned().collect()
    }

    /// The temporary files that the next process can go on with stay, and the journal is told of them.
    fn leave_behind(&self) {
        for ongoing in lock(&self.ongoing).values_mut().filter(|ongoing| ongoing.holding.is_mendable()) {
            if let Some(blocks) = ongoing.spool.leave_behind() {
                ongoing.note(blocks);
            }
        }
    }
}
