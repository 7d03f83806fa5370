//! The clients of the self-test: one connection to the proxy each, written and read by hand, so that nothing stands
//! between the socket and the moment its bytes are counted.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use super::figures::Arrivals;
use super::machine;
use super::origin::{BULK, ENDLESS, KEPT, UPLOAD, content};

/// Where the proxy and its origin are, and since when time counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) proxy: SocketAddr,
    pub(super) origin: SocketAddr,
    pub(super) epoch: Instant,
}

/// The address of the `n`th client; the link shares between addresses before it shares between flows.
pub(super) fn address(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 1 + n)
}

/// A client's connection to the proxy.
pub(super) struct Wire {
    stream: TcpStream,
    /// What was read and not yet used.
    held: Vec<u8>,
    place: Place,
    /// Whether this speaks with the origin itself, through a tunnel.
    tunnelled: bool,
}

impl Wire {
    /// Connects from `from`.
    pub(super) async fn open(place: Place, from: Ipv4Addr) -> anyhow::Result<Self> {
        Self::with_buffer(place, from, None).await
    }

    /// Connects from `from` with a receive buffer of a few kB, as a host that soon reads no more.
    pub(super) async fn narrow(place: Place, from: Ipv4Addr) -> anyhow::Result<Self> {
        Self::with_buffer(place, from, Some(4096)).await
    }

    async fn with_buffer(place: Place, from: Ipv4Addr, buffer: Option<u32>) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if let Some(size) = buffer {
            socket.set_recv_buffer_size(size)?;
        }
        if from != Ipv4Addr::LOCALHOST {
            socket
                .bind((from, 0).into())
                .with_context(|| format!("{from} is not an address of this machine"))?;
        }
        let stream = socket.connect(place.proxy).await.context("connecting to the proxy")?;
        machine::prepare(&stream);
        Ok(Self { stream, held: Vec::new(), place, tunnelled: false })
    }

    /// Opens a tunnel to the origin; what follows goes through it.
    pub(super) async fn tunnel(mut self) -> anyhow::Result<Self> {
        let origin = self.place.origin;
        let request = format!("CONNECT {origin} HTTP/1.1\r\nhost: {origin}\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await?;
        self.head().await?;
        self.tunnelled = true;
        Ok(self)
    }

    /// Fetches `path` whole, on the connection as it is; says how long it took, from the request's first byte to the
    /// response's last.
    pub(super) async fn get(&mut self, path: &str) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        self.ask("GET", path, "").await?;
        let length = usize::try_from(self.head().await?).context("a short response is endless")?;
        while self.held.len() < length {
            ensure!(self.stream.read_buf(&mut self.held).await? > 0, "a response broke off");
        }
        let taken = begun.elapsed();
        ensure!(self.held.drain(..length).eq(content(0, length)), "a response had other content");
        Ok(taken)
    }

    /// Begins to read the endless content; returns when its head is there.
    pub(super) async fn download(mut self) -> anyhow::Result<Flow> {
        self.ask("GET", BULK, "").await?;
        self.head().await?;
        Ok(Flow::reading(self))
    }

    /// Asks for the endless content and never reads it.
    pub(super) async fn stall(mut self) -> anyhow::Result<Self> {
        self.ask("GET", BULK, "").await?;
        Ok(self)
    }

    /// Begins to send an endless upload to `name` at the origin, which counts it. It ends when the task is dropped.
    pub(super) async fn upload(mut self, name: &str) -> anyhow::Result<Sending> {
        self.ask("POST", &format!("{UPLOAD}{name}"), &format!("content-length: {ENDLESS}\r\n")).await?;
        Ok(Sending(tokio::spawn(async move {
            let piece = [7; 16 * 1024];
            while self.stream.write_all(&piece).await.is_ok() {}
        })))
    }

    async fn ask(&mut self, method: &str, path: &str, fields: &str) -> io::Result<()> {
        let origin = self.place.origin;
        let path = if path == KEPT { path.to_owned() } else { format!("{path}?{}", next()) };
        let target = if self.tunnelled { path } else { format!("http://{origin}{path}") };
        let request = format!("{method} {target} HTTP/1.1\r\nhost: {origin}\r\n{fields}\r\n");
        self.stream.write_all(request.as_bytes()).await
    }

    /// Reads a head, which must be of success; returns the length of the content.
    async fn head(&mut self) -> anyhow::Result<u64> {
        let end = loop {
            if let Some(end) = self.held.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            ensure!(self.stream.read_buf(&mut self.held).await? > 0, "the proxy closed a connection");
        };
        let head: Vec<u8> = self.held.drain(..end).collect();
        let head = String::from_utf8_lossy(&head);
        let status = head.lines().next().unwrap_or_default();
        ensure!(status.starts_with("HTTP/1.1 200"), "the proxy answered {status:?}");
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        Ok(length.unwrap_or(0))
    }
}

/// A number that no other request has. Requests for one URL wait for each other, in case they may share a response;
/// those for URLs of their own do not.
fn next() -> u64 {
    static REQUESTS: AtomicU64 = AtomicU64::new(0);
    REQUESTS.fetch_add(1, Ordering::Relaxed)
}

/// An upload that ends when this is dropped.
pub(super) struct Sending(JoinHandle<()>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Endless content being read and checked, as long as this is held.
pub(super) struct Flow {
    read: Arc<Mutex<Read>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Read {
    arrivals: Arrivals,
    /// Why it ended, which it should not.
    end: Option<io::Error>,
}

impl Flow {
    fn reading(wire: Wire) -> Self {
        let read = Arc::<Mutex<Read>>::default();
        let kept = read.clone();
        let task = tokio::spawn(async move {
            let end = count(wire, &kept).await.err();
            lock(&kept).end = end;
        });
        Self { read, task }
    }

    /// What has arrived until now.
    ///
    /// # Errors
    /// If the content has ended or was not what the origin sent.
    pub(super) fn arrivals(&self) -> anyhow::Result<Arrivals> {
        let mut read = lock(&self.read);
        match read.end.take() {
            Some(end) => Err(end).context("a download broke off"),
            None => Ok(read.arrivals.clone()),
        }
    }

    /// Whether any content has arrived.
    pub(super) fn has_begun(&self) -> bool {
        lock(&self.read).arrivals.total() > 0
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(read: &Mutex<Read>) -> MutexGuard<'_, Read> {
    read.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The most that is read at once.
const SPACE: usize = 64 * 1024;

async fn count(mut wire: Wire, read: &Mutex<Read>) -> io::Result<()> {
    // Long enough to hold what is expected of any read, wherever in the content it begins.
    let expected: Vec<u8> = content(0, SPACE + 256).collect();
    let mut space = vec![0; SPACE];
    let mut total = wire.held.len() as u64;
    if total > 0 {
        lock(read).arrivals.push(wire.place.epoch.elapsed(), total);
    }
    loop {
        let length = wire.stream.read(&mut space).await?;
        let at = wire.place.epoch.elapsed();
        if length == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let phase = usize::try_from(total % 251).unwrap_or(0);
        if expected.get(phase..phase + length) != space.get(..length) {
            return Err(io::Error::new(ErrorKind::InvalidData, "bytes are missing or changed"));
        }
        total += length as u64;
        lock(read).arrivals.push(at, length as u64);
    }
}
