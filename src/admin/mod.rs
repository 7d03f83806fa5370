//! What an operator can see and change of a running proxy. Commands reach it through a Unix socket; this file says
//! what they do, `api` how they are spelled, `socket` where it is, `client` how the command line asks.

pub(crate) mod api;
mod capture;
pub(crate) mod client;
mod clients;
pub(crate) mod configuring;
mod debug;
pub(crate) mod explain;
mod guard;
mod openapi;
mod patient;
mod plain;
pub(crate) mod routes;
mod seats;
pub(crate) mod selection;
pub(crate) mod serving;
pub(crate) mod socket;
pub(crate) mod stock;
pub(crate) mod stream;
pub(crate) mod tcp;
pub(crate) mod under_way;
pub(crate) mod verification;
pub(crate) mod watch;
pub(crate) mod who;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bentpipe_store::{Stats, Store, Summary};
use linkio::{LinkModel, SharedLink};
use rfc9111::{Policy, Rules, Situation};

use crate::clock::Clock;
use crate::config::Config;
use crate::current::Current;
use crate::dashboard::Dashboard;
use crate::handle::Handler;
use crate::host::normalised;
use crate::intercept::Interception;
use crate::metrics::Metrics;
use crate::observe::tally::Tallied;
use crate::standing::Standings;
use crate::upgrade::Asking;
use crate::upstream::gauge::Gauge;
use crate::upstream::names::Names;
use clients::Clients;
use configuring::Configured;
use explain::{Asker, Explanation};
use guard::Access;
use under_way::UnderWay;
use verification::{Verifications, Verify};

use crate::text::counted;
pub(crate) use crate::text::human;

/// The operator's hold on a running proxy, or on a cache folder that no proxy has open.
pub(crate) struct Admin {
    view: Arc<Current<View>>,
    configured: Option<Arc<dyn Configured>>,
    store: Store,
    clock: Clock,
    folder: PathBuf,
    verifications: Verifications,
    /// What the cache may take, in bytes, where the store itself does not know.
    limit: Option<u64>,
}

/// What an operator sees that follows from the configuration; another one with every change of it.
pub(crate) struct View {
    uplink: Option<Arc<Uplink>>,
    /// The files the link's capacity comes from.
    trace: String,
    rules: Rules,
    clients: Clients,
    policy: Policy,
    access: Access,
}

impl View {
    /// What there is to see of a proxy of `config`; without an uplink, of its folder.
    pub(crate) fn new(uplink: Option<Uplink>, config: &Config) -> Self {
        Self {
            uplink: uplink.map(Arc::new),
            trace: config.link.trace.to_string(),
            rules: config.cache.rules_in_force(),
            clients: Clients::of(&config.admission),
            policy: config.cache.policy(),
            access: Access::new(&config.admin),
        }
    }
}

/// What an operator sees of the way to the origins.
pub(crate) struct Uplink {
    pub(crate) link: SharedLink,
    pub(crate) standings: Arc<Standings>,
    pub(crate) gauge: Gauge,
    pub(crate) names: Names,
    pub(crate) interception: Option<Arc<Interception>>,
    pub(crate) dashboard: Arc<Dashboard>,
    pub(crate) under_way: UnderWay,
    pub(crate) metrics: Metrics,
    /// Where clients connect to in plain, and with TLS.
    pub(crate) listening: [Vec<SocketAddr>; 2],
    /// How another process is asked to take over.
    pub(crate) upgrade: Asking,
    /// What requests meet.
    pub(crate) handler: Arc<Handler>,
}

impl Admin {
    /// The hold on a proxy of which this is to be seen, and which is configured by `configured`.
    pub(crate) fn new(
        view: Arc<Current<View>>,
        configured: Arc<dyn Configured>,
        store: Store,
        clock: Clock,
        config: &Config,
    ) -> Self {
        let (verifications, folder) = (Verifications::default(), folder(config));
        Self { view, configured: Some(configured), store, clock, folder, verifications, limit: None }
    }

    /// The hold on a cache folder alone.
    pub(crate) fn of_folder(store: Store, clock: Clock, config: &Config) -> Self {
        let (view, limit) = (Arc::new(Current::new(View::new(None, config))), Some(config.cache.size.0));
        let (verifications, folder) = (Verifications::default(), folder(config));
        Self { view, configured: None, store, clock, folder, verifications, limit }
    }

    /// The way to the origins; none where there is only a cache folder.
    pub(crate) fn uplink(&self) -> Option<Arc<Uplink>> {
        self.view.now().uplink.clone()
    }

    /// The configuration in force; none where there is only a cache folder.
    pub(crate) fn configured(&self) -> Option<Arc<dyn Configured>> {
        self.configured.clone()
    }

    /// Who may use the interface over TCP.
    pub(crate) fn access(&self) -> Access {
        self.view.now().access.clone()
    }

    /// The operator's rules.
    pub(crate) fn rules(&self) -> Rules {
        self.view.now().rules.clone()
    }

