//! A line of the access log: in Squid's native format, which existing tools read, or as one JSON object. It only
//! writes text; where the text goes is `log`'s affair.

use std::fmt::{self, Write as _};
use std::time::UNIX_EPOCH;

use super::event::{cut_short, event, media_type};
use super::url::Urls;
use crate::exchange::{CacheStatus, Details, Forwarded, Record};

/// Appends the line of Squid's native format for `record`, with its line feed:
/// `time elapsed client code/status bytes method URL user hierarchy/peer type`. Time is that of the line, in seconds
/// since 1970 with three decimals; elapsed is milliseconds; bytes are those of the response, head included, or of a tunnel.
pub(crate) fn native(line: &mut String, record: &Record, urls: &Urls) {
    let details = record.details();
    let duration = record.duration();
    let at = record.at.duration_since(UNIX_EPOCH).unwrap_or_default() + duration;
    let status = details.status.map_or(0, |status| status.as_u16());
    let cut_short = cut_short(&details).is_some();
    let _ = write!(
        line,
        "{}.{:03} {:>6} {} {}{}/{status:03} {} {} {} ",
        at.as_secs(),
        at.subsec_millis(),
        duration.as_millis(),
        record.client,
        result(&details, status),
        if cut_short { "_ABORTED" } else { "" },
        record.client_bytes(),
        record.method,
        NoSpace(&urls.written(&record.target)),
    );
    let user = details.user.as_deref().unwrap_or("-");
    let media_type = media_type(&details).unwrap_or("-");
    // A field of this format ends at the next space.
    let media_type = media_type.split([';', ' ']).next().unwrap_or("-");
    let _ = match details.peer {
        Some(peer) => writeln!(line, "{} HIER_DIRECT/{} {}", NoSpace(user), peer.ip(), NoSpace(media_type)),
        None => writeln!(line, "{} HIER_NONE/- {}", NoSpace(user), NoSpace(media_type)),
    };
}

/// Squid's result code for what the cache did.
fn result(details: &Details, status: u16) -> &'static str {
    match &details.cache {
        CacheStatus::Hit if status == 304 => "TCP_IMS_HIT",
        CacheStatus::Hit => "TCP_HIT",
        CacheStatus::Tunnel if details.error.is_none() => "TCP_TUNNEL",
        CacheStatus::Forwarded(forwarded) => forwarded_result(forwarded, details.error.is_some()),
        CacheStatus::Unasked | CacheStatus::Tunnel | CacheStatus::Intercepted => match status {
            403 | 407 | 429 => "TCP_DENIED",
            _ => "NONE",
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

/// Text of a peer or user, with everything that would end the field or the line percent-encoded.
struct NoSpace<'a>(&'a str);

impl fmt::Display for NoSpace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if character.is_whitespace() || character.is_control() {
                let mut bytes = [0; 4];
                for byte in character.encode_utf8(&mut bytes).bytes() {
                    write!(f, "%{byte:02X}")?;
                }
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// Appends `record` as one JSON object, with its line feed.
pub(crate) fn json(line: &mut String, record: &Record, urls: &Urls) {
    let _ = writeln!(line, "{}", event(record, urls));
}

#[cfg(test)]
mod tests {
    use super::*;

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
        check(CacheStatus::Unasked, 400, "NONE");
        check(CacheStatus::Forwarded(Forwarded::new("uri-miss")), 200, "TCP_MISS");
        let validated = Forwarded { status: Some(http::StatusCode::NOT_MODIFIED), ..Forwarded::new("stale") };
        check(CacheStatus::Forwarded(validated), 200, "TCP_REFRESH_UNMODIFIED");
        check(CacheStatus::Forwarded(Forwarded::new("stale")), 200, "TCP_REFRESH_MODIFIED");
        let failed = Details {
            cache: CacheStatus::Forwarded(Forwarded::new("stale")),
            error: Some("connection_refused"),
            ..Details::default()
        };
        assert_eq!(result(&failed, 502), "TCP_REFRESH_FAIL_ERR");
    }

    #[test]
    fn nothing_a_peer_wrote_breaks_a_line() {
        assert_eq!(NoSpace("a b\nc\u{85}").to_string(), "a%20b%0Ac%C2%85");
    }
}
