//! Credentials that were found right: for a moment they are taken for right without looking, so that a page of fifty
//! requests costs one slow comparison, and for a day it is known that whoever presents them guesses nothing. What is
//! remembered is a keyed hash of them and of the client's address, under a key that ends with the process.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::neighbourhood;

/// Credentials as they are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mark([u8; 32]);

/// Credentials that were found right.
pub(super) struct Remembered {
    key: [u8; 32],
    marks: Mutex<Marks>,
}

#[derive(Clone, Default)]
struct Marks {
    proofs: HashMap<Mark, Proof>,
    /// How often the accounts have changed.
    generation: u64,
}

/// That credentials were found right.
#[derive(Clone)]
struct Proof {
    account: Arc<str>,
    found: Instant,
    /// Of the accounts with which they were compared.
    generation: u64,
}

/// How long they are taken for right without looking.
const LIFETIME: Duration = Duration::from_mins(10);

/// How long it is known that they were right.
const PROVEN: Duration = Duration::from_hours(24);

/// How many are remembered at most.
const MOST: usize = 4096;

impl Remembered {
    pub(super) fn new() -> Self {
        let mut key = [0; 32];
        // The standard library's hash keys are random, and what is hashed under them says nothing of them.
        for (place, number) in key.chunks_exact_mut(8).zip(0_u64..) {
            place.copy_from_slice(&RandomState::new().hash_one(number).to_ne_bytes());
        }
        Self { key, marks: Mutex::default() }
    }

    /// What is known of them under other accounts: that they were right, and not that they are.
    pub(super) fn carried_over(&self) -> Self {
        let mut marks = self.lock().clone();
        marks.generation = marks.generation.wrapping_add(1);
        Self { key: self.key, marks: Mutex::new(marks) }
    }

    /// How the value of a Proxy-Authorization field from `address` is remembered. Who guesses elsewhere must not learn
    /// from it, without any wait, which credentials are in use here.
    pub(super) fn mark(&self, address: IpAddr, credentials: &[u8]) -> Mark {
        let client = match neighbourhood::of(address) {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let hash = Sha256::new().chain_update(self.key).chain_update(client.octets());
        Mark(hash.chain_update(credentials).finalize().into())
    }

    /// The account that `mark` was found to be of a moment ago.
    pub(super) fn account(&self, mark: &Mark, now: Instant) -> Option<Arc<str>> {
        let marks = self.lock();
        let proof = marks.proofs.get(mark).filter(|proof| proof.generation == marks.generation);
        proof.filter(|proof| proof.is_within(LIFETIME, now)).map(|proof| proof.account.clone())
    }

    /// Whether `mark` was found right of late, perhaps with other accounts than there are now.
    pub(super) fn is_proven(&self, mark: &Mark, now: Instant) -> bool {
        self.lock().proofs.get(mark).is_some_and(|proof| proof.is_within(PROVEN, now))
    }

    /// `mark` was right and is no longer.
    pub(super) fn disprove(&self, mark: &Mark) {
        self.lock().proofs.remove(mark);
    }

    /// What a comparison that begins now belongs to: what it finds is noted only if nothing has changed meanwhile.
    pub(super) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// `mark` was found to be of `account`, by a comparison that began in `generation`.
    pub(super) fn note(&self, mark: Mark, account: Arc<str>, generation: u64, now: Instant) {
        let mut marks = self.lock();
        if marks.generation != generation {
            return;
        }
        let proofs = &mut marks.proofs;
        if proofs.len() >= MOST {
            proofs.retain(|_, proof| proof.is_within(PROVEN, now));
        }
        if proofs.len() >= MOST
            && let Some(any) = proofs.keys().next().copied()
        {
            proofs.remove(&any);
        }
        proofs.insert(mark, Proof { account, found: now, generation });
    }

    /// Nothing is taken for right without looking any more: the accounts have changed.
    pub(super) fn doubt(&self) {
        let mut marks = self.lock();
        marks.generation = marks.generation.wrapping_add(1);
    }

    fn lock(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Proof {
    fn is_within(&self, time: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.found) < time
    }
}

impl Mark {
    /// One of `count` numbers, the same for the same mark.
    pub(super) fn stripe(&self, count: usize) -> usize {
        usize::from(self.0[0]) % count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    #[tokio::test(start_paused = true)]
    async fn credentials_are_taken_for_right_for_ten_minutes_and_known_for_a_day() {
        let remembered = Remembered::new();
        let mark = remembered.mark(HERE, b"Basic YTpi");
        remembered.note(mark, "ann".into(), 0, Instant::now());
        let later = |minutes| Instant::now() + Duration::from_mins(minutes);
        assert_eq!(remembered.account(&mark, later(9)).as_deref(), Some("ann"));
        assert_eq!(remembered.account(&mark, later(10)), None);
        assert!(
            remembered.is_proven(&mark, later(24 * 60 - 1)) && !remembered.is_proven(&mark, later(24 * 60))
        );
        let other = remembered.mark(HERE, b"Basic YTpj");
        assert!(remembered.account(&other, later(0)).is_none() && !remembered.is_proven(&other, later(0)));
        remembered.doubt();
        assert!(remembered.account(&mark, later(0)).is_none() && remembered.is_proven(&mark, later(0)));
        remembered.note(mark, "ann".into(), 0, Instant::now());
        assert_eq!(remembered.account(&mark, later(0)), None, "compared with what holds no more");
        remembered.note(mark, "ann".into(), remembered.generation(), Instant::now());
        assert!(remembered.account(&mark, later(0)).is_some());
        let after = remembered.carried_over();
        assert!(after.account(&mark, later(0)).is_none() && after.is_proven(&mark, later(0)));
        after.disprove(&mark);
        assert!(!after.is_proven(&mark, later(0)) && remembered.is_proven(&mark, later(0)));
    }

    #[tokio::test(start_paused = true)]
    async fn they_take_bounded_memory_and_mean_nothing_elsewhere() {
        let remembered = Remembered::new();
        for number in 0..10_000_u32 {
            let mark = remembered.mark(HERE, &number.to_be_bytes());
            remembered.note(mark, "ann".into(), 0, Instant::now());
        }
        assert_eq!(remembered.lock().proofs.len(), MOST);
        assert_ne!(Remembered::new().mark(HERE, b"x"), remembered.mark(HERE, b"x"));
        assert_ne!(remembered.mark(IpAddr::from([10, 0, 0, 2]), b"x"), remembered.mark(HERE, b"x"));
    }
}
