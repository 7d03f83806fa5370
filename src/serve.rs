//! Builds every part once and joins them: store, link, upstream, line, listeners, control socket. The only file that
//! knows them all, and the one that takes them apart again in order.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bentpipe_store::{Limits, Store};
use linkio::{LinkModel, LinkSpec, SharedLink};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::admin::under_way::UnderWay;
use crate::admin::{self, Admin, Uplink};
use crate::admit::Admission;
use crate::ca;
use crate::ca::leaf::Leaves;
use crate::clock::Clock;
use crate::config::Config;
use crate::dashboard::{Dashboard, Traffic};
use crate::drain::Drain;
use crate::exchange::{Observers, Reader};
use crate::handle::{Handler, Refreshing};
use crate::intercept::Interception;
use crate::listen;
use crate::listen::connection::Server;
use crate::memory;
use crate::observe::live::Live;
use crate::observe::log::{AccessLog, Reopen};
use crate::observe::recent::Recent;
use crate::observe::series::Series;
use crate::observe::tally::Tally;
use crate::secure::{self, Shown};
use crate::site::Site;
use crate::standing::Standings;
use crate::upstream::Upstream;
use crate::upstream::buffer;
use crate::upstream::connect::{Connector, Ways};
use crate::upstream::destination::Rules;
use crate::upstream::names::Names;
use crate::upstream::parent::Parents;
use crate::upstream::tls::Tls;

/// A running proxy.
pub struct Proxy {
    addresses: Vec<SocketAddr>,
    secure_addresses: Vec<SocketAddr>,
    admin: Arc<Admin>,
    store: Store,
    drain: Drain,
    reopen: Reopen,
    patience: Duration,
    /// Removed when the proxy ends.
    socket: Option<admin::socket::Socket>,
}

