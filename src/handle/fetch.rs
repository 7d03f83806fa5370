//! Asking the origin: forward the request, take the response, store it or pass it. Which response may be stored is
//! rfc9111's to say; how it is kept, the store's. Whether to ask at all is `join`'s.

use std::sync::Arc;
use std::time::SystemTime;

use bentpipe_store::{Arrival, Found, Lead, Stored};
use http::header::{CONTENT_LENGTH, IF_MODIFIED_SINCE, IF_NONE_MATCH};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Response, StatusCode, Uri};
use http_body::Body as _;
use rfc9111::{Because, ByteRange, CacheKey, Failure, Part, StoredResponse, Storing};

use super::join::Joined;
use super::keep::{Keeping, begin};
use super::{Answer, Handler};
use crate::admit::Admitted;
use crate::body::{Body, Mended, OriginBody};
use crate::exchange::{CacheStatus, Exchange, Forwarded};
use crate::respond::{self, Refusal};
use crate::upstream::origin::Origin;
use crate::upstream::outgoing::Outgoing;

/// An origin's response, with the two times of RFC 9111 §4.2.3.
pub(super) struct Asked {
    pub(super) response: Response<OriginBody>,
    pub(super) request_time: SystemTime,
    pub(super) response_time: SystemTime,
}

/// What fields a request goes out with.
pub(super) type Fields<'a> = &'a (dyn Fn(&Admitted) -> HeaderMap + Send + Sync);

/// The head of an origin's response, with the same two times.
struct Received<'a> {
    status: StatusCode,
    headers: &'a HeaderMap,
    request_time: SystemTime,
    response_time: SystemTime,
}

/// A response that is being stored.
struct Kept {
    arrival: Arrival,
    stored: Arc<Stored>,
    /// The bytes that arrive, where these are not all.
    range: Option<ByteRange>,
    /// How many bytes arrive, where that is known.
    length: Option<u64>,
}

impl Handler {
    /// Forwards the request because nothing stored may answer it; `reason` is the `fwd` token of RFC 9211 §2.2.
    pub(super) async fn fetch(
        &self,
        admitted: &mut Admitted,
        found: &Found,
        reason: &'static str,
        exchange: &Exchange,
    ) -> Answer {
        let mut forwarded = Forwarded::new(reason);
        let lead = match self.join(admitted, found, &mut forwarded, exchange).await {
            Joined::Going(lead) => lead,
            Joined::Answered(answer) => return *answer,
            Joined::Lacking(found, stored, lack) => {
                return Box::pin(self.complete(admitted, &found, &stored, lack, exchange)).await;
            }
        };
        let fields = |admitted: &Admitted| admitted.forwarded_headers(self.admission.via());
        let asked = self.ask_in_time(admitted, found, &fields, exchange).await;
        self.settle(admitted, found, asked, forwarded, lead, exchange).await
    }

    /// Sends the request with `fields` to its origin.
    pub(super) async fn ask(
        &self,
        admitted: &mut Admitted,
        fields: Fields<'_>,
        exchange: &Exchange,
    ) -> Result<Asked, Refusal> {
        let origin = origin(admitted)?;
        let target = match admitted.target.path_and_query() {
            _ if admitted.client.in_asterisk_form => Uri::from_static("*"),
            // Behind `http://host#fragment` the path is there, and empty: hyper would send it so.
            Some(path) if !is_empty(path) => Uri::from(path.clone()),
            _ => Uri::from_static("/"),
        };
        let body = std::mem::take(&mut admitted.body);
        let admitted = &*admitted;
        let fields = || fields(admitted);
        let mut outgoing = Outgoing::new(admitted.method.clone(), target, &fields);
        outgoing.body = body;
        outgoing.is_upgrade = admitted.upgrade().is_some();
        let request_time = self.clock.now();
        let interim = &admitted.client.interim;
        let response = self.upstream.send(&mut outgoing, interim, &origin, exchange).await?;
        Ok(Asked { response, request_time, response_time: self.clock.now() })
    }

