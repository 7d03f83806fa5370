//! How long a stored response is fresh, and how old it is (RFC 9111 §4.2).
//!
//! Owns the lifetime from s-maxage, max-age, Expires and heuristics (§4.2.1, §4.2.2) and the arithmetic of age
//! (§4.2.3). Whether a response that is not fresh may be served is decided by `stale`.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use http::header::{EXPIRES, HeaderMap};

use crate::directives::CacheControl;
use crate::reckoned::{Reckoned, Times};
use crate::request::{Policy, Situation};
use crate::stored::{StoredResponse, age_value};
use crate::targeted::governing_stored;

/// How long a stored response is fresh, by what, and how old it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// The freshness lifetime (§4.2.1).
    pub lifetime: Duration,
    /// Where the lifetime is from.
    pub source: LifetimeSource,
    /// The current age (§4.2.3).
    pub age: Duration,
}

/// Where a freshness lifetime is from, in the order §4.2.1 looks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LifetimeSource {
    /// The s-maxage directive.
    SMaxage,
    /// The max-age directive.
    MaxAge,
    /// The Expires field.
    Expires,
    /// A share of the time since Last-Modified (§4.2.2).
    Heuristic,
    /// An operator's rule, in place of what the response says.
    Rule,
    /// Nowhere: the response says nothing and no heuristic applies. The lifetime is zero.
    Nowhere,
}

impl Freshness {
    /// "response_is_fresh = (freshness_lifetime > current_age)" (§4.2)
    pub fn is_fresh(&self) -> bool {
        self.lifetime > self.age
    }

    /// How much longer the response is fresh; zero when it is stale.
    pub fn remaining(&self) -> Duration {
        self.lifetime.saturating_sub(self.age)
    }

    /// By how much the age exceeds the lifetime; zero while the response is fresh.
    pub fn staleness(&self) -> Duration {
        self.age.saturating_sub(self.lifetime)
    }
}

/// The freshness of a stored response at `situation.now`.
///
/// ```
/// use std::time::{Duration, SystemTime, UNIX_EPOCH};
/// use http::{HeaderMap, Method, StatusCode, Uri};
/// use rfc9111::{Policy, Presented, Situation, StoredResponse};
///
/// let (target, received) = (Uri::from_static("http://example.com/"), UNIX_EPOCH + Duration::from_secs(1_000_000_000));
/// let fields = HeaderMap::new();
/// let request = Presented::new(&Method::GET, &target, &fields);
/// let headers = HeaderMap::from_iter([(http::header::CACHE_CONTROL, "max-age=60".parse().unwrap())]);
/// let stored = StoredResponse::new(&request, StatusCode::OK, &headers, received, received);
///
/// let situation = Situation { now: received + Duration::from_secs(45), policy: Policy::default() };
/// assert_eq!(rfc9111::freshness(&stored, &situation).remaining(), Duration::from_secs(15));
/// ```
pub fn freshness(stored: &StoredResponse, situation: &Situation) -> Freshness {
    freshness_by(stored, &governing_stored(stored, &situation.policy), situation)
}

/// The same, with the directives already read.
pub(crate) fn freshness_by(
    stored: &StoredResponse,
    directives: &CacheControl,
    situation: &Situation,
) -> Freshness {
    let stated = lifetime(stored, directives, &situation.policy);
    let (lifetime, source) = situation.policy.rules.bound(stored, stated);
    Freshness { lifetime, source, age: current_age(stored, situation.now) }
}

/// The current age of a stored response (§4.2.3), with fractions of a second where the clock has them.
pub fn current_age(stored: &StoredResponse, now: SystemTime) -> Duration {
    let corrected_initial_age = Reckoned::times(stored).initial_age;
    let resident_time = since(now, stored.response_time);
    corrected_initial_age.saturating_add(resident_time)
}

/// The corrected initial age of a response made at `date` (§4.2.3).
pub(crate) fn initial_age(stored: &StoredResponse, date: SystemTime) -> Duration {
    let age_value = Duration::from_secs(u64::from(age_value(&stored.headers)));
    let apparent_age = since(stored.response_time, date);
    let response_delay = since(stored.response_time, stored.request_time);
    let corrected_age_value = age_value.saturating_add(response_delay);
    apparent_age.max(corrected_age_value)
}

