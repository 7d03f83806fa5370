//! Before the origin is asked: what was learnt a moment ago, and who else is asking the same. One fetch serves many, and
//! one outage is found out once. How a shared response arrives is the store's affair.

use std::sync::Arc;

use bentpipe_store::{Collapse, Found, Lead, Stored};
use rfc9111::{Decision, Failure};
use tokio::time::Instant;

use super::complete::{Lack, lack};
use super::fetch::origin;
use super::{Answer, Handler};
use crate::admit::Admitted;
use crate::exchange::{CacheStatus, Exchange, Forwarded};

/// How often a request waits for another's fetch before it goes on its own: once, and once more if a leader left.
const TIMES_TO_WAIT: usize = 2;

/// How a request goes on that is to be forwarded.
pub(super) enum Joined {
    /// To the origin; first of several, or alone.
    Going(Option<Lead>),
    /// Not to the origin.
    Answered(Box<Answer>),
    /// To the origin for what it lacks of something that another has just begun to fetch.
    Lacking(Found, Arc<Stored>, Lack),
}

impl Handler {
    /// What to do before asking the origin: nothing if it was out of reach a moment ago and what is stored may serve,
    /// and nothing while another request for the same target is waiting for its head.
    pub(super) async fn join(
        &self,
        admitted: &Admitted,
        found: &Found,
        forwarded: &mut Forwarded,
        exchange: &Exchange,
    ) -> Joined {
        let note = |forwarded: &Forwarded| {
            exchange.note(|details| details.cache = CacheStatus::Forwarded(forwarded.clone()));
        };
        note(forwarded);
        if !found.is_empty()
            && origin(admitted).is_ok_and(|origin| self.upstream.outages().spares(&origin))
            && let Some(response) = self.serve_stale(admitted, found, Failure::Unreachable, exchange).await
        {
            forwarded.detail = Some("unreachable");
            note(forwarded);
            return Joined::Answered(Box::new(Ok(response)));
        }
        let Some(key) = admitted.key.as_ref().filter(|_| admitted.is_shareable()) else {
            return Joined::Going(None);
        };
        let begun = Instant::now();
        for _ in 0..TIMES_TO_WAIT {
            match self.store.wait_for_head(key) {
                Collapse::Lead(lead) => return Joined::Going(Some(lead)),
                Collapse::Alone => return Joined::Going(None),
                Collapse::Follow(head) => {
                    // An origin that hangs is waited for once, not behind each of its askers in turn.
                    if tokio::time::timeout(self.stale_patience, head).await.is_err() {
                        break;
                    }
                }
            }
            let now_found = self.lookup(admitted);
            forwarded.collapsed = Some(true);
            if let Some(answer) = self.shared(admitted, &now_found, begun, forwarded, exchange).await {
                note(forwarded);
                return Joined::Answered(Box::new(answer));
            }
            forwarded.collapsed = Some(false);
            if let Decision::Reuse { stored, .. } = self.decide(admitted, &now_found)
                && let Some(stored) = now_found.get(stored).cloned()
                && let Some(lack) = lack(admitted, &stored)
            {
                return Joined::Lacking(now_found, stored, lack);
            }
            if !is_same(found, &now_found) {
                // Something came that does not suit this request, and the next may not either.
                break;
            }
            // Nothing came: the leader left or failed, and another takes its place.
        }
        Joined::Going(None)
    }

    /// What another request's fetch, which ended after `begun`, has brought for this one: a response, or the news that
    /// none can be had.
    async fn shared(
        &self,
        admitted: &Admitted,
        found: &Found,
        begun: Instant,
        forwarded: &mut Forwarded,
        exchange: &Exchange,
    ) -> Option<Answer> {
        if let Decision::Reuse { stored, because } = self.decide(admitted, found)
            && let Some(stored) = found.get(stored)
            && let Ok(response) = self.serve(admitted, stored, because.freshness(), exchange).await
        {
            exchange.decided(&because);
            return Some(Ok(response));
        }
        let refusal = self.upstream.outages().since(&origin(admitted).ok()?, begun)?;
        forwarded.detail = Some("unreachable");
        let stale = self.serve_stale(admitted, found, Failure::Unreachable, exchange).await;
        Some(stale.ok_or(refusal))
    }
}

/// Whether nothing was stored or freshened between two lookups.
fn is_same(before: &Found, now: &Found) -> bool {
    before.len() == now.len() && before.iter().zip(now.iter()).all(|(before, now)| before.is_same(now))
}
