//! The way out, tried: each URL is asked for through the proxy, and what comes back tells of reachability, TLS, the clock
//! and the link.

use std::time::{Duration, SystemTime};

use http::Method;

use super::answer::{self, Whence};
use super::proxy::Running;
use super::visit::{self, Answer, Target};
use super::{Finding, clock};
use crate::admin::human;
use crate::config::Config;

/// What a thin link and a slow origin may take beside the opening of a connection.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks for each of `targets` through the proxy.
pub(super) fn check(
    config: &Config,
    running: &Running,
    targets: &[Target],
    now: impl Fn() -> SystemTime,
    mut tell: impl FnMut(Finding),
) {
    let Some(proxy) = running.address else {
        tell(Finding::skip("reachability", "no proxy answers, so nothing could be tried through it"));
        return;
    };
    let before = crossed(running);
    let mut dates = Vec::new();
    for target in targets {
        let answered = visit::through(proxy, target, config.timeouts.connect.saturating_add(PATIENCE));
        answer::judge(target, &answered).into_iter().for_each(&mut tell);
        let arrived = now();
        dates.extend(
            answered.ok().and_then(|answer| origin_time(&answer, arrived)).map(|date| (arrived, date)),
        );
    }
    clock::against(&dates).into_iter().for_each(&mut tell);
    if let (Some(before), Some(after)) = (before, crossed(running)) {
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

/// What time the origin took it to be when it answered, by Date and the age that caches before ours gave it (RFC 9111
/// §4.2.3). None if the proxy itself answered.
fn origin_time(answer: &Answer, arrived: SystemTime) -> Option<SystemTime> {
    if answer::whence(answer) != Whence::Origin || answer::Fault::of(answer).is_some() {
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
