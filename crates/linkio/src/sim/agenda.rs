//! What happens when: events in order of their moments.
//!
//! Owns the order. Events of one moment happen in the order they were arranged, so that a run is the same every time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::moment::Moment;

/// Something that happens at a moment. Transactions and connections are named by their places in the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// The transaction is due.
    Begin(usize),
    /// A connection stands that was dialled for the transaction.
    Dialled(usize),
    /// The message on the connection is to be looked at.
    Visit(u32),
    /// The origin has thought.
    Answer(u32),
    /// The connection may have been idle for too long; the number says since which use.
    Expire(u32, u64),
}

#[derive(Debug, Default)]
pub(super) struct Agenda {
    events: BinaryHeap<Reverse<(Moment, u64, Event)>>,
    arranged: u64,
    /// Events that somebody waits for: all but the end of idle connections.
    expected: usize,
}

impl Agenda {
    pub(super) fn arrange(&mut self, moment: Moment, event: Event) {
        self.expected += usize::from(event.is_expected());
        self.arranged += 1;
        self.events.push(Reverse((moment, self.arranged, event)));
    }

    /// The moment of the next event; `None` when none is left that somebody waits for.
    pub(super) fn next(&self) -> Option<Moment> {
        self.events.peek().filter(|_| self.expected > 0).map(|Reverse((moment, ..))| *moment)
    }

    /// Takes out the next event of `now` or before.
    pub(super) fn due(&mut self, now: Moment) -> Option<Event> {
        self.events.peek().filter(|Reverse((moment, ..))| *moment <= now)?;
        let Reverse((_, _, event)) = self.events.pop()?;
        self.expected -= usize::from(event.is_expected());
        Some(event)
    }
}

impl Event {
    fn is_expected(self) -> bool {
        !matches!(self, Self::Expire(..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_moment_keep_their_order() {
        let mut agenda = Agenda::default();
        let at = Moment::from_nanos;
        agenda.arrange(at(2), Event::Visit(9));
        agenda.arrange(at(1), Event::Visit(5));
        agenda.arrange(at(1), Event::Begin(7));
        agenda.arrange(at(3), Event::Expire(0, 0));
        assert_eq!((agenda.next(), agenda.due(at(0))), (Some(at(1)), None));
        let order: Vec<_> = std::iter::from_fn(|| agenda.due(at(2))).collect();
        assert_eq!(order, [Event::Visit(5), Event::Begin(7), Event::Visit(9)]);
        assert_eq!((agenda.next(), agenda.due(at(3))), (None, Some(Event::Expire(0, 0))));
    }
}
