//! Origins that could not be reached a moment ago. When the link is down, asking takes its full time to fail; what is
//! learnt once should serve the next requests. It decides nothing: a request that has nothing else still asks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::HashMap;
use tokio::time::Instant;

use super::origin::Origin;
use crate::respond::Refusal;

/// How long an origin counts as out of reach after it was found so.
const MEMORY: Duration = Duration::from_secs(30);

/// How often in that time one request asks all the same, to find out that the outage is over.
const PROBE: Duration = Duration::from_secs(5);

/// Origins remembered at most: each is one that somebody asked for in the last half minute.
const MOST: usize = 1024;

/// What lately came of asking origins in vain.
#[derive(Default)]
pub(crate) struct Outages {
    known: Mutex<HashMap<Origin, Outage>>,
    any: AtomicBool,
}

struct Outage {
    refusal: Refusal,
    noted: Instant,
    probed: Instant,
}

impl Outages {
    /// `origin` could not be reached.
    pub(crate) fn note(&self, origin: &Origin, refusal: &Refusal) {
        let mut known = self.lock();
        if known.len() >= MOST {
            known.retain(|_, outage| outage.noted.elapsed() < MEMORY);
        }
        if known.len() < MOST {
            let now = Instant::now();
            known.insert(origin.clone(), Outage { refusal: refusal.clone(), noted: now, probed: now });
            self.any.store(true, Ordering::Release);
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().values().filter(|outage| outage.noted.elapsed() < MEMORY).count()
    }

    /// `origin` has answered.
    pub(crate) fn clear(&self, origin: &Origin) {
        if self.any.load(Ordering::Acquire) {
            let mut known = self.lock();
            known.remove(origin);
            self.any.store(!known.is_empty(), Ordering::Release);
        }
    }

    /// Whether a request that has something stored need not ask `origin`: it was out of reach a moment ago, and another
    /// request is finding out whether it still is.
    pub(crate) fn spares(&self, origin: &Origin) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return false;
        }
        let mut known = self.lock();
        let Some(outage) = known.get_mut(origin).filter(|outage| outage.noted.elapsed() < MEMORY) else {
            return false;
        };
        let spared = outage.probed.elapsed() < PROBE;
        if !spared {
            outage.probed = Instant::now();
        }
        spared
    }

    /// Why `origin` could not be reached, if that was found out after `begun`.
    pub(crate) fn since(&self, origin: &Origin, begun: Instant) -> Option<Refusal> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let known = self.lock();
        known.get(origin).filter(|outage| outage.noted >= begun).map(|outage| outage.refusal.clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Origin, Outage>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_remembered_until_it_ends_or_is_old() {
        let origin = Origin::of(&http::Uri::from_static("http://a/")).expect("an origin");
        let (outages, refusal) = (Outages::default(), Refusal::ConnectionTimeout { origin: "a:80".into() });
        let before = Instant::now();
        assert!(!outages.spares(&origin));
        outages.note(&origin, &refusal);
        assert!(outages.spares(&origin));
        assert!(outages.since(&origin, before).is_some());
        tokio::time::advance(PROBE).await;
        assert!(outages.since(&origin, Instant::now()).is_none(), "it is older than the question");
        assert!(!outages.spares(&origin), "one asks");
        assert!(outages.spares(&origin), "the others wait for what it finds");
        outages.clear(&origin);
        assert!(!outages.spares(&origin));
        outages.note(&origin, &refusal);
        tokio::time::advance(MEMORY).await;
        assert!(!outages.spares(&origin));
    }
}
