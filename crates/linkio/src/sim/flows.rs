//! Flows over one direction of a link in virtual time.
//!
//! Owns a link, its time and what each flow has to send. It has no randomness and no clock, so a run is the same
//! every time; it decides nothing that `Link` does not decide.
//!
//! ```
//! use linkio::sim::Sim;
//! use linkio::{Capacity, ClientKey, Moment};
//!
//! let mut sim = Sim::new(Capacity::from_spec(Some("1M".parse()?)));
//! let bulk = sim.open(ClientKey(1));
//! let small = sim.open(ClientKey(2));
//! sim.saturate(bulk);
//! sim.run_until(Moment::from_nanos(1_000_000_000));
//! sim.offer(small, 1000);
//! sim.run_until(Moment::from_nanos(2_000_000_000));
//! assert_eq!(sim.crossed(small), 1000);
//! assert_eq!(sim.crossed(bulk) / 1500, 249_000 / 1500);
//! # Ok::<(), linkio::QuantityError>(())
//! ```

use crate::capacity::Capacity;
use crate::flow::{FlowId, Standing};
use crate::link::{Grant, Link};
use crate::moment::Moment;

/// Flows over a link in virtual time.
#[derive(Debug)]
pub struct Sim {
    link: Link,
    now: Moment,
    /// By the flow's index.
    sources: Vec<Source>,
    grants: Vec<Grant>,
    history: Vec<Grant>,
}

#[derive(Clone, Debug)]
struct Source {
    flow: FlowId,
    saturated: bool,
    crossed: u64,
}

impl Sim {
    /// An idle link at the start of its time.
    pub fn new(capacity: Capacity) -> Self {
        Self {
            link: Link::new(capacity),
            now: Moment::START,
            sources: Vec::new(),
            grants: Vec::new(),
            history: Vec::new(),
        }
    }

    /// The link, as it is now.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// The present moment of the run.
    pub fn now(&self) -> Moment {
        self.now
    }

    /// Every grant so far, in order of departure.
    pub fn history(&self) -> &[Grant] {
        &self.history
    }

    /// Bytes of `flow` that have crossed. A closed flow's are forgotten when another takes its place.
    pub fn crossed(&self, flow: FlowId) -> u64 {
        self.sources.get(flow.index()).filter(|source| source.flow == flow).map_or(0, |source| source.crossed)
    }

    /// The link, to change how it schedules.
    pub fn link_mut(&mut self) -> &mut Link {
        &mut self.link
    }

    /// Opens a flow.
    pub fn open(&mut self, standing: impl Into<Standing>) -> FlowId {
        let flow = self.link.open(standing);
        let source = Source { flow, saturated: false, crossed: 0 };
        match self.sources.get_mut(flow.index()) {
            Some(place) => *place = source,
            None => self.sources.push(source),
        }
        flow
    }

    /// `flow` asks to send `bytes` more, now.
    pub fn offer(&mut self, flow: FlowId, bytes: u64) {
        self.link.ask(flow, bytes, self.now);
    }

    /// `flow` always has something to send from now on, except while the link is unlimited: then no time would pass.
    pub fn saturate(&mut self, flow: FlowId) {
        if let Some(source) = self.source(flow) {
            source.saturated = true;
        }
        self.refill(flow);
    }

    /// `flow` stops sending; returns the bytes given back.
    pub fn stop(&mut self, flow: FlowId) -> u64 {
        if let Some(source) = self.source(flow) {
            source.saturated = false;
        }
        self.link.cancel(flow)
    }

    /// `flow` stops sending and leaves; returns the bytes given back.
    pub fn close(&mut self, flow: FlowId) -> u64 {
        if let Some(source) = self.source(flow) {
            source.saturated = false;
        }
        self.link.close(flow)
    }

    /// Changes the link's capacity, now.
    pub fn set_capacity(&mut self, capacity: Capacity) {
        self.link.set_capacity(capacity, self.now, &mut self.grants);
        self.account();
    }

    /// Runs until `end`, jumping from departure to departure.
    pub fn run_until(&mut self, end: Moment) {
        self.now = self.now.max(self.advance_to(end));
    }

    /// Runs until nothing more can cross, or until `end`; stays at the moment of the last departure before it.
    pub fn run_out(&mut self, end: Moment) {
        self.advance_to(end);
    }

    /// Steps from departure to departure up to `end`, and returns `end`.
    fn advance_to(&mut self, end: Moment) -> Moment {
        loop {
            let next = self.link.step(self.now, &mut self.grants);
            if self.account() {
                // What was granted may have made room for what departs earlier.
                continue;
            }
            match next {
                Some(next) if next <= end => self.now = self.now.max(next),
                _ => return end,
            }
        }
    }

    /// Books what was granted; returns whether that was anything.
    fn account(&mut self) -> bool {
        let mut grants = std::mem::take(&mut self.grants);
        let any = !grants.is_empty();
        for grant in grants.drain(..) {
            self.history.push(grant);
            if let Some(source) = self.source(grant.flow) {
                source.crossed += grant.bytes;
            }
            self.refill(grant.flow);
        }
        self.grants = grants;
        any
    }

    fn refill(&mut self, flow: FlowId) {
        let saturated = self.source(flow).is_some_and(|source| source.saturated);
        let capacity = self.link.capacity();
        if saturated && *capacity != Capacity::Unlimited {
            let room = capacity.backlog_limit(self.now).saturating_sub(self.link.waiting(flow));
            self.link.ask(flow, room, self.now);
        }
    }

    fn source(&mut self, flow: FlowId) -> Option<&mut Source> {
        self.sources.get_mut(flow.index()).filter(|source| source.flow == flow)
    }
}
