//! An origin of bare hyper: the contents that `testkit::contents` gives to a path, from memory, and how often it was asked.
//!
//! The policy of a path: `kept` may be stored, `passed` may not, `slow` may be stored and takes two seconds to come.

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::fs;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::OnceLock;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use testkit::contents::{self, PERIOD};
use testkit::load::SECURE_NAME;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::LocalSet;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;

use super::Fault;

/// Bytes of a long body that are given to hyper at once.
const CHUNK: usize = 256 * 1024;
/// How many parts a slow body has, and the time between them: two seconds in all.
const PARTS: u64 = 200;
const PACE: Duration = Duration::from_millis(10);
/// Bytes of short bodies that are kept ready.
const MEMORY: usize = 256 * 1024 * 1024;

/// The bodies that are ready, and what was asked.
#[derive(Default)]
struct Serving {
    ready: HashMap<String, Bytes>,
    held: usize,
    requests: u64,
}

/// Serves on `plain`, and with TLS where there is a second listener, whose root certificate is written to the file named.
pub(super) async fn run(plain: TcpListener, secure: Option<(TcpListener, &str)>) -> Result<(), Fault> {
    let serving = Rc::new(RefCell::new(Serving::default()));
    LocalSet::new()
        .run_until(async move {
            if let Some((listener, root)) = secure {
                let (acceptor, certificate) =
                    testkit::Tls::new().for_names(&[SECURE_NAME]).http1().acceptor()?;
                fs::write(root, certificate)?;
                let serving = Rc::clone(&serving);
                tokio::task::spawn_local(serve_securely(listener, acceptor, serving));
            }
            loop {
                let (stream, _) = plain.accept().await?;
                stream.set_nodelay(true)?;
                answer(stream, Rc::clone(&serving));
            }
        })
        .await
}

async fn serve_securely(listener: TcpListener, acceptor: TlsAcceptor, serving: Rc<RefCell<Serving>>) {
    while let Ok((stream, _)) = listener.accept().await {
        // Who does not get through the handshake is not served; the next one is.
        if let Ok(stream) = acceptor.accept(stream).await {
            answer(stream, Rc::clone(&serving));
        }
    }
}

fn answer(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, serving: Rc<RefCell<Serving>>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = serving.borrow_mut().respond(request.uri().path());
        async move { Ok::<_, Infallible>(answer) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new());
    // A client that leaves ends only its own connection.
    tokio::task::spawn_local(server.serve_connection(TokioIo::new(stream), service));
}

impl Serving {
    fn respond(&mut self, path: &str) -> Response<Contents> {
        if path == "/requests" {
            return Response::new(Contents::whole(self.requests.to_string().into()));
        }
        let Some(asked) = contents::asked(path) else {
            let mut response = Response::new(Contents::whole(Bytes::new()));
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        };
        self.requests += 1;
        let contents = match usize::try_from(asked.size) {
            Ok(size) if size <= CHUNK && asked.policy != "slow" => Contents::whole(self.body(path, size)),
            _ => Contents::long(path, asked.size, (asked.policy == "slow").then(|| interval(PACE))),
        };
        let control = if asked.policy == "passed" { "no-store" } else { "max-age=86400" };
        let response = Response::builder()
            .header("cache-control", control)
            .header("content-type", "application/octet-stream")
            // What many caches want before they keep anything for long.
            .header("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT")
            .body(contents);
        response.unwrap_or_else(|_| Response::new(Contents::whole(Bytes::new())))
    }

    fn body(&mut self, path: &str, size: usize) -> Bytes {
        if let Some(body) = self.ready.get(path) {
            return body.clone();
        }
        let body = Bytes::from(contents::beginning(path, size));
        if self.held + size <= MEMORY {
            self.held += size;
            self.ready.insert(path.to_owned(), body.clone());
        }
        body
    }
}

/// A body: what comes first, and the noise that follows it.
struct Contents {
    first: Bytes,
    offset: u64,
    size: u64,
    pace: Option<Interval>,
}

impl Contents {
    fn whole(body: Bytes) -> Self {
        Self { size: body.len() as u64, first: body, offset: 0, pace: None }
    }

    fn long(path: &str, size: u64, pace: Option<Interval>) -> Self {
        let pace = pace.map(|mut pace| {
            pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
            pace
        });
        let first = usize::try_from(size).unwrap_or(usize::MAX).min(path.len());
        Self { first: contents::beginning(path, first).into(), offset: 0, size, pace }
    }
}

impl Body for Contents {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let left = self.size - self.offset;
        if left == 0 {
            return Poll::Ready(None);
        }
        let chunk = if self.offset == 0 {
            std::mem::take(&mut self.first)
        } else {
            let most = match &mut self.pace {
                Some(pace) => {
                    ready!(pace.poll_tick(context));
                    self.size.div_ceil(PARTS)
                }
                None => CHUNK as u64,
            };
            let at = usize::try_from(self.offset % PERIOD as u64).unwrap_or_default();
            let length = usize::try_from(left.min(most)).unwrap_or(CHUNK).min(PERIOD - at);
            noise().slice(at..at + length)
        };
        self.offset += chunk.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.offset == self.size
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.size - self.offset)
    }
}

fn noise() -> &'static Bytes {
    static NOISE: OnceLock<Bytes> = OnceLock::new();
    NOISE.get_or_init(|| Bytes::from_static(contents::noise()))
}
