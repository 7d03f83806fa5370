//! Content that is held in part: downloads that break off go on, ranges are stored and joined, and only what is missing
//! crosses the link.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use testkit::client::{Client, Request, Response};
use testkit::origin::{Origin, Received};
use testkit::reply::Reply;
use tokio::task::JoinSet;

use crate::control::ask;
use crate::proxy::{Running, start, start_in};

/// Bytes of which no two stretches are alike.
fn content(length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u8).collect()
}

/// What an origin that does ranges answers to `received`.
fn ranged(received: &Received, whole: &[u8], etag: &str) -> Reply {
    let validated = received.fields.value("if-range").is_none_or(|condition| condition == etag);
    let range = received.fields.value("range").filter(|_| validated).and_then(|range| {
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        let last = last.parse().unwrap_or(usize::MAX).min(whole.len() - 1);
        Some((first.parse::<usize>().ok()?, last))
    });
    let reply = match range {
        None => Reply::new(200).body(whole),
        Some((first, _)) if first >= whole.len() => {
            Reply::new(416).field("content-range", &format!("bytes */{}", whole.len()))
        }
        Some((first, last)) => Reply::new(206)
            .field("content-range", &format!("bytes {first}-{last}/{}", whole.len()))
            .body(&whole[first..=last]),
    };
    reply.field("etag", etag).field("cache-control", "max-age=60")
}

async fn ranging_origin(whole: Vec<u8>) -> Origin {
    Origin::with_handler(move |received| Some(ranged(received, &whole, "\"v\""))).await.expect("an origin")
}

/// The Range fields that the origin saw; `-` for a request without one.
fn asked(origin: &Origin) -> Vec<String> {
    let requests = origin.requests();
    requests.iter().map(|request| request.fields.value("range").unwrap_or("-").to_owned()).collect()
}

async fn get_range(proxy: &Running, url: &str, range: &str) -> Response {
    proxy.request(&Request::new("GET", url).field("range", range)).await
}

#[track_caller]
fn check_part(response: &Response, whole: &[u8], first: usize, last: usize) {
    let content_range = format!("bytes {first}-{last}/{}", whole.len());
    assert_eq!((response.status, response.field("content-range")), (206, Some(&*content_range)));
    assert!(response.body == whole[first..=last], "bytes {first}-{last}");
}

/// Waits until nothing arrives any more, and what had arrived is kept, as a whole or in part, or given up.
async fn settle(proxy: &Running) {
    let is_kept = |stored: &Value| {
        let is_all_held = stored["partial"] == true || stored["arrived"] == stored["length"];
        stored["arriving"] == false && stored["on_disk"] != 0 && is_all_held
    };
    let settled = async {
        loop {
            let arriving = ask(proxy, "GET", "/v1/cache", "").await["stats"]["arriving"].as_u64();
            let listed = ask(proxy, "GET", "/v1/cache/responses", "").await;
            if arriving == Some(0) && listed["responses"].as_array().expect("a list").iter().all(is_kept) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), settled).await.expect("it settles");
}

#[tokio::test]
async fn a_download_that_breaks_off_goes_on() {
    let whole = content(2_000_000);
    let (sent, served) = (Arc::new(AtomicUsize::new(0)), whole.clone());
    let counted = sent.clone();
    let origin = Origin::with_handler(move |received| {
        let range = received.fields.value("range").and_then(|range| range.strip_prefix("bytes="));
        let first: usize = range.and_then(|range| range.split('-').next()?.parse().ok()).unwrap_or(0);
        let now = (served.len() - first).min(100_003);
        counted.fetch_add(now, Ordering::Relaxed);
        let reply = ranged(received, &served, "\"v\"");
        Some(if now < served.len() - first { reply.cut_after(now) } else { reply })
    });
    let (origin, proxy) = (origin.await.expect("an origin"), start(&[]).await);
    let response = proxy.get(&origin.url("/a")).await;
    assert!(response.is_whole() && response.body == whole);
    assert_eq!((asked(&origin).len(), sent.load(Ordering::Relaxed)), (20, whole.len()));
    assert_eq!(asked(&origin)[1], "bytes=100003-1999999");
    assert_eq!(
        proxy.get(&origin.url("/a")).await.field("cache-status"),
        Some("bytes".replace("bytes", "bentpipe; hit; ttl=60").as_str())
    );
}

