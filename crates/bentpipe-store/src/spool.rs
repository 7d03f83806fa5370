//! A body being written, read by any number of followers.
//!
//! Owns the bytes from their arrival until they are content: a window of recent chunks in memory and, for a body that
//! outgrows it, a temporary file written behind it by the blocking pool. Followers get the very chunks that arrived
//! while they keep up, and read the file (verified, by block) where they do not. It does not know the index.
//!
//! Memory is bounded whatever followers do: the writer waits while too much is not yet on disk. Where there is no disk
//! to rely on (it failed, or the body outgrew what may be stored) the spool passes bytes on: nothing more is written,
//! and the writer waits for the slowest follower instead, though not for ever while others are held up by it.

mod state;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::error::Error;
use crate::home::Home;
use crate::locked::lock;
use crate::pen::{Complete, Pen};
use state::{Desk, Refused};
pub(crate) use state::{End, State};

/// A body whose chunks cost no more than this never touches a temporary file; also what the window keeps behind the
/// disk for followers that nearly keep up. Bytes.
const WINDOW: usize = 256 * 1024;
/// The writer waits while this much is only in memory. Bytes.
const OUTSTANDING: u64 = 1 << 20;
/// Worth a hop to the blocking pool. Bytes.
const BATCH: u64 = 128 * 1024;

/// A body being written.
pub(crate) struct Spool {
    home: Arc<Home>,
    declared: Option<u64>,
    largest: u64,
    state: Mutex<State>,
    /// Told when the writer may be able to go on.
    moved: Notify,
    /// Told when the last follower leaves.
    gone: Notify,
}

impl Spool {
    /// A body of which nothing has arrived. `declared` is its Content-Length, `largest` the length to give up
    /// storing at, both in bytes.
    pub(crate) fn new(home: Arc<Home>, declared: Option<u64>, largest: u64) -> Self {
        let (state, moved, gone) = (Mutex::default(), Notify::new(), Notify::new());
        Self { home, declared, largest, state, moved, gone }
    }

    /// How many follow a body of this store that is arriving.
    pub(crate) fn following(&self) -> &AtomicUsize {
        &self.home.counts.followers
    }

    /// Takes the next bytes of the body, then waits while too many are outstanding. Dropping the future while it
    /// waits loses nothing: the bytes are taken.
    ///
    /// # Errors
    /// [`Error::Length`] when there are more than declared, [`Error::CutShort`] when the body has ended.
    pub(crate) async fn write(self: &Arc<Self>, bytes: Bytes) -> Result<(), Error> {
        if !bytes.is_empty() {
            self.push(bytes)?;
        }
        loop {
            let mut moved = std::pin::pin!(self.moved.notified());
            moved.as_mut().enable();
            let patience = match self.state() {
                state if state.has_room() => return Ok(()),
                state => state.patience(),
            };
            match patience {
                Some(patience) => {
                    let since = Instant::now();
                    drop(timeout(patience, moved).await);
                    self.charge(since.elapsed());
                }
                None => moved.await,
            }
        }
    }

    /// All bytes have arrived: followers end after them. Nothing happens when the body has ended already.
    ///
    /// # Errors
    /// [`Error::Length`] when there are not as many as declared; the body is cut short then.
    pub(crate) fn complete(&self, trailers: Option<HeaderMap>) -> Result<(), Error> {
        let arrived = self.arrived();
        if let Some(declared) = self.declared.filter(|declared| *declared != arrived) {
            self.end(End::Cut);
            return Err(Error::Length { declared, arrived });
        }
        self.end(End::Complete(trailers));
        Ok(())
    }

    /// No more bytes will arrive: followers fail after those that did. Nothing happens to a body that is complete.
    pub(crate) fn cut(&self) {
        self.end(End::Cut);
    }

