//! What is known of a body being written: what of it is in memory and on disk, who follows, how it ended.
//!
//! Owns the questions that depend on all of these. Nothing here waits, writes or wakes anybody.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use super::{OUTSTANDING, WINDOW};
use crate::blocks::BLOCK;
use crate::pen::Pen;
use crate::seats::Seats;
use crate::window::Window;

/// What is known of a body being written.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) window: Window,
    pub(crate) arrived: u64,
    pub(crate) end: Option<End>,
    pub(crate) disk: Disk,
    pub(crate) seats: Seats,
    /// Why the body will not be stored, once it will not.
    pub(super) refused: Option<Refused>,
    pub(super) desk: Desk,
    /// Bytes of the temporary file which the store's accounts do not show as content yet.
    pub(super) counted: u64,
}

/// How the body ended.
pub(crate) enum End {
    /// All of it arrived, with these trailers.
    Complete(Option<HeaderMap>),
    /// What arrived is a prefix.
    Cut,
}

/// What of the body is in the temporary file.
#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) file: Option<Arc<File>>,
    /// Its name in the folder of temporary files.
    pub(crate) name: Option<Box<str>>,
    pub(crate) written: u64,
    /// The checksums of the blocks that are whole in the file.
    pub(crate) sums: Vec<u64>,
}

#[derive(Clone, Copy)]
pub(super) enum Refused {
    TooLarge,
    DiskFailed,
    NoRoom,
    /// Another process has the folder.
    GivenUp,
}

/// Where the pen is that writes the temporary file.
pub(super) enum Desk {
    /// Nobody is writing; there is no pen until something has to be written.
    Idle(Option<Box<Pen>>),
    /// A blocking thread has it.
    Busy,
}

impl Default for Desk {
    fn default() -> Self {
        Self::Idle(None)
    }
}

impl State {
    pub(super) fn has_room(&self) -> bool {
        match self.refused {
            // Nothing bounds the window but the followers, and they only as far as they have fallen behind.
            Some(_) => self.window.cost() as u64 <= OUTSTANDING,
            None => !self.has_outgrown_memory() || self.unwritten() <= OUTSTANDING,
        }
    }

    /// Whether the byte at `position` has arrived and is gone: it was for those who followed then.
    pub(crate) fn has_lost(&self, position: u64) -> bool {
        let is_here = || self.window.at(position, u64::MAX).is_some() || position < self.disk.written;
        self.refused.is_some() && position < self.arrived && !is_here()
    }

    /// How long the writer may wait for followers; `None` when it waits for the disk, or as long as it takes.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.refused.and_then(|_| self.seats.patience(self.arrived))
    }

    pub(super) fn has_outgrown_memory(&self) -> bool {
        self.disk.written > 0 || self.window.cost() > WINDOW
    }

    pub(super) fn unwritten(&self) -> u64 {
        self.arrived - self.disk.written
    }

    /// Lets go what can be read back from whole, verified blocks of the file, or what nobody needs any more.
    pub(super) fn trim(&mut self) {
        let readable = self.disk.written - self.disk.written % BLOCK;
        let needed = match self.refused {
            Some(_) => self.seats.slowest(),
            None => 0,
        };
        self.window.trim(|end, cost| end <= needed || (end <= readable && cost > WINDOW));
    }
}
