//! Asking the origin: forward the request, store the response or pass it, one fetch for many followers. Which
//! response may be stored is rfc9111's to say; how it is kept, the store's.

use std::time::SystemTime;

use bentpipe_store::{Arrival, Collapse, Found, Lead};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use rfc9111::{Because, Decision, StoredResponse, Storing};

use super::{Answer, Handler};
use crate::admit::Admitted;
use crate::body::{Body, OriginBody, RequestBody};
use crate::drain::Work;
use crate::exchange::{CacheStatus, Exchange, Forwarded};
use crate::respond::{self, Refusal};
use crate::upstream::connect::Origin;
use crate::upstream::{client_key, outgoing};

/// An origin's response, with the two times of RFC 9111 §4.2.3.
pub(super) struct Asked {
    pub(super) response: Response<OriginBody>,
    pub(super) request_time: SystemTime,
    pub(super) response_time: SystemTime,
}

impl Handler {
    /// Forwards the request because nothing stored may answer it.
    pub(super) async fn fetch(
        &self,
        mut admitted: Admitted,
        found: &Found,
        because: &Because,
        exchange: &Exchange,
    ) -> Answer {
        let mut forwarded = Forwarded::new(because.forward_reason());
        exchange.note(|details| details.cache = CacheStatus::Forwarded(forwarded.clone()));
        let lead = match self.join(&admitted).await {
            Joined::Lead(lead) => Some(lead),
            Joined::Alone => None,
            Joined::Shared(response) => {
                forwarded.collapsed = true;
                exchange.note(|details| details.cache = CacheStatus::Forwarded(forwarded));
                return Ok(response);
            }
        };
        let headers = admitted.forwarded_headers(self.admission.pseudonym());
        let asked = self.ask(&mut admitted, headers, exchange).await;
        self.settle(admitted, found, asked, forwarded, lead, exchange).await
    }

    /// Sends the request with `headers` to its origin.
    pub(super) async fn ask(
        &self,
        admitted: &mut Admitted,
        headers: HeaderMap,
        exchange: &Exchange,
    ) -> Result<Asked, Refusal> {
        let origin =
            Origin::of(&admitted.target, 80).ok_or(Refusal::BadRequest("The target names no host."))?;
        let target = match admitted.target.path_and_query() {
            _ if admitted.client.bare_options => Uri::from_static("*"),
            Some(path) => Uri::from(path.clone()),
            None => Uri::from_static("/"),
        };
        let body = std::mem::replace(&mut admitted.body, RequestBody::empty());
        let request = outgoing(admitted.method.clone(), target, headers, body);
        let request_time = self.clock.now();
        let client = client_key(admitted.client.address);
        let response = self.upstream.send(request, &origin, client, exchange).await?;
        Ok(Asked { response, request_time, response_time: self.clock.now() })
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
            self.store.invalidate(&key);
        }
        self.learn_from_head(admitted, &asked);
        let Asked { response, request_time, response_time } = asked;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(admitted, response, exchange);
        }
        let storing =
            rfc9111::may_store(&admitted.presented(), status, response.headers(), &self.situation());
        let response = respond::received(response, response_time, self.admission.pseudonym());
        let (parts, incoming) = response.into_parts();
        let kept = match (storing, &admitted.key) {
            (Storing::Store(_), Some(key)) => {
                let head = StoredResponse::new(
                    &admitted.presented(),
                    status,
                    &parts.headers,
                    request_time,
                    response_time,
                );
                self.store.insert(key.clone(), head, content_length(&parts.headers)).ok()
            }
            _ => None,
        };
        let body = if let Some((arrival, stored)) = kept {
            if let Some(lead) = lead {
                lead.shared();
            }
            forwarded.stored = true;
            let body = stored.body(None);
            tokio::spawn(keep(incoming, arrival, content_length(&parts.headers), self.drain.work()));
            Body::Stored(body)
        } else {
            if let Some(lead) = lead {
                lead.unshareable();
            }
            Body::Origin(incoming)
        };
        exchange.note(|details| details.cache = CacheStatus::Forwarded(forwarded));
        Ok(Response::from_parts(parts, body))
    }

    /// The 200 to a HEAD says whether the stored response to GET still holds (RFC 9111 §4.3.5).
    fn learn_from_head(&self, admitted: &Admitted, asked: &Asked) {
        let Some(key) = admitted.key.as_ref().filter(|_| admitted.method == Method::HEAD) else { return };
        if asked.response.status() != StatusCode::OK {
            return;
        }
        let found = self.store.lookup(key);
        let mut matching = found.iter().filter(|stored| stored.head().nominated.matches(&admitted.headers));
        let Some(stored) = matching.next() else { return };
        let fields = asked.response.headers();
        match rfc9111::freshen_by_head(stored.head(), fields, asked.request_time, asked.response_time) {
            Some(head) => drop(self.store.freshen(key, stored, head)),
            None => drop(self.store.invalidate(key)),
        }
    }

    /// One fetch for many: waits for the head of a fetch of the same target that is already on its way.
    async fn join(&self, admitted: &Admitted) -> Joined {
        let Some(key) = admitted.key.as_ref().filter(|_| admitted.is_shareable()) else {
            return Joined::Alone;
        };
        for _ in 0..TIMES_TO_WAIT {
            match self.store.wait_for_head(key) {
                Collapse::Lead(lead) => return Joined::Lead(lead),
                Collapse::Alone => return Joined::Alone,
                Collapse::Follow(head) => head.await,
            }
            let found = self.lookup(admitted);
            if let Decision::Reuse { stored, .. } = self.decide(admitted, &found)
                && let Some(stored) = found.get(stored)
                && let Some(response) = self.serve(admitted, stored, stored.head()).await
            {
                return Joined::Shared(response);
            }
            if !found.is_empty() {
                // Something came that does not suit this request, and the next may not either.
                return Joined::Alone;
            }
            // Nothing came: the leader left or failed, and another takes its place.
        }
        Joined::Alone
    }
}

/// How often a request waits for another's fetch before it goes on its own: once, and once more if a leader left.
const TIMES_TO_WAIT: usize = 2;

enum Joined {
    /// First to ask: others may wait for this fetch.
    Lead(Lead),
    /// Not to be shared.
    Alone,
    /// Answered by another request's fetch.
    Shared(Response<Body>),
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
