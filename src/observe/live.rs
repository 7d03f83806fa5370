//! Exchanges as they end, for whoever watches at the moment: a reader that hands each event to all who subscribed. One
//! who is slow loses events and is told how many; nobody waits for anybody.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::{broadcast, watch};

use super::event::event;
use super::url::Urls;
use crate::count::Count;
use crate::current::Current;
use crate::exchange::{Details, Reader, Record};
use crate::host::Host;

/// Where events can be watched. Clones are the same.
#[derive(Clone)]
pub(crate) struct Live {
    events: broadcast::Sender<Arc<Event>>,
    urls: Arc<Current<Urls>>,
    lost: Arc<Count>,
    over: watch::Sender<bool>,
}

/// One exchange that is over: what those who watch choose by, and what they are shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) number: u64,
    pub(crate) client: std::net::IpAddr,
    pub(crate) user: Option<Arc<str>>,
    pub(crate) host: Option<Host>,
    pub(crate) status: Option<u16>,
    pub(crate) json: String,
}

/// One who watches.
pub(crate) struct Watching {
    events: broadcast::Receiver<Arc<Event>>,
    lost: Arc<Count>,
    over: watch::Receiver<bool>,
}

/// What one who watches is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// One exchange is over.
    Event(Arc<Event>),
    /// So many events were lost, since they were not taken fast enough.
    Lost(u64),
}

/// Events that wait for one who is slow.
const QUEUE: usize = 1024;

impl Live {
    /// Nobody watches yet. URLs are written as `urls` does.
    pub(crate) fn new(urls: Arc<Current<Urls>>) -> Self {
        let (events, over) = (broadcast::channel(QUEUE).0, watch::Sender::new(false));
        Self { events, urls, lost: Arc::default(), over }
    }

    /// From now on.
    pub(crate) fn watch(&self) -> Watching {
        let (events, over) = (self.events.subscribe(), self.over.subscribe());
        Watching { events, lost: self.lost.clone(), over }
    }

    /// How many watch.
    pub(crate) fn watchers(&self) -> usize {
        self.events.receiver_count()
    }

    /// Events that one or another did not take in time.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.read()
    }

    /// How URLs are written here.
    pub(crate) fn urls(&self) -> Arc<Urls> {
        self.urls.now()
    }

    /// Nothing more will come: whoever watches is told what is left, and no more.
    pub(crate) fn end(&self) {
        self.over.send_replace(true);
    }
}

impl Watching {
    /// What is next; none once the proxy ends.
    pub(crate) async fn next(&mut self) -> Option<Told> {
        let received = tokio::select! {
            biased;
            received = self.events.recv() => received,
            _ = self.over.wait_for(|over| *over) => return None,
        };
        match received {
            Ok(event) => Some(Told::Event(event)),
            Err(broadcast::error::RecvError::Lagged(lost)) => {
                self.lost.add(lost);
                Some(Told::Lost(lost))
            }
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl Event {
    fn of(record: &Record, details: &Details, json: &Value) -> Self {
        Self {
            number: record.number,
            client: record.client,
            user: details.user.clone(),
            host: record.target.host().and_then(|host| Host::read(host).ok()),
            status: details.status.map(|status| status.as_u16()),
            json: crate::text::plain_json(&json.to_string()),
        }
    }
}

impl Reader for Live {
    fn read(&self, record: &Record, details: &Details) {
        if self.watchers() > 0 {
            let json = event(record, details, &self.urls.now());
            let _ = self.events.send(Arc::new(Event::of(record, details, &json)));
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
        let event = match watching.next().await {
            Some(Told::Event(event)) => event,
            other => panic!("{other:?}"),
        };
        assert_eq!((event.number, event.status), (2, None));
        let event: Value = serde_json::from_str(&event.json).expect("JSON");
        assert_eq!((&event["number"], &event["url"]), (&2.into(), &"http://a/b".into()));
        (0..QUEUE + 10).for_each(|_| end_one(&observers));
        assert_eq!(watching.next().await, Some(Told::Lost(10)));
        assert_eq!((live.lost(), live.watchers()), (10, 1));
        live.end();
        let mut left = 0;
        while watching.next().await.is_some() {
            left += 1;
        }
        assert_eq!(left, QUEUE);
    }
}
