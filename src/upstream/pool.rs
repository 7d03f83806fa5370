//! Connections to origins that are kept for the next request. A handshake costs a round trip of a long link, so a
//! request that finds none idle dials one and takes whichever comes first: its own, or one that another request is
//! done with. It does not know what is sent.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use linkio::{Meter, Standing};
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
    /// Idle connections of all origins together.
    idle: usize,
    next_waiter: u64,
}

#[derive(Default)]
struct Slot {
    /// The one used last is on top.
    idle: Vec<(Connection, Instant)>,
    waiting: VecDeque<Waiter>,
    /// Dials under way; never fewer than there are waiters.
    dialling: usize,
}

struct Waiter {
    id: u64,
    standing: Standing,
    wants: oneshot::Sender<Result<Connection, Refusal>>,
}

/// Idle connections kept per origin, and in all; more are closed as they come back.
const MAX_IDLE: usize = 32;
const MAX_IDLE_TOTAL: usize = 512;

impl Pool {
    /// A pool that dials with `connector` and keeps an idle connection for `keep_alive`. Runs a task that closes what
    /// was kept long enough; it ends with the pool.
    pub(crate) fn new(connector: Arc<Connector>, keep_alive: Duration) -> Arc<Self> {
        let pool = Arc::new(Self { connector, keep_alive, slots: Mutex::default() });
        let swept = Arc::downgrade(&pool);
        tokio::spawn(async move {
            let mut rounds = tokio::time::interval((keep_alive / 2).max(Duration::from_millis(500)));
            loop {
                rounds.tick().await;
                let Some(pool) = swept.upgrade() else { return };
                pool.lock().sweep(keep_alive);
            }
        });
        pool
    }

