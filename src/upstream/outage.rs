//! Origins that could not be reached a moment ago. When the link is down, asking takes its full time to fail; what is
//! learnt once should serve the next requests. It decides nothing: a request that has nothing else still asks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::connect::Origin;
use crate::respond::Refusal;

/// How long an origin counts as out of reach after it was found so.
const MEMORY: Duration = Duration::from_secs(30);

/// Origins remembered at most: each is one that somebody asked for in the last half minute.
const MOST: usize = 1024;

/// What lately came of asking origins in vain.
#[derive(Default)]
pub(crate) struct Outages {
    known: Mutex<HashMap<Origin, (Refusal, Instant)>>,
    any: AtomicBool,
}

impl Outages {
    /// `origin` could not be reached.
    pub(crate) fn note(&self, origin: &Origin, refusal: &Refusal) {
        let mut known = self.lock();
        if known.len() >= MOST {
            known.retain(|_, (_, at)| at.elapsed() < MEMORY);
        }
        if known.len() < MOST {
            known.insert(origin.clone(), (refusal.clone(), Instant::now()));
            self.any.store(true, Ordering::Release);
        }
    }

    /// `origin` has answered.
    pub(crate) fn clear(&self, origin: &Origin) {
        if self.any.load(Ordering::Acquire) {
            let mut known = self.lock();
            known.remove(origin);
            self.any.store(!known.is_empty(), Ordering::Release);
        }
    }

    /// Why `origin` could not be reached, if that was a moment ago.
    pub(crate) fn recent(&self, origin: &Origin) -> Option<Refusal> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let known = self.lock();
        let (refusal, at) = known.get(origin)?;
        (at.elapsed() < MEMORY).then(|| refusal.clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Origin, (Refusal, Instant)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_remembered_until_it_ends_or_is_old() {
        let origin = Origin::of(&http::Uri::from_static("http://a/"), 80).expect("an origin");
        let outages = Outages::default();
        assert!(outages.recent(&origin).is_none());
        outages.note(&origin, &Refusal::ResponseTimeout { origin: "a:80".into() });
        assert!(matches!(outages.recent(&origin), Some(Refusal::ResponseTimeout { .. })));
        outages.clear(&origin);
        assert!(outages.recent(&origin).is_none());
        outages.note(&origin, &Refusal::ResponseTimeout { origin: "a:80".into() });
        tokio::time::advance(MEMORY).await;
        assert!(outages.recent(&origin).is_none());
    }
}
