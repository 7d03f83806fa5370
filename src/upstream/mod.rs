//! One request out, one response in. Chooses the connection, knows when a failed request may be sent again
//! (RFC 9110 §9.2.2, RFC 9112 §9.3.1), waits for 100 (Continue) on the client's behalf (RFC 9110 §10.1.1), lets other
//! interim responses go on (§15.2), and accounts what crossed the link. It does not look into the cache and does not
//! alter the message.

pub(crate) mod buffer;
mod carry;
mod certificate;
pub(crate) mod connect;
mod connection;
pub(crate) mod counts;
pub(crate) mod crossing;
pub(crate) mod destination;
pub(crate) mod dial;
pub(crate) mod estimate;
mod expectation;
pub(crate) mod failure;
mod framing;
pub(crate) mod gauge;
mod informational;
pub(crate) mod names;
pub(crate) mod origin;
pub(crate) mod outage;
pub(crate) mod outgoing;
pub(crate) mod parent;
mod pipe;
pub(crate) mod pool;
pub(crate) mod roots;
mod route;
mod shared;
mod slots;
pub(crate) mod tls;
pub(crate) mod tunnel;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::body::OriginBody;
use crate::body::request::{Gate, Progress};
use crate::exchange::{Exchange, Times};
use crate::respond::Refusal;
use crate::respond::interim::Interim;
use crate::standing::{Place, Standings};
use connect::Connector;
use connection::{Connection, MAX_RESPONSE_FIELDS};
use crossing::{Crossing, Share};
use expectation::Expectation;
use framing::Framing;
use informational::Listening;
use origin::Origin;
use outage::Outages;
use outgoing::Outgoing;
use pool::{Pool, Pooled};
use tls::Tls;

/// The way to the origins.
pub(crate) struct Upstream {
    connector: Arc<Connector>,
    pool: Arc<Pool>,
    outages: Arc<Outages>,
    standings: Arc<Standings>,
    /// How long an exchange may make no progress at all.
    idle: Duration,
}

/// A request that failed.
struct Failed {
    refusal: Refusal,
    /// Whether it may be sent once more: the origin cannot have acted on it, or acting twice does no harm.
    may_repeat: bool,
}

impl Failed {
    fn for_good(refusal: Refusal) -> Self {
        Self { refusal, may_repeat: false }
    }
}

impl Upstream {
    /// An upstream that dials with `connector`, speaks TLS as `tls` does, keeps idle connections for `keep_alive`, and
    /// gives up on an origin that makes no progress for `idle`.
    /// Who goes first on the link is `standings`' to say.
    pub(crate) fn new(
        connector: Arc<Connector>,
        tls: Arc<Tls>,
        standings: Arc<Standings>,
        keep_alive: Duration,
        idle: Duration,
    ) -> Self {
        let pool = Pool::new(connector.clone(), tls, keep_alive);
        Self { pool, connector, outages: Arc::default(), standings, idle }
    }

    /// The same way to the origins, with the connections that are kept, where `standings` and `idle` are others.
    pub(crate) fn renewed(&self, standings: Arc<Standings>, idle: Duration) -> Self {
        let Self { connector, pool, outages, .. } = self;
        Self { connector: connector.clone(), pool: pool.clone(), outages: outages.clone(), standings, idle }
    }

    /// Who goes first on the link.
    pub(crate) fn standings(&self) -> &Arc<Standings> {
        &self.standings
    }

    /// The connections that are kept, and who waits for one.
    pub(crate) fn pooled(&self) -> Pooled {
        self.pool.pooled()
    }

    /// Origins that could not be reached a moment ago.
    pub(crate) fn outages(&self) -> &Outages {
        &self.outages
    }

    /// Bytes that have come down the link, from whatever origin.
    pub(crate) fn came_down(&self) -> u64 {
        self.connector.link().usage().down
    }

    /// Takes `origin` for out of reach, and dials it to find out whether it is.
    pub(crate) fn suspect(self: &Arc<Self>, origin: Origin, exchange: &Exchange, refusal: &Refusal) {
        self.outages.note(&origin, refusal);
        let (upstream, standing) = (self.clone(), self.standings.of(exchange));
        tokio::spawn(async move {
            let hop = upstream.hop(&origin);
            if upstream.pool.dial_spare(&hop, standing).await.is_ok() {
                upstream.outages.clear(&origin);
            }
        });
    }

