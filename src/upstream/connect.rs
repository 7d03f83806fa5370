//! A connection to an origin: resolve the name, judge each address, dial, and wrap the socket in `LinkedIo`. This is
//! the one place where the link is charged. It does not speak HTTP and keeps no connections.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use linkio::{BitRate, Direction, LinkedIo, SharedLink, Standing};
use rustix::net::sockopt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::destination::{Forbidden, Purpose, Rules};
use super::gauge::Gauge;
use crate::respond::Refusal;

/// Where an origin answers: host and port (RFC 9110 §4.3.1; always the `http` scheme or a tunnel).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    /// A registered name in lower case, or an address; IPv6 addresses without brackets.
    host: Box<str>,
    port: u16,
}

impl Origin {
    /// The origin of `target`, `default_port` where it names none. None if it has no host.
    pub(crate) fn of(target: &Uri, default_port: u16) -> Option<Self> {
        let host = target.host()?;
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if bare.is_empty() {
            return None;
        }
        let port = target.port_u16().unwrap_or(default_port);
        Some(Self { host: bare.to_ascii_lowercase().into(), port })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Dials origins across the link.
pub(crate) struct Connector {
    link: SharedLink,
    gauge: Gauge,
    rules: Rules,
    timeout: Duration,
    /// Name lookups wait on threads of their own that file reads need, too: a dead name server must not take them all.
    lookups: Arc<Semaphore>,
    /// Whether they cross the link.
    linked_lookups: bool,
}

/// Name lookups under way at once.
const LOOKUPS: usize = 64;

impl Connector {
    /// A connector that gives up on an origin after `timeout`, the link's own time included. With `linked_lookups` the
    /// name server is at the far end of the link.
    pub(crate) fn new(link: SharedLink, rules: Rules, timeout: Duration, linked_lookups: bool) -> Self {
        let (gauge, lookups) = (Gauge::watch(link.clone()), Arc::new(Semaphore::new(LOOKUPS)));
        Self { link, gauge, rules, timeout, lookups, linked_lookups }
    }

    /// The link that everything dialled here crosses.
    pub(crate) fn link(&self) -> &SharedLink {
        &self.link
    }

    /// What is known of the real uplink.
    pub(crate) fn gauge(&self) -> &Gauge {
        &self.gauge
    }

    /// A fresh connection to `origin`, standing so on the link, and the address it reached.
    pub(crate) async fn connect(
        &self,
        origin: &Origin,
        purpose: Purpose,
        standing: Standing,
    ) -> Result<(LinkedIo<TcpStream>, SocketAddr), Refusal> {
        let timeout = || Refusal::ConnectionTimeout { origin: origin.to_string() };
        let work = async {
            let addresses = self.resolve(origin, purpose, standing).await?;
            let dial = self.dial(&addresses, origin);
            let linked = self.link.connect(dial, standing).await?;
            let peer = linked.get_ref().peer_addr().map_err(|error| failed(&error, origin))?;
            let local = linked.get_ref().local_addr().map_err(|error| failed(&error, origin))?;
            self.rules.check_connected(local, peer).map_err(|why| refused(why, origin))?;
            Ok((linked, peer))
        };
        tokio::time::timeout(self.timeout, work).await.unwrap_or_else(|_| Err(timeout()))
    }

    /// The addresses of `origin` that may be dialled, in the resolver's order.
    async fn resolve(
        &self,
        origin: &Origin,
        purpose: Purpose,
        standing: Standing,
    ) -> Result<Vec<SocketAddr>, Refusal> {
        let host = || origin.host.to_string();
        let resolved: Vec<SocketAddr> = if let Ok(ip) = origin.host.parse::<IpAddr>() {
            vec![SocketAddr::new(ip, origin.port)]
        } else {
            let found = self.look_up(origin).await;
            if self.linked_lookups {
                let (query, answer) = lookup_sizes(&origin.host, found.as_deref().unwrap_or_default());
                let mut passage = self.link.passage(standing);
                passage.cross(Direction::Up, query).await;
                passage.cross(Direction::Down, answer).await;
            }
            found.map_err(|error| lookup_failed(&error, host()))?
        };
        let mut why = None;
        let mut allowed = Vec::with_capacity(resolved.len());
        for address in resolved {
            match self.rules.check(address, purpose) {
                Ok(()) => allowed.push(address),
                Err(forbidden) => why = why.or(Some(forbidden)),
            }
        }
        match why {
            Some(forbidden) if allowed.is_empty() => Err(refused(forbidden, origin)),
            None if allowed.is_empty() => Err(Refusal::NameNotFound { host: host() }),
            _ => Ok(allowed),
        }
    }

    /// Asks the system's resolver, on a thread that keeps its turn until it has an answer, whoever still waits for it.
    async fn look_up(&self, origin: &Origin) -> io::Result<Vec<SocketAddr>> {
        let turn = self.lookups.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (host, port) = (origin.host.clone(), origin.port);
        let found = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            (&*host, port).to_socket_addrs().map(Iterator::collect)
        });
        found.await.map_err(io::Error::other)?
    }

