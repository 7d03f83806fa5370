//! What the socket of a connection and the exchanges on it know of each other. hyper stands between the two and tells
//! neither; each sets flags here that the other reads.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::body::request::Progress;
use crate::count::Level;
use crate::respond::interim::Interim;

/// Requests of one connection that are given up before they are answered, in `SPAN`: what is more is no person who stops
/// pages, but the flood of CVE-2023-44487 or CVE-2025-8671.
const MOST_GIVEN_UP: usize = 1000;
const SPAN: Duration = Duration::from_secs(60);

/// Bytes written in an eighth of the time in which nothing may go on that show a client who takes something: answers to
/// pings alone do not.
const LEAST_WRITTEN: u64 = 256;

/// What the two sides of a connection, its socket and its exchanges, know of each other.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// Whether requests share the connection (HTTP/2).
    is_shared: bool,
    in_flight: AtomicUsize,
    /// How many connections of its kind are active, where that is counted.
    among: Option<Level>,
    /// Of them those whose next step is the client's: content of theirs waits to be taken.
    offering: AtomicUsize,
    /// Exchanges so far.
    begun: AtomicUsize,
    /// Bytes written to the client.
    written: AtomicU64,
    /// Bytes read from it since it was last at rest: no less than what has come of the present request's content.
    read: AtomicU64,
    /// Since when requests that were given up are counted, and how many there were.
    given_up: Mutex<(Option<Instant>, usize)>,
    /// Told when there were too many.
    overrun: Notify,
    /// Whether what hyper writes belongs to an exchange: set when one begins, until all of it has been flushed.
    answering: AtomicBool,
    /// Whether the connection is being closed.
    closing: AtomicBool,
    /// Whether the request just read was an OPTIONS for a target without a path.
    bare_options: AtomicBool,
    present: Mutex<Present>,
    /// Whether the connection was handed over to a tunnel or another protocol: from then on its bytes are nobody's
    /// business.
    handed_over: AtomicBool,
}

/// The request being answered.
#[derive(Debug, Default)]
struct Present {
    /// What the client is told of it before its final response.
    interim: Interim,
    /// How far its content has come.
    upload: Option<Progress>,
}

/// An exchange that is going on; over when dropped.
pub(crate) struct InFlight(Arc<Activity>);

/// A request that nobody has answered; given up if it is dropped.
pub(crate) struct Unanswered(Option<Arc<Activity>>);

impl Activity {
    /// That of a connection which requests share.
    pub(super) fn shared() -> Self {
        Self { is_shared: true, ..Self::default() }
    }

    /// The same, counted `among` the others while an exchange is going on.
    pub(super) fn counted(self, among: &Level) -> Self {
        Self { among: Some(among.clone()), ..self }
    }

