//! Who shares a link: flows, the clients they belong to, and their weights.
//!
//! Owns names only. What a flow has asked for is in `queue.rs`; what it used is counted by whoever is granted.

use std::num::NonZeroU32;

/// A client (person or device): the unit of fairness above flows. The value is the program's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientKey(pub u64);

/// One flow over one direction of one link. A closed flow's id is never used again, so a late use is harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl FlowId {
    /// The place of the flow in tables kept beside the link's own; reused after the flow is closed.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// A flow's share among the flows of its client: one of weight 2 gets twice what one of weight 1 gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(NonZeroU32);

impl Weight {
    /// The weight of an ordinary flow.
    pub const ONE: Self = Self(NonZeroU32::MIN);

    /// A weight of `weight`.
    pub const fn new(weight: NonZeroU32) -> Self {
        Self(weight)
    }

    /// `quantum` bytes for each unit of weight.
    pub(crate) fn times(self, quantum: u64) -> u64 {
        quantum.saturating_mul(u64::from(self.0.get()))
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self::ONE
    }
}