#[tokio::test]
async fn content_of_unknown_length_goes_on_too() {
    let whole = content(300_000);
    let served = whole.clone();
    let origin = Origin::with_handler(move |received| {
        let reply = ranged(received, &served, "\"v\"");
        Some(if received.fields.has("range") { reply } else { reply.chunked(4096).cut_after(150_000) })
    });
    let (origin, proxy) = (origin.await.expect("an origin"), start(&[]).await);
    let response = proxy.get(&origin.url("/a")).await;
    assert!(response.is_whole() && response.body == whole);
    assert_eq!(asked(&origin).len(), 2);
}

#[tokio::test]
async fn an_origin_without_ranges_is_asked_again_for_all() {
    let whole = content(300_000);
    let (served, times) = (whole.clone(), AtomicUsize::new(0));
    let origin = Origin::with_handler(move |_| {
        let reply = Reply::new(200).body(served.clone()).field("etag", "\"v\"");
        let reply = reply.field("cache-control", "max-age=60");
        Some(if times.fetch_add(1, Ordering::Relaxed) == 0 { reply.cut_after(200_000) } else { reply })
    });
    let (origin, proxy) = (origin.await.expect("an origin"), start(&[]).await);
    let response = proxy.get(&origin.url("/a")).await;
    assert!(response.is_whole() && response.body == whole);
}

#[tokio::test]
async fn a_download_does_not_go_on_with_something_else() {
    let (old, new) = (content(300_000), vec![b'n'; 300_000]);
    let times = AtomicUsize::new(0);
    let origin = Origin::with_handler(move |received| {
        Some(match times.fetch_add(1, Ordering::Relaxed) {
            0 => ranged(received, &old, "\"old\"").cut_after(100_000),
            _ => ranged(received, &new, "\"new\""),
        })
    });
    let (origin, proxy) = (origin.await.expect("an origin"), start(&[]).await);
    let mut client = proxy.connect().await;
    let broken = client.request(&Request::new("GET", &origin.url("/a"))).await;
    assert!(broken.is_err() || !broken.is_ok_and(|response| response.is_whole()));
    settle(&proxy).await;
    let response = proxy.get(&origin.url("/a")).await;
    assert!(response.is_whole() && response.body == vec![b'n'; 300_000]);
}

#[tokio::test]
async fn what_arrived_survives_a_restart_and_only_the_rest_is_fetched() {
    let whole = content(3_000_000);
    let served = whole.clone();
    let origin = Origin::with_handler(move |received| {
        let reply = ranged(received, &served, "\"v\"");
        Some(if received.fields.has("range") {
            reply
        } else {
            reply.pace(100_000, Duration::from_millis(20))
        })
    });
    let (origin, proxy) = (origin.await.expect("an origin"), start(&[]).await);
    let mut client = proxy.connect().await;
    client.send(&Request::new("GET", &origin.url("/a")).to_bytes()).await.expect("sent");
    client.receive_head().await.expect("a head");
    client.receive_exactly(1_000_000).await.expect("a third");
    drop(client);
    settle(&proxy).await;

    let proxy = start_in(proxy.stop().await, &[]).await;
    let response = proxy.get(&origin.url("/a")).await;
    assert!(response.is_whole() && response.body == whole);
    let status = response.field("cache-status").unwrap_or_default();
    assert!(status.starts_with("bentpipe; fwd=partial; fwd-status=206; stored"), "{status}");
    let asked = asked(&origin);
    let first: usize =
        asked[1]["bytes=".len()..].split('-').next().and_then(|first| first.parse().ok()).expect("a range");
    assert!(asked.len() == 2 && first >= 1_000_000, "{asked:?}");
}

