//! A workload from a HAR file (HTTP Archive 1.2), as browsers save it: what one client asked for, when, and how much.
//!
//! Owns how the fields are read. A request begins as long after the first as it was recorded to, waits for one of six
//! connections to its host, and its origin takes as long to answer as was recorded. What came from the browser's own
//! cache, or never left it, is left out. Requests of HTTP/2 and HTTP/3 are taken for ones of HTTP/1.1.

use std::time::Duration;

use linkio::sim::{Begin, Greeting, Transaction};
use linkio::{ClientKey, Moment, Standing};
use serde::Deserialize;

use super::measure::count;
use super::workload::{Known, Plan};

/// Connections to one host that a browser uses at once.
const CONNECTIONS: usize = 6;
/// What TLS 1.3 says before the first request: a ClientHello, and the server's part with two certificates. Chosen.
const TLS: Greeting = Greeting { up: 600, down: 4000 };
/// The sizes of heads where neither their size nor their fields are known. Chosen.
const REQUEST_HEAD: u64 = 500;
const RESPONSE_HEAD: u64 = 300;
/// Longer names are cut.
const NAME: usize = 80;

#[derive(Deserialize)]
struct Archive {
    log: Log,
}

#[derive(Deserialize)]
struct Log {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    started_date_time: String,
    request: Request,
    response: Response,
    #[serde(default)]
    timings: Timings,
    /// Where a Chromium had it from, if not from the network.
    #[serde(rename = "_fromCache")]
    from_cache: Option<serde_json::Value>,
    #[serde(rename = "_fetchedViaServiceWorker", default)]
    by_worker: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    method: String,
    url: String,
    #[serde(flatten)]
    message: Message,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    #[serde(default)]
    status: i64,
    #[serde(default)]
    content: Content,
    /// What a Chromium saw cross, head included.
    #[serde(rename = "_transferSize")]
    transfer_size: Option<f64>,
    #[serde(flatten)]
    message: Message,
}

/// Sizes of a message, in bytes; -1 where they are not known.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    headers_size: Option<f64>,
    body_size: Option<f64>,
    #[serde(default)]
    headers: Vec<Field>,
}

#[derive(Deserialize)]
struct Field {
    #[serde(default)]
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Default, Deserialize)]
struct Content {
    size: Option<f64>,
}

/// Milliseconds; -1 where they do not apply.
#[derive(Default, Deserialize)]
struct Timings {
    wait: Option<f64>,
}

/// Reads a recording.
///
/// # Errors
/// Names the place or the entry (counted from one) that is wrong.
pub(super) fn plan(content: &[u8]) -> Result<Plan, String> {
    let archive: Archive =
        serde_json::from_slice(content).map_err(|error| format!("expected a HAR file: {error}"))?;
    let mut plan = Plan { clients: vec!["browser".to_owned()], ..Plan::default() };
    plan.workload.connections = Some(CONNECTIONS);
    let (mut cached, mut failed, mut asked) = (0, 0, Vec::new());
    for (number, entry) in archive.log.entries.iter().enumerate() {
        match fate(entry) {
            Fate::Cached => cached += 1,
            Fate::Failed => failed += 1,
            Fate::Crossed => {
                let started = instant(&entry.started_date_time).ok_or_else(|| {
                    let text = &entry.started_date_time;
                    format!("entry {}: startedDateTime {text:?}: expected a date such as 2026-11-21T08:15:00.250Z", number + 1)
                })?;
                asked.push((started, entry));
            }
        }
    }
    if asked.is_empty() {
        return Err("there is no entry in it that crossed a network".to_owned());
    }
    let first = asked.iter().map(|(started, _)| *started).min().unwrap_or_default();
    let mut hosts = Known::new();
    for (started, entry) in asked {
        let start = u64::try_from(started - first).unwrap_or(u64::MAX);
        let origin = Origin::of(&entry.request.url);
        let host = Plan::place(&mut plan.hosts, &mut hosts, origin.name);
        plan.push(
            name(entry, &origin),
            transaction(entry, Moment::from_nanos(start), host, origin.is_secure),
        );
    }
    if cached > 0 {
        plan.notes
            .push(format!("{} had from the browser's cache left out.", count(cached, "entry", "entries")));
    }
    if failed > 0 {
        plan.notes
            .push(format!("{} without a response over HTTP left out.", count(failed, "entry", "entries")));
    }
    Ok(plan)
}

enum Fate {
    Crossed,
    Cached,
    Failed,
}