    /// Whether requests share the connection.
    pub(super) fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Begins an exchange whose request's content comes as `upload` tells, and whose interim responses come by way of
    /// `interim`.
    pub(crate) fn begin(self: &Arc<Self>, upload: Progress, interim: Interim) -> InFlight {
        // What it was before goes when the lock is given back.
        let before = std::mem::replace(&mut *self.present(), Present { interim, upload: Some(upload) });
        drop(before);
        if self.in_flight.fetch_add(1, Ordering::AcqRel) == 0
            && let Some(among) = &self.among
        {
            among.rise();
        }
        self.begun.fetch_add(1, Ordering::AcqRel);
        self.answering.store(true, Ordering::Release);
        InFlight(self.clone())
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The final response to the present request is known: no interim response may follow it.
    pub(crate) fn answered(&self) {
        self.present().interim.end();
    }

    /// The interim responses of the present request.
    pub(super) fn interim(&self) -> Interim {
        self.present().interim.clone()
    }

    /// Whether the request that was just read is an OPTIONS whose target has no path, not even a slash, which hyper's
    /// URIs do not tell apart and RFC 9112 §3.2.4 does.
    pub(crate) fn take_bare_options(&self) -> bool {
        self.bare_options.swap(false, Ordering::AcqRel)
    }

    /// Bytes that crossed the link towards the origin on the connection that carries the present exchange.
    pub(super) fn crossed(&self) -> u64 {
        self.present().upload.as_ref().map_or(0, Progress::crossed)
    }

    /// A request whose answer is being looked for.
    pub(super) fn unanswered(self: &Arc<Self>) -> Unanswered {
        Unanswered(Some(self.clone()))
    }

    fn note_given_up(&self) {
        let mut given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = &mut *given_up;
        if since.is_none_or(|since| since.elapsed() >= SPAN) {
            (*since, *count) = (Some(Instant::now()), 0);
        }
        *count += 1;
        if *count > MOST_GIVEN_UP {
            self.overrun.notify_one();
        }
    }

    /// Resolves when more requests were given up than anybody does who wants answers.
    pub(super) async fn overrun(&self) {
        self.overrun.notified().await;
    }

    /// Resolves once nothing has gone on for `limit`, give or take an eighth of it: no exchange began, all there are wait
    /// for the client, and it takes next to nothing.
    pub(super) async fn quiet(&self, limit: Duration) {
        let seen = || (self.begun.load(Ordering::Acquire), self.written.load(Ordering::Relaxed));
        let (mut since, mut last) = (Instant::now(), seen());
        while since.elapsed() < limit {
            tokio::time::sleep(limit / 8).await;
            let now = seen();
            if self.is_working() || now.0 != last.0 || now.1.saturating_sub(last.1) >= LEAST_WRITTEN {
                since = Instant::now();
            }
            last = now;
        }
    }

    /// Whether an exchange waits for anybody but the client.
    fn is_working(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) > self.offering.load(Ordering::Acquire)
    }

    /// Whether there are exchanges, and all of them wait for the client.
    pub(super) fn is_untaken(&self) -> bool {
        self.is_busy() && !self.is_working()
    }

    /// So many bytes were written to the client.
    pub(super) fn wrote(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Hands the connection over: no manners of HTTP apply to it any more.
    pub(crate) fn hand_over(&self) {
        self.handed_over.store(true, Ordering::Release);
    }

    pub(super) fn is_handed_over(&self) -> bool {
        self.handed_over.load(Ordering::Acquire)
    }

    /// Looks at the first bytes of what may be a request.
    pub(super) fn read(&self, bytes: &[u8]) {
        if self.is_busy() {
            self.read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        } else {
            self.read.store(bytes.len() as u64, Ordering::Relaxed);
            self.bare_options.store(is_bare_options(bytes), Ordering::Release);
        }
    }

    /// Whether the present request's content cannot come to its end with no more than `unread` bytes. Never known where
    /// requests share the connection, or where the content does not say how long it is.
    pub(super) fn lacks_content(&self, unread: u64) -> bool {
        let present = self.present();
        let unfinished =
            present.upload.as_ref().filter(|upload| self.is_busy() && !self.is_shared && !upload.is_whole());
        let announced = unfinished.and_then(Progress::announced);
        announced
            .is_some_and(|announced| announced > unread.saturating_add(self.read.load(Ordering::Relaxed)))
    }

    /// Whether what hyper writes belongs to an exchange: one is going on, or not all of it has been flushed.
    pub(super) fn is_answering(&self) -> bool {
        self.answering.load(Ordering::Acquire)
    }

    /// Everything written so far has gone out.
    pub(super) fn flushed(&self) {
        if !self.is_busy() {
            self.answering.store(false, Ordering::Release);
        }
    }

    /// The connection is being closed.
    pub(super) fn closes(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// How many exchanges there were, if there is nothing to wait for but the next request: the content of the last one
    /// has come to its end, too.
    pub(super) fn waits(&self) -> Option<usize> {
        if self.is_answering() || self.is_handed_over() || self.closing.load(Ordering::Acquire) {
            return None;
        }
        self.present()
            .upload
            .as_ref()
            .is_none_or(Progress::is_whole)
            .then(|| self.begun.load(Ordering::Acquire))
    }

    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) > 0
    }
}

