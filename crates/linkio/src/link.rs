//! The scheduler of one direction of a link.
//!
//! Owns the one virtual clock, the piece that is crossing and the queue behind it. It reads no clock, wakes nobody
//! and holds no bytes, only counts of them. `now` never goes backwards.
//!
//! A piece departs when the link has worked for exactly its bytes since the piece before it, however late `step`
//! is called: the clock never moves to `now` while anything waits, so a late timer costs no rate.

use std::collections::HashMap;
use std::time::Duration;

use crate::capacity::{Capacity, Clock};
use crate::class::ClassPolicy;
use crate::flow::{ClientKey, FlowId, Standing};
use crate::loss::Losses;
use crate::moment::Moment;
use crate::queue::{Piece, Queue};
use crate::spec::{Accounting, Framing};
use crate::usage::Busy;

/// A flow that asks again this soon after the step that emptied the queue was held up by that step's lateness, not
/// by its source, so the link carries on from where it was.
const SLACK: Duration = Duration::from_millis(2);
/// How far back the link carries on at most, which bounds the burst after a stall of the whole process.
const CATCH_UP: Duration = Duration::from_millis(20);

/// Nanobits, the unit of a link's work, in a byte.
const NANOBITS: u128 = 8_000_000_000;

/// Bytes of a flow that have crossed the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whose bytes.
    pub flow: FlowId,
    /// How many: at most one quantum.
    pub bytes: u64,
    /// When the last of them left the link; propagation delay comes after it.
    pub departure: Moment,
    /// How often they were lost and sent again before that. Each time cost the link their bytes once more.
    pub lost: u32,
}

/// One direction of a link: flows ask, `step` grants.
#[derive(Debug)]
pub struct Link {
    capacity: Capacity,
    /// Of packets, where they cost more than their payload.
    framing: Option<Framing>,
    losses: Option<Losses>,
    queue: Queue,
    /// When the link was last free; the piece that is crossing started here.
    clock: Clock,
    crossing: Option<Crossing>,
    /// When somebody last asked an idle link.
    woken: Moment,
    /// When a step last found the queue empty.
    drained: Option<Moment>,
    busy: Busy,
}

#[derive(Clone, Copy, Debug)]
struct Crossing {
    flow: FlowId,
    bytes: u64,
    /// What it costs the link, headers and repetitions included, in bytes.
    cost: u64,
    lost: u32,
    /// `None` if the link never opens again.
    done: Option<Clock>,
}

impl Link {
    /// An idle link that counts payload and loses nothing.
    pub fn new(capacity: Capacity) -> Self {
        Self {
            capacity,
            framing: None,
            losses: None,
            queue: Queue::default(),
            clock: Clock::default(),
            crossing: None,
            woken: Moment::START,
            drained: None,
            busy: Busy::default(),
        }
    }

