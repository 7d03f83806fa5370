//! A connection to an origin, directly or through a parent proxy: resolve the name, judge each address, dial, and wrap the
//! socket in `LinkedIo`. This is the one place where the link is charged. It does not speak HTTP and keeps no connections.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use linkio::{Direction, LinkedIo, SharedLink, Standing};
use rustix::net::sockopt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::buffer;
use super::counts::Counts;
use super::destination::{Purpose, Rules};
use super::dial::{self, Failures};
use super::failure::{self, failed, not_found, refused, timed_out};
use super::gauge::Gauge;
use super::names::{Addresses, Names, Toll};
use super::origin::Origin;
use super::parent::{self, Asked, Parents};
use crate::config::{Parent, ParentScheme};
use crate::exchange::{Peer, Times};
use crate::host::Host;
use crate::respond::Refusal;

/// Dials origins across the link.
pub(crate) struct Connector {
    link: SharedLink,
    gauge: Gauge,
    rules: Rules,
    names: Names,
    /// Whether lookups cross the link.
    linked_lookups: bool,
    parents: Parents,
    failures: Arc<Failures>,
    counts: Arc<Counts>,
    timeout: Duration,
    /// Our own Via.
    via: String,
}

/// What a connector is made of.
pub(crate) struct Ways {
    pub(crate) rules: Rules,
    pub(crate) names: Names,
    /// The name server is at the far end of the link.
    pub(crate) linked_lookups: bool,
    pub(crate) parents: Parents,
    /// Longest wait for an origin, the link's own time included.
    pub(crate) timeout: Duration,
    /// Our name in Via.
    pub(crate) pseudonym: String,
}

/// A connection that stands, and what it took.
pub(crate) struct Connected {
    pub(crate) io: LinkedIo<TcpStream>,
    /// Who is at its other end.
    pub(crate) peer: Peer,
    lookup: Duration,
    connect: Duration,
}

impl Connected {
    /// How long dialling it took.
    pub(crate) fn times(&self) -> Times {
        Times { lookup: Some(self.lookup), connect: Some(self.connect), ..Times::default() }
    }
}

impl Connector {
    /// A connector over `link`.
    pub(crate) fn new(link: SharedLink, ways: Ways) -> Self {
        let Ways { rules, names, linked_lookups, parents, timeout, pseudonym } = ways;
        let (gauge, failures, via) = (Gauge::watch(link.clone()), Arc::default(), format!("1.1 {pseudonym}"));
        let counts = Arc::default();
        Self { link, gauge, rules, names, linked_lookups, parents, failures, counts, timeout, via }
    }

    /// A connector over the same link that finds its ways otherwise.
    pub(crate) fn renewed(&self, ways: Ways) -> Self {
        let Ways { rules, names, linked_lookups, parents, timeout, pseudonym } = ways;
        let (link, gauge, failures) = (self.link.clone(), self.gauge.clone(), self.failures.clone());
        let (via, counts) = (format!("1.1 {pseudonym}"), self.counts.clone());
        Self { link, gauge, rules, names, linked_lookups, parents, failures, counts, timeout, via }
    }

    /// Whether CONNECT may reach `port`.
    pub(crate) fn may_tunnel_to(&self, port: u16) -> bool {
        self.rules.may_tunnel_to(port)
    }

    /// The link that everything dialled here crosses.
    pub(crate) fn link(&self) -> &SharedLink {
        &self.link
    }

    /// How long an origin may take to accept a connection, and to make it safe.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What is known of the real uplink.
    pub(crate) fn gauge(&self) -> &Gauge {
        &self.gauge
    }

