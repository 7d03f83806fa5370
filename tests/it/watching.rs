//! Watching a running proxy: exchanges as they end (Server-Sent Events, HTML §9.2), who uses the link, and changing the
//! class of what is under way.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use testkit::client::{Client, Request};
use testkit::origin::Origin;
use testkit::reply::{Gate, Reply};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::commands::Home;
use crate::control::ask;
use crate::proxy::{Running, start};

/// One who watches what passes `query`, from now on.
async fn watch(proxy: &Running, query: &str) -> tokio::io::BufReader<UnixStream> {
    let mut stream = UnixStream::connect(proxy.folder.path().join("control.sock")).await.expect("a socket");
    let request = format!("GET /v1/events{query} HTTP/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut stream = tokio::io::BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with(": watching\n\n") {
        assert!(stream.read_line(&mut head).await.expect("a line") > 0, "{head}");
    }
    assert!(head.contains("200 OK") && head.contains("text/event-stream"), "{head}");
    stream
}

/// The data of the next event.
async fn next(stream: &mut tokio::io::BufReader<UnixStream>) -> Value {
    let mut line = String::new();
    let found = async {
        while !line.starts_with("data: ") {
            line.clear();
            assert!(stream.read_line(&mut line).await.expect("a line") > 0, "it ended");
        }
    };
    tokio::time::timeout(Duration::from_secs(10), found).await.expect("an event");
    serde_json::from_str(line.trim_start_matches("data: ")).expect("JSON")
}

#[tokio::test]
async fn exchanges_are_seen_as_they_end_by_whom_they_concern() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    origin.always("GET", "/a", Reply::new(200).field("cache-control", "max-age=60").body("hello"));
    origin.always("GET", "/b", Reply::new(503));
    let mut all = watch(&proxy, "").await;
    let mut failed = watch(&proxy, "?status=5xx,none&client=127.0.0.0%2F8").await;
    let mut others = watch(&proxy, "?client=10.0.0.1").await;
    proxy.get(&origin.url("/a")).await;
    proxy.get(&origin.url("/b")).await;
    let (first, second, third) = (next(&mut all).await, next(&mut all).await, next(&mut failed).await);
    assert_eq!((&first["url"], &first["result"]), (&origin.url("/a").into(), &"miss".into()));
    assert_eq!(first["client_bytes"].as_u64().map(|bytes| bytes > 5), Some(true));
    assert_eq!((&second["number"], &second["status"]), (&2.into(), &503.into()));
    assert_eq!(second, third);
    let folder = proxy.stop().await;
    let mut rest = String::new();
    others.read_to_string(&mut rest).await.expect("an end");
    assert_eq!(rest, "", "nothing for it, and it ends with the proxy");
    drop(folder);
}

#[tokio::test]
async fn what_is_no_filter_is_refused_and_so_is_a_crowd() {
    let proxy = start(&[]).await;
    let told = ask(&proxy, "GET", "/v1/events?status=teapot", "").await;
    assert!(told["error"].as_str().is_some_and(|error| error.contains("no status")), "{told}");
    let mut crowd = Vec::new();
    for _ in 0..16 {
        crowd.push(watch(&proxy, "").await);
    }
    let told = ask(&proxy, "GET", "/v1/events", "").await;
    assert!(told["error"].as_str().is_some_and(|error| error.contains("so many watch")), "{told}");
    assert_eq!(ask(&proxy, "GET", "/v1/exchanges", "").await["begun"], 0, "commands are taken all the same");
}

/// A download that has begun and goes on as slowly as the link.
async fn downloading(origin: &Origin, proxy: &Running) -> Client {
    origin.always(
        "GET",
        "/large",
        Reply::new(200).field("cache-control", "no-store").body(vec![b'x'; 2_000_000]),
    );
    let mut client = Client::connect(proxy.address()).await.expect("a connection");
    let request = Request::new("GET", &origin.url("/large")).to_bytes();
    client.send(&request).await.expect("sent");
    client.receive_head().await.expect("a head");
    client
}

fn down(link: &Value, class: &str) -> u64 {
    link["classes"][class]["down"].as_u64().unwrap_or(0)
}

