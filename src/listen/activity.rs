//! What the socket of a connection and the exchanges on it know of each other. hyper stands between the two and tells
//! neither; each sets flags here that the other reads.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::body::request::Progress;
use crate::respond::interim::Interim;

/// What the two sides of a connection, its socket and its exchanges, know of each other.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    in_flight: AtomicUsize,
    /// Exchanges so far.
    begun: AtomicUsize,
    /// Whether what hyper writes belongs to an exchange: set when one begins, until all of it has been flushed.
    answering: AtomicBool,
    /// Whether the request just read was an OPTIONS for a target without a path.
    bare_options: AtomicBool,
    /// What the client is told of the request being answered before its final response.
    interim: Mutex<Interim>,
    /// How far the content of the request being answered has come.
    upload: Mutex<Option<Progress>>,
    /// Whether the connection was handed over to a tunnel or another protocol: from then on its bytes are nobody's
    /// business.
    handed_over: AtomicBool,
}

/// An exchange that is going on; over when dropped.
pub(crate) struct InFlight(Arc<Activity>);

impl Activity {
    /// Begins an exchange whose request's content comes as `upload` tells, and whose interim responses come by way of
    /// `interim`.
    pub(crate) fn begin(self: &Arc<Self>, upload: Progress, interim: Interim) -> InFlight {
        *self.interim.lock().unwrap_or_else(PoisonError::into_inner) = interim;
        *self.upload.lock().unwrap_or_else(PoisonError::into_inner) = Some(upload);
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.begun.fetch_add(1, Ordering::AcqRel);
        self.answering.store(true, Ordering::Release);
        InFlight(self.clone())
    }

    /// The final response to the present request is known: no interim response may follow it.
    pub(crate) fn answered(&self) {
        self.interim().end();
    }

    /// The interim responses of the present request.
    pub(super) fn interim(&self) -> Interim {
        self.interim.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the request that was just read is an OPTIONS whose target has no path, not even a slash, which hyper's
    /// URIs do not tell apart and RFC 9112 §3.2.4 does.
    pub(crate) fn take_bare_options(&self) -> bool {
        self.bare_options.swap(false, Ordering::AcqRel)
    }

    /// Bytes that crossed the link towards the origin on the connection that carries the present exchange.
    pub(super) fn crossed(&self) -> u64 {
        let upload = self.upload.lock().unwrap_or_else(PoisonError::into_inner);
        upload.as_ref().map_or(0, Progress::crossed)
    }

    /// Resolves once no exchange has been going on for `limit`, give or take an eighth of it.
    pub(super) async fn quiet(&self, limit: Duration) {
        let (mut since, mut begun) = (Instant::now(), self.begun.load(Ordering::Acquire));
        while since.elapsed() < limit {
            tokio::time::sleep(limit / 8).await;
            let now = self.begun.load(Ordering::Acquire);
            if self.is_busy() || now != begun {
                (since, begun) = (Instant::now(), now);
            }
        }
    }

    /// Hands the connection over: no manners of HTTP apply to it any more.
    pub(crate) fn hand_over(&self) {
        self.handed_over.store(true, Ordering::Release);
    }

    pub(super) fn is_handed_over(&self) -> bool {
        self.handed_over.load(Ordering::Acquire)
    }

    /// Looks at the first bytes of what may be a request.
    pub(super) fn read(&self, bytes: &[u8]) {
        if !self.is_busy() {
            self.bare_options.store(is_bare_options(bytes), Ordering::Release);
        }
    }

    /// Whether what hyper writes belongs to an exchange: one is going on, or not all of it has been flushed.
    pub(super) fn is_answering(&self) -> bool {
        self.answering.load(Ordering::Acquire)
    }

    /// Everything written so far has gone out.
    pub(super) fn flushed(&self) {
        if !self.is_busy() {
            self.answering.store(false, Ordering::Release);
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) > 0
    }
}

fn is_bare_options(bytes: &[u8]) -> bool {
    let target = bytes.strip_prefix(b"OPTIONS http://").or_else(|| bytes.strip_prefix(b"OPTIONS https://"));
    let Some(target) = target else { return false };
    let authority =
        target.iter().take_while(|byte| !matches!(byte, b' ' | b'/' | b'?' | b'#' | b'\r' | b'\n')).count();
    target.get(authority) == Some(&b' ')
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Content that keeps its exchange going until it is dropped.
pub(crate) struct Timed<B> {
    body: B,
    _in_flight: InFlight,
}

impl<B> Timed<B> {
    pub(crate) fn new(body: B, in_flight: InFlight) -> Self {
        Self { body, _in_flight: in_flight }
    }
}

impl<B: Body + Unpin> Body for Timed<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_options_without_a_path_is_told_from_one_with_a_slash() {
        assert!(is_bare_options(b"OPTIONS http://example.org HTTP/1.1\r\n"));
        assert!(is_bare_options(b"OPTIONS http://[::1]:80 HTTP/1.1\r\n"));
        assert!(is_bare_options(b"OPTIONS https://example.org HTTP/1.1\r\n"));
        assert!(!is_bare_options(b"OPTIONS http://example.org/ HTTP/1.1\r\n"));
        assert!(!is_bare_options(b"OPTIONS http://example.org?q HTTP/1.1\r\n"));
        assert!(!is_bare_options(b"GET http://example.org HTTP/1.1\r\n"));
    }
}
