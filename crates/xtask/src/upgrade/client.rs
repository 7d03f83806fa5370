//! The clients: each keeps one connection busy, checks every byte, and writes down when what was right or wrong.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use testkit::client::{self, Client, Request};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::origin::{DOWNLOAD, Path, body};

/// What all clients share.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) proxy: SocketAddr,
    pub(super) secure: SocketAddr,
    pub(super) origin: String,
    pub(super) echo: SocketAddr,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) pause: Duration,
    pub(super) begun: Instant,
    pub(super) is_over: AtomicBool,
    pub(super) next: AtomicU64,
    pub(super) notes: Mutex<Vec<Note>>,
}

/// What became of one request, or one turn of a tunnel.
#[derive(Clone, Debug)]
pub(super) struct Note {
    pub(super) kind: Kind,
    pub(super) at: Duration,
    pub(super) took: Duration,
    /// What was wrong.
    pub(super) fault: Option<String>,
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Hit,
    Miss,
    Shared,
    Tunnel,
    Download,
    /// Hits, each on a connection of its own.
    Fresh,
}

impl Scene {
    fn note(&self, kind: Kind, begun: Instant, outcome: anyhow::Result<()>) {
        let fault = outcome.err().map(|error| format!("{error:#}"));
        let note = Note { kind, at: self.begun.elapsed(), took: begun.elapsed(), fault };
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn path(&self, kind: Kind) -> Path {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        if matches!(kind, Kind::Miss) || (kind == Kind::Shared && next.is_multiple_of(2)) {
            Path::Miss(next)
        } else {
            Path::Hit(next % 50)
        }
    }

    /// One client of `kind`, to the end.
    pub(super) async fn run(self: Arc<Self>, kind: Kind) {
        let mut turns = interval(self.pause);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        match kind {
            Kind::Hit | Kind::Miss => {
                let mut client = None;
                while !self.is_over() {
                    turns.tick().await;
                    let begun = Instant::now();
                    self.note(kind, begun, self.ask(kind, &mut client).await);
                }
            }
            Kind::Fresh => {
                while !self.is_over() {
                    turns.tick().await;
                    let begun = Instant::now();
                    self.note(kind, begun, self.ask(Kind::Hit, &mut None).await);
                }
            }
            Kind::Shared => {
                let mut sender = None;
                while !self.is_over() {
                    turns.tick().await;
                    let begun = Instant::now();
                    self.note(kind, begun, self.share(&mut sender).await);
                }
            }
            Kind::Tunnel => {
                if let Err(error) = self.tunnel(&mut turns).await {
                    self.note(kind, Instant::now(), Err(error));
                }
            }
            Kind::Download => {
                let begun = Instant::now();
                self.note(kind, begun, self.download().await);
            }
        }
    }

    /// One request over a connection that is kept as long as the proxy keeps it.
    async fn ask(&self, kind: Kind, client: &mut Option<Client>) -> anyhow::Result<()> {
        let path = self.path(kind);
        let mut connection = match client.take() {
            Some(connection) => connection,
            None => Client::connect(self.proxy).await.context("connecting")?,
        };
        let request = Request::new("GET", &format!("{}{path}", self.origin));
        let response = connection.request(&request).await.context("asking")?;
        check(&response, &path)?;
        if response.field("connection").is_none_or(|value| !value.contains("close")) {
            *client = Some(connection);
        }
        Ok(())
    }

    /// One request over a shared connection. A stream that could not be begun any more, since the proxy said GOAWAY, was
    /// no request: it is begun on the next connection (RFC 9113 §6.8).
    async fn share(&self, sender: &mut Option<h2::client::SendRequest<bytes::Bytes>>) -> anyhow::Result<()> {
        let path = self.path(Kind::Shared);
        for _ in 0..3 {
            let ready = match sender.take() {
                Some(sender) => sender.ready().await.ok(),
                None => None,
            };
            let mut connection = match ready {
                Some(ready) => ready,
                None => self.connect_shared().await?.ready().await?,
            };
            let request = http::Request::get(format!("{}{path}", self.origin)).body(())?;
            let sent = connection.send_request(request, true);
            let Ok((response, _)) = sent else { continue };
            let response = match response.await {
                // "Streams with identifiers higher than the included last stream" were not processed.
                Err(error) if error.is_go_away() && error.is_remote() => continue,
                response => response.context("asking")?,
            };
            ensure!(response.status() == 200, "status {}", response.status());
            let (mut from, mut bytes) = (response.into_body(), Vec::new());
            while let Some(data) = from.data().await {
                let data = data.context("reading")?;
                let _ = from.flow_control().release_capacity(data.len());
                bytes.extend_from_slice(&data);
            }
            ensure!(bytes == body(&path), "wrong bytes");
            *sender = Some(connection);
            return Ok(());
        }
        bail!("no connection takes a request")
    }

    async fn connect_shared(&self) -> anyhow::Result<h2::client::SendRequest<bytes::Bytes>> {
        let stream = TcpStream::connect(self.secure).await.context("connecting")?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost")?;
        let stream = TlsConnector::from(self.tls.clone()).connect(name, stream).await.context("TLS")?;
        let (sender, connection) = h2::client::handshake(stream).await.context("HTTP/2")?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// A tunnel with traffic both ways, as long as it lasts.
    async fn tunnel(&self, turns: &mut tokio::time::Interval) -> anyhow::Result<()> {
        let mut client = Client::connect(self.proxy).await.context("connecting")?;
        let answer = client.tunnel(&self.echo.to_string()).await.context("CONNECT")?;
        ensure!(answer.status == 200, "status {}", answer.status);
        while !self.is_over() {
            turns.tick().await;
            let begun = Instant::now();
            let said = body(&Path::Miss(self.next.fetch_add(1, Ordering::Relaxed)));
            client.send(&said).await.context("sending")?;
            let heard = client.receive_exactly(said.len() as u64).await.context("receiving")?;
            ensure!(heard == said, "wrong bytes");
            self.note(Kind::Tunnel, begun, Ok(()));
        }
        Ok(())
    }

    /// One long download.
    async fn download(&self) -> anyhow::Result<()> {
        let path = Path::Download(self.next.fetch_add(1, Ordering::Relaxed));
        let response = client::get(self.proxy, &format!("{}{path}", self.origin)).await.context("asking")?;
        ensure!(response.body.len() == DOWNLOAD, "{} bytes of {DOWNLOAD}", response.body.len());
        check(&response, &path)
    }
}

fn check(response: &client::Response, path: &Path) -> anyhow::Result<()> {
    ensure!(response.status == 200, "status {}", response.status);
    ensure!(response.is_whole(), "cut short");
    ensure!(response.body == body(path), "wrong bytes");
    Ok(())
}
