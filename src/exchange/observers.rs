//! Who is told of exchanges, and which ones are going on. Readers are told of each once, when it is over; whoever wants to
//! see those under way asks for them.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::{Details, Exchange, Open, Record};
use crate::current::Current;

/// Someone who is told of every exchange when it is over. Must not wait.
pub(crate) trait Reader: Send + Sync {
    /// Takes note of one finished exchange.
    fn read(&self, record: &Record, details: &Details);

    /// Whether the record is to carry what clients tell of themselves.
    fn wants_told(&self) -> bool {
        false
    }
}

/// All readers, and all exchanges under way.
pub(crate) struct Observers {
    readers: Current<Vec<Box<dyn Reader>>>,
    want_told: AtomicBool,
    begun: AtomicU64,
    over: AtomicU64,
    /// By what remains of their numbers, so that many threads rarely meet.
    under_way: [Mutex<Slots>; SHARDS],
}

const SHARDS: usize = 8;

/// Exchanges in places that are used again.
#[derive(Default)]
struct Slots {
    places: Vec<Option<Weak<Open>>>,
    free: Vec<usize>,
}

impl Observers {
    /// These readers, and nothing under way yet.
    pub(crate) fn new(readers: Vec<Box<dyn Reader>>) -> Arc<Self> {
        let want_told = AtomicBool::new(readers.iter().any(|reader| reader.wants_told()));
        Arc::new(Self {
            want_told,
            readers: Current::new(readers),
            begun: AtomicU64::new(0),
            over: AtomicU64::new(0),
            under_way: Default::default(),
        })
    }

    /// Whether records are to carry what clients tell of themselves.
    pub(crate) fn want_told(&self) -> bool {
        self.want_told.load(Ordering::Relaxed)
    }

    /// From now on these readers are told, also of what has begun.
    pub(crate) fn renew(&self, readers: Vec<Box<dyn Reader>>) {
        self.want_told.store(readers.iter().any(|reader| reader.wants_told()), Ordering::Relaxed);
        self.readers.set(readers);
    }

    /// Exchanges that have begun since the start.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// How many exchanges are under way.
    pub(crate) fn count(&self) -> u64 {
        let over = self.over.load(Ordering::Acquire);
        self.begun().saturating_sub(over)
    }

    /// The exchanges under way, in no order.
    pub(crate) fn under_way(&self) -> Vec<Exchange> {
        let each = |at: usize| {
            let slots = self.lock(at);
            slots.places.iter().flatten().filter_map(Weak::upgrade).map(Exchange).collect::<Vec<_>>()
        };
        // Whoever of them is over by now is told of outside of the locks.
        (0..SHARDS).flat_map(each).collect()
    }

    /// A number for one that begins.
    pub(super) fn number(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// `exchange`, number `number`, is under way; where it is kept.
    pub(super) fn keep(&self, number: u64, exchange: Weak<Open>) -> usize {
        let mut slots = self.lock(shard(number));
        let place = slots.free.pop().unwrap_or_else(|| {
            slots.places.push(None);
            slots.places.len() - 1
        });
        if let Some(slot) = slots.places.get_mut(place) {
            *slot = Some(exchange);
        }
        place
    }

    /// The exchange kept at `place` is over, and this is its record.
    pub(super) fn over(&self, place: usize, record: &Record, details: &Details) {
        for reader in self.readers.now().iter() {
            reader.read(record, details);
        }
        let mut slots = self.lock(shard(record.number));
        let kept = slots.places.get_mut(place).and_then(Option::take);
        slots.free.push(place);
        drop((slots, kept));
        self.over.fetch_add(1, Ordering::Release);
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, Slots> {
        self.under_way[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the exchange `number` is kept.
fn shard(number: u64) -> usize {
    usize::try_from(number % SHARDS as u64).unwrap_or(0)
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observers").field("begun", &self.begun).finish_non_exhaustive()
    }
}
