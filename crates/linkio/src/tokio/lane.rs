//! One direction of a shared link: its scheduler, and for each flow what is in flight and whom to wake.
//!
//! Owns counts only; the bytes themselves are in the streams. It reads no clock and wakes nobody itself: wakers are
//! handed to the caller, who uses them outside the lock.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::Direction;
use super::meter::Counters;
use crate::capacity::Capacity;
use crate::delay::Pipe;
use crate::flow::{ClientKey, FlowId, Weight};
use crate::link::{Grant, Link};
use crate::moment::Moment;
use crate::spec::LinkSpec;
use crate::usage::LaneState;

/// Bytes of one flow in flight on a link that delays but does not limit. A limited one bounds them by itself.
const IN_FLIGHT_MAX: u64 = 4 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Lane {
    direction: Direction,
    link: Link,
    /// Propagation: half of the round trip.
    delay: Duration,
    slots: Vec<Option<Slot>>,
    grants: Vec<Grant>,
}

/// What one flow has in flight, and whom to wake for it.
#[derive(Debug)]
pub(super) struct Slot {
    flow: FlowId,
    pipe: Pipe,
    /// When the flow asked after having nothing waiting: a late timer must not let bytes depart before they came.
    asked: Moment,
    /// Wakes whoever waits for a grant.
    waker: Waker,
    waiting: bool,
    counters: Arc<Counters>,
}

/// What a flow learns when it visits its lane.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct View {
    /// Bytes that arrived since the last visit.
    pub(super) arrived: u64,
    /// Bytes it may have waiting beyond those that wait already.
    pub(super) room: u64,
    /// When the next bytes arrive, if some are in flight.
    pub(super) due: Option<Moment>,
    /// When something that happens at the far end now is known at this end.
    pub(super) seen: Moment,
    /// The present.
    pub(super) now: Moment,
}

impl Lane {
    pub(super) fn new(direction: Direction, spec: &LinkSpec) -> Self {
        let (capacity, delay) = shape(direction, spec);
        Self { direction, link: Link::new(capacity), delay, slots: Vec::new(), grants: Vec::new() }
    }

    /// Whether streams need not meet the link at all in this direction.
    pub(super) fn passes(&self) -> bool {
        self.link.capacity() == Capacity::Unlimited && self.delay.is_zero()
    }

    /// Whether anything waits to cross.
    pub(super) fn is_busy(&self) -> bool {
        self.link.backlog() > 0
    }

    pub(super) fn open(&mut self, client: ClientKey, waker: Waker, counters: Arc<Counters>) -> FlowId {
        let flow = self.link.open(client, Weight::ONE);
        let slot =
            Slot { flow, pipe: Pipe::default(), asked: Moment::START, waker, waiting: false, counters };
        if self.slots.len() <= flow.index() {
            self.slots.resize_with(flow.index() + 1, || None);
        }
        self.slots[flow.index()] = Some(slot);
        flow
    }

    /// Closes `flow`, withdrawing what it asked for. Its slot is returned to be dropped outside the lock.
    pub(super) fn close(&mut self, flow: FlowId) -> Option<Slot> {
        self.link.close(flow);
        self.slots.get_mut(flow.index()).and_then(Option::take)
    }

    pub(super) fn assign(&mut self, flow: FlowId, client: ClientKey) {
        self.link.assign(flow, client);
    }

    pub(super) fn flows(&self) -> usize {
        self.link.flows()
    }

    pub(super) fn counters(&self) -> impl Iterator<Item = &Counters> {
        self.slots.iter().flatten().map(|slot| &*slot.counters)
    }

    pub(super) fn snapshot(&self, now: Moment) -> LaneState {
        LaneState { backlog: self.link.backlog(), queueing_delay: self.link.queueing_delay(now) }
    }

    pub(super) fn set(&mut self, spec: &LinkSpec, now: Moment, woken: &mut Vec<Waker>) {
        let (capacity, delay) = shape(self.direction, spec);
        self.link.set_capacity(capacity, now, &mut self.grants);
        self.hand_out(woken);
        self.delay = delay;
        self.step(now, woken);
    }

    /// Grants what has departed by `now`; returns when the next packet departs.
    pub(super) fn step(&mut self, now: Moment, woken: &mut Vec<Waker>) -> Option<Moment> {
        let next = self.link.step(now, &mut self.grants);
        self.hand_out(woken);
        next
    }

    /// `flow` asks for `bytes` more and collects what has arrived. Also returns when the next packet departs.
    pub(super) fn visit(
        &mut self,
        flow: FlowId,
        bytes: u64,
        now: Moment,
        woken: &mut Vec<Waker>,
    ) -> (View, Option<Moment>) {
        if let Some(slot) = slot(&mut self.slots, flow) {
            // The visitor sees for itself what this step grants it.
            slot.waiting = false;
            if bytes > 0 && self.link.waiting(flow) == 0 {
                slot.asked = now;
            }
        }
        self.link.ask(flow, bytes, now);
        let next = self.step(now, woken);
        let mut view = View { seen: now + self.delay, now, ..View::default() };
        if let Some(slot) = slot(&mut self.slots, flow) {
            slot.waiting = true;
            view.arrived = slot.pipe.arrive(now);
            view.due = slot.pipe.next();
            view.room = self.link.capacity().backlog_limit().saturating_sub(self.link.waiting(flow));
            if self.link.capacity() == Capacity::Unlimited {
                view.room = view.room.min(IN_FLIGHT_MAX.saturating_sub(slot.pipe.bytes()));
            }
        }
        (view, next)
    }

    /// Puts every grant in flight and lists the waker of each flow that got any, once.
    fn hand_out(&mut self, woken: &mut Vec<Waker>) {
        for Grant { flow, bytes, departure } in self.grants.drain(..) {
            // A packet that was crossing when its flow closed belongs to nobody any more.
            let Some(slot) = slot(&mut self.slots, flow) else { continue };
            slot.pipe.depart(bytes, departure.max(slot.asked), self.delay);
            if self.direction == Direction::Down {
                slot.counters.count_down(bytes);
            }
            if std::mem::take(&mut slot.waiting) {
                woken.push(slot.waker.clone());
            }
        }
    }
}

fn slot(slots: &mut [Option<Slot>], flow: FlowId) -> Option<&mut Slot> {
    slots.get_mut(flow.index())?.as_mut().filter(|slot| slot.flow == flow)
}

fn shape(direction: Direction, spec: &LinkSpec) -> (Capacity, Duration) {
    let rate = match direction {
        Direction::Down => spec.down,
        Direction::Up => spec.up,
    };
    (Capacity::from_spec(rate), spec.rtt / 2)
}
