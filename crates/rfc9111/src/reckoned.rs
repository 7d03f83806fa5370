//! What follows from a stored head alone, reckoned when it is first asked for: a head is asked about with every request
//! for it, and says the same each time.
//!
//! Owns when that is reckoned, and forgets it with every copy, since whoever copies a head does so to change it. What
//! depends on the time, on the request or on the operator is not here, and how a field is read is for its module to say.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use http::header::{AGE, DATE, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED};

use crate::directives::CacheControl;
use crate::freshness::{initial_age, lifetime_by_expires};
use crate::stored::StoredResponse;

/// What was reckoned so far: some 200 bytes, and once it is served again and again its fields a second time.
#[derive(Debug, Default)]
pub(crate) struct Reckoned {
    directives: OnceLock<CacheControl>,
    times: OnceLock<Times>,
    was_served: AtomicBool,
    to_serve: OnceLock<Box<HeaderMap>>,
}

static CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

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

    /// The fields for a response; from the second one on with fields that are to be filled in.
    pub(crate) fn to_serve(stored: &StoredResponse) -> HeaderMap {
        let Self { was_served, to_serve, .. } = &stored.reckoned;
        if to_serve.get().is_none() && !was_served.swap(true, Ordering::Relaxed) {
            // Most heads that are unpacked are forgotten before they are served again.
            return stored.headers.clone();
        }
        let to_serve = to_serve.get_or_init(|| Box::new(with_room(stored.headers.clone())));
        debug_assert_eq!(**to_serve, with_room(stored.headers.clone()), "changed after it was served");
        HeaderMap::clone(to_serve)
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

/// A map that has its last fields already needs no more room when they are known.
fn with_room(mut headers: HeaderMap) -> HeaderMap {
    for name in [&AGE, &CACHE_STATUS] {
        headers.entry(name).or_insert(HeaderValue::from_static(""));
    }
    headers
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

#[cfg(test)]
mod tests {
    use crate::testing::stored;

    #[test]
    fn what_is_served_again_has_room_for_what_is_added() {
        let head = stored(200, "cache-control: max-age=5\nage: 3");
        assert_eq!(head.to_serve(), head.headers);
        let again = head.to_serve();
        assert_eq!((&again["age"], &again["cache-status"]), (&"3".parse().unwrap(), &"".parse().unwrap()));
        assert_eq!(again.len(), head.headers.len() + 1);
        assert_eq!(head.clone().to_serve(), head.headers);
    }
}
