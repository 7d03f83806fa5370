//! One direction of a link with all that happens to a byte on its way: who goes next and when it departs, how long it
//! travels, whether it is lost first, how much of a connection may be on its way at all.
//!
//! Owns counts only; the bytes are their streams'. It reads no clock, and `now` never goes backwards. The tokio adapter
//! and the simulator both drive this, so what is simulated is what is done.
//!
//! A flow [`visit`](Lane::visit)s: it asks for at most as many bytes as its last [`View`] had room for, and collects
//! what has arrived. It visits again when a step grants it something, or at the moment its view says.

use std::time::Duration;

use crate::capacity::Capacity;
use crate::class::ClassPolicy;
use crate::delay::Pipe;
use crate::flow::{FlowId, Standing};
use crate::link::{Grant, Link};
use crate::loss::{Losses, stall};
use crate::model::LinkModel;
use crate::moment::Moment;
use crate::propagation::Propagation;
use crate::spec::{Direction, Discipline, Tcp};
use crate::window::Window;

/// Bytes of one flow in flight on a link that delays but does not limit, as much as systems buffer for a connection.
const IN_FLIGHT_MAX: u64 = 4 * 1024 * 1024;
/// The same on one that does limit: enough for 200 Mbit/s over 600 ms.
const LIMITED_IN_FLIGHT_MAX: u64 = 16 * 1024 * 1024;
/// Bytes of a FIFO, however long it says it is.
const FIFO_MAX: u64 = 16 * 1024 * 1024;

/// One direction of a link.
///
/// ```
/// use linkio::{ClientKey, Direction, Lane, LinkModel, LinkSpec, Moment};
///
/// let spec: LinkSpec = "8k,rtt=100ms".parse()?;
/// let mut lane = Lane::new(&LinkModel::from(spec), Direction::Down, Moment::START);
/// let flow = lane.open(ClientKey(1));
/// let (mut arrived, mut grants, mut now) = (0, Vec::new(), Moment::START);
/// lane.visit(flow, 100, now, &mut grants);
/// while arrived < 100 {
///     let view = lane.visit(flow, 0, now, &mut grants);
///     arrived += view.arrived;
///     now = [view.next, view.again].into_iter().flatten().min().unwrap_or(now);
/// }
/// assert_eq!(now.as_nanos(), 150_000_000); // 100 ms of rate and half a round trip.
/// # Ok::<(), linkio::SpecError>(())
/// ```
#[derive(Debug)]
pub struct Lane {
    direction: Direction,
    link: Link,
    propagation: Propagation,
    tcp: Tcp,
    queue: Discipline,
    /// Bytes that depart within this time count as departed.
    early: Duration,
    /// Bytes that are due within this time count as arrived.
    grain: Duration,
    slots: Vec<Option<Slot>>,
}

/// What one flow has on its way.
#[derive(Debug)]
struct Slot {
    flow: FlowId,
    pipe: Pipe,
    window: Window,
    /// When the flow asked after having nothing waiting: a late timer must not let bytes depart before they came.
    asked: Moment,
}

/// What a flow learns when it visits its lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Bytes that arrived since the last visit.
    pub arrived: u64,
    /// Bytes it may ask for with its next visit.
    pub room: u64,
    /// When to visit again even if no step grants the flow anything: the next bytes arrive, or there may be more room. `None`
    /// while nothing is on its way.
    pub again: Option<Moment>,
    /// When something that happens at the far end now is known at this end.
    pub seen: Moment,
    /// The present.
    pub now: Moment,
    /// When the lane is to be stepped next.
    pub next: Option<Moment>,
}

impl Lane {
    /// One direction of the link that `model` describes, set at `start`.
    pub fn new(model: &LinkModel, direction: Direction, start: Moment) -> Self {
        let mut lane = Self {
            direction,
            link: Link::new(Capacity::Unlimited),
            propagation: model.propagation(direction, start),
            tcp: Tcp::None,
            queue: Discipline::Fair,
            early: Duration::ZERO,
            grain: Duration::ZERO,
            slots: Vec::new(),
        };
        lane.set(model, start, &mut Vec::new());
        lane
    }

    /// The same lane for timers that are late: what departs within `early`, or is due to arrive within `grain`, counts as
    /// departed or arrived, so that it is right on average. What departed early is not gained: departures are as they were.
    pub fn with_late_timers(self, early: Duration, grain: Duration) -> Self {
        Self { early, grain, ..self }
    }

    /// The scheduler behind it.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Whether streams need not meet the link at all in this direction.
    pub fn passes(&self) -> bool {
        *self.link.capacity() == Capacity::Unlimited && self.propagation.is_none()
    }

    /// The first moment from `now` on at which anything can cross; `None` if nothing ever will.
    pub fn opens(&self, now: Moment) -> Option<Moment> {
        self.link.capacity().opens(now)
    }

    /// Whether anything waits to cross.
    pub fn is_busy(&self) -> bool {
        self.link.backlog() > 0
    }

    /// The time there and back, without jitter.
    pub fn rtt(&self, now: Moment) -> Duration {
        self.propagation.rtt(now)
    }

    /// What there would be of a round trip in this direction for something sent now.
    pub fn one_way(&self, now: Moment) -> Duration {
        self.propagation.one_way(now)
    }

    /// Opens a flow.
    pub fn open(&mut self, standing: impl Into<Standing>) -> FlowId {
        let flow = self.link.open(standing);
        let slot = Slot { flow, pipe: Pipe::default(), window: Window::new(), asked: Moment::START };
        if self.slots.len() <= flow.index() {
            self.slots.resize_with(flow.index() + 1, || None);
        }
        self.slots[flow.index()] = Some(slot);
        flow
    }

