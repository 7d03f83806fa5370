//! Content of a connection that many exchanges share, each with a window of its own (RFC 9113 §5.2), and the watch over
//! them. A client that shuts one window keeps hyper from asking for more of that content, which nobody would then miss:
//! the origin's connection, of which it holds a part, and its own exchange would wait for ever. A socket that nothing
//! can be written to is not seen to here.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::body::BodyError;

/// The content that one connection is sending; clones are the same.
#[derive(Clone, Default)]
pub(super) struct Attendance(Arc<Mutex<Vec<Weak<dyn Attendable>>>>);

/// Content that ends when the client has taken none of it for too long.
pub(super) struct Attended<B>(Arc<Mutex<Held<B>>>);

struct Held<B> {
    /// Until it was given up.
    content: Option<B>,
    /// Looks since the client was given something and asked for no more; none while it waits for us.
    looks: Option<u32>,
    limit: Duration,
}

trait Attendable: Send + Sync {
    /// Looks at it once more, and gives it up after `LOOKS` in vain.
    fn look(&self);
}

/// Looks within the time that a client has.
const LOOKS: u32 = 8;

impl Attendance {
    /// `content`, of which the client may take nothing for `limit`.
    pub(super) fn over<B: Send + 'static>(&self, content: B, limit: Duration) -> Attended<B> {
        let held = Arc::new(Mutex::new(Held { content: Some(content), looks: None, limit }));
        let attendable: Arc<dyn Attendable> = held.clone();
        let mut all = self.lock();
        if all.len() == all.capacity() {
            all.retain(|content| content.strong_count() > 0);
        }
        all.push(Arc::downgrade(&attendable));
        Attended(held)
    }

    /// Until `sending` is over, gives up what the client took nothing of for `limit`, give or take an eighth of it.
    pub(super) async fn during<F: Future>(&self, sending: F, limit: Duration) -> F::Output {
        let mut sending = std::pin::pin!(sending);
        let mut next = tokio::time::interval(limit.max(Duration::from_millis(LOOKS.into())) / LOOKS);
        loop {
            tokio::select! {
                sent = sending.as_mut() => return sent,
                _ = next.tick() => self.look(),
            }
        }
    }

    fn look(&self) {
        let present: Vec<_> = {
            let mut all = self.lock();
            all.retain(|content| content.strong_count() > 0);
            all.iter().filter_map(Weak::upgrade).collect()
        };
        present.iter().for_each(|content| content.look());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<dyn Attendable>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Send> Attendable for Mutex<Held<B>> {
    fn look(&self) {
        let mut held = self.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(looks) = &mut held.looks else { return };
        *looks += 1;
        if *looks > LOOKS {
            let given_up = held.content.take();
            // What its end sets off is not this lock's business.
            drop(held);
            drop(given_up);
        }
    }
}

impl<B> Attended<B> {
    fn lock(&self) -> MutexGuard<'_, Held<B>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Body for Attended<B>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut held = self.lock();
        let limit = held.limit;
        let Some(content) = &mut held.content else {
            return Poll::Ready(Some(Err(BodyError::NotTaken(limit))));
        };
        let polled = Pin::new(content).poll_frame(cx);
        held.looks = polled.is_ready().then_some(0);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.lock().content.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().content.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::body::Body as Content;

    const LIMIT: Duration = Duration::from_secs(60);

    /// Content whose origin is silent.
    struct Silent;

    impl Body for Silent {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn content_that_nobody_takes_is_given_up_rfc9113_5_2() {
        let attendance = Attendance::default();
        let mut content = attendance.over(Content::Full(Bytes::from_static(b"content")), LIMIT);
        assert!(content.frame().await.is_some_and(|frame| frame.is_ok()));
        attendance.during(tokio::time::sleep(2 * LIMIT), LIMIT).await;
        let failed = content.frame().await.expect("a failure").expect_err("a failure");
        assert!(matches!(failed, BodyError::NotTaken(LIMIT)), "{failed}");
    }

    #[tokio::test(start_paused = true)]
    async fn content_that_waits_for_its_origin_is_kept() {
        let attendance = Attendance::default();
        let mut content = attendance.over(Silent, LIMIT);
        let waited = attendance.during(tokio::time::timeout(3 * LIMIT, content.frame()), LIMIT).await;
        assert!(waited.is_err(), "it ended");
    }
}
