//! `Target`: where a forwarder leads: a host and a port, as they are typed.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use http::uri::Authority;

use crate::host::Host;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target(Authority);

impl Target {
    /// As the target of a CONNECT.
    pub(super) fn uri(&self) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.authority = Some(self.0.clone());
        Uri::from_parts(parts).unwrap_or_default()
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected a host and a port such as example.org:25 or [::1]:8080".to_owned();
        let authority: Authority = text.parse().map_err(|_| expected())?;
        let has_port = authority.port_u16().is_some_and(|port| port > 0);
        if !has_port || text.contains('@') || Host::read(authority.host()).is_err() {
            return Err(expected());
        }
        Ok(Self(authority))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(&str, u16)>) {
        let target = text.parse::<Target>().ok();
        let uri = target.map(|target| target.uri());
        let parts = uri.as_ref().and_then(|uri| Some((uri.host()?, uri.port_u16()?)));
        assert_eq!(parts, expected, "{text}");
    }

    #[test]
    fn a_target_is_a_host_and_a_port() {
        check("example.org:25", Some(("example.org", 25)));
        check("127.0.0.1:8080", Some(("127.0.0.1", 8080)));
        check("[::1]:8080", Some(("[::1]", 8080)));
        check("example.org", None);
        check("example.org:0", None);
        check("user@example.org:25", None);
        check("::1:8080", None);
        check("1.2.3:8080x", None);
        check("", None);
    }
}
