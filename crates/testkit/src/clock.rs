//! A wall clock that stands still until it is told to move: for testing the testkit itself, and for programs
//! under test that take their time as a closure. It never reads the machine's clock.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// The first moment of every manual clock: Sat, 01 Jan 2028 00:00:00 GMT, in seconds since 1970.
const BEGINNING: u64 = 1_830_297_600;

/// A clock moved by hand; clones share one time.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<SystemTime>>);

impl ManualClock {
    /// The time of this clock.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(SystemTime::UNIX_EPOCH + Duration::from_secs(BEGINNING))))
    }
}
