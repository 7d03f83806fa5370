//! The writer's end of a body that is being stored.
//!
//! Owns the promise that a body which did not arrive whole is never stored as complete: only [`Arrival::commit`] keeps
//! it, and every other way out cuts it short (RFC 9111 §3.3). It does not fetch.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::HeaderMap;

use crate::error::Error;
use crate::pen::Complete;
use crate::shelf::Shelf;
use crate::spool::Spool;
use crate::stored::Holding;

/// The writer's end of a body that is being stored. Dropping it without [`Arrival::commit`] cuts the body short:
/// followers fail after the bytes that arrived, and nothing of it stays.
pub struct Arrival {
    shelf: Arc<Shelf>,
    holding: Arc<Holding>,
    spool: Arc<Spool>,
    is_listed: bool,
}

impl Arrival {
    pub(crate) fn new(shelf: Arc<Shelf>, holding: Arc<Holding>, spool: Arc<Spool>) -> Self {
        shelf.home.counts.arriving.fetch_add(1, Ordering::Relaxed);
        Self { shelf, holding, spool, is_listed: true }
    }

    /// Takes the next bytes of the body and shows them to the followers. Waits only for the disk; a body that will not
    /// be stored any more (see [`Arrival::refusal`]) waits for its slowest follower instead, so that memory is
    /// bounded; a follower that holds others up for 10 s without getting on is cut off ([`Error::TooSlow`]). May be
    /// dropped while it waits: the bytes are taken.
    ///
    /// # Errors
    /// [`Error::Length`] when there are more bytes than Content-Length declared. Drop the arrival then.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        let written = self.spool.write(bytes).await;
        if self.is_listed && self.spool.refusal().is_some() {
            self.leave_index();
        }
        written
    }

    /// All bytes have arrived. Followers end (with `trailers`, which are passed on and not stored) before anything is
    /// waited for; then the body is kept and takes the place of older responses for the same nominated fields.
    ///
    /// # Errors
    /// [`Error::Length`] when Content-Length declared another length: the body is cut short, for followers too. Any
    /// other error says why it is not stored; its followers have all of it nevertheless.
    pub async fn commit(self, trailers: Option<HeaderMap>) -> Result<(), Error> {
        self.spool.complete(trailers)?;
        let complete = self.spool.settle().await?;
        match complete {
            Complete::Memory(chunks) if Shelf::is_inline(self.spool.arrived()) => {
                self.shelf.keep_inline(&self.holding, &chunks)
            }
            complete => {
                let (shelf, holding) = (Arc::clone(&self.shelf), Arc::clone(&self.holding));
                // What somebody has asked for is likely to be asked for again.
                let is_wanted = self.spool.state().seats.were_taken();
                let keep = move || shelf.keep_content(&holding, complete, is_wanted);
                let kept = tokio::task::spawn_blocking(keep);
                kept.await.map_err(std::io::Error::other)?
            }
        }
    }

    /// Why the body will not be stored, if that is certain already: it outgrew the limit, or the disk failed. It left
    /// the index; who follows it is served to the end.
    pub fn refusal(&self) -> Option<Error> {
        self.spool.refusal()
    }

    /// How many readers follow the body.
    pub fn followers(&self) -> usize {
        self.spool.followers()
    }

    /// Waits until no reader follows the body; at once if none does.
    pub async fn followers_gone(&self) {
        self.spool.followers_gone().await;
    }

    fn leave_index(&mut self) {
        self.is_listed = false;
        self.shelf.drop_from_index(&self.holding);
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.shelf.home.counts.arriving.fetch_sub(1, Ordering::Relaxed);
        self.spool.cut();
        if self.is_listed && self.holding.kept().is_none() {
            self.leave_index();
        }
    }
}
