//! What passing traffic tells of the real uplink: handshakes are timed, bytes are counted, and from both come an
//! estimate for whoever asks and, for a link of `auto=90%`, the rates to keep to. What follows from the figures is
//! `estimate`'s and linkio's `Guard`'s; here they are gathered, ten times a second while something crosses.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use linkio::{Guard, LinkState, Moment, SharedLink};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior};

use super::estimate::{Estimate, Summary};

/// How often bytes are counted while connections are open, and while none are.
const TICK: Duration = Duration::from_millis(100);
const REST: Duration = Duration::from_secs(1);

/// How long a handshake that is made to be timed may take.
const PROBE: Duration = Duration::from_secs(10);

/// The figures of one uplink.
#[derive(Clone)]
pub(crate) struct Gauge {
    begun: Instant,
    figures: Arc<Mutex<Figures>>,
}

#[derive(Default)]
struct Figures {
    estimate: Estimate,
    guarding: Option<Guarding>,
    /// The address dialled last.
    last: Option<SocketAddr>,
}

/// A guard, and the share it was made for.
struct Guarding {
    share: u8,
    guard: Guard,
    /// Bytes down and up at the last tick.
    before: (u64, u64),
}

impl Gauge {
    /// The gauge of what `link` carries. Its task ends with the last clone.
    pub(crate) fn watch(link: SharedLink) -> Self {
        let gauge = Self { begun: Instant::now(), figures: Arc::default() };
        let (begun, figures) = (gauge.begun, Arc::downgrade(&gauge.figures));
        tokio::spawn(tick(link, begun, figures));
        gauge
    }

    /// A handshake with `address` took `time`, the simulated link not included.
    pub(crate) fn dialled(&self, address: SocketAddr, time: Duration) {
        let now = self.now();
        let mut figures = self.lock();
        figures.estimate.dialled(time, now);
        figures.last = Some(address);
        if let Some(guarding) = &mut figures.guarding {
            guarding.guard.round_trip_to(number(address.ip()), time, now);
        }
    }

    /// What is known so far.
    pub(crate) fn summary(&self) -> Summary {
        self.lock().estimate.summary(self.now())
    }

    fn now(&self) -> Moment {
        Moment::after_start(self.begun.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts what crossed until nobody holds the gauge any more.
async fn tick(link: SharedLink, begun: Instant, figures: Weak<Mutex<Figures>>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(figures) = figures.upgrade() else { return };
        let gauge = Gauge { begun, figures };
        let state = link.snapshot();
        let idle = state.flows == 0 && state.spec.auto.is_none();
        let probe = gauge.count(&state, &link);
        if let Some(address) = probe {
            // Held weakly again while it waits, so that the task ends with the proxy.
            tokio::spawn(gauge.probe(address));
        } else {
            drop(gauge);
        }
        if idle {
            tokio::time::sleep(REST).await;
        }
    }
}

impl Gauge {
    /// Takes in the counts of `state`, and sets the rates that follow for a guarded link. Returns where a handshake
    /// should be timed.
    fn count(&self, state: &LinkState, link: &SharedLink) -> Option<SocketAddr> {
        let now = self.now();
        let (down, up) = (state.usage.down, state.usage.up);
        let mut figures = self.lock();
        figures.estimate.crossed(down, up, state.down.backlog > 0, now);
        let Some(share) = state.spec.auto else {
            figures.guarding = None;
            return None;
        };
        if figures.guarding.as_ref().is_none_or(|guarding| guarding.share != share) {
            figures.guarding = Some(Guarding { share, guard: Guard::new(share), before: (down, up) });
        }
        let last = figures.last;
        let Guarding { guard, before, .. } = figures.guarding.as_mut()?;
        let rates = guard.rates();
        // Without a limit there is no backlog: what flows all the time is as fast as it can.
        let busy_down = if rates.0.is_some() { state.down.backlog > 0 } else { down > before.0 };
        let busy_up = if rates.1.is_some() { state.up.backlog > 0 } else { up > before.1 };
        *before = (down, up);
        guard.crossed(down, up, busy_down, busy_up, now);
        let (after, probe) = (guard.rates(), guard.wants_probe(now));
        drop(figures);
        if after != link.rates() {
            tracing::debug!(down = ?after.0, up = ?after.1, "the guarded link has other rates");
            link.set_rates(after.0, after.1);
        }
        last.filter(|_| probe)
    }

    /// Times a handshake with `address`, whose connection is of no other use.
    async fn probe(self, address: SocketAddr) {
        let begun = Instant::now();
        if let Ok(Ok(_)) = tokio::time::timeout(PROBE, TcpStream::connect(address)).await {
            self.dialled(address, begun.elapsed());
        }
    }
}

/// A number that stands for an origin's address.
fn number(address: IpAddr) -> u64 {
    let mut hasher = DefaultHasher::new();
    address.hash(&mut hasher);
    hasher.finish()
}
