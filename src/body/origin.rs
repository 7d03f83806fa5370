//! An origin's content as it crosses the link. It notices when nothing arrives for too long, and tells the
//! connection's owner how it ended, so that the connection is used again or dropped.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use super::BodyError;
use crate::timer::Timer;

/// Content received from an origin, with a limit on how long it may make no progress.
pub(crate) struct OriginBody {
    incoming: Incoming,
    idle: Duration,
    stall: Timer,
    /// Called once when all has arrived; dropped uncalled when the content broke off or was given up.
    on_end: Option<Box<dyn FnOnce() + Send + Sync>>,
    /// Whether it is a stream of HTTP/2.
    is_stream: bool,
    /// Told of the bytes of each piece of content, until its end.
    on_data: Option<Box<dyn Fn(u64) + Send + Sync>>,
}

impl OriginBody {
    /// Content that fails after `idle` without a byte, and calls `on_end` after its last one.
    pub(crate) fn new(incoming: Incoming, idle: Duration, on_end: Box<dyn FnOnce() + Send + Sync>) -> Self {
        let (stall, on_end) = (Timer::default(), Some(on_end));
        let mut body = Self { incoming, idle, stall, on_end, is_stream: false, on_data: None };
        if body.incoming.is_end_stream() {
            body.finish();
        }
        body
    }

    /// The same content, which comes on a stream of HTTP/2; `on_data` is told of the bytes of each piece.
    pub(crate) fn counted(mut self, on_data: Box<dyn Fn(u64) + Send + Sync>) -> Self {
        self.is_stream = true;
        self.on_data = self.on_end.is_some().then_some(on_data);
        self
    }

    fn finish(&mut self) {
        self.on_data = None;
        if let Some(on_end) = self.on_end.take() {
            on_end();
        }
    }
}

impl HttpBody for OriginBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.stall.stop();
                if this.is_stream && frame.trailers_ref().is_some_and(HeaderMap::is_empty) {
                    // A trailer section without a field is an end like any other (RFC 9113 §8.1); only in HTTP/1.1 is it
                    // a sign that something else was taken for one.
                    this.finish();
                    return Poll::Ready(None);
                }
                let frame = super::passable(frame);
                if let (Some(on_data), Ok(Some(data))) = (&this.on_data, frame.as_ref().map(Frame::data_ref))
                {
                    on_data(data.len() as u64);
                }
                if frame.is_err() {
                    (this.on_end, this.on_data) = (None, None);
                } else if this.incoming.is_end_stream() {
                    this.finish();
                }
                Poll::Ready(Some(frame))
            }
            Poll::Ready(Some(Err(error))) => {
                (this.on_end, this.on_data) = (None, None);
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                this.finish();
                Poll::Ready(None)
            }
            Poll::Pending => {
                this.stall.poll(this.idle, cx).map(|()| Some(Err(BodyError::Stalled(this.idle))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
