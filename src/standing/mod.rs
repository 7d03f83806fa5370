//! Where each exchange stands on the link among the others: whose it is, its class and its weights, also once so much
//! of it has crossed. It is asked about when the request goes out, and again when the response's head is here. What the
//! rules say is `rules`; what a class may claim, and to move what grows, is the link's.

mod rules;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::HashMap;
use http::{HeaderValue, Method, Uri};
use linkio::{Class, ClientKey, Meter, Standing};

use crate::config::LinkConfig;
use crate::exchange::{Carried, Chosen, Exchange};
use crate::host::Host;
use rules::{Presented, Rules};

/// The rules of one configuration, and the clients they were asked about.
#[derive(Debug)]
pub(crate) struct Standings {
    rules: Rules,
    names: Arc<Mutex<HashMap<ClientKey, Arc<str>>>>,
}

/// Clients whose names are kept for whoever asks who uses the link.
const NAMES: usize = 4096;

impl Standings {
    /// The rules and weights of `link`.
    pub(crate) fn new(link: &LinkConfig) -> Arc<Self> {
        let rules = Rules::new(link.rules.clone(), link.weights.clone());
        Arc::new(Self { rules, names: Arc::default() })
    }

    /// The rules and weights of `link` in place of these, for the same clients.
    pub(crate) fn renewed(&self, link: &LinkConfig) -> Arc<Self> {
        let rules = Rules::new(link.rules.clone(), link.weights.clone());
        Arc::new(Self { rules, names: self.names.clone() })
    }

    /// Where `exchange` stands as its request goes out.
    pub(crate) fn of(&self, exchange: &Exchange) -> Standing {
        let asker = Asker::of(exchange, &self.rules);
        let standing = self.assess(&asker, None, 0).0;
        self.remember(standing.client, &asker);
        standing
    }

    /// The class that a GET of `target` has as it goes out, asked from this machine and without an account.
    pub(crate) fn presumed(&self, target: &Uri) -> Class {
        let host = host_of(target);
        let presented = Presented {
            host: host.as_ref(),
            client: IpAddr::from([127, 0, 0, 1]),
            account: None,
            method: &Method::GET,
            media_type: None,
            crossed: 0,
        };
        self.rules.standing(&presented).0
    }

    /// The account or address behind `client`.
    pub(crate) fn name(&self, client: ClientKey) -> Option<Arc<str>> {
        self.lock().get(&client).cloned()
    }

    /// The standing now, and after how many bytes it may be another.
    fn assess(&self, asker: &Asker, media_type: Option<&str>, crossed: u64) -> (Standing, Option<u64>) {
        let account = asker.account.as_deref();
        let presented = Presented {
            host: asker.host.as_ref(),
            client: asker.client,
            account,
            method: &asker.method,
            media_type,
            crossed,
        };
        let (class, weight) = self.rules.standing(&presented);
        let chosen = asker.chosen.class();
        let class = chosen.unwrap_or(class);
        let client_weight = self.rules.client_weight(asker.client, account);
        let standing = Standing { client: asker.key(), client_weight, class, weight };
        // What an operator chose does not change by growing.
        let next = if chosen.is_some() { None } else { self.rules.next_size(&presented) };
        (standing, next)
    }

