//! Guessing made slow: who has presented wrong credentials several times in a row has to wait, by address and by the
//! account that was meant. It does not know what was wrong.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::allowance::Allowance;
use super::neighbourhood;
use crate::respond::Refusal;

/// Failures of late, and who has to wait because of them.
pub(crate) struct Failures {
    by_address: Allowance,
    /// More than by address: whoever knows a name must not be able to keep its owner out by a few requests.
    by_account: Allowance,
    hasher: RandomState,
    waiting: Mutex<HashMap<u64, Instant>>,
}

/// After so many failures at once there is one every `PERIOD`.
const OF_ADDRESS: NonZeroU32 = match NonZeroU32::new(5) {
    Some(number) => number,
    None => NonZeroU32::MIN,
};
const OF_ACCOUNT: NonZeroU32 = match NonZeroU32::new(20) {
    Some(number) => number,
    None => NonZeroU32::MIN,
};
const PERIOD: Duration = Duration::from_secs(5);

/// Those who wait at the same moment, at most.
const MOST: usize = 16 * 1024;

impl Failures {
    pub(crate) fn new() -> Self {
        Self {
            by_address: Allowance::new(PERIOD, OF_ADDRESS),
            by_account: Allowance::new(PERIOD, OF_ACCOUNT),
            hasher: RandomState::new(),
            waiting: Mutex::default(),
        }
    }

    /// Whether credentials from `address` for `account` are looked at now.
    ///
    /// # Errors
    /// 429 with the time after which to try again.
    pub(crate) fn check(&self, address: IpAddr, account: Option<&str>, now: Instant) -> Result<(), Refusal> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let until = self.keys(address, account).filter_map(|key| waiting.get(&key)).max();
        match until.map(|until| until.saturating_duration_since(now)).filter(|wait| !wait.is_zero()) {
            Some(wait) => Err(Refusal::TooManyFailures { wait }),
            None => Ok(()),
        }
    }

    /// Credentials from `address` for `account` were wrong.
    pub(crate) fn note(&self, address: IpAddr, account: Option<&str>, now: Instant) {
        let by_address = self.by_address.take(neighbourhood::of(address)).is_err();
        let by_account = account.is_some_and(|account| self.by_account.take(account).is_err());
        let too_many = self.keys(address, account).zip([by_address, by_account]);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, _) in too_many.filter(|(_, too_many)| *too_many) {
            if waiting.len() >= MOST {
                waiting.retain(|_, until| *until > now);
            }
            if waiting.len() < MOST {
                waiting.insert(key, now + PERIOD);
            }
        }
    }

    fn keys<'a>(&'a self, address: IpAddr, account: Option<&'a str>) -> impl Iterator<Item = u64> + 'a {
        let address = self.hasher.hash_one(("address", neighbourhood::of(address)));
        let account = account.map(|account| self.hasher.hash_one(("account", account)));
        [address].into_iter().chain(account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn elsewhere(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 1, number])
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_waits_after_five_failures() {
        let failures = Failures::new();
        let may = |address| failures.check(address, Some("ann"), Instant::now()).is_ok();
        for _ in 0..5 {
            failures.note(HERE, Some("ann"), Instant::now());
            assert!(may(HERE));
        }
        failures.note(HERE, Some("bob"), Instant::now());
        assert!(!may(HERE) && may(elsewhere(1)), "the sixth, whoever was meant");
        let refusal = failures.check(HERE, None, Instant::now());
        assert!(matches!(refusal, Err(Refusal::TooManyFailures { wait }) if wait == PERIOD));
        tokio::time::advance(PERIOD).await;
        assert!(may(HERE));
        (0..2).for_each(|_| failures.note(HERE, None, Instant::now()));
        assert!(!may(HERE), "one every five seconds from then on");
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_waits_wherever_it_is_guessed_at() {
        let failures = Failures::new();
        (0..21).for_each(|number| failures.note(elsewhere(number), Some("ann"), Instant::now()));
        assert!(failures.check(HERE, Some("ann"), Instant::now()).is_err());
        assert!(failures.check(HERE, Some("bob"), Instant::now()).is_ok());
        tokio::time::advance(PERIOD).await;
        assert!(failures.check(HERE, Some("ann"), Instant::now()).is_ok());
    }
}
