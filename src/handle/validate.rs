//! Validation (RFC 9111 §4.3): ask the origin whether what is stored still holds; freshen it, replace it, or, where
//! the origin cannot be asked, serve it stale (§4.2.4, RFC 5861 §4).

use std::sync::Arc;
use std::time::SystemTime;

use bentpipe_store::{Found, Lead, Stored};
use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, Method, Response, StatusCode};
use rfc9111::{Because, Failure, Presented};

use super::complete::lack;
use super::fetch::Asked;
use super::join::Joined;
use super::reuse::Declined;
use super::{Answer, Handler};
use crate::admit::Admitted;
use crate::body::Body;
use crate::exchange::{CacheStatus, Exchange, Forwarded};
use crate::respond::{self, Refusal};

impl Handler {
    /// Validates what was found with the origin and answers with what comes of it; `reason` is the `fwd` token of
    /// RFC 9211 §2.2.
    pub(super) async fn validate(
        &self,
        admitted: &mut Admitted,
        found: &Found,
        stored: usize,
        reason: &'static str,
        exchange: &Exchange,
    ) -> Answer {
        let is_conditional = CONDITIONS.iter().any(|name| admitted.headers.contains_key(name));
        if let Some(stored) = found.get(stored).filter(|_| !is_conditional)
            && let Some(lack) = lack(admitted, stored)
        {
            // Asking for what is missing validates the rest.
            return Box::pin(self.complete(admitted, found, stored, lack, exchange)).await;
        }
        let mut forwarded = Forwarded::new(reason);
        let lead = match self.join(admitted, found, &mut forwarded, exchange).await {
            Joined::Going(lead) => lead,
            Joined::Answered(answer) => return *answer,
            Joined::Lacking(found, stored, lack) => {
                return Box::pin(self.complete(admitted, &found, &stored, lack, exchange)).await;
            }
        };
        let fields = |admitted: &Admitted| self.conditional_headers(admitted, found, exchange);
        match self.ask_in_time(admitted, found, &fields, exchange).await {
            Ok(asked) if asked.response.status() == StatusCode::NOT_MODIFIED => {
                forwarded.status = Some(StatusCode::NOT_MODIFIED);
                self.not_modified(admitted, found, asked, forwarded, lead, exchange).await
            }
            asked => self.settle(admitted, found, asked, forwarded, lead, exchange).await,
        }
    }

    /// What is sent to validate: the client's fields with the conditions of what is stored (§4.3.1).
    pub(super) fn conditional_headers(
        &self,
        admitted: &Admitted,
        found: &Found,
        exchange: &Exchange,
    ) -> HeaderMap {
        let mut headers = admitted.forwarded_headers(self.admission.via());
        exchange.note_rule(admitted.rules.soften_reload(&mut headers, &found.heads()).as_ref());
        let presented = Presented::new(&admitted.method, &admitted.target, &headers);
        // RFC 9111 §4.3.2: a cache "MUST NOT" put the tag of a partial response there for what is not wholly within it.
        let held = found.iter().filter(|stored| lack(admitted, stored).is_none());
        let heads: Vec<_> = held.map(|stored| stored.head()).collect();
        let mut conditional = rfc9111::conditional_request(&presented, &heads);
        admitted.keep_connection_options(&mut conditional);
        conditional
    }

    /// A 304: what it confirms is freshened and served (§4.3.4); one that confirms only what the client holds goes
    /// to the client.
    pub(super) async fn not_modified(
        &self,
        admitted: &mut Admitted,
        found: &Found,
        asked: Asked,
        forwarded: Forwarded,
        lead: Option<Lead>,
        exchange: &Exchange,
    ) -> Answer {
        let confirmed =
            rfc9111::select_validated(&admitted.presented(), &found.heads(), asked.response.headers());
        let Some((place, stored)) = confirmed.and_then(|place| Some((place, found.get(place)?))) else {
            if rfc9111::confirms_client(&admitted.presented(), asked.response.headers()) {
                return self.receive(admitted, asked, forwarded, lead, exchange);
            }
            // Nothing that either of us holds is what the origin means: ask for the whole.
            for name in CONDITIONS {
                admitted.headers.remove(name);
            }
            let fields = |admitted: &Admitted| admitted.forwarded_headers(self.admission.via());
            let asked = self.ask_in_time(admitted, found, &fields, exchange).await;
            let forwarded = Forwarded::new(forwarded.reason);
            return self.settle(admitted, found, asked, forwarded, lead, exchange).await;
        };
        let received = respond::received(asked.response, asked.response_time, self.admission.via());
        let (request_time, response_time) = (asked.request_time, asked.response_time);
        let mut head = rfc9111::freshen(stored.head(), received.headers(), request_time, response_time);
        head.renominate(&admitted.presented());
        let may_freshen = rfc9111::may_freshen(&admitted.presented(), stored.head(), received.headers());
        if may_freshen {
            self.freshen_others(admitted, found, place, received.headers(), (request_time, response_time));
        }
        let may_share = rfc9111::freshness(&head, &self.situation(admitted)).is_fresh();
        let stored = match &admitted.key {
            Some(key) if may_freshen => self.store.freshen(key, stored, head),
            _ => stored.clone(),
        };
        match lead {
            Some(lead) if may_share && may_freshen => lead.settle(),
            Some(lead) => lead.unshareable(),
            None => {}
        }
        exchange.note(|details| details.cache = CacheStatus::Forwarded(forwarded));
        match self.serve(admitted, &stored, None, exchange).await {
            Ok(response) => Ok(response),
            Err(Declined::Lacks(lack)) => self.complete(admitted, found, &stored, lack, exchange).await,
            Err(declined) => self.fetch(admitted, found, declined.forward_reason(), exchange).await,
        }
    }

