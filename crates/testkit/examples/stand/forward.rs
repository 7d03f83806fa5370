//! A forwarder of bare hyper with a small pool of connections to origins: what passing through costs at least, and tunnels
//! that are copied.
//!
//! It strips, adds and checks nothing, as no proxy may; it is a floor and no proxy.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use super::Fault;

type Sender = client::SendRequest<Incoming>;
/// Idle connections by origin.
type Pool = Arc<Mutex<HashMap<String, Vec<Sender>>>>;

/// Forwards what comes to `listener`.
pub(super) async fn run(listener: TcpListener) -> Result<(), Fault> {
    let pool = Pool::default();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let pool = Arc::clone(&pool);
        let service = service_fn(move |request| forward(request, Arc::clone(&pool)));
        let mut server = server::Builder::new();
        server.timer(TokioTimer::new());
        tokio::spawn(server.serve_connection(TokioIo::new(stream), service).with_upgrades());
    }
}

async fn forward(
    mut request: Request<Incoming>,
    pool: Pool,
) -> Result<Response<BoxBody<Bytes, hyper::Error>>, Fault> {
    let authority = request.uri().authority().ok_or("no absolute-form")?.to_string();
    if request.method() == Method::CONNECT {
        tokio::spawn(async move {
            let upgraded = hyper::upgrade::on(request).await?;
            let mut origin = TcpStream::connect(authority).await?;
            tokio::io::copy_bidirectional(&mut TokioIo::new(upgraded), &mut origin).await?;
            Ok::<_, Fault>(())
        });
        return Ok(Response::new(Empty::new().map_err(|never| match never {}).boxed()));
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    *request.uri_mut() = Uri::try_from(path)?;
    let idle = || locked(&pool).get_mut(&authority).and_then(Vec::pop);
    let mut sender = loop {
        let Some(mut sender) = idle() else { break dial(&authority).await? };
        // One that has just come back may have its last step to take, or have ended.
        if sender.ready().await.is_ok() {
            break sender;
        }
    };
    let response = sender.send_request(request).await?;
    Ok(response.map(|body| Returning { body, kept: Some((sender, authority, pool)) }.boxed()))
}

async fn dial(authority: &str) -> Result<Sender, Fault> {
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = client::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

fn locked(pool: &Pool) -> std::sync::MutexGuard<'_, HashMap<String, Vec<Sender>>> {
    pool.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A body that gives its connection back to the pool when it has ended.
struct Returning {
    body: Incoming,
    kept: Option<(Sender, String, Pool)>,
}

impl Returning {
    fn give_back(&mut self) {
        if let Some((sender, authority, pool)) = self.kept.take() {
            locked(&pool).entry(authority).or_default().push(sender);
        }
    }
}

impl Body for Returning {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.give_back();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
