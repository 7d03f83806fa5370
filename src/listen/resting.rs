//! A connection of HTTP/1 that waits for a request. After a moment nothing is kept of it but its socket: what serves it,
//! buffers first of all, is made anew when something comes. What is served is `connection`'s affair.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, sleep_until};

use super::activity::Activity;
use crate::timer::Timer;

/// How long what serves a connection is kept ready for the next request. Those of one page come faster.
const READY: Duration = Duration::from_millis(100);

/// Bytes that are read at most before the connection is served again: most heads are shorter.
const AHEAD: usize = 4096;

/// What a connection is that nothing serves.
pub(super) struct Resting<T> {
    pub(super) stream: T,
    /// What was read of the next request.
    pub(super) ahead: Bytes,
    /// Since when a request is waited for.
    pub(super) since: Instant,
}

impl<T: AsyncRead + Unpin> Resting<T> {
    /// A connection that begins now.
    pub(super) fn new(stream: T) -> Self {
        Self::since(Instant::now(), stream, &[])
    }

    /// One whose request is waited for `since` then, and of which `ahead` was read. It is copied: the buffer it was read into
    /// is large.
    pub(super) fn since(since: Instant, stream: T, ahead: &[u8]) -> Self {
        Self { stream, ahead: Bytes::copy_from_slice(ahead), since }
    }

    /// Resolves when it is to be served: something has come, its end included, or it is time to `part`.
    ///
    /// # Errors
    /// When it is broken, or when all of `limit` is over.
    pub(super) async fn wakes(&mut self, limit: Duration, part: impl Future<Output = ()>) -> io::Result<()> {
        let until = self.since + limit;
        if self.ahead.is_empty() {
            tokio::select! {
                biased;
                ahead = poll_fn(|cx| poll_ahead(&mut self.stream, cx)) => self.ahead = ahead?,
                () = sleep_until(until) => return Err(io::ErrorKind::TimedOut.into()),
                () = part => {}
            }
        } else if Instant::now() >= until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}

/// What there is to read; nothing at the end. No room is kept for it while there is nothing.
fn poll_ahead<T: AsyncRead + Unpin>(stream: &mut T, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
    let mut space = [MaybeUninit::uninit(); AHEAD];
    let mut buf = ReadBuf::uninit(&mut space);
    ready!(Pin::new(stream).poll_read(cx, &mut buf))?;
    Poll::Ready(Ok(Bytes::copy_from_slice(buf.filled())))
}

/// Watches how long a connection that is served waits for a request.
pub(super) struct Vigil {
    since: Instant,
    /// Exchanges that had begun then.
    begun: usize,
    limit: Duration,
    /// Never runs longer than the wait may last, and is set anew only when it has run out: requests that come one after
    /// another leave it alone.
    timer: Timer,
    may_rest: bool,
}

impl Vigil {
    /// A first request is waited for `since` then, each for no longer than `limit`.
    pub(super) fn new(since: Instant, limit: Duration) -> Self {
        Self { since, begun: 0, limit, timer: Timer::default(), may_rest: true }
    }

    /// It is not to rest any more.
    pub(super) fn finish(&mut self) {
        self.may_rest = false;
    }

    /// Since when a request is waited for.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// Carries `connection` to its end, or until it has waited so long that it may rest: nothing is read of it then that it
    /// does not hold. Until its first request, and when it is to finish, it may not, but for being closed after the limit.
    pub(super) async fn over<C>(&mut self, connection: &mut C, activity: &Activity) -> Option<C::Output>
    where
        C: Future + Unpin,
    {
        poll_fn(|cx| match Pin::new(&mut *connection).poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending => self.poll_waiting(activity, cx).map(|()| None),
        })
        .await
    }

