//! Waking the tasks that use one stream.
//!
//! Owns the wakers of a stream's reader and writer, which may be two tasks. It knows nothing of bytes.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// The task that last waited on one half of a stream.
#[derive(Debug, Default)]
pub(super) struct Signal(Mutex<Option<Waker>>);

impl Signal {
    /// The task of `waker` waits from now on, before it looks at what it waits for.
    pub(super) fn register(&self, waker: &Waker) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return;
        }
        let former = waiting.replace(waker.clone());
        drop(waiting);
        drop(former);
    }

    /// Wakes the task, if one waits.
    pub(super) fn notify(&self) {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.notify();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.notify();
    }
}

/// Both tasks of a stream. Bytes go up whichever of them is polled, so whatever they wait for must wake both: either
/// may be gone.
#[derive(Debug)]
pub(super) struct Both {
    pub(super) reader: Arc<Signal>,
    pub(super) writer: Arc<Signal>,
}

impl Wake for Both {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.writer.notify();
        self.reader.notify();
    }
}
