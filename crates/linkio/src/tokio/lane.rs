//! One direction of a shared link: the lane itself, and for each flow whom to wake and what to count.
//!
//! Decides nothing. It reads no clock and wakes nobody itself: wakers are handed to the caller, who uses them outside
//! the lock.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::meter::Counters;
use crate::capacity::Capacity;
use crate::flow::{FlowId, Standing};
use crate::lane::{Lane, View};
use crate::link::Grant;
use crate::model::LinkModel;
use crate::moment::Moment;
use crate::spec::Direction;
use crate::usage::LaneState;

/// tokio's timers go by whole milliseconds and wake a little later still, by one to two in all: what is due within this
/// time counts as arrived, so that round trips are right on average.
pub(super) const GRAIN: Duration = Duration::from_micros(900);
/// The same for departures, where it is also the burst that may come of it.
pub(super) const EARLY: Duration = Duration::from_micros(400);

#[derive(Debug)]
pub(super) struct WakingLane {
    direction: Direction,
    pub(super) lane: Lane,
    slots: Vec<Option<Slot>>,
    grants: Vec<Grant>,
    /// Connections that have carried enough to stand elsewhere.
    grown: Vec<Arc<Counters>>,
}

/// Whom to wake for a flow, and what counts its bytes.
#[derive(Debug)]
pub(super) struct Slot {
    flow: FlowId,
    waker: Waker,
    /// Whether somebody waits for a grant.
    waiting: bool,
    counters: Arc<Counters>,
}

impl WakingLane {
    pub(super) fn new(direction: Direction, model: &LinkModel, now: Moment) -> Self {
        let lane = Lane::new(model, direction, now).with_late_timers(EARLY, GRAIN);
        Self { direction, lane, slots: Vec::new(), grants: Vec::new(), grown: Vec::new() }
    }

    pub(super) fn open(&mut self, standing: Standing, waker: Waker, counters: Arc<Counters>) -> FlowId {
        let flow = self.lane.open(standing);
        if self.slots.len() <= flow.index() {
            self.slots.resize_with(flow.index() + 1, || None);
        }
        self.slots[flow.index()] = Some(Slot { flow, waker, waiting: false, counters });
        flow
    }

    /// Closes `flow`, withdrawing what it asked for. Its slot is returned to be dropped outside the lock.
    pub(super) fn close(&mut self, flow: FlowId) -> Option<Slot> {
        self.lane.close(flow);
        self.slots.get_mut(flow.index()).and_then(|slot| slot.take_if(|slot| slot.flow == flow))
    }

    pub(super) fn counters(&self) -> impl Iterator<Item = &Counters> {
        self.slots.iter().flatten().map(|slot| &*slot.counters)
    }

    pub(super) fn snapshot(&self, now: Moment) -> LaneState {
        let link = self.lane.link();
        LaneState {
            backlog: link.backlog(),
            queueing_delay: link.queueing_delay(now),
            utilisation: link.utilisation(now),
        }
    }

    pub(super) fn set(&mut self, model: &LinkModel, now: Moment, woken: &mut Vec<Waker>) {
        self.lane.set(model, now, &mut self.grants);
        self.hand_out(woken);
        // Whoever waits for room or an arrival may have less to wait for.
        for slot in self.slots.iter_mut().flatten().filter(|slot| slot.waiting) {
            slot.waiting = false;
            woken.push(slot.waker.clone());
        }
    }

    pub(super) fn set_capacity(&mut self, capacity: Capacity, now: Moment, woken: &mut Vec<Waker>) {
        self.lane.set_capacity(capacity, now, &mut self.grants);
        self.hand_out(woken);
    }

    /// Grants what has departed by `now`; returns when the next packet departs.
    pub(super) fn step(&mut self, now: Moment, woken: &mut Vec<Waker>) -> Option<Moment> {
        let next = self.lane.step(now, &mut self.grants);
        self.hand_out(woken);
        next
    }

    /// `flow` asks for `bytes` more and collects what has arrived.
    pub(super) fn visit(&mut self, flow: FlowId, bytes: u64, now: Moment, woken: &mut Vec<Waker>) -> View {
        // The visitor sees for itself what this visit grants it.
        self.wait(flow, false);
        let view = self.lane.visit(flow, bytes, now, &mut self.grants);
        self.hand_out(woken);
        self.wait(flow, true);
        view
    }

    /// The connections that have, since this was last asked, carried enough to stand elsewhere.
    pub(super) fn take_grown(&mut self) -> Vec<Arc<Counters>> {
        std::mem::take(&mut self.grown)
    }

    fn wait(&mut self, flow: FlowId, waiting: bool) {
        if let Some(slot) = slot(&mut self.slots, flow) {
            slot.waiting = waiting;
        }
    }

    /// Counts every grant and lists the waker of each flow that got any, once.
    fn hand_out(&mut self, woken: &mut Vec<Waker>) {
        for Grant { flow, bytes, .. } in self.grants.drain(..) {
            let Some(slot) = slot(&mut self.slots, flow) else { continue };
            if self.direction == Direction::Down {
                slot.counters.count_down(bytes);
            }
            if slot.counters.has_grown() {
                self.grown.push(Arc::clone(&slot.counters));
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
