//! What crosses the link for one exchange: accounted to it, and watched for signs of life. The link itself counts
//! connections, and this only reads its meters; of a connection that exchanges share, `shared` knows whose is what.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use linkio::{Meter, Standing};
use tokio::time::{Instant, Sleep};

use super::connection::{Connection, Sender, length};
use super::shared::Stream;
use crate::exchange::Exchange;
use crate::standing::Carrier;

/// Accounts to an exchange what crosses the link for it from now until the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Crossing(Arc<Crossed>);

struct Crossed {
    share: Share,
    exchange: Exchange,
    /// What the connection had carried for others.
    before: (u64, u64),
    /// For how long it had been on the link with them.
    time: Duration,
}

/// What an exchange has of the connection that carries it.
#[derive(Clone)]
pub(super) enum Share {
    All(Meter),
    Stream(Arc<Stream>),
}

impl Share {
    /// Its share of `connection`.
    pub(super) fn of(connection: &Connection) -> Self {
        match &connection.sender {
            Sender::Alone(_, meter) => Self::All(meter.clone()),
            Sender::Among(_, stream) => Self::Stream(stream.clone()),
        }
    }

    /// The place among others, if it has only that.
    pub(super) fn stream(&self) -> Option<&Arc<Stream>> {
        match self {
            Self::All(_) => None,
            Self::Stream(stream) => Some(stream),
        }
    }

    /// Bytes that came down on the whole connection.
    pub(super) fn connection_down(&self) -> u64 {
        match self {
            Self::All(meter) => meter.down(),
            Self::Stream(stream) => stream.connection_down(),
        }
    }

    /// A head with these fields came for the exchange.
    pub(super) fn count_head(&self, headers: &HeaderMap) {
        if let Self::Stream(stream) = self {
            stream.count_heads(length(headers), 0);
        }
    }

    /// For how long bytes were on the link, where they were nobody else's.
    fn time(&self) -> Duration {
        match self {
            Self::All(meter) => meter.time(),
            Self::Stream(_) => Duration::ZERO,
        }
    }

    fn crossed(&self) -> (u64, u64) {
        match self {
            Self::All(meter) => (meter.down(), meter.up()),
            Self::Stream(stream) => stream.carried(),
        }
    }

    /// Ends when nothing crossed for the exchange in either direction for the whole of `idle`, whatever did for others.
    /// It is looked at whenever `watch` is over.
    pub(super) async fn stalled(&self, idle: Duration, watch: &mut Watch) {
        let (mut before, mut since) = (self.crossed(), Instant::now());
        let mut now = since;
        while now < since + idle {
            let look = now + (idle / 8).max(Duration::from_millis(10));
            watch.until(look.min(since + idle)).await;
            now = Instant::now();
            let crossed = self.crossed();
            if crossed != before {
                (before, since) = (crossed, now);
            }
        }
    }
}

/// A timer of a connection's that need not be set anew for each exchange which that carries: it may be over early.
#[derive(Default)]
pub(super) struct Watch(Option<Pin<Box<Sleep>>>);

impl Watch {
    /// Ends at `latest`, or before.
    async fn until(&mut self, latest: Instant) {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(latest)));
        if sleep.is_elapsed() || sleep.deadline() > latest {
            sleep.as_mut().reset(latest);
        }
        sleep.as_mut().await;
    }
}

impl Carrier for Share {
    fn carried(&self) -> u64 {
        match self {
            Self::All(meter) => Carrier::carried(meter),
            Self::Stream(stream) => Carrier::carried(&**stream),
        }
    }

    fn assign_in_steps(&self, now: Standing, later: impl IntoIterator<Item = (u64, Standing)>) {
        match self {
            Self::All(meter) => Carrier::assign_in_steps(meter, now, later),
            Self::Stream(stream) => Carrier::assign_in_steps(&**stream, now, later),
        }
    }
}

impl Crossing {
    /// Begins to account what `meter` shows to `exchange`.
    pub(crate) fn begin(meter: Meter, exchange: Exchange) -> Self {
        let before = (meter.down(), meter.up());
        Self::count(Share::All(meter), exchange, before)
    }

    /// Begins to account to `exchange` its `share` of a connection. The first exchange on it pays for its handshakes, too,
    /// which the connection, if it was not `reused`, has carried already.
    pub(super) fn of(share: Share, reused: bool, exchange: Exchange) -> Self {
        let before = if reused { share.crossed() } else { (0, 0) };
        Self::count(share, exchange, before)
    }

    fn count(share: Share, exchange: Exchange, before: (u64, u64)) -> Self {
        let shown = share.clone();
        exchange.crosses(move || {
            let (down, up) = shown.crossed();
            (down.saturating_sub(before.0), up.saturating_sub(before.1))
        });
        let time = share.time();
        Self(Arc::new(Crossed { share, exchange, before, time }))
    }

    /// Bytes that came for the exchange so far.
    pub(super) fn down(&self) -> u64 {
        self.0.share.crossed().0
    }
}

impl Drop for Crossed {
    fn drop(&mut self) {
        let (down, up) = match &self.share {
            Share::All(meter) => (meter.down() - self.before.0, meter.up() - self.before.1),
            Share::Stream(stream) => stream.charge(),
        };
        self.exchange.crossed(down, up, self.share.time().saturating_sub(self.time));
    }
}
