//! A verification of what is stored, in a thread of its own beside whatever else goes on, at a bounded rate.
//!
//! Owns the one that runs, its pace, and what it has found so far. What is checked is the store's business.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bentpipe_store::{Damage, Remedy, Store};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What is asked for.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Verify {
    /// Drop what is damaged, or mark what is lost of it as missing.
    pub(crate) repair: bool,
    /// Bytes to read in a second at most; no bound without.
    pub(crate) bytes_per_second: Option<u64>,
}

/// The verification that runs, or the last one.
#[derive(Clone, Default)]
pub(crate) struct Verifications(Arc<Mutex<Progress>>);

#[derive(Default)]
struct Progress {
    /// Whether there ever was one.
    begun: bool,
    running: bool,
    repair: bool,
    total: usize,
    checked: usize,
    bytes: u64,
    /// Files that could not be opened just now.
    unread: u64,
    damaged: Vec<Damage>,
}

/// How long it sleeps at once.
const NAP: Duration = Duration::from_millis(500);
/// Damaged responses that are remembered by name.
const NAMED: usize = 10_000;

impl Verifications {
    /// Begins one.
    ///
    /// # Errors
    /// If one runs, or there can be no more threads.
    pub(crate) fn begin(&self, store: &Store, asked: &Verify) -> Result<(), String> {
        let mut verification = {
            let mut progress = self.lock();
            if progress.running {
                return Err("a verification is running already; cache verify --progress shows it".to_owned());
            }
            let verification = store.verification(asked.repair);
            let (total, repair) = (verification.left(), asked.repair);
            *progress = Progress { begun: true, running: true, repair, total, ..Progress::default() };
            verification
        };
        let (this, store, rate) = (self.clone(), store.clone(), asked.bytes_per_second);
        let work = move || {
            // However it ends, it has ended.
            let _ended = Ended(this.clone());
            let (begun, mut bytes) = (Instant::now(), 0u64);
            loop {
                match verification.step() {
                    Ok(None) => break,
                    Ok(Some(step)) => {
                        bytes += step.bytes;
                        this.note(step.bytes, step.left, step.damage);
                    }
                    Err(error) => {
                        tracing::debug!(%error, "a stored body could not be read for its verification");
                        this.lock().unread += 1;
                    }
                }
                let mut left = rest(bytes, rate, begun.elapsed());
                // The store may be closed meanwhile, so not for long at once.
                while !left.is_zero() && store.is_open() {
                    std::thread::sleep(left.min(NAP));
                    left = rest(bytes, rate, begun.elapsed());
                }
            }
        };
        let spawned = std::thread::Builder::new().name("verify".to_owned()).spawn(work);
        spawned.map(drop).map_err(|error: io::Error| error.to_string())
    }

    /// How far it is and what it has found.
    pub(crate) fn progress(&self) -> Value {
        let progress = self.lock();
        let damaged: Vec<_> = progress.damaged.iter().map(told).collect();
        json!({
            "begun": progress.begun,
            "running": progress.running,
            "repair": progress.repair,
            "total": progress.total,
            "checked": progress.checked,
            "bytes": progress.bytes,
            "unread": progress.unread,
            "damaged": damaged,
        })
    }

    fn note(&self, bytes: u64, left: usize, damage: Option<Damage>) {
        let mut progress = self.lock();
        progress.bytes += bytes;
        progress.checked = progress.total.saturating_sub(left);
        if progress.damaged.len() < NAMED {
            progress.damaged.extend(damage);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Ended(Verifications);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.lock().running = false;
    }
}

fn told(damage: &Damage) -> Value {
    let remedy = match damage.remedy {
        Remedy::Left => "left",
        Remedy::Dropped => "dropped",
        Remedy::MarkedMissing => "marked missing",
    };
    json!({ "key": damage.key, "lost": damage.lost, "of": damage.of, "remedy": remedy })
}

/// How long to rest, `elapsed` after the beginning, so that no more than `rate` bytes a second are read.
fn rest(bytes: u64, rate: Option<u64>, elapsed: Duration) -> Duration {
    let Some(rate) = rate.filter(|rate| *rate > 0) else { return Duration::ZERO };
    let due = Duration::from_secs(bytes / rate)
        .saturating_add(Duration::try_from_secs_f64((bytes % rate) as f64 / rate as f64).unwrap_or_default());
    due.saturating_sub(elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rests_as_long_as_its_rate_asks_for() {
        let check = |bytes, rate, elapsed, expected| {
            let rested = rest(bytes, rate, Duration::from_millis(elapsed));
            assert_eq!(rested.as_millis(), expected, "{bytes} {rate:?} {elapsed}");
        };
        check(1000, None, 0, 0);
        check(1000, Some(0), 0, 0);
        check(1000, Some(10_000), 0, 100);
        check(1000, Some(10_000), 60, 40);
        check(1000, Some(10_000), 200, 0);
        check(u64::MAX, Some(1), 0, Duration::from_secs(u64::MAX).as_millis());
    }
}
