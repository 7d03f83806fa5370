//! One fetch per cache key: who asks the origin, and who waits to see whether its answer may be shared.
//!
//! Owns the running fetches whose head is not known yet, and the memory of keys whose responses turned out not to be
//! shareable. It does not know what was fetched: who has waited looks into the store again (RFC 9111 §4: a cache can
//! use a response that is being stored to satisfy further requests).

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use foldhash::HashMap;
use rfc9111::CacheKey;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::locked::lock;

/// How long a key is remembered as unshareable.
const MEMORY: Duration = Duration::from_secs(60);
/// How many such keys are remembered.
const MEMORIES: usize = 4096;

/// Whether to fetch, and whether others wait for it.
pub enum Collapse {
    /// This request fetches; others wait for its head.
    Lead(Lead),
    /// Another request fetches: wait for its head, then look into the store again.
    Follow(HeadWait),
    /// Responses for this key lately proved unshareable: fetch, and nobody waits.
    Alone,
}

/// The right to fetch for everyone. Dropping it lets the waiting requests look again, like [`Lead::settle`].
pub struct Lead {
    key: CacheKey,
    collapsing: Arc<Collapsing>,
}

/// Resolves when the head of the fetch being waited for is known, or when it was given up.
pub struct HeadWait {
    settled: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
}

/// The fetches of one store.
#[derive(Default)]
pub(crate) struct Collapsing {
    /// Once somebody follows, with what is dropped when the lead is, which is what the followers wait for.
    running: Mutex<HashMap<CacheKey, Option<watch::Sender<()>>>>,
    unshareable: Mutex<Unshareable>,
}

/// Bounded by dropping the oldest.
#[derive(Default)]
struct Unshareable {
    until: HashMap<CacheKey, Instant>,
    order: VecDeque<(CacheKey, Instant)>,
}

impl Collapsing {
    /// Fetches whose head is not known yet.
    pub(crate) fn running(&self) -> usize {
        lock(&self.running).len()
    }

    /// What a request for `key`, for which nothing fit is stored, should do.
    pub(crate) fn join(self: &Arc<Self>, key: &CacheKey) -> Collapse {
        if lock(&self.unshareable).contains(key) {
            return Collapse::Alone;
        }
        let mut running = lock(&self.running);
        if let Some(followed) = running.get_mut(key) {
            let settled = followed.get_or_insert_with(|| watch::Sender::new(()));
            return Collapse::Follow(HeadWait::new(settled.subscribe()));
        }
        running.insert(key.clone(), None);
        Collapse::Lead(Lead { key: key.clone(), collapsing: Arc::clone(self) })
    }
}

impl Lead {
    /// The response may not be stored or shared: whoever waits goes on its own, and so do later requests for a while.
    pub fn unshareable(self) {
        lock(&self.collapsing.unshareable).remember(&self.key);
        self.settle();
    }

    /// The response is being stored, or says nothing of later ones: whoever waits looks again.
    pub fn settle(self) {
        drop(self);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        lock(&self.collapsing.running).remove(&self.key);
    }
}

impl HeadWait {
    fn new(mut receiver: watch::Receiver<()>) -> Self {
        // Nothing is ever sent; the channel closes when the lead is dropped, and that is the message.
        Self { settled: Box::pin(async move { drop(receiver.changed().await) }) }
    }
}

impl Future for HeadWait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.settled.as_mut().poll(cx)
    }
}

impl Unshareable {
    fn contains(&self, key: &CacheKey) -> bool {
        !self.until.is_empty() && self.until.get(key).is_some_and(|until| Instant::now() < *until)
    }

    fn remember(&mut self, key: &CacheKey) {
        let until = Instant::now() + MEMORY;
        self.until.insert(key.clone(), until);
        self.order.push_back((key.clone(), until));
        while let Some((oldest, until)) = self.order.front()
            && (self.order.len() > MEMORIES || *until <= Instant::now())
        {
            // A key that was remembered again since then stays.
            if self.until.get(oldest) == Some(until) {
                self.until.remove(oldest);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(path: &str) -> CacheKey {
        CacheKey::parse(&format!("http://origin/{path}")).unwrap()
    }

    fn lead(collapsing: &Arc<Collapsing>, path: &str) -> Lead {
        match collapsing.join(&key(path)) {
            Collapse::Lead(lead) => lead,
            _ => panic!("not the leader for {path}"),
        }
    }

    fn follow(collapsing: &Arc<Collapsing>, path: &str) -> HeadWait {
        match collapsing.join(&key(path)) {
            Collapse::Follow(wait) => wait,
            _ => panic!("not a follower for {path}"),
        }
    }

    #[tokio::test]
    async fn one_leads_and_the_others_wait_until_it_settles() {
        let collapsing = Arc::new(Collapsing::default());
        let leader = lead(&collapsing, "a");
        let mut waits = [follow(&collapsing, "a"), follow(&collapsing, "a")];
        for wait in &mut waits {
            assert!(std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *wait).poll(cx).is_pending())).await);
        }
        leader.settle();
        for wait in waits {
            wait.await;
        }
        lead(&collapsing, "a").settle();
    }

    #[tokio::test]
    async fn a_leader_that_vanishes_wakes_its_followers() {
        let collapsing = Arc::new(Collapsing::default());
        let leader = lead(&collapsing, "a");
        let wait = follow(&collapsing, "a");
        drop(leader);
        wait.await;
    }

    #[tokio::test]
    async fn keys_do_not_wait_for_each_other() {
        let collapsing = Arc::new(Collapsing::default());
        let _one = lead(&collapsing, "a");
        let _other = lead(&collapsing, "b");
    }

    #[tokio::test(start_paused = true)]
    async fn an_unshareable_key_does_not_queue_for_a_minute() {
        let collapsing = Arc::new(Collapsing::default());
        let leader = lead(&collapsing, "a");
        let wait = follow(&collapsing, "a");
        leader.unshareable();
        wait.await;
        assert!(matches!(collapsing.join(&key("a")), Collapse::Alone));
        tokio::time::advance(MEMORY).await;
        lead(&collapsing, "a").settle();
    }

    #[tokio::test(start_paused = true)]
    async fn the_memory_of_unshareable_keys_is_bounded() {
        let collapsing = Arc::new(Collapsing::default());
        for number in 0..=MEMORIES {
            lead(&collapsing, &number.to_string()).unshareable();
        }
        let unshareable = lock(&collapsing.unshareable);
        assert_eq!(unshareable.until.len(), MEMORIES);
        assert!(!unshareable.contains(&key("0")));
        assert!(unshareable.contains(&key("1")));
    }
}
