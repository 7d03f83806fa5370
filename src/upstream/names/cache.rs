//! What is known about names, and for how long: answers for their TTL, their absence for the SOA's (RFC 2308), the last
//! answer long after its time where nothing better is to be had (RFC 8767), failures for a moment (RFC 9520). Pure: it
//! asks nobody and takes the time as an argument.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// Names remembered at most; the ones used longest ago go first, and those that do not exist before those that do.
pub(super) const MOST: usize = 10_000;

/// How long an answer counts, whatever its TTL says: less would ask for every connection, and an address of yesterday
/// is worth a question.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_hours(24);

/// "a resolver ... SHOULD limit the time" that an absence is kept (RFC 2308 §5 allows hours): somebody may be waiting for
/// the name to appear.
const LONGEST_ABSENCE: Duration = Duration::from_mins(5);

/// "attempts to refresh from non-responsive or otherwise failing authoritative nameservers are recommended to be done no
/// more frequently than every 30 seconds" (RFC 8767 §5).
const RECHECK: Duration = Duration::from_secs(30);

/// "resolvers MUST cache resolution failures for at least 1 second", 5 are recommended (RFC 9520 §3.2).
const FAILURE: Duration = Duration::from_secs(5);

/// At least one address, in the order of the answer.
pub(crate) type Addresses = Arc<[IpAddr]>;

/// Why there is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The name does not exist (NXDOMAIN).
    NoName,
    /// It exists and has no address.
    NoAddress,
    /// The name server could not say; the response code in words, or none where it did not answer at all.
    Failed(Option<&'static str>),
}

/// What came of asking.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Found(Addresses, Duration),
    Absent(Missing, Duration),
    Failed(Option<&'static str>),
}

impl Outcome {
    pub(super) fn answer(&self) -> Result<Addresses, Missing> {
        match self {
            Self::Found(addresses, _) => Ok(addresses.clone()),
            Self::Absent(missing, _) => Err(*missing),
            Self::Failed(code) => Err(Missing::Failed(*code)),
        }
    }
}

/// What is known about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Fresh(Result<Addresses, Missing>),
    /// An answer whose time is over; whether to ask for another.
    Stale(Addresses, bool),
    Nothing,
}

struct Entry {
    answer: Result<Addresses, Missing>,
    until: Instant,
    /// Until when it may be used if nothing better is to be had; not after `until` for what is no answer.
    stale_until: Instant,
    /// Before it nobody is asked again.
    recheck: Instant,
    used: u64,
}

/// Names and what is known about them.
pub(super) struct Cache {
    entries: HashMap<Box<str>, Entry>,
    stale: Duration,
    uses: u64,
}

