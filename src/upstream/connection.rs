//! One connection to an origin, or a place on one that is shared, in the hands of one request; and the beginning of both
//! kinds: HTTP/1.1 (RFC 9112) on a stream for one request at a time, HTTP/2 (RFC 9113) for many. What may be done with
//! it when the request is over is the pool's affair.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CONNECTION, EXPECT, HOST, TRANSFER_ENCODING};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Response, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use linkio::{BitRate, Meter, SharedLink, Standing};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite};

use super::crossing::Watch;
use super::shared::{Limit, Shared, Stream};
use crate::body::RequestBody;
use crate::body::request::Progress;
use crate::exchange::{Peer, Times};

/// What carries one request. It goes from hand to hand in a box.
pub(crate) struct Connection {
    pub(crate) sender: Sender,
    pub(crate) peer: Peer,
    /// Whether it has carried a request before.
    pub(crate) reused: bool,
    /// What dialling it took, until the first request bears it.
    pub(super) times: Option<Times>,
    /// When to look next whether it makes progress.
    pub(super) watch: Watch,
}

/// How a request is sent.
pub(crate) enum Sender {
    /// On a connection of its own.
    Alone(http1::SendRequest<RequestBody>, Meter),
    /// Among others.
    Among(http2::SendRequest<RequestBody>, Arc<Stream>),
}

/// What was dialled.
pub(crate) enum Dialled {
    Alone(Box<Connection>),
    Shared(Shared),
}

/// Fields of an origin's response head that are read before it is refused.
pub(super) const MAX_RESPONSE_FIELDS: usize = 300;

/// Bytes of an origin's response head that are read before it is refused as not HTTP. hyper also keeps up to so many of
/// an upload ahead of the link, which would still cross if the client left.
const MAX_RESPONSE_HEAD: u32 = 64 * 1024;

impl Connection {
    /// A place on `shared` for a request that stands so, or none.
    pub(super) fn among(shared: &Shared, standing: Standing, anyway: bool) -> Option<Box<Self>> {
        let stream = shared.stream(standing, anyway)?;
        let (peer, reused) = (shared.peer(), stream.follows());
        let times = shared.take_times();
        let (sender, watch) = (Sender::Among(shared.sender(), stream), Watch::default());
        Some(Box::new(Self { sender, peer, reused, times, watch }))
    }

    /// Whether it carries one request at a time.
    pub(super) fn is_alone(&self) -> bool {
        matches!(self.sender, Sender::Alone(..))
    }

    /// Whether nothing can be sent on it any more.
    pub(super) fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Alone(sender, _) => sender.is_closed(),
            Sender::Among(sender, _) => sender.is_closed(),
        }
    }

    /// Waits until it can be sent on; whether it can.
    pub(super) async fn is_ready(&mut self) -> bool {
        match &mut self.sender {
            Sender::Alone(sender, _) => sender.ready().await.is_ok(),
            Sender::Among(sender, _) => sender.ready().await.is_ok(),
        }
    }

    /// It takes no more requests.
    pub(super) fn retire(&self) {
        if let Sender::Among(_, stream) = &self.sender {
            stream.connection().retire();
        }
    }

    /// Whether a request with `method` that failed on it with `error` may be sent again, nothing having come for it where
    /// `silent`. "A proxy MUST NOT automatically retry non-idempotent requests" (RFC 9110 §9.2.2), unless they were not
    /// processed.
    pub(super) fn may_repeat(&self, method: &Method, error: &hyper::Error, silent: bool) -> bool {
        let idempotent = method.is_idempotent() || method.is_safe();
        is_unprocessed(error) || (idempotent && silent && self.reused && !is_of_the_stream(error))
    }

    /// Puts `request` into the form in which it is sent on this connection, which counts its content from now on.
    pub(super) fn prepare(&self, request: &mut Request<RequestBody>, progress: &Progress) {
        match &self.sender {
            Sender::Alone(_, meter) => progress.carried(meter.clone()),
            Sender::Among(_, stream) => {
                let target = request.uri().path().len() + request.uri().query().map_or(0, str::len);
                stream.count_heads(0, length(request.headers()) + target as u64);
                let stream = stream.clone();
                request.body_mut().count_to(Some(Box::new(move |bytes| stream.count(0, bytes))));
                put_into_form_of_http2(request);
            }
        }
    }

    /// From now on it stands so on the link.
    pub(super) fn assign(&self, standing: Standing) {
        if let Sender::Alone(_, meter) = &self.sender {
            meter.assign(standing);
        }
    }
}

