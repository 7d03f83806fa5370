//! What became of a workload: the output of a run.
//!
//! Owns plain numbers. Percentiles and how they are printed are the program's.

use std::time::Duration;

use super::timeline::Timeline;
use crate::capacity::{Capacity, Clock};
use crate::moment::Moment;

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What became of each transaction, in the order of the workload.
    pub records: Vec<Record>,
    /// When the last of them was done, or when the run was ended.
    pub ended: Moment,
    /// New connections to hosts.
    pub connections: u64,
    /// What crossed towards the clients.
    pub down: Traffic,
    /// What crossed towards the hosts.
    pub up: Traffic,
}

/// What became of one transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// How far it came.
    pub fate: Fate,
    /// When it was due: waiting for one of its client's connections comes after this. `None` if it never was.
    pub began: Option<Moment>,
    /// When the first byte of the response arrived at the client's side of the link.
    pub first_byte: Option<Moment>,
    /// When the last one did.
    pub done: Option<Moment>,
    /// Whether its connection was made for it.
    pub dialled: bool,
    /// Bytes of the response that have arrived.
    pub arrived: u64,
    /// How long after the request was ready its first packet had left the link.
    pub queued_up: Option<Duration>,
    /// How long after the response was ready its first packet had left the link.
    pub queued_down: Option<Duration>,
}

/// How far a transaction came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// The run ended before it, or those it waits for, were due.
    #[default]
    Waits,
    /// It began and was not done when the run ended.
    Unfinished,
    /// Its whole response arrived.
    Done,
    /// It would have begun too late, or waits for one that would have.
    Dropped,
}

/// What crossed one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of the streams, greetings among them.
    pub crossed: u64,
    /// Bytes that could have crossed until the end of the run, in what the rate counts; `None` is without limit.
    pub offered: Option<u64>,
    /// What crossed in each piece of the run.
    pub crossed_over_time: Timeline,
    /// What could have crossed in each piece; empty without limit.
    pub offered_over_time: Vec<u64>,
}

impl Traffic {
    /// The account of a run of `capacity` that ended at `ended`.
    pub(super) fn new(mut over_time: Timeline, capacity: &Capacity, ended: Moment) -> Self {
        over_time.reach(ended);
        let work = |from: Moment, to: Moment| offered(capacity, from, to);
        let width = over_time.width();
        let mut from = Moment::START;
        let mut pieces = Vec::new();
        for _ in over_time.bytes() {
            let to = (from + width).min(ended);
            pieces.extend(work(from, to));
            from = to;
        }
        Self {
            crossed: over_time.bytes().iter().sum(),
            offered: work(Moment::START, ended),
            crossed_over_time: over_time,
            offered_over_time: pieces,
        }
    }
}

/// Bytes that can cross between two moments.
fn offered(capacity: &Capacity, from: Moment, to: Moment) -> Option<u64> {
    if *capacity == Capacity::Unlimited {
        return None;
    }
    let work = capacity.advance(Clock::starting(from), to).ahead;
    Some(u64::try_from(work / 8_000_000_000).unwrap_or(u64::MAX))
}
