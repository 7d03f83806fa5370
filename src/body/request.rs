//! A client's content on its way to the origin. It waits at a gate while the client itself waits for the origin's
//! 100 (Continue) (RFC 9110 §10.1.1), counts against the size limit, and remembers whether it was sent whole.

use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use linkio::Meter;
use tokio::sync::Notify;

use super::BodyError;
use crate::capture::heard::Heard;
use crate::timer::Timer;

/// The content of a request, as the connection to the origin reads it; most requests have none.
#[derive(Default)]
pub(crate) struct RequestBody(Option<Box<Content>>);

struct Content {
    incoming: Incoming,
    left: u64,
    idle: Duration,
    stall: Timer,
    gate: Option<Pin<Box<dyn Future<Output = bool> + Send + Sync>>>,
    progress: Progress,
    /// Told of the bytes of each piece.
    on_data: Option<Box<dyn Fn(u64) + Send + Sync>>,
    /// Who listens, if somebody does.
    heard: Option<Arc<Heard>>,
}

/// How far the content of a request has come, if it has any; readable while another task sends it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Option<Arc<Reached>>);

#[derive(Debug)]
struct Reached {
    state: AtomicU8,
    /// Of the connection that carries the request, where it carries no other.
    meter: OnceLock<Meter>,
    /// Bytes of it that the connection has taken.
    taken: AtomicU64,
    /// How long it is by its Content-Length.
    announced: Option<u64>,
}

const WAITING: u8 = 0;
const WHOLE: u8 = 1;
const TOO_LARGE: u8 = 2;
const BROKEN: u8 = 3;
const STALLED: u8 = 4;
const LEFT: u8 = 5;

impl Progress {
    /// The progress of `request`'s content.
    pub(crate) fn of(request: &Request<Incoming>) -> Self {
        if request.body().is_end_stream() {
            return Self::default();
        }
        let (state, meter, taken) = (AtomicU8::new(WAITING), OnceLock::new(), AtomicU64::new(0));
        let announced = request.body().size_hint().exact();
        Self(Some(Arc::new(Reached { state, meter, taken, announced })))
    }

    /// The request is carried by the connection of `meter`, which carries no other.
    pub(crate) fn carried(&self, meter: Meter) {
        if let Some(reached) = &self.0 {
            let _ = reached.meter.set(meter);
        }
    }

    /// Bytes that crossed the link towards the origin on the connection that carries it; where it carries others, too,
    /// what it took of this one, which it does as fast as the link does but for what it holds ready.
    pub(crate) fn crossed(&self) -> u64 {
        let Some(reached) = &self.0 else { return 0 };
        reached.meter.get().map_or_else(|| reached.taken.load(Ordering::Relaxed), Meter::up)
    }

    /// Whether the origin's connection took all of it.
    pub(crate) fn is_whole(&self) -> bool {
        self.state() == WHOLE
    }

    /// Whether the client sent more than is allowed.
    pub(crate) fn is_too_large(&self) -> bool {
        self.state() == TOO_LARGE
    }

    /// Bytes of it that came from the client and were asked for.
    pub(crate) fn taken(&self) -> u64 {
        self.0.as_ref().map_or(0, |reached| reached.taken.load(Ordering::Relaxed))
    }

    /// How many bytes it has in all, where the client has said so.
    pub(crate) fn announced(&self) -> Option<u64> {
        self.0.as_ref()?.announced
    }

    /// Whether the client left before the end.
    pub(crate) fn is_left(&self) -> bool {
        self.state() == LEFT
    }

    /// Whether what the client sent is not framed as it said.
    pub(crate) fn is_broken(&self) -> bool {
        self.state() == BROKEN
    }

    /// Whether the client stopped sending.
    pub(crate) fn is_stalled(&self) -> bool {
        self.state() == STALLED
    }

    fn state(&self) -> u8 {
        self.0.as_ref().map_or(WHOLE, |reached| reached.state.load(Ordering::Acquire))
    }

    fn set(&self, state: u8) {
        if let Some(reached) = &self.0 {
            reached.state.store(state, Ordering::Release);
        }
    }

