//! One fetch, many clients; one link, many flows; one cache folder, several runs.

use std::time::Duration;

use testkit::client::{Client, Request};
use testkit::origin::Origin;
use testkit::reply::{Gate, Reply};
use tokio::task::JoinSet;

use crate::proxy::{start, start_in};

#[tokio::test]
async fn many_clients_of_one_cold_object_cause_one_fetch_and_stream_while_it_arrives() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    let (gate, body) = (Gate::closed(), vec![b'x'; 3_000_000]);
    let cacheable = Reply::new(200).field("cache-control", "max-age=60").body(body);
    origin.on("GET", "/big", cacheable.hold_after(1_000_000, &gate));
    let mut clients = JoinSet::new();
    for _ in 0..50 {
        let (address, request) = (proxy.address(), Request::new("GET", &origin.url("/big")));
        clients.spawn(async move {
            let mut client = Client::connect(address).await.expect("a connection");
            client.send(&request.to_bytes()).await.expect("sent");
            let head = client.receive_head().await.expect("a head");
            // The first third is here although the rest has not left the origin.
            client.receive_exactly(900_000).await.expect("the first bytes");
            (head, client)
        });
    }
    let mut streaming = clients.join_all().await;
    let said = streaming.iter().filter_map(|(head, _)| head.fields.value("cache-status"));
    assert_eq!(said.filter(|said| said.contains("hit") || said.contains("collapsed")).count(), 49);
    gate.open();
    for (_, client) in &mut streaming {
        assert_eq!(client.receive_exactly(2_100_000).await.expect("the rest").len(), 2_100_000);
    }
    assert_eq!(origin.request_count(), 1);
}

#[tokio::test]
async fn when_the_first_of_many_leaves_another_takes_its_place() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    let gate = Gate::closed();
    let slow = || {
        Reply::new(200).field("cache-control", "max-age=60").body("hello").interim(103, Default::default())
    };
    origin.on("GET", "/late", Reply::raw(Vec::new()).hold_after(0, &gate));
    origin.always("GET", "/late", slow());
    let mut leader = proxy.connect().await;
    leader.send(&Request::new("GET", &origin.url("/late")).to_bytes()).await.expect("sent");
    origin.wait_for_requests(1).await;
    let mut clients = JoinSet::new();
    for _ in 0..30 {
        let (address, url) = (proxy.address(), origin.url("/late"));
        clients.spawn(async move { testkit::client::get(address, &url).await.expect("a response").text() });
    }
    drop(leader);
    assert!(clients.join_all().await.iter().all(|text| text == "hello"));
    assert!(origin.request_count() <= 3, "{} requests", origin.request_count());
}

#[tokio::test]
async fn one_target_that_fails_does_not_make_its_origin_unreachable() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    let answer =
        |body: &str| Reply::new(200).field("cache-control", "max-age=1").field("etag", "\"v\"").body(body);
    origin.on("GET", "/good", answer("old"));
    origin.on("GET", "/good", answer("new"));
    origin.always("GET", "/crash", Reply::close());
    assert_eq!(proxy.get(&origin.url("/good")).await.text(), "old");
    proxy.clock.advance(Duration::from_secs(5));
    assert_eq!(proxy.get(&origin.url("/crash")).await.status, 502);
    assert_eq!(proxy.get(&origin.url("/good")).await.text(), "new");
}

#[tokio::test]
async fn when_the_first_of_many_validations_leaves_another_takes_its_place() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    let answer = |status| Reply::new(status).field("cache-control", "max-age=60").field("etag", "\"v\"");
    origin.on("GET", "/a", answer(200).body("hello"));
    assert_eq!(proxy.get(&origin.url("/a")).await.text(), "hello");
    proxy.clock.advance(Duration::from_secs(90));
    // The first validation is never answered: its connection stays silent.
    let silent = Gate::closed();
    origin.on("GET", "/a", answer(304).interim(103, Default::default()).hold_after(0, &silent).body("x"));
    origin.always("GET", "/a", answer(304));
    let mut leader = proxy.connect().await;
    leader.send(&Request::new("GET", &origin.url("/a")).to_bytes()).await.expect("sent");
    origin.wait_for_requests(2).await;
    let mut clients = JoinSet::new();
    for _ in 0..30 {
        let (address, url) = (proxy.address(), origin.url("/a"));
        clients.spawn(async move { testkit::client::get(address, &url).await.expect("a response").text() });
    }
    drop(leader);
    assert!(clients.join_all().await.iter().all(|text| text == "hello"));
    assert!(origin.request_count() <= 4, "{} requests", origin.request_count());
}

