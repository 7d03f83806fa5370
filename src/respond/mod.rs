//! Finishing a response: the fields that a proxy and a cache owe the client. What the content is, and what the status
//! should be, was decided before.

pub(crate) mod challenge;
mod denied;
pub(crate) mod interim;
mod page;
pub(crate) mod refusal;
mod tls_fault;
mod unreached;
pub(crate) mod whole;

use std::fmt::Write as _;
use std::time::SystemTime;

use http::header::{AGE, CONNECTION, CONTENT_LENGTH, DATE, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};

pub(crate) use page::Contact;
pub(crate) use refusal::{Refusal, Worded};
use rfc9111::{Freshness, Via};
pub(crate) use tls_fault::TlsFault;

use crate::body::Body;
use crate::exchange::{CacheStatus, Details, HIT};

static CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// A response as it came from the origin, without what was for this hop only (RFC 9110 §7.6.1) and with a Date
/// (§6.6.1: "A recipient with a clock that receives a response message without a Date header field MUST record the
/// time it was received and append a corresponding Date").
pub(crate) fn received<B>(response: Response<B>, now: SystemTime, via: &Via) -> Response<B> {
    let (mut parts, body) = response.into_parts();
    let upgrade = (parts.status == StatusCode::SWITCHING_PROTOCOLS)
        .then(|| parts.headers.get(UPGRADE).cloned())
        .flatten();
    parts.headers = rfc9111::end_to_end(parts.headers);
    via.append(&mut parts.headers, parts.version);
    if let Some(protocol) = upgrade {
        parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(UPGRADE, protocol);
    }
    restore_length(parts.status, &mut parts.headers);
    if !parts.headers.contains_key(DATE) {
        parts.headers.insert(DATE, rfc9111::format_date(now));
    }
    parts.version = Version::HTTP_11;
    Response::from_parts(parts, body)
}

/// One Content-Length with one value, or none. "If a message is received ... with a Content-Length header field value
/// that is a list of identical members, the recipient MUST either reject the message or replace" it with the one
/// (RFC 9110 §8.6); and "a server MUST NOT send a Content-Length header field in any response with a status code of ...
/// 204 (No Content)".
fn restore_length(status: StatusCode, headers: &mut HeaderMap) {
    if status == StatusCode::NO_CONTENT {
        headers.remove(CONTENT_LENGTH);
        return;
    }
    let listed = |value: &&HeaderValue| !value.as_bytes().iter().all(u8::is_ascii_digit);
    let Some(value) = headers.get(CONTENT_LENGTH).filter(listed) else { return };
    let first = value.as_bytes().split(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
    match HeaderValue::from_bytes(first) {
        Ok(one) => headers.insert(CONTENT_LENGTH, one),
        Err(_) => headers.remove(CONTENT_LENGTH),
    };
}

/// For how many seconds more a stored response is fresh; negative where it is stale (RFC 9211 §2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ttl(i64);

impl Ttl {
    /// That of a stored response.
    pub(crate) fn of(freshness: &Freshness) -> Self {
        let seconds = |time: std::time::Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        Self(seconds(freshness.remaining()).saturating_sub(seconds(freshness.staleness())).max(LEAST_TTL))
    }
}

/// The least Integer that a Structured Field can hold (RFC 9651 §3.3.1); a lifetime is at most 2^31 seconds.
const LEAST_TTL: i64 = -999_999_999_999_999;

/// Says in Cache-Status what this cache did (RFC 9211), and which of the operator's rules had a say in it: ours is the
/// last member, the one closest to the client.
pub(crate) fn finish(response: &mut Response<Body>, details: &Details) {
    // "An intermediary SHOULD NOT append a Cache-Status member to responses that it generates locally, even if that
    // intermediary contains a cache, unless the generated response is based upon a stored response" (§2).
    if details.cache == CacheStatus::Unasked {
        return;
    }
    let mut member = String::with_capacity(USUAL_MEMBER);
    match (&details.cache, &details.rule) {
        (CacheStatus::Hit, None) => member.push_str(HIT),
        (cache, rule) => _ = write!(member, "{}", cache.by_rule(rule.as_deref())),
    }
    if let Some(Ttl(seconds)) = details.ttl {
        member.push_str("; ttl=");
        member.push_str(itoa::Buffer::new().format(seconds));
    }
    // Of a slice, since what a string has room for beyond its end would be carried along.
    let Ok(value) = HeaderValue::from_str(&member) else { return };
    let headers = response.headers_mut();
    let mut present = headers.get_all(&CACHE_STATUS).iter();
    // A place that was kept free for it; or an empty list, which says as little (RFC 9110 §5.6.1.2).
    if present.next().is_some_and(HeaderValue::is_empty) && present.next().is_none() {
        headers.insert(&CACHE_STATUS, value);
    } else {
        headers.append(&CACHE_STATUS, value);
    }
}

/// Room for a member of Cache-Status as it usually is. Bytes.
const USUAL_MEMBER: usize = 64;

/// Gives a response bentpipe made itself the Date that every response of a server with a clock has.
pub(crate) fn dated(mut response: Response<Body>, now: SystemTime) -> Response<Body> {
    response.headers_mut().entry(DATE).or_insert_with(|| rfc9111::format_date(now));
    response
}

/// Sets Age to whole seconds (RFC 9111 §5.1), in place of any that came.
pub(crate) fn set_age(headers: &mut HeaderMap, age: std::time::Duration) {
    headers.insert(AGE, number(age.as_secs()));
}

/// Sets Content-Length (RFC 9110 §8.6), where it is not that already.
pub(crate) fn set_length(headers: &mut HeaderMap, length: u64) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(length);
    if headers.get(CONTENT_LENGTH).is_none_or(|present| present != digits) {
        headers.insert(CONTENT_LENGTH, number(length));
    }
}

