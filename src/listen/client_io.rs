//! The client's socket, with the manners that hyper leaves to its user:
//!
//! - a client that shuts down its sending side after a request still gets its response; one that is gone altogether
//!   looks the same at first (RFC 9112 §9.6), so after a short grace the end is passed on and the exchange given up;
//! - a client that takes nothing of what is sent to it for too long is dropped;
//! - of one that has reset its connection, or ended it in the middle of a request's content, nothing more is read, though
//!   the system still holds some of what it sent;
//! - a connection that is closed while the client still sends is closed gently (RFC 9112 §9.6): what goes on arriving
//!   is thrown away for a moment, since a reset would destroy the response on its way;
//! - bytes that are no request get an answer that says so, in place of hyper's empty one;
//! - a client of HTTP/2 that sends frames without end that carry nothing is dropped;
//! - interim responses go out between the responses of hyper, which knows of none.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::StatusCode;
use linkio::Direction;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::activity::Activity;
use super::between::Between;
use super::breakable::Breakable;
use super::frames::Frames;
use crate::bare::Bare;
use crate::respond::refusal;
use crate::timer::Timer;

/// How long an exchange goes on for a client that has ended its sending side, while neither the client takes more of the
/// response nor more of what it sent crosses the link: this long, and so many round trips of the link.
const HALF_CLOSE_GRACE: Duration = Duration::from_millis(750);
const ROUND_TRIPS: u32 = 3;

/// How often a connection whose client has ended its sending side is looked at for a reset.
const LOOK: Duration = Duration::from_millis(10);

/// How long a closed connection goes on taking what the client sends.
const LINGER: Duration = Duration::from_secs(1);

/// A client's socket as hyper sees it.
pub(crate) struct ClientIo<T> {
    io: T,
    /// What was read of it before.
    ahead: Bytes,
    activity: Arc<Activity>,
    idle: Duration,
    half_close_grace: Duration,
    /// Runs while a write waits for the client.
    stall: Timer,
    /// Set once the client has ended its sending side.
    ended: bool,
    grace: Timer,
    /// Runs while the grace does, from one look at the socket to the next.
    look: Timer,
    /// Bytes of the upload that had crossed the link when last looked at.
    crossed: u64,
    linger: Timer,
    /// An answer of ours that goes out in place of hyper's.
    own_answer: Bytes,
    between: Between,
    /// Looks at the frames that come, where requests share the connection.
    frames: Option<Frames>,
}

impl<T> ClientIo<T> {
    /// Wraps `io`; a write that makes no progress for `idle` fails. Responses come over a link with a delay of `rtt`.
    pub(crate) fn new(io: T, activity: Arc<Activity>, idle: Duration, rtt: Duration) -> Self {
        let frames = activity.is_shared().then(|| Frames::new(Instant::now()));
        Self {
            io,
            ahead: Bytes::new(),
            activity,
            idle,
            half_close_grace: HALF_CLOSE_GRACE + ROUND_TRIPS * rtt,
            stall: Timer::default(),
            ended: false,
            grace: Timer::default(),
            look: Timer::default(),
            crossed: 0,
            linger: Timer::default(),
            own_answer: Bytes::new(),
            between: Between::default(),
            frames,
        }
    }

    /// The same, where `ahead` was read of it before.
    pub(super) fn after(self, ahead: Bytes) -> Self {
        Self { ahead, ..self }
    }

    /// The socket itself.
    pub(super) fn into_inner(self) -> T {
        self.io
    }

