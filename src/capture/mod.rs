//! Capture: what connections say, byte for byte, for whoever debugs a network. It owns the switch that says whether
//! anything is captured, whose connections are, and the queue to whoever writes it down. It may neither change nor hold up
//! traffic: everything here copies and goes on, and what has no room is counted as lost.
//!
//! Where nothing is captured it costs a relaxed load for each reading and writing of a socket, beside the system call that
//! this is. `Wire` is one connection, `Tap` its socket, `Heard` one exchange for the HAR file, `files` what is written.

pub(crate) mod files;
mod filter;
pub(crate) mod frame;
mod har;
pub(crate) mod heard;
pub(crate) mod queue;
pub(crate) mod stream;
pub(crate) mod tap;
pub(crate) mod wire;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::exchange::{Details, Reader, Record};
pub(crate) use filter::Filter;
use frame::{Frame, Kind};
use heard::Heard;
use queue::{Frames, Queue};
pub(crate) use tap::Tap;
pub(crate) use wire::Wire;

/// Whether something is captured, and what. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Captures(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// The number of the capture that is going on; 0 if none is.
    on: AtomicU64,
    begun: AtomicU64,
    session: Mutex<Option<Arc<Session>>>,
}

/// What is asked of a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    /// Addresses and networks of clients.
    pub(crate) clients: Vec<String>,
    pub(crate) hosts: Vec<String>,
    /// Bytes of each request's and response's content for the HAR file.
    pub(crate) bodies: u64,
    /// Bytes of memory that wait to be written down; 0 is the usual.
    pub(crate) queue: u64,
}

/// One capture, from its beginning to its end.
pub(crate) struct Session {
    number: u64,
    filter: Filter,
    begun: Instant,
    queue: Queue,
    connections: AtomicU32,
    /// Exchanges that are going on, by their numbers.
    exchanges: Mutex<HashMap<u64, Arc<Heard>>>,
    /// Most bytes of one content.
    bodies: usize,
    /// Bytes of content that wait for the end of their exchanges, or pieces that wait for the host to be known.
    held: AtomicUsize,
    lost: Lost,
    /// Exchanges that were going on when it ended.
    unfinished: AtomicUsize,
}

/// What had no room.
#[derive(Debug, Default)]
struct Lost {
    bytes: AtomicU64,
    connections: AtomicU64,
    exchanges: AtomicU64,
}

/// What a capture came to, told at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Ended {
    /// Connections that began.
    pub(crate) connections: u32,
    /// Bytes that are missing in raw streams,
    pub(crate) lost_bytes: u64,
    /// connections that are missing altogether,
    pub(crate) lost_connections: u64,
    /// and exchanges that are missing in the HAR file.
    pub(crate) lost_exchanges: u64,
    /// Exchanges that were going on at the end.
    pub(crate) unfinished: usize,
}

/// Bytes of memory that wait to be written down: what is usual, and the most that can be asked for.
const QUEUE: usize = 64 * 1024 * 1024;
const MOST_QUEUE: usize = 1024 * 1024 * 1024;

/// Bytes of memory for content of exchanges that are not over, and for what may yet turn out to be meant.
const MOST_HELD: usize = 64 * 1024 * 1024;

/// Exchanges that are followed at once.
const MOST_EXCHANGES: usize = 16 * 1024;

impl Captures {
    /// Begins a capture; what it captures comes out of the other end.
    ///
    /// # Errors
    /// If one is going on already, or cannot be understood.
    pub(crate) fn begin(&self, asked: &Asked) -> Result<(Arc<Session>, Frames), String> {
        let filter = Filter::read(&asked.clients, &asked.hosts)?;
        let mut session = self.lock();
        if session.is_some() {
            return Err("a capture is going on already; there is one at a time".to_owned());
        }
        let most = match usize::try_from(asked.queue).unwrap_or(usize::MAX) {
            0 => QUEUE,
            most => most.min(MOST_QUEUE),
        };
        let (queue, frames) = Queue::new(most);
        let number = self.0.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let new = Arc::new(Session {
            number,
            filter,
            begun: Instant::now(),
            queue,
            connections: AtomicU32::new(0),
            exchanges: Mutex::default(),
            bodies: usize::try_from(asked.bodies).unwrap_or(usize::MAX).min(MOST_HELD),
            held: AtomicUsize::new(0),
            lost: Lost::default(),
            unfinished: AtomicUsize::new(0),
        });
        *session = Some(new.clone());
        self.0.on.store(number, Ordering::Release);
        Ok((new, frames))
    }

    /// Ends `session`, if it is the one that is going on: nothing more is put in, and what was comes out before its end.
    pub(crate) fn end(&self, session: &Session) {
        let mut current = self.lock();
        if current.as_ref().is_some_and(|current| current.number == session.number) {
            self.0.on.store(0, Ordering::Release);
            *current = None;
            session.end();
        }
    }

    /// The number of the capture that is going on; 0 if none is.
    fn number(&self) -> u64 {
        self.0.on.load(Ordering::Relaxed)
    }

    fn session(&self) -> Option<Arc<Session>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Session>>> {
        self.0.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader for Captures {
    fn read(&self, record: &Record, details: &Details) {
        if self.number() == 0 {
            return;
        }
        if let Some(session) = self.session() {
            session.over(record, details);
        }
    }
}

impl fmt::Debug for Captures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Captures").field("on", &self.number()).finish_non_exhaustive()
    }
}

impl Session {
    fn frame(&self, kind: Kind, number: u32, payload: Vec<u8>) -> Frame {
        Frame { kind, number, at: self.begun.elapsed(), payload }
    }

    /// A number for a connection that begins.
    fn number(&self) -> u32 {
        self.connections.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Follows `heard`, the exchange with this number.
    fn follow(&self, exchange: u64, heard: Arc<Heard>) {
        let mut exchanges = self.exchanges();
        if exchanges.len() < MOST_EXCHANGES {
            exchanges.insert(exchange, heard);
        } else {
            self.lost.exchanges.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The exchange of `record` is over.
    fn over(&self, record: &Record, details: &Details) {
        let Some(heard) = self.exchanges().remove(&record.number) else { return };
        let entry = self.frame(Kind::Entry, 0, har::entry(&heard, record, details).to_string().into_bytes());
        if self.queue.put(entry).is_err() {
            self.lost.exchanges.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Room for `bytes` more that are held back; whether there is some.
    fn hold(&self, bytes: usize) -> bool {
        let fits = self.held.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= MOST_HELD;
        if !fits {
            self.held.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }

    fn let_go(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn exchanges(&self) -> MutexGuard<'_, HashMap<u64, Arc<Heard>>> {
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        let unfinished = std::mem::take(&mut *self.exchanges());
        self.unfinished.store(unfinished.len(), Ordering::Relaxed);
        self.queue.put_last(self.frame(Kind::End, 0, Vec::new()));
    }

    /// What it has come to.
    pub(crate) fn ended(&self) -> Ended {
        Ended {
            connections: self.connections.load(Ordering::Relaxed),
            lost_bytes: self.lost.bytes.load(Ordering::Relaxed),
            lost_connections: self.lost.connections.load(Ordering::Relaxed),
            lost_exchanges: self.lost.exchanges.load(Ordering::Relaxed),
            unfinished: self.unfinished.load(Ordering::Relaxed),
        }
    }

    /// How long it has been going on.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("number", &self.number)
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}
