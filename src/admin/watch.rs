//! Exchanges as they end, for one who watches through the control interface: Server-Sent Events (HTML §9.2), chosen here,
//! so that a busy proxy sends a narrow view little. One who is slow is told how much was lost.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use ipnet::IpNet;
use rfc9111::Pattern;
use tokio::time::{Instant, timeout_at};

use crate::observe::live::{Event, Told, Watching};
use crate::text::percent_decoded;

/// How long nothing is said before something is, so that whoever watches knows that the proxy is there.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// So many may watch at once: each takes one of the connections for commands.
pub(crate) const MOST: usize = 16;

/// Which exchanges are watched: those of one of the clients, and of one of the hosts, and of one of the statuses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    clients: Vec<Who>,
    hosts: Vec<Pattern>,
    statuses: Vec<Status>,
}

#[derive(Clone, Debug)]
enum Who {
    Network(IpNet),
    Account(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Exactly(u16),
    /// `5xx`
    Class(u16),
    /// The client left before it had one.
    None,
}

impl Filter {
    /// Reads the query of `/v1/events`: `client`, `host` and `status`, each as often as need be, lists with commas.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn of_query(query: &str) -> Result<Self, String> {
        let mut filter = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, values) = pair.split_once('=').unwrap_or((pair, ""));
            let values =
                percent_decoded(values).ok_or_else(|| format!("{values:?} is not percent-encoded text"))?;
            for value in values.split(',').map(str::trim).filter(|value| !value.is_empty()) {
                filter.add(name, value)?;
            }
        }
        Ok(filter)
    }

    fn add(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "client" => self.clients.push(who(value)),
            "host" => self.hosts.push(Pattern::new(&value.trim_end_matches('.').to_ascii_lowercase())),
            "status" => self.statuses.push(status(value)?),
            other => return Err(format!("{other:?} is no filter; there are client, host and status")),
        }
        Ok(())
    }

    fn passes(&self, event: &Event) -> bool {
        let is_by = |who: &Who| match who {
            Who::Network(network) => network.contains(&event.client),
            Who::Account(name) => event.user.as_deref() == Some(name),
        };
        let host = event.host.as_ref().map(ToString::to_string).unwrap_or_default();
        let has_host = |pattern: &Pattern| pattern.matches(host.trim_end_matches('.').as_bytes());
        let has_status = |status: &Status| match status {
            Status::Exactly(code) => event.status == Some(*code),
            Status::Class(class) => event.status.is_some_and(|code| code / 100 == *class),
            Status::None => event.status.is_none(),
        };
        (self.clients.is_empty() || self.clients.iter().any(is_by))
            && (self.hosts.is_empty() || self.hosts.iter().any(has_host))
            && (self.statuses.is_empty() || self.statuses.iter().any(has_status))
    }
}

/// An address, a network, or else an account.
fn who(value: &str) -> Who {
    let bare = value.trim_start_matches('[').trim_end_matches(']');
    let network = bare.parse::<std::net::IpAddr>().map(|address| IpNet::from(address.to_canonical()));
    match network.ok().or_else(|| bare.parse().ok()) {
        Some(network) => Who::Network(network),
        None => Who::Account(value.to_owned()),
    }
}

fn status(value: &str) -> Result<Status, String> {
    let class = value.strip_suffix("xx").and_then(|class| class.parse().ok());
    match (class, value.parse()) {
        (Some(class @ 1..=5), _) => Ok(Status::Class(class)),
        (_, Ok(code @ 100..=599)) => Ok(Status::Exactly(code)),
        _ if value == "none" => Ok(Status::None),
        _ => Err(format!("{value:?} is no status; expected one such as 404, 5xx or none")),
    }
}

/// The content of a response that goes on until the proxy ends.
pub(crate) struct Events(Step);

enum Step {
    /// What comes next is waited for.
    Waiting(Pin<Box<dyn Future<Output = Next> + Send>>),
    Over,
}

