//! What an origin says before its final response (RFC 9110 §15.2): 100 (Continue) lets the client's content go, every
//! other interim response goes on to the client, and an origin that sends nothing else for ever is given up. 101
//! (Switching Protocols) is a final response here. How they reach the client is `respond/interim`'s. Of HTTP/2 hyper tells
//! only the final response.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{Request, StatusCode};

use super::expectation::Expectation;
use crate::body::RequestBody;
use crate::exchange::Exchange;
use crate::flag::Flag;
use crate::respond::interim::Interim;

/// Interim responses that one request may be answered with; more are a flood.
const MOST: u64 = 1000;

/// Bytes of interim fields that one request may be answered with; more are a flood.
const MOST_BYTES: u64 = 1024 * 1024;

/// The interim responses to one request, as they come. When dropped, what went on to the client is noted.
pub(super) struct Listening {
    heard: Arc<Heard>,
    exchange: Exchange,
}

#[derive(Default)]
struct Heard {
    count: AtomicU64,
    bytes: AtomicU64,
    passed_on: AtomicU64,
    flood: Flag,
}

impl Listening {
    /// Listens to what comes before the final response to `request`, on behalf of the client that `interim` leads to, and
    /// of its `expectation`.
    pub(super) fn to(
        request: &mut Request<RequestBody>,
        interim: &Interim,
        expectation: Option<&Expectation>,
        exchange: &Exchange,
    ) -> Self {
        let gate = expectation.map(Expectation::gate);
        let interim = interim.clone();
        let heard = Arc::new(Heard::default());
        let hearing = heard.clone();
        hyper::ext::on_informational(request, move |response| {
            let fields = response.headers();
            let length = fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
            if !hearing.counts(length.sum::<usize>() as u64) {
                return;
            }
            if response.status() != StatusCode::CONTINUE {
                let passed_on = interim.pass_on(response.status(), response.version(), fields);
                hearing.passed_on.fetch_add(passed_on, Ordering::Relaxed);
            } else if let Some(gate) = gate.as_ref().and_then(std::sync::Weak::upgrade) {
                gate.open();
            }
        });
        Self { heard, exchange: exchange.clone() }
    }

    /// Resolves once the origin floods us.
    pub(super) async fn flooded(&self) {
        self.heard.flood.until_raised().await;
    }

    /// Whether it does: the flood and a response behind it may come at once.
    pub(super) fn is_flooded(&self) -> bool {
        self.heard.is_flood()
    }
}

impl Heard {
    /// Counts one more of `length` bytes; whether it is still to be heard.
    fn counts(&self, length: u64) -> bool {
        self.count.fetch_add(1, Ordering::AcqRel);
        self.bytes.fetch_add(length, Ordering::AcqRel);
        let is_flood = self.is_flood();
        if is_flood {
            self.flood.raise();
        }
        !is_flood
    }

    fn is_flood(&self) -> bool {
        self.count.load(Ordering::Acquire) > MOST || self.bytes.load(Ordering::Acquire) > MOST_BYTES
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.exchange.sent(self.heard.passed_on.load(Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(length: u64, heard: u64) {
        let counted = Heard::default();
        assert_eq!((0..2 * MOST).take_while(|_| counted.counts(length)).count() as u64, heard, "{length}");
    }

    #[test]
    fn a_flood_is_one_of_responses_or_of_bytes() {
        check(0, MOST);
        check(MOST_BYTES / 10, 10);
        check(MOST_BYTES + 1, 0);
    }
}
