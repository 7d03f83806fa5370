//! The state of a proxy in a few figures: one value, from which the page is made and which the control interface shows.

use std::net::IpAddr;
use std::time::Duration;

use linkio::{BitRate, LaneState};
use serde::Serialize;

use super::Dashboard;
use crate::exchange::Exchange;
use crate::host::is_own_name;
use crate::observe::recent::{Failure, Site, seconds};
use crate::observe::series::Row;
use crate::observe::tally::Tallied;

/// Who looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Viewer {
    /// Whoever looks after the proxy sees everything.
    Operator,
    /// A client sees what all have in common, and what is its own.
    Client(IpAddr),
}

/// The state of a proxy at one moment. Bytes unless another unit is named.
#[derive(Debug, Serialize)]
pub(crate) struct Overview {
    pub(crate) version: &'static str,
    /// Seconds since 1970.
    pub(crate) time: f64,
    /// Seconds since the start.
    pub(crate) uptime: u64,
    pub(crate) link: Link,
    pub(crate) answers: Tallied,
    /// What did not have to cross the link, and what that would have cost.
    pub(crate) saved: u64,
    pub(crate) saved_money: Option<String>,
    pub(crate) cache: Cache,
    /// Exchanges since the start.
    pub(crate) exchanges: u64,
    pub(crate) running: Vec<Running>,
    /// Those who used the link most, by name.
    pub(crate) clients: Vec<Used>,
    pub(crate) sites: Vec<Named>,
    pub(crate) failures: Vec<Failure>,
    /// The last minutes, a second a row.
    pub(crate) series: Vec<Row>,
}

/// How the link is.
#[derive(Debug, Serialize)]
pub(crate) struct Link {
    pub(crate) spec: String,
    pub(crate) state: State,
    /// Bits a second it may carry; none where it is not limited.
    pub(crate) rate_down: Option<u64>,
    pub(crate) rate_up: Option<u64>,
    /// Bits a second it carries.
    pub(crate) down: u64,
    pub(crate) up: u64,
    /// Of one.
    pub(crate) utilisation_down: f64,
    pub(crate) utilisation_up: f64,
    /// Milliseconds that a byte waits for its turn.
    pub(crate) queue_down_ms: u64,
    pub(crate) queue_up_ms: u64,
    /// Bytes that crossed since the start.
    pub(crate) total_down: u64,
    pub(crate) total_up: u64,
    pub(crate) flows: usize,
    /// Origins that were found out of reach of late.
    pub(crate) out_of_reach: usize,
}

/// The lamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// There is room.
    Open,
    /// What is asked for now waits noticeably.
    Busy,
    /// Nothing crosses.
    Down,
}

impl State {
    /// As one word.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Busy => "busy",
            Self::Down => "down",
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Cache {
    pub(crate) objects: usize,
    pub(crate) bytes: u64,
    pub(crate) limit: u64,
}

/// Something that is under way.
#[derive(Debug, Serialize)]
pub(crate) struct Running {
    pub(crate) number: u64,
    pub(crate) client: String,
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) bytes: u64,
    /// Of the request's content, or that went into the tunnel.
    pub(crate) bytes_up: u64,
    pub(crate) announced: Option<u64>,
    pub(crate) duration_ms: u64,
    /// Seconds until it is here, if it goes on as it did.
    pub(crate) eta: Option<u64>,
}

/// What one client used of the link.
#[derive(Debug, Serialize)]
pub(crate) struct Used {
    pub(crate) client: String,
    pub(crate) down: u64,
    pub(crate) up: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Named {
    pub(crate) host: String,
    #[serde(flatten)]
    pub(crate) site: Site,
}

/// Rows of each list.
const MOST: usize = 20;
/// A queue of so many milliseconds is noticed.
const NOTICED_MS: u64 = 1_000;
/// A second of this utilisation is a busy one.
const BUSY: f64 = 0.95;

impl Overview {
    /// What `viewer` may see of the proxy of `dashboard`, and the rows of its last `seconds`.
    pub(super) fn of(dashboard: &Dashboard, viewer: Viewer, rows: usize) -> Self {
        let Dashboard { clock, store, traffic, started, price, .. } = dashboard;
        let (answers, stats) = (traffic.tally.counted(), store.stats());
        let series = traffic.series.rows(rows);
        let sees = |client: IpAddr| match viewer {
            Viewer::Operator => true,
            Viewer::Client(own) => own == client,
        };
        let is_operator = viewer == Viewer::Operator;
        let mut running = traffic.under_way();
        // Whoever looks is not what is looked for.
        running.retain(|exchange| {
            let record = exchange.record();
            sees(record.client) && !record.target.host().is_some_and(is_own_name)
        });
        Self {
            version: env!("CARGO_PKG_VERSION"),
            time: seconds(clock.now()),
            uptime: started.elapsed().as_secs(),
            link: Link::of(dashboard, series.last()),
            answers,
            saved: answers.stored_bytes(),
            saved_money: price.as_ref().map(|price| price.of(answers.stored_bytes())),
            cache: Cache { objects: stats.objects, bytes: stats.disk_bytes, limit: stats.limit },
            exchanges: traffic.observers.begun(),
            running: running.iter().map(|exchange| Running::of(exchange, dashboard)).take(MOST).collect(),
            clients: if is_operator { clients(dashboard) } else { Vec::new() },
            sites: if is_operator { sites(dashboard) } else { Vec::new() },
            failures: failures(dashboard, viewer),
            series,
        }
    }

