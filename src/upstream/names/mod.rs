//! Names into addresses, with a memory: what is known counts for its time, one question is asked about a name at once,
//! and while no name server answers the last answers go on serving (RFC 8767). It does not judge addresses and dials
//! none; what a question costs on the link is `connect`'s to say.

mod ask;
mod cache;
mod local;

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::config::Dns;
use crate::host::Name;
use ask::Servers;
pub(crate) use cache::{Addresses, Missing};
use cache::{Cache, Known, Outcome};
use local::{HOSTS, Hosts, Watched};

/// "A reasonable starting point is 1.8 seconds" for how long a client waits before it gets an answer whose time is over
/// (RFC 8767 §5).
const PATIENCE: Duration = Duration::from_millis(1800);

/// Questions under way at once, and those that wait for their turn beside them: a dead name server holds each for
/// seconds.
const TURNS: usize = 64;
const WAITING: usize = 1024;

/// What is paid when a name server is asked, before its answer counts: the name and the addresses are handed over.
pub(crate) type Toll = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The names of one proxy.
#[derive(Clone)]
pub(crate) struct Names(Arc<Inner>);

struct Inner {
    dns: Dns,
    servers: Servers,
    hosts: Watched<Hosts>,
    state: Mutex<State>,
    counts: Arc<Counts>,
    turns: Semaphore,
}

struct State {
    cache: Cache,
    flights: HashMap<Box<str>, Flight>,
}

/// A question under way, and whoever waits for its answer.
#[derive(Clone)]
struct Flight {
    begun: Instant,
    landed: watch::Receiver<Option<Result<Addresses, Missing>>>,
}

/// How lookups were answered.
#[derive(Default)]
struct Counts {
    lookups: AtomicU64,
    local: AtomicU64,
    hits: AtomicU64,
    stale: AtomicU64,
    queries: AtomicU64,
    failures: AtomicU64,
}

/// How lookups were answered since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Counted {
    /// Names asked for, in all.
    pub(crate) lookups: u64,
    /// Of them those answered by dns.hosts, the hosts file, or because the name has a meaning of its own.
    pub(crate) local: u64,
    /// By an answer whose time was not over.
    pub(crate) hits: u64,
    /// By an answer whose time was over, in want of a better one.
    pub(crate) stale: u64,
    /// Questions to name servers, for both families of addresses each.
    pub(crate) queries: u64,
    /// Of them those that no name server could answer.
    pub(crate) failures: u64,
    /// Names remembered now.
    pub(crate) names: usize,
}

impl Names {
    /// Names that are looked up as `dns` says.
    pub(crate) fn new(dns: &Dns) -> Self {
        Self::counting(dns, Arc::default())
    }

    /// Names that are looked up as `dns` says, which is something else: what was answered before counts for nothing.
    pub(crate) fn renewed(&self, dns: &Dns) -> Self {
        Self::counting(dns, self.0.counts.clone())
    }

    fn counting(dns: &Dns, counts: Arc<Counts>) -> Self {
        let state = State { cache: Cache::new(dns.stale), flights: HashMap::new() };
        Self(Arc::new(Inner {
            servers: Servers::new(dns),
            dns: dns.clone(),
            hosts: Watched::new(HOSTS, local::hosts),
            state: Mutex::new(state),
            counts,
            turns: Semaphore::new(TURNS),
        }))
    }