fn is_bare_options(bytes: &[u8]) -> bool {
    let target = bytes.strip_prefix(b"OPTIONS http://").or_else(|| bytes.strip_prefix(b"OPTIONS https://"));
    let Some(target) = target else { return false };
    let authority =
        target.iter().take_while(|byte| !matches!(byte, b' ' | b'/' | b'?' | b'#' | b'\r' | b'\n')).count();
    target.get(authority) == Some(&b' ')
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(among) = &self.0.among
        {
            among.fall();
        }
    }
}

impl InFlight {
    /// Whether its next step is the client's from now on, which it was not before, or the other way round.
    pub(super) fn offers(&self, offers: bool) {
        let offering = &self.0.offering;
        let _ = match offers {
            true => offering.fetch_add(1, Ordering::AcqRel),
            false => offering.fetch_sub(1, Ordering::AcqRel),
        };
    }
}

impl Unanswered {
    /// It has an answer.
    pub(super) fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(activity) = self.0.take() {
            activity.note_given_up();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body::{Body, Frame};

    use super::*;
    use crate::listen::timed::Timed;

    /// Content of which a piece is there, and then no more.
    struct Piece(bool);

    impl Body for Piece {
        type Data = bytes::Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
            let there = std::mem::take(&mut self.get_mut().0);
            if there { Poll::Ready(Some(Ok(Frame::data("x".into())))) } else { Poll::Pending }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_quiet_where_all_exchanges_wait_for_the_client() {
        const LIMIT: Duration = Duration::from_secs(60);
        let activity = Arc::new(Activity::shared());
        let is_quiet = async || tokio::time::timeout(2 * LIMIT, activity.quiet(LIMIT)).await.is_ok();
        assert!(is_quiet().await, "nothing is going on");
        let in_flight = Arc::new(activity.begin(Progress::default(), Interim::default()));
        assert!(!is_quiet().await, "the origin has its turn");
        let mut timed = Timed::new(Piece(true), in_flight);
        assert!(is_quiet().await, "there is no room for the first piece");
        let mut poll =
            || Pin::new(&mut timed).poll_frame(&mut Context::from_waker(std::task::Waker::noop())).is_ready();
        assert!(poll());
        assert!(is_quiet().await, "the piece is not taken");
        assert!(!poll());
        assert!(!is_quiet().await, "the origin has its turn again");
        drop(timed);
        let writing = async {
            loop {
                tokio::time::sleep(LIMIT / 16).await;
                activity.wrote(500);
            }
        };
        tokio::select! {
            () = writing => {}
            quiet = is_quiet() => assert!(!quiet, "it is taken slowly"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_requests_a_minute_may_be_given_up() {
        let activity = Arc::new(Activity::shared());
        let overrun = async || tokio::time::timeout(Duration::from_secs(1), activity.overrun()).await.is_ok();
        for _ in 0..MOST_GIVEN_UP {
            drop(activity.unanswered());
            activity.unanswered().answered();
        }
        tokio::time::advance(SPAN).await;
        for _ in 0..MOST_GIVEN_UP {
            drop(activity.unanswered());
        }
        assert!(!overrun().await);
        drop(activity.unanswered());
        assert!(overrun().await);
    }

    #[test]
    fn an_options_without_a_path_is_told_from_one_with_a_slash() {
        assert!(is_bare_options(b"OPTIONS http://example.org HTTP/1.1\r\n"));
        assert!(is_bare_options(b"OPTIONS http://[::1]:80 HTTP/1.1\r\n"));
        assert!(is_bare_options(b"OPTIONS https://example.org HTTP/1.1\r\n"));
        assert!(!is_bare_options(b"OPTIONS http://example.org/ HTTP/1.1\r\n"));
        assert!(!is_bare_options(b"OPTIONS http://example.org?q HTTP/1.1\r\n"));
        assert!(!is_bare_options(b"GET http://example.org HTTP/1.1\r\n"));
    }
}
