//! What an answer that came through the proxy says of the way to its origin, in words: its status, Cache-Status (RFC 9211)
//! and Proxy-Status (RFC 9209).

use super::visit::{Answer, Target};
use super::{Finding, printable, seconds};

const REACHABILITY: &str = "reachability";
const TLS: &str = "origin TLS";

/// What the proxies on the way say went wrong: the error type and the sentence about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) error: String,
    details: String,
}

impl Fault {
    /// What Proxy-Status says; none if nothing went wrong. "the first member of the list represents the intermediary
    /// closest to the origin server" (RFC 9209 §2), and so what happened first.
    pub(super) fn of(answer: &Answer) -> Option<Self> {
        let value = answer.field("proxy-status");
        split(&value, ',').into_iter().find_map(|member| {
            let parameters = split(member, ';');
            let parameter = |name: &str| {
                let mut named = parameters.iter().filter_map(|parameter| parameter.trim().split_once('='));
                named.find(|(known, _)| *known == name).map(|(_, value)| unquoted(value))
            };
            let error = parameter("error")?;
            Some(Self { error, details: parameter("details").unwrap_or_default() })
        })
    }

    fn is_of_tls(&self) -> bool {
        self.error.starts_with("tls_")
    }

    fn in_words(&self) -> String {
        if self.details.is_empty() { self.error.replace('_', " ") } else { self.details.clone() }
    }
}

/// The parts of a structured field between separators that no quotes hold (RFC 9651 §3.3.3).
fn split(value: &str, separator: char) -> Vec<&str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = value.split(|character: char| {
        let was_escaped = is_escaped;
        is_escaped = is_quoted && !was_escaped && character == '\\';
        if character == '"' && !was_escaped {
            is_quoted = !is_quoted;
        }
        character == separator && !is_quoted
    });
    parts.map(str::trim).collect()
}

/// The text of a string or a token.
fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').map(|rest| rest.strip_suffix('"').unwrap_or(rest)) else {
        return printable(value);
    };
    let mut is_escaped = false;
    let characters = inner.chars().filter(|character| {
        is_escaped = *character == '\\' && !is_escaped;
        !is_escaped
    });
    printable(&characters.collect::<String>())
}

/// Where an answer came from, by the cache that was asked (RFC 9211).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whence {
    /// The origin, or what it confirmed just now.
    Origin,
    /// The store, without a word to the origin.
    Store,
    /// The store, since the origin could not be reached.
    Outage,
    /// The store, since the origin answered with an error of its own.
    Trouble,
}

/// Where `answer` came from.
pub(super) fn whence(answer: &Answer) -> Whence {
    let value = answer.field("cache-status");
    // Each cache adds itself behind those before it (RFC 9211 §2): the last is the one that was asked.
    let parameters = split(&value, ',').last().map_or_else(Vec::new, |member| split(member, ';'));
    let said = |name: &str| {
        let mut named = parameters.iter().filter_map(|parameter| parameter.split_once('='));
        named.find(|(known, _)| *known == name).map(|(_, value)| value)
    };
    let is_unreachable =
        said("detail").is_some_and(|detail| detail.split('+').any(|part| part == "unreachable"));
    let is_trouble = said("fwd-status").is_some_and(|status| status.starts_with('5'));
    match (parameters.contains(&"hit"), is_unreachable, is_trouble && answer.status < 500) {
        (true, ..) => Whence::Store,
        (_, true, _) => Whence::Outage,
        (_, _, true) => Whence::Trouble,
        _ => Whence::Origin,
    }
}

/// Judges what came of asking for `target`.
pub(super) fn judge(target: &Target, answered: &Result<Answer, String>) -> Vec<Finding> {
    let url = target.url();
    let answer = match answered {
        Ok(answer) => answer,
        Err(error) => {
            let text = format!("{url}: {error}");
            let advice = "see whether the link is up, and how much is queued: bentpipe link show";
            return vec![Finding::fail(REACHABILITY, text, advice)];
        }
    };
    let fault = Fault::of(answer);
    let tls = target.is_https.then(|| of_tls(target, answer, fault.as_ref())).flatten();
    let reached = match &fault {
        // Where no safe connection came about, that is said, and nothing else was tried.
        Some(fault) if fault.is_of_tls() && target.is_https => None,
        Some(fault) => {
            let text = format!("{url}: {} from the proxy: {}", answer.status, fault.in_words());
            Some(Finding::fail(REACHABILITY, text, advice(fault, answer.status, target)))
        }
        None => Some(of_status(target, answer)),
    };
    tls.into_iter().chain(reached).collect()
}

