//! `ClassRule` and `ClientWeight`: what goes first on the link, as values and as texts.
//!
//! It does not know what a request is: rules are matched by `upstream`, and what a class means is the link's.

use std::fmt;
use std::num::NonZeroU32;

use http::Method;
use ipnet::IpNet;
use linkio::{ByteCount, Class};

use crate::config::{HostPattern, destination, host, value};

const CLASSES: [(&str, Class); 3] =
    [("interactive", Class::Interactive), ("bulk", Class::Bulk), ("background", Class::Background)];

/// The largest weight: with more, what is lighter would hardly move.
const HEAVIEST: u32 = 100;

/// A class and weight on the link for whatever meets every condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassRule {
    /// The class.
    pub class: Class,
    /// The share among flows of the same client and class, from 1 to 100.
    pub weight: NonZeroU32,
    /// What must hold: at least one condition, at most one of each kind.
    pub conditions: Vec<Condition>,
}

/// One condition of a [`ClassRule`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The host of the target URI.
    Host(HostPattern),
    /// The response's media type in lower case, `video/mp4`, or `video/*` for all of one type. It holds only once the
    /// response's head is here.
    Type(String),
    /// The address of the client.
    Client(IpNet),
    /// The account that the client has named.
    User(String),
    /// So much of the response's content, or of the tunnel, has crossed the link: at least 1 byte.
    Size(ByteCount),
    /// The request's method.
    Method(Method),
}

/// The share of a client in the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientWeight {
    /// Whose share.
    pub sharer: Sharer,
    /// How many shares, from 1 to 100.
    pub weight: NonZeroU32,
}

/// Who has a share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sharer {
    /// Each client address of this network.
    Network(IpNet),
    /// Whoever presents this account's credentials.
    User(String),
}

/// Reads `CLASS["*"WEIGHT]":" CONDITION*(";" CONDITION)`, with blanks around every part.
pub(super) fn parse_rule(text: &str) -> Result<ClassRule, String> {
    let (head, conditions) = text.split_once(':').ok_or_else(|| {
        "expected a class, a colon and conditions such as bulk: type=video/* or background: host=*.example.org"
            .to_owned()
    })?;
    let (name, weight) = head.split_once('*').map_or((head, None), |(name, weight)| (name, Some(weight)));
    let class = CLASSES.iter().find(|(class, _)| class.eq_ignore_ascii_case(name.trim()));
    let (_, class) = class.ok_or_else(|| at("expected the class interactive, bulk or background", name))?;
    let weight = weight.map_or(Ok(NonZeroU32::MIN), parse_number)?;
    let mut read: Vec<Condition> = Vec::new();
    for part in conditions.split(';') {
        let condition = parse_condition(part.trim())?;
        if read.iter().any(|known| known.name() == condition.name()) {
            return Err(at(&format!("expected {} only once in a rule", condition.name()), part));
        }
        read.push(condition);
    }
    Ok(ClassRule { class: *class, weight, conditions: read })
}

fn parse_condition(part: &str) -> Result<Condition, String> {
    let (name, given) = part.split_once('=').unwrap_or((part, ""));
    let given = given.trim();
    let condition = match name.trim().to_ascii_lowercase().as_str() {
        "host" => parse_host(given).map(Condition::Host),
        "type" => parse_type(given).map(Condition::Type),
        "client" => parse_client(given).map(Condition::Client),
        "user" => parse_name(given).map(Condition::User),
        "size" => match value::parse_size(given) {
            Ok(ByteCount(0)) => Err("expected a size of at least 1 byte".to_owned()),
            size => size.map(Condition::Size),
        },
        "method" => Method::from_bytes(given.to_ascii_uppercase().as_bytes())
            .map(Condition::Method)
            .map_err(|_| "expected a method such as CONNECT or POST".to_owned()),
        _ => Err(
            "expected a condition such as host=*.example.org, type=video/*, client=10.0.0.0/8, user=ann, \
                  size=1M or method=CONNECT"
                .to_owned(),
        ),
    };
    condition.map_err(|reason| at(&reason, part))
}

fn parse_host(text: &str) -> Result<HostPattern, String> {
    host::parse(text, &[], || {
        "expected a host such as example.org or *.example.org, without a port".to_owned()
    })
}

