//! Why a decision was taken: the reason every verdict carries, as a value.
//!
//! From it come the parameters of Cache-Status (RFC 9211), the log line and the sentence that explains a request to
//! its user. It decides nothing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderName;
use http::{Method, StatusCode};

use crate::freshness::{Freshness, LifetimeSource};

/// The reason of a decision. Its `Display` is one plain sentence, with the numbers that led to it.
///
/// ```
/// use std::time::Duration;
/// use rfc9111::{Because, Freshness, LifetimeSource};
///
/// let because = Because::Fresh(Freshness {
///     lifetime: Duration::from_secs(60),
///     source: LifetimeSource::MaxAge,
///     age: Duration::from_secs(12),
/// });
/// assert_eq!(because.to_string(), "The stored response is 12 s old and fresh for 60 s by max-age.");
/// assert_eq!(because.section(), "RFC 9111 §4.2");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Because {
    /// Reused: fresh.
    Fresh(Freshness),
    /// Reused although the request limits the age: fresh and immutable.
    Immutable(Freshness),
    /// Reused stale: the request's max-stale accepts it.
    MaxStale(Freshness),
    /// Reused stale: the origin cannot be reached.
    Disconnected(Freshness),
    /// Reused stale: stale-while-revalidate covers it for this long past its lifetime, and it is to be validated behind
    /// the client's back.
    StaleWhileRevalidate(Freshness, Duration),
    /// Reused stale: stale-if-error covers it for this long past its lifetime.
    StaleIfError(Freshness, Duration),

    /// Not reused as it is: stale.
    Stale(Freshness),
    /// Not reused as it is: the response says no-cache.
    ResponseNoCache,
    /// Not reused as it is: the request says no-cache.
    RequestNoCache,
    /// Not reused as it is: older than the request's max-age.
    RequestMaxAge {
        /// The age of the stored response.
        age: Duration,
        /// The age the client accepts.
        max_age: Duration,
    },
    /// Not reused as it is: not fresh for as long as the request's min-fresh.
    RequestMinFresh {
        /// How much longer the stored response is fresh.
        remaining: Duration,
        /// How long the client wants it to be.
        min_fresh: Duration,
    },

    /// Forwarded: only GET and HEAD are answered from what is stored.
    Method(Method),
    /// Forwarded: a GET or HEAD with content.
    RequestContent,
    /// Forwarded, and not stored: a field of the request may replace its host, path or method.
    Overriding(HeaderName),
    /// Forwarded: nothing is stored under the cache key.
    NothingStored,
    /// Forwarded: no stored response has the nominated fields that the request presents.
    NoVariant {
        /// The first nominated field in which the most recent one differs; `*` where it matches nothing.
        nominated: HeaderName,
        /// How many responses are stored under the cache key.
        stored: usize,
    },
    /// Not forwarded for this reason, since the request says only-if-cached.
    OnlyIfCached(Box<Because>),

    /// Not served stale: the response has this directive.
    StaleForbidden(&'static str),
    /// Not served stale: staler than the request's max-stale.
    TooStale {
        /// By how much the age exceeds the lifetime.
        staleness: Duration,
        /// How much the client accepts.
        max_stale: Duration,
    },
    /// Not served stale: the origin answered with this status and nothing allows a stale response instead.
    ErrorForwarded(StatusCode),

    /// Stored: fresh for a time.
    StoredFresh(Freshness),
    /// Stored: not fresh, but it can be validated.
    StoredToValidate,
    /// Stored: neither fresh nor to be validated, but it may have to do while the origin cannot be reached (§4.2.4).
    StoredForOutages,
    /// Not stored, and if stored not reused: the response says no-store.
    ResponseNoStore,
    /// Not stored, and if stored not reused: the response says private.
    Private,
    /// Not stored: the request says no-store.
    RequestNoStore,
    /// Not stored: the request carried credentials and the response does not allow sharing.
    Authorization,
    /// Not stored: the status is about this one request or its client.
    AboutRequest(StatusCode),
    /// Not stored: the status is not final.
    NotFinal(StatusCode),
    /// Not stored: 206 without a strong validator, or of several parts.
    PartialContent,
    /// Not stored: 304 is not a response of its own.
    NotModified,
    /// Not stored: must-understand on a status that is not understood.
    NotUnderstood(StatusCode),
    /// Not stored: nothing says that a response with this status may be.
    NotCacheable(StatusCode),
    /// Not stored: a POST whose response does not stand for its target, or does not say how long it is fresh.
    NotForGet,
    /// Not stored: Vary matches no later request.
    VariesOnAnything,
    /// Not stored: neither fresh nor to be validated, so that it would never be reused.
    NothingToReuse,
    /// Not stored: a transfer coding other than chunked.
    TransferCoding,
    /// Not stored: Content-Range outside a 206.
    ContentRange,

    /// Not stored, and if stored not used: an operator's rule says never.
    NeverKept,
    /// Another decision than the messages lead to, because of an operator's rule.
    ByRule {
        /// The name of the rule.
        rule: Arc<str>,
        /// The reason, as it is with the rule.
        because: Box<Because>,
    },
}

