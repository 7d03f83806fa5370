//! One round of deficit round robin with a fresh list first (DRR++), over members kept elsewhere.
//!
//! Owns whose turn it is among the members of one level: clients of a link, or flows of a client. It knows neither
//! what the members are nor what they carry. The lists run through the members themselves, so joining, leaving and
//! turning are all constant time.
//!
//! A member that becomes busy goes first for one quantum. One that runs empty keeps its place for one more round and
//! is only then new again, so asking little and often gains no more than a quantum a round.

use crate::flow::Weight;

/// Which list of its round a member is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Out,
    Fresh,
    Old,
}

/// A member's part in its round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Share {
    /// Bytes waiting.
    backlog: u64,
    /// Bytes it may still send in this turn.
    deficit: u64,
    weight: Weight,
    /// Whether it sent anything in this turn.
    served: bool,
    place: Place,
    previous: Option<u32>,
    next: Option<u32>,
}

impl Share {
    pub(crate) fn new(weight: Weight) -> Self {
        Self { weight, ..Self::default() }
    }

    pub(crate) fn backlog(&self) -> u64 {
        self.backlog
    }

    /// Bytes it may send now: what waits, within this turn.
    pub(crate) fn allowed(&self) -> u64 {
        self.backlog.min(self.deficit)
    }

    pub(crate) fn is_out(&self) -> bool {
        self.place == Place::Out
    }
}

/// Something that takes turns.
pub(crate) trait Member {
    fn share(&mut self) -> &mut Share;
}

#[derive(Debug, Default)]
struct List {
    first: Option<u32>,
    last: Option<u32>,
}

/// The order in which the busy members of one level take turns.
#[derive(Debug, Default)]
pub(crate) struct Round {
    fresh: List,
    old: List,
}

impl Round {
    /// Adds `bytes` to what waits for the member at `index`; one that was out goes first for one quantum.
    pub(crate) fn add<M: Member>(&mut self, members: &mut [M], index: u32, bytes: u64, quantum: u64) {
        let share = members[index as usize].share();
        share.backlog = share.backlog.saturating_add(bytes);
        if share.place == Place::Out {
            share.deficit = share.weight.times(quantum);
            share.served = false;
            self.push(members, index, Place::Fresh);
        }
    }

    /// Whose turn it is; `None` if nothing waits. Ends the turns of those who have run empty.
    pub(crate) fn turn<M: Member>(&mut self, members: &mut [M], quantum: u64) -> Option<u32> {
        loop {
            let index = self.fresh.first.or(self.old.first)?;
            let share = members[index as usize].share();
            let full = share.weight.times(quantum);
            // The quantum may have shrunk since the turn began.
            share.deficit = share.deficit.min(full);
            if share.allowed() > 0 {
                return Some(index);
            }
            if share.served {
                self.end_turn(members, index, quantum);
            } else {
                self.leave(members, index);
            }
        }
    }

    /// The member at `index`, whose turn it is, sends `bytes`. Its turn ends with its quantum.
    pub(crate) fn serve<M: Member>(&mut self, members: &mut [M], index: u32, bytes: u64, quantum: u64) {
        let share = members[index as usize].share();
        share.backlog = share.backlog.saturating_sub(bytes);
        share.deficit = share.deficit.saturating_sub(bytes);
        share.served = true;
        if share.deficit == 0 {
            self.end_turn(members, index, quantum);
        }
    }

    /// Takes back `bytes` that wait for the member at `index`. It keeps its place until its turn.
    pub(crate) fn withdraw<M: Member>(members: &mut [M], index: u32, bytes: u64) {
        let share = members[index as usize].share();
        share.backlog = share.backlog.saturating_sub(bytes);
    }

    /// Takes the member at `index` out of the round, wherever it is.
    pub(crate) fn leave<M: Member>(&mut self, members: &mut [M], index: u32) {
        let share = members[index as usize].share();
        let list = match std::mem::take(&mut share.place) {
            Place::Out => return,
            Place::Fresh => &mut self.fresh,
            Place::Old => &mut self.old,
        };
        let (previous, next) = (share.previous.take(), share.next.take());
        match previous {
            Some(previous) => members[previous as usize].share().next = next,
            None => list.first = next,
        }
        match next {
            Some(next) => members[next as usize].share().previous = previous,
            None => list.last = previous,
        }
    }

    /// Takes every member out, so that whoever becomes busy next counts as new.
    pub(crate) fn clear<M: Member>(&mut self, members: &mut [M]) {
        while let Some(index) = self.fresh.first.or(self.old.first) {
            self.leave(members, index);
        }
    }

    /// Sends the member at `index` to the end of the round with a quantum for its next turn.
    fn end_turn<M: Member>(&mut self, members: &mut [M], index: u32, quantum: u64) {
        self.leave(members, index);
        let share = members[index as usize].share();
        share.deficit = share.weight.times(quantum);
        share.served = false;
        self.push(members, index, Place::Old);
    }

    fn push<M: Member>(&mut self, members: &mut [M], index: u32, place: Place) {
        let list = if place == Place::Fresh { &mut self.fresh } else { &mut self.old };
        let last = list.last.replace(index);
        let share = members[index as usize].share();
        (share.place, share.previous, share.next) = (place, last, None);
        match last {
            Some(last) => members[last as usize].share().next = Some(index),
            None => list.first = Some(index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Member for Share {
        fn share(&mut self) -> &mut Share {
            self
        }
    }

    /// Serves whole turns of quantum 10 and names the members in the order they were served.
    fn turns(round: &mut Round, members: &mut [Share], count: usize) -> Vec<u32> {
        let mut order = Vec::new();
        while order.len() < count {
            let Some(index) = round.turn(members, 10) else { break };
            let bytes = members[index as usize].allowed();
            round.serve(members, index, bytes, 10);
            order.push(index);
        }
        order
    }

    #[test]
    fn a_new_member_goes_first_for_one_quantum() {
        let mut members = vec![Share::new(Weight::ONE); 3];
        let mut round = Round::default();
        round.add(&mut members, 0, 100, 10);
        round.add(&mut members, 1, 100, 10);
        assert_eq!(turns(&mut round, &mut members, 3), [0, 1, 0]);
        round.add(&mut members, 2, 100, 10);
        assert_eq!(turns(&mut round, &mut members, 5), [2, 1, 0, 2, 1]);
    }

    #[test]
    fn asking_little_and_often_gains_no_second_place() {
        let mut members = vec![Share::new(Weight::ONE); 2];
        let mut round = Round::default();
        round.add(&mut members, 0, 1000, 10);
        let mut order = Vec::new();
        for _ in 0..6 {
            if members[1].backlog() == 0 {
                round.add(&mut members, 1, 10, 10);
            }
            order.extend(turns(&mut round, &mut members, 1));
        }
        assert_eq!(order, [0, 1, 0, 1, 0, 1]);
    }

    #[test]
    fn members_leave_from_anywhere() {
        let mut members = vec![Share::new(Weight::ONE); 4];
        let mut round = Round::default();
        for index in 0..4 {
            round.add(&mut members, index, 20, 10);
        }
        for index in [1, 3, 0] {
            round.leave(&mut members, index);
            assert!(members[index as usize].is_out());
        }
        assert_eq!(turns(&mut round, &mut members, 9), [2, 2]);
        assert_eq!(round.turn(&mut members, 10), None);
        assert!(members.iter().all(Share::is_out));
    }
}
