//! Leaving without dropping anyone: who is still at work, and the word that it is time to go. It closes nothing
//! itself; whoever holds a `Work` finishes by its own rules once `leaving` resolves.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// The proxy's side: gives out work and waits for its end. Clones speak of the same work.
#[derive(Clone, Debug)]
pub(crate) struct Drain(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    leaving: watch::Sender<bool>,
    at_work: watch::Sender<usize>,
}

/// Something that is to be finished before the process ends; finished when dropped.
#[derive(Debug)]
pub(crate) struct Work(Drain);

impl Drain {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared { leaving: watch::Sender::new(false), at_work: watch::Sender::new(0) }))
    }

    /// Begins a piece of work.
    pub(crate) fn work(&self) -> Work {
        self.0.at_work.send_modify(|at_work| *at_work += 1);
        Work(self.clone())
    }

    /// Pieces of work that are not finished.
    pub(crate) fn at_work(&self) -> usize {
        *self.0.at_work.borrow()
    }

    /// Resolves when it is time to go.
    pub(crate) async fn leaving(&self) {
        let mut leaving = self.0.leaving.subscribe();
        let _ = leaving.wait_for(|leaving| *leaving).await;
    }

    /// Says that it is time to go, and waits until all work is finished, at most `deadline`. Returns how much was
    /// still unfinished then.
    pub(crate) async fn finish(&self, deadline: Duration) -> usize {
        self.0.leaving.send_replace(true);
        let mut at_work = self.0.at_work.subscribe();
        let _ = tokio::time::timeout(deadline, at_work.wait_for(|at_work| *at_work == 0)).await;
        self.at_work()
    }
}

impl Work {
    /// Resolves when it is time to go.
    pub(crate) async fn leaving(&self) {
        self.0.leaving().await;
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.0.at_work.send_modify(|at_work| *at_work -= 1);
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
}