/// `number` as the value of a field: a decimal number.
fn number(number: u64) -> HeaderValue {
    let digits = HeaderValue::from_str(itoa::Buffer::new().format(number));
    digits.unwrap_or_else(|_| HeaderValue::from(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(fields: &[(&'static str, &'static str)]) -> Response<()> {
        let mut response = Response::new(());
        for (name, value) in fields {
            response.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        response
    }

    #[test]
    fn hop_by_hop_fields_end_here_and_the_others_keep_their_order() {
        let came = response(&[
            ("connection", "x-hop, keep-alive"),
            ("set-cookie", "a=1"),
            ("x-hop", "1"),
            ("x-other", "2"),
            ("set-cookie", "b=2"),
            ("keep-alive", "timeout=5"),
            ("date", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ]);
        let finished = received(came, SystemTime::UNIX_EPOCH, &Via::new("bentpipe-1"));
        let fields: Vec<_> =
            finished.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let expected = [
            ("set-cookie", b"a=1".as_slice()),
            ("set-cookie", b"b=2".as_slice()),
            ("x-other", b"2".as_slice()),
            ("date", b"Thu, 01 Jan 2026 00:00:00 GMT".as_slice()),
            ("via", b"1.1 bentpipe-1".as_slice()),
        ];
        assert_eq!(fields, expected);
    }

    #[track_caller]
    fn check_ttl(lifetime: u64, age: u64, expected: &str) {
        let seconds = std::time::Duration::from_secs;
        let source = rfc9111::LifetimeSource::MaxAge;
        let freshness = Freshness { lifetime: seconds(lifetime), source, age: seconds(age) };
        let mut response = Response::new(Body::Empty);
        response.headers_mut().insert(&CACHE_STATUS, HeaderValue::from_static("Origin; hit"));
        let (cache, ttl) = (CacheStatus::Hit, Some(Ttl::of(&freshness)));
        finish(&mut response, &Details { cache, ttl, ..Details::default() });
        let members: Vec<_> = response.headers().get_all(&CACHE_STATUS).iter().collect();
        assert_eq!(members, ["Origin; hit", expected]);
    }

    #[test]
    fn the_ttl_may_be_negative_and_other_caches_are_kept_rfc9211_2() {
        check_ttl(60, 12, "bentpipe; hit; ttl=48");
        check_ttl(60, 60, "bentpipe; hit; ttl=0");
        check_ttl(60, 100, "bentpipe; hit; ttl=-40");
        check_ttl(60, u64::MAX, "bentpipe; hit; ttl=-999999999999999");
    }

    /// RFC 9211 §2: "The first member … represents the cache closest to the origin server, and the last member … the cache
    /// closest to the user".
    #[test]
    fn what_an_origin_left_empty_is_no_place_for_ours_rfc9211_2() {
        let mut response = Response::new(Body::Empty);
        for value in ["", "Origin; hit"] {
            response.headers_mut().append(&CACHE_STATUS, HeaderValue::from_static(value));
        }
        finish(&mut response, &Details { cache: CacheStatus::Hit, ..Details::default() });
        let members: Vec<_> = response.headers().get_all(&CACHE_STATUS).iter().collect();
        assert_eq!(members, ["", "Origin; hit", "bentpipe; hit"]);
    }

    #[test]
    fn a_response_of_our_own_has_no_cache_status_rfc9211_2() {
        let mut response = Response::new(Body::Empty);
        finish(&mut response, &Details::default());
        assert!(response.headers().is_empty());
    }

    #[test]
    fn a_listed_length_becomes_one() {
        let finished =
            received(response(&[("content-length", "5, 5")]), SystemTime::UNIX_EPOCH, &Via::new("b"));
        assert_eq!(finished.headers()[CONTENT_LENGTH], "5");
    }

    #[test]
    fn a_missing_date_is_the_time_of_receipt() {
        let finished = received(response(&[]), SystemTime::UNIX_EPOCH, &Via::new("b"));
        assert_eq!(finished.headers()[DATE], "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