    /// What the link can carry.
    pub fn capacity(&self) -> &Capacity {
        &self.capacity
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

    /// Payload bytes that began to cross, of each class in the order of [`Class::ALL`](crate::Class::ALL).
    pub fn used_by_class(&self) -> [u64; 3] {
        self.queue.used_by_class()
    }

    /// Payload bytes that began to cross, of each client. The use of very many clients that have left is summed up
    /// under [`ClientKey::OTHERS`].
    pub fn used_by_client(&self) -> HashMap<ClientKey, u64> {
        self.queue.used_by_client()
    }

    /// The part of the last ten seconds in which something crossed, from 0 to 1.
    pub fn utilisation(&self, now: Moment) -> f64 {
        self.busy.share(now)
    }

    /// How long from `now` until everything asked for has crossed; `None` if it never will.
    pub fn queueing_delay(&self, now: Moment) -> Option<Duration> {
        let Some(crossing) = &self.crossing else { return Some(Duration::ZERO) };
        let end = self.capacity.finish(crossing.done?, self.queue.backlog())?;
        Some(end.at.since(now))
    }

    /// Opens a flow.
    pub fn open(&mut self, standing: impl Into<Standing>) -> FlowId {
        self.queue.open(standing.into())
    }

    /// Closes `flow` and returns the bytes given back, as [`cancel`](Self::cancel) does.
    pub fn close(&mut self, flow: FlowId) -> u64 {
        self.queue.close(flow)
    }

    /// Gives `flow`, with all it has asked for, another standing.
    pub fn assign(&mut self, flow: FlowId, standing: impl Into<Standing>) {
        self.queue.assign(flow, standing.into(), self.quantum());
    }

    /// `flow` asks to send `bytes` more, after a step to `now`. They are granted by later steps, possibly in parts. A
    /// flow that is not open asks in vain.
    pub fn ask(&mut self, flow: FlowId, bytes: u64, now: Moment) {
        self.queue.add(flow, bytes, self.quantum());
        if self.crossing.is_none() && self.queue.backlog() > 0 {
            self.clock = self.resumed(now);
            self.woken = now;
            self.launch();
        }
    }

    /// Withdraws what `flow` asked for and returns the bytes given back. A piece that is already crossing is paid:
    /// it is granted when it departs, and is not in this number.
    pub fn cancel(&mut self, flow: FlowId) -> u64 {
        self.queue.cancel(flow)
    }

    /// Grants every piece that has departed by `now`, in order. Returns when to step next; `None` if nothing waits
    /// or nothing can cross.
    pub fn step(&mut self, now: Moment, grants: &mut Vec<Grant>) -> Option<Moment> {
        while let Some(Crossing { flow, bytes, lost, done, .. }) = self.crossing {
            let done = done?;
            if done.at > now {
                return Some(done.at);
            }
            grants.push(Grant { flow, bytes, departure: done.at, lost });
            self.busy.note(self.clock.at, done.at);
            self.clock = done;
            self.launch();
            if self.crossing.is_none() {
                self.drained = Some(now);
            }
        }
        None
    }

    /// Changes what the link can carry from `now` on, after a step to `now`. The work already done on the piece that
    /// is crossing counts; nothing that waits is lost. Step again afterwards to learn the next moment.
    pub fn set_capacity(&mut self, capacity: Capacity, now: Moment, grants: &mut Vec<Grant>) {
        self.step(now, grants);
        if self.crossing.is_some() {
            self.clock = self.capacity.advance(self.clock, now);
        } else {
            self.drained = None;
        }
        self.capacity = capacity;
        self.shorten();
        if let Some(crossing) = &mut self.crossing {
            crossing.done = self.capacity.finish(self.clock, crossing.cost);
        }
    }

    /// Counts each packet with its headers, or only what it carries, from the next packet on.
    pub fn set_accounting(&mut self, accounting: Accounting) {
        self.framing = match accounting {
            Accounting::Payload => None,
            Accounting::Wire(framing) => Some(framing),
        };
    }

    /// Lets whoever asked first go first, or all take turns.
    pub fn set_fifo(&mut self, fifo: bool) {
        self.queue.set_fifo(fifo);
    }

    /// What each class may claim from now on, in the order of [`Class::ALL`](crate::Class::ALL).
    pub fn set_classes(&mut self, policies: [ClassPolicy; 3]) {
        self.queue.set_classes(policies);
    }

    /// Loses packets from the next one on as `losses` says.
    pub(crate) fn set_losses(&mut self, losses: Option<Losses>) {
        self.losses = losses;
    }

    /// After a step down: what is left of the piece that is crossing would hold a slow link for long, so all but a
    /// quantum of it waits again.
    fn shorten(&mut self) {
        let quantum = self.quantum();
        let Some(crossing) = self.crossing.as_mut().filter(|crossing| crossing.cost == crossing.bytes) else {
            return;
        };
        let done = u64::try_from(self.clock.ahead / NANOBITS).unwrap_or(u64::MAX).min(crossing.bytes);
        let excess = (crossing.bytes - done).saturating_sub(quantum);
        if excess > 0 && self.queue.add(crossing.flow, excess, quantum) {
            crossing.bytes -= excess;
            crossing.cost -= excess;
        }
    }

    /// Where the idle link starts again when somebody asks at `now`.
    fn resumed(&self, now: Moment) -> Clock {
        let Some(drained) = self.drained.filter(|drained| now.since(*drained) <= SLACK) else {
            return Clock::starting(now.max(self.clock.at));
        };
        // By how much the last step came too late: what had been sent and asked by then was behind it.
        let late = drained.since(self.clock.at.max(self.woken));
        let earliest = now.before((late + SLACK).min(CATCH_UP));
        if self.clock.at >= earliest { self.clock } else { Clock::starting(earliest) }
    }

    /// Bytes of one turn now. A piece is of one packet.
    fn quantum(&self) -> u64 {
        let quantum = self.capacity.quantum(self.clock.at);
        self.segment().map_or(quantum, |segment| quantum.min(segment))
    }

    /// Payload bytes of a packet, where packets matter.
    fn segment(&self) -> Option<u64> {
        let framing = self.framing.or(self.losses.as_ref().map(|_| Framing::default()))?;
        Some(framing.payload())
    }

    /// Starts the next piece at the moment the link became free.
    fn launch(&mut self) {
        self.crossing = self.queue.next(self.quantum(), self.segment()).map(|piece| {
            let (cost, lost) = self.cost(piece);
            let done = self.capacity.finish(self.clock, cost);
            Crossing { flow: piece.flow, bytes: piece.bytes, cost, lost, done }
        });
    }

    /// What `piece` costs the link in bytes, and how often it is lost.
    fn cost(&mut self, piece: Piece) -> (u64, u32) {
        if !piece.begins || (self.framing.is_none() && self.losses.is_none()) {
            return (piece.bytes, 0);
        }
        let headers = self.framing.map_or(0, |framing| framing.overhead());
        let lost = self.losses.as_mut().map_or(0, |losses| losses.draw(self.clock.at));
        let mut cost = piece.bytes + headers;
        if lost > 0 {
            // The whole packet was sent in vain, as far as it is known.
            let payload = Framing::default().payload().min(piece.bytes + self.queue.waiting(piece.flow));
            cost += u64::from(lost) * (payload + headers);
        }
        (cost, lost)
    }
}
