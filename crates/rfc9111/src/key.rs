//! The cache key: the target URI in the normal form that equal URIs share.
//!
//! Follows RFC 9111 §2 (cache key) and RFC 9110 §4.2.3 (normalisation of http and https URIs). The method is not part
//! of the key because only responses to GET are stored. Which of the responses under one key suits a request is
//! decided by `nominated`. Percent-encoding is left as it came: origins exist that tell `%7E` from `~`.

use http::Uri;

/// The key under which responses to GET are stored: `scheme://host[:port]/path[?query]`, normalised.
///
/// ```
/// use rfc9111::CacheKey;
///
/// let key = CacheKey::parse("HTTP://Example.COM:80?page=1").unwrap();
/// assert_eq!(key.as_str(), "http://example.com/?page=1");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey(Box<str>);

impl CacheKey {
    /// The key of a target URI; `None` unless it is an absolute http or https URI.
    ///
    /// A URI with user information has no key either: RFC 9110 §4.2.4 calls for treating it as an error, and what was
    /// fetched with somebody's password must not be found without it.
    pub fn for_target(target: &Uri) -> Option<Self> {
        let (scheme, default_port) = scheme(target)?;
        let authority = target.authority()?.as_str();
        let (host, rest) = split(authority)?;
        if host.is_empty() {
            return None;
        }
        let port = match rest {
            // RFC 9110 §4.2.3: "If the port is equal to the default port for a scheme, the normal form is to omit the
            // port subcomponent." An empty port is the default port (RFC 3986 §6.2.3).
            "" | ":" => None,
            _ => Some(number_behind_colon(rest)?).filter(|port: &u16| *port != default_port),
        };
        // "…an empty path component is equivalent to an absolute path of "/", so the normal form is to provide a path
        // of "/" instead" (RFC 9110 §4.2.3).
        let path = if target.path().is_empty() { "/" } else { target.path() };
        let query = target.query();

        // Exactly, so that nothing is moved at the end.
        let port_length = port.map_or(0, |port| 2 + port.checked_ilog10().unwrap_or(0) as usize);
        let query_length = query.map_or(0, |query| query.len() + 1);
        let capacity = scheme.len() + 3 + host.len() + port_length + path.len() + query_length;
        let mut key = String::with_capacity(capacity);
        key.push_str(scheme);
        key.push_str("://");
        let from = key.len();
        key.push_str(host);
        key[from..].make_ascii_lowercase();
        if let Some(port) = port {
            key.push(':');
            push_decimal(&mut key, port);
        }
        key.push_str(path);
        if let Some(query) = query {
            key.push('?');
            key.push_str(query);
        }
        Some(Self(key.into_boxed_str()))
    }

    /// The key as text: the normalised target URI.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key without the query parameters (between `&`) that do not count; without any, also without a `?`.
    pub(crate) fn keeping_parameters(self, counts: impl Fn(&str) -> bool) -> Self {
        let Some((path, query)) = self.0.split_once('?') else { return self };
        let mut key = path.to_owned();
        for parameter in query.split('&').filter(|parameter| counts(parameter)) {
            key.push(if key.len() == path.len() { '?' } else { '&' });
            key.push_str(parameter);
        }
        Self(key.into_boxed_str())
    }

    /// Reads a key, or any absolute http or https URI, from text. A fragment is dropped.
    pub fn parse(text: &str) -> Option<Self> {
        Self::for_target(&text.parse().ok()?)
    }

    /// A key again, from what [`CacheKey::as_str`] gave; nothing is checked. Any other text is for [`CacheKey::parse`].
    pub fn from_normal_form(text: &str) -> Self {
        Self(text.into())
    }

    /// The origin (RFC 9110 §4.3.1) of the target: `scheme://host[:port]`.
    pub fn origin(&self) -> &str {
        let authority = self.0.find("://").map_or(0, |at| at + 3);
        let end = self.0[authority..].find('/').map_or(self.0.len(), |at| authority + at);
        &self.0[..end]
    }
}

/// The host of `authority`, and what stands behind it: a colon and a port, or nothing. None if a user name is before it.
fn split(authority: &str) -> Option<(&str, &str)> {
    let is_in_brackets = authority.starts_with('[');
    let last = if is_in_brackets { b']' } else { b':' };
    let end = authority.as_bytes().iter().position(|byte| *byte == last || *byte == b'@');
    let end = end.map_or(authority.len(), |end| end + usize::from(is_in_brackets));
    let (host, rest) = authority.split_at(end);
    let has_user = host.ends_with('@') || rest.as_bytes().contains(&b'@');
    (!has_user).then_some((host, rest))
}