    /// What came of dialling.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(super) fn parents(&self) -> &Parents {
        &self.parents
    }

    /// The HTTP parent to which requests for `origin` go in absolute-form; none if they need a connection of the
    /// origin's own.
    pub(super) fn asked_in_absolute_form(&self, origin: &Origin) -> Result<Option<&Parent>, Refusal> {
        // A parent that could read what is secure would be the end of its safety: that goes through a tunnel.
        if origin.is_secure() || self.parents.is_empty() {
            return Ok(None);
        }
        let host = Host::read(origin.host()).map_err(Refusal::BadRequest)?;
        let parent = self.parents.of(&host).filter(|parent| parent.scheme == ParentScheme::Http);
        if parent.is_some() {
            self.judge_asked(&host, origin, Purpose::Request)?;
        }
        Ok(parent)
    }

    /// A fresh connection to `origin`, standing so on the link, and the address it reached: the origin's own, or that of
    /// the parent proxy that leads to it.
    pub(crate) async fn connect(
        &self,
        origin: &Origin,
        purpose: Purpose,
        standing: Standing,
    ) -> Result<Connected, Refusal> {
        self.connect_for(origin, purpose, standing, &self.via).await
    }

    /// As `connect`, on behalf of a message whose Via is `via`, ourselves included.
    pub(crate) async fn connect_for(
        &self,
        origin: &Origin,
        purpose: Purpose,
        standing: Standing,
        via: &str,
    ) -> Result<Connected, Refusal> {
        let reached = tokio::time::timeout(self.timeout, self.reach(origin, purpose, standing, via));
        let reached = reached.await.unwrap_or_else(|_| Err(timed_out(origin)));
        let reached = reached.map_err(|refusal| failure::over(&self.link, origin, refusal));
        let counted = if reached.is_ok() { &self.counts.connected } else { &self.counts.not_connected };
        counted.one();
        reached
    }

    async fn reach(
        &self,
        origin: &Origin,
        purpose: Purpose,
        standing: Standing,
        via: &str,
    ) -> Result<Connected, Refusal> {
        if let Some(parent) = origin.parent() {
            return self.to_parent(parent, standing, async |_| Ok(())).await;
        }
        let host = Host::read(origin.host()).map_err(Refusal::BadRequest)?;
        let Some(parent) = self.parents.of(&host) else {
            return self.directly(origin, &host, purpose, standing).await;
        };
        self.judge_asked(&host, origin, purpose)?;
        let asked = Asked { host: &host, port: origin.port(), via };
        let led = self.to_parent(parent, standing, async |io| parent::lead(io, parent, asked).await).await;
        match led {
            Err(Refusal::ParentUnreachable { why, .. }) if self.parents.falls_back() => {
                tracing::info!(%parent, reason = why.error(), "a parent proxy is passed over");
                self.directly(origin, &host, purpose, standing).await
            }
            led => led,
        }
    }

    async fn directly(
        &self,
        origin: &Origin,
        host: &Host,
        purpose: Purpose,
        standing: Standing,
    ) -> Result<Connected, Refusal> {
        let begun = Instant::now();
        let resolved = self.resolve(host, origin.port(), standing).await?;
        let looked_up = Instant::now();
        // Each time, and each address: what a name leads to may be another thing at every lookup.
        let judged: Vec<_> =
            resolved.iter().map(|address| (*address, self.rules.check(*address, purpose))).collect();
        let allowed: Vec<_> =
            judged.iter().filter(|(_, verdict)| verdict.is_ok()).map(|(address, _)| *address).collect();
        if let (true, Some((_, Err(why)))) = (allowed.is_empty(), judged.first()) {
            return Err(refused(*why, origin));
        }
        let (io, local, peer) = self.dial(&allowed, origin, standing).await?;
        self.rules.check_connected(local, peer).map_err(|why| refused(why, origin))?;
        let peer = Peer { address: peer, is_parent: false };
        Ok(Connected { io, peer, lookup: looked_up - begun, connect: looked_up.elapsed() })
    }

    /// A connection to `parent` that `lead` has made one to somewhere else. The operator has named it, so its address is
    /// not judged, but for being our own.
    async fn to_parent(
        &self,
        parent: &Parent,
        standing: Standing,
        lead: impl AsyncFnOnce(&mut LinkedIo<TcpStream>) -> Result<(), Refusal>,
    ) -> Result<Connected, Refusal> {
        let hop = Origin::of_parent(parent);
        let begun = Instant::now();
        let mut looked_up = begun;
        let dialled = async {
            let host = Host::read(&parent.host).map_err(Refusal::BadRequest)?;
            let addresses = self.resolve(&host, parent.port, standing).await?;
            looked_up = Instant::now();
            let (io, local, peer) = self.dial(&addresses, &hop, standing).await?;
            if self.rules.is_own(local, peer) { Err(Refusal::Loop) } else { Ok((io, peer, looked_up)) }
        };
        let led = async {
            let (mut io, peer, looked_up) = dialled.await.map_err(|why| match why {
                Refusal::Loop => why,
                why => Refusal::ParentUnreachable { parent: parent.authority(), why: Arc::new(why) },
            })?;
            lead(&mut io).await?;
            Ok((io, peer, looked_up))
        };
        // Where there is another way, enough time is left for it.
        let patience = if self.parents.falls_back() { self.timeout / 3 } else { self.timeout };
        let late =
            || Refusal::ParentUnreachable { parent: parent.authority(), why: Arc::new(timed_out(&hop)) };
        let led = tokio::time::timeout(patience, led).await.unwrap_or_else(|_| Err(late()));
        self.parents.note(parent, !matches!(led, Err(Refusal::ParentUnreachable { .. })));
        let (io, peer, looked_up) = led?;
        let peer = Peer { address: peer, is_parent: true };
        Ok(Connected { io, peer, lookup: looked_up - begun, connect: looked_up.elapsed() })
    }

    /// Judges what a parent is to be asked for, as far as what it is called tells.
    fn judge_asked(&self, host: &Host, origin: &Origin, purpose: Purpose) -> Result<(), Refusal> {
        let verdict = match host {
            Host::Address(address) => self.rules.check(SocketAddr::new(*address, origin.port()), purpose),
            Host::Name(name) => match self.names.special(name) {
                Some(addresses) => {
                    let check = |ip: &_| self.rules.check(SocketAddr::new(*ip, origin.port()), purpose);
                    addresses.iter().try_for_each(check)
                }
                None => self.rules.check_port(origin.port(), purpose),
            },
        };
        verdict.map_err(|why| refused(why, origin))
    }

    /// Judges a connection to `origin` that is not dialled, as far as can be told without asking anybody: what is forbidden
    /// for certain is refused before it is answered. Returns whether anything was known of it.
    ///
    /// # Errors
    /// The refusal that dialling it would come to.
    pub(crate) async fn judge_known(&self, origin: &Origin, purpose: Purpose) -> Result<bool, Refusal> {
        let host = Host::read(origin.host()).map_err(Refusal::BadRequest)?;
        if self.parents.of(&host).is_some() {
            return self.judge_asked(&host, origin, purpose).map(|()| true);
        }
        let known = match &host {
            Host::Address(address) => [*address].into(),
            Host::Name(name) => self.names.known(name).await.unwrap_or_default(),
        };
        let check = |ip: &IpAddr| {
            let address = SocketAddr::new(*ip, origin.port());
            self.rules.check(address, purpose)?;
            let local = if self.rules.may_be_own(address.port()) { own_end(address) } else { None };
            local.map_or(Ok(()), |local| self.rules.check_connected(local, address))
        };
        let mut verdicts = known.iter().map(check);
        // One address that is allowed would be dialled, whatever the others are.
        match verdicts.next() {
            Some(Err(why)) if verdicts.all(|verdict| verdict.is_err()) => Err(refused(why, origin)),
            first => Ok(first.is_some()),
        }
    }

    /// The addresses of `host`, at least one, in the order of the answer.
    async fn resolve(&self, host: &Host, port: u16, standing: Standing) -> Result<Vec<SocketAddr>, Refusal> {
        let name = match host {
            Host::Address(address) => return Ok(vec![SocketAddr::new(*address, port)]),
            Host::Name(name) => name,
        };
        let found = self.names.look_up(name, self.toll(name.text(), standing)).await;
        let found = found.map_err(|missing| not_found(missing, name.text().to_owned()))?;
        Ok(found.iter().map(|address| SocketAddr::new(*address, port)).collect())
    }

    /// What asking for `name` costs: where the name server is at the far end of the link, question and answer cross it.
    fn toll(&self, name: &str, standing: Standing) -> impl FnOnce(Addresses) -> Toll + Send + use<> {
        let (link, host) = (self.linked_lookups.then(|| self.link.clone()), name.to_owned());
        move |found| {
            Box::pin(async move {
                let Some(link) = link else { return };
                let (query, answer) = lookup_sizes(&host, &found);
                let mut passage = link.passage(standing);
                passage.cross(Direction::Up, query).await;
                passage.cross(Direction::Down, answer).await;
            })
        }
    }

    /// The first of `addresses` that accepts, across the link, and its two ends.
    async fn dial(
        &self,
        addresses: &[SocketAddr],
        origin: &Origin,
        standing: Standing,
    ) -> Result<(LinkedIo<TcpStream>, SocketAddr, SocketAddr), Refusal> {
        let addresses =
            dial::order(addresses, dial::prefers_ipv6(addresses), |address| self.failures.has(address));
        let delay = dial::delay(self.link.rtt(), self.gauge.summary().median_rtt);
        let not_accepted = |address, error: &io::Error| {
            tracing::debug!(%origin, %address, %error, "an address did not accept");
            self.failures.note(address);
        };
        let race = dial::race(&addresses, delay, |address| self.dial_one(address), not_accepted);
        let linked = self.link.connect(race, standing).await.map_err(|error| failed(&error, origin))?;
        let stream = linked.get_ref();
        // Without it small requests wait for the acknowledgement of earlier ones, a round trip each.
        let _ = stream.set_nodelay(true);
        let ends = stream.local_addr().and_then(|local| Ok((local, stream.peer_addr()?)));
        let (local, peer) = ends.map_err(|error| failed(&error, origin))?;
        self.failures.clear(peer);
        Ok((linked, local, peer))
    }

    /// Dials `address`, and gives the connection buffers of a size that suits the link.
    async fn dial_one(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let begun = Instant::now();
        let stream = TcpStream::connect(address).await?;
        let rtt = begun.elapsed();
        self.gauge.dialled(address, rtt);
        // What a guarded link carries is found out while connections are open already.
        let (down, up) = buffer::carried(&self.link);
        // A size that the system does not grant changes nothing but how far it runs ahead.
        if let Some(bytes) = buffer::size(down, rtt) {
            let _ = sockopt::set_socket_recv_buffer_size(&stream, bytes);
        }
        if let Some(bytes) = buffer::size(up, rtt) {
            let _ = sockopt::set_socket_send_buffer_size(&stream, bytes);
        }
        Ok(stream)
    }
}

/// Bytes of the DNS messages of a lookup of `host`, for both kinds of addresses: hickory does not say what it sent, so
/// this is the least they are (RFC 1035 §4.1, with the OPT record of RFC 6891).
fn lookup_sizes(host: &str, found: &[IpAddr]) -> (u64, u64) {
    const HEADER_AND_OPT: u64 = 12 + 11;
    let question = host.len() as u64 + 2 + 4;
    let queries = 2 * (HEADER_AND_OPT + question);
    let records = found.iter().map(|address| if address.is_ipv4() { 16 } else { 28 });
    (queries, queries + records.sum::<u64>())
}

/// Our own end of a connection to `peer`, by the system's routes: nothing is sent.
fn own_end(peer: SocketAddr) -> Option<SocketAddr> {
    let any: IpAddr =
        if peer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(peer).ok()?;
    socket.local_addr().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lookup_is_two_queries_and_their_answers() {
        let found = ["192.0.2.1", "2001:db8::1"].map(|text| text.parse().expect("an address"));
        assert_eq!(lookup_sizes("example.org", &[]), (80, 80));
        assert_eq!(lookup_sizes("example.org", &found), (80, 80 + 16 + 28));
    }
}