fn of_status(target: &Target, answer: &Answer) -> Finding {
    let cached = printable(&answer.field("cache-status"));
    let text = format!(
        "{}: {}, first byte after {}{}",
        target.url(),
        answer.status,
        seconds(answer.first_byte),
        if cached.is_empty() { String::new() } else { format!(" ({cached})") }
    );
    let url = target.url();
    match whence(answer) {
        Whence::Origin => {}
        Whence::Store => {
            let advice = format!("see why: bentpipe explain {url}; or try a URL that is not stored");
            return Finding::warn(REACHABILITY, format!("{text}; the origin was not asked"), advice);
        }
        Whence::Outage => {
            let advice = "see whether the link is up, with its modem and bentpipe link show; and why, with a URL of the \
                          same host that is not stored";
            return Finding::fail(REACHABILITY, format!("{text}; the origin cannot be reached"), advice);
        }
        Whence::Trouble => {
            return Finding::warn(
                REACHABILITY,
                format!("{text}; the origin itself is in trouble"),
                "try later",
            );
        }
    }
    let advice = match answer.status {
        0..=399 => return Finding::ok(REACHABILITY, text),
        400..=499 => {
            "the way there is fine; the server does not give this page: check the URL, or try another"
        }
        500.. => "the way there is fine, and the server is in trouble: try another URL, or later",
    };
    Finding::warn(REACHABILITY, text, advice)
}

/// None where it did not come to TLS, which the finding about the way says.
fn of_tls(target: &Target, answer: &Answer, fault: Option<&Fault>) -> Option<Finding> {
    let authority = target.authority();
    Some(match fault {
        Some(fault) if fault.is_of_tls() => Finding::fail(
            TLS,
            format!("{authority}: {}", fault.in_words()),
            advice(fault, answer.status, target),
        ),
        Some(_) => return None,
        None if matches!(whence(answer), Whence::Store | Whence::Outage) => {
            Finding::skip(TLS, format!("{authority}: no word came from the origin"))
        }
        None => Finding::ok(TLS, format!("{authority}: its certificate was verified")),
    })
}

