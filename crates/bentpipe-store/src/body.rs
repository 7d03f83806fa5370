//! The body of a stored response as a client's response body.
//!
//! Owns the way back from memory, disk or a spool to frames; what is read whole stays in memory for the next. It sends
//! no byte that was not verified: content is read in whole blocks of 64 KiB, each checked against its record before any
//! part of it leaves. A damaged block is missing from then on: whoever can fetch it does, and reads on.

use std::future::poll_fn;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::error::Error;
use crate::follower::Follower;
use crate::holding::{Holding, Place};
use crate::parts::{Coming, Parts, Spot};
use crate::reader::Reader;
use crate::record::Kept;

/// The body of a stored response, or a part of it.
pub struct StoredBody {
    source: From,
    /// What [`StoredBody::poll_verified`] read ahead.
    ahead: Option<Bytes>,
}

enum From {
    Memory(Bytes),
    Content(Box<Reader>),
    Spool(Follower),
    Parts(Box<Patchwork>),
    Nothing,
}

/// Reads a body that is held in part, piece by piece, and what is arriving of it.
struct Patchwork {
    holding: Arc<Holding>,
    position: u64,
    /// The position to stop before, where it is known.
    until: Option<u64>,
    /// What is read now, and where it began.
    current: From,
    run: u64,
    /// Places at spools that will be reached: a body that is followed is fetched to its end. With the first byte of each.
    seats: Vec<(u64, Follower)>,
}

impl StoredBody {
    pub(crate) fn new(holding: &Arc<Holding>, range: Option<RangeInclusive<u64>>) -> Self {
        let position = range.as_ref().map_or(0, |range| *range.start());
        let until = range.map(|range| range.end().saturating_add(1));
        let source = holding.with(|place| match place {
            Place::Arriving(spool) => {
                let until = until.map(|until| spool.length().map_or(until, |length| until.min(length)));
                From::Spool(Follower::new(Arc::clone(spool), position, until))
            }
            Place::Kept(kept) => {
                let until = until.unwrap_or(u64::MAX).min(kept.length());
                From::of_kept(holding, kept, position.min(until), until)
            }
            Place::Parts(parts) => {
                let until = until.into_iter().chain(parts.complete_length).min();
                From::patchwork(holding, parts, position, until)
            }
        });
        Self { source, ahead: None }
    }

    /// Whether all of it is in memory, so that no disk has a say in it.
    pub fn is_in_memory(&self) -> bool {
        matches!(self.source, From::Memory(_) | From::Nothing)
    }

    /// Reads and verifies the first part of a body that comes from the disk, before anything of it is sent, and is ready
    /// then. A body that comes from memory or is still arriving is ready at once, unless it is known to break off.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the file is missing or not what was stored, and [`Error::Missing`] when the first byte is
    /// not held: looking again shows what is left. [`Error::CutShort`] when the body arrived only in part and that is
    /// too little. Else what the disk said.
    pub fn poll_verified(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.ahead.is_none() {
            self.ahead = match &mut self.source {
                From::Content(reader) if reader.position < reader.until => {
                    Some(ready!(reader.poll_chunk(cx))?)
                }
                From::Parts(patchwork) => ready!(patchwork.poll_ahead(cx))?,
                _ => None,
            };
        }
        if matches!(&self.source, From::Spool(follower) if follower.is_broken_off()) {
            return Poll::Ready(Err(Error::CutShort));
        }
        Poll::Ready(Ok(()))
    }

    /// The same, awaited.
    ///
    /// # Errors
    /// As there.
    pub async fn verified(mut self) -> Result<Self, Error> {
        poll_fn(|cx| self.poll_verified(cx)).await?;
        Ok(self)
    }
}

impl From {
    fn of_kept(holding: &Arc<Holding>, kept: &Arc<Kept>, position: u64, until: u64) -> Self {
        let in_memory = match &**kept {
            Kept::Inline(bytes) => Some(bytes.clone()),
            Kept::Small(small) => holding.home().hot.get_small(small),
            Kept::Content(print) => holding.home().hot.get(print),
        };
        match in_memory {
            Some(bytes) if until - position == bytes.len() as u64 => Self::Memory(bytes),
            // The bounds are within the bytes, whose length is a usize.
            Some(bytes) => Self::Memory(bytes.slice(position as usize..until as usize)),
            None => {
                let (holding, kept) = (Arc::clone(holding), Arc::clone(kept));
                Self::Content(Box::new(Reader::new(holding, kept, position, until)))
            }
        }
    }

    fn patchwork(holding: &Arc<Holding>, parts: &Parts, position: u64, until: Option<u64>) -> Self {
        let range = position..until.unwrap_or(u64::MAX);
        let coming = parts.coming(&range);
        let seats = coming.map(|coming| (coming.first, follower(coming, position.max(coming.first), until)));
        let (seats, holding) = (seats.collect(), Arc::clone(holding));
        let current = Self::Nothing;
        Self::Parts(Box::new(Patchwork { holding, position, until, current, run: position, seats }))
    }

    /// The next frame of what is one run of bytes.
    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self {
            Self::Memory(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Nothing;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Content(reader) if reader.position < reader.until => {
                Poll::Ready(Some(ready!(reader.poll_chunk(cx)).map(Frame::data)))
            }
            Self::Spool(follower) => follower.poll_frame(cx),
            Self::Parts(patchwork) => patchwork.poll_frame(cx),
            Self::Content(_) | Self::Nothing => Poll::Ready(None),
        }
    }
}

