//! The link between real streams: `SharedLink`, its clock and its one task.
//!
//! Owns both directions of one link, the only clock this crate reads, and the dispatcher that grants what has
//! departed. It decides nothing about pacing: that is `Link`. Bytes are held by each `LinkedIo`.

mod half;
mod io;
mod lane;
mod meter;
mod signal;

use std::future::Future;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use ::tokio::runtime::Handle;
use ::tokio::sync::Notify;
use ::tokio::time::{Instant, sleep, timeout_at};

use self::lane::{Lane, View};
use self::meter::Counters;
use crate::flow::{ClientKey, FlowId};
use crate::moment::Moment;
use crate::spec::LinkSpec;
use crate::usage::{LinkState, Usage};

pub use self::io::LinkedIo;
pub use self::meter::Meter;

/// One link that any number of streams share. Cloning makes another handle to the same link.
///
/// Its task starts when a byte first has to wait, in the runtime that polls the stream then, and ends after the last
/// handle and the last [`LinkedIo`] are gone.
///
/// ```
/// use linkio::{ClientKey, SharedLink};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?.block_on(async {
/// let link = SharedLink::new("8k,rtt=100ms".parse()?);
/// let (near, mut origin) = tokio::io::duplex(4096);
/// let mut stream = link.wrap(near, ClientKey(1));
/// origin.write_all(&[7; 1000]).await?;
///
/// let start = tokio::time::Instant::now();
/// let mut body = [0; 1000];
/// stream.read_exact(&mut body).await?;
/// assert_eq!(start.elapsed().as_millis(), 1050); // One second of rate and half a round trip.
/// assert_eq!(link.usage().down, 1000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SharedLink {
    shared: Arc<Shared>,
}

impl SharedLink {
    /// A link of `spec` that nothing crosses yet.
    pub fn new(spec: LinkSpec) -> Self {
        let state = State {
            down: Lane::new(Direction::Down, &spec),
            up: Lane::new(Direction::Up, &spec),
            past: Usage::default(),
            dispatching: false,
            wake_at: None,
            spec,
        };
        let shared = Shared {
            epoch: clock(),
            passing: AtomicU8::new(state.passing()),
            state: Mutex::new(state),
            changed: Arc::new(Notify::new()),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Changes the link at once, for open connections too. Nothing is lost: what was granted stays granted, what
    /// waits waits at the new rate, and what is in flight arrives when it was to arrive.
    pub fn set(&self, spec: LinkSpec) {
        self.shared.with(|state, now, woken| {
            state.down.set(&spec, now, woken);
            state.up.set(&spec, now, woken);
            state.spec = spec;
            // Inside the lock, so that of two changes at once both parts of the same one stand at the end.
            self.shared.passing.store(state.passing(), Ordering::Relaxed);
        });
        // The dispatcher may have stopped on a closed link, or sleep towards a departure that has moved.
        self.shared.changed.notify_one();
    }

    /// The link as it is set now.
    pub fn spec(&self) -> LinkSpec {
        self.shared.lock().spec.clone()
    }

    /// Payload bytes that crossed since the link was made.
    pub fn usage(&self) -> Usage {
        self.shared.lock().usage()
    }

    /// The link at this moment.
    pub fn snapshot(&self) -> LinkState {
        let state = self.shared.lock();
        let now = self.shared.now();
        LinkState {
            spec: state.spec.clone(),
            usage: state.usage(),
            flows: state.down.flows(),
            down: state.down.snapshot(now),
            up: state.up.snapshot(now),
        }
    }

    /// Puts the link between the caller and `io`, which is the far side: what is read from `io` comes down the link,
    /// what is written to it goes up. The flow is one of `client`'s.
    pub fn wrap<T>(&self, io: T, client: ClientKey) -> LinkedIo<T> {
        LinkedIo::open(io, Arc::clone(&self.shared), client)
    }

    /// Dials over the link: takes as long as `dial` itself and one round trip of the link for the handshake, whether
    /// the answer is a connection or a refusal.
    ///
    /// # Errors
    /// Those of `dial`.
    pub async fn connect<T, E>(
        &self,
        dial: impl Future<Output = Result<T, E>>,
        client: ClientKey,
    ) -> Result<LinkedIo<T>, E> {
        let answer = dial.await;
        // No handshake crosses a link that is closed.
        while self.spec().is_closed() {
            sleep(CLOSED).await;
        }
        let rtt = self.spec().rtt;
        if !rtt.is_zero() {
            sleep(rtt).await;
        }
        answer.map(|io| self.wrap(io, client))
    }
}

/// How often a handshake on a closed link looks whether it has opened.
const CLOSED: Duration = Duration::from_millis(50);

/// Which way a byte goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    /// From the origin to the client.
    Down,
    /// From the client to the origin.
    Up,
}

impl Direction {
    /// Its bit in `Shared::passing`.
    fn bit(self) -> u8 {
        match self {
            Self::Down => 1,
            Self::Up => 2,
        }
    }
}

#[derive(Debug)]
struct Shared {
    epoch: Instant,
    /// A bit for each direction that neither limits nor delays: there streams are used directly.
    passing: AtomicU8,
    state: Mutex<State>,
    /// Tells the dispatcher to look again. It is held apart from `Shared`, so that waiting keeps no link alive.
    changed: Arc<Notify>,
}

#[derive(Debug)]
struct State {
    spec: LinkSpec,
    down: Lane,
    up: Lane,
    /// What closed flows used.
    past: Usage,
    /// Whether the dispatcher runs.
    dispatching: bool,
    /// When the dispatcher means to wake.
    wake_at: Option<Moment>,
}

impl State {
    fn lane(&mut self, direction: Direction) -> &mut Lane {
        match direction {
            Direction::Down => &mut self.down,
            Direction::Up => &mut self.up,
        }
    }

