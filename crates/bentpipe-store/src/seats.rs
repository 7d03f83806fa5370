//! Who follows a body that is being written: how far each has got, whom to wake, who holds the others up.
//!
//! Owns the followers' places and the arithmetic of patience, without a clock: how long the writer waited is told. It
//! does not know what bytes there are; whether the writer has to wait for followers at all is the spool's.
//!
//! Where it does, one client that stopped reading would stop everybody. So the time is counted for which the writer
//! waited while some had read everything; those far behind share the blame, and who makes others wait for 10 s without
//! getting on is cut off. Getting on clears it: a client that is merely slower than the others slows them down, as
//! over one link everybody does. A follower that is alone holds up nobody, and may take its time.

use std::task::Waker;
use std::time::Duration;

/// How long a follower may hold others up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Who has read this much more is forgiven: 26 kB/s at least. Bytes.
const PROGRESS: u64 = 256 * 1024;
/// The writer waits for the slowest; who is this far behind is next in line. Half of what it lets be outstanding. Bytes.
const FAR: u64 = 512 * 1024;
/// The position of who needs nothing any more.
pub(crate) const ENDED: u64 = u64::MAX;

/// The followers of one body.
#[derive(Default)]
pub(crate) struct Seats {
    seats: Vec<Option<Following>>,
}

/// One follower: the next byte it needs, and whom to wake when there is more.
struct Following {
    position: u64,
    waker: Option<Waker>,
    /// How long others waited for it since it was at `forgiven`.
    held_up: Duration,
    forgiven: u64,
    is_cut_off: bool,
}

impl Seats {
    /// A seat for a follower which needs the bytes from `position` on.
    pub(crate) fn sit_down(&mut self, position: u64) -> usize {
        let following = Some(Following {
            position,
            waker: None,
            held_up: Duration::ZERO,
            forgiven: position,
            is_cut_off: false,
        });
        match self.seats.iter().position(Option::is_none) {
            Some(seat) => {
                self.seats[seat] = following;
                seat
            }
            None => {
                self.seats.push(following);
                self.seats.len() - 1
            }
        }
    }

    /// The follower needs the bytes from `position` on; none at [`ENDED`].
    pub(crate) fn move_on(&mut self, seat: usize, position: u64) {
        if let Some(following) = self.following(seat) {
            following.position = position;
        }
    }

    /// To be woken when more arrives, or when it is cut off.
    pub(crate) fn wake_later(&mut self, seat: usize, waker: &Waker) {
        if let Some(following) = self.following(seat) {
            match &mut following.waker {
                Some(known) => known.clone_from(waker),
                none => *none = Some(waker.clone()),
            }
        }
    }

    /// The follower is gone.
    pub(crate) fn leave(&mut self, seat: usize) {
        if let Some(seat) = self.seats.get_mut(seat) {
            *seat = None;
        }
    }

    /// Whether the follower was cut off.
    pub(crate) fn is_cut_off(&self, seat: usize) -> bool {
        self.seats.get(seat).is_some_and(|seat| seat.as_ref().is_some_and(|following| following.is_cut_off))
    }

    /// How many followers there are that were not cut off.
    pub(crate) fn count(&self) -> usize {
        self.seats.iter().flatten().filter(|following| !following.is_cut_off).count()
    }

    /// Whether there ever was a follower.
    pub(crate) fn were_taken(&self) -> bool {
        !self.seats.is_empty()
    }

    /// The first byte that any follower needs; [`ENDED`] when none needs any.
    pub(crate) fn slowest(&self) -> u64 {
        self.seats.iter().flatten().map(|following| following.position).min().unwrap_or(ENDED)
    }

    /// Whom to wake when more has arrived.
    pub(crate) fn wakers(&mut self) -> Vec<Waker> {
        self.seats.iter_mut().flatten().filter_map(|following| following.waker.take()).collect()
    }

    /// How long the writer may wait, `arrived` bytes having arrived, until somebody has held others up for too long;
    /// `None` while nobody is held up.
    pub(crate) fn patience(&self, arrived: u64) -> Option<Duration> {
        let has_all = |following: &Following| following.position >= arrived && following.position != ENDED;
        if !self.seats.iter().flatten().any(has_all) {
            return None;
        }
        let slowest = self.slowest();
        let to_blame =
            self.seats.iter().flatten().filter(|following| following.is_in_the_way(arrived, slowest));
        to_blame.map(|following| PATIENCE.saturating_sub(following.blame())).min()
    }

