//! Which exchanges the access log tells where it does not tell all: of what went well a share, of what did not
//! everything.

use std::hash::{BuildHasher as _, RandomState};

use http::StatusCode;

use super::event::cut_short;
use crate::config::{Sampling, Share};
use crate::exchange::{CacheStatus, Details};

/// Draws lots.
pub(super) struct Sampler {
    sampling: Sampling,
    key: RandomState,
}

impl Sampler {
    pub(super) fn new(sampling: Sampling) -> Self {
        Self { sampling, key: RandomState::new() }
    }

    /// Whether some may be left out.
    pub(super) fn is_on(&self) -> bool {
        self.sampling != Sampling::ALL
    }

    /// The share of those like it that is written.
    pub(super) fn share(&self, details: &Details) -> Share {
        let is_error = |status: StatusCode| status.is_client_error() || status.is_server_error();
        let is_trouble = details.error.is_some()
            || details.nothing_asked
            || cut_short(details).is_some()
            || details.status.is_none_or(is_error);
        match &details.cache {
            _ if is_trouble => Share::ALL,
            CacheStatus::Hit => self.sampling.hit,
            CacheStatus::Forwarded(_) => self.sampling.miss,
            CacheStatus::Tunnel | CacheStatus::Intercepted => self.sampling.tunnel,
            CacheStatus::Unasked => self.sampling.own,
        }
    }

    /// Whether the exchange of this number is written, where `share` of those like it are.
    pub(super) fn takes(&self, number: u64, share: Share) -> bool {
        share.takes(self.key.hash_one(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{Cut, Forwarded};

    fn check(sampling: &str, details: &Details, expected: f64) {
        let config =
            crate::Config::from_flags(["--set", &format!("log.sample={sampling}")]).expect("a share");
        let sampler = Sampler::new(config.log.sampling);
        let share = sampler.share(details);
        let taken = (0..10_000).filter(|number| sampler.takes(*number, share)).count();
        assert!((taken as f64 / 1e4 - expected).abs() < 0.05, "{sampling}: {taken}, not {expected}");
    }

    #[test]
    fn a_share_of_what_went_well_and_all_of_what_did_not_is_written() {
        let ok = |cache: CacheStatus| Details { cache, status: Some(StatusCode::OK), ..Details::default() };
        let miss = || CacheStatus::Forwarded(Forwarded::new("uri-miss"));
        check("0.3", &ok(CacheStatus::Hit), 0.3);
        check("0.3", &ok(miss()), 0.3);
        check("hit=0.1,tunnel=0", &ok(CacheStatus::Hit), 0.1);
        check("hit=0.1,tunnel=0", &ok(CacheStatus::Tunnel), 0.0);
        check("hit=0.1,tunnel=0", &ok(miss()), 1.0);
        check("own=0", &ok(CacheStatus::Unasked), 0.0);
        check("0", &Details { status: Some(StatusCode::NOT_FOUND), ..ok(miss()) }, 1.0);
        check("0", &Details { error: Some("dns_error"), ..ok(miss()) }, 1.0);
        check("0", &Details { cut_short: Some(Cut::Origin), ..ok(miss()) }, 1.0);
        check("0", &Details { status: None, ..ok(miss()) }, 1.0);
    }
}
