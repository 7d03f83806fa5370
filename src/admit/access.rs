//! Who may ask for what, and when: the rules of `admission.deny` and `admission.allow`, and what holds where no rule
//! speaks. Pure: the time is handed in. Which addresses may be dialled is judged where they are dialled.

use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use http::uri::Scheme;
use http::{Method, Uri};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::host::Named;
use super::{neighbourhood, opening};
use crate::config::{AccessRule, Admission, Clients, Hours, Others};
use crate::host::Host;
use crate::respond::Refusal;

/// The rules of one configuration.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    deny: Vec<AccessRule>,
    allow: Vec<AccessRule>,
    others: Others,
}

/// Where a client comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) address: IpAddr,
    /// The address at which it has reached us.
    pub(crate) local: SocketAddr,
}

impl Caller {
    /// Whether it has reached us by an address that only this machine reaches.
    fn by_loopback(&self) -> bool {
        self.local.ip().to_canonical().is_loopback()
    }
}

/// What is asked for, and by whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) from: Caller,
    pub(crate) host: &'a Host,
    pub(crate) port: u16,
    pub(crate) method: &'a Method,
    /// The account; none where none was wanted.
    pub(crate) user: Option<&'a str>,
    pub(crate) now: SystemTime,
}

impl<'a> Asked<'a> {
    /// The same asked at another time.
    pub(super) fn at(&self, now: SystemTime) -> Self {
        Self { now, ..*self }
    }
}

/// Whoever asks for something, before it is known which host and port that means.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking<'a> {
    pub(crate) from: Caller,
    /// The account; none where none was wanted.
    pub(crate) user: Option<&'a str>,
    pub(crate) now: SystemTime,
}

impl Access {
    pub(crate) fn new(admission: &Admission) -> Self {
        let Admission { deny, allow, others, .. } = admission.clone();
        Self { deny, allow, others }
    }

    /// Judges a request with `method` for `target`, whose host and port are those of `named`.
    ///
    /// # Errors
    /// 403 that names the rule.
    pub(crate) fn check_target(
        &self,
        method: &Method,
        target: &Uri,
        named: &Named,
        asking: Asking<'_>,
    ) -> Result<(), Refusal> {
        let Asking { from, user, now } = asking;
        let tls = *method == Method::CONNECT || target.scheme() == Some(&Scheme::HTTPS);
        self.check(&Asked {
            from,
            host: &named.host,
            port: named.port.unwrap_or(if tls { 443 } else { 80 }),
            method,
            user,
            now,
        })
    }

    /// Judges a request: what a rule of `deny` forbids is forbidden, of the rest what a rule of `allow` speaks of is
    /// allowed, and for the rest it depends on where the client is.
    ///
    /// # Errors
    /// 403 that names the rule.
    pub(crate) fn check(&self, asked: &Asked<'_>) -> Result<(), Refusal> {
        self.judge(asked).map_err(|rule| {
            let by = rule.map_or_else(|| self.not_allowed(asked.from), denied_by);
            let hours = self.deny.iter().chain(&self.allow).flat_map(|rule| &rule.times);
            let opens = opening::first(hours, asked.now, |at| self.judge(&asked.at(at)).is_ok());
            Refusal::NotAdmitted {
                by,
                opens: opens.and_then(|at| opening::words(at, asked.now, &TimeZone::system())),
            }
        })
    }

    /// Whether what is asked is allowed; if not, the rule of `deny` that speaks against it, or none where no rule speaks
    /// for it.
    fn judge(&self, asked: &Asked<'_>) -> Result<(), Option<&AccessRule>> {
        if let Some(rule) = self.deny.iter().find(|rule| speaks_of(rule, asked)) {
            return Err(Some(rule));
        }
        let is_allowed =
            self.lets_in_others(asked.from) || self.allow.iter().any(|rule| speaks_of(rule, asked));
        if is_allowed { Ok(()) } else { Err(None) }
    }

    /// Judges a connection on which nothing was asked yet: whether there is anything its client may ask for.
    ///
    /// # Errors
    /// 403 that names the rule.
    pub(crate) fn check_connection(&self, from: Caller) -> Result<(), Refusal> {
        let meant = |rule: &&AccessRule| is_among(&rule.clients, from.address);
        if let Some(rule) = self.deny.iter().filter(meant).find(|rule| is_of_clients_alone(rule)) {
            return Err(Refusal::NotAdmitted { by: denied_by(rule), opens: None });
        }
        if self.lets_in_others(from) || self.allow.iter().any(|rule| meant(&rule)) {
            return Ok(());
        }
        Err(Refusal::NotAdmitted { by: self.not_allowed(from), opens: None })
    }

    fn lets_in_others(&self, from: Caller) -> bool {
        match self.others {
            Others::Any => true,
            Others::Nobody => false,
            Others::Auto if from.by_loopback() => true,
            Others::Auto | Others::Private => neighbourhood::is_private(from.address),
        }
    }

