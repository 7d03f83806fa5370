//! A load generator: keep-alive connections that send GET after GET and count answers.
//!
//! It measures nothing about the machine (xtask reads `/proc`) and checks each answer only as far as a count
//! needs: its status and the length of its contents.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What a run of load counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Whole answers with status 200.
    pub answers: u64,
    /// Bytes of those answers, heads included.
    pub bytes: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
}

impl Tally {
    /// Answers per second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate for people; counts stay far below 2^53")]
    pub fn rate(&self) -> f64 {
        self.answers as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }
}

/// What is asked for.
#[derive(Debug)]
pub enum Targets {
    /// One URL again and again.
    One(String),
    /// One of this many URLs that begin so, each as often as any other, in no order.
    Any(String, u64),
    /// URLs that begin so, each once.
    Each(String, AtomicU64),
}

impl Targets {
    fn url(&self, state: &mut u64) -> String {
        match self {
            Self::One(url) => url.clone(),
            Self::Any(start, count) => {
                // A linear congruential generator: its upper bits are random enough to spread load.
                *state =
                    state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                format!("{start}{}", (*state >> 33) % count)
            }
            Self::Each(start, next) => format!("{start}{}", next.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

/// Asks for `targets` on `connections` connections to `address` for `duration`.
///
/// # Errors
/// Those of the sockets; `InvalidData` for an answer that is not a 200 with Content-Length.
pub async fn run(
    address: SocketAddr,
    targets: &Arc<Targets>,
    connections: usize,
    duration: Duration,
) -> io::Result<Tally> {
    let stop = Arc::new(AtomicBool::new(false));
    let start = Instant::now();
    let mut workers = JoinSet::new();
    for seed in 0..connections as u64 {
        workers.spawn(repeat(address, Arc::clone(targets), seed, Arc::clone(&stop)));
    }
    tokio::time::sleep(duration).await;
    stop.store(true, Ordering::Relaxed);
    let mut tally = Tally::default();
    while let Some(worker) = workers.join_next().await {
        let (answers, bytes) = worker.map_err(io::Error::other)??;
        tally.answers += answers;
        tally.bytes += bytes;
    }
    tally.elapsed = start.elapsed();
    Ok(tally)
}

async fn repeat(
    address: SocketAddr,
    targets: Arc<Targets>,
    mut seed: u64,
    stop: Arc<AtomicBool>,
) -> io::Result<(u64, u64)> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 256 * 1024];
    let (mut answers, mut bytes) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let url = targets.url(&mut seed);
        let authority = url.split('/').nth(2).unwrap_or_default();
        let request = format!("GET {url} HTTP/1.1\r\nhost: {authority}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        bytes += answer(&mut stream, &mut buffer).await?;
        answers += 1;
    }
    Ok((answers, bytes))
}

/// Reads one answer and gives its size on the wire.
async fn answer(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<u64> {
    let mut held = 0;
    let total = loop {
        let read = stream.read(&mut buffer[held..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        held += read;
        if let Some(total) = size(&buffer[..held])? {
            break total;
        }
    };
    let mut received = held as u64;
    while received < total {
        let read = stream.read(buffer).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        received += read as u64;
    }
    Ok(received)
}

/// The whole size of the answer that starts with `bytes`, once its head is there.
fn size(bytes: &[u8]) -> io::Result<Option<u64>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&bytes[..end]);
    if head.split(' ').nth(1) != Some("200") {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("not a 200: {head}")));
    }
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<u64>().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "an answer without Content-Length"))?;
    Ok(Some(end as u64 + 4 + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_an_answer_counts_head_and_contents() {
        let whole = size(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
        assert_eq!(whole.expect("a 200"), Some(41));
        assert_eq!(size(b"HTTP/1.1 200 OK\r\nContent-").expect("no end yet"), None);
        size(b"HTTP/1.1 502 Bad\r\n\r\n").expect_err("a 502 is no answer");
    }
}
