//! Who has which connection: idle ones of each host, who waits for one, and how many each client has in use.
//!
//! Owns places in the list of connections, never connections. It follows the program's pool: who finds none idle dials,
//! and takes whichever comes first, its own or one that another is done with.

use std::collections::{HashMap, VecDeque};

use crate::flow::ClientKey;

/// Idle connections kept per host and in all, as the program keeps them.
const MAX_IDLE: usize = 32;
const MAX_IDLE_TOTAL: usize = 512;

/// The connections of all hosts. Nothing is ever listed by walking through a hash table, so a run is the same each time.
#[derive(Debug, Default)]
pub(super) struct Origins {
    hosts: HashMap<u32, Host>,
    /// Connections idle at all hosts together.
    idle: usize,
    /// How many connections to a host each client may use at once.
    limit: Option<usize>,
    seats: HashMap<(ClientKey, u32), Seats>,
}

#[derive(Debug, Default)]
struct Host {
    /// The one used last is on top.
    idle: Vec<u32>,
    waiting: VecDeque<usize>,
}

#[derive(Debug, Default)]
struct Seats {
    taken: usize,
    waiting: VecDeque<usize>,
}

impl Origins {
    pub(super) fn new(limit: Option<usize>) -> Self {
        Self { limit: limit.map(|limit| limit.max(1)), ..Self::default() }
    }

    /// Takes one of the client's seats at `host` for `transaction`, or queues for one. Returns whether it has it.
    pub(super) fn sit(&mut self, client: ClientKey, host: u32, transaction: usize) -> bool {
        let Some(limit) = self.limit else { return true };
        let seats = self.seats.entry((client, host)).or_default();
        if seats.taken < limit {
            seats.taken += 1;
            return true;
        }
        seats.waiting.push_back(transaction);
        false
    }

    /// Gives a seat back; the transaction returned has it now.
    pub(super) fn rise(&mut self, client: ClientKey, host: u32) -> Option<usize> {
        let seats = self.seats.get_mut(&(client, host))?;
        let next = seats.waiting.pop_front();
        if next.is_none() {
            seats.taken = seats.taken.saturating_sub(1);
            if seats.taken == 0 {
                self.seats.remove(&(client, host));
            }
        }
        next
    }

    /// The idle connection that was used last.
    pub(super) fn take_idle(&mut self, host: u32) -> Option<u32> {
        let taken = self.hosts.get_mut(&host)?.idle.pop()?;
        self.idle -= 1;
        Some(taken)
    }

    /// `transaction` takes the first connection to `host` that comes.
    pub(super) fn wait(&mut self, host: u32, transaction: usize) {
        self.hosts.entry(host).or_default().waiting.push_back(transaction);
    }

    /// Who has waited longest for a connection to `host`.
    pub(super) fn next_waiting(&mut self, host: u32) -> Option<usize> {
        self.hosts.get_mut(&host)?.waiting.pop_front()
    }

    /// Keeps `connection`, which nobody waits for. Returns whether there is room for it.
    pub(super) fn keep(&mut self, host: u32, connection: u32) -> bool {
        let idle = &mut self.hosts.entry(host).or_default().idle;
        let kept = idle.len() < MAX_IDLE && self.idle < MAX_IDLE_TOTAL;
        if kept {
            idle.push(connection);
            self.idle += 1;
        }
        kept
    }

    /// Takes out `connection`, idle for too long.
    pub(super) fn expire(&mut self, host: u32, connection: u32) {
        let Some(place) = self.hosts.get_mut(&host) else { return };
        let before = place.idle.len();
        place.idle.retain(|idle| *idle != connection);
        self.idle -= before - place.idle.len();
        if place.idle.is_empty() && place.waiting.is_empty() {
            self.hosts.remove(&host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_used_last_is_used_next() {
        let mut origins = Origins::new(None);
        assert!(origins.keep(1, 10) && origins.keep(1, 11) && origins.keep(2, 12));
        origins.expire(1, 10);
        assert_eq!(
            (origins.take_idle(1), origins.take_idle(1), origins.take_idle(2)),
            (Some(11), None, Some(12))
        );
        assert_eq!(origins.idle, 0);
    }

    #[test]
    fn a_client_has_so_many_seats() {
        let (mut origins, client) = (Origins::new(Some(1)), ClientKey(1));
        assert!(origins.sit(client, 1, 0) && !origins.sit(client, 1, 1) && origins.sit(client, 2, 2));
        assert_eq!((origins.rise(client, 1), origins.rise(client, 1)), (Some(1), None));
        assert!(origins.sit(client, 1, 3));
    }

    #[test]
    fn only_so_many_are_kept() {
        let mut origins = Origins::new(None);
        assert_eq!((0..40).filter(|connection| origins.keep(1, *connection)).count(), MAX_IDLE);
    }
}
