//! One connection of the load: a request written, an answer read, as far as a count and a comparison need it.
//!
//! What is asked for and when it is enough is said by `load` itself.

use std::io;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Plan, SECURE_NAME, Way};
use crate::contents;

/// What is read at once: what keeps a kernel's buffer from being the limit and still fits a processor's cache.
const BUFFER: usize = 256 * 1024;

enum Stream {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

/// A connection and the answer that is being read on it.
pub(super) struct Exchange {
    stream: Stream,
    buffer: Vec<u8>,
    /// Where in the buffer contents stand that came last.
    fresh: std::ops::Range<usize>,
    /// Contents that have come, those that came last included.
    received: u64,
    /// The length of the contents.
    length: u64,
}

impl Exchange {
    /// Connects, and opens the tunnel where there is to be one.
    pub(super) async fn open(plan: &Plan) -> io::Result<Self> {
        let mut stream = TcpStream::connect(plan.proxy).await?;
        stream.set_nodelay(true)?;
        if !matches!(plan.way, Way::Absolute) {
            connect(&mut stream, plan).await?;
        }
        let stream = match &plan.way {
            Way::Absolute | Way::Tunnel => Stream::Plain(stream),
            Way::Secure(trust) => {
                let name = ServerName::try_from(SECURE_NAME).map_err(io::Error::other)?;
                let connector = TlsConnector::from(std::sync::Arc::clone(trust));
                Stream::Secure(Box::new(connector.connect(name, stream).await?))
            }
        };
        Ok(Self { stream, buffer: vec![0; BUFFER], fresh: 0..0, received: 0, length: 0 })
    }

    async fn ask(&mut self, plan: &Plan, path: &str) -> io::Result<()> {
        let authority = authority(plan);
        let request = match plan.way {
            Way::Absolute => format!("GET http://{authority}{path} HTTP/1.1\r\nHost: {authority}\r\n\r\n"),
            Way::Tunnel | Way::Secure(_) => format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n\r\n"),
        };
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(request.as_bytes()).await,
            Stream::Secure(stream) => stream.write_all(request.as_bytes()).await,
        }
    }

    /// Sends the request for `path`, reads the answer's head, and gives the bytes of contents that came with it.
    ///
    /// # Errors
    /// `NotConnected` when the connection was closed before any byte of an answer.
    pub(super) async fn begin(&mut self, plan: &Plan, path: &str) -> io::Result<u64> {
        let asked = self.ask(plan, path).await;
        let closed = |_| io::Error::from(io::ErrorKind::NotConnected);
        asked.map_err(closed)?;
        let mut held = self.read(0).await.map_err(closed)?;
        let (head, length) = loop {
            if let Some(sizes) = sizes(&self.buffer[..held])? {
                break sizes;
            }
            held += self.read(held).await?;
        };
        let expected = contents::asked(path).map_or(length, |asked| asked.size);
        if length != expected {
            return Err(wrong(format!("{length} bytes of contents for {path}")));
        }
        self.length = length;
        self.received = (held - head) as u64;
        self.fresh = head..held;
        Ok(self.received)
    }

    /// Whether contents are still to come.
    pub(super) fn is_unfinished(&self) -> bool {
        self.received < self.length
    }

    /// Reads further contents, and gives how many bytes came.
    pub(super) async fn go_on(&mut self) -> io::Result<u64> {
        let read = self.read(0).await?;
        self.fresh = 0..read;
        self.received += read as u64;
        Ok(read as u64)
    }

    /// Compares what came last with the contents of `path`, where `is_compared`.
    pub(super) fn compare(&self, path: &str, is_compared: bool) -> io::Result<()> {
        if self.received > self.length {
            return Err(wrong(format!("more than {} bytes of contents for {path}", self.length)));
        }
        let fresh = &self.buffer[self.fresh.clone()];
        let offset = self.received - fresh.len() as u64;
        if is_compared && !contents::are(path, offset, fresh) {
            return Err(wrong(format!("wrong bytes at {offset} of {path}")));
        }
        Ok(())
    }

    async fn read(&mut self, at: usize) -> io::Result<usize> {
        let room = &mut self.buffer[at..];
        let read = match &mut self.stream {
            Stream::Plain(stream) => stream.read(room).await?,
            Stream::Secure(stream) => stream.read(room).await?,
        };
        if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(read) }
    }
}

async fn connect(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), plan: &Plan) -> io::Result<()> {
    let authority = authority(plan);
    let request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    if status(&head) == Some("200") {
        return Ok(());
    }
    Err(wrong(format!("no tunnel: {}", String::from_utf8_lossy(&head))))
}

/// The origin as the proxy is told of it.
fn authority(plan: &Plan) -> String {
    match plan.way {
        Way::Absolute | Way::Tunnel => plan.origin.to_string(),
        Way::Secure(_) => format!("{SECURE_NAME}:{}", plan.origin.port()),
    }
}

fn status(head: &[u8]) -> Option<&str> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    std::str::from_utf8(line).ok()?.split(' ').nth(1)
}

/// The sizes of head and contents of the answer that starts with `bytes`, once its head is there.
fn sizes(bytes: &[u8]) -> io::Result<Option<(usize, u64)>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = &bytes[..end];
    if status(head) != Some("200") {
        return Err(wrong(format!("not a 200: {}", String::from_utf8_lossy(head))));
    }
    let length = head
        .split(|byte| *byte == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok()?.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<u64>().ok())
        .ok_or_else(|| wrong(format!("no Content-Length: {}", String::from_utf8_lossy(head))))?;
    Ok(Some((end + 4, length)))
}

fn wrong(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sizes_of_an_answer_are_known_once_its_head_is_there() {
        let whole = sizes(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
        assert_eq!(whole.expect("a 200"), Some((38, 3)));
        assert_eq!(sizes(b"HTTP/1.1 200 OK\r\nContent-").expect("no end yet"), None);
        sizes(b"HTTP/1.1 502 Bad\r\n\r\n").expect_err("a 502 is no answer");
        sizes(b"HTTP/1.1 200 OK\r\n\r\n").expect_err("no length, no comparison");
    }
}
