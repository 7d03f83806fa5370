//! Clients that would not take our certificate for a host: a program that pins the origin's, or a device on which our
//! authority is not installed. For a day their connections to that host are passed on untouched. It keeps them in
//! memory only: after a restart each is found out again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::admit::neighbourhood;

/// How long a client's refusal is remembered.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How soon a client must leave a second time for that to be a refusal.
const SUSPICION: Duration = Duration::from_secs(10 * 60);

/// Pairs that are remembered; beyond it the oldest goes.
const MOST: usize = 10_000;

/// Why a connection is passed on although its host is to be intercepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Because {
    /// The client said that it does not trust the certificate.
    Alert,
    /// The client left when it saw the certificate, twice in a short time.
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

/// The pairs of client and host that are passed on, and those of which it is suspected that they have to be. A client is
/// known by its neighbourhood: the addresses of one IPv6 network are one machine's.
#[derive(Debug, Default)]
pub(crate) struct Spliced(Mutex<HashMap<(IpAddr, String), Noted>>);

/// What was noted of a pair.
#[derive(Clone, Copy, Debug)]
struct Noted {
    at: SystemTime,
    because: Because,
    /// Whether it is passed on. A client that left once may have been a browser that had no more use for a connection.
    is_sure: bool,
}

impl Noted {
    fn counts(&self, now: SystemTime) -> bool {
        is_within(if self.is_sure { DAY } else { SUSPICION }, self.at, now)
    }
}

impl Spliced {
    /// Whether `client` refused our certificate for `host` within a day before `now`.
    pub(crate) fn has(&self, client: IpAddr, host: &str, now: SystemTime) -> bool {
        let mut known = self.lock();
        let key = (neighbourhood::of(client), host.to_owned());
        let noted = known.get(&key).copied();
        if noted.is_some_and(|noted| !noted.counts(now)) {
            known.remove(&key);
        }
        noted.is_some_and(|noted| noted.is_sure && noted.counts(now))
    }

    /// `client` has refused our certificate for `host`, or seems to have. Returns whether it is passed on from now on, and
    /// was not before.
    pub(crate) fn note(&self, client: IpAddr, host: &str, because: Because, now: SystemTime) -> bool {
        let mut known = self.lock();
        let key = (neighbourhood::of(client), host.to_owned());
        let before = known.get(&key).copied().filter(|before| before.counts(now));
        let is_sure = because == Because::Alert || before.is_some();
        if known.contains_key(&key) || make_room(&mut known, is_sure, now) {
            known.insert(key, Noted { at: now, because, is_sure });
        }
        is_sure && before.is_none_or(|before| !before.is_sure)
    }

    /// `client` has accepted our certificate for `host`: what it was suspected of was something else.
    pub(crate) fn accepted(&self, client: IpAddr, host: &str) {
        self.lock().remove(&(neighbourhood::of(client), host.to_owned()));
    }

    /// All that are passed on at `now`, the latest first.
    pub(crate) fn list(&self, now: SystemTime) -> Vec<Refused> {
        let known = self.lock();
        let recent = known.iter().filter(|(_, noted)| noted.is_sure && noted.counts(now));
        let mut list: Vec<_> = recent
            .map(|((client, host), noted)| Refused {
                client: *client,
                host: host.clone(),
                since: noted.at,
                because: noted.because,
            })
            .collect();
        list.sort_by(|one, other| other.since.cmp(&one.since).then_with(|| one.host.cmp(&other.host)));
        list
    }

    /// Forgets everything, as after the authority was installed. Returns how many pairs that were.
    pub(crate) fn forget(&self) -> usize {
        std::mem::take(&mut *self.lock()).values().filter(|noted| noted.is_sure).count()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(IpAddr, String), Noted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes room for one more, which `is_sure` or not; whether there is any. What is suspected goes before what is sure, and
/// the oldest of it.
fn make_room(known: &mut HashMap<(IpAddr, String), Noted>, is_sure: bool, now: SystemTime) -> bool {
    if known.len() >= MOST {
        known.retain(|_, noted| noted.counts(now));
    }
    if known.len() < MOST {
        return true;
    }
    let least = |(_, noted): &(&(IpAddr, String), &Noted)| (noted.is_sure, noted.at);
    let least = known.iter().min_by_key(least).filter(|(_, noted)| is_sure || !noted.is_sure);
    let least = least.map(|(key, _)| key.clone());
    least.is_some_and(|least| known.remove(&least).is_some())
}

/// A clock that was set back makes nothing recent for ever.
fn is_within(span: Duration, since: SystemTime, now: SystemTime) -> bool {
    let apart = now.duration_since(since).or_else(|_| since.duration_since(now));
    apart.is_ok_and(|apart| apart < span)
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
    fn who_leaves_once_has_refused_nothing() {
        let spliced = Spliced::default();
        let leaves = |host, seconds| {
            let news = spliced.note(CLIENT, host, Because::Closed, at(seconds));
            assert_eq!(news, spliced.has(CLIENT, host, at(seconds)), "{host} at {seconds}");
            news
        };
        assert!(!leaves("a.example", 100) && !leaves("b.example", 101));
        assert!(!leaves("a.example", 700), "ten minutes later");
        assert!(spliced.list(at(700)).is_empty());
        assert!(leaves("a.example", 701));
        assert_eq!((spliced.list(at(701)).len(), spliced.forget()), (1, 1));
        assert!(!leaves("a.example", 800));
        spliced.accepted(CLIENT, "a.example");
        assert!(!leaves("a.example", 801), "it took a certificate meanwhile");
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let spliced = Spliced::default();
        let [one, near, far] =
            ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|a| a.parse().expect("an address"));
        spliced.note(one, "a.example", Because::Alert, at(100));
        assert!(spliced.has(near, "a.example", at(101)) && !spliced.has(far, "a.example", at(101)));
    }

    #[test]
    fn the_oldest_makes_room() {
        let spliced = Spliced::default();
        for number in 0..=MOST as u64 {
            spliced.note(CLIENT, &number.to_string(), Because::Alert, at(1_000 + number));
        }
        for number in 0..10 {
            spliced.note(CLIENT, &format!("suspected-{number}"), Because::Closed, at(19_999));
        }
        assert!(!spliced.has(CLIENT, "0", at(20_000)) && spliced.has(CLIENT, "1", at(20_000)));
        assert_eq!((spliced.forget(), spliced.list(at(20_000)).len()), (MOST, 0));
    }
}
