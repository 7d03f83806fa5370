//! An origin: scheme, host and port (RFC 9110 §4.3.1), as connections are kept by it.

use std::fmt;
use std::sync::Arc;

use http::Uri;
use http::uri::Scheme;

use crate::authority::host_and_port;
use crate::config::Parent;

/// Where an origin answers: scheme, host and port (RFC 9110 §4.3.1). The far end of a tunnel has no scheme. A parent proxy
/// that is asked in place of origins is one, too.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    /// Whether it is spoken to over TLS: the `https` scheme.
    secure: bool,
    /// A registered name in lower case, or an address; IPv6 addresses without brackets.
    host: Arc<str>,
    port: u16,
    /// Whose connections are nobody else's: what clients name is judged, and what the operator names is not.
    parent: Option<Arc<Parent>>,
}

impl Origin {
    /// The origin of `target`, a URI or the authority of a CONNECT; the scheme's default port where it names none. None
    /// if it has no host.
    pub(crate) fn of(target: &Uri) -> Option<Self> {
        let secure = target.scheme() == Some(&Scheme::HTTPS);
        // "There is no default port" (RFC 9110 §9.3.6): a CONNECT without one does not come this far.
        let default_port = if secure || target.scheme().is_none() { 443 } else { 80 };
        let (host, port) = host_and_port(target)?;
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if bare.is_empty() {
            return None;
        }
        let has_capitals = bare.bytes().any(|byte| byte.is_ascii_uppercase());
        let host = if has_capitals { bare.to_ascii_lowercase().into() } else { bare.into() };
        Some(Self { secure, host, port: port.unwrap_or(default_port), parent: None })
    }

    /// The parent proxy itself, for requests in absolute-form.
    pub(super) fn of_parent(parent: &Parent) -> Self {
        let parent = Arc::new(parent.clone());
        Self { secure: false, host: parent.host.as_str().into(), port: parent.port, parent: Some(parent) }
    }

    /// The parent proxy that it is, if it is one.
    pub(super) fn parent(&self) -> Option<&Arc<Parent>> {
        self.parent.as_ref()
    }

    /// Whether it is a parent proxy.
    pub(super) fn is_parent(&self) -> bool {
        self.parent.is_some()
    }

    /// Host and port as in a URI, without the port where it is `default_port`.
    pub(super) fn without_default_port(&self, default_port: u16) -> String {
        let mut text = self.to_string();
        if self.port == default_port {
            text.truncate(text.rfind(':').unwrap_or(text.len()));
        }
        text
    }

    /// Whether it is spoken to over TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.secure
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its name or address; IPv6 addresses without brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(target: &str, expected: &str) {
        let uri: Uri = target.parse().expect("a URI");
        assert_eq!(Origin::of(&uri).expect("an origin").to_string(), expected);
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let of = |target: &'static str| Origin::of(&Uri::from_static(target)).expect("an origin");
        assert_ne!(of("http://a:443/"), of("https://a/"));
        check("http://Example.ORG/x", "example.org:80");
        check("http://example.org:8080", "example.org:8080");
        check("http://[2001:DB8::1]:81/", "[2001:db8::1]:81");
        check("https://example.org/", "example.org:443");
        check("example.org:8443", "example.org:8443");
    }
}