    fn remember(&self, client: ClientKey, asker: &Asker) {
        let mut names = self.lock();
        if names.len() < NAMES {
            names.entry(client).or_insert_with(|| match &asker.account {
                Some(account) => account.clone(),
                None => asker.client.to_string().into(),
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClientKey, Arc<str>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What rules may look at before a response is here.
#[derive(Debug)]
struct Asker {
    client: IpAddr,
    account: Option<Arc<str>>,
    method: Method,
    /// Where there are rules to look at it.
    host: Option<Host>,
    chosen: Chosen,
}

fn host_of(target: &Uri) -> Option<Host> {
    Host::read(target.host()?).ok()
}

impl Asker {
    fn of(exchange: &Exchange, rules: &Rules) -> Self {
        let record = exchange.record();
        Self {
            client: record.client,
            account: exchange.with(|details| details.user.clone()),
            method: record.method.clone(),
            host: if rules.is_empty() { None } else { host_of(&record.target) },
            chosen: exchange.chosen(),
        }
    }

    /// The client as the link's scheduler knows it: one share for each account, or each address where there are none.
    fn key(&self) -> ClientKey {
        let mut hasher = DefaultHasher::new();
        match &self.account {
            Some(account) => account.hash(&mut hasher),
            None => self.client.hash(&mut hasher),
        }
        ClientKey(hasher.finish())
    }
}

/// What carries an exchange across the link: a connection, or a share of one.
pub(crate) trait Carrier {
    /// Bytes it has carried so far, in both directions.
    fn carried(&self) -> u64;

    /// It stands so now, and otherwise once it has carried as many bytes as `later` says, in ascending order.
    fn assign_in_steps(&self, now: Standing, later: impl IntoIterator<Item = (u64, Standing)>);
}

impl Carrier for Meter {
    fn carried(&self) -> u64 {
        self.down().saturating_add(self.up())
    }

    fn assign_in_steps(&self, now: Standing, later: impl IntoIterator<Item = (u64, Standing)>) {
        Self::assign_in_steps(self, now, later);
    }
}

/// One exchange's place on what carries it.
pub(crate) struct Place<C>(Arc<Held<C>>);

struct Held<C> {
    standings: Arc<Standings>,
    asker: Asker,
    carrier: C,
    /// Bytes it had carried before, of which this exchange knows nothing.
    before: u64,
    /// The Content-Type of the response, once its head is here. Held while the place is taken anew, so that of two
    /// reasons to move the last one counts.
    media_type: Mutex<Option<HeaderValue>>,
}

impl<C: Carrier + Clone + Send + Sync + 'static> Place<C> {
    /// Puts `exchange` where it belongs on `carrier`, now and as it grows, and as an operator wants it. Where there are no
    /// rules it stays as `Standings::of` said.
    pub(crate) fn take(standings: &Arc<Standings>, exchange: &Exchange, carrier: &C) -> Self {
        let place = Arc::new(Held {
            standings: standings.clone(),
            asker: Asker::of(exchange, &standings.rules),
            carrier: carrier.clone(),
            before: carrier.carried(),
            media_type: Mutex::default(),
        });
        exchange.carried_by(place.clone());
        if !standings.rules.is_empty() || place.asker.chosen.class().is_some() {
            place.reassign();
        }
        Self(place)
    }

    /// The head of the response is here, and says what is to come.
    pub(crate) fn learn(&self, content_type: Option<&HeaderValue>) {
        if !self.0.standings.rules.is_empty() {
            let mut media_type = self.0.lock();
            *media_type = content_type.cloned();
            self.0.assign(&media_type);
        }
    }
}

impl<C: Carrier> Held<C> {
    fn assign(&self, media_type: &Option<HeaderValue>) {
        let media_type = media_type.as_ref().and_then(|value| value.to_str().ok());
        let (now, mut next) = self.standings.assess(&self.asker, media_type, 0);
        let later = std::iter::from_fn(|| {
            let bytes = next?;
            let (standing, after) = self.standings.assess(&self.asker, media_type, bytes);
            next = after;
            Some((bytes.saturating_add(self.before), standing))
        });
        self.carrier.assign_in_steps(now, later);
    }

    fn lock(&self) -> MutexGuard<'_, Option<HeaderValue>> {
        self.media_type.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Carrier + Send + Sync> Carried for Held<C> {
    fn class(&self) -> Class {
        let media_type = self.lock();
        let media_type = media_type.as_ref().and_then(|value| value.to_str().ok());
        let crossed = self.carrier.carried().saturating_sub(self.before);
        self.standings.assess(&self.asker, media_type, crossed).0.class
    }

    fn reassign(&self) {
        let media_type = self.lock();
        self.assign(&media_type);
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use http::{Method, Uri};
    use linkio::{LinkSpec, SharedLink};

    use super::*;
    use crate::Config;

    fn standings(rules: &[&str]) -> Arc<Standings> {
        let flags = rules.iter().map(|rule| format!("--set={rule}"));
        Standings::new(&Config::from_flags(flags).expect("rules").link)
    }

    fn exchange(client: &str, target: &'static str) -> Exchange {
        let client = client.parse().expect("an address");
        let (target, version) = (Uri::from_static(target), http::Version::HTTP_11);
        let observers = crate::exchange::Observers::new(Vec::new());
        Exchange::begin(Method::GET, target, version, client, SystemTime::UNIX_EPOCH, &observers)
    }

    #[test]
    fn a_client_is_its_account_or_its_address() {
        let standings = standings(&["link.weights=ann=4"]);
        let (one, same, other) = ("10.0.0.1", "10.0.0.1", "10.0.0.2");
        let of = |client| standings.of(&exchange(client, "http://a/"));
        assert_eq!(of(one).client, of(same).client);
        assert_ne!(of(one).client, of(other).client);
        assert_eq!(standings.name(of(one).client).as_deref(), Some("10.0.0.1"));
        let ann = exchange(one, "http://a/");
        ann.note(|details| details.user = Some("ann".into()));
        assert_ne!(standings.of(&ann).client, of(one).client);
        assert_eq!(standings.of(&ann).client_weight.value(), 4);
        assert_eq!(standings.name(standings.of(&ann).client).as_deref(), Some("ann"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_exchange_becomes_bulk_when_it_grows() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        let standings = standings(&["link.rules=background: type=video/*,bulk: size=1k"]);
        let link = SharedLink::new("80k".parse::<LinkSpec>().expect("a link"));
        let (near, mut origin) = tokio::io::duplex(64 * 1024);
        let exchange = exchange("10.0.0.1", "http://a/");
        let mut io = link.wrap(near, standings.of(&exchange));
        origin.write_all(&[0; 9000]).await.expect("room");
        let place = Place::take(&standings, &exchange, &io.meter());
        let mut bytes = [0; 3000];
        let classes = || link.shares().classes.map(|used| used.down);
        io.read_exact(&mut bytes).await.expect("content");
        let before = classes();
        // What had been asked for when the first kilobyte had crossed was moved with the rest.
        assert!((1000..3000).contains(&before[0]) && before[1] > 0, "{before:?}");
        place.learn(Some(&HeaderValue::from_static("video/mp4")));
        io.read_exact(&mut bytes).await.expect("content");
        let after = classes();
        assert!(after[2] >= 1000 && after[0] == before[0], "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_operator_chose_counts_before_every_rule_and_size() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        for rules in [&["link.rules=background: type=video/*,bulk: size=1k"][..], &[]] {
            let standings = standings(rules);
            let link = SharedLink::new("80k".parse::<LinkSpec>().expect("a link"));
            let (near, mut origin) = tokio::io::duplex(64 * 1024);
            let exchange = exchange("10.0.0.1", "http://a/");
            let mut io = link.wrap(near, standings.of(&exchange));
            origin.write_all(&[0; 12_000]).await.expect("room");
            assert_eq!(exchange.class(), None);
            let place = Place::take(&standings, &exchange, &io.meter());
            assert_eq!(exchange.class(), Some(Class::Interactive));
            assert!(exchange.choose(Some(Class::Background)));
            assert_eq!(standings.of(&exchange).class, Class::Background, "another request of it, too");
            let mut bytes = [0; 4000];
            io.read_exact(&mut bytes).await.expect("content");
            place.learn(Some(&HeaderValue::from_static("text/html")));
            assert_eq!(exchange.class(), Some(Class::Background));
            assert!(exchange.choose(Some(Class::Interactive)));
            let before = link.shares().classes.map(|used| used.down);
            assert!(before[2] >= 2000 && before[1] == 0, "{before:?}");
            io.read_exact(&mut bytes).await.expect("content");
            let after = link.shares().classes.map(|used| used.down);
            assert!(after[0] >= before[0] + 2000 && after[1] == 0, "{after:?}");
            exchange.choose(None);
            let by_rule = if rules.is_empty() { Class::Interactive } else { Class::Bulk };
            assert_eq!(exchange.class(), Some(by_rule));
            exchange.crossed(0, 0, std::time::Duration::ZERO);
            assert_eq!((exchange.class(), exchange.choose(None)), (None, false));
        }
    }
}
