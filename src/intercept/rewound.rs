//! A connection of which the beginning was read ahead: whoever reads on gets that first. It looks at nothing.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use linkio::Direction;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::bare::Bare;

/// `T`, after the bytes that were read of it before.
pub(crate) struct Rewound<T> {
    ahead: Bytes,
    io: T,
}

impl<T> Rewound<T> {
    /// `io`, of which `ahead` was read already.
    pub(crate) fn new(ahead: Bytes, io: T) -> Self {
        Self { ahead, io }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Rewound<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ahead.is_empty() {
            return Pin::new(&mut this.io).poll_read(cx, buf);
        }
        let length = this.ahead.len().min(buf.remaining());
        buf.put_slice(&this.ahead.split_to(length));
        if !this.ahead.has_remaining() {
            // The memory it shares is let go.
            this.ahead = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Rewound<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

impl<T: Bare> Bare for Rewound<T> {
    fn socket(&self, direction: Direction) -> Option<&TcpStream> {
        if self.ahead.is_empty() { self.io.socket(direction) } else { None }
    }

    fn passed(&self, direction: Direction, bytes: u64) {
        self.io.passed(direction, bytes);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn what_was_read_ahead_comes_first() {
        let mut rewound = Rewound::new(Bytes::from_static(b"ahead"), &b" and on"[..]);
        let mut first = [0; 3];
        assert_eq!(rewound.read(&mut first).await.unwrap(), 3);
        let mut rest = String::new();
        rewound.read_to_string(&mut rest).await.unwrap();
        assert_eq!((&first[..], &*rest), (&b"ahe"[..], "ad and on"));
    }
}
