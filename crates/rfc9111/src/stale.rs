//! When a stored response may be served stale (RFC 9111 §4.2.4, RFC 5861 §4).
//!
//! Asked after the origin failed to answer well. Serving stale because the client accepts it (max-stale) needs no
//! failure and is part of `reuse`.

use std::time::Duration;

use http::StatusCode;

use crate::because::Because;
use crate::directives::{CacheControl, MaxStale};
use crate::freshness::{Freshness, freshness_by};
use crate::request::{Presented, Situation};
use crate::rules::{Keep, judged};
use crate::stored::StoredResponse;
use crate::storing::forbids_keeping;
use crate::targeted::governing_stored;

/// How the origin failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It could not be reached, or closed the connection without an answer: the cache is disconnected.
    Unreachable,
    /// It answered with this status.
    Status(StatusCode),
}

/// Whether a stored response may be served although the origin failed. `Err` says what speaks against it.
///
/// Disconnected, a stale response may be served unless a directive of either side forbids it. In place of an error
/// that was received it may be served only where stale-if-error or the client's max-stale allows it.
pub fn may_serve_stale(
    presented: &Presented<'_>,
    stored: &StoredResponse,
    failure: Failure,
    situation: &Situation,
) -> Result<Because, Because> {
    let judge = |situation: &Situation| judge(presented, stored, failure, situation);
    judged(situation, situation.policy.rules.about_stored(stored), judge)
}

fn judge(
    presented: &Presented<'_>,
    stored: &StoredResponse,
    failure: Failure,
    situation: &Situation,
) -> Result<Because, Because> {
    let rules = &situation.policy.rules;
    let response = governing_stored(stored, &situation.policy);
    let freshness = freshness_by(stored, &response, situation);
    let request = rules.heard(&presented.directives(), stored, freshness.is_fresh());
    if rules.about_stored(stored).is_some_and(|rule| rule.keep == Keep::Never) {
        return Err(Because::NeverKept);
    }

    if let Some(because) = forbids_reuse(&response, stored.status) {
        return Err(because);
    }
    if presented.has_content() {
        return Err(Because::RequestContent);
    }
    // §5.2.1: request directives "are advisory; a cache MAY implement them, but is not required to". A client that would
    // rather have a newer response, as on a reload, is not served by having none.
    let disconnected = failure == Failure::Unreachable;
    if request.no_cache && !disconnected {
        return Err(Because::RequestNoCache);
    }
    let refused = client_refuses(&request, &freshness).filter(|_| !disconnected);
    if freshness.is_fresh() {
        return refused.map_or(Ok(Because::Fresh(freshness)), Err);
    }
    if let Some(directive) = response.forbids_stale() {
        return Err(Because::StaleForbidden(directive));
    }
    if let Failure::Status(status) = failure
        && !is_error(status)
    {
        return Err(Because::ErrorForwarded(status));
    }
    // RFC 5861 §4: "…when an error is encountered, a cached stale response MAY be used to satisfy the request,
    // regardless of other freshness information."
    if let Some(window) =
        stale_if_error(&request, &response).filter(|window| freshness.staleness() <= *window)
    {
        return Ok(Because::StaleIfError(freshness, window));
    }
    if let Some(because) = refused {
        return Err(because);
    }
    // §4.2.4: "A cache MUST NOT generate a stale response unless it is disconnected or doing so is explicitly permitted
    // by the client or origin server".
    match (request.max_stale, failure) {
        (Some(max_stale), _) => accepted(max_stale, freshness),
        (None, Failure::Unreachable) => Ok(Because::Disconnected(freshness)),
        (None, Failure::Status(status)) => Err(Because::ErrorForwarded(status)),
    }
}

/// Why a response may not be reused without validation however fresh it is. A response that must not be kept is among
/// them because a 304 can bring such a directive later.
pub(crate) fn forbids_reuse(response: &CacheControl, status: StatusCode) -> Option<Because> {
    forbids_keeping(response, status).or_else(|| response.no_cache.then_some(Because::ResponseNoCache))
}

/// Why the client does not want a response of this age (§5.2.1.1, §5.2.1.3).
pub(crate) fn client_refuses(request: &CacheControl, freshness: &Freshness) -> Option<Because> {
    let (age, remaining) = (freshness.age, freshness.remaining());
    // "The max-age request directive indicates that the client prefers a response whose age is less than or equal to
    // the specified number of seconds."
    if let Some(max_age) = request.max_age.filter(|max_age| age > *max_age) {
        return Some(Because::RequestMaxAge { age, max_age });
    }
    // "The min-fresh request directive indicates that the client prefers a response whose freshness lifetime is no
    // less than its current age plus the specified time in seconds."
    let min_fresh = request.min_fresh.filter(|min_fresh| remaining < *min_fresh)?;
    Some(Because::RequestMinFresh { remaining, min_fresh })
}

/// Whether the client's max-stale (§5.2.1.2) accepts a stale response.
pub(crate) fn accepted(max_stale: MaxStale, freshness: Freshness) -> Result<Because, Because> {
    match max_stale {
        MaxStale::UpTo(limit) if freshness.staleness() > limit => {
            Err(Because::TooStale { staleness: freshness.staleness(), max_stale: limit })
        }
        _ => Ok(Because::MaxStale(freshness)),
    }
}

