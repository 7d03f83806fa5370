//! One direction of one stream: the bytes that wait, are in flight or have arrived, in order.
//!
//! Owns the bytes and the timer that waits for their arrival. It does no input or output.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::alarm::Alarm;
use super::meter::Counters;
use super::shared::Shared;
use crate::flow::FlowId;
use crate::moment::Moment;
use crate::spec::Direction;

/// Once this much has arrived and is not taken, no more is accepted.
const ARRIVED_MAX: usize = 64 * 1024;
/// Buffers larger than this are given back to the allocator when they run empty.
const KEEP: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Half {
    direction: Direction,
    pub(super) flow: FlowId,
    /// In order: arrived, in flight, waiting, not yet asked for.
    data: VecDeque<u8>,
    arrived: usize,
    unasked: usize,
    room: usize,
    /// When to visit again, as of the last visit: bytes arrive, or there may be more room.
    pub(super) again: Option<Moment>,
    /// When what the far end does now is seen here, as of the last visit.
    pub(super) seen: Moment,
    /// The present, as of the last visit.
    pub(super) now: Moment,
    /// Since when bytes are under way that had not arrived at the last visit.
    under_way: Option<Moment>,
    alarm: Alarm,
}

impl Half {
    pub(super) fn new(direction: Direction, flow: FlowId) -> Self {
        Self {
            direction,
            flow,
            data: VecDeque::new(),
            arrived: 0,
            unasked: 0,
            room: 0,
            again: None,
            seen: Moment::START,
            now: Moment::START,
            under_way: None,
            alarm: Alarm::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Bytes held, wherever they are on their way.
    pub(super) fn len(&self) -> usize {
        self.data.len()
    }

    /// How many bytes may be pushed.
    pub(super) fn room(&self) -> usize {
        if self.arrived < ARRIVED_MAX { self.room } else { 0 }
    }

    /// Appends bytes, at most `room`; the next visit asks for them.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.data.extend(bytes);
        self.unasked += bytes.len();
        self.room = self.room.saturating_sub(bytes.len());
    }

    /// Asks the link for what was pushed and learns what has arrived. How long it took counts in `counters`.
    pub(super) fn visit(&mut self, link: &Arc<Shared>, counters: &Counters) {
        let view = link.visit(self.direction, self.flow, std::mem::take(&mut self.unasked) as u64);
        // What arrived and what there is room for are counts of bytes held here, so they fit.
        self.arrived += usize::try_from(view.arrived).unwrap_or(usize::MAX);
        self.room = usize::try_from(view.room).unwrap_or(usize::MAX);
        (self.again, self.seen, self.now) = (view.again, view.seen, view.now);
        if let Some(since) = self.under_way {
            counters.count_time(self.now.since(since));
        }
        self.under_way = (self.arrived < self.data.len()).then_some(self.now);
    }

    /// The bytes that have arrived, as up to two slices.
    pub(super) fn arrived(&self) -> (&[u8], &[u8]) {
        let (first, second) = self.data.as_slices();
        let split = self.arrived.min(first.len());
        (&first[..split], &second[..self.arrived - split])
    }

    /// Removes the first `count` of the bytes that have arrived.
    pub(super) fn consume(&mut self, count: usize) {
        self.arrived -= count;
        self.data.drain(..count);
        if self.data.is_empty() && self.data.capacity() > KEEP {
            self.data = VecDeque::new();
        }
    }

    /// Forgets every byte, after the flow was closed: no grant may come for what is no longer held.
    pub(super) fn clear(&mut self) {
        self.data = VecDeque::new();
        (self.arrived, self.unasked, self.room) = (0, 0, 0);
    }

    /// Waits until `moment`, in the task of `cx`.
    pub(super) fn poll_until(&mut self, link: &Shared, moment: Moment, cx: &mut Context<'_>) -> Poll<()> {
        self.alarm.poll_until(link, moment, cx)
    }
}
