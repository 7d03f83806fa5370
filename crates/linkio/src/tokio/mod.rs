//! The link between real streams: `SharedLink`, what a program holds of it.
//!
//! Decides nothing about pacing: that is `Lane`. Bytes are held by each `LinkedIo`, lanes and clock by `Shared`.

mod alarm;
mod half;
mod io;
mod lane;
mod meter;
mod passage;
mod shared;
mod signal;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ::tokio::time::sleep;

use self::lane::{GRAIN, WakingLane};
use self::shared::Shared;
use crate::capacity::Capacity;
use crate::class::ClassPolicy;
use crate::flow::Standing;
use crate::model::LinkModel;
use crate::rate::BitRate;
use crate::usage::{LinkState, Shares, Usage};

pub use self::io::LinkedIo;
pub use self::meter::Meter;
pub use self::passage::Passage;

/// One link that any number of streams share. Cloning makes another handle to the same link.
///
/// Its task starts when a byte first has to wait, in the runtime that polls the stream then, and ends after the last
/// handle and the last [`LinkedIo`] are gone.
///
/// ```
/// use linkio::{ClientKey, LinkSpec, SharedLink};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?.block_on(async {
/// let link = SharedLink::new("8k,rtt=100ms".parse::<LinkSpec>()?);
/// let (near, mut origin) = tokio::io::duplex(4096);
/// let mut stream = link.wrap(near, ClientKey(1));
/// origin.write_all(&[7; 1000]).await?;
///
/// let start = tokio::time::Instant::now();
/// let mut body = [0; 1000];
/// stream.read_exact(&mut body).await?;
/// assert_eq!(start.elapsed().as_millis(), 1050); // One second of rate and half a round trip.
/// assert_eq!(link.usage().down, 1000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SharedLink {
    shared: Arc<Shared>,
}

impl SharedLink {
    /// A link of `model` that nothing crosses yet. Its time begins now.
    pub fn new(model: impl Into<LinkModel>) -> Self {
        Self { shared: Arc::new(Shared::new(model.into())) }
    }

    /// Changes the link at once, for open connections too. Nothing is lost: what was granted stays granted, what
    /// waits waits at the new rate, and what is in flight arrives when it was to arrive. What changes with time begins
    /// now.
    pub fn set(&self, model: impl Into<LinkModel>) {
        let model = model.into();
        self.shared.change(|state, now, woken| {
            state.down.set(&model, now, woken);
            state.up.set(&model, now, woken);
            state.model = model;
        });
    }

    /// Changes only the rates, at once; `None` is unlimited. For a guard that finds out what the real link carries.
    pub fn set_rates(&self, down: Option<BitRate>, up: Option<BitRate>) {
        self.shared.change(|state, now, woken| {
            state.down.set_capacity(Capacity::from_spec(down), now, woken);
            state.up.set_capacity(Capacity::from_spec(up), now, woken);
        });
    }

    /// What each class may claim from now on, in the order of [`Class::ALL`](crate::Class::ALL).
    pub fn set_classes(&self, policies: [ClassPolicy; 3]) {
        let mut state = self.shared.lock();
        state.down.lane.set_classes(policies);
        state.up.lane.set_classes(policies);
    }

    /// The link as it is set now.
    pub fn model(&self) -> LinkModel {
        self.shared.lock().model.clone()
    }

    /// The rates down and up now; `None` is unlimited, and that of a trace is its mean.
    pub fn rates(&self) -> (Option<BitRate>, Option<BitRate>) {
        let (state, now) = (self.shared.lock(), self.shared.now());
        let rate = |lane: &WakingLane| lane.lane.link().capacity().rate(now);
        (rate(&state.down), rate(&state.up))
    }

    /// Whether the rates are to follow those of a real link, `auto=90%`.
    pub fn is_guarded(&self) -> bool {
        self.shared.lock().model.spec.auto.is_some()
    }

    /// The time there and back now, without jitter.
    pub fn rtt(&self) -> Duration {
        self.shared.lock().down.lane.rtt(self.shared.now())
    }

    /// Payload bytes that crossed since the link was made.
    pub fn usage(&self) -> Usage {
        self.shared.lock().usage()
    }

    /// The link at this moment.
    pub fn snapshot(&self) -> LinkState {
        let state = self.shared.lock();
        let now = self.shared.now();
        LinkState {
            spec: state.model.spec.clone(),
            usage: state.usage(),
            flows: state.down.lane.link().flows(),
            down: state.down.snapshot(now),
            up: state.up.snapshot(now),
        }
    }

    /// Who used it since it was made.
    pub fn shares(&self) -> Shares {
        let state = self.shared.lock();
        Shares { classes: state.used_by_class(), clients: state.used_by_client() }
    }

    /// Puts the link between the caller and `io`, which is the far side: what is read from `io` comes down the link,
    /// what is written to it goes up. `standing` says whose flow it is, or just the client's key.
    pub fn wrap<T>(&self, io: T, standing: impl Into<Standing>) -> LinkedIo<T> {
        LinkedIo::open(io, Arc::clone(&self.shared), standing.into())
    }

    /// A flow for what is no stream: the caller keeps its bytes until they have crossed.
    pub fn passage(&self, standing: impl Into<Standing>) -> Passage {
        Passage::open(Arc::clone(&self.shared), standing.into())
    }

    /// Dials over the link: takes as long as `dial` itself and, unless the link imitates no TCP, one round trip for the
    /// handshake, whether the answer is a connection or a refusal.
    ///
    /// # Errors
    /// Those of `dial`.
    pub async fn connect<T, E>(
        &self,
        dial: impl Future<Output = Result<T, E>>,
        standing: impl Into<Standing>,
    ) -> Result<LinkedIo<T>, E> {
        let answer = dial.await;
        // No handshake crosses a link that is closed. It may also be changed by hand, at any time.
        while let Some(closed) = self.shared.closed_for() {
            sleep(closed.min(LOOK)).await;
        }
        let begun = self.shared.now();
        loop {
            let passed = self.shared.now().since(begun) + GRAIN;
            let left = self.shared.handshake(begun).saturating_sub(passed);
            if left.is_zero() {
                break;
            }
            sleep(left.min(LOOK)).await;
        }
        answer.map(|io| self.wrap(io, standing))
    }
}

/// How often a handshake under way looks whether the link was changed.
const LOOK: Duration = Duration::from_millis(50);