    fn take(&self, bytes: u64) {
        if let Some(reached) = &self.0 {
            reached.taken.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

/// The key to a request's gate: the content flows once it is opened, and breaks off if it is dropped unopened.
pub(crate) struct Gate {
    state: Arc<GateState>,
}

#[derive(Default)]
struct GateState {
    decided: AtomicU8,
    changed: Notify,
}

impl RequestBody {
    /// The client's content, of which `progress` tells, of at most `left` bytes; it fails when the client sends nothing for
    /// `idle`.
    pub(crate) fn new(incoming: Incoming, progress: Progress, left: u64, idle: Duration) -> Self {
        if incoming.is_end_stream() {
            progress.set(WHOLE);
            return Self::default();
        }
        let stall = Timer::default();
        let content =
            Content { incoming, left, idle, stall, gate: None, progress, on_data: None, heard: None };
        Self(Some(Box::new(content)))
    }

    /// Has `on_data` told of the bytes of each piece, and nobody else.
    pub(crate) fn count_to(&mut self, on_data: Option<Box<dyn Fn(u64) + Send + Sync>>) {
        if let Some(content) = &mut self.0 {
            content.on_data = on_data;
        }
    }

    /// Has `heard` told of what it is.
    pub(crate) fn tell(&mut self, heard: Option<Arc<Heard>>) {
        if let Some(content) = &mut self.0 {
            content.heard = heard;
        }
    }

    /// How far it has come, for whoever decides about retrying and reusing the connection.
    pub(crate) fn progress(&self) -> Progress {
        self.0.as_ref().map_or_else(Progress::default, |content| content.progress.clone())
    }

    /// Makes the content wait for the returned gate.
    pub(crate) fn shut(&mut self) -> Gate {
        let state = Arc::new(GateState::default());
        if let Some(content) = &mut self.0 {
            let waited = state.clone();
            content.gate = Some(Box::pin(async move { waited.opened().await }));
        }
        Gate { state }
    }
}

impl Content {
    fn poll_gate(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let Some(gate) = &mut self.gate else { return Poll::Ready(Ok(())) };
        match gate.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(true) => {
                self.gate = None;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(false) => Poll::Ready(Err(BodyError::NotWanted)),
        }
    }

    fn count(&mut self, frame: &Frame<Bytes>) -> Result<(), BodyError> {
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        let Some(left) = self.left.checked_sub(length) else {
            self.progress.set(TOO_LARGE);
            return Err(BodyError::TooLarge);
        };
        self.left = left;
        self.progress.take(length);
        if let Some(on_data) = &self.on_data {
            on_data(length);
        }
        if let (Some(heard), Some(data)) = (&self.heard, frame.data_ref()) {
            heard.sends(data);
        }
        Ok(())
    }
}

/// Whether content broke off because its sender did, and not because it is no content.
fn is_leaving(error: &hyper::Error) -> bool {
    use std::io::ErrorKind;
    const ENDS: [ErrorKind; 5] = [
        ErrorKind::UnexpectedEof,
        ErrorKind::ConnectionReset,
        ErrorKind::ConnectionAborted,
        ErrorKind::BrokenPipe,
        ErrorKind::TimedOut,
    ];
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    error.is_incomplete_message() || error.is_closed() || source.is_some_and(|it| ENDS.contains(&it.kind()))
}

impl Content {
    fn passable(&self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyError> {
        super::passable(frame).inspect_err(|_| self.progress.set(BROKEN))
    }
}

impl GateState {
    async fn opened(&self) -> bool {
        loop {
            let changed = self.changed.notified();
            match self.decided.load(Ordering::Acquire) {
                0 => changed.await,
                decided => return decided == 1,
            }
        }
    }

    fn decide(&self, decided: u8) {
        if self.decided.compare_exchange(0, decided, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.changed.notify_waiters();
        }
    }
}

impl Gate {
    /// Lets the content flow.
    pub(crate) fn open(&self) {
        self.state.decide(1);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.state.decide(2);
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(this) = &mut self.get_mut().0 else { return Poll::Ready(None) };
        if let Err(error) = std::task::ready!(this.poll_gate(cx)) {
            return Poll::Ready(Some(Err(error)));
        }
        let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) else {
            std::task::ready!(this.stall.poll(this.idle, cx));
            this.progress.set(STALLED);
            return Poll::Ready(Some(Err(BodyError::Stalled(this.idle))));
        };
        this.stall.stop();
        // Nothing comes behind a trailer section, and some do not ask for the end behind it (RFC 9110 §6.5).
        let is_last = matches!(&frame, Some(Ok(frame)) if frame.is_trailers());
        let ended = frame.is_none() || is_last || this.incoming.is_end_stream();
        let counted = match frame {
            Some(Ok(frame)) => Some(this.count(&frame).and_then(|()| this.passable(frame))),
            Some(Err(error)) => {
                this.progress.set(if is_leaving(&error) { LEFT } else { BROKEN });
                Some(Err(BodyError::from(error)))
            }
            None => None,
        };
        if ended && !matches!(counted, Some(Err(_))) {
            this.progress.set(WHOLE);
        }
        Poll::Ready(counted)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|content| content.incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), |content| content.incoming.size_hint())
    }
}
