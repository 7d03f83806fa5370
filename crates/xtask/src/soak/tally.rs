//! What came of all visits, by kind: how many ended as they should, how many as the visit itself had asked for (aborts,
//! stalls, origins that cut), and what nobody had asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Faults whose words are kept; the rest is counted.
const TOLD: usize = 24;

/// How one visit ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// Every byte as the origin has it.
    Right,
    /// Broken off or refused, as the visit was made to be.
    AsMeant,
    /// Anything else.
    Fault(String),
}

/// The counts; shared by all workers.
#[derive(Debug, Default)]
pub(super) struct Tally {
    kinds: Mutex<BTreeMap<&'static str, Counts>>,
    told: Mutex<Vec<String>>,
    visits: AtomicU64,
    faults: AtomicU64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    right: u64,
    as_meant: u64,
    faults: u64,
}

impl Tally {
    /// Counts one visit.
    pub(super) fn count(&self, kind: &'static str, outcome: Outcome) {
        self.visits.fetch_add(1, Ordering::Relaxed);
        let mut kinds = lock(&self.kinds);
        let counts = kinds.entry(kind).or_default();
        match outcome {
            Outcome::Right => counts.right += 1,
            Outcome::AsMeant => counts.as_meant += 1,
            Outcome::Fault(what) => {
                counts.faults += 1;
                drop(kinds);
                self.fault(format!("{kind}: {what}"));
            }
        }
    }

    /// Notes a fault that is no visit's.
    pub(super) fn fault(&self, what: String) {
        self.faults.fetch_add(1, Ordering::Relaxed);
        let mut told = lock(&self.told);
        if told.len() < TOLD {
            told.push(what);
        }
    }

    /// Visits so far.
    pub(super) fn visits(&self) -> u64 {
        self.visits.load(Ordering::Relaxed)
    }

    /// Faults so far.
    pub(super) fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<26} {:>9} {:>9} {:>7}", "visits", "right", "as meant", "faults")?;
        for (kind, Counts { right, as_meant, faults }) in lock(&self.kinds).iter() {
            writeln!(f, "{kind:<26} {right:>9} {as_meant:>9} {faults:>7}")?;
        }
        lock(&self.told).iter().try_for_each(|fault| writeln!(f, "  fault: {fault}"))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_counted_and_the_first_are_told() {
        let tally = Tally::default();
        tally.count("hit", Outcome::Right);
        tally.count("abort", Outcome::AsMeant);
        for number in 0..40 {
            tally.count("hit", Outcome::Fault(format!("number {number}")));
        }
        tally.fault("an upload".into());
        assert_eq!((tally.visits(), tally.faults()), (42, 41));
        let text = tally.to_string();
        assert!(text.contains("fault: hit: number 0") && !text.contains("number 39"), "{text}");
    }
}
