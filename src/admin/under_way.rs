//! How much is under way in a running proxy: client connections, exchanges, tasks. At rest all of it is what it was at
//! the start.

use std::sync::Arc;

use serde::Serialize;
use tokio::runtime::Handle;

use crate::drain::Drain;
use crate::exchange::Observers;

/// Sees what is under way.
pub(crate) struct UnderWay {
    drain: Drain,
    observers: Arc<Observers>,
}

/// What is under way at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Counted {
    /// Client connections, and other work that is finished before the process ends.
    connections: usize,
    exchanges: u64,
    /// Tasks of the runtime: those that are always there, and a few for each connection.
    tasks: usize,
}

impl UnderWay {
    /// What `drain` waits for, and the exchanges that `observers` see.
    pub(crate) fn new(drain: &Drain, observers: &Arc<Observers>) -> Self {
        Self { drain: drain.clone(), observers: observers.clone() }
    }

    /// What is under way now.
    pub(crate) fn counted(&self) -> Counted {
        Counted {
            connections: self.drain.at_work(),
            exchanges: self.observers.count(),
            tasks: Handle::try_current().map_or(0, |here| here.metrics().num_alive_tasks()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::SystemTime;

    use http::{Method, Uri};

    use super::*;
    use crate::exchange::Exchange;

    #[test]
    fn what_is_over_is_not_counted() {
        let (drain, observers) = (Drain::new(), Observers::new(Vec::new()));
        let under_way = UnderWay::new(&drain, &observers);
        let check = |connections, exchanges| {
            assert_eq!(under_way.counted(), Counted { connections, exchanges, tasks: 0 });
        };
        check(0, 0);
        let work = drain.work();
        let (client, at) = (IpAddr::from([127, 0, 0, 1]), SystemTime::UNIX_EPOCH);
        let (target, version) = (Uri::from_static("http://a/"), http::Version::HTTP_11);
        let exchange = Exchange::begin(Method::GET, target, version, client, at, &observers);
        let other = exchange.clone();
        check(1, 1);
        drop((work, exchange));
        check(0, 1);
        drop(other);
        check(0, 0);
    }
}
