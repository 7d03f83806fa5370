//! `pac.direct`: destinations that browsers reach without bentpipe when they ask `/proxy.pac`, as text.
//!
//! A network speaks of addresses that stand in a URL: a browser that had to look names up to decide would wait for the
//! link each time.

use crate::config::{HostPattern, destination, intercept};

/// Reads a host, `*.` and a name, an address or a network.
pub(super) fn parse(text: &str) -> Result<HostPattern, String> {
    let expected = || "expected a host or a network such as *.school.example or 10.0.0.0/8".to_owned();
    if text.contains('/') {
        return destination::parse_network(text, expected).map(HostPattern::Network);
    }
    intercept::parse_host(text).map_err(|_| expected())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `expected` is the canonical form of `written`, or the start of what is wrong with it.
    fn check(written: &str, expected: &str) {
        match parse(written) {
            Ok(rule) => assert_eq!(rule.to_string(), expected, "{written:?}"),
            Err(reason) => assert!(reason.starts_with(expected), "{written:?}: {reason}"),
        }
    }

    #[test]
    fn hosts_and_networks() {
        check("*.School.example", "*.school.example");
        check("intranet.example.", "intranet.example");
        check("10.0.0.0/8", "10.0.0.0/8");
        check("10.0.0.1", "10.0.0.1");
        check("2001:db8::/32", "2001:db8::/32");
        check("[2001:db8::1]", "2001:db8::1");
        check("10.0.0.1/8", "expected no bits beyond the prefix");
        check("http://school.example/", "expected a host or a network");
        check("*", "expected a host or a network");
        check("", "expected a host or a network");
    }
}