    /// The first of `addresses` that accepts; each gets an equal part of the time there is.
    async fn dial(&self, addresses: &[SocketAddr], origin: &Origin) -> Result<TcpStream, Refusal> {
        let share = self.timeout / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let mut last = Refusal::NameNotFound { host: origin.host.to_string() };
        for address in addresses {
            match tokio::time::timeout(share, self.dial_one(*address)).await {
                Ok(Ok(stream)) => {
                    // Without it small requests wait for the acknowledgement of earlier ones, a round trip each.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => last = failed(&error, origin),
                Err(_) => last = Refusal::ConnectionTimeout { origin: origin.to_string() },
            }
            tracing::debug!(%origin, %address, ?last, "an address did not accept");
        }
        Err(last)
    }

    /// Dials `address`, and gives the connection buffers of a size that suits the link.
    async fn dial_one(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let begun = Instant::now();
        let stream = TcpStream::connect(address).await?;
        let rtt = begun.elapsed();
        self.gauge.dialled(address, rtt);
        // What a guarded link carries is found out while connections are open already.
        let unknown = self.link.is_guarded().then_some(UNKNOWN);
        let (down, up) = self.link.rates();
        let (down, up) = (down.or(unknown), up.or(unknown));
        // A size that the system does not grant changes nothing but how far it runs ahead.
        if let Some(bytes) = buffer(down, rtt) {
            let _ = sockopt::set_socket_recv_buffer_size(&stream, bytes);
        }
        if let Some(bytes) = buffer(up, rtt) {
            let _ = sockopt::set_socket_send_buffer_size(&stream, bytes);
        }
        Ok(stream)
    }
}

/// Bytes the system may hold of one connection at `rate`, whose peer is `rtt` away by the real network: one and a half
/// of what is on its way anyway. More would only be taken ahead of the link, from an origin or from a client that
/// uploads, and a large buffer makes a peer send in bursts. `None` leaves it to the system.
pub(crate) fn buffer(rate: Option<BitRate>, rtt: Duration) -> Option<usize> {
    let rtt = u64::try_from(rtt.as_millis()).unwrap_or(u64::MAX);
    let bytes = rate?.bytes_in_millis(rtt.saturating_mul(3) / 2).max(LEAST_BUFFER);
    usize::try_from(bytes).ok().filter(|bytes| *bytes <= MOST_BUFFER)
}

/// What a guarded link may carry of which nothing is known yet.
const UNKNOWN: BitRate = BitRate::from_bits_per_second(10_000_000);

/// Below it a connection is slow whatever the link.
const LEAST_BUFFER: u64 = 32 * 1024;
/// Systems go no higher by themselves.
const MOST_BUFFER: usize = 4 * 1024 * 1024;

fn refused(forbidden: Forbidden, origin: &Origin) -> Refusal {
    match forbidden {
        Forbidden::Address => Refusal::ForbiddenAddress { host: origin.host.to_string() },
        Forbidden::OwnListener => Refusal::OwnListener,
        Forbidden::Port => Refusal::ForbiddenPort { port: origin.port },
    }
}

/// Bytes of the DNS messages of a lookup of `host`, for both kinds of addresses: the system's resolver does not say what
/// it sent, so this is the least they are (RFC 1035 §4.1, with the OPT record of RFC 6891).
fn lookup_sizes(host: &str, found: &[SocketAddr]) -> (u64, u64) {
    const HEADER_AND_OPT: u64 = 12 + 11;
    let question = host.len() as u64 + 2 + 4;
    let queries = 2 * (HEADER_AND_OPT + question);
    let records = found.iter().map(|address| if address.is_ipv4() { 16 } else { 28 });
    (queries, queries + records.sum::<u64>())
}

/// "Name does not exist" and "no answer" come as the same kind of error from the system's resolver; its words differ.
fn lookup_failed(error: &io::Error, host: String) -> Refusal {
    if error.to_string().contains("Temporary failure") {
        Refusal::NameFailure { host }
    } else {
        Refusal::NameNotFound { host }
    }
}

fn failed(error: &io::Error, origin: &Origin) -> Refusal {
    let origin = origin.to_string();
    match error.kind() {
        ErrorKind::ConnectionRefused => Refusal::ConnectionRefused { origin },
        ErrorKind::TimedOut => Refusal::ConnectionTimeout { origin },
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => {
            Refusal::Unroutable { origin }
        }
        _ => Refusal::ConnectionTerminated { origin },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(target: &str, expected: &str) {
        let uri: Uri = target.parse().expect("a URI");
        assert_eq!(Origin::of(&uri, 80).expect("an origin").to_string(), expected);
    }

    #[test]
    fn buffers_follow_what_is_on_its_way() {
        let buffer =
            |rate: &str, rtt| buffer(Some(rate.parse().expect("a rate")), Duration::from_millis(rtt));
        assert_eq!(buffer("56k", 600), Some(32_768));
        assert_eq!(buffer("2M", 600), Some(225_000));
        assert_eq!(buffer("10M", 0), Some(32_768));
        assert_eq!(buffer("100M", 600), None);
        assert_eq!(super::buffer(None, Duration::ZERO), None);
    }

    #[test]
    fn a_lookup_is_two_queries_and_their_answers() {
        let found = ["192.0.2.1:80", "[2001:db8::1]:80"].map(|text| text.parse().expect("an address"));
        assert_eq!(lookup_sizes("example.org", &[]), (80, 80));
        assert_eq!(lookup_sizes("example.org", &found), (80, 80 + 16 + 28));
    }

    #[test]
    fn an_origin_is_host_and_port() {
        check("http://Example.ORG/x", "example.org:80");
        check("http://example.org:8080", "example.org:8080");
        check("http://[2001:DB8::1]:81/", "[2001:db8::1]:81");
    }
}
