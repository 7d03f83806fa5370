//! Which addresses clients may reach through us. Pure: it judges the address really dialled, so that no spelling of
//! it and no answer of a name server gets around it. It does not resolve or dial.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::{AllowedDestination, Destinations};

/// What a connection is for: CONNECT reaches fewer ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Request,
    Tunnel,
}

/// Why an address may not be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forbidden {
    Address,
    OwnListener,
    Port,
}

/// The rules of one configuration, and where bentpipe itself listens.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    destinations: Destinations,
    own: Vec<SocketAddr>,
    desks: Vec<SocketAddr>,
}

impl Rules {
    /// The rules of `destinations` for a proxy that listens on `own`.
    pub(crate) fn new(destinations: Destinations, own: Vec<SocketAddr>) -> Self {
        Self { destinations, own, desks: Vec::new() }
    }

    /// The same, with the admin interface on `desks`, where nobody is led either.
    pub(crate) fn with_desks(self, desks: Vec<SocketAddr>) -> Self {
        Self { desks, ..self }
    }

    /// Judges one address.
    pub(crate) fn check(&self, address: SocketAddr, purpose: Purpose) -> Result<(), Forbidden> {
        let ip = canonical(address.ip());
        let address = SocketAddr::new(ip, address.port());
        // Whatever is allowed: who is led here comes from this machine, and sees and may do more than others.
        if self.desks.contains(&address) || self.own.contains(&address) {
            return Err(Forbidden::OwnListener);
        }
        let mut matching =
            self.destinations.allow.iter().filter(|allowed| allowed.allows(address)).peekable();
        if matching.peek().is_none() && is_special(ip) {
            return Err(Forbidden::Address);
        }
        let named = matching.any(|allowed| allowed.ports.is_some());
        let tunnelled = named || self.destinations.connect_ports.contains(&address.port());
        if purpose == Purpose::Tunnel && !tunnelled {
            return Err(Forbidden::Port);
        }
        Ok(())
    }

    /// Judges a name that a parent proxy is to resolve, so that there is no address to be judged.
    pub(crate) fn check_port(&self, port: u16, purpose: Purpose) -> Result<(), Forbidden> {
        let open = purpose != Purpose::Tunnel || self.destinations.connect_ports.contains(&port);
        if open { Ok(()) } else { Err(Forbidden::Port) }
    }

    /// Whether a connection that stands leads to ourselves.
    pub(crate) fn is_own(&self, local: SocketAddr, peer: SocketAddr) -> bool {
        let unspecified = self.own.iter().any(|own| own.ip().is_unspecified() && own.port() == peer.port());
        self.own.contains(&peer) || unspecified && local.ip() == peer.ip()
    }

    /// Whether CONNECT may reach `port` at all: at some address, that is.
    pub(crate) fn may_tunnel_to(&self, port: u16) -> bool {
        let named =
            |allowed: &AllowedDestination| allowed.ports.as_ref().is_some_and(|ports| ports.contains(&port));
        self.destinations.connect_ports.contains(&port) || self.destinations.allow.iter().any(named)
    }

    /// Whether `port` is one that we listen on at every address, so that only a connection tells whether it is ours.
    pub(crate) fn may_be_own(&self, port: u16) -> bool {
        let everywhere = |own: &SocketAddr| own.ip().is_unspecified() && own.port() == port;
        self.own.iter().chain(&self.desks).any(everywhere)
    }

    /// Judges a connection that stands: one whose two ends are on this machine and whose port is ours ends here,
    /// whatever address led to it.
    pub(crate) fn check_connected(&self, local: SocketAddr, peer: SocketAddr) -> Result<(), Forbidden> {
        let is_own = local.ip() == peer.ip() && self.may_be_own(peer.port());
        if is_own { Err(Forbidden::OwnListener) } else { Ok(()) }
    }
}

/// The address that packets would go to: an IPv4 address inside an IPv6 one counts as itself.
fn canonical(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    let [first, second, third, fourth, fifth, sixth, seventh, eighth] = v6.segments();
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match (first, second, third, fourth, fifth, sixth) {
        // IPv4-mapped (RFC 4291), NAT64 (RFC 6052), IPv4-translated (RFC 2765).
        (0, 0, 0, 0, 0, 0xffff) | (0x64, 0xff9b, 0, 0, 0, 0) | (0, 0, 0, 0, 0xffff, 0) => {
            embedded(seventh, eighth)
        }
        (0, 0, 0, 0, 0, 0) if seventh != 0 => embedded(seventh, eighth),
        (0x2002, ..) => embedded(second, third),
        _ => ip,
    }
}

