//! What a link carried, and how it is doing: plain numbers for whoever prints them.
//!
//! Owns `Usage` and the snapshot of a link. Counting itself happens where bytes cross.

use std::ops::AddAssign;
use std::time::Duration;

use crate::flow::ClientKey;
use crate::moment::Moment;
use crate::spec::LinkSpec;

/// Bytes of payload that crossed, each direction on its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes towards the clients.
    pub down: u64,
    /// Bytes towards the origins.
    pub up: u64,
}

impl Usage {
    /// Bytes in both directions together.
    pub fn total(self) -> u64 {
        self.down.saturating_add(self.up)
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.down = self.down.saturating_add(other.down);
        self.up = self.up.saturating_add(other.up);
    }
}

/// One direction of a link at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LaneState {
    /// Bytes asked for and not yet granted.
    pub backlog: u64,
    /// How long until the backlog has crossed; `None` on a closed link with a backlog.
    pub queueing_delay: Option<Duration>,
    /// The part of the last ten seconds in which something crossed, from 0 to 1.
    pub utilisation: f64,
}

/// Who used a link while it limited or delayed: what crosses one that does neither is counted as a whole only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Of each class, in the order of [`Class::ALL`](crate::Class::ALL).
    pub classes: [Usage; 3],
    /// Of each client, the largest first. Those too many to be told apart are together under
    /// [`ClientKey::OTHERS`].
    pub clients: Vec<(ClientKey, Usage)>,
}

/// A link at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkState {
    /// The link as it is set.
    pub spec: LinkSpec,
    /// What crossed since the link was made.
    pub usage: Usage,
    /// Open connections over the link.
    pub flows: usize,
    /// Towards the clients.
    pub down: LaneState,
    /// Towards the origins.
    pub up: LaneState,
}

/// Seconds over which utilisation is taken.
const WINDOW: u64 = 10;
const SECOND: u64 = 1_000_000_000;

/// How much of the last seconds something crossed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Busy {
    /// Nanoseconds something crossed, of the second with this number modulo the length.
    seconds: [u64; WINDOW as usize],
    /// The last second that is counted.
    current: u64,
}

impl Busy {
    /// Something crossed from `start` to `end`, after all that was noted before.
    pub(crate) fn note(&mut self, start: Moment, end: Moment) {
        let (mut from, end) = (start.as_nanos(), end.as_nanos());
        // What is longer ago than the window does not count: no more than its seconds are visited.
        from = from.max(end.saturating_sub(WINDOW * SECOND));
        while from < end {
            let second = from / SECOND;
            let until = end.min((second + 1).saturating_mul(SECOND));
            self.turn_to(second);
            self.seconds[(second % WINDOW) as usize] += until - from;
            from = until;
        }
    }

    /// The part of the last ten seconds before `now` in which something crossed; of less where time began later.
    pub(crate) fn share(&self, now: Moment) -> f64 {
        let second = now.as_nanos() / SECOND;
        // The present second is not over: the whole ones before it count, and what there is of this one.
        let counted = |back: u64| {
            second
                .checked_sub(back)
                .filter(|second| *second <= self.current && self.current - second < WINDOW)
        };
        let busy: u64 =
            (0..WINDOW).filter_map(counted).map(|second| self.seconds[(second % WINDOW) as usize]).sum();
        let over = (WINDOW - 1).min(second) * SECOND + now.as_nanos() % SECOND;
        if over == 0 { 0.0 } else { (busy as f64 / over as f64).min(1.0) }
    }

    fn turn_to(&mut self, second: u64) {
        let missed = second.saturating_sub(self.current).min(WINDOW);
        for back in 0..missed {
            self.seconds[((second - back) % WINDOW) as usize] = 0;
        }
        self.current = self.current.max(second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn utilisation_is_of_the_last_ten_seconds() {
        let mut busy = Busy::default();
        assert_eq!(busy.share(at(0)), 0.0);
        busy.note(at(0), at(500));
        assert_eq!(busy.share(at(1000)), 0.5);
        busy.note(at(1000), at(4000));
        assert_eq!(busy.share(at(7000)), 0.5);
        assert_eq!(busy.share(at(60_000)), 0.0);
        busy.note(at(70_000), at(90_000));
        assert_eq!(busy.share(at(90_000)), 1.0);
    }
}
