//! `Seldom`: a future that is hardly ever woken, in a task that others wake all the time. It is polled when it was woken
//! itself, and costs next to nothing else.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};

/// The same future. One task polls it, from the first time to the last.
pub(super) struct Seldom<F> {
    future: F,
    woken: Arc<Woken>,
    waker: Waker,
}

struct Woken {
    since_polled: AtomicBool,
    task: OnceLock<Waker>,
}

impl<F: Future + Unpin> Seldom<F> {
    pub(super) fn new(future: F) -> Self {
        let woken = Arc::new(Woken { since_polled: AtomicBool::new(true), task: OnceLock::new() });
        Self { future, waker: woken.clone().into(), woken }
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.since_polled.store(true, Ordering::Release);
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }
}

impl<F: Future + Unpin> Future for Seldom<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        if !this.woken.since_polled.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        this.woken.task.get_or_init(|| cx.waker().clone());
        this.woken.since_polled.store(false, Ordering::Release);
        Pin::new(&mut this.future).poll(&mut Context::from_waker(&this.waker))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn it_is_polled_when_it_was_woken_and_not_when_others_were() {
        let (notify, polled) = (Notify::new(), AtomicUsize::new(0));
        let mut notified = pin!(notify.notified());
        let counted = poll_fn(|cx| {
            polled.fetch_add(1, Ordering::Relaxed);
            notified.as_mut().poll(cx)
        });
        let waker = &notify;
        let mut seldom = Seldom::new(counted);
        let mut others = 0;
        let others_wake = poll_fn(|cx| {
            others += 1;
            match others {
                0..100 => cx.waker().wake_by_ref(),
                100 => waker.notify_one(),
                _ => {}
            }
            Poll::<()>::Pending
        });
        tokio::select! {
            biased;
            () = others_wake => {}
            () = &mut seldom => {}
        }
        assert_eq!((others, polled.load(Ordering::Relaxed)), (100, 2));
    }
}
