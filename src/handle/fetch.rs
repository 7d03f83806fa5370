//! Asking the origin: forward the request, take the response, store it or pass it. Which response may be stored is
//! rfc9111's to say; how it is kept, the store's. Whether to ask at all is `join`'s.

use std::time::SystemTime;

use bentpipe_store::{Arrival, Found, Lead, Stored};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Response, StatusCode, Uri};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use rfc9111::{Because, Failure, StoredResponse, Storing};

use super::join::Joined;
use super::{Answer, Handler};
use crate::admit::Admitted;
use crate::body::{Body, OriginBody, RequestBody};
use crate::drain::Work;
use crate::exchange::{CacheStatus, Exchange, Forwarded};
use crate::respond::{self, Refusal};
use crate::upstream::connect::Origin;
use crate::upstream::outgoing;

/// An origin's response, with the two times of RFC 9111 §4.2.3.
pub(super) struct Asked {
    pub(super) response: Response<OriginBody>,
    pub(super) request_time: SystemTime,
    pub(super) response_time: SystemTime,
}

impl Handler {
    /// Forwards the request because nothing stored may answer it; `reason` is the `fwd` token of RFC 9211 §2.2.
    pub(super) async fn fetch(
        &self,
        mut admitted: Admitted,
        found: &Found,
        reason: &'static str,
        exchange: &Exchange,
    ) -> Answer {
        let mut forwarded = Forwarded::new(reason);
        let lead = match self.join(&admitted, found, &mut forwarded, exchange).await {
            Joined::Going(lead) => lead,
            Joined::Answered(answer) => return answer,
        };
        let headers = admitted.forwarded_headers(self.admission.pseudonym());
        let asked = self.ask_in_time(&mut admitted, found, headers, exchange).await;
        self.settle(&admitted, found, asked, forwarded, lead, exchange).await
    }

    /// Sends the request with `headers` to its origin.
    pub(super) async fn ask(
        &self,
        admitted: &mut Admitted,
        headers: HeaderMap,
        exchange: &Exchange,
    ) -> Result<Asked, Refusal> {
        let origin = origin(admitted)?;
        let target = match admitted.target.path_and_query() {
            _ if admitted.client.in_asterisk_form => Uri::from_static("*"),
            Some(path) => Uri::from(path.clone()),
            None => Uri::from_static("/"),
        };
        let body = std::mem::replace(&mut admitted.body, RequestBody::empty());
        let mut request = outgoing(admitted.method.clone(), target, headers, body);
        request.extensions_mut().insert(admitted.client.interim.clone());
        let request_time = self.clock.now();
        let response = self.upstream.send(request, &origin, exchange).await?;
        Ok(Asked { response, request_time, response_time: self.clock.now() })
    }

    /// As `ask`, but where a stored response could serve instead, an origin that takes too long counts as out of reach.
    pub(super) async fn ask_in_time(
        &self,
        admitted: &mut Admitted,
        found: &Found,
        headers: HeaderMap,
        exchange: &Exchange,
    ) -> Result<Asked, Refusal> {
        if self.stale(admitted, found, Failure::Unreachable).is_none() {
            return self.ask(admitted, headers, exchange).await;
        }
        let came = self.upstream.came_down();
        let asking = tokio::time::timeout(self.stale_patience, self.ask(admitted, headers, exchange)).await;
        asking.unwrap_or_else(|_| {
            let origin = origin(admitted)?;
            let refusal = Refusal::ResponseTimeout { origin: origin.to_string() };
            if self.upstream.came_down() == came {
                // Nothing at all came down the link: it is not this target that is slow.
                self.upstream.suspect(origin, exchange, &refusal);
            }
            Err(refusal)
        })
    }

