//! Transactions over a link, as the proxy makes them, in virtual time.
//!
//! Owns the order of events. A transaction takes an idle connection to its host, or a new one after one round trip; its
//! request crosses the up direction, the origin thinks, the response crosses the down direction, and it is done when the
//! last byte has arrived. Pacing, fairness, delay and the imitation of TCP are the lanes'; who gets which connection is
//! in `origins.rs`.
//!
//! The work is proportional to the packets and the transactions, each times the logarithm of how many are under way:
//! only flows that were granted something are looked at, and an arrival only where it decides something.

use std::time::Duration;

use super::agenda::{Agenda, Event};
use super::connections::{Connection, Connections, Phase};
use super::crossing::{Crossing, Way};
use super::origins::Origins;
use super::outcome::{Fate, Outcome, Record};
use super::workload::{Begin, Followers, Workload};
use crate::link::Grant;
use crate::model::LinkModel;
use crate::moment::Moment;
use crate::spec::{Direction, Tcp};

/// Runs `workload` over the link until all is done that can be, or until its end.
pub fn run(workload: &Workload, model: &LinkModel) -> Outcome {
    let mut engine = Engine::new(workload, model);
    engine.schedule();
    engine.work();
    engine.outcome()
}

struct Engine<'a> {
    workload: &'a Workload,
    now: Moment,
    agenda: Agenda,
    /// When something last happened.
    last: Moment,
    up: Way,
    down: Way,
    /// Whether a new connection costs a round trip.
    shakes_hands: bool,
    origins: Origins,
    connections: Connections,
    followers: Followers,
    records: Vec<Record>,
    /// Kept for its memory.
    grants: Vec<Grant>,
}

impl<'a> Engine<'a> {
    fn new(workload: &'a Workload, model: &LinkModel) -> Self {
        Self {
            workload,
            now: Moment::START,
            agenda: Agenda::default(),
            last: Moment::START,
            up: Way::new(model, Direction::Up),
            down: Way::new(model, Direction::Down),
            shakes_hands: model.spec.tcp != Tcp::None,
            origins: Origins::new(workload.connections),
            connections: Connections::default(),
            followers: Followers::new(&workload.transactions),
            records: vec![Record::default(); workload.transactions.len()],
            grants: Vec::new(),
        }
    }

    /// Puts on the agenda what begins by itself.
    fn schedule(&mut self) {
        for (index, transaction) in self.workload.transactions.iter().enumerate() {
            match transaction.begin {
                Begin::At(moment) => self.agenda.arrange(moment, Event::Begin(index)),
                Begin::After { .. } if self.followers.waits_for_none(index) => self.follow(index),
                Begin::After { .. } => {}
            }
        }
    }

    fn work(&mut self) {
        while let Some(next) = self.next() {
            if let Some(until) = self.workload.until.filter(|until| next > *until) {
                self.stop(until);
                return;
            }
            self.now = self.now.max(next);
            // What departs at this moment had asked before whoever asks now.
            self.step(Direction::Up);
            self.step(Direction::Down);
            while let Some(event) = self.agenda.due(self.now) {
                self.handle(event);
            }
        }
    }

    /// Ends the run before all is done: what has arrived on the way is collected.
    fn stop(&mut self, until: Moment) {
        self.now = until;
        for index in self.connections.all() {
            self.carry(index);
        }
    }

    fn outcome(self) -> Outcome {
        let over = self.records.iter().all(|record| matches!(record.fate, Fate::Done | Fate::Dropped));
        let ended = self.workload.until.filter(|_| !over).unwrap_or(self.last);
        Outcome {
            records: self.records,
            ended,
            connections: self.connections.opened,
            down: self.down.traffic(ended),
            up: self.up.traffic(ended),
        }
    }

    /// The next moment at which something happens.
    fn next(&self) -> Option<Moment> {
        [self.agenda.next(), self.up.next, self.down.next].into_iter().flatten().min()
    }

    /// Grants what has departed, and lets those go on who got something.
    fn step(&mut self, direction: Direction) {
        let now = self.now;
        let mut grants = std::mem::take(&mut self.grants);
        while self.way(direction).next.is_some_and(|next| next <= now) {
            self.way(direction).step(now);
            std::mem::swap(&mut grants, &mut self.way(direction).grants);
            for grant in grants.drain(..) {
                self.granted(direction, grant);
            }
        }
        self.grants = grants;
    }

