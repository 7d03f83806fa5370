//! Who shares a link: flows, the clients they belong to, their classes and weights.
//!
//! Owns names only. What a flow has asked for is in `queue.rs`; what it used is counted where it is granted.

use std::num::NonZeroU32;

/// A client (person or device): the unit of fairness above flows. The value is the program's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientKey(pub u64);

impl ClientKey {
    /// Under this key the use of clients is summed up that are too many to be told apart.
    pub const OTHERS: Self = Self(u64::MAX);
}

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

/// What a flow is for. What a class may claim is its [`ClassPolicy`](crate::ClassPolicy).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Somebody waits for it.
    #[default]
    Interactive,
    /// Large and wanted, such as a download.
    Bulk,
    /// Nobody waits for it, such as an update: it crosses when little else does.
    Background,
}

impl Class {
    /// Every class, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Interactive, Self::Bulk, Self::Background];

    /// Its place in tables of all classes.
    pub fn index(self) -> usize {
        match self {
            Self::Interactive => 0,
            Self::Bulk => 1,
            Self::Background => 2,
        }
    }

    /// Its name: `interactive`, `bulk` or `background`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Bulk => "bulk",
            Self::Background => "background",
        }
    }
}

/// A share among equals: a flow of weight 2 gets twice what another flow of its client gets whose weight is 1, and a
/// client twice what another client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(NonZeroU32);

impl Weight {
    /// The ordinary weight.
    pub const ONE: Self = Self(NonZeroU32::MIN);

    /// A weight of `weight`.
    pub const fn new(weight: NonZeroU32) -> Self {
        Self(weight)
    }

    /// The weight as a number.
    pub const fn value(self) -> u32 {
        self.0.get()
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

/// Where a flow stands among the others: whose it is, what it is for, and what it weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whose flow it is.
    pub client: ClientKey,
    /// The client's share among clients. The one given last counts for all of the client's flows of the class.
    pub client_weight: Weight,
    /// What the flow is for.
    pub class: Class,
    /// Its share among the client's flows.
    pub weight: Weight,
}

impl From<ClientKey> for Standing {
    fn from(client: ClientKey) -> Self {
        Self { client, client_weight: Weight::ONE, class: Class::default(), weight: Weight::ONE }
    }
}
