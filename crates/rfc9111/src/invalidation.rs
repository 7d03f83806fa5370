//! What an unsafe method invalidates (RFC 9111 §4.4).
//!
//! Owns the choice of cache keys, and for it the resolution of a relative reference (RFC 3986 §5). Dropping what is
//! stored under them is the store's.

use http::header::{CONTENT_LOCATION, HeaderMap, LOCATION};
use http::{Method, StatusCode, Uri};

use crate::fields;
use crate::key::CacheKey;

/// The cache keys whose stored responses a response invalidates; none after a safe method or an error.
///
/// ```
/// use http::{HeaderMap, Method, StatusCode, Uri, header};
///
/// let target = Uri::from_static("http://example.com/list");
/// let headers = HeaderMap::from_iter([(header::LOCATION, "/list/7".parse().unwrap())]);
/// let keys = rfc9111::invalidated(&Method::POST, StatusCode::CREATED, &target, &headers);
/// let keys: Vec<_> = keys.iter().map(|key| key.as_str()).collect();
/// assert_eq!(keys, ["http://example.com/list", "http://example.com/list/7"]);
/// ```
pub fn invalidated(method: &Method, status: StatusCode, target: &Uri, headers: &HeaderMap) -> Vec<CacheKey> {
    // "A cache MUST invalidate the target URI […] when it receives a non-error status code in response to an unsafe
    // request method (including methods whose safety is unknown)." […] "A "non-error response" is one with a 2xx
    // (Successful) or 3xx (Redirection) status code."
    let succeeded = status.is_success() || status.is_redirection();
    if !succeeded || is_known_safe(method) {
        return Vec::new();
    }
    let Some(target) = CacheKey::for_target(target) else { return Vec::new() };
    let mut keys = vec![target.clone()];
    // "A cache MAY invalidate other URIs […]. In particular, the URI(s) in the Location and Content-Location response
    // header fields (if present) are candidates for invalidation".
    for reference in [LOCATION, CONTENT_LOCATION].iter().filter_map(|name| fields::first(headers, name)) {
        let resolved = std::str::from_utf8(reference).ok().and_then(|reference| resolve(&target, reference));
        // "However, a cache MUST NOT trigger an invalidation under these conditions if the origin […] of the URI to be
        // invalidated differs from that of the target URI".
        let Some(key) = resolved.filter(|key| key.origin() == target.origin()) else { continue };
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

/// Whether Content-Location says that the content is a representation of the target itself (RFC 9110 §8.7).
pub(crate) fn names_target(target: &Uri, headers: &HeaderMap) -> bool {
    let Some(target) = CacheKey::for_target(target) else { return false };
    let location =
        fields::only(headers, &CONTENT_LOCATION).and_then(|location| std::str::from_utf8(location).ok());
    location.and_then(|location| resolve(&target, location)).is_some_and(|key| key == target)
}

/// The methods registered as safe.
fn is_known_safe(method: &Method) -> bool {
    method.is_safe() || matches!(method.as_str(), "PROPFIND" | "REPORT" | "SEARCH" | "QUERY" | "PRI")
}

/// Resolves a reference against a target URI (RFC 3986 §5.2).
fn resolve(target: &CacheKey, reference: &str) -> Option<CacheKey> {
    let reference = reference.split('#').next().unwrap_or_default();
    if has_scheme(reference) {
        return CacheKey::parse(reference).and_then(|key| without_dots(&key));
    }
    if reference.starts_with("//") {
        let scheme = target.origin().split("//").next().unwrap_or_default();
        return CacheKey::parse(&format!("{scheme}{reference}")).and_then(|key| without_dots(&key));
    }
    let path_and_query = target.as_str().strip_prefix(target.origin())?;
    let path = path_and_query.split('?').next().unwrap_or_default();
    let directory = path.rfind('/').map_or("/", |slash| &path[..=slash]);
    let merged = match reference.as_bytes().first() {
        None => path_and_query.to_owned(),
        Some(b'?') => format!("{path}{reference}"),
        Some(b'/') => reference.to_owned(),
        Some(_) => format!("{directory}{reference}"),
    };
    CacheKey::parse(&format!("{}{merged}", target.origin())).and_then(|key| without_dots(&key))
}

/// "scheme ":" …" (RFC 3986 §3.1): a letter, then letters, digits, "+", "-" and ".".
fn has_scheme(reference: &str) -> bool {
    let scheme = reference.split([':', '/', '?']).next().unwrap_or_default();
    let follows = reference.as_bytes().get(scheme.len()) == Some(&b':');
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    follows && scheme.as_bytes().first().is_some_and(u8::is_ascii_alphabetic) && scheme.bytes().all(is_scheme)
}

/// The same key with the dot segments of its path removed (RFC 3986 §5.2.4).
fn without_dots(key: &CacheKey) -> Option<CacheKey> {
    let path_and_query = key.as_str().strip_prefix(key.origin())?;
    let (path, query) = path_and_query.split_at(path_and_query.find('?').unwrap_or(path_and_query.len()));
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    // A dot segment at the end stands for a directory.
    if path.ends_with("/.") || path.ends_with("/..") {
        segments.push("");
    }
    CacheKey::parse(&format!("{}/{}{query}", key.origin(), segments.join("/")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::headers;

    fn keys(method: &str, status: u16, response: &str) -> Vec<String> {
        let target = Uri::from_static("http://example.com/a/b?c");
        let status = StatusCode::from_u16(status).expect("a status");
        let keys = invalidated(&method.parse().expect("a method"), status, &target, &headers(response));
        keys.iter().map(|key| key.as_str().to_owned()).collect()
    }

    #[track_caller]
    fn check(reference: &str, invalidates: &str) {
        for field in ["location", "content-location"] {
            let found = keys("POST", 201, &format!("{field}: {reference}"));
            let expected: Vec<_> =
                ["http://example.com/a/b?c", invalidates].into_iter().filter(|key| !key.is_empty()).collect();
            assert_eq!(found, expected, "{field}: {reference}");
        }
    }

    #[test]
    fn unsafe_and_unknown_methods_invalidate_the_target_4_4() {
        for method in ["POST", "PUT", "DELETE", "PATCH", "FOO", "M-SEARCH"] {
            for status in [200, 204, 299, 302, 307] {
                assert_eq!(keys(method, status, ""), ["http://example.com/a/b?c"], "{method} {status}");
            }
        }
    }

    #[test]
    fn safe_methods_and_errors_do_not_4_4() {
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND"] {
            assert!(keys(method, 200, "location: /x").is_empty(), "{method}");
        }
        for status in [100, 400, 404, 500, 599] {
            assert!(keys("POST", status, "location: /x").is_empty(), "{status}");
        }
    }

    #[test]
    fn location_and_content_location_are_invalidated_4_4() {
        check("http://example.com/x", "http://example.com/x");
        check("HTTP://EXAMPLE.com:80/x#f", "http://example.com/x");
        check("/x", "http://example.com/x");
        check("x", "http://example.com/a/x");
        check("x:y", "");
        check("./x:y", "http://example.com/a/x:y");
        check("../x/./y/..", "http://example.com/x/");
        check("../../../x", "http://example.com/x");
        check("?d", "http://example.com/a/b?d");
        check("//example.com/x", "http://example.com/x");
        check("", "");
        check("#f", "");
    }

    #[test]
    fn another_origin_is_never_invalidated_4_4() {
        for reference in [
            "http://example.org/x",
            "https://example.com/x",
            "http://example.com:81/x",
            "//x/y",
            "ftp://example.com/x",
        ] {
            check(reference, "");
        }
    }

    #[test]
    fn both_fields_are_used_and_nothing_twice_4_4() {
        let found = keys("PUT", 200, "location: /x\ncontent-location: /y");
        assert_eq!(found, ["http://example.com/a/b?c", "http://example.com/x", "http://example.com/y"]);
        assert_eq!(keys("PUT", 200, "location: /a/b?c\ncontent-location: b?c").len(), 1);
    }

    proptest! {
        #[test]
        fn any_reference_stays_at_the_origin(reference in "[ -~]{0,24}") {
            for key in keys("POST", 200, &format!("location: {reference}")) {
                prop_assert!(key.starts_with("http://example.com/"));
            }
        }
    }
}
