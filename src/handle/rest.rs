//! The rest of a representation of which a part is held: asked for with Range and If-Range (RFC 9111 §3.4, RFC 9110
//! §13.1.5), for a request that wants it, for a download that broke off, and for a reader that comes to a gap.

use std::sync::Arc;
use std::time::Duration;

use bentpipe_store::{Collapse, Store, Stored, StoredBody};
use http::header::{CONTENT_LENGTH, HeaderMap};
use http::{Method, StatusCode, Uri};
use rfc9111::{ByteRange, CacheKey, Part};
use tokio::time::{Instant, sleep, timeout};

use super::Handler;
use super::fetch::{Asked, origin};
use super::keep::{Keeping, begin};
use crate::admit::Admitted;
use crate::body::OriginBody;
use crate::body::mended::{Fetching, Mend};
use crate::clock::Clock;
use crate::drain::Drain;
use crate::exchange::Exchange;
use crate::respond::Refusal;
use crate::respond::interim::Interim;
use crate::upstream::Upstream;
use crate::upstream::origin::Origin;
use crate::upstream::outgoing::Outgoing;

/// Between the first two attempts; each further one waits twice as long as the one before.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Between any two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// So much must have come since the last attempt for the next one to be made at once. Bytes.
const ENOUGH: u64 = 16 * 1024;

/// What it takes to ask an origin for more of a representation, also after the request that began it has left.
#[derive(Clone)]
pub(super) struct Rest {
    upstream: Arc<Upstream>,
    store: Store,
    clock: Clock,
    drain: Drain,
    /// How long an origin is asked again and again.
    patience: Duration,
    origin: Origin,
    target: Uri,
    /// The client's fields, as they are sent on.
    headers: HeaderMap,
    exchange: Exchange,
}

/// What an origin's answer is to the request for more of a representation.
pub(super) enum More {
    /// The bytes that were asked for.
    Part(Asked, Part),
    /// All of the same representation: the origin does not do ranges.
    Whole(Asked),
    /// It cannot say now.
    Later(Asked),
    /// Something else: the representation has changed.
    Other(Asked),
}

impl Handler {
    /// What it takes to ask for more of what `admitted` asks for. The client's conditions are left out.
    pub(super) fn rest(&self, admitted: &Admitted, exchange: &Exchange) -> Result<Rest, Refusal> {
        let path = admitted.target.path_and_query();
        Ok(Rest {
            upstream: self.upstream.clone(),
            store: self.store.clone(),
            clock: self.clock.clone(),
            drain: self.drain.clone(),
            patience: self.resume_patience,
            origin: origin(admitted)?,
            target: path.map_or_else(|| Uri::from_static("/"), |path| Uri::from(path.clone())),
            headers: admitted.forwarded_headers(self.admission.via()),
            exchange: exchange.clone(),
        })
    }
}

impl Rest {
    /// Asks for the bytes from `first` to `last`, or to the end, of the representation that is stored.
    ///
    /// # Errors
    /// Why the origin did not answer.
    pub(super) async fn ask(&self, stored: &Stored, first: u64, last: Option<u64>) -> Result<More, Refusal> {
        let no_validator = Refusal::BadRequest("What is stored cannot be completed.");
        let validator = rfc9111::strong_validator(stored.head()).ok_or(no_validator)?;
        let fields = || rfc9111::range_request(&self.headers, validator.clone(), first, last);
        let mut outgoing = Outgoing::new(Method::GET, self.target.clone(), &fields);
        let request_time = self.clock.now();
        let response =
            self.upstream.send(&mut outgoing, &Interim::default(), &self.origin, &self.exchange).await?;
        let asked = Asked { response, request_time, response_time: self.clock.now() };
        Ok(judge(asked, stored, first, last))
    }

    /// Asks until the origin answers with the bytes that were asked for, or something else, or `patience` is at an end.
    /// With them comes how many bytes before the first one have to be skipped.
    pub(super) async fn insist(
        &self,
        stored: &Stored,
        first: u64,
        last: Option<u64>,
        patience: &mut Patience,
    ) -> Option<(OriginBody, u64, Option<Part>)> {
        while patience.lasts().await {
            // Boxed: most of those who may come here never do, and their room would be moved about with them.
            match Box::pin(self.ask(stored, first, last)).await {
                Ok(More::Part(asked, part)) => return Some((asked.response.into_body(), 0, Some(part))),
                Ok(More::Whole(asked)) => return Some((asked.response.into_body(), first, None)),
                Ok(More::Other(asked)) => {
                    tracing::debug!(status = %asked.response.status(), "a download cannot go on: it changed");
                    return None;
                }
                Ok(More::Later(_)) => {}
                Err(refusal) if refusal.is_forbidden() => return None,
                Err(refusal) => tracing::debug!(?refusal, "a download cannot go on yet"),
            }
        }
        None
    }

