//! What follows from a stored head alone, reckoned when it is first asked for: a head is asked about with every request
//! for it, and says the same each time.
//!
//! Owns when that is reckoned, and forgets it with every copy, since whoever copies a head does so to change it. What
//! depends on the time, on the request or on the operator is not here, and how a field is read is for its module to say.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use http::header::{DATE, LAST_MODIFIED};

use crate::directives::CacheControl;
use crate::freshness::{initial_age, lifetime_by_expires};
use crate::stored::StoredResponse;

/// What was reckoned so far: some 180 bytes.
#[derive(Debug, Default)]
pub(crate) struct Reckoned {
    directives: OnceLock<CacheControl>,
    times: OnceLock<Times>,
}

/// The times that a stored response states.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Times {
    /// Date, or the time of receipt where that cannot be read.
    pub(crate) date: SystemTime,
    /// Last-Modified, where it can be read.
    pub(crate) last_modified: Option<SystemTime>,
    /// The lifetime by Expires, where there is such a field.
    pub(crate) expires: Option<Duration>,
    /// The age it had when it was received.
    pub(crate) initial_age: Duration,
}

impl Reckoned {
    /// The directives of Cache-Control.
    pub(crate) fn directives(stored: &StoredResponse) -> &CacheControl {
        let directives = stored.reckoned.directives.get_or_init(|| CacheControl::of(&stored.headers));
        debug_assert_eq!(*directives, CacheControl::of(&stored.headers), "changed after it was asked");
        directives
    }

    pub(crate) fn times(stored: &StoredResponse) -> &Times {
        let times = stored.reckoned.times.get_or_init(|| Times::of(stored));
        debug_assert_eq!(*times, Times::of(stored), "changed after it was asked");
        times
    }
}

impl Times {
    fn of(stored: &StoredResponse) -> Self {
        let date = stored.read_date(&DATE).unwrap_or(stored.response_time);
        Self {
            date,
            last_modified: stored.read_date(&LAST_MODIFIED),
            expires: lifetime_by_expires(stored, date),
            initial_age: initial_age(stored, date),
        }
    }
}

impl Clone for Reckoned {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Reckoned {
    /// Equal heads are equal whatever they were asked.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
