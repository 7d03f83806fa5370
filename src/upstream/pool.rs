//! Connections to origins that are kept for the next request, or shared by many (HTTP/2). A handshake costs round trips of
//! a long link, so a request that finds none dials one and takes whichever comes first: its own, or one that another
//! request is done with. It does not know what is sent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use linkio::Standing;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::connect::Connected;
use super::connect::Connector;
use super::connection::{self, Connection, Dialled};
use super::destination::Purpose;
use super::origin::Origin;
use super::shared::Shared;
use super::slots::{MAX_IDLE, MAX_IDLE_TOTAL, Slot, Slots};
use super::tls::{Offer, Tls, speaks_http2};
use crate::respond::Refusal;

/// Connections by origin, idle or shared, and the requests that wait for one.
pub(crate) struct Pool {
    connector: Arc<Connector>,
    tls: Arc<Tls>,
    keep_alive: Duration,
    slots: Mutex<Slots>,
}

/// What a pool holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pooled {
    /// Connections that carry nothing.
    pub(crate) idle: usize,
    /// Requests that wait for one.
    pub(crate) waiting: usize,
}

impl Pool {
    /// What it holds now.
    pub(crate) fn pooled(&self) -> Pooled {
        let slots = self.lock();
        let (idle, waiting) = slots
            .by_origin
            .values()
            .map(Slot::load)
            .fold((0, 0), |sum, slot| (sum.0 + slot.0, sum.1 + slot.1));
        Pooled { idle, waiting }
    }

    /// A pool that dials with `connector`, speaks TLS as `tls` does, and keeps an idle connection for `keep_alive`. Runs a
    /// task that closes what was kept long enough; it ends with the pool.
    pub(crate) fn new(connector: Arc<Connector>, tls: Arc<Tls>, keep_alive: Duration) -> Arc<Self> {
        let pool = Arc::new(Self { connector, tls, keep_alive, slots: Mutex::default() });
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

    /// A place on a shared connection to `origin`, an idle connection, or else the first that becomes available.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        origin: &Origin,
        standing: Standing,
    ) -> Result<Box<Connection>, Refusal> {
        loop {
            let available = self.take_shared(origin, standing).or_else(|| self.take_idle(origin));
            let mut connection = match available {
                Some(connection) => connection,
                None => self.wait(origin, standing).await?,
            };
            // A connection used before has had its whole response; what remains is its task's own next step. If it
            // ended instead, there is another. One just dialled is used whatever becomes of it.
            if connection.is_ready().await || !connection.reused {
                if connection.reused {
                    self.connector.counts().reused.one();
                }
                connection.assign(standing);
                return Ok(connection);
            }
        }
    }

    /// A connection for a request that asks to switch to another protocol, which it may take over.
    pub(crate) async fn acquire_alone(
        self: &Arc<Self>,
        origin: &Origin,
        standing: Standing,
    ) -> Result<Box<Connection>, Refusal> {
        if !origin.is_secure() {
            return self.acquire(origin, standing).await;
        }
        while let Some(mut connection) = self.take_idle(origin) {
            if connection.is_ready().await {
                self.connector.counts().reused.one();
                connection.assign(standing);
                return Ok(connection);
            }
        }
        self.dial_alone(origin, standing).await
    }

    async fn dial_alone(&self, origin: &Origin, standing: Standing) -> Result<Box<Connection>, Refusal> {
        match self.dial(origin, standing, Offer::Http1).await? {
            Dialled::Alone(connection) => Ok(connection),
            // It was not offered.
            Dialled::Shared(_) => Err(Refusal::ProtocolError { origin: origin.to_string() }),
        }
    }

