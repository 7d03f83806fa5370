//! Builds every part once and joins them: store, link, upstream, line, listeners, control socket. The only file that
//! knows them all, and the one that takes them apart again in order. What follows from a configuration is put together in
//! `serve/assembly`, and replaced while the proxy runs in `serve/running`.

mod assembly;
mod listening;
mod running;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use bentpipe_store::{Limits, Store};
use linkio::{LinkModel, LinkSpec, SharedLink};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::admin::configuring::{Changed, Unchanged};
use crate::admin::who::Who;
use crate::admin::{self, Admin};
use crate::ca::leaf::Leaves;
use crate::clock::Clock;
use crate::config::{Config, Given, Hand, Loaded};
use crate::current::Current;
use crate::dashboard::Traffic;
use crate::drain::Drain;
use crate::handle::Refreshing;
use crate::listen::connection::Server;
use crate::listen::places::Places;
use crate::memory;
use crate::observe::levels::Levels;
use crate::secure::{self, Shown};
use crate::upstream::buffer;
use assembly::{Assembly, Certificates, Lasting};
use listening::Listening;
use running::{Running, State};

/// A running proxy.
pub struct Proxy {
    running: Arc<Running>,
    admin: Arc<Admin>,
    /// Removed when the proxy ends.
    socket: Option<admin::socket::Socket>,
    desks: Vec<admin::tcp::Desk>,
}

impl Proxy {
    /// Starts a proxy as `config` says, which reads the time from `clock`. It accepts connections when this returns.
    ///
    /// # Errors
    /// An address that cannot be listened on, a cache folder that cannot be used, a log that cannot be opened: each
    /// named with its option.
    pub async fn start(config: Config, clock: Clock) -> anyhow::Result<Self> {
        Self::assemble(Loaded::of(config), Given::nowhere(), None, clock).await
    }

    /// As [`Proxy::start`], with a configuration that can be read again while the proxy runs.
    ///
    /// # Errors
    /// What is wrong with the configuration, and as [`Proxy::start`].
    pub async fn start_given(given: Given, clock: Clock) -> anyhow::Result<Self> {
        let loaded = given.load()?;
        Self::assemble(loaded, given, None, clock).await
    }

    /// As [`Proxy::start_given`], with what `given` has been `loaded` to. `levels` follow the configuration.
    pub(crate) async fn assemble(
        loaded: Loaded,
        given: Given,
        levels: Option<Levels>,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let config = &loaded.config;
        // Before anything is opened: without it there is nothing to answer the listed hosts with.
        let certificates = Certificates::open(config, &clock, None)?;
        let mut listening = Listening::nowhere();
        let shown = TlsShown { config, leaves: certificates.leaves.as_ref() };
        let plan = listening.plan(config, &shown)?;
        let desks = admin::tcp::bind(&config.admin.listen).await?;
        let desk_addresses = desks.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
        let limits = Limits { max_size: config.cache.size.0, max_object_size: config.cache.max_object.0 };
        let (folder, min_free) = (config.cache.dir.clone(), config.cache.min_free.map(|bytes| bytes.0));
        let open = move || open_store(&folder, limits).inspect(|store| store.keep_free(min_free));
        let store = tokio::task::spawn_blocking(open).await??;
        let link = SharedLink::new(config.link.trace.model(config.link.spec.clone()));
        link.set_classes(config.link.classes);
        let traffic = Arc::new(Traffic::new(config.log.query, link.clone(), clock.clone()));
        tokio::spawn(memory::look_after(Arc::downgrade(&traffic.observers)));
        let lasting = Lasting {
            pseudonym: pseudonym(&clock),
            started: Instant::now(),
            started_at: clock.now(),
            census: Arc::default(),
            traffic,
            clock,
            drain: Drain::new(),
            store,
            link,
            refreshing: Refreshing::default(),
            desks: desk_addresses,
        };
        let own = plan.addresses();
        let assembly = Arc::new(Assembly::new(config, &lasting, certificates, own, None).await?);
        assembly.begin_to_log(&lasting);
        listening.carry_out(plan);
        let server = Arc::new(Server::new(
            assembly.handler.clone(),
            lasting.drain.clone(),
            lasting.census.clone(),
            config,
        ));
        let places = Places::new(config.limits.connections);
        let addresses = listening.addresses();
        let view = Arc::new(Current::new(assembly.view(&lasting, addresses.clone())));
        let (store, clock) = (lasting.store.clone(), lasting.clock.clone());
        let config = loaded.config.clone();
        let loaded = Arc::new(loaded);
        let state = State { base: loaded.clone(), hand: Hand::default(), loaded, assembly, listening };
        let state = Mutex::new(state);
        let turn = tokio::sync::Mutex::new(());
        let view_of_admin = view.clone();
        let running = Arc::new(Running { lasting, given, server, places, view, levels, turn, state });
        let admin = Arc::new(Admin::new(view_of_admin, running.clone(), store, clock, &config));
        let group = config.admin.group.as_deref();
        let socket = admin::socket::listen(&config.control, group, &addresses[0], admin.clone()).await?;
        let desks = admin::tcp::serve(desks, &admin);
        running.accept();
        Ok(Self { running, admin, socket, desks })
    }

