//! A load generator: keep-alive connections that repeat one GET and count answers.
//!
//! It measures nothing about the machine (xtask reads `/proc`) and checks each answer only as far as a count
//! needs: its status and the length of its contents.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// Repeats GET of `url` on `connections` connections to `address` for `duration`.
///
/// # Errors
/// Those of the sockets; `InvalidData` for an answer that is not a 200 with Content-Length.
pub async fn run(
    address: SocketAddr,
    url: &str,
    connections: usize,
    duration: Duration,
) -> io::Result<Tally> {
    let authority = url.split('/').nth(2).unwrap_or_default();
    let request: Arc<[u8]> = format!("GET {url} HTTP/1.1\r\nhost: {authority}\r\n\r\n").into_bytes().into();
    let stop = Arc::new(AtomicBool::new(false));
    let start = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        workers.spawn(repeat(address, Arc::clone(&request), Arc::clone(&stop)));
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

async fn repeat(address: SocketAddr, request: Arc<[u8]>, stop: Arc<AtomicBool>) -> io::Result<(u64, u64)> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 256 * 1024];
    let (mut answers, mut bytes) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(&request).await?;
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
