//! The record of one exchange (a request and what became of it), and who may read it. The record is filled in as the
//! request walks the line and is handed to the readers once, when its last holder lets go: the client's body, the
//! tunnel, or a fetch that goes on after its client left. It does not write anything anywhere itself.

use std::any::Any;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Method, StatusCode, Uri};
use tokio::time::Instant;

/// Someone who is told of every exchange when it is over. Must not wait.
pub(crate) trait Reader: Send + Sync {
    /// Takes note of one finished exchange.
    fn read(&self, record: &Record);
}

/// A hold on the record of an exchange that is still going on.
#[derive(Clone)]
pub(crate) struct Exchange(Arc<Open>);

struct Open {
    record: Record,
    readers: Arc<[Box<dyn Reader>]>,
    /// Given back when the exchange is over.
    held: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// What is known of one exchange.
pub(crate) struct Record {
    /// When the request had been read, by the wall clock.
    pub(crate) at: SystemTime,
    /// Who asked.
    pub(crate) client: IpAddr,
    pub(crate) method: Method,
    pub(crate) target: Uri,
    begun: Instant,
    details: Mutex<Details>,
    client_bytes: AtomicU64,
    link_down: AtomicU64,
    link_up: AtomicU64,
}

/// The part of a record that becomes known on the way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Details {
    /// The final status sent to the client; none while there is none.
    pub(crate) status: Option<StatusCode>,
    /// Who the client says it is, once its credentials were verified.
    pub(crate) user: Option<Arc<str>>,
    /// The address dialled, where a request or tunnel crossed the link.
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) cache: CacheStatus,
    /// The operator's rule that changed what the cache did.
    pub(crate) rule: Option<Arc<str>>,
    pub(crate) media_type: Option<HeaderValue>,
    /// The RFC 9209 error token of a response that bentpipe made itself.
    pub(crate) error: Option<&'static str>,
    /// Whether the response broke off before its end.
    pub(crate) cut_short: bool,
}

/// What the cache did with a request, in the terms of RFC 9211.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum CacheStatus {
    /// Refused or answered before the cache was asked.
    #[default]
    Unasked,
    /// Served from what is stored (§2.1).
    Hit,
    /// Went to the origin (§2.2).
    Forwarded(Forwarded),
    /// A tunnel: the cache never sees inside.
    Tunnel,
    /// A tunnel that was looked into: what came out of it are exchanges of their own.
    Intercepted,
}

/// How a request that went to the origin fared, RFC 9211 §2.2 to §2.8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forwarded {
    /// The `fwd` token.
    pub(crate) reason: &'static str,
    /// The `fwd-status`, given where it is not the status sent to the client.
    pub(crate) status: Option<StatusCode>,
    pub(crate) stored: bool,
    /// Whether waiting for another request's fetch brought the response; none where nothing was waited for.
    pub(crate) collapsed: Option<bool>,
    pub(crate) detail: Option<&'static str>,
}

impl Forwarded {
    /// Forwarded for `reason`, a `fwd` token of RFC 9211 §2.2.
    pub(crate) fn new(reason: &'static str) -> Self {
        Self { reason, status: None, stored: false, collapsed: None, detail: None }
    }
}

impl CacheStatus {
    /// The member of a Cache-Status field that speaks for this cache, with the operator's rule that had a say in it.
    pub(crate) fn by_rule(&self, rule: &str) -> String {
        let joint = match self {
            Self::Forwarded(Forwarded { detail: Some(_), .. }) => "+",
            _ => "; detail=",
        };
        format!("{self}{joint}rule-{rule}")
    }
}

impl fmt::Display for CacheStatus {
    /// The member of a Cache-Status field that speaks for this cache.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let forwarded = match self {
            Self::Hit => return f.write_str("bentpipe; hit"),
            Self::Unasked | Self::Tunnel | Self::Intercepted => return f.write_str("bentpipe; fwd=bypass"),
            Self::Forwarded(forwarded) => forwarded,
        };
        write!(f, "bentpipe; fwd={}", forwarded.reason)?;
        if let Some(status) = forwarded.status {
            write!(f, "; fwd-status={}", status.as_u16())?;
        }
        if forwarded.stored {
            f.write_str("; stored")?;
        }
        // "If true, the response was successfully reused; if not, a new request had to be made. If not present, the
        // request was not collapsed with others." (RFC 9211 §2.6)
        match forwarded.collapsed {
            Some(true) => f.write_str("; collapsed")?,
            Some(false) => f.write_str("; collapsed=?0")?,
            None => {}
        }
        match forwarded.detail {
            Some(detail) => write!(f, "; detail={detail}"),
            None => Ok(()),
        }
    }
}

impl Exchange {
    /// Begins the record of a request for `target` that `client` has sent.
    pub(crate) fn begin(
        method: Method,
        target: Uri,
        client: IpAddr,
        at: SystemTime,
        readers: Arc<[Box<dyn Reader>]>,
    ) -> Self {
        let record = Record {
            at,
            client,
            method,
            target,
            begun: Instant::now(),
            details: Mutex::default(),
            client_bytes: AtomicU64::new(0),
            link_down: AtomicU64::new(0),
            link_up: AtomicU64::new(0),
        };
        Self(Arc::new(Open { record, readers, held: OnceLock::new() }))
    }