fn fate(entry: &Entry) -> Fate {
    let url = &entry.request.url;
    let has_scheme = ["http://", "https://"]
        .iter()
        .any(|scheme| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
    let empty = entry.response.transfer_size.is_some_and(|size| size == 0.0);
    if entry.from_cache.is_some() || entry.by_worker || (empty && entry.response.status > 0) {
        Fate::Cached
    } else if !has_scheme || entry.response.status <= 0 {
        Fate::Failed
    } else {
        Fate::Crossed
    }
}

fn transaction(entry: &Entry, begin: Moment, host: u32, is_secure: bool) -> Transaction {
    let (request, response) = (&entry.request.message, &entry.response.message);
    let content = || bytes(response.body_size).or_else(|| bytes(entry.response.content.size)).unwrap_or(0);
    let wait = entry.timings.wait.filter(|wait| *wait > 0.0).unwrap_or(0.0);
    Transaction {
        begin: Begin::At(begin),
        standing: Standing::from(ClientKey(0)),
        host,
        greeting: if is_secure { TLS } else { Greeting::default() },
        up: head(request, REQUEST_HEAD).saturating_add(bytes(request.body_size).unwrap_or(0)),
        wait: Duration::try_from_secs_f64(wait / 1000.0).unwrap_or(Duration::ZERO),
        down: bytes(entry.response.transfer_size)
            .unwrap_or_else(|| head(response, RESPONSE_HEAD).saturating_add(content())),
    }
}

/// The size of a message's head: as recorded, else of its fields and their line ends.
fn head(message: &Message, otherwise: u64) -> u64 {
    let fields = message.headers.iter().map(|field| (field.name.len() + field.value.len() + 4) as u64).sum();
    let guessed = if fields == 0 { otherwise } else { fields };
    bytes(message.headers_size).filter(|size| *size > 0).unwrap_or(guessed)
}

/// A size that is known; at most a petabyte, beyond which no recording is true.
fn bytes(size: Option<f64>) -> Option<u64> {
    size.filter(|size| (0.0..1e15).contains(size)).map(|size| size as u64)
}

fn name(entry: &Entry, origin: &Origin<'_>) -> String {
    let path = if origin.path.is_empty() { "/" } else { origin.path };
    let name = format!("{} {}{path}", entry.request.method, origin.name);
    match name.char_indices().nth(NAME) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name,
    }
}

struct Origin<'a> {
    is_secure: bool,
    /// Scheme, host and port, since connections are of one of each.
    name: &'a str,
    path: &'a str,
}

impl<'a> Origin<'a> {
    fn of(url: &'a str) -> Self {
        let scheme = url.find("://").map_or(0, |at| at + 3);
        let end = url[scheme..].find(['/', '?', '#']).map_or(url.len(), |at| scheme + at);
        let is_secure = url[..scheme].eq_ignore_ascii_case("https://");
        Self { is_secure, name: &url[..end], path: &url[end..] }
    }
}

/// Nanoseconds since 1970 of a date and time as in RFC 3339 §5.6.
fn instant(text: &str) -> Option<i128> {
    let part = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i128>().ok()).flatten()
    };
    let marks = [(4, "-"), (7, "-"), (10, "Tt "), (13, ":"), (16, ":")];
    let marked = |(at, marks): (usize, &str)| text.get(at..=at).is_some_and(|mark| marks.contains(mark));
    if !marks.into_iter().all(marked) {
        return None;
    }
    let (year, month, day) = (part(0..4)?, part(5..7)?, part(8..10)?);
    let (hour, minute, second) = (part(11..13)?, part(14..16)?, part(17..19)?);
    let possible =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    if !possible {
        return None;
    }
    let (fraction, zone) = fraction(&text[19..])?;
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset(zone)?;
    Some(seconds * 1_000_000_000 + fraction)
}

/// The nanoseconds of `.250`, and what stands behind it. Further digits are dropped.
fn fraction(text: &str) -> Option<(i128, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let digits = &rest[..end.min(9)];
    let scale = 10_i128.pow(u32::try_from(9 - digits.len()).ok()?);
    Some((digits.parse::<i128>().ok()? * scale, &rest[end..]))
}

/// The seconds by which a zone such as `+02:00` is ahead; none is taken for `Z`.
fn offset(zone: &str) -> Option<i128> {
    if zone.is_empty() || zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let digits: String = zone.strip_prefix(['+', '-'])?.chars().filter(|c| *c != ':').collect();
    let number = digits.parse::<i128>().ok().filter(|_| digits.len() == 4)?;
    Some(sign * (number / 100 * 3600 + number % 100 * 60))
}