/// Addresses that are not a public server's: those of the IANA special-purpose address registries (RFC 6890) that lead to
/// this machine, to this network or into a mechanism of the network, and multicast.
///
/// Left open on purpose: what the registries call globally reachable (AS112, AMT), and the networks for documentation
/// (192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24, 2001:db8::/32, 3fff::/20). No route leads there, so that nothing is
/// protected by refusing them, and examples and tests need addresses that are judged like those of public servers.
fn is_special(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => is_special_v4(v4),
        IpAddr::V6(v6) => is_special_v6(v6),
    }
}

fn is_special_v4(ip: Ipv4Addr) -> bool {
    let [first, second, third, _] = ip.octets();
    match (first, second, third) {
        (0 | 10 | 127, ..) => true, // this network, private, loopback
        (100, 64..=127, _) => true, // carrier-grade NAT (RFC 6598)
        (169, 254, _) => true,      // link-local, cloud metadata
        (172, 16..=31, _) => true,  // private
        (192, 0, 0) => true, // protocol assignments, among them the anycast addresses of this network's PCP and TURN
        (192, 88, 99) => true, // relays of 6to4, deprecated (RFC 7526)
        (192, 168, _) => true, // private
        (198, 18..=19, _) => true, // benchmarking
        (224..=255, ..) => true, // multicast, reserved, broadcast
        _ => false,
    }
}

fn is_special_v6(ip: Ipv6Addr) -> bool {
    let [first, second, ..] = ip.segments();
    ip.segments().iter().take(6).all(|segment| *segment == 0) // unspecified, loopback, the old IPv4-compatible
        || first & 0xffc0 == 0xfe80                 // link-local
        || first & 0xffc0 == 0xfec0                 // site-local, long deprecated, still routed by some
        || first & 0xfe00 == 0xfc00                 // unique local
        || first & 0xff00 == 0xff00                 // multicast
        || (first == 0x2001 && second < 0x200)      // protocol assignments: Teredo, benchmarking, ORCHID, PCP, TURN
        || first == 0x5f00                          // segment routing (RFC 9602)
        || isatap(ip).is_some_and(is_special_v4)
        || (first, second) == (0x64, 0xff9b)        // local-use NAT64 (RFC 8215)
        || first == 0x100 // discard
}

