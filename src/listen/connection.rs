//! One client connection: hyper's server over the client's socket or its TLS, each request handed to the line. It
//! decides when the connection ends, not what is answered.

use std::error::Error;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Uri, Version};
use hyper::server::conn::http1::{self, Parts};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use linkio::SharedLink;
use rfc9111::Via;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::activity::Activity;
use super::attended::Attendance;
use super::breakable::Socket;
use super::census::Census;
use super::client_io::ClientIo;
use super::handed::handed;
use super::http2::{self, Ended};
use super::resting::{Resting, Vigil};
use super::seldom::Seldom;
use crate::admit::access::Caller;
use crate::admit::client::Inside;
use crate::admit::occupancy::{Seat, Stay};
use crate::capture::wire::Way;
use crate::capture::{Captures, Tap, Wire};
use crate::config::Config;
use crate::current::Current;
use crate::drain::{Drain, Work};
use crate::exchange::Exchange;
use crate::handle::{Handler, Intercepted};
use crate::intercept::Opened;
use crate::observe::flood::Flood;
use crate::respond::{Contact, Refusal, Worded};

/// Serves client connections.
pub(crate) struct Server {
    serving: Current<Serving>,
    /// Our name in Via.
    pub(super) via: Arc<Via>,
    pub(super) drain: Drain,
    census: Arc<Census>,
    /// Connections that are refused are told of so often.
    refused: Flood,
    captures: Captures,
}

/// What follows from one configuration. A connection keeps the one it began with, but for the handler: each of its
/// requests is answered by the one of its own moment.
struct Serving {
    handler: Arc<Handler>,
    http1: http1::Builder,
    http2: hyper::server::conn::http2::Builder<TokioExecutor>,
    /// How long a client may take nothing of what is sent to it, and how long nothing may go on where many requests share
    /// a connection.
    idle: Duration,
    /// How long a client may take for a request's head or for a handshake.
    head: Duration,
}

/// Field lines that hyper takes where it is told nothing; for any other number it allocates room with every request.
const HYPERS_MOST: usize = 100;

/// Refused connections that are told of in a minute, of each client and of all.
const EACH_REFUSED: usize = 10;
const ALL_REFUSED: usize = 300;

/// Whose connection it is.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) from: Caller,
    pub(super) stay: Stay,
    /// The tunnel it came out of.
    pub(super) inside: Option<Arc<Inside>>,
}

impl Serving {
    fn new(handler: Arc<Handler>, config: &Config) -> Self {
        // A head a little over the limit is still read, so that its refusal can say what the limit is.
        let head = usize::try_from(config.limits.request_head.0).unwrap_or(usize::MAX);
        let mut http1 = http1::Builder::new();
        http1
            // How long a head may take is seen to by `resting`, whose clock also runs while hyper is not there.
            .header_read_timeout(None)
            .max_buf_size(head.saturating_mul(2).max(MIN_BUFFER));
        if config.limits.request_fields != HYPERS_MOST {
            http1.max_headers(config.limits.request_fields);
        }
        let http2 = http2::builder(head.saturating_mul(2), config.timeouts.client);
        let (idle, head) = (config.timeouts.client, config.timeouts.request_head);
        Self { handler, http1, http2, idle, head }
    }

    fn client_io<T>(&self, stream: T, activity: &Arc<Activity>) -> ClientIo<T> {
        let rtt = self.handler.upstream.connector().link().rtt();
        ClientIo::new(stream, activity.clone(), self.idle, rtt)
    }
}

impl Server {
    /// A server that answers with `handler`, within the limits and timeouts of `config`, counts in `census`, and shows
    /// `captures` what is said.
    pub(crate) fn new(
        handler: Arc<Handler>,
        drain: Drain,
        census: Arc<Census>,
        captures: Captures,
        config: &Config,
    ) -> Self {
        let via = handler.admission.via().clone();
        let serving = Current::new(Serving::new(handler, config));
        let refused = Flood::new(EACH_REFUSED, ALL_REFUSED, Instant::now());
        Self { serving, via, drain, census, refused, captures }
    }

    /// Answers with `handler` from now on, and serves new connections within the limits and timeouts of `config`.
    pub(crate) fn renew(&self, handler: Arc<Handler>, config: &Config) {
        self.serving.set(Serving::new(handler, config));
    }

