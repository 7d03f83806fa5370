//! Whether names become addresses: what the running proxy has counted, and each URL's host looked up the way the proxy
//! does it, by the same configuration.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::Value;

use super::proxy::Running;
use super::visit::Target;
use super::{Finding, seconds};
use crate::config::Config;
use crate::host::Host;
use crate::text;
use crate::upstream::names::{Addresses, Missing, Names};

const NAME: &str = "DNS";

/// A page asks for several names, one after the other.
const SLOW: Duration = Duration::from_secs(2);

/// What the running proxy says of its lookups.
pub(super) fn counted(running: &Running) -> Vec<Finding> {
    if !running.can_be_asked() {
        return Vec::new();
    }
    judge_counts(&running.ask(&Method::GET, "/v1/dns")).into_iter().collect()
}

fn judge_counts(counts: &Value) -> Option<Finding> {
    let count = |name: &str| counts[name].as_u64();
    let (lookups, queries, failures) = (count("lookups")?, count("queries")?, count("failures")?);
    let text = format!(
        "{} looked up, {queries} asked of name servers, {failures} without answer",
        text::counted(lookups, "name")
    );
    let advice = "see dns.servers in bentpipe config show, and whether the link is up";
    Some(if failures > 2 && failures.saturating_mul(2) > queries {
        Finding::warn(NAME, text, advice)
    } else {
        Finding::ok(NAME, text)
    })
}

/// Looks the host of `target` up.
pub(super) fn check(config: &Config, target: &Target) -> Finding {
    let (host, read) = (&target.host, Host::read(&target.host));
    let (read, name) = match &read {
        Ok(Host::Address(address)) => return Finding::skip(NAME, format!("{address} is an address")),
        Ok(read @ Host::Name(name)) => (read, name),
        Err(_) => {
            let text = format!("{host} is no name that can be looked up");
            return Finding::fail(NAME, text, "check the URL");
        }
    };
    if let Some(parent) = config.parents.parent_of(read) {
        let text = format!("{host} is looked up by the parent proxy {}:{}", parent.host, parent.port);
        return Finding::skip(NAME, text);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return Finding::skip(NAME, format!("{host} could not be looked up here: {error}")),
    };
    let (begun, names) = (Instant::now(), Names::new(&config.dns));
    let found = runtime.block_on(async {
        // What is asked here does not cross the simulated link, so that nothing is to be paid.
        names.look_up(name, |_| Box::pin(std::future::ready(()))).await
    });
    let taken = begun.elapsed();
    // A name server that does not answer keeps a thread; nothing is worth waiting for it.
    runtime.shutdown_timeout(Duration::from_millis(100));
    match &found {
        Ok(addresses) if names.counted().local > 0 => {
            // In the order in which it is looked for.
            let given = config.dns.given(name.text());
            let by = if given.as_slice() == &addresses[..] {
                "dns.hosts"
            } else {
                "the hosts file of this machine, or what the name means by itself"
            };
            Finding::ok(NAME, format!("{host} is {} (by {by})", listed(addresses)))
        }
        _ => judge(host, &found, taken, &servers(&config.dns.servers)),
    }
}

fn listed(addresses: &[IpAddr]) -> String {
    addresses.iter().take(4).map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn servers(configured: &[SocketAddr]) -> String {
    if configured.is_empty() {
        return "the name servers of the system (/etc/resolv.conf)".to_owned();
    }
    configured.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn judge(host: &str, found: &Result<Addresses, Missing>, taken: Duration, servers: &str) -> Finding {
    let took = seconds(taken);
    match found {
        Ok(addresses) => {
            let text = format!("{host} is {} (after {took}; {servers})", listed(addresses));
            if taken > SLOW {
                Finding::warn(NAME, text, "name a nearer name server in dns.servers")
            } else {
                Finding::ok(NAME, text)
            }
        }
        Err(Missing::NoName) => {
            let advice = format!("check the name, or say its address: dns.hosts = [\"{host}=ADDRESS\"]");
            Finding::fail(NAME, format!("{host} does not exist, say {servers}"), advice)
        }
        Err(Missing::NoAddress) => {
            let advice = format!("check the name, or say its address: dns.hosts = [\"{host}=ADDRESS\"]");
            Finding::fail(NAME, format!("{host} has no address, say {servers}"), advice)
        }
        Err(Missing::Failed(code)) => {
            let said = code.map_or_else(|| "gave no answer".to_owned(), |code| format!("answered {code}"));
            let text = format!("{host}: {servers} {said} (after {took})");
            Finding::fail(NAME, text, "see whether the link is up, or name other name servers in dns.servers")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::Verdict::{self, Fail, Ok as Well, Skip, Warn};

    #[test]
    fn answers_are_judged_by_what_and_when() {
        let address = || Ok(Addresses::from(["192.0.2.1".parse().unwrap()]));
        let check = |found: Result<Addresses, Missing>, millis: u64, expected: Verdict, part: &str| {
            let finding = judge("a.example", &found, Duration::from_millis(millis), "192.0.2.53:53");
            assert_eq!(finding.verdict, expected, "{finding:?}");
            assert!(finding.text.contains(part), "{part:?} in {finding:?}");
        };
        check(address(), 20, Well, "a.example is 192.0.2.1 (after 20 ms; 192.0.2.53:53)");
        check(address(), 2_500, Warn, "after 2.5 s");
        check(Err(Missing::NoName), 20, Fail, "does not exist");
        check(Err(Missing::NoAddress), 20, Fail, "has no address");
        check(Err(Missing::Failed(None)), 20, Fail, "gave no answer");
        check(Err(Missing::Failed(Some("SERVFAIL"))), 20, Fail, "answered SERVFAIL");
    }

    #[test]
    fn names_that_the_configuration_knows_are_asked_of_nobody() {
        let check = |flags: &[&str], url: &str, expected: Verdict, part: &str| {
            let config = Config::from_flags(flags).expect("flags");
            let finding = check(&config, &url.parse().expect("a URL"));
            assert_eq!(finding.verdict, expected, "{finding:?}");
            assert!(finding.text.contains(part), "{part:?} in {finding:?}");
        };
        check(
            &["--set=dns.hosts=a.example=192.0.2.7"],
            "http://a.example/",
            Well,
            "a.example is 192.0.2.7 (by dns.hosts)",
        );
        check(&[], "http://localhost/", Well, "what the name means by itself)");
        check(&[], "http://127.0.0.1:1/", Skip, "is an address");
        check(
            &["--parent=http://10.0.0.1:8080"],
            "http://a.example/",
            Skip,
            "the parent proxy 10.0.0.1:8080",
        );
    }

    #[test]
    fn name_servers_that_mostly_fail_are_told() {
        let check = |queries: u64, failures: u64, expected: Verdict| {
            let counts = json!({ "lookups": 20, "queries": queries, "failures": failures });
            assert_eq!(judge_counts(&counts).expect("a finding").verdict, expected);
        };
        check(0, 0, Well);
        check(2, 2, Well);
        check(10, 5, Well);
        check(10, 6, Warn);
        assert_eq!(judge_counts(&Value::Null), None);
    }
}
