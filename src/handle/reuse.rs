//! Serving a stored response (RFC 9111 §4): the client's own conditions (RFC 9110 §13), a range of it (§14), its age.
//! Whether it may be reused was decided before; nothing here asks the origin.

use std::sync::Arc;

use bentpipe_store::{Found, Stored, StoredBody};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use rfc9111::{ByteRange, ContentRange, Precondition, Ranging, StoredResponse};

use super::{Answer, Handler};
use crate::admit::Admitted;
use crate::body::Body;
use crate::body::parts::{self, Part, Parts};
use crate::exchange::{CacheStatus, Exchange};
use crate::respond;

impl Handler {
    /// Serves the stored response that was decided on, `found[stored]`.
    pub(super) async fn reuse(
        &self,
        admitted: Admitted,
        found: &Found,
        stored: usize,
        exchange: &Exchange,
    ) -> Answer {
        let served = match found.get(stored) {
            Some(stored) => self.serve(&admitted, stored).await,
            None => Err(Declined::Unreadable),
        };
        match served {
            Ok(response) => {
                exchange.note(|details| details.cache = CacheStatus::Hit);
                Ok(response)
            }
            Err(declined) => self.fetch(admitted, found, declined.forward_reason(), exchange).await,
        }
    }

    /// The response to `admitted` made from `stored`.
    ///
    /// # Errors
    /// Why only the origin can answer after all.
    pub(super) async fn serve(
        &self,
        admitted: &Admitted,
        stored: &Arc<Stored>,
    ) -> Result<Response<Body>, Declined> {
        let (presented, head) = (admitted.presented(), stored.head());
        stored.note_use();
        match rfc9111::evaluate(&presented, head) {
            Precondition::Proceed => {}
            Precondition::NotModified => {
                let headers = rfc9111::not_modified_headers(&head.headers);
                return Ok(self.respond(StatusCode::NOT_MODIFIED, headers, head, Body::Empty));
            }
            // "If-Match and If-Unmodified-Since are not applicable to a cache" (RFC 9111 §4.3.2): the origin decides.
            Precondition::Failed => return Err(Declined::Condition),
        }
        let mut headers = head.headers.clone();
        let Some(length) = stored.length() else {
            return Ok(self.respond(head.status, headers, head, whole(admitted, stored).await?));
        };
        let (status, body) = match rfc9111::ranging(&presented, head, length) {
            Ranging::Whole => {
                if head.status != StatusCode::NO_CONTENT {
                    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
                }
                (head.status, whole(admitted, stored).await?)
            }
            // What has not arrived yet is sooner fetched than waited for.
            Ranging::Part(range) if stored.arrived() <= range.first => return Err(Declined::NotArrived),
            Ranging::Part(range) => {
                headers.insert(
                    CONTENT_RANGE,
                    ContentRange { range: Some(range), complete_length: Some(length) }.to_value(),
                );
                headers.insert(CONTENT_LENGTH, HeaderValue::from(range.length()));
                (StatusCode::PARTIAL_CONTENT, Body::Stored(content(stored, Some(&range)).await?))
            }
            Ranging::Parts(ranges) if ranges.iter().any(|range| stored.arrived() <= range.first) => {
                return Err(Declined::NotArrived);
            }
            Ranging::Parts(ranges) => {
                let boundary = parts::boundary();
                let body = several(stored, &ranges, length, &boundary, headers.get(CONTENT_TYPE)).await?;
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
        Ok(self.respond(status, headers, head, body))
    }

    fn respond(
        &self,
        status: StatusCode,
        headers: HeaderMap,
        head: &StoredResponse,
        body: Body,
    ) -> Response<Body> {
        let now = self.clock.now();
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        respond::set_age(response.headers_mut(), rfc9111::current_age(head, now));
        respond::dated(response, now)
    }
}

/// Why a stored response that may be reused does not answer a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Declined {
    /// A condition that only the origin can judge.
    Condition,
    /// A range that has not arrived yet.
    NotArrived,
    /// What the disk gave back was not what was written.
    Unreadable,
}

impl Declined {
    /// The `fwd` token of RFC 9211 §2.2.
    pub(super) fn forward_reason(self) -> &'static str {
        match self {
            Self::Condition => "request",
            Self::NotArrived => "partial",
            Self::Unreadable => "miss",
        }
    }
}

/// The whole content, or none where the request is for the head only.
async fn whole(admitted: &Admitted, stored: &Arc<Stored>) -> Result<Body, Declined> {
    if admitted.method == Method::HEAD {
        Ok(Body::Empty)
    } else {
        content(stored, None).await.map(Body::Stored)
    }
}

/// Several ranges as the parts of one content.
async fn several(
    stored: &Arc<Stored>,
    ranges: &[ByteRange],
    length: u64,
    boundary: &str,
    content_type: Option<&HeaderValue>,
) -> Result<Parts, Declined> {
    let mut read = Vec::with_capacity(ranges.len());
    for range in ranges {
        read.push(Part {
            content: content(stored, Some(range)).await?,
            length: range.length(),
            content_range: ContentRange { range: Some(*range), complete_length: Some(length) },
        });
    }
    Ok(Parts::new(read, boundary, content_type.and_then(|value| value.to_str().ok())))
}

/// The content of `stored`, once its first bytes are known to be good.
async fn content(stored: &Arc<Stored>, range: Option<&ByteRange>) -> Result<StoredBody, Declined> {
    match stored.body(range.map(|range| range.first..=range.last)).verified().await {
        Ok(body) => Ok(body),
        Err(error) => {
            tracing::warn!(%error, "a stored response could not be read");
            Err(Declined::Unreadable)
        }
    }
}
