//! Serving a stored response (RFC 9111 §4): the client's own conditions (RFC 9110 §13), a range of it (§14), its age.
//! Whether it may be reused was decided before; nothing here asks the origin.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bentpipe_store::{Error, Found, Stored};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, IF_NONE_MATCH};
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
use crate::step::{Step, at_once};

/// What is verified before the head is sent; more than that may turn out to be damaged later. Bytes.
const AT_ONCE: u64 = 256 * 1024;

impl Handler {
    /// Serves the stored response that was decided on, the one at `place` of what was `found`, for the reason `because`.
    pub(super) fn reuse(
        self: &Arc<Self>,
        admitted: Admitted,
        found: Found,
        place: usize,
        because: &Because,
        exchange: &Exchange,
    ) -> Step<Answer> {
        let serving = match found.get(place) {
            None => Err(Declined::Unreadable),
            Some(stored) => match lack(&admitted, stored) {
                Some(lack) => Err(Declined::Lacks(lack)),
                None => self.serving(&admitted, stored, because.freshness(), exchange),
            },
        };
        let declined = match serving {
            Err(declined) => declined,
            // Unless a disk has to be waited for.
            Ok(mut serving) => match at_once(Pin::new(&mut serving)) {
                Poll::Ready(Ok(response)) => return Step::Done(Ok(note_hit(response, exchange))),
                Poll::Ready(Err(error)) => unreadable(&admitted, found.get(place), &error),
                Poll::Pending => return self.reuse_later(admitted, found, place, serving, exchange),
            },
        };
        self.go_on(admitted, found, place, declined, exchange)
    }

    /// The same, where a disk is waited for.
    fn reuse_later(
        self: &Arc<Self>,
        admitted: Admitted,
        found: Found,
        place: usize,
        serving: Serving,
        exchange: &Exchange,
    ) -> Step<Answer> {
        self.wait(exchange, move |this, exchange| async move {
            let error = match serving.await {
                Ok(response) => return Ok(note_hit(response, &exchange)),
                Err(error) => error,
            };
            let declined = unreadable(&admitted, found.get(place), &error);
            this.go_on(admitted, found, place, declined, &exchange).await
        })
    }

    /// The origin answers, since what is stored at `place` does not, or not all of it.
    fn go_on(
        self: &Arc<Self>,
        mut admitted: Admitted,
        found: Found,
        place: usize,
        declined: Declined,
        exchange: &Exchange,
    ) -> Step<Answer> {
        self.wait(exchange, move |this, exchange| async move {
            match (declined, found.get(place)) {
                (Declined::Lacks(lack), Some(stored)) => {
                    this.complete(&mut admitted, &found, stored, lack, &exchange).await
                }
                _ => this.fetch(&mut admitted, &found, declined.forward_reason(), &exchange).await,
            }
        })
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
        let serving = self.serving(admitted, stored, freshness, exchange)?;
        serving.await.map_err(|error| unreadable(admitted, Some(stored), &error))
    }

