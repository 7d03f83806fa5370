//! `Timed`: the content of a response, which tells how far its exchange is. It changes nothing of it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};

use super::activity::InFlight;

/// Content that keeps its exchange going until it is dropped.
pub(crate) struct Timed<B> {
    body: B,
    in_flight: Arc<InFlight>,
    /// Whether its next step is the client's: what was asked for last has come, and no more is asked for until there is
    /// room.
    offers: bool,
}

impl<B> Timed<B> {
    pub(crate) fn new(body: B, in_flight: Arc<InFlight>) -> Self {
        let mut timed = Self { body, in_flight, offers: false };
        timed.offer(true);
        timed
    }

    fn offer(&mut self, offers: bool) {
        if std::mem::replace(&mut self.offers, offers) != offers {
            self.in_flight.offers(offers);
        }
    }
}

impl<B> Drop for Timed<B> {
    fn drop(&mut self) {
        self.offer(false);
    }
}

impl<B: Body + Unpin> Body for Timed<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        this.offer(polled.is_ready());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
