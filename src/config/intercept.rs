//! `Intercept`: which hosts' HTTPS is opened on its way, as values and as text.
//!
//! A site that has hosts below `example.org` and `example.org` itself is listed with both. It resolves no name, and whether
//! a tunnel carries TLS at all is not known here.

use std::net::IpAddr;

use crate::config::HostPattern;
use crate::config::host::{self, Also};
use crate::host::Host;

/// Whose HTTPS is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intercept {
    /// Hosts whose connections are answered by bentpipe itself; empty for none.
    pub hosts: Vec<HostPattern>,
    /// Hosts of which that is never so, whatever `hosts` says.
    pub never: Vec<HostPattern>,
}

impl Intercept {
    /// Whether a connection to `host` is opened.
    pub(crate) fn covers(&self, host: &Host) -> bool {
        let matches = |patterns: &[HostPattern]| patterns.iter().any(|pattern| pattern.matches(host));
        matches(&self.hosts) && !matches(&self.never)
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
pub(super) fn parse(text: &str) -> Result<HostPattern, String> {
    read(text, &[Also::All]).map_err(|reason| format!("{reason}, or all{}", meant(text)))
}

/// As [`parse`], where `all` would make no sense.
pub(super) fn parse_host(text: &str) -> Result<HostPattern, String> {
    read(text, &[])
}

fn read(text: &str, also: &[Also]) -> Result<HostPattern, String> {
    let expected = || {
        if text.is_ascii() {
            "expected a host such as example.org or *.example.org".to_owned()
        } else {
            "expected an international name in its ASCII form, such as xn--mller-kva.example".to_owned()
        }
    };
    let is_word = NOT_NAMES.iter().any(|(word, _)| text.eq_ignore_ascii_case(word));
    let pattern = host::parse(text, also, expected)?;
    // A list like this names sites: `127.1` is rather a version than a site's address.
    let is_odd = matches!(pattern, HostPattern::Network(_))
        && text.trim_matches(['[', ']']).parse::<IpAddr>().is_err();
    if is_word || is_odd { Err(expected()) } else { Ok(pattern) }
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
    read(&candidate, &[]).ok().map(|pattern| pattern.to_string()).filter(|canonical| canonical != text)
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
        let covers = Host::read(host).is_ok_and(|host| intercept.covers(&host));
        assert_eq!(covers, expected, "{host} of {hosts} but {never}");
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
        check_covers("all", "192.0.2.1", "0xc0.0.513", false);
        check_covers("192.0.2.1", "", "3221225985", true);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_never_always_wins(text in "[*.a-z0-9:/\\[\\]_-]{0,20}|\\PC{0,12}") {
            if let Ok(rule) = parse(&text) {
                prop_assert_eq!(parse(&rule.to_string()), Ok(rule.clone()));
                let intercept = Intercept { hosts: vec![HostPattern::All], never: vec![rule] };
                prop_assert!(!Host::read(&text).is_ok_and(|host| intercept.covers(&host)));
            }
        }
    }
}
