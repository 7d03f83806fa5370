//! What belongs to one connection and is not passed on, and the trace a proxy leaves (RFC 9110 §7.6).
//!
//! Owns the removal of hop-by-hop fields, the writing of Via and the detection of loops by it. Upgrades and trailers
//! are not handled here: Trailer is passed on, TE is not.

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING, VIA};
use http::{Version, header};

use crate::fields::{self, Named};

/// Whether a field belongs to one connection whether or not Connection names it. The three of proxy authentication are
/// between the client and its next proxy (RFC 9110 §11.7), which is us.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authentication-info"
            | "http2-settings"
    )
}

/// Fields that stay even where Connection names them.
///
/// RFC 9110 §7.6.1: "A sender MUST NOT send a connection option corresponding to a field that is intended for all
/// recipients of the content. For example, Cache-Control is never appropriate as a connection option". A peer that
/// names one of these is mistaken, or wants the next hop to see another message than we do: another target, another
/// length, another identity, or one that may be cached where the true one may not.
static NEVER_HOP_BY_HOP: [HeaderName; 28] = [
    header::AGE,
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_LOCATION,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::DATE,
    header::ETAG,
    header::EXPIRES,
    header::FORWARDED,
    header::HOST,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::LAST_MODIFIED,
    header::LOCATION,
    header::PRAGMA,
    header::RANGE,
    header::SET_COOKIE,
    header::VARY,
    VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
];

/// Removes the fields that belong to one connection; the order and the duplicates of all others are kept.
///
/// Nothing is copied where nothing is to be removed.
pub fn end_to_end(headers: HeaderMap) -> HeaderMap {
    let hop_by_hop = HopByHop::of(&headers);
    if headers.keys().all(|name| !hop_by_hop.contains(name)) {
        return headers;
    }
    fields::retain(&headers, |name| !hop_by_hop.contains(name))
}

/// The fields that [`end_to_end`] keeps, in their order.
pub fn end_to_end_fields(headers: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    let hop_by_hop = HopByHop::of(headers);
    headers.iter().filter(move |(name, _)| !hop_by_hop.contains(name))
}

/// Which fields of one message are for one connection only.
pub(crate) struct HopByHop {
    named: Named,
    overrides_length: bool,
}

impl HopByHop {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        // RFC 9110 §7.6.1: "Intermediaries MUST parse a received Connection header field before a message is forwarded
        // and, for each connection-option in this field, remove any header or trailer field(s) from the message with
        // the same name as the connection-option".
        let named = Named::among(headers, fields::members(headers, &CONNECTION));
        Self { named, overrides_length: headers.contains_key(TRANSFER_ENCODING) }
    }

    pub(crate) fn contains(&self, name: &HeaderName) -> bool {
        // RFC 9112 §6.3: "An intermediary that chooses to forward the message MUST first remove the received
        // Content-Length field and process the Transfer-Encoding".
        if *name == CONTENT_LENGTH {
            return self.overrides_length;
        }
        is_hop_by_hop(name) || (self.named.contains(name) && !NEVER_HOP_BY_HOP.contains(name))
    }
}

/// What a proxy says of itself in Via, made once for all messages.
///
/// RFC 9110 §7.6.3: "A proxy MUST send an appropriate Via header field […] in each message that it forwards."
#[derive(Clone, Debug)]
pub struct Via {
    pseudonym: Box<str>,
    /// Its line behind a message of each of [`VERSIONS`].
    lines: [Option<HeaderValue>; VERSIONS.len()],
}

/// Versions as Via has them. "HTTP/2" has no minor version (RFC 9113 §3.1, RFC 9110 §7.6.3).
const VERSIONS: [(Version, &str); 5] = [
    (Version::HTTP_11, "1.1"),
    (Version::HTTP_2, "2"),
    (Version::HTTP_10, "1.0"),
    (Version::HTTP_3, "3"),
    (Version::HTTP_09, "0.9"),
];

impl Via {
    /// Of a proxy of this `pseudonym`; one that cannot stand in a field is left out.
    pub fn new(pseudonym: &str) -> Self {
        let line =
            |(_, version): (Version, &str)| HeaderValue::try_from(format!("{version} {pseudonym}")).ok();
        Self { pseudonym: pseudonym.into(), lines: VERSIONS.map(line) }
    }

    /// Appends the proxy to the Via of a message that was received in this `version`.
    pub fn append(&self, headers: &mut HeaderMap, version: Version) {
        let lines = VERSIONS.iter().zip(&self.lines);
        let line = lines.filter(|((of, _), _)| *of == version).find_map(|(_, line)| line.clone());
        if let Some(line) = line {
            fields::append(headers, VIA, line);
        }
    }

