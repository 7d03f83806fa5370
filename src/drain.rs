//! Leaving without dropping anyone: who is still at work, and the word that it is time to go. It closes nothing
//! itself; whoever holds a `Work` finishes by its own rules once `leaving` resolves. Where another process has taken over,
//! `retiring` comes first: nothing new is begun, and nothing is hurried.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};

/// The proxy's side: gives out work and waits for its end. Clones speak of the same work.
#[derive(Clone, Debug)]
pub(crate) struct Drain(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    stage: watch::Sender<Stage>,
    at_work: AtomicUsize,
    /// Said when nobody is at work any more.
    finished: Notify,
}

/// What is left to do, which becomes less.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stage {
    /// Everything.
    Serving,
    /// What has begun.
    Retiring,
    /// What is in flight.
    Leaving,
}

/// Something that is to be finished before the process ends; finished when dropped.
#[derive(Debug)]
pub(crate) struct Work(Drain);

impl Drain {
    pub(crate) fn new() -> Self {
        let stage = watch::Sender::new(Stage::Serving);
        Self(Arc::new(Shared { stage, at_work: AtomicUsize::new(0), finished: Notify::new() }))
    }

    /// Begins a piece of work.
    pub(crate) fn work(&self) -> Work {
        self.0.at_work.fetch_add(1, Ordering::AcqRel);
        Work(self.clone())
    }

    /// Pieces of work that are not finished.
    pub(crate) fn at_work(&self) -> usize {
        self.0.at_work.load(Ordering::Acquire)
    }

    /// Resolves when it is time to go.
    pub(crate) async fn leaving(&self) {
        self.reached(Stage::Leaving).await;
    }

    /// Resolves when others do what is new.
    pub(crate) async fn retiring(&self) {
        self.reached(Stage::Retiring).await;
    }

    /// Whether others do what is new.
    pub(crate) fn is_retiring(&self) -> bool {
        *self.0.stage.borrow() >= Stage::Retiring
    }

    async fn reached(&self, stage: Stage) {
        let mut present = self.0.stage.subscribe();
        let _ = present.wait_for(|present| *present >= stage).await;
    }

    /// Says that others do what is new, and waits until all work is finished, at most `deadline`. Returns how much was
    /// still unfinished then.
    pub(crate) async fn retire(&self, deadline: Duration) -> usize {
        self.finish_from(Stage::Retiring, deadline).await
    }

    /// Says that it is time to go, and waits until all work is finished, at most `deadline`. Returns how much was
    /// still unfinished then.
    pub(crate) async fn finish(&self, deadline: Duration) -> usize {
        self.finish_from(Stage::Leaving, deadline).await
    }

    async fn finish_from(&self, stage: Stage, deadline: Duration) -> usize {
        self.0.stage.send_replace(stage);
        let _ = tokio::time::timeout(deadline, self.finished()).await;
        self.at_work()
    }

    async fn finished(&self) {
        loop {
            let finished = self.0.finished.notified();
            tokio::pin!(finished);
            // Before the look at the count, so that no end falls between the two.
            finished.as_mut().enable();
            if self.at_work() == 0 {
                return;
            }
            finished.await;
        }
    }
}

impl Work {
    /// Resolves when it is time to go.
    pub(crate) async fn leaving(&self) {
        self.0.leaving().await;
    }

    /// Resolves when others do what is new.
    pub(crate) async fn retiring(&self) {
        self.0.retiring().await;
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let Drain(shared) = &self.0;
        if shared.at_work.fetch_sub(1, Ordering::AcqRel) == 1 {
            shared.finished.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn finishes_with_the_last_work_or_at_the_deadline() {
        let drain = Drain::new();
        let work = drain.work();
        let task = tokio::spawn(async move {
            work.leaving().await;
            tokio::time::sleep(Duration::from_secs(2)).await;
        });
        assert_eq!(drain.finish(Duration::from_secs(10)).await, 0);
        task.await.expect("the work");
        let _stuck = drain.work();
        assert_eq!(drain.finish(Duration::from_secs(10)).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn retiring_comes_before_leaving_and_hurries_nobody() {
        let drain = Drain::new();
        let work = drain.work();
        assert!(!drain.is_retiring());
        assert_eq!(drain.retire(Duration::from_secs(10)).await, 1);
        work.retiring().await;
        let leaving = work.leaving();
        assert!(tokio::time::timeout(Duration::from_secs(1), leaving).await.is_err());
        drop(work);
        assert_eq!(drain.retire(Duration::from_secs(10)).await, 0);
        assert_eq!(drain.finish(Duration::from_secs(10)).await, 0);
        drain.leaving().await;
    }
}
