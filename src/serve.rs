//! Builds every part once and joins them: store, link, upstream, line, listeners, control socket. The only file that
//! knows them all, and the one that takes them apart again in order. What follows from a configuration is put together in
//! `serve/assembly`, and replaced while the proxy runs in `serve/running`.

mod assembly;
mod listening;
mod running;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bentpipe_store::{Limits, Store};
use linkio::{LinkModel, SharedLink};
use rustls::sign::CertifiedKey;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::admin::configuring::{Changed, Unchanged};
use crate::admin::who::Who;
use crate::admin::{self, Admin};
use crate::ca::Folder;
use crate::ca::leaf::Leaves;
use crate::clock::Clock;
use crate::config::{Config, Given, Hand, Loaded};
use crate::current::Current;
use crate::dashboard::Traffic;
use crate::descriptors;
use crate::drain::Drain;
use crate::handle::Refreshing;
use crate::listen::connection::Server;
use crate::listen::places::Places;
use crate::memory;
use crate::observe::levels::Levels;
use crate::opening;
use crate::secure::{self, Shown};
use crate::upgrade::sockets::Held;
use crate::upgrade::{self, Asked, Asking, Estate, Inheritance, Outcome, Portion, Program, Successor};
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
    /// What it uses of the link, of which it leaves a part to a process before it.
    portion: Portion,
    /// Tells a process that has taken over what is invalidated here.
    parting: Mutex<Option<JoinHandle<()>>>,
}

/// What a proxy is started with.
pub(crate) struct Start {
    /// What `given` has been read to.
    pub(crate) loaded: Loaded,
    pub(crate) given: Given,
    /// They follow the configuration.
    pub(crate) levels: Option<Levels>,
    /// What others left to this process: it listens on their sockets, and opens the cache folder when whoever has it makes
    /// way.
    pub(crate) inheritance: Inheritance,
}

impl Start {
    fn alone(loaded: Loaded, given: Given) -> Self {
        Self { loaded, given, levels: None, inheritance: Inheritance::default() }
    }
}

impl Proxy {
    /// Starts a proxy as `config` says, which reads the time from `clock`. It accepts connections when this returns.
    ///
    /// # Errors
    /// An address that cannot be listened on, a cache folder that cannot be used, a log that cannot be opened: each
    /// named with its option.
    pub async fn start(config: Config, clock: Clock) -> anyhow::Result<Self> {
        Self::assemble(Start::alone(Loaded::of(config), Given::nowhere()), clock).await
    }

    /// As [`Proxy::start`], with a configuration that can be read again while the proxy runs.
    ///
    /// # Errors
    /// What is wrong with the configuration, and as [`Proxy::start`].
    pub async fn start_given(given: Given, clock: Clock) -> anyhow::Result<Self> {
        let loaded = given.load()?;
        Self::assemble(Start::alone(loaded, given), clock).await
    }