    /// Resolves when it is time to stop accepting.
    pub(crate) async fn retiring(&self) {
        self.drain.retiring().await;
    }

    /// A connection that is to be finished before leaving.
    pub(crate) fn work(&self) -> Work {
        self.drain.work()
    }

    /// Whether a client that comes `from` there may stay, and is counted as long as the seat is held.
    ///
    /// # Errors
    /// What it is told in place of all answers.
    pub(crate) fn admit(&self, from: Caller) -> Result<Seat, Refusal> {
        let seat = self.handler().admission.admit_connection(from);
        let counted = if seat.is_ok() { &self.census.accepted } else { &self.census.refused };
        counted.one();
        seat
    }

    /// The link that what clients send goes up.
    pub(crate) fn link(&self) -> SharedLink {
        self.handler().upstream.connector().link().clone()
    }

    /// Whom readers of our pages may ask.
    pub(crate) fn contact(&self) -> Contact {
        self.handler().contact.clone()
    }

    /// The record of a connection from there that is refused before anything is asked on it; none while so many are that
    /// telling of each would fill disks.
    pub(crate) fn record_refusal(&self, from: Caller, refusal: &Worded) -> Option<Exchange> {
        let unsaid = self.refused.may_say(from.address, None, Instant::now())?;
        if unsaid > 0 {
            tracing::info!(unsaid, "connections were refused of which nothing else is said");
        }
        let handler = self.handler();
        let Handler { clock, observers, .. } = &*handler;
        let (method, target, version) = (Method::GET, Uri::default(), Version::HTTP_11);
        let exchange = Exchange::begin(method, target, version, from.address, clock.now(), observers);
        exchange.refused(refusal.error(), refusal.reason());
        exchange.note(|details| (details.nothing_asked, details.status) = (true, Some(refusal.status())));
        Some(exchange)
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve(self: &Arc<Self>, stream: TcpStream, from: Caller, stay: Stay, work: Work) {
        self.serve_http1(stream, Way::Plain, Peer { from, stay, inside: None }, work).await;
    }

    /// Serves one connection to its end that begins with a handshake of TLS.
    pub(crate) async fn serve_tls(
        self: &Arc<Self>,
        stream: TcpStream,
        from: Caller,
        stay: Stay,
        acceptor: &TlsAcceptor,
        work: Work,
    ) {
        match timeout(self.serving.now().head, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => {
                self.census.handshakes.made(stream.get_ref().1.handshake_kind());
                self.serve_secured(stream, Peer { from, stay, inside: None }, work).await;
            }
            Ok(Err(error)) => {
                self.census.handshakes.failed();
                tracing::debug!(%error, client = %from.address, "a client's handshake failed");
            }
            Err(_) => {
                self.census.handshakes.failed();
                tracing::debug!(client = %from.address, "a client's handshake took too long");
            }
        }
    }

    /// Serves what was agreed on in the handshake.
    async fn serve_secured<T: Socket>(self: &Arc<Self>, stream: TlsStream<T>, peer: Peer, work: Work) {
        let way = peer.inside.as_ref().map_or(Way::Tls, |inside| Way::Inside(inside.authority.to_string()));
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            self.serve_http2(stream, way, peer, work).await;
        } else {
            self.serve_http1(stream, way, peer, work).await;
        }
    }

    /// Not an `async fn`: that has room for everything it is given twice.
    fn serve_http1<T: Socket>(
        self: &Arc<Self>,
        stream: T,
        way: Way,
        peer: Peer,
        work: Work,
    ) -> impl Future<Output = ()> + Send {
        let (open, serving) = (self.census.http1.open.raise(), self.serving.now());
        let wire = Wire::new(&self.captures, peer.from.address, way);
        let mut resting = Resting::new(Tap::new(stream, wire.clone()));
        async move {
            let _open = &open;
            let error: Box<dyn Error + Send + Sync> = loop {
                if let Err(error) = resting.wakes(serving.head, work.retiring()).await {
                    break error.into();
                }
                // Boxed: most connections rest most of the time, and keep no room then for what they are not.
                match Box::pin(self.serve_awake(resting, &serving, &peer, &wire, &work)).await {
                    Ok(Some(rested)) => resting = rested,
                    Ok(None) => return,
                    Err(error) => break error.into(),
                }
            };
            tracing::debug!(error, client = %peer.from.address, "a client's connection ended");
        }
    }

