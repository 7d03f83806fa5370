//! Which class and weight an exchange or a tunnel has on the link. Pure: the first rule of the configuration that
//! matches decides. It does not know when a response's head comes; whoever does asks again.

use std::net::IpAddr;
use std::num::NonZeroU32;

use http::Method;
use ipnet::IpNet;
use linkio::{ByteCount, Class, Weight};

use crate::config::{ClassRule, ClientWeight, Condition, Sharer};
use crate::host::Host;

/// What is known of an exchange when it is asked about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Presented<'a> {
    /// The host of the target URI.
    pub(super) host: Option<&'a Host>,
    /// The address of the client.
    pub(super) client: IpAddr,
    /// The account whose credentials came with the request.
    pub(super) account: Option<&'a str>,
    pub(super) method: &'a Method,
    /// The response's media type, with or without parameters; `None` until the head is here.
    pub(super) media_type: Option<&'a str>,
    /// Bytes of the response's content, or of the tunnel, that have crossed the link.
    pub(super) crossed: u64,
}

/// The rules of one configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    rules: Vec<ClassRule>,
    weights: Vec<ClientWeight>,
}

impl Rules {
    /// The rules and clients' weights of a configuration.
    pub(super) fn new(rules: Vec<ClassRule>, weights: Vec<ClientWeight>) -> Self {
        Self { rules, weights }
    }

    /// Whether nothing is said of anybody.
    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Class and weight now; without a rule that matches, those of ordinary flows. They may change when the head
    /// comes, and when as much has crossed as [`Rules::next_size`] says.
    pub(super) fn standing(&self, who: &Presented<'_>) -> (Class, Weight) {
        let rule = self.matching(who).and_then(|place| self.rules.get(place));
        rule.map_or((Class::default(), Weight::ONE), |rule| (rule.class, Weight::new(rule.weight)))
    }

    /// At how many crossed bytes the standing may change next; `None` if no more bytes can change it.
    pub(super) fn next_size(&self, who: &Presented<'_>) -> Option<u64> {
        // What matches now stays, unless a rule before it comes to match.
        let before = self.matching(who).unwrap_or(self.rules.len());
        self.rules.iter().take(before).filter_map(|rule| later(rule, who)).min()
    }

    /// The share of a client in the link against other clients.
    pub(super) fn client_weight(&self, client: IpAddr, account: Option<&str>) -> Weight {
        let has = |sharer: &Sharer| match sharer {
            Sharer::Network(net) => contains(net, client),
            Sharer::User(name) => account == Some(name),
        };
        let weight = self.weights.iter().find(|weight| has(&weight.sharer)).map(|found| found.weight);
        Weight::new(weight.unwrap_or(NonZeroU32::MIN))
    }

    fn matching(&self, who: &Presented<'_>) -> Option<usize> {
        self.rules.iter().position(|rule| rule.conditions.iter().all(|condition| holds(condition, who)))
    }
}

/// The size at which `rule` will match, if that is all that is missing.
fn later(rule: &ClassRule, who: &Presented<'_>) -> Option<u64> {
    let size = rule.conditions.iter().find_map(|condition| match condition {
        Condition::Size(ByteCount(size)) => Some(*size),
        _ => None,
    })?;
    let others = rule.conditions.iter().filter(|condition| !matches!(condition, Condition::Size(_)));
    (size > who.crossed && others.into_iter().all(|condition| holds(condition, who))).then_some(size)
}

fn holds(condition: &Condition, who: &Presented<'_>) -> bool {
    match condition {
        Condition::Host(pattern) => who.host.is_some_and(|host| pattern.matches(host)),
        Condition::Type(pattern) => who.media_type.is_some_and(|media_type| is_type(pattern, media_type)),
        Condition::Client(net) => contains(net, who.client),
        Condition::User(name) => who.account == Some(name),
        Condition::Size(ByteCount(size)) => who.crossed >= *size,
        Condition::Method(method) => who.method == method,
    }
}

fn is_type(pattern: &str, media_type: &str) -> bool {
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    match pattern.strip_suffix("/*") {
        Some(kind) => media_type
            .split_once('/')
            .is_some_and(|(its, subtype)| its.eq_ignore_ascii_case(kind) && !subtype.is_empty()),
        None => media_type.eq_ignore_ascii_case(pattern),
    }
}

