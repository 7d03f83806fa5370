//! Racing the addresses of one host (RFC 8305): in which order, how far apart, and which one wins. What dialling is, the
//! caller says; which addresses failed lately is remembered here.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

/// "The recommended value for the Connection Attempt Delay is 250 milliseconds" (RFC 8305 §5).
const SHORTEST: Duration = Duration::from_millis(250);

/// "A maximum value of 2 seconds" (RFC 8305 §5), which here is on top of the link's own round trip: on a link of that
/// length an attempt cannot be judged earlier.
const LONGEST: Duration = Duration::from_secs(2);

/// Addresses of one host that are tried.
const MOST: usize = 16;

/// How long an address that did not accept is tried after the others.
const MEMORY: Duration = Duration::from_mins(5);

/// Such addresses remembered.
const MOST_FAILED: usize = 1024;

/// How long after an attempt the next begins, while nothing has come of it: a round trip by the link's specification,
/// `link`, or as handshakes have `measured` it, so that no connection is begun that a moment's patience would have
/// saved.
pub(crate) fn delay(link: Duration, measured: Option<Duration>) -> Duration {
    SHORTEST.max(link).max(measured.unwrap_or_default()).min(link.saturating_add(LONGEST))
}

/// The addresses in the order in which they are tried: families take turns (RFC 8305 §4), `six_first` or not, and those
/// that `failed` come after all others.
pub(crate) fn order(
    addresses: &[SocketAddr],
    six_first: bool,
    failed: impl Fn(&SocketAddr) -> bool,
) -> Vec<SocketAddr> {
    let (failed, fine): (Vec<SocketAddr>, Vec<SocketAddr>) =
        addresses.iter().copied().partition(|address| failed(address));
    let mut order: Vec<SocketAddr> = Vec::with_capacity(addresses.len());
    for group in [fine, failed] {
        let (first, second): (Vec<SocketAddr>, Vec<SocketAddr>) =
            group.into_iter().partition(|address| address.is_ipv6() == six_first);
        let turns = first.len().max(second.len());
        let (mut first, mut second) = (first.into_iter(), second.into_iter());
        for _ in 0..turns {
            order.extend(first.next());
            order.extend(second.next());
        }
    }
    let mut seen = std::collections::HashSet::new();
    order.retain(|address| seen.insert(*address));
    order.truncate(MOST);
    order
}

/// Dials `addresses` one after the other, each `delay` after the one before or as soon as that has failed, and returns
/// the first connection. The others are dropped. `failed` is told of every address that did not accept.
///
/// # Errors
/// The last failure, once all have failed.
pub(crate) async fn race<T, F>(
    addresses: &[SocketAddr],
    delay: Duration,
    dial: impl Fn(SocketAddr) -> F,
    mut failed: impl FnMut(SocketAddr, &io::Error),
) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut waiting = addresses.iter().copied();
    let mut running: Vec<(SocketAddr, Pin<Box<F>>)> = Vec::new();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        let next = waiting.next();
        match next {
            Some(address) => running.push((address, Box::pin(dial(address)))),
            None if running.is_empty() => return Err(last),
            None => {}
        }
        let due = (waiting.len() > 0).then(|| Instant::now() + delay);
        match first(&mut running, due).await {
            Some((_, Ok(connection))) => return Ok(connection),
            Some((address, Err(error))) => {
                failed(address, &error);
                last = error;
            }
            None => {}
        }
    }
}

/// What the first attempt to end came to; none if it is time for another one.
async fn first<T, F>(
    running: &mut Vec<(SocketAddr, Pin<Box<F>>)>,
    due: Option<Instant>,
) -> Option<(SocketAddr, io::Result<T>)>
where
    F: Future<Output = io::Result<T>>,
{
    let ended = std::future::poll_fn(|context| {
        for at in 0..running.len() {
            let Some((address, attempt)) = running.get_mut(at) else { break };
            if let Poll::Ready(result) = attempt.as_mut().poll(context) {
                let address = *address;
                drop(running.remove(at));
                return Poll::Ready((address, result));
            }
        }
        Poll::Pending
    });
    match due {
        Some(due) => tokio::time::timeout_at(due, ended).await.ok(),
        None => Some(ended.await),
    }
}

/// Addresses that did not accept a connection lately.
#[derive(Default)]
pub(crate) struct Failures(Mutex<HashMap<SocketAddr, Instant>>);

impl Failures {
    pub(crate) fn note(&self, address: SocketAddr) {
        let mut known = self.lock();
        if known.len() >= MOST_FAILED {
            known.retain(|_, since| since.elapsed() < MEMORY);
        }
        if known.len() < MOST_FAILED {
            known.insert(address, Instant::now());
        }
    }

    pub(crate) fn clear(&self, address: SocketAddr) {
        self.lock().remove(&address);
    }

