//! Debugging on demand: of which clients and hosts an operator wants to see every step for a while, and the span by which
//! what is said of their exchanges is known. Whether something is said is `filter`'s to decide.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use ipnet::IpNet;
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::Span;

use super::url::Urls;
use crate::config::HostPattern;
use crate::current::Current;
use crate::host::Host;

/// The name of the span of an exchange that is watched.
pub(super) const WATCHED: &str = "exchange";

/// How many subjects all proxies of this process have. Whoever says something asks this one number first, wherever it is:
/// there is one subscriber of tracing in a process, too.
static SUBJECTS: AtomicUsize = AtomicUsize::new(0);

/// Subjects at the same moment.
const MOST: usize = 16;

/// How long one may last.
pub(crate) const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Whom to watch. Clones are the same.
#[derive(Clone)]
pub(crate) struct Debugging {
    subjects: Arc<Mutex<Vec<(Subject, Instant)>>>,
    urls: Arc<Current<Urls>>,
}

/// Whose exchanges are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Those of clients with these addresses.
    Client(IpNet),
    /// Those for these hosts.
    Host(HostPattern),
}

impl Subject {
    /// The client with this address, or those of this network.
    ///
    /// # Errors
    /// If it is neither.
    pub(crate) fn client(text: &str) -> Result<Self, String> {
        let address = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
        let network = address.or_else(|_| text.parse::<IpNet>());
        network
            .map(Self::Client)
            .map_err(|_| format!("{text:?} is no address, such as 192.0.2.7 or 192.0.2.0/24"))
    }

    /// This host, or with `*.` before it those below.
    ///
    /// # Errors
    /// If it is no host.
    pub(crate) fn host(text: &str) -> Result<Self, String> {
        let (name, below) = text.strip_prefix("*.").map_or((text, false), |name| (name, true));
        let pattern = match Host::read(name) {
            Ok(Host::Name(name)) if below => HostPattern::Below(name.text().to_owned()),
            Ok(Host::Name(name)) => HostPattern::Exactly(name.text().to_owned()),
            Ok(Host::Address(address)) if !below => HostPattern::Network(IpNet::from(address)),
            _ => return Err(format!("{text:?} is no host, such as example.org or *.example.org")),
        };
        Ok(Self::Host(pattern))
    }

    fn is(&self, client: IpAddr, host: Option<&Host>) -> bool {
        match self {
            Self::Client(network) => network.contains(&client.to_canonical()),
            Self::Host(pattern) => host.is_some_and(|host| pattern.matches(host)),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(network) if network.prefix_len() == network.max_prefix_len() => {
                write!(f, "client {}", network.addr())
            }
            Self::Client(network) => write!(f, "clients {network}"),
            Self::Host(pattern) => write!(f, "host {pattern}"),
        }
    }
}

impl Debugging {
    /// Nobody yet. Of URLs as much is told as in the log.
    pub(crate) fn new(urls: Arc<Current<Urls>>) -> Self {
        Self { subjects: Arc::default(), urls }
    }

    /// Watches `subject` from now on, for no longer than `period`.
    ///
    /// # Errors
    /// If too many are watched already.
    pub(crate) fn begin(&self, subject: Subject, period: Duration, now: Instant) -> Result<(), String> {
        let mut subjects = self.lock();
        let before = subjects.len();
        subjects.retain(|(known, until)| *known != subject && now < *until);
        if subjects.len() >= MOST {
            let kept = subjects.len();
            count(before, kept);
            return Err(format!(
                "{MOST} clients and hosts are watched already; bentpipe debug off ends that"
            ));
        }
        subjects.push((subject, now + period.min(LONGEST)));
        count(before, subjects.len());
        Ok(())
    }

    /// Watches nobody any more whose time has come.
    pub(crate) fn expire(&self, now: Instant) {
        self.keep(|(_, until)| now < *until);
    }

    /// Watches nobody any more.
    pub(crate) fn end(&self) {
        self.keep(|_| false);
    }

    fn keep(&self, kept: impl FnMut(&(Subject, Instant)) -> bool) {
        let mut subjects = self.lock();
        let before = subjects.len();
        subjects.retain(kept);
        count(before, subjects.len());
    }

    /// Who is watched, and for how long.
    pub(crate) fn shown(&self, now: Instant) -> Value {
        let each = |(subject, until): &(Subject, Instant)| json!({ "subject": subject.to_string(), "seconds": until.duration_since(now).as_secs() });
        self.lock().iter().filter(|(_, until)| now < *until).map(each).collect()
    }

    /// The span of the exchange `number`, in which `client` asks for `target`, if somebody wants to see it.
    pub(crate) fn span(&self, number: u64, client: IpAddr, target: &Uri, now: Instant) -> Option<Span> {
        if !is_wanted() {
            return None;
        }
        let host = target.host().and_then(|host| Host::read(host).ok());
        let subjects = self.lock();
        let mut live = subjects.iter().filter(|(_, until)| now < *until);
        let watched = live.any(|(subject, _)| subject.is(client, host.as_ref()));
        watched.then(|| tracing::debug_span!(WATCHED, number, %client))
    }

