//! `AllowedDestination`: an exception to the refusal of addresses that are not public, as value and as text.
//!
//! It does not know which addresses are refused without it: that is `admit`'s.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use ipnet::IpNet;

use crate::config::value;

/// A network, and optionally a range of ports in it, that clients may reach although its addresses are not
/// public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedDestination {
    /// The network, without bits beyond its prefix.
    pub net: IpNet,
    /// The ports, both ends included; `None` is every port.
    pub ports: Option<RangeInclusive<u16>>,
}

impl AllowedDestination {
    /// Whether a connection to `destination` is allowed. An IPv4-mapped IPv6 address counts as the IPv4 address
    /// it reaches, so that no spelling of an address changes the answer.
    pub fn allows(&self, destination: SocketAddr) -> bool {
        self.net.contains(&destination.ip().to_canonical())
            && self.ports.as_ref().is_none_or(|ports| ports.contains(&destination.port()))
    }
}

/// Reads a network and optional ports: `10.0.0.0/8`, `127.0.0.1:8000-8999`, `::1`, `[::1]:8000`. Brackets tell an
/// IPv6 address from the ports behind it, as in a URI (RFC 3986 section 3.2.2).
pub(super) fn parse(text: &str) -> Result<AllowedDestination, String> {
    let expected =
        || "expected a network and optional ports such as 10.0.0.0/8 or [::1]:8000-8999".to_owned();
    let (net, ports) = if let Some(rest) = text.strip_prefix('[') {
        let (net, rest) = rest.split_once(']').ok_or_else(expected)?;
        let ports = if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(expected)?) };
        (net, ports)
    } else if text.matches(':').count() == 1 {
        text.split_once(':').map(|(net, ports)| (net, Some(ports))).ok_or_else(expected)?
    } else {
        (text, None)
    };
    let net = parse_network(net, expected)?;
    let ports = ports.map(parse_ports).transpose()?;
    Ok(AllowedDestination { net, ports })
}

/// Reads a network or a single address; `expected` says what is right where it is neither.
pub(super) fn parse_network(text: &str, expected: impl FnOnce() -> String) -> Result<IpNet, String> {
    let single = |_| text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
    let net: IpNet = text.parse().or_else(single).map_err(|_| expected())?;
    if net.trunc() != net {
        // Whether the address or the prefix was meant is not ours to guess: one of them opens more than asked.
        return Err(format!("expected no bits beyond the prefix: {} or {}", net.trunc(), net.addr()));
    }
    Ok(net)
}

/// Reads the network or address of clients.
pub(crate) fn parse_client(text: &str) -> Result<IpNet, String> {
    parse_network(text, || "expected an address or a network such as 10.0.0.5 or 10.0.0.0/8".to_owned())
}

pub(super) fn print_network(net: &IpNet) -> String {
    let single = net.prefix_len() == net.max_prefix_len();
    if single { net.addr().to_string() } else { net.to_string() }
}

pub(super) fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (value::parse_port(first), value::parse_port(last)) {
        (Ok(first), Ok(last)) if first <= last => Ok(first..=last),
        _ => Err("expected ports such as 80 or 8000-8999".to_owned()),
    }
}

pub(super) fn print(destination: &AllowedDestination) -> String {
    let AllowedDestination { net, ports } = destination;
    let net = print_network(net);
    let Some(ports) = ports else { return net };
    let net = if net.contains(':') { format!("[{net}]") } else { net };
    let (first, last) = (ports.start(), ports.end());
    if first == last { format!("{net}:{first}") } else { format!("{net}:{first}-{last}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `expected` is the canonical form of `written`, or the start of what is wrong with it.
    fn check(written: &str, expected: &str) {
        match parse(written) {
            Ok(destination) => assert_eq!(print(&destination), expected, "{written:?}"),
            Err(reason) => assert!(reason.starts_with(expected), "{written:?}: {reason}"),
        }
    }

    #[test]
    fn every_form_has_one_canonical_form() {
        check("127.0.0.1", "127.0.0.1");
        check("127.0.0.1/32", "127.0.0.1");
        check("10.0.0.0/8", "10.0.0.0/8");
        check("10.0.0.0/8:80", "10.0.0.0/8:80");
        check("127.0.0.1:8000-8999", "127.0.0.1:8000-8999");
        check("127.0.0.1:80-80", "127.0.0.1:80");
        check("::1", "::1");
        check("[::1]", "::1");
        check("[::1]:8000-8999", "[::1]:8000-8999");
        check("::ffff:127.0.0.1", "127.0.0.1");
        check("fd00::/8", "fd00::/8");
        check("[fd00::/8]:443", "[fd00::/8]:443");
        check("10.1.2.3/8", "expected no bits beyond the prefix: 10.0.0.0/8 or 10.1.2.3");
        check("127.0.0.1:0", "expected ports");
        check("127.0.0.1:9-8", "expected ports");
        check("127.0.0.1:", "expected ports");
        check("[::1", "expected a network");
        check("[::1]80", "expected a network");
        check("localhost", "expected a network");
        check("10.0.0.0/33", "expected a network");
        check("", "expected a network");
    }

    fn check_allows(written: &str, destination: &str, expected: bool) {
        let allowed = parse(written).unwrap();
        assert_eq!(allowed.allows(destination.parse().unwrap()), expected, "{written} and {destination}");
    }

    #[test]
    fn an_allowed_destination_covers_its_network_and_ports_only() {
        check_allows("127.0.0.1", "127.0.0.1:80", true);
        check_allows("127.0.0.1", "127.0.0.2:80", false);
        check_allows("10.0.0.0/8", "10.255.0.1:1", true);
        check_allows("127.0.0.1:8000-8999", "127.0.0.1:8000", true);
        check_allows("127.0.0.1:8000-8999", "127.0.0.1:8999", true);
        check_allows("127.0.0.1:8000-8999", "127.0.0.1:9000", false);
        check_allows("::1", "[::1]:80", true);
        check_allows("::/0", "127.0.0.1:80", false);
    }

    #[test]
    fn a_mapped_address_counts_as_the_ipv4_address_it_reaches() {
        check_allows("127.0.0.1", "[::ffff:127.0.0.1]:80", true);
        check_allows("::/0", "[::ffff:127.0.0.1]:80", false);
    }
}
