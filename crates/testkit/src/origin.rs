//! An origin on 127.0.0.1 that answers by script and remembers every request exactly as it came.
//!
//! It follows its script, not RFC 9110: what is not scripted is answered 599 so that a test notices. Framing
//! of requests is RFC 9112 §6. Everything it runs ends when it is dropped.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::http2;
use crate::message::{Ending, Fields, Framing, Head};
use crate::reply::{After, Reply};
use crate::stream::{Count, Socket, Stream};
use crate::tls::{self, Handshake};
use crate::wire::Wire;

type Handler = dyn Fn(&Received) -> Option<Reply> + Send + Sync;
type Now = dyn Fn() -> SystemTime + Send + Sync;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// The method.
    pub method: String,
    /// The request-target as sent.
    pub target: String,
    /// The protocol version as sent, such as `HTTP/1.1`.
    pub version: String,
    /// The field lines in order.
    pub fields: Fields,
    /// The contents, without chunked framing; empty for an answer before the contents.
    pub body: Vec<u8>,
    /// The trailer fields.
    pub trailers: Fields,
    /// How the contents ended.
    pub ending: Ending,
    /// The bytes of the head.
    pub raw_head: Vec<u8>,
    /// Which connection it came on, counted from 0.
    pub connection: usize,
}

/// Bytes that crossed one connection so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes the origin read from its socket.
    pub read: u64,
    /// Bytes the origin wrote to its socket.
    pub written: u64,
}

/// A running origin.
pub struct Origin {
    address: SocketAddr,
    pub(crate) shared: Arc<Shared>,
    accepting: AbortHandle,
}

pub(crate) struct Shared {
    script: Mutex<HashMap<(String, String), VecDeque<Scripted>>>,
    received: Mutex<Vec<Received>>,
    arrived: watch::Sender<usize>,
    counts: Mutex<Vec<Arc<Count>>>,
    unscripted: Mutex<Vec<String>>,
    handler: Box<Handler>,
    now: Box<Now>,
    pub(crate) tls: Option<tls::Running>,
    pub(crate) handshakes: Mutex<Vec<Handshake>>,
    /// Streams that a client may have open on an HTTP/2 connection.
    pub(crate) most_streams: Option<u32>,
    /// Streams of HTTP/2 that clients have reset.
    pub(crate) resets: AtomicUsize,
}

struct Scripted {
    reply: Reply,
    always: bool,
}

impl Origin {
    /// An origin whose answers carry Date from the machine's clock.
    ///
    /// # Errors
    /// Those of binding a port.
    pub async fn start() -> io::Result<Self> {
        Self::with_clock(machine_time).await
    }

    /// An origin whose answers carry Date from `now`.
    ///
    /// # Errors
    /// Those of binding a port.
    pub async fn with_clock(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> io::Result<Self> {
        Self::build(Box::new(now), Box::new(|_| None)).await
    }

    /// An origin that asks `handler` for what no script answers.
    ///
    /// # Errors
    /// Those of binding a port.
    pub async fn with_handler(
        handler: impl Fn(&Received) -> Option<Reply> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::build(Box::new(machine_time), Box::new(handler)).await
    }

    async fn build(now: Box<Now>, handler: Box<Handler>) -> io::Result<Self> {
        Self::build_at(([127, 0, 0, 1], 0).into(), now, handler, None, None).await
    }

    pub(crate) async fn build_at(
        address: SocketAddr,
        now: Box<Now>,
        handler: Box<Handler>,
        tls: Option<tls::Running>,
        most_streams: Option<u32>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            script: Mutex::default(),
            received: Mutex::default(),
            arrived: watch::Sender::new(0),
            counts: Mutex::default(),
            unscripted: Mutex::default(),
            handler,
            now,
            tls,
            handshakes: Mutex::default(),
            most_streams,
            resets: AtomicUsize::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared))).abort_handle();
        Ok(Self { address, shared, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The absolute URI of `path` here.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address)
    }

    /// Adds one answer to the sequence of `method` and `path`; each is given once, in order.
    pub fn on(&self, method: &str, path: &str, reply: Reply) {
        self.script(method, path, Scripted { reply, always: false });
    }

    /// Ends the sequence of `method` and `path` with an answer that is given from then on.
    pub fn always(&self, method: &str, path: &str, reply: Reply) {
        self.script(method, path, Scripted { reply, always: true });
    }

    /// Every request so far, in order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Received> {
        lock(&self.shared.received).clone()
    }

    /// Every request since the last call, which are remembered no longer: for an origin that is asked for hours.
    #[must_use]
    pub fn take_requests(&self) -> Vec<Received> {
        std::mem::take(&mut lock(&self.shared.received))
    }

    /// How many requests have arrived.
    #[must_use]
    pub fn request_count(&self) -> usize {
        lock(&self.shared.received).len()
    }

    /// Waits until `count` requests have arrived.
    pub async fn wait_for_requests(&self, count: usize) {
        // The sender lives in `self`, so waiting can only end by the count being reached.
        let _ = self.shared.arrived.subscribe().wait_for(|arrived| *arrived >= count).await;
    }

    /// Bytes by connection, in order of acceptance.
    #[must_use]
    pub fn traffic(&self) -> Vec<Traffic> {
        lock(&self.shared.counts)
            .iter()
            .map(|count| Traffic {
                read: count.read.load(Ordering::Relaxed),
                written: count.written.load(Ordering::Relaxed),
            })
            .collect()
    }

    /// Bytes of all connections together.
    #[must_use]
    pub fn total_traffic(&self) -> Traffic {
        self.traffic().iter().fold(Traffic::default(), |sum, each| Traffic {
            read: sum.read + each.read,
            written: sum.written + each.written,
        })
    }

    /// What did not go by the script: requests that nothing answered, and answers nobody asked for.
    #[must_use]
    pub fn leftovers(&self) -> Vec<String> {
        let mut all: Vec<_> =
            lock(&self.shared.unscripted).iter().map(|line| format!("{line} was not scripted")).collect();
        for ((method, path), replies) in lock(&self.shared.script).iter() {
            let unused = replies.iter().filter(|scripted| !scripted.always).count();
            if unused > 0 {
                all.push(format!("{unused} answer(s) to {method} {path} were never asked for"));
            }
        }
        all
    }

    /// Leaves the network: the port is closed and so is every connection.
    pub async fn stop(&self) {
        self.accepting.abort();
        while !self.accepting.is_finished() {
            tokio::task::yield_now().await;
        }
    }

    fn script(&self, method: &str, path: &str, scripted: Scripted) {
        let key = (method.to_owned(), path.to_owned());
        lock(&self.shared.script).entry(key).or_default().push_back(scripted);
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn reply_to(&self, request: &Received) -> Reply {
        let key = (request.method.clone(), path_of(&request.target).to_owned());
        if let Some(replies) = lock(&self.script).get_mut(&key) {
            match replies.front() {
                Some(scripted) if scripted.always => return scripted.reply.clone(),
                Some(_) => {
                    return replies.pop_front().map_or_else(|| Reply::new(599), |scripted| scripted.reply);
                }
                None => {}
            }
        }
        (self.handler)(request).unwrap_or_else(|| {
            lock(&self.unscripted).push(format!("{} {}", request.method, request.target));
            Reply::new(599).field("x-testkit", "no answer is scripted for this request")
        })
    }

    /// The time of its answers.
    pub(crate) fn now(&self) -> SystemTime {
        (self.now)()
    }

    pub(crate) fn note(&self, request: Received) {
        lock(&self.received).push(request);
        self.arrived.send_modify(|count| *count += 1);
    }
}