/// Whether a stale response may be served at once while it is validated behind the client's back.
pub(crate) fn while_revalidating(response: &CacheControl, freshness: Freshness) -> Option<Because> {
    // RFC 5861 §3: "When present in an HTTP response, the stale-while-revalidate Cache-Control extension indicates that
    // caches MAY serve the response in which it appears after it becomes stale, up to the indicated number of seconds."
    // The directives that forbid serving stale forbid it here too.
    let window = response.stale_while_revalidate.filter(|_| response.forbids_stale().is_none())?;
    // "If delta-seconds passes without the cached entity being revalidated, it SHOULD NOT continue to be served stale,
    // absent other information."
    (freshness.staleness() <= window).then_some(Because::StaleWhileRevalidate(freshness, window))
}

/// The longer of the two windows: either side may allow it.
fn stale_if_error(request: &CacheControl, response: &CacheControl) -> Option<Duration> {
    request.stale_if_error.max(response.stale_if_error)
}

/// RFC 5861 §4: "In this context, an error is any situation that would result in a 500, 502, 503, or 504 HTTP response
/// status code being returned."
fn is_error(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{request, situation, stored};

    /// The response has a lifetime of 60 s and is asked for at 100 s, or at 30 s where it is to be fresh.
    #[track_caller]
    fn check(request_fields: &str, response: &str, failure: u16, verdict: &str) {
        check_at(100, request_fields, response, failure, verdict);
    }

    #[track_caller]
    fn check_at(second: u64, request_fields: &str, response: &str, failure: u16, verdict: &str) {
        let request = request("GET", request_fields);
        let failure = match failure {
            0 => Failure::Unreachable,
            status => Failure::Status(StatusCode::from_u16(status).expect("a status")),
        };
        let response = stored(200, response);
        let found = match may_serve_stale(&request.presented(), &response, failure, &situation(second)) {
            Ok(because) => format!("serve {}", because.section()),
            Err(because) => format!("refuse {}", because.section()),
        };
        assert_eq!(found, verdict, "{request_fields} | {response:?} | {failure:?}");
    }

    #[test]
    fn disconnected_we_serve_stale_4_2_4() {
        check("", "cache-control: max-age=60", 0, "serve RFC 9111 §4.2.4");
        check("", "etag: \"1\"", 0, "serve RFC 9111 §4.2.4");
        check_at(30, "", "cache-control: max-age=60", 0, "serve RFC 9111 §4.2");
    }

    #[test]
    fn directives_forbid_serving_stale_4_2_4() {
        for directive in ["must-revalidate", "proxy-revalidate", "s-maxage=60"] {
            let response = format!("cache-control: max-age=60, stale-if-error=600, {directive}");
            check("", &response, 0, "refuse RFC 9111 §4.2.4");
            check("cache-control: max-stale", &response, 503, "refuse RFC 9111 §4.2.4");
            check_at(30, "", &response, 0, "serve RFC 9111 §4.2");
        }
        check("", "cache-control: max-age=60, no-cache", 0, "refuse RFC 9111 §5.2.2.4");
        check("", "cache-control: max-age=60, no-store", 0, "refuse RFC 9111 §5.2.2.5");
    }

    #[test]
    fn the_client_may_refuse_what_an_error_would_bring() {
        let response = "cache-control: max-age=60, stale-if-error=10";
        check("cache-control: no-cache", response, 503, "refuse RFC 9111 §5.2.1.4");
        check("pragma: no-cache", response, 503, "refuse RFC 9111 §5.2.1.4");
        check("cache-control: max-age=99", response, 503, "refuse RFC 9111 §5.2.1.1");
        check("cache-control: min-fresh=1", response, 503, "refuse RFC 9111 §5.2.1.3");
        check("cache-control: max-stale=39", "cache-control: max-age=60", 0, "refuse RFC 9111 §5.2.1.2");
    }

    #[test]
    fn a_reload_is_served_what_there_is_while_disconnected_5_2_1() {
        for request in [
            "cache-control: no-cache",
            "pragma: no-cache",
            "cache-control: max-age=0",
            "cache-control: min-fresh=1",
        ] {
            check(request, "cache-control: max-age=60", 0, "serve RFC 9111 §4.2.4");
            check_at(30, request, "cache-control: max-age=60", 0, "serve RFC 9111 §4.2");
        }
        check("content-length: 3", "cache-control: max-age=60", 0, "refuse RFC 9110 §9.3.1");
    }

    #[test]
    fn an_error_is_passed_on_unless_stale_is_allowed_4_3_3() {
        check("", "cache-control: max-age=60", 503, "refuse RFC 9111 §4.3.3");
        check("cache-control: max-stale", "cache-control: max-age=60", 503, "serve RFC 9111 §5.2.1.2");
        check("cache-control: max-stale=40", "cache-control: max-age=60", 503, "serve RFC 9111 §5.2.1.2");
    }

    #[test]
    fn stale_if_error_allows_it_for_a_while_rfc5861_4() {
        for failure in [0, 500, 502, 503, 504] {
            check("", "cache-control: max-age=60, stale-if-error=40", failure, "serve RFC 5861 §4");
            check(
                "cache-control: stale-if-error=40",
                "cache-control: max-age=60",
                failure,
                "serve RFC 5861 §4",
            );
        }
        check("", "cache-control: max-age=60, stale-if-error=39", 500, "refuse RFC 9111 §4.3.3");
        check("", "cache-control: max-age=60, stale-if-error=39", 0, "serve RFC 9111 §4.2.4");
        check("", "cache-control: max-age=60, stale-if-error=40", 404, "refuse RFC 9111 §4.3.3");
        check("", "cache-control: max-age=60, stale-if-error=40", 501, "refuse RFC 9111 §4.3.3");
    }
}