    /// Freshens the other stored responses that a 304 confirms, `place` being the one that is served.
    fn freshen_others(
        &self,
        admitted: &Admitted,
        found: &Found,
        place: usize,
        fields: &HeaderMap,
        (request_time, response_time): (SystemTime, SystemTime),
    ) {
        let Some(key) = &admitted.key else { return };
        let others = rfc9111::also_validated(&admitted.presented(), &found.heads(), place, fields);
        for stored in others.into_iter().filter_map(|place| found.get(place)) {
            let head = rfc9111::freshen(stored.head(), fields, request_time, response_time);
            self.store.freshen(key, stored, head);
        }
    }

    /// Answers with what came of asking the origin: its response, or, where it could not be asked or failed, a stored
    /// response although it is stale.
    pub(super) async fn settle(
        &self,
        admitted: &Admitted,
        found: &Found,
        asked: Result<Asked, Refusal>,
        mut forwarded: Forwarded,
        lead: Option<Lead>,
        exchange: &Exchange,
    ) -> Answer {
        let failure = match &asked {
            Err(refusal) if refusal.is_unreachable() => Some(Failure::Unreachable),
            Ok(asked) if asked.response.status().is_server_error() => {
                Some(Failure::Status(asked.response.status()))
            }
            _ => None,
        };
        if let Some(failure) = failure
            && let Some(response) = self.serve_stale(admitted, found, failure, exchange).await
        {
            match failure {
                Failure::Unreachable => forwarded.detail = Some("unreachable"),
                Failure::Status(status) => forwarded.status = Some(status),
            }
            exchange.note(|details| details.cache = CacheStatus::Forwarded(forwarded));
            return Ok(response);
        }
        self.receive(admitted, asked?, forwarded, lead, exchange)
    }

    /// The response made from what is stored, although the origin should have been asked.
    pub(super) async fn serve_stale(
        &self,
        admitted: &Admitted,
        found: &Found,
        failure: Failure,
        exchange: &Exchange,
    ) -> Option<Response<Body>> {
        let stored = self.stale(admitted, found, failure)?;
        let situation = self.situation(admitted);
        let allowed = rfc9111::may_serve_stale(&admitted.presented(), stored.head(), failure, &situation);
        exchange.note_rule(allowed.ok().as_ref().and_then(Because::rule));
        self.serve(admitted, stored, None, exchange).await.ok()
    }

    /// The latest stored response that may be served although the origin should have been asked, if there is one.
    pub(super) fn stale<'a>(
        &self,
        admitted: &Admitted,
        found: &'a Found,
        failure: Failure,
    ) -> Option<&'a Arc<Stored>> {
        if !matches!(admitted.method, Method::GET | Method::HEAD) || found.is_empty() {
            return None;
        }
        let (presented, situation) = (admitted.presented(), self.situation(admitted));
        let allowed = found.iter().filter(|stored| {
            stored.head().nominated.matches(presented.headers)
                && lack(admitted, stored).is_none()
                && rfc9111::may_serve_stale(&presented, stored.head(), failure, &situation).is_ok()
        });
        allowed.max_by_key(|stored| stored.head().date())
    }
}

/// The client's own conditions, which decide between 304 and 200 (RFC 9110 §13).
const CONDITIONS: [HeaderName; 2] = [IF_NONE_MATCH, IF_MODIFIED_SINCE];