    fn poll_waiting(&mut self, activity: &Activity, cx: &mut Context<'_>) -> Poll<()> {
        let Some(begun) = activity.waits() else { return Poll::Pending };
        let now = Instant::now();
        if begun != self.begun {
            if self.begun == 0 {
                // The first was waited for longer.
                self.timer.stop();
            }
            (self.since, self.begun) = (now, begun);
        }
        let may_rest = self.may_rest && begun > 0;
        let until = self.since + if may_rest { READY.min(self.limit) } else { self.limit };
        let mut left = until.saturating_duration_since(now);
        while !left.is_zero() {
            ready!(self.timer.poll(left, cx));
            self.timer.stop();
            left = until.saturating_duration_since(Instant::now());
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use http::{Request, Response};
    use http_body_util::Full;
    use hyper::body::Incoming;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;
    use crate::body::request::Progress;
    use crate::listen::client_io::ClientIo;
    use crate::listen::timed::Timed;
    use crate::respond::interim::Interim;

    const LIMIT: Duration = Duration::from_secs(60);
    const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    const CONTENT: &[u8] = b"answered";

    /// Serves as `connection` does, until it ends, which is none, or rests. Content of requests is left unread.
    async fn serve(resting: Resting<DuplexStream>) -> Option<Resting<DuplexStream>> {
        let activity = Arc::new(Activity::default());
        let io = ClientIo::new(resting.stream, activity.clone(), LIMIT, Duration::ZERO).after(resting.ahead);
        let unread = Mutex::new(None);
        let service = service_fn(|request: Request<Incoming>| {
            let in_flight = Arc::new(activity.begin(Progress::of(&request), Interim::default()));
            *unread.lock().expect("no panic") = Some(request);
            let body = Timed::new(Full::new(Bytes::from_static(CONTENT)), in_flight);
            async { Ok::<_, Infallible>(Response::new(body)) }
        });
        let mut builder = http1::Builder::new();
        builder.header_read_timeout(None);
        let mut connection = builder.serve_connection(TokioIo::new(io), service).with_upgrades();
        let mut vigil = Vigil::new(resting.since, LIMIT);
        if vigil.over(&mut connection, &activity).await.is_some() {
            return None;
        }
        let parts = connection.into_parts()?;
        Some(Resting::since(vigil.since(), parts.io.into_inner().into_inner(), &parts.read_buf))
    }

    /// The next answer.
    async fn answer(far: &mut DuplexStream) -> String {
        let mut received = Vec::new();
        while !received.ends_with(CONTENT) {
            received.push(far.read_u8().await.expect("an answer"));
        }
        String::from_utf8(received).expect("text")
    }

    fn begin() -> (Resting<DuplexStream>, DuplexStream, Instant) {
        let (near, far) = duplex(4096);
        (Resting::new(near), far, Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn it_rests_when_no_request_has_come_for_a_moment() {
        let (mut resting, mut far, begun) = begin();
        let client = async {
            for _ in 0..10 {
                far.write_all(GET).await.expect("room");
                answer(&mut far).await;
                tokio::time::sleep(READY / 2).await;
            }
        };
        resting.wakes(LIMIT, async {}).await.expect("in time");
        let (rested, ()) = tokio::join!(serve(resting), client);
        assert_eq!(begun.elapsed(), READY * 9 / 2 + READY);
        let mut resting = rested.expect("it rests");
        assert!(resting.ahead.is_empty());
        far.write_all(GET).await.expect("room");
        resting.wakes(LIMIT, std::future::pending()).await.expect("something came");
        assert_eq!(resting.ahead, GET);
        let (rested, answered) = tokio::join!(serve(resting), answer(&mut far));
        assert!(answered.starts_with("HTTP/1.1 200 ") && rested.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_read_of_a_request_is_part_of_it() {
        let (resting, mut far, _) = begin();
        let (part, rest) = GET.split_at(7);
        far.write_all(&[GET, part].concat()).await.expect("room");
        let mut rested = serve(resting).await.expect("it rests");
        assert_eq!(rested.ahead, part);
        answer(&mut far).await;
        rested.wakes(LIMIT, std::future::pending()).await.expect("it is there");
        far.write_all(rest).await.expect("room");
        let (rested, answered) = tokio::join!(serve(rested), answer(&mut far));
        assert!(answered.starts_with("HTTP/1.1 200 ") && rested.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_for_a_head_goes_on_while_it_rests() {
        for asks in [false, true] {
            let (mut resting, mut far, begun) = begin();
            if asks {
                far.write_all(GET).await.expect("room");
                resting = serve(resting).await.expect("it rests");
                assert_eq!(begun.elapsed(), READY);
            }
            let piece = async {
                tokio::time::sleep(LIMIT / 2).await;
                far.write_all(b"G").await.expect("room");
            };
            let (woken, ()) = tokio::join!(resting.wakes(LIMIT, std::future::pending()), piece);
            woken.expect("something came");
            let mut rested = serve(resting).await.expect("it waits no longer");
            assert_eq!(begun.elapsed(), LIMIT);
            let woken = rested.wakes(LIMIT, async {}).await;
            assert_eq!(woken.expect_err("the time is over").kind(), io::ErrorKind::TimedOut);
        }
        let (mut resting, _far, begun) = begin();
        let woken = resting.wakes(LIMIT, std::future::pending()).await;
        assert_eq!(woken.expect_err("nothing came").kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_being_closed_does_not_rest() {
        for end in [&b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"[..], b"\x01\r\n\r\n"] {
            let (resting, mut far, _) = begin();
            far.write_all(GET).await.expect("room");
            far.write_all(end).await.expect("room");
            assert!(serve(resting).await.is_none(), "{end:?}");
        }
    }

    /// What is still to come would be taken for a request.
    #[tokio::test(start_paused = true)]
    async fn one_whose_last_content_is_missing_does_not_rest() {
        let (resting, mut far, _) = begin();
        far.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhel").await.expect("room");
        assert!(tokio::time::timeout(10 * LIMIT, serve(resting)).await.is_err());
        answer(&mut far).await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_to_finish_does_not_rest_and_has_its_time() {
        let activity = Arc::new(Activity::default());
        drop(activity.begin(Progress::default(), Interim::default()));
        activity.flushed();
        let mut vigil = Vigil::new(Instant::now(), LIMIT);
        vigil.finish();
        let begun = Instant::now();
        assert!(vigil.over(&mut std::future::pending::<()>(), &activity).await.is_none());
        assert_eq!(begun.elapsed(), LIMIT);
    }
}