#[tokio::test]
async fn only_the_bytes_that_are_missing_are_asked_for() {
    let whole = content(1_000);
    let (origin, proxy) = (ranging_origin(whole.clone()).await, start(&[]).await);
    let url = origin.url("/a");
    for (range, first, last) in [
        ("bytes=100-199", 100, 199),
        ("bytes=150-160", 150, 160),
        ("bytes=150-249", 150, 249),
        ("bytes=-100", 900, 999),
    ] {
        check_part(&get_range(&proxy, &url, range).await, &whole, first, last);
    }
    assert_eq!(asked(&origin), ["bytes=100-199", "bytes=200-249", "bytes=900-999"]);
    let response = proxy.get(&url).await;
    assert!((response.status, response.body == whole) == (200, true));
    assert_eq!(asked(&origin)[3..], ["bytes=0-99", "bytes=250-899"]);
    assert_eq!(proxy.get(&url).await.field("cache-status"), Some("bentpipe; hit; ttl=60"));
    let parts = get_range(&proxy, &url, "bytes=0-9,500-509").await;
    assert_eq!((parts.status, asked(&origin).len()), (206, 5));
    assert_eq!(get_range(&proxy, &url, "bytes=1000-").await.status, 416);
}

#[tokio::test]
async fn a_seek_in_a_large_file_costs_a_piece() {
    let whole = content(20 << 20);
    let (origin, proxy) = (ranging_origin(whole.clone()).await, start(&[]).await);
    let (url, mib) = (origin.url("/a"), 1 << 20);
    check_part(&get_range(&proxy, &url, "bytes=0-99").await, &whole, 0, 99);
    let at = 10 * mib + 200_000;
    check_part(&get_range(&proxy, &url, &format!("bytes={at}-{}", at + 999)).await, &whole, at, at + 999);
    settle(&proxy).await;
    let near = at + 500_000;
    check_part(
        &get_range(&proxy, &url, &format!("bytes={near}-{}", near + 999)).await,
        &whole,
        near,
        near + 999,
    );
    let piece = format!("bytes={}-{}", 10 * mib + 3 * 65_536, 11 * mib - 1);
    assert_eq!(asked(&origin), ["bytes=0-99", &*piece]);
}

#[tokio::test]
async fn a_changed_representation_replaces_the_part_that_is_held() {
    let (old, new) = (content(1_000), vec![b'n'; 900]);
    let times = AtomicUsize::new(0);
    let origin = Origin::with_handler(move |received| {
        Some(match times.fetch_add(1, Ordering::Relaxed) {
            0 => ranged(received, &old, "\"old\""),
            _ => ranged(received, &new, "\"new\""),
        })
    });
    let (origin, proxy) = (origin.await.expect("an origin"), start(&[]).await);
    check_part(&get_range(&proxy, &origin.url("/a"), "bytes=0-99").await, &content(1_000), 0, 99);
    let response = proxy.get(&origin.url("/a")).await;
    assert_eq!((response.status, response.body), (200, vec![b'n'; 900]));
    let part = get_range(&proxy, &origin.url("/a"), "bytes=0-9").await;
    assert_eq!((part.status, part.body, origin.request_count()), (206, vec![b'n'; 10], 2));
}

#[tokio::test]
async fn a_part_is_never_served_as_the_whole() {
    let whole = content(1_000);
    let (origin, proxy) = (ranging_origin(whole.clone()).await, start(&[]).await);
    let url = origin.url("/a");
    check_part(&get_range(&proxy, &url, "bytes=0-499").await, &whole, 0, 499);
    let offline = Request::new("GET", &url).field("cache-control", "only-if-cached");
    assert_eq!(proxy.request(&offline).await.status, 504);
    let offline =
        Request::new("GET", &url).field("cache-control", "only-if-cached").field("range", "bytes=9-19");
    check_part(&proxy.request(&offline).await, &whole, 9, 19);
    let head = proxy.request(&Request::new("HEAD", &url)).await;
    assert_eq!((head.status, head.field("content-length")), (200, Some("1000")));
    origin.stop().await;
    assert_eq!(proxy.get(&url).await.status, 502);
    proxy.clock.advance(Duration::from_secs(100));
    check_part(&get_range(&proxy, &url, "bytes=9-19").await, &whole, 9, 19);
}

