//! Who goes next on a link: classes, in each its clients by deficit round robin, and the flows of each client likewise;
//! or, with the FIFO discipline, whoever asked first.
//!
//! Owns every flow's and client's waiting bytes and what each used. It knows no time and no rate: a quantum is an
//! argument. The order within one level is `round.rs`, that among classes `class.rs`.

use std::collections::{HashMap, VecDeque};

use crate::class::{ClassPolicy, Classes};
use crate::flow::{Class, ClientKey, FlowId, Standing, Weight};
use crate::round::{Member, Round, Share};

/// Clients whose use is remembered after their last flow has closed; the use of more is remembered as one.
const REMEMBERED: usize = 4096;

/// The flows that share one direction of a link.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    flows: Vec<Flow>,
    free_flows: Vec<u32>,
    clients: Vec<Client>,
    free_clients: Vec<u32>,
    by_key: HashMap<(Class, ClientKey), u32>,
    classes: Classes,
    /// The clients of each class.
    rounds: [Round; 3],
    backlogs: [u64; 3],
    /// With the FIFO discipline, what was asked for in order.
    fifo: Option<VecDeque<(FlowId, u64)>>,
    used: [u64; 3],
    /// What clients used that have no flow now.
    left: HashMap<ClientKey, u64>,
}

#[derive(Debug, Default)]
struct Flow {
    /// Counts the flows that have had this place, so that an old id finds nothing.
    generation: u32,
    /// The place of its client; `None` when nothing is open here.
    client: Option<u32>,
    share: Share,
    /// Payload that still fits in the packet it has begun; counted only where packets matter.
    packet: u64,
}

#[derive(Debug, Default)]
struct Client {
    key: ClientKey,
    class: Class,
    flows: usize,
    round: Round,
    share: Share,
    used: u64,
}

/// A piece that crosses as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) flow: FlowId,
    /// Payload bytes.
    pub(crate) bytes: u64,
    /// Whether it is the beginning of a packet, and not a further part of one.
    pub(crate) begins: bool,
}

impl Member for Flow {
    fn share(&mut self) -> &mut Share {
        &mut self.share
    }
}

impl Member for Client {
    fn share(&mut self) -> &mut Share {
        &mut self.share
    }
}

impl Queue {
    /// Opens a flow with nothing waiting.
    pub(crate) fn open(&mut self, standing: Standing) -> FlowId {
        let client = self.join(standing);
        let index = vacant(&mut self.free_flows, &mut self.flows);
        let flow = &mut self.flows[index as usize];
        (flow.client, flow.packet) = (Some(client), 0);
        flow.share = Share::new(standing.weight);
        FlowId { index, generation: flow.generation }
    }

    /// Closes `flow` and returns the bytes that still waited.
    pub(crate) fn close(&mut self, flow: FlowId) -> u64 {
        let waiting = self.cancel(flow);
        if let Some(client) = self.client_of(flow) {
            let place = &mut self.flows[flow.index()];
            place.generation = place.generation.wrapping_add(1);
            place.client = None;
            self.free_flows.push(flow.index);
            self.part(client);
        }
        waiting
    }

    /// Gives `flow`, with all that waits, another standing.
    pub(crate) fn assign(&mut self, flow: FlowId, standing: Standing, quantum: u64) {
        let Some(former) = self.client_of(flow) else { return };
        self.flows[flow.index()].share.weigh(standing.weight);
        let client = &mut self.clients[former as usize];
        if (client.class, client.key) == (standing.class, standing.client) {
            return client.share.weigh(standing.client_weight);
        }
        let waiting = self.cancel(flow);
        let client = self.join(standing);
        self.flows[flow.index()].client = Some(client);
        self.part(former);
        self.add(flow, waiting, quantum);
    }

    /// Another order among the waiting.
    pub(crate) fn set_fifo(&mut self, fifo: bool) {
        if !fifo {
            self.fifo = None;
        } else if self.fifo.is_none() {
            let waits = |(index, flow): (usize, &Flow)| {
                let id = FlowId { index: u32::try_from(index).ok()?, generation: flow.generation };
                (flow.client.is_some() && flow.share.backlog() > 0).then(|| (id, flow.share.backlog()))
            };
            self.fifo = Some(self.flows.iter().enumerate().filter_map(waits).collect());
        }
    }