    /// Whether `address` is among them.
    pub(crate) fn has(&self, address: &SocketAddr) -> bool {
        self.lock().get(address).is_some_and(|since| since.elapsed() < MEMORY)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether IPv6 comes first among `addresses`: where there is a choice, and this machine has a way to the IPv6 internet.
pub(crate) fn prefers_ipv6(addresses: &[SocketAddr]) -> bool {
    addresses.iter().any(SocketAddr::is_ipv4) && addresses.iter().any(SocketAddr::is_ipv6) && has_ipv6()
}

/// Whether this machine has such a way, as far as its routes say. Nothing is sent to find out.
fn has_ipv6() -> bool {
    // A socket for datagrams is connected by choosing a route alone. The address is of a documentation network.
    let far = SocketAddr::from((std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9));
    let socket = std::net::UdpSocket::bind((std::net::Ipv6Addr::UNSPECIFIED, 0));
    let Ok(socket) = socket else { return false };
    let routed = socket.connect(far).and_then(|()| socket.local_addr());
    routed.is_ok_and(
        |from| matches!(from.ip(), IpAddr::V6(from) if !from.is_loopback() && !from.is_unicast_link_local()),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn addresses(text: &str) -> Vec<SocketAddr> {
        let address = |word: &str| match word.split_at(1) {
            ("4", last) => SocketAddr::from(([192, 0, 2, last.parse().unwrap()], 80)),
            (_, last) => SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, last.parse().unwrap()], 80)),
        };
        text.split_whitespace().map(address).collect()
    }

    fn check_order(given: &str, six_first: bool, failed: &str, expected: &str) {
        let failed = addresses(failed);
        let found = order(&addresses(given), six_first, |address| failed.contains(address));
        assert_eq!(found, addresses(expected), "{given}, {failed:?}");
    }

    #[test]
    fn families_take_turns_and_what_failed_comes_last() {
        check_order("41 42 61 62", true, "", "61 41 62 42");
        check_order("41 42 61 62", false, "", "41 61 42 62");
        check_order("41 42 43", true, "", "41 42 43");
        check_order("61 62 41", true, "", "61 41 62");
        check_order("41 42 61 62", true, "61 42", "62 41 61 42");
        check_order("41 41 42", true, "", "41 42");
        check_order("", true, "", "");
    }

    #[test]
    fn an_attempt_has_a_round_trip_before_the_next_begins() {
        let delay = |link, measured: Option<u64>| {
            delay(Duration::from_millis(link), measured.map(Duration::from_millis)).as_millis()
        };
        assert_eq!(delay(0, None), 250);
        assert_eq!(delay(600, None), 600);
        assert_eq!(delay(0, Some(700)), 700);
        assert_eq!(delay(600, Some(100)), 600);
        assert_eq!(delay(0, Some(30_000)), 2000);
        assert_eq!(delay(600, Some(30_000)), 2600);
        assert_eq!(delay(5000, None), 5000);
    }

    /// Each attempt is `MILLISECONDS:RESULT`, `ok` or `no`, or `-` for one that never ends. Expected are when the race is
    /// over, which attempt won, and when each began.
    async fn check_race(attempts: &str, end: u64, winner: Option<usize>, begins: &[u64]) {
        let plan: Vec<_> = attempts.split_whitespace().map(str::to_owned).collect();
        let addresses: Vec<_> =
            (0..plan.len()).map(|at| SocketAddr::from(([192, 0, 2, 1], at as u16 + 1))).collect();
        let begun = Instant::now();
        let begins_at = Mutex::new(Vec::new());
        let dial = |address: SocketAddr| {
            let at = usize::from(address.port()) - 1;
            begins_at.lock().unwrap().push(begun.elapsed().as_millis() as u64);
            let plan = plan[at].clone();
            async move {
                let Some((time, result)) = plan.split_once(':') else { std::future::pending().await };
                tokio::time::sleep(Duration::from_millis(time.parse().unwrap())).await;
                if result == "ok" { Ok(at) } else { Err(io::Error::from(io::ErrorKind::ConnectionRefused)) }
            }
        };
        let won = race(&addresses, SHORTEST, dial, |_, _| ()).await;
        assert_eq!(won.ok(), winner, "{attempts}");
        assert_eq!(begun.elapsed().as_millis() as u64, end, "{attempts}");
        assert_eq!(*begins_at.lock().unwrap(), begins, "{attempts}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_connection_wins_and_a_failure_is_not_waited_out() {
        check_race("100:ok 10:ok", 100, Some(0), &[0]).await;
        check_race("300:ok 100:ok", 300, Some(0), &[0, 250]).await;
        check_race("400:ok 100:ok", 350, Some(1), &[0, 250]).await;
        check_race("- 50:ok", 300, Some(1), &[0, 250]).await;
        check_race("- - 50:ok", 550, Some(2), &[0, 250, 500]).await;
        check_race("20:no 50:ok", 70, Some(1), &[0, 20]).await;
        check_race("20:no 30:no", 50, None, &[0, 20]).await;
        check_race("400:no 500:ok", 750, Some(1), &[0, 250]).await;
        check_race("", 0, None, &[]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_remembered_for_a_while() {
        let (failures, address) = (Failures::default(), addresses("41")[0]);
        failures.note(address);
        assert!(failures.has(&address));
        tokio::time::advance(MEMORY).await;
        assert!(!failures.has(&address));
        failures.note(address);
        failures.clear(address);
        assert!(!failures.has(&address));
    }

    proptest! {
        #[test]
        fn every_address_is_tried_once(fours in 0..9_u8, sixes in 0..7_u8, failed in 0..9_u8, six_first: bool) {
            let text = |digit: char, count| (0..count).map(|at| format!("{digit}{at} ")).collect::<String>();
            let given = addresses(&(text('4', fours) + &text('6', sixes)));
            let failed = addresses(&text('4', failed));
            let mut found = order(&given, six_first, |address| failed.contains(address));
            let mut expected = given;
            found.sort();
            expected.sort();
            prop_assert_eq!(found, expected);
        }
    }
}