/// Days from 1970-01-01 to a day of the Gregorian calendar, years counted from March.
fn days(year: i128, month: i128, day: i128) -> i128 {
    let year = if month <= 2 { year - 1 } else { year };
    let since_march = (month + 9) % 12;
    let day_of_year = (153 * since_march + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, nanos: Option<i128>) {
        assert_eq!(instant(text), nanos, "{text}");
    }

    #[test]
    fn dates() {
        check("1970-01-01T00:00:00Z", Some(0));
        check("1970-01-02T00:00:00.5Z", Some(86_400_500_000_000));
        check("2000-03-01T00:00:00Z", Some(951_868_800_000_000_000));
        check("2026-11-21T08:15:00.250+02:00", Some(1_795_241_700_250_000_000));
        check("2026-11-21T06:15:00.2500001234Z", Some(1_795_241_700_250_000_123));
        check("2026-11-21T04:15:00.25-0200", Some(1_795_241_700_250_000_000));
        for text in [
            "",
            "2026-11-21",
            "2026-13-21T00:00:00Z",
            "2026-11-21T24:00:00Z",
            "2026-11-21T00:00:00+2",
            "2026-11-21T00:00:00.Z",
            "+026-11-21T00:00:00Z",
            "é026-11-21T00:00:00Z",
        ] {
            check(text, None);
        }
    }

    fn har(entries: &str) -> Result<Plan, String> {
        plan(format!("{{\"log\":{{\"entries\":[{entries}]}}}}").as_bytes())
    }

    fn entry(start: &str, request: &str, response: &str, more: &str) -> String {
        format!(
            r#"{{"startedDateTime":"2026-11-21T08:15:{start}Z","request":{{"method":"GET","url":"http://a.example/x",{request}}},"response":{{"status":200,{response}}},"timings":{{"wait":80}}{more}}}"#
        )
    }

    #[test]
    fn sizes_are_as_recorded_or_estimated() {
        let sizes = |request: &str, response: &str| {
            let plan = har(&entry("00", request, response, "")).unwrap();
            let asked = &plan.workload.transactions[0];
            (asked.up, asked.down)
        };
        let known = r#""headersSize":400,"bodySize":20"#;
        assert_eq!(sizes(known, known), (420, 420));
        assert_eq!(sizes(known, r#""headersSize":-1,"bodySize":-1,"_transferSize":5000"#), (420, 5000));
        let fields = r#""headersSize":-1,"bodySize":-1,"headers":[{"name":"host","value":"a.example"}],"content":{"size":700}"#;
        assert_eq!(sizes(fields, fields), (17, 717));
        assert_eq!(sizes(r#""bodySize":0"#, r#""bodySize":null"#), (REQUEST_HEAD, RESPONSE_HEAD));
    }

    #[test]
    fn what_did_not_cross_is_left_out_and_counted() {
        let sizes = r#""headersSize":1,"bodySize":1"#;
        let all = [
            entry("01.5", sizes, sizes, ""),
            entry("00", sizes, sizes, r#","_fromCache":"disk""#),
            entry("00", sizes, r#""_transferSize":0"#, ""),
            entry("00", sizes, r#""status":0"#, "").replace(r#""status":200,"#, ""),
            entry("01", sizes, sizes, "").replace("http://a.example/x", "data:,x"),
            entry("01", sizes, sizes, "").replace("http://a", "https://a"),
        ];
        let plan = har(&all.join(",")).unwrap();
        assert_eq!(
            plan.notes,
            [
                "2 entries had from the browser's cache left out.",
                "2 entries without a response over HTTP left out."
            ]
        );
        assert_eq!(plan.names, ["GET http://a.example/x", "GET https://a.example/x"]);
        let asked = &plan.workload.transactions;
        assert_eq!(asked[0].begin, Begin::At(Moment::from_nanos(500_000_000)));
        assert_eq!(
            (asked[0].greeting, asked[1].greeting, asked[0].wait),
            (Greeting::default(), TLS, Duration::from_millis(80))
        );
    }

    #[test]
    fn an_error_names_the_place() {
        let error = |text: &str| plan(text.as_bytes()).map(|_| ()).unwrap_err();
        assert!(error("{}").contains("expected a HAR file: missing field `log` at line 1 column 2"));
        assert!(error(r#"{"log":{"entries":[]}}"#).contains("no entry"));
        let wrong = entry("xx", r#""bodySize":1"#, r#""bodySize":1"#, "");
        assert!(
            har(&wrong)
                .unwrap_err()
                .contains("entry 1: startedDateTime \"2026-11-21T08:15:xxZ\": expected a date")
        );
    }

    proptest! {
        #[test]
        fn any_date_reads_without_panic(text in "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}.*|.*", url in ".*") {
            let _ = instant(&text);
            let _ = Origin::of(&url);
        }
    }
}
