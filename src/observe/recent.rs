//! What an operator wants to know at a glance: which sites are asked for most, and which errors there were of late. A
//! reader of exchanges, in bounded memory.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use foldhash::fast::RandomState;
use serde::Serialize;

use super::event::cut_short;
use super::url::Urls;
use crate::authority::host_and_port;
use crate::current::Current;
use crate::exchange::{Answer, CacheStatus, Cut, Details, Reader, Record};

/// Sites and errors since the start. Clones are the same.
#[derive(Clone)]
pub(crate) struct Recent {
    seen: Arc<Mutex<Seen>>,
    urls: Arc<Current<Urls>>,
}

#[derive(Default)]
struct Seen {
    sites: HashMap<Box<str>, Site, RandomState>,
    failures: VecDeque<Failure>,
}

/// What was asked of one site. Bytes are those handed to clients, and those that crossed the link both ways, of whatever it
/// was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Site {
    /// Answers of the cache and of the site; tunnels and failures are none.
    pub(crate) requests: u64,
    pub(crate) hits: u64,
    pub(crate) client_bytes: u64,
    pub(crate) link_bytes: u64,
}

/// One exchange that went wrong.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failure {
    /// Seconds since 1970.
    pub(crate) time: f64,
    /// The account, or the address where there is none.
    pub(crate) client: String,
    #[serde(skip)]
    pub(crate) address: IpAddr,
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) status: Option<u16>,
    /// The error type of RFC 9209, or that somebody broke it off.
    pub(crate) error: String,
    pub(crate) reason: Option<String>,
}

/// Sites that are counted at a time. One more takes the place of the one with the fewest bytes and inherits its figures,
/// which keeps every site that has more than its part (Metwally et al., Space-Saving, 2005).
const SITES: usize = 512;
/// Errors that are remembered.
const FAILURES: usize = 64;

impl Recent {
    /// Nothing has happened yet. URLs are written as `urls` does.
    pub(crate) fn new(urls: Arc<Current<Urls>>) -> Self {
        Self { seen: Arc::default(), urls }
    }

    /// The sites by bytes handed to clients, most first, `most` of them.
    pub(crate) fn sites(&self, most: usize) -> Vec<(String, Site)> {
        let sites = self.lock();
        let mut sites: Vec<_> =
            sites.sites.iter().map(|(host, site)| (host.to_string(), site.clone())).collect();
        sites.sort_unstable_by(|one, other| {
            other.1.client_bytes.cmp(&one.1.client_bytes).then_with(|| one.0.cmp(&other.0))
        });
        sites.truncate(most);
        sites
    }

    /// The errors, the latest first, `most` of them.
    pub(crate) fn failures(&self, most: usize) -> Vec<Failure> {
        self.lock().failures.iter().rev().take(most).cloned().collect()
    }