    /// Waits until what arrived is all in memory or all in the file, and hands it over. To be called once, when the body
    /// has ended.
    ///
    /// # Errors
    /// Why it cannot be stored.
    pub(crate) async fn settle(self: &Arc<Self>) -> Result<Complete, Error> {
        loop {
            let mut moved = std::pin::pin!(self.moved.notified());
            moved.as_mut().enable();
            self.start_writing(1);
            if let Some(settled) = self.take_settled() {
                return settled;
            }
            moved.await;
        }
    }

    /// Stores nothing more of the body: it goes on to its followers.
    pub(crate) fn pass_on(&self) {
        let mut state = self.state();
        state.refused.get_or_insert(Refused::GivenUp);
        state.trim();
        drop(state);
        self.moved.notify_waiters();
    }

    /// Waits until nobody writes to the temporary file. To be called when nothing more is stored.
    pub(crate) async fn rested(&self) {
        loop {
            let mut moved = std::pin::pin!(self.moved.notified());
            moved.as_mut().enable();
            if !matches!(self.state().desk, Desk::Busy) {
                return;
            }
            moved.await;
        }
    }

    /// Leaves the temporary file to the next process, if it was meant to be stored: how many blocks are whole in it.
    pub(crate) fn leave_behind(&self) -> Option<usize> {
        let mut state = self.state();
        let was_stored = matches!(state.refused, Some(Refused::GivenUp)) && !state.disk.sums.is_empty();
        let Desk::Idle(pen) = &mut state.desk else { return None };
        pen.take_if(|_| was_stored)?.leave();
        Some(state.disk.sums.len())
    }

    /// Why the body will not be stored, if it will not.
    pub(crate) fn refusal(&self) -> Option<Error> {
        self.state().refused.map(|refused| match refused {
            Refused::TooLarge => Error::TooLarge { limit: self.largest },
            Refused::DiskFailed => Error::Unavailable,
            Refused::NoRoom => Error::NoRoom,
            Refused::GivenUp => Error::Closed,
        })
    }

    /// The complete length in bytes, once it is known.
    pub(crate) fn length(&self) -> Option<u64> {
        let state = self.state();
        match state.end {
            Some(End::Complete(_)) => Some(state.arrived),
            _ => self.declared,
        }
    }

    /// Whether all of it has arrived.
    pub(crate) fn is_complete(&self) -> bool {
        matches!(self.state().end, Some(End::Complete(_)))
    }

    /// Bytes that have arrived.
    pub(crate) fn arrived(&self) -> u64 {
        self.state().arrived
    }

    /// Whether more bytes are to come.
    pub(crate) fn is_open(&self) -> bool {
        self.state().end.is_none()
    }

    /// How many followers there are.
    pub(crate) fn followers(&self) -> usize {
        self.state().seats.count()
    }

    /// Waits until there is no follower.
    pub(crate) async fn followers_gone(&self) {
        loop {
            let mut gone = std::pin::pin!(self.gone.notified());
            gone.as_mut().enable();
            if self.followers() == 0 {
                return;
            }
            gone.await;
        }
    }

    /// The state, for those who follow or look.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// A follower has moved on or left: the writer may have been waiting for that.
    pub(crate) fn follower_moved(&self, state: &mut State) {
        if state.refused.is_some() {
            state.trim();
            self.moved.notify_waiters();
        }
        if state.seats.count() == 0 {
            self.gone.notify_waiters();
        }
    }

    fn push(self: &Arc<Self>, bytes: Bytes) -> Result<(), Error> {
        let mut state = self.state();
        if state.end.is_some() {
            return Err(Error::CutShort);
        }
        let start = state.arrived;
        let arrived = start + bytes.len() as u64;
        if let Some(declared) = self.declared.filter(|declared| arrived > *declared) {
            return Err(Error::Length { declared, arrived });
        }
        state.window.push(start, bytes);
        state.arrived = arrived;
        if arrived > self.largest {
            state.refused.get_or_insert(Refused::TooLarge);
        }
        state.trim();
        let wakers = state.seats.wakers();
        let outgrown = state.has_outgrown_memory();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        if outgrown {
            self.start_writing(BATCH);
        }
        Ok(())
    }

