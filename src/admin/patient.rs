//! A connection to the admin interface over TCP on which answers are to be taken: where nothing of one is for too long, a write
//! fails, and with it the connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::seats::Seat;
use crate::timer::Timer;

pub(super) struct Patient<T> {
    io: T,
    seat: Arc<Seat>,
    patience: Duration,
    /// Runs while a write waits for the client.
    stall: Timer,
}

impl<T> Patient<T> {
    /// Wraps `io`, which has `seat`; a write of which nothing is taken for `patience` fails.
    pub(super) fn new(io: T, seat: Arc<Seat>, patience: Duration) -> Self {
        Self { io, seat, patience, stall: Timer::default() }
    }

    fn watch(&mut self, written: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stall.stop();
            self.seat.moved(Instant::now());
            return written;
        }
        self.stall.poll(self.patience, cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Patient<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, buf);
        this.watch(written, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.watch(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::admin::seats::Seats;

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_ends_the_connection() {
        const PATIENCE: Duration = Duration::from_secs(10);
        let taken = Arc::new(Seats::default()).take([127, 0, 0, 1].into(), Instant::now()).expect("a seat");
        let (near, _far) = tokio::io::duplex(4);
        let begun = Instant::now();
        let mut io = Patient::new(near, taken.seat.clone(), PATIENCE);
        let failed = io.write_all(b"more than fits").await.expect_err("a stall");
        assert_eq!((failed.kind(), begun.elapsed()), (io::ErrorKind::TimedOut, PATIENCE));
    }
}
