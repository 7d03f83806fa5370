//! How long something may make no progress: a timer for code that is polled. It knows nothing of what is waited for.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A timer that costs nothing until it is first needed.
#[derive(Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    running: bool,
}

impl Timer {
    /// Ready when it has been polled for `after` without a `stop`.
    pub(crate) fn poll(&mut self, after: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(after)));
        if !self.running {
            self.running = true;
            sleep.as_mut().reset(Instant::now() + after);
        }
        sleep.as_mut().poll(cx)
    }

    /// What was waited for has happened: the next poll begins anew.
    pub(crate) fn stop(&mut self) {
        self.running = false;
    }
}
