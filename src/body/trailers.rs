//! Which fields may come behind content. "Many fields cannot be processed outside the header section because their
//! evaluation is necessary prior to receiving the content, such as those that describe message framing, routing,
//! authentication, request modifiers, response controls, or content format" (RFC 9110 §6.5.1). Which of the others the
//! next hop wants is hyper's: those that Trailer names, to a client that sent `TE: trailers`.

use http::{HeaderMap, HeaderName, header};

use super::BodyError;

/// The fields among `trailers` that are harmless behind content, in their order.
///
/// # Errors
/// `BodyError::Trailers` where there is none at all: the parser took bytes for trailers that hold no field line, such as
/// a lone LF and what comes behind it, which another recipient reads as the next message.
pub(super) fn checked(trailers: HeaderMap) -> Result<HeaderMap, BodyError> {
    if trailers.is_empty() {
        return Err(BodyError::Trailers);
    }
    if !trailers.keys().any(is_misplaced) {
        return Ok(trailers);
    }
    let mut current = None;
    let mut checked = HeaderMap::new();
    for (name, value) in trailers {
        current = name.or(current);
        if let Some(name) = current.as_ref().filter(|name| !is_misplaced(name)) {
            checked.append(name, value);
        }
    }
    Ok(checked)
}

fn is_misplaced(name: &HeaderName) -> bool {
    MISPLACED.contains(name)
        || name.as_str().starts_with("proxy-")
        || name.as_str().starts_with("x-forwarded-")
}

/// Fields that would say something else to whoever merges trailers into the header section.
static MISPLACED: [HeaderName; 43] = [
    // Framing, and what belongs to one connection.
    header::CONNECTION,
    header::CONTENT_LENGTH,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    // Routing.
    header::FORWARDED,
    header::HOST,
    header::VIA,
    // Authentication and identity.
    header::AUTHORIZATION,
    header::COOKIE,
    header::SET_COOKIE,
    header::WWW_AUTHENTICATE,
    HeaderName::from_static("authentication-info"),
    header::STRICT_TRANSPORT_SECURITY,
    // Modifiers of a request.
    header::EXPECT,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::MAX_FORWARDS,
    header::ORIGIN,
    header::PRAGMA,
    header::RANGE,
    // Controls of a response, and of its cache.
    header::AGE,
    header::CACHE_CONTROL,
    HeaderName::from_static("cdn-cache-control"),
    header::DATE,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::LOCATION,
    header::RETRY_AFTER,
    header::VARY,
    header::WARNING,
    // The content's format.
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LOCATION,
    header::CONTENT_RANGE,
    header::CONTENT_SECURITY_POLICY,
    header::CONTENT_TYPE,
];

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(names: &[&'static str], kept: &[&str]) {
        let trailers: HeaderMap =
            names.iter().map(|name| (HeaderName::from_static(name), HeaderValue::from_static("x"))).collect();
        let checked = checked(trailers).expect("trailers");
        let found: Vec<_> = checked.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(found, kept, "{names:?}");
    }

    #[test]
    fn only_what_needs_no_header_section_may_come_behind_content_6_5_1() {
        check(&["x-sum", "etag", "server-timing"], &["x-sum", "etag", "server-timing"]);
        check(&["content-length", "x-sum", "transfer-encoding", "host"], &["x-sum"]);
        check(&["authorization", "set-cookie", "proxy-authorization", "x-forwarded-for"], &[]);
        check(&["connection", "keep-alive", "upgrade", "via", "cache-control", "digest"], &["digest"]);
    }

    #[test]
    fn trailers_without_a_field_are_no_trailers() {
        assert!(matches!(super::checked(HeaderMap::new()), Err(BodyError::Trailers)));
    }
}
