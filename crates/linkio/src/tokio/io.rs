//! A stream that crosses a shared link.
//!
//! Owns the order of things between a caller, the link and the far stream: what is read from the far stream comes
//! down the link, what is written goes up. It does not pace; it asks. A direction that neither limits nor delays, and
//! has nothing left from when it did, uses the far stream directly, without copy, lock or clock.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::half::Half;
use super::lane::GRAIN;
use super::meter::{Counters, Meter};
use super::shared::Shared;
use super::signal::{Both, Signal};
use crate::flow::Standing;
use crate::moment::Moment;
use crate::spec::Direction;

/// Bytes taken from the far stream in one read, on the stack.
const READ: usize = 16 * 1024;

/// A stream of which every byte crosses a [`SharedLink`](super::SharedLink).
///
/// Bytes that were accepted for writing go on their way whenever the stream is polled for reading, writing, flushing
/// or shutting down; as with any buffered stream, only a flush says that they are out. Dropping it withdraws what
/// has not crossed.
#[derive(Debug)]
pub struct LinkedIo<T> {
    inner: T,
    link: Arc<Shared>,
    counters: Arc<Counters>,
    down: Half,
    up: Half,
    /// How the far stream ended, seen at this end from the given moment.
    end: Option<(Moment, io::Result<()>)>,
    /// Whether `inner` was written to and not yet flushed.
    unflushed: bool,
    /// Whether the far stream refused bytes that the caller thinks are written.
    refused: bool,
    /// The error it refused them with, until the caller has seen it.
    refusal: Option<io::Error>,
    reader: Arc<Signal>,
    writer: Arc<Signal>,
    /// Wakes both.
    both: Waker,
}

impl<T> LinkedIo<T> {
    pub(super) fn open(inner: T, link: Arc<Shared>, standing: Standing) -> Self {
        let (reader, writer) = (Arc::<Signal>::default(), Arc::<Signal>::default());
        let both = Waker::from(Arc::new(Both { reader: Arc::clone(&reader), writer: Arc::clone(&writer) }));
        let counters = Arc::<Counters>::default();
        let wakers = [Waker::from(Arc::clone(&reader)), both.clone()];
        let (down, up) = link.open(standing, &counters, wakers);
        Self {
            inner,
            link,
            counters,
            down: Half::new(Direction::Down, down),
            up: Half::new(Direction::Up, up),
            end: None,
            unflushed: false,
            refused: false,
            refusal: None,
            reader,
            writer,
            both,
        }
    }

    /// A reader of what this stream used.
    pub fn meter(&self) -> Meter {
        let link = Arc::downgrade(&self.link);
        Meter::new(Arc::clone(&self.counters), link, self.down.flow, self.up.flow)
    }

    /// The far stream.
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// The far stream, where reading from it (down) or writing to it (up) is the same as doing it here: the link neither
    /// limits nor delays that direction at the moment, and nothing is left from when it did. What goes there is to be
    /// counted with [`count_direct`](Self::count_direct); and asked for again soon, since the link may change.
    pub fn direct(&self, direction: Direction) -> Option<&T> {
        let passes = match direction {
            Direction::Down => self.passes_down(),
            Direction::Up => self.passes_up(),
        };
        passes.then_some(&self.inner)
    }

    /// So many `bytes` were read from the far stream, or written to it, directly.
    pub fn count_direct(&self, direction: Direction, bytes: u64) {
        match direction {
            Direction::Down => self.counters.count_down(bytes),
            Direction::Up => self.counters.count_up(bytes),
        }
    }

    fn passes_down(&self) -> bool {
        self.link.passes(Direction::Down) && self.down.is_empty() && self.end.is_none()
    }

    fn passes_up(&self) -> bool {
        self.link.passes(Direction::Up) && self.up.is_empty() && !self.refused
    }
}

