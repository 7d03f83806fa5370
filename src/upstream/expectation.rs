//! `Expect: 100-continue` (RFC 9110 §10.1.1), answered by the origin: the client's content waits until it is asked for.

use std::sync::{Arc, Weak};
use std::time::Duration;

use http::Request;
use http::header::EXPECT;
use http_body::Body as _;
use linkio::SharedLink;
use tokio::task::AbortHandle;

use crate::body::RequestBody;
use crate::body::request::Gate;

/// A client that waits for the origin's 100 (Continue) before it sends its content.
pub(super) struct Expectation {
    gate: Arc<Gate>,
    timer: AbortHandle,
}

impl Expectation {
    /// The expectation of `request`, if it has one. Its content is held back until the origin asks for it, or for a
    /// second beyond the round trip of `link`: an origin that knows nothing of 100 (Continue) must not make the client wait
    /// for ever.
    pub(super) fn of(request: &mut Request<RequestBody>, link: &SharedLink) -> Option<Self> {
        let expect = request.headers().get(EXPECT)?;
        if !expect.as_bytes().eq_ignore_ascii_case(b"100-continue") || request.body().is_end_stream() {
            return None;
        }
        let gate = Arc::new(request.body_mut().shut());
        let waited = Arc::downgrade(&gate);
        let patience = Duration::from_secs(1) + link.rtt() * 2;
        let timer = tokio::spawn(async move {
            tokio::time::sleep(patience).await;
            if let Some(gate) = waited.upgrade() {
                gate.open();
            }
        });
        Some(Self { gate, timer: timer.abort_handle() })
    }

    /// What the origin's 100 (Continue) opens.
    pub(super) fn gate(&self) -> Weak<Gate> {
        Arc::downgrade(&self.gate)
    }

    /// The final response is here: content not asked for by now is not wanted, and what the client sends next may be
    /// another request.
    pub(super) fn answered(self) -> Arc<Gate> {
        self.timer.abort();
        self.gate
    }
}
