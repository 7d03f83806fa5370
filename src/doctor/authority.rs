//! Whether the certificate authority is there where HTTPS is to be opened, fit to be used, and trusted by this machine.

use std::time::SystemTime;

use http::Method;
use serde_json::Value;

use super::proxy::Running;
use super::{Finding, printable};
use crate::ca::trust::Machine;
use crate::ca::{Error, Folder, RootCertificate};
use crate::config::Config;

const NAME: &str = "CA";

/// Fewer days than these are worth a word: devices are visited once in a long while.
const SOON: u64 = 180;

/// Pairs of client and host that are named; the others are counted.
const MOST_NAMED: usize = 5;

const ROTATE: &str = "make the next one, and put it on every device: bentpipe ca rotate";

/// Looks at the authority, at the trust stores of this machine, and at what clients made of it.
pub(super) fn check(config: &Config, running: &Running, now: SystemTime) -> Vec<Finding> {
    let folder = Folder::new(&config.ca_dir);
    let is_needed = !config.intercept.hosts.is_empty();
    let published = folder.published();
    let current = published.as_ref().ok().and_then(|published| published.first());
    let mut findings = Vec::new();
    match (folder.load(), current) {
        (Err(error), _) => findings.push(unfit(&error, is_needed)),
        (Ok(_), Some((certificate, _))) => {
            findings.push(judge(certificate, config, now));
            findings.extend(is_needed.then(|| trusted(certificate)));
        }
        (Ok(_), None) if is_needed => findings.push(Finding::fail(
            NAME,
            format!(
                "tls.intercept.hosts names hosts, and there is no authority in {}",
                folder.path().display()
            ),
            "make one: bentpipe ca init; then bentpipe ca install, here and on every device",
        )),
        (Ok(_), None) => findings.push(Finding::ok(NAME, "none, and none is needed: no HTTPS is opened")),
    }
    findings.extend(unopened(&running.ask(&Method::GET, "/v1/ca")));
    findings
}

/// An authority that cannot be loaded; the error says what to do where there is something.
fn unfit(error: &Error, is_needed: bool) -> Finding {
    let text = error.to_string();
    let (text, advice) = match text.rsplit_once(": chmod ") {
        Some((text, right)) => (text.to_owned(), format!("chmod {right}")),
        None => {
            (text, "ask as the user who runs bentpipe; if it is damaged: bentpipe ca rotate --now".to_owned())
        }
    };
    if is_needed { Finding::fail(NAME, text, advice) } else { Finding::warn(NAME, text, advice) }
}

fn judge(certificate: &RootCertificate, config: &Config, now: SystemTime) -> Finding {
    let (name, last_day) = (&certificate.name, certificate.last_day());
    let uncovered: Vec<_> =
        config.intercept.hosts.iter().filter(|rule| !certificate.scope.covers_rule(rule)).collect();
    match (certificate.days_left(now), uncovered.first()) {
        (None, _) => Finding::fail(
            NAME,
            format!("{name} was valid until {last_day}"),
            "replace it, and put the new one on every device: bentpipe ca rotate --now",
        ),
        (_, Some(rule)) => Finding::fail(
            NAME,
            format!(
                "{name} was made for other hosts than {rule} of tls.intercept.hosts: no client would take it"
            ),
            ROTATE,
        ),
        (Some(days), None) if days < SOON => {
            Finding::warn(NAME, format!("{name} is valid for {days} more days"), ROTATE)
        }
        (Some(days), None) => Finding::ok(NAME, format!("{name} is valid for {days} days, until {last_day}")),
    }
}

fn trusted(certificate: &RootCertificate) -> Finding {
    let found = Machine::here().stores();
    let (holding, others): (Vec<_>, Vec<_>) = found.stores.iter().partition(|store| store.holds(certificate));
    let list = |stores: &[&crate::ca::trust::Store]| {
        stores.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    match (holding.as_slice(), others.as_slice()) {
        ([], []) => Finding::skip(NAME, "this machine has no trust store that is known here"),
        (holding, []) => Finding::ok(NAME, format!("trusted on this machine by {}", list(holding))),
        (_, others) => Finding::warn(
            NAME,
            format!("not trusted on this machine by {}", list(others)),
            "if programs here use the proxy: bentpipe ca install",
        ),
    }
}

/// Clients that would not have the certificate.
fn unopened(reply: &Value) -> Option<Finding> {
    let pairs = reply["spliced"].as_array().filter(|pairs| !pairs.is_empty())?;
    let part = |pair: &Value, name: &str| printable(pair[name].as_str().unwrap_or("-"));
    let named = pairs
        .iter()
        .take(MOST_NAMED)
        .map(|pair| format!("{} -> {}", part(pair, "client"), part(pair, "host")));
    let named = named.collect::<Vec<_>>().join(", ");
    let more = match pairs.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(Finding::warn(
        NAME,
        format!(
            "connections that are left unopened for a day, since their clients refused the certificate: {named}{more}"
        ),
        "put the certificate on these devices (http://bentpipe.local/), then: bentpipe ca retry; or name hosts that have \
         their own mind in tls.intercept.never",
    ))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use serde_json::json;

    use super::*;
    use crate::ca::{Made, Scope};
    use crate::doctor::Verdict::{self, Fail, Ok as Well, Warn};

    const DAY: u64 = 86_400;

    #[test]
    fn an_authority_ends_and_is_good_for_its_hosts() {
        let made_at = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let check = |flags: &[&str], days: u64, expected: Verdict, part: &str| {
            let config = Config::from_flags(flags).expect("flags");
            let scope =
                Scope::of(&Config::from_flags(["--intercept=*.a.example"]).expect("flags").intercept.hosts);
            let certificate = Made::new("x", &scope, made_at).expect("an authority").certificate;
            let finding = judge(&certificate, &config, made_at + Duration::from_secs(days * DAY));
            assert_eq!(finding.verdict, expected, "{finding:?}");
            assert!(finding.text.contains(part), "{part:?} in {finding:?}");
        };
        check(&[], 0, Well, "is valid for ");
        check(&["--intercept=*.a.example"], 0, Well, "is valid for ");
        check(&["--intercept=*.b.example"], 0, Fail, "other hosts than *.b.example");
        check(&[], 3_600, Warn, "more days");
        check(&[], 4_000, Fail, "was valid until ");
    }

    #[test]
    fn what_is_wrong_with_a_key_says_the_command() {
        let error = Error::Open { path: "/ca/ca.key".into(), mode: 0o644, what: "read", right: "600" };
        let finding = unfit(&error, true);
        assert_eq!(finding.advice.as_deref(), Some("chmod 600 /ca/ca.key"));
        assert_eq!((finding.verdict, unfit(&error, false).verdict), (Fail, Warn));
    }

    #[test]
    fn who_refused_the_certificate_is_named() {
        assert_eq!(unopened(&json!({ "leaves": 0, "spliced": [] })), None);
        assert_eq!(unopened(&Value::Null), None);
        let pair =
            json!({ "client": "10.0.0.5", "host": "a\u{1b}.example", "since": "-", "reason": "alert" });
        let many = vec![pair; 7];
        let finding = unopened(&json!({ "leaves": 3, "spliced": many })).expect("a finding");
        assert!(
            finding.text.contains("10.0.0.5 -> a .example, ") && finding.text.ends_with(" and 2 more"),
            "{finding:?}"
        );
    }
}