impl<T> Drop for LinkedIo<T> {
    fn drop(&mut self) {
        self.link.close(self.down.flow, self.up.flow, &self.counters);
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for LinkedIo<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.up.is_empty() || this.unflushed {
            // Somebody who waits for the answer may never poll the request again.
            this.reader.register(cx.waker());
            if this.drive_up() {
                this.writer.notify();
            }
        }
        if this.passes_down() {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
            this.counters.count_down((buf.filled().len() - before) as u64);
            return Poll::Ready(Ok(()));
        }
        this.poll_down(cx, buf)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for LinkedIo<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.passes_up() {
            let written = ready!(Pin::new(&mut this.inner).poll_write(cx, buf))?;
            this.counters.count_up(written as u64);
            return Poll::Ready(Ok(written));
        }
        this.poll_up(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.passes_up() {
            let written = ready!(Pin::new(&mut this.inner).poll_write_vectored(cx, bufs))?;
            this.counters.count_up(written as u64);
            return Poll::Ready(Ok(written));
        }
        this.poll_up(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drained(cx))?;
        ready!(Pin::new(&mut this.inner).poll_flush(cx))?;
        this.unflushed = false;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drained(cx))?;
        this.unflushed = false;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> LinkedIo<T> {
    /// Reads what came down the link, and keeps the link supplied from the far stream.
    fn poll_down(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        self.reader.register(cx.waker());
        loop {
            self.down.visit(&self.link, &self.counters);
            if self.deliver(buf) {
                // The link goes on with the next bytes while the caller looks at these.
                if self.fill(cx) {
                    self.down.visit(&self.link, &self.counters);
                }
                return Poll::Ready(Ok(()));
            }
            if let Some((_, end)) =
                self.end.take_if(|(seen, _)| self.down.is_empty() && *seen <= self.down.now + GRAIN)
            {
                return Poll::Ready(end);
            }
            if self.fill(cx) {
                continue;
            }
            // From here on a grant, the far stream or the timer wakes the reader.
            let end = self.end.as_ref().filter(|_| self.down.is_empty()).map(|(seen, _)| *seen);
            match self.down.again.or(end) {
                Some(due) => ready!(self.down.poll_until(&self.link, due, cx)),
                None => return Poll::Pending,
            }
        }
    }

    /// Hands over what has arrived. Returns whether that was anything.
    fn deliver(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let (first, second) = self.down.arrived();
        let from_first = first.len().min(buf.remaining());
        buf.put_slice(&first[..from_first]);
        let from_second = second.len().min(buf.remaining());
        buf.put_slice(&second[..from_second]);
        self.down.consume(from_first + from_second);
        from_first > 0
    }

    /// Reads from the far stream as long as there is room and it has something. Returns whether anything happened.
    fn fill(&mut self, cx: &mut Context<'_>) -> bool {
        let mut happened = false;
        let mut space = [MaybeUninit::<u8>::uninit(); READ];
        while self.end.is_none() && self.down.room() > 0 {
            let mut chunk = ReadBuf::uninit(&mut space[..self.down.room().min(READ)]);
            match Pin::new(&mut self.inner).poll_read(cx, &mut chunk) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) if !chunk.filled().is_empty() => self.down.push(chunk.filled()),
                // The end crosses the link like the bytes before it.
                Poll::Ready(end) => self.end = Some((self.down.seen, end)),
            }
            happened = true;
        }
        happened
    }

    /// Accepts what there is room for and sends it on its way.
    fn poll_up(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.writer.register(cx.waker());
        self.drive_up();
        if self.refused {
            return Poll::Ready(Err(self.refusal.take().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())));
        }
        let mut accepted = 0;
        for buf in bufs {
            let count = buf.len().min(self.up.room());
            self.up.push(&buf[..count]);
            accepted += count;
        }
        if accepted == 0 && bufs.iter().any(|buf| !buf.is_empty()) {
            return Poll::Pending;
        }
        self.drive_up();
        Poll::Ready(Ok(accepted))
    }

    /// Ready when every accepted byte is written to the far stream.
    fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.up.is_empty() {
            self.writer.register(cx.waker());
            self.drive_up();
        }
        match self.refusal.take() {
            Some(refusal) => Poll::Ready(Err(refusal)),
            None if self.up.is_empty() => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    }

    /// Writes what has crossed to the far stream, as far as it goes. Whatever it has to wait for wakes both tasks.
    /// Returns whether a writer that waits may go on.
    fn drive_up(&mut self) -> bool {
        let before = (self.up.len(), self.up.room(), self.unflushed);
        let both = self.both.clone();
        let cx = &mut Context::from_waker(&both);
        loop {
            self.up.visit(&self.link, &self.counters);
            match self.write_arrived(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(refusal)) => {
                    // Nobody will take the rest. The caller learns of it with its next write, flush or shutdown.
                    self.link.abandon(Direction::Up, self.up.flow);
                    self.up.clear();
                    (self.refused, self.refusal, self.unflushed) = (true, Some(refusal), false);
                    return true;
                }
                Poll::Pending => break,
            }
            let Some(due) = self.up.again else { break };
            if self.up.poll_until(&self.link, due, cx).is_pending() {
                break;
            }
        }
        let (held, room, unflushed) = before;
        self.up.len() < held || self.up.room() > room || self.unflushed != unflushed
    }

    /// Ready when nothing that has arrived is left to write.
    fn write_arrived(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let (first, second) = self.up.arrived();
            if first.is_empty() {
                break;
            }
            let inner = Pin::new(&mut self.inner);
            let written = if second.is_empty() {
                ready!(inner.poll_write(cx, first))?
            } else {
                ready!(inner.poll_write_vectored(cx, &[IoSlice::new(first), IoSlice::new(second)]))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.up.consume(written);
            self.counters.count_up(written as u64);
            self.unflushed = true;
        }
        if self.unflushed && self.up.is_empty() {
            ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}
