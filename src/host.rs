//! The host of a target, read in one way for everyone who compares, judges, looks up or dials it: an address in any
//! spelling that some software would take for one, or a name that may be asked of a name server (RFC 1123 §2.1). What is
//! neither is refused, and never handed to a resolver. Which hosts an option means is `config::host`'s.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;

/// Who is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// An IPv4-mapped IPv6 address is the IPv4 address that it reaches.
    Address(IpAddr),
    Name(Name),
}

/// A name that can be looked up, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    text: Box<str>,
    /// Whether a dot at its end said that it is complete, so that no search domain is tried.
    complete: bool,
}

/// RFC 1035 §3.1: 255 bytes on the wire are so many characters.
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

/// The name of our own pages. Names below `.local` are never asked of a name server (RFC 6762 §3), so it hides no other
/// site.
pub(crate) const OWN_NAME: &str = "bentpipe.local";

/// Whether `host`, without its port, is the name of our own pages.
pub(crate) fn is_own_name(host: &str) -> bool {
    host.strip_suffix('.').unwrap_or(host).eq_ignore_ascii_case(OWN_NAME)
}

impl Host {
    /// Reads `host`, which has no port; an IPv6 address may have brackets.
    ///
    /// # Errors
    /// If no address and no name is written like this, as a sentence about a target.
    pub(crate) fn read(host: &str) -> Result<Self, &'static str> {
        match Self::usual(host) {
            Some(host) => Ok(host),
            None => Self::in_any_spelling(host),
        }
    }

    /// Reads what nearly every target has: a name that nobody takes for an address, since its last label begins with a
    /// letter, or an IPv4 address in its usual spelling. None for anything else, which need not be wrong.
    pub(crate) fn usual(host: &str) -> Option<Self> {
        let bare = host.strip_suffix('.').unwrap_or(host).as_bytes();
        let last_label = bare.iter().rposition(|byte| *byte == b'.').map_or(0, |dot| dot + 1);
        match bare.get(last_label)? {
            b'0'..=b'9' => host.parse::<Ipv4Addr>().ok().map(|address| Self::Address(address.into())),
            _ => Name::read(host).map(Self::Name),
        }
    }

    fn in_any_spelling(host: &str) -> Result<Self, &'static str> {
        let no_address = "The target's host looks like an address and is none.";
        if let Some(inside) = host.strip_prefix('[') {
            // No zone either: "This syntax does not support IPv6 scoped addressing zone identifiers" (RFC 3986 §3.2.2).
            let address = inside.strip_suffix(']').and_then(|inside| inside.parse::<Ipv6Addr>().ok());
            return address.map(|address| Self::from(IpAddr::from(address))).ok_or(no_address);
        }
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Self::from(address));
        }
        match numeric(host) {
            Some(Ok(address)) => Ok(Self::Address(address.into())),
            Some(Err(())) => Err(no_address),
            None => Name::read(host)
                .map(Self::Name)
                .ok_or("The target's host is no name that can be looked up (RFC 1123 section 2.1)."),
        }
    }

    /// Whether both are one host: a dot at the end of a name does not make it another.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Address(one), Self::Address(other)) => one == other,
            (Self::Name(one), Self::Name(other)) => one.text == other.text,
            _ => false,
        }
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        Self::Address(address.to_canonical())
    }
}

/// Without brackets, and without the dot that says that a name is complete.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name.text()),
        }
    }
}

/// `target` with its host's address, if it has one, in the usual spelling: "If this filtering is performed, literals
/// should be converted to numeric form and filtered based on the numeric value, and not on a prefix or suffix of the
/// string form" (RFC 3986 §7.4). Rules, the cache, parents and the origin then all see one host. Names are left as
/// they are.
pub(crate) fn normalised(target: &Uri) -> Uri {
    let host = target.host().and_then(|host| Host::read(host).ok());
    host.map_or_else(|| target.clone(), |host| normalised_as(target, &host))
}