    /// The writer has waited for `waited` while others were held up. Cuts off who is out of patience; returns whom to
    /// wake, so that they learn of it.
    pub(crate) fn charge(&mut self, arrived: u64, waited: Duration) -> Vec<Waker> {
        let (mut wakers, slowest) = (Vec::new(), self.slowest());
        let all = self.seats.iter_mut().flatten();
        for following in all.filter(|following| following.is_in_the_way(arrived, slowest)) {
            if following.blame().is_zero() {
                following.held_up = Duration::ZERO;
                following.forgiven = following.position;
            }
            following.held_up += waited;
            if following.held_up >= PATIENCE {
                following.is_cut_off = true;
                following.position = ENDED;
                wakers.extend(following.waker.take());
            }
        }
        wakers
    }

    fn following(&mut self, seat: usize) -> Option<&mut Following> {
        self.seats.get_mut(seat)?.as_mut()
    }
}

impl Following {
    fn is_in_the_way(&self, arrived: u64, slowest: u64) -> bool {
        let behind = arrived.saturating_sub(self.position);
        behind > FAR || (behind > 0 && self.position == slowest)
    }

    /// How long others have waited for it without its getting on.
    fn blame(&self) -> Duration {
        if self.position >= self.forgiven.saturating_add(PROGRESS) { Duration::ZERO } else { self.held_up }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARRIVED: u64 = 100 << 20;
    const SECOND: Duration = Duration::from_secs(1);

    /// Two followers: one that has read everything, and one (seat 1) that has read nothing.
    fn held_up() -> Seats {
        let mut seats = Seats::default();
        seats.sit_down(ARRIVED);
        seats.sit_down(0);
        seats
    }

    #[test]
    fn who_does_not_read_is_cut_off_after_10_s() {
        let mut seats = held_up();
        for second in 0..10 {
            assert!(!seats.is_cut_off(1));
            assert_eq!(seats.patience(ARRIVED), Some(PATIENCE - second * SECOND));
            seats.charge(ARRIVED, SECOND);
        }
        assert!(seats.is_cut_off(1) && !seats.is_cut_off(0));
        assert_eq!((seats.patience(ARRIVED), seats.count(), seats.slowest()), (None, 1, ARRIVED));
    }

    #[test]
    fn who_gets_on_is_not_cut_off_and_who_trickles_is() {
        for (bytes_a_second, is_cut_off) in [(30_000, false), (100, true)] {
            let mut seats = held_up();
            for second in 1..=1_000 {
                seats.move_on(1, second * bytes_a_second);
                seats.charge(ARRIVED, SECOND);
                if seats.is_cut_off(1) {
                    break;
                }
            }
            assert_eq!(seats.is_cut_off(1), is_cut_off, "{bytes_a_second}");
        }
    }

    #[test]
    fn who_holds_up_nobody_may_take_its_time() {
        let mut seats = Seats::default();
        seats.sit_down(0);
        assert_eq!(seats.patience(ARRIVED), None);
        // Another that has not read everything either is not held up, nor is one that has ended.
        seats.sit_down(ARRIVED - 1);
        let ended = seats.sit_down(0);
        seats.move_on(ended, ENDED);
        assert_eq!(seats.patience(ARRIVED), None);
    }

    #[test]
    fn all_who_are_stuck_are_cut_off_at_once() {
        let mut seats = held_up();
        let (stuck, close) = (seats.sit_down(1_000_000), seats.sit_down(ARRIVED - 1000));
        seats.charge(ARRIVED, PATIENCE);
        assert!(seats.is_cut_off(1) && seats.is_cut_off(stuck) && !seats.is_cut_off(close));
    }
    #[test]
    fn the_slowest_is_in_the_way_however_close_it_is() {
        // Chunks may be larger than what is to be outstanding: the writer waits for whoever has not got the last.
        let mut seats = Seats::default();
        seats.sit_down(ARRIVED);
        let close = seats.sit_down(ARRIVED - 1);
        assert_eq!(seats.patience(ARRIVED), Some(PATIENCE));
        seats.charge(ARRIVED, PATIENCE);
        assert!(seats.is_cut_off(close) && !seats.is_cut_off(0));
    }
}