impl Because {
    /// How fresh the stored response is that is reused for this reason, if it is one to reuse.
    pub fn freshness(&self) -> Option<&Freshness> {
        match self.bare() {
            Self::Fresh(freshness)
            | Self::Immutable(freshness)
            | Self::MaxStale(freshness)
            | Self::StaleWhileRevalidate(freshness, _) => Some(freshness),
            _ => None,
        }
    }

    /// The section that asks for the decision.
    pub fn section(&self) -> &'static str {
        match self {
            Self::Fresh(_) | Self::Stale(_) => "RFC 9111 §4.2",
            Self::Immutable(_) => "RFC 8246 §2",
            Self::MaxStale(_) | Self::TooStale { .. } => "RFC 9111 §5.2.1.2",
            Self::Disconnected(_) | Self::StaleForbidden(_) => "RFC 9111 §4.2.4",
            Self::StaleWhileRevalidate(..) => "RFC 5861 §3",
            Self::StaleIfError(..) => "RFC 5861 §4",
            Self::ResponseNoCache => "RFC 9111 §5.2.2.4",
            Self::RequestNoCache => "RFC 9111 §5.2.1.4",
            Self::RequestMaxAge { .. } => "RFC 9111 §5.2.1.1",
            Self::RequestMinFresh { .. } => "RFC 9111 §5.2.1.3",
            Self::Method(_) | Self::NothingStored => "RFC 9111 §4",
            Self::Overriding(_) => "RFC 9111 §2",
            Self::RequestContent => "RFC 9110 §9.3.1",
            Self::NotForGet => "RFC 9110 §9.3.3",
            Self::NoVariant { .. } | Self::VariesOnAnything => "RFC 9111 §4.1",
            Self::OnlyIfCached(_) => "RFC 9111 §5.2.1.7",
            Self::ErrorForwarded(_) => "RFC 9111 §4.3.3",
            Self::StoredFresh(_)
            | Self::StoredToValidate
            | Self::StoredForOutages
            | Self::AboutRequest(_)
            | Self::NotFinal(_)
            | Self::NotCacheable(_)
            | Self::NothingToReuse => "RFC 9111 §3",
            Self::ResponseNoStore => "RFC 9111 §5.2.2.5",
            Self::Private => "RFC 9111 §5.2.2.7",
            Self::RequestNoStore => "RFC 9111 §5.2.1.5",
            Self::Authorization => "RFC 9111 §3.5",
            Self::PartialContent => "RFC 9111 §3.3",
            Self::NotModified => "RFC 9111 §4.3.3",
            Self::NotUnderstood(_) => "RFC 9111 §5.2.2.3",
            Self::TransferCoding => "RFC 9112 §6.1",
            Self::ContentRange => "RFC 9110 §14.4",
            Self::NeverKept | Self::ByRule { .. } => "cache.rule",
        }
    }

    /// The name of the operator's rule that changed the decision, if one did.
    pub fn rule(&self) -> Option<&Arc<str>> {
        match self {
            Self::ByRule { rule, .. } => Some(rule),
            Self::OnlyIfCached(because) => because.rule(),
            _ => None,
        }
    }

    /// The reason itself, without the name of the rule that led to it.
    pub fn bare(&self) -> &Self {
        match self {
            Self::ByRule { because, .. } => because.bare(),
            because => because,
        }
    }

    /// Whether the response that is reused for this reason is to be validated all the same, without its client waiting
    /// for it (RFC 5861 §3).
    pub fn asks_for_refresh(&self) -> bool {
        matches!(self, Self::StaleWhileRevalidate(..))
    }

    /// The value of Cache-Status's `fwd` parameter (RFC 9211 §2.2) for a request forwarded for this reason.
    ///
    /// A reason for reusing or storing forwards nothing; its word is `bypass`, which says the least.
    pub fn forward_reason(&self) -> &'static str {
        match self {
            Self::Method(_) => "method",
            Self::NothingStored => "uri-miss",
            Self::NoVariant { .. } => "vary-miss",
            Self::RequestNoCache | Self::RequestMaxAge { .. } | Self::RequestMinFresh { .. } => "request",
            Self::Stale(_)
            | Self::MaxStale(_)
            | Self::Disconnected(_)
            | Self::StaleWhileRevalidate(..)
            | Self::StaleIfError(..)
            | Self::StaleForbidden(_)
            | Self::TooStale { .. }
            | Self::ErrorForwarded(_)
            // The stored response could not be used without validation, which is what `stale` says: "The cache was
            // able to select a response for the request, but it was stale."
            | Self::ResponseNoCache
            | Self::ResponseNoStore
            | Self::Private => "stale",
            Self::PartialContent => "partial",
            Self::OnlyIfCached(because) | Self::ByRule { because, .. } => because.forward_reason(),
            _ => "bypass",
        }
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fresh(fresh) => write!(f, "The stored response is {fresh}."),
            Self::Immutable(fresh) => write!(f, "The stored response is {fresh} and immutable until then."),
            Self::MaxStale(stale) => write!(f, "The stored response is {stale}, which the client accepts."),
            Self::Disconnected(stale) => {
                write!(f, "The stored response is {stale}, and the origin cannot be reached.")
            }
            Self::StaleWhileRevalidate(stale, window) => write!(
                f,
                "The stored response is {stale}, and stale-while-revalidate allows {} more while it is validated.",
                Seconds(*window)
            ),
            Self::StaleIfError(stale, window) => write!(
                f,
                "The stored response is {stale}, and stale-if-error allows {} more in place of an error.",
                Seconds(*window)
            ),
            Self::Stale(stale) => write!(f, "The stored response is {stale}."),
            Self::ResponseNoCache => {
                f.write_str("The stored response may be reused only after validation (no-cache).")
            }
            Self::RequestNoCache => f.write_str("The client asked for validation (no-cache)."),
            Self::RequestMaxAge { age, max_age } => write!(
                f,
                "The stored response is {} old and the client accepts at most {} (max-age).",
                Seconds(*age),
                Seconds(*max_age)
            ),
            Self::RequestMinFresh { remaining, min_fresh } => write!(
                f,
                "The stored response is fresh for {} more and the client wants {} (min-fresh).",
                Seconds(*remaining),
                Seconds(*min_fresh)
            ),
            Self::NoVariant { nominated, stored } => {
                write!(
                    f,
                    "None of the {stored} stored responses suits the request; the last differs in {nominated}."
                )
            }
            Self::OnlyIfCached(because) => {
                write!(f, "The client wants a stored response only (only-if-cached). {because}")
            }
            Self::StaleForbidden(directive) => {
                write!(f, "{directive} forbids serving the stored response stale.")
            }
            Self::TooStale { staleness, max_stale } => write!(
                f,
                "The stored response is stale for {} and the client accepts {} (max-stale).",
                Seconds(*staleness),
                Seconds(*max_stale)
            ),
            _ => self.fmt_forwarding_or_storing(f),
        }
    }
}