    /// An idle connection to `origin`, or else the first that becomes available.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        origin: &Origin,
        standing: Standing,
    ) -> Result<Connection, Refusal> {
        loop {
            let mut connection = match self.take_idle(origin) {
                Some(connection) => connection,
                None => self.wait(origin, standing).await?,
            };
            // A connection used before has had its whole response; what remains is its task's own next step. If it
            // ended instead, there is another. One just dialled is used whatever becomes of it.
            if connection.sender.ready().await.is_ok() || !connection.reused {
                connection.meter.assign(standing);
                return Ok(connection);
            }
        }
    }

    /// Queues for a connection, and dials one. Every waiter has a dial under way for it, its own or another's, so that
    /// each is served or told why not within the time that two dials may take.
    async fn wait(self: &Arc<Self>, origin: &Origin, standing: Standing) -> Result<Connection, Refusal> {
        let (wants, got) = oneshot::channel();
        let id = self.lock().enqueue(origin, standing, wants);
        self.spawn_dial(origin.clone(), standing, id);
        got.await.unwrap_or_else(|_| Err(terminated(origin)))
    }

    fn spawn_dial(self: &Arc<Self>, origin: Origin, standing: Standing, id: u64) {
        let pool = self.clone();
        tokio::spawn(async move {
            match pool.fresh(&origin, standing).await {
                Ok(connection) => pool.give(&origin, connection, true),
                Err(refusal) => pool.fail(&origin, id, refusal),
            }
        });
    }

    /// A connection dialled for this request alone.
    pub(crate) async fn fresh(&self, origin: &Origin, standing: Standing) -> Result<Connection, Refusal> {
        let (io, peer) = self.connector.connect(origin, Purpose::Request, standing).await?;
        let meter = io.meter();
        let handshake = http1::Builder::new()
            .max_buf_size(MAX_RESPONSE_HEAD)
            .max_headers(MAX_RESPONSE_FIELDS)
            // "A proxy MUST remove any such whitespace from a response message" (RFC 9112 §5.1) and "replace each
            // received obs-fold" (§5.2): hyper does both once it accepts them.
            .allow_spaces_after_header_name_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .handshake(TokioIo::new(io));
        let (sender, connection) = handshake.await.map_err(|_| terminated(origin))?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to an origin ended");
            }
        });
        Ok(Connection { sender, meter, peer, reused: false })
    }

    /// Takes a connection that was dialled for nobody in particular.
    pub(crate) fn add(&self, origin: &Origin, connection: Connection) {
        self.give(origin, connection, false);
    }

    /// Takes a connection back whose response has arrived whole: the longest waiting request gets it.
    pub(crate) fn give_back(&self, origin: &Origin, mut connection: Connection) {
        connection.reused = true;
        if !connection.sender.is_closed() {
            self.give(origin, connection, false);
        }
    }

    fn give(&self, origin: &Origin, mut connection: Connection, dialled: bool) {
        let mut slots = self.lock();
        let has_room = slots.idle < MAX_IDLE_TOTAL;
        let slot = slots.by_origin.entry(origin.clone()).or_default();
        slot.dialling -= usize::from(dialled);
        while let Some(waiter) = slot.waiting.pop_front() {
            match waiter.wants.send(Ok(connection)) {
                Ok(()) => return,
                Err(Ok(returned)) => connection = returned,
                Err(Err(_)) => return,
            }
        }
        if slot.idle.len() < MAX_IDLE && has_room {
            slot.idle.push((connection, Instant::now()));
            slots.idle += 1;
        }
    }

    /// A dial failed: the request that started it is told why. If that one was served meanwhile with a connection that
    /// another waits for, the other gets a dial in exchange.
    fn fail(self: &Arc<Self>, origin: &Origin, id: u64, refusal: Refusal) {
        let mut slots = self.lock();
        let Some(slot) = slots.by_origin.get_mut(origin) else { return };
        slot.dialling -= 1;
        slot.waiting.retain(|waiter| !waiter.wants.is_closed());
        if let Some(at) = slot.waiting.iter().position(|waiter| waiter.id == id) {
            if let Some(waiter) = slot.waiting.remove(at) {
                let _ = waiter.wants.send(Err(refusal));
            }
        } else if let Some((id, standing)) = slot.without_dial() {
            slot.dialling += 1;
            drop(slots);
            self.spawn_dial(origin.clone(), standing, id);
            return;
        }
        slots.forget_if_empty(origin);
    }

    fn take_idle(&self, origin: &Origin) -> Option<Connection> {
        let mut slots = self.lock();
        let slot = slots.by_origin.get_mut(origin)?;
        let before = slot.idle.len();
        let mut taken = None;
        while let Some((connection, since)) = slot.idle.pop() {
            if !connection.sender.is_closed() && since.elapsed() < self.keep_alive {
                taken = Some(connection);
                break;
            }
        }
        let removed = before - slot.idle.len();
        slots.idle -= removed;
        taken
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// A waiter beyond those that the dials under way will serve.
    fn without_dial(&self) -> Option<(u64, Standing)> {
        let waiter = self.waiting.get(self.dialling)?;
        Some((waiter.id, waiter.standing))
    }

    fn is_empty(&self) -> bool {
        self.idle.is_empty() && self.waiting.is_empty() && self.dialling == 0
    }
}

impl Slots {
    fn enqueue(
        &mut self,
        origin: &Origin,
        standing: Standing,
        wants: oneshot::Sender<Result<Connection, Refusal>>,
    ) -> u64 {
        let id = self.next_waiter;
        self.next_waiter += 1;
        let slot = self.by_origin.entry(origin.clone()).or_default();
        slot.waiting.push_back(Waiter { id, standing, wants });
        slot.dialling += 1;
        id
    }

    /// Drops what is closed or idle for too long, and origins nobody asks for.
    fn sweep(&mut self, keep_alive: Duration) {
        let now = Instant::now();
        self.by_origin.retain(|_, slot| {
            slot.idle.retain(|(connection, since)| {
                !connection.sender.is_closed() && now.duration_since(*since) < keep_alive
            });
            !slot.is_empty()
        });
        self.idle = self.by_origin.values().map(|slot| slot.idle.len()).sum();
    }

    fn forget_if_empty(&mut self, origin: &Origin) {
        if self.by_origin.get(origin).is_some_and(Slot::is_empty) {
            self.by_origin.remove(origin);
        }
    }
}

/// Fields of an origin's response head that are read before it is refused.
const MAX_RESPONSE_FIELDS: usize = 300;

/// Bytes of an origin's response head that are read before it is refused as not HTTP. hyper also keeps up to so many of
/// an upload ahead of the link, which would still cross if the client left.
const MAX_RESPONSE_HEAD: usize = 64 * 1024;

fn terminated(origin: &Origin) -> Refusal {
    Refusal::ConnectionTerminated { origin: origin.to_string() }
}
