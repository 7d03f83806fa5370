//! Interim responses (RFC 9110 §15.2) on their way from an origin to the one client whose request was sent there: the
//! bytes they go on as, and how many may wait for a client that is slow to take them. When the client's socket may
//! write them is `listen/between`'s; what an origin may send at most, `upstream/informational`'s.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode, Version};
use rfc9111::Via;

/// Interim responses that wait for one client; more are dropped.
const MOST_WAITING: usize = 16;

/// Bytes of interim responses that wait for one client; what would go beyond is dropped.
const MOST_BYTES: usize = 16 * 1024;

/// The way of interim responses to the client of one exchange. Clones are the same way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interim(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    via: Arc<Via>,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    count: usize,
    /// Set once the final response is known: nothing may follow it.
    ended: bool,
    /// Of the task that owns the client's socket.
    waker: Option<Waker>,
}

impl Interim {
    /// The way to a client that speaks `version`; `via` is what we say of ourselves. "A server MUST NOT send a 1xx response
    /// to an HTTP/1.0 client" (RFC 9110 §15.2).
    pub(crate) fn to(version: Version, via: &Arc<Via>) -> Self {
        let speaks_it = version == Version::HTTP_11;
        Self(speaks_it.then(|| Arc::new(Shared { via: via.clone(), queue: Mutex::default() })))
    }

    /// Sends an interim response on, received with `version`, without waiting: one that comes too late, or for which
    /// the client has no room, is dropped. Returns the bytes that go to the client.
    pub(crate) fn pass_on(&self, status: StatusCode, version: Version, fields: &HeaderMap) -> u64 {
        let Some(shared) = &self.0 else { return 0 };
        if !shared.lock().has_room(0) {
            return 0;
        }
        let head = head(status, version, fields, &shared.via);
        let mut queue = shared.lock();
        if !queue.has_room(head.len()) {
            return 0;
        }
        queue.bytes.extend_from_slice(&head);
        queue.count += 1;
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
        head.len() as u64
    }

    /// What waits by now, whole responses all; the task of `cx` is woken when more comes. None once the final response
    /// is known.
    pub(crate) fn take(&self, cx: &mut Context<'_>) -> Option<Bytes> {
        let mut queue = self.0.as_ref()?.lock();
        if queue.ended {
            return None;
        }
        queue.waker = Some(cx.waker().clone());
        Some(queue.drain())
    }

    /// What still waits, without waiting for more.
    pub(crate) fn rest(&self) -> Bytes {
        self.0.as_ref().map_or_else(Bytes::new, |shared| shared.lock().drain())
    }

    /// The final response is known: nothing more is taken in.
    pub(crate) fn end(&self) {
        if let Some(shared) = &self.0 {
            let mut queue = shared.lock();
            queue.ended = true;
            queue.waker = None;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn has_room(&self, length: usize) -> bool {
        !self.ended && self.count < MOST_WAITING && self.bytes.len().saturating_add(length) <= MOST_BYTES
    }

    fn drain(&mut self) -> Bytes {
        self.count = 0;
        std::mem::take(&mut self.bytes).into()
    }
}

/// An interim response as this hop sends it: without what was for the last hop only (§7.6.1), with our Via (§7.6.3), and
/// without Content-Length, which "a server MUST NOT send … in any response with a status code of 1xx" (§8.6).
fn head(status: StatusCode, version: Version, fields: &HeaderMap, via: &Via) -> Vec<u8> {
    let mut fields = rfc9111::end_to_end(fields.clone());
    fields.remove(CONTENT_LENGTH);
    via.append(&mut fields, version);
    let reason = status.canonical_reason().unwrap_or_default();
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
    for (name, value) in &fields {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let lines = lines.iter();
        lines.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[track_caller]
    fn check(status: u16, lines: &[(&'static str, &'static str)], expected: &str) {
        let status = StatusCode::from_u16(status).expect("a status");
        let head = head(status, Version::HTTP_11, &fields(lines), &Via::new("b"));
        assert_eq!(String::from_utf8_lossy(&head), expected);
    }

    fn open() -> Interim {
        Interim::to(Version::HTTP_11, &Arc::new(Via::new("b")))
    }

    fn hint(interim: &Interim, length: usize) -> bool {
        let value = HeaderValue::try_from("x".repeat(length)).expect("a value");
        let fields = [(http::header::LINK, value)].into_iter().collect();
        interim.pass_on(StatusCode::EARLY_HINTS, Version::HTTP_11, &fields) > 0
    }

    #[test]
    fn an_early_hint_keeps_its_end_to_end_fields_7_6_1() {
        check(
            103,
            &[
                ("link", "</a>"),
                ("connection", "x-hop"),
                ("x-hop", "1"),
                ("keep-alive", "9"),
                ("link", "</b>"),
            ],
            "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nlink: </b>\r\nvia: 1.1 b\r\n\r\n",
        );
        check(102, &[("content-length", "5")], "HTTP/1.1 102 Processing\r\nvia: 1.1 b\r\n\r\n");
        check(199, &[("transfer-encoding", "chunked")], "HTTP/1.1 199 \r\nvia: 1.1 b\r\n\r\n");
    }

    #[test]
    fn a_client_of_http_1_0_gets_none_15_2() {
        assert!(!hint(&Interim::to(Version::HTTP_10, &Arc::new(Via::new("b"))), 1));
        assert!(!hint(&Interim::default(), 1));
    }

    #[test]
    fn what_waits_is_bounded_by_count() {
        let interim = open();
        assert_eq!((0..MOST_WAITING + 3).filter(|_| hint(&interim, 1)).count(), MOST_WAITING);
        assert!(!interim.rest().is_empty());
        assert!(hint(&interim, 1), "there is room again");
    }

    #[test]
    fn what_waits_is_bounded_by_bytes() {
        let interim = open();
        assert!(!hint(&interim, MOST_BYTES));
        assert!(hint(&interim, MOST_BYTES / 2));
        assert!(!hint(&interim, MOST_BYTES / 2));
        assert!(hint(&interim, MOST_BYTES / 4));
        assert!(interim.rest().len() <= MOST_BYTES);
    }

    #[test]
    fn nothing_is_taken_in_after_the_end_and_what_waits_stays() {
        let interim = open();
        assert!(hint(&interim, 1));
        interim.end();
        assert!(!hint(&interim, 1));
        assert!(interim.take(&mut Context::from_waker(Waker::noop())).is_none());
        assert_eq!(interim.rest().windows(8).filter(|window| window == b"HTTP/1.1").count(), 1);
    }
}