    /// Passes the result of a write on, or fails it once it has waited too long.
    fn watch<R>(&mut self, written: Poll<io::Result<R>>, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.stall.stop();
            return written;
        }
        if self.activity.is_handed_over() {
            // A tunnel has its own limit.
            return Poll::Pending;
        }
        self.stall.poll(self.idle, cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// A client that takes some of the response is still there.
    fn note_taken(&mut self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes @ 1..)) = written {
            self.grace.stop();
            self.activity.wrote(*bytes);
            if let Some(frames) = &mut self.frames {
                frames.wrote(*bytes as u64);
            }
        }
    }

    /// If `buf` is hyper's own empty answer to something it could not read, puts ours in its place. It is hyper's
    /// own if it begins where no exchange is going on and all that exchanges wrote has been flushed.
    fn replace(&mut self, buf: &[u8]) -> bool {
        if self.activity.is_answering() || self.activity.is_handed_over() || self.activity.is_shared() {
            return false;
        }
        let Some(status) = buf.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3)) else {
            return false;
        };
        let Ok(status) = StatusCode::from_bytes(status) else { return false };
        self.own_answer = refusal::unparsable(status);
        self.activity.closes();
        true
    }
}

impl<T: AsyncWrite + Unpin> ClientIo<T> {
    /// What must go out before hyper writes more.
    fn poll_writing(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = self.between.poll_writing(&mut self.io, cx);
        self.note_interim();
        written
    }

    /// What goes out once hyper has written all it had.
    fn poll_flushing(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_own_answer(cx))?;
        let written = self.between.poll_flushing(&mut self.io, &self.activity, cx);
        self.note_interim();
        ready!(written)?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn note_interim(&mut self) {
        if self.between.has_taken() {
            self.grace.stop();
        }
    }