impl Sender {
    /// Sends `request`, at once; ready when there is a response.
    pub(super) fn send(&mut self, request: Request<RequestBody>) -> impl Future<Output = Sent> + use<> {
        match self {
            Self::Alone(sender, _) => Either::Alone { sent: sender.try_send_request(request) },
            Self::Among(sender, _) => Either::Among { sent: sender.try_send_request(request) },
        }
    }
}

/// The response to a request, or why there is none, with the request if it was not sent.
pub(super) type Sent = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>;

pin_project! {
    /// One of two ways of being sent.
    #[project = EitherProjected]
    enum Either<A, B> {
        Alone { #[pin] sent: A },
        Among { #[pin] sent: B },
    }
}

impl<A: Future, B: Future<Output = A::Output>> Future for Either<A, B> {
    type Output = A::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<A::Output> {
        match self.project() {
            EitherProjected::Alone { sent } => sent.poll(cx),
            EitherProjected::Among { sent } => sent.poll(cx),
        }
    }
}

/// Begins HTTP/1.1 on `io`.
pub(super) async fn http1<T>(io: T, meter: Meter, peer: Peer, times: Times) -> hyper::Result<Box<Connection>>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = http1::Builder::new()
        .max_buf_size(MAX_RESPONSE_HEAD as usize)
        .max_headers(MAX_RESPONSE_FIELDS)
        // "A proxy MUST remove any such whitespace from a response message" (RFC 9112 §5.1) and "replace each
        // received obs-fold" (§5.2): hyper does both once it accepts them.
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .handshake(TokioIo::new(io));
    let (sender, connection) = handshake.await?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to an origin ended");
        }
    });
    let (sender, times, watch) = (Sender::Alone(sender, meter), Some(times), Watch::default());
    Ok(Box::new(Connection { sender, peer, reused: false, times, watch }))
}

/// Begins HTTP/2 on `io`, which crosses `link`. Floods of CONTINUATION, of resets and of settings are h2's to notice: its
/// limits follow from that on the size of a head and from its own defaults, and end the connection.
pub(super) async fn http2<T>(
    io: T,
    meter: Meter,
    peer: Peer,
    times: Times,
    link: &SharedLink,
) -> hyper::Result<Shared>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let window = window(link.rates().0, link.rtt());
    let unread = window.saturating_mul(CLIENTS_THAT_STALL).min(MOST_UNREAD);
    let handshake = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .adaptive_window(false)
        .initial_stream_window_size(window)
        .initial_connection_window_size(unread)
        .max_header_list_size(MAX_RESPONSE_HEAD)
        .max_send_buf_size(MAX_RESPONSE_HEAD as usize)
        .handshake(TokioIo::new(io));
    let (sender, mut connection) = handshake.await?;
    let limit = Limit::new(connection.current_max_send_streams());
    let noted = limit.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                ended = &mut connection => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a shared connection to an origin ended");
                    }
                    return;
                }
                () = noted.asked() => noted.set(connection.current_max_send_streams()),
            }
        }
    });
    Ok(Shared::new(sender, meter, peer, times, limit, unread))
}

/// So many clients may stop reading, each with a window full of its response, before others on the connection notice.
const CLIENTS_THAT_STALL: u32 = 16;

/// Bytes of one connection that may be here and not read, whoever stalls.
const MOST_UNREAD: u32 = 16 * 1024 * 1024;

