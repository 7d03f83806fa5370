//! A line of the access log in Apache's Common Log Format, `client - user [time] "request" status bytes`, or in its
//! Combined one, which adds Referer and User-Agent. It only writes text; where the text goes is `log`'s affair.

use std::fmt::{self, Write as _};
use std::time::SystemTime;

use http::HeaderValue;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::squid::{Escaped, shortened};
use super::url::Urls;
use crate::exchange::{Details, Record};

/// Appends the line for `record`, with its line feed and, if `combined`, what its client told of itself. Time is when the
/// request came, in `zone`; bytes are those of the response's content, or of a tunnel.
pub(crate) fn line(
    line: &mut String,
    record: &Record,
    details: &Details,
    urls: &Urls,
    zone: &TimeZone,
    combined: bool,
) {
    let _ = write!(line, "{} - ", record.client);
    match details.user.as_deref() {
        Some(user) if !user.is_empty() => _ = write!(line, "{}", Escaped(user)),
        _ => line.push('-'),
    }
    let _ = write!(line, " [{}] ", time(record.at, zone));
    if details.nothing_asked {
        line.push_str("\"-\"");
    } else {
        let url = urls.written(&record.target);
        let url = Quoted(shortened(&url, LONGEST).as_bytes());
        let _ = write!(line, "\"{} {url} {:?}\"", record.method, record.version);
    }
    // A client that left before it had an answer has the status by which readers of this format know that.
    let status = details.status.map_or(CLIENT_LEFT, |status| status.as_u16());
    let _ = write!(line, " {status} ");
    match record.client_bytes().saturating_sub(details.head_bytes) {
        0 => line.push('-'),
        bytes => _ = write!(line, "{bytes}"),
    }
    if combined {
        let told = details.told.as_deref();
        // Where somebody came from is a URL, too, and is told as far as others are.
        let referer =
            told.and_then(|told| told.referer.as_ref()).map(|value| urls.referred(value.as_bytes()));
        let user_agent = told.and_then(|told| told.user_agent.as_ref()).map(HeaderValue::as_bytes);
        let _ = write!(line, " \"{}\" \"{}\"", field(referer.as_deref()), field(user_agent));
    }
    line.push('\n');
}

/// The status of nginx for a client that left.
const CLIENT_LEFT: u16 = 499;

/// What is written of a URL or a field of the client. Bytes.
const LONGEST: usize = 8191;

fn field(value: Option<&[u8]>) -> Quoted<'_> {
    let bytes = value.filter(|bytes| !bytes.is_empty()).unwrap_or(b"-");
    Quoted(bytes.get(..LONGEST).unwrap_or(bytes))
}

/// `at` as Apache writes it: `10/Oct/2000:13:55:36 -0700`.
fn time(at: SystemTime, zone: &TimeZone) -> impl fmt::Display {
    let at = Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH);
    at.to_zoned(zone.clone()).strftime("%d/%b/%Y:%H:%M:%S %z").to_string()
}

/// Text between quotation marks, with everything in it that is no visible ASCII, or would end it, escaped as Apache does.
struct Quoted<'a>(&'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            match byte {
                b'"' | b'\\' => write!(f, "\\{}", char::from(*byte))?,
                b'\t' => f.write_str("\\t")?,
                b' '..=b'~' => f.write_char(char::from(*byte))?,
                byte => write!(f, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use http::StatusCode;

    use super::*;
    use crate::config::QueryLog;
    use crate::exchange::{Details, Told};
    use crate::observe::line::tests::ended_at;

    #[track_caller]
    fn check(method: &str, target: &'static str, details: Details, sent: u64, expected: &str) {
        let mut written = String::new();
        let zone = TimeZone::fixed(jiff::tz::offset(-7));
        let exchange = ended_at(UNIX_EPOCH + Duration::from_secs(971_211_336), method, target, details);
        exchange.sent(sent);
        exchange.with(|details| {
            line(&mut written, exchange.record(), details, &Urls::new(QueryLog::Keep), &zone, true);
        });
        assert_eq!(written, format!("127.0.0.1 - {expected}\n"));
    }

    #[test]
    fn lines_are_apaches() {
        let ok = || Details { status: Some(StatusCode::OK), head_bytes: 100, ..Details::default() };
        let time = "[10/Oct/2000:13:55:36 -0700]";
        let user = Details { user: Some("ann b".into()), ..ok() };
        check(
            "GET",
            "http://a/b",
            user,
            102,
            &format!("ann%20b {time} \"GET http://a/b HTTP/1.1\" 200 2 \"-\" \"-\""),
        );
        check(
            "CONNECT",
            "a:443",
            ok(),
            100,
            &format!("- {time} \"CONNECT a:443 HTTP/1.1\" 200 - \"-\" \"-\""),
        );
        let left = Details::default();
        check("GET", "http://a/", left, 0, &format!("- {time} \"GET http://a/ HTTP/1.1\" 499 - \"-\" \"-\""));
        let refused =
            Details { nothing_asked: true, status: Some(StatusCode::FORBIDDEN), ..Details::default() };
        check("GET", "/", refused, 0, &format!("- {time} \"-\" 403 - \"-\" \"-\""));
    }

    #[test]
    fn what_a_client_tells_stays_in_its_quotation_marks() {
        let told = Told {
            referer: HeaderValue::from_bytes(b"a\"b\\c\td\xff").ok(),
            user_agent: Some(HeaderValue::from_static("Mozilla/5.0 (X11) \" 200 5")),
        };
        let details =
            Details { status: Some(StatusCode::OK), told: Some(Box::new(told)), ..Details::default() };
        let told = r#""a\"b\\c\td\xff" "Mozilla/5.0 (X11) \" 200 5""#;
        let time = "[10/Oct/2000:13:55:36 -0700]";
        check("GET", "http://a/", details, 7, &format!("- {time} \"GET http://a/ HTTP/1.1\" 200 7 {told}"));
    }
}