    /// How many of a hundred requests that the cache was asked were answered without asking anybody, and how many once the
    /// origin had said that what is stored still holds.
    pub(crate) fn answered_in_a_hundred(&self) -> [u64; 2] {
        let Tallied { hits, revalidated, forwarded, .. } = self.answers;
        [
            share(hits, revalidated.saturating_add(forwarded)),
            share(revalidated, hits.saturating_add(forwarded)),
        ]
    }

    /// How many of a hundred bytes came from what is stored, as with both.
    pub(crate) fn stored_bytes_in_a_hundred(&self) -> u64 {
        share(self.answers.stored_bytes(), self.answers.forwarded_bytes)
    }
}

fn share(part: u64, rest: u64) -> u64 {
    let percent = u128::from(part) * 100 / u128::from(part.saturating_add(rest)).max(1);
    u64::try_from(percent).unwrap_or(100)
}

impl Link {
    fn of(dashboard: &Dashboard, last: Option<&Row>) -> Self {
        let Dashboard { link, outages, .. } = dashboard;
        let (state, (rate_down, rate_up)) = (link.snapshot(), link.rates());
        let (queue_down_ms, queue_up_ms) = (queue(&state.down), queue(&state.up));
        let busiest = state.down.utilisation.max(state.up.utilisation);
        let lamp = if rate_down.is_some_and(|rate| rate.bits_per_second() == 0) {
            State::Down
        } else if queue_down_ms.max(queue_up_ms) >= NOTICED_MS || busiest >= BUSY {
            State::Busy
        } else {
            State::Open
        };
        let bits = |rate: Option<BitRate>| rate.map(BitRate::bits_per_second);
        Self {
            spec: state.spec.to_string(),
            state: lamp,
            rate_down: bits(rate_down),
            rate_up: bits(rate_up),
            down: last.map_or(0, |row| row.down),
            up: last.map_or(0, |row| row.up),
            utilisation_down: rounded(state.down.utilisation),
            utilisation_up: rounded(state.up.utilisation),
            queue_down_ms,
            queue_up_ms,
            total_down: state.usage.down,
            total_up: state.usage.up,
            flows: state.flows,
            out_of_reach: outages(),
        }
    }
}

fn rounded(utilisation: f64) -> f64 {
    (utilisation * 1000.0).round() / 1000.0
}

fn queue(lane: &LaneState) -> u64 {
    lane.queueing_delay.map_or(0, |delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX))
}

impl Running {
    fn of(exchange: &Exchange, dashboard: &Dashboard) -> Self {
        let record = exchange.record();
        let (announced, bytes, duration) =
            (exchange.with(|details| details.announced), record.client_bytes(), record.duration());
        Self {
            number: record.number,
            client: exchange.with(|details| details.who(record.client)),
            method: record.method.to_string(),
            url: dashboard.traffic.live.urls().written(&record.target),
            bytes,
            bytes_up: record.received(),
            announced,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            eta: announced.and_then(|announced| eta(bytes, announced, duration)),
        }
    }
}

/// Seconds until the rest is here, at the pace so far.
fn eta(bytes: u64, announced: u64, duration: Duration) -> Option<u64> {
    let left = announced.saturating_sub(bytes);
    let seconds = u128::from(left) * duration.as_millis() / u128::from(bytes).max(1) / 1000;
    (bytes > 0).then(|| u64::try_from(seconds).unwrap_or(u64::MAX))
}

fn clients(dashboard: &Dashboard) -> Vec<Used> {
    let shares = dashboard.link.shares();
    let named = |client| dashboard.standings.name(client).unwrap_or_else(|| "others".into());
    let each = shares.clients.iter().take(MOST);
    each.map(|(client, used)| Used { client: named(*client).to_string(), down: used.down, up: used.up })
        .collect()
}

fn sites(dashboard: &Dashboard) -> Vec<Named> {
    let sites = dashboard.traffic.recent.sites(MOST);
    sites.into_iter().map(|(host, site)| Named { host, site }).collect()
}

fn failures(dashboard: &Dashboard, viewer: Viewer) -> Vec<Failure> {
    let mut failures = dashboard.traffic.recent.failures(usize::MAX);
    if let Viewer::Client(own) = viewer {
        failures.retain(|failure| failure.address == own);
    }
    failures.truncate(MOST);
    failures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_that_people_read() {
        assert_eq!((share(0, 0), share(1, 2), share(5, 0), share(u64::MAX, 1)), (0, 33, 100, 100));
        assert_eq!(eta(100, 1_000, Duration::from_secs(2)), Some(18));
        assert_eq!(eta(0, 1_000, Duration::from_secs(2)), None);
        assert_eq!(eta(10, 5, Duration::from_secs(2)), Some(0));
    }
}
