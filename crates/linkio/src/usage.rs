//! What a link carried, and how it is doing: plain numbers for whoever prints them.
//!
//! Owns `Usage` and the snapshot of a link. Counting itself happens where bytes cross.

use std::ops::AddAssign;
use std::time::Duration;

use crate::spec::LinkSpec;

/// Bytes of payload that crossed, each direction on its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes towards the clients.
    pub down: u64,
    /// Bytes towards the origins.
    pub up: u64,
}

impl Usage {
    /// Bytes in both directions together.
    pub fn total(self) -> u64 {
        self.down.saturating_add(self.up)
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.down = self.down.saturating_add(other.down);
        self.up = self.up.saturating_add(other.up);
    }
}

/// One direction of a link at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneState {
    /// Bytes asked for and not yet granted.
    pub backlog: u64,
    /// How long until the backlog has crossed; `None` on a closed link with a backlog.
    pub queueing_delay: Option<Duration>,
}

/// A link at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// The link as it is set.
    pub spec: LinkSpec,
    /// What crossed since the link was made.
    pub usage: Usage,
    /// Open connections over the link.
    pub flows: usize,
    /// Towards the clients.
    pub down: LaneState,
    /// Towards the origins.
    pub up: LaneState,
}
