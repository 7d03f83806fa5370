//! How often each client address may ask: a token bucket for each (governor's GCRA). It limits requests; bytes are
//! the link's affair.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::respond::Refusal;

/// Requests a second for each client address, with bursts of as many as a second allows.
pub(crate) struct Allowance {
    limiter: RateLimiter<IpAddr, HashMapStateStore<IpAddr>, DefaultClock>,
    taken: AtomicU32,
}

/// Requests between two times that full buckets, which say nothing, are forgotten.
const SWEEP: u32 = 4096;

impl Allowance {
    /// An allowance of `requests_per_second`.
    pub(crate) fn new(requests_per_second: NonZeroU32) -> Self {
        let limiter = RateLimiter::hashmap(Quota::per_second(requests_per_second));
        Self { limiter, taken: AtomicU32::new(0) }
    }

    /// Takes one request off the allowance of `client`.
    ///
    /// # Errors
    /// 429 with the time after which to ask again.
    pub(crate) fn take(&self, client: IpAddr) -> Result<(), Refusal> {
        if self.taken.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1 {
            self.limiter.retain_recent();
        }
        let verdict = self.limiter.check_key(&client);
        verdict.map_err(|not_until| Refusal::TooManyRequests {
            wait: not_until.wait_time_from(self.limiter.clock().now()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_allowance() {
        let allowance = Allowance::new(NonZeroU32::MIN);
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        assert!(allowance.take(one).is_ok());
        assert!(matches!(allowance.take(one), Err(Refusal::TooManyRequests { .. })));
        assert!(allowance.take(other).is_ok());
    }
}