    /// What is decided where RFC 9111 leaves a choice.
    pub(crate) fn policy(&self) -> Policy {
        self.view.now().policy.clone()
    }

    /// The files the link's capacity comes from; `off` if there are none.
    pub(crate) fn trace(&self) -> String {
        self.view.now().trace.clone()
    }

    /// Changes the link at once to one that no text names.
    pub(crate) fn set_link_model(&self, model: LinkModel) {
        if let Some(uplink) = self.uplink() {
            uplink.link.set(model);
        }
    }

    /// What the cache holds, in figures.
    pub(crate) fn stats(&self) -> Stats {
        let stats = self.store.stats();
        Stats { limit: self.limit.unwrap_or(stats.limit), ..stats }
    }

    /// How often the cache could answer; none where no proxy is running.
    pub(crate) fn answers(&self) -> Option<Tallied> {
        self.uplink().map(|uplink| uplink.dashboard.traffic.tally.counted())
    }

    /// Nothing more will happen: whoever watches is let go.
    pub(crate) fn end(&self) {
        if let Some(uplink) = self.uplink() {
            uplink.dashboard.traffic.live.end();
        }
    }

    /// The verification that runs, or the last one.
    pub(crate) fn verifications(&self) -> &Verifications {
        &self.verifications
    }

    /// Begins to verify what is stored; says how far it is.
    ///
    /// # Errors
    /// If that is going on already.
    pub(crate) fn verify(&self, asked: &Verify) -> Result<serde_json::Value, String> {
        self.verifications.begin(&self.store, asked)?;
        Ok(self.verifications.progress())
    }

    /// The folder of the cache.
    pub(crate) fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// Everything the cache holds.
    pub(crate) fn list(&self) -> Vec<Summary> {
        self.store.list()
    }

    /// What would be decided now for a GET of `target` with `headers` that `asker` sends, and why.
    pub(crate) fn explain(
        &self,
        target: &http::Uri,
        headers: &http::HeaderMap,
        asker: &Asker,
    ) -> Option<Explanation> {
        let target = &normalised(target);
        let view = self.view.now();
        let rules = view.rules.for_target(target);
        let key = rules.key(target)?;
        let now = self.clock.now();
        let situation = Situation { now, policy: Policy { rules, ..view.policy.clone() } };
        let explanation = explain::explain(target, headers, &self.store.lookup(&key), &situation);
        Some(match &view.uplink {
            Some(uplink) => explanation.on_its_way(target, uplink, asker, now),
            None => explanation.without_proxy(),
        })
    }

    /// One screen: what this proxy does and how to use it. `program` is how a command is called that is to find it.
    pub(crate) fn welcome(
        &self,
        [addresses, secure, desks]: [&[SocketAddr]; 3],
        socket: Option<&socket::Socket>,
        program: &str,
    ) -> String {
        let stats = self.stats();
        let link = self.uplink().map_or_else(String::new, |uplink| uplink.link.model().spec.to_string());
        let list = |addresses: &[SocketAddr]| {
            addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        let mut listening = list(addresses);
        if !secure.is_empty() {
            listening += &format!("\n  with TLS       {}", list(secure));
        }
        let reachable = addresses.first().map_or_else(String::new, |address| {
            if address.ip().is_unspecified() {
                format!("THIS-MACHINE:{}", address.port())
            } else {
                address.to_string()
            }
        });
        let clients = self.view.now().clients.of_listeners(addresses);
        let control = match socket {
            Some(socket) => socket.path().display().to_string(),
            None => "off".to_owned(),
        };
        let control = if desks.is_empty() { control } else { format!("{control}, {}", list(desks)) };
        let commands = ["link set 512k/128k,rtt=600ms", "cache stats", "explain URL"];
        let between = if program == "bentpipe" { "   " } else { "\n  " };
        let commands = commands.map(|command| format!("{program} {command}")).join(between);
        format!(
            "bentpipe {version}: a caching, rate-limiting HTTP proxy for the far end of a thin link

  listening on   {listening}
  cache          {folder} ({objects}, {held} of {limit})
  link           {link}
  clients        {clients}
  control        {control}

Point a browser or a program at it:
  Chromium       chromium --proxy-server=http://{reachable}
  Firefox        Settings, Network Settings, Manual proxy: HTTP proxy {reachable}, also for HTTPS
  curl, pip, ... export http_proxy=http://{reachable} https_proxy=http://{reachable}

While it runs:
  {commands}
Stop it with Ctrl-C; what is in flight is finished. All options: bentpipe --help
",
            version = env!("CARGO_PKG_VERSION"),
            folder = self.folder.display(),
            objects = counted(stats.objects as u64, "response"),
            held = human(stats.bytes),
            limit = human(stats.limit),
        )
    }
}

/// The folder as everyone calls it: whoever asks may stand elsewhere.
fn folder(config: &Config) -> PathBuf {
    std::path::absolute(&config.cache.dir).unwrap_or_else(|_| config.cache.dir.clone())
}