#[tokio::test]
async fn a_dead_link_does_not_hold_back_what_is_stored() {
    let origin = Origin::start().await.expect("an origin");
    let proxy = start(&["--set", "timeouts.stale=300ms"]).await;
    origin.on(
        "GET",
        "/a",
        Reply::new(200).field("cache-control", "max-age=0").field("etag", "\"v\"").body("held"),
    );
    origin.on("GET", "/b", Reply::new(200).field("cache-control", "max-age=60").body("also held"));
    for path in ["/a", "/b"] {
        assert_eq!(proxy.get(&origin.url(path)).await.status, 200);
    }
    crate::control::ask(&proxy, "PUT", "/v1/link", r#"{"spec": "0"}"#).await;
    proxy.clock.advance(Duration::from_secs(5));
    let stale = proxy.get(&origin.url("/a")).await;
    let said = "bentpipe; fwd=stale; detail=unreachable";
    assert_eq!(stale.text(), "held");
    assert!(stale.field("cache-status").is_some_and(|status| status.starts_with(said)), "{stale:?}");
    // A reload, too, gets what there is.
    let reload = Request::new("GET", &origin.url("/b")).field("cache-control", "no-cache");
    assert_eq!(proxy.request(&reload).await.text(), "also held");
    // Once the link is back the origin is asked again.
    origin.always("GET", "/a", Reply::new(200).body("new"));
    crate::control::ask(&proxy, "PUT", "/v1/link", r#"{"spec": "unlimited"}"#).await;
    let recovered = async {
        while proxy.get(&origin.url("/a")).await.text() != "new" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), recovered).await.expect("an end of the outage");
}

#[tokio::test]
async fn an_outage_is_found_out_once() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    origin.on("GET", "/a", Reply::new(200).field("cache-control", "max-age=1").body("held"));
    let (address, url) = (origin.address(), origin.url("/a"));
    assert_eq!(proxy.get(&url).await.text(), "held");
    proxy.clock.advance(Duration::from_secs(5));
    origin.stop().await;
    assert_eq!(proxy.get(&url).await.text(), "held");
    // Somebody listens again, and is not asked yet: the outage is a moment old.
    let listener = tokio::net::TcpListener::bind(address).await.expect("the same port");
    let again = proxy.get(&url).await;
    let said = "bentpipe; fwd=stale; detail=unreachable";
    assert_eq!(again.text(), "held");
    assert!(again.field("cache-status").is_some_and(|status| status.starts_with(said)), "{again:?}");
    let asked = std::future::poll_fn(|cx| std::task::Poll::Ready(listener.poll_accept(cx).is_ready())).await;
    assert!(!asked);
}

#[tokio::test]
async fn an_origin_that_hangs_up_at_once_keeps_nobody_waiting() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let hanging_up = tokio::spawn(async move {
        loop {
            drop(listener.accept().await.expect("a connection"));
        }
    });
    let proxy = start(&[]).await;
    let mut clients = JoinSet::new();
    for number in 0..200 {
        let (address, url) = (proxy.address(), format!("{url}{number}"));
        clients.spawn(async move { testkit::client::get(address, &url).await.expect("a response").status });
    }
    let answered =
        tokio::time::timeout(Duration::from_secs(30), clients.join_all()).await.expect("an answer for each");
    assert!(answered.iter().all(|status| *status == 502), "{answered:?}");
    hanging_up.abort();
}