/// Owns the connections: when it is aborted, they end with it.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    let mut number = 0;
    while let Ok((stream, _)) = listener.accept().await {
        let count = Arc::new(Count::default());
        lock(&shared.counts).push(Arc::clone(&count));
        let shared = Arc::clone(&shared);
        // A failing socket is the script's doing or the peer's; what matters of it shows in the records.
        connections.spawn(async move { serve(stream, count, number, &shared).await.ok() });
        while connections.try_join_next().is_some() {}
        number += 1;
    }
}

async fn serve(stream: TcpStream, count: Arc<Count>, number: usize, shared: &Arc<Shared>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = Socket { stream, count };
    let Some(tls) = &shared.tls else { return serve_http1(Stream::Plain(socket), number, shared).await };
    let (stream, handshake) = tls.accept(socket).await?;
    let speaks_http2 = handshake.protocol.as_deref() == Some("h2");
    lock(&shared.handshakes).push(handshake);
    let stream = Stream::Tls(Box::new(stream));
    if speaks_http2 {
        http2::serve(stream, number, shared).await
    } else {
        serve_http1(stream, number, shared).await
    }
}

async fn serve_http1(stream: Stream, number: usize, shared: &Shared) -> io::Result<()> {
    let mut wire = Wire::new(stream);
    while let Some(head) = wire.head().await? {
        let closing = head.fields.lists("connection", "close") || head.start_line.ends_with("HTTP/1.0");
        let (method, reply) = exchange(&mut wire, head, number, shared).await?;
        match reply.send(&mut wire, &method, (shared.now)()).await? {
            After::Keep if !closing => {}
            After::Keep | After::Close => return wire.shutdown().await,
            After::Reset => return wire.stream().reset_at_end(),
        }
    }
    Ok(())
}

/// Reads the rest of a request, records it and chooses its answer.
async fn exchange(
    wire: &mut Wire,
    head: Head,
    connection: usize,
    shared: &Shared,
) -> io::Result<(String, Reply)> {
    let mut words = head.start_line.split(' ').map(str::to_owned);
    let mut word = || words.next().unwrap_or_default();
    let mut request = Received {
        method: word(),
        target: word(),
        version: word(),
        fields: head.fields,
        body: Vec::new(),
        trailers: Fields::default(),
        ending: Ending::Clean,
        raw_head: head.raw,
        connection,
    };
    let method = request.method.clone();
    let reply = shared.reply_to(&request);
    if !reply.early {
        if request.fields.lists("expect", "100-continue") {
            wire.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let contents = wire.contents(Framing::of_request(&request.fields)).await;
        (request.body, request.trailers, request.ending) =
            (contents.bytes, contents.trailers, contents.ending);
    }
    shared.note(request);
    Ok((method, reply))
}

/// The path and query of a request-target in origin-form or absolute-form (RFC 9112 §3.2).
fn path_of(target: &str) -> &str {
    let Some((_, rest)) = target.split_once("://") else { return target };
    rest.find('/').map_or("/", |slash| &rest[slash..])
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::disallowed_methods, reason = "an origin outside scenarios has the machine's time")]
pub(crate) fn machine_time() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_target_leaves_out_its_authority() {
        assert_eq!(path_of("/a?b"), "/a?b");
        assert_eq!(path_of("http://host:1/a?b"), "/a?b");
        assert_eq!(path_of("http://host"), "/");
    }
}
