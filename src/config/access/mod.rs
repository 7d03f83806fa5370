//! `AccessRule`: who may ask for what and when, as value and as text: `games: host=*.games.example; time=Mon-Fri
//! 08:00-17:00`.
//!
//! Which of several rules counts is `admit`'s. Tables of a file become such texts in `table`, so that there is one reader.

mod hours;
pub(super) mod table;

use std::fmt;
use std::ops::RangeInclusive;

use http::Method;
use ipnet::IpNet;

pub use hours::Hours;

use crate::config::host::{self, Also};
use crate::config::{HostPattern, destination, nearest};

/// A rule of `admission.allow` or `admission.deny`: what meets all of its conditions is what it is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessRule {
    /// What the rule is called in pages and logs; without it, its text is.
    pub name: Option<String>,
    /// Whoever asks; empty is anyone.
    pub clients: Vec<Clients>,
    /// The hosts of the target; empty is any.
    pub hosts: Vec<HostPattern>,
    /// The ports of the target, both ends included; empty is any.
    pub ports: Vec<RangeInclusive<u16>>,
    /// The methods; empty is any.
    pub methods: Vec<Method>,
    /// When it holds; empty is always.
    pub times: Vec<Hours>,
    /// The accounts; empty is any, and also nobody's.
    pub users: Vec<String>,
}

/// A part of all clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clients {
    /// Whoever asks from this network.
    Network(IpNet),
    /// Whoever asks from an address that is not the internet's: this machine, private and link-local networks.
    Private,
    /// Everybody.
    Any,
}

/// Who may use the proxy of whom no rule speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// Everybody where only this machine can ask, otherwise private networks.
    Auto,
    /// Clients in private networks.
    Private,
    /// Everybody.
    Any,
    /// Nobody.
    Nobody,
}

/// The conditions of a rule, in the order in which they are printed.
const CONDITIONS: [&str; 6] = ["client", "host", "port", "method", "time", "user"];

/// Reads `[NAME":"] CONDITION*(";" CONDITION)`. A condition is `key=value`; several values have `|` between them.
pub(super) fn parse(text: &str) -> Result<AccessRule, String> {
    let named = text.split_once(':').filter(|(name, _)| !name.contains('='));
    let mut draft = Draft::default();
    if let Some((name, _)) = named {
        draft.name(name.trim())?;
    }
    let conditions = named.map_or(text, |(_, conditions)| conditions);
    for part in conditions.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let (key, values) = part.split_once('=').ok_or_else(|| at("expected key=value", part))?;
        let values: Vec<_> = values.split('|').map(str::trim).collect();
        draft.put(key, &values).map_err(|reason| at(&reason, part))?;
    }
    draft.finish()
}

/// A rule, and which of its conditions were given.
#[derive(Default)]
struct Draft {
    rule: AccessRule,
    given: Vec<&'static str>,
}

impl Draft {
    fn name(&mut self, name: &str) -> Result<(), String> {
        let letters = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(letters) {
            return Err(format!("expected a name of letters, digits, dots and dashes, not {name:?}"));
        }
        self.rule.name = Some(name.to_owned());
        Ok(())
    }

    fn put(&mut self, key: &str, values: &[&str]) -> Result<(), String> {
        let spelled = key.trim().to_ascii_lowercase();
        let Some(condition) = CONDITIONS.into_iter().find(|condition| *condition == spelled) else {
            let meant = nearest::nearest(&spelled, CONDITIONS.into_iter());
            let meant = meant.map_or_else(String::new, |condition| format!("; did you mean {condition}?"));
            return Err(format!("{key:?} is no condition of a rule{meant}"));
        };
        if self.given.contains(&condition) {
            return Err(format!("expected {condition} only once in a rule"));
        }
        self.given.push(condition);
        let rule = &mut self.rule;
        match condition {
            "client" => rule.clients = each(values, parse_clients)?,
            "host" => rule.hosts = each(values, parse_host)?,
            "port" => rule.ports = each(values, destination::parse_ports)?,
            "method" => rule.methods = each(values, parse_method)?,
            "time" => rule.times = each(values, hours::parse)?,
            _ => rule.users = each(values, parse_user)?,
        }
        Ok(())
    }

    fn finish(self) -> Result<AccessRule, String> {
        if self.given.is_empty() {
            return Err(
                "expected a condition such as client=10.0.0.0/8, host=*.example.org, port=80, method=POST, \
                        time=Mon-Fri 08:00-17:00 or user=ann; client=any is everybody"
                    .to_owned(),
            );
        }
        Ok(self.rule)
    }
}

fn each<T>(values: &[&str], read: fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    if values.is_empty() {
        return Err("expected at least one value".to_owned());
    }
    values.iter().map(|text| read(text)).collect()
}

fn parse_clients(text: &str) -> Result<Clients, String> {
    match text {
        "any" => Ok(Clients::Any),
        "private" => Ok(Clients::Private),
        _ => destination::parse_network(text, || {
            "expected an address, a network such as 10.0.0.0/8, private or any; an account is user=NAME"
                .to_owned()
        })
        .map(Clients::Network),
    }
}

