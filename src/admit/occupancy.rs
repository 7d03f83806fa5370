//! How much of something each client has at the same moment: connections, exchanges. A seat is taken and given back by
//! being dropped; who has none takes no memory, once no connection is left on which there was one.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use tokio::sync::OwnedSemaphorePermit;

use super::neighbourhood;

/// Seats of which each client may have so many.
#[derive(Clone, Debug)]
pub(crate) struct Occupancy {
    most: usize,
    seats: Arc<Seats>,
}

#[derive(Debug, Default)]
struct Seats {
    clients: Mutex<HashMap<IpAddr, Weak<Taken>>>,
}

/// How many seats a client has: there as long as it has one, or a connection that remembers this.
#[derive(Debug)]
struct Taken {
    of: Arc<Seats>,
    client: IpAddr,
    count: AtomicUsize,
}

/// A seat that a client has; given back when dropped.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Taken>);

/// What a client's connection takes of what there is of them, in all and for the client. It is given back when the last
/// holder lets go: the connection, or the tunnel that it has become.
#[derive(Clone)]
pub(crate) struct Stay {
    seats: Arc<Held>,
    /// What else is to last as long.
    also: Option<Arc<dyn Any + Send + Sync>>,
}

#[derive(Debug)]
struct Held {
    _permit: OwnedSemaphorePermit,
    _seat: Seat,
    /// Where the client's exchanges are counted, once there was one.
    exchanges: OnceLock<Arc<Taken>>,
}

impl Stay {
    /// The two together.
    pub(crate) fn new(permit: OwnedSemaphorePermit, seat: Seat) -> Self {
        let held = Held { _permit: permit, _seat: seat, exchanges: OnceLock::new() };
        Self { seats: Arc::new(held), also: None }
    }

    /// The same stay, which also keeps `held` for as long as somebody holds on to this part of it.
    pub(crate) fn keeping(&self, held: Arc<dyn Any + Send + Sync>) -> Self {
        Self { also: Some(held), ..self.clone() }
    }
}

impl fmt::Debug for Stay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stay").field("seats", &self.seats).field("keeps", &self.also.is_some()).finish()
    }
}

impl Occupancy {
    /// Seats of which each client may have `most`.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, seats: Arc::default() }
    }

    /// The same seats, those that are taken included, of which each client may now have `most`.
    pub(crate) fn of_at_most(&self, most: usize) -> Self {
        Self { most, seats: self.seats.clone() }
    }

    /// A seat for `client`; none if it has as many as it may.
    pub(crate) fn take(&self, client: IpAddr) -> Option<Seat> {
        self.seats.of(client).take(self.most)
    }

    /// A seat for an exchange of `client`; none if it has as many as it may. Its `stay` remembers where they are counted, so
    /// that nothing is looked up for every one of them.
    pub(crate) fn take_during(&self, stay: Option<&Stay>, client: IpAddr) -> Option<Seat> {
        let known = stay.map(|stay| stay.seats.exchanges.get_or_init(|| self.seats.of(client)));
        match known.filter(|taken| Arc::ptr_eq(&taken.of, &self.seats)) {
            Some(taken) => taken.take(self.most),
            None => self.take(client),
        }
    }
}

impl Seats {
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Weak<Taken>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the seats of `client` are counted.
    fn of(self: &Arc<Self>, client: IpAddr) -> Arc<Taken> {
        let client = neighbourhood::of(client);
        let mut clients = self.lock();
        let known = clients.entry(client).or_default();
        known.upgrade().unwrap_or_else(|| {
            let taken = Arc::new(Taken { of: self.clone(), client, count: AtomicUsize::new(0) });
            *known = Arc::downgrade(&taken);
            taken
        })
    }
}

impl Taken {
    /// One seat more, of at most so many.
    fn take(self: &Arc<Self>, most: usize) -> Option<Seat> {
        let more = |count| (count < most).then_some(count + 1);
        let taken = self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok().then(|| Seat(self.clone()))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut clients = self.of.lock();
        // Others may have begun to count for the same client since nobody holds this.
        if clients.get(&self.client).is_some_and(|known| known.strong_count() == 0) {
            clients.remove(&self.client);
        }
        if clients.is_empty() && clients.capacity() > ROOMY {
            clients.shrink_to_fit();
        }
    }
}

/// A map that was larger than this is given back when it is empty.
const ROOMY: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_own_seats_and_leaves_nothing_behind() {
        let occupancy = Occupancy::new(2);
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let (first, second) = (occupancy.take(one), occupancy.take(one));
        assert!(first.is_some() && second.is_some() && occupancy.take(one).is_none());
        assert!(occupancy.take(other).is_some());
        drop(first);
        assert!(occupancy.take(one).is_some());
        drop(second);
        assert!(occupancy.seats.lock().is_empty());
    }

    #[test]
    fn seats_that_are_taken_count_under_another_limit() {
        let client = IpAddr::from([10, 0, 0, 1]);
        let occupancy = Occupancy::new(2);
        let held = [occupancy.take(client), occupancy.take(client)];
        assert!(
            occupancy.of_at_most(1).take(client).is_none() && occupancy.of_at_most(3).take(client).is_some()
        );
        drop(held);
        assert!(occupancy.of_at_most(1).take(client).is_some());
    }

    #[test]
    fn a_connection_counts_its_exchanges_with_those_of_others() {
        let client = IpAddr::from([10, 0, 0, 1]);
        let (connections, exchanges) = (Occupancy::new(9), Occupancy::new(2));
        let room = Arc::new(tokio::sync::Semaphore::new(2));
        let [stay, other] = [(); 2].map(|()| {
            let permit = room.clone().try_acquire_owned().expect("room");
            Stay::new(permit, connections.take(client).expect("a seat"))
        });
        let first = exchanges.take_during(Some(&stay), client);
        let second = exchanges.take_during(Some(&other), client);
        assert!(first.is_some() && second.is_some());
        assert!(exchanges.take_during(Some(&stay), client).is_none() && exchanges.take(client).is_none());
        assert!(exchanges.of_at_most(3).take_during(Some(&stay), client).is_some());
        // What is counted elsewhere is not what the connection remembers.
        assert!(Occupancy::new(1).take_during(Some(&stay), client).is_some());
        drop(first);
        assert!(exchanges.take_during(None, client).is_some());
        drop((stay, other));
        assert!(exchanges.take(client).is_some());
        drop(second);
        assert!(exchanges.seats.lock().is_empty() && connections.seats.lock().is_empty());
    }

    #[test]
    fn an_ipv6_network_shares_its_seats() {
        let occupancy = Occupancy::new(1);
        let [one, near, far] =
            ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|a| a.parse().expect("an address"));
        let _held = occupancy.take(one).expect("a seat");
        assert!(occupancy.take(near).is_none() && occupancy.take(far).is_some());
    }
}
