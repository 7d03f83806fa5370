//! Pipes through which the kernel takes bytes from socket to socket (splice(2)), so that they never come up into this
//! process. They are few, for all tunnels together: one is held only while bytes are in it, or on their way into it; and
//! when nothing is carried so any more, none is left. Where there is none to be had, or the system knows no such thing,
//! bytes are copied, which is `carry`'s affair.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fd::OwnedFd;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::descriptors;

/// Pipes there are at once, and of them those that are kept while nobody uses them.
const MOST: usize = 32;
const MOST_IDLE: usize = 8;

/// Bytes that one should take; and must, to be worth it. The system gives less to a user who has many.
const SIZE: usize = 256 * 1024;
const LEAST: usize = 64 * 1024;

/// A share in the pipes of this process, which it has as long as anybody has a share.
pub(super) struct Share(());

/// A pipe that nobody else uses.
pub(super) struct Pipe {
    ends: Arc<Ends>,
    /// Bytes in it.
    held: usize,
}

struct Ends {
    out: OwnedFd,
    into: OwnedFd,
    size: usize,
}

struct Pipes {
    idle: Vec<Arc<Ends>>,
    /// Idle or not.
    count: usize,
    shares: usize,
}

/// Those of the process, whose descriptors they take.
static PIPES: Mutex<Pipes> = Mutex::new(Pipes { idle: Vec::new(), count: 0, shares: 0 });

impl Share {
    pub(super) fn new() -> Self {
        pipes().shares += 1;
        Self(())
    }

    /// An empty pipe, if there is any to be had.
    pub(super) fn pipe(&self) -> Option<Pipe> {
        let mut pipes = pipes();
        if let Some(ends) = pipes.idle.pop() {
            return Some(Pipe { ends, held: 0 });
        }
        if pipes.count >= descriptors::pipes(MOST) {
            return None;
        }
        let ends = system::pipe().ok().filter(|ends| ends.size >= LEAST)?;
        pipes.count += 1;
        Some(Pipe { ends: Arc::new(ends), held: 0 })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut pipes = pipes();
        pipes.shares -= 1;
        if pipes.shares == 0 {
            pipes.count -= pipes.idle.len();
            pipes.idle = Vec::new();
        }
    }
}

impl Pipe {
    pub(super) fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Takes in what `socket` has, as far as there is room; how many bytes that were, none at its end. The pipe is empty,
    /// so that there is something to wait for at the socket alone.
    pub(super) fn fill(&mut self, socket: &TcpStream) -> io::Result<usize> {
        debug_assert!(self.is_empty(), "a full pipe would look like a silent socket");
        let ends = &self.ends;
        self.held = socket.try_io(Interest::READABLE, || system::splice(socket, &ends.into, ends.size))?;
        Ok(self.held)
    }

    /// Gives what it holds to `socket`, as far as that takes it; how many bytes that were.
    pub(super) fn pour(&mut self, socket: &TcpStream) -> io::Result<usize> {
        let (ends, held) = (&self.ends, self.held);
        let poured = socket.try_io(Interest::WRITABLE, || system::splice(&ends.out, socket, held))?;
        self.held -= poured.min(held);
        Ok(poured)
    }

    /// Gives up to as much of what it holds as there is room in `buffer`; how many bytes that were.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = rustix::io::read(&self.ends.out, buffer)?;
        self.held -= read.min(self.held);
        Ok(read)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let mut pipes = pipes();
        if self.is_empty() && pipes.idle.len() < MOST_IDLE && pipes.shares > 0 {
            pipes.idle.push(self.ends.clone());
        } else {
            pipes.count -= 1;
        }
    }
}

fn pipes() -> MutexGuard<'static, Pipes> {
    PIPES.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;

    use rustix::fd::AsFd;
    use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};

    use super::{Ends, SIZE};

    pub(super) fn pipe() -> io::Result<Ends> {
        let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Who may not have a larger one has what there is.
        let _ = fcntl_setpipe_size(&into, SIZE);
        let size = fcntl_getpipe_size(&into)?;
        Ok(Ends { out, into, size })
    }

    pub(super) fn splice(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        Ok(rustix::pipe::splice(from, None, to, None, most, flags)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;

    use rustix::fd::AsFd;

    use super::Ends;

    pub(super) fn pipe() -> io::Result<Ends> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn splice(_: impl AsFd, _: impl AsFd, _: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn pipes_are_few_and_used_again_and_none_is_left() {
        let share = Share::new();
        let mut taken: Vec<_> = std::iter::from_fn(|| share.pipe()).take(2 * MOST).collect();
        assert_eq!(taken.len(), descriptors::pipes(MOST));
        assert!(taken.iter().all(|pipe| pipe.ends.size >= LEAST));
        // One with something in it, which nobody would read, and one without.
        let (mut full, empty) = (taken.pop().expect("a pipe"), taken.pop().expect("a pipe"));
        assert_eq!(rustix::io::write(&full.ends.into, b"lost").expect("room"), 4);
        full.held = 4;
        let again = Arc::downgrade(&empty.ends);
        drop((full, empty));
        let next = share.pipe().expect("the empty one");
        assert!(again.upgrade().is_some_and(|again| Arc::ptr_eq(&again, &next.ends)));
        let mut fresh = share.pipe().expect("in place of the full one");
        assert!(fresh.read(&mut [0; 8]).is_err(), "it holds nothing");
        assert!(share.pipe().is_none());
        let other = Share::new();
        drop((taken, next, share));
        let counts = || {
            let pipes = pipes();
            (pipes.idle.len(), pipes.count)
        };
        assert_eq!(counts(), (MOST_IDLE, MOST_IDLE + 1));
        drop(other);
        assert_eq!(counts(), (0, 1));
        drop(fresh);
        assert_eq!(counts(), (0, 0));
    }
}
