//! Whether a bentpipe runs, which one it is, and whether it answers on its port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http::Method;
use serde_json::Value;

use super::visit::{self, Answer};
use super::{Finding, printable};
use crate::admin::client::Operator;
use crate::config::{Control, Loaded};

const NAME: &str = "proxy";

/// How long this machine may take to answer itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// The running proxy as far as it can be asked.
pub(super) struct Running {
    operator: Option<Operator>,
    /// Where it takes requests, as this machine reaches it; none where nothing answers there.
    pub(super) address: Option<SocketAddr>,
}

impl Running {
    /// What it says; null where it says nothing.
    pub(super) fn ask(&self, method: &Method, path: &str) -> Value {
        let asked = self.operator.as_ref().map(|operator| operator.ask(method, path, None));
        asked.and_then(Result::ok).unwrap_or_default()
    }

    /// Whether it takes commands.
    pub(super) fn can_be_asked(&self) -> bool {
        self.operator.is_some()
    }
}

/// Looks for the running proxy.
pub(super) fn check(loaded: &Loaded) -> (Running, Vec<Finding>) {
    let (operator, why_not) = match Operator::running(loaded) {
        Ok(operator) => (Some(operator), None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    let mut running = Running { operator, address: None };
    let said = running.ask(&Method::GET, "/v1/proxy");
    let own = said["listen"].as_array().map_or(&[][..], Vec::as_slice);
    let own: Vec<SocketAddr> =
        own.iter().filter_map(|address| address.as_str().and_then(|text| text.parse().ok())).collect();
    // What several proxies say differently is not to be guessed by a default port.
    let configured = loaded.config.listen.iter().filter(|_| why_not.is_none() || !is_ambiguous(&why_not));
    let address = own.first().or_else(|| configured.into_iter().next()).copied();
    let address = address.map(reachable).filter(|address| address.port() != 0);
    let answered = address.map(|address| (address, visit::page(address, PATIENCE)));
    let page = answered.as_ref().map(|(address, answered)| (*address, answered.as_ref()));
    let findings = match &why_not {
        None => vec![of_running(&running.name(), &said), of_port(page)],
        Some(why) => vec![of_absent(why, page, loaded.config.control == Control::Off)],
    };
    running.address = answered
        .and_then(|(address, answered)| answered.is_ok_and(|answer| is_ours(&answer)).then_some(address));
    (running, findings)
}

impl Running {
    fn name(&self) -> String {
        self.operator.as_ref().map_or_else(String::new, Operator::name)
    }
}

fn is_ambiguous(why: &Option<String>) -> bool {
    why.as_ref().is_some_and(|why| why.starts_with("several"))
}

fn of_running(name: &str, said: &Value) -> Finding {
    let list = |name: &str| {
        let addresses = said[name].as_array().map_or(&[][..], Vec::as_slice);
        addresses.iter().filter_map(Value::as_str).map(printable).collect::<Vec<_>>().join(", ")
    };
    let ours = env!("CARGO_PKG_VERSION");
    let Some(version) = said["version"].as_str() else {
        return Finding::warn(NAME, format!("runs {name}, and is older than this program"), "start it anew");
    };
    let secure = list("https_listen");
    let secure = if secure.is_empty() { secure } else { format!(", with TLS on {secure}") };
    let text = format!("version {} runs {name}; listening on {}{secure}", printable(version), list("listen"));
    if version == ours {
        Finding::ok(NAME, text)
    } else {
        Finding::warn(NAME, format!("{text}; this program is {ours}"), "start the proxy anew")
    }
}

type Page<'a> = Option<(SocketAddr, Result<&'a Answer, &'a String>)>;

fn of_port(page: Page<'_>) -> Finding {
    match page {
        Some((address, Ok(answer))) if is_ours(answer) => {
            Finding::ok("port", format!("http://{address}/ shows the proxy's page"))
        }
        Some((address, Ok(answer))) => Finding::fail(
            "port",
            format!("http://{address}/ answers {}, and not the proxy's page", answer.status),
            format!("let this machine use the proxy: admission.allow = [\"client={}\"]", address.ip()),
        ),
        Some((address, Err(error))) => Finding::fail(
            "port",
            format!("http://{address}/: {error}"),
            "see what the proxy says on its standard error; its connections may be used up (limits.connections)",
        ),
        None => Finding::skip("port", "the proxy does not say where it listens"),
    }
}

fn of_absent(why: &str, page: Page<'_>, is_control_off: bool) -> Finding {
    match page {
        Some((address, Ok(answer))) if is_ours(answer) => {
            let advice = if is_control_off {
                "set control.socket to auto, and start it anew"
            } else {
                "ask as the user who runs it, as with sudo -u bentpipe, or name its socket: --control PATH"
            };
            Finding::warn(
                NAME,
                format!("a bentpipe answers on {address}, and cannot be asked: {why}"),
                advice,
            )
        }
        Some((address, Ok(_))) => Finding::fail(
            NAME,
            format!("{why}; something else answers on {address}"),
            "stop that, or give bentpipe another port: bentpipe --listen 127.0.0.1:3129",
        ),
        _ if why.starts_with("several") => {
            Finding::fail(NAME, why, "bentpipe --listen 127.0.0.1:PORT doctor")
        }
        _ => Finding::fail(NAME, why, "start it: bentpipe"),
    }
}

/// The page of a bentpipe, or an answer that says who gave it.
fn is_ours(answer: &Answer) -> bool {
    answer.status == 200
        && answer.content.starts_with(b"<!doctype html>")
        && answer.content.windows(8).any(|part| part == b"bentpipe")
}

/// Where this machine reaches what listens on `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn what_listens_everywhere_is_reached_at_home() {
        let check = |listening: &str, expected: &str| {
            assert_eq!(reachable(listening.parse().unwrap()).to_string(), expected);
        };
        check("0.0.0.0:3128", "127.0.0.1:3128");
        check("[::]:3128", "[::1]:3128");
        check("10.0.0.1:80", "10.0.0.1:80");
    }

    #[test]
    fn another_version_is_told() {
        let said =
            |version: &str| json!({ "version": version, "listen": ["127.0.0.1:1"], "https_listen": [] });
        let same = of_running("on port 1", &said(env!("CARGO_PKG_VERSION")));
        assert_eq!(same.verdict, Verdict::Ok, "{same:?}");
        assert_eq!(of_running("on port 1", &said("0.0.1")).verdict, Verdict::Warn);
        assert_eq!(of_running("on port 1", &Value::Null).verdict, Verdict::Warn);
    }

    #[test]
    fn who_cannot_be_asked_may_run_all_the_same() {
        let address = "127.0.0.1:3128".parse().unwrap();
        let page = |content: &str| {
            let mut answer = Answer::parse("HTTP/1.0 200 OK").unwrap();
            answer.content = content.into();
            answer
        };
        let (ours, other) = (page("<!doctype html><title>bentpipe</title>"), page("hello"));
        let refused = "refused".to_owned();
        let check = |page: Page<'_>, expected: Verdict, part: &str| {
            let finding = of_absent("none of yours is running", page, false);
            assert_eq!(finding.verdict, expected);
            assert!(finding.text.contains(part), "{finding:?}");
        };
        check(Some((address, Ok(&ours))), Verdict::Warn, "cannot be asked");
        check(Some((address, Ok(&other))), Verdict::Fail, "something else answers");
        check(Some((address, Err(&refused))), Verdict::Fail, "none of yours");
        check(None, Verdict::Fail, "none of yours");
    }
}
