//! `Dns`: how names become addresses, as values and as texts. How they are asked for is `upstream`'s.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::config::{HostPattern, host};

/// How names become addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Name servers in place of the system's; where there is none, those of the system count.
    pub servers: Vec<SocketAddr>,
    /// Names whose addresses are said here and asked of nobody.
    pub hosts: Vec<HostEntry>,
    /// How long after its time an answer may still be used when no name server gives another; zero is never.
    pub stale: Duration,
    /// The longest wait for an answer, over all name servers and attempts.
    pub timeout: Duration,
}

impl Default for Dns {
    fn default() -> Dns {
        let (stale, timeout) = (Duration::from_hours(7 * 24), Duration::from_secs(15));
        Dns { servers: Vec::new(), hosts: Vec::new(), stale, timeout }
    }
}

/// The addresses of a name, or of all names below one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostEntry {
    /// The name or names.
    pub host: HostPattern,
    /// At least one address.
    pub addresses: Vec<IpAddr>,
}

impl Dns {
    /// The addresses that `hosts` gives to `name`; none if it gives it no address. Entries of the name itself count
    /// before those with a star, of which the longest counts.
    pub(crate) fn given(&self, name: &str) -> Vec<IpAddr> {
        let fitting = |entry: &&HostEntry| entry.host.names(name);
        let rank = |entry: &HostEntry| match &entry.host {
            HostPattern::Below(domain) => domain.len(),
            _ => usize::MAX,
        };
        let best = self.hosts.iter().filter(fitting).map(rank).max();
        let counting = self.hosts.iter().filter(fitting).filter(|entry| Some(rank(entry)) == best);
        counting.flat_map(|entry| entry.addresses.iter().copied()).collect()
    }
}

/// Reads `NAME=ADDRESS*(";" ADDRESS)`.
pub(super) fn parse_entry(text: &str) -> Result<HostEntry, String> {
    let expected = || {
        "expected a name and its addresses such as intranet.example=10.0.0.5 or *.example=10.0.0.5;fd00::5"
            .to_owned()
    };
    let (name, addresses) = text.split_once('=').ok_or_else(expected)?;
    let host = host::parse(name.trim(), &[], expected)?;
    if matches!(host, HostPattern::Network(_)) {
        return Err(expected());
    }
    let address = |text: &str| text.trim().trim_matches(['[', ']']).parse::<IpAddr>().map_err(|_| expected());
    let addresses = addresses.split(';').map(address).collect::<Result<_, _>>()?;
    Ok(HostEntry { host, addresses })
}

pub(super) fn print_entry(entry: &HostEntry) -> String {
    let addresses: Vec<_> = entry.addresses.iter().map(ToString::to_string).collect();
    format!("{}={}", entry.host, addresses.join(";"))
}

/// Reads an address with or without a port, which is 53 otherwise.
pub(super) fn parse_server(text: &str) -> Result<SocketAddr, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let alone = bare.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53));
    let server = alone.ok().or_else(|| text.parse().ok()).filter(|server| server.port() > 0);
    server.ok_or_else(|| "expected the address of a name server such as 192.0.2.53 or [::1]:5353".to_owned())
}

pub(super) fn print_server(server: &SocketAddr) -> String {
    if server.port() == 53 { server.ip().to_string() } else { server.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T>(
        parse: fn(&str) -> Result<T, String>,
        print: fn(&T) -> String,
        written: &str,
        expected: &str,
    ) {
        match parse(written) {
            Ok(value) => assert_eq!(print(&value), expected, "{written:?}"),
            Err(reason) => {
                assert!(!expected.is_empty() && reason.starts_with(expected), "{written:?}: {reason}");
            }
        }
    }

    #[test]
    fn entries() {
        let check = |written, expected| check(parse_entry, print_entry, written, expected);
        check("Intranet.Example=10.0.0.5", "intranet.example=10.0.0.5");
        check("*.example = 10.0.0.5; fd00::5", "*.example=10.0.0.5;fd00::5");
        check("a=[::1]", "a=::1");
        check("a", "expected a name and its addresses");
        check("a=", "expected a name and its addresses");
        check("a=b", "expected a name and its addresses");
        check("10.0.0.1=10.0.0.2", "expected a name and its addresses");
    }

    #[test]
    fn servers() {
        let check = |written, expected| check(parse_server, print_server, written, expected);
        check("192.0.2.53", "192.0.2.53");
        check("192.0.2.53:53", "192.0.2.53");
        check("192.0.2.53:5353", "192.0.2.53:5353");
        check("[::1]", "::1");
        check("[::1]:54", "[::1]:54");
        check("192.0.2.53:0", "expected the address of a name server");
        check("dns.example", "expected the address of a name server");
    }

    #[test]
    fn the_nearest_entry_counts() {
        let entry = |text| parse_entry(text).unwrap();
        let hosts = vec![
            entry("*.example=10.0.0.1"),
            entry("*.b.example=10.0.0.2"),
            entry("a.b.example=10.0.0.3"),
            entry("a.b.example=fd00::3"),
        ];
        let dns = Dns { hosts, ..Dns::default() };
        let check = |name: &str, expected: &[&str]| {
            let found: Vec<_> = dns.given(name).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{name}");
        };
        check("A.b.example", &["10.0.0.3", "fd00::3"]);
        check("c.b.example", &["10.0.0.2"]);
        check("b.example", &["10.0.0.1"]);
        check("example", &[]);
    }
}
