//! An exchange as an entry of a HAR file (HTTP Archive 1.2): `http://www.softwareishard.com/blog/har-12-spec/`. Fields that
//! begin with an underscore are our own, as the format allows.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, Version};
use serde_json::{Value, json};

use super::heard::{Answer, Heard, Kept};
use crate::exchange::{Details, Record, Times};

/// The entry of an exchange that is over.
pub(super) fn entry(heard: &Heard, record: &Record, details: &Details) -> Value {
    let (answer, total) = (heard.answer(), record.duration());
    let timings = timings(&details.times, answer.as_ref().map(|answer| answer.after), total);
    let time: f64 =
        timings.iter().filter(|(name, took)| *name != "ssl" && *took >= 0.0).map(|(_, took)| took).sum();
    let timings: Value = timings.iter().map(|(name, took)| ((*name).to_owned(), json!(took))).collect();
    let mut entry = json!({
        "startedDateTime": started(record),
        "time": time,
        "request": request(heard, record),
        "response": response(answer.as_ref(), &heard.received(), record),
        "cache": {},
        "timings": timings,
        "connection": heard.number.to_string(),
        "_exchange": record.number,
        "_client": record.client,
        "_cacheStatus": details.cache.by_rule(details.rule.as_deref()).to_string(),
        "_because": details.because.as_ref().map(ToString::to_string),
        "_linkDown": record.link_down(),
        "_linkUp": record.link_up(),
        "_error": error(details),
    });
    if let (Some(peer), Some(entry)) = (details.peer, entry.as_object_mut()) {
        entry.insert("serverIPAddress".to_owned(), json!(peer.address.ip()));
    }
    entry
}

fn error(details: &Details) -> Option<String> {
    let cut = details.cut_short.map(|cut| format!("cut short by the {}", cut.text()));
    details.reason.as_deref().map(str::to_owned).or(cut)
}

fn started(record: &Record) -> String {
    jiff::Timestamp::try_from(record.at).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

/// Milliseconds of each part; -1 for what there was none of. "connect: time required to create TCP connection" and
/// "ssl: time required for SSL/TLS negotiation. If this field is defined then the time is also included in the connect
/// field".
fn timings(times: &Times, answered: Option<Duration>, total: Duration) -> [(&'static str, f64); 7] {
    let millis = |time: Option<Duration>| time.map_or(-1.0, |time| time.as_micros() as f64 / 1000.0);
    let connect = times.connect.map(|connect| connect + times.handshake.unwrap_or_default());
    let dialled = times.lookup.unwrap_or_default() + connect.unwrap_or_default();
    // A tunnel has no more than its dial.
    let connection = times.connection.unwrap_or(dialled);
    let head = times.first_byte.or(answered).unwrap_or(total).min(total);
    [
        ("blocked", millis(times.connection.map(|connection| connection.saturating_sub(dialled)))),
        ("dns", millis(times.lookup)),
        ("connect", millis(connect)),
        ("ssl", millis(times.handshake)),
        ("send", 0.0),
        ("wait", millis(Some(head.saturating_sub(connection)))),
        ("receive", millis(Some(total.saturating_sub(head)))),
    ]
}

fn request(heard: &Heard, record: &Record) -> Value {
    let query = record.target.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let query = query.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        json!({ "name": name, "value": value })
    });
    let target = record.target.to_string();
    let line = record.method.as_str().len() + target.len() + " HTTP/1.1\r\n".len() + 1;
    let mut request = json!({
        "method": record.method.as_str(),
        "url": target,
        "httpVersion": version(record.version),
        "cookies": [],
        "headers": fields(&heard.request),
        "queryString": query.collect::<Vec<_>>(),
        "headersSize": size(record.version, line, &heard.request),
        "bodySize": record.received(),
    });
    let sent = heard.sent();
    if sent.total > 0
        && let Some(request) = request.as_object_mut()
    {
        let (text, encoding) = text(&sent.bytes);
        let mime = media_type(&heard.request);
        let mut data = json!({ "mimeType": mime, "params": [], "text": text, "comment": cut(&sent) });
        if let (Some(encoding), Some(data)) = (encoding, data.as_object_mut()) {
            data.insert("_encoding".to_owned(), encoding.into());
        }
        request.insert("postData".to_owned(), data);
    }
    request
}

