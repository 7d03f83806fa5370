//! Validation behind the client's back (RFC 5861 §3): who waits for what, what comes of it, and who is charged.

use std::time::Duration;

use serde_json::Value;
use testkit::client::Request;
use testkit::origin::Origin;
use testkit::reply::Reply;

use crate::proxy::{Running, start};

const POLICY: &str = "max-age=60, stale-while-revalidate=600";

fn reply(tag: &str, body: &str) -> Reply {
    Reply::new(200).field("cache-control", POLICY).field("etag", tag).body(body)
}

/// An origin, a proxy, and /a stored and stale since 10 s.
async fn stale(flags: &[&str]) -> (Origin, Running) {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(flags).await);
    origin.on("GET", "/a", reply("\"1\"", "one").undated());
    assert_eq!(proxy.get(&origin.url("/a")).await.text(), "one");
    proxy.clock.advance(Duration::from_secs(70));
    (origin, proxy)
}

/// Asks until the answer is fresh, and returns its content.
async fn fresh(proxy: &Running, url: &str) -> String {
    loop {
        let response = proxy.get(url).await;
        assert!(response.field("cache-status").is_some_and(|said| said.contains("; hit")), "{response:?}");
        if response.field("age").is_some_and(|age| age.parse::<u64>().is_ok_and(|age| age < 60)) {
            return response.text();
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stale_is_served_at_once_and_the_refreshed_response_replaces_it() {
    let (origin, proxy) = stale(&[]).await;
    let url = origin.url("/a");
    origin.on("GET", "/a", reply("\"2\"", "two").undated());
    let response = proxy.get(&url).await;
    assert_eq!((response.text().as_str(), response.field("age")), ("one", Some("70")));
    assert_eq!(response.field("cache-status"), Some("bentpipe; hit; ttl=-10"));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (address, url) = (proxy.address(), url.clone());
        clients.spawn(async move { testkit::client::get(address, &url).await.expect("a response").text() });
    }
    assert!(clients.join_all().await.iter().all(|text| text == "one" || text == "two"));
    assert_eq!(fresh(&proxy, &url).await, "two");
    assert_eq!(origin.requests()[1].fields.value("if-none-match"), Some("\"1\""));
    assert_eq!(origin.request_count(), 2, "one request for all who came meanwhile");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_304_freshens_in_the_background() {
    let (origin, proxy) = stale(&[]).await;
    origin.on("GET", "/a", Reply::new(304).field("cache-control", POLICY).field("etag", "\"1\"").undated());
    assert_eq!(fresh(&proxy, &origin.url("/a")).await, "one");
    assert_eq!(origin.request_count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_refresh_leaves_what_is_stored() {
    let (origin, proxy) = stale(&[]).await;
    origin.on("GET", "/a", Reply::new(503).field("cache-control", "max-age=60").body("busy"));
    origin.on("GET", "/a", reply("\"1\"", "two").undated());
    let url = origin.url("/a");
    assert_eq!(proxy.get(&url).await.text(), "one");
    origin.wait_for_requests(2).await;
    proxy.clock.advance(Duration::from_secs(10));
    assert_eq!(fresh(&proxy, &url).await, "two");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clients_own_conditions_are_not_those_of_the_refresh() {
    let (origin, proxy) = stale(&[]).await;
    origin.on("GET", "/a", reply("\"2\"", "two").undated());
    let request =
        Request::new("GET", &origin.url("/a")).field("range", "bytes=0-0").field("if-match", "\"1\"");
    let response = proxy.request(&request).await;
    assert_eq!((response.status, response.text().as_str()), (206, "o"));
    origin.wait_for_requests(2).await;
    let asked = &origin.requests()[1].fields;
    assert!(!asked.has("range") && !asked.has("if-match"), "{asked:?}");
    assert_eq!(fresh(&proxy, &origin.url("/a")).await, "two");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_wants_nothing_stored_or_asked_causes_no_refresh() {
    let (origin, proxy) = stale(&[]).await;
    for wish in ["no-store", "only-if-cached"] {
        let request = Request::new("GET", &origin.url("/a")).field("cache-control", wish);
        assert_eq!(proxy.request(&request).await.text(), "one");
    }
    proxy.stop().await;
    assert_eq!(origin.request_count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_is_an_exchange_of_its_own_in_the_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("access.log");
    let flags = ["--access-log", &log.to_string_lossy(), "--set", "log.format=json"];
    let (origin, proxy) = stale(&flags).await;
    origin.on("GET", "/a", Reply::new(304).field("cache-control", POLICY).field("etag", "\"1\"").undated());
    assert_eq!(proxy.get(&origin.url("/a")).await.text(), "one");
    origin.wait_for_requests(2).await;
    proxy.stop().await;
    let text = std::fs::read_to_string(log).expect("a log");
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    lines.retain(|line| line["cache_status"] != "bentpipe; fwd=uri-miss; stored");
    let [hit, refresh] = ["bentpipe; hit", "bentpipe; fwd=stale; fwd-status=304"]
        .map(|status| lines.iter().find(|line| line["cache_status"] == status).expect(status));
    assert_eq!((&hit["status"], &hit["link_down"]), (&200.into(), &0.into()));
    assert_eq!((&refresh["status"], &refresh["client_bytes"]), (&304.into(), &0.into()));
    let crossed = &origin.total_traffic();
    let counted: u64 =
        text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()?["link_down"].as_u64()).sum();
    assert_eq!(counted, crossed.written, "every byte of the link once");
}
