//! What of a request the cache key does not hold although the response may follow from it: content, fields that replace
//! the target, and the statuses that are about the request itself. Under the key of the target such a response would be
//! what everybody gets ("web cache poisoning").
//!
//! RFC 9111 §2 has the key be made of the method and the target URI at least, and leaves the rest to Vary, which few of the
//! responses in question have.

use http::StatusCode;
use http::header::{CONTENT_LENGTH, FORWARDED, HeaderMap, HeaderName, TRANSFER_ENCODING};

use crate::fields;

/// Fields by which frameworks let the host, the URI or the method be replaced (CVE-2018-14773). They are passed on as they
/// are, and the cache stays out of it. Fields that name the client alone, such as X-Forwarded-For, are not among them: a
/// proxy behind this one adds them to everything.
pub(crate) static OVERRIDING: [HeaderName; 16] = [
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-forwarded-scheme"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-ssl"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-host"),
    HeaderName::from_static("x-http-host-override"),
    HeaderName::from_static("x-original-host"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-method-override"),
    HeaderName::from_static("front-end-https"),
];

/// The first field of a request that may replace its host, scheme, path or method.
pub(crate) fn overriding(request: &HeaderMap) -> Option<&HeaderName> {
    // Few requests have fields of such names, and all requests are looked at.
    let may_be = |name: &HeaderName| name.as_str().starts_with("x-") || name.as_str().starts_with("front-");
    let field = request.keys().find(|name| may_be(name) && OVERRIDING.contains(name));
    field.or_else(|| forwarded_for_elsewhere(request).then_some(&FORWARDED))
}

/// Whether Forwarded (RFC 7239 §5.3, §5.4) names the host or scheme that the client asked for.
fn forwarded_for_elsewhere(request: &HeaderMap) -> bool {
    let pairs = fields::members(request, &FORWARDED).flat_map(|element| element.split(|byte| *byte == b';'));
    pairs.into_iter().any(|pair| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        let name = fields::trim(name);
        name.eq_ignore_ascii_case(b"host") || name.eq_ignore_ascii_case(b"proto")
    })
}

/// Statuses that say something of the one request, its fields or its client, and nothing of the target: 407, 408, 411, 412,
/// 413, 416, 417, 421, 426, 428, 429, 431 (RFC 9110 §15.5, RFC 6585). Stored under the target's key, one request with an odd
/// field would have everybody else refused ("cache-poisoned denial of service", CVE-2019-0941).
const ABOUT_REQUEST: [u16; 12] = [407, 408, 411, 412, 413, 416, 417, 421, 426, 428, 429, 431];

/// Whether a status is about the one request that it answers.
pub(crate) fn is_about_request(status: StatusCode) -> bool {
    ABOUT_REQUEST.contains(&status.as_u16())
}

/// Whether a request announces content. RFC 9110 §9.3.1: "content received in a GET request has no generally defined
/// semantics", yet origins exist that answer by it.
pub(crate) fn has_content(headers: &HeaderMap) -> bool {
    let empty = |value: &[u8]| value.iter().all(|digit| *digit == b'0');
    headers.contains_key(TRANSFER_ENCODING)
        || fields::first(headers, &CONTENT_LENGTH).is_some_and(|v| !empty(v))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storing::{Storing, may_store};
    use crate::testing::{headers, request, situation};

    #[track_caller]
    fn check(fields: &str, expected: Option<&str>) {
        assert_eq!(overriding(&headers(fields)).map(HeaderName::as_str), expected, "{fields}");
    }

    #[test]
    fn a_field_that_replaces_host_path_or_method_is_found() {
        check("accept: a\nx-forwarded-host: evil", Some("x-forwarded-host"));
        check("x-http-method-override: DELETE", Some("x-http-method-override"));
        check("x-original-url: /admin", Some("x-original-url"));
        check("forwarded: for=a, for=b;proto=https;host=evil", Some("forwarded"));
        check("forwarded: for=a; Host=\"evil\"", Some("forwarded"));
    }

    #[test]
    fn fields_that_name_the_client_alone_are_none() {
        check("", None);
        check("forwarded: for=192.0.2.60;by=203.0.113.43, for=\"[2001:db8::1]\"", None);
        check("x-forwarded-for: 192.0.2.60\nvia: 1.1 a\nx-real-ip: 192.0.2.60", None);
    }

    #[test]
    fn what_is_about_one_request_is_not_stored() {
        let storing = |fields: &str, status: u16| {
            let fresh = headers("cache-control: max-age=60, public");
            let status = StatusCode::from_u16(status).expect("a status");
            match may_store(&request("GET", fields).presented(), status, &fresh, &situation(0)) {
                Storing::Store(_) => "",
                Storing::Pass(because) => because.section(),
            }
        };
        for status in ABOUT_REQUEST {
            assert_eq!(storing("", status), "RFC 9111 §3", "{status}");
        }
        assert_eq!(storing("", 404), "");
        assert_eq!(storing("x-forwarded-host: evil", 200), "RFC 9111 §2");
        assert_eq!(storing("x-forwarded-for: 192.0.2.1", 200), "");
    }
}