    /// The addresses of `name`. If a name server has to be asked, `toll` is paid for its answer.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn look_up(
        &self,
        name: &Name,
        toll: impl FnOnce(Addresses) -> Toll + Send + 'static,
    ) -> Result<Addresses, Missing> {
        let inner = &self.0;
        count(&inner.counts.lookups);
        if let Some(known) = inner.locally(name).await {
            count(&inner.counts.local);
            return known;
        }
        let key = name.to_string();
        let (flight, last) = {
            let mut state = inner.lock();
            match state.cache.look(&key, Instant::now()) {
                Known::Fresh(answer) => {
                    count(&inner.counts.hits);
                    return answer;
                }
                Known::Stale(addresses, false) => {
                    count(&inner.counts.stale);
                    return Ok(addresses);
                }
                Known::Stale(addresses, true) => (self.flight(&mut state, name, toll), Some(addresses)),
                Known::Nothing => (self.flight(&mut state, name, toll), None),
            }
        };
        let Some(flight) = flight else { return last.ok_or(Missing::Failed(None)) };
        let Some(last) = last else { return landed(flight.landed).await };
        // A question that others wait for in vain already is not waited for again.
        match tokio::time::timeout_at(flight.begun + PATIENCE, landed(flight.landed)).await {
            Ok(answer @ (Ok(_) | Err(Missing::NoName | Missing::NoAddress))) => answer,
            Ok(Err(Missing::Failed(_))) | Err(_) => {
                count(&inner.counts.stale);
                Ok(last)
            }
        }
    }

    /// What `name` means wherever it is said; none for an ordinary name.
    pub(crate) fn special(&self, name: &Name) -> Option<Addresses> {
        local::special(name.text())
    }

    /// What is known of `name` without asking anybody now; none where somebody would have to be asked, and where what
    /// is known is that it has no address.
    pub(crate) async fn known(&self, name: &Name) -> Option<Addresses> {
        if let Some(known) = self.0.locally(name).await {
            return known.ok();
        }
        match self.0.lock().cache.look(&name.to_string(), Instant::now()) {
            Known::Fresh(answer) => answer.ok(),
            Known::Stale(addresses, _) => Some(addresses),
            Known::Nothing => None,
        }
    }

    /// What was counted so far.
    pub(crate) fn counted(&self) -> Counted {
        let Counts { lookups, local, hits, stale, queries, failures } = &*self.0.counts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counted {
            lookups: read(lookups),
            local: read(local),
            hits: read(hits),
            stale: read(stale),
            queries: read(queries),
            failures: read(failures),
            names: self.0.lock().cache.len(),
        }
    }

    /// The question about `name` that is under way, or else one that begins now. None if there are too many.
    fn flight(
        &self,
        state: &mut State,
        name: &Name,
        toll: impl FnOnce(Addresses) -> Toll + Send + 'static,
    ) -> Option<Flight> {
        let key = name.to_string();
        if let Some(flight) = state.flights.get(key.as_str()) {
            return Some(flight.clone());
        }
        if state.flights.len() >= WAITING {
            return None;
        }
        let (lands, landed) = watch::channel(None);
        let flight = Flight { begun: Instant::now(), landed };
        state.flights.insert(key.as_str().into(), flight.clone());
        let (ended, name) = (Ended { inner: self.0.clone(), key }, name.clone());
        tokio::spawn(async move {
            let outcome = ended.inner.ask(&name, toll).await;
            ended.inner.lock().cache.put(&ended.key, &outcome, Instant::now());
            // From here on others find it in the cache.
            drop(ended);
            let _ = lands.send(Some(outcome.answer()));
        });
        Some(flight)
    }
}

/// Whatever becomes of a question, it is no longer under way when its task has ended.
struct Ended {
    inner: Arc<Inner>,
    key: String,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.inner.lock().flights.remove(self.key.as_str());
    }
}

async fn landed(
    mut landing: watch::Receiver<Option<Result<Addresses, Missing>>>,
) -> Result<Addresses, Missing> {
    match landing.wait_for(Option::is_some).await {
        Ok(answer) => answer.clone().unwrap_or(Err(Missing::Failed(None))),
        Err(_) => Err(Missing::Failed(None)),
    }
}

impl Inner {
    /// What need not be asked of a name server.
    async fn locally(&self, name: &Name) -> Option<Result<Addresses, Missing>> {
        if let Some(addresses) = local::special(name.text()) {
            return Some(Ok(addresses));
        }
        let given: Vec<IpAddr> = self.dns.given(name.text());
        if !given.is_empty() {
            return Some(Ok(given.into()));
        }
        if let Some(found) = self.hosts.content().await.get(name.text()) {
            return Some(Ok(found.as_slice().into()));
        }
        local::unasked(name.text()).map(Err)
    }

    async fn ask(&self, name: &Name, toll: impl FnOnce(Addresses) -> Toll) -> Outcome {
        let Ok(_turn) = self.turns.acquire().await else { return Outcome::Failed(None) };
        count(&self.counts.queries);
        let asking = async {
            let outcome = self.servers.ask(name).await;
            toll(outcome.answer().unwrap_or_default()).await;
            outcome
        };
        // An answer that does not get across the link is none.
        let outcome = tokio::time::timeout(self.dns.timeout, asking).await.unwrap_or(Outcome::Failed(None));
        if matches!(outcome, Outcome::Failed(_)) {
            count(&self.counts.failures);
        }
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
