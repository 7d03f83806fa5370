//! The writer's end of a body, or of a part of one, that is being stored.
//!
//! Owns the promise that a body which did not arrive whole is never stored as complete: only [`Arrival::commit`] says
//! that all of it is there, and every other way out cuts it short (RFC 9111 §3.3). It does not fetch.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::HeaderMap;
use tokio::runtime::Handle;

use crate::error::Error;
use crate::holding::Place;
use crate::ongoing::Ongoing;
use crate::pen::Complete;
use crate::shelf::Shelf;

/// The writer's end of a body, or of a part of one, that is being stored. Dropping it without [`Arrival::commit`] cuts
/// the body short: followers fail after the bytes that arrived. These are kept if the rest can be fetched by itself, and
/// forgotten else.
pub struct Arrival {
    shelf: Arc<Shelf>,
    ongoing: Ongoing,
    is_listed: bool,
}

impl Arrival {
    pub(crate) fn new(shelf: Arc<Shelf>, ongoing: Ongoing) -> Self {
        shelf.home.counts.arriving.fetch_add(1, Ordering::Relaxed);
        Self { shelf, ongoing, is_listed: true }
    }

    /// Takes the next bytes of the body and shows them to the followers. Waits only for the disk; a body that will not
    /// be stored any more (see [`Arrival::refusal`]) waits for its slowest follower instead, so that memory is
    /// bounded; a follower that holds others up for 10 s without getting on is cut off ([`Error::TooSlow`]). May be
    /// dropped while it waits: the bytes are taken.
    ///
    /// # Errors
    /// [`Error::Length`] when there are more bytes than were announced. Drop the arrival then.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        let written = self.ongoing.spool.write(bytes).await;
        if self.is_listed && self.refusal().is_some() {
            self.is_listed = false;
            leave(&self.shelf, &self.ongoing);
        }
        if self.is_listed {
            self.shelf.note_progress(self.ongoing.id);
        }
        written
    }

    /// All bytes have arrived. Followers end (with `trailers`, which are passed on and not stored) before anything is
    /// waited for; then the body is kept, and takes the place of older responses for the same nominated fields if it is
    /// whole.
    ///
    /// # Errors
    /// [`Error::Length`] when another length was announced: the body is cut short, for followers too. Any other error
    /// says why it is not stored; its followers have all of it nevertheless.
    pub async fn commit(self, trailers: Option<HeaderMap>) -> Result<(), Error> {
        self.ongoing.spool.complete(trailers)?;
        match self.shelf.take_ongoing(self.ongoing.id) {
            Some(ongoing) => settle(&self.shelf, ongoing).await,
            None => Err(Error::Closed),
        }
    }

    /// How many bytes have arrived.
    pub fn arrived(&self) -> u64 {
        self.ongoing.spool.arrived()
    }

    /// Why the body will not be stored, if that is certain already: it outgrew the limit, or the disk failed. It left
    /// the index; who follows it is served to the end.
    pub fn refusal(&self) -> Option<Error> {
        self.ongoing.spool.refusal()
    }

    /// How many readers follow the body.
    pub fn followers(&self) -> usize {
        self.ongoing.spool.followers()
    }

    /// Waits until no reader follows the body; at once if none does.
    pub async fn followers_gone(&self) {
        self.ongoing.spool.followers_gone().await;
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.shelf.home.counts.arriving.fetch_sub(1, Ordering::Relaxed);
        self.ongoing.spool.cut();
        let Some(ongoing) = self.shelf.take_ongoing(self.ongoing.id) else { return };
        match Handle::try_current() {
            Ok(runtime) if is_worth_keeping(&ongoing) => {
                let shelf = Arc::clone(&self.shelf);
                shelf.ending.send_modify(|ending| *ending += 1);
                drop(runtime.spawn(async move {
                    keep_what_arrived(&shelf, ongoing).await;
                    shelf.ending.send_modify(|ending| *ending -= 1);
                }));
            }
            _ => leave(&self.shelf, &ongoing),
        }
    }
}

/// Cuts short all that is arriving, and waits until what arrived of it is kept.
pub(crate) async fn give_up_all(shelf: &Arc<Shelf>) {
    for id in shelf.all_ongoing() {
        give_up(shelf, id).await;
    }
    // The sender is ours: it is there as long as we wait.
    drop(shelf.ending.subscribe().wait_for(|ending| *ending == 0).await);
}

/// Cuts short what is arriving, unless it has been dealt with, and keeps what arrived, if the rest can be fetched by
/// itself.
async fn give_up(shelf: &Arc<Shelf>, id: u64) {
    let Some(ongoing) = shelf.take_ongoing(id) else { return };
    ongoing.spool.cut();
    if is_worth_keeping(&ongoing) {
        keep_what_arrived(shelf, ongoing).await;
    } else {
        leave(shelf, &ongoing);
    }
}

fn is_worth_keeping(ongoing: &Ongoing) -> bool {
    let Ongoing { holding, spool, .. } = ongoing;
    holding.is_mendable() && spool.arrived() > 0 && spool.refusal().is_none()
}

async fn keep_what_arrived(shelf: &Arc<Shelf>, ongoing: Ongoing) {
    if let Err(error) = settle(shelf, ongoing.clone()).await {
        tracing::debug!(%error, "what arrived of a response is not kept");
        leave(shelf, &ongoing);
    }
}

/// Keeps what arrived.
async fn settle(shelf: &Arc<Shelf>, ongoing: Ongoing) -> Result<(), Error> {
    let complete = ongoing.spool.settle().await?;
    // What somebody has asked for is likely to be asked for again.
    let is_wanted = ongoing.spool.state().seats.were_taken();
    match complete {
        Complete::Memory(chunks) if Shelf::is_short(ongoing.spool.arrived()) => {
            shelf.keep_short(&ongoing, &chunks, is_wanted)
        }
        complete => {
            let shelf = Arc::clone(shelf);
            let keep = move || shelf.keep_content(&ongoing, complete, is_wanted);
            let kept = tokio::task::spawn_blocking(keep);
            kept.await.map_err(std::io::Error::other)?
        }
    }
}

/// Nothing of what arrived is kept: a body of which nothing else is held leaves the index.
fn leave(shelf: &Shelf, ongoing: &Ongoing) {
    let is_empty = ongoing.holding.put(|place| match place {
        Place::Arriving(_) => true,
        Place::Kept(_) => false,
        Place::Parts(parts) => {
            parts.detach(&ongoing.spool);
            parts.pieces().is_empty() && !parts.is_unsettled()
        }
    });
    if is_empty {
        shelf.drop_from_index(&ongoing.holding);
    }
    shelf.forget(ongoing);
}
