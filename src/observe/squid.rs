//! A line of the access log in Squid's native format, as Squid 5 writes it, which calamaris, goaccess, sarg and others
//! read: `time elapsed client code/status bytes method URL user hierarchy/peer type`. It only writes text; where the text
//! goes is `log`'s affair.

use std::fmt::{self, Write as _};
use std::time::UNIX_EPOCH;

use super::event::{cut_short, media_type};
use super::url::Urls;
use crate::exchange::{CacheStatus, Cut, Details, Forwarded, Record};
use crate::text::is_hidden;

/// Appends the line for `record`, with its line feed. Time is that of the line, in seconds since 1970 with three
/// decimals; elapsed is milliseconds; bytes are those of the response, head included, or of a tunnel.
pub(crate) fn native(line: &mut String, record: &Record, details: &Details, urls: &Urls) {
    let duration = record.duration();
    let at = record.at.duration_since(UNIX_EPOCH).unwrap_or_default() + duration;
    let status = details.status.map_or(0, |status| status.as_u16());
    let _ = write!(
        line,
        "{}.{:03} {:>6} {} {}{}/{status:03} {} ",
        at.as_secs(),
        at.subsec_millis(),
        duration.as_millis(),
        record.client,
        result(details, status),
        if is_aborted(details) { "_ABORTED" } else { "" },
        record.client_bytes(),
    );
    if details.nothing_asked {
        line.push_str("- error:accept-client-connection ");
    } else {
        let url = urls.written(&record.target);
        let _ = write!(line, "{} {} ", record.method, NoSpace(shortened(&url, LONGEST_URL)));
    }
    match details.user.as_deref() {
        Some(user) if !user.is_empty() => _ = write!(line, "{}", Escaped(user)),
        _ => line.push('-'),
    }
    match details.peer {
        Some(peer) if peer.is_parent => _ = write!(line, " FIRSTUP_PARENT/{}", peer.address.ip()),
        Some(peer) => _ = write!(line, " HIER_DIRECT/{}", peer.address.ip()),
        None => line.push_str(" HIER_NONE/-"),
    }
    // Squid's own reading of the field: up to a semicolon or white space.
    let media_type = media_type(details).and_then(|text| text.split([';', ' ', '\t']).next());
    let _ = writeln!(line, " {}", NoSpace(media_type.filter(|text| !text.is_empty()).unwrap_or("-")));
}

/// What Squid has room for (its MAX_URL), which its readers count on. Bytes.
const LONGEST_URL: usize = 8191;

/// As much of `text` as fits into `most` bytes.
pub(super) fn shortened(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

/// Squid marks what its client left before the end, or whoever looks after it has ended; not what an origin broke off.
fn is_aborted(details: &Details) -> bool {
    matches!(cut_short(details), Some(Cut::Client | Cut::Operator)) && !is_tunnel(details)
}

/// A tunnel has no end of its own that one could leave before.
fn is_tunnel(details: &Details) -> bool {
    details.cache == CacheStatus::Tunnel && details.status.is_some()
}

/// Squid's result code for what the cache did.
fn result(details: &Details, status: u16) -> &'static str {
    match &details.cache {
        CacheStatus::Hit if status == 304 && details.by_tag => "TCP_INM_HIT",
        CacheStatus::Hit if status == 304 => "TCP_IMS_HIT",
        CacheStatus::Hit if details.in_memory => "TCP_MEM_HIT",
        CacheStatus::Hit => "TCP_HIT",
        CacheStatus::Tunnel if details.error.is_none() => "TCP_TUNNEL",
        CacheStatus::Forwarded(forwarded) => forwarded_result(forwarded, details.error.is_some()),
        CacheStatus::Unasked | CacheStatus::Tunnel | CacheStatus::Intercepted => match status {
            403 | 407 | 429 => "TCP_DENIED",
            // A stored response was asked for, or none (only-if-cached).
            504 if details.cache == CacheStatus::Unasked => "TCP_MISS",
            _ => "NONE_NONE",
        },
    }
}

fn forwarded_result(forwarded: &Forwarded, is_failed: bool) -> &'static str {
    let validated = forwarded.status.map(|status| status.as_u16());
    match (forwarded.reason, validated) {
        ("stale", Some(304)) => "TCP_REFRESH_UNMODIFIED",
        ("stale", _) if is_failed => "TCP_REFRESH_FAIL_ERR",
        ("stale", _) if forwarded.detail.is_some() || validated.is_some() => "TCP_REFRESH_FAIL_OLD",
        ("stale", _) => "TCP_REFRESH_MODIFIED",
        ("request", _) => "TCP_CLIENT_REFRESH_MISS",
        _ => "TCP_MISS",
    }
}

/// Text of a peer, with everything that would end the field or the line percent-encoded.
pub(super) struct NoSpace<'a>(pub(super) &'a str);

impl fmt::Display for NoSpace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        encode(self.0, f, |character| character.is_whitespace() || is_hidden(character))
    }
}

/// A user's name as Squid writes it (its `rfc1738_escape`): what RFC 1738 §2.2 calls unsafe, and what is no visible
/// ASCII, percent-encoded.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        encode(self.0, f, |character| !character.is_ascii_graphic() || UNSAFE.contains(character))
    }
}

const UNSAFE: &str = "<>\"#%{}|\\^~[]`'";