/// §4.2.1: "A cache can calculate the freshness lifetime […] by evaluating the following rules and using the first
/// match".
fn lifetime(
    stored: &StoredResponse,
    directives: &CacheControl,
    policy: &Policy,
) -> (Duration, LifetimeSource) {
    // "If the cache is shared and the s-maxage response directive […] is present, use its value, or"
    if let Some(s_maxage) = directives.s_maxage {
        return (s_maxage, LifetimeSource::SMaxage);
    }
    // "If the max-age response directive […] is present, use its value, or"
    if let Some(max_age) = directives.max_age {
        return (max_age, LifetimeSource::MaxAge);
    }
    // "If the Expires response header field […] is present, use its value minus the value of the Date response header
    // field (using the time the message was received if it is not present, as per Section 6.6.1 of [HTTP]), or"
    let times = Reckoned::times(stored);
    if let Some(lifetime) = times.expires.filter(|_| !directives.targeted) {
        return (lifetime, LifetimeSource::Expires);
    }
    // "Otherwise, no explicit expiration time is present in the response. A heuristic freshness lifetime might be
    // applicable".
    match heuristic_lifetime(stored.status, times, directives, policy) {
        Some(lifetime) => (lifetime, LifetimeSource::Heuristic),
        None => (Duration::ZERO, LifetimeSource::Nowhere),
    }
}

/// The lifetime that Expires gives a response made at `date`, where there is such a field.
pub(crate) fn lifetime_by_expires(stored: &StoredResponse, date: SystemTime) -> Option<Duration> {
    // §5.3: "A cache recipient MUST interpret invalid date formats, especially the value "0", as representing a time in
    // the past (i.e., "already expired")."
    let expires = || stored.read_date(&EXPIRES).map_or(Duration::ZERO, |expires| since(expires, date));
    stored.headers.contains_key(EXPIRES).then(expires)
}

fn heuristic_lifetime(
    status: StatusCode,
    times: &Times,
    directives: &CacheControl,
    policy: &Policy,
) -> Option<Duration> {
    // §4.2.2: heuristics "can only be used on responses without explicit freshness whose status codes are defined as
    // heuristically cacheable […], and on responses without explicit freshness that have been marked as explicitly
    // cacheable (e.g., with a public response directive)".
    if !is_heuristically_cacheable(status) && !directives.public {
        return None;
    }
    // "If the response has a Last-Modified header field […], caches are encouraged to use a heuristic expiration value
    // that is no more than some fraction of the interval since that time. A typical setting of this fraction might be
    // 10%."
    let unmodified = since(times.date, times.last_modified?);
    let share = unmodified.as_secs().saturating_mul(u64::from(policy.heuristic_percent)) / 100;
    Some(Duration::from_secs(share).min(policy.heuristic_cap))
}

/// Whether a response says itself how long it is fresh (§4.2.1).
pub(crate) fn has_explicit_freshness(headers: &HeaderMap, directives: &CacheControl) -> bool {
    directives.s_maxage.is_some()
        || directives.max_age.is_some()
        || (!directives.targeted && headers.contains_key(EXPIRES))
}

