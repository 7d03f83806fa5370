//! Bytes both ways between two streams, each end passed on as it comes. What is little, shaped or looked at is copied; bulk
//! between streams that are bare at the moment goes through a pipe of the kernel's, and falls back to copying at any byte.
//! When to give up is not decided here.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use linkio::Direction;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pipe::{Pipe, Share};
use crate::bare::Bare;

/// Bytes a direction copies at a time.
const BUFFER: usize = 16 * 1024;

/// Bytes after which a direction is taken for bulk; and after so many more a pipe is asked for again where there was none.
const BULK: u64 = 256 * 1024;

/// Bytes that go one way before others have their turn.
const TURN: u64 = 4 * 1024 * 1024;

/// Carries bytes both ways until both ends have ended, or one has failed.
pub(super) async fn both_ways<C, O>(client: &mut C, origin: &mut O) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Bare + Unpin,
    O: AsyncRead + AsyncWrite + Bare + Unpin,
{
    let (mut up, mut down) = (OneWay::new(Direction::Up), OneWay::new(Direction::Down));
    poll_fn(|cx| {
        let up = up.poll(client, origin, cx)?;
        let down = down.poll(origin, client, cx)?;
        if up.is_ready() && down.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

/// One direction. What it holds is in the pipe, or in the buffer, which then comes first.
struct OneWay {
    direction: Direction,
    buffer: Vec<u8>,
    /// What of the buffer is still to be written.
    begin: usize,
    end: usize,
    pipe: Option<Pipe>,
    /// In the pipes there are, from the first that was wanted.
    share: Option<Share>,
    /// Bytes read so far.
    read: u64,
    /// From how many on a pipe is worth asking for.
    bulk: u64,
    /// Whether something was written and not flushed.
    unflushed: bool,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Nothing more comes.
    Ended,
    /// That is passed on.
    Over,
}

impl OneWay {
    fn new(direction: Direction) -> Self {
        Self {
            direction,
            buffer: Vec::new(),
            begin: 0,
            end: 0,
            pipe: None,
            share: None,
            read: 0,
            bulk: BULK,
            unflushed: false,
            state: State::Open,
        }
    }

    /// Ready when `from` has ended and `to` was told so.
    fn poll<F, T>(&mut self, from: &mut F, to: &mut T, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        F: AsyncRead + Bare + Unpin,
        T: AsyncWrite + Bare + Unpin,
    {
        let turn = self.read + TURN;
        while self.read < turn {
            ready!(self.poll_write(to, cx))?;
            match self.state {
                State::Open => {}
                State::Ended => {
                    ready!(Pin::new(to).poll_shutdown(cx))?;
                    self.state = State::Over;
                    return Poll::Ready(Ok(()));
                }
                State::Over => return Poll::Ready(Ok(())),
            }
            if self.poll_read(from, to, cx)?.is_pending() {
                self.pipe = None;
                if self.unflushed {
                    ready!(Pin::new(to).poll_flush(cx))?;
                    self.unflushed = false;
                }
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ready when nothing is held any more.
    fn poll_write<T>(&mut self, to: &mut T, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        T: AsyncWrite + Bare + Unpin,
    {
        loop {
            if self.begin < self.end {
                let held = self.buffer.get(self.begin..self.end).unwrap_or_default();
                match ready!(Pin::new(&mut *to).poll_write(cx, held))? {
                    0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                    written => self.begin += written,
                }
                self.unflushed = true;
                continue;
            }
            let Some(pipe) = self.pipe.as_mut().filter(|pipe| !pipe.is_empty()) else {
                return Poll::Ready(Ok(()));
            };
            if let Some(socket) = to.socket(self.direction) {
                ready!(socket.poll_write_ready(cx))?;
                match pipe.pour(socket) {
                    Ok(0) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                    Ok(poured) => to.passed(self.direction, poured as u64),
                    Err(error) if is_passing(&error) => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
            } else {
                // What comes here from now on is looked at or has to wait, and so has what is held.
                self.buffer.resize(BUFFER, 0);
                (self.begin, self.end) = (0, pipe.read(&mut self.buffer)?);
            }
        }
    }

    /// Ready when something is held, or nothing more comes.
    fn poll_read<F, T>(&mut self, from: &mut F, to: &T, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        F: AsyncRead + Bare + Unpin,
        T: Bare,
    {
        if self.read >= self.bulk && to.socket(self.direction).is_some() && ready!(self.poll_fill(from, cx))?
        {
            return Poll::Ready(Ok(()));
        }
        self.buffer.resize(BUFFER, 0);
        let mut buffer = ReadBuf::new(&mut self.buffer);
        ready!(Pin::new(from).poll_read(cx, &mut buffer))?;
        (self.begin, self.end) = (0, buffer.filled().len());
        self.read += self.end as u64;
        if self.end == 0 {
            self.state = State::Ended;
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when something is in the pipe, or else when it has to be read otherwise: `from` is not bare, there is no pipe,
    /// or it is the end that has come.
    fn poll_fill<F: Bare>(&mut self, from: &F, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let Some(socket) = from.socket(self.direction) else { return Poll::Ready(Ok(false)) };
        loop {
            ready!(socket.poll_read_ready(cx))?;
            if self.pipe.is_none() {
                self.pipe = self.share.get_or_insert_with(Share::new).pipe();
            }
            let filled = self.pipe.as_mut().map_or(Ok(0), |pipe| pipe.fill(socket));
            match filled {
                Ok(0) => break,
                Ok(filled) => {
                    from.passed(self.direction, filled as u64);
                    self.read += filled as u64;
                    self.buffer = Vec::new();
                    return Poll::Ready(Ok(true));
                }
                Err(error) if is_passing(&error) => {}
                // The system does not do it for these: a socket of some other kind, or a sandbox.
                Err(error) if is_unable(&error) => break,
                // An error is told once, and not again to whoever reads next.
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        (self.pipe, self.bulk) = (None, self.read + BULK);
        Poll::Ready(Ok(false))
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn is_unable(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests;