fn encode(text: &str, f: &mut fmt::Formatter<'_>, encoded: impl Fn(char) -> bool) -> fmt::Result {
    for character in text.chars() {
        if encoded(character) {
            for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                write!(f, "%{byte:02X}")?;
            }
        } else {
            f.write_char(character)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, StatusCode};

    use super::*;
    use crate::config::QueryLog;
    use crate::exchange::Peer;
    use crate::observe::line::tests::{ended, ended_at};

    fn check(cache: CacheStatus, status: u16, expected: &str) {
        let details = Details { cache, ..Details::default() };
        assert_eq!(result(&details, status), expected);
    }

    #[test]
    fn result_codes_are_squids() {
        check(CacheStatus::Hit, 200, "TCP_HIT");
        check(CacheStatus::Hit, 304, "TCP_IMS_HIT");
        check(CacheStatus::Tunnel, 200, "TCP_TUNNEL");
        check(CacheStatus::Unasked, 403, "TCP_DENIED");
        check(CacheStatus::Unasked, 400, "NONE_NONE");
        check(CacheStatus::Unasked, 504, "TCP_MISS");
        check(CacheStatus::Forwarded(Forwarded::new("uri-miss")), 200, "TCP_MISS");
        let validated = Forwarded { status: Some(StatusCode::NOT_MODIFIED), ..Forwarded::new("stale") };
        check(CacheStatus::Forwarded(validated), 200, "TCP_REFRESH_UNMODIFIED");
        check(CacheStatus::Forwarded(Forwarded::new("stale")), 200, "TCP_REFRESH_MODIFIED");
        let failed = Details {
            cache: CacheStatus::Forwarded(Forwarded::new("stale")),
            error: Some("connection_refused"),
            ..Details::default()
        };
        assert_eq!(result(&failed, 502), "TCP_REFRESH_FAIL_ERR");
        let tagged = Details { cache: CacheStatus::Hit, by_tag: true, in_memory: true, ..Details::default() };
        assert_eq!((result(&tagged, 304), result(&tagged, 200)), ("TCP_INM_HIT", "TCP_MEM_HIT"));
    }

    /// The fields of a line behind the time.
    #[track_caller]
    fn line_of(target: &'static str, details: Details, expected: &str) {
        let mut line = String::new();
        let exchange = ended("GET", target, details);
        exchange.with(|details| native(&mut line, exchange.record(), details, &Urls::new(QueryLog::Keep)));
        let fields: Vec<_> = line.split_whitespace().skip(2).collect();
        assert_eq!(fields.join(" "), expected);
        assert!(line.ends_with('\n') && line.matches('\n').count() == 1 && fields.len() == 8, "{line}");
    }

    #[test]
    fn lines_have_the_fields_of_squid() {
        let ok = || Details { status: Some(StatusCode::OK), ..Details::default() };
        let miss = CacheStatus::Forwarded(Forwarded::new("uri-miss"));
        let address = ([192, 0, 2, 7], 443).into();
        let direct = Details {
            cache: miss.clone(),
            peer: Some(Peer { address, is_parent: false }),
            media_type: Some(HeaderValue::from_static("Text/HTML; charset=utf-8")),
            user: Some("ann b~".into()),
            ..ok()
        };
        let written = "127.0.0.1 TCP_MISS/200 0 GET http://a.example/b?c=%20d ann%20b%7E HIER_DIRECT/192.0.2.7 Text/HTML";
        line_of("http://a.example/b?c=%20d", direct, written);
        let parent = Details { cache: miss.clone(), peer: Some(Peer { address, is_parent: true }), ..ok() };
        line_of("http://a/", parent, "127.0.0.1 TCP_MISS/200 0 GET http://a/ - FIRSTUP_PARENT/192.0.2.7 -");
        let left = Details { cache: miss.clone(), ..Details::default() };
        line_of("http://a/", left, "127.0.0.1 TCP_MISS_ABORTED/000 0 GET http://a/ - HIER_NONE/- -");
        let cut = Details { cache: miss, cut_short: Some(Cut::Origin), ..ok() };
        line_of("http://a/", cut, "127.0.0.1 TCP_MISS/200 0 GET http://a/ - HIER_NONE/- -");
        let empty =
            Details { media_type: Some(HeaderValue::from_static(";")), user: Some("".into()), ..ok() };
        line_of("http://a/", empty, "127.0.0.1 NONE_NONE/200 0 GET http://a/ - HIER_NONE/- -");
        let denied = Details {
            status: Some(StatusCode::TOO_MANY_REQUESTS),
            nothing_asked: true,
            ..Details::default()
        };
        let refused = "127.0.0.1 TCP_DENIED/429 0 - error:accept-client-connection - HIER_NONE/- -";
        line_of("/", denied, refused);
    }

    #[test]
    fn the_time_is_that_of_squid() {
        let (mut line, details) = (String::new(), Details::default());
        let at = UNIX_EPOCH + std::time::Duration::from_millis(1_767_225_600_007);
        let exchange = ended_at(at, "GET", "http://a/", details);
        exchange.with(|details| native(&mut line, exchange.record(), details, &Urls::new(QueryLog::Keep)));
        assert!(line.starts_with("1767225600.0"), "{line}");
        // Milliseconds to the right of six places, behind a space.
        assert_eq!(line.get(14..20), Some("      "), "{line}");
    }

    #[test]
    fn nothing_a_peer_wrote_breaks_a_line() {
        assert_eq!(NoSpace("a b\nc\u{85}").to_string(), "a%20b%0Ac%C2%85");
        assert_eq!(NoSpace("a\u{9b}\u{202e}\u{e4}").to_string(), "a%C2%9B%E2%80%AE\u{e4}");
        assert_eq!(Escaped("a%[\u{e4}\n").to_string(), "a%25%5B%C3%A4%0A");
        assert_eq!(
            (shortened("a\u{e4}b", 2), shortened("a\u{e4}b", 3), shortened("", 3)),
            ("a", "a\u{e4}", "")
        );
    }
}