/// The same, where the target's host has been read and is `host`.
pub(crate) fn normalised_as(target: &Uri, host: &Host) -> Uri {
    let usual = || {
        let Host::Address(address) = host else { return None };
        let written = target.host()?;
        let host = match address {
            // There is one spelling that this reads.
            IpAddr::V4(_) if written.parse::<Ipv4Addr>().is_ok() => return None,
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        let authority = target.authority()?.as_str();
        let port = authority.strip_prefix(written).filter(|_| written != host)?;
        let mut parts = target.clone().into_parts();
        parts.authority = Some(format!("{host}{port}").parse().ok()?);
        Uri::from_parts(parts).ok()
    };
    usual().unwrap_or_else(|| target.clone())
}

impl Name {
    /// Reads a name. Underscores are let pass: names of hosts have none, and many are in use all the same.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (bare, complete) = text.strip_suffix('.').map_or((text, false), |bare| (bare, true));
        let mut before = b'.';
        let mut fits = |byte: u8| {
            let follows = match byte {
                // No label is empty, and none begins or ends with a hyphen.
                b'.' => before != b'.' && before != b'-',
                b'-' => before != b'.',
                _ => byte.is_ascii_alphanumeric() || byte == b'_',
            };
            before = byte;
            follows
        };
        let is_short = bare.len() <= LONGEST_LABEL
            || bare.len() <= LONGEST_NAME && bare.split('.').all(|label| label.len() <= LONGEST_LABEL);
        let right = is_short && bare.bytes().all(&mut fits) && fits(b'.');
        right.then(|| Self { text: bare.to_ascii_lowercase().into(), complete })
    }

    /// Without the dot at its end.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it was said to be complete.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.text, if self.complete { "." } else { "" })
    }
}

/// The IPv4 parser of the URL standard (<https://url.spec.whatwg.org/#concept-ipv4-parser>), which is what browsers and
/// `inet_aton` agree on: `127.1`, `0x7f.1`, `017700000001` and `2130706433` are all this machine. None if nobody would
/// take `host` for an address: its last label is no number.
fn numeric(host: &str) -> Option<Result<Ipv4Addr, ()>> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let parts: Vec<&str> = host.split('.').collect();
    let last = parts.last().copied().unwrap_or_default();
    let all_digits = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits && number(last).is_none() {
        return None;
    }
    Some(address(&parts).ok_or(()))
}

fn address(parts: &[&str]) -> Option<Ipv4Addr> {
    let (last, first) = parts.split_last()?;
    if first.len() > 3 {
        return None;
    }
    let mut bits: u32 = 0;
    for part in first {
        let octet = u8::try_from(number(part)?).ok()?;
        bits = (bits << 8) | u32::from(octet);
    }
    // The last part fills whatever the others have left.
    let room = 8 * (4 - u32::try_from(first.len()).ok()?);
    let last = number(last)?;
    if last >> room != 0 {
        return None;
    }
    let before = bits.checked_shl(room).unwrap_or(0);
    Some(Ipv4Addr::from_bits(before | u32::try_from(last).ok()?))
}

