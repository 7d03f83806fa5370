//! The way out, tried: each URL is asked for through the proxy, and what comes back tells of reachability, TLS, the clock
//! and the link.

use std::time::{Duration, SystemTime};

use http::Method;

use super::answer::{self, Whence};
use super::proxy::Running;
use super::visit::{self, Account, Answer, Target};
use super::{Finding, clock};
use crate::admin::human;
use crate::config::Config;
use crate::text::counted;

/// What a thin link and a slow origin may take beside the opening of a connection.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is tried, and by which account.
#[derive(Clone, Copy)]
pub(crate) struct Tried<'a> {
    pub(crate) targets: &'a [Target],
    /// Of the proxy; that of the environment without.
    pub(crate) account: Option<&'a Account>,
}

const PROXY_AUTHENTICATION_REQUIRED: u16 = 407;

/// Asks for each of the targets through the proxy.
pub(super) fn check(
    config: &Config,
    running: &Running,
    Tried { targets, account }: Tried<'_>,
    now: impl Fn() -> SystemTime,
    mut tell: impl FnMut(Finding),
) {
    let Some(proxy) = running.address else {
        tell(Finding::skip("reachability", "no proxy answers, so nothing could be tried through it"));
        return;
    };
    let before = crossed(running);
    let (mut dates, mut arrived_once) = (Vec::new(), false);
    let account = account.cloned().or_else(|| of_environment(proxy.port()));
    for (position, target) in targets.iter().enumerate() {
        let patience = config.timeouts.connect.saturating_add(PATIENCE);
        let answered = visit::through(proxy, target, account.as_ref(), patience);
        answer::judge(target, &answered).into_iter().for_each(&mut tell);
        // Whoever wants an account wants it for everything.
        if answered.as_ref().is_ok_and(|answer| answer.status == PROXY_AUTHENTICATION_REQUIRED) {
            if let left @ 1.. = targets.len() - position - 1 {
                let text =
                    format!("{} not tried: the proxy wants an account first", counted(left as u64, "URL"));
                tell(Finding::skip("reachability", text));
            }
            break;
        }
        // A page of the proxy's own has no Cache-Status (RFC 9211 §2), and crosses no link.
        arrived_once |= answered
            .as_ref()
            .is_ok_and(|answer| is_of_origin(answer) && !answer.field("cache-status").is_empty());
        let arrived = now();
        dates.extend(
            answered.ok().and_then(|answer| origin_time(&answer, arrived)).map(|date| (arrived, date)),
        );
    }
    clock::against(&dates).into_iter().for_each(&mut tell);
    // Where nothing came from an origin, that was said, and nothing could come down.
    if let (Some(before), Some(after), true) = (before, crossed(running), arrived_once) {
        tell(moved(before, after));
    }
}

/// Bytes that crossed the link since the start, down and up.
fn crossed(running: &Running) -> Option<(u64, u64)> {
    let link = running.ask(&Method::GET, "/v1/link");
    link["down"].as_u64().zip(link["up"].as_u64())
}

fn moved(before: (u64, u64), after: (u64, u64)) -> Finding {
    let (down, up) = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
    let text = format!("{} down and {} up crossed during these checks", human(down), human(up));
    if down == 0 {
        let advice = "see what it is, and whether it is closed: bentpipe link show";
        Finding::warn(
            "link",
            format!("nothing came down it during these checks ({} went up)", human(up)),
            advice,
        )
    } else {
        Finding::ok("link", text)
    }
}

/// Whether it came from the origin just now, and not from the proxy.
fn is_of_origin(answer: &Answer) -> bool {
    answer::whence(answer) == Whence::Origin && answer::Fault::of(answer).is_none()
}

/// The account that this user's programs name to a proxy on `port`.
fn of_environment(port: u16) -> Option<Account> {
    ["http_proxy", "https_proxy"]
        .into_iter()
        .filter_map(|variable| std::env::var(variable).ok())
        .find_map(|url| Account::of_proxy_url(&url, port))
}

/// What time the origin took it to be when it answered, by Date and the age that caches before ours gave it (RFC 9111
/// §4.2.3). None if the proxy itself answered.
fn origin_time(answer: &Answer, arrived: SystemTime) -> Option<SystemTime> {
    if !is_of_origin(answer) {
        return None;
    }
    let date = rfc9111::parse_date(answer.field("date").as_bytes(), arrived)?;
    let age = answer.field("age").parse().map_or(Duration::ZERO, Duration::from_secs);
    date.checked_add(age)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn only_an_origin_tells_the_time() {
        let check = |fields: &str, expected: Option<u64>| {
            let answer = Answer::parse(&format!("HTTP/1.1 200 OK\r\n{fields}")).unwrap();
            let found = origin_time(&answer, UNIX_EPOCH + Duration::from_secs(784_000_000));
            let seconds = found.map(|time| time.duration_since(UNIX_EPOCH).unwrap().as_secs());
            assert_eq!(seconds, expected, "{fields}");
        };
        let date = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        check(date, Some(784_111_777));
        check(&format!("{date}age: 23\r\n"), Some(784_111_800));
        check(&format!("{date}age: 99999999999999999999\r\n"), Some(784_111_777));
        check(&format!("{date}age: 18446744073709551615\r\n"), None);
        check(&format!("{date}cache-status: bentpipe; hit\r\n"), None);
        check(&format!("{date}proxy-status: bentpipe; error=dns_error\r\n"), None);
        check("date: yesterday\r\n", None);
        check("", None);
    }

    #[test]
    fn a_link_that_nothing_came_down_is_told() {
        assert_eq!(moved((10, 10), (2_010, 110)).text, "2 kB down and 100 B up crossed during these checks");
        assert_eq!(moved((10, 10), (10, 110)).verdict, Verdict::Warn);
    }
}