    /// As much patience as there is.
    pub(super) fn patience(&self) -> Patience {
        Patience { limit: self.patience, since: Instant::now(), wait: Duration::ZERO }
    }

    /// Has the bytes of `range` fetched into `stored`; ready when they begin to arrive.
    async fn fill(&self, stored: &Arc<Stored>, range: ByteRange) -> Option<StoredBody> {
        let last = (range.last < u64::MAX).then_some(range.last);
        let mut patience = self.patience();
        let (incoming, skip, part) = self.insist(stored, range.first, last, &mut patience).await?;
        let last = part.map(|part| part.range.last).or(last);
        let complete_length = part.map(|part| part.complete_length);
        let arrival = self.store.fill(stored, range.first, last, complete_length).ok()?;
        let place = stored.body(Some(range.first..=range.last));
        let length = last.map(|last| last - range.first + 1);
        let (first, work) = (range.first, self.drain.work());
        let keeping = Keeping {
            incoming,
            skip,
            arrival,
            first,
            length,
            is_piece: true,
            rest: None,
            work,
            went_on_alone: false,
            trailers: None,
        };
        begin(keeping, || Some((self.clone(), Arc::clone(stored))));
        Some(place)
    }
}

/// How long, and how often, an origin is asked for the same.
pub(super) struct Patience {
    limit: Duration,
    since: Instant,
    wait: Duration,
}

impl Patience {
    /// Bytes have come: there is hope, but the less they were, the longer the next attempt waits.
    pub(super) fn renew(&mut self, bytes: u64) {
        if bytes > 0 {
            self.since = Instant::now();
        }
        if bytes >= ENOUGH {
            self.wait = Duration::ZERO;
        }
    }

    /// Waits for the next attempt, of which the first is at once; whether there is one.
    async fn lasts(&mut self) -> bool {
        let wait = self.wait;
        self.wait = LONGEST_WAIT.min(FIRST_WAIT.max(wait * 2));
        if self.since.elapsed() + wait > self.limit {
            return false;
        }
        sleep(wait).await;
        true
    }
}

/// What an answer to the request for the bytes from `first` to `last` means.
fn judge(asked: Asked, stored: &Stored, first: u64, last: Option<u64>) -> More {
    let (status, headers) = (asked.response.status(), asked.response.headers());
    let is_as_long = |length: u64| stored.length().is_none_or(|stored| stored == length);
    match Part::of(status, headers) {
        Some(part) => {
            let range = part.range;
            let is_asked = range.first == first && last.is_none_or(|last| range.last <= last);
            let is_of_it = rfc9111::answers_if_range(stored.head(), headers);
            if is_of_it && is_asked && is_as_long(part.complete_length) {
                More::Part(asked, part)
            } else {
                More::Other(asked)
            }
        }
        None if status == StatusCode::OK && rfc9111::is_part_of(stored.head(), headers) => {
            let length = headers.get(CONTENT_LENGTH).map(|length| length.to_str().ok()?.trim().parse().ok());
            let is_same = length.is_none_or(|length| length.is_some_and(is_as_long));
            if is_same { More::Whole(asked) } else { More::Other(asked) }
        }
        None if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => More::Later(asked),
        None => More::Other(asked),
    }
}

/// Mends one stored response for its readers.
pub(super) struct Mending {
    pub(super) rest: Rest,
    pub(super) key: CacheKey,
    pub(super) stored: Arc<Stored>,
}

impl Mend for Mending {
    fn fetch(self: Arc<Self>, first: u64, end: Option<u64>) -> Fetching {
        let wanted = ByteRange { first, last: end.unwrap_or(u64::MAX).saturating_sub(1).max(first) };
        Box::pin(async move {
            let Self { rest, key, stored } = &*self;
            // Others may have come to the same gap.
            let lead = match rest.store.wait_for_head(key) {
                Collapse::Lead(lead) => Some(lead),
                Collapse::Alone => None,
                Collapse::Follow(head) => {
                    drop(timeout(rest.patience, head).await);
                    None
                }
            };
            let place = match stored.gap(first) {
                Some(gap) => {
                    let hole = ByteRange { first: *gap.start(), last: *gap.end() };
                    rest.fill(stored, rfc9111::piece(hole, wanted, stored.length())).await
                }
                None => Some(stored.body(Some(wanted.first..=wanted.last))),
            };
            drop(lead);
            place
        })
    }
}