    fn poll_own_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.own_answer.has_remaining() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.own_answer))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.own_answer.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Breakable + Unpin> AsyncRead for ClientIo<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.ended {
            if this.activity.is_answering()
                && let Some(unread) = this.io.unread_of_an_end()
                && this.activity.lacks_content(unread)
            {
                // RFC 9112 §8: "If the sender closes the connection ... before the indicated number of octets are received,
                // the recipient MUST consider the message to be incomplete and close the connection." What is left of it
                // would only cross the link in vain.
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            let before = buf.filled().len();
            if this.ahead.is_empty() {
                ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
            } else {
                let length = this.ahead.len().min(buf.remaining());
                buf.put_slice(&this.ahead.split_to(length));
            }
            if buf.filled().len() > before || buf.remaining() == 0 {
                if this.activity.is_answering()
                    && let Some(error) = this.io.broken()
                {
                    // The system hands out all it holds before it tells of a reset: megabytes that nobody wants.
                    return Poll::Ready(Err(error));
                }
                let read = buf.filled().get(before..).unwrap_or_default();
                this.activity.read(read);
                let is_within = this.frames.as_mut().is_none_or(|frames| frames.read(read, Instant::now()));
                let flood = || io::Error::other("too many frames that carry nothing");
                return Poll::Ready(is_within.then_some(()).ok_or_else(flood));
            }
            this.ended = true;
        }
        if this.activity.is_answering() && !this.activity.is_handed_over() {
            // One that is gone resets the connection when more is sent to it, which wakes nobody who has read the end.
            if let Some(error) = this.io.broken() {
                return Poll::Ready(Err(error));
            }
            while this.look.poll(LOOK, cx).is_ready() {
                this.look.stop();
            }
            let crossed = this.activity.crossed();
            if this.crossed != crossed {
                this.crossed = crossed;
                this.grace.stop();
            }
            ready!(this.grace.poll(this.half_close_grace, cx));
            if this.crossed != this.activity.crossed() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> ClientIo<T> {
    /// Throws away what still arrives until the client has ended or `LINGER` is over.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut thrown_away = [0; 4096];
        while !self.ended {
            let mut buf = ReadBuf::new(&mut thrown_away);
            match Pin::new(&mut self.io).poll_read(cx, &mut buf) {
                Poll::Ready(read) => self.ended = read.is_err() || buf.filled().is_empty(),
                Poll::Pending => return self.linger.poll(LINGER, cx),
            }
            if self.linger.poll(LINGER, cx).is_ready() {
                break;
            }
        }
        Poll::Ready(())
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientIo<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.replace(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = this.poll_writing(cx).map_ok(|()| 0);
        if !matches!(written, Poll::Ready(Ok(_))) {
            return this.watch(written, cx);
        }
        let written = Pin::new(&mut this.io).poll_write(cx, buf);
        this.note_taken(&written);
        this.watch(written, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let [only] = bufs
            && this.replace(only)
        {
            return Poll::Ready(Ok(only.len()));
        }
        let written = this.poll_writing(cx).map_ok(|()| 0);
        if !matches!(written, Poll::Ready(Ok(_))) {
            return this.watch(written, cx);
        }
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.note_taken(&written);
        this.watch(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = this.poll_flushing(cx);
        if flushed.is_ready() {
            this.activity.flushed();
        }
        this.watch(flushed, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.activity.closes();
        ready!(this.poll_own_answer(cx))?;
        ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
        if this.activity.is_handed_over() {
            // A tunnel whose origin has ended goes on in the other direction.
            return Poll::Ready(Ok(()));
        }
        this.poll_linger(cx).map(Ok)
    }
}

/// Where it was handed over, and what we had to say before is said.
impl<T: Bare> Bare for ClientIo<T> {
    fn socket(&self, direction: Direction) -> Option<&TcpStream> {
        let is_done = self.activity.is_handed_over() && self.own_answer.is_empty() && self.between.is_empty();
        if is_done { self.io.socket(direction) } else { None }
    }

    fn passed(&self, direction: Direction, bytes: u64) {
        self.io.passed(direction, bytes);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::body::request::Progress;
    use crate::respond::interim::Interim;

    const IDLE: Duration = Duration::from_secs(60);

    impl Breakable for tokio::io::DuplexStream {
        fn broken(&self) -> Option<io::Error> {
            None
        }

        fn unread_of_an_end(&self) -> Option<u64> {
            None
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_client_waits_while_an_exchange_goes_on() {
        let (near, far) = tokio::io::duplex(64);
        let activity = Arc::new(Activity::default());
        let mut io = ClientIo::new(near, activity.clone(), IDLE, Duration::ZERO);
        let in_flight = activity.begin(Progress::default(), Interim::default());
        drop(far);
        let begun = Instant::now();
        // As hyper does it: every time it wakes, it reads and flushes.
        let mut space = [0; 8];
        let mut buf = ReadBuf::new(&mut space);
        let read = std::future::poll_fn(|cx| {
            let read = Pin::new(&mut io).poll_read(cx, &mut buf);
            assert!(Pin::new(&mut io).poll_flush(cx).is_ready());
            read
        });
        tokio::time::timeout(2 * HALF_CLOSE_GRACE, read).await.expect("in time").expect("the end");
        assert!(buf.filled().is_empty());
        assert_eq!(begun.elapsed(), HALF_CLOSE_GRACE);
        drop(in_flight);
        io.flush().await.expect("nothing to flush");
        assert_eq!(io.read(&mut [0; 8]).await.expect("the end"), 0);
        assert_eq!(begun.elapsed(), HALF_CLOSE_GRACE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_dropped() {
        let (near, _far) = tokio::io::duplex(4);
        let mut io = ClientIo::new(near, Arc::default(), IDLE, Duration::ZERO);
        let failed = io.write_all(b"more than fits").await.expect_err("a stall");
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn only_answers_outside_an_exchange_are_replaced() {
        let (near, mut far) = tokio::io::duplex(4096);
        let activity = Arc::new(Activity::default());
        let mut io = ClientIo::new(near, activity.clone(), IDLE, Duration::ZERO);
        let in_flight = activity.begin(Progress::default(), Interim::default());
        let content = b"HTTP/1.1 400 is what this file begins with";
        io.write_all(content).await.expect("room");
        drop(in_flight);
        io.write_all(content).await.expect("room");
        io.flush().await.expect("room");
        io.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.expect("room");
        io.flush().await.expect("room");
        drop(io);
        let mut received = Vec::new();
        far.read_to_end(&mut received).await.expect("all of it");
        let (as_written, replaced) = received.split_at(2 * content.len());
        assert_eq!(as_written, [content.as_slice(), content].concat());
        assert!(String::from_utf8_lossy(replaced).contains("not an HTTP request"));
    }
}
