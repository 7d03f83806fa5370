//! Clients that would not take our certificate for a host: a program that pins the origin's, or a device on which our
//! authority is not installed. For a day their connections to that host are passed on untouched. It keeps them in
//! memory only: after a restart each is found out again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// How long a client's refusal is remembered.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Pairs that are remembered; beyond it the oldest goes.
const MOST: usize = 10_000;

/// Why a connection is passed on although its host is to be intercepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Because {
    /// The client said that it does not trust the certificate.
    Alert,
    /// The client left when it saw the certificate.
    Closed,
}

impl Because {
    /// For people.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Alert => "the client said that it does not trust our certificate",
            Self::Closed => "the client left when it saw our certificate",
        }
    }
}

/// What is remembered of one client and one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) client: IpAddr,
    pub(crate) host: String,
    pub(crate) since: SystemTime,
    pub(crate) because: Because,
}

/// The pairs of client and host that are passed on.
#[derive(Debug, Default)]
pub(crate) struct Spliced(Mutex<HashMap<(IpAddr, String), (SystemTime, Because)>>);

impl Spliced {
    /// Whether `client` refused our certificate for `host` within a day before `now`.
    pub(crate) fn has(&self, client: IpAddr, host: &str, now: SystemTime) -> bool {
        let mut known = self.lock();
        let key = (client, host.to_owned());
        match known.get(&key) {
            Some((since, _)) if is_recent(*since, now) => true,
            Some(_) => {
                known.remove(&key);
                false
            }
            None => false,
        }
    }

    /// `client` has refused our certificate for `host`. Returns whether that is news.
    pub(crate) fn note(&self, client: IpAddr, host: &str, because: Because, now: SystemTime) -> bool {
        let mut known = self.lock();
        if known.len() >= MOST {
            known.retain(|_, (since, _)| is_recent(*since, now));
        }
        if known.len() >= MOST
            && let Some(oldest) =
                known.iter().min_by_key(|(_, (since, _))| *since).map(|(key, _)| key.clone())
        {
            known.remove(&oldest);
        }
        known.insert((client, host.to_owned()), (now, because)).is_none()
    }

    /// All that is remembered at `now`, the latest first.
    pub(crate) fn list(&self, now: SystemTime) -> Vec<Refused> {
        let known = self.lock();
        let recent = known.iter().filter(|(_, (since, _))| is_recent(*since, now));
        let mut list: Vec<_> = recent
            .map(|((client, host), (since, because))| Refused {
                client: *client,
                host: host.clone(),
                since: *since,
                because: *because,
            })
            .collect();
        list.sort_by(|one, other| other.since.cmp(&one.since).then_with(|| one.host.cmp(&other.host)));
        list
    }

    /// Forgets everything, as after the authority was installed. Returns how many pairs that were.
    pub(crate) fn forget(&self) -> usize {
        std::mem::take(&mut *self.lock()).len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(IpAddr, String), (SystemTime, Because)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A clock that was set back makes nothing recent for ever.
fn is_recent(since: SystemTime, now: SystemTime) -> bool {
    let apart = now.duration_since(since).or_else(|_| since.duration_since(now));
    apart.is_ok_and(|apart| apart < DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_refusal_counts_for_a_day_for_that_client_and_host() {
        let spliced = Spliced::default();
        assert!(spliced.note(CLIENT, "a.example", Because::Alert, at(100)));
        assert!(spliced.has(CLIENT, "a.example", at(101)));
        assert!(!spliced.has(CLIENT, "b.example", at(101)));
        assert!(!spliced.has([10, 0, 0, 2].into(), "a.example", at(101)));
        assert_eq!(spliced.list(at(101)).len(), 1);
        assert!(!spliced.has(CLIENT, "a.example", at(100 + 86_400)));
        assert!(spliced.list(at(101)).is_empty());
    }

    #[test]
    fn the_oldest_makes_room() {
        let spliced = Spliced::default();
        for number in 0..=MOST as u64 {
            spliced.note(CLIENT, &number.to_string(), Because::Closed, at(1_000 + number));
        }
        assert!(!spliced.has(CLIENT, "0", at(20_000)) && spliced.has(CLIENT, "1", at(20_000)));
        assert_eq!((spliced.forget(), spliced.list(at(20_000)).len()), (MOST, 0));
    }
}
