//! `Record`: what is known of one exchange, from its request to its end. One wide event, from which the log, the metrics
//! and whoever watches take what they need.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use http::header::{REFERER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use tokio::time::Instant;

use super::CacheStatus;
use crate::respond::Ttl;

/// What is known of one exchange from its beginning, and what is counted of it.
pub(crate) struct Record {
    /// Counted from 1 since the start of the process.
    pub(crate) number: u64,
    /// When the request had been read, by the wall clock.
    pub(crate) at: SystemTime,
    /// Who asked.
    pub(crate) client: IpAddr,
    pub(crate) method: Method,
    pub(crate) target: Uri,
    /// Of the client's message.
    pub(crate) version: Version,
    pub(super) begun: Instant,
    pub(super) client_bytes: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) link_down: AtomicU64,
    pub(super) link_up: AtomicU64,
    /// Microseconds.
    pub(super) link_time: AtomicU64,
    /// Tells the bytes of the request's content so far, where there is any.
    pub(super) content: OnceLock<Count>,
    /// Tells what has crossed the link down and up so far, for what is not in the sums yet.
    pub(super) crossing: Mutex<Option<Crossing>>,
}

pub(super) type Count = Box<dyn Fn() -> u64 + Send + Sync>;
pub(super) type Crossing = Box<dyn Fn() -> (u64, u64) + Send + Sync>;

/// What of an exchange becomes known on the way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Details {
    /// The final status sent to the client; none while there is none.
    pub(crate) status: Option<StatusCode>,
    /// Who the client says it is, once its credentials were verified.
    pub(crate) user: Option<Arc<str>>,
    /// Whose credentials were presented that are wrong; empty where they name nobody. A client chose it: it means nothing.
    pub(crate) guessed: Option<Arc<str>>,
    /// Who was dialled, where a request or tunnel crossed the link.
    pub(crate) peer: Option<Peer>,
    pub(crate) cache: CacheStatus,
    /// Why the cache decided as it did, in a sentence.
    pub(crate) because: Option<rfc9111::Because>,
    /// Why the response was stored or was not, in a sentence.
    pub(crate) storing: Option<rfc9111::Because>,
    /// For how long what is stored is still fresh, where that is what was served.
    pub(crate) ttl: Option<Ttl>,
    /// The operator's rule that changed what the cache did.
    pub(crate) rule: Option<Arc<str>>,
    pub(crate) media_type: Option<HeaderValue>,
    /// Whether a stored response was served from memory, and whether a client's own entity tag was what it answered.
    pub(crate) in_memory: bool,
    pub(crate) by_tag: bool,
    /// Bytes of the response's head.
    pub(crate) head_bytes: u64,
    /// What the request says of whoever made it, where a reader wants it.
    pub(crate) told: Option<Box<Told>>,
    /// It is a connection that was refused before anything was asked on it: its method and target mean nothing.
    pub(crate) nothing_asked: bool,
    /// Bytes of content that the response announced.
    pub(crate) announced: Option<u64>,
    /// The RFC 9209 error token of a response that bentpipe made itself.
    pub(crate) error: Option<&'static str>,
    /// What that response says, in a sentence.
    pub(crate) reason: Option<Arc<str>>,
    pub(crate) times: Times,
    /// Who broke it off, if it broke off before its end.
    pub(crate) cut_short: Option<Cut>,
}

/// Who was dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// Whether it is a parent proxy that leads to the origin, and not the origin.
    pub(crate) is_parent: bool,
}

/// Fields of a request in which a client tells of itself (RFC 9110 §10.1.3, §10.1.5).
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) referer: Option<HeaderValue>,
    pub(crate) user_agent: Option<HeaderValue>,
}

impl Details {
    /// Who asked from `client`, as people are shown it: the account, or the address where there is none.
    pub(crate) fn who(&self, client: IpAddr) -> String {
        let user = self.user.as_deref().filter(|user| !user.is_empty());
        user.map_or_else(|| client.to_string(), str::to_owned)
    }
}

impl Told {
    /// Those of `headers`.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self { referer: headers.get(REFERER).cloned(), user_agent: headers.get(USER_AGENT).cloned() }
    }
}

/// How long the parts of an exchange took that had to do with its origin; none for those it did not have.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    /// Waiting for a connection: one that was free, or the dial of a new one.
    pub(crate) connection: Option<Duration>,
    /// Of that dial, if it was dialled for this exchange: looking the name up,
    pub(crate) lookup: Option<Duration>,
    /// being accepted by the origin or by the parent proxy that leads to it,
    pub(crate) connect: Option<Duration>,
    /// and the handshake of TLS.
    pub(crate) handshake: Option<Duration>,
    /// From the beginning of the exchange to the head of the origin's response.
    pub(crate) first_byte: Option<Duration>,
}

/// Who broke an exchange off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It left, or took nothing for too long.
    Client,
    /// It left, or sent nothing for too long, or something that is no content.
    Origin,
    /// What is stored could not be read.
    Store,
    /// It was asked for.
    Operator,
}

impl Cut {
    /// As one word.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Origin => "origin",
            Self::Store => "store",
            Self::Operator => "operator",
        }
    }
}

impl Record {
    /// When the request had been read.
    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    /// From the request's head to now: at a reader, the whole exchange.
    pub(crate) fn duration(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Bytes of the response (head and content) handed to the client's connection.
    pub(crate) fn client_bytes(&self) -> u64 {
        self.client_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of the request's content, or that the client sent into its tunnel.
    pub(crate) fn received(&self) -> u64 {
        let content = self.content.get().map_or(0, |count| count());
        self.received.load(Ordering::Relaxed).saturating_add(content)
    }

    /// Bytes that crossed the link from the origin for this exchange, so far.
    pub(crate) fn link_down(&self) -> u64 {
        self.link_down.load(Ordering::Relaxed).saturating_add(self.crossing().0)
    }

    /// Bytes that crossed the link towards the origin for this exchange, so far.
    pub(crate) fn link_up(&self) -> u64 {
        self.link_up.load(Ordering::Relaxed).saturating_add(self.crossing().1)
    }

    /// For how long bytes of it were on the link, waiting for their turn or on their way, on connections of its own.
    pub(crate) fn link_time(&self) -> Duration {
        Duration::from_micros(self.link_time.load(Ordering::Relaxed))
    }

    fn crossing(&self) -> (u64, u64) {
        let crossing = self.crossing.lock().unwrap_or_else(PoisonError::into_inner);
        crossing.as_ref().map_or((0, 0), |crossing| crossing())
    }
}