    /// Keeps `held`, of which there is one, until the exchange is over.
    pub(crate) fn hold(&self, held: impl Any + Send + Sync) {
        let _ = self.0.held.set(Box::new(held));
    }

    /// What is known so far.
    pub(crate) fn record(&self) -> &Record {
        &self.0.record
    }

    /// Whether the response has a head only.
    pub(crate) fn is_head(&self) -> bool {
        self.0.record.method == Method::HEAD
    }

    /// Changes what is known so far.
    pub(crate) fn note(&self, change: impl FnOnce(&mut Details)) {
        change(&mut self.0.record.lock());
    }

    /// What the cache did, for the response's own fields.
    pub(crate) fn cache_status(&self) -> CacheStatus {
        self.0.record.lock().cache.clone()
    }

    /// An operator's rule changed what was decided, if there is one. The last one told of counts.
    pub(crate) fn note_rule(&self, rule: Option<&Arc<str>>) {
        if let Some(rule) = rule {
            self.note(|details| details.rule = Some(rule.clone()));
        }
    }

    /// The operator's rule that changed what the cache did.
    pub(crate) fn rule(&self) -> Option<Arc<str>> {
        self.0.record.lock().rule.clone()
    }

    /// `bytes` more of the response were handed to the client's connection.
    pub(crate) fn sent(&self, bytes: u64) {
        self.0.record.client_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// `down` and `up` more bytes crossed the link for this exchange.
    pub(crate) fn crossed(&self, down: u64, up: u64) {
        self.0.record.link_down.fetch_add(down, Ordering::Relaxed);
        self.0.record.link_up.fetch_add(up, Ordering::Relaxed);
    }
}

impl Record {
    fn lock(&self) -> MutexGuard<'_, Details> {
        self.details.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What became known on the way.
    pub(crate) fn details(&self) -> Details {
        self.lock().clone()
    }

    /// From the request's head to now: at a reader, the whole exchange.
    pub(crate) fn duration(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Bytes of the response (head and content) handed to the client's connection.
    pub(crate) fn client_bytes(&self) -> u64 {
        self.client_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that crossed the link from the origin for this exchange.
    pub(crate) fn link_down(&self) -> u64 {
        self.link_down.load(Ordering::Relaxed)
    }

    /// Bytes that crossed the link towards the origin for this exchange.
    pub(crate) fn link_up(&self) -> u64 {
        self.link_up.load(Ordering::Relaxed)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        for reader in self.readers.iter() {
            reader.read(&self.record);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_status_members_have_the_parameters_of_rfc_9211() {
        let mut forwarded = Forwarded::new("uri-miss");
        forwarded.stored = true;
        assert_eq!(CacheStatus::Forwarded(forwarded).to_string(), "bentpipe; fwd=uri-miss; stored");
        let mut collapsed = Forwarded::new("uri-miss");
        collapsed.collapsed = Some(true);
        assert_eq!(
            CacheStatus::Forwarded(collapsed.clone()).to_string(),
            "bentpipe; fwd=uri-miss; collapsed"
        );
        collapsed.collapsed = Some(false);
        assert_eq!(CacheStatus::Forwarded(collapsed).to_string(), "bentpipe; fwd=uri-miss; collapsed=?0");
        let mut validated = Forwarded::new("stale");
        validated.status = Some(StatusCode::NOT_MODIFIED);
        assert_eq!(CacheStatus::Forwarded(validated).to_string(), "bentpipe; fwd=stale; fwd-status=304");
        assert_eq!(CacheStatus::Hit.to_string(), "bentpipe; hit");
        assert_eq!(CacheStatus::Unasked.to_string(), "bentpipe; fwd=bypass");
        assert_eq!(CacheStatus::Hit.by_rule("apt"), "bentpipe; hit; detail=rule-apt");
        let mut outage = Forwarded::new("stale");
        outage.detail = Some("unreachable");
        let outage = CacheStatus::Forwarded(outage).by_rule("apt");
        assert_eq!(outage, "bentpipe; fwd=stale; detail=unreachable+rule-apt");
    }

    struct Count(Arc<AtomicU64>);
    impl Reader for Count {
        fn read(&self, record: &Record) {
            self.0.fetch_add(record.client_bytes(), Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn readers_are_told_once_when_the_last_holder_lets_go() {
        let total = Arc::new(AtomicU64::new(0));
        let readers: Arc<[Box<dyn Reader>]> = Arc::new([Box::new(Count(total.clone()))]);
        let exchange = Exchange::begin(
            Method::GET,
            Uri::from_static("http://a/"),
            IpAddr::from([127, 0, 0, 1]),
            SystemTime::UNIX_EPOCH,
            readers,
        );
        let other = exchange.clone();
        exchange.sent(3);
        drop(exchange);
        other.sent(4);
        assert_eq!(total.load(Ordering::Relaxed), 0);
        drop(other);
        assert_eq!(total.load(Ordering::Relaxed), 7);
    }
}
