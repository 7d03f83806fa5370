//! Reading what is kept of a body on disk, in verified runs, without holding more of it than one is long.
//!
//! Owns the way from a file to the next bytes. Of a long body these are one block of 64 KiB at a time: a client that
//! stalls holds no more than what was handed over. What the system has in memory is read where it is asked for; else a
//! blocking thread reads 256 KiB, which brings the blocks behind the next one into the system's memory. A damaged block
//! is noted with the holding; what to do about it is the caller's.

use std::fs::File;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::blocks::{BLOCK, Stretch, to_usize};
use crate::error::Error;
use crate::holding::Holding;
use crate::hot;
use crate::record::Kept;

/// Content up to this length is read where it is asked for: the hop to a blocking thread would cost more. Bytes.
const DIRECT: u64 = 64 * 1024;

/// Reads what is kept of a body.
pub(crate) struct Reader {
    pub(crate) holding: Arc<Holding>,
    kept: Arc<Kept>,
    pub(crate) position: u64,
    pub(crate) until: u64,
    file: Option<Arc<File>>,
    reading: Option<JoinHandle<Read>>,
    /// Whether the file system says what of a file is in memory.
    tells_cached: bool,
}

/// The file that was read, and verified bytes of it.
type Read = Result<(Option<Arc<File>>, Bytes), Error>;

impl Reader {
    /// Reads the bytes of `kept` from `position` to the one before `until`.
    pub(crate) fn new(holding: Arc<Holding>, kept: Arc<Kept>, position: u64, until: u64) -> Self {
        Self { holding, kept, position, until, file: None, reading: None, tells_cached: true }
    }

    /// The next verified bytes. There must be some.
    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Error>> {
        if self.kept.length() <= DIRECT {
            let (file, position, until) = (self.file.clone(), self.position, self.until);
            let read = read_or_report(&self.holding, &self.kept, file, position, until);
            return Poll::Ready(read.map(|read| self.take(read)));
        }
        if self.reading.is_none() {
            if let Some(bytes) = self.cached() {
                self.position += bytes.len() as u64;
                return Poll::Ready(Ok(bytes));
            }
            self.reading = Some(tokio::task::spawn_blocking(self.job()));
        }
        let Some(reading) = &mut self.reading else { return Poll::Pending };
        let read = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        let read = read.unwrap_or_else(|error| Err(Error::Io(io::Error::other(error))));
        Poll::Ready(read.map(|read| self.take(read)))
    }

    fn take(&mut self, (file, mut bytes): (Option<Arc<File>>, Bytes)) -> Bytes {
        let block = to_usize(BLOCK - self.position % BLOCK);
        if self.tells_cached && self.kept.length() > hot::LARGEST && bytes.len() > block {
            // A slice would hold all of it. What follows is in the system's memory now.
            bytes = Bytes::copy_from_slice(&bytes[..block]);
        }
        self.file = file;
        self.position += bytes.len() as u64;
        bytes
    }

    /// The rest of the block at the present position of a long body, if it takes no waiting.
    fn cached(&mut self) -> Option<Bytes> {
        let Kept::Content(print) = &*self.kept else { return None };
        // Others become hot bodies when they are read whole.
        let file = self.file.as_ref().filter(|_| self.tells_cached && print.length > hot::LARGEST)?;
        let end = self.until.min((self.position / BLOCK + 1) * BLOCK);
        let stretch = Stretch::at(self.position, end, print.length, &print.sums)?;
        let read = stretch.read_cached(file, self.position, end);
        self.tells_cached = read.is_ok();
        read.ok().flatten()
    }

    /// Reads on from the present position.
    fn job(&self) -> impl FnOnce() -> Read + Send + use<> {
        let (holding, kept, file) = (Arc::clone(&self.holding), Arc::clone(&self.kept), self.file.clone());
        let (position, until) = (self.position, self.until);
        move || read_or_report(&holding, &kept, file, position, until)
    }
}

/// Verified bytes of `kept` from `position` on, but not beyond `end`: as many as are read in one go.
///
/// # Errors
/// [`Error::Damaged`] when they are not what was stored, else what the disk said.
pub(crate) fn read_kept(
    holding: &Arc<Holding>,
    kept: &Arc<Kept>,
    position: u64,
    end: u64,
) -> Result<Bytes, Error> {
    match &**kept {
        // The bounds are within the bytes, whose length is a usize.
        Kept::Inline(bytes) => Ok(bytes.slice(position as usize..end as usize)),
        Kept::Small(_) | Kept::Content(_) => {
            read_or_report(holding, kept, None, position, end).map(|(_, bytes)| bytes)
        }
    }
}

/// Opens the file unless it is open, and reads; damage is noted.
fn read_or_report(
    holding: &Arc<Holding>,
    kept: &Arc<Kept>,
    file: Option<Arc<File>>,
    position: u64,
    until: u64,
) -> Read {
    read(holding, kept, file, position, until).map_err(|lost| match lost {
        Lost::Bytes(lost) => {
            holding.found_damaged(kept, &lost);
            Error::Damaged
        }
        Lost::Access(error) => error,
    })
}

/// Why nothing was read.
enum Lost {
    /// These bytes are not what was stored, or cannot be read: a bad sector is damage as much as a wrong byte.
    Bytes(Range<u64>),
    /// The file cannot be opened for a reason that is not its own.
    Access(Error),
}

fn read(
    holding: &Holding,
    kept: &Kept,
    file: Option<Arc<File>>,
    position: u64,
    until: u64,
) -> Result<(Option<Arc<File>>, Bytes), Lost> {
    let all = || Lost::Bytes(0..kept.length());
    let of_whole = |error| if matches!(error, Error::Damaged) { all() } else { Lost::Access(error) };
    let print = match kept {
        Kept::Inline(_) => return Err(all()),
        Kept::Small(small) => {
            let body = holding.home().bundles.read(small).map_err(of_whole)?;
            holding.warm(kept, body.clone());
            // The bounds are within the bytes, whose length is a usize.
            return Ok((None, body.slice(position as usize..until as usize)));
        }
        Kept::Content(print) => print,
    };
    let file = match file {
        Some(file) => file,
        None => Arc::new(holding.home().content.open(&print.digest).map_err(of_whole)?),
    };
    let stretch = Stretch::at(position, until, print.length, &print.sums).ok_or_else(all)?;
    let bytes = stretch
        .read(&file, position, until)
        .map_err(|_| Lost::Bytes(stretch.damage(&file, print.length, &print.sums)))?;
    if bytes.len() as u64 == print.length && print.length <= hot::LARGEST {
        holding.warm(kept, bytes.clone());
    }
    Ok((Some(file), bytes))
}