    fn end(&self, end: End) {
        let mut state = self.state();
        if state.end.is_some() {
            return;
        }
        state.end = Some(end);
        let wakers = state.seats.wakers();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        self.moved.notify_waiters();
    }

    /// The writer has waited for `waited` while followers held others up.
    fn charge(&self, waited: Duration) {
        let mut state = self.state();
        let arrived = state.arrived;
        let wakers = state.seats.charge(arrived, waited);
        self.follower_moved(&mut state);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Sends the pen to the blocking pool if at least `batch` bytes wait for it and it is here.
    fn start_writing(self: &Arc<Self>, batch: u64) {
        let mut state = self.state();
        if state.refused.is_some() || !state.has_outgrown_memory() || state.unwritten() < batch {
            return;
        }
        if let Desk::Idle(pen) = &mut state.desk {
            let pen = pen.take();
            state.desk = Desk::Busy;
            drop(state);
            let spool = Arc::clone(self);
            drop(tokio::task::spawn_blocking(move || spool.run_pen(pen)));
        }
    }

    /// On a blocking thread: writes until little is left.
    fn run_pen(&self, mut pen: Option<Box<Pen>>) {
        loop {
            let chunks = {
                let mut state = self.state();
                let enough = if state.end.is_some() { 1 } else { BATCH };
                if state.refused.is_some() || state.unwritten() < enough {
                    state.desk = Desk::Idle(pen);
                    break;
                }
                state.window.from(state.disk.written)
            };
            match self.home.health.note("writing a temporary file", self.write_down(pen, &chunks)) {
                Ok(inked) if self.has_disk() => pen = Some(inked),
                Ok(_) => {
                    let mut state = self.state();
                    state.refused.get_or_insert(Refused::NoRoom);
                    state.desk = Desk::Idle(None);
                    state.trim();
                    break;
                }
                Err(_) => {
                    let mut state = self.state();
                    state.refused.get_or_insert(Refused::DiskFailed);
                    state.desk = Desk::Idle(None);
                    state.trim();
                    break;
                }
            }
            self.moved.notify_waiters();
        }
        self.moved.notify_waiters();
    }

    fn write_down(&self, pen: Option<Box<Pen>>, chunks: &[Bytes]) -> io::Result<Box<Pen>> {
        let mut pen = match pen {
            Some(pen) => pen,
            None => Box::new(Pen::new(&self.home.content)?),
        };
        let written = pen.write(chunks)?;
        self.home.counts.spooled.fetch_add(written, Ordering::Relaxed);
        let mut state = self.state();
        state.counted += written;
        state.disk.written += written;
        let known = state.disk.sums.len();
        state.disk.sums.extend_from_slice(&pen.whole_blocks()[known..]);
        if state.disk.file.is_none() {
            state.disk.file = Some(Arc::clone(pen.file()));
            state.disk.name = pen.name().map(Into::into);
        }
        state.trim();
        Ok(pen)
    }

    /// Whether the disk has space to go on; where it has too little, the keeper is told to make some.
    fn has_disk(&self) -> bool {
        let goes_on = self.home.room.goes_on();
        if self.home.room.is_short() {
            self.home.bell.notify_one();
        }
        goes_on
    }

    fn uncount(&self, state: &mut State) {
        self.home.counts.spooled.fetch_sub(std::mem::take(&mut state.counted), Ordering::Relaxed);
    }

    fn take_settled(&self) -> Option<Result<Complete, Error>> {
        if let Some(refusal) = self.refusal() {
            return Some(Err(refusal));
        }
        let mut state = self.state();
        if !state.has_outgrown_memory() {
            return Some(Ok(Complete::Memory(state.window.from(0))));
        }
        if state.unwritten() > 0 {
            return None;
        }
        let Desk::Idle(pen) = &mut state.desk else { return None };
        let pen = pen.take()?;
        self.uncount(&mut state);
        Some(Ok(pen.finish()))
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.uncount(&mut self.state());
    }
}