    /// What each class may claim from now on.
    pub(crate) fn set_classes(&mut self, policies: [ClassPolicy; 3]) {
        self.classes.set(policies);
    }

    /// Adds `bytes` to what waits for `flow`. Returns `false` if there is no such flow.
    pub(crate) fn add(&mut self, flow: FlowId, bytes: u64, quantum: u64) -> bool {
        let Some(index) = self.client_of(flow) else { return false };
        // The link's whole backlog bounds every sum below it.
        let bytes = bytes.min(u64::MAX - self.backlog());
        if bytes == 0 {
            return true;
        }
        let client = &mut self.clients[index as usize];
        let class = client.class.index();
        if client.share.is_out() {
            client.round.clear(&mut self.flows);
        }
        client.round.add(&mut self.flows, flow.index, bytes, quantum);
        self.rounds[class].add(&mut self.clients, index, bytes, quantum);
        if self.backlogs[class] == 0 {
            let busy = self.busy();
            self.classes.woke(class, busy);
        }
        self.backlogs[class] += bytes;
        if let Some(fifo) = &mut self.fifo {
            match fifo.back_mut() {
                Some((last, waiting)) if *last == flow => *waiting += bytes,
                _ => fifo.push_back((flow, bytes)),
            }
        }
        true
    }

    /// Withdraws all that waits for `flow` and returns how much it was. The flow leaves the round at once.
    pub(crate) fn cancel(&mut self, flow: FlowId) -> u64 {
        let Some(index) = self.client_of(flow) else { return 0 };
        let waiting = self.waiting(flow);
        Round::withdraw(&mut self.flows, flow.index, waiting);
        let client = &mut self.clients[index as usize];
        client.round.leave(&mut self.flows, flow.index);
        self.backlogs[client.class.index()] -= waiting;
        Round::withdraw(&mut self.clients, index, waiting);
        self.flows[flow.index()].packet = 0;
        if let Some(fifo) = self.fifo.as_mut().filter(|_| waiting > 0) {
            fifo.retain(|(asked, _)| *asked != flow);
        }
        waiting
    }

    /// Takes the next piece: at most `quantum` bytes of the flow whose turn it is and, where packets matter, of one
    /// packet with `segment` bytes of payload.
    pub(crate) fn next(&mut self, quantum: u64, segment: Option<u64>) -> Option<Piece> {
        if self.fifo.is_some() {
            return self.next_in_order(quantum, segment);
        }
        let busy = self.busy();
        for (round, _) in self.rounds.iter_mut().zip(busy).filter(|(_, busy)| !busy) {
            // Nobody waits here: whoever still had a place in the round loses it, and is new when he comes back.
            round.turn(&mut self.clients, quantum);
        }
        let class = self.classes.next(busy)?;
        let round = &mut self.rounds[class];
        let index = round.turn(&mut self.clients, quantum)?;
        let client = &mut self.clients[index as usize];
        let flow = client.round.turn(&mut self.flows, quantum)?;
        let place = &mut self.flows[flow as usize];
        let room = place.room_in_packet(segment);
        let bytes = quantum.min(room).min(client.share.allowed(quantum)).min(place.share.allowed(quantum));
        client.round.serve(&mut self.flows, flow, bytes, quantum);
        round.serve(&mut self.clients, index, bytes, quantum);
        self.classes.served(class, bytes, busy);
        Some(self.taken(flow, bytes, segment))
    }

    fn next_in_order(&mut self, quantum: u64, segment: Option<u64>) -> Option<Piece> {
        let (flow, asked) = self.fifo.as_mut()?.front_mut()?;
        let flow = *flow;
        let room = self.flows[flow.index()].room_in_packet(segment);
        let bytes = quantum.min(room).min(*asked);
        *asked -= bytes;
        if *asked == 0 {
            self.fifo.as_mut()?.pop_front();
        }
        Round::withdraw(&mut self.flows, flow.index, bytes);
        let client = self.client_of(flow)?;
        Round::withdraw(&mut self.clients, client, bytes);
        Some(self.taken(flow.index, bytes, segment))
    }