fn response(answer: Option<&Answer>, received: &Kept, record: &Record) -> Value {
    let none = HeaderMap::new();
    let headers = answer.map_or(&none, |answer| &answer.headers);
    let status = answer.map(|answer| answer.status);
    let reason = status.and_then(|status| status.canonical_reason()).unwrap_or_default();
    let (text, encoding) = text(&received.bytes);
    let mut content = json!({
        "size": received.total,
        "mimeType": media_type(headers),
        "text": text,
        "comment": cut(received),
    });
    if let (Some(encoding), Some(content)) = (encoding, content.as_object_mut()) {
        content.insert("encoding".to_owned(), encoding.into());
    }
    json!({
        "status": status.map_or(0, |status| status.as_u16()),
        "statusText": reason,
        "httpVersion": version(record.version),
        "cookies": [],
        "headers": fields(headers),
        "content": content,
        "redirectURL": headers.get(LOCATION).map(|to| String::from_utf8_lossy(to.as_bytes())).unwrap_or_default(),
        "headersSize": size(record.version, "HTTP/1.1 200 \r\n".len() + reason.len(), headers),
        "bodySize": received.total,
    })
}

/// Text as it is; anything else in base64.
fn text(bytes: &[u8]) -> (String, Option<&'static str>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (STANDARD.encode(bytes), Some("base64")),
    }
}

fn cut(kept: &Kept) -> String {
    match kept.bytes.len() as u64 == kept.total {
        true => String::new(),
        false => format!("the first {} of {} bytes", kept.bytes.len(), kept.total),
    }
}

fn media_type(headers: &HeaderMap) -> String {
    headers
        .get(CONTENT_TYPE)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .unwrap_or_default()
}

fn version(version: Version) -> String {
    format!("{version:?}")
}

fn fields(headers: &HeaderMap) -> Vec<Value> {
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| json!({ "name": name.as_str(), "value": String::from_utf8_lossy(value.as_bytes()) });
    headers.iter().map(field).collect()
}

/// Bytes of a head with a first line of `line` bytes; -1 where heads are compressed.
fn size(version: Version, line: usize, headers: &HeaderMap) -> i64 {
    if version == Version::HTTP_2 {
        return -1;
    }
    let fields: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    i64::try_from(line + fields + 2).unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(times: Times, answered: u64, total: u64, expected: [f64; 7]) {
        let millis = Duration::from_millis;
        let timings = timings(&times, Some(millis(answered)), millis(total));
        assert_eq!(timings.map(|(_, took)| took), expected);
    }

    #[test]
    fn the_parts_add_up_to_the_whole() {
        let millis = |millis| Some(Duration::from_millis(millis));
        check(Times::default(), 2, 10, [-1.0, -1.0, -1.0, -1.0, 0.0, 2.0, 8.0]);
        let connection = millis(90);
        let fetched = Times { connection, first_byte: millis(100), ..Times::default() };
        check(fetched, 101, 150, [90.0, -1.0, -1.0, -1.0, 0.0, 10.0, 50.0]);
        let dialled = Times { lookup: millis(5), connect: millis(20), handshake: millis(30), ..fetched };
        check(dialled, 101, 150, [35.0, 5.0, 50.0, 30.0, 0.0, 10.0, 50.0]);
        let tunnel = Times { lookup: millis(5), connect: millis(20), ..Times::default() };
        check(tunnel, 26, 150, [-1.0, 5.0, 20.0, -1.0, 0.0, 1.0, 124.0]);
    }

    #[test]
    fn what_is_no_text_is_in_base64() {
        assert_eq!(text(b"text"), ("text".to_owned(), None));
        assert_eq!(text(b"\xff\x00"), ("/wA=".to_owned(), Some("base64")));
    }
}
