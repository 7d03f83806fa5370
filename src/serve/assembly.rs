//! `Assembly`: all parts that follow from one configuration, put together around those that outlast every configuration.
//! A new one takes over from the one before whatever is the same in both: connections to origins, names, accounts, leaves.
//! It changes nothing that is in force; whoever holds an assembly may also let it go.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;
use bentpipe_store::Store;
use linkio::SharedLink;
use tokio::time::Instant;

use crate::admin::under_way::UnderWay;
use crate::admin::{Uplink, View};
use crate::admit::Admission;
use crate::ca::leaf::Leaves;
use crate::ca::{self, Authority};
use crate::clock::Clock;
use crate::config::{Config, LogConfig};
use crate::dashboard::{Dashboard, Traffic};
use crate::drain::Drain;
use crate::exchange::Reader;
use crate::handle::{Handler, Refreshing};
use crate::intercept::Interception;
use crate::listen::census::Census;
use crate::metrics::{Metrics, Parts};
use crate::observe::log::AccessLog;
use crate::opening::Opened;
use crate::respond::Contact;
use crate::site::Site;
use crate::standing::Standings;
use crate::upgrade::Asking;
use crate::upstream::Upstream;
use crate::upstream::connect::{Connector, Ways};
use crate::upstream::destination::Rules;
use crate::upstream::names::Names;
use crate::upstream::parent::Parents;
use crate::upstream::tls::Tls;

/// What outlasts every configuration.
pub(super) struct Lasting {
    pub(super) clock: Clock,
    pub(super) drain: Drain,
    pub(super) store: Store,
    pub(super) link: SharedLink,
    pub(super) traffic: Arc<Traffic>,
    pub(super) started: Instant,
    pub(super) started_at: SystemTime,
    pub(super) census: Arc<Census>,
    pub(super) refreshing: Refreshing,
    /// Our name in Via.
    pub(super) pseudonym: String,
    /// How commands ask for an upgrade.
    pub(super) upgrade: Asking,
    /// Where the admin interface is served, which no client may be led to.
    pub(super) desks: Vec<SocketAddr>,
}

/// The authority of a configuration, and the certificates of hosts that it has signed.
#[derive(Clone)]
pub(super) struct Certificates {
    pub(super) authority: Option<Arc<Authority>>,
    pub(super) leaves: Option<Arc<Leaves>>,
}

impl Certificates {
    /// Those of `authority`. Where it is the one of `before`, its leaves are, too.
    ///
    /// # Errors
    /// As [`Leaves::new`].
    pub(super) fn of(
        authority: Option<Arc<Authority>>,
        clock: &Clock,
        before: Option<&Self>,
    ) -> Result<Self, ca::Error> {
        let known = before.filter(|before| is_same(before.authority.as_deref(), authority.as_deref()));
        if let Some(known) = known {
            return Ok(known.clone());
        }
        let leaves = authority.clone().map(|authority| Leaves::new(authority, clock.clone())).transpose()?;
        Ok(Self { authority, leaves: leaves.map(Arc::new) })
    }
}

/// Whether devices are shown the same certificates of both.
fn is_same(one: Option<&Authority>, other: Option<&Authority>) -> bool {
    let published = |authority: Option<&Authority>| {
        authority.map(|authority| authority.published().map(|root| root.der.to_vec()).collect::<Vec<_>>())
    };
    published(one) == published(other)
}

/// The parts of one configuration.
pub(super) struct Assembly {
    pub(super) config: Config,
    pub(super) handler: Arc<Handler>,
    pub(super) certificates: Certificates,
    pub(super) log: Option<Arc<AccessLog>>,
    dashboard: Arc<Dashboard>,
    tls: Arc<Tls>,
    names: Names,
}

impl Assembly {
    /// The parts of `config`, which has `opened` this, for a proxy that listens on `own`, in place of `before`.
    ///
    /// # Errors
    /// A file that cannot be read or opened, named with its option.
    pub(super) fn new(
        config: &Config,
        lasting: &Lasting,
        certificates: Certificates,
        opened: Opened,
        own: Vec<SocketAddr>,
        before: Option<&Self>,
    ) -> anyhow::Result<Self> {
        let log = access_log(config, &lasting.clock, before)?;
        let names = match before {
            Some(before) if before.config.dns == config.dns => before.names.clone(),
            Some(before) => before.names.renewed(&config.dns),
            None => Names::new(&config.dns),
        };
        let tls = Arc::new(Tls::new(opened.roots, lasting.clock.clone()));
        let tls =
            before.map(|before| &before.tls).filter(|known| known.trusts_as(&tls)).cloned().unwrap_or(tls);
        let upstream = upstream(config, lasting, before, own, &names, &tls);
        let interception = interception(config, lasting, before, certificates.leaves.as_ref())?;
        let admission = match before {
            Some(before) => before.handler.admission.renewed(&before.config, config, opened.users),
            None => Admission::new(config, opened.users, &lasting.pseudonym),
        };
        let upstream = Arc::new(upstream);
        let dashboard = dashboard(config, lasting, &upstream);
        let handler = Arc::new(Handler {
            admission,
            store: lasting.store.clone(),
            upstream,
            clock: lasting.clock.clone(),
            policy: config.cache.policy(),
            observers: lasting.traffic.observers.clone(),
            stale_patience: config.timeouts.stale,
            resume_patience: config.timeouts.resume,
            tunnel_idle: config.timeouts.tunnel_idle,
            debugging: lasting.traffic.debugging.clone(),
            drain: lasting.drain.clone(),
            refreshing: lasting.refreshing.clone(),
            interception,
            site: Site::new(config, certificates.authority.clone(), Some(dashboard.clone())),
            contact: Contact::new(config.contact.as_deref()),
        });
        Ok(Self { config: config.clone(), handler, dashboard, certificates, log, tls, names })
    }