    /// Queues for a connection, and dials one. Every waiter has a dial under way for it, its own or another's, so that
    /// each is served or told why not within the time that two dials may take.
    ///
    /// Nobody knows of a secure origin whether it speaks HTTP/2 until the first handshake is over; one connection may then
    /// do for all, and handshakes are dear. So there all wait for the first.
    async fn wait(self: &Arc<Self>, origin: &Origin, standing: Standing) -> Result<Box<Connection>, Refusal> {
        let (wants, got) = oneshot::channel();
        let dials = self.lock().enqueue(origin, standing, wants);
        if let Some(id) = dials {
            self.spawn_dial(origin.clone(), standing, id);
        }
        got.await.unwrap_or_else(|_| Err(terminated(origin)))
    }

    fn spawn_dial(self: &Arc<Self>, origin: Origin, standing: Standing, id: u64) {
        let pool = self.clone();
        tokio::spawn(async move {
            match pool.dial(&origin, standing, Offer::Any).await {
                Ok(dialled) => pool.take_dialled(&origin, dialled),
                Err(refusal) => pool.fail(&origin, id, refusal),
            }
        });
    }

    /// A connection dialled for this request alone, unless others can have it, too.
    pub(crate) async fn fresh(
        self: &Arc<Self>,
        origin: &Origin,
        standing: Standing,
    ) -> Result<Box<Connection>, Refusal> {
        match self.dial(origin, standing, Offer::Any).await? {
            Dialled::Alone(connection) => Ok(connection),
            Dialled::Shared(shared) => {
                let mine = Connection::among(&shared, standing, true);
                self.give_shared(origin, shared);
                mine.ok_or_else(|| terminated(origin))
            }
        }
    }

    /// Another connection for a request that failed on one: a place on a shared one that is sound, or one just dialled;
    /// `alone`, if it asks to switch to another protocol.
    pub(crate) async fn another(
        self: &Arc<Self>,
        origin: &Origin,
        standing: Standing,
        alone: bool,
    ) -> Result<Box<Connection>, Refusal> {
        if alone {
            return self.dial_alone(origin, standing).await;
        }
        match self.take_shared(origin, standing) {
            Some(connection) => Ok(connection),
            // One dial may do for all that failed at once.
            None if origin.is_secure() => self.wait(origin, standing).await,
            None => self.fresh(origin, standing).await,
        }
    }

    /// Dials a connection for nobody in particular.
    pub(crate) async fn dial_spare(
        self: &Arc<Self>,
        origin: &Origin,
        standing: Standing,
    ) -> Result<(), Refusal> {
        match self.dial(origin, standing, Offer::Any).await? {
            Dialled::Alone(connection) => self.give(origin, connection),
            Dialled::Shared(shared) => self.give_shared(origin, shared),
        }
        Ok(())
    }

    async fn dial(&self, origin: &Origin, standing: Standing, offer: Offer) -> Result<Dialled, Refusal> {
        let connected = self.connector.connect(origin, Purpose::Request, standing).await?;
        let mut times = connected.times();
        let Connected { io, peer, .. } = connected;
        let meter = io.meter();
        if !origin.is_secure() {
            let plain = connection::http1(io, meter, peer, times).await;
            return plain.map(Dialled::Alone).map_err(|_| terminated(origin));
        }
        let begun = Instant::now();
        let handshake = tokio::time::timeout(self.connector.timeout(), self.tls.secure(io, origin, offer));
        let timeout = |_| Refusal::ConnectionTimeout { origin: origin.to_string() };
        let io = handshake.await.map_err(timeout).and_then(|secured| secured);
        let io = io.inspect_err(|_| self.connector.counts().handshakes.failed())?;
        self.connector.counts().handshakes.made(io.get_ref().1.handshake_kind());
        times.handshake = Some(begun.elapsed());
        let dialled = if speaks_http2(&io) {
            connection::http2(io, meter, peer, times, self.connector.link()).await.map(Dialled::Shared)
        } else {
            connection::http1(io, meter, peer, times).await.map(Dialled::Alone)
        };
        dialled.map_err(|_| terminated(origin))
    }

    /// Takes a connection back whose response has arrived whole: the longest waiting request gets it.
    pub(crate) fn give_back(&self, origin: &Origin, mut connection: Box<Connection>) {
        connection.reused = true;
        if connection.is_alone() && !connection.is_closed() {
            self.give(origin, connection);
        }
    }

