//! `Intercept`: which hosts' HTTPS is opened on its way, as values and as text.
//!
//! `*.example.org` names every host below `example.org` and not `example.org` itself, as in the other options, in
//! certificates (RFC 6125 §6.4.3) and in browsers' lists; a site that has both is listed with both. It resolves no name,
//! and whether a tunnel carries TLS at all is not known here.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::config::host;

/// Whose HTTPS is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intercept {
    /// Hosts whose connections are answered by bentpipe itself; empty for none.
    pub hosts: Vec<HostRule>,
    /// Hosts of which that is never so, whatever `hosts` says.
    pub never: Vec<HostRule>,
}

impl Intercept {
    /// Whether a connection to `host`, a name or an address as a URI or a ClientHello spells it, is opened.
    pub fn covers(&self, host: &str) -> bool {
        let matches = |rules: &[HostRule], host: &Host| rules.iter().any(|rule| rule.matches(host));
        Host::parse(host).is_some_and(|host| matches(&self.hosts, &host) && !matches(&self.never, &host))
    }
}

/// One entry of a list of hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostRule {
    /// Every host.
    All,
    /// This address.
    Address(IpAddr),
    /// This name alone, in lower case.
    Exactly(String),
    /// Every name that ends with a dot and this.
    Below(String),
}

impl HostRule {
    /// Whether it speaks of `host`.
    pub(crate) fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::All, _) => true,
            (Self::Address(rule), Host::Address(address)) => rule == address,
            (Self::Exactly(rule), Host::Name(name)) => rule == name,
            (Self::Below(rule), Host::Name(name)) => host::is_inside(name, rule),
            _ => false,
        }
    }
}

impl fmt::Display for HostRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str("all"),
            Self::Address(address) => address.fmt(formatter),
            Self::Exactly(name) => formatter.write_str(name),
            Self::Below(name) => write!(formatter, "*.{name}"),
        }
    }
}

/// A host in the one form in which hosts are compared: names in lower case and without a final dot, addresses as
/// numbers, one inside an IPv6 address as itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    Address(IpAddr),
    Name(String),
}

/// RFC 1123 §2.1 and RFC 1035 §2.3.4.
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