    /// The same, to be read.
    fn serving(
        &self,
        admitted: &Admitted,
        stored: &Arc<Stored>,
        freshness: Option<&Freshness>,
        exchange: &Exchange,
    ) -> Result<Serving, Declined> {
        let (presented, head) = (admitted.presented(), stored.head());
        let respond = |status, mut headers: HeaderMap, body| {
            let freshness = freshness.copied();
            let freshness = freshness.unwrap_or_else(|| rfc9111::freshness(head, &self.situation(admitted)));
            exchange.note(|details| details.ttl = Some(respond::Ttl::of(&freshness)));
            respond::set_age(&mut headers, freshness.age);
            let mut response = Response::new(body);
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            Serving(Some(response))
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
        let content = |range: Option<&ByteRange>| self.content(admitted, stored, range, exchange);
        let whole = || match admitted.method {
            Method::HEAD => Body::Empty,
            _ => Body::Stored(content(None)),
        };
        let mut headers = head.to_serve();
        let Some(length) = stored.length() else {
            return Ok(respond(head.status, headers, whole()));
        };
        // Of what cannot be fetched in parts, what has not arrived yet is sooner fetched than waited for.
        let is_far = |range: &ByteRange| {
            !stored.is_mendable() && !stored.is_partial() && stored.arrived() <= range.first
        };
        let (status, body) = match rfc9111::ranging(&presented, head, length) {
            Ranging::Whole => {
                if head.status != StatusCode::NO_CONTENT {
                    respond::set_length(&mut headers, length);
                }
                (head.status, whole())
            }
            Ranging::Part(range) if is_far(&range) => return Err(Declined::NotArrived),
            Ranging::Part(range) => {
                headers.insert(
                    CONTENT_RANGE,
                    ContentRange { range: Some(range), complete_length: Some(length) }.to_value(),
                );
                respond::set_length(&mut headers, range.length());
                (StatusCode::PARTIAL_CONTENT, Body::Stored(content(Some(&range))))
            }
            Ranging::Parts(ranges) if ranges.iter().any(is_far) => return Err(Declined::NotArrived),
            Ranging::Parts(ranges) => {
                let boundary = parts::boundary();
                let part = |range: &ByteRange| Part {
                    content: content(Some(range)),
                    length: range.length(),
                    content_range: ContentRange { range: Some(*range), complete_length: Some(length) },
                };
                let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
                let body = Parts::new(ranges.iter().map(part).collect(), &boundary, media_type);
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
                headers.insert(DATE, rfc9111::format_date(self.clock.now()));
                headers.insert(
                    CONTENT_RANGE,
                    ContentRange { range: None, complete_length: Some(length) }.to_value(),
                );
                (StatusCode::RANGE_NOT_SATISFIABLE, Body::Empty)
            }
        };
        Ok(respond(status, headers, body))
    }

    /// The content of `stored`, or a range of it. What turns out to be missing further on is fetched then.
    fn content(
        &self,
        admitted: &Admitted,
        stored: &Arc<Stored>,
        range: Option<&ByteRange>,
        exchange: &Exchange,
    ) -> Mended {
        let body = stored.body(range.map(|range| range.first..=range.last));
        let may_lack =
            stored.is_mendable() && (body.size_hint().upper() > Some(AT_ONCE) || stored.is_partial());
        let mend = admitted.key.clone().filter(|_| may_lack).and_then(|key| {
            let (rest, stored) = (self.rest(admitted, exchange).ok()?, Arc::clone(stored));
            Some(Arc::new(Mending { rest, key, stored }) as Arc<dyn Mend>)
        });
        Mended::new(body, mend)
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

/// What is left to ask for where `stored` cannot be read.
fn unreadable(admitted: &Admitted, stored: Option<&Arc<Stored>>, error: &Error) -> Declined {
    tracing::warn!(%error, "a stored response could not be read");
    let mendable = stored.filter(|stored| stored.is_mendable());
    let lack = mendable.and_then(|stored| lack(admitted, stored));
    lack.map_or(Declined::Unreadable, Declined::Lacks)
}

/// `response` is made from what is stored, and from that alone.
fn note_hit(response: Response<Body>, exchange: &Exchange) -> Response<Body> {
    let in_memory = match response.body() {
        Body::Stored(content) => content.is_in_memory(),
        // The head of what is stored is in memory always.
        body => matches!(body, Body::Empty),
    };
    exchange.note(|details| (details.cache, details.in_memory) = (CacheStatus::Hit, in_memory));
    response
}

/// A response made from what is stored, once the first bytes of its content are known to be good.
#[must_use]
struct Serving(Option<Response<Body>>);

impl Future for Serving {
    type Output = Result<Response<Body>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let Some(response) = &mut this.0 else { return Poll::Pending };
        ready!(response.body_mut().poll_verified(cx))?;
        // As of any future: nobody asks one that is over.
        this.0.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response)))
    }
}
