//! `Tap`: a socket of which a capture sees what is read from it and written to it: as much as the socket gave or took, in
//! the order in which it did.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use linkio::Direction;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::Wire;
use crate::bare::Bare;

/// A socket, or what is inside of its TLS.
pub(crate) struct Tap<T: Ported> {
    io: T,
    wire: Wire,
    /// Whether the other side has ended its sending, and whether we have.
    ended: bool,
    finished: bool,
}

/// What may know the port at its other end.
pub(crate) trait Ported {
    /// The port, if it has one.
    fn port(&self) -> Option<u16> {
        None
    }
}

impl Ported for TcpStream {
    fn port(&self) -> Option<u16> {
        self.peer_addr().ok().map(|peer| peer.port())
    }
}

impl<T: Ported> Ported for tokio_rustls::server::TlsStream<T> {
    fn port(&self) -> Option<u16> {
        self.get_ref().0.port()
    }
}

impl<T: Ported> Tap<T> {
    /// `io`, which is seen as `wire`.
    pub(crate) fn new(io: T, wire: Wire) -> Self {
        Self { io, wire, ended: false, finished: false }
    }

    /// The socket itself.
    pub(crate) fn io(&self) -> &T {
        &self.io
    }

    fn failed(&self, doing: &str, error: &io::Error) {
        self.wire.happened(&format!("{doing} failed: {error}"), || self.io.port());
    }
}

impl<T: Ported> Drop for Tap<T> {
    fn drop(&mut self) {
        self.wire.closed();
    }
}

impl<T: AsyncRead + Ported + Unpin> AsyncRead for Tap<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let had_room = buf.remaining() > 0;
        let read = std::task::ready!(Pin::new(&mut this.io).poll_read(cx, buf));
        match &read {
            Ok(()) => {
                let bytes = buf.filled().get(before..).unwrap_or_default();
                if bytes.is_empty() && had_room && !std::mem::replace(&mut this.ended, true) {
                    this.wire.happened("the other side ended its sending", || this.io.port());
                }
                this.wire.read(bytes, || this.io.port());
            }
            Err(error) => this.failed("reading", error),
        }
        Poll::Ready(read)
    }
}

impl<T: AsyncWrite + Ported + Unpin> AsyncWrite for Tap<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let io = Pin::new(&mut this.io);
        let written = match bufs {
            [only] => io.poll_write(cx, only),
            several => io.poll_write_vectored(cx, several),
        };
        match &written {
            Poll::Ready(Ok(written)) => this.wire.wrote(bufs, *written, || this.io.port()),
            Poll::Ready(Err(error)) => this.failed("writing", error),
            Poll::Pending => {}
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let ended = Pin::new(&mut this.io).poll_shutdown(cx);
        if ended.is_ready() && !std::mem::replace(&mut this.finished, true) {
            this.wire.happened("our side ended its sending", || this.io.port());
        }
        ended
    }
}

/// As long as nothing is captured there is nothing to see.
impl<T: Bare + Ported> Bare for Tap<T> {
    fn socket(&self, direction: Direction) -> Option<&TcpStream> {
        if self.wire.is_on() { None } else { self.io.socket(direction) }
    }

    fn passed(&self, direction: Direction, bytes: u64) {
        self.io.passed(direction, bytes);
    }
}