impl Because {
    fn fmt_forwarding_or_storing(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method(method) => write!(f, "{method} is not answered from what is stored."),
            Self::ErrorForwarded(status) => {
                write!(
                    f,
                    "The origin answered {}, and nothing allows a stale response instead.",
                    status.as_u16()
                )
            }
            Self::ByRule { rule, because } => write!(f, "{because} (Decided by the operator's rule {rule}.)"),
            Self::StoredFresh(fresh) => write!(f, "The response is {fresh}."),
            Self::Overriding(name) => {
                write!(
                    f,
                    "The request's {name} may ask for something else than its target, so the cache stays out of it."
                )
            }
            Self::AboutRequest(status) => {
                write!(f, "A {} is about the one request that it answers.", status.as_u16())
            }
            Self::NotFinal(status) => write!(f, "A {} response is not final.", status.as_u16()),
            Self::NotUnderstood(status) => {
                write!(f, "The response must be understood to be stored, and {} is not.", status.as_u16())
            }
            Self::NotCacheable(status) => {
                write!(f, "Nothing in the response allows storing a {}.", status.as_u16())
            }
            _ => f.write_str(self.fixed_sentence()),
        }
    }

    /// The sentence of a reason that has no numbers.
    fn fixed_sentence(&self) -> &'static str {
        match self {
            Self::RequestContent => "The request has content, which a stored response does not answer.",
            Self::NotForGet => {
                "The response to a POST does not name its target in Content-Location, or does not say how long it is fresh."
            }
            Self::NothingStored => "Nothing is stored under this URI.",
            Self::StoredToValidate => "The response is not fresh, but it can be validated.",
            Self::StoredForOutages => {
                "The response is not fresh, but it may do while the origin cannot be reached."
            }
            Self::ResponseNoStore => "The response must not be stored (no-store).",
            Self::Private => "The response is for one user (private).",
            Self::RequestNoStore => "The client asked not to store the response (no-store).",
            Self::Authorization => {
                "The request carried credentials, and the response does not say it may be shared (public, \
                 must-revalidate or s-maxage)."
            }
            Self::PartialContent => {
                "The partial response (206) has no strong validator under which the rest could be joined to it."
            }
            Self::NotModified => "A 304 response is not stored on its own.",
            Self::VariesOnAnything => "The response varies on more than the request (Vary: *).",
            Self::NothingToReuse => "The response is neither fresh nor can it be validated.",
            Self::TransferCoding => "The response has a transfer coding other than chunked.",
            Self::NeverKept => "The response is never stored.",
            Self::ContentRange => "The response has a Content-Range without being a 206.",
            _ => "",
        }
    }
}

/// "12 s old and fresh for 60 s by max-age", or "70 s old and was fresh for 60 s by max-age".
impl fmt::Display for Freshness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (age, lifetime) = (Seconds(self.age), Seconds(self.lifetime));
        let by = match self.source {
            LifetimeSource::SMaxage => "by s-maxage",
            LifetimeSource::MaxAge => "by max-age",
            LifetimeSource::Expires => "by Expires",
            LifetimeSource::Heuristic => "by its Last-Modified",
            LifetimeSource::Rule => "by the operator",
            LifetimeSource::Nowhere => return write!(f, "{age} old and says nothing of its freshness"),
        };
        let is = if self.is_fresh() { "fresh" } else { "was fresh" };
        write!(f, "{age} old and {is} for {lifetime} {by}")
    }
}

/// Whole seconds, as everywhere in HTTP caching.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0.as_secs())
    }
}
