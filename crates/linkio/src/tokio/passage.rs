//! Crossing the link without a stream: for whatever comes in pieces, such as the frames of a body or the datagrams of
//! a name lookup.
//!
//! Owns counts and timers only; the caller keeps its bytes until they have crossed.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use super::alarm::Alarm;
use super::meter::{Counters, Meter};
use super::shared::Shared;
use super::signal::Signal;
use crate::flow::{FlowId, Standing};
use crate::spec::Direction;

/// A flow over a [`SharedLink`](super::SharedLink) whose bytes the caller holds itself:
/// [`SharedLink::passage`](super::SharedLink::passage) makes one. Dropping it withdraws what has not crossed.
///
/// This wraps a body, so that its frames come down the link:
///
/// ```
/// use std::pin::Pin;
/// use std::task::{Context, Poll, ready};
///
/// use http_body::{Body, Frame};
/// use linkio::{Direction, Passage};
///
/// struct LinkedBody<B: Body> {
///     body: B,
///     passage: Passage,
///     crossing: Option<Frame<B::Data>>,
/// }
///
/// impl<B: Body + Unpin> Body for LinkedBody<B>
/// where
///     B::Data: Unpin,
/// {
///     type Data = B::Data;
///     type Error = B::Error;
///
///     fn poll_frame(
///         self: Pin<&mut Self>,
///         cx: &mut Context<'_>,
///     ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
///         let this = self.get_mut();
///         if this.crossing.is_none() {
///             let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(cx)?) else {
///                 return Poll::Ready(None);
///             };
///             let bytes = frame.data_ref().map_or(0, |data| bytes::Buf::remaining(data) as u64);
///             this.passage.ask(Direction::Down, bytes);
///             this.crossing = Some(frame);
///         }
///         ready!(this.passage.poll_crossed(Direction::Down, cx));
///         Poll::Ready(this.crossing.take().map(Ok))
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?.block_on(async {
/// # use http_body_util::{BodyExt, Full};
/// # use linkio::{ClientKey, LinkSpec, SharedLink};
/// let link = SharedLink::new("8k".parse::<LinkSpec>()?);
/// let body = Full::new(bytes::Bytes::from(vec![0; 2000]));
/// let linked = LinkedBody { body, passage: link.passage(ClientKey(1)), crossing: None };
/// let start = tokio::time::Instant::now();
/// assert_eq!(linked.collect().await?.to_bytes().len(), 2000);
/// assert_eq!(start.elapsed().as_secs(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Passage {
    link: Arc<Shared>,
    counters: Arc<Counters>,
    down: Way,
    up: Way,
}

/// One direction of a passage.
#[derive(Debug)]
struct Way {
    direction: Direction,
    flow: FlowId,
    signal: Arc<Signal>,
    /// Bytes the link has not been asked for.
    unasked: u64,
    /// Bytes asked for that have not arrived.
    crossing: u64,
    alarm: Alarm,
}

impl Passage {
    pub(super) fn open(link: Arc<Shared>, standing: Standing) -> Self {
        let signals = [Arc::<Signal>::default(), Arc::<Signal>::default()];
        let counters = Arc::<Counters>::default();
        let wakers = signals.each_ref().map(|signal| Waker::from(Arc::clone(signal)));
        let (down, up) = link.open(standing, &counters, wakers);
        let [down_signal, up_signal] = signals;
        let way = |direction, flow, signal| Way {
            direction,
            flow,
            signal,
            unasked: 0,
            crossing: 0,
            alarm: Alarm::default(),
        };
        let (down, up) = (way(Direction::Down, down, down_signal), way(Direction::Up, up, up_signal));
        Self { link, counters, down, up }
    }

    /// A reader of what this passage used.
    pub fn meter(&self) -> Meter {
        Meter::new(Arc::clone(&self.counters), Arc::downgrade(&self.link), self.down.flow, self.up.flow)
    }

    /// `bytes` more are to cross in `direction`.
    pub fn ask(&mut self, direction: Direction, bytes: u64) {
        let way = self.way(direction);
        way.unasked = way.unasked.saturating_add(bytes);
    }

    /// Ready when all that was asked for in `direction` has arrived.
    pub fn poll_crossed(&mut self, direction: Direction, cx: &mut Context<'_>) -> Poll<()> {
        let (link, counters) = (Arc::clone(&self.link), Arc::clone(&self.counters));
        self.way(direction).poll(&link, &counters, cx)
    }

    /// Takes `bytes` across in `direction`, and whatever was asked for before.
    pub async fn cross(&mut self, direction: Direction, bytes: u64) {
        self.ask(direction, bytes);
        poll_fn(|cx| self.poll_crossed(direction, cx)).await;
    }

    fn way(&mut self, direction: Direction) -> &mut Way {
        match direction {
            Direction::Down => &mut self.down,
            Direction::Up => &mut self.up,
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.link.close(self.down.flow, self.up.flow, &self.counters);
    }
}

impl Way {
    fn poll(&mut self, link: &Arc<Shared>, counters: &Counters, cx: &mut Context<'_>) -> Poll<()> {
        self.signal.register(cx.waker());
        loop {
            let view = link.visit(self.direction, self.flow, 0);
            let bytes = self.unasked.min(view.room);
            self.unasked -= bytes;
            self.crossing += bytes;
            let after = link.visit(self.direction, self.flow, bytes);
            let arrived = view.arrived + after.arrived;
            self.crossing = self.crossing.saturating_sub(arrived);
            if self.direction == Direction::Up {
                counters.count_up(arrived);
            }
            if self.unasked == 0 && self.crossing == 0 {
                return Poll::Ready(());
            }
            if after.room > 0 && self.unasked > 0 {
                continue;
            }
            // From here on a grant or the timer wakes the caller.
            let Some(again) = after.again else { return Poll::Pending };
            ready!(self.alarm.poll_until(link, again, cx));
        }
    }
}