impl Host {
    /// Reads a host without a port; none for what is none. A name whose last label is a number is one spelling or
    /// another of an IPv4 address, and but for the usual one they are refused: a certificate for `127.1` is nobody's.
    pub(crate) fn parse(text: &str) -> Option<Host> {
        if let Some(inside) = text.strip_prefix('[') {
            let address: Ipv6Addr = inside.strip_suffix(']')?.parse().ok()?;
            return Some(Host::Address(IpAddr::from(address).to_canonical()));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Host::Address(address.to_canonical()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_number = |label: &str| {
            let digits = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
            digits.map_or_else(
                || label.chars().all(|c| c.is_ascii_digit()),
                |hex| hex.chars().all(|c| c.is_ascii_hexdigit()),
            )
        };
        let is_label = |label: &str| {
            let permitted = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            (1..=LONGEST_LABEL).contains(&label.len())
                && label.chars().all(permitted)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let is_name = name.len() <= LONGEST_NAME && name.split('.').all(is_label);
        let ends_in_number = name.rsplit('.').next().is_some_and(is_number);
        (is_name && !ends_in_number).then(|| Host::Name(name.to_ascii_lowercase()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(formatter),
            Self::Name(name) => formatter.write_str(name),
        }
    }
}

/// Words that look like names and are meant for something else.
const NOT_NAMES: [(&str, &str); 8] = [
    ("*", "all"),
    ("any", "all"),
    ("on", "all"),
    ("true", "all"),
    ("yes", "all"),
    ("none", "an empty list"),
    ("off", "an empty list"),
    ("false", "an empty list"),
];

/// Reads an entry of `tls.intercept.hosts` or `tls.intercept.never`.
pub(super) fn parse(text: &str) -> Result<HostRule, String> {
    if text.eq_ignore_ascii_case("all") {
        return Ok(HostRule::All);
    }
    parse_host(text).map_err(|reason| format!("{reason}, or all{}", meant(text)))
}

/// As [`parse`], where `all` would make no sense.
pub(super) fn parse_host(text: &str) -> Result<HostRule, String> {
    let is_word = NOT_NAMES.iter().any(|(word, _)| text.eq_ignore_ascii_case(word));
    let rule = if is_word { None } else { host_rule(text) };
    rule.ok_or_else(|| {
        if text.is_ascii() {
            "expected a host such as example.org or *.example.org".to_owned()
        } else {
            "expected an international name in its ASCII form, such as xn--mller-kva.example".to_owned()
        }
    })
}

fn host_rule(text: &str) -> Option<HostRule> {
    if let Some(name) = text.strip_prefix("*.") {
        return match Host::parse(name)? {
            Host::Name(name) => Some(HostRule::Below(name)),
            Host::Address(_) => None,
        };
    }
    Some(match Host::parse(text)? {
        Host::Name(name) => HostRule::Exactly(name),
        Host::Address(address) => HostRule::Address(address),
    })
}

/// What may be meant by `text`, as the end of a sentence.
fn meant(text: &str) -> String {
    let word = NOT_NAMES.iter().find(|(word, _)| text.eq_ignore_ascii_case(word));
    let meant = match word {
        Some((_, meant)) => Some((*meant).to_owned()),
        None => host_within(text),
    };
    meant.map_or_else(String::new, |meant| format!("; did you mean {meant}?"))
}

/// The host in what is more than one: a URL, a host and a port, a name with a dot or a star in front.
fn host_within(text: &str) -> Option<String> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let name = host.trim_start_matches(['*', '.']);
    let candidate = if name.len() < host.len() { format!("*.{name}") } else { name.to_owned() };
    host_rule(&candidate).map(|rule| rule.to_string()).filter(|canonical| canonical != text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `expected` is the canonical form of `written`, or a part of what is wrong with it.
    fn check(written: &str, expected: &str) {
        match parse(written) {
            Ok(rule) => assert_eq!(rule.to_string(), expected, "{written:?}"),
            Err(reason) => {
                assert!(
                    reason.contains(expected) && reason.starts_with("expected "),
                    "{written:?}: {reason}"
                );
            }
        }
    }

    #[test]
    fn every_form_has_one_canonical_form() {
        check("example.org", "example.org");
        check("Example.ORG.", "example.org");
        check("*.Example.org", "*.example.org");
        check("ALL", "all");
        check("intranet", "intranet");
        check("a_b.example", "a_b.example");
        check("192.0.2.1", "192.0.2.1");
        check("[2001:DB8::1]", "2001:db8::1");
        check("2001:db8::1", "2001:db8::1");
        check("::ffff:192.0.2.1", "192.0.2.1");
    }

    #[test]
    fn what_is_no_host_is_refused_with_what_may_be_meant() {
        check("https://example.org/path", "; did you mean example.org?");
        check("example.org:443", "; did you mean example.org?");
        check(".example.org", "; did you mean *.example.org?");
        check("*example.org", "; did you mean *.example.org?");
        check("example.org/", "; did you mean example.org?");
        check("*", "; did you mean all?");
        check("true", "; did you mean all?");
        check("off", "; did you mean an empty list?");
        check("m\u{fc}ller.example", "in its ASCII form");
        check("www.*.example", "expected a host such as example.org or *.example.org, or all");
        check("127.1", "expected a host");
        check("0x7f.0x1", "expected a host");
        check("2130706433", "expected a host");
        check("*.192.0.2.1", "expected a host");
        check("-a.example", "expected a host");
        check("a..example", "expected a host");
        check("", "expected a host");
        check(&format!("{}.example", "a".repeat(64)), "expected a host");
        check(&"a.".repeat(127).repeat(2), "expected a host");
    }

    fn check_covers(hosts: &str, never: &str, host: &str, expected: bool) {
        let list = |text: &str| text.split_whitespace().map(|rule| parse(rule).unwrap()).collect();
        let intercept = Intercept { hosts: list(hosts), never: list(never) };
        assert_eq!(intercept.covers(host), expected, "{host} of {hosts} but {never}");
    }

    #[test]
    fn a_star_stands_for_the_names_below_and_never_wins() {
        check_covers("", "", "example.org", false);
        check_covers("example.org", "", "example.org", true);
        check_covers("example.org", "", "EXAMPLE.org.", true);
        check_covers("example.org", "", "www.example.org", false);
        check_covers("*.example.org", "", "example.org", false);
        check_covers("*.example.org", "", "www.example.org", true);
        check_covers("*.example.org", "", "a.b.example.org", true);
        check_covers("*.example.org", "", "notexample.org", false);
        check_covers("*.example.org", "", ".example.org", false);
        check_covers("all", "", "anything.example", true);
        check_covers("all", "", "192.0.2.1", true);
        check_covers("all", "", "not a host", false);
        check_covers("all", "*.bank.example", "www.bank.example", false);
        check_covers("all", "*.bank.example", "bank.example", true);
        check_covers("www.bank.example", "*.bank.example", "www.bank.example", false);
        check_covers("all", "all", "example.org", false);
        check_covers("192.0.2.1", "", "[::ffff:192.0.2.1]", true);
        check_covers("2001:db8::1", "", "[2001:db8:0::1]", true);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_never_always_wins(text in "[*.a-z0-9:/\\[\\]_-]{0,20}|\\PC{0,12}") {
            if let Ok(rule) = parse(&text) {
                prop_assert_eq!(parse(&rule.to_string()), Ok(rule.clone()));
                let intercept = Intercept { hosts: vec![HostRule::All], never: vec![rule] };
                prop_assert!(!intercept.covers(&text));
            }
        }
    }
}