    /// What went wrong with an exchange, if anything did.
    fn failure(&self, record: &Record, details: &Details) -> Option<Failure> {
        let error = match (details.error, cut_short(details)) {
            // A client that leaves is no fault of anything.
            (None, None | Some(Cut::Client)) => return None,
            (Some(error), _) => error.to_owned(),
            (None, Some(cut)) => format!("broken off by the {}", cut.text()),
        };
        Some(Failure {
            time: seconds(record.at),
            client: details.who(record.client),
            address: record.client,
            method: record.method.to_string(),
            url: self.urls.now().written(&record.target),
            status: details.status.map(|status| status.as_u16()),
            error,
            reason: details.reason.as_deref().map(str::to_owned),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader for Recent {
    fn read(&self, record: &Record, details: &Details) {
        let failure = self.failure(record, details);
        let (is_counted, answer) = (details.cache != CacheStatus::Unasked, Answer::of(details));
        let mut seen = self.lock();
        if let (true, Some((host, _))) = (is_counted, host_and_port(&record.target)) {
            seen.note(host, |site| {
                site.requests += u64::from(answer.is_some());
                site.hits += u64::from(answer == Some(Answer::Hit));
                site.client_bytes = site.client_bytes.saturating_add(record.client_bytes());
                let crossed = record.link_down().saturating_add(record.link_up());
                site.link_bytes = site.link_bytes.saturating_add(crossed);
            });
        }
        if let Some(failure) = failure {
            if seen.failures.len() == FAILURES {
                seen.failures.pop_front();
            }
            seen.failures.push_back(failure);
        }
    }
}

impl Seen {
    fn note(&mut self, host: &str, change: impl FnOnce(&mut Site)) {
        if let Some(site) = self.sites.get_mut(host) {
            return change(site);
        }
        let mut site = if self.sites.len() < SITES { Site::default() } else { self.take_least() };
        change(&mut site);
        self.sites.insert(host.into(), site);
    }

    /// The site with the fewest bytes makes room for another.
    fn take_least(&mut self) -> Site {
        let least = self.sites.iter().min_by_key(|(_, site)| site.client_bytes);
        let least = least.map(|(host, _)| host.clone());
        least.and_then(|host| self.sites.remove(&host)).unwrap_or_default()
    }
}

/// Seconds since 1970.
pub(crate) fn seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode, Uri, Version};

    use super::*;
    use crate::exchange::{Exchange, Observers};

    fn exchange(observers: &Arc<Observers>, target: &str) -> Exchange {
        let (target, client) = (target.parse::<Uri>().expect("a target"), IpAddr::from([127, 0, 0, 1]));
        let exchange =
            Exchange::begin(Method::GET, target, Version::HTTP_11, client, SystemTime::UNIX_EPOCH, observers);
        exchange.note(|details| {
            (details.cache, details.status) = (CacheStatus::Hit, Some(StatusCode::OK));
        });
        exchange
    }

    #[tokio::test]
    async fn sites_are_counted_and_the_large_ones_stay() {
        let recent = Recent::new(Arc::new(Current::new(Urls::new(crate::config::QueryLog::Keep))));
        let observers = Observers::new(vec![Box::new(recent.clone())]);
        exchange(&observers, "http://large.example/").sent(1_000_000);
        exchange(&observers, "http://large.example/b").sent(1_000_000);
        for number in 0..2 * SITES {
            exchange(&observers, &format!("http://{number}.example/")).sent(10);
        }
        // Failures and tunnels are no answers.
        exchange(&observers, "http://large.example/").note(|details| {
            details.cache = CacheStatus::Forwarded(crate::exchange::Forwarded::new("uri-miss"));
            details.error = Some("dns_error");
        });
        exchange(&observers, "large.example:443").note(|details| details.cache = CacheStatus::Tunnel);
        let sites = recent.sites(SITES * 2);
        assert_eq!(sites.len(), SITES);
        let expected = Site { requests: 2, hits: 2, client_bytes: 2_000_000, link_bytes: 0 };
        assert_eq!(sites[0], ("large.example".to_owned(), expected));
    }

    #[tokio::test]
    async fn the_latest_errors_are_remembered_and_who_left_is_not() {
        let recent = Recent::new(Arc::new(Current::new(Urls::new(crate::config::QueryLog::Drop))));
        let observers = Observers::new(vec![Box::new(recent.clone())]);
        for number in 0..FAILURES + 5 {
            exchange(&observers, &format!("http://a.example/{number}?q")).refused(Some("dns_error"), "No.");
        }
        exchange(&observers, "http://a.example/left").note(|details| details.cut_short = Some(Cut::Client));
        exchange(&observers, "http://a.example/cut").note(|details| details.cut_short = Some(Cut::Origin));
        let failures = recent.failures(3);
        let told: Vec<_> = failures.iter().map(|failure| (&*failure.url, &*failure.error)).collect();
        let cut = ("http://a.example/cut", "broken off by the origin");
        assert_eq!(told, [cut, ("http://a.example/68", "dns_error"), ("http://a.example/67", "dns_error")]);
        assert_eq!(recent.failures(1000).len(), FAILURES);
        let named = exchange(&observers, "http://a.example/named");
        named.note(|details| (details.user, details.error) = (Some("ann".into()), Some("dns_error")));
        drop(named);
        let last = &recent.failures(1)[0];
        assert_eq!((&*last.client, last.address), ("ann", IpAddr::from([127, 0, 0, 1])));
        assert_eq!(recent.failures(2)[1].client, "127.0.0.1");
    }
}