    fn passing(&self) -> u8 {
        let bit = |lane: &Lane, direction: Direction| if lane.passes() { direction.bit() } else { 0 };
        bit(&self.down, Direction::Down) | bit(&self.up, Direction::Up)
    }

    fn usage(&self) -> Usage {
        let mut usage = self.past;
        for counters in self.down.counters() {
            usage += counters.usage();
        }
        usage
    }

    /// Grants what has departed in both directions and returns when something departs next.
    fn step(&mut self, now: Moment, woken: &mut Vec<Waker>) -> Option<Moment> {
        let (down, up) = (self.down.step(now, woken), self.up.step(now, woken));
        [down, up].into_iter().flatten().min()
    }
}

impl Shared {
    fn now(&self) -> Moment {
        Moment::after_start(clock().saturating_duration_since(self.epoch))
    }

    fn instant(&self, moment: Moment) -> Instant {
        self.epoch + moment.since(Moment::START)
    }

    fn passes(&self, direction: Direction) -> bool {
        // Relaxed: a stream that sees a change one call late uses the link as it was a moment ago.
        self.passing.load(Ordering::Relaxed) & direction.bit() != 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No step leaves the state half changed, so it is sound even after a panic elsewhere.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `act` on the state, then wakes whom it granted something, outside the lock: a waker may run anything.
    fn with<R>(&self, act: impl FnOnce(&mut State, Moment, &mut Vec<Waker>) -> R) -> R {
        let mut woken = Vec::new();
        let result = {
            let mut state = self.lock();
            act(&mut state, self.now(), &mut woken)
        };
        woken.into_iter().for_each(Waker::wake);
        result
    }

    fn open(&self, client: ClientKey, counters: &Arc<Counters>, wakers: [Waker; 2]) -> (FlowId, FlowId) {
        let [down, up] = wakers;
        let mut state = self.lock();
        (state.down.open(client, down, Arc::clone(counters)), state.up.open(client, up, Arc::clone(counters)))
    }

    fn close(&self, down: FlowId, up: FlowId, counters: &Counters) {
        let mut state = self.lock();
        let slots = (state.down.close(down), state.up.close(up));
        state.past += counters.usage();
        drop(state);
        // Dropping the last waker of a task may run anything too.
        drop(slots);
    }

    /// Closes `flow` in one direction only: its stream takes no more bytes.
    fn abandon(&self, direction: Direction, flow: FlowId) {
        let slot = self.lock().lane(direction).close(flow);
        drop(slot);
    }

    /// `flow` asks for `bytes` more and learns what has arrived.
    fn visit(self: &Arc<Self>, direction: Direction, flow: FlowId, bytes: u64) -> View {
        let (view, start) = self.with(|state, now, woken| {
            let lane = state.lane(direction);
            let (view, next) = lane.visit(flow, bytes, now, woken);
            // Even on a closed link somebody must be there to hear that it opens.
            let start = lane.is_busy() && !std::mem::replace(&mut state.dispatching, true);
            if let Some(next) = next.filter(|next| state.wake_at.is_none_or(|wake_at| *next < wake_at)) {
                state.wake_at = Some(next);
                self.changed.notify_one();
            }
            (view, start)
        });
        if start {
            self.start();
        }
        view
    }

    /// Starts the dispatcher in the runtime that polls the asking stream.
    fn start(self: &Arc<Self>) {
        let owner = Dispatching(Arc::downgrade(self));
        let changed = Arc::clone(&self.changed);
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(dispatch(owner, changed));
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.changed.notify_one();
    }
}

/// The dispatcher's hold on its link. If its runtime ends first, the next asking stream starts another.
struct Dispatching(Weak<Shared>);

impl Drop for Dispatching {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            let mut state = shared.lock();
            state.dispatching = false;
            state.wake_at = None;
        }
    }
}

/// The link's task: grants every packet whose departure has come, wakes each flow once, sleeps to the next departure.
async fn dispatch(link: Dispatching, changed: Arc<Notify>) {
    while let Some(shared) = link.0.upgrade() {
        let next = shared.with(|state, now, woken| {
            state.wake_at = state.step(now, woken);
            state.wake_at
        });
        let next = next.map(|next| shared.instant(next));
        drop(shared);
        match next {
            // Either a departure has come or something changed; both mean to step again.
            Some(next) => drop(timeout_at(next, changed.notified()).await),
            None => changed.notified().await,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the adapter is where the link meets a clock, and only here")]
fn clock() -> Instant {
    Instant::now()
}
