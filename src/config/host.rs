//! `HostMatch`: which hosts an option is about, as value and as text. `local` is whatever is not for a parent proxy or
//! for the world's name servers to know.
//!
//! It judges what was asked for, as it was spelled: no name is looked up for it.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::{HostPattern, class, destination};

/// Hosts by name, addresses by network, or whatever is local.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostMatch {
    /// Hosts by their names.
    Name(HostPattern),
    /// Addresses that stand in the target themselves.
    Network(IpNet),
    /// Names without a dot, names that exist in local networks only (RFC 6761, RFC 6762, RFC 8375, and `internal`), and
    /// loopback, private and link-local addresses.
    Local,
}

/// The last labels of names that only a local network knows.
const LOCAL_DOMAINS: [&str; 6] = ["localhost", "local", "internal", "home.arpa", "lan", "test"];

impl HostMatch {
    /// Whether the host of a target, which names one of these, is meant.
    pub fn matches(&self, host: &str, address: Option<IpAddr>) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        match (self, address.map(|address| address.to_canonical())) {
            (HostMatch::Network(network), Some(address)) => network.contains(&address),
            (HostMatch::Local, Some(IpAddr::V4(address))) => {
                address.is_loopback() || address.is_private() || address.is_link_local()
            }
            (HostMatch::Local, Some(IpAddr::V6(address))) => {
                address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
            }
            (HostMatch::Name(HostPattern::Exactly(name)), Some(address)) => {
                name.parse().is_ok_and(|named: IpAddr| named == address)
            }
            (HostMatch::Name(pattern), None) => is_named(pattern, host),
            (HostMatch::Local, None) => {
                !host.contains('.') || LOCAL_DOMAINS.iter().any(|domain| is_below(host, domain))
            }
            (HostMatch::Network(_), None) | (HostMatch::Name(HostPattern::Below(_)), Some(_)) => false,
        }
    }
}

/// Whether `pattern` names `host`, which has no dot at its end.
pub(crate) fn is_named(pattern: &HostPattern, host: &str) -> bool {
    match pattern {
        HostPattern::Exactly(name) => host.eq_ignore_ascii_case(name),
        HostPattern::Below(name) => is_inside(host, name),
    }
}

/// Whether `host` ends with a dot and `domain`, and has a label before them.
pub(crate) fn is_inside(host: &str, domain: &str) -> bool {
    is_below(host, domain) && host.len() > domain.len() + 1
}

/// Whether `host` is `domain` or ends with a dot and it.
pub(crate) fn is_below(host: &str, domain: &str) -> bool {
    let Some(begin) = host.len().checked_sub(domain.len()) else { return false };
    let ends = host.as_bytes().get(begin..).is_some_and(|end| end.eq_ignore_ascii_case(domain.as_bytes()));
    ends && (begin == 0 || host.as_bytes().get(begin - 1) == Some(&b'.'))
}

pub(super) fn parse(text: &str) -> Result<HostMatch, String> {
    let expected = || {
        "expected a host such as example.org or *.example.org, a network such as 10.0.0.0/8, or local"
            .to_owned()
    };
    if text.eq_ignore_ascii_case("local") {
        return Ok(HostMatch::Local);
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if bare.contains(['/', ':']) || bare.parse::<IpAddr>().is_ok() {
        return destination::parse_network(bare, expected).map(HostMatch::Network);
    }
    class::parse_host(text).map(HostMatch::Name).map_err(|_| expected())
}

pub(super) fn print(value: &HostMatch) -> String {
    match value {
        HostMatch::Name(pattern) => pattern.to_string(),
        HostMatch::Network(network) => destination::print_network(network),
        HostMatch::Local => "local".to_owned(),
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Exactly(name) => formatter.write_str(name),
            HostPattern::Below(name) => write!(formatter, "*.{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, host: &str, expected: bool) {
        let found = parse(text).unwrap().matches(host, host.trim_matches(['[', ']']).parse().ok());
        assert_eq!(found, expected, "{text} {host}");
    }

    #[test]
    fn names_match_names_and_networks_match_addresses() {
        check("example.org", "Example.ORG", true);
        check("example.org", "example.org.", true);
        check("example.org", "www.example.org", false);
        check("*.example.org", "www.example.org", true);
        check("*.example.org", "example.org", false);
        check("*.example.org", "wwwexample.org", false);
        check("10.0.0.0/8", "10.1.2.3", true);
        check("10.0.0.0/8", "::ffff:10.1.2.3", true);
        check("10.0.0.0/8", "ten.example", false);
        check("192.0.2.7", "192.0.2.7", true);
    }

    #[test]
    fn local_is_what_the_world_does_not_know() {
        for host in [
            "intranet",
            "localhost",
            "a.localhost",
            "printer.local",
            "x.home.arpa",
            "127.0.0.1",
            "10.2.3.4",
            "::1",
            "fd00::1",
        ] {
            check("local", host, true);
        }
        for host in ["example.org", "localhost.example", "notlocal.example", "192.0.2.1", "2001:db8::1"] {
            check("local", host, false);
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        for (text, printed) in [
            ("LOCAL", "local"),
            ("*.A.example", "*.a.example"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("[::1]", "::1"),
            ("a", "a"),
        ] {
            let value = parse(text).unwrap();
            assert_eq!(print(&value), printed);
            assert_eq!(parse(&print(&value)).unwrap(), value);
        }
        for wrong in ["", "a b", "10.0.0.1/8", "*", "http://a"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