    fn not_allowed(&self, from: Caller) -> String {
        match self.others {
            Others::Nobody => {
                "its option admission.default is nobody, and no rule of admission.allow says otherwise"
                    .to_owned()
            }
            _ => format!(
                "its option admission.default lets in clients of private networks, {} is in none of them, and no rule \
                 of admission.allow says otherwise",
                from.address
            ),
        }
    }
}

fn denied_by(rule: &AccessRule) -> String {
    let named = rule.name.clone().unwrap_or_else(|| rule.to_string());
    format!("the rule \"{named}\" of its option admission.deny forbids it")
}

fn speaks_of(rule: &AccessRule, asked: &Asked<'_>) -> bool {
    let among = |users: &[String]| asked.user.is_some_and(|user| users.iter().any(|name| name == user));
    is_among(&rule.clients, asked.from.address)
        && (rule.hosts.is_empty() || rule.hosts.iter().any(|host| host.matches(asked.host)))
        && (rule.ports.is_empty() || rule.ports.iter().any(|ports| ports.contains(&asked.port)))
        && (rule.methods.is_empty() || rule.methods.contains(asked.method))
        && (rule.users.is_empty() || among(&rule.users))
        && (rule.times.is_empty() || rule.times.iter().any(|hours| is_within(hours, asked.now)))
}

fn is_of_clients_alone(rule: &AccessRule) -> bool {
    let AccessRule { name: _, clients: _, hosts, ports, methods, times, users } = rule;
    hosts.is_empty() && ports.is_empty() && methods.is_empty() && times.is_empty() && users.is_empty()
}

fn is_among(clients: &[Clients], address: IpAddr) -> bool {
    let holds = |clients: &Clients| match clients {
        Clients::Network(net) => net.contains(&address.to_canonical()),
        Clients::Private => neighbourhood::is_private(address),
        Clients::Any => true,
    };
    clients.is_empty() || clients.iter().any(holds)
}