    /// Takes what was dialled for those that wait.
    fn take_dialled(self: &Arc<Self>, origin: &Origin, dialled: Dialled) {
        if let Some(slot) = self.lock().by_origin.get_mut(origin) {
            slot.dialling -= 1;
        }
        match dialled {
            Dialled::Alone(connection) => {
                if origin.is_secure() {
                    self.lock().note_without_http2(origin);
                }
                self.give(origin, connection);
            }
            Dialled::Shared(shared) => self.give_shared(origin, shared),
        }
        self.dial_for_the_rest(origin);
    }

    /// Those that waited for what the first dial would bring, and went away empty, get dials of their own; or, where the
    /// next may do for all of them, one.
    fn dial_for_the_rest(self: &Arc<Self>, origin: &Origin) {
        loop {
            let mut slots = self.lock();
            let together = slots.may_share(origin);
            let Some(slot) = slots.by_origin.get_mut(origin) else { return };
            let Some((id, standing)) = slot.without_dial() else { return slots.forget_if_empty(origin) };
            if together && slot.dialling > 0 {
                return;
            }
            slot.dialling += 1;
            drop(slots);
            self.spawn_dial(origin.clone(), standing, id);
        }
    }

    fn give(&self, origin: &Origin, mut connection: Box<Connection>) {
        let mut slots = self.lock();
        let has_room = slots.idle < MAX_IDLE_TOTAL;
        let slot = slots.by_origin.entry(origin.clone()).or_default();
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

    /// Takes an HTTP/2 connection: all that wait get a place on it, as far as the origin allows.
    fn give_shared(&self, origin: &Origin, shared: Shared) {
        let mut slots = self.lock();
        slots.without_http2.remove(origin);
        let slot = slots.by_origin.entry(origin.clone()).or_default();
        slot.shared.retain(Shared::is_open);
        slot.shared.push(shared);
        while let Some(waiter) = slot.waiting.pop_front() {
            if waiter.wants.is_closed() {
                continue;
            }
            let Some(connection) = slot.place(waiter.standing) else {
                slot.waiting.push_front(waiter);
                return;
            };
            let _ = waiter.wants.send(Ok(connection));
        }
    }

    /// A dial failed: the request that started it is told why, and with it those that wait for the same dial. If that one
    /// was served meanwhile with a connection that another waits for, the other gets a dial in exchange.
    fn fail(self: &Arc<Self>, origin: &Origin, id: u64, refusal: Refusal) {
        let mut slots = self.lock();
        let together = slots.may_share(origin);
        let Some(slot) = slots.by_origin.get_mut(origin) else { return };
        slot.dialling -= 1;
        slot.waiting.retain(|waiter| !waiter.wants.is_closed());
        if together && slot.dialling == 0 {
            for waiter in slot.waiting.drain(..) {
                let _ = waiter.wants.send(Err(refusal.clone()));
            }
        } else if let Some(at) = slot.waiting.iter().position(|waiter| waiter.id == id) {
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

    fn take_shared(&self, origin: &Origin, standing: Standing) -> Option<Box<Connection>> {
        if !origin.is_secure() {
            return None;
        }
        let mut slots = self.lock();
        let slot = slots.by_origin.get_mut(origin)?;
        slot.shared.retain(Shared::is_open);
        slot.place(standing)
    }

    fn take_idle(&self, origin: &Origin) -> Option<Box<Connection>> {
        let mut slots = self.lock();
        let slot = slots.by_origin.get_mut(origin)?;
        let before = slot.idle.len();
        let mut taken = None;
        while let Some((connection, since)) = slot.idle.pop() {
            if !connection.is_closed() && since.elapsed() < self.keep_alive {
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

fn terminated(origin: &Origin) -> Refusal {
    Refusal::ConnectionTerminated { origin: origin.to_string() }
}