fn parse_host(text: &str) -> Result<HostPattern, String> {
    host::parse(text, &[Also::Stars], || {
        "expected a host such as example.org or *.example.org, without a port".to_owned()
    })
}

fn parse_method(text: &str) -> Result<Method, String> {
    let upper = text.to_ascii_uppercase();
    Method::from_bytes(upper.as_bytes()).map_err(|_| "expected a method such as CONNECT or POST".to_owned())
}

/// A name that an account can have (RFC 7617 section 2), and that nothing around it would cut.
fn parse_user(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains([':', ';', ',', '|']) || text.contains(char::is_control) {
        return Err("expected the name of an account, such as ann".to_owned());
    }
    Ok(text.to_owned())
}

pub(super) fn parse_others(text: &str) -> Result<Others, String> {
    OTHERS
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, others)| *others)
        .ok_or_else(|| "expected auto, private, any or nobody".to_owned())
}

pub(super) fn print_others(others: &Others) -> String {
    let word = OTHERS.iter().find(|(_, known)| known == others);
    word.map_or("auto", |(word, _)| *word).to_owned()
}

const OTHERS: [(&str, Others); 4] =
    [("auto", Others::Auto), ("private", Others::Private), ("any", Others::Any), ("nobody", Others::Nobody)];

fn at(reason: &str, part: &str) -> String {
    format!("{reason} at {part:?}")
}

impl fmt::Display for AccessRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(formatter, "{name}: ")?;
        }
        let conditions = [
            joined(&self.clients, ToString::to_string),
            joined(&self.hosts, ToString::to_string),
            joined(&self.ports, print_ports),
            joined(&self.methods, ToString::to_string),
            joined(&self.times, ToString::to_string),
            joined(&self.users, Clone::clone),
        ];
        let given = CONDITIONS.iter().zip(conditions).filter(|(_, values)| !values.is_empty());
        for (place, (condition, values)) in given.enumerate() {
            write!(formatter, "{}{condition}={values}", if place == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

fn joined<T>(values: &[T], print: fn(&T) -> String) -> String {
    values.iter().map(print).collect::<Vec<_>>().join("|")
}

fn print_ports(ports: &RangeInclusive<u16>) -> String {
    let (first, last) = (ports.start(), ports.end());
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

impl fmt::Display for Clients {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Clients::Network(net) => formatter.write_str(&destination::print_network(net)),
            Clients::Private => formatter.write_str("private"),
            Clients::Any => formatter.write_str("any"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `printed` is the canonical form of `written`, or the start of what is wrong with it.
    #[track_caller]
    fn check(written: &str, printed: &str) {
        match parse(written) {
            Ok(rule) => assert_eq!(rule.to_string(), printed, "{written:?}"),
            Err(reason) => {
                assert!(reason.starts_with(printed) && !printed.is_empty(), "{written:?}: {reason}");
            }
        }
    }

    #[test]
    fn rules_as_written() {
        check("client=10.0.0.0/8", "client=10.0.0.0/8");
        check("Client = 10.0.0.5 | private", "client=10.0.0.5|private");
        check(
            "games: host=*.Games.Example; time=Mon-Fri 08:00-17:00",
            "games: host=*.games.example; time=Mon-Fri 08:00-17:00",
        );
        check("host=[2001:DB8::0:1]; port=443|8000-8999", "host=2001:db8::1; port=443|8000-8999");
        check("night:time=22:00-06:00 UTC;user=ann|bob;", "night: time=22:00-06:00 UTC; user=ann|bob");
        check("method=connect; client=any", "client=any; method=CONNECT");
        check("host=*|ads*.example|2130706433", "host=*|ads*.example|127.0.0.1");
        check("client=2001:db8::/32; host=example.org.", "client=2001:db8::/32; host=example.org");
    }

    #[test]
    fn rules_that_are_wrong_say_where() {
        check("", "expected a condition such as");
        check("games:", "expected a condition such as");
        check("a b: client=any", "expected a name of letters, digits, dots and dashes, not \"a b\"");
        check("client", "expected key=value at \"client\"");
        check("clinet=any", "\"clinet\" is no condition of a rule; did you mean client? at \"clinet=any\"");
        check("client=any; client=any", "expected client only once in a rule at \"client=any\"");
        check("client=ann", "expected an address, a network such as");
        check("client=10.0.0.5/8", "expected no bits beyond the prefix: 10.0.0.0/8 or 10.0.0.5");
        check("host=example.org:80", "expected a host such as");
        check("host=", "expected a host such as");
        check("port=0", "expected ports such as");
        check("port=9-8", "expected ports such as");
        check("method=GET POST", "expected a method such as");
        check("time=noon", "expected days, hours or both");
        check("user=", "expected the name of an account");
    }

    proptest! {
        #[test]
        fn any_text_reads_without_panic_and_reads_back(
            text in "([a-c]: ?)?((client|host|port|method|time|user)=[*/a-z0-9:.|-]{0,9}; ?){0,4}|.*",
        ) {
            if let Ok(rule) = parse(&text) {
                prop_assert_eq!(parse(&rule.to_string()), Ok(rule));
            }
        }
    }
}