    fn metrics(&self, lasting: &Lasting) -> Metrics {
        let traffic = &lasting.traffic;
        let authority = self.certificates.authority.as_ref();
        Metrics::new(Parts {
            exchanges: traffic.exchanges.clone(),
            tally: traffic.tally.clone(),
            observers: traffic.observers.clone(),
            live: traffic.live.clone(),
            lost_lines: self.log.as_ref().map(|log| log.lost()),
            link: lasting.link.clone(),
            names: self.names.clone(),
            upstream: self.handler.upstream.clone(),
            interception: self.handler.interception.clone(),
            census: lasting.census.clone(),
            store: lasting.store.clone(),
            clock: lasting.clock.clone(),
            authority_ends: authority.and_then(|its| its.published().next()).map(|its| its.not_after),
            started: lasting.started_at,
        })
    }

    /// Has its log, if it has one, told of exchanges from now on.
    pub(super) fn begin_to_log(&self, lasting: &Lasting) {
        lasting.traffic.renew(self.log.as_ref().map(|log| Box::new(log.clone()) as Box<dyn Reader>));
    }

    /// What an operator sees of it, where clients connect to `listening`, in plain and with TLS.
    pub(super) fn view(&self, lasting: &Lasting, listening: [Vec<SocketAddr>; 2]) -> View {
        let upstream = &self.handler.upstream;
        let interception = self.handler.interception.as_ref();
        let interception = interception.filter(|_| !self.config.intercept.hosts.is_empty());
        let uplink = Uplink {
            link: lasting.link.clone(),
            standings: upstream.standings().clone(),
            gauge: upstream.connector().gauge().clone(),
            names: self.names.clone(),
            interception: interception.cloned(),
            dashboard: self.dashboard.clone(),
            metrics: self.metrics(lasting),
            under_way: UnderWay::new(&lasting.drain, &lasting.traffic.observers),
            listening,
            upgrade: lasting.upgrade.clone(),
            handler: self.handler.clone(),
        };
        View::new(Some(uplink), &self.config)
    }
}

fn dashboard(config: &Config, lasting: &Lasting, upstream: &Arc<Upstream>) -> Arc<Dashboard> {
    let reach = upstream.clone();
    Arc::new(Dashboard {
        link: lasting.link.clone(),
        standings: upstream.standings().clone(),
        store: lasting.store.clone(),
        traffic: lasting.traffic.clone(),
        outages: Box::new(move || reach.outages().len()),
        clock: lasting.clock.clone(),
        started: lasting.started,
        price: config.link.price.clone(),
    })
}

fn access_log(
    config: &Config,
    clock: &Clock,
    before: Option<&Assembly>,
) -> anyhow::Result<Option<Arc<AccessLog>>> {
    let options = |config: &Config| LogConfig { level: String::new(), ..config.log.clone() };
    match before.filter(|before| options(&before.config) == options(config)) {
        Some(before) => Ok(before.log.clone()),
        None => Ok(AccessLog::open(&config.log, clock.clone()).context("log.access")?.map(Arc::new)),
    }
}

/// The way to the origins. Connections are kept only while everything is the same that decides where they lead and whether
/// they may: one that stands may lead to where none is to be any more.
fn upstream(
    config: &Config,
    lasting: &Lasting,
    before: Option<&Assembly>,
    own: Vec<SocketAddr>,
    names: &Names,
    tls: &Arc<Tls>,
) -> Upstream {
    let (keep_alive, idle) = (config.timeouts.keep_alive, config.timeouts.idle);
    let standings = match before {
        Some(before) => before.handler.upstream.standings().renewed(&config.link),
        None => Standings::new(&config.link),
    };
    if let Some(before) = before
        && is_same_way(&before.config, config)
        && Arc::ptr_eq(&before.tls, tls)
    {
        return before.handler.upstream.renewed(standings, idle);
    }
    let ways = Ways {
        rules: Rules::new(config.destinations.clone(), own).with_desks(lasting.desks.clone()),
        names: names.clone(),
        linked_lookups: config.link.dns,
        parents: Parents::new(config.parents.clone()),
        timeout: config.timeouts.connect,
        pseudonym: lasting.pseudonym.clone(),
    };
    let connector = match before {
        Some(before) => before.handler.upstream.connector().renewed(ways),
        None => Connector::new(lasting.link.clone(), ways),
    };
    Upstream::new(Arc::new(connector), tls.clone(), standings, keep_alive, idle)
}

fn is_same_way(one: &Config, other: &Config) -> bool {
    // What is listened on may not be dialled.
    let listening = |config: &Config| (config.listen.clone(), config.https_listen.clone());
    let times = |config: &Config| (config.timeouts.connect, config.timeouts.keep_alive);
    (&one.destinations, &one.parents, &one.dns, one.link.dns)
        == (&other.destinations, &other.parents, &other.dns, other.link.dns)
        && (listening(one), times(one)) == (listening(other), times(other))
}

fn interception(
    config: &Config,
    lasting: &Lasting,
    before: Option<&Assembly>,
    leaves: Option<&Arc<Leaves>>,
) -> anyhow::Result<Option<Arc<Interception>>> {
    // Without hosts it opens our own name alone.
    let Some(leaves) = leaves.cloned() else {
        return Ok(None);
    };
    let known = before.and_then(|before| before.handler.interception.as_ref());
    let interception = match known {
        Some(known) => known.renewed(config.intercept.clone(), leaves)?,
        None => Interception::new(config.intercept.clone(), leaves, lasting.clock.clone())?,
    };
    Ok(Some(Arc::new(interception)))
}
