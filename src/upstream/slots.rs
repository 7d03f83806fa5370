//! The pool's books: which connections to which origins are idle or shared, who waits for one, and how many are being
//! dialled. It decides who waits for whom; it dials nothing and hands nothing over.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use foldhash::HashMap;
use linkio::Standing;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::connection::Connection;
use super::origin::Origin;
use super::shared::Shared;
use crate::respond::Refusal;

/// What there is for each origin.
#[derive(Default)]
pub(super) struct Slots {
    pub(super) by_origin: HashMap<Origin, Slot>,
    /// Idle connections of all origins together.
    pub(super) idle: usize,
    next_waiter: u64,
    /// Secure origins that chose HTTP/1.1 when they were dialled last.
    pub(super) without_http2: HashSet<Origin>,
}

/// What there is for one origin.
#[derive(Default)]
pub(super) struct Slot {
    /// The one used last is on top.
    pub(super) idle: Vec<(Box<Connection>, Instant)>,
    /// HTTP/2 connections, to be shared.
    pub(super) shared: Vec<Shared>,
    pub(super) waiting: VecDeque<Waiter>,
    /// Dials under way; never fewer than there are waiters, but where all wait for what the first of them will speak.
    pub(super) dialling: usize,
}

/// A request that waits for a connection.
pub(super) struct Waiter {
    pub(super) id: u64,
    pub(super) standing: Standing,
    pub(super) wants: oneshot::Sender<Result<Box<Connection>, Refusal>>,
}

/// Idle connections kept per origin, and in all; more are closed as they come back.
pub(super) const MAX_IDLE: usize = 128;
pub(super) const MAX_IDLE_TOTAL: usize = 512;

/// Shared connections to one origin. Further ones are dialled only while the others carry as much as the origin allows.
const MAX_SHARED: usize = 4;

/// Origins remembered as not speaking HTTP/2.
const MAX_WITHOUT_HTTP2: usize = 1024;

impl Slot {
    /// A waiter beyond those that the dials under way will serve.
    pub(super) fn without_dial(&self) -> Option<(u64, Standing)> {
        let waiter = self.waiting.get(self.dialling)?;
        Some((waiter.id, waiter.standing))
    }

    /// A place on one of the shared connections; none where there is room only on another that may be dialled.
    pub(super) fn place(&self, standing: Standing) -> Option<Box<Connection>> {
        let with_room = || self.shared.iter().find_map(|shared| Connection::among(shared, standing, false));
        let least = || self.shared.iter().min_by_key(|shared| shared.load());
        let crowded = self.shared.len() >= MAX_SHARED;
        with_room().or_else(|| Connection::among(least().filter(|_| crowded)?, standing, true))
    }

    /// Connections that carry nothing, and requests that wait.
    pub(super) fn load(&self) -> (usize, usize) {
        let resting = self.shared.iter().filter(|shared| shared.is_open() && shared.load() == 0).count();
        let idle = self.idle.iter().filter(|(connection, _)| !connection.is_closed()).count();
        (idle + resting, self.waiting.len())
    }

    fn is_empty(&self) -> bool {
        self.idle.is_empty() && self.shared.is_empty() && self.waiting.is_empty() && self.dialling == 0
    }
}

impl Slots {
    /// Whether one connection to `origin` may do for all, as far as is known.
    pub(super) fn may_share(&self, origin: &Origin) -> bool {
        origin.is_secure() && !self.without_http2.contains(origin)
    }

    pub(super) fn note_without_http2(&mut self, origin: &Origin) {
        if self.without_http2.len() >= MAX_WITHOUT_HTTP2 {
            self.without_http2.clear();
        }
        self.without_http2.insert(origin.clone());
    }

    /// Queues a request; its id if it is to dial.
    pub(super) fn enqueue(
        &mut self,
        origin: &Origin,
        standing: Standing,
        wants: oneshot::Sender<Result<Box<Connection>, Refusal>>,
    ) -> Option<u64> {
        let id = self.next_waiter;
        self.next_waiter += 1;
        let together = self.may_share(origin);
        let slot = self.by_origin.entry(origin.clone()).or_default();
        slot.waiting.push_back(Waiter { id, standing, wants });
        if together && slot.dialling > 0 {
            return None;
        }
        slot.dialling += 1;
        Some(id)
    }

    /// Drops what is closed or idle for too long, and origins nobody asks for.
    pub(super) fn sweep(&mut self, keep_alive: Duration) {
        let now = Instant::now();
        self.by_origin.retain(|_, slot| {
            slot.idle.retain(|(connection, since)| {
                !connection.is_closed() && now.duration_since(*since) < keep_alive
            });
            slot.shared.retain(|shared| shared.is_kept(keep_alive));
            !slot.is_empty()
        });
        self.idle = self.by_origin.values().map(|slot| slot.idle.len()).sum();
    }

    pub(super) fn forget_if_empty(&mut self, origin: &Origin) {
        if self.by_origin.get(origin).is_some_and(Slot::is_empty) {
            self.by_origin.remove(origin);
        }
    }
}
