//! The connections of a probe: handshakes that are timed, one download and one upload. Just enough HTTP/1.1 to ask and
//! to know content from head.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};

use super::rates::{self, Download, Upload, WINDOW};
use super::{Options, Target};

/// The time that a connection takes to open.
pub(super) async fn handshake(address: SocketAddr) -> io::Result<Duration> {
    let begun = Instant::now();
    TcpStream::connect(address).await?;
    Ok(begun.elapsed())
}

/// Reads `target` for as long and as much as `options` allow. Servers that know ranges send no more than that.
pub(super) async fn download(
    address: SocketAddr,
    target: &Target,
    options: &Options,
    patience: Duration,
) -> anyhow::Result<Download> {
    let mut stream = timeout(patience, TcpStream::connect(address)).await??;
    let last = options.most.saturating_sub(1);
    let request = head("GET", target, &format!("accept-encoding: identity\r\nrange: bytes=0-{last}\r\n"));
    let begun = Instant::now();
    stream.write_all(request.as_bytes()).await?;
    let mut held = Vec::new();
    let silent = || format!("the server sends nothing for {} s", patience.as_secs());
    let first = timeout(patience, stream.read_buf(&mut held)).await.with_context(silent)??;
    ensure!(first > 0, "the server closed the connection");
    let mut found =
        Download { first_byte: begun.elapsed(), sent: request.len() as u64, ..Download::default() };
    let head = timeout(patience, read_head(&mut stream, &mut held)).await.with_context(silent)??;
    check_status(&head)?;
    let (first, mut content) = (Instant::now(), held.len() as u64);
    let deadline = tokio::time::Instant::from_std(first) + options.period;
    let mut last_byte = first;
    let mut space = vec![0; 64 * 1024];
    let mut whole_windows = 0;
    found.windows.push(content);
    while content < options.most {
        // A server that breaks off has sent what it has sent.
        let room = usize::try_from(options.most - content).map_or(space.len(), |most| most.min(space.len()));
        let read = stream.read(space.get_mut(..room).unwrap_or_default());
        let Ok(Ok(length)) = timeout_at(deadline, read).await else { break };
        if length == 0 {
            break;
        }
        last_byte = Instant::now();
        whole_windows = usize::try_from((last_byte - first).as_millis() / WINDOW.as_millis())?;
        found.windows.resize(whole_windows + 1, 0);
        if let Some(window) = found.windows.last_mut() {
            *window += length as u64;
        }
        content += length as u64;
    }
    // The window that the last byte came in was cut short.
    found.windows.truncate(whole_windows);
    found.over = last_byte - first;
    found.bytes = content + head.len() as u64;
    Ok(found)
}

/// Sends `bytes` that no modem can compress, and waits for the answer.
pub(super) async fn upload(
    address: SocketAddr,
    target: &Target,
    bytes: u64,
    rtt: Duration,
    patience: Duration,
) -> anyhow::Result<Upload> {
    let mut stream = timeout(patience, TcpStream::connect(address)).await??;
    let request = head(
        "POST",
        target,
        &format!("content-length: {bytes}\r\ncontent-type: application/octet-stream\r\n"),
    );
    stream.write_all(request.as_bytes()).await?;
    let begun = Instant::now();
    let (mut reader, mut writer) = stream.split();
    let mut answer = Vec::new();
    let (mut sent, mut noise) = (0, Noise(0x9e37_79b9_7f4a_7c15));
    while sent < bytes {
        let piece = noise.piece(bytes - sent);
        // Whoever waits for the link to take more also sees an answer that comes too early.
        let written = tokio::select! {
            biased;
            read = reader.read_buf(&mut answer) => { read.ok(); break }
            written = timeout(patience, writer.write(&piece)) => written.context("nothing of the upload crosses")?,
        };
        match written {
            Ok(length) => sent += length as u64,
            Err(_) => break,
        }
    }
    let written = sent == bytes;
    // What is written may still wait in this machine, for as long as a thin link takes for all of it.
    let patience = patience + begun.elapsed() * 2 + Duration::from_secs(bytes / 250);
    if answer.is_empty() {
        let answered = timeout(patience, reader.read_buf(&mut answer)).await;
        ensure!(answered.context("the upload was not answered")?? > 0, "the upload was not answered");
    }
    let over = begun.elapsed();
    let (rate, doubt) = rates::upload(bytes, over, rtt, written && answer.starts_with(b"HTTP/1."));
    let sent = sent + request.len() as u64;
    Ok(Upload { rate, sent, received: answer.len() as u64, over, doubt })
}

fn head(method: &str, target: &Target, fields: &str) -> String {
    let Target { authority, path, .. } = target;
    let agent = concat!("bentpipe-probe/", env!("CARGO_PKG_VERSION"));
    format!(
        "{method} {path} HTTP/1.1\r\nhost: {authority}\r\nuser-agent: {agent}\r\n{fields}connection: close\r\n\r\n"
    )
}

/// Reads on until `held` has the whole head, and leaves what is behind it.
async fn read_head(stream: &mut TcpStream, held: &mut Vec<u8>) -> anyhow::Result<String> {
    loop {
        if let Some(end) = held.windows(4).position(|four| four == b"\r\n\r\n") {
            let head: Vec<u8> = held.drain(..end + 4).collect();
            return Ok(String::from_utf8_lossy(&head).into_owned());
        }
        ensure!(held.len() <= 64 * 1024, "the server does not answer in HTTP");
        ensure!(stream.read_buf(held).await? > 0, "the server closed the connection");
    }
}

fn check_status(head: &str) -> anyhow::Result<()> {
    let line = head.lines().next().unwrap_or_default();
    ensure!(line.starts_with("HTTP/1."), "the server does not answer in HTTP/1");
    let status = line.split(' ').nth(1).unwrap_or_default();
    if status.starts_with('3') {
        let location = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("location").then(|| value.trim())
        });
        bail!("the server sends on to {}: name that URL", location.unwrap_or("another URL"));
    }
    ensure!(status.starts_with('2'), "the server answered {line:?}");
    Ok(())
}

/// Bytes without a pattern, the same each time (xorshift64).
struct Noise(u64);

impl Noise {
    /// At most so many bytes.
    fn piece(&mut self, most: u64) -> Vec<u8> {
        let length = usize::try_from(most).map_or(4096, |most| most.min(4096));
        let mut piece = Vec::with_capacity(length + 8);
        while piece.len() < length {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            piece.extend(self.0.to_le_bytes());
        }
        piece.truncate(length);
        piece
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: &str, expected: Option<&str>) {
        match (check_status(head), expected) {
            (Ok(()), None) => {}
            (Err(error), Some(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (result, _) => panic!("{head:?}: {result:?}"),
        }
    }

    #[test]
    fn only_content_is_measured() {
        check("HTTP/1.1 200 OK\r\n\r\n", None);
        check("HTTP/1.1 206 Partial Content\r\n\r\n", None);
        check(
            "HTTP/1.1 301 Moved\r\nLocation: https://example.org/\r\n\r\n",
            Some("https://example.org/: name that"),
        );
        check("HTTP/1.1 404 Not Found\r\n\r\n", Some("answered \"HTTP/1.1 404 Not Found\""));
        check("SSH-2.0-x\r\n\r\n", Some("does not answer in HTTP"));
    }

    #[test]
    fn noise_has_no_pattern_and_its_length() {
        let mut noise = Noise(1);
        assert_eq!((noise.piece(10).len(), noise.piece(1 << 40).len(), noise.piece(0).len()), (10, 4096, 0));
        assert_ne!(noise.piece(4096), noise.piece(4096));
    }
}