    /// As `ask`, but where a stored response could serve instead, an origin that takes too long counts as out of reach.
    pub(super) async fn ask_in_time(
        &self,
        admitted: &mut Admitted,
        found: &Found,
        fields: Fields<'_>,
        exchange: &Exchange,
    ) -> Result<Asked, Refusal> {
        if self.stale(admitted, found, Failure::Unreachable).is_none() {
            return self.ask(admitted, fields, exchange).await;
        }
        let came = self.upstream.came_down();
        let asking = Box::pin(self.ask(admitted, fields, exchange));
        tokio::time::timeout(self.stale_patience, asking).await.unwrap_or_else(|_| {
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
        if status == StatusCode::NOT_MODIFIED && !has_condition(&admitted.headers) {
            // "The 304 (Not Modified) status code indicates that a conditional GET or HEAD request has been received"
            // (RFC 9110 §15.4.5): to any other request it says nothing that a client could use.
            return Err(Refusal::ProtocolError { origin: origin(admitted)?.to_string() });
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(admitted, response, exchange);
        }
        let storing =
            rfc9111::may_store(&admitted.presented(), status, response.headers(), &self.situation(admitted));
        let (Storing::Store(because) | Storing::Pass(because)) = &storing;
        exchange.note_rule(because.rule());
        exchange.note(|details| details.storing = Some(because.clone()));
        let response = respond::received(response, response_time, self.admission.via());
        let (parts, incoming) = response.into_parts();
        self.learn_from_head(admitted, status, &parts.headers, (request_time, response_time));
        let kept = match (&storing, &admitted.key) {
            (Storing::Store(_), Some(key)) => {
                let head = Received { status, headers: &parts.headers, request_time, response_time };
                let length = if incoming.is_end_stream() { Some(0) } else { content_length(&parts.headers) };
                self.begin_to_store(admitted, key, &head, length)
            }
            _ => None,
        };
        if let Some(lead) = lead {
            let was_fresh = matches!(storing, Storing::Store(Because::StoredFresh(_)));
            let is_fresh = |stored: &Stored| {
                was_fresh || rfc9111::freshness(stored.head(), &self.situation(admitted)).is_fresh()
            };
            match (&kept, storing) {
                (Some(kept), _) if is_fresh(&kept.stored) => lead.settle(),
                (None, Storing::Pass(because)) if !is_lasting(&because) => lead.settle(),
                _ => lead.unshareable(),
            }
        }
        let body = if let Some(Kept { arrival, stored, range, length }) = kept {
            forwarded.stored = true;
            let (first, work) = (range.map_or(0, |range| range.first), self.drain.work());
            let body = stored.body(range.map(|range| range.first..=range.last));
            let keeping = Keeping {
                incoming,
                skip: 0,
                arrival,
                first,
                length,
                is_piece: false,
                rest: None,
                work,
                went_on_alone: false,
                trailers: None,
            };
            begin(keeping, || {
                let rest = self.rest(admitted, exchange).ok().filter(|_| stored.is_mendable())?;
                Some((rest, stored))
            });
            Body::Stored(Mended::new(body, None))
        } else {
            Body::Origin(incoming)
        };
        exchange.note(|details| details.cache = CacheStatus::Forwarded(forwarded));
        Ok(Response::from_parts(parts, body))
    }

    /// Makes room in the store for a response that may be stored; none where the store takes nothing.
    fn begin_to_store(
        &self,
        admitted: &Admitted,
        key: &CacheKey,
        received: &Received<'_>,
        length: Option<u64>,
    ) -> Option<Kept> {
        let presented = admitted.presented();
        let &Received { status, headers, request_time, response_time } = received;
        let Some(part) = rfc9111::part_to_store(status, headers) else {
            let head = StoredResponse::new(&presented, status, headers, request_time, response_time);
            let (arrival, stored) = self.store.insert(key.clone(), head, length).ok()?;
            return Some(Kept { arrival, stored, range: None, length });
        };
        let Part { range, complete_length } = part;
        let found = self.store.lookup(key);
        let same = found.iter().find(|stored| {
            stored.length() == Some(complete_length)
                && stored.head().nominated.matches(&admitted.headers)
                && rfc9111::is_part_of(stored.head(), headers)
        });
        let (arrival, stored) = match same {
            Some(stored) => {
                let length = Some(complete_length);
                (self.store.fill(stored, range.first, Some(range.last), length).ok()?, Arc::clone(stored))
            }
            None => {
                let head = rfc9111::head_of_part(&presented, headers, &part, request_time, response_time);
                let (first, last) = (range.first, range.last);
                self.store.insert_part(key.clone(), head, first..=last, complete_length).ok()?
            }
        };
        Some(Kept { arrival, stored, range: Some(range), length: Some(range.length()) })
    }

    /// The 200 to a HEAD says whether the stored responses to GET still hold. RFC 9111 §4.3.5: "…the cache SHOULD update
    /// or invalidate each of its stored GET responses that could have been chosen for that request".
    fn learn_from_head(
        &self,
        admitted: &Admitted,
        status: StatusCode,
        fields: &HeaderMap,
        (request_time, response_time): (SystemTime, SystemTime),
    ) {
        let Some(key) = admitted.key.as_ref().filter(|_| admitted.method == Method::HEAD) else { return };
        if status != StatusCode::OK {
            return;
        }
        let found = self.store.lookup(key);
        let matching = found.iter().filter(|stored| {
            stored.head().nominated.matches(&admitted.headers)
                && rfc9111::may_freshen(&admitted.presented(), stored.head(), fields)
        });
        for stored in matching.filter(|stored| !stored.is_arriving()) {
            let head = rfc9111::freshen_by_head(stored.head(), fields, request_time, response_time);
            // "…otherwise, the cache SHOULD consider the stored response to be stale."
            self.store.freshen(key, stored, head.unwrap_or_else(|| stored.head().outdated()));
        }
    }
}

/// Where a request goes.
pub(super) fn origin(admitted: &Admitted) -> Result<Origin, Refusal> {
    Origin::of(&admitted.target).ok_or(Refusal::BadRequest("The target names no host."))
}

fn is_empty(path: &PathAndQuery) -> bool {
    let target = Uri::from(path.clone());
    target.path().is_empty() && target.query().is_none()
}

/// Whether a request has a condition that a 304 may answer (RFC 9110 §13.1).
fn has_condition(headers: &HeaderMap) -> bool {
    headers.contains_key(IF_NONE_MATCH) || headers.contains_key(IF_MODIFIED_SINCE)
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

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}