    /// Books `bytes` that were taken from the flow at `index`.
    fn taken(&mut self, index: u32, bytes: u64, segment: Option<u64>) -> Piece {
        let flow = &mut self.flows[index as usize];
        let begins = flow.packet == 0;
        if let Some(segment) = segment {
            let left = if begins { segment } else { flow.packet } - bytes;
            // A packet is sent as it is when nothing more waits to fill it.
            flow.packet = if flow.share.backlog() == 0 { 0 } else { left };
        }
        let id = FlowId { index, generation: flow.generation };
        if let Some(client) = flow.client {
            let client = &mut self.clients[client as usize];
            client.used = client.used.saturating_add(bytes);
            let class = client.class.index();
            self.backlogs[class] -= bytes;
            self.used[class] = self.used[class].saturating_add(bytes);
        }
        Piece { flow: id, bytes, begins }
    }

    /// Bytes that wait for `flow`.
    pub(crate) fn waiting(&self, flow: FlowId) -> u64 {
        self.client_of(flow).map_or(0, |_| self.flows[flow.index()].share.backlog())
    }

    /// Bytes that wait for all flows.
    pub(crate) fn backlog(&self) -> u64 {
        self.backlogs.iter().sum()
    }

    /// How many flows are open.
    pub(crate) fn flows(&self) -> usize {
        self.flows.len() - self.free_flows.len()
    }

    /// Bytes that left the queue, by class.
    pub(crate) fn used_by_class(&self) -> [u64; 3] {
        self.used
    }

    /// Bytes that left the queue, by client, in no order.
    pub(crate) fn used_by_client(&self) -> HashMap<ClientKey, u64> {
        let mut used = self.left.clone();
        for client in self.clients.iter().filter(|client| client.flows > 0) {
            let sum = used.entry(client.key).or_default();
            *sum = sum.saturating_add(client.used);
        }
        used
    }

    fn busy(&self) -> [bool; 3] {
        self.backlogs.map(|backlog| backlog > 0)
    }

    fn client_of(&self, flow: FlowId) -> Option<u32> {
        self.flows.get(flow.index()).filter(|place| place.generation == flow.generation)?.client
    }

    fn join(&mut self, standing: Standing) -> u32 {
        let Standing { client: key, client_weight, class, .. } = standing;
        let index = *self.by_key.entry((class, key)).or_insert_with(|| {
            let index = vacant(&mut self.free_clients, &mut self.clients);
            let client = &mut self.clients[index as usize];
            (client.key, client.class, client.used) = (key, class, 0);
            client.share = Share::new(Weight::ONE);
            index
        });
        let client = &mut self.clients[index as usize];
        client.flows += 1;
        client.share.weigh(client_weight);
        index
    }

    fn part(&mut self, index: u32) {
        let client = &mut self.clients[index as usize];
        client.flows -= 1;
        if client.flows > 0 {
            return;
        }
        let (key, class, used) = (client.key, client.class, client.used);
        self.rounds[class.index()].leave(&mut self.clients, index);
        self.by_key.remove(&(class, key));
        self.free_clients.push(index);
        let known = self.left.len() < REMEMBERED || self.left.contains_key(&key);
        let sum = self.left.entry(if known { key } else { ClientKey::OTHERS }).or_default();
        *sum = sum.saturating_add(used);
    }
}

impl Flow {
    /// Bytes that still fit in its packet, or in a new one if it has none.
    fn room_in_packet(&self, segment: Option<u64>) -> u64 {
        segment.map_or(u64::MAX, |segment| if self.packet > 0 { self.packet.min(segment) } else { segment })
    }
}

/// A free place of `table`, or a new one at its end.
fn vacant<T: Default>(free: &mut Vec<u32>, table: &mut Vec<T>) -> u32 {
    free.pop().unwrap_or_else(|| {
        table.push(T::default());
        // A table of 2^32 open connections does not fit in memory, so the index always fits.
        u32::try_from(table.len() - 1).unwrap_or(u32::MAX)
    })
}
