//! One client connection: hyper's server over the client's socket, each request handed to the line. It decides when
//! the connection ends, not what is answered.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::activity::{Activity, Timed};
use super::client_io::ClientIo;
use crate::admit::access::Caller;
use crate::admit::client::Client;
use crate::admit::occupancy::Seat;
use crate::body::Sealed;
use crate::body::request::Progress;
use crate::config::Config;
use crate::drain::{Drain, Work};
use crate::handle::Handler;
use crate::respond::Refusal;
use crate::respond::interim::Interim;

/// Serves client connections.
pub(crate) struct Server {
    handler: Arc<Handler>,
    /// Our name in Via.
    pseudonym: Arc<str>,
    http: http1::Builder,
    drain: Drain,
    /// How long a client may take nothing of what is sent to it.
    idle: Duration,
}

impl Server {
    /// A server that answers with `handler`, within the limits and timeouts of `config`.
    pub(crate) fn new(handler: Arc<Handler>, drain: Drain, config: &Config) -> Self {
        // A head a little over the limit is still read, so that its refusal can say what the limit is.
        let head = usize::try_from(config.limits.request_head.0).unwrap_or(usize::MAX);
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(config.timeouts.request_head)
            .max_headers(config.limits.request_fields)
            .max_buf_size(head.saturating_mul(2).max(MIN_BUFFER));
        let pseudonym = handler.admission.pseudonym().into();
        Self { handler, pseudonym, http, drain, idle: config.timeouts.client }
    }

    /// Resolves when it is time to stop accepting.
    pub(crate) async fn leaving(&self) {
        self.drain.leaving().await;
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
        self.handler.admission.admit_connection(from)
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve(&self, stream: TcpStream, from: Caller, work: Work) {
        let activity = Arc::new(Activity::default());
        let io = TokioIo::new(ClientIo::new(stream, activity.clone(), self.idle));
        let service = service_fn(|request| self.call(request, from, &activity));
        let mut connection = std::pin::pin!(self.http.serve_connection(io, service).with_upgrades());
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = work.leaving() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, client = %from.address, "a client's connection ended");
        }
    }

    fn call(
        &self,
        mut request: Request<Incoming>,
        Caller { address, by_loopback }: Caller,
        activity: &Arc<Activity>,
    ) -> impl Future<Output = Result<Response<Timed<Sealed>>, Infallible>> + Send + use<> {
        // Begun before the first await, so that the socket knows of the request before it is polled again.
        let progress = Progress::of(&mut request);
        let interim = Interim::to(request.version(), &self.pseudonym);
        let in_flight = activity.begin(progress.clone(), interim.clone());
        let in_asterisk_form = activity.take_bare_options() && is_for_the_origin(&request);
        let client = Client { address, by_loopback, identity: None, in_asterisk_form, interim };
        let handler = self.handler.clone();
        let activity = activity.clone();
        let is_connect = request.method() == Method::CONNECT;
        async move {
            let mut response = handler.handle(request, client).await;
            // Before the socket is polled again, which will be with this response.
            activity.answered();
            let status = response.status();
            if status == StatusCode::SWITCHING_PROTOCOLS || (is_connect && status.is_success()) {
                activity.hand_over();
            } else if !progress.is_whole() {
                // What is still unread of the request would be in the way of the next one (RFC 9112 §9.3).
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| Timed::new(body, in_flight)))
        }
    }
}

/// Whether `request` can be the OPTIONS for an origin as a whole that the socket saw. What the socket sees are bytes,
/// and requests may come several in a row.
fn is_for_the_origin(request: &Request<Incoming>) -> bool {
    request.method() == Method::OPTIONS && request.uri().path() == "/" && request.uri().query().is_none()
}

/// The parser takes no smaller buffer.
const MIN_BUFFER: usize = 16 * 1024;
