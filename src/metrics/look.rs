//! `Look`: all parts looked at once, so that figures that belong together are of one moment. It writes nothing.

use std::collections::HashSet;
use std::time::SystemTime;

use bentpipe_store::Stats;
use http::Method;
use linkio::{BitRate, LinkState, Shares};

use super::Parts;
use super::exchanges::Exchanges;
use super::process::Process;
use crate::intercept::Tunnels;
use crate::listen::census::Census;
use crate::observe::tally::Tallied;
use crate::upstream::counts::Counts;
use crate::upstream::names::Counted;
use crate::upstream::pool::Pooled;

/// Every part, as it was a moment ago.
pub(crate) struct Look<'a> {
    pub(crate) exchanges: &'a Exchanges,
    pub(crate) tally: Tallied,
    pub(crate) begun: u64,
    pub(crate) under_way: UnderWay,
    pub(crate) lost_lines: u64,
    pub(crate) lost_events: u64,
    pub(crate) watchers: u64,
    pub(crate) link: LinkState,
    pub(crate) shares: Shares,
    /// Down and up; none where there is no limit.
    pub(crate) rates: [Option<BitRate>; 2],
    /// By the link's specification.
    pub(crate) link_rtt: f64,
    /// As handshakes have measured it.
    pub(crate) uplink_rtt: Option<f64>,
    pub(crate) names: Counted,
    pub(crate) upstream: &'a Counts,
    pub(crate) pooled: Pooled,
    pub(crate) out_of_reach: usize,
    pub(crate) interception: Option<(&'a Tunnels, usize, usize)>,
    pub(crate) census: &'a Census,
    pub(crate) store: Stats,
    pub(crate) process: Process,
    pub(crate) started: f64,
    pub(crate) now: f64,
    pub(crate) authority_ends: Option<f64>,
}

/// Exchanges under way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UnderWay {
    pub(crate) requests: u64,
    pub(crate) tunnels: u64,
    /// Different addresses they are of.
    pub(crate) clients: u64,
}

impl<'a> Look<'a> {
    /// `parts` now; they `started` then.
    pub(crate) fn at(parts: &'a Parts, started: SystemTime) -> Self {
        let link = &parts.link;
        let (down, up) = link.rates();
        let connector = parts.upstream.connector();
        let interception = parts.interception.as_deref();
        Self {
            exchanges: &parts.exchanges,
            tally: parts.tally.counted(),
            begun: parts.observers.begun(),
            under_way: under_way(parts),
            lost_lines: parts.lost_lines.as_ref().map_or(0, |lost| lost.so_far()),
            lost_events: parts.live.lost(),
            watchers: parts.live.watchers() as u64,
            link: link.snapshot(),
            shares: link.shares(),
            rates: [down, up],
            link_rtt: link.rtt().as_secs_f64(),
            uplink_rtt: connector.gauge().summary().median_rtt.map(|rtt| rtt.as_secs_f64()),
            names: parts.names.counted(),
            upstream: connector.counts(),
            pooled: parts.upstream.pooled(),
            out_of_reach: parts.upstream.outages().len(),
            interception: interception.map(|its| (its.tunnels(), its.leaves(), its.refused().len())),
            census: &parts.census,
            store: parts.store.stats(),
            process: Process::now(),
            started: seconds(started),
            now: seconds(parts.clock.now()),
            authority_ends: parts.authority_ends.map(seconds),
        }
    }
}

fn under_way(parts: &Parts) -> UnderWay {
    let (mut counted, mut clients) = (UnderWay::default(), HashSet::new());
    for exchange in parts.observers.under_way() {
        let record = exchange.record();
        match record.method {
            Method::CONNECT => counted.tunnels += 1,
            _ => counted.requests += 1,
        }
        clients.insert(record.client);
    }
    UnderWay { clients: clients.len() as u64, ..counted }
}

/// Since 1970, which a clock may say it is before.
fn seconds(time: SystemTime) -> f64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => since.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}