#[tokio::test]
async fn a_part_without_a_validator_stands_alone() {
    let origin = Origin::with_handler(|received| {
        let reply = match received.fields.value("range") {
            None => Reply::new(200).body("0123456789"),
            Some("bytes=4-9") => Reply::new(206).field("content-range", "bytes 4-9/10").body("456789"),
            Some(_) => return Some(Reply::new(416).field("content-range", "bytes */10")),
        };
        Some(reply.field("cache-control", "max-age=60"))
    });
    let (origin, proxy) = (origin.await.expect("an origin"), start(&[]).await);
    let url = origin.url("/a");
    for range in ["bytes=4-9", "bytes=6-8", "bytes=-2"] {
        let part = get_range(&proxy, &url, range).await;
        assert_eq!(part.status, 206, "{range}");
        assert!("456789".contains(&part.text()), "{range}");
        settle(&proxy).await;
    }
    assert_eq!(asked(&origin), ["bytes=4-9"]);
    let offline = Request::new("GET", &url).field("cache-control", "only-if-cached");
    assert_eq!(proxy.request(&offline).await.status, 504);
    assert_eq!(get_range(&proxy, &url, "bytes=20-").await.status, 416);
    assert_eq!(proxy.get(&url).await.text(), "0123456789");
    settle(&proxy).await;
    assert_eq!(get_range(&proxy, &url, "bytes=0-1").await.text(), "01");
    assert_eq!(asked(&origin), ["bytes=4-9", "bytes=20-", "-"]);
}

#[tokio::test]
async fn a_part_without_a_validator_is_gone_when_it_is_stale() {
    let whole = content(100);
    let (served, proxy) = (whole.clone(), start(&[]).await);
    let origin = Origin::with_handler(move |_| {
        let part = Reply::new(206).field("content-range", "bytes 10-19/100").body(&served[10..=19]);
        Some(part.field("cache-control", "max-age=60"))
    });
    let origin = origin.await.expect("an origin");
    for _ in 0..2 {
        check_part(&get_range(&proxy, &origin.url("/a"), "bytes=10-19").await, &whole, 10, 19);
        proxy.clock.advance(Duration::from_secs(100));
    }
    assert_eq!(asked(&origin), ["bytes=10-19", "bytes=10-19"]);
}

#[tokio::test]
async fn a_stale_part_is_validated_by_asking_for_the_rest() {
    let whole = content(1_000);
    let (origin, proxy) = (ranging_origin(whole.clone()).await, start(&[]).await);
    let url = origin.url("/a");
    check_part(&get_range(&proxy, &url, "bytes=0-499").await, &whole, 0, 499);
    proxy.clock.advance(Duration::from_secs(100));
    let response = proxy.get(&url).await;
    assert!(response.status == 200 && response.body == whole);
    assert_eq!(asked(&origin), ["bytes=0-499", "bytes=500-999"]);
    assert_eq!(proxy.get(&url).await.field("cache-status"), Some("bentpipe; hit; ttl=60"));
}

#[tokio::test]
async fn a_range_far_ahead_of_a_download_does_not_wait_for_it() {
    let whole = content(5_000_000);
    let served = whole.clone();
    let origin = Origin::with_handler(move |received| {
        let reply = ranged(received, &served, "\"v\"");
        Some(if received.fields.has("range") { reply } else { reply.pace(50_000, Duration::from_millis(50)) })
    });
    let (origin, proxy) = (origin.await.expect("an origin"), start(&[]).await);
    let mut slow = proxy.connect().await;
    slow.send(&Request::new("GET", &origin.url("/a")).to_bytes()).await.expect("sent");
    slow.receive_head().await.expect("a head");
    let ahead = get_range(&proxy, &origin.url("/a"), "bytes=4000000-4000999").await;
    check_part(&ahead, &whole, 4_000_000, 4_000_999);
    assert_eq!(asked(&origin), ["-", "bytes=4000000-4000999"]);
    assert!(slow.receive_rest_of(5_000_000).await == whole);
}

