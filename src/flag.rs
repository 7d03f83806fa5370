//! `Flag`: something that is said once, and one who waits for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// Whether it was said.
#[derive(Debug, Default)]
pub(crate) struct Flag {
    raised: AtomicBool,
    waiting: Mutex<Option<Waker>>,
}

impl Flag {
    /// It is said.
    pub(crate) fn raise(&self) {
        self.raised.store(true, Ordering::Release);
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }

    /// Resolves once it is said.
    pub(crate) async fn until_raised(&self) {
        std::future::poll_fn(|cx| self.poll(cx)).await;
    }

    /// Ready once it is said. The task that polled last is woken.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_raised() {
            return Poll::Ready(());
        }
        if !waiting.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waiting = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}
