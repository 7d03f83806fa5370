//! What one connection used, readable while it is open and after.
//!
//! Owns the counters of a connection. They are written by the one stream they belong to, and by the dispatcher on its
//! behalf.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use super::shared::Shared;
use crate::flow::{FlowId, Standing};
use crate::usage::Usage;

/// Bytes of one connection that crossed so far.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) down: AtomicU64,
    pub(super) up: AtomicU64,
}

impl Counters {
    // Relaxed throughout: these are sums that order nothing else.
    pub(super) fn count_down(&self, bytes: u64) {
        self.down.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn count_up(&self, bytes: u64) {
        self.up.fetch_add(bytes, Ordering::Relaxed);
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

    /// From now on the connection stands so among the others: a pooled one changes hands, a download turns out to be
    /// large. What waits goes with it; what it used so far stays counted here.
    pub fn assign(&self, standing: impl Into<Standing>) {
        let standing = standing.into();
        if let Some(link) = self.link.upgrade() {
            let mut state = link.lock();
            state.down.lane.assign(self.down, standing);
            state.up.lane.assign(self.up, standing);
        }
    }
}
