//! Exchanges as they end, for whoever watches at the moment: a reader that hands each event to all who subscribed. One
//! who is slow loses events and is told how many; nobody waits for anybody.

use std::sync::Arc;

use tokio::sync::broadcast;

use super::event::event;
use super::url::Urls;
use crate::current::Current;
use crate::exchange::{Reader, Record};

/// Where events can be watched. Clones are the same.
#[derive(Clone)]
pub(crate) struct Live {
    events: broadcast::Sender<Arc<str>>,
    urls: Arc<Current<Urls>>,
}

/// One who watches.
pub(crate) struct Watching(broadcast::Receiver<Arc<str>>);

/// What one who watches is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// One exchange is over: its event, in JSON.
    Event(Arc<str>),
    /// So many events were lost, since they were not taken fast enough.
    Lost(u64),
}

/// Events that wait for one who is slow.
const QUEUE: usize = 1024;

impl Live {
    /// Nobody watches yet. URLs are written as `urls` does.
    pub(crate) fn new(urls: Arc<Current<Urls>>) -> Self {
        Self { events: broadcast::channel(QUEUE).0, urls }
    }

    /// From now on.
    pub(crate) fn watch(&self) -> Watching {
        Watching(self.events.subscribe())
    }

    /// How URLs are written here.
    pub(crate) fn urls(&self) -> Arc<Urls> {
        self.urls.now()
    }
}

impl Watching {
    /// What is next; none once the proxy ends.
    pub(crate) async fn next(&mut self) -> Option<Told> {
        match self.0.recv().await {
            Ok(event) => Some(Told::Event(event)),
            Err(broadcast::error::RecvError::Lagged(lost)) => Some(Told::Lost(lost)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl Reader for Live {
    fn read(&self, record: &Record) {
        if self.events.receiver_count() > 0 {
            let _ = self.events.send(event(record, &self.urls.now()).to_string().into());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::SystemTime;

    use http::{Method, Uri, Version};

    use super::*;
    use crate::exchange::{Exchange, Observers};

    fn end_one(observers: &Arc<Observers>) {
        let (target, client) = (Uri::from_static("http://a/b?c"), IpAddr::from([127, 0, 0, 1]));
        Exchange::begin(Method::GET, target, Version::HTTP_11, client, SystemTime::UNIX_EPOCH, observers);
    }

    #[tokio::test]
    async fn who_watches_sees_every_exchange_or_how_many_were_lost() {
        let live = Live::new(Arc::new(Current::new(Urls::new(crate::config::QueryLog::Drop))));
        let observers = Observers::new(vec![Box::new(live.clone())]);
        end_one(&observers);
        let mut watching = live.watch();
        end_one(&observers);
        let event: serde_json::Value = match watching.next().await {
            Some(Told::Event(event)) => serde_json::from_str(&event).expect("JSON"),
            other => serde_json::json!(format!("{other:?}")),
        };
        assert_eq!((&event["number"], &event["url"]), (&2.into(), &"http://a/b".into()));
        (0..QUEUE + 10).for_each(|_| end_one(&observers));
        assert_eq!(watching.next().await, Some(Told::Lost(10)));
        drop((observers, live));
        let mut left = 0;
        while watching.next().await.is_some() {
            left += 1;
        }
        assert_eq!(left, QUEUE);
    }
}