impl Proxy {
    /// Starts a proxy as `config` says, which reads the time from `clock`. It accepts connections when this returns.
    ///
    /// # Errors
    /// An address that cannot be listened on, a cache folder that cannot be used, a log that cannot be opened: each
    /// named with its option.
    pub async fn start(config: Config, clock: Clock) -> anyhow::Result<Self> {
        // Before anything is opened: without it there is nothing to answer the listed hosts with.
        let authority = ca::open(&config)?;
        let leaves = authority.clone().map(|authority| Leaves::new(authority, clock.clone())).transpose()?;
        let leaves = leaves.map(Arc::new);
        let listeners = bind("listen", &config.listen, &config.link.spec)?;
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
        let secure_listeners = bind_secure(&config, leaves.as_ref())?;
        let secure = secure_listeners.iter().map(|(listener, _)| listener.local_addr());
        let secure_addresses = secure.collect::<Result<Vec<_>, _>>()?;
        let limits = Limits { max_size: config.cache.size.0, max_object_size: config.cache.max_object.0 };
        let (folder, min_free) = (config.cache.dir.clone(), config.cache.min_free.map(|bytes| bytes.0));
        let open = move || open_store(&folder, limits).inspect(|store| store.keep_free(min_free));
        let store = tokio::task::spawn_blocking(open).await??;
        let log = AccessLog::open(&config.log).context("log.access")?;
        let reopen = log.as_ref().map(AccessLog::reopen).unwrap_or_default();
        let (tally, live) = (Tally::default(), Live::new(config.log.query));
        let recent = Recent::new(config.log.query);
        let log = log.into_iter().map(|log| Box::new(log) as Box<dyn Reader>);
        let watchers: [Box<dyn Reader>; 3] =
            [Box::new(tally.clone()), Box::new(live.clone()), Box::new(recent.clone())];
        let observers = Observers::new(log.chain(watchers).collect());
        let link = SharedLink::new(config.link.trace.model(config.link.spec.clone()));
        link.set_classes(config.link.classes);
        let drain = Drain::new();

        let own = addresses.iter().chain(&secure_addresses).copied().collect();
        let rules = Rules::new(config.destinations.clone(), own);
        let pseudonym = pseudonym(&clock);
        let names = Names::new(&config.dns);
        let ways = Ways {
            rules,
            names: names.clone(),
            linked_lookups: config.link.dns,
            parents: Parents::new(config.parents.clone()),
            timeout: config.timeouts.connect,
            pseudonym: pseudonym.clone(),
        };
        let connector = Arc::new(Connector::new(link.clone(), ways));
        let tls = Tls::new(config.tls.roots.clone(), clock.clone()).await?;
        // Without hosts it opens our own name alone.
        let interception = leaves
            .map(|leaves| Interception::new(config.intercept.clone(), leaves, clock.clone()).map(Arc::new))
            .transpose()?;
        let standings = Standings::new(&config.link);
        let (keep_alive, idle) = (config.timeouts.keep_alive, config.timeouts.idle);
        let admission = Admission::new(&config, pseudonym);
        let admission = admission.map_err(|reason| anyhow::anyhow!("admission.users_file: {reason}"))?;
        let upstream = Upstream::new(connector.clone(), tls, standings.clone(), keep_alive, idle);
        let upstream = Arc::new(upstream);
        let series = Series::watch(link.clone(), tally.clone(), clock.clone());
        let reach = upstream.clone();
        let dashboard = Arc::new(Dashboard {
            link: link.clone(),
            standings: standings.clone(),
            store: store.clone(),
            traffic: Traffic { tally, live, recent, series, observers: observers.clone() },
            outages: Box::new(move || reach.outages().count()),
            clock: clock.clone(),
            started: Instant::now(),
            price: config.link.price.clone(),
        });
        let handler = Arc::new(Handler {
            admission,
            store: store.clone(),
            upstream,
            clock: clock.clone(),
            policy: config.cache.policy(),
            observers: observers.clone(),
            stale_patience: config.timeouts.stale,
            resume_patience: config.timeouts.resume,
            tunnel_idle: config.timeouts.tunnel_idle,
            drain: drain.clone(),
            refreshing: Refreshing::default(),
            interception: interception.clone(),
            site: Site::new(&config, authority, Some(dashboard.clone())),
        });
        let (gauge, listening) = (connector.gauge().clone(), [addresses.clone(), secure_addresses.clone()]);
        let interception = interception.filter(|_| !config.intercept.hosts.is_empty());
        let under_way = UnderWay::new(&drain, &observers);
        tokio::spawn(memory::look_after(Arc::downgrade(&observers)));
        let uplink = Uplink { link, standings, gauge, names, interception, dashboard, under_way, listening };
        let admin = Arc::new(Admin::new(uplink, store.clone(), clock, &config));
        let socket = admin::socket::listen(&config.control, &addresses, admin.clone()).await?;
        let server = Arc::new(Server::new(handler, drain.clone(), &config));
        let limit = Arc::new(Semaphore::new(config.limits.connections));
        let plain = listeners.into_iter().map(|listener| (listener, None));
        for (listener, acceptor) in plain.chain(secure_listeners) {
            tokio::spawn(listen::accept(listener, acceptor, server.clone(), limit.clone()));
        }
        Ok(Self {
            addresses,
            secure_addresses,
            admin,
            store,
            drain,
            reopen,
            patience: config.timeouts.drain,
            socket,
        })
    }

