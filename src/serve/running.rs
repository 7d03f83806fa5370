//! `Running`: the configuration of a running proxy, and how another one takes its place. It is read, checked and built as a
//! whole beside the one in force, and then put in its place at once: on any error nothing has changed. Requests under way
//! keep what they began with. Every change is audited.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bentpipe_store::Limits;
use linkio::ClassPolicy;
use serde_json::Value;

use super::TlsShown;
use super::assembly::{Assembly, Certificates, Lasting};
use super::listening::{Listening, Plan};
use crate::admin::View;
use crate::admin::configuring::{Changed, Configured, Outcome, Unchanged};
use crate::admin::serving::AUDIT;
use crate::admin::who::Who;
use crate::config::changes::{self, Change};
use crate::config::{Config, Given, Hand, Loaded};
use crate::current::Current;
use crate::descriptors;
use crate::listen::connection::Server;
use crate::listen::places::Places;
use crate::observe::levels::Levels;
use crate::observe::url::Urls;
use crate::opening;
use crate::upgrade::sockets::{Activated, Held, Inherited};

/// A proxy's configuration while it runs.
pub(super) struct Running {
    pub(super) lasting: Lasting,
    pub(super) given: Given,
    /// Where a service manager has it listen.
    pub(super) activated: Activated,
    pub(super) server: Arc<Server>,
    pub(super) places: Places,
    pub(super) view: Arc<Current<View>>,
    pub(super) levels: Option<Levels>,
    /// One change at a time.
    pub(super) turn: tokio::sync::Mutex<()>,
    pub(super) state: Mutex<State>,
}

/// What holds now.
pub(super) struct State {
    /// As it was read last.
    pub(super) base: Arc<Loaded>,
    pub(super) hand: Hand,
    /// The one with the other over it.
    pub(super) loaded: Arc<Loaded>,
    pub(super) assembly: Arc<Assembly>,
    pub(super) listening: Listening,
}

/// A configuration that is ready to hold.
struct Ready {
    base: Arc<Loaded>,
    hand: Hand,
    loaded: Loaded,
    assembly: Assembly,
    plan: Plan,
    changed: Vec<Change>,
    restart: Vec<Change>,
}

impl Running {
    /// Where clients connect in plain, and with TLS.
    pub(super) fn addresses(&self) -> [Vec<SocketAddr>; 2] {
        self.lock().listening.addresses()
    }

    /// What clients connect to, once more for the process after this one.
    pub(super) fn held(&self) -> io::Result<Vec<Held>> {
        self.lock().listening.held()
    }

    /// Leaves what clients connect to to the process after this one.
    pub(super) fn let_go(&self) {
        self.lock().listening.let_go();
    }

    /// How long a process that takes over may take to come up, and then what is in flight here to end.
    pub(super) fn handover(&self) -> (Duration, Duration) {
        let timeouts = &self.lock().assembly.config.timeouts;
        (timeouts.upgrade_start, timeouts.upgrade)
    }

    /// How a command is called that is to find this proxy.
    pub(super) fn program(&self) -> String {
        self.lock().loaded.program()
    }

    /// Begins to accept connections.
    pub(super) fn accept(&self) {
        self.lock().listening.accept(&self.server, &self.places);
    }

    /// How long exchanges under way may take to finish.
    pub(super) fn patience(&self) -> Duration {
        self.lock().assembly.config.timeouts.drain
    }

    /// Opens the access log's file anew before its next line, as after it was moved away.
    pub(super) fn reopen_log(&self) {
        if let Some(log) = &self.lock().assembly.log {
            log.reopen().ask();
        }
    }

    /// Reads the configuration again, and puts it in the place of the one in force. What was set by hand is dropped.
    pub(super) async fn reload(self: &Arc<Self>, who: &Who) -> Result<Changed, Unchanged> {
        if !self.given.can_be_read() {
            return Err(Unchanged(vec![
                "this proxy was made by a program: there is nothing to read".to_owned(),
            ]));
        }
        let _turn = self.turn.lock().await;
        let read = self.beside(|running| running.given.load().map_err(Unchanged::from));
        let outcome = match read.await {
            Ok(base) => self.replace(Arc::new(base), Hand::default(), who).await,
            Err(why) => Err(why),
        };
        self.audit_failure(&outcome, who, "the configuration was not read again; the one in force stays");
        outcome
    }

    /// Sets options to values.
    async fn change(self: &Arc<Self>, values: Vec<(String, Value)>, who: &Who) -> Result<Changed, Unchanged> {
        let _turn = self.turn.lock().await;
        let (base, mut hand) = {
            let state = self.lock();
            (state.base.clone(), state.hand.clone())
        };
        let set = values.iter().map(|(key, value)| hand.set(key, value));
        let wrong: Vec<_> = set.filter_map(Result::err).map(|error| error.to_string()).collect();
        let outcome = match wrong.is_empty() {
            true => self.replace(base, hand, who).await,
            false => Err(Unchanged(wrong)),
        };
        self.audit_failure(&outcome, who, "the configuration was not changed");
        outcome
    }

    fn audit_failure(&self, outcome: &Result<Changed, Unchanged>, who: &Who, what: &str) {
        if let Err(Unchanged(why)) = outcome {
            let why = why.join("; ");
            tracing::warn!(target: AUDIT, %who, why, "{what}");
        }
    }

