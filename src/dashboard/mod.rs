//! The dashboard: one page that tells the state of the link, who uses it, what was saved and what is wrong. Whoever looks
//! after the proxy sees it on the admin address; clients see what is theirs and everybody's at `http://bentpipe.local/status`.
//!
//! The page is made here, whole, and works without JavaScript; its script asks for the same page again and puts the new
//! parts in the place of the old ones. Nothing on it comes from anywhere else.

pub(crate) mod overview;
mod page;

use std::sync::Arc;

use bentpipe_store::Store;
use linkio::{Class, SharedLink};
use tokio::time::Instant;

use crate::capture::Captures;
use crate::clock::Clock;
use crate::config::{Price, QueryLog};
use crate::current::Current;
use crate::exchange::{Exchange, Observers, Reader};
use crate::metrics::exchanges::Exchanges;
use crate::observe::debugging::Debugging;
use crate::observe::event::event;
use crate::observe::live::Live;
use crate::observe::recent::Recent;
use crate::observe::refusals::Refusals;
use crate::observe::series::Series;
use crate::observe::tally::Tally;
use crate::observe::url::Urls;
use crate::standing::Standings;
pub(crate) use overview::{Overview, Viewer};

/// What the page is made from.
pub(crate) struct Dashboard {
    pub(crate) link: SharedLink,
    pub(crate) standings: Arc<Standings>,
    pub(crate) store: Store,
    pub(crate) traffic: Arc<Traffic>,
    /// Tells how many origins were found out of reach of late.
    pub(crate) outages: Box<dyn Fn() -> usize + Send + Sync>,
    pub(crate) clock: Clock,
    pub(crate) started: Instant,
    pub(crate) price: Option<Price>,
}

/// What is known of the exchanges of a running proxy.
pub(crate) struct Traffic {
    /// How URLs are written everywhere but in the log.
    pub(crate) urls: Arc<Current<Urls>>,
    pub(crate) tally: Tally,
    pub(crate) live: Live,
    pub(crate) recent: Recent,
    pub(crate) series: Series,
    pub(crate) observers: Arc<Observers>,
    pub(crate) exchanges: Arc<Exchanges>,
    pub(crate) debugging: Debugging,
    pub(crate) captures: Captures,
    refusals: Arc<Refusals>,
}

impl Traffic {
    /// Nothing has happened yet; URLs are written as `query` says. Whoever else is told comes with `renew`.
    pub(crate) fn new(query: QueryLog, link: SharedLink, clock: Clock) -> Self {
        let urls = Arc::new(Current::new(Urls::new(query)));
        let tally = Tally::default();
        Self {
            live: Live::new(urls.clone()),
            recent: Recent::new(urls.clone()),
            series: Series::watch(link, tally.clone(), clock),
            observers: Observers::new(Vec::new()),
            exchanges: Arc::default(),
            debugging: Debugging::new(urls.clone()),
            captures: Captures::default(),
            refusals: Arc::new(Refusals::new()),
            urls,
            tally,
        }
    }

    /// From now on `log` is told of exchanges, too, and no other that was before.
    pub(crate) fn renew(&self, log: Option<Box<dyn Reader>>) {
        let own: [Box<dyn Reader>; 6] = [
            Box::new(self.tally.clone()),
            Box::new(self.live.clone()),
            Box::new(self.recent.clone()),
            Box::new(self.exchanges.clone()),
            Box::new(self.refusals.clone()),
            Box::new(self.captures.clone()),
        ];
        self.observers.renew(log.into_iter().chain(own).collect());
    }

    /// The exchanges under way, the oldest first.
    pub(crate) fn under_way(&self) -> Vec<Exchange> {
        let mut exchanges = self.observers.under_way();
        exchanges.sort_unstable_by_key(|exchange| exchange.record().number);
        exchanges
    }

    /// What is known of each of them now.
    pub(crate) fn shown(&self) -> Vec<serde_json::Value> {
        let each = |exchange: &Exchange| {
            let mut shown = exchange.with(|details| event(exchange.record(), details, &self.live.urls()));
            shown["class"] = exchange.class().map(Class::name).into();
            shown
        };
        self.under_way().iter().map(each).collect()
    }

    /// Puts those with these numbers into `class`, or, with none, where the rules want them; how many there were, and how
    /// many of them are crossing the link now.
    pub(crate) fn choose(&self, numbers: &[u64], class: Option<Class>) -> (usize, usize) {
        let exchanges = self.under_way();
        let meant = exchanges.iter().filter(|exchange| numbers.contains(&exchange.record().number));
        meant.fold((0, 0), |(all, crossing), exchange| {
            (all + 1, crossing + usize::from(exchange.choose(class)))
        })
    }

    /// Breaks off those with these numbers; how many there were.
    pub(crate) fn stop(&self, numbers: &[u64]) -> usize {
        let exchanges = self.under_way();
        let meant = exchanges.iter().filter(|exchange| numbers.contains(&exchange.record().number));
        meant.inspect(|exchange| exchange.stop()).count()
    }
}

/// Something that a browser asks for.
pub(crate) struct Asset {
    pub(crate) media_type: &'static str,
    pub(crate) content: bytes::Bytes,
}

/// Seconds that the chart shows.
const CHART: usize = 300;

impl Dashboard {
    /// The state of the proxy, as far as `viewer` may see it, with the last `rows` seconds.
    pub(crate) fn overview(&self, viewer: Viewer, rows: usize) -> Overview {
        Overview::of(self, viewer, rows)
    }

    /// What stands at `path`, below the place where the dashboard is, for `viewer`; none if nothing does.
    pub(crate) fn asset(&self, path: &str, viewer: Viewer) -> Option<Asset> {
        let fixed = |media_type, content: &'static str| Asset {
            media_type,
            content: bytes::Bytes::from_static(content.as_bytes()),
        };
        Some(match path {
            "" => {
                let content = page::whole(&self.overview(viewer, CHART), viewer).into();
                Asset { media_type: "text/html; charset=utf-8", content }
            }
            "dashboard.js" => fixed(SCRIPT, include_str!("assets/dashboard.js")),
            "uplot.js" => fixed(SCRIPT, include_str!("assets/uplot.js")),
            "dashboard.css" => fixed(STYLE, include_str!("assets/dashboard.css")),
            "icon.svg" => fixed("image/svg+xml", include_str!("assets/icon.svg")),
            "uplot.css" => fixed(STYLE, include_str!("assets/uplot.css")),
            _ => return None,
        })
    }
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// What its page may do: its own script and style, and nothing from elsewhere.
pub(crate) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                                 connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; \
                                 frame-ancestors 'none'";
