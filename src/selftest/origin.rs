//! The origin of the self-test: endless content, small content, and uploads that are counted as they arrive. Just
//! enough HTTP/1.1 for bentpipe as its client, and for the tests' own words inside a tunnel.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::figures::Arrivals;
use super::machine;

/// The endless content: `/bulk`.
pub(super) const BULK: &str = "/bulk";
/// One byte of content.
pub(super) const TINY: &str = "/tiny";
/// 1 kB of content that must not be stored.
pub(super) const SMALL: &str = "/small";
/// 1 kB of content that is fresh for an hour.
pub(super) const KEPT: &str = "/kept";
/// 10 kB of content that must not be stored.
pub(super) const OBJECT: &str = "/object";
/// Where uploads go; a name of its own behind it tells them apart.
pub(super) const UPLOAD: &str = "/upload/";

/// Content never ends within a measurement.
pub(super) const ENDLESS: u64 = 1 << 50;

/// After so many bytes content begins again, and no power of two is a multiple: a lost piece shows.
const PERIOD: u64 = 251;
const PIECE: usize = 251 * 256;

/// An origin on a free port of 127.0.0.1 that ends when it is dropped.
pub(super) struct Origin {
    address: SocketAddr,
    uploads: Arc<Uploads>,
    task: JoinHandle<()>,
}

struct Uploads {
    epoch: Instant,
    by_name: Mutex<HashMap<String, Arrivals>>,
}

impl Origin {
    /// An origin whose times are since `epoch`.
    pub(super) async fn start(epoch: Instant) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let uploads = Arc::new(Uploads { epoch, by_name: Mutex::default() });
        let counted = uploads.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                machine::prepare(&stream);
                let uploads = counted.clone();
                // An error is a client that left, as they all do.
                tokio::spawn(async move { serve(stream, &uploads).await.ok() });
            }
        });
        Ok(Self { address, uploads, task })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has arrived of the upload to `name` behind [`UPLOAD`].
    pub(super) fn uploaded(&self, name: &str) -> Arrivals {
        let uploads = self.uploads.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        uploads.get(name).cloned().unwrap_or_default()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The content of `length` bytes from `offset` on: any part of it tells where it belongs.
pub(super) fn content(offset: u64, length: usize) -> impl Iterator<Item = u8> + Clone {
    (offset % PERIOD..PERIOD).chain((0..PERIOD).cycle()).take(length).map(|byte| byte.to_le_bytes()[0])
}

async fn serve(mut stream: TcpStream, uploads: &Uploads) -> io::Result<()> {
    let mut held = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = held.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut held).await? == 0 || held.len() > 64 * 1024 {
                return Ok(());
            }
        };
        let behind = held.split_off(end);
        let head = String::from_utf8_lossy(&held).into_owned();
        held = behind;
        let target = head.split(' ').nth(1).unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default();
        if let Some(name) = path.strip_prefix(UPLOAD) {
            return receive(stream, held.len(), name, uploads).await;
        }
        let (length, fresh) = match path {
            BULK => return stream_endlessly(stream).await,
            TINY => (1, "no-store"),
            SMALL => (1000, "no-store"),
            KEPT => (1000, "max-age=3600"),
            OBJECT => (10_000, "no-store"),
            _ => (0, "no-store"),
        };
        let mut response =
            format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\ncache-control: {fresh}\r\n\r\n")
                .into_bytes();
        response.extend(content(0, length));
        stream.write_all(&response).await?;
    }
}

async fn stream_endlessly(mut stream: TcpStream) -> io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {ENDLESS}\r\ncache-control: no-store\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    // A whole number of periods, so that the next piece goes on where this one ends.
    let piece: Vec<u8> = content(0, PIECE).collect();
    loop {
        stream.write_all(&piece).await?;
    }
}

/// Counts what comes, `early` bytes of which came with the head.
async fn receive(mut stream: TcpStream, early: usize, name: &str, uploads: &Uploads) -> io::Result<()> {
    let mut space = vec![0; 64 * 1024];
    let mut length = early;
    loop {
        if length > 0 {
            let at = uploads.epoch.elapsed();
            let mut uploads = uploads.by_name.lock().unwrap_or_else(PoisonError::into_inner);
            uploads.entry(name.to_owned()).or_default().push(at, length as u64);
        }
        length = stream.read(&mut space).await?;
        if length == 0 {
            return Ok(());
        }
    }
}
