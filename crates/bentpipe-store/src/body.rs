//! The body of a stored response as a client's response body.
//!
//! Owns the way back from memory, disk or a spool to frames; what is read whole stays in memory for the next. It sends no byte that was not verified: content is read
//! in whole blocks of 64 KiB, each checked against its record before any part of it leaves. What a mismatch means
//! depends on when it is met: [`StoredBody::verified`] meets it before the head is sent, later it breaks the body off.

use std::fs::File;
use std::future::{Future, poll_fn};
use std::io;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

use crate::blocks::Stretch;
use crate::error::Error;
use crate::follower::Follower;
use crate::hot;
use crate::record::Kept;
use crate::stored::{Holding, Place};

/// Content up to this length is read where it is asked for: the hop to a blocking thread would cost more. Bytes.
const DIRECT: u64 = 64 * 1024;

/// The body of a stored response, or a part of it.
pub struct StoredBody {
    source: From,
    /// What [`StoredBody::verified`] read ahead.
    ahead: Option<Bytes>,
}

enum From {
    Memory(Bytes),
    Content(Box<Reader>),
    Spool(Follower),
    Nothing,
}

/// Reads a content file.
struct Reader {
    holding: Arc<Holding>,
    kept: Arc<Kept>,
    position: u64,
    until: u64,
    file: Option<Arc<File>>,
    reading: Option<JoinHandle<Read>>,
}

/// The file that was read, and verified bytes of it.
type Read = Result<(Arc<File>, Bytes), Error>;

impl StoredBody {
    pub(crate) fn new(holding: &Arc<Holding>, range: Option<RangeInclusive<u64>>) -> Self {
        let position = range.as_ref().map_or(0, |range| *range.start());
        let until = range.map(|range| range.end().saturating_add(1));
        let source = match holding.place() {
            Place::Arriving(spool) => {
                let until = until.map(|until| spool.length().map_or(until, |length| until.min(length)));
                From::Spool(Follower::new(spool, position, until))
            }
            Place::Kept(kept) => {
                let until = until.unwrap_or(u64::MAX).min(kept.length());
                Self::of_kept(holding, kept, position.min(until), until)
            }
        };
        Self { source, ahead: None }
    }

    /// Reads and verifies the first part of a body that comes from the disk, before anything of it is sent. A body
    /// that comes from memory or is still arriving is returned as it is, unless it is known to break off.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the file is missing or not what was stored: the stored response is dropped, so looking
    /// again is a miss. [`Error::CutShort`] when the body arrived only in part and that is too little. Else what the
    /// disk said.
    pub async fn verified(mut self) -> Result<Self, Error> {
        if let From::Content(reader) = &mut self.source
            && self.ahead.is_none()
            && reader.position < reader.until
        {
            self.ahead = Some(poll_fn(|cx| reader.poll_chunk(cx)).await?);
        }
        if matches!(&self.source, From::Spool(follower) if follower.is_broken_off()) {
            return Err(Error::CutShort);
        }
        Ok(self)
    }

    fn of_kept(holding: &Arc<Holding>, kept: Arc<Kept>, position: u64, until: u64) -> From {
        let in_memory = match &*kept {
            Kept::Inline(bytes) => Some(bytes.clone()),
            Kept::Content(print) => holding.home().hot.get(print),
        };
        match in_memory {
            // The bounds are within the bytes, whose length is a usize.
            Some(bytes) => From::Memory(bytes.slice(position as usize..until as usize)),
            None => {
                let holding = Arc::clone(holding);
                From::Content(Box::new(Reader { holding, kept, position, until, file: None, reading: None }))
            }
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
        match &mut this.source {
            From::Memory(bytes) => {
                let bytes = std::mem::take(bytes);
                this.source = From::Nothing;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            From::Content(reader) if reader.position < reader.until => {
                let read = ready!(reader.poll_chunk(cx));
                if read.is_err() {
                    this.source = From::Nothing;
                }
                Poll::Ready(Some(read.map(Frame::data)))
            }
            From::Spool(follower) => follower.poll_frame(cx),
            From::Content(_) | From::Nothing => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_none()
            && match &self.source {
                From::Memory(bytes) => bytes.is_empty(),
                From::Content(reader) => reader.position >= reader.until,
                From::Spool(follower) => follower.is_finished(),
                From::Nothing => true,
            }
    }

    fn size_hint(&self) -> SizeHint {
        let rest = match &self.source {
            From::Memory(bytes) => Some(bytes.len() as u64),
            From::Content(reader) => Some(reader.until - reader.position),
            From::Spool(follower) => follower.remaining(),
            From::Nothing => Some(0),
        };
        let ahead = self.ahead.as_ref().map_or(0, |ahead| ahead.len() as u64);
        rest.map_or_else(SizeHint::default, |rest| SizeHint::with_exact(ahead + rest))
    }
}

impl Reader {
    /// The next verified bytes. There must be some.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Error>> {
        let read = if self.kept.length() <= DIRECT {
            self.job()()
        } else {
            if self.reading.is_none() {
                self.reading = Some(tokio::task::spawn_blocking(self.job()));
            }
            let Some(reading) = &mut self.reading else { return Poll::Pending };
            let read = ready!(Pin::new(reading).poll(cx));
            self.reading = None;
            read.unwrap_or_else(|error| Err(Error::Io(io::Error::other(error))))
        };
        Poll::Ready(read.map(|(file, bytes)| {
            self.file = Some(file);
            self.position += bytes.len() as u64;
            bytes
        }))
    }

    /// Opens the file unless it is open, and reads on from the present position.
    fn job(&self) -> impl FnOnce() -> Read + Send + use<> {
        let (holding, kept, file) = (Arc::clone(&self.holding), Arc::clone(&self.kept), self.file.clone());
        let (position, until) = (self.position, self.until);
        move || {
            let read = read(&holding, &kept, file, position, until);
            if matches!(read, Err(Error::Damaged)) {
                holding.found_damaged();
            }
            read
        }
    }
}

fn read(holding: &Holding, kept: &Kept, file: Option<Arc<File>>, position: u64, until: u64) -> Read {
    let Kept::Content(print) = kept else { return Err(Error::Damaged) };
    let file = match file {
        Some(file) => file,
        None => Arc::new(holding.home().content.open(&print.digest, print.length)?),
    };
    let stretch = Stretch::at(position, until, print.length, &print.sums).ok_or(Error::Damaged)?;
    // Whatever reading says, these bytes will not be had from here: a bad sector is damage as much as a wrong byte.
    let bytes = stretch.read(&file, position, until).map_err(|_| Error::Damaged)?;
    if bytes.len() as u64 == print.length && print.length <= hot::LARGEST {
        holding.warm(print, bytes.clone());
    }
    Ok((file, bytes))
}