fn number_behind_colon(rest: &str) -> Option<u16> {
    let colon = rest.as_bytes().iter().rposition(|byte| *byte == b':')?;
    rest.get(colon + 1..)?.parse().ok()
}

fn scheme(target: &Uri) -> Option<(&'static str, u16)> {
    let scheme = target.scheme_str()?;
    if scheme.eq_ignore_ascii_case("http") {
        Some(("http", 80))
    } else if scheme.eq_ignore_ascii_case("https") {
        Some(("https", 443))
    } else {
        None
    }
}

fn push_decimal(text: &mut String, port: u16) {
    let mut divisor = 10_000;
    while divisor > 1 && port < divisor {
        divisor /= 10;
    }
    while divisor > 0 {
        text.push(char::from(b'0' + (port / divisor % 10) as u8));
        divisor /= 10;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(target: &str, key: &str) {
        assert_eq!(CacheKey::parse(target).as_ref().map(CacheKey::as_str), Some(key), "{target}");
    }

    #[test]
    fn equal_targets_share_a_key_4_2_3() {
        check("http://example.com", "http://example.com/");
        check("HTTP://EXAMPLE.com:80/", "http://example.com/");
        check("http://example.com:/a", "http://example.com/a");
        check("http://example.com:080/a", "http://example.com/a");
        check("https://example.com:443/a?b=C", "https://example.com/a?b=C");
        check("http://example.com?b", "http://example.com/?b");
        check("http://[2001:DB8::1]:8080/a", "http://[2001:db8::1]:8080/a");
        check("http://example.com/a#fragment", "http://example.com/a");
    }

    #[test]
    fn different_targets_do_not() {
        check("http://example.com:443/", "http://example.com:443/");
        check("http://example.com:65535/", "http://example.com:65535/");
        check("http://example.com:1/", "http://example.com:1/");
        check("http://example.com/A%7e", "http://example.com/A%7e");
        check("http://example.com/?", "http://example.com/?");
    }

    #[test]
    fn only_absolute_http_targets_have_a_key() {
        for target in
            ["/a", "*", "example.com:80", "ftp://example.com/", "http://user:pw@example.com/", "", "\u{0}"]
        {
            assert_eq!(CacheKey::parse(target), None, "{target}");
        }
    }

    #[test]
    fn the_origin_is_what_stands_before_the_path() {
        let origin = |target| CacheKey::parse(target).map(|key| key.origin().to_owned());
        assert_eq!(origin("http://example.com:80/a").as_deref(), Some("http://example.com"));
        assert_eq!(origin("https://example.com:8443/a//b").as_deref(), Some("https://example.com:8443"));
    }

    /// The same by the parts that `http` tells of a URI.
    fn key_of_parts(target: &Uri) -> Option<String> {
        let (scheme, authority) = (target.scheme_str()?.to_ascii_lowercase(), target.authority()?);
        let default = [("http", 80), ("https", 443)].iter().find(|(name, _)| *name == scheme)?.1;
        let host = authority.host().to_ascii_lowercase();
        let port = match &authority.as_str()[host.len()..] {
            _ if host.is_empty() || authority.as_str().contains('@') => return None,
            "" | ":" => default,
            _ => authority.port_u16()?,
        };
        let port = if port == default { String::new() } else { format!(":{port}") };
        let query = target.query().map_or(String::new(), |query| format!("?{query}"));
        Some(format!("{scheme}://{host}{port}{}{query}", target.path()))
    }

    proptest! {
        #[test]
        fn a_key_has_the_parts_of_its_uri(
            scheme in "http|https|HTTP|ftp",
            authority in "([a-z:]{0,3}@)?([A-Za-z0-9.-]{1,12}|[a-z]?\\[[0-9:A-F]{2,8}\\][x@]?|[a-z0-9:@\\[\\]]{1,9})",
            port in "(:[0-9]{0,5}|:80|:443|:0{1,4}[0-9]{2})?",
            path in "(/[a-z%.]{0,4}){0,2}(\\?[a-z=/@:]{0,4})?",
        ) {
            if let Ok(target) = format!("{scheme}://{authority}{port}{path}").parse::<Uri>() {
                let key = CacheKey::for_target(&target);
                prop_assert_eq!(key.map(|key| key.as_str().to_owned()), key_of_parts(&target), "{}", target);
            }
        }

        #[test]
        fn a_key_is_its_own_key(port in 0u16.., path in "(/[a-z%.?=]{0,8}){0,3}", host in "[A-Za-z0-9.-]{1,12}") {
            if let Some(key) = CacheKey::parse(&format!("http://{host}:{port}{path}")) {
                prop_assert_eq!(&CacheKey::from_normal_form(key.as_str()), &key);
                prop_assert_eq!(CacheKey::parse(key.as_str()), Some(key));
            }
        }
    }
}