/// A number in C's notation: octal after `0`, hexadecimal after `0x`. One that is too large for any address is as wrong
/// as one that is none, but still a number.
fn number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    if digits.is_empty() {
        return (radix == 16).then_some(0);
    }
    if !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    Some(u64::from_str_radix(digits, radix).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `expected` is the address, `name NAME`, or `refused`.
    fn check(host: &str, expected: &str) {
        let found = match Host::read(host) {
            Ok(Host::Address(address)) => address.to_string(),
            Ok(Host::Name(name)) => format!("name {name}"),
            Err(_) => "refused".to_owned(),
        };
        assert_eq!(found, expected, "{host:?}");
    }

    #[test]
    fn an_address_is_an_address_in_every_spelling() {
        for host in [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "0x7f.1",
            "0X7F.0.0.0x1",
            "2130706433",
            "017700000001",
            "0177.0.0.01",
            "0x7f000001",
            "127.0.0.1.",
        ] {
            check(host, "127.0.0.1");
        }
        check("0", "0.0.0.0");
        check("0x", "0.0.0.0");
        check("1.2.3", "1.2.0.3");
        check("4294967295", "255.255.255.255");
        check("::1", "::1");
        for host in ["::ffff:127.0.0.1", "[::ffff:127.0.0.1]", "[::FFFF:7f00:1]"] {
            check(host, "127.0.0.1");
        }
        check("[2001:DB8:0::1]", "2001:db8::1");
    }

    #[test]
    fn what_looks_like_an_address_is_no_name() {
        for host in [
            "256",
            "1.2.3.4.5",
            "256.0.0.1",
            "1.2.3.256",
            "4294967296",
            "1..2",
            "a.1",
            "1.08",
            "0x7g.1",
            "99999999999999999999",
            ".1",
        ] {
            // "256" is 0.0.1.0: a whole address in one number.
            check(host, if host == "256" { "0.0.1.0" } else { "refused" });
        }
    }

    #[test]
    fn names_have_labels_of_letters_digits_and_hyphens() {
        check("Example.ORG", "name example.org");
        check("example.org.", "name example.org.");
        check("a_b.example", "name a_b.example");
        check("1a.example", "name 1a.example");
        check("example.0xg", "name example.0xg");
        check(&"a".repeat(63), &format!("name {}", "a".repeat(63)));
        for host in [
            "",
            ".",
            "a..b",
            "-a",
            "a-",
            "a b",
            "a%2e",
            "fe80::1%25eth0",
            "[fe80::1%25eth0]",
            "[fe80::1%eth0]",
            "[::1",
            "[127.0.0.1]",
            "[a]",
            "b\u{fc}cher",
            &"a".repeat(64),
            &"a.".repeat(128),
        ] {
            check(host, "refused");
        }
    }

    #[test]
    fn a_dot_at_the_end_makes_no_other_host() {
        let read = |host| Host::read(host).unwrap();
        assert!(read("A.example.").is(&read("a.example")) && read("[::ffff:0:1]").is(&read("0.0.0.1")));
        assert!(!read("a.example").is(&read("b.example")) && !read("a.example").is(&read("1.2.3.4")));
        assert_eq!(
            (read("A.example.").to_string(), read("[::1]").to_string()),
            ("a.example".into(), "::1".into())
        );
    }

    fn check_normalised(target: &str, expected: &str) {
        assert_eq!(normalised(&target.parse().unwrap()).to_string(), expected, "{target}");
    }

    #[test]
    fn a_target_has_its_address_in_the_usual_spelling_rfc3986_7_4() {
        check_normalised("http://2130706433:8080/a?b", "http://127.0.0.1:8080/a?b");
        check_normalised("http://0x7f.1/", "http://127.0.0.1/");
        check_normalised("http://127.0.0.1.:/", "http://127.0.0.1:/");
        check_normalised("http://[::FFFF:7f00:1]:81/", "http://127.0.0.1:81/");
        check_normalised("http://[2001:DB8:0::1]/", "http://[2001:db8::1]/");
        check_normalised("0177.1:443", "127.0.0.1:443");
        for same in
            ["http://127.0.0.1:80/", "http://[::1]/a", "http://Example.org./", "a.example:443", "/a", "*"]
        {
            check_normalised(same, same);
        }
    }

    proptest! {
        #[test]
        fn what_is_read_quickly_is_what_is_read_with_care(
            host in "[0-9a-fxX.:]{0,24}|(([a-zA-Z_-]{1,4}|[0-9]{1,3}|0[xX][0-9a-f]{0,2})[.]?){1,5}|\\PC{0,24}",
        ) {
            if let Some(usual) = Host::usual(&host) {
                prop_assert_eq!(Host::in_any_spelling(&host), Ok(usual.clone()));
                let target: Uri = format!("http://{host}:81/").parse().unwrap();
                prop_assert_eq!(normalised_as(&target, &usual).to_string(), target.to_string());
            }
        }

        #[test]
        fn a_name_is_labels_with_dots_between_them(text in "([a-zA-Z0-9_-]{0,3}[.]?){0,6}|([a-z]{61,65}[.]?){1,5}") {
            let bare = text.strip_suffix('.').unwrap_or(&text);
            let is_label = |label: &str| {
                (1..=LONGEST_LABEL).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
            };
            let is_name = bare.len() <= LONGEST_NAME && bare.split('.').all(is_label);
            prop_assert_eq!(Name::read(&text).is_some(), is_name);
        }

        #[test]
        fn any_host_is_read_without_panic_and_no_name_is_a_number(host in "[0-9a-fxX.]{0,24}|\\PC{0,24}") {
            if let Ok(Host::Name(name)) = Host::read(&host) {
                prop_assert!(!name.text().rsplit('.').next().unwrap().bytes().all(|byte| byte.is_ascii_digit()));
            }
        }

        #[test]
        fn every_spelling_of_an_address_is_found(bits in any::<u32>()) {
            let address = Ipv4Addr::from_bits(bits);
            let [a, b, c, d] = address.octets();
            for host in [format!("{bits}"), format!("{bits:#x}"), format!("0{bits:o}"), format!("{a:#x}.{b}.{c}.0{d:o}")] {
                prop_assert_eq!(Host::read(&host).ok(), Some(Host::Address(address.into())));
            }
        }
    }
}
