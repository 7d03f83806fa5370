//! Connections to origins that are kept for the next request. A handshake costs a round trip of a long link, so a
//! request that finds none idle dials one and takes whichever comes first: its own, or one that another request is
//! done with. It does not know what is sent.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use linkio::{ClientKey, Meter};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::connect::{Connector, Origin};
use super::destination::Purpose;
use crate::body::RequestBody;
use crate::respond::Refusal;

/// One connection to an origin, in the hands of one request.
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<RequestBody>,
    pub(crate) meter: Meter,
    pub(crate) peer: SocketAddr,
    /// Whether it has carried a request before.
    pub(crate) reused: bool,
}

/// Idle connections by origin, and the requests that wait for one.
pub(crate) struct Pool {
    connector: Arc<Connector>,
    keep_alive: Duration,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    by_origin: HashMap<Origin, Slot>,
    next_waiter: u64,
    swept: Option<Instant>,
}

#[derive(Default)]
struct Slot {
    /// The one used last is on top.
    idle: Vec<(Connection, Instant)>,
    waiting: VecDeque<Waiter>,
}

struct Waiter {
    id: u64,
    wants: oneshot::Sender<Result<Connection, Refusal>>,
}

/// Idle connections kept per origin; more are closed as they come back.
const MAX_IDLE: usize = 32;

impl Pool {
    /// A pool that dials with `connector` and keeps an idle connection for `keep_alive`.
    pub(crate) fn new(connector: Arc<Connector>, keep_alive: Duration) -> Self {
        Self { connector, keep_alive, slots: Mutex::default() }
    }

    /// An idle connection to `origin`, or else the first that becomes available.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        origin: &Origin,
        client: ClientKey,
    ) -> Result<Connection, Refusal> {
        while let Some(mut connection) = self.take_idle(origin) {
            // The request before has had its whole response; what remains is the task's own next step.
            if connection.sender.ready().await.is_ok() {
                connection.meter.assign(client);
                return Ok(connection);
            }
        }
        let (wants, got) = oneshot::channel();
        let id = self.enqueue(origin, wants);
        let (pool, dialled) = (self.clone(), origin.clone());
        tokio::spawn(async move { pool.dial(dialled, client, id).await });
        let connection = got.await.unwrap_or_else(|_| Err(terminated(origin)))?;
        connection.meter.assign(client);
        Ok(connection)
    }

    /// A connection dialled for this request alone.
    pub(crate) async fn fresh(&self, origin: &Origin, client: ClientKey) -> Result<Connection, Refusal> {
        let (io, peer) = self.connector.connect(origin, Purpose::Request, client).await?;
        let meter = io.meter();
        let handshake = http1::Builder::new().max_buf_size(MAX_RESPONSE_HEAD).handshake(TokioIo::new(io));
        let (sender, connection) = handshake.await.map_err(|_| terminated(origin))?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to an origin ended");
            }
        });
        Ok(Connection { sender, meter, peer, reused: false })
    }

    /// Takes a connection back whose response has arrived whole: the longest waiting request gets it.
    pub(crate) fn give_back(&self, origin: &Origin, mut connection: Connection) {
        connection.reused = true;
        self.give(origin, connection);
    }

    fn give(&self, origin: &Origin, mut connection: Connection) {
        if connection.sender.is_closed() {
            return;
        }
        let mut slots = self.lock();
        let slot = slots.by_origin.entry(origin.clone()).or_default();
        while let Some(waiter) = slot.waiting.pop_front() {
            match waiter.wants.send(Ok(connection)) {
                Ok(()) => return,
                Err(Ok(returned)) => connection = returned,
                Err(Err(_)) => return,
            }
        }
        if slot.idle.len() < MAX_IDLE {
            slot.idle.push((connection, Instant::now()));
        }
        slots.sweep(self.keep_alive);
    }

    async fn dial(&self, origin: Origin, client: ClientKey, id: u64) {
        match self.fresh(&origin, client).await {
            Ok(connection) => self.give(&origin, connection),
            Err(refusal) => {
                let waiter = self.lock().withdraw(&origin, id);
                if let Some(waiter) = waiter {
                    let _ = waiter.wants.send(Err(refusal));
                }
            }
        }
    }

    fn enqueue(&self, origin: &Origin, wants: oneshot::Sender<Result<Connection, Refusal>>) -> u64 {
        let mut slots = self.lock();
        let id = slots.next_waiter;
        slots.next_waiter += 1;
        slots.by_origin.entry(origin.clone()).or_default().waiting.push_back(Waiter { id, wants });
        id
    }

    fn take_idle(&self, origin: &Origin) -> Option<Connection> {
        let mut slots = self.lock();
        let slot = slots.by_origin.get_mut(origin)?;
        while let Some((connection, since)) = slot.idle.pop() {
            if !connection.sender.is_closed() && since.elapsed() < self.keep_alive {
                return Some(connection);
            }
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots {
    fn withdraw(&mut self, origin: &Origin, id: u64) -> Option<Waiter> {
        let waiting = &mut self.by_origin.get_mut(origin)?.waiting;
        let at = waiting.iter().position(|waiter| waiter.id == id)?;
        waiting.remove(at)
    }

    /// Drops what is closed or idle for too long, and origins nobody asks for; at most every few seconds.
    fn sweep(&mut self, keep_alive: Duration) {
        let now = Instant::now();
        if self.swept.is_some_and(|swept| now.duration_since(swept) < Duration::from_secs(10)) {
            return;
        }
        self.swept = Some(now);
        self.by_origin.retain(|_, slot| {
            slot.idle.retain(|(connection, since)| {
                !connection.sender.is_closed() && now.duration_since(*since) < keep_alive
            });
            slot.waiting.retain(|waiter| !waiter.wants.is_closed());
            !slot.idle.is_empty() || !slot.waiting.is_empty()
        });
    }
}

/// Bytes of an origin's response head that are read before it is refused as not HTTP.
const MAX_RESPONSE_HEAD: usize = 256 * 1024;

fn terminated(origin: &Origin) -> Refusal {
    Refusal::ConnectionTerminated { origin: origin.to_string() }
}
