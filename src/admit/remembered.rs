//! Credentials that were found right a moment ago, so that a page of fifty requests costs one slow comparison. What is
//! remembered is a keyed hash of them, under a key that ends with the process.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

/// Credentials as they are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mark([u8; 32]);

/// Credentials that were found right.
pub(super) struct Remembered {
    key: [u8; 32],
    marks: Mutex<Marks>,
}

#[derive(Default)]
struct Marks {
    accounts: HashMap<Mark, (Instant, Arc<str>)>,
    /// How often all of them were forgotten.
    generation: u64,
}

/// How long they are taken for right without looking.
const LIFETIME: Duration = Duration::from_mins(10);

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

    /// How the value of a Proxy-Authorization field is remembered.
    pub(super) fn mark(&self, credentials: &[u8]) -> Mark {
        Mark(Sha256::new().chain_update(self.key).chain_update(credentials).finalize().into())
    }

    /// The account that `mark` was found to be of.
    pub(super) fn account(&self, mark: &Mark, now: Instant) -> Option<Arc<str>> {
        let marks = self.lock();
        marks.accounts.get(mark).filter(|(until, _)| *until > now).map(|(_, account)| account.clone())
    }

    /// What a comparison that begins now belongs to: what it finds is noted only if nothing was forgotten meanwhile.
    pub(super) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// `mark` was found to be of `account`, by a comparison that began in `generation`.
    pub(super) fn note(&self, mark: Mark, account: Arc<str>, generation: u64, now: Instant) {
        let mut marks = self.lock();
        if marks.generation != generation {
            return;
        }
        let marks = &mut marks.accounts;
        if marks.len() >= MOST {
            marks.retain(|_, (until, _)| *until > now);
        }
        if marks.len() >= MOST
            && let Some(any) = marks.keys().next().copied()
        {
            marks.remove(&any);
        }
        marks.insert(mark, (now + LIFETIME, account));
    }

    /// Nothing holds any more: the accounts have changed.
    pub(super) fn forget(&self) {
        let mut marks = self.lock();
        let generation = marks.generation.wrapping_add(1);
        *marks = Marks { accounts: HashMap::new(), generation };
    }

    fn lock(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[tokio::test(start_paused = true)]
    async fn credentials_are_remembered_for_ten_minutes() {
        let remembered = Remembered::new();
        let mark = remembered.mark(b"Basic YTpi");
        remembered.note(mark, "ann".into(), 0, Instant::now());
        let later = |minutes| Instant::now() + Duration::from_mins(minutes);
        assert_eq!(remembered.account(&mark, later(9)).as_deref(), Some("ann"));
        assert_eq!(remembered.account(&mark, later(10)), None);
        assert_eq!(remembered.account(&remembered.mark(b"Basic YTpj"), later(0)), None);
        remembered.forget();
        assert_eq!(remembered.account(&mark, later(0)), None);
        remembered.note(mark, "ann".into(), 0, Instant::now());
        assert_eq!(remembered.account(&mark, later(0)), None, "compared with what holds no more");
        remembered.note(mark, "ann".into(), remembered.generation(), Instant::now());
        assert!(remembered.account(&mark, later(0)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn they_take_bounded_memory_and_mean_nothing_elsewhere() {
        let remembered = Remembered::new();
        for number in 0..10_000_u32 {
            remembered.note(remembered.mark(&number.to_be_bytes()), "ann".into(), 0, Instant::now());
        }
        assert_eq!(remembered.lock().accounts.len(), MOST);
        assert_ne!(Remembered::new().mark(b"x"), remembered.mark(b"x"));
    }
}
