//! Where the content of an origin's response ends (RFC 9112 §6.3), as far as hyper does not see to it: it decodes what
//! ends in chunked and passes over the codings below it, and takes whatever else Transfer-Encoding says for content that
//! ends with the connection. Lengths that contradict each other are an error there already.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};

/// How the connection goes on behind a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// It may carry another.
    Clear,
    /// Other recipients may see the end of the content elsewhere, so nothing behind it is to be believed.
    Doubtful,
}

/// Judges the head of a response; none where its content would not be what the origin means.
pub(super) fn framing(status: StatusCode, headers: &HeaderMap) -> Option<Framing> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Some(Framing::Clear) };
    if status == StatusCode::NO_CONTENT {
        // "A server MUST NOT send a Transfer-Encoding header field in any response with a status code of 1xx
        // (Informational) or 204 (No Content)" (RFC 9112 §6.1): whoever does may send content, too.
        return Some(Framing::Doubtful);
    }
    // "A sender MUST NOT apply the chunked transfer coding more than once to a message body" (§6.1), and our TE lists no
    // other coding. Content that went on with one of them would be taken for what it encodes.
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return None;
    }
    // "If a message is received with both a Transfer-Encoding and a Content-Length header field, the Transfer-Encoding
    // overrides the Content-Length. Such a message might indicate an attempt to perform request smuggling (Section 11.2)
    // or response splitting (Section 11.1) and ought to be handled as an error" (§6.3).
    Some(if headers.contains_key(CONTENT_LENGTH) { Framing::Doubtful } else { Framing::Clear })
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[track_caller]
    fn check(status: u16, fields: &[(&'static str, &'static str)], expected: Option<Framing>) {
        let headers: HeaderMap = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let status = StatusCode::from_u16(status).expect("a status");
        assert_eq!(framing(status, &headers), expected, "{status} {fields:?}");
    }

    #[test]
    fn chunked_is_the_one_transfer_coding_6_1() {
        check(200, &[], Some(Framing::Clear));
        check(200, &[("content-length", "5")], Some(Framing::Clear));
        check(200, &[("transfer-encoding", "Chunked")], Some(Framing::Clear));
        check(200, &[("transfer-encoding", "chunked"), ("content-length", "5")], Some(Framing::Doubtful));
        check(204, &[("transfer-encoding", "chunked")], Some(Framing::Doubtful));
        for coding in ["gzip", "gzip, chunked", "chunked, chunked", "identity", "chunked;x", ""] {
            check(200, &[("transfer-encoding", coding)], None);
        }
        check(200, &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], None);
    }
}
