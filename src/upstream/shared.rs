//! An HTTP/2 connection that the requests of many exchanges share (RFC 9113): how many it takes, where it stands on the
//! link while it carries them, and whose each of its bytes is. When to dial one is the pool's affair.
//!
//! The link counts a connection, not its streams, and whose part of a TLS record or of a compressed head is whose cannot
//! be told there. So an exchange that had the connection to itself is charged for all that was carried meanwhile; one
//! among others for its content to the byte, and for heads and framing as much as they may come to, but never more than
//! its part of what the connection has carried that is nobody's yet, which errs by a hundredth or two. The first exchange
//! also pays for the handshake. What is left over, such as settings and pings, is nobody's: the link's own total has it.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::client::conn::http2::SendRequest;
use linkio::{ClientKey, Meter, Standing, Weight};
use tokio::sync::Notify;
use tokio::time::{Duration, Instant};

use crate::body::RequestBody;
use crate::exchange::{Peer, Times};
use crate::standing::Carrier;

/// One HTTP/2 connection; clones are the same.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Connection>);

struct Connection {
    sender: SendRequest<RequestBody>,
    meter: Meter,
    peer: Peer,
    /// What dialling it took, until the first request bears it.
    times: Mutex<Option<Times>>,
    limit: Arc<Limit>,
    /// Under which it stands on the link while several clients share it.
    key: ClientKey,
    /// Whether it takes no more requests.
    retired: AtomicBool,
    /// Bytes that are some exchange's, or came before the connection last had none.
    named: Bytes,
    /// Bytes that may be here and not read, whoever does not read them.
    window: u64,
    streams: Mutex<Streams>,
}

/// So many requests the peer lets a connection carry at a time, as far as is known.
pub(super) struct Limit {
    streams: AtomicUsize,
    /// Tells the task that carries the connection, which alone knows, to look.
    look: Notify,
}

impl Limit {
    /// So many to begin with.
    pub(super) fn new(streams: usize) -> Arc<Self> {
        Arc::new(Self { streams: AtomicUsize::new(streams), look: Notify::new() })
    }

    /// It is so many now.
    pub(super) fn set(&self, streams: usize) {
        self.streams.store(streams, Ordering::Relaxed);
    }

    /// Ready when it should be looked at again.
    pub(super) async fn asked(&self) {
        self.look.notified().await;
    }
}

struct Streams {
    standings: HashMap<u64, Standing>,
    next: u64,
    /// Since when one exchange has had the connection to itself, by what had been carried then.
    alone: Option<(u64, u64)>,
    /// Since when there is none.
    rests: Instant,
}

/// A request's place on a shared connection, and what was carried for it.
pub(crate) struct Stream {
    connection: Shared,
    id: u64,
    /// Whether it is not the connection's first.
    follows: bool,
    /// What the connection had cost when its first request came.
    handshake: (u64, u64),
    content: Bytes,
    /// As they were before they were compressed.
    heads: Bytes,
    steps: Mutex<VecDeque<(u64, Standing)>>,
}

/// Sums of bytes in both directions, which order nothing else.
#[derive(Default)]
struct Bytes {
    down: AtomicU64,
    up: AtomicU64,
}

impl Bytes {
    fn add(&self, down: u64, up: u64) {
        self.down.fetch_add(down, Ordering::Relaxed);
        self.up.fetch_add(up, Ordering::Relaxed);
    }

    fn set(&self, (down, up): (u64, u64)) {
        self.down.store(down, Ordering::Relaxed);
        self.up.store(up, Ordering::Relaxed);
    }

    fn read(&self) -> (u64, u64) {
        (self.down.load(Ordering::Relaxed), self.up.load(Ordering::Relaxed))
    }
}

