//! Visits over HTTP/2 and TLS through a tunnel, which the proxy looks into or passes on: several requests at once on one
//! connection, uploads, streams that are reset, connections that are dropped.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, ensure};
use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use http::{Method, Request, StatusCode};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::pattern::body;
use super::plain::Visitor;
use super::source::{CLOSED, OPENED};
use super::tally::Outcome;

/// Bytes of one response that may come before any is read.
const WINDOW: u32 = 1 << 20;

/// A connection of HTTP/2; ended when dropped.
struct Session {
    sender: SendRequest<Bytes>,
    authority: String,
    driver: AbortHandle,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Opens a tunnel through `proxy` to `authority`.
///
/// # Errors
/// Those of the socket, and any answer that is no success.
pub(super) async fn tunnel(proxy: SocketAddr, authority: &str) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(proxy).await?;
    stream.write_all(format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\r\n").as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    ensure!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
    Ok(stream)
}

/// Speaks TLS on `stream`, naming `name`.
///
/// # Errors
/// Those of the handshake.
pub(super) async fn secure(
    stream: TcpStream,
    name: &'static str,
    trust: &Arc<ClientConfig>,
) -> anyhow::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name)?;
    Ok(TlsConnector::from(trust.clone()).connect(name, stream).await?)
}

impl Visitor {
    /// A connection of HTTP/2 and some requests on it, through a tunnel that is looked into or not, each told by its name.
    pub(super) async fn visit_securely(&mut self) -> Vec<(&'static str, Outcome)> {
        let is_opened = self.random.within(0..3) > 0;
        let (kind, name) = if is_opened { ("h2, opened", OPENED) } else { ("h2, tunnel", CLOSED) };
        let session = match self.open(name).await {
            Ok(session) => session,
            Err(error) => return vec![(kind, Outcome::Fault(format!("opening: {error:#}")))],
        };
        let mut outcomes = Vec::new();
        for _ in 0..self.random.within(1..6) {
            outcomes.extend(self.burst(kind, &session).await);
        }
        if self.random.within(0..4) == 0 {
            // Gone in the middle of an answer.
            let path = self.new_path("pass");
            let begun = session.clone_sender().begin(Method::GET, &path, None).await;
            let outcome =
                begun.map_or_else(|error| Outcome::Fault(format!("{error:#}")), |_| Outcome::AsMeant);
            outcomes.push(("h2, dropped", outcome));
        }
        outcomes
    }

    async fn open(&mut self, name: &'static str) -> anyhow::Result<Session> {
        let authority = self.stand.source.authority(name);
        let stream = tunnel(self.stand.proxy(), &authority).await.context("the tunnel")?;
        let stream = secure(stream, name, &self.stand.trust).await.context("the handshake")?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(WINDOW).initial_connection_window_size(4 * WINDOW);
        let (sender, connection) = builder.handshake(stream).await?;
        let driver = tokio::spawn(async move { connection.await.ok() }).abort_handle();
        Ok(Session { sender, authority, driver })
    }

    /// Several requests at once.
    async fn burst(&mut self, kind: &'static str, session: &Session) -> Vec<(&'static str, Outcome)> {
        let mut requests = JoinSet::new();
        for _ in 0..self.random.within(1..9) {
            let (path, what) = match self.random.within(0..20) {
                0..9 => (self.hot("keep"), What::Get),
                9..12 => (self.new_path("keep"), What::Get),
                12..14 => (self.hot("check"), What::Get),
                14..16 => (self.new_path("upload"), What::Post),
                16..18 => (self.new_path("pass"), What::Get),
                _ => (self.new_path("pass"), What::Reset),
            };
            let asking = session.clone_sender();
            let kind = if what == What::Reset { "h2, reset" } else { kind };
            requests.spawn(async move {
                let outcome = asking.one(what, &path).await;
                (kind, outcome.unwrap_or_else(|error| Outcome::Fault(format!("{path}: {error:#}"))))
            });
        }
        requests.join_all().await
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Get,
    Post,
    /// A GET whose stream is reset in mid-answer.
    Reset,
}

/// Asks on a session.
struct Asking {
    sender: SendRequest<Bytes>,
    authority: String,
}

impl Session {
    fn clone_sender(&self) -> Asking {
        Asking { sender: self.sender.clone(), authority: self.authority.clone() }
    }
}

impl Asking {
    async fn one(self, what: What, path: &str) -> anyhow::Result<Outcome> {
        let whole = body(path);
        match what {
            What::Get => {
                let (status, content) = self.begin(Method::GET, path, None).await?;
                ensure!(status == StatusCode::OK, "{status}");
                compare(content, whole).await?;
                Ok(Outcome::Right)
            }
            What::Post => {
                let (status, content) = self.begin(Method::POST, path, Some(whole)).await?;
                ensure!(status == StatusCode::OK, "{status}");
                compare(content, b"taken").await?;
                Ok(Outcome::Right)
            }
            What::Reset => {
                // The stream is reset when its receiver is dropped.
                let (status, mut content) = self.begin(Method::GET, path, None).await?;
                ensure!(status == StatusCode::OK, "{status}");
                content.data().await;
                Ok(Outcome::AsMeant)
            }
        }
    }

    /// Sends a request and waits for the head of its response.
    async fn begin(
        self,
        method: Method,
        path: &str,
        upload: Option<&'static [u8]>,
    ) -> anyhow::Result<(StatusCode, RecvStream)> {
        let request = Request::builder().method(method).uri(format!("https://{}{path}", self.authority));
        let mut sender = self.sender.ready().await?;
        let (response, mut sending) = sender.send_request(request.body(())?, upload.is_none())?;
        if let Some(mut left) = upload {
            while !left.is_empty() {
                sending.reserve_capacity(left.len().min(64 << 10));
                let room = std::future::poll_fn(|cx| sending.poll_capacity(cx)).await;
                let room = room.context("the stream was reset")??.min(left.len());
                let (now, later) = left.split_at(room);
                sending.send_data(Bytes::from_static(now), later.is_empty())?;
                left = later;
            }
            if upload.is_some_and(<[u8]>::is_empty) {
                sending.send_data(Bytes::new(), true)?;
            }
        }
        let (head, content) = response.await?.into_parts();
        Ok((head.status, content))
    }
}

/// Reads `content` to its end, which must be `expected`.
async fn compare(mut content: RecvStream, expected: &[u8]) -> anyhow::Result<()> {
    let mut at = 0;
    while let Some(piece) = content.data().await {
        let piece = piece.with_context(|| format!("after {at} of {} bytes", expected.len()))?;
        content.flow_control().release_capacity(piece.len())?;
        let end = at + piece.len();
        ensure!(expected.get(at..end) == Some(&piece[..]), "other bytes from {at} on");
        at = end;
    }
    ensure!(at == expected.len(), "an end after {at} of {} bytes", expected.len());
    Ok(())
}