    /// As [`Proxy::start_given`], with all that there may be.
    pub(crate) async fn assemble(start: Start, clock: Clock) -> anyhow::Result<Self> {
        let Start { mut loaded, given, levels, inheritance } = start;
        let Inheritance { sockets: mut inherited, predecessor } = inheritance;
        let activated = inherited.activated();
        activated.amend(&mut loaded.config);
        let config = &loaded.config;
        // Before anything is opened: without it there is nothing to answer the listed hosts with.
        finish_rotation(config);
        let mut opened = opening::open(&loaded)?;
        let certificates = Certificates::of(opened.authority.take(), &clock, None)?;
        let mut listening = Listening::nowhere();
        let shown = TlsShown { given: opened.shown.take(), leaves: certificates.leaves.as_ref() };
        let plan = listening.plan(config, &shown, &mut inherited);
        let plan = plan.map_err(|error| with_whom(error, config))?;
        let desks = admin::tcp::bind(&config.admin.listen, &mut inherited)?;
        let desk_addresses = desks.iter().map(|desk| desk.listener.local_addr()).collect::<Result<_, _>>()?;
        // From here to the end of this nothing is stored by anybody.
        if let Some(predecessor) = &predecessor {
            predecessor.make_way().await;
        }
        let store = open_folder(config).await?;
        let link = SharedLink::new(config.link.trace.model(config.link.spec.clone()));
        link.set_classes(config.link.classes);
        let traffic = Arc::new(Traffic::new(config.log.query, link.clone(), clock.clone()));
        tokio::spawn(memory::look_after(Arc::downgrade(&traffic.observers)));
        let portion = Portion::all_of(link.clone());
        let lasting = Lasting {
            upgrade: Asking::default(),
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
        let assembly = Arc::new(Assembly::new(config, &lasting, certificates, opened, own, None)?);
        assembly.begin_to_log(&lasting);
        listening.carry_out(plan);
        let server = Arc::new(Server::new(
            assembly.handler.clone(),
            lasting.drain.clone(),
            lasting.census.clone(),
            lasting.traffic.captures.clone(),
            config,
        ));
        let places = Places::new(descriptors::places(config.limits.connections));
        let addresses = listening.addresses();
        let view = Arc::new(Current::new(assembly.view(&lasting, addresses.clone())));
        let (store, clock) = (lasting.store.clone(), lasting.clock.clone());
        let config = loaded.config.clone();
        let loaded = Arc::new(loaded);
        let state = State { base: loaded.clone(), hand: Hand::default(), loaded, assembly, listening };
        let state = Mutex::new(state);
        let turn = tokio::sync::Mutex::new(());
        let view_of_admin = view.clone();
        let running = Running { lasting, given, activated, server, places, view, levels, turn, state };
        let running = Arc::new(running);
        let admin = Arc::new(Admin::new(view_of_admin, running.clone(), store.clone(), clock, &config));
        let socket = admin::socket::listen(&config, &addresses[0], admin.clone(), &mut inherited).await?;
        let desks = admin::tcp::serve(desks, &admin);
        running.accept();
        if let Some(predecessor) = predecessor {
            let control = socket.as_ref().map(|socket| socket.path().to_owned());
            predecessor.take_over(store, portion.clone(), control).await;
        }
        Ok(Self { running, admin, socket, desks, portion, parting: Mutex::default() })
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
        let program = self.running.program();
        self.admin.welcome([&plain, &secure, &desks], self.socket.as_ref(), &program)
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

    /// One line on how it is.
    pub(crate) fn status(&self) -> String {
        let list: Vec<_> = self.running.addresses().iter().flatten().map(SocketAddr::to_string).collect();
        let stored = self.running.lasting.store.stats().objects;
        format!("listening on {}; {stored} stored responses", list.join(", "))
    }

    /// The upgrades that commands ask for, once.
    pub(crate) fn asked(&self) -> Option<mpsc::Receiver<Asked>> {
        self.running.lasting.upgrade.heard()
    }

    /// Has another process take over, as [`upgrade::hand_over`] says.
    ///
    /// # Errors
    /// Why there is none, for people; nothing has changed then.
    pub(crate) async fn upgrade(&self, program: &Program, binary: Option<&Path>) -> Outcome {
        // The other process reads the configuration, which is not to change meanwhile.
        let _turn = self.running.turn.lock().await;
        let sockets = self.held().map_err(|error| format!("the sockets cannot be handed over: {error}"))?;
        let estate = Estate { sockets: &sockets, store: &self.running.lasting.store, portion: &self.portion };
        let (patience, _) = self.running.handover();
        let (successor, parting) = upgrade::hand_over(program, binary, estate, patience).await?;
        *self.parting.lock().unwrap_or_else(PoisonError::into_inner) = Some(parting);
        Ok(successor)
    }

    /// All that it listens on, once more.
    fn held(&self) -> io::Result<Vec<Held>> {
        let desks = self.desks.iter().map(admin::tcp::Desk::held);
        let operators = desks.chain(self.socket.as_ref().map(admin::socket::Socket::held));
        let clients = self.running.held()?.into_iter().map(Ok);
        clients.chain(operators.map(Held::again)).collect()
    }

    /// Leaves commands and all that is new to `successor`, before anybody is told of it: who asks next means that one.
    pub(crate) async fn leave_commands(&mut self, successor: &Successor) {
        self.running.let_go();
        self.desks.clear();
        if let Some(socket) = &mut self.socket {
            socket.hand_over(successor.control.as_deref()).await;
        }
        // The rest is `retire`'s, which waits.
        self.running.lasting.drain.retire(Duration::ZERO).await;
    }

    /// Stops accepting, and finishes what is in flight, within `timeouts.upgrade`.
    pub(crate) async fn retire(&mut self) {
        let socket = self.socket.take();
        let answered = async {
            if let Some(socket) = &socket {
                socket.answered().await;
            }
            // Whoever watches goes on with the other process.
            self.admin.end();
        };
        let (_, patience) = self.running.handover();
        let ((), unfinished) = tokio::join!(answered, self.running.lasting.drain.retire(patience));
        if unfinished > 0 {
            tracing::warn!(unfinished, "connections were still busy at the end of timeouts.upgrade");
        }
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
        let parting = self.parting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(parting) = parting {
            let _ = tokio::time::timeout(LAST_WORDS, parting).await;
        }
    }
}

/// Says who has the address that could not be listened on, where that is another bentpipe.
fn with_whom(error: anyhow::Error, config: &Config) -> anyhow::Error {
    let is_taken = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
    if !error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).any(is_taken) {
        return error;
    }
    match admin::socket::another(config) {
        None => error,
        Some(socket) => error.context(format!(
            "a bentpipe runs there already and takes commands at {} (bentpipe reload has it read its configuration again)",
            socket.display()
        )),
    }
}

/// How long it may take to tell a process that has taken over what is left to be told.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Opens the cache folder that `config` names.
async fn open_folder(config: &Config) -> anyhow::Result<Store> {
    let limits = Limits { max_size: config.cache.size.0, max_object_size: config.cache.max_object.0 };
    let (folder, min_free) = (config.cache.dir.clone(), config.cache.min_free.map(|bytes| bytes.0));
    let memory = config.cache.memory.0;
    let open = move || {
        open_store(&folder, limits).inspect(|store| {
            store.keep_free(min_free);
            store.keep_in_memory(memory);
        })
    };
    tokio::task::spawn_blocking(open).await?
}

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

/// What of a rotation of the authority a crash has left undone is done before it is used.
fn finish_rotation(config: &Config) {
    if let Err(error) = Folder::new(&config.ca_dir).finish_promotion() {
        tracing::warn!(%error, "a rotation of the certificate authority could not be finished");
    }
}

/// What clients see that speak TLS to the proxy itself.
struct TlsShown<'a> {
    /// What the operator was given by an authority that clients know.
    given: Option<Arc<CertifiedKey>>,
    leaves: Option<&'a Arc<Leaves>>,
}

impl TlsShown<'_> {
    /// For a listener at `local`.
    fn acceptor(&self, local: SocketAddr) -> anyhow::Result<TlsAcceptor> {
        let shown = match (&self.given, self.leaves) {
            (Some(given), _) => Shown::Given(given.clone()),
            (None, Some(leaves)) => Shown::Own { leaves: leaves.clone(), address: local.ip().to_string() },
            (None, None) => anyhow::bail!("https_listen wants a certificate"),
        };
        Ok(TlsAcceptor::from(secure::config(Arc::new(shown))?))
    }
}

/// Our name in Via: of our own making in each run, so that two proxies of this kind in a row are not taken for a loop
/// (RFC 9110 §7.6.3 wants a pseudonym that is "unique" where it matters).
fn pseudonym(clock: &Clock) -> String {
    use std::hash::{BuildHasher as _, RandomState};
    format!("bentpipe-{:08x}", RandomState::new().hash_one(clock.now()) >> 32)
}
