//! Serving a stored response (RFC 9111 §4): the client's own conditions (RFC 9110 §13), a range of it (§14), its age.
//! Whether it may be reused was decided before; nothing here asks the origin.

use std::sync::Arc;
use std::time::Duration;

use bentpipe_store::{Found, Stored};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::Body as _;
use rfc9111::{Because, ByteRange, ContentRange, Freshness, Precondition, Ranging};

use super::complete::{Lack, lack};
use super::rest::Mending;
use super::{Answer, Handler};
use crate::admit::Admitted;
use crate::body::mended::Mend;
use crate::body::parts::{self, Part, Parts};
use crate::body::{Body, Mended};
use crate::exchange::{CacheStatus, Exchange};
use crate::respond;

/// What is verified before the head is sent; more than that may turn out to be damaged later. Bytes.
const AT_ONCE: u64 = 256 * 1024;

impl Handler {
    /// Serves the stored response that was decided on, `found[stored]`, for the reason `because`.
    pub(super) async fn reuse(
        &self,
        admitted: Admitted,
        found: &Found,
        (stored, because): (usize, &Because),
        exchange: &Exchange,
    ) -> Answer {
        let served = match found.get(stored) {
            Some(stored) => self.serve(&admitted, stored, because.freshness(), exchange).await,
            None => Err(Declined::Unreadable),
        };
        match (served, found.get(stored)) {
            (Ok(response), _) => {
                let in_memory = match response.body() {
                    Body::Stored(content) => content.is_in_memory(),
                    // The head of what is stored is in memory always.
                    body => matches!(body, Body::Empty),
                };
                exchange.note(|details| (details.cache, details.in_memory) = (CacheStatus::Hit, in_memory));
                Ok(response)
            }
            (Err(Declined::Lacks(lack)), Some(stored)) => {
                Box::pin(self.complete(admitted, found, stored, lack, exchange)).await
            }
            (Err(declined), _) => {
                Box::pin(self.fetch(admitted, found, declined.forward_reason(), exchange)).await
            }
        }
    }

    /// The response to `admitted` made from `stored`, whose freshness may be known.
    ///
    /// # Errors
    /// Why only the origin can answer after all.
    pub(super) async fn serve(
        &self,
        admitted: &Admitted,
        stored: &Arc<Stored>,
        freshness: Option<&Freshness>,
        exchange: &Exchange,
    ) -> Result<Response<Body>, Declined> {
        match lack(admitted, stored) {
            Some(lack) => Err(Declined::Lacks(lack)),
            None => self.serve_what_is_there(admitted, stored, freshness, exchange).await,
        }
    }

    /// The same, where some of it may be missing, though not its beginning.
    pub(super) async fn serve_what_is_there(
        &self,
        admitted: &Admitted,
        stored: &Arc<Stored>,
        freshness: Option<&Freshness>,
        exchange: &Exchange,
    ) -> Result<Response<Body>, Declined> {
        let (presented, head) = (admitted.presented(), stored.head());
        let respond = |status, headers, body| {
            let freshness = freshness.copied();
            let freshness = freshness.unwrap_or_else(|| rfc9111::freshness(head, &self.situation(admitted)));
            exchange.note(|details| details.ttl = Some(respond::Ttl::of(&freshness)));
            self.respond(status, headers, freshness.age, body)
        };
        stored.note_use();
        match rfc9111::evaluate(&presented, head) {
            Precondition::Proceed => {}
            Precondition::NotModified => {
                exchange.note(|details| details.by_tag = admitted.headers.contains_key(IF_NONE_MATCH));
                let headers = rfc9111::not_modified_headers(&head.headers);
                return Ok(respond(StatusCode::NOT_MODIFIED, headers, Body::Empty));
            }
            // "If-Match and If-Unmodified-Since are not applicable to a cache" (RFC 9111 §4.3.2): the origin decides.
            Precondition::Failed => return Err(Declined::Condition),
        }
        let serving = Serving { handler: self, admitted, stored, exchange };
        let mut headers = head.headers.clone();
        let Some(length) = stored.length() else {
            return Ok(respond(head.status, headers, serving.whole().await?));
        };
        // Of what cannot be fetched in parts, what has not arrived yet is sooner fetched than waited for.
        let is_far = |range: &ByteRange| {
            !stored.is_mendable() && !stored.is_partial() && stored.arrived() <= range.first
        };
        let (status, body) = match rfc9111::ranging(&presented, head, length) {
            Ranging::Whole => {
                if head.status != StatusCode::NO_CONTENT {
                    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
                }
                (head.status, serving.whole().await?)
            }
            Ranging::Part(range) if is_far(&range) => return Err(Declined::NotArrived),
            Ranging::Part(range) => {
                headers.insert(
                    CONTENT_RANGE,
                    ContentRange { range: Some(range), complete_length: Some(length) }.to_value(),
                );
                headers.insert(CONTENT_LENGTH, HeaderValue::from(range.length()));
                (StatusCode::PARTIAL_CONTENT, Body::Stored(serving.content(Some(&range)).await?))
            }
            Ranging::Parts(ranges) if ranges.iter().any(is_far) => return Err(Declined::NotArrived),
            Ranging::Parts(ranges) => {
                let boundary = parts::boundary();
                let body = serving.several(&ranges, length, &boundary, headers.get(CONTENT_TYPE)).await?;
                let media_type = format!("multipart/byteranges; boundary={boundary}");
                headers.insert(
                    CONTENT_TYPE,
                    HeaderValue::try_from(media_type).map_err(|_| Declined::Unreadable)?,
                );
                headers.remove(CONTENT_LENGTH);
                (StatusCode::PARTIAL_CONTENT, Body::Parts(body))
            }
            Ranging::NotSatisfiable => {
                headers = HeaderMap::new();
                headers.insert(
                    CONTENT_RANGE,
                    ContentRange { range: None, complete_length: Some(length) }.to_value(),
                );
                (StatusCode::RANGE_NOT_SATISFIABLE, Body::Empty)
            }
        };
        Ok(respond(status, headers, body))
    }