    /// The first address clients connect to; with port 0 configured, the port the system chose.
    pub fn local_address(&self) -> SocketAddr {
        self.addresses.first().copied().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    /// The first address clients connect to that speak TLS to the proxy itself, if there is one.
    pub fn local_https_address(&self) -> Option<SocketAddr> {
        self.secure_addresses.first().copied()
    }

    /// One screen: what this proxy does and how to use it.
    pub(crate) fn welcome(&self) -> String {
        self.admin.welcome(&self.addresses, &self.secure_addresses, self.socket.as_ref())
    }

    /// Changes the link at once; what is queued stays queued, and nothing is lost.
    pub(crate) fn set_link(&self, model: LinkModel) {
        self.admin.set_link_model(model);
    }

    /// Opens the access log's file anew before its next line, as after it was moved away.
    pub fn reopen_log(&self) {
        self.reopen.ask();
    }

    /// Stops accepting, finishes what is in flight within `timeouts.drain`, and writes the cache's index down.
    pub async fn shutdown(mut self) {
        let unfinished = self.drain.finish(self.patience).await;
        if unfinished > 0 {
            tracing::warn!(unfinished, "connections were still busy at the end of timeouts.drain");
        }
        self.socket.take();
        self.store.close().await;
    }
}

/// Who is told of every exchange.
fn readers(log: Option<AccessLog>, tally: &Tally) -> Arc<[Box<dyn Reader>]> {
    let log = log.into_iter().map(|log| Box::new(log) as Box<dyn Reader>);
    log.chain([Box::new(tally.clone()) as Box<dyn Reader>]).collect()
}

/// How far away clients may be.
const NEAR: Duration = Duration::from_millis(100);
/// Connections waiting to be accepted, of each listener.
const WAITING: u32 = 1024;

/// Opens the cache folder. On a disk that takes no writes, what is stored is served and nothing is added.
fn open_store(folder: &Path, limits: Limits) -> anyhow::Result<Store> {
    let option = || format!("cache.dir = {:?}", folder.display());
    match Store::open(folder, limits) {
        Err(bentpipe_store::Error::Locked) => {
            let option = option();
            anyhow::bail!(
                "{option}: in use by another bentpipe; give this one its own with --cache-dir FOLDER"
            )
        }
        Err(bentpipe_store::Error::Io(error)) if takes_no_writes(&error) => {
            tracing::warn!(%error, folder = %folder.display(), "the cache folder takes no writes; serving what it holds");
            Store::open_read_only(folder).with_context(option)
        }
        opened => opened.with_context(option),
    }
}

/// Whether the fault is the disk's, and not that of whoever chose the folder.
fn takes_no_writes(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    error.kind() == io::ErrorKind::ReadOnlyFilesystem || error.raw_os_error() == Some(EIO)
}

fn bind(option: &str, addresses: &[SocketAddr], link: &LinkSpec) -> anyhow::Result<Vec<TcpListener>> {
    let each = |address: &SocketAddr| {
        listener(*address, link).with_context(|| format!("{option} = {address}: cannot be listened on"))
    };
    addresses.iter().map(each).collect()
}

/// The listeners for clients that speak TLS to the proxy itself, each with what they see.
fn bind_secure(
    config: &Config,
    leaves: Option<&Arc<Leaves>>,
) -> anyhow::Result<Vec<(TcpListener, Option<TlsAcceptor>)>> {
    let listeners = bind("https_listen", &config.https_listen, &config.link.spec)?;
    let each = |listener: TcpListener| {
        let shown = match (&config.tls.certificate, &config.tls.key, leaves) {
            (Some(certificate), Some(key), _) => Shown::given(certificate, key)?,
            (None, None, Some(leaves)) => {
                Shown::Own { leaves: leaves.clone(), address: listener.local_addr()?.ip().to_string() }
            }
            (None, None, None) => anyhow::bail!(
                "https_listen wants a certificate: tls.certificate and tls.key, or an authority of its own, which \
                 `bentpipe ca init` makes"
            ),
            _ => anyhow::bail!("tls.certificate and tls.key go together"),
        };
        Ok((listener, Some(TlsAcceptor::from(secure::config(Arc::new(shown))?))))
    };
    listeners.into_iter().map(each).collect()
}

fn listener(address: SocketAddr, link: &LinkSpec) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    if let Some(bytes) = buffer::size(link.up, NEAR).and_then(|bytes| u32::try_from(bytes).ok()) {
        // What clients send goes up the link. Connections inherit the size; one not granted changes only how far the
        // system runs ahead.
        let _ = socket.set_recv_buffer_size(bytes);
    }
    socket.bind(address)?;
    socket.listen(WAITING)
}

/// Our name in Via: of our own making in each run, so that two proxies of this kind in a row are not taken for a loop
/// (RFC 9110 §7.6.3 wants a pseudonym that is "unique" where it matters).
fn pseudonym(clock: &Clock) -> String {
    use std::hash::{BuildHasher as _, RandomState};
    format!("bentpipe-{:08x}", RandomState::new().hash_one(clock.now()) >> 32)
}