/// The IPv4 address to which an ISATAP interface would tunnel, whatever the prefix (RFC 5214 §6.1).
fn isatap(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., kind, marker, high, low] = ip.segments();
    let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
    (marker == 0x5efe && kind & !0x200 == 0).then(|| Ipv4Addr::new(a, b, c, d))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(allow: &[&str]) -> Rules {
        let flags = allow.iter().flat_map(|text| ["--allow-destination", text]);
        let config = crate::Config::from_flags(flags).expect("destinations");
        let own = vec!["203.0.113.9:3128".parse().expect("an address")];
        Rules::new(config.destinations, own)
    }

    fn check(allow: &[&str], address: &str, purpose: Purpose, expected: Result<(), Forbidden>) {
        let address = address.parse().expect("an address");
        assert_eq!(rules(allow).check(address, purpose), expected, "{address} {purpose:?}");
    }

    #[test]
    fn addresses_that_are_not_the_internets_are_refused_in_every_form() {
        for address in [
            "127.0.0.1:80",
            "127.9.9.9:80",
            "10.1.2.3:80",
            "172.31.0.1:80",
            "192.168.1.1:80",
            "169.254.169.254:80",
            "0.0.0.0:80",
            "100.64.0.1:80",
            "224.0.0.1:80",
            "255.255.255.255:80",
            "[::1]:80",
            "[::]:80",
            "[fe80::1]:80",
            "[fd00::1]:80",
            "[::ffff:127.0.0.1]:80",
            "[::ffff:10.0.0.1]:80",
            "[64:ff9b::7f00:1]:80",
            "[2002:7f00:1::]:80",
            "[::ffff:0:127.0.0.1]:80",
            "[::2]:80",
            "[::127.0.0.1]:80",
            "[ff02::1]:80",
            "192.0.0.9:80",
            "192.88.99.1:80",
            "198.19.255.1:80",
            "240.0.0.1:80",
            "[64:ff9b::a9fe:a9fe]:80",
            "[64:ff9b:1::1]:80",
            "[100::1]:80",
            "[2001::1]:80",
            "[2001:1::1]:80",
            "[2001:2::1]:80",
            "[2001:10::1]:80",
            "[2002:a9fe:a9fe::]:80",
            "[2606:4700::5efe:10.0.0.1]:80",
            "[2606:4700::200:5efe:127.0.0.1]:80",
            "[5f00::1]:80",
            "[fec0::1]:80",
            "[febf::1]:80",
        ] {
            check(&[], address, Purpose::Request, Err(Forbidden::Address));
        }
        for address in ["93.184.216.34:80", "[2606:4700::1111]:8080", "172.32.0.1:80", "100.128.0.1:80"] {
            check(&[], address, Purpose::Request, Ok(()));
        }
        for address in
            ["192.0.2.1:80", "198.51.100.1:80", "203.0.113.1:80", "[2001:db8::1]:80", "[3fff::1]:80"]
        {
            check(&[], address, Purpose::Request, Ok(()));
        }
        for address in ["192.175.48.1:80", "[2001:200::1]:80", "[2606:4700::5efe:1.1.1.1]:80"] {
            check(&[], address, Purpose::Request, Ok(()));
        }
    }

    #[test]
    fn allowed_destinations_are_open_to_requests_and_named_ports_to_connect() {
        check(&["127.0.0.1"], "127.0.0.1:8000", Purpose::Request, Ok(()));
        check(&["127.0.0.1"], "[::ffff:127.0.0.1]:8000", Purpose::Request, Ok(()));
        check(&["127.0.0.1"], "127.0.0.2:8000", Purpose::Request, Err(Forbidden::Address));
        check(&["127.0.0.1"], "127.0.0.1:8000", Purpose::Tunnel, Err(Forbidden::Port));
        check(&["127.0.0.1"], "127.0.0.1:443", Purpose::Tunnel, Ok(()));
        check(&["127.0.0.1:8000-8999"], "127.0.0.1:8000", Purpose::Tunnel, Ok(()));
        check(&["127.0.0.1:8000-8999"], "127.0.0.1:9000", Purpose::Request, Err(Forbidden::Address));
        check(&["10.0.0.0/8"], "10.9.8.7:80", Purpose::Request, Ok(()));
    }

    #[test]
    fn connect_reaches_the_listed_ports_only() {
        check(&[], "93.184.216.34:443", Purpose::Tunnel, Ok(()));
        check(&[], "93.184.216.34:25", Purpose::Tunnel, Err(Forbidden::Port));
    }

    #[test]
    fn a_name_for_a_parent_is_judged_by_its_port() {
        let rules = rules(&["127.0.0.1:25"]);
        assert_eq!(
            rules.check_port(25, Purpose::Tunnel),
            Err(Forbidden::Port),
            "whose address nobody here knows"
        );
        assert_eq!(rules.check_port(443, Purpose::Tunnel), Ok(()));
        assert_eq!(rules.check_port(25, Purpose::Request), Ok(()));
    }

    #[test]
    fn our_own_listener_is_refused() {
        check(&[], "203.0.113.9:3128", Purpose::Request, Err(Forbidden::OwnListener));
        check(&[], "203.0.113.9:80", Purpose::Request, Ok(()));
        let at_home = Rules::new(
            Destinations { allow: vec![], connect_ports: vec![] },
            vec!["127.0.0.1:3128".parse().expect("an address")],
        );
        let own = "127.0.0.1:3128".parse().expect("an address");
        assert_eq!(at_home.check(own, Purpose::Request), Err(Forbidden::OwnListener));
        let rules = Rules::new(
            Destinations { allow: vec![], connect_ports: vec![] },
            vec!["0.0.0.0:3128".parse().expect("an address")],
        );
        let here: SocketAddr = "203.0.113.9:3128".parse().expect("an address");
        let from = "203.0.113.9:50000".parse().expect("an address");
        assert_eq!(rules.check_connected(from, here), Err(Forbidden::OwnListener));
        // A parent is allowed whatever its address is, but it cannot be ourselves.
        let near = "203.0.113.9:50000".parse().expect("an address");
        assert!(rules.is_own(near, here) && self::rules(&["203.0.113.9"]).is_own(from, here));
        let desks = ["203.0.113.9:3129", "0.0.0.0:3130"].map(|desk| desk.parse().expect("an address"));
        let guarded = self::rules(&["203.0.113.9"]).with_desks(desks.to_vec());
        assert_eq!(guarded.check(desks[0], Purpose::Request), Err(Forbidden::OwnListener));
        let by_any_address = "203.0.113.9:3130".parse().expect("an address");
        assert_eq!(guarded.check_connected(from, by_any_address), Err(Forbidden::OwnListener));
        assert_eq!(guarded.check(here, Purpose::Request), Err(Forbidden::OwnListener), "whatever is allowed");
        let elsewhere = "203.0.113.10:3128".parse().expect("an address");
        assert!(!rules.is_own(from, elsewhere));
    }
}
