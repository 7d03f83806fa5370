//! One reader of a body that is being written.
//!
//! Owns the reader's place in the body. Bytes come from the spool's window while the reader keeps up, else from the
//! temporary file, in whole verified blocks. It never makes the writer wait, except as the spool says.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use tokio::task::JoinHandle;

use crate::blocks::Stretch;
use crate::error::Error;
use crate::seats::ENDED;
use crate::spool::{End, Spool, State};

/// A reader of one spool.
pub(crate) struct Follower {
    spool: Arc<Spool>,
    seat: usize,
    position: u64,
    /// The byte to stop before, when only a part was asked for.
    until: Option<u64>,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    finished: bool,
}

impl Follower {
    /// Follows `spool` from byte `position` on; up to the byte before `until`, or to the end and its trailers.
    pub(crate) fn new(spool: Arc<Spool>, position: u64, until: Option<u64>) -> Self {
        let seat = spool.state().seats.sit_down(position);
        spool.following().fetch_add(1, Ordering::Relaxed);
        Self { spool, seat, position, until, reading: None, finished: false }
    }

    /// The position in the spool of the next byte.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Bytes still to be delivered, when that is known. It is not told where trailers come behind them, for which there is no
    /// place behind content of a length that is known.
    pub(crate) fn remaining(&self) -> Option<u64> {
        let has_trailers = || matches!(self.spool.state().end, Some(End::Complete(Some(_))));
        if self.until.is_none() && !self.finished && has_trailers() {
            return None;
        }
        let end = match (self.until, self.spool.length()) {
            (Some(until), Some(length)) => Some(until.min(length)),
            (until, length) => until.or(length),
        };
        end.map(|end| end.saturating_sub(self.position))
    }

    /// Whether everything has been delivered, trailers included.
    pub(crate) fn is_finished(&self) -> bool {
        if self.finished || self.until.is_some_and(|until| self.position >= until) {
            return true;
        }
        let state = self.spool.state();
        matches!(state.end, Some(End::Complete(None))) && self.position >= state.arrived
    }

    /// Whether the body is known to break off before all of it is delivered.
    pub(crate) fn is_broken_off(&self) -> bool {
        let state = self.spool.state();
        let is_cut =
            matches!(state.end, Some(End::Cut)) && self.until.is_none_or(|until| until > state.arrived);
        is_cut || state.has_lost(self.position)
    }

    /// The next chunk; after the last one the trailers, if any.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.finished {
            return Poll::Ready(None);
        }
        if self.reading.is_some() {
            return self.poll_reading(cx);
        }
        let spool = Arc::clone(&self.spool);
        let mut state = spool.state();
        let until = self.until.unwrap_or(u64::MAX);
        if state.seats.is_cut_off(self.seat) {
            return self.finish(&mut state, Some(Err(Error::TooSlow)));
        }
        if self.position >= until {
            return self.finish(&mut state, None);
        }
        if let Some(bytes) = state.window.at(self.position, until) {
            self.advance(&mut state, bytes.len());
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if self.position < state.arrived {
            self.reading = self.start_reading(&state, until);
            if self.reading.is_none() {
                return self.finish(&mut state, Some(Err(Error::CutShort)));
            }
            drop(state);
            return self.poll_reading(cx);
        }
        match &state.end {
            None => {
                state.seats.wake_later(self.seat, cx.waker());
                Poll::Pending
            }
            Some(End::Cut) => self.finish(&mut state, Some(Err(Error::CutShort))),
            // A part was promised that turned out not to exist.
            Some(End::Complete(_)) if self.until.is_some() => {
                self.finish(&mut state, Some(Err(Error::CutShort)))
            }
            Some(End::Complete(trailers)) => {
                let trailers = trailers.clone().map(|trailers| Ok(Frame::trailers(trailers)));
                self.finish(&mut state, trailers)
            }
        }
    }

    fn poll_reading(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(reading) = &mut self.reading else { return Poll::Ready(None) };
        let Poll::Ready(read) = Pin::new(reading).poll(cx) else { return Poll::Pending };
        self.reading = None;
        let spool = Arc::clone(&self.spool);
        let mut state = spool.state();
        if state.seats.is_cut_off(self.seat) {
            return self.finish(&mut state, Some(Err(Error::TooSlow)));
        }
        match read.map_err(io::Error::other).flatten() {
            Ok(bytes) => {
                self.advance(&mut state, bytes.len());
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            // The file is ours and was just written: this is a failing disk, and never a reason to send what it says.
            Err(_) => self.finish(&mut state, Some(Err(Error::Damaged))),
        }
    }

    /// Reads the file on a blocking thread; `None` when the byte at our position is neither there nor in memory.
    fn start_reading(&self, state: &State, until: u64) -> Option<JoinHandle<io::Result<Bytes>>> {
        let disk = &state.disk;
        let (position, end) = (self.position, until.min(disk.written));
        let stretch = Stretch::at(position, end, disk.written, &disk.sums)?;
        let file = Arc::clone(disk.file.as_ref()?);
        Some(tokio::task::spawn_blocking(move || stretch.read(&file, position, end)))
    }

    fn advance(&mut self, state: &mut State, bytes: usize) {
        self.position += bytes as u64;
        let has_its_part = self.until.is_some_and(|until| self.position >= until);
        state.seats.move_on(self.seat, if has_its_part { ENDED } else { self.position });
        self.spool.follower_moved(state);
    }

    /// Ends with `last`; the spool need not keep anything for us.
    fn finish(
        &mut self,
        state: &mut State,
        last: Option<Result<Frame<Bytes>, Error>>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.finished = true;
        state.seats.move_on(self.seat, ENDED);
        self.spool.follower_moved(state);
        Poll::Ready(last)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut state = self.spool.state();
        state.seats.leave(self.seat);
        self.spool.follower_moved(&mut state);
        drop(state);
        self.spool.following().fetch_sub(1, Ordering::Relaxed);
    }
}