    /// Closes `flow` and returns the bytes given back.
    pub fn close(&mut self, flow: FlowId) -> u64 {
        if let Some(place) = self.slots.get_mut(flow.index()) {
            place.take_if(|slot| slot.flow == flow);
        }
        self.link.close(flow)
    }

    /// Gives `flow`, with all it has asked for, another standing.
    pub fn assign(&mut self, flow: FlowId, standing: impl Into<Standing>) {
        self.link.assign(flow, standing);
    }

    /// What each class may claim from now on, in the order of [`Class::ALL`](crate::Class::ALL).
    pub fn set_classes(&mut self, policies: [ClassPolicy; 3]) {
        self.link.set_classes(policies);
    }

    /// Changes the link at once. What was granted stays granted, what waits waits at the new rate, and what is in
    /// flight arrives when it was to arrive. What departs by it is added to `grants`.
    pub fn set(&mut self, model: &LinkModel, now: Moment, grants: &mut Vec<Grant>) {
        self.step(now, grants);
        self.propagation = model.propagation(self.direction, now);
        if self.tcp != model.spec.tcp {
            // What is on its way was counted for a window that is none any more, or was not counted.
            self.slots.iter_mut().flatten().for_each(|slot| slot.window = Window::new());
        }
        (self.tcp, self.queue) = (model.spec.tcp, model.spec.queue);
        self.link.set_accounting(model.spec.accounting);
        self.link.set_fifo(matches!(self.queue, Discipline::Fifo(_)));
        let losses = self
            .propagation
            .loses()
            .then(|| Losses::new(self.propagation.clone(), self.direction, model.spec.seed));
        self.link.set_losses(losses);
        self.set_capacity(model.capacity(self.direction, now), now, grants);
    }

    /// Changes only what can cross, at once.
    pub fn set_capacity(&mut self, capacity: Capacity, now: Moment, grants: &mut Vec<Grant>) {
        self.granting(grants, |link, grants| {
            link.set_capacity(capacity, now, grants);
            link.step(now, grants)
        });
    }

    /// Adds what has departed by `now` to `grants`. Returns when to step next; `None` if nothing waits or nothing can
    /// cross.
    pub fn step(&mut self, now: Moment, grants: &mut Vec<Grant>) -> Option<Moment> {
        let until = now + self.early;
        self.granting(grants, |link, grants| link.step(until, grants))
    }

    /// `flow` asks for `bytes` more and collects what has arrived. What departs meanwhile, of whatever flow, is added
    /// to `grants`.
    pub fn visit(&mut self, flow: FlowId, bytes: u64, now: Moment, grants: &mut Vec<Grant>) -> View {
        let mut next = self.step(now, grants);
        if bytes > 0 {
            let idle = self.link.waiting(flow) == 0;
            if let Some(slot) = slot(&mut self.slots, flow) {
                if idle {
                    slot.asked = now;
                }
                if self.tcp == Tcp::SlowStart {
                    slot.window.sent(bytes);
                }
            }
            self.link.ask(flow, bytes, now);
            // What does not limit grants at once.
            next = self.step(now, grants);
        }
        let mut view = View { now, seen: now + self.propagation.one_way(now), next, ..View::default() };
        let queue = self.room_in_queue(flow, now);
        if let Some(slot) = slot(&mut self.slots, flow) {
            view.arrived = slot.pipe.arrive(now + self.grain);
            view.again = slot.pipe.next();
            view.room = queue;
            let limited = self.link.capacity().rate(now).is_some();
            let most = if limited { LIMITED_IN_FLIGHT_MAX } else { IN_FLIGHT_MAX };
            view.room = view.room.min(most.saturating_sub(slot.pipe.bytes()));
            if self.tcp == Tcp::SlowStart {
                slot.window.acknowledge(now);
                let room = slot.window.room();
                if room < view.room {
                    view.room = room;
                    view.again = [view.again, slot.window.opens()].into_iter().flatten().min();
                }
            }
        }
        view
    }

    /// Bytes the queue would take of `flow` now.
    fn room_in_queue(&self, flow: FlowId, now: Moment) -> u64 {
        let capacity = self.link.capacity();
        let waiting = self.link.waiting(flow);
        match (self.queue, capacity.rate(now)) {
            (Discipline::Fifo(length), Some(rate)) => {
                let length = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
                let room = rate.bytes_in_millis(length).min(FIFO_MAX).saturating_sub(self.link.backlog());
                // Someone whose queue is empty always gets a packet to its end.
                if waiting == 0 { room.max(capacity.quantum(now)) } else { room }
            }
            _ => capacity.backlog_limit(now).saturating_sub(waiting),
        }
    }

    /// Runs `act` on the scheduler and puts what it grants in flight.
    fn granting<R>(
        &mut self,
        grants: &mut Vec<Grant>,
        act: impl FnOnce(&mut Link, &mut Vec<Grant>) -> R,
    ) -> R {
        let before = grants.len();
        let result = act(&mut self.link, grants);
        for Grant { flow, bytes, departure, lost } in grants.get(before..).unwrap_or_default() {
            // A packet that was crossing when its flow closed belongs to nobody any more.
            let Some(slot) = slot(&mut self.slots, *flow) else { continue };
            let departure = (*departure).max(slot.asked);
            let rtt = self.propagation.rtt(departure);
            let delay = self.propagation.one_way(departure).saturating_add(stall(*lost, rtt));
            slot.pipe.depart(*bytes, departure, delay);
            if self.tcp == Tcp::SlowStart {
                slot.window.arrives(*bytes, departure + delay, rtt / 2, *lost > 0);
            }
        }
        result
    }
}

fn slot(slots: &mut [Option<Slot>], flow: FlowId) -> Option<&mut Slot> {
    slots.get_mut(flow.index())?.as_mut().filter(|slot| slot.flow == flow)
}