/// What is said next, and by whom the one after that; none at the end.
type Next = Option<(Bytes, Viewer)>;

/// One who watches, and what.
struct Viewer {
    watching: Watching,
    filter: Filter,
}

impl Events {
    /// What passes `filter`, beginning with a comment that says that it has begun.
    pub(crate) fn new(watching: Watching, filter: Filter) -> Self {
        let viewer = Viewer { watching, filter };
        Self(Step::Waiting(Box::pin(async move { Some((Bytes::from_static(b": watching\n\n"), viewer)) })))
    }
}

impl Viewer {
    async fn next(mut self) -> Next {
        let patience = Instant::now() + KEEP_ALIVE;
        loop {
            let text = match timeout_at(patience, self.watching.next()).await {
                Err(_) => ": still here\n\n".to_owned(),
                Ok(None) => return None,
                Ok(Some(Told::Lost(lost))) => format!("event: lost\ndata: {{\"lost\":{lost}}}\n\n"),
                Ok(Some(Told::Event(event))) if self.filter.passes(&event) => {
                    format!("event: exchange\nid: {}\ndata: {}\n\n", event.number, event.json)
                }
                Ok(Some(Told::Event(_))) => continue,
            };
            return Some((text.into(), self));
        }
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Step::Waiting(next) = &mut self.0 else { return Poll::Ready(None) };
        match ready!(next.as_mut().poll(cx)) {
            Some((text, viewer)) => {
                self.0 = Step::Waiting(Box::pin(viewer.next()));
                Poll::Ready(Some(Ok(Frame::data(text))))
            }
            None => {
                self.0 = Step::Over;
                Poll::Ready(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;

    #[track_caller]
    fn check(query: &str, expected: bool) {
        let event = Event {
            number: 1,
            client: [10, 0, 0, 5].into(),
            user: Some("ann".into()),
            host: Host::read("www.Example.org.").ok(),
            status: Some(503),
            json: String::new(),
        };
        assert_eq!(Filter::of_query(query).expect("a filter").passes(&event), expected, "{query}");
    }

    #[test]
    fn one_of_each_kind_has_to_fit() {
        check("", true);
        check("client=10.0.0.5", true);
        check("client=10.0.0.0/8&host=*.example.org&status=5xx", true);
        check("client=10.0.0.0%2F8&status=404,503", true);
        check("client=10.0.0.6", false);
        check("client=10.0.0.6,ann", true);
        check("client=bob", false);
        check("host=www.example.org", true);
        check("host=EXAMPLE.org", false);
        check("host=example.org&host=www.*", true);
        check("status=none", false);
        check("status=4xx", false);
        check("client=10.0.0.5&status=200", false);
    }

    #[track_caller]
    fn check_wrong(query: &str, expected: &str) {
        let error = Filter::of_query(query).expect_err(query);
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn what_is_no_filter_is_said() {
        check_wrong("status=999", "\"999\" is no status");
        check_wrong("status=0xx", "\"0xx\" is no status");
        check_wrong("stats=200", "there are client, host and status");
        check_wrong("client=%zz", "not percent-encoded");
        check_wrong("client=%ff", "not percent-encoded");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_broken_now_and_then_and_ends_with_the_proxy() {
        use http_body_util::BodyExt as _;
        let live = crate::observe::live::Live::new(std::sync::Arc::new(crate::current::Current::new(
            crate::observe::url::Urls::new(crate::config::QueryLog::Keep),
        )));
        let mut events = Events::new(live.watch(), Filter::default());
        let mut next =
            async || events.frame().await.map(|frame| frame.expect("a frame").into_data().expect("data"));
        let begun = Instant::now();
        assert_eq!(next().await.as_deref(), Some(&b": watching\n\n"[..]));
        assert_eq!(next().await.as_deref(), Some(&b": still here\n\n"[..]));
        assert_eq!(begun.elapsed(), KEEP_ALIVE);
        live.end();
        assert_eq!(next().await, None);
        assert_eq!(next().await, None);
    }
}