    /// Takes the origin's response: invalidates what it makes untrue, stores it if it may be, and passes it on.
    pub(super) fn receive(
        &self,
        admitted: &Admitted,
        asked: Asked,
        mut forwarded: Forwarded,
        lead: Option<Lead>,
        exchange: &Exchange,
    ) -> Answer {
        let (status, fields) = (asked.response.status(), asked.response.headers());
        for key in rfc9111::invalidated(&admitted.method, status, &admitted.target, fields) {
            self.store.invalidate(&self.admission.rules().normalise(key));
        }
        let Asked { response, request_time, response_time } = asked;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(admitted, response, exchange);
        }
        let storing =
            rfc9111::may_store(&admitted.presented(), status, response.headers(), &self.situation(admitted));
        let (Storing::Store(because) | Storing::Pass(because)) = &storing;
        exchange.note_rule(because.rule());
        let response = respond::received(response, response_time, self.admission.pseudonym());
        let (parts, incoming) = response.into_parts();
        self.learn_from_head(admitted, status, &parts.headers, (request_time, response_time));
        let length = if incoming.is_end_stream() { Some(0) } else { content_length(&parts.headers) };
        let kept = match (&storing, &admitted.key) {
            (Storing::Store(_), Some(key)) => {
                let presented = admitted.presented();
                let head =
                    StoredResponse::new(&presented, status, &parts.headers, request_time, response_time);
                self.store.insert(key.clone(), head, length).ok()
            }
            _ => None,
        };
        if let Some(lead) = lead {
            let is_fresh =
                |stored: &Stored| rfc9111::freshness(stored.head(), &self.situation(admitted)).is_fresh();
            match (&kept, storing) {
                (Some((_, stored)), _) if is_fresh(stored) => lead.settle(),
                (None, Storing::Pass(because)) if !is_lasting(&because) => lead.settle(),
                _ => lead.unshareable(),
            }
        }
        let body = if let Some((arrival, stored)) = kept {
            forwarded.stored = true;
            let body = stored.body(None);
            tokio::spawn(keep(incoming, arrival, length, self.drain.work()));
            Body::Stored(body)
        } else {
            Body::Origin(incoming)
        };
        exchange.note(|details| details.cache = CacheStatus::Forwarded(forwarded));
        Ok(Response::from_parts(parts, body))
    }

    /// The 200 to a HEAD says whether the latest stored response to GET still holds (RFC 9111 §4.3.5).
    fn learn_from_head(
        &self,
        admitted: &Admitted,
        status: StatusCode,
        fields: &HeaderMap,
        (request_time, response_time): (SystemTime, SystemTime),
    ) {
        let Some(key) = admitted.key.as_ref().filter(|_| admitted.method == Method::HEAD) else { return };
        let found = self.store.lookup(key);
        let matching = found.iter().filter(|stored| stored.head().nominated.matches(&admitted.headers));
        let latest = matching.max_by_key(|stored| stored.head().date());
        let Some(stored) = latest.filter(|stored| status == StatusCode::OK && !stored.is_arriving()) else {
            return;
        };
        match rfc9111::freshen_by_head(stored.head(), fields, request_time, response_time) {
            Some(head) => drop(self.store.freshen(key, stored, head)),
            None => drop(self.store.invalidate(key)),
        }
    }
}

/// Where a request goes.
pub(super) fn origin(admitted: &Admitted) -> Result<Origin, Refusal> {
    Origin::of(&admitted.target, 80).ok_or(Refusal::BadRequest("The target names no host."))
}

/// Whether the next response for the same target will not be stored for the same reason.
fn is_lasting(because: &Because) -> bool {
    matches!(
        because.bare(),
        Because::ResponseNoStore
            | Because::Private
            | Because::VariesOnAnything
            | Because::NothingToReuse
            | Because::NeverKept
    )
}

/// Stores content as it arrives. When no client follows it any more it goes on only if little is missing: finishing
/// costs less of the link than fetching it all again.
async fn keep(mut incoming: OriginBody, mut arrival: Arrival, length: Option<u64>, _work: Work) {
    let mut arrived = 0;
    let mut trailers = None;
    loop {
        let worth_finishing = length.is_some_and(|length| is_nearly_done(arrived, length));
        let frame = tokio::select! {
            biased;
            frame = incoming.frame() => frame,
            () = arrival.followers_gone(), if !worth_finishing => return,
        };
        match frame.map(|frame| frame.map(http_body::Frame::into_data)) {
            Some(Ok(Ok(data))) => {
                arrived += data.len() as u64;
                if arrival.write(data).await.is_err() {
                    return;
                }
            }
            Some(Ok(Err(frame))) => trailers = frame.into_trailers().ok(),
            Some(Err(error)) => {
                tracing::debug!(%error, "a response broke off and is not stored");
                return;
            }
            None => break,
        }
    }
    if let Err(error) = arrival.commit(trailers).await {
        tracing::debug!(%error, "a response could not be stored");
    }
}

fn is_nearly_done(arrived: u64, length: u64) -> bool {
    let left = length.saturating_sub(arrived);
    left <= 64 * 1024 || left <= length / 10
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_without_clients_goes_on_when_little_is_missing() {
        assert!(is_nearly_done(950, 1000));
        assert!(is_nearly_done(9_000_000, 10_000_000));
        assert!(!is_nearly_done(5_000_000, 10_000_000));
    }
}
