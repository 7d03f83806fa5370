//! Who goes next on a link: clients by deficit round robin, and the flows of each client likewise.
//!
//! Owns every flow's and client's waiting bytes. It knows no time and no rate: a quantum is an argument. The order
//! within one level is `round.rs`.

use std::collections::HashMap;

use crate::flow::{ClientKey, FlowId, Weight};
use crate::round::{Member, Round, Share};

/// The flows that share one direction of a link, in two levels.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    flows: Vec<Flow>,
    free_flows: Vec<u32>,
    clients: Vec<Client>,
    free_clients: Vec<u32>,
    by_key: HashMap<ClientKey, u32>,
    round: Round,
    backlog: u64,
}

#[derive(Debug, Default)]
struct Flow {
    /// Counts the flows that have had this place, so that an old id finds nothing.
    generation: u32,
    /// The place of its client; `None` when nothing is open here.
    client: Option<u32>,
    share: Share,
}

#[derive(Debug, Default)]
struct Client {
    key: Option<ClientKey>,
    flows: usize,
    round: Round,
    share: Share,
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
    /// Opens a flow of `client` with nothing waiting.
    pub(crate) fn open(&mut self, client: ClientKey, weight: Weight) -> FlowId {
        let client = self.join(client);
        let index = vacant(&mut self.free_flows, &mut self.flows);
        let flow = &mut self.flows[index as usize];
        flow.client = Some(client);
        flow.share = Share::new(weight);
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

    /// Moves `flow` with all that waits to another client.
    pub(crate) fn assign(&mut self, flow: FlowId, client: ClientKey, quantum: u64) {
        let Some(former) = self.client_of(flow) else { return };
        if self.by_key.get(&client) == Some(&former) {
            return;
        }
        let waiting = self.cancel(flow);
        let client = self.join(client);
        self.flows[flow.index()].client = Some(client);
        self.part(former);
        self.add(flow, waiting, quantum);
    }

    /// Adds `bytes` to what waits for `flow`. Returns `false` if there is no such flow.
    pub(crate) fn add(&mut self, flow: FlowId, bytes: u64, quantum: u64) -> bool {
        let Some(index) = self.client_of(flow) else { return false };
        // The link's whole backlog bounds every sum below it.
        let bytes = bytes.min(u64::MAX - self.backlog);
        if bytes > 0 {
            let client = &mut self.clients[index as usize];
            if client.share.is_out() {
                client.round.clear(&mut self.flows);
            }
            client.round.add(&mut self.flows, flow.index, bytes, quantum);
            self.round.add(&mut self.clients, index, bytes, quantum);
            self.backlog += bytes;
        }
        true
    }

    /// Withdraws all that waits for `flow` and returns how much it was. The flow leaves the round at once.
    pub(crate) fn cancel(&mut self, flow: FlowId) -> u64 {
        let Some(index) = self.client_of(flow) else { return 0 };
        let waiting = self.waiting(flow);
        Round::withdraw(&mut self.flows, flow.index, waiting);
        self.clients[index as usize].round.leave(&mut self.flows, flow.index);
        Round::withdraw(&mut self.clients, index, waiting);
        self.backlog -= waiting;
        waiting
    }

    /// Takes the next packet: at most `quantum` bytes of the flow whose turn it is.
    pub(crate) fn next(&mut self, quantum: u64) -> Option<(FlowId, u64)> {
        let index = self.round.turn(&mut self.clients, quantum)?;
        let client = &mut self.clients[index as usize];
        let flow = client.round.turn(&mut self.flows, quantum)?;
        let bytes = quantum.min(client.share.allowed()).min(self.flows[flow as usize].share.allowed());
        client.round.serve(&mut self.flows, flow, bytes, quantum);
        self.round.serve(&mut self.clients, index, bytes, quantum);
        self.backlog -= bytes;
        Some((FlowId { index: flow, generation: self.flows[flow as usize].generation }, bytes))
    }

    /// Bytes that wait for `flow`.
    pub(crate) fn waiting(&self, flow: FlowId) -> u64 {
        self.client_of(flow).map_or(0, |_| self.flows[flow.index()].share.backlog())
    }

    /// Bytes that wait for all flows.
    pub(crate) fn backlog(&self) -> u64 {
        self.backlog
    }

    /// How many flows are open.
    pub(crate) fn flows(&self) -> usize {
        self.flows.len() - self.free_flows.len()
    }

    fn client_of(&self, flow: FlowId) -> Option<u32> {
        self.flows.get(flow.index()).filter(|place| place.generation == flow.generation)?.client
    }

    fn join(&mut self, key: ClientKey) -> u32 {
        let index = *self.by_key.entry(key).or_insert_with(|| {
            let index = vacant(&mut self.free_clients, &mut self.clients);
            self.clients[index as usize].key = Some(key);
            index
        });
        self.clients[index as usize].flows += 1;
        index
    }

    fn part(&mut self, index: u32) {
        let client = &mut self.clients[index as usize];
        client.flows -= 1;
        if client.flows == 0 {
            self.round.leave(&mut self.clients, index);
            let key = self.clients[index as usize].key.take();
            key.and_then(|key| self.by_key.remove(&key));
            self.free_clients.push(index);
        }
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
