//! The record of one exchange (a request and what became of it), and who may read it. The record is filled in as the
//! request walks the line and is handed to the readers once, when its last holder lets go: the client's body, the
//! tunnel, or a fetch that goes on after its client left. It does not write anything anywhere itself.

mod cache_status;
mod observers;
mod outcome;
mod placed;
mod record;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use http::{Method, Uri, Version};
use linkio::Class;
use rfc9111::Because;
use tokio::time::Instant;
use tracing::Span;

use crate::admit::occupancy::Seat;
use crate::flag::Flag;
pub(crate) use cache_status::{CacheStatus, Forwarded, HIT};
pub(crate) use observers::{Observers, Reader};
pub(crate) use outcome::{Answer, OUTCOMES, Outcome};
use placed::Placed;
pub(crate) use placed::{Carried, Chosen};
pub(crate) use record::{Cut, Details, Peer, Record, Times, Told};

/// A hold on the record of an exchange that is still going on.
#[derive(Clone)]
pub(crate) struct Exchange(Arc<Open>);

struct Open {
    record: Record,
    details: Mutex<Details>,
    observers: Arc<Observers>,
    /// Where the observers keep it.
    place: usize,
    /// Whether it is to be broken off, for the one who carries it on at the moment.
    stop: Flag,
    placed: Placed,
    /// What is said of it is said in this span, where somebody watches it.
    span: OnceLock<Span>,
    /// Given back when the exchange is over.
    seat: OnceLock<Seat>,
}

impl Exchange {
    /// Begins the record of a request for `target` that `client` has sent in a message of `version`.
    pub(crate) fn begin(
        method: Method,
        target: Uri,
        version: Version,
        client: IpAddr,
        at: SystemTime,
        observers: &Arc<Observers>,
    ) -> Self {
        let number = observers.number();
        let record = Record {
            number,
            at,
            client,
            method,
            target,
            version,
            begun: Instant::now(),
            client_bytes: AtomicU64::new(0),
            received: AtomicU64::new(0),
            link_down: AtomicU64::new(0),
            link_up: AtomicU64::new(0),
            link_time: AtomicU64::new(0),
            content: OnceLock::new(),
            crossing: Mutex::default(),
        };
        Self(Arc::new_cyclic(|open: &Weak<Open>| {
            let place = observers.keep(number, open.clone());
            let (stop, placed, seat) = (Flag::default(), Placed::default(), OnceLock::new());
            let (details, observers, span) = (Mutex::default(), observers.clone(), OnceLock::new());
            Open { record, details, observers, place, stop, placed, span, seat }
        }))
    }

    /// What is said of it from now on is said in `span`.
    pub(crate) fn watch(&self, span: Span) {
        let _ = self.0.span.set(span);
    }

    /// The span in which to say something of it, or to do something for it: of none, where nobody watches it.
    pub(crate) fn span(&self) -> Span {
        self.0.span.get().cloned().unwrap_or_else(Span::none)
    }

    /// Keeps its client's `seat`, of which there is one, until the exchange is over.
    pub(crate) fn hold(&self, seat: Seat) {
        let _ = self.0.seat.set(seat);
    }

    /// What is known from the beginning, and counted.
    pub(crate) fn record(&self) -> &Record {
        &self.0.record
    }

    /// What `take` wants of what became known so far.
    pub(crate) fn with<T>(&self, take: impl FnOnce(&Details) -> T) -> T {
        take(&self.lock())
    }

    /// Whether the response has a head only.
    pub(crate) fn is_head(&self) -> bool {
        self.0.record.method == Method::HEAD
    }

    /// Changes what is known so far.
    pub(crate) fn note(&self, change: impl FnOnce(&mut Details)) {
        change(&mut self.lock());
    }

    /// What the cache did, for the response's own fields.
    pub(crate) fn cache_status(&self) -> CacheStatus {
        self.lock().cache.clone()
    }

    /// This is why the cache decided as it did, and which operator's rule had a say in it, if one had. The last one told
    /// of counts.
    pub(crate) fn decided(&self, because: &Because) {
        tracing::debug!(%because, "the cache has decided");
        self.note(|details| {
            details.because = Some(because.clone());
            if let Some(rule) = because.rule() {
                details.rule = Some(rule.clone());
            }
        });
    }

    /// An operator's rule changed what was decided, if there is one. The last one told of counts.
    pub(crate) fn note_rule(&self, rule: Option<&Arc<str>>) {
        if let Some(rule) = rule {
            self.note(|details| details.rule = Some(rule.clone()));
        }
    }

    /// It was answered by ourselves, for this `reason`; `error` is its type of RFC 9209.
    pub(crate) fn refused(&self, error: Option<&'static str>, reason: &str) {
        tracing::debug!(error, reason, "it is refused");
        self.note(|details| (details.error, details.reason) = (error, Some(reason.into())));
    }

