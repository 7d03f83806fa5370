//! Finishing a response: the fields that a proxy and a cache owe the client. What the content is, and what the status
//! should be, was decided before.

pub(crate) mod interim;
pub(crate) mod refusal;

use std::time::SystemTime;

use http::header::{AGE, CONNECTION, CONTENT_LENGTH, DATE, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};

pub(crate) use refusal::Refusal;

use crate::body::Body;
use crate::exchange::CacheStatus;

static CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// A response as it came from the origin, without what was for this hop only (RFC 9110 §7.6.1) and with a Date
/// (§6.6.1: "A recipient with a clock that receives a response message without a Date header field MUST record the
/// time it was received and append a corresponding Date").
pub(crate) fn received<B>(response: Response<B>, now: SystemTime, pseudonym: &str) -> Response<B> {
    let (mut parts, body) = response.into_parts();
    let upgrade = (parts.status == StatusCode::SWITCHING_PROTOCOLS)
        .then(|| parts.headers.get(UPGRADE).cloned())
        .flatten();
    parts.headers = rfc9111::end_to_end(parts.headers);
    rfc9111::append_via(&mut parts.headers, parts.version, pseudonym);
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

/// Says in Cache-Status what this cache did (RFC 9211), and which of the operator's rules had a say in it: ours is the
/// last member, the one closest to the client.
pub(crate) fn finish(response: &mut Response<Body>, status: &CacheStatus, rule: Option<&str>) {
    let value = match (status, rule) {
        (CacheStatus::Hit, None) => Ok(HeaderValue::from_static("bentpipe; hit")),
        (other, None) => HeaderValue::try_from(other.to_string()),
        (other, Some(rule)) => HeaderValue::try_from(other.by_rule(rule)),
    };
    if let Ok(value) = value {
        response.headers_mut().append(&CACHE_STATUS, value);
    }
}

/// Gives a response bentpipe made itself the Date that every response of a server with a clock has.
pub(crate) fn dated(mut response: Response<Body>, now: SystemTime) -> Response<Body> {
    response.headers_mut().entry(DATE).or_insert_with(|| rfc9111::format_date(now));
    response
}

/// Sets Age to whole seconds (RFC 9111 §5.1), in place of any that came.
pub(crate) fn set_age(headers: &mut HeaderMap, age: std::time::Duration) {
    headers.insert(AGE, HeaderValue::from(age.as_secs()));
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
        let finished = received(came, SystemTime::UNIX_EPOCH, "bentpipe-1");
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

    #[test]
    fn a_listed_length_becomes_one() {
        let finished = received(response(&[("content-length", "5, 5")]), SystemTime::UNIX_EPOCH, "b");
        assert_eq!(finished.headers()[CONTENT_LENGTH], "5");
    }

    #[test]
    fn a_missing_date_is_the_time_of_receipt() {
        let finished = received(response(&[]), SystemTime::UNIX_EPOCH, "b");
        assert_eq!(finished.headers()[DATE], "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