impl Body for StoredBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        if let Some(ahead) = this.ahead.take() {
            return Poll::Ready(Some(Ok(Frame::data(ahead))));
        }
        let frame = ready!(this.source.poll_run(cx));
        match (&frame, &this.source) {
            // What could be mended is a patchwork from here on.
            (Some(Err(Error::Damaged)), From::Content(reader)) if reader.holding.is_mendable() => {
                let (holding, until) = (Arc::clone(&reader.holding), Some(reader.until));
                this.source = From::patchwork(&holding, &Parts::new(None), reader.position, until);
                this.source.poll_run(cx)
            }
            // A missing part may come: who fetches it reads on.
            (Some(Err(Error::Missing { .. })), _) => Poll::Ready(frame),
            (Some(Err(_)), _) => {
                this.source = From::Nothing;
                Poll::Ready(frame)
            }
            _ => Poll::Ready(frame),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_none()
            && match &self.source {
                From::Memory(bytes) => bytes.is_empty(),
                From::Content(reader) => reader.position >= reader.until,
                From::Spool(follower) => follower.is_finished(),
                From::Parts(patchwork) => patchwork.is_finished(),
                From::Nothing => true,
            }
    }

    fn size_hint(&self) -> SizeHint {
        let rest = match &self.source {
            From::Memory(bytes) => Some(bytes.len() as u64),
            From::Content(reader) => Some(reader.until - reader.position),
            From::Spool(follower) => follower.remaining(),
            From::Parts(patchwork) => patchwork.remaining(),
            From::Nothing => Some(0),
        };
        let ahead = self.ahead.as_ref().map_or(0, |ahead| ahead.len() as u64);
        rest.map_or_else(SizeHint::default, |rest| SizeHint::with_exact(ahead + rest))
    }
}

impl Patchwork {
    fn is_finished(&self) -> bool {
        self.until.is_some_and(|until| self.position >= until)
    }

    fn remaining(&self) -> Option<u64> {
        Some(self.until?.saturating_sub(self.position))
    }

    /// The next bytes, if they are on the disk, to be read at once.
    ///
    /// # Errors
    /// [`Error::Missing`] when the next byte is nowhere.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        if !self.is_finished() && matches!(self.current, From::Nothing) {
            self.current = self.next_run()?;
        }
        if !matches!(self.current, From::Content(_)) {
            return Poll::Ready(Ok(None));
        }
        let first = ready!(self.poll_frame(cx)).transpose()?;
        Poll::Ready(Ok(first.and_then(|frame| frame.into_data().ok())))
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            match ready!(self.current.poll_run(cx)) {
                Some(Ok(frame)) => {
                    // Trailers belong to a whole body that came in one go.
                    let Ok(data) = frame.into_data() else { continue };
                    self.position += data.len() as u64;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                // It promised what it does not have.
                Some(Err(Error::CutShort)) if self.run == self.position => {
                    return Poll::Ready(Some(Err(Error::CutShort)));
                }
                // What is left is another run, or missing.
                Some(Err(Error::Damaged | Error::CutShort)) | None => self.current = From::Nothing,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            }
            if self.is_finished() {
                return Poll::Ready(None);
            }
            match self.next_run() {
                Ok(From::Nothing) => return Poll::Ready(None),
                Ok(run) => {
                    (self.current, self.run) = (run, self.position);
                    self.seats.retain(|(first, _)| *first > self.run);
                }
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    /// The run of bytes at the present position; nothing at the end of the body.
    fn next_run(&mut self) -> Result<From, Error> {
        let run = self.run_here();
        // What is not going to be stored has left the parts, but not those who have a seat at it.
        let is_here = |(first, seat): &(u64, Follower)| first + seat.position() == self.position;
        let seat = self.seats.iter().position(is_here).filter(|_| matches!(run, Err(Error::Missing { .. })));
        seat.map_or(run, |seat| Ok(From::Spool(self.seats.swap_remove(seat).1)))
    }

    fn run_here(&self) -> Result<From, Error> {
        let (holding, position) = (&self.holding, self.position);
        let until = self.until.unwrap_or(u64::MAX);
        holding.with(|place| match place {
            Place::Kept(kept) => {
                let until = until.min(kept.length());
                Ok(From::of_kept(holding, kept, position.min(until), until))
            }
            Place::Arriving(spool) => Ok(From::Spool(Follower::new(Arc::clone(spool), position, self.until))),
            Place::Parts(parts) => match parts.at(position) {
                Spot::Piece(piece) => {
                    let from = piece.at + (position - piece.first);
                    let to = piece.at + (piece.end().min(until) - piece.first);
                    Ok(From::of_kept(holding, &piece.kept, from, to))
                }
                Spot::Coming(coming) => Ok(From::Spool(follower(&coming, position, self.until))),
                Spot::Hole(next) => {
                    let end = next.into_iter().chain(self.until).min();
                    Err(Error::Missing { first: position, end })
                }
                Spot::End => Ok(From::Nothing),
            },
        })
    }
}

/// Follows what is arriving, from byte `position` of the body on.
fn follower(coming: &Coming, position: u64, until: Option<u64>) -> Follower {
    let end = coming.end.into_iter().chain(until).min();
    let until = end.map(|end| end.saturating_sub(coming.first));
    Follower::new(Arc::clone(&coming.spool), position - coming.first, until)
}