    /// `bytes` more of the response were handed to the client's connection.
    pub(crate) fn sent(&self, bytes: u64) {
        self.0.record.client_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// `bytes` more came from the client into its tunnel.
    pub(crate) fn received(&self, bytes: u64) {
        self.0.record.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The bytes of the request's content that have come are what `count` tells.
    pub(crate) fn receives(&self, count: impl Fn() -> u64 + Send + Sync + 'static) {
        let _ = self.0.record.content.set(Box::new(count));
    }

    /// What crosses the link for this exchange now, down and up, is what `crossing` tells, until `crossed` says what it
    /// came to.
    pub(crate) fn crosses(&self, crossing: impl Fn() -> (u64, u64) + Send + Sync + 'static) {
        *self.0.record.crossing.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(crossing));
    }

    /// `down` and `up` more bytes crossed the link for this exchange, and were on it for so long.
    pub(crate) fn crossed(&self, down: u64, up: u64, time: Duration) {
        let record = &self.0.record;
        let counted = record.crossing.lock().unwrap_or_else(PoisonError::into_inner).take();
        record.link_down.fetch_add(down, Ordering::Relaxed);
        record.link_up.fetch_add(up, Ordering::Relaxed);
        let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        record.link_time.fetch_add(time, Ordering::Relaxed);
        drop(counted);
        self.0.placed.carried_by(None);
    }

    /// `carried` carries it across the link, until `crossed` says what that came to.
    pub(crate) fn carried_by(&self, carried: Arc<dyn Carried>) {
        self.0.placed.carried_by(Some(carried));
    }

    /// The class that an operator chooses for it.
    pub(crate) fn chosen(&self) -> Chosen {
        self.0.placed.chosen.clone()
    }

    /// Its class on the link at the moment; none while nothing of it crosses.
    pub(crate) fn class(&self) -> Option<Class> {
        self.0.placed.class()
    }

    /// From now on it is of this class, whatever the rules say; or, with none, of theirs again. Whether something of it
    /// is crossing now.
    pub(crate) fn choose(&self, class: Option<Class>) -> bool {
        self.0.placed.choose(class)
    }

    /// Breaks it off, on an operator's behalf, as soon as whoever carries it on looks.
    pub(crate) fn stop(&self) {
        self.0.stop.raise();
    }

    /// Ready once it is to be broken off. The last one to ask is woken.
    pub(crate) fn poll_stopped(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.stop.poll(cx)
    }

    /// Resolves once it is to be broken off.
    pub(crate) async fn stopped(&self) {
        self.0.stop.until_raised().await;
    }

    /// Whether it is to be broken off.
    pub(crate) fn is_stopped(&self) -> bool {
        self.0.stop.is_raised()
    }

    fn lock(&self) -> MutexGuard<'_, Details> {
        self.0.details.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let details = std::mem::take(self.details.get_mut().unwrap_or_else(PoisonError::into_inner));
        if let Some(span) = self.span.get() {
            let (record, _entered) = (&self.record, span.enter());
            let (to_client, down, up) = (record.client_bytes(), record.link_down(), record.link_up());
            let cut_short = details.cut_short;
            tracing::debug!(to_client, down, up, took = ?record.duration(), ?cut_short, "it is over");
        }
        self.observers.over(self.place, &self.record, &details);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Count(Arc<AtomicU64>);
    impl Reader for Count {
        fn read(&self, record: &Record, _: &Details) {
            self.0.fetch_add(record.client_bytes(), Ordering::Relaxed);
        }
    }

    fn begin(observers: &Arc<Observers>) -> Exchange {
        let (target, client) = (Uri::from_static("http://a/"), IpAddr::from([127, 0, 0, 1]));
        Exchange::begin(Method::GET, target, Version::HTTP_11, client, SystemTime::UNIX_EPOCH, observers)
    }

    #[tokio::test]
    async fn readers_are_told_once_when_the_last_holder_lets_go() {
        let total = Arc::new(AtomicU64::new(0));
        let observers = Observers::new(vec![Box::new(Count(total.clone()))]);
        let exchange = begin(&observers);
        let other = exchange.clone();
        exchange.sent(3);
        drop(exchange);
        other.sent(4);
        assert_eq!(total.load(Ordering::Relaxed), 0);
        drop(other);
        assert_eq!(total.load(Ordering::Relaxed), 7);
    }

    #[tokio::test]
    async fn what_is_under_way_is_seen_and_can_be_stopped() {
        let observers = Observers::new(Vec::new());
        let mut exchanges: Vec<_> = (0..20).map(|_| begin(&observers)).collect();
        exchanges.truncate(10);
        exchanges.push(begin(&observers));
        let mut numbers: Vec<_> =
            observers.under_way().iter().map(|exchange| exchange.record().number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 21]);
        let Some(exchange) = exchanges.pop() else { return };
        assert!(!exchange.is_stopped());
        observers.under_way().iter().for_each(Exchange::stop);
        exchange.stopped().await;
        drop((exchange, exchanges));
        assert_eq!((observers.under_way().len(), observers.begun()), (0, 21));
    }

    #[tokio::test]
    async fn what_crosses_is_counted_while_it_does_and_once_afterwards() {
        let observers = Observers::new(Vec::new());
        let exchange = begin(&observers);
        exchange.crosses(|| (7, 3));
        assert_eq!((exchange.record().link_down(), exchange.record().link_up()), (7, 3));
        exchange.crossed(8, 3, Duration::from_millis(5));
        assert_eq!((exchange.record().link_down(), exchange.record().link_up()), (8, 3));
        assert_eq!(exchange.record().link_time(), Duration::from_millis(5));
    }
}