    /// The dialler, for tunnels.
    pub(crate) fn connector(&self) -> &Arc<Connector> {
        &self.connector
    }

    /// Sends what is `outgoing` to `origin` and returns the response once its head is here. Interim responses before it go
    /// to the client that `interim` leads to. A request that failed on a connection used before, without a byte of a
    /// response, is sent again if it is safe to; one that was not processed, whatever it is; neither more than three times
    /// in all.
    ///
    /// # Errors
    /// A `Refusal` that says what went wrong between here and the origin.
    pub(crate) async fn send(
        &self,
        outgoing: &mut Outgoing<'_>,
        interim: &Interim,
        origin: &Origin,
        exchange: &Exchange,
    ) -> Result<Response<OriginBody>, Refusal> {
        let sent = match self.route(outgoing, origin, exchange).await {
            Ok(hop) => {
                let sent = self.send_again_where_safe(outgoing, interim, &hop, exchange).await;
                sent.and_then(|response| route::from(&hop, response))
            }
            Err(refusal) => Err(refusal),
        };
        let sent = sent.map_err(|refusal| failure::over(self.connector.link(), origin, refusal));
        match &sent {
            Ok(_) => self.outages.clear(origin),
            // A connection that stood says nothing of the way to the origin: it may be this one target's fault.
            Err(refusal) if refusal.is_no_connection() => self.outages.note(origin, refusal),
            Err(_) => {}
        }
        sent
    }

    async fn send_again_where_safe(
        &self,
        outgoing: &mut Outgoing<'_>,
        interim: &Interim,
        origin: &Origin,
        exchange: &Exchange,
    ) -> Result<Response<OriginBody>, Refusal> {
        let standing = self.standings.of(exchange);
        let begun = Instant::now();
        let acquired = if outgoing.is_upgrade {
            Box::pin(self.pool.acquire_alone(origin, standing)).await
        } else {
            self.pool.acquire(origin, standing).await
        };
        exchange.note(|details| details.times.connection = Some(begun.elapsed()));
        let mut connection = acquired?;
        let mut tries = 1;
        loop {
            match self.attempt(connection, outgoing, interim, origin, exchange).await {
                Err(failed) if failed.may_repeat && tries < TRIES => {}
                outcome => return outcome.map_err(|failed| failed.refusal),
            }
            tries += 1;
            connection = Box::pin(self.pool.another(origin, standing, outgoing.is_upgrade)).await?;
        }
    }

