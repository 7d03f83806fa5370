//! What one connection used, readable while it is open and after.
//!
//! Owns the counters of a connection. They are written by the one stream they belong to, and by the dispatcher on its
//! behalf.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use super::shared::Shared;
use crate::flow::{FlowId, Standing};
use crate::usage::Usage;

/// Bytes of one connection that crossed so far, and what changes when enough have.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) down: AtomicU64,
    pub(super) up: AtomicU64,
    /// Nanoseconds for which bytes were on the link.
    time: AtomicU64,
    /// At how many bytes in both directions the first of the steps is due.
    next: AtomicU64,
    steps: Mutex<VecDeque<(u64, Standing)>>,
    /// The connection's flows, down and up.
    flows: OnceLock<(FlowId, FlowId)>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            down: AtomicU64::new(0),
            up: AtomicU64::new(0),
            time: AtomicU64::new(0),
            next: AtomicU64::new(u64::MAX),
            steps: Mutex::default(),
            flows: OnceLock::new(),
        }
    }
}

impl Counters {
    // Relaxed throughout: these are sums that order nothing else.
    pub(super) fn count_down(&self, bytes: u64) {
        self.down.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn count_up(&self, bytes: u64) {
        self.up.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn count_time(&self, time: Duration) {
        self.time.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Whether a step is due.
    pub(super) fn has_grown(&self) -> bool {
        self.usage().total() >= self.next.load(Ordering::Relaxed)
    }

    /// These are the connection's flows.
    pub(super) fn belong_to(&self, down: FlowId, up: FlowId) {
        let _ = self.flows.set((down, up));
    }

    /// The connection's flows, and the last of the steps that are due.
    pub(super) fn climb(&self) -> Option<(FlowId, FlowId, Standing)> {
        let total = self.usage().total();
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reached = None;
        while let Some((_, standing)) = steps.pop_front_if(|(bytes, _)| *bytes <= total) {
            reached = Some(standing);
        }
        self.next.store(steps.front().map_or(u64::MAX, |(bytes, _)| *bytes), Ordering::Relaxed);
        let (down, up) = *self.flows.get()?;
        reached.map(|standing| (down, up, standing))
    }

    fn set_steps(&self, later: impl IntoIterator<Item = (u64, Standing)>) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        *steps = later.into_iter().collect();
        self.next.store(steps.front().map_or(u64::MAX, |(bytes, _)| *bytes), Ordering::Relaxed);
    }

    pub(super) fn usage(&self) -> Usage {
        Usage { down: self.down.load(Ordering::Relaxed), up: self.up.load(Ordering::Relaxed) }
    }
}

/// Reads what one connection used. It outlives the connection and keeps neither it nor the link alive.
#[derive(Clone, Debug)]
pub struct Meter {
    counters: Arc<Counters>,
    link: Weak<Shared>,
    down: FlowId,
    up: FlowId,
}

impl Meter {
    pub(super) fn new(counters: Arc<Counters>, link: Weak<Shared>, down: FlowId, up: FlowId) -> Self {
        Self { counters, link, down, up }
    }

    /// Bytes read from the origin that have come down the link.
    pub fn down(&self) -> u64 {
        self.counters.usage().down
    }

    /// Bytes that were written to the origin.
    pub fn up(&self) -> u64 {
        self.counters.usage().up
    }

    /// For how long bytes of the connection were on the link, waiting for their turn or on their way, the two directions
    /// added up.
    pub fn time(&self) -> Duration {
        Duration::from_nanos(self.counters.time.load(Ordering::Relaxed))
    }

    /// From now on the connection stands so among the others: a pooled one changes hands. What waits goes with it; what
    /// it used so far stays counted here.
    pub fn assign(&self, standing: impl Into<Standing>) {
        self.assign_in_steps(standing, []);
    }

    /// The same, and otherwise once the connection has carried as many bytes, in both directions since it was opened, as
    /// `later` says: a download turns out to be large. Ascending; what is due already counts at the next byte.
    pub fn assign_in_steps(
        &self,
        standing: impl Into<Standing>,
        later: impl IntoIterator<Item = (u64, Standing)>,
    ) {
        if let Some(link) = self.link.upgrade() {
            self.counters.set_steps(later);
            link.lock().assign(self.down, self.up, standing.into());
        }
    }
}