fn parse_type(text: &str) -> Result<String, String> {
    // RFC 6838 section 4.2; `*` alone stands for every subtype.
    let named = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "!#$&-^_.+".contains(c))
    };
    match text.split_once('/') {
        Some((kind, subtype)) if named(kind) && (subtype == "*" || named(subtype)) => {
            Ok(text.to_ascii_lowercase())
        }
        _ => Err("expected a media type such as video/mp4 or video/*, without parameters".to_owned()),
    }
}

fn parse_client(text: &str) -> Result<IpNet, String> {
    destination::parse_network(text, || {
        "expected an address or a network such as 10.0.0.5 or 10.0.0.0/8; an account is user=NAME".to_owned()
    })
}

/// A name that an account can have (RFC 7617 section 2), and that nothing around it would cut.
fn parse_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains([':', ';', ',']) || text.contains(char::is_control) {
        return Err("expected the name of an account, such as ann".to_owned());
    }
    Ok(text.to_owned())
}

/// Reads `CLIENT=WEIGHT`. What can be read as an address or network is one, and no account.
pub(super) fn parse_weight(text: &str) -> Result<ClientWeight, String> {
    let expected =
        || "expected a client and its weight such as 10.0.0.5=4, 10.1.0.0/16=2 or ann=2".to_owned();
    let (who, weight) = text.rsplit_once('=').ok_or_else(expected)?;
    let weight = parse_number(weight)?;
    let who = who.trim();
    let numeric = who.contains(['/', ':']) || who.parse::<std::net::IpAddr>().is_ok();
    let sharer = if numeric {
        Sharer::Network(destination::parse_network(who, expected)?)
    } else {
        Sharer::User(parse_name(who).map_err(|_| expected())?)
    };
    Ok(ClientWeight { sharer, weight })
}

fn parse_number(text: &str) -> Result<NonZeroU32, String> {
    let text = text.trim();
    let number = text.parse().ok().filter(|number: &NonZeroU32| number.get() <= HEAVIEST);
    let plain = !text.starts_with('+');
    number.filter(|_| plain).ok_or_else(|| at(&format!("expected a weight from 1 to {HEAVIEST}"), text))
}

fn at(reason: &str, part: &str) -> String {
    format!("{reason} at {:?}", part.trim())
}

impl Condition {
    fn name(&self) -> &'static str {
        match self {
            Condition::Host(_) => "host",
            Condition::Type(_) => "type",
            Condition::Client(_) => "client",
            Condition::User(_) => "user",
            Condition::Size(_) => "size",
            Condition::Method(_) => "method",
        }
    }
}

impl fmt::Display for ClassRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = CLASSES.iter().find(|(_, class)| *class == self.class);
        formatter.write_str(class.map_or("interactive", |(name, _)| name))?;
        if self.weight != NonZeroU32::MIN {
            write!(formatter, "*{}", self.weight)?;
        }
        for (place, condition) in self.conditions.iter().enumerate() {
            write!(formatter, "{} {condition}", if place == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}=", self.name())?;
        match self {
            Condition::Host(pattern) => pattern.fmt(formatter),
            Condition::Type(text) | Condition::User(text) => formatter.write_str(text),
            Condition::Client(net) => formatter.write_str(&destination::print_network(net)),
            Condition::Size(size) => size.fmt(formatter),
            Condition::Method(method) => method.fmt(formatter),
        }
    }
}

impl fmt::Display for ClientWeight {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.sharer {
            Sharer::Network(net) => formatter.write_str(&destination::print_network(net))?,
            Sharer::User(name) => formatter.write_str(name)?,
        }
        write!(formatter, "={}", self.weight)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `printed` is the canonical form of `written`, or the start of what is wrong with it.
    fn check<T: ToString>(parsed: Result<T, String>, written: &str, printed: &str) {
        match parsed {
            Ok(value) => assert_eq!(value.to_string(), printed, "{written:?}"),
            Err(reason) => {
                assert!(reason.starts_with(printed) && !printed.is_empty(), "{written:?}: {reason}");
            }
        }
    }

    fn check_rule(written: &str, printed: &str) {
        check(parse_rule(written), written, printed);
    }

    fn check_weight(written: &str, printed: &str) {
        check(parse_weight(written), written, printed);
    }

