//! `Outcome`: what became of an exchange, in one word: for the metrics and for people, where Cache-Status is for programs.

use http::StatusCode;
use rfc9111::Because;

use super::{CacheStatus, Details, Forwarded};

/// What became of an exchange, from the client's point of view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Served from what is stored, and fresh.
    Hit,
    /// Served from what is stored although its time is over.
    Stale,
    /// The origin said that what is stored still holds.
    Revalidated,
    /// Served by a fetch that another request had begun.
    Collapsed,
    /// Fetched.
    Miss,
    /// Fetched, and the cache has no part in such requests.
    Pass,
    /// Was to be fetched, and could not.
    Failed,
    Tunnel,
    /// A tunnel that was looked into.
    Intercepted,
    /// Refused before the cache was asked.
    Refused,
    /// A page of our own.
    Own,
}

/// All of them, each with its name.
pub(crate) const OUTCOMES: [(Outcome, &str); 11] = [
    (Outcome::Hit, "hit"),
    (Outcome::Stale, "stale"),
    (Outcome::Revalidated, "revalidated"),
    (Outcome::Collapsed, "collapsed"),
    (Outcome::Miss, "miss"),
    (Outcome::Pass, "pass"),
    (Outcome::Failed, "failed"),
    (Outcome::Tunnel, "tunnel"),
    (Outcome::Intercepted, "intercepted"),
    (Outcome::Refused, "refused"),
    (Outcome::Own, "own"),
];
impl Outcome {
    /// Of an exchange of which this became known.
    pub(crate) fn of(details: &Details) -> Self {
        let because = details.because.as_ref().map(Because::bare);
        let is_stale = matches!(
            because,
            Some(
                Because::MaxStale(_)
                    | Because::Disconnected(_)
                    | Because::StaleWhileRevalidate(..)
                    | Because::StaleIfError(..)
            )
        );
        match &details.cache {
            CacheStatus::Tunnel => Outcome::Tunnel,
            CacheStatus::Intercepted => Outcome::Intercepted,
            CacheStatus::Unasked if details.error.is_some() => Outcome::Refused,
            CacheStatus::Unasked => Outcome::Own,
            CacheStatus::Hit if is_stale => Outcome::Stale,
            CacheStatus::Hit => Outcome::Hit,
            CacheStatus::Forwarded(_) if details.error.is_some() => Outcome::Failed,
            CacheStatus::Forwarded(Forwarded { detail: Some("unreachable"), .. }) => Outcome::Stale,
            CacheStatus::Forwarded(_) if is_stale => Outcome::Stale,
            CacheStatus::Forwarded(Forwarded { status: Some(StatusCode::NOT_MODIFIED), .. }) => {
                Outcome::Revalidated
            }
            CacheStatus::Forwarded(Forwarded { collapsed: Some(true), .. }) => Outcome::Collapsed,
            CacheStatus::Forwarded(Forwarded { reason: "bypass" | "method", .. }) => Outcome::Pass,
            CacheStatus::Forwarded(_) => Outcome::Miss,
        }
    }

    /// Its place among all.
    pub(crate) fn place(self) -> usize {
        OUTCOMES.iter().position(|(one, _)| *one == self).unwrap_or(0)
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        OUTCOMES.get(self.place()).map_or("", |(_, name)| name)
    }
}

/// An answer that the cache had a part in, by who gave it: what ratios of hits are of. Failures, refusals, pages of our
/// own, tunnels, and exchanges whose client left before it was answered are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// From what is stored, fresh or stale.
    Hit,
    /// From what is stored, once the origin had said that it still holds.
    Revalidated,
    /// From the origin.
    Origin,
}

impl Answer {
    /// That of an exchange of which this became known.
    pub(crate) fn of(details: &Details) -> Option<Self> {
        let answer = match Outcome::of(details) {
            Outcome::Hit | Outcome::Stale => Self::Hit,
            Outcome::Revalidated => Self::Revalidated,
            Outcome::Collapsed | Outcome::Miss | Outcome::Pass => Self::Origin,
            Outcome::Tunnel | Outcome::Intercepted | Outcome::Failed | Outcome::Refused | Outcome::Own => {
                return None;
            }
        };
        details.status.map(|_| answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(cache: CacheStatus, error: Option<&'static str>, expected: &str) {
        let details = Details { cache, error, ..Details::default() };
        assert_eq!(Outcome::of(&details).name(), expected, "{details:?}");
    }

    fn forwarded(reason: &'static str, change: impl FnOnce(&mut Forwarded)) -> CacheStatus {
        let mut forwarded = Forwarded::new(reason);
        change(&mut forwarded);
        CacheStatus::Forwarded(forwarded)
    }

    #[test]
    fn every_outcome_has_a_word() {
        check(CacheStatus::Hit, None, "hit");
        check(CacheStatus::Tunnel, Some("connection_refused"), "tunnel");
        check(CacheStatus::Intercepted, None, "intercepted");
        check(CacheStatus::Unasked, None, "own");
        check(CacheStatus::Unasked, Some("http_request_denied"), "refused");
        check(forwarded("uri-miss", |_| ()), None, "miss");
        check(forwarded("uri-miss", |_| ()), Some("dns_error"), "failed");
        check(forwarded("method", |_| ()), None, "pass");
        check(forwarded("uri-miss", |it| it.collapsed = Some(true)), None, "collapsed");
        check(forwarded("uri-miss", |it| it.collapsed = Some(false)), None, "miss");
        check(forwarded("stale", |it| it.status = Some(StatusCode::NOT_MODIFIED)), None, "revalidated");
        check(forwarded("stale", |it| it.detail = Some("unreachable")), None, "stale");
        let answer = |cache, error, status| {
            Answer::of(&Details { cache, error, status: Some(status), ..Details::default() })
        };
        let (ok, failed) = (StatusCode::OK, StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(answer(forwarded("uri-miss", |_| ()), None, ok), Some(Answer::Origin));
        assert_eq!(answer(forwarded("uri-miss", |_| ()), Some("dns_error"), failed), None);
        let unreachable = forwarded("stale", |it| it.detail = Some("unreachable"));
        assert_eq!(answer(unreachable, None, ok), Some(Answer::Hit));
        assert_eq!(answer(CacheStatus::Tunnel, None, ok), None);
        let left = Details { cache: forwarded("uri-miss", |_| ()), ..Details::default() };
        assert_eq!(Answer::of(&left), None);
        for (place, (outcome, _)) in OUTCOMES.iter().enumerate() {
            assert_eq!(outcome.place(), place);
        }
    }
}