    /// The first address clients connect to; with port 0 configured, the port the system chose.
    pub fn local_address(&self) -> SocketAddr {
        let [plain, _] = self.running.addresses();
        plain.first().copied().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    /// The first address clients connect to that speak TLS to the proxy itself, if there is one.
    pub fn local_https_address(&self) -> Option<SocketAddr> {
        let [_, secure] = self.running.addresses();
        secure.first().copied()
    }

    /// The first address of the admin interface over TCP, if there is one.
    pub fn local_admin_address(&self) -> Option<SocketAddr> {
        self.desks.first().map(admin::tcp::Desk::address)
    }

    /// One screen: what this proxy does and how to use it.
    pub(crate) fn welcome(&self) -> String {
        let [plain, secure] = self.running.addresses();
        let desks: Vec<_> = self.desks.iter().map(admin::tcp::Desk::address).collect();
        self.admin.welcome([&plain, &secure, &desks], self.socket.as_ref())
    }

    /// Changes the link at once; what is queued stays queued, and nothing is lost.
    pub(crate) fn set_link(&self, model: LinkModel) {
        self.admin.set_link_model(model);
    }

    /// Opens the access log's file anew before its next line, as after it was moved away.
    pub fn reopen_log(&self) {
        self.running.reopen_log();
    }

    /// What SIGHUP does: opens the access log's file anew, reads the configuration again, and does as it says. What came
    /// of it is in the log.
    ///
    /// # Errors
    /// Everything that is wrong with it, a line each; then nothing has changed.
    pub async fn reload(&self) -> Result<(), String> {
        self.reopen_log();
        let outcome: Result<Changed, Unchanged> = self.running.reload(&Who::Signal).await;
        outcome.map(drop).map_err(|Unchanged(why)| why.join("\n"))
    }

    /// Stops accepting, finishes what is in flight within `timeouts.drain`, and writes the cache's index down.
    pub async fn shutdown(mut self) {
        let unfinished = self.running.lasting.drain.finish(self.running.patience()).await;
        if unfinished > 0 {
            tracing::warn!(unfinished, "connections were still busy at the end of timeouts.drain");
        }
        self.admin.end();
        self.socket.take();
        self.desks.clear();
        self.running.lasting.store.close().await;
    }
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

fn bind(option: &str, address: SocketAddr, link: &LinkSpec) -> anyhow::Result<TcpListener> {
    listener(address, link).with_context(|| format!("{option} = {address}: cannot be listened on"))
}

/// What clients see that speak TLS to the proxy itself.
struct TlsShown<'a> {
    config: &'a Config,
    leaves: Option<&'a Arc<Leaves>>,
}

impl TlsShown<'_> {
    /// For a listener at `local`. Files are read anew each time.
    fn acceptor(&self, local: SocketAddr) -> anyhow::Result<TlsAcceptor> {
        let tls = &self.config.tls;
        let shown = match (&tls.certificate, &tls.key, self.leaves) {
            (Some(certificate), Some(key), _) => Shown::given(certificate, key)?,
            (None, None, Some(leaves)) => {
                Shown::Own { leaves: leaves.clone(), address: local.ip().to_string() }
            }
            (None, None, None) => anyhow::bail!(
                "https_listen wants a certificate: tls.certificate and tls.key, or an authority of its own, which \
                 `bentpipe ca init` makes"
            ),
            _ => anyhow::bail!("tls.certificate and tls.key go together"),
        };
        Ok(TlsAcceptor::from(secure::config(Arc::new(shown))?))
    }
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
