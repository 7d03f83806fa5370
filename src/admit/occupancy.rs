//! How much of something each client has at the same moment: connections, exchanges. A seat is taken and given back by
//! being dropped; who has none takes no memory.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use super::neighbourhood;

/// Seats of which each client may have so many.
#[derive(Clone, Debug)]
pub(crate) struct Occupancy {
    most: usize,
    seats: Arc<Seats>,
}

#[derive(Debug)]
struct Seats {
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// A seat that a client has; given back when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    of: Arc<Seats>,
    client: IpAddr,
}

/// What a client's connection takes of what there is of them, in all and for the client. It is given back when the last
/// holder lets go: the connection, or the tunnel that it has become.
#[derive(Clone)]
pub(crate) struct Stay {
    seats: Arc<(OwnedSemaphorePermit, Seat)>,
    /// What else is to last as long.
    also: Option<Arc<dyn Any + Send + Sync>>,
}

impl Stay {
    /// The two together.
    pub(crate) fn new(permit: OwnedSemaphorePermit, seat: Seat) -> Self {
        Self { seats: Arc::new((permit, seat)), also: None }
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
        Self { most, seats: Arc::new(Seats { taken: Mutex::default() }) }
    }

    /// The same seats, those that are taken included, of which each client may now have `most`.
    pub(crate) fn of_at_most(&self, most: usize) -> Self {
        Self { most, seats: self.seats.clone() }
    }

    /// A seat for `client`; none if it has as many as it may.
    pub(crate) fn take(&self, client: IpAddr) -> Option<Seat> {
        let client = neighbourhood::of(client);
        let mut taken = self.seats.lock();
        let count = taken.entry(client).or_insert(0);
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Seat { of: self.seats.clone(), client })
    }
}

impl Seats {
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.of.lock();
        if let Some(count) = taken.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.client);
            }
        }
        if taken.is_empty() && taken.capacity() > ROOMY {
            taken.shrink_to_fit();
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
    fn an_ipv6_network_shares_its_seats() {
        let occupancy = Occupancy::new(1);
        let [one, near, far] =
            ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|a| a.parse().expect("an address"));
        let _held = occupancy.take(one).expect("a seat");
        assert!(occupancy.take(near).is_none() && occupancy.take(far).is_some());
    }
}