/// Whether an address is in a network; an IPv4-mapped IPv6 address counts as the IPv4 address it stands for.
fn contains(net: &IpNet, address: IpAddr) -> bool {
    net.contains(&address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Option<&'static Host> {
        Host::read(text).ok().map(|host| &*Box::leak(Box::new(host)))
    }

    fn anyone() -> Presented<'static> {
        Presented {
            host: host("www.example.org"),
            client: IpAddr::from([10, 0, 0, 5]),
            account: None,
            method: &Method::GET,
            media_type: None,
            crossed: 0,
        }
    }

    fn rules(rules: &[&str], weights: &[&str]) -> Rules {
        let rules = rules.iter().map(|rule| format!("--set=link.rules={rule}"));
        let weights = weights.iter().map(|weight| format!("--set=link.weights={weight}"));
        let config = crate::Config::from_flags(rules.chain(weights)).expect("rules");
        Rules::new(config.link.rules, config.link.weights)
    }

    fn weight(weight: u32) -> Weight {
        Weight::new(NonZeroU32::new(weight).expect("a weight"))
    }

    /// Whether `bulk: CONDITIONS` matches.
    fn check(conditions: &str, who: Presented<'_>, expected: bool) {
        let (class, _) = rules(&[&format!("bulk: {conditions}")], &[]).standing(&who);
        assert_eq!(class == Class::Bulk, expected, "{conditions} and {who:?}");
    }

    fn check_host(pattern: &str, asked: &str, expected: bool) {
        check(&format!("host={pattern}"), Presented { host: host(asked), ..anyone() }, expected);
    }

    #[test]
    fn hosts() {
        check_host("www.example.org", "www.example.org", true);
        check_host("www.example.org", "WWW.Example.ORG.", true);
        check_host("example.org", "www.example.org", false);
        check_host("*.example.org", "www.example.org", true);
        check_host("*.example.org", "a.b.EXAMPLE.org", true);
        check_host("*.example.org", "example.org", false);
        check_host("*.example.org", ".example.org", false);
        check_host("*.example.org", "badexample.org", false);
        check_host("*.example.org", "ü.example.org", false);
        check_host("*.ab", "ü", false);
        check_host("[2001:db8::1]", "[2001:DB8:0::1]", true);
        check_host("2001:db8::1", "2001:db8::2", false);
        check_host("192.0.2.1", "[::ffff:192.0.2.1]", true);
        check_host("192.0.2.1", "0xc0.0.513", true);
    }

    fn check_type(pattern: &str, media_type: Option<&str>, expected: bool) {
        check(&format!("type={pattern}"), Presented { media_type, ..anyone() }, expected);
    }

    #[test]
    fn media_types() {
        check_type("video/*", Some("video/mp4"), true);
        check_type("video/*", Some("Video/MP4; codecs=\"a;b\""), true);
        check_type("video/*", Some("video"), false);
        check_type("video/*", Some("videos/mp4"), false);
        check_type("application/zip", Some("application/zip ;x=y"), true);
        check_type("application/zip", Some("application/zipx"), false);
        check_type("application/zip", Some(""), false);
        check_type("application/zip", None, false);
    }

    #[test]
    fn clients_and_methods() {
        check("client=10.0.0.5", anyone(), true);
        check("client=10.0.0.0/8", anyone(), true);
        check("client=10.0.0.6", anyone(), false);
        let mapped = "::ffff:10.0.0.5".parse().expect("an address");
        check("client=10.0.0.5", Presented { client: mapped, ..anyone() }, true);
        check("user=ann", anyone(), false);
        check("user=ann", Presented { account: Some("ann"), ..anyone() }, true);
        check("user=ann", Presented { account: Some("Ann"), ..anyone() }, false);
        check("method=get", anyone(), true);
        check("method=CONNECT", anyone(), false);
        check("method=CONNECT", Presented { method: &Method::CONNECT, ..anyone() }, true);
    }

    #[test]
    fn every_condition_must_hold() {
        let both = "host=*.example.org; type=application/zip";
        check(both, anyone(), false);
        check(both, Presented { media_type: Some("application/zip"), ..anyone() }, true);
        check(
            both,
            Presented { media_type: Some("application/zip"), host: host("other"), ..anyone() },
            false,
        );
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rules = rules(&["interactive*4: client=10.0.0.5", "background: host=*.example.org"], &[]);
        assert_eq!(rules.standing(&anyone()), (Class::Interactive, weight(4)));
        let other = Presented { client: "10.0.0.6".parse().expect("an address"), ..anyone() };
        assert_eq!(rules.standing(&other), (Class::Background, weight(1)));
        let neither = Presented { host: host("other"), ..other };
        assert_eq!(rules.standing(&neither), (Class::Interactive, Weight::ONE));
    }

    /// Where the standing may change next, and what it is from there on.
    fn check_size(rules_written: &[&str], crossed: u64, next: Option<u64>, class: Class) {
        let rules = rules(rules_written, &[]);
        let who = Presented { crossed, ..anyone() };
        assert_eq!((rules.next_size(&who), rules.standing(&who).0), (next, class), "{rules_written:?}");
    }

    #[test]
    fn sizes_are_foretold() {
        let steps = ["background: size=10M", "bulk: size=1M"];
        check_size(&steps, 0, Some(1_000_000), Class::Interactive);
        check_size(&steps, 999_999, Some(1_000_000), Class::Interactive);
        check_size(&steps, 1_000_000, Some(10_000_000), Class::Bulk);
        check_size(&steps, 10_000_000, None, Class::Background);
        check_size(&[], 0, None, Class::Interactive);
        let hidden = ["bulk: host=*.example.org", "background: size=1M"];
        check_size(&hidden, 0, None, Class::Bulk);
        check_size(&["bulk: size=1M; host=other"], 0, None, Class::Interactive);
        check_size(&["bulk: size=1M; type=video/*"], 0, None, Class::Interactive);
    }

    fn check_weight(weights: &[&str], account: Option<&str>, expected: u32) {
        let found = rules(&[], weights).client_weight(anyone().client, account);
        assert_eq!(found, weight(expected), "{weights:?}, {account:?}");
    }

    #[test]
    fn clients_have_weights() {
        check_weight(&[], None, 1);
        check_weight(&["10.0.0.5=4"], None, 4);
        check_weight(&["10.0.0.6=4"], None, 1);
        check_weight(&["10.0.0.6=4", "10.0.0.0/8=2", "10.0.0.5=9"], None, 2);
        check_weight(&["ann=3"], None, 1);
        check_weight(&["ann=3", "10.0.0.5=4"], Some("ann"), 3);
        check_weight(&["10.0.0.5=4", "ann=3"], Some("ann"), 4);
    }
}
