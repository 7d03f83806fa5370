//! What is asked for over a link, and when: the input of a run.
//!
//! Owns plain values and who waits for whom. It reads no file and invents nothing.

use std::ops::Range;
use std::time::Duration;

use crate::flow::Standing;
use crate::moment::Moment;

/// Requests over a link, and how whoever makes them behaves.
#[derive(Clone, Debug)]
pub struct Workload {
    /// In any order. The place in this list is a transaction's name.
    pub transactions: Vec<Transaction>,
    /// How long an idle connection is kept for the next request.
    pub keep_alive: Duration,
    /// Connections to one host that one client uses at once, as browsers do; `None` is as many as it has requests.
    pub connections: Option<usize>,
    /// The run ends here, whatever is under way. `None`: when nothing is left to do.
    pub until: Option<Moment>,
}

impl Default for Workload {
    /// Nothing to do, connections kept for 60 s, no limits.
    fn default() -> Self {
        Self { transactions: Vec::new(), keep_alive: Duration::from_secs(60), connections: None, until: None }
    }
}

/// One request and its response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// When it begins.
    pub begin: Begin,
    /// Whose it is and what it is for.
    pub standing: Standing,
    /// The origin. Connections to it are used again, by every client. A small number: hosts are kept in a table.
    pub host: u32,
    /// Bytes exchanged on a connection to the host before its first request.
    pub greeting: Greeting,
    /// Bytes of the request, head and content; none counts as one.
    pub up: u64,
    /// How long the origin thinks once it has the whole request.
    pub wait: Duration,
    /// Bytes of the response, head and content; none counts as one.
    pub down: u64,
}

/// What both ends say on a new connection before the first request, such as the handshake of TLS: first one way, then
/// the other, and so a round trip. Without any bytes there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Greeting {
    /// Bytes towards the origin.
    pub up: u64,
    /// Bytes towards the client.
    pub down: u64,
}

/// When a transaction begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At a moment.
    At(Moment),
    /// After others.
    After {
        /// The transactions that are done before it, by their places in the list.
        done: Range<usize>,
        /// How long after the last of them.
        pause: Duration,
        /// Not at all if it would begin later than this.
        latest: Option<Moment>,
    },
}

/// Who waits for whom. A transaction that waits for itself, or for one that is not in the list, never begins.
#[derive(Debug)]
pub(super) struct Followers {
    /// Where each transaction's followers begin in `all`; one entry more than there are transactions.
    first: Vec<usize>,
    all: Vec<usize>,
    /// How many each transaction still waits for.
    missing: Vec<usize>,
}

impl Followers {
    pub(super) fn new(transactions: &[Transaction]) -> Self {
        let count = transactions.len();
        let (mut first, mut missing) = (vec![0; count + 1], vec![0; count]);
        let edges = || {
            transactions.iter().enumerate().filter_map(|(index, transaction)| match &transaction.begin {
                Begin::At(_) => None,
                Begin::After { done, .. } => Some((index, done.clone())),
            })
        };
        for (index, done) in edges() {
            missing[index] = done.len();
            for leader in done.start.min(count)..done.end.min(count) {
                first[leader + 1] += 1;
            }
        }
        for leader in 0..count {
            first[leader + 1] += first[leader];
        }
        let (mut all, mut place) = (vec![0; first[count]], first.clone());
        for (index, done) in edges() {
            for leader in done.start.min(count)..done.end.min(count) {
                all[place[leader]] = index;
                place[leader] += 1;
            }
        }
        Self { first, all, missing }
    }

    /// Those that wait for `leader`, by their number among them.
    pub(super) fn of(&self, leader: usize) -> Range<usize> {
        self.first[leader]..self.first[leader + 1]
    }

    /// The follower with this number.
    pub(super) fn follower(&self, number: usize) -> usize {
        self.all[number]
    }

    /// One of those that `follower` waits for is done. Returns whether it was the last.
    pub(super) fn is_free(&mut self, follower: usize) -> bool {
        self.missing[follower] = self.missing[follower].saturating_sub(1);
        self.missing[follower] == 0
    }

    /// Whether `index` waits for nobody from the start.
    pub(super) fn waits_for_none(&self, index: usize) -> bool {
        self.missing[index] == 0
    }
}
