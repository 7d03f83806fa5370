//! `HostPattern`: which hosts an option is about, as value and as text, for every option that names hosts.
//!
//! `*.example.org` names every host below `example.org` and not `example.org` itself, as in certificates (RFC 6125 §6.4.3)
//! and in browsers' lists. An address may be written in any spelling that a request may have, and means the same host. It
//! judges what was asked for: no name is looked up for it.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use rfc9111::Pattern;

use crate::config::destination;
use crate::host::Host;

/// Hosts of targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// Every host.
    All,
    /// Names without a dot, names that exist in local networks only (RFC 6761, RFC 6762, RFC 8375, and `internal`), and
    /// loopback, private and link-local addresses: what is not for a parent proxy or the world's name servers to know.
    Local,
    /// Addresses that stand in the target themselves; a single one is a network of its own.
    Network(IpNet),
    /// This name alone, in lower case and without a dot at its end.
    Exactly(String),
    /// Every name that ends with a dot and this, written likewise.
    Below(String),
    /// Names and addresses that look like this, written likewise.
    Like(Pattern),
}

/// What an option takes besides a name, `*.` with a name, and an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Also {
    /// `all`.
    All,
    /// `local`.
    Local,
    /// `10.0.0.0/8`.
    Networks,
    /// Stars anywhere.
    Stars,
}

/// The last labels of names that only a local network knows.
const LOCAL_DOMAINS: [&str; 6] = ["localhost", "local", "internal", "home.arpa", "lan", "test"];

impl HostPattern {
    /// Whether `host` is one of these.
    pub(crate) fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::All, _) => true,
            (Self::Network(network), Host::Address(address)) => network.contains(address),
            (Self::Local, Host::Address(IpAddr::V4(address))) => {
                address.is_loopback() || address.is_private() || address.is_link_local()
            }
            (Self::Local, Host::Address(IpAddr::V6(address))) => {
                address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
            }
            (Self::Like(pattern), Host::Address(address)) => pattern.matches(address.to_string().as_bytes()),
            (Self::Exactly(_) | Self::Below(_), Host::Address(_)) => false,
            (_, Host::Name(name)) => self.names(name.text()),
        }
    }

    /// Whether `name`, which has no dot at its end, is one of these.
    pub(crate) fn names(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Local => !name.contains('.') || LOCAL_DOMAINS.iter().any(|domain| is_below(name, domain)),
            Self::Network(_) => false,
            Self::Exactly(exact) => name.eq_ignore_ascii_case(exact),
            // With a label before it.
            Self::Below(domain) => is_below(name, domain) && name.len() > domain.len() + 1,
            Self::Like(pattern) => pattern.matches_in_any_case(name.as_bytes()),
        }
    }
}

/// Whether `host` is `domain` or ends with a dot and it.
pub(crate) fn is_below(host: &str, domain: &str) -> bool {
    let Some(begin) = host.len().checked_sub(domain.len()) else { return false };
    let ends = host.as_bytes().get(begin..).is_some_and(|end| end.eq_ignore_ascii_case(domain.as_bytes()));
    ends && (begin == 0 || host.as_bytes().get(begin - 1) == Some(&b'.'))
}

/// Reads hosts for an option that takes what is in `also`, too; `expected` says what is right where it is none of it.
pub(super) fn parse(
    text: &str,
    also: &[Also],
    expected: impl FnOnce() -> String,
) -> Result<HostPattern, String> {
    let takes = |form| also.contains(&form);
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if takes(Also::All) && text.eq_ignore_ascii_case("all") {
        return Ok(HostPattern::All);
    }
    if takes(Also::Local) && text.eq_ignore_ascii_case("local") {
        return Ok(HostPattern::Local);
    }
    if takes(Also::Networks) && text.contains('/') {
        return destination::parse_network(bare, expected).map(HostPattern::Network);
    }
    if let Some(Ok(Host::Name(domain))) = text.strip_prefix("*.").map(Host::read) {
        return Ok(HostPattern::Below(domain.text().to_owned()));
    }
    if takes(Also::Stars) && text.contains('*') && may_be_like(bare) {
        let bare = bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase();
        return Ok(HostPattern::Like(Pattern::new(&bare)));
    }
    match Host::read(text) {
        Ok(Host::Name(name)) => Ok(HostPattern::Exactly(name.text().to_owned())),
        Ok(Host::Address(address)) => Ok(HostPattern::Network(IpNet::from(address))),
        Err(_) => Err(expected()),
    }
}

