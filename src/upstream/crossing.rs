//! What crosses the link on a connection, while it serves one exchange: accounted to the exchange, and watched for
//! signs of life. The link itself counts; this only reads its meters.

use std::sync::Arc;
use std::time::Duration;

use linkio::Meter;
use tokio::time::Instant;

use crate::exchange::Exchange;

/// Accounts to an exchange what crosses the link on a connection from now until the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Crossing(Arc<Crossed>);

struct Crossed {
    meter: Meter,
    exchange: Exchange,
    down: u64,
    up: u64,
}

impl Crossing {
    /// Begins to account what `meter` shows to `exchange`.
    pub(crate) fn begin(meter: Meter, exchange: Exchange) -> Self {
        Self(Arc::new(Crossed { down: meter.down(), up: meter.up(), meter, exchange }))
    }

    /// Whether the origin has sent nothing since.
    pub(super) fn nothing_came(&self) -> bool {
        self.0.meter.down() == self.0.down
    }
}

impl Drop for Crossed {
    fn drop(&mut self) {
        self.exchange.crossed(self.meter.down() - self.down, self.meter.up() - self.up);
    }
}

/// Ends when nothing crossed in either direction for the whole of `idle`.
pub(super) async fn stalled(meter: &Meter, idle: Duration) {
    let crossed = || (meter.down(), meter.up());
    let (mut before, mut since) = (crossed(), Instant::now());
    while since.elapsed() < idle {
        tokio::time::sleep((idle / 8).max(Duration::from_millis(10))).await;
        let now = crossed();
        if now != before {
            (before, since) = (now, Instant::now());
        }
    }
}
