//! The last wrapper around a response's content: it counts what the client's connection takes, and its end is the
//! end of the exchange.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{Body, BodyError};
use crate::capture::heard::Heard;
use crate::exchange::{Cut, Exchange};

/// Content whose end closes its exchange.
pub(crate) struct Sealed {
    body: Body,
    exchange: Exchange,
    ended: bool,
    failed: Option<BodyError>,
    /// Who listens, if somebody does.
    heard: Option<Arc<Heard>>,
}

/// Ties `exchange` to the content of its response: from here on the client's connection holds it. What goes out is told
/// to `heard`.
pub(crate) fn seal(
    exchange: Exchange,
    response: Response<Body>,
    heard: Option<Arc<Heard>>,
) -> Response<Sealed> {
    if let Some(heard) = &heard {
        heard.answered(&response, exchange.record().duration());
    }
    let head = response.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    let head = STATUS_LINE + head.sum::<usize>() as u64;
    exchange.sent(head);
    exchange.note(|details| {
        // Who has left already is not answered, whatever is still written.
        details.status = (details.cut_short != Some(Cut::Client)).then_some(response.status());
        details.head_bytes = head;
        details.media_type = response.headers().get(http::header::CONTENT_TYPE).cloned();
        details.announced = response.body().size_hint().exact();
    });
    let is_head = exchange.is_head();
    response.map(|body| Sealed {
        ended: is_head || body.is_end_stream(),
        body,
        exchange,
        failed: None,
        heard,
    })
}

/// Bytes of a status line with a reason phrase of usual length, and of the empty line after the fields.
const STATUS_LINE: u64 = 19;

impl HttpBody for Sealed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Some(error) = this.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let span = this.exchange.span();
        let _entered = span.enter();
        let polled = match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Pending => this.exchange.poll_stopped(cx).map(|()| Some(Err(BodyError::Stopped))),
            _ if this.exchange.is_stopped() => Poll::Ready(Some(Err(BodyError::Stopped))),
            polled => polled,
        };
        match std::task::ready!(polled) {
            Some(Ok(frame)) => {
                this.exchange.sent(frame.data_ref().map_or(0, |data| data.len() as u64));
                if let (Some(heard), Some(data)) = (&this.heard, frame.data_ref()) {
                    heard.receives(data);
                }
                this.ended = this.body.is_end_stream();
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                // On an error hyper drops what it has not written yet. One more turn lets it write that first, as far
                // as the client's socket takes it.
                tracing::debug!(%error, "a response broke off");
                this.exchange.note(|details| details.cut_short = Some(error.by()));
                this.failed = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => {
                this.ended = true;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        // Where the length is known, hyper does not ask for an end behind the last byte.
        if !self.ended && self.body.size_hint().exact() != Some(0) {
            self.exchange.note(|details| {
                details.cut_short.get_or_insert(Cut::Client);
            });
        }
    }
}