    /// How URLs are written here.
    pub(crate) fn urls(&self) -> Arc<Urls> {
        self.urls.now()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Subject, Instant)>> {
        self.subjects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Debugging {
    fn drop(&mut self) {
        // The last of them leaves nothing that would be counted on.
        if Arc::strong_count(&self.subjects) == 1 {
            self.end();
        }
    }
}

/// Whether anybody is watched: one relaxed load.
pub(super) fn is_wanted() -> bool {
    SUBJECTS.load(Ordering::Relaxed) > 0
}

/// One proxy has `after` subjects where it had `before`.
fn count(before: usize, after: usize) {
    if before == after {
        return;
    }
    // Wraps around to what is meant where it became less.
    SUBJECTS.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
    // Whoever may say something remembers whether anybody listens, until it is told to ask again.
    tracing::callsite::rebuild_interest_cache();
}

/// The fields of a message as they may be shown: URLs as everywhere, and of secrets only how long they are.
pub(crate) struct Shown<'a>(pub(crate) &'a HeaderMap, pub(crate) &'a Urls);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self.0.iter().map(|(name, value)| (name.as_str(), self.value(name, value)));
        f.debug_map().entries(fields).finish()
    }
}

impl Shown<'_> {
    fn value(&self, name: &HeaderName, value: &HeaderValue) -> String {
        let is_url = ["referer", "location", "content-location"].contains(&name.as_str());
        if value.is_sensitive() || SECRET.iter().any(|part| name.as_str().contains(part)) {
            format!("({} bytes)", value.len())
        } else if is_url {
            String::from_utf8_lossy(&self.1.referred(value.as_bytes())).into_owned()
        } else {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        }
    }
}

/// What is in the names of fields that carry secrets: Authorization, Proxy-Authorization, Cookie, Set-Cookie, X-Api-Key,
/// X-Auth-Token.
const SECRET: [&str; 6] = ["auth", "cookie", "key", "token", "secret", "password"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::QueryLog;

    fn debugging() -> Debugging {
        Debugging::new(Arc::new(Current::new(Urls::new(QueryLog::Drop))))
    }

    #[track_caller]
    fn check(subject: Result<Subject, String>, client: &str, host: &str, expected: bool) {
        let (subject, host) = (subject.expect("a subject"), Host::read(host).expect("a host"));
        assert_eq!(subject.is(client.parse().expect("an address"), Some(&host)), expected, "{subject}");
    }

    #[test]
    fn subjects_are_clients_or_hosts() {
        check(Subject::client("10.0.0.1"), "10.0.0.1", "a.example", true);
        check(Subject::client("10.0.0.1"), "::ffff:10.0.0.1", "a.example", true);
        check(Subject::client("10.0.0.0/8"), "10.9.9.9", "a.example", true);
        check(Subject::client("10.0.0.1"), "10.0.0.2", "a.example", false);
        check(Subject::host("a.example"), "10.0.0.1", "A.example.", true);
        check(Subject::host("*.example"), "10.0.0.1", "a.example", true);
        check(Subject::host("*.a.example"), "10.0.0.1", "a.example", false);
        check(Subject::host("127.0.0.1"), "10.0.0.1", "127.1", true);
        assert!(Subject::client("a.example").is_err() && Subject::host("*.1.2.3.4").is_err());
        assert!(Subject::host("a b").is_err() && Subject::host("").is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn watching_ends_by_itself_or_when_told() {
        let (debugging, now, second) = (debugging(), Instant::now(), Duration::from_secs(1));
        let subject = |n: u8| Subject::client(&format!("10.0.0.{n}")).expect("an address");
        let (target, client) = (Uri::from_static("http://a/"), IpAddr::from([10, 0, 0, 1]));
        assert!(debugging.span(1, client, &target, now).is_none());
        debugging.begin(subject(1), 60 * second, now).expect("room");
        debugging.begin(subject(1), 30 * second, now).expect("the same again");
        assert_eq!(debugging.shown(now), json!([{ "subject": "client 10.0.0.1", "seconds": 30 }]));
        assert!(is_wanted() && debugging.span(1, client, &target, now).is_some());
        assert!(debugging.span(1, client, &target, now + 30 * second).is_none());
        debugging.expire(now + 30 * second);
        assert_eq!(debugging.shown(now), json!([]));
        for n in 0..16 {
            debugging.begin(subject(n), 60 * second, now).expect("room");
        }
        assert!(debugging.begin(subject(16), 60 * second, now).is_err_and(|why| why.contains("16")));
        debugging.end();
        assert_eq!(debugging.shown(now), json!([]));
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut fields = HeaderMap::new();
        let given = [
            ("authorization", "Basic c2VzYW1l"),
            ("cookie", "c2VzYW1l"),
            ("x-api-key", "c2VzYW1l"),
            ("referer", "http://a/b?c2VzYW1l"),
            ("accept", "text/html"),
        ];
        for (name, value) in given {
            fields.insert(name, HeaderValue::from_static(value));
        }
        let shown = format!("{:?}", Shown(&fields, &Urls::new(QueryLog::Drop)));
        assert!(!shown.contains("c2VzYW1l") && shown.contains("http://a/b"), "{shown}");
        assert!(shown.contains("text/html") && shown.contains("(14 bytes)"), "{shown}");
    }
}