/// The origin's first answer breaks off; each of these is what it says when asked for the rest, and none of it may be joined
/// to what is held.
#[tokio::test]
async fn what_does_not_name_the_same_validator_is_never_joined() {
    let old = content(200_000);
    let other = vec![b'n'; 200_000];
    let range = format!("bytes 100000-199999/{}", other.len());
    let answers = [
        Reply::new(200).body(other.clone()),
        Reply::new(200).body(vec![b'n'; 200_777]).field("etag", "\"v\""),
        Reply::new(206).body(&other[100_000..]).field("content-range", &range),
        Reply::new(206).body(&other[100_000..]).field("content-range", &range).field("etag", "W/\"v\""),
        Reply::new(206).body(&other[100_000..]).field("content-range", &range).field("etag", "\"w\""),
        Reply::new(206)
            .body(&other[99_999..])
            .field("content-range", "bytes 99999-199999/200000")
            .field("etag", "\"v\""),
        Reply::new(206)
            .body(&other[100_000..])
            .field("content-range", "bytes 100000-199999/300000")
            .field("etag", "\"v\""),
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
        let first = Reply::new(200).field("etag", "\"v\"").field("cache-control", "max-age=60");
        origin.on("GET", "/a", first.body(old.clone()).cut_after(100_000));
        origin.always("GET", "/a", answer);
        let mut client = proxy.connect().await;
        let broken = client.request(&Request::new("GET", &origin.url("/a"))).await;
        assert!(!broken.is_ok_and(|response| response.is_whole()), "{number}");
        settle(&proxy).await;
        // The next client gets one representation, or none.
        let response = proxy.connect().await.request(&Request::new("GET", &origin.url("/a"))).await;
        let is_mixture = response.is_ok_and(|response| {
            response.is_whole() && response.body.contains(&b'n') && response.body.starts_with(&old[..100])
        });
        assert!(!is_mixture, "{number}");
    }
}

#[tokio::test]
async fn the_end_of_a_part_is_not_the_end_of_the_whole() {
    let whole = content(200_000);
    let served = whole.clone();
    // Object stores give no more than so much at once.
    let origin = Origin::with_handler(move |received| {
        let Some(range) = received.fields.value("range").and_then(|range| range.strip_prefix("bytes="))
        else {
            return Some(
                ranged(received, &served, "\"v\"").chunked(4096).pace(10_000, Duration::from_millis(20)),
            );
        };
        let first: usize = range.split('-').next()?.parse().ok()?;
        let last = (first + 9_999).min(served.len() - 1);
        let capped =
            Reply::new(206).field("content-range", &format!("bytes {first}-{last}/{}", served.len()));
        Some(capped.field("etag", "\"v\"").field("cache-control", "max-age=60").body(&served[first..=last]))
    });
    let (origin, proxy) = (origin.await.expect("an origin"), start(&[]).await);
    let mut client = proxy.connect().await;
    client.send(&Request::new("GET", &origin.url("/a")).to_bytes()).await.expect("sent");
    client.receive_head().await.expect("a head");
    client.receive_exactly(40_000).await.expect("a part");
    drop(client);
    settle(&proxy).await;
    for _ in 0..2 {
        let response = proxy.get(&origin.url("/a")).await;
        assert!(response.is_whole() && response.body == whole, "{}", response.body.len());
    }
}