    /// Whether Via says that a message came through this proxy before: a loop.
    ///
    /// Comments may hold commas and quotes; here every comma separates, so that nothing in a comment can hide a member.
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        let mut members =
            headers.get_all(VIA).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        members.any(|member| {
            let mut words = member.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
            words
                .nth(1)
                .is_some_and(|received_by| received_by.eq_ignore_ascii_case(self.pseudonym.as_bytes()))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::headers;

    fn text(headers: &HeaderMap) -> String {
        headers.iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap_or("?"))).collect()
    }

    #[track_caller]
    fn check(before: &str, after: &str) {
        assert_eq!(text(&end_to_end(headers(before))), text(&headers(after)), "{before}");
    }

    #[test]
    fn connection_and_what_it_names_are_removed_7_6_1() {
        check("a: 1\nconnection: close, B\nb: 2\nc: 3", "a: 1\nc: 3");
        check("connection: b\nconnection: c\na: 1\nb: 2\nc: 3", "a: 1");
        check("keep-alive: 1\nproxy-connection: x\nte: trailers\nupgrade: h2c\ntrailer: t", "trailer: t");
        check("transfer-encoding: chunked\na: 1", "a: 1");
    }

    #[test]
    fn proxy_authentication_is_for_us_11_7() {
        check(
            "proxy-authorization: x\nproxy-authenticate: y\nproxy-authentication-info: z\nauthorization: w",
            "authorization: w",
        );
    }

    #[test]
    fn order_and_duplicates_are_kept() {
        check("a: 1\nconnection: x\nb: 2\na: 3\nx: 1\nb: 4\nc: 5", "a: 1\nb: 2\na: 3\nb: 4\nc: 5");
    }

    #[test]
    fn fields_for_all_recipients_cannot_be_named_away_7_6_1() {
        check(
            "connection: host, cache-control, Content-Length, cookie, x\nhost: h\ncache-control: no-store\ncontent-length: 3\ncookie: c\nx: 1",
            "host: h\ncache-control: no-store\ncontent-length: 3\ncookie: c",
        );
    }

    #[test]
    fn transfer_encoding_overrides_content_length_rfc9112_6_3() {
        check("content-length: 3\ntransfer-encoding: chunked\na: 1", "a: 1");
        check("content-length: 3\na: 1", "content-length: 3\na: 1");
    }

    #[test]
    fn via_is_appended_after_what_is_there_7_6_3() {
        let mut forwarded = headers("via: 1.0 fred");
        Via::new("bentpipe").append(&mut forwarded, Version::HTTP_11);
        Via::new("other").append(&mut forwarded, Version::HTTP_2);
        assert_eq!(text(&forwarded), "via: 1.0 fred\nvia: 1.1 bentpipe\nvia: 2 other\n");
        Via::new("b\nd").append(&mut forwarded, Version::HTTP_11);
        assert_eq!(forwarded.len(), 3);
    }

    #[test]
    fn a_loop_shows_in_via_7_6_3() {
        for (via, found) in [
            ("1.1 bentpipe", true),
            ("1.0 fred, HTTP/1.1  BentPipe (comment)", true),
            ("1.1 fred (a \" b), 1.1 bentpipe (\")", true),
            ("1.1 bentpipe2", false),
            ("1.1 fred (bentpipe)", false),
            ("bentpipe", false),
            ("", false),
        ] {
            assert_eq!(Via::new("bentpipe").is_in(&headers(&format!("via: {via}"))), found, "{via}");
        }
    }

    proptest! {
        #[test]
        fn exactly_the_hop_by_hop_fields_are_removed(
            fields in prop::collection::vec(("a|b|c|host|te|upgrade|connection|keep-alive|vary", "a|b|vary|host|x"), 0..12),
        ) {
            let all: String = fields.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
            let named = |name: &str| {
                let is_named = fields.iter().any(|(connection, value)| connection == "connection" && value == name);
                is_named && name != "vary" && name != "host"
            };
            let gone = |name: &str| ["te", "upgrade", "connection", "keep-alive"].contains(&name) || named(name);
            let kept: String = fields
                .iter()
                .filter(|(name, _)| !gone(name))
                .map(|(name, value)| format!("{name}: {value}\n"))
                .collect();
            prop_assert_eq!(text(&end_to_end(headers(&all))), text(&headers(&kept)));
        }
    }
}
