//! Validation behind the client's back (RFC 5861 §3): what was served stale while it may be is validated at once, by a
//! request of the cache's own. Its exchange is its own, too, so that what it costs on the link is counted once and
//! logged as what it is, for the client that caused it; it is the client's class and weight that it has there.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bentpipe_store::{Collapse, Lead};
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use rfc9111::{Because, CacheControl, CacheKey};

use super::fetch::origin;
use super::{Answer, Handler};
use crate::admit::Admitted;
use crate::drain::Work;
use crate::exchange::{CacheStatus, Exchange, Forwarded};

/// How long a key rests from the begin of an attempt to refresh it that fails.
const REST: Duration = Duration::from_secs(5);
/// So many keys may rest at a time; others are tried again at once.
const RESTING: usize = 1024;

/// The cache keys being refreshed: each by one request at a time, also where its responses are not shared.
#[derive(Clone, Default)]
pub(crate) struct Refreshing(Arc<Mutex<Keys>>);

#[derive(Default)]
struct Keys {
    going: HashSet<CacheKey>,
    /// When the attempt began that failed.
    failed: HashMap<CacheKey, SystemTime>,
}

/// The right to refresh a key.
struct Turn {
    refreshing: Refreshing,
    key: CacheKey,
    begun: SystemTime,
}

impl Refreshing {
    /// The right to refresh `key`; none where somebody has it, or had it and failed a moment ago.
    fn begin(&self, key: &CacheKey, now: SystemTime) -> Option<Turn> {
        let mut keys = self.lock();
        if keys.failed.get(key).is_some_and(|failed| rests(*failed, now)) {
            return None;
        }
        keys.going.insert(key.clone()).then(|| Turn {
            refreshing: self.clone(),
            key: key.clone(),
            begun: now,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Keys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// The attempt has failed.
    fn fail(&self) {
        let mut keys = self.refreshing.lock();
        keys.failed.retain(|_, failed| rests(*failed, self.begun));
        if keys.failed.len() < RESTING {
            keys.failed.insert(self.key.clone(), self.begun);
        }
    }
}

/// Whether a key that failed then rests still. One that failed in the future, by a clock set back since, does not.
fn rests(failed: SystemTime, now: SystemTime) -> bool {
    now.duration_since(failed).is_ok_and(|since| since < REST)
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.refreshing.lock().going.remove(&self.key);
    }
}

impl Handler {
    /// Begins to refresh what is stored for `admitted`, if the reason for reusing it asks for that and nobody is at it.
    pub(super) fn refresh_if_asked(
        self: &Arc<Self>,
        because: &Because,
        admitted: &Admitted,
        exchange: &Exchange,
    ) {
        if !because.asks_for_refresh() {
            return;
        }
        // A client that wants nothing stored, or nothing asked for, is not the one to do it for.
        let wishes = CacheControl::of(&admitted.headers);
        let is_out_of_reach = || origin(admitted).is_ok_and(|origin| self.upstream.outages().spares(&origin));
        if wishes.no_store || wishes.only_if_cached || is_out_of_reach() {
            return;
        }
        let Some(turn) = admitted.key.as_ref().and_then(|key| self.refreshing.begin(key, self.clock.now()))
        else {
            return;
        };
        // Between the look at what is stored and the turn, another may have done it.
        if !self.decide(admitted, &self.lookup(admitted)).because().asks_for_refresh() {
            return;
        }
        let lead = match self.store.wait_for_head(&turn.key) {
            Collapse::Lead(lead) => Some(lead),
            Collapse::Alone => None,
            Collapse::Follow(_) => return,
        };
        let (method, target) = (Method::GET, admitted.target.clone());
        let client = admitted.client.address;
        let own =
            Exchange::begin(method, target, admitted.version, client, self.clock.now(), &self.observers);
        let user = exchange.with(|details| details.user.clone());
        own.note(|details| details.user = user);
        tokio::spawn(self.clone().refresh(admitted.for_the_cache(), lead, own, turn, self.drain.work()));
    }

    async fn refresh(
        self: Arc<Self>,
        mut admitted: Admitted,
        lead: Option<Lead>,
        exchange: Exchange,
        turn: Turn,
        _work: Work,
    ) {
        let answer = self.refreshed(&mut admitted, lead, &exchange).await;
        if answer.is_none() {
            turn.fail();
        }
        let CacheStatus::Forwarded(Forwarded { stored: true, .. }) = exchange.cache_status() else { return };
        // Storing goes on as long as somebody reads, and here nobody else does.
        let Some(Ok(response)) = answer else { return };
        let mut body = response.into_body();
        while let Some(Ok(_)) = body.frame().await {}
    }

    /// Asks the origin; what it answers freshens or replaces what is stored. A failure leaves that as it is.
    async fn refreshed(
        &self,
        admitted: &mut Admitted,
        lead: Option<Lead>,
        exchange: &Exchange,
    ) -> Option<Answer> {
        let found = self.lookup(admitted);
        let mut forwarded = Forwarded::new("stale");
        exchange.note(|details| details.cache = CacheStatus::Forwarded(forwarded.clone()));
        let fields = |admitted: &Admitted| self.conditional_headers(admitted, &found, exchange);
        let asked = match self.ask(admitted, &fields, exchange).await {
            Ok(asked) => asked,
            Err(refusal) => {
                let refusal = refusal.worded();
                exchange.refused(refusal.error(), refusal.reason());
                return None;
            }
        };
        let status = asked.response.status();
        exchange.note(|details| details.status = Some(status));
        if status.is_server_error() {
            return None;
        }
        if status != StatusCode::NOT_MODIFIED {
            return Some(self.receive(admitted, asked, forwarded, lead, exchange));
        }
        forwarded.status = Some(status);
        Some(self.not_modified(&mut admitted.for_the_cache(), &found, asked, forwarded, lead, exchange).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_refreshed_by_one_at_a_time() {
        let refreshing = Refreshing::default();
        let [one, other] = ["http://a/", "http://b/"].map(|url| CacheKey::parse(url).expect("a key"));
        let begin = |key| refreshing.begin(key, SystemTime::UNIX_EPOCH);
        let turn = begin(&one);
        assert!(turn.is_some() && begin(&one).is_none() && begin(&other).is_some());
        drop(turn);
        assert!(begin(&one).is_some());
    }

    #[test]
    fn a_key_rests_after_a_failure() {
        let refreshing = Refreshing::default();
        let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let [one, other] = ["http://a/", "http://b/"].map(|url| CacheKey::parse(url).expect("a key"));
        refreshing.begin(&one, at(12)).expect("a turn").fail();
        let may = |key, second| refreshing.begin(key, at(second)).is_some();
        assert!(!may(&one, 12) && !may(&one, 16) && may(&other, 12));
        assert!(may(&one, 17) && may(&one, 11));
    }

    #[test]
    fn a_bounded_number_of_keys_rests() {
        let refreshing = Refreshing::default();
        for number in 0..2 * RESTING as u64 {
            let key = CacheKey::parse(&format!("http://a/{number}")).expect("a key");
            refreshing.begin(&key, SystemTime::UNIX_EPOCH).expect("a turn").fail();
        }
        assert_eq!(refreshing.lock().failed.len(), RESTING);
    }
}
