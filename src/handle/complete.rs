//! Completing a stored response of which only a part is held (RFC 9111 §3.3, §3.4): what a request lacks is asked for with
//! a range, under the condition that the representation is still the same, which validates what is held, too.

use std::sync::Arc;

use bentpipe_store::{Collapse, Found, Lead, Stored};
use http::{Method, StatusCode};
use rfc9111::{ByteRange, CacheControl, Part, Ranging};
use tokio::time::timeout;

use super::fetch::Asked;
use super::keep::{Keeping, begin};
use super::rest::More;
use super::{Answer, Handler};
use crate::admit::Admitted;
use crate::exchange::{CacheStatus, Exchange, Forwarded};
use crate::respond::{self, Refusal};

/// The `fwd` token (RFC 9211 §2.2): "The cache was able to select a response for the request, but it did not contain all
/// of the requested ranges (or the request was for the complete response)".
const PARTIAL: &str = "partial";

/// Answers that are about a request's range and conditions.
const OF_OURS: [StatusCode; 4] = [
    StatusCode::PARTIAL_CONTENT,
    StatusCode::NOT_MODIFIED,
    StatusCode::PRECONDITION_FAILED,
    StatusCode::RANGE_NOT_SATISFIABLE,
];

/// What a request lacks of a stored response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lack {
    /// The first bytes that are missing, up to where something is held again or the body ends.
    hole: ByteRange,
    /// What the request wants of the body.
    wanted: ByteRange,
}

/// What `admitted` lacks of `stored`: bytes that it asks for and that are neither held nor about to arrive.
pub(super) fn lack(admitted: &Admitted, stored: &Stored) -> Option<Lack> {
    if admitted.method == Method::HEAD || stored.is_whole() {
        return None;
    }
    let everything = ByteRange { first: 0, last: u64::MAX };
    let wanted = match stored.length() {
        None => vec![everything],
        Some(length) => match rfc9111::ranging(&admitted.presented(), stored.head(), length) {
            Ranging::Whole => vec![everything],
            Ranging::Part(range) => vec![range],
            Ranging::Parts(ranges) => ranges,
            // Of a part that stands alone, what lies behind it is the origin's to say.
            Ranging::NotSatisfiable if !stored.is_mendable() => vec![everything],
            Ranging::NotSatisfiable => Vec::new(),
        },
    };
    wanted.into_iter().find_map(|wanted| {
        let first = *stored.missing(wanted.first..=wanted.last)?.start();
        // What lies around the part that is wanted may be missing, too: a piece of a large body reaches there.
        let gap = stored.gap(first)?;
        let wanted = ByteRange { first, last: wanted.last };
        Some(Lack { hole: ByteRange { first: *gap.start(), last: *gap.end() }, wanted })
    })
}

impl Handler {
    /// Asks for what `admitted` lacks of `stored`, and answers with what is held and what comes.
    pub(super) async fn complete(
        &self,
        admitted: &mut Admitted,
        found: &Found,
        stored: &Arc<Stored>,
        lack: Lack,
        exchange: &Exchange,
    ) -> Answer {
        if CacheControl::of_request(&admitted.headers).only_if_cached {
            return Err(Refusal::OnlyIfCached);
        }
        if !stored.is_mendable() {
            // RFC 9111 §3.4: parts are joined "if they all share the same strong validator". This one has none.
            return self.fetch(admitted, found, PARTIAL, exchange).await;
        }
        let mut forwarded = Forwarded::new(PARTIAL);
        exchange.note(|details| details.cache = CacheStatus::Forwarded(forwarded.clone()));
        let lead = self.lead_to_complete(admitted).await;
        if lead.is_none()
            && super::complete::lack(admitted, stored).is_none()
            && let Ok(response) = self.serve(admitted, stored, None, exchange).await
        {
            // Another request has brought it.
            forwarded.collapsed = Some(true);
            exchange.note(|details| details.cache = CacheStatus::Forwarded(forwarded));
            return Ok(response);
        }
        let range = rfc9111::piece(lack.hole, lack.wanted, stored.length());
        let last = (range.last < u64::MAX).then_some(range.last);
        let rest = self.rest(admitted, exchange)?;
        match rest.ask(stored, range.first, last).await {
            Ok(More::Part(asked, part)) => {
                forwarded.status = Some(StatusCode::PARTIAL_CONTENT);
                self.take_part(admitted, found, stored, asked, part, forwarded, lead, exchange).await
            }
            // It is an answer to our range and our condition, not to the client's, and says that they do not suit.
            Ok(More::Other(asked)) if OF_OURS.contains(&asked.response.status()) => {
                drop((asked, lead));
                if let Some(key) = &admitted.key {
                    self.store.invalidate(key);
                }
                self.fetch(admitted, &Found::default(), PARTIAL, exchange).await
            }
            Ok(More::Other(asked) | More::Whole(asked) | More::Later(asked)) => {
                self.settle(admitted, found, Ok(asked), forwarded, lead, exchange).await
            }
            Err(refusal) => self.settle(admitted, found, Err(refusal), forwarded, lead, exchange).await,
        }
    }

    /// The right to ask for what is missing under a key, or none once somebody else has asked, or where nobody waits.
    async fn lead_to_complete(&self, admitted: &Admitted) -> Option<Lead> {
        match self.store.wait_for_head(admitted.key.as_ref()?) {
            Collapse::Lead(lead) => Some(lead),
            Collapse::Alone => None,
            Collapse::Follow(head) => {
                drop(timeout(self.stale_patience, head).await);
                None
            }
        }
    }

    /// A part of what is held has come (RFC 9111 §3.4): it is stored beside the others, and the request answered.
    #[expect(clippy::too_many_arguments, reason = "all that is known of a response when it comes")]
    async fn take_part(
        &self,
        admitted: &mut Admitted,
        found: &Found,
        stored: &Arc<Stored>,
        asked: Asked,
        part: Part,
        mut forwarded: Forwarded,
        lead: Option<Lead>,
        exchange: &Exchange,
    ) -> Answer {
        let received = respond::received(asked.response, asked.response_time, self.admission.via());
        let (request_time, response_time) = (asked.request_time, asked.response_time);
        let mut head = rfc9111::combine(stored.head(), received.headers(), request_time, response_time);
        head.renominate(&admitted.presented());
        let stored = match &admitted.key {
            Some(key) => self.store.freshen(key, stored, head),
            None => stored.clone(),
        };
        let (first, last) = (part.range.first, part.range.last);
        let Ok(arrival) = self.store.fill(&stored, first, Some(last), Some(part.complete_length)) else {
            // Nothing can be stored now, and what is held alone is of no use.
            drop(lead);
            return self.fetch(admitted, found, PARTIAL, exchange).await;
        };
        drop(lead);
        forwarded.stored = true;
        // What else is missing is fetched when the client comes to it.
        let served = self.serve_what_is_there(admitted, &stored, None, exchange).await;
        let length = Some(part.range.length());
        let (incoming, work) = (received.into_body(), self.drain.work());
        let keeping = Keeping {
            incoming,
            skip: 0,
            arrival,
            first,
            length,
            is_piece: true,
            rest: None,
            work,
            went_on_alone: false,
            trailers: None,
        };
        begin(keeping, || Some((self.rest(admitted, exchange).ok()?, stored)));
        exchange.note(|details| details.cache = CacheStatus::Forwarded(forwarded));
        match served {
            Ok(response) => Ok(response),
            Err(declined) => self.fetch(admitted, found, declined.forward_reason(), exchange).await,
        }
    }
}
