//! A tunnel (RFC 9110 §9.3.6) or an upgraded connection (§7.8): two copies and an end. Half-close is passed on, and a
//! tunnel on which nothing moves for too long is closed. What is inside is never looked at.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use linkio::Direction;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::carry;
use crate::bare::Bare;
use crate::exchange::{Cut, Exchange};

/// While the proxy is leaving, how long a tunnel may rest before it is taken for done.
const DRAIN_IDLE: Duration = Duration::from_secs(1);

/// Carries bytes both ways between `client` and `origin` until both sides have ended, one has failed, nothing has
/// moved for `idle`, an operator breaks it off, or, once `leaving` resolves, nothing has moved for a second. Counts what the client sends
/// and gets in `exchange`. `client` stays open: what is known of the exchange comes before its connection's end.
pub(crate) async fn relay<C, O>(
    client: &mut C,
    mut origin: O,
    exchange: &Exchange,
    idle: Duration,
    leaving: impl Future<Output = ()>,
) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Bare + Unpin,
    O: AsyncRead + AsyncWrite + Bare + Unpin,
{
    let activity = Arc::new(Activity { begun: Instant::now(), last: AtomicU64::new(0) });
    let mut client = Watched { io: client, exchange, activity: activity.clone() };
    tokio::select! {
        ended = carry::both_ways(&mut client, &mut origin) => ended,
        () = activity.rested(idle) => Err(io::ErrorKind::TimedOut.into()),
        () = exchange.stopped() => {
            exchange.note(|details| details.cut_short = Some(Cut::Operator));
            Ok(())
        }
        () = async { leaving.await; activity.rested(DRAIN_IDLE).await } => Ok(()),
    }
}

/// When something last moved, in milliseconds since the tunnel began.
struct Activity {
    begun: Instant,
    last: AtomicU64,
}

impl Activity {
    fn touch(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// Ends when nothing has moved for the whole of `idle`.
    async fn rested(&self, idle: Duration) {
        loop {
            let due = self.begun + Duration::from_millis(self.last.load(Ordering::Relaxed)) + idle;
            if due <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(due).await;
        }
    }
}

/// The client's side, watched: every byte of either direction passes it.
struct Watched<'a, C> {
    io: &'a mut C,
    exchange: &'a Exchange,
    activity: Arc<Activity>,
}

impl<C: AsyncRead + Unpin> AsyncRead for Watched<'_, C> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = std::task::ready!(Pin::new(&mut *this.io).poll_read(cx, buf));
        this.exchange.received((buf.filled().len() - before) as u64);
        this.activity.touch();
        Poll::Ready(read)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Watched<'_, C> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = std::task::ready!(Pin::new(&mut *this.io).poll_write(cx, buf))?;
        this.exchange.sent(written as u64);
        this.activity.touch();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().io).poll_shutdown(cx)
    }
}

impl<C: Bare> Bare for Watched<'_, C> {
    fn socket(&self, direction: Direction) -> Option<&TcpStream> {
        self.io.socket(direction)
    }

    fn passed(&self, direction: Direction, bytes: u64) {
        self.io.passed(direction, bytes);
        match direction {
            Direction::Down => self.exchange.sent(bytes),
            Direction::Up => self.exchange.received(bytes),
        }
        self.activity.touch();
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::SystemTime;

    use http::{Method, Uri, Version};

    use super::*;
    use crate::exchange::Observers;

    /// An end that is not asked for anything but its counts.
    struct Counted;

    impl Bare for Counted {}

    #[tokio::test(start_paused = true)]
    async fn what_goes_by_counts_and_keeps_the_tunnel() {
        let (client, at) = (IpAddr::V4(Ipv4Addr::LOCALHOST), SystemTime::UNIX_EPOCH);
        let (target, observers) = (Uri::from_static("a.example:443"), Arc::new(Observers::new(Vec::new())));
        let exchange = Exchange::begin(Method::CONNECT, target, Version::HTTP_11, client, at, &observers);
        let activity = Arc::new(Activity { begun: Instant::now(), last: AtomicU64::new(0) });
        let watched = Watched { io: &mut Counted, exchange: &exchange, activity: activity.clone() };
        for (direction, seconds) in [(Direction::Down, 8), (Direction::Up, 9)] {
            tokio::time::advance(Duration::from_secs(seconds)).await;
            watched.passed(direction, seconds);
        }
        assert_eq!((exchange.record().client_bytes(), exchange.record().received()), (8, 9));
        activity.rested(Duration::from_secs(10)).await;
        assert_eq!(activity.begun.elapsed(), Duration::from_secs(8 + 9 + 10));
    }
}