    /// Serves a connection until it ends, or until it rests.
    async fn serve_awake<T: Socket>(
        self: &Arc<Self>,
        Resting { stream, ahead, since }: Resting<Tap<T>>,
        serving: &Serving,
        peer: &Peer,
        wire: &Wire,
        work: &Work,
    ) -> hyper::Result<Option<Resting<Tap<T>>>> {
        let activity = Arc::new(Activity::default().counted(&self.census.http1.active));
        let io = TokioIo::new(serving.client_io(stream, &activity).after(ahead));
        let service = service_fn(|request| self.call(request, peer, &activity, wire, handed::<T>));
        let mut connection = serving.http1.serve_connection(io, service).with_upgrades();
        let mut vigil = Vigil::new(since, serving.head);
        // Who has taken over serves the next connection: this one is closed with its next response, or after a rest, since
        // a request might be on its way.
        let mut parting = pin!(async {
            tokio::select! {
                () = work.leaving() => {}
                () = async { work.retiring().await; activity.quiet(REST).await } => {}
            }
        });
        let served = tokio::select! {
            biased;
            served = vigil.over(&mut connection, &activity) => served,
            () = Seldom::new(parting.as_mut()) => {
                Pin::new(&mut connection).graceful_shutdown();
                vigil.finish();
                vigil.over(&mut connection, &activity).await
            }
        };
        if let Some(served) = served {
            return served.map(|()| None);
        }
        Ok(connection.into_parts().map(|Parts { io, read_buf, .. }| {
            Resting::since(vigil.since(), io.into_inner().into_inner(), &read_buf)
        }))
    }

    async fn serve_http2<T: Socket>(self: &Arc<Self>, stream: T, way: Way, peer: Peer, work: Work) {
        let kind = &self.census.http2;
        let (activity, _open) = (Arc::new(Activity::shared().counted(&kind.active)), kind.open.raise());
        let serving = self.serving.now();
        let idle = serving.idle;
        let wire = Wire::new(&self.captures, peer.from.address, way);
        let stream = Tap::new(stream, wire.clone());
        let (io, attendance) = (TokioIo::new(serving.client_io(stream, &activity)), Attendance::default());
        let service = service_fn(|request| {
            let response =
                self.call(request, &peer, &activity, &wire, |upgraded| Box::new(TokioIo::new(upgraded)));
            let attendance = attendance.clone();
            async move { response.await.map(|response| response.map(|body| attendance.over(body, idle))) }
        });
        let connection = serving.http2.serve_connection(io, service);
        match http2::carry(connection, (&activity, &attendance), idle, work.retiring()).await {
            Ended::Served(Ok(())) => {}
            Ended::Served(Err(error)) => {
                tracing::debug!(%error, client = %peer.from.address, "a client's connection ended");
            }
            Ended::Broken(why) => {
                tracing::debug!(why, client = %peer.from.address, "a client's connection was broken off");
            }
        }
    }

    /// Who answers a request of this moment.
    pub(super) fn handler(&self) -> Arc<Handler> {
        self.serving.now().handler.clone()
    }

    /// Serves what comes out of a tunnel to a host that is intercepted, or passes it on after all. Boxed, since what
    /// serves it may meet a tunnel again.
    pub(super) fn look_into(
        self: Arc<Self>,
        tunnel: Intercepted,
        peer: Peer,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            match tunnel.open().await {
                Opened::Ours(stream) => {
                    let (from, stay) = (tunnel.client(), tunnel.stay().unwrap_or(peer.stay));
                    let peer = Peer { from, stay, inside: Some(tunnel.begin()) };
                    self.serve_secured(*stream, peer, self.work()).await;
                }
                Opened::Others(client) => self.handler().splice(tunnel, client).await,
                Opened::Nobody => {}
            }
        })
    }
}

/// The parser takes no smaller buffer.
const MIN_BUFFER: usize = 16 * 1024;
/// How long a connection on which nothing happens is kept when another process has taken over.
const REST: Duration = Duration::from_secs(10);