    fn granted(&mut self, direction: Direction, grant: Grant) {
        let way = match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        };
        let Some(index) = way.owner(grant.flow) else { return };
        let connection = &mut self.connections[index];
        if connection.flow(direction) != grant.flow {
            return;
        }
        connection.crossing.grant(&grant);
        if !connection.crossing.flows(way, grant.flow) {
            self.carry(index);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Begin(transaction) => self.begin(transaction),
            Event::Dialled(transaction) => self.connect(transaction),
            Event::Visit(connection) => {
                if self.connections[connection].wake == Some(self.now) {
                    self.carry(connection);
                }
            }
            Event::Answer(connection) => {
                let transaction = self.connections[connection].transaction;
                self.send(connection, Phase::Response, self.workload.transactions[transaction].down);
            }
            Event::Expire(connection, uses) => self.expire(connection, uses),
        }
    }

    fn begin(&mut self, transaction: usize) {
        let record = &mut self.records[transaction];
        (record.fate, record.began) = (Fate::Unfinished, Some(self.now));
        self.last = self.now;
        let asked = &self.workload.transactions[transaction];
        if self.origins.sit(asked.standing.client, asked.host, transaction) {
            self.acquire(transaction);
        }
    }

    /// Takes an idle connection, or dials and waits for the first that comes.
    fn acquire(&mut self, transaction: usize) {
        let host = self.workload.transactions[transaction].host;
        if let Some(connection) = self.origins.take_idle(host) {
            self.employ(connection, transaction);
            return;
        }
        self.origins.wait(host, transaction);
        if let Some(stands) = self.stands() {
            self.agenda.arrange(stands, Event::Dialled(transaction));
        }
    }

    /// When a connection stands that is dialled now; `None` if the link never opens for it. Its packets are too small
    /// to queue, but an outage holds them.
    fn stands(&self) -> Option<Moment> {
        if !self.shakes_hands {
            return Some(self.now);
        }
        let out = self.up.lane.opens(self.now)?;
        let back = self.down.lane.opens(out + self.up.lane.one_way(out))?;
        Some(back + self.down.lane.one_way(back))
    }

    /// A connection dialled for `transaction` stands.
    fn connect(&mut self, transaction: usize) {
        let asked = &self.workload.transactions[transaction];
        let connection = Connection {
            host: asked.host,
            up: self.up.lane.open(asked.standing),
            down: self.down.lane.open(asked.standing),
            standing: asked.standing,
            transaction,
            phase: Phase::Idle,
            crossing: Crossing::new(0, self.now),
            wake: None,
            fresh: true,
            uses: 0,
        };
        let index = self.connections.add(connection);
        self.up.belongs(connection.up, index);
        self.down.belongs(connection.down, index);
        self.last = self.now;
        self.offer(index);
    }

    /// Gives a free connection to whoever has waited longest for one, or keeps it for a while.
    fn offer(&mut self, index: u32) {
        let Connection { host, uses, .. } = self.connections[index];
        if let Some(transaction) = self.origins.next_waiting(host) {
            self.employ(index, transaction);
        } else if self.origins.keep(host, index) {
            self.agenda.arrange(self.now + self.workload.keep_alive, Event::Expire(index, uses));
        } else {
            self.close(index);
        }
    }

    fn expire(&mut self, index: u32, uses: u64) {
        let Connection { host, uses: now, .. } = self.connections[index];
        if uses == now {
            self.origins.expire(host, index);
            self.close(index);
        }
    }

    fn close(&mut self, index: u32) {
        let connection = self.connections.remove(index);
        self.up.lane.close(connection.up);
        self.down.lane.close(connection.down);
    }

    fn employ(&mut self, index: u32, transaction: usize) {
        let asked = &self.workload.transactions[transaction];
        let connection = &mut self.connections[index];
        if connection.standing != asked.standing {
            connection.standing = asked.standing;
            self.up.lane.assign(connection.up, asked.standing);
            self.down.lane.assign(connection.down, asked.standing);
        }
        connection.transaction = transaction;
        connection.uses += 1;
        let fresh = std::mem::replace(&mut connection.fresh, false);
        self.records[transaction].dialled = fresh;
        if fresh && (asked.greeting.up > 0 || asked.greeting.down > 0) {
            self.send(index, Phase::Greeting, asked.greeting.up);
        } else {
            self.send(index, Phase::Request, asked.up);
        }
    }

    /// Begins a message. Its first visit is an event, so that no chain of messages nests however fast the link is.
    fn send(&mut self, index: u32, phase: Phase, bytes: u64) {
        let connection = &mut self.connections[index];
        connection.phase = phase;
        connection.crossing = Crossing::new(bytes, self.now);
        connection.wake = Some(self.now);
        self.agenda.arrange(self.now, Event::Visit(index));
    }

    /// Moves the message on the connection forward.
    fn carry(&mut self, index: u32) {
        let now = self.now;
        let connection = &mut self.connections[index];
        let (way, flow) = match connection.phase {
            Phase::Greeting | Phase::Request => (&mut self.up, connection.up),
            Phase::Greeted | Phase::Response => (&mut self.down, connection.down),
            Phase::Idle | Phase::Thinking => return,
        };
        let missing = connection.crossing.missing;
        let wake = connection.crossing.carry(way, flow, now);
        let arrived = missing - connection.crossing.missing;
        // A lane that names the present has nothing more for now.
        let wake = wake.map(|wake| wake.max(now + Duration::from_nanos(1)));
        let rearranged = wake.filter(|_| wake != connection.wake);
        connection.wake = wake;
        self.last = now;
        let Connection { phase, transaction, crossing, .. } = *connection;
        if phase == Phase::Response {
            let record = &mut self.records[transaction];
            record.arrived += arrived;
            record.first_byte = crossing.arrived;
            record.queued_down = crossing.departed.map(|departed| departed.since(crossing.ready));
        } else if phase == Phase::Request {
            self.records[transaction].queued_up =
                crossing.departed.map(|departed| departed.since(crossing.ready));
        }
        if crossing.missing == 0 {
            self.connections[index].wake = None;
            self.arrive(index, phase, transaction);
        } else if let Some(wake) = rearranged {
            self.agenda.arrange(wake, Event::Visit(index));
        }
    }

    /// The whole message has arrived.
    fn arrive(&mut self, index: u32, phase: Phase, transaction: usize) {
        let asked = &self.workload.transactions[transaction];
        match phase {
            Phase::Greeting => self.send(index, Phase::Greeted, asked.greeting.down),
            Phase::Greeted => self.send(index, Phase::Request, asked.up),
            Phase::Request => {
                self.connections[index].phase = Phase::Thinking;
                self.agenda.arrange(self.now + asked.wait, Event::Answer(index));
            }
            Phase::Response => {
                self.connections[index].phase = Phase::Idle;
                self.offer(index);
                self.finish(transaction);
            }
            Phase::Idle | Phase::Thinking => {}
        }
    }

    fn finish(&mut self, transaction: usize) {
        let record = &mut self.records[transaction];
        (record.fate, record.done) = (Fate::Done, Some(self.now));
        let asked = &self.workload.transactions[transaction];
        if let Some(next) = self.origins.rise(asked.standing.client, asked.host) {
            self.acquire(next);
        }
        for number in self.followers.of(transaction) {
            let follower = self.followers.follower(number);
            if self.followers.is_free(follower) {
                self.follow(follower);
            }
        }
    }

    /// `transaction` waits for nobody any more.
    fn follow(&mut self, transaction: usize) {
        let Begin::After { pause, latest, .. } = self.workload.transactions[transaction].begin else {
            return;
        };
        let moment = self.now + pause;
        if latest.is_none_or(|latest| moment <= latest) {
            self.agenda.arrange(moment, Event::Begin(transaction));
            return;
        }
        let mut dropped = vec![transaction];
        while let Some(transaction) = dropped.pop() {
            if std::mem::replace(&mut self.records[transaction].fate, Fate::Dropped) == Fate::Waits {
                dropped.extend(self.followers.of(transaction).map(|number| self.followers.follower(number)));
            }
        }
    }

    fn way(&mut self, direction: Direction) -> &mut Way {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }
}