    fn respond(&self, status: StatusCode, headers: HeaderMap, age: Duration, body: Body) -> Response<Body> {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        respond::set_age(response.headers_mut(), age);
        respond::dated(response, self.clock.now())
    }
}

/// Why a stored response that may be reused does not answer a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Declined {
    /// A condition that only the origin can judge.
    Condition,
    /// A range that has not arrived yet.
    NotArrived,
    /// It is held only in part, and this is not in it.
    Lacks(Lack),
    /// What the disk gave back was not what was written.
    Unreadable,
}

impl Declined {
    /// The `fwd` token of RFC 9211 §2.2.
    pub(super) fn forward_reason(self) -> &'static str {
        match self {
            Self::Condition => "request",
            Self::NotArrived | Self::Lacks(_) => "partial",
            Self::Unreadable => "miss",
        }
    }
}

/// A stored response that is being served.
struct Serving<'a> {
    handler: &'a Handler,
    admitted: &'a Admitted,
    stored: &'a Arc<Stored>,
    exchange: &'a Exchange,
}

impl Serving<'_> {
    /// The whole content, or none where the request is for the head only.
    async fn whole(&self) -> Result<Body, Declined> {
        if self.admitted.method == Method::HEAD {
            Ok(Body::Empty)
        } else {
            self.content(None).await.map(Body::Stored)
        }
    }

    /// Several ranges as the parts of one content.
    async fn several(
        &self,
        ranges: &[ByteRange],
        length: u64,
        boundary: &str,
        content_type: Option<&HeaderValue>,
    ) -> Result<Parts, Declined> {
        let mut read = Vec::with_capacity(ranges.len());
        for range in ranges {
            read.push(Part {
                content: self.content(Some(range)).await?,
                length: range.length(),
                content_range: ContentRange { range: Some(*range), complete_length: Some(length) },
            });
        }
        Ok(Parts::new(read, boundary, content_type.and_then(|value| value.to_str().ok())))
    }

    /// The content, once its first bytes are known to be good. What turns out to be missing further on is fetched then.
    async fn content(&self, range: Option<&ByteRange>) -> Result<Mended, Declined> {
        let Self { handler, admitted, stored, exchange } = self;
        let body = stored.body(range.map(|range| range.first..=range.last));
        let body = body.verified().await.map_err(|error| {
            tracing::warn!(%error, "a stored response could not be read");
            let lack = lack(admitted, stored).filter(|_| stored.is_mendable());
            lack.map_or(Declined::Unreadable, Declined::Lacks)
        })?;
        let may_lack =
            stored.is_mendable() && (body.size_hint().upper() > Some(AT_ONCE) || stored.is_partial());
        let mend = admitted.key.clone().filter(|_| may_lack).and_then(|key| {
            let (rest, stored) = (handler.rest(admitted, exchange).ok()?, Arc::clone(stored));
            Some(Arc::new(Mending { rest, key, stored }) as Arc<dyn Mend>)
        });
        Ok(Mended::new(body, mend))
    }
}
