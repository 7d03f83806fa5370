//! The link as its users meet it: what it is charged for, who goes first, links from files, and links that follow a
//! real one.

use std::time::Duration;

use testkit::client::{Client, Request};
use testkit::origin::Origin;
use testkit::reply::Reply;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::control::ask;
use crate::name_server::NameServer;
use crate::proxy::start;

#[tokio::test]
async fn everything_crosses_once_and_nothing_else_does() {
    let origin = Origin::start().await.expect("an origin");
    let proxy = start(&["--link", "20M,rtt=2ms"]).await;
    let stored = Reply::new(200).field("cache-control", "max-age=60").body(vec![b'x'; 40_000]);
    origin.on("GET", "/a", stored);
    origin.on("POST", "/up", Reply::new(200).body("thanks"));
    assert_eq!(proxy.get(&origin.url("/a")).await.body.len(), 40_000);
    let upload = Request::new("POST", &origin.url("/up")).body(vec![b'y'; 60_000]);
    assert_eq!(proxy.request(&upload).await.text(), "thanks");
    // An exchange inside a tunnel, as TLS would be.
    let mut tunnel = proxy.connect().await;
    let through = Request::new("GET", "/in").field("host", &origin.address().to_string()).to_bytes();
    origin.on("GET", "/in", Reply::new(200).body(vec![b'z'; 30_000]));
    assert_eq!(tunnel.tunnel(&origin.address().to_string()).await.expect("a tunnel").status, 200);
    tunnel.send(&through).await.expect("sent");
    assert_eq!(tunnel.receive("GET").await.expect("an answer").body.len(), 30_000);
    tunnel.finish().await.expect("an end");
    drop(tunnel);
    let before = origin.total_traffic();
    // A hit, a refusal and the operator's questions.
    assert_eq!(proxy.get(&origin.url("/a")).await.body.len(), 40_000);
    assert_eq!(proxy.get("http://127.0.0.1:1/").await.status, 502);
    let state = ask(&proxy, "GET", "/v1/link", "").await;
    let traffic = origin.total_traffic();
    assert_eq!(before, traffic);
    assert_eq!((state["down"].as_u64(), state["up"].as_u64()), (Some(traffic.written), Some(traffic.read)));
    let classes = &state["classes"]["interactive"];
    assert_eq!(
        (classes["down"].as_u64(), classes["up"].as_u64()),
        (Some(traffic.written), Some(traffic.read))
    );
    assert_eq!(state["clients"][0]["client"], "127.0.0.1");
    assert_eq!(state["clients"][0]["down"], traffic.written);
}

#[tokio::test]
async fn lookups_cross_the_link_if_told_so() {
    let (origin, server) = (Origin::start().await.expect("an origin"), NameServer::start().await);
    let [servers, timeout] = server.flags();
    let proxy = start(&["--link", "20M", "--set", "link.dns=on", &servers, &timeout]).await;
    server.leads("a.example", &["127.0.0.1"], 60);
    origin.always("GET", "/a", Reply::new(200).field("cache-control", "no-store").body("hello").then_close());
    let url = origin.url("/a").replace("127.0.0.1", "a.example");
    // The second one is known, and costs nothing.
    assert_eq!(proxy.get(&url).await.text(), "hello");
    assert_eq!(proxy.get(&url).await.text(), "hello");
    let (state, traffic) = (ask(&proxy, "GET", "/v1/link", "").await, origin.total_traffic());
    let (down, up) = (state["down"].as_u64().expect("bytes"), state["up"].as_u64().expect("bytes"));
    // Two queries of header, OPT record and question.
    assert_eq!(up - traffic.read, 2 * (12 + 11 + "a.example".len() as u64 + 6));
    assert!(down - traffic.written > up - traffic.read, "the answers hold addresses, too");
}

#[tokio::test]
async fn rules_give_a_class_by_type_and_by_size() {
    let origin = Origin::start().await.expect("an origin");
    let proxy = start(&["--link=8M", "--set=link.rules=background: type=video/*,bulk: size=20k"]).await;
    let body = |kind: &str| Reply::new(200).field("content-type", kind).body(vec![b'x'; 100_000]);
    origin.on("GET", "/film", body("video/mp4"));
    origin.on("GET", "/archive", body("application/zip"));
    origin.on("POST", "/up", Reply::new(200).body("thanks"));
    proxy.get(&origin.url("/film")).await;
    let used = |state: &serde_json::Value, class: &str, way: &str| {
        state["classes"][class][way].as_u64().expect("bytes")
    };
    let state = ask(&proxy, "GET", "/v1/link", "").await;
    // The head is here before its class is known, and with it what was asked for meanwhile.
    assert!(used(&state, "background", "down") >= 40_000, "{state}");
    proxy.get(&origin.url("/archive")).await;
    let state = ask(&proxy, "GET", "/v1/link", "").await;
    assert!(used(&state, "bulk", "down") >= 30_000, "{state}");
    assert!(used(&state, "interactive", "down") >= 20_000, "{state}");
    proxy.request(&Request::new("POST", &origin.url("/up")).body(vec![b'y'; 200_000])).await;
    let state = ask(&proxy, "GET", "/v1/link", "").await;
    assert!(used(&state, "bulk", "up") >= 100_000, "{state}");
}

