//! The host and port of a target or a Host field as they must be for everyone to read them alike (RFC 9110 §4.2, §7.2,
//! RFC 3986 §3.2.2). Stricter than RFC 3986: what its grammar allows besides names, addresses and brackets
//! (percent-encoding, sub-delimiters, future address kinds) is in nobody's use but that of who wants two recipients to see
//! two hosts. What a host is says `crate::host`; where it leads is judged when it is dialled.

use crate::host::Host;

/// A host as an authority names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(super) host: Host,
    /// None where the authority leaves it to the scheme.
    pub(super) port: Option<u16>,
    /// Whether it is known that the host has no other spelling to be written in.
    pub(super) is_usual: bool,
}

/// The host of `authority`, if it is a host with or without a port from 1 to 65535.
pub(super) fn of(authority: &[u8]) -> Option<Named> {
    read(std::str::from_utf8(authority).ok()?)
}

/// The same of a text.
pub(super) fn read(authority: &str) -> Option<Named> {
    let (host, rest) = split(authority);
    let port = port(rest)?;
    match Host::usual(host) {
        Some(host) => Some(Named { host, port, is_usual: true }),
        None => Some(Named { host: Host::read(host).ok()?, port, is_usual: false }),
    }
}

/// The port behind a colon; none in it where there is nothing, or a colon alone: "an empty port" is the default one (RFC
/// 3986 §6.2.3).
fn port(rest: &str) -> Option<Option<u16>> {
    let digits = match rest {
        "" | ":" => return Some(None),
        _ => rest.strip_prefix(':')?,
    };
    // No sign, which `parse` would take.
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|port| is_number && *port > 0).map(Some)
}

/// The host of `authority` as it is written, and what stands behind it: a colon and a port, or nothing. There is no user
/// name in `authority`.
fn split(authority: &str) -> (&str, &str) {
    let end = if authority.starts_with('[') {
        authority.find(']').map(|bracket| bracket + 1)
    } else {
        authority.as_bytes().iter().position(|byte| *byte == b':')
    };
    authority.split_at(end.unwrap_or(authority.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(authority: &str, expected: bool) {
        assert_eq!(of(authority.as_bytes()).is_some(), expected, "{authority}");
    }

    #[test]
    fn names_and_addresses_with_and_without_a_port() {
        for authority in [
            "example.org",
            "EXAMPLE.org.",
            "a",
            "_dmarc.a-b.org",
            "xn--bcher-kva.example",
            "127.0.0.1",
            "2130706433",
            "0x7f.1",
            "[::1]",
            "[2001:DB8::1]",
            "[::ffff:127.0.0.1]",
            "example.org:80",
            "a:1",
            "a:65535",
            "a:080",
            "a:",
            "[::1]:443",
            "[::1]:",
        ] {
            check(authority, true);
        }
    }

    #[test]
    fn what_recipients_may_read_differently_is_no_host() {
        for authority in [
            "",
            ":",
            ":80",
            "a:0",
            "a:65536",
            "a:99999",
            "a:+80",
            "a:-1",
            "a: 80",
            "a:8x",
            "a:80:80",
            "a:80/",
            "a b",
            "a,b",
            "a/b",
            "a\\b",
            "a?b",
            "a#b",
            "me@a",
            "@a",
            "a%00b",
            "a%2eb",
            "%31.0.0.1",
            "a;b",
            "a'b",
            "a\"b",
            "a(b)",
            "a*",
            "a+b",
            "a=b",
            "a&b",
            "a$b",
            "a!b",
            "a~b",
            "<a>",
            "{a}",
            "a|b",
            "a^b",
            "a`b",
            "b\u{fc}cher.example",
            "a\0b",
            "a\tb",
            "::1",
            "[::1",
            "::1]",
            "[]",
            "[a]",
            "[127.0.0.1]",
            "[::1]x",
            "[::1]x:80",
            "[::1]]",
            "[[::1]]",
            "[::1%25eth0]",
            "[::1%eth0]",
            "[v1.x]",
            "[::1]:0",
            "[::1]:65536",
            "[::1]80",
            "256.0.0.1",
            "1.2.3.4.5",
            "-a",
            "a..b",
            ".",
            " a",
            "a ",
        ] {
            check(authority, false);
        }
        check(&"a".repeat(63), true);
        check(&"a".repeat(64), false);
        check(&format!("{}a.", "a.".repeat(126)), true);
        check(&format!("{}ab.", "a.".repeat(126)), false);
    }

    proptest! {
        #[test]
        fn a_valid_host_is_one_host_for_every_uri_parser(text in "[a-zA-Z0-9.:@%\\[\\]_-]{1,20}") {
            if of(text.as_bytes()).is_some() {
                let uri: http::Uri = format!("http://{text}/").parse().expect("a URI");
                let host = uri.host().expect("a host");
                let port = uri.port_u16().map_or(String::new(), |port| port.to_string());
                let rest = text.strip_prefix(host).expect("the host comes first");
                prop_assert_eq!(rest.trim_start_matches(':').trim_start_matches('0'), port);
                prop_assert!(!text.contains(['@', '%']));
            }
        }
    }
}
