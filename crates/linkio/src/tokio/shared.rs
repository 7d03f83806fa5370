//! What the streams of one link share: both lanes behind one lock, the clock, and the task that grants what has
//! departed.
//!
//! Decides nothing about pacing: that is `Lane`. It is the only reader of a clock in this crate.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use ::tokio::runtime::Handle;
use ::tokio::sync::Notify;
use ::tokio::time::{Instant, timeout_at};

use super::lane::{EARLY, WakingLane};
use super::meter::Counters;
use crate::flow::{ClientKey, FlowId, Standing};
use crate::lane::View;
use crate::model::LinkModel;
use crate::moment::Moment;
use crate::spec::{Direction, Tcp};
use crate::usage::Usage;

#[derive(Debug)]
pub(super) struct Shared {
    epoch: Instant,
    /// A bit for each direction that neither limits nor delays: there streams are used directly.
    passing: AtomicU8,
    state: Mutex<State>,
    /// Tells the dispatcher to look again. It is held apart from `Shared`, so that waiting keeps no link alive.
    changed: Arc<Notify>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) model: LinkModel,
    pub(super) down: WakingLane,
    pub(super) up: WakingLane,
    /// What closed flows used.
    past: Usage,
    /// Whether the dispatcher runs.
    dispatching: bool,
    /// When the dispatcher means to wake.
    wake_at: Option<Moment>,
}

impl State {
    pub(super) fn lane(&mut self, direction: Direction) -> &mut WakingLane {
        match direction {
            Direction::Down => &mut self.down,
            Direction::Up => &mut self.up,
        }
    }

    /// Gives both flows of a connection another standing.
    pub(super) fn assign(&mut self, down: FlowId, up: FlowId, standing: Standing) {
        self.down.lane.assign(down, standing);
        self.up.lane.assign(up, standing);
    }

    /// Moves connections that have, by what was just granted, carried enough for it.
    fn promote(&mut self) {
        for counters in [self.down.take_grown(), self.up.take_grown()].into_iter().flatten() {
            if let Some((down, up, standing)) = counters.climb() {
                self.assign(down, up, standing);
            }
        }
    }

    pub(super) fn passing(&self) -> u8 {
        let bit = |lane: &WakingLane, bit: u8| if lane.lane.passes() { bit } else { 0 };
        bit(&self.down, passing_bit(Direction::Down)) | bit(&self.up, passing_bit(Direction::Up))
    }

    pub(super) fn used_by_class(&self) -> [Usage; 3] {
        let (down, up) = (self.down.lane.link().used_by_class(), self.up.lane.link().used_by_class());
        [0, 1, 2].map(|class| Usage { down: down[class], up: up[class] })
    }

    pub(super) fn used_by_client(&self) -> Vec<(ClientKey, Usage)> {
        let mut clients: HashMap<ClientKey, Usage> = HashMap::new();
        for (client, down) in self.down.lane.link().used_by_client() {
            clients.entry(client).or_default().down = down;
        }
        for (client, up) in self.up.lane.link().used_by_client() {
            clients.entry(client).or_default().up = up;
        }
        let mut clients: Vec<_> = clients.into_iter().filter(|(_, usage)| usage.total() > 0).collect();
        clients.sort_unstable_by_key(|(client, usage)| (Reverse(usage.total()), *client));
        clients
    }

