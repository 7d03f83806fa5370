//! One bundle, its name, and a short body in it: what is counted of it, and what of it waits for the disk.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::NUMBERS;
use crate::locked::lock;

/// One file.
pub(crate) struct Bundle {
    pub(super) number: u32,
    /// Bytes that are referred to.
    pub(super) live: AtomicU64,
    /// Whether what was stored in it is elsewhere: it goes with its last reader.
    pub(super) is_drained: AtomicBool,
    pub(super) tail: Mutex<Tail>,
}

/// The end of a bundle: `pending` follows `flushing`, which follows what is `written`.
#[derive(Default)]
pub(super) struct Tail {
    pub(super) file: Option<Arc<File>>,
    pub(super) written: u64,
    pub(super) flushing: Bytes,
    pub(super) pending: Vec<u8>,
}

/// A short body in a bundle.
pub(crate) struct Small {
    pub(super) bundle: Arc<Bundle>,
    pub(super) at: u32,
    pub(super) length: u32,
    pub(super) sum: u64,
}

/// Where a [`Small`] is, as it is written down.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Spot {
    /// The number of the bundle.
    pub(crate) bundle: u32,
    /// The position of the first byte in it.
    pub(crate) at: u32,
    /// How many bytes there are.
    pub(crate) length: u32,
}

/// The file of the bundle `number` in `folder`.
pub(super) fn path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("bundle-{number}"))
}

/// The number of the bundle of this name, if it is one.
pub(super) fn number_of(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("bundle-")?;
    let number = digits.parse::<u32>().ok().filter(|number| *number < NUMBERS)?;
    (number.to_string() == digits).then_some(number)
}

impl Bundle {
    pub(super) fn new(number: u32) -> Self {
        let (live, is_drained) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { number, live, is_drained, tail: Mutex::default() }
    }

    pub(super) fn size(&self) -> u64 {
        lock(&self.tail).size()
    }

    pub(super) fn dead(&self) -> u64 {
        self.size().saturating_sub(self.live.load(Ordering::Relaxed))
    }

    pub(super) fn is_unused(&self) -> bool {
        self.live.load(Ordering::Acquire) == 0 && lock(&self.tail).is_written()
    }
}

impl Tail {
    pub(super) fn size(&self) -> u64 {
        self.written + (self.flushing.len() + self.pending.len()) as u64
    }

    pub(super) fn is_written(&self) -> bool {
        self.flushing.is_empty() && self.pending.is_empty()
    }

    /// A copy of bytes that are in no file yet: a slice would keep all of them in memory.
    pub(super) fn unwritten(&self, at: u64, length: usize) -> Option<Bytes> {
        let from = usize::try_from(at.checked_sub(self.written)?).ok()?;
        let (part, from) = match from.checked_sub(self.flushing.len()) {
            Some(from) => (&self.pending[..], from),
            None => (&self.flushing[..], from),
        };
        part.get(from..from.checked_add(length)?).map(Bytes::copy_from_slice)
    }
}

impl Small {
    pub(super) fn new(bundle: Arc<Bundle>, (at, length): (u32, u32), sum: u64) -> Self {
        bundle.live.fetch_add(u64::from(length), Ordering::Relaxed);
        Self { bundle, at, length, sum }
    }

    /// Where it is.
    pub(crate) fn spot(&self) -> Spot {
        Spot { bundle: self.bundle.number, at: self.at, length: self.length }
    }

    /// The xxh3 of its bytes.
    pub(crate) fn sum(&self) -> u64 {
        self.sum
    }
}

impl PartialEq for Small {
    fn eq(&self, other: &Self) -> bool {
        (self.spot(), self.sum) == (other.spot(), other.sum)
    }
}

impl Eq for Small {}

impl fmt::Debug for Small {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spot().fmt(f)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        self.bundle.live.fetch_sub(u64::from(self.length), Ordering::Release);
    }
}