/// Reads hosts as a command takes them.
pub(crate) fn read_host(text: &str) -> Result<HostPattern, String> {
    parse(text, &[Also::Networks, Also::Stars], || {
        "expected a host such as example.org, *.example.org or 192.0.2.1".to_owned()
    })
}

/// Whether some host may look like `pattern`, which a port does not belong to.
fn may_be_like(pattern: &str) -> bool {
    let port = pattern.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':'));
    !port
        && !pattern.contains("..")
        && pattern.chars().all(|c| c.is_ascii_alphanumeric() || "-_.*:".contains(c))
}

impl fmt::Display for HostPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str("all"),
            Self::Local => formatter.write_str("local"),
            Self::Network(network) => formatter.write_str(&destination::print_network(network)),
            Self::Exactly(name) => formatter.write_str(name),
            Self::Below(name) => write!(formatter, "*.{name}"),
            Self::Like(pattern) => pattern.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<HostPattern, String> {
        super::parse(text, &[Also::Local, Also::Networks], || "expected hosts".to_owned())
    }

    fn check_read(parsed: &Result<HostPattern, String>, host: &str, expected: bool) {
        let host = Host::read(host).unwrap();
        assert_eq!(parsed.as_ref().unwrap().matches(&host), expected, "{parsed:?} {host}");
    }

    fn check(text: &str, host: &str, expected: bool) {
        check_read(&parse(text), host, expected);
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

    const SPELLINGS: [&str; 9] = [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0x7F000001",
        "0177.0.0.01",
        "127.0.0.1.",
        "::ffff:127.0.0.1",
        "[::ffff:7f00:1]",
    ];

    #[test]
    fn an_address_is_the_same_host_in_every_spelling_rfc3986_7_4() {
        for (written, asked) in SPELLINGS.iter().flat_map(|one| SPELLINGS.map(|other| (*one, other))) {
            check(written, asked, true);
        }
        for asked in SPELLINGS {
            check("127.0.0.0/8", asked, true);
            check("127.0.0.2", asked, false);
            check_read(&parse_with(&[Also::Stars], "127.*"), asked, true);
            check_read(&parse_with(&[Also::All], "All"), asked, true);
        }
        check("*.0.1.example", "127.0.0.1", false);
        check("[2001:db8::1]", "[2001:DB8:0::1]", true);
    }

    fn parse_with(also: &[Also], text: &str) -> Result<HostPattern, String> {
        super::parse(text, also, || "expected hosts".to_owned())
    }

    #[test]
    fn stars_stand_anywhere_where_they_may() {
        let check =
            |text: &str, host: &str, expected| check_read(&parse_with(&[Also::Stars], text), host, expected);
        check("*", "a.example", true);
        check("ads*.example", "ADS1.Example.", true);
        check("*.example.*", "a.example.org", true);
        check("*.example.*", "example.org", false);
        check("*.example.org", ".example.org".trim_start_matches('.'), false);
        check("2001:db8:*", "[2001:DB8::1]", true);
        check("*.0.1", "127.1", true);
        for wrong in ["*:80", "a..*", "*/a", "a b*", "", "http://*"] {
            assert!(parse_with(&[Also::Stars], wrong).is_err(), "{wrong}");
        }
        for text in ["*", "a*", "*.a.*", "10.0.0.0/8", "*.1"] {
            assert!(
                parse_with(&[Also::All, Also::Local], text).is_err(),
                "{text} with stars or as a network"
            );
        }
        assert_eq!(parse_with(&[], "all"), Ok(HostPattern::Exactly("all".to_owned())));
        assert_eq!(parse_with(&[], "LOCAL."), Ok(HostPattern::Exactly("local".to_owned())));
    }

    #[test]
    fn what_no_request_can_ask_for_is_no_host() {
        for wrong in [
            "a..b",
            "-a",
            "a:80",
            "256.0.0.1",
            "1.2.3.4.5",
            "*.192.0.2.1",
            "fe80::1%eth0",
            "me@a",
            &"a".repeat(64),
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
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
            assert_eq!(value.to_string(), printed);
            assert_eq!(parse(&value.to_string()).unwrap(), value);
        }
        for wrong in ["", "a b", "10.0.0.1/8", "*", "http://a"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_reads_back(text in "[*.a-c0-9x:/\\[\\]_-]{0,20}|\\PC{0,12}") {
            for also in [&[][..], &[Also::All, Also::Local, Also::Networks, Also::Stars], &[Also::Stars]] {
                if let Ok(pattern) = parse_with(also, &text) {
                    prop_assert_eq!(parse_with(also, &pattern.to_string()), Ok(pattern));
                }
            }
        }
    }
}