#[tokio::test]
async fn an_upload_that_is_reset_stops_crossing() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let target = format!("http://{}/up", listener.local_addr().expect("an address"));
    let proxy = start(&["--link", "400k"]).await;
    let mut client = tokio::net::TcpStream::connect(proxy.address()).await.expect("a connection");
    let head = Request::new("POST", &target).field("content-length", "50000000").to_bytes();
    client.write_all(&head).await.expect("sent");
    let sending = async {
        let piece = vec![b'x'; 64 * 1024];
        while client.write_all(&piece).await.is_ok() {}
    };
    let receiving = async {
        let (mut origin, _) = listener.accept().await.expect("a connection");
        let mut first = vec![0; 50_000];
        origin.read_exact(&mut first).await.expect("some content");
        origin
    };
    let mut origin = tokio::select! {
        () = sending => panic!("the upload broke off"),
        origin = receiving => origin,
    };
    client.set_zero_linger().expect("an option");
    drop(client);
    let mut rest = Vec::new();
    // The end of the connection, at once or after what was ahead of the link: it took minutes for all that was sent.
    let _ =
        tokio::time::timeout(Duration::from_secs(30), origin.read_to_end(&mut rest)).await.expect("an end");
    assert!(rest.len() < 400_000, "{}", rest.len());
}

#[tokio::test]
async fn a_link_may_come_from_a_file_and_change_to_another() {
    let origin = Origin::start().await.expect("an origin");
    let folder = tempfile::tempdir().expect("a folder");
    let trace = folder.path().join("t.trace");
    // 1500 bytes each 20 ms.
    std::fs::write(&trace, "20\n").expect("written");
    let proxy = start(&["--link-trace", &format!("down={}", trace.display())]).await;
    origin.always("GET", "/a", Reply::new(200).field("cache-control", "no-store").body(vec![b'x'; 30_000]));
    let begun = tokio::time::Instant::now();
    assert_eq!(proxy.get(&origin.url("/a")).await.body.len(), 30_000);
    assert!(begun.elapsed() >= Duration::from_millis(390), "{:?}", begun.elapsed());
    let state = ask(&proxy, "GET", "/v1/link", "").await;
    assert_eq!(state["trace"], format!("down={}", trace.display()));
    assert_eq!(state["rate_down_bits_per_second"], 600_000);
    let changed = ask(&proxy, "PUT", "/v1/link", "{\"spec\": \"geo,rtt=10ms,count=wire\"}").await;
    assert_eq!(changed["spec"], "512k/128k,rtt=10ms,tcp=slow-start,count=wire");
    assert_eq!((&changed["trace"], &changed["rates_count"]), (&"off".into(), &"wire".into()));
    let refused = ask(&proxy, "PUT", "/v1/link", "{\"spec\": \"64k\", \"trace\": \"/nowhere\"}").await;
    assert!(refused["error"].as_str().is_some_and(|error| error.contains("/nowhere")), "{refused}");
    let state = ask(&proxy, "GET", "/v1/link", "").await;
    assert_eq!(state["spec"], changed["spec"], "what cannot be read changes nothing");
}

#[tokio::test]
async fn a_guarded_link_begins_without_limits_and_the_gauge_tells_what_it_saw() {
    let origin = Origin::start().await.expect("an origin");
    let proxy = start(&["--link", "auto=90%"]).await;
    origin.on("GET", "/a", Reply::new(200).body("hello"));
    let state = ask(&proxy, "GET", "/v1/link", "").await;
    assert_eq!((&state["spec"], &state["passive"]), (&"auto=90%".into(), &serde_json::Value::Null));
    assert_eq!(proxy.get(&origin.url("/a")).await.text(), "hello");
    let state = ask(&proxy, "GET", "/v1/link", "").await;
    assert_eq!(state["passive"]["rtt_samples"], 1);
    assert!(state["passive"]["rtt_seconds"].as_f64().is_some_and(|rtt| rtt > 0.0), "{state}");
    assert_eq!(state["rate_down_bits_per_second"], serde_json::Value::Null);
}

#[tokio::test]
async fn a_slow_starting_connection_takes_its_round_trips() {
    let origin = Origin::start().await.expect("an origin");
    let proxy = start(&["--link", "unlimited,rtt=60ms,tcp=slow-start"]).await;
    origin.always("GET", "/a", Reply::new(200).field("cache-control", "no-store").body(vec![b'x'; 100_000]));
    let begun = tokio::time::Instant::now();
    assert_eq!(proxy.get(&origin.url("/a")).await.body.len(), 100_000);
    // Handshake and request one each, then 10 + 20 + 40 segments, of which the first waits for nobody.
    assert!(begun.elapsed() >= Duration::from_millis(2 * 60 + 2 * 60 - 10), "{:?}", begun.elapsed());
    let begun = tokio::time::Instant::now();
    assert_eq!(proxy.get(&origin.url("/a")).await.body.len(), 100_000);
    let again = begun.elapsed();
    assert!(again >= Duration::from_millis(55), "{again:?}");
    let _ = Client::connect(proxy.address()).await.expect("still there");
}
