//! Connections to hosts, each with the message that crosses on it.
//!
//! Owns the list and its vacant places. Whose turn it is to have one is in `origins.rs`.

use std::ops::{Index, IndexMut, Range};

use super::crossing::Crossing;
use crate::flow::{FlowId, Standing};
use crate::moment::Moment;
use crate::spec::Direction;

#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    pub(super) host: u32,
    pub(super) up: FlowId,
    pub(super) down: FlowId,
    pub(super) standing: Standing,
    pub(super) transaction: usize,
    pub(super) phase: Phase,
    pub(super) crossing: Crossing,
    /// The visit that counts; others on the agenda are out of date.
    pub(super) wake: Option<Moment>,
    /// Whether it has carried nothing yet.
    pub(super) fresh: bool,
    /// Counts what happened at this place in the list, so that an expiry arranged for something else is known.
    pub(super) uses: u64,
}

impl Connection {
    /// Its flow in one direction.
    pub(super) fn flow(&self, direction: Direction) -> FlowId {
        match direction {
            Direction::Up => self.up,
            Direction::Down => self.down,
        }
    }
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    Greeting,
    Greeted,
    Request,
    Thinking,
    Response,
}

#[derive(Debug, Default)]
pub(super) struct Connections {
    places: Vec<Connection>,
    vacant: Vec<u32>,
    /// How many there have been.
    pub(super) opened: u64,
}

impl Connections {
    /// Finds a place for `connection`.
    pub(super) fn add(&mut self, connection: Connection) -> u32 {
        self.opened += 1;
        if let Some(index) = self.vacant.pop() {
            let uses = self[index].uses + 1;
            self[index] = Connection { uses, ..connection };
            return index;
        }
        self.places.push(connection);
        u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
    }

    /// Every place, vacant ones among them.
    pub(super) fn all(&self) -> Range<u32> {
        0..u32::try_from(self.places.len()).unwrap_or(u32::MAX)
    }

    /// Makes the place vacant; returns who had it.
    pub(super) fn remove(&mut self, index: u32) -> Connection {
        self[index].uses += 1;
        self.vacant.push(index);
        self[index]
    }
}

impl Index<u32> for Connections {
    type Output = Connection;

    fn index(&self, index: u32) -> &Connection {
        &self.places[index as usize]
    }
}

impl IndexMut<u32> for Connections {
    fn index_mut(&mut self, index: u32) -> &mut Connection {
        &mut self.places[index as usize]
    }
}