#[tokio::test]
async fn a_class_that_was_chosen_holds_at_once_whatever_the_rules_say() {
    // The rule would make it bulk again at each of its sizes.
    let rules = ["--link", "800k", "--set", "link.rules=interactive: size=64k,bulk: host=127.0.0.1"];
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&rules).await);
    let mut client = downloading(&origin, &proxy).await;
    client.receive_exactly(8_000).await.expect("content");
    let shown = ask(&proxy, "GET", "/v1/exchanges", "").await["exchanges"][0].clone();
    assert_eq!((&shown["class"], &shown["number"]), (&"bulk".into(), &1.into()));
    let given = r#"{"numbers": [1, 99], "class": "background"}"#;
    let changed = ask(&proxy, "POST", "/v1/exchanges/class", given).await;
    assert_eq!((&changed["changed"], &changed["crossing"]), (&1.into(), &1.into()));
    let before = ask(&proxy, "GET", "/v1/link", "").await;
    client.receive_exactly(150_000).await.expect("content");
    let after = ask(&proxy, "GET", "/v1/link", "").await;
    assert_eq!(down(&after, "interactive"), 0, "{after}");
    assert_eq!(down(&after, "bulk"), down(&before, "bulk"), "at once");
    assert!(down(&after, "background") > 100_000, "{after}");
    ask(&proxy, "POST", "/v1/exchanges/class", r#"{"numbers": [1], "class": "rules"}"#).await;
    assert_eq!(ask(&proxy, "GET", "/v1/exchanges", "").await["exchanges"][0]["class"], "interactive");
    let wrong = ask(&proxy, "POST", "/v1/exchanges/class", r#"{"numbers": [1], "class": "first"}"#).await;
    assert!(wrong["error"].as_str().is_some_and(|error| error.contains("no class")), "{wrong}");
}

#[tokio::test]
async fn a_tunnel_can_be_put_into_a_class_rfc9110_9_3_6() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&["--link", "800k"]).await);
    origin.always("GET", "/large", Reply::new(200).body(vec![b'x'; 2_000_000]));
    let mut client = Client::connect(proxy.address()).await.expect("a connection");
    assert_eq!(client.tunnel(&origin.address().to_string()).await.expect("a tunnel").status, 200);
    let given = r#"{"numbers": [1], "class": "background"}"#;
    assert_eq!(ask(&proxy, "POST", "/v1/exchanges/class", given).await["crossing"], 1);
    let request = format!("GET /large HTTP/1.1\r\nhost: {}\r\n\r\n", origin.address());
    client.send(request.as_bytes()).await.expect("sent");
    client.receive_exactly(50_000).await.expect("content");
    let link = ask(&proxy, "GET", "/v1/link", "").await;
    assert!(down(&link, "background") >= 50_000 && down(&link, "interactive") == 0, "{link}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_show_and_change_what_goes_on() {
    let (home, origin) = (Home::new(), Origin::start().await.expect("an origin"));
    let gate = Gate::closed();
    let large = Reply::new(200).field("cache-control", "no-store").body(vec![b'x'; 500_000]);
    origin.on("GET", "/large", large.hold_after(100_000, &gate));
    origin.always("GET", "/small", Reply::new(404));
    let served = home.serve("cache", &["--link", "80M"]);
    let mut tail = home.command(&["tail", "--host", "127.*"]);
    let mut tail = tail.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("tail");
    let mut lines = BufReader::new(tail.stdout.take().expect("its output")).lines();
    // Until it watches nothing is shown to it.
    while !home.run(&["metrics"]).contains("\nbentpipe_event_watchers 1\n") {}
    testkit::client::get(served.address, &origin.url("/small")).await.expect("a response");
    let line = lines.next().expect("a line").expect("text");
    assert!(line.contains("  404  miss") && line.ends_with(&origin.url("/small")), "{line}");
    assert!(!line.contains('\u{1b}'), "no colours where no terminal is");

    let mut client = Client::connect(served.address).await.expect("a connection");
    let request = Request::new("GET", &origin.url("/large")).to_bytes();
    client.send(&request).await.expect("sent");
    client.receive_head().await.expect("a head");
    client.receive_exactly(90_000).await.expect("content");
    let shown: Value = serde_json::from_str(&home.run(&["top", "--json"])).expect("JSON");
    let exchange = &shown["exchanges"][0];
    assert_eq!((&exchange["number"], &exchange["announced_bytes"]), (&2.into(), &500_000.into()));
    assert_eq!(
        (&shown["clients"][0]["client"], &exchange["class"]),
        (&"127.0.0.1".into(), &"interactive".into())
    );
    let text = home.run(&["top", "--once", "--sort", "bytes"]);
    assert!(text.contains(&origin.url("/large")) && text.contains("127.0.0.1"), "{text}");
    assert_eq!(home.run(&["top", "class", "2", "bulk"]), "exchange 2 is bulk now\n");
    assert!(home.run(&["top"]).contains("  bulk  "), "it looks once where no terminal is");
    assert_eq!(home.run(&["top", "stop", "2"]), "broke 1 exchange off\n");
    let line = lines.next().expect("a line").expect("text");
    assert!(line.ends_with("cut short by the operator"), "{line}");
    assert_eq!(home.fail(&["top", "stop", "2"], 1), "bentpipe: no such exchange is under way");
    drop(served);
    assert!(lines.next().is_none(), "it ends with the proxy");
    assert!(tail.wait().expect("an end").success());
    let mut said = String::new();
    tail.stderr.take().expect("its errors").read_to_string(&mut said).expect("text");
    assert_eq!(said, "bentpipe: the proxy has ended\n");
}
