//! A record as one wide JSON object: the line of the JSON log, the event of whoever watches live, and a row of what is
//! under way. Times are milliseconds, sizes are bytes; what an exchange did not have is null.

use std::time::Duration;

use serde_json::{Value, json};

use super::recent::seconds;
use super::url::Urls;
use crate::exchange::{Cut, Details, Outcome, Record};

/// What is known of `record` now. Bytes of the link are payload bytes of this exchange, in each direction.
pub(crate) fn event(record: &Record, details: &Details, urls: &Urls) -> Value {
    let asked = !details.nothing_asked;
    json!({
        "number": record.number,
        "time": seconds(record.at),
        "duration_ms": millis(record.duration()),
        "client": record.client,
        "user": details.user.as_deref(),
        "method": asked.then(|| record.method.as_str()),
        "url": asked.then(|| urls.written(&record.target)),
        "version": format!("{:?}", record.version),
        "status": details.status.map(|status| status.as_u16()),
        "cache_status": cache_status(details),
        "result": Outcome::of(details).name(),
        "because": details.because.as_ref().map(ToString::to_string),
        "storing": details.storing.as_ref().map(ToString::to_string),
        "error": details.error,
        "reason": details.reason.as_deref(),
        "media_type": media_type(details),
        "announced_bytes": details.announced,
        "client_bytes": record.client_bytes(),
        "received_bytes": record.received(),
        "link_down": record.link_down(),
        "link_up": record.link_up(),
        "link_ms": millis(record.link_time()),
        "parent": details.peer.is_some_and(|peer| peer.is_parent),
        "peer": details.peer.map(|peer| peer.address.to_string()),
        "connection_ms": details.times.connection.map(millis),
        "lookup_ms": details.times.lookup.map(millis),
        "connect_ms": details.times.connect.map(millis),
        "handshake_ms": details.times.handshake.map(millis),
        "first_byte_ms": details.times.first_byte.map(millis),
        "cut_short": cut_short(details).map(Cut::text),
    })
}

/// Who broke it off: a client that left before it had an answer has no status.
pub(super) fn cut_short(details: &Details) -> Option<Cut> {
    details.cut_short.or_else(|| details.status.is_none().then_some(Cut::Client))
}

/// The member of Cache-Status.
fn cache_status(details: &Details) -> String {
    details.cache.by_rule(details.rule.as_deref()).to_string()
}

/// The media type, as the response says it.
pub(super) fn media_type(details: &Details) -> Option<&str> {
    details.media_type.as_ref()?.to_str().ok()
}

fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
