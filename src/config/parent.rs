//! `Parents`: the proxies through which others are reached, as values and as texts. How a parent is spoken to is
//! `upstream`'s.

use std::fmt;

use crate::config::HostPattern;
use crate::config::host::{self, Also};
use crate::host::Host;
use crate::text::percent_decoded;

/// Which targets are reached through which parent proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parents {
    /// For whatever `rules` say nothing of; `None` is direct.
    pub parent: Option<Parent>,
    /// For some hosts; the first that matches counts.
    pub rules: Vec<ParentRule>,
    /// What is reached directly whatever else is said.
    pub except: Vec<HostPattern>,
    /// Whether a target is reached directly when its parent cannot be.
    pub fallback: bool,
}

impl Default for Parents {
    fn default() -> Parents {
        Parents { parent: None, rules: Vec::new(), except: vec![HostPattern::Local], fallback: false }
    }
}

impl Parents {
    /// The parent for a target whose host is `host`; `None` is direct.
    pub(crate) fn parent_of(&self, host: &Host) -> Option<&Parent> {
        if self.except.iter().any(|except| except.matches(host)) {
            return None;
        }
        let rule = self.rules.iter().find(|rule| rule.host.matches(host));
        rule.map_or(self.parent.as_ref(), |rule| rule.parent.as_ref())
    }
}

/// The parent of some hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentRule {
    /// The hosts.
    pub host: HostPattern,
    /// How they are reached; `None` is direct.
    pub parent: Option<Parent>,
}

/// A parent proxy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Parent {
    /// What it speaks.
    pub scheme: ParentScheme,
    /// Who we are to it.
    pub credentials: Option<Credentials>,
    /// Its name in lower case, or its address without brackets.
    pub host: String,
    /// Its port; not 0.
    pub port: u16,
}

/// What a parent speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParentScheme {
    /// HTTP/1.1: requests in absolute-form, and CONNECT.
    Http,
    /// SOCKS 5 (RFC 1928), which resolves the names.
    Socks5,
}

/// A name and a password for a parent.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// Not empty, without a colon.
    pub user: String,
    /// May be empty.
    pub password: String,
}

/// The password stays out of every log line and panic message.
impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Without the credentials: `http://proxy.example:3128`.
impl fmt::Display for Parent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.scheme.prefix(), self.authority())
    }
}

impl Parent {
    /// Host and port, as in a URI.
    pub fn authority(&self) -> String {
        let Parent { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl ParentScheme {
    fn prefix(self) -> &'static str {
        match self {
            ParentScheme::Http => "http://",
            ParentScheme::Socks5 => "socks5://",
        }
    }
}

const EXPECTED: &str = "expected direct, http://HOST:PORT or socks5://HOST:PORT, with USER:PASSWORD@ before the host \
                        where the parent wants them";

/// RFC 1929 section 2 gives a name and a password a byte each for their lengths.
const LONGEST: usize = 255;

/// Reads `direct` or the URL of a proxy.
pub(super) fn parse(text: &str) -> Result<Option<Parent>, String> {
    if text == "direct" {
        return Ok(None);
    }
    let (scheme, rest) = text.split_once("://").ok_or(EXPECTED)?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => ParentScheme::Http,
        "socks5" | "socks5h" => ParentScheme::Socks5,
        _ => return Err(EXPECTED.to_owned()),
    };
    let (userinfo, authority) = rest.rsplit_once('@').map_or((None, rest), |(user, rest)| (Some(user), rest));
    let credentials = userinfo.map(parse_credentials).transpose()?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let (name, port) = authority.rsplit_once(':').ok_or(EXPECTED)?;
    let port = port.parse().ok().filter(|number| *number > 0 && !port.starts_with('+')).ok_or(EXPECTED)?;
    let host = Some(name).filter(|name| name.starts_with('[') || !name.contains(':')).map(Host::read);
    let host = host.and_then(Result::ok).ok_or(EXPECTED)?.to_string();
    Ok(Some(Parent { scheme, credentials, host, port }))
}

fn parse_credentials(text: &str) -> Result<Credentials, String> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let read = |text: &str| {
        percent_decoded(text).filter(|text| text.len() <= LONGEST && !text.contains(char::is_control))
    };
    let expected = "expected a name and a password of at most 255 bytes each, other characters than letters and digits \
                    as %XX";
    let user = read(user).filter(|user| !user.is_empty() && !user.contains(':')).ok_or(expected)?;
    Ok(Credentials { user, password: read(password).ok_or(expected)? })
}

fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

pub(super) fn print(parent: &Option<Parent>) -> String {
    let Some(parent) = parent else { return "direct".to_owned() };
    let userinfo = parent.credentials.as_ref().map_or_else(String::new, |Credentials { user, password }| {
        format!("{}:{}@", encoded(user), encoded(password))
    });
    format!("{}{userinfo}{}", parent.scheme.prefix(), parent.authority())
}

/// Reads hosts for a parent or for none: an entry of `no_parent`.
pub(super) fn parse_hosts(text: &str) -> Result<HostPattern, String> {
    host::parse(text, &[Also::Local, Also::Networks], || {
        "expected a host such as example.org or *.example.org, a network such as 10.0.0.0/8, or local"
            .to_owned()
    })
}