#[tokio::test]
async fn an_answer_to_a_range_of_ours_is_not_passed_on_as_one_to_the_clients_request() {
    let (old, new) = (content(1_000), vec![b'n'; 200_000]);
    let times = AtomicUsize::new(0);
    // Many simple servers do ranges and know nothing of If-Range.
    let origin = Origin::with_handler(move |received| {
        let first = times.fetch_add(1, Ordering::Relaxed) == 0;
        let (whole, etag) = if first { (&old, "\"1\"") } else { (&new, "\"2\"") };
        let mut blind = received.clone();
        blind.fields = blind
            .fields
            .iter()
            .filter(|(name, _)| *name != "if-range")
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Some(ranged(&blind, whole, etag))
    });
    let (origin, proxy) = (origin.await.expect("an origin"), start(&[]).await);
    check_part(&get_range(&proxy, &origin.url("/a"), "bytes=0-99").await, &content(1_000), 0, 99);
    let response = proxy.get(&origin.url("/a")).await;
    assert_eq!((response.status, response.body.len()), (200, 200_000));
    assert_eq!(asked(&origin), ["bytes=0-99", "bytes=100-999", "-"]);
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_gives_nothing_is_not_asked_without_pause() {
    let whole = content(100_000);
    let origin = Origin::with_handler(move |received| {
        let reply = ranged(received, &whole, "\"v\"");
        Some(reply.cut_after(if received.fields.has("range") { 0 } else { 50_000 }))
    });
    let (origin, proxy) = (origin.await.expect("an origin"), start(&["--set", "timeouts.resume=20s"]).await);
    let mut client = proxy.connect().await;
    let broken = client.request(&Request::new("GET", &origin.url("/a"))).await;
    assert!(!broken.is_ok_and(|response| response.is_whole()));
    assert!((3..12).contains(&origin.request_count()), "{} requests", origin.request_count());
}

#[tokio::test]
async fn bytes_beyond_the_announced_end_are_not_waited_for() {
    let whole = content(200_000);
    let origin = Origin::with_handler(move |_| {
        let reply = Reply::new(206).field("content-range", "bytes 0-9999/200000").field("etag", "\"v\"");
        Some(
            reply
                .field("cache-control", "max-age=60")
                .body(whole.clone())
                .chunked(1000)
                .pace(1000, Duration::from_millis(50)),
        )
    });
    let (origin, proxy) = (origin.await.expect("an origin"), start(&[]).await);
    let part = get_range(&proxy, &origin.url("/a"), "bytes=0-9999").await;
    assert!((part.status, part.body.len()) == (206, 10_000) && part.body == content(200_000)[..10_000]);
    tokio::time::timeout(Duration::from_secs(5), proxy.stop()).await.expect("it stops");
}

#[tokio::test]
async fn many_clients_of_ranges_of_one_cold_object_share_fetches() {
    let whole = content(3_000_000);
    let served = whole.clone();
    let origin = Origin::with_handler(move |received| {
        Some(ranged(received, &served, "\"v\"").pace(100_000, Duration::from_millis(10)))
    });
    let (origin, proxy) = (origin.await.expect("an origin"), start(&[]).await);
    let mut clients = JoinSet::new();
    for number in 0..30 {
        let (address, url) = (proxy.address(), origin.url("/a"));
        // Players ask for all of it as a range; one that has the beginning asks for the rest.
        let first = if number % 3 == 0 { 1_000 } else { 0 };
        clients.spawn(async move {
            let request = Request::new("GET", &url).field("range", &format!("bytes={first}-"));
            let mut client = Client::connect(address).await.expect("a connection");
            (first, client.request(&request).await.expect("a response"))
        });
    }
    for (first, response) in clients.join_all().await {
        check_part(&response, &whole, first, 2_999_999);
    }
    let sent: u64 = origin.total_traffic().written;
    assert!(sent < 3_100_000, "{sent} bytes, {:?}", asked(&origin));
}

/// What is still to come of a body of this length.
trait Rest {
    async fn receive_rest_of(&mut self, length: u64) -> Vec<u8>;
}

impl Rest for Client {
    async fn receive_rest_of(&mut self, length: u64) -> Vec<u8> {
        self.receive_exactly(length).await.expect("the body")
    }
}
