//! `Step`: what is there at once, or comes of work that has to wait. Most answers of a cache are there at once: they need no
//! task's room, and are not moved through layers of futures.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// What comes of a step. As a future, the same.
pub(crate) enum Step<T> {
    /// It is there.
    Done(T),
    /// It comes of this.
    Waits(Pin<Box<dyn Future<Output = T> + Send>>),
    /// It was taken.
    Over,
}

/// What there is of `future` without waiting. It is polled again, by whoever is to be woken, unless it is ready.
pub(crate) fn at_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

impl<T> Step<T> {
    /// What comes of `work`.
    pub(crate) fn waits(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self::Waits(Box::pin(work))
    }
}

impl<T: Unpin> Future for Step<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = self.get_mut();
        if let Self::Waits(work) = this {
            return work.as_mut().poll(cx);
        }
        match std::mem::replace(this, Self::Over) {
            Self::Done(output) => Poll::Ready(output),
            // As of any future: nobody asks one that is over.
            Self::Waits(_) | Self::Over => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_there_and_what_comes_are_the_same_to_who_waits() {
        assert_eq!(Step::Done(1).await, 1);
        let later = Step::waits(async {
            tokio::task::yield_now().await;
            2
        });
        assert_eq!(later.await, 2);
    }
}