/// Whether `hours` hold now. A clock beyond the years that can be told is in no hours.
fn is_within(hours: &Hours, now: SystemTime) -> bool {
    let Ok(now) = Timestamp::try_from(now) else { return false };
    let zone = if hours.utc { TimeZone::UTC } else { TimeZone::system() };
    let there = now.to_zoned(zone);
    let day = u8::try_from(there.weekday().to_monday_zero_offset()).unwrap_or(0);
    let minute = |number: i8| u16::try_from(number).unwrap_or(0);
    hours.hold(day, minute(there.hour()) * 60 + minute(there.minute()))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn access(flags: &[&str]) -> Access {
        Access::new(&crate::Config::from_flags(flags).expect("rules").admission)
    }

    /// Thursday, 2026-01-01 at 10:00 UTC.
    const THURSDAY: Duration = Duration::from_secs(1_767_261_600);

    /// What becomes of `CLIENT METHOD HOST PORT [USER]`: "yes", or what the page says of the rule.
    #[track_caller]
    fn check(flags: &[&str], request: &str, expected: &str) {
        let words: Vec<_> = request.split(' ').collect();
        let from =
            Caller { address: words[0].parse().expect("an address"), local: ([192, 0, 2, 1], 3128).into() };
        let (method, port) = (words[1].parse().expect("a method"), words[3].parse().expect("a port"));
        let now = UNIX_EPOCH + THURSDAY;
        let user = words.get(4).copied();
        let host = &Host::read(words[2]).expect("a host");
        let said = access(flags).check(&Asked { from, host, port, method: &method, user, now });
        check_said(&said, expected, request);
    }

    #[track_caller]
    fn check_said(said: &Result<(), Refusal>, expected: &str, request: &str) {
        match said {
            Ok(()) => assert_eq!("yes", expected, "{request}"),
            Err(Refusal::NotAdmitted { by, .. }) => assert!(by.contains(expected), "{request}: {by}"),
            Err(other) => panic!("{request}: {other:?}"),
        }
    }

    #[test]
    fn where_no_rule_speaks_private_networks_may_ask() {
        check(&[], "192.168.1.5 GET example.org 80", "yes");
        check(&[], "::ffff:192.168.1.5 GET example.org 80", "yes");
        check(&[], "203.0.113.7 GET example.org 80", "203.0.113.7 is in none of them");
        check(&["--set", "admission.default=any"], "203.0.113.7 GET example.org 80", "yes");
        check(
            &["--set", "admission.default=nobody"],
            "127.0.0.1 GET example.org 80",
            "admission.default is nobody",
        );
        let by_loopback =
            Caller { address: IpAddr::from([203, 0, 113, 7]), local: ([127, 0, 0, 1], 3128).into() };
        assert!(access(&[]).check_connection(by_loopback).is_ok());
        assert!(access(&["--set", "admission.default=private"]).check_connection(by_loopback).is_err());
    }

    #[test]
    fn deny_wins_then_allow_then_the_default() {
        let flags = ["--deny", "client=203.0.113.9", "--allow", "client=203.0.113.0/24"];
        check(&flags, "203.0.113.7 GET example.org 80", "yes");
        check(
            &flags,
            "203.0.113.9 GET example.org 80",
            "the rule \"client=203.0.113.9\" of its option admission.deny",
        );
        check(&flags, "198.51.100.1 GET example.org 80", "no rule of admission.allow");
        check(&flags, "10.0.0.1 GET example.org 80", "yes");
    }

    #[test]
    fn every_condition_of_a_rule_must_hold() {
        let flags =
            ["--deny", "games: host=*.games.example|games.example; client=10.0.0.0/8; method=GET; port=80"];
        check(&flags, "10.0.0.1 GET play.games.example 80", "the rule \"games\"");
        check(&flags, "10.0.0.1 GET Games.Example. 80", "the rule \"games\"");
        check(&flags, "10.0.0.1 GET play.games.example 8080", "yes");
        check(&flags, "10.0.0.1 POST play.games.example 80", "yes");
        check(&flags, "192.168.0.1 GET play.games.example 80", "yes");
        check(&flags, "10.0.0.1 GET example.org 80", "yes");
        check(&["--deny", "host=2001:db8::1"], "10.0.0.1 GET [2001:DB8:0::1] 80", "the rule");
        for host in
            ["[::ffff:192.0.2.1]", "192.0.513", "3221225985", "0xC0.0.0x201", "0300.0.2.1", "192.0.2.1."]
        {
            check(&["--deny", "host=192.0.2.1"], &format!("10.0.0.1 GET {host} 80"), "the rule");
            check(&["--deny", "host=192.0.2.*"], &format!("10.0.0.1 GET {host} 80"), "the rule");
            check(&["--deny", "host=192.0.2.2"], &format!("10.0.0.1 GET {host} 80"), "yes");
        }
    }

    #[test]
    fn users_have_rules_of_their_own() {
        let flags = ["--set", "admission.default=nobody", "--allow", "user=ann|bob; port=443"];
        check(&flags, "10.0.0.1 CONNECT example.org 443 ann", "yes");
        check(&flags, "10.0.0.1 CONNECT example.org 443 eve", "admission.default is nobody");
        check(&flags, "10.0.0.1 CONNECT example.org 443", "admission.default is nobody");
    }

    #[test]
    fn hours_are_asked_of_the_time_handed_in() {
        check(&["--deny", "time=Thu 09:00-11:00 UTC"], "10.0.0.1 GET a 80", "the rule");
        check(&["--deny", "time=Thu 11:00-12:00 UTC"], "10.0.0.1 GET a 80", "yes");
        check(&["--deny", "time=Fri UTC"], "10.0.0.1 GET a 80", "yes");
    }

    /// When what is forbidden on Thursday at 10:00 UTC is allowed, in hours from then.
    #[track_caller]
    fn check_opens(flags: &[&str], hours: Option<u64>) {
        let from = Caller { address: [10, 0, 0, 1].into(), local: ([192, 0, 2, 1], 3128).into() };
        let (access, host, now) = (access(flags), Host::read("a").expect("a host"), UNIX_EPOCH + THURSDAY);
        let asked = Asked { from, host: &host, port: 80, method: &Method::GET, user: None, now };
        let Err(Refusal::NotAdmitted { opens, .. }) = access.check(&asked) else {
            panic!("{flags:?}: allowed")
        };
        let zone = TimeZone::system();
        let at = hours.map(|hours| now + Duration::from_secs(hours * 3600));
        assert_eq!(opens, at.and_then(|at| opening::words(at, now, &zone)), "{flags:?}");
    }

    #[test]
    fn what_is_a_matter_of_hours_says_when_it_is_over() {
        check_opens(&["--deny", "time=Thu 09:00-11:00 UTC"], Some(1));
        check_opens(&["--deny", "host=a"], None);
        // Another rule takes over where the first ends.
        check_opens(&["--deny", "time=09:00-11:00 UTC", "--deny", "time=10:30-12:00 UTC"], Some(2));
        check_opens(&["--deny", "time=Thu 09:00-11:00 UTC", "--deny", "host=a"], None);
        let nobody = ["--set", "admission.default=nobody", "--allow", "time=Mon 08:00-17:00 UTC"];
        check_opens(&nobody, Some(3 * 24 + 22));
    }

    #[track_caller]
    fn check_connection(flags: &[&str], address: &str, expected: &str) {
        let from =
            Caller { address: address.parse().expect("an address"), local: ([192, 0, 2, 1], 3128).into() };
        check_said(&access(flags).check_connection(from), expected, address);
    }

    #[test]
    fn whoever_may_ask_for_nothing_is_known_before_asking() {
        check_connection(&[], "10.0.0.1", "yes");
        check_connection(&[], "203.0.113.7", "no rule of admission.allow");
        check_connection(&["--allow", "user=ann"], "203.0.113.7", "yes");
        check_connection(&["--allow", "client=203.0.113.0/24; port=443"], "203.0.113.7", "yes");
        check_connection(&["--allow", "client=198.51.100.0/24"], "203.0.113.7", "no rule of admission.allow");
        check_connection(&["--deny", "client=10.0.0.1"], "10.0.0.1", "the rule");
        check_connection(&["--deny", "client=10.0.0.1; port=25"], "10.0.0.1", "yes");
    }
}