/// Reads `HOST=PARENT`.
pub(super) fn parse_rule(text: &str) -> Result<ParentRule, String> {
    let expected =
        "expected hosts and their parent such as *.example=http://proxy.example:3128 or 10.0.0.0/8=direct";
    let (hosts, parent) = text.split_once('=').ok_or(expected)?;
    let hosts = parse_hosts(hosts.trim()).map_err(|_| expected)?;
    Ok(ParentRule { host: hosts, parent: parse(parent.trim())? })
}

pub(super) fn print_rule(rule: &ParentRule) -> String {
    format!("{}={}", rule.host, print(&rule.parent))
}

/// What to do when a parent cannot be reached.
pub(super) fn parse_fallback(text: &str) -> Result<bool, String> {
    match text {
        "none" => Ok(false),
        "direct" => Ok(true),
        _ => Err("expected none or direct".to_owned()),
    }
}

pub(super) fn print_fallback(direct: &bool) -> String {
    if *direct { "direct" } else { "none" }.to_owned()
}

/// A printed parent or rule without its password, in which a colon and an `@` are never bare.
pub(super) fn masked(value: &str) -> String {
    let Some((before, authority)) = value.rsplit_once('@') else { return value.to_owned() };
    let user = before.rsplit_once(':').map_or("", |(user, _)| user);
    format!("{user}:***@{authority}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(written: &str, expected: &str) {
        match parse(written) {
            Ok(parent) => {
                assert_eq!(print(&parent), expected, "{written:?}");
                assert_eq!(parse(expected), Ok(parent));
            }
            Err(reason) => {
                assert!(!expected.is_empty() && reason.starts_with(expected), "{written:?}: {reason}");
            }
        }
    }

    #[test]
    fn parents() {
        check("direct", "direct");
        check("http://Proxy.Example:3128", "http://proxy.example:3128");
        check("http://proxy.example:3128/", "http://proxy.example:3128");
        check("socks5h://10.0.0.1:1080", "socks5://10.0.0.1:1080");
        check("HTTP://[2001:DB8::1]:80", "http://[2001:db8::1]:80");
        check("http://ann:a%2Cb%3A@p:1", "http://ann:a%2Cb%3A@p:1");
        check("http://ann:a@b@p:1", "http://ann:a%40b@p:1");
        check("http://ann@p:1", "http://ann:@p:1");
        check("http://p", "expected direct, http");
        check("http://p:0", "expected direct, http");
        check("http://p:+1", "expected direct, http");
        check("http://p:65536", "expected direct, http");
        check("https://p:1", "expected direct, http");
        check("http://p:1/x", "expected direct, http");
        check("http://:x@p:1", "expected a name and a password");
        check("http://a:%@p:1", "expected a name and a password");
        check("http://a:%0a@p:1", "expected a name and a password");
        check("p:3128", "expected direct, http");
        check("", "expected direct, http");
    }

    #[test]
    fn a_password_is_shown_nowhere() {
        let parent = parse("http://ann:sesame@p:1").unwrap();
        assert!(!format!("{parent:?}").contains("sesame"));
        assert_eq!(parent.as_ref().unwrap().to_string(), "http://p:1");
        assert_eq!(masked(&print(&parent)), "http://ann:***@p:1");
        assert_eq!(masked("*.a=http://ann:sesame@p:1"), "*.a=http://ann:***@p:1");
        assert_eq!(masked("http://p:1"), "http://p:1");
    }

    fn check_way(parents: &Parents, host: &str, expected: &str) {
        let found = parents.parent_of(&Host::read(host).unwrap());
        assert_eq!(found.map_or("direct", |parent| &parent.host), expected, "{host}");
    }

    #[test]
    fn exceptions_count_first_then_the_first_rule_then_the_parent() {
        let rules = ["a.example=direct", "*.example=http://one:1", "10.0.0.0/8=http://two:1"];
        let parents = Parents {
            parent: parse("socks5://three:1").unwrap(),
            rules: rules.map(|text| parse_rule(text).unwrap()).to_vec(),
            except: vec![HostPattern::Local, parse_hosts("x.example").unwrap()],
            fallback: false,
        };
        check_way(&parents, "a.example", "direct");
        check_way(&parents, "b.example", "one");
        check_way(&parents, "x.example", "direct");
        check_way(&parents, "other.org", "three");
        check_way(&parents, "intranet", "direct");
        check_way(&parents, "10.0.0.1", "direct");
        check_way(&Parents { except: Vec::new(), ..parents }, "10.0.0.1", "two");
    }

    #[test]
    fn rules_print_as_they_are_read() {
        let rule = |text| parse_rule(text).map(|rule| print_rule(&rule));
        assert_eq!(rule("*.A = http://p:1"), Ok("*.a=http://p:1".to_owned()));
        assert_eq!(rule("local=direct"), Ok("local=direct".to_owned()));
        assert!(rule("*.a").is_err() && rule("=http://p:1").is_err() && rule("a=b").is_err());
    }
}