impl Cache {
    /// A cache that keeps answers for `stale` after their time.
    pub(super) fn new(stale: Duration) -> Self {
        Self { entries: HashMap::new(), stale, uses: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn look(&mut self, name: &str, now: Instant) -> Known {
        self.uses += 1;
        let Some(entry) = self.entries.get_mut(name) else { return Known::Nothing };
        entry.used = self.uses;
        match &entry.answer {
            answer if now < entry.until => Known::Fresh(answer.clone()),
            Ok(addresses) if now < entry.stale_until => Known::Stale(addresses.clone(), now >= entry.recheck),
            _ => Known::Nothing,
        }
    }

    pub(super) fn put(&mut self, name: &str, outcome: &Outcome, now: Instant) {
        let answer = outcome.answer();
        let (until, stale) = match outcome {
            Outcome::Found(_, lifetime) => (now + (*lifetime).clamp(SHORTEST, LONGEST), self.stale),
            Outcome::Absent(_, lifetime) => {
                (now + (*lifetime).clamp(SHORTEST, LONGEST_ABSENCE), Duration::ZERO)
            }
            Outcome::Failed(_) => (now + FAILURE, Duration::ZERO),
        };
        if let (Outcome::Failed(_), Some(entry)) = (outcome, self.entries.get_mut(name))
            && entry.answer.is_ok()
            && now < entry.stale_until
        {
            entry.recheck = now + RECHECK;
            return;
        }
        if !self.entries.contains_key(name) && self.entries.len() >= MOST {
            self.make_room(now);
        }
        self.uses += 1;
        let entry = Entry { answer, until, stale_until: until + stale, recheck: until, used: self.uses };
        self.entries.insert(name.into(), entry);
    }

    /// Drops a sixteenth at once, so that a flood of names does not cost a search each.
    fn make_room(&mut self, now: Instant) {
        self.entries.retain(|_, entry| now < entry.stale_until);
        let mut ranks: Vec<_> = self.entries.values().map(Entry::rank).collect();
        let surplus = (self.entries.len() + MOST / 16).saturating_sub(MOST);
        let Some(last) = surplus.checked_sub(1).filter(|last| *last < ranks.len()) else { return };
        let (_, limit, _) = ranks.select_nth_unstable(last);
        let limit = *limit;
        self.entries.retain(|_, entry| entry.rank() > limit);
    }
}

impl Entry {
    /// What has a lower one goes first. No two entries have the same.
    fn rank(&self) -> (bool, u64) {
        (self.answer.is_ok(), self.used)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STALE: Duration = Duration::from_hours(48);

    fn found(last: u8, seconds: u64) -> Outcome {
        Outcome::Found([IpAddr::from([192, 0, 2, last])].into(), Duration::from_secs(seconds))
    }

    /// What is known `after` seconds when the outcomes came at their seconds.
    fn check(outcomes: &[(u64, Outcome)], after: u64, expected: &str) {
        let (begun, mut cache) = (Instant::now(), Cache::new(STALE));
        let at = |seconds| begun + Duration::from_secs(seconds);
        for (seconds, outcome) in outcomes {
            cache.put("a", outcome, at(*seconds));
        }
        let known = match cache.look("a", at(after)) {
            Known::Fresh(Ok(addresses)) => format!("fresh {}", addresses[0]),
            Known::Fresh(Err(missing)) => format!("{missing:?}"),
            Known::Stale(addresses, ask) => {
                format!("stale {}{}", addresses[0], if ask { ", ask" } else { "" })
            }
            Known::Nothing => "nothing".to_owned(),
        };
        assert_eq!(known, expected, "{outcomes:?} after {after}");
    }

    #[test]
    fn an_answer_counts_for_its_time_and_is_stale_for_long() {
        check(&[], 0, "nothing");
        check(&[(0, found(1, 60))], 59, "fresh 192.0.2.1");
        check(&[(0, found(1, 60))], 60, "stale 192.0.2.1, ask");
        check(&[(0, found(1, 60))], 60 + 48 * 3600, "nothing");
        check(&[(0, found(1, 0))], 0, "fresh 192.0.2.1");
        check(&[(0, found(1, 0))], 1, "stale 192.0.2.1, ask");
        check(&[(0, found(1, u64::from(u32::MAX)))], 86_399, "fresh 192.0.2.1");
        check(&[(0, found(1, u64::from(u32::MAX)))], 86_400, "stale 192.0.2.1, ask");
    }

    #[test]
    fn a_failure_leaves_the_last_answer_and_is_not_repeated_at_once() {
        let failed = || Outcome::Failed(Some("SERVFAIL"));
        check(&[(0, found(1, 60)), (60, failed())], 61, "stale 192.0.2.1");
        check(&[(0, found(1, 60)), (60, failed())], 90, "stale 192.0.2.1, ask");
        check(&[(0, found(1, 60)), (60, failed()), (90, found(2, 60))], 91, "fresh 192.0.2.2");
        check(&[(0, failed())], 4, "Failed(Some(\"SERVFAIL\"))");
        check(&[(0, failed())], 5, "nothing");
    }

    #[test]
    fn absence_is_an_answer_that_is_never_stale() {
        let absent = |seconds| Outcome::Absent(Missing::NoName, Duration::from_secs(seconds));
        check(&[(0, found(1, 60)), (60, absent(30))], 61, "NoName");
        check(&[(0, found(1, 60)), (60, absent(30))], 90, "nothing");
        check(&[(0, absent(86_400))], 299, "NoName");
        check(&[(0, absent(86_400))], 300, "nothing");
    }

    #[test]
    fn what_does_not_exist_goes_before_what_does() {
        let (now, mut cache) = (Instant::now(), Cache::new(STALE));
        cache.put("real", &found(1, 60), now);
        for number in 0..3 * MOST {
            let absent = Outcome::Absent(Missing::NoName, Duration::from_secs(60));
            cache.put(&format!("random-{number}"), &absent, now);
            assert!(cache.len() <= MOST);
        }
        assert!(matches!(cache.look("real", now), Known::Fresh(Ok(_))));
        let last = format!("random-{}", 3 * MOST - 1);
        assert_eq!(cache.look(&last, now), Known::Fresh(Err(Missing::NoName)));
        assert_eq!(cache.look("random-0", now), Known::Nothing);
    }

    proptest! {
        #[test]
        fn more_time_never_makes_fresh(ttl in 0..200_000_u64, first in 0..400_000_u64, more in 0..400_000_u64) {
            let (begun, mut cache) = (Instant::now(), Cache::new(STALE));
            cache.put("a", &found(1, ttl), begun);
            let rank = |known| match known { Known::Fresh(_) => 2, Known::Stale(..) => 1, Known::Nothing => 0 };
            let early = rank(cache.look("a", begun + Duration::from_secs(first)));
            let late = rank(cache.look("a", begun + Duration::from_secs(first + more)));
            prop_assert!(late <= early);
        }
    }
}
