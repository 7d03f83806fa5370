//! Bytes of one message on their way over one direction of the link.
//!
//! Owns how many of them have been asked for, and when to look again. Pacing is the lane's.

use super::outcome::Traffic;
use super::timeline::Timeline;
use crate::flow::FlowId;
use crate::lane::{Lane, View};
use crate::link::Grant;
use crate::model::LinkModel;
use crate::moment::Moment;
use crate::spec::{Direction, Discipline, Tcp};

/// The largest packet. Where at least this much of a flow waits, it is granted something before its queue runs empty.
const PACKET: u64 = 1500;

/// One direction of the link, and which connection each of its flows belongs to.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) lane: Lane,
    /// When to step the lane next.
    pub(super) next: Option<Moment>,
    /// By the flow's index.
    owners: Vec<u32>,
    /// Granted to flows that have not been told.
    pub(super) grants: Vec<Grant>,
    timeline: Timeline,
    /// Whether it matters when exactly a flow asks and collects: for its window, or for its place in one queue.
    is_exact: bool,
}

impl Way {
    pub(super) fn new(model: &LinkModel, direction: Direction) -> Self {
        Self {
            lane: Lane::new(model, direction, Moment::START),
            next: None,
            owners: Vec::new(),
            grants: Vec::new(),
            timeline: Timeline::default(),
            is_exact: model.spec.tcp == Tcp::SlowStart || model.spec.queue != Discipline::Fair,
        }
    }

    /// Notes that `flow` belongs to the connection at `owner`.
    pub(super) fn belongs(&mut self, flow: FlowId, owner: u32) {
        if self.owners.len() <= flow.index() {
            self.owners.resize(flow.index() + 1, 0);
        }
        self.owners[flow.index()] = owner;
    }

    /// The connection that `flow` belongs to.
    pub(super) fn owner(&self, flow: FlowId) -> Option<u32> {
        self.owners.get(flow.index()).copied()
    }

    /// Grants what has departed by `now`.
    pub(super) fn step(&mut self, now: Moment) {
        let before = self.grants.len();
        self.next = self.lane.step(now, &mut self.grants);
        self.count(before);
    }

    /// What crossed, and what could have, until `ended`.
    pub(super) fn traffic(self, ended: Moment) -> Traffic {
        Traffic::new(self.timeline, self.lane.link().capacity(), ended)
    }

    /// `flow` asks for `bytes` and notes in `crossing` what it is granted at once.
    fn visit(&mut self, flow: FlowId, bytes: u64, now: Moment, crossing: &mut Crossing) -> View {
        let before = self.grants.len();
        let view = self.lane.visit(flow, bytes, now, &mut self.grants);
        self.next = view.next;
        self.count(before);
        if self.grants.len() > before {
            self.grants
                .iter()
                .skip(before)
                .filter(|grant| grant.flow == flow)
                .for_each(|grant| crossing.grant(grant));
            self.grants.retain(|grant| grant.flow != flow);
            if !self.grants.is_empty() {
                // Others are told with the next step.
                self.next = Some(now);
            }
        }
        view
    }

    fn count(&mut self, before: usize) {
        for grant in self.grants.iter().skip(before) {
            self.timeline.add(grant.bytes, grant.departure);
        }
    }
}

/// One message, or what is left of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crossing {
    /// Not yet asked for.
    left: u64,
    /// Not yet granted.
    ungranted: u64,
    /// Not yet arrived.
    pub(super) missing: u64,
    pub(super) ready: Moment,
    /// When its first packet had left the link.
    pub(super) departed: Option<Moment>,
    /// When the latest one had.
    latest: Moment,
    /// When its first bytes had arrived.
    pub(super) arrived: Option<Moment>,
}

impl Crossing {
    /// A message of `bytes`, at least one, that is ready now.
    pub(super) fn new(bytes: u64, ready: Moment) -> Self {
        let bytes = bytes.max(1);
        Self {
            left: bytes,
            ungranted: bytes,
            missing: bytes,
            ready,
            departed: None,
            latest: ready,
            arrived: None,
        }
    }

    /// Notes what departed.
    pub(super) fn grant(&mut self, grant: &Grant) {
        // A grant of a step is of this moment; only one that was due before its flow asked would be earlier.
        self.latest = grant.departure.max(self.ready);
        self.departed.get_or_insert(self.latest);
        self.ungranted = self.ungranted.saturating_sub(grant.bytes);
    }

    /// Whether a packet that departed needs no visit: more of them follow before one decides anything.
    pub(super) fn flows(&self, way: &Way, flow: FlowId) -> bool {
        let more =
            if self.left > 0 { way.lane.link().waiting(flow) >= 2 * PACKET } else { self.ungranted > 0 };
        more && !way.is_exact && self.latest > self.departed.unwrap_or(self.latest)
    }

    /// Asks for as much as there is room for and collects what has arrived. Returns when to look again, unless the
    /// flow is granted something first.
    pub(super) fn carry(&mut self, way: &mut Way, flow: FlowId, now: Moment) -> Option<Moment> {
        let mut asked = 0;
        let again = loop {
            let view = way.visit(flow, asked, now, self);
            self.missing = self.missing.saturating_sub(view.arrived);
            if view.arrived > 0 {
                self.arrived.get_or_insert(now);
            }
            asked = self.left.min(view.room);
            self.left -= asked;
            if asked == 0 {
                break view.again?;
            }
        };
        // What arrives on the way is collected with the next packet, and the rest with the last, unless it decides
        // something.
        if self.arrived.is_none() {
            Some(again)
        } else if self.left > 0 {
            (way.lane.link().waiting(flow) < PACKET).then_some(again)
        } else if way.is_exact {
            Some(again)
        } else {
            let last = self.latest + way.lane.one_way(self.latest);
            (self.ungranted == 0).then(|| again.max(last))
        }
    }
}