    async fn attempt(
        &self,
        mut connection: Box<Connection>,
        outgoing: &mut Outgoing<'_>,
        interim: &Interim,
        origin: &Origin,
        exchange: &Exchange,
    ) -> Result<Response<OriginBody>, Failed> {
        tracing::debug!(peer = %connection.peer.address, reused = connection.reused, "it goes out");
        let share = Share::of(&connection);
        let place = Place::take(&self.standings, exchange, &share);
        let crossing = Crossing::of(share.clone(), connection.reused, exchange.clone());
        exchange.note(|details| {
            details.peer = Some(connection.peer);
            if let Some(dial) = connection.times.take() {
                details.times = Times { connection: details.times.connection, ..dial };
            }
        });
        // A moment longer than a client may stall, so that whoever stalls is told.
        let patience = self.idle + Duration::from_millis(500);
        let (begun, connection_begun) = (crossing.down(), share.connection_down());
        let (progress, has_content) = (outgoing.body.progress(), !outgoing.body.is_end_stream());
        let mut request = outgoing.take();
        connection.prepare(&mut request, &progress);
        let expectation = Expectation::of(&mut request, self.connector.link());
        let listening = Listening::to(&mut request, interim, expectation.as_ref(), exchange);
        let sent = {
            let mut sent = pin!(connection.sender.send(request));
            let mut stalled = pin!(share.stalled(patience, &mut connection.watch));
            let origin = || origin.to_string();
            tokio::select! {
                biased;
                () = listening.flooded() => Err(Refusal::TooManyInterim { origin: origin() }),
                sent = &mut sent => match listening.is_flooded() {
                    false => Ok(sent),
                    true => Err(Refusal::TooManyInterim { origin: origin() }),
                },
                () = &mut stalled => Err(Refusal::ResponseTimeout { origin: origin() }),
            }
        };
        let sent = sent.map_err(|refusal| {
            if share.connection_down() == connection_begun {
                // Nothing came for anybody: others need not wait as long to find it dead.
                connection.retire();
            }
            Failed::for_good(refusal)
        })?;
        let first_byte = exchange.record().duration();
        exchange.note(|details| details.times.first_byte = Some(first_byte));
        let mut error = match sent {
            Ok(mut response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                // The connection is the new protocol's now, and what crosses it goes on counting.
                response.extensions_mut().insert(crossing);
                return Ok(response.map(|incoming| OriginBody::new(incoming, self.idle, Box::new(|| ()))));
            }
            Ok(response) => {
                let framing = framing::framing(response.status(), response.headers());
                let Some(framing) = framing.filter(|_| response.headers().len() <= MAX_RESPONSE_FIELDS)
                else {
                    return Err(Failed::for_good(Refusal::ProtocolError { origin: origin.to_string() }));
                };
                place.learn(response.headers().get(CONTENT_TYPE));
                share.count_head(response.headers());
                let gate = expectation.map(Expectation::answered);
                let end = End {
                    pool: self.pool.clone(),
                    origin: origin.clone(),
                    connection,
                    crossing,
                    gate,
                    progress,
                    framing,
                };
                return Ok(response.map(|incoming| end.when_arrived(incoming, self.idle, &share)));
            }
            Err(error) => error,
        };
        let unsent = error.take_message();
        let (error, silent) = (error.error(), crossing.down() == begun);
        if !connection::is_of_the_stream(error) {
            connection.retire();
        }
        // Content that was sent is gone.
        let may_repeat =
            unsent.is_some() || (!has_content && connection.may_repeat(&outgoing.method, error, silent));
        if let Some(request) = unsent {
            outgoing.put_back(request);
        }
        Err(Failed { refusal: why(&progress, error, origin), may_repeat })
    }
}

/// What came of a request to which no response came.
fn why(progress: &Progress, error: &hyper::Error, origin: &Origin) -> Refusal {
    if progress.is_too_large() {
        Refusal::ContentTooLarge
    } else if progress.is_stalled() {
        Refusal::RequestTimeout
    } else if progress.is_left() {
        Refusal::ClientLeft
    } else if progress.is_broken() {
        Refusal::BadRequest("The request's content is not framed as its fields say.")
    } else {
        lost(error, origin)
    }
}

/// How often a request is sent at most.
const TRIES: usize = 3;

fn lost(error: &hyper::Error, origin: &Origin) -> Refusal {
    let origin = origin.to_string();
    if error.is_parse() || connection::is_protocol_error(error) {
        Refusal::ProtocolError { origin }
    } else if error.is_timeout() {
        Refusal::ResponseTimeout { origin }
    } else {
        Refusal::ConnectionTerminated { origin }
    }
}

/// What is to be done when a response has arrived whole.
struct End {
    pool: Arc<Pool>,
    origin: Origin,
    connection: Box<Connection>,
    crossing: Crossing,
    gate: Option<Arc<Gate>>,
    progress: Progress,
    framing: Framing,
}

impl End {
    fn when_arrived(self, incoming: Incoming, idle: Duration, share: &Share) -> OriginBody {
        let body = OriginBody::new(incoming, idle, Box::new(move || self.arrived()));
        match share.stream().cloned() {
            Some(stream) => body.counted(Box::new(move |bytes| stream.count(bytes, 0))),
            None => body,
        }
    }

    fn arrived(self) {
        drop(self.crossing);
        // A gate still shut breaks the unwanted content off here, and the connection with it.
        drop(self.gate);
        if self.progress.is_whole() && self.framing == Framing::Clear {
            self.pool.give_back(&self.origin, self.connection);
        }
    }
}
