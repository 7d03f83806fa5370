//! The origin of every scenario: its bodies follow from their paths, so that each byte a client gets can be checked
//! without remembering anything, and it counts what it is asked for, so that a hit is known by its silence.
//!
//! Paths are `/LENGTH/NAME`. Names that begin with `slow` arrive over a while. It answers conditions (RFC 9110 §13.1.2)
//! and single ranges (§14.2), with If-Range (§13.1.5), as an origin of static files does.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use testkit::{Origin, Received, Reply};

/// The running origin.
#[derive(Debug)]
pub(super) struct Source {
    origin: Origin,
    asked: Arc<Mutex<HashMap<String, usize>>>,
}

impl Source {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// Those of binding.
    pub(super) async fn start() -> io::Result<Self> {
        let asked = Arc::new(Mutex::new(HashMap::new()));
        let counting = Arc::clone(&asked);
        let origin = Origin::with_handler(move |request| {
            let mut counts = counting.lock().unwrap_or_else(PoisonError::into_inner);
            *counts.entry(request.target.clone()).or_default() += 1;
            Some(reply(request))
        });
        Ok(Self { origin: origin.await?, asked })
    }

    /// The absolute URI of `path`.
    pub(super) fn url(&self, path: &str) -> String {
        self.origin.url(path)
    }

    /// How often `path` was asked for, ranges and conditions included.
    pub(super) fn asked(&self, path: &str) -> usize {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied().unwrap_or_default()
    }
}

/// The body of `path`, whole.
pub(super) fn body(path: &str) -> Vec<u8> {
    let length = path.split('/').nth(1).and_then(|word| word.parse().ok()).unwrap_or_default();
    let seed = path.bytes().fold(0x9e37_79b9_7f4a_7c15_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(17)
    });
    testkit::noise::bytes(seed, length)
}

fn reply(request: &Received) -> Reply {
    let path = &request.target;
    let etag = format!("\"{path}\"");
    let answer = |status| {
        Reply::new(status)
            .field("cache-control", "max-age=360000")
            .field("etag", &etag)
            .field("accept-ranges", "bytes")
    };
    if request.fields.lists("if-none-match", &etag) {
        return answer(304);
    }
    let body = body(path);
    let holds = request.fields.value("if-range").is_none_or(|condition| condition == etag);
    let range = request.fields.value("range").filter(|_| holds);
    let reply = match range.and_then(|range| bounds(range, body.len())) {
        Some((first, last)) => answer(206)
            .field("content-range", &format!("bytes {first}-{last}/{}", body.len()))
            .body(&body[first..=last]),
        None => answer(200).body(body),
    };
    if path.rsplit('/').next().is_some_and(|name| name.starts_with("slow")) {
        reply.pace(32 << 10, Duration::from_millis(40))
    } else {
        reply
    }
}

/// First and last byte of a Range field with one range that can be satisfied; others are answered whole.
fn bounds(range: &str, length: usize) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let end = length.checked_sub(1)?;
    let (first, last) = match (first, last) {
        ("", suffix) => (length.saturating_sub(suffix.parse().ok()?), end),
        (first, "") => (first.parse().ok()?, end),
        (first, last) => (first.parse().ok()?, last.parse::<usize>().ok()?.min(end)),
    };
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_follows_from_its_path() {
        assert_eq!(body("/1000/a").len(), 1000);
        assert_eq!(body("/1000/a"), body("/1000/a"));
        assert_ne!(body("/1000/a"), body("/1000/b"));
        assert_eq!(body("/nonsense"), b"");
    }

    #[test]
    fn one_range_is_understood() {
        let check = |range, expected| assert_eq!(bounds(range, 10), expected, "{range}");
        check("bytes=2-4", Some((2, 4)));
        check("bytes=2-", Some((2, 9)));
        check("bytes=2-99", Some((2, 9)));
        check("bytes=-3", Some((7, 9)));
        check("bytes=10-", None);
        check("bytes=0-1,3-4", None);
        check("bytes=-", None);
    }
}
