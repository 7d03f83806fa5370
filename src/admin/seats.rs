//! Who is served of those who come to the admin interface over TCP, and who has to go for that: there are so many seats, and
//! no address has more than its share. Where one is wanted and all are taken, whoever has kept its seat for longest without
//! a command being carried out gives it up: heads and content that do not come, answers that are not taken, connections that are
//! kept and watchers. It knows no sockets.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::admit::neighbourhood;

/// Those who are served at once, all addresses together, and of each address (of IPv6 each /64).
const MOST: usize = 64;
const SHARE: usize = MOST / 4;

/// All seats.
#[derive(Default)]
pub(super) struct Seats(Mutex<Vec<Arc<Seat>>>);

/// One that is taken.
pub(super) struct Seat {
    address: IpAddr,
    state: Mutex<State>,
    /// Told once, when it is given to another.
    given_up: Notify,
}

struct State {
    /// When it was taken, a command was done, or some of an answer was taken.
    moved: Instant,
    commands: usize,
    is_given_up: bool,
}

impl Seats {
    /// Takes a seat for `address`; none while every one it could have is busy with a command.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr, now: Instant) -> Option<Taken> {
        let address = neighbourhood::of(address);
        let mut taken = self.lock();
        let its_own = taken.iter().filter(|seat| seat.address == address).count();
        if its_own >= SHARE {
            give_up(&mut taken, |seat| seat.address == address)?;
        } else if taken.len() >= MOST {
            give_up(&mut taken, |_| true)?;
        }
        let state = Mutex::new(State { moved: now, commands: 0, is_given_up: false });
        let seat = Arc::new(Seat { address, state, given_up: Notify::new() });
        taken.push(seat.clone());
        Some(Taken { seats: self.clone(), seat })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Seat>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Frees the seat among the `eligible` on which nothing has moved for longest; none if commands are carried out on all.
fn give_up(taken: &mut Vec<Arc<Seat>>, eligible: impl Fn(&Seat) -> bool) -> Option<()> {
    let candidates = taken.iter().zip(0_usize..).filter(|(seat, _)| eligible(seat));
    let waiting = candidates.filter_map(|(seat, at)| Some((seat.waiting_since()?, at)));
    let (_, at) = waiting.min()?;
    let mut state = taken.get(at)?.lock();
    if state.commands > 0 {
        // It has begun one since it was looked at.
        return None;
    }
    state.is_given_up = true;
    drop(state);
    taken.swap_remove(at).given_up.notify_one();
    Some(())
}

impl Seat {
    /// Returns when another has been given the seat.
    pub(super) async fn given_up(&self) {
        self.given_up.notified().await;
    }

    /// Says that some of an answer was taken.
    pub(super) fn moved(&self, now: Instant) {
        self.lock().moved = now;
    }

    /// Begins to carry out a command, which is not broken off for others; none if the seat is another's by now.
    pub(super) fn begin(self: &Arc<Self>) -> Option<Busy> {
        let mut state = self.lock();
        if state.is_given_up {
            return None;
        }
        state.commands += 1;
        Some(Busy(self.clone()))
    }

    fn waiting_since(&self) -> Option<Instant> {
        let state = self.lock();
        (state.commands == 0).then_some(state.moved)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A command that is carried out while this is there.
pub(super) struct Busy(Arc<Seat>);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.commands = state.commands.saturating_sub(1);
        state.moved = Instant::now();
    }
}

/// A seat for as long as this is there.
pub(super) struct Taken {
    seats: Arc<Seats>,
    pub(super) seat: Arc<Seat>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.seats.lock().retain(|seat| !Arc::ptr_eq(seat, &self.seat));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn is_given_up(taken: &Taken) -> bool {
        taken.seat.lock().is_given_up
    }

    #[test]
    fn an_address_has_its_share_and_whoever_waits_longest_gives_way() {
        let (seats, begun) = (Arc::new(Seats::default()), Instant::now());
        let at = |number: usize| begun + Duration::from_secs(number as u64);
        let take = |address: [u8; 4], number| seats.take(address.into(), at(number)).expect("a seat");
        let mut its: Vec<_> = (0..SHARE).map(|number| take([10, 0, 0, 1], number)).collect();
        its[0].seat.moved(at(99));
        let busy = its[1].seat.begin().expect("a command");
        let (other, next) = (take([10, 0, 0, 2], 0), take([10, 0, 0, 1], SHARE));
        let gone: Vec<_> = (0..SHARE).filter(|number| is_given_up(&its[*number])).collect();
        assert_eq!((gone.as_slice(), is_given_up(&other)), (&[2_usize][..], false));
        assert!(its[2].seat.begin().is_none(), "no command is begun and broken off");
        let commands: Vec<_> = its.iter().chain([&next]).filter_map(|taken| taken.seat.begin()).collect();
        assert!(seats.take([10, 0, 0, 1].into(), at(200)).is_none(), "all its seats are busy");
        drop((busy, commands));
        its.clear();
        assert_eq!(seats.lock().len(), 2);
    }

    #[test]
    fn where_all_are_taken_one_gives_way_to_a_new_address() {
        let (seats, begun) = (Arc::new(Seats::default()), Instant::now());
        let address = |number: usize| IpAddr::from([10, 0, 0, u8::try_from(number % 8).expect("small")]);
        let at = |number: usize| begun + Duration::from_secs(number as u64);
        let all: Vec<_> =
            (0..MOST).map(|number| seats.take(address(number), at(number)).expect("a seat")).collect();
        let new = seats.take([192, 0, 2, 7].into(), at(MOST)).expect("a seat");
        assert!(is_given_up(&all[0]) && !is_given_up(&all[1]) && !is_given_up(&new));
        assert_eq!(seats.lock().len(), MOST);
    }
}