/// Bytes of one response that may be under way before any of it is read, on a link of `rate` and `rtt`: twice what it
/// holds, so that it never runs dry. More would only be there to be thrown away when a client leaves.
fn window(rate: Option<BitRate>, rtt: Duration) -> u32 {
    /// Where nothing is known, and the most.
    const UNKNOWN: u32 = 1024 * 1024;
    const LEAST: u64 = 64 * 1024;
    let Some(rate) = rate else { return UNKNOWN };
    let rtt = u64::try_from(rtt.as_millis()).unwrap_or(u64::MAX);
    let bytes = rate.bytes_in_millis(rtt.saturating_mul(2)).max(LEAST);
    u32::try_from(bytes).unwrap_or(MOST_UNREAD).min(MOST_UNREAD / 4)
}

/// Puts `request`, in origin-form, into the form of HTTP/2 (RFC 9113 §8.3.1): the authority of its Host goes into the
/// target. "An endpoint MUST NOT generate an HTTP/2 message containing connection-specific header fields" (§8.2.2); and
/// 100 (Continue) is not waited for, since content that is not wanted ends with its stream alone.
fn put_into_form_of_http2(request: &mut Request<RequestBody>) {
    let headers = request.headers_mut();
    for name in [CONNECTION, TRANSFER_ENCODING, EXPECT] {
        headers.remove(name);
    }
    let authority =
        headers.remove(HOST).and_then(|host| http::uri::Authority::try_from(host.as_bytes()).ok());
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTPS);
    parts.authority = authority;
    parts.path_and_query = request.uri().path_and_query().cloned().or(Some(PathAndQuery::from_static("/")));
    if let Ok(target) = Uri::from_parts(parts) {
        *request.uri_mut() = target;
    }
    *request.version_mut() = Version::HTTP_2;
}

/// Bytes of `headers` before they are compressed.
pub(super) fn length(headers: &HeaderMap) -> u64 {
    headers.iter().map(|(name, value)| (name.as_str().len() + value.len() + 4) as u64).sum()
}

/// Whether the peer says that it has not acted on the request: "The REFUSED_STREAM error code can be included in a
/// RST_STREAM frame to indicate that the stream is being closed prior to any processing having occurred", and the
/// streams above the one a GOAWAY names "have not been processed" (RFC 9113 §8.7, §6.8). Such a request may be sent again
/// whatever its method.
fn is_unprocessed(error: &hyper::Error) -> bool {
    h2_error(error).is_some_and(|error| {
        error.is_remote()
            && (error.is_go_away()
                || (error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM)))
    })
}

/// Whether only the request's own stream is affected. A peer that has had enough of a connection may say so on each of its
/// streams (ENHANCE_YOUR_CALM, RFC 9113 §7), and will on every further one.
pub(super) fn is_of_the_stream(error: &hyper::Error) -> bool {
    h2_error(error)
        .is_some_and(|error| error.is_reset() && error.reason() != Some(h2::Reason::ENHANCE_YOUR_CALM))
}

/// Whether what the peer sent is not HTTP/2.
pub(super) fn is_protocol_error(error: &hyper::Error) -> bool {
    h2_error(error).is_some_and(|error| error.is_library() && error.reason().is_some())
}

fn h2_error(error: &hyper::Error) -> Option<&h2::Error> {
    std::error::Error::source(error)?.downcast_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_follow_the_link() {
        let window =
            |rate: &str, rtt| window(Some(rate.parse().expect("a rate")), Duration::from_millis(rtt));
        assert_eq!(window("56k", 600), 65_536);
        assert_eq!(window("10M", 600), 1_500_000);
        assert_eq!(window("1G", 1000), 4 * 1024 * 1024);
        assert_eq!(super::window(None, Duration::ZERO), 1024 * 1024);
    }

    #[track_caller]
    fn check(method: &str, target: &'static str, expected: &str) {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header("host", "a.example:8443")
            .header("connection", "te")
            .header("te", "trailers")
            .header("expect", "100-continue");
        let mut request = request.body(RequestBody::default()).expect("a request");
        put_into_form_of_http2(&mut request);
        assert_eq!(request.uri().to_string(), expected);
        assert_eq!(request.headers().keys().map(http::HeaderName::as_str).collect::<Vec<_>>(), ["te"]);
    }

    #[test]
    fn a_request_is_put_into_the_form_of_http2_rfc9113_8() {
        check("GET", "/a?b", "https://a.example:8443/a?b");
        check("OPTIONS", "*", "https://a.example:8443*");
    }
}
