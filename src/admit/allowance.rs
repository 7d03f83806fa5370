//! How often each client may do something: a token bucket for each (governor's GCRA), in bounded memory. It limits
//! requests; bytes are the link's affair.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

/// So many a second for each client, and so many at once.
pub(crate) struct Allowance {
    limiter: RateLimiter<u64, HashMapStateStore<u64>, RuntimeClock, NoOpMiddleware<Nanos>>,
    hasher: RandomState,
    taken: AtomicU32,
}

/// Takings between two times that full buckets, which say nothing, are forgotten.
const SWEEP: u32 = 4096;

/// Clients that have a bucket of their own at the same moment. Beyond them clients share `SHARED` buckets.
const MOST: usize = 16 * 1024;
const SHARED: u64 = 1024;

impl Allowance {
    /// An allowance of one every `period`, and of `burst` at once.
    pub(crate) fn new(period: Duration, burst: NonZeroU32) -> Self {
        // A period of nothing would be no limit, which nobody asks for here.
        let quota = Quota::with_period(period.max(Duration::from_nanos(1)));
        let quota = quota.unwrap_or_else(|| Quota::per_second(NonZeroU32::MAX)).allow_burst(burst);
        let limiter = RateLimiter::hashmap_with_clock(quota, RuntimeClock(Instant::now()));
        Self { limiter, hasher: RandomState::new(), taken: AtomicU32::new(0) }
    }

    /// Takes one off the allowance of `client`.
    ///
    /// # Errors
    /// How long it is until there is one to take.
    pub(crate) fn take(&self, client: impl Hash) -> Result<(), Duration> {
        if self.taken.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1 {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        let own = self.hasher.hash_one(client);
        let bucket = if self.limiter.len() < MOST { own } else { own % SHARED };
        let verdict = self.limiter.check_key(&bucket);
        verdict.map_err(|not_until| not_until.wait_time_from(self.limiter.clock().now()))
    }
}

/// The runtime's clock as governor reads it, which tests can move.
#[derive(Clone, Debug)]
struct RuntimeClock(Instant);

impl Clock for RuntimeClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.elapsed().into()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn allowance(burst: u32) -> Allowance {
        Allowance::new(Duration::from_secs(1), NonZeroU32::new(burst).expect("a number"))
    }

    #[tokio::test(start_paused = true)]
    async fn each_client_has_its_own_allowance() {
        let allowance = allowance(1);
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        assert_eq!(allowance.take(one), Ok(()));
        assert_eq!(allowance.take(one), Err(Duration::from_secs(1)));
        assert_eq!(allowance.take(other), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_made_good_at_the_rate() {
        let allowance = allowance(3);
        let take = || allowance.take("client");
        assert_eq!([take(), take(), take()], [Ok(()); 3]);
        assert_eq!(take(), Err(Duration::from_secs(1)));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!([take(), take()], [Ok(()); 2]);
        assert!(take().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_million_clients_take_bounded_memory() {
        let allowance = allowance(1);
        for client in 0..1_000_000_u32 {
            let _ = allowance.take(client);
            assert!(client % 50_000 != 0 || allowance.limiter.len() <= MOST + 1024);
        }
        assert!(allowance.limiter.len() <= MOST + 1024);
        tokio::time::advance(Duration::from_secs(60)).await;
        (0..SWEEP).for_each(|_| _ = allowance.take("one"));
        assert!(allowance.limiter.len() <= 2, "what says nothing is forgotten");
    }
}
