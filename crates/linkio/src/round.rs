//! One round of deficit round robin with a fresh list first (DRR++), over members kept elsewhere.
//!
//! Owns whose turn it is among the members of one level: clients of a link, or flows of a client. It knows neither
//! what the members are nor what they carry. The lists run through the members themselves, so joining, leaving and
//! turning are all constant time.
//!
//! A member that becomes busy goes first, for one quantum or [`FRESH`] bytes, whichever is more: a small answer crosses
//! whole. What it sent beyond its quantum it owes: it is passed over until its turns have paid for it. One that runs
//! empty keeps its place for one more round and until it owes nothing, and is only then new again, so asking little and
//! often gains no more than its share.

use crate::flow::Weight;

/// Bytes a new member may send at once, on a link so slow that its quantum is less: one packet.
pub(crate) const FRESH: u64 = 1500;

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
    /// Bytes it may still send in this turn; below zero, what it owes.
    deficit: i64,
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
    pub(crate) fn allowed(&self, quantum: u64) -> u64 {
        self.backlog.min(u64::try_from(self.credit(quantum)).unwrap_or(0))
    }

    /// Bytes left of this turn, whether they wait or not.
    fn credit(&self, quantum: u64) -> i64 {
        let advance = if self.place == Place::Fresh { signed(FRESH) - self.turn(quantum) } else { 0 };
        self.deficit.saturating_add(advance.max(0))
    }

    /// Bytes of one turn.
    fn turn(&self, quantum: u64) -> i64 {
        signed(self.weight.times(quantum))
    }

    /// Another weight, from its next turn on.
    pub(crate) fn weigh(&mut self, weight: Weight) {
        self.weight = weight;
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
            share.deficit = share.turn(quantum);
            share.served = false;
            self.push(members, index, Place::Fresh);
        }
    }

    /// Whose turn it is; `None` if nothing waits. Ends the turns of those who have run empty.
    pub(crate) fn turn<M: Member>(&mut self, members: &mut [M], quantum: u64) -> Option<u32> {
        loop {
            let index = self.fresh.first.or(self.old.first)?;
            let share = members[index as usize].share();
            // The quantum may have shrunk since the turn began.
            share.deficit = share.deficit.min(share.turn(quantum));
            if share.allowed(quantum) > 0 {
                return Some(index);
            }
            if share.served || share.deficit <= 0 {
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
        share.deficit = share.deficit.saturating_sub(signed(bytes));
        share.served = true;
        if share.credit(quantum) <= 0 {
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

    /// Sends the member at `index` to the end of the round with a quantum for its next turn, less what it owes.
    fn end_turn<M: Member>(&mut self, members: &mut [M], index: u32, quantum: u64) {
        self.leave(members, index);
        let share = members[index as usize].share();
        share.deficit = share.deficit.min(0).saturating_add(share.turn(quantum));
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

/// Bytes as a signed number; more than 2^63 of them never wait.
fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Member for Share {
        fn share(&mut self) -> &mut Share {
            self
        }
    }

    const Q: u64 = 2000;

    /// Serves whole turns of quantum `Q`, which is more than a packet, and names the members in the order they were served.
    fn turns(round: &mut Round, members: &mut [Share], count: usize) -> Vec<u32> {
        let mut order = Vec::new();
        while order.len() < count {
            let Some(index) = round.turn(members, Q) else { break };
            let bytes = members[index as usize].allowed(Q);
            round.serve(members, index, bytes, Q);
            order.push(index);
        }
        order
    }

    #[test]
    fn a_new_member_goes_first_for_one_quantum() {
        let mut members = vec![Share::new(Weight::ONE); 3];
        let mut round = Round::default();
        round.add(&mut members, 0, 10 * Q, Q);
        round.add(&mut members, 1, 10 * Q, Q);
        assert_eq!(turns(&mut round, &mut members, 3), [0, 1, 0]);
        round.add(&mut members, 2, 10 * Q, Q);
        assert_eq!(turns(&mut round, &mut members, 5), [2, 1, 0, 2, 1]);
    }

    #[test]
    fn asking_little_and_often_gains_no_second_place() {
        let mut members = vec![Share::new(Weight::ONE); 2];
        let mut round = Round::default();
        round.add(&mut members, 0, 100 * Q, Q);
        let mut order = Vec::new();
        for _ in 0..6 {
            if members[1].backlog() == 0 {
                round.add(&mut members, 1, Q, Q);
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
            round.add(&mut members, index, 2 * Q, Q);
        }
        for index in [1, 3, 0] {
            round.leave(&mut members, index);
            assert!(members[index as usize].is_out());
        }
        assert_eq!(turns(&mut round, &mut members, 9), [2, 2]);
        assert_eq!(round.turn(&mut members, Q), None);
        assert!(members.iter().all(Share::is_out));
    }

    /// Serves pieces of at most `quantum` until `bytes` are gone, and tells how many each member got in a row.
    fn runs(round: &mut Round, members: &mut [Share], quantum: u64, bytes: u64) -> Vec<(u32, u64)> {
        let (mut runs, mut left) = (Vec::<(u32, u64)>::new(), bytes);
        while left > 0 {
            let Some(index) = round.turn(members, quantum) else { break };
            let piece = members[index as usize].allowed(quantum).min(quantum).min(left);
            round.serve(members, index, piece, quantum);
            left -= piece;
            match runs.last_mut() {
                Some((last, sum)) if *last == index => *sum += piece,
                _ => runs.push((index, piece)),
            }
        }
        runs
    }

    #[test]
    fn what_a_new_member_sends_beyond_its_quantum_it_owes() {
        let mut members = vec![Share::new(Weight::ONE); 2];
        let mut round = Round::default();
        round.add(&mut members, 0, 100_000, 150);
        // Alone, it pays its own advance back to nobody.
        runs(&mut round, &mut members, 150, 6000);
        round.add(&mut members, 1, 3000, 150);
        let got = runs(&mut round, &mut members, 150, 3300);
        assert_eq!(got, [(1, 1500), (0, 1500), (1, 150), (0, 150)]);
    }

    #[test]
    fn whoever_runs_empty_in_debt_is_not_new_again() {
        let mut members = vec![Share::new(Weight::ONE); 2];
        let mut round = Round::default();
        round.add(&mut members, 0, 100_000, 150);
        runs(&mut round, &mut members, 150, 6000);
        let mut got = 0;
        for _ in 0..100 {
            if members[1].backlog() == 0 {
                round.add(&mut members, 1, 1000, 150);
            }
            got += runs(&mut round, &mut members, 150, 300)
                .iter()
                .filter(|run| run.0 == 1)
                .map(|run| run.1)
                .sum::<u64>();
        }
        assert!(got <= 15_000 + FRESH, "{got}");
    }
}
