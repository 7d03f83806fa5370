//! What benches of this crate measure: the work that is done for every exchange, without a proxy around it. It is no
//! part of the program.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode, Uri, Version};

use crate::exchange::{CacheStatus, Exchange, Observers, Reader as _};
use crate::metrics::exchanges::Exchanges;

/// An exchange that is over, and what counts it.
pub struct Counting {
    exchange: Exchange,
    counts: Arc<Exchanges>,
}

impl Counting {
    /// A hit of ten kilobytes, or a response of the same size that came over the link.
    pub fn new(is_hit: bool) -> Self {
        let (target, client) = (Uri::from_static("http://a.example/b"), IpAddr::from([10, 0, 0, 1]));
        let observers = Observers::new(Vec::new());
        let begun = SystemTime::UNIX_EPOCH;
        let exchange = Exchange::begin(Method::GET, target, Version::HTTP_11, client, begun, &observers);
        exchange.note(|details| {
            details.status = Some(StatusCode::OK);
            if is_hit {
                details.cache = CacheStatus::Hit;
            } else {
                details.cache = CacheStatus::Forwarded(crate::exchange::Forwarded::new("uri-miss"));
                details.times.connection = Some(Duration::from_millis(600));
                details.times.first_byte = Some(Duration::from_millis(1200));
            }
        });
        exchange.sent(10_000);
        if !is_hit {
            exchange.crossed(10_000, 300, Duration::from_millis(900));
        }
        Self { exchange, counts: Arc::default() }
    }

    /// Counts it once more.
    pub fn count(&self) {
        self.exchange.with(|details| self.counts.read(self.exchange.record(), details));
    }
}
