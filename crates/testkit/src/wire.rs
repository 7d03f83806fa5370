//! A connection read and written as HTTP/1.1 by hand: lines, heads and framed contents (RFC 9112 §2.2, §7.1).
//!
//! It never judges a message: whatever arrives is handed on as it is, and a broken ending is a value.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::message::{Contents, Ending, Fields, Framing, Head};
use crate::stream::Stream;

/// One connection with what was read ahead of it.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Stream,
    ahead: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, ahead: Vec::new() }
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The next head, or `None` when the connection ends before one begins.
    ///
    /// # Errors
    /// Those of the socket, and `UnexpectedEof` when the connection ends inside a head.
    pub(crate) async fn head(&mut self) -> io::Result<Option<Head>> {
        let Some(start_line) = self.line().await? else { return Ok(None) };
        let mut head = Head { start_line: text(&start_line), fields: Fields::default(), raw: start_line };
        loop {
            let line = self.line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            head.raw.extend_from_slice(&line);
            let line = text(&line);
            if line.is_empty() {
                return Ok(Some(head));
            }
            head.fields.push_line(&line);
        }
    }

    /// Contents to their end, however they end.
    pub(crate) async fn contents(&mut self, framing: Framing) -> Contents {
        let mut contents = Contents { bytes: Vec::new(), trailers: Fields::default(), ending: Ending::Clean };
        let read = match framing {
            Framing::Length(length) => self.take(length, &mut contents.bytes).await,
            Framing::Chunked => self.chunks(&mut contents).await,
            Framing::UntilClose => self.rest(&mut contents.bytes).await,
        };
        contents.ending = match (read, framing) {
            (Err(_), _) => Ending::Cut,
            (Ok(()), Framing::UntilClose) => Ending::Closed,
            (Ok(()), _) => Ending::Clean,
        };
        contents
    }

    /// Exactly `length` bytes, added to `into`; on an error `into` keeps what came before it.
    ///
    /// # Errors
    /// Those of the socket, and `UnexpectedEof` when it ends too early.
    pub(crate) async fn take(&mut self, length: u64, into: &mut Vec<u8>) -> io::Result<()> {
        let mut missing = length;
        while missing > 0 {
            if self.ahead.is_empty() && self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let here = usize::try_from(missing).unwrap_or(usize::MAX).min(self.ahead.len());
            into.extend(self.ahead.drain(..here));
            missing -= here as u64;
        }
        Ok(())
    }

    /// Whatever comes next, added to `into`; zero at the end of the connection.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) async fn some(&mut self, into: &mut Vec<u8>) -> io::Result<usize> {
        if self.ahead.is_empty() {
            self.fill().await?;
        }
        let here = self.ahead.len();
        into.append(&mut self.ahead);
        Ok(here)
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Ends the sending direction.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) async fn shutdown(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    async fn chunks(&mut self, contents: &mut Contents) -> io::Result<()> {
        loop {
            let line = self.line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let line = text(&line);
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
            if size == 0 {
                break;
            }
            self.take(size, &mut contents.bytes).await?;
            self.line().await?;
        }
        loop {
            let line = self.line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            match text(&line) {
                line if line.is_empty() => return Ok(()),
                line => contents.trailers.push_line(&line),
            }
        }
    }

    async fn rest(&mut self, into: &mut Vec<u8>) -> io::Result<()> {
        while self.some(into).await? > 0 {}
        Ok(())
    }

    /// The next line with its line end; `None` when the connection ends before its first byte.
    async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.ahead[searched..].iter().position(|byte| *byte == b'\n') {
                return Ok(Some(self.ahead.drain(..=searched + end).collect()));
            }
            searched = self.ahead.len();
            if self.fill().await? == 0 {
                return if searched == 0 { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        self.ahead.reserve(16 * 1024);
        self.stream.read_buf(&mut self.ahead).await
    }
}

/// A line as text, without its line end. Bytes that are not UTF-8 show as U+FFFD; `Head::raw` has them.
fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end_matches(['\r', '\n']).to_owned()
}