    async fn replace(
        self: &Arc<Self>,
        base: Arc<Loaded>,
        hand: Hand,
        who: &Who,
    ) -> Result<Changed, Unchanged> {
        let dropped = {
            let (before, now) = (self.lock().hand.keys(), hand.keys());
            before.into_iter().filter(|key| !now.contains(key)).collect()
        };
        let ready = self.beside(move |running| running.prepare(base, hand)).await?;
        audit(&ready, who);
        let (changed, restart) = (ready.changed.clone(), ready.restart.clone());
        // Whoever is told may stand elsewhere.
        let absolute = |file: &PathBuf| std::path::absolute(file).unwrap_or_else(|_| file.clone());
        let (by_hand, files) = (ready.hand.keys(), ready.base.files.iter().map(absolute).collect());
        self.commit(ready);
        Ok(Changed { changed, restart, by_hand, dropped, files })
    }

    /// Does `work` where waiting is allowed: files are read and parsed for it, whose disk may be slow or gone, and nobody
    /// waits for that except who asked.
    async fn beside<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Unchanged> + Send + 'static,
    ) -> Result<T, Unchanged> {
        let running = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&running)).await;
        done.unwrap_or_else(|_| {
            Err(Unchanged(vec!["it came to no end; that is a fault of bentpipe".to_owned()]))
        })
    }

    /// Builds everything beside what is in force. Waits for the disk.
    fn prepare(&self, base: Arc<Loaded>, hand: Hand) -> Result<Ready, Unchanged> {
        let mut loaded = self.given.with_hand(&base, &hand)?;
        self.activated.amend(&mut loaded.config);
        let before = self.lock().assembly.clone();
        let restart = changes::hold_back(&before.config, &mut loaded.config);
        let changed = changes::between(&before.config, &loaded.config);
        let wrong = |error: anyhow::Error| Unchanged(vec![format!("{error:#}")]);
        let config = &loaded.config;
        if let Some(levels) = &self.levels {
            levels.check(&config.log.level).map_err(wrong)?;
        }
        super::finish_rotation(config);
        // Whoever changes something by hand has not asked for the rest to be read again.
        let is_read = !Arc::ptr_eq(&base, &self.lock().base);
        let mut opened = opening::open_beside(&loaded, (!is_read).then_some(&before.config))?;
        let authority = opened.authority.take();
        let certificates = Certificates::of(authority, &self.lasting.clock, Some(&before.certificates))
            .map_err(|error| wrong(error.into()))?;
        let shown = TlsShown { given: opened.shown.take(), leaves: certificates.leaves.as_ref() };
        let plan = self.lock().listening.plan(config, &shown, &mut Inherited::default()).map_err(wrong)?;
        let own = plan.addresses();
        let assembly = Assembly::new(config, &self.lasting, certificates, opened, own, Some(&before));
        let assembly = assembly.map_err(wrong)?;
        Ok(Ready { base, hand, loaded, assembly, plan, changed, restart })
    }

    /// Puts it in force. Nothing here can fail or wait.
    fn commit(&self, ready: Ready) {
        let Ready { base, hand, loaded, assembly, plan, .. } = ready;
        let assembly = Arc::new(assembly);
        let config = &assembly.config;
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.assembly, assembly.clone());
        (state.base, state.hand, state.loaded) = (base, hand, Arc::new(loaded));
        state.listening.carry_out(plan);
        self.server.renew(assembly.handler.clone(), config);
        self.places.resize(descriptors::places(config.limits.connections));
        state.listening.accept(&self.server, &self.places);
        let listening = state.listening.addresses();
        drop(state);
        assembly.begin_to_log(&self.lasting);
        self.apply_to_lasting(&before.config, config);
        self.view.set(assembly.view(&self.lasting, listening));
    }

    /// Tells the parts that go on what holds for them now.
    fn apply_to_lasting(&self, before: &Config, config: &Config) {
        let Lasting { link, store, traffic, .. } = &self.lasting;
        if (&before.link.spec, &before.link.trace) != (&config.link.spec, &config.link.trace) {
            // What is queued stays queued, and nothing is lost.
            link.set(config.link.trace.model(config.link.spec.clone()));
        }
        let classes: [ClassPolicy; 3] = config.link.classes;
        if before.link.classes != classes {
            link.set_classes(classes);
        }
        store.limit_to(Limits { max_size: config.cache.size.0, max_object_size: config.cache.max_object.0 });
        store.keep_in_memory(config.cache.memory.0);
        if before.cache.min_free != config.cache.min_free {
            let (store, min_free) = (store.clone(), config.cache.min_free.map(|bytes| bytes.0));
            // It asks the disk; the rest need not wait for that.
            tokio::task::spawn_blocking(move || store.keep_free(min_free));
        }
        if before.log.query != config.log.query {
            traffic.urls.set(Urls::new(config.log.query));
        }
        if let Some(levels) = &self.levels {
            levels.set(&config.log.level);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes down who has changed what.
fn audit(ready: &Ready, who: &Who) {
    for Change { key, before, after } in &ready.changed {
        tracing::info!(target: AUDIT, %who, key, %before, %after, "the configuration was changed");
    }
    // Said when it is read, and not again with everything that is set by hand.
    let is_read = ready.hand.keys().is_empty();
    for Change { key, before, after } in ready.restart.iter().filter(|_| is_read) {
        tracing::info!(target: AUDIT, %who, key, %before, %after, "takes effect after a restart");
    }
    if ready.changed.is_empty() && ready.restart.is_empty() {
        tracing::info!(target: AUDIT, %who, "the configuration is as it was");
    }
}

impl Configured for Running {
    fn loaded(&self) -> Arc<Loaded> {
        self.lock().loaded.clone()
    }

    fn reload(self: Arc<Self>, who: Who) -> Outcome {
        Box::pin(async move { Running::reload(&self, &who).await })
    }

    fn change(self: Arc<Self>, values: Vec<(String, Value)>, who: Who) -> Outcome {
        Box::pin(async move { Running::change(&self, values, &who).await })
    }
}
