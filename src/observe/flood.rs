//! How often something is said that anybody out there can bring about: what comes in a flood is told of a few times and
//! then counted.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::admit::neighbourhood;

/// Says of each client a few things, and each of them once, in any minute.
pub(crate) struct Flood {
    /// Of one client, and of all.
    each: usize,
    all: usize,
    minute: Mutex<Minute>,
}

/// What was said since it began. No larger than what may be said.
struct Minute {
    begun: Instant,
    said: usize,
    clients: HashMap<IpAddr, Vec<u64>>,
    unsaid: u64,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Flood {
    /// In a minute `each` of one client, and `all` together.
    pub(crate) fn new(each: usize, all: usize, now: Instant) -> Self {
        let minute = Minute { begun: now, said: 0, clients: HashMap::new(), unsaid: 0 };
        Self { each, all, minute: Mutex::new(minute) }
    }

    /// Whether `what`, of which only the likeness counts, may be said of `client`: then how many things were not since
    /// the last one that was.
    pub(crate) fn may_say(&self, client: IpAddr, what: Option<u64>, now: Instant) -> Option<u64> {
        let mut minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(minute.begun) >= MINUTE {
            *minute = Minute { begun: now, said: 0, clients: HashMap::new(), unsaid: minute.unsaid };
        }
        let client = neighbourhood::of(client);
        let said = minute.clients.get(&client).map_or(&[][..], Vec::as_slice);
        let known = what.is_some_and(|what| said.contains(&what));
        if known || said.len() >= self.each || minute.said >= self.all {
            minute.unsaid = minute.unsaid.saturating_add(1);
            return None;
        }
        minute.said += 1;
        minute.clients.entry(client).or_default().push(what.unwrap_or_default());
        Some(std::mem::take(&mut minute.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted() {
        let begun = Instant::now();
        let flood = Flood::new(2, 3, begun);
        let say = |client: u8, what, after| {
            let (client, now) = (IpAddr::from([10, 0, 0, client]), begun + Duration::from_secs(after));
            flood.may_say(client, what, now)
        };
        assert_eq!((say(1, Some(7), 0), say(1, Some(7), 1)), (Some(0), None), "each once");
        assert_eq!((say(1, Some(8), 2), say(1, Some(9), 3)), (Some(1), None), "two of one client");
        assert_eq!((say(2, None, 4), say(3, None, 5)), (Some(1), None), "three in all");
        assert_eq!((say(1, Some(7), 60), say(1, Some(7), 61)), (Some(1), None), "another minute");
        assert_eq!((say(4, None, 61), say(4, None, 61)), (Some(1), Some(0)));
    }
}