#[tokio::test]
async fn a_client_that_reads_nothing_holds_up_nobody() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    let body = vec![b'x'; 20_000_000];
    origin.on("GET", "/big", Reply::new(200).field("cache-control", "max-age=60").body(body));
    let mut slow = proxy.connect().await;
    slow.send(&Request::new("GET", &origin.url("/big")).to_bytes()).await.expect("sent");
    slow.receive_head().await.expect("a head");
    let fast = tokio::time::timeout(Duration::from_secs(60), proxy.get(&origin.url("/big"))).await;
    assert_eq!(fast.expect("in time").body.len(), 20_000_000);
    assert_eq!(slow.receive_exactly(20_000_000).await.expect("the slow one, later").len(), 20_000_000);
    assert_eq!(origin.request_count(), 1);
}

#[tokio::test]
async fn what_may_not_be_shared_is_fetched_by_each() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    origin.always("GET", "/mine", Reply::new(200).field("cache-control", "private").body("x"));
    let mut clients = JoinSet::new();
    for _ in 0..10 {
        let (address, url) = (proxy.address(), origin.url("/mine"));
        clients.spawn(async move { testkit::client::get(address, &url).await.expect("a response").status });
    }
    assert_eq!(clients.join_all().await, [200; 10]);
    assert_eq!(origin.request_count(), 10);
}

#[tokio::test]
async fn what_is_stored_survives_a_restart() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    let cacheable = |body: Vec<u8>| Reply::new(200).field("cache-control", "max-age=600").body(body);
    origin.on("GET", "/small", cacheable(b"small".to_vec()));
    origin.on("GET", "/large", cacheable(vec![b'l'; 500_000]));
    for path in ["/small", "/large"] {
        assert_eq!(proxy.get(&origin.url(path)).await.status, 200);
    }
    let (small, large) = (origin.url("/small"), origin.url("/large"));
    origin.stop().await;
    let proxy = start_in(proxy.stop().await, &[]).await;
    let response = proxy.get(&small).await;
    assert_eq!(
        (response.text().as_str(), response.field("cache-status")),
        ("small", Some("bentpipe; hit; ttl=600"))
    );
    assert!(proxy.get(&large).await.body == vec![b'l'; 500_000], "the large one as it was");
}

#[tokio::test]
async fn the_cache_keeps_its_size() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&["--cache-size", "1M"]).await);
    for number in 0..40 {
        let path = format!("/{number}");
        origin.on(
            "GET",
            &path,
            Reply::new(200).field("cache-control", "max-age=600").body(vec![b'x'; 100_000]),
        );
        assert_eq!(proxy.get(&origin.url(&path)).await.body.len(), 100_000);
    }
    let folder = proxy.stop().await;
    let held = walk(folder.path());
    assert!(held <= 1_300_000, "{held} bytes in the folder");
}

fn walk(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    entries
        .map(|entry| match entry.metadata().expect("its data") {
            data if data.is_dir() => walk(&entry.path()),
            data => data.len(),
        })
        .sum()
}

#[tokio::test]
async fn the_link_is_charged_for_what_crosses_and_hits_do_not() {
    let (origin, proxy) =
        (Origin::start().await.expect("an origin"), start(&["--link", "10M,rtt=20ms"]).await);
    let body = vec![b'x'; 125_000];
    origin.on("GET", "/a", Reply::new(200).field("cache-control", "max-age=60").body(body));
    let begun = tokio::time::Instant::now();
    assert_eq!(proxy.get(&origin.url("/a")).await.body.len(), 125_000);
    // 125 kB at 10 Mbit/s take 100 ms, and connection and request a round trip each; a lower bound holds on any machine.
    assert!(begun.elapsed() >= Duration::from_millis(138), "{:?}", begun.elapsed());
    let crossed = origin.total_traffic();
    assert_eq!(proxy.get(&origin.url("/a")).await.body.len(), 125_000);
    assert_eq!(origin.total_traffic(), crossed, "a hit crosses nothing");
    let state = crate::control::ask(&proxy, "GET", "/v1/link", "").await;
    assert_eq!(state["down"], crossed.written, "to the byte");
    assert_eq!(state["up"], crossed.read, "to the byte");
}