    pub(super) fn usage(&self) -> Usage {
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
    pub(super) fn new(model: LinkModel) -> Self {
        let state = State {
            down: WakingLane::new(Direction::Down, &model, Moment::START),
            up: WakingLane::new(Direction::Up, &model, Moment::START),
            past: Usage::default(),
            dispatching: false,
            wake_at: None,
            model,
        };
        Self {
            epoch: clock(),
            passing: AtomicU8::new(state.passing()),
            state: Mutex::new(state),
            changed: Arc::new(Notify::new()),
        }
    }

    /// Changes the link itself, at once.
    pub(super) fn change(&self, act: impl FnOnce(&mut State, Moment, &mut Vec<Waker>)) {
        self.with(|state, now, woken| {
            act(state, now, woken);
            // Inside the lock, so that of two changes at once both parts of the same one stand at the end.
            self.passing.store(state.passing(), Ordering::Relaxed);
        });
        // The dispatcher may have stopped on a closed link, or sleep towards a departure that has moved.
        self.changed.notify_one();
    }

    pub(super) fn now(&self) -> Moment {
        Moment::after_start(clock().saturating_duration_since(self.epoch))
    }

    pub(super) fn instant(&self, moment: Moment) -> Instant {
        self.epoch + moment.since(Moment::START)
    }

    pub(super) fn passes(&self, direction: Direction) -> bool {
        // Relaxed: a stream that sees a change one call late uses the link as it was a moment ago.
        self.passing.load(Ordering::Relaxed) & passing_bit(direction) != 0
    }

    /// How long nothing can cross in one of the directions; `None` on an open link.
    pub(super) fn closed_for(&self) -> Option<Duration> {
        let (state, now) = (self.lock(), self.now());
        let closed = |lane: &WakingLane| lane.lane.opens(now).map_or(Duration::MAX, |opens| opens.since(now));
        Some(closed(&state.down).max(closed(&state.up))).filter(|closed| !closed.is_zero())
    }

    /// How long a TCP handshake takes that began at `begun`.
    pub(super) fn handshake(&self, begun: Moment) -> Duration {
        let state = self.lock();
        match state.model.spec.tcp {
            Tcp::None => Duration::ZERO,
            Tcp::Handshake | Tcp::SlowStart => state.up.lane.one_way(begun) + state.down.lane.one_way(begun),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // No step leaves the state half changed, so it is sound even after a panic elsewhere.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `act` on the state, then wakes whom it granted something, outside the lock: a waker may run anything.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut State, Moment, &mut Vec<Waker>) -> R) -> R {
        let mut woken = Vec::new();
        let result = {
            let mut state = self.lock();
            let result = act(&mut state, self.now(), &mut woken);
            state.promote();
            result
        };
        woken.into_iter().for_each(Waker::wake);
        result
    }

    pub(super) fn open(
        &self,
        standing: Standing,
        counters: &Arc<Counters>,
        wakers: [Waker; 2],
    ) -> (FlowId, FlowId) {
        let [down, up] = wakers;
        let mut state = self.lock();
        let down = state.down.open(standing, down, Arc::clone(counters));
        let up = state.up.open(standing, up, Arc::clone(counters));
        counters.belong_to(down, up);
        (down, up)
    }

    pub(super) fn close(&self, down: FlowId, up: FlowId, counters: &Counters) {
        let mut state = self.lock();
        let slots = (state.down.close(down), state.up.close(up));
        state.past += counters.usage();
        drop(state);
        // Dropping the last waker of a task may run anything too.
        drop(slots);
    }

    /// Closes `flow` in one direction only: its stream takes no more bytes.
    pub(super) fn abandon(&self, direction: Direction, flow: FlowId) {
        let slot = self.lock().lane(direction).close(flow);
        drop(slot);
    }

    /// `flow` asks for `bytes` more and learns what has arrived.
    pub(super) fn visit(self: &Arc<Self>, direction: Direction, flow: FlowId, bytes: u64) -> View {
        let (view, start) = self.with(|state, now, woken| {
            let lane = state.lane(direction);
            let view = lane.visit(flow, bytes, now, woken);
            // Even on a closed link somebody must be there to hear that it opens.
            let start = lane.lane.is_busy() && !std::mem::replace(&mut state.dispatching, true);
            if let Some(next) = view.next.filter(|next| state.wake_at.is_none_or(|wake_at| *next < wake_at)) {
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
        let next = next.map(|next| shared.instant(next.before(EARLY)));
        drop(shared);
        match next {
            // Either a departure has come or something changed; both mean to step again.
            Some(next) => drop(timeout_at(next, changed.notified()).await),
            None => changed.notified().await,
        }
    }
}

/// The bit of `direction` in `Shared::passing`.
fn passing_bit(direction: Direction) -> u8 {
    match direction {
        Direction::Down => 1,
        Direction::Up => 2,
    }
}

#[expect(clippy::disallowed_methods, reason = "the adapter is where the link meets a clock, and only here")]
fn clock() -> Instant {
    Instant::now()
}
