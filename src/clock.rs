//! The only reader of the wall clock. Everything that decides by time is handed a moment from here, so that a test
//! can move time by hand. Timeouts and the link use the runtime's own clock instead: they measure, they do not date.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Tells the time of day, in the one place where it can be set by hand.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<Mutex<SystemTime>>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still at 2026-01-01T00:00:00Z until it is told to advance; for tests.
    pub fn manual() -> Self {
        let start = UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        Self(Source::Manual(Arc::new(Mutex::new(start))))
    }

    /// The time now.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn now(&self) -> SystemTime {
        match &self.0 {
            Source::System => SystemTime::now(),
            Source::Manual(at) => *at.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Moves a manual clock forward; the machine's clock takes no notice.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(at) = &self.0 {
            *at.lock().unwrap_or_else(PoisonError::into_inner) += by;
        }
    }
}
