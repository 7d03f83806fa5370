//! The scheduler of one direction of a link.
//!
//! Owns the one virtual clock, the packet that is crossing and the queue behind it. It reads no clock, wakes nobody
//! and holds no bytes, only counts of them. `now` never goes backwards.
//!
//! A packet departs when the link has worked for exactly its bytes since the packet before it, however late `step`
//! is called: the clock never moves to `now` while anything waits, so a late timer costs no rate.

use std::time::Duration;

use crate::capacity::{Capacity, Clock};
use crate::flow::{ClientKey, FlowId, Weight};
use crate::moment::Moment;
use crate::queue::Queue;

/// A flow that asks again this soon after the step that emptied the queue was held up by that step's lateness, not
/// by its source, so the link carries on from where it was.
const SLACK: Duration = Duration::from_millis(2);
/// How far back the link carries on at most, which bounds the burst after a stall of the whole process.
const CATCH_UP: Duration = Duration::from_millis(20);

/// Bytes of a flow that have crossed the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whose bytes.
    pub flow: FlowId,
    /// How many: at most one quantum.
    pub bytes: u64,
    /// When the last of them left the link; propagation delay comes after it.
    pub departure: Moment,
}

/// One direction of a link: flows ask, `step` grants.
#[derive(Debug)]
pub struct Link {
    capacity: Capacity,
    queue: Queue,
    /// When the link was last free; the packet that is crossing started here.
    clock: Clock,
    crossing: Option<Crossing>,
    /// When a step last found the queue empty.
    drained: Option<Moment>,
}

#[derive(Clone, Copy, Debug)]
struct Crossing {
    flow: FlowId,
    bytes: u64,
    /// `None` on a closed link.
    done: Option<Clock>,
}

impl Link {
    /// An idle link.
    pub fn new(capacity: Capacity) -> Self {
        Self { capacity, queue: Queue::default(), clock: Clock::default(), crossing: None, drained: None }
    }

    /// What the link can carry.
    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// Bytes that `flow` has asked for and that have not begun to cross.
    pub fn waiting(&self, flow: FlowId) -> u64 {
        self.queue.waiting(flow)
    }

    /// Bytes of all flows that were asked for and not yet granted.
    pub fn backlog(&self) -> u64 {
        let crossing = self.crossing.as_ref().map_or(0, |crossing| crossing.bytes);
        self.queue.backlog().saturating_add(crossing)
    }

    /// How many flows are open.
    pub fn flows(&self) -> usize {
        self.queue.flows()
    }

    /// How long from `now` until everything asked for has crossed; `None` if it never will.
    pub fn queueing_delay(&self, now: Moment) -> Option<Duration> {
        let Some(crossing) = &self.crossing else { return Some(Duration::ZERO) };
        let end = self.capacity.finish(crossing.done?, self.queue.backlog())?;
        Some(end.at.since(now))
    }

    /// Opens a flow of `client`.
    pub fn open(&mut self, client: ClientKey, weight: Weight) -> FlowId {
        self.queue.open(client, weight)
    }

    /// Closes `flow` and returns the bytes given back, as [`cancel`](Self::cancel) does.
    pub fn close(&mut self, flow: FlowId) -> u64 {
        self.queue.close(flow)
    }

    /// Moves `flow`, with all it has asked for, to another client.
    pub fn assign(&mut self, flow: FlowId, client: ClientKey) {
        self.queue.assign(flow, client, self.capacity.quantum());
    }

    /// `flow` asks to send `bytes` more. They are granted by later steps, possibly in parts. A flow that is not open
    /// asks in vain.
    pub fn ask(&mut self, flow: FlowId, bytes: u64, now: Moment) {
        self.queue.add(flow, bytes, self.capacity.quantum());
        if self.crossing.is_none() && self.queue.backlog() > 0 {
            self.clock = self.resumed(now);
            self.launch();
        }
    }

    /// Withdraws what `flow` asked for and returns the bytes given back. A packet that is already crossing is paid:
    /// it is granted when it departs, and is not in this number.
    pub fn cancel(&mut self, flow: FlowId) -> u64 {
        self.queue.cancel(flow)
    }

    /// Grants every packet that has departed by `now`, in order. Returns when to step next; `None` if nothing waits
    /// or nothing can cross.
    pub fn step(&mut self, now: Moment, grants: &mut Vec<Grant>) -> Option<Moment> {
        while let Some(Crossing { flow, bytes, done }) = self.crossing {
            let done = done?;
            if done.at > now {
                return Some(done.at);
            }
            grants.push(Grant { flow, bytes, departure: done.at });
            self.clock = done;
            self.launch();
            if self.crossing.is_none() {
                self.drained = Some(now);
            }
        }
        None
    }

    /// Changes what the link can carry from `now` on, after a step to `now`. The work already done on the packet that
    /// is crossing counts; nothing that waits is lost. Step again afterwards to learn the next moment.
    pub fn set_capacity(&mut self, capacity: Capacity, now: Moment, grants: &mut Vec<Grant>) {
        self.step(now, grants);
        match &mut self.crossing {
            Some(crossing) => {
                self.clock = self.capacity.advance(self.clock, now);
                crossing.done = capacity.finish(self.clock, crossing.bytes);
            }
            None => self.drained = None,
        }
        self.capacity = capacity;
    }

    /// Where the idle link starts again when somebody asks at `now`.
    fn resumed(&self, now: Moment) -> Clock {
        let held_up = self.drained.is_some_and(|drained| now.since(drained) <= SLACK);
        if !held_up {
            return Clock::starting(now.max(self.clock.at));
        }
        let earliest = now.before(CATCH_UP);
        if self.clock.at >= earliest { self.clock } else { Clock::starting(earliest) }
    }

    /// Starts the next packet at the moment the link became free.
    fn launch(&mut self) {
        self.crossing = self.queue.next(self.capacity.quantum()).map(|(flow, bytes)| Crossing {
            flow,
            bytes,
            done: self.capacity.finish(self.clock, bytes),
        });
    }
}
