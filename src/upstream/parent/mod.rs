//! Parent proxies: which one a target is reached through, and the way through it once a connection to it stands. It
//! does not dial, and asks for no page.
//!
//! What a client names is judged before a parent is asked for it, as far as the name itself tells: addresses in every
//! spelling, `localhost`, and ports of tunnels. Other names are the parent's to resolve, so that a name that leads into
//! the network of the parent leads there: what its clients may reach is for the parent to say.

mod socks;
mod tunnel;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::config::{self, Credentials, Parent, ParentScheme};
use crate::host::Host;
use crate::respond::Refusal;

/// How long a parent that could not be reached is not tried again, where direct connections may take its place.
const MEMORY: Duration = Duration::from_secs(15);

/// Parents of one proxy, and which of them could not be reached a moment ago.
pub(crate) struct Parents {
    config: config::Parents,
    down: Mutex<HashMap<String, Instant>>,
}

impl Parents {
    pub(crate) fn new(config: config::Parents) -> Self {
        Self { config, down: Mutex::default() }
    }

    /// The parent through which `host` is reached now; none if it is reached directly.
    pub(crate) fn of(&self, host: &Host) -> Option<&Parent> {
        self.config.parent_of(host).filter(|parent| !self.falls_back() || !self.is_down(parent))
    }

    /// Whether everything is reached directly.
    pub(crate) fn is_empty(&self) -> bool {
        self.config.parent.is_none() && self.config.rules.is_empty()
    }

    /// Whether what cannot be reached through a parent is reached directly.
    pub(crate) fn falls_back(&self) -> bool {
        self.config.fallback
    }

    /// Notes whether `parent` could be reached.
    pub(crate) fn note(&self, parent: &Parent, reached: bool) {
        let mut down = self.lock();
        if reached {
            down.remove(&parent.authority());
        } else {
            // Never more than there are parents in the configuration.
            down.insert(parent.authority(), Instant::now());
        }
    }

    fn is_down(&self, parent: &Parent) -> bool {
        let down = self.lock();
        !down.is_empty() && down.get(&parent.authority()).is_some_and(|since| since.elapsed() < MEMORY)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a parent is to open the way to.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) host: &'a Host,
    pub(crate) port: u16,
    /// The Via of the message on whose behalf it is asked, with ourselves at its end: "a proxy MUST send an appropriate
    /// Via header field" (RFC 9110 §7.6.3), by which a loop through several proxies shows.
    pub(crate) via: &'a str,
}

impl Asked<'_> {
    /// Host and port, as in a URI.
    fn authority(&self) -> String {
        match self.host {
            Host::Address(IpAddr::V6(address)) => format!("[{address}]:{}", self.port),
            Host::Address(address) => format!("{address}:{}", self.port),
            Host::Name(name) => format!("{}:{}", name.text(), self.port),
        }
    }
}

/// Makes of `io`, a new connection to `parent`, one that leads to what is `asked`. Reads no byte beyond what the parent
/// itself says.
///
/// # Errors
/// What the parent says against it, or that it does not keep to the protocol.
pub(crate) async fn lead<S>(io: &mut S, parent: &Parent, asked: Asked<'_>) -> Result<(), Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match parent.scheme {
        ParentScheme::Http => tunnel::open(io, parent, asked).await,
        ParentScheme::Socks5 => socks::open(io, parent, asked).await,
    }
}

/// What `parent` is told of who we are: the Basic scheme (RFC 7617), marked so that no log shows it.
pub(crate) fn authorization(parent: &Parent) -> Option<HeaderValue> {
    let Credentials { user, password } = parent.credentials.as_ref()?;
    let mut value =
        HeaderValue::try_from(format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The parent was reached and said no, or that it cannot.
fn refused(parent: &Parent, said: impl Into<String>, denied: bool) -> Refusal {
    Refusal::ParentRefused { parent: parent.authority(), said: said.into(), denied }
}

/// The parent broke off, or does not speak the protocol.
fn broken(parent: &Parent, why: Refusal) -> Refusal {
    Refusal::ParentUnreachable { parent: parent.authority(), why: Arc::new(why) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn parents(flags: &[&str]) -> Parents {
        Parents::new(Config::from_flags(flags).expect("parents").parents)
    }

    fn check(parents: &Parents, host: &str, expected: Option<&str>) {
        let host = Host::read(host).expect("a host");
        assert_eq!(parents.of(&host).map(|parent| &*parent.host), expected, "{host:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_parent_that_is_down_is_passed_over_for_a_while_where_that_is_allowed() {
        let flags = ["--parent=http://p:1", "--set=parent_fallback=direct"];
        for (flags, while_down) in [(&flags[..1], Some("p")), (&flags[..], None)] {
            let parents = parents(flags);
            check(&parents, "a.example", Some("p"));
            parents.note(parents.of(&Host::read("a.example").unwrap()).unwrap(), false);
            check(&parents, "a.example", while_down);
            tokio::time::advance(MEMORY).await;
            check(&parents, "a.example", Some("p"));
        }
    }

    #[test]
    fn addresses_are_matched_in_every_spelling() {
        let parents = parents(&["--parent=http://p:1", "--set=no_parent=127.0.0.0/8"]);
        check(&parents, "0x7f.1", None);
        check(&parents, "::ffff:127.0.0.1", None);
        check(&parents, "128.0.0.1", Some("p"));
    }

    #[test]
    fn credentials_are_basic_and_sensitive() {
        let config = Config::from_flags(["--parent=http://Aladdin:open%20sesame@p:1"]).unwrap();
        let value = authorization(config.parents.parent.as_ref().unwrap()).unwrap();
        assert_eq!(value, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(value.is_sensitive());
    }
}