/// What to do about a fault (RFC 9209 §2.3).
fn advice(fault: &Fault, status: u16, target: &Target) -> String {
    let (host, port) = (&target.host, target.port);
    let refused = "a rule of this proxy refuses it: see admission.allow, admission.deny and destinations.connect_ports in \
                   bentpipe config show";
    let text = match fault.error.as_str() {
        "destination_ip_prohibited" if fault.details.contains("this proxy itself") => {
            "give it the URL of another server: this address is the proxy's own"
        }
        "destination_ip_prohibited" => {
            return format!(
                "if this server is yours, let clients reach its address: bentpipe --allow-destination ADDRESS:{port} \
                 (option destinations.allow)"
            );
        }
        "http_request_denied" if status == 407 => {
            "try with an account: bentpipe doctor --user NAME URL asks for the password; or let this machine use the proxy \
             without one: admission.no_auth = [\"127.0.0.1\"]"
        }
        "http_request_denied" if status == 429 => {
            "wait a little, or raise admission.requests_per_second or limits.requests_per_client"
        }
        "http_request_denied" => refused,
        "dns_error" | "dns_timeout" => {
            return format!(
                "check the name; see dns.servers in bentpipe config show, or say its address: dns.hosts = \
                 [\"{host}=ADDRESS\"]"
            );
        }
        "connection_refused" => "check the port in the URL; no server takes connections there now",
        "connection_timeout" | "destination_ip_unroutable" | "destination_unavailable" => {
            "see whether the link is up: its modem, its cable, and bentpipe link show"
        }
        "tls_certificate_error" if fault.details.contains("CA certificate used as") => {
            "give the server a certificate that is no authority's: signed by that authority, which tls.roots then names; or \
             self-signed by openssl req -x509 -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:HOST"
        }
        "tls_certificate_error" => {
            "check the clock of this machine; if the server's authority is your own, name its certificate in tls.roots; \
             otherwise the server's owner has to put it right"
        }
        "tls_protocol_error" | "tls_alert_received" => {
            "check that the port speaks TLS; the server has to offer TLS 1.2 or 1.3"
        }
        "http_response_timeout" => "the server takes long: try again, or raise timeouts.idle",
        "proxy_configuration_error" => "check the parent proxy: bentpipe config show",
        "proxy_loop_detected" => "the proxies ask each other in a circle: check the parent proxy and the URL",
        _ => "try another URL; if that works, the fault is the server's",
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict::{self, Fail, Ok, Skip, Warn};

    fn answer(status: u16, fields: &str) -> Answer {
        Answer::parse(&format!("HTTP/1.1 {status} X\r\n{fields}")).unwrap()
    }

    #[track_caller]
    fn check_all(url: &str, status: u16, fields: &str, expected: &[(Verdict, &str, &str)]) {
        let target: Target = url.parse().unwrap();
        let found = judge(&target, &std::result::Result::Ok(answer(status, fields)));
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (finding, (verdict, part, advice)) in found.iter().zip(expected) {
            assert_eq!(finding.verdict, *verdict, "{finding:?}");
            assert!(finding.text.contains(part), "{part:?} in {finding:?}");
            let said = finding.advice.as_deref().unwrap_or_default();
            assert!(said.contains(advice), "{advice:?} in {finding:?}");
        }
    }

    #[test]
    fn a_proxy_says_what_went_wrong_rfc9209() {
        let check = |value: &str, expected: Option<(&str, &str)>| {
            let fault = Fault::of(&answer(502, &format!("proxy-status: {value}")));
            let said = fault.as_ref().map(|fault| (&*fault.error, &*fault.details));
            assert_eq!(said, expected, "{value}");
        };
        check(
            "bentpipe; error=dns_error; details=\"No; \\\"a\\\", b\"; rcode=\"X\"",
            Some(("dns_error", "No; \"a\", b")),
        );
        check("bentpipe; received-status=200", None);
        check(
            "origin-side; error=connection_refused, bentpipe; error=http_protocol_error",
            Some(("connection_refused", "")),
        );
        check("", None);
        check("bentpipe; error=\"", Some(("", "")));
        check("a; details=\"\\", None);
    }

    #[test]
    fn statuses_are_told_from_faults_of_the_way() {
        let fwd = "cache-status: bentpipe; fwd=uri-miss";
        check_all("http://a/", 200, fwd, &[(Ok, "200, first byte after 0 ms (bentpipe; fwd=uri-miss)", "")]);
        check_all("http://a/", 302, fwd, &[(Ok, "302", "")]);
        check_all("http://a/", 404, fwd, &[(Warn, "404", "check the URL")]);
        check_all("http://a/", 503, fwd, &[(Warn, "503", "server is in trouble")]);
        check_all(
            "http://a/",
            200,
            "cache-status: bentpipe; hit; ttl=5",
            &[(Warn, "the origin was not asked", "bentpipe explain http://a/")],
        );
        check_all("http://a/", 200, "cache-status: cdn; hit, bentpipe; fwd=miss", &[(Ok, "200", "")]);
    }

    #[test]
    fn what_is_stored_hides_no_origin_that_is_gone_rfc9211() {
        let check = |value: &str, expected: Whence| {
            assert_eq!(whence(&answer(200, &format!("cache-status: {value}"))), expected, "{value}");
        };
        check("bentpipe; fwd=uri-miss; stored", Whence::Origin);
        check("bentpipe; fwd=stale; fwd-status=304", Whence::Origin);
        check("bentpipe; hit; ttl=5", Whence::Store);
        check("cdn; hit, bentpipe; fwd=miss", Whence::Origin);
        check("bentpipe; fwd=request; detail=unreachable; ttl=599", Whence::Outage);
        check("bentpipe; fwd=stale; detail=unreachable+rule-apt", Whence::Outage);
        check("bentpipe; fwd=stale; fwd-status=503", Whence::Trouble);
        check("", Whence::Origin);
        let gone = "cache-status: bentpipe; fwd=request; detail=unreachable";
        check_all("https://a/", 200, gone, &[(Skip, "no word", ""), (Fail, "cannot be reached", "link")]);
    }

    #[test]
    fn what_the_proxy_refuses_says_which_option() {
        let error = |error: &str| format!("proxy-status: bentpipe; error={error}; details=\"Said.\"");
        check_all(
            "http://a:81/",
            403,
            &error("destination_ip_prohibited"),
            &[(Fail, "Said.", "--allow-destination ADDRESS:81")],
        );
        check_all("http://a/", 403, &error("http_request_denied"), &[(Fail, "Said.", "admission.deny")]);
        check_all("http://a/", 407, &error("http_request_denied"), &[(Fail, "Said.", "doctor --user NAME")]);
        let own = error("destination_ip_prohibited").replace("Said", "The destination is this proxy itself");
        check_all("http://a/", 403, &own, &[(Fail, "itself", "another server")]);
        let ca = error("tls_certificate_error")
            .replace("Said", "Its certificate is a CA certificate used as a server's own");
        check_all("https://a/", 502, &ca, &[(Fail, "CA certificate", "CA:FALSE")]);
        check_all("http://a/", 502, &error("dns_error"), &[(Fail, "Said.", "dns.hosts = [\"a=ADDRESS\"]")]);
    }

    #[test]
    fn tls_is_judged_by_itself() {
        let fault = |error: &str| {
            format!("proxy-status: bentpipe; error={error}; details=\"Its certificate expired.\"")
        };
        check_all("https://a/", 200, "", &[(Ok, "a: its certificate was verified", ""), (Ok, "200", "")]);
        check_all("https://a/", 502, &fault("tls_certificate_error"), &[(Fail, "expired", "tls.roots")]);
        check_all("https://a/", 502, &fault("connection_refused"), &[(Fail, "502", "port")]);
    }
}