    #[test]
    fn rules_as_written() {
        check_rule("background: host=*.windowsupdate.com", "background: host=*.windowsupdate.com");
        check_rule("bulk:type=video/*", "bulk: type=video/*");
        check_rule(" Bulk : SIZE = 1000k ", "bulk: size=1M");
        check_rule("interactive*4: client=10.0.0.5", "interactive*4: client=10.0.0.5");
        check_rule("interactive * 1: client=10.0.0.0/8", "interactive: client=10.0.0.0/8");
        check_rule(
            "bulk: host=*.Example.ORG; type=Application/ZIP",
            "bulk: host=*.example.org; type=application/zip",
        );
        check_rule("bulk: method=connect; user=ann", "bulk: method=CONNECT; user=ann");
        check_rule("bulk: host=[2001:DB8::0:1]", "bulk: host=2001:db8::1");
        check_rule("bulk: host=192.0.2.1", "bulk: host=192.0.2.1");
        check_rule("bulk: host=0xc0.0.513", "bulk: host=192.0.2.1");
        check_rule("bulk: client=2001:db8::/32", "bulk: client=2001:db8::/32");
        check_rule("bulk: user=a=b c", "bulk: user=a=b c");
    }

    #[test]
    fn rules_that_are_wrong_say_where() {
        check_rule("bulk", "expected a class, a colon and conditions");
        check_rule("", "expected a class, a colon and conditions");
        check_rule("slow: size=1M", "expected the class interactive, bulk or background at \"slow\"");
        check_rule("bulk*0: size=1M", "expected a weight from 1 to 100 at \"0\"");
        check_rule("bulk*101: size=1M", "expected a weight from 1 to 100 at \"101\"");
        check_rule("bulk*+1: size=1M", "expected a weight from 1 to 100");
        check_rule("bulk*: size=1M", "expected a weight from 1 to 100 at \"\"");
        check_rule("bulk:", "expected a condition such as");
        check_rule("bulk: size=1M;", "expected a condition such as");
        check_rule("bulk: hots=example.org", "expected a condition such as");
        check_rule("bulk: host=example.org:80", "expected a host such as");
        check_rule("bulk: host=*", "expected a host such as");
        check_rule("bulk: host=a..b", "expected a host such as");
        check_rule("bulk: host=a.*.b", "expected a host such as");
        check_rule("bulk: type=video", "expected a media type such as");
        check_rule("bulk: type=*/*", "expected a media type such as");
        check_rule("bulk: client=ann", "expected an address or a network");
        check_rule("bulk: client=10.0.0.5/8", "expected no bits beyond the prefix: 10.0.0.0/8 or 10.0.0.5");
        check_rule("bulk: user=", "expected the name of an account");
        check_rule("bulk: size=0", "expected a size of at least 1 byte");
        check_rule("bulk: size=big", "expected a size such as 10G or 500M at \"size=big\"");
        check_rule("bulk: method=GET POST", "expected a method such as");
        check_rule("bulk: size=1M; size=2M", "expected size only once in a rule at \"size=2M\"");
    }

    #[test]
    fn weights() {
        check_weight("10.0.0.5=4", "10.0.0.5=4");
        check_weight("10.1.0.0/16 = 2", "10.1.0.0/16=2");
        check_weight("2001:db8::1=100", "2001:db8::1=100");
        check_weight("ann=2", "ann=2");
        check_weight("a=b=2", "a=b=2");
        check_weight("ann", "expected a client and its weight");
        check_weight("=2", "expected a client and its weight");
        check_weight("10.0.0.5/33=2", "expected a client and its weight");
        check_weight("10.0.0.5/8=2", "expected no bits beyond the prefix");
        check_weight("ann:secret=2", "expected a client and its weight");
        check_weight("ann=0", "expected a weight from 1 to 100 at \"0\"");
        check_weight("ann=heavy", "expected a weight from 1 to 100 at \"heavy\"");
    }

    proptest! {
        #[test]
        fn any_text_reads_without_panic_and_reads_back(
            text in "(bulk|interactive)?(\\*[0-9]{1,3})?:? ?(host|type|client|user|size|method)?=.{0,20}|.*",
        ) {
            if let Ok(rule) = parse_rule(&text) {
                prop_assert_eq!(parse_rule(&rule.to_string()), Ok(rule));
            }
            if let Ok(weight) = parse_weight(&text) {
                prop_assert_eq!(parse_weight(&weight.to_string()), Ok(weight));
            }
        }
    }
}