impl Shared {
    /// The connection that `sender` sends on, to `peer`, which took so long to dial, whose bytes `meter` counts, which carries up to `limit`
    /// requests at a time, and of whose content `window` bytes may wait here to be read.
    pub(super) fn new(
        sender: SendRequest<RequestBody>,
        meter: Meter,
        peer: Peer,
        times: Times,
        limit: Arc<Limit>,
        window: u32,
    ) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let mut hasher = DefaultHasher::new();
        ("shared", peer.address, NUMBER.fetch_add(1, Ordering::Relaxed)).hash(&mut hasher);
        let streams = Streams { standings: HashMap::new(), next: 0, alone: None, rests: Instant::now() };
        Self(Arc::new(Connection {
            sender,
            meter,
            peer,
            times: Mutex::new(Some(times)),
            limit,
            key: ClientKey(hasher.finish()),
            retired: AtomicBool::new(false),
            named: Bytes::default(),
            window: window.into(),
            streams: Mutex::new(streams),
        }))
    }

    /// Who is at its other end.
    pub(super) fn peer(&self) -> Peer {
        self.0.peer
    }

    /// What dialling it took, for its first request.
    pub(super) fn take_times(&self) -> Option<Times> {
        self.0.times.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What sends on it.
    pub(super) fn sender(&self) -> SendRequest<RequestBody> {
        self.0.sender.clone()
    }

    /// Whether it takes requests.
    pub(super) fn is_open(&self) -> bool {
        !self.0.retired.load(Ordering::Acquire) && !self.0.sender.is_closed()
    }

    /// It takes no more requests; those under way go on.
    pub(super) fn retire(&self) {
        self.0.retired.store(true, Ordering::Release);
    }

    /// Whether it is of use still: it takes requests, and rests no longer than `keep_alive`.
    pub(super) fn is_kept(&self, keep_alive: Duration) -> bool {
        let streams = self.lock();
        self.is_open() && (!streams.standings.is_empty() || streams.rests.elapsed() < keep_alive)
    }

    /// A place for a request that stands so; none where it takes no more. "An endpoint MUST NOT exceed the limit set by
    /// their peer" (RFC 9113 §5.1.2): beyond it, with `anyway`, requests wait in hyper's queue. One whose window others
    /// hold shut would carry a head and no content.
    pub(super) fn stream(&self, standing: Standing, anyway: bool) -> Option<Arc<Stream>> {
        if !self.is_open() {
            return None;
        }
        let mut streams = self.lock();
        if !anyway && streams.standings.len() >= self.0.limit.streams.load(Ordering::Relaxed) {
            return None;
        }
        let carried = (self.0.meter.down(), self.0.meter.up());
        if streams.standings.is_empty() {
            streams.alone = Some(if streams.next == 0 { (0, 0) } else { carried });
            self.0.named.set(carried);
        } else if !anyway && self.0.nobodys().0 > self.0.window / 2 {
            return None;
        } else {
            streams.alone = None;
        }
        let id = streams.next;
        streams.next += 1;
        streams.standings.insert(id, standing);
        self.assign(&streams);
        drop(streams);
        let follows = id > 0;
        let handshake = if follows { (0, 0) } else { carried };
        let (content, heads, steps) = (Bytes::default(), Bytes::default(), Mutex::default());
        Some(Arc::new(Stream { connection: self.clone(), id, follows, handshake, content, heads, steps }))
    }

    /// Requests that it carries.
    pub(super) fn load(&self) -> usize {
        self.lock().standings.len()
    }

    fn assign(&self, streams: &Streams) {
        if let Some(standing) = joint(streams.standings.values(), self.0.key) {
            self.0.meter.assign(standing);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.0.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Bytes carried that are no exchange's, down and up: framing, and content that nobody has read yet.
    fn nobodys(&self) -> (u64, u64) {
        let named = self.named.read();
        (self.meter.down().saturating_sub(named.0), self.meter.up().saturating_sub(named.1))
    }
}

/// Where a connection stands that carries exchanges of these standings: in the most urgent of their classes, and there
/// for whoever they are of, so that a client gains nothing and loses nothing by sharing.
fn joint<'a>(standings: impl Iterator<Item = &'a Standing> + Clone, key: ClientKey) -> Option<Standing> {
    let class = standings.clone().map(|standing| standing.class).min()?;
    let urgent = standings.filter(|standing| standing.class == class);
    let weight = urgent.clone().map(|standing| standing.weight).max()?;
    let clients: HashMap<_, _> = urgent.map(|standing| (standing.client, standing.client_weight)).collect();
    if let Some((&client, &client_weight)) = clients.iter().next().filter(|_| clients.len() == 1) {
        return Some(Standing { client, client_weight, class, weight });
    }
    let sum = clients.values().fold(0_u32, |sum, weight| sum.saturating_add(weight.value()));
    let client_weight = NonZeroU32::new(sum).map_or(Weight::ONE, Weight::new);
    Some(Standing { client: key, client_weight, class, weight: Weight::ONE })
}

impl Stream {
    /// The connection that it is on.
    pub(super) fn connection(&self) -> &Shared {
        &self.connection
    }

    /// Whether the connection has carried others before.
    pub(super) fn follows(&self) -> bool {
        self.follows
    }

    /// Content carried so far, down and up, and heads.
    pub(super) fn carried(&self) -> (u64, u64) {
        let ((down, up), heads) = (self.content.read(), self.heads.read());
        (down.saturating_add(heads.0), up.saturating_add(heads.1))
    }

    /// Bytes that the whole connection has carried down.
    pub(super) fn connection_down(&self) -> u64 {
        self.connection.0.meter.down()
    }

    /// So many bytes of content came down and went up for it.
    pub(super) fn count(&self, down: u64, up: u64) {
        self.content.add(down, up);
        self.connection.0.named.add(down, up);
        self.grow();
    }

    /// Heads that are so large by themselves came down and went up for it.
    pub(super) fn count_heads(&self, down: u64, up: u64) {
        self.heads.add(down, up);
        if down > 0 {
            // The peer's settings have come before its first response.
            self.connection.0.limit.look.notify_one();
        }
    }

    /// What its exchange has to bear, down and up, when it is over.
    pub(super) fn charge(&self) -> (u64, u64) {
        let connection = &self.connection.0;
        let streams = self.connection.lock();
        if let Some(begun) = streams.alone {
            return (connection.meter.down() - begun.0, connection.meter.up() - begun.1);
        }
        // Of what is nobody's yet, the others have their parts, too.
        let present = streams.standings.len().max(1) as u64;
        drop(streams);
        let (content, heads, nobodys) = (self.content.read(), self.heads.read(), connection.nobodys());
        let down = framing(content.0, heads.0).min(nobodys.0 / present);
        let up = framing(content.1, heads.1).min(nobodys.1 / present);
        connection.named.add(down, up);
        (content.0 + self.handshake.0 + down, content.1 + self.handshake.1 + up)
    }

    fn grow(&self) {
        let (down, up) = self.content.read();
        let mut steps = self.lock();
        let mut reached = None;
        while let Some((_, standing)) = steps.pop_front_if(|(bytes, _)| *bytes <= down.saturating_add(up)) {
            reached = Some(standing);
        }
        drop(steps);
        if let Some(standing) = reached {
            self.stand(standing);
        }
    }

    fn stand(&self, standing: Standing) {
        let mut streams = self.connection.lock();
        streams.standings.insert(self.id, standing);
        self.connection.assign(&streams);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(u64, Standing)>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Carrier for Stream {
    fn carried(&self) -> u64 {
        let (down, up) = self.content.read();
        down.saturating_add(up)
    }

    fn assign_in_steps(&self, now: Standing, later: impl IntoIterator<Item = (u64, Standing)>) {
        *self.lock() = later.into_iter().collect();
        self.stand(now);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut streams = self.connection.lock();
        streams.standings.remove(&self.id);
        self.connection.assign(&streams);
        if streams.standings.is_empty() {
            streams.rests = Instant::now();
        }
    }
}

/// What `heads` and the framing of `content` may come to on the link: frames of HTTP/2 and records of TLS as servers make
/// them, a window update now and then.
fn framing(content: u64, heads: u64) -> u64 {
    (content / 64).saturating_add(heads).saturating_add(128)
}

#[cfg(test)]
mod tests {
    use linkio::Class;

    use super::*;

    fn standing(client: u64, client_weight: u32, class: Class, weight: u32) -> Standing {
        let weighing = |weight| Weight::new(NonZeroU32::new(weight).expect("a weight"));
        Standing {
            client: ClientKey(client),
            client_weight: weighing(client_weight),
            class,
            weight: weighing(weight),
        }
    }

    #[track_caller]
    fn check(standings: &[Standing], expected: Option<Standing>) {
        assert_eq!(joint(standings.iter(), ClientKey(99)), expected);
    }

    #[test]
    fn a_shared_connection_stands_for_all_it_carries() {
        use Class::{Background, Bulk, Interactive};
        check(&[], None);
        let ann = standing(1, 2, Bulk, 3);
        check(&[ann], Some(ann));
        check(&[ann, standing(1, 2, Bulk, 7)], Some(standing(1, 2, Bulk, 7)));
        check(&[ann, standing(2, 5, Bulk, 9)], Some(standing(99, 7, Bulk, 1)));
        check(&[ann, standing(2, 5, Background, 9)], Some(ann));
        check(&[ann, standing(2, 5, Interactive, 9)], Some(standing(2, 5, Interactive, 9)));
        let many = standing(1, u32::MAX, Bulk, 1);
        check(&[many, standing(2, 5, Bulk, 9)], Some(standing(99, u32::MAX, Bulk, 1)));
    }
}