/// RFC 9110 §15.1: "Responses with status codes that are defined as heuristically cacheable (e.g., 200, 203, 204, 206,
/// 300, 301, 308, 404, 405, 410, 414, and 501 in this specification) can be reused by a cache with heuristic expiration".
pub(crate) fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// The time from `earlier` to `later`, or none at all where a clock went backwards.
fn since(later: SystemTime, earlier: SystemTime) -> Duration {
    later.duration_since(earlier).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::LifetimeSource::{Expires, Heuristic, MaxAge, Nowhere, SMaxage};
    use super::*;
    use crate::date::format_date;
    use crate::testing::{at, situation, stored};

    const DAY: u64 = 86_400;

    #[track_caller]
    fn check_status(status: u16, fields: &str, lifetime: u64, source: LifetimeSource) {
        // `@N` is the date N seconds after the start.
        let fields = fields.split('@').enumerate().fold(String::new(), |text, (place, piece)| match place {
            0 => piece.to_owned(),
            _ => {
                let (seconds, rest) = piece.split_once('\n').unwrap_or((piece, ""));
                let seconds: i64 = seconds.parse().expect("seconds");
                let moment = if seconds < 0 {
                    at(0) - Duration::from_secs(seconds.unsigned_abs())
                } else {
                    at(seconds as u64)
                };
                format!("{text}{}\n{rest}", format_date(moment).to_str().expect("text"))
            }
        });
        let found = freshness(&stored(status, &fields), &situation(0));
        assert_eq!((found.lifetime, found.source), (Duration::from_secs(lifetime), source), "{fields}");
    }

    #[track_caller]
    fn check(fields: &str, lifetime: u64, source: LifetimeSource) {
        check_status(200, fields, lifetime, source);
    }

    #[test]
    fn the_first_of_s_maxage_max_age_and_expires_counts_4_2_1() {
        check("cache-control: max-age=60, s-maxage=30\nexpires: @90", 30, SMaxage);
        check("cache-control: max-age=60\nexpires: @90", 60, MaxAge);
        check("expires: @90", 90, Expires);
        check("expires: @90\ndate: @-10", 100, Expires);
        check("cache-control: max-age=x\nexpires: @90", 0, MaxAge);
    }

    #[test]
    fn expires_that_cannot_be_read_is_in_the_past_5_3() {
        check("expires: 0", 0, Expires);
        check("expires: Thu, 18 Aug 2050 02:01:18 UTC", 0, Expires);
        check("expires: @-1", 0, Expires);
        check("expires: 0\nlast-modified: @-1000000", 0, Expires);
        check("expires: THU, 18 AUG 2050 02:01:18 gmt\ndate: Wed, 18 Aug 2050 02:00:18 GMT", 60, Expires);
    }

    #[test]
    fn a_tenth_of_the_time_since_last_modified_up_to_a_week_4_2_2() {
        check(&format!("last-modified: @-{}", 10 * DAY), DAY, Heuristic);
        check(&format!("last-modified: @-{}", 1000 * DAY), 7 * DAY, Heuristic);
        check("last-modified: @10", 0, Heuristic);
        check("etag: 1", 0, Nowhere);
        check("last-modified: broken", 0, Nowhere);
        check("cache-control: public", 0, Nowhere);
    }

    #[test]
    fn heuristics_are_for_some_statuses_and_for_public_4_2_2() {
        for status in [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501] {
            check_status(status, "last-modified: @-1000", 100, Heuristic);
        }
        for status in [201, 202, 302, 303, 307, 400, 403, 429, 500, 503, 599] {
            check_status(status, "last-modified: @-1000", 0, Nowhere);
            check_status(status, "last-modified: @-1000\ncache-control: public", 100, Heuristic);
        }
    }

    #[track_caller]
    fn check_age(fields: &str, request_to_response: u64, now: u64, age: u64) {
        let mut response = stored(200, fields);
        response.response_time = at(request_to_response);
        let found = current_age(&response, at(now));
        assert_eq!(found, Duration::from_secs(age), "{fields}");
    }

    #[test]
    fn age_is_the_arithmetic_of_4_2_3() {
        check_age("date: Sun, 06 Nov 1994 08:49:37 GMT", 0, 30, 30);
        check_age("date: Sun, 06 Nov 1994 08:49:17 GMT", 0, 30, 50); // apparent_age
        check_age("date: Sun, 06 Nov 1994 08:49:57 GMT", 0, 30, 30); // a clock ahead of ours
        check_age("date: Sun, 06 Nov 1994 08:49:37 GMT\nage: 7", 2, 30, 37); // age and response_delay
        check_age("date: Sun, 06 Nov 1994 08:48:37 GMT\nage: 7", 2, 30, 90); // the larger one
    }

    #[test]
    fn a_clock_set_back_makes_nothing_older_or_newer() {
        check_age("date: Sun, 06 Nov 1994 08:49:37 GMT\nage: 7", 10, 0, 17);
    }

    #[test]
    fn a_huge_age_is_stale_5_1() {
        let response = stored(200, "cache-control: max-age=2147483648\nage: 99999999999");
        assert!(!freshness(&response, &situation(0)).is_fresh());
    }

    proptest! {
        #[test]
        fn more_age_never_makes_fresh(
            lifetime in 0u64..100, initial in 0u64..100, now in 0u64..200, later in 0u64..200, date in 0u64..50,
        ) {
            let date = format_date(at(date));
            let fields = format!("age: {initial}\ncache-control: max-age={lifetime}\ndate: {}", date.to_str().expect("text"));
            let response = stored(200, &fields);
            let fresh_at = |second| freshness(&response, &situation(second)).is_fresh();
            prop_assert!(fresh_at(now) || !fresh_at(now + later));
        }
    }
}
