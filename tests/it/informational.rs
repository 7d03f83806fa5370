//! Interim responses (RFC 9110 §15.2) on their way from the origin to the client, with real sockets: which arrive, when,
//! and between which bytes.

use std::time::Duration;

use testkit::client::{Client, Request, Response};
use testkit::message::Fields;
use testkit::origin::Origin;
use testkit::reply::{Gate, Reply};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::proxy::{Running, start};

async fn pair(flags: &[&str]) -> (Origin, Running) {
    (Origin::start().await.expect("an origin"), start(flags).await)
}

fn link(target: &str) -> Fields {
    [("link", target)].into_iter().collect()
}

/// Something that should not be waited for long if the test fails.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("in time")
}

async fn ask(client: &mut Client, url: &str) {
    client.send(&Request::new("GET", url).to_bytes()).await.expect("sent");
}

async fn receive(client: &mut Client) -> Response {
    soon(client.receive("GET")).await.expect("a response")
}

/// The first line and the Link field of the next head.
async fn next_head(client: &mut Client) -> (String, Option<String>) {
    let head = soon(client.receive_head()).await.expect("a head");
    (head.start_line.clone(), head.fields.value("link").map(str::to_owned))
}

fn early(target: &str) -> (String, Option<String>) {
    ("HTTP/1.1 103 Early Hints".to_owned(), Some(target.to_owned()))
}

#[tokio::test]
async fn an_early_hint_arrives_while_the_origin_still_works() {
    let (origin, proxy) = pair(&[]).await;
    let gate = Gate::closed();
    let hop: Fields = [
        ("link", "</a.css>; rel=preload"),
        ("Connection", "x-hop"),
        ("X-Hop", "1"),
        ("Keep-Alive", "timeout=5"),
        ("X-Other", "2"),
    ]
    .into_iter()
    .collect();
    origin.on("GET", "/", Reply::new(200).body("page").interim(103, hop).wait(&gate));
    let mut client = proxy.connect().await;
    ask(&mut client, &origin.url("/")).await;
    let head = soon(client.receive_head()).await.expect("an interim response");
    assert_eq!(head.start_line, "HTTP/1.1 103 Early Hints");
    assert_eq!(head.fields.value("link"), Some("</a.css>; rel=preload"));
    assert_eq!(head.fields.value("x-other"), Some("2"));
    let via = head.fields.value("via").expect("a Via").to_owned();
    assert_eq!(head.fields.len(), 3, "{}", head.fields);
    gate.open();
    let response = receive(&mut client).await;
    assert_eq!((response.text().as_str(), response.interim.len()), ("page", 0));
    assert_eq!(response.field("via"), Some(via.as_str()));
}

#[tokio::test]
async fn several_arrive_in_order_each_at_its_time() {
    let (origin, proxy) = pair(&[]).await;
    let (first, second) = (Gate::closed(), Gate::closed());
    let reply = Reply::new(200).interim(103, link("<1>")).interim(103, link("<2>")).wait(&first);
    origin.on("GET", "/", reply.interim(199, link("<3>")).wait(&second).interim(103, link("<4>")).body("x"));
    let mut client = proxy.connect().await;
    ask(&mut client, &origin.url("/")).await;
    assert_eq!(next_head(&mut client).await, early("<1>"));
    assert_eq!(next_head(&mut client).await, early("<2>"));
    first.open();
    // A status that nobody has registered is passed on too.
    assert_eq!(next_head(&mut client).await, ("HTTP/1.1 199 ".to_owned(), Some("<3>".to_owned())));
    second.open();
    // This one comes in the same moment as the final response, and before it.
    assert_eq!(next_head(&mut client).await, early("<4>"));
    assert_eq!(receive(&mut client).await.text(), "x");
}

#[tokio::test]
async fn a_kept_connection_has_them_for_each_request_of_its_own() {
    let (origin, proxy) = pair(&[]).await;
    let mut client = proxy.connect().await;
    for number in 0..5 {
        let (path, gate) = (format!("/{number}"), Gate::closed());
        let target = format!("<{number}>");
        let reply = Reply::new(200).interim(103, link(&target)).wait(&gate).body(path.clone());
        origin.on("GET", &path, reply);
        origin.on("GET", "/plain", Reply::new(200).field("cache-control", "no-store").body("plain"));
        ask(&mut client, &origin.url(&path)).await;
        assert_eq!(next_head(&mut client).await, early(&target));
        gate.open();
        assert_eq!(receive(&mut client).await.text(), path);
        ask(&mut client, &origin.url("/plain")).await;
        let plain = receive(&mut client).await;
        assert_eq!((plain.text().as_str(), plain.interim.len()), ("plain", 0));
    }
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_none() {
    let (origin, proxy) = pair(&[]).await;
    origin.on(
        "GET",
        "/",
        Reply::new(200).interim(103, link("<a>")).interim(102, Fields::default()).body("x"),
    );
    let mut client = proxy.connect().await;
    let request = format!("GET {} HTTP/1.0\r\nhost: {}\r\n\r\n", origin.url("/"), origin.address());
    client.send(request.as_bytes()).await.expect("sent");
    let response = receive(&mut client).await;
    assert_eq!((response.status, response.text().as_str(), response.interim.len()), (200, "x", 0));
}

#[tokio::test]
async fn between_pipelined_requests_they_stand_where_they_belong() {
    let (origin, proxy) = pair(&[]).await;
    // The first is more than sockets hold, and comes from the store; nobody reads it yet.
    let large = vec![b'l'; 8_000_000];
    let cacheable = Reply::new(200).field("cache-control", "max-age=600");
    origin.on("GET", "/large", cacheable.body(large));
    assert_eq!(proxy.get(&origin.url("/large")).await.body.len(), 8_000_000);
    let gate = Gate::closed();
    origin.on("GET", "/b", Reply::new(200).interim(103, link("<b>")).wait(&gate).body("b"));
    origin.on("GET", "/c", Reply::new(200).interim(103, link("<c>")).body("c"));
    let mut client = proxy.connect().await;
    let all: Vec<_> = ["/large", "/b", "/large", "/c", "/b"]
        .into_iter()
        .flat_map(|path| Request::new("GET", &origin.url(path)).to_bytes())
        .collect();
    origin.on("GET", "/b", Reply::new(200).body("again"));
    client.send(&all).await.expect("sent");
    let first = receive(&mut client).await;
    assert_eq!((first.body.len(), first.interim.len()), (8_000_000, 0));
    assert!(first.body.iter().all(|byte| *byte == b'l'));
    assert_eq!(next_head(&mut client).await, early("<b>"));
    gate.open();
    assert_eq!(receive(&mut client).await.text(), "b");
    let third = receive(&mut client).await;
    assert_eq!((third.body.len(), third.interim.len()), (8_000_000, 0));
    let fourth = receive(&mut client).await;
    assert_eq!((fourth.text().as_str(), fourth.interim.len()), ("c", 1));
    let fifth = receive(&mut client).await;
    assert_eq!((fifth.text().as_str(), fifth.interim.len()), ("again", 0));
}

#[tokio::test]
async fn processing_keeps_a_long_wait_alive() {
    // Longer without a word than the proxy waits for an origin, and never silent for so long.
    let (origin, proxy) = pair(&["--set", "timeouts.idle=300ms"]).await;
    let gates: Vec<_> = std::iter::repeat_with(Gate::closed).take(12).collect();
    let reply = Reply::new(207).interim(102, Fields::default());
    let reply = gates.iter().fold(reply, |reply, gate| reply.wait(gate).interim(102, Fields::default()));
    origin.on("PROPFIND", "/", reply.body("done"));
    let mut client = proxy.connect().await;
    client.send(&Request::new("PROPFIND", &origin.url("/")).to_bytes()).await.expect("sent");
    let mut clock = tokio::time::interval(Duration::from_millis(100));
    for gate in &gates {
        let head = soon(client.receive_head()).await.expect("an interim response");
        assert_eq!(head.start_line, "HTTP/1.1 102 Processing");
        clock.tick().await;
        gate.open();
    }
    let response = soon(client.receive("PROPFIND")).await.expect("a response");
    assert_eq!((response.status, response.text().as_str(), response.interim.len()), (207, "done", 1));
}

#[tokio::test]
async fn a_flood_of_them_is_given_up() {
    let (origin, proxy) = pair(&[]).await;
    let many = |count| {
        let reply = Reply::new(200).field("cache-control", "max-age=60").body("at last");
        (0..count).fold(reply, |reply, _| reply.interim(103, link("<a>")))
    };
    origin.on("GET", "/many", many(900));
    origin.on("GET", "/flood", many(1100));
    let mut client = proxy.connect().await;
    for (path, status, error) in [("/many", 200, None), ("/flood", 502, Some("http_protocol_error"))] {
        ask(&mut client, &origin.url(path)).await;
        let response = receive(&mut client).await;
        assert_eq!(response.status, status, "{path}");
        let said = response.field("proxy-status");
        assert_eq!(said.is_some_and(|said| said.contains("error=http_protocol_error")), error.is_some());
        assert!((16..=1000).contains(&response.interim.len()), "{}", response.interim.len());
    }
}

#[tokio::test]
async fn an_origin_that_sends_nothing_else_for_ever_is_given_up_and_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let flooding = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let many = b"HTTP/1.1 102 Processing\r\n\r\n".repeat(100);
        while stream.write_all(&many).await.is_ok() {}
    });
    let proxy = start(&[]).await;
    let mut client = proxy.connect().await;
    ask(&mut client, &url).await;
    assert_eq!(receive(&mut client).await.status, 502);
    soon(flooding).await.expect("the proxy hung up");
}

#[tokio::test]
async fn a_client_that_reads_nothing_does_not_hold_the_origin() {
    let (origin, proxy) = pair(&[]).await;
    let reply = Reply::new(200).field("cache-control", "max-age=60").body("page");
    let large = "x".repeat(7_000);
    origin.on("GET", "/", (0..140).fold(reply, |reply, _| reply.interim(103, link(&large))));
    let mut slow = proxy.connect().await;
    ask(&mut slow, &origin.url("/")).await;
    // The response is there for another although the first client has read none of a megabyte of hints.
    let other = soon(proxy.get(&origin.url("/"))).await;
    assert_eq!((other.text().as_str(), other.interim.len()), ("page", 0));
    let response = receive(&mut slow).await;
    assert_eq!(response.text(), "page");
    assert!(response.interim.iter().all(|head| head.fields.value("link") == Some(&large)));
    assert_eq!(origin.request_count(), 1);
}

#[tokio::test]
async fn they_are_not_stored() {
    let (origin, proxy) = pair(&[]).await;
    let cacheable = Reply::new(200).field("cache-control", "max-age=60").field("etag", "\"v\"");
    origin.on("GET", "/", cacheable.interim(103, link("<a>")).body("page"));
    let first = proxy.get(&origin.url("/")).await;
    assert_eq!((first.text().as_str(), first.interim.len()), ("page", 1));
    let second = proxy.get(&origin.url("/")).await;
    assert_eq!((second.text().as_str(), second.interim.len()), ("page", 0));
    assert!(second.field("cache-status").is_some_and(|said| said.contains("hit")));
    assert!(!second.fields.has("link"));
    // Those before a 304 go to the client whose request caused it.
    proxy.clock.advance(Duration::from_secs(90));
    origin.on("GET", "/", Reply::new(304).field("etag", "\"v\"").interim(103, link("<b>")));
    let third = proxy.get(&origin.url("/")).await;
    assert_eq!((third.text().as_str(), third.interim.len()), ("page", 1));
    assert_eq!(origin.request_count(), 2);
}

#[tokio::test]
async fn a_follower_gets_none() {
    let (origin, proxy) = pair(&[]).await;
    let gate = Gate::closed();
    let reply = Reply::new(200).field("cache-control", "max-age=60").body("page");
    origin.on("GET", "/", reply.interim(103, link("<a>")).wait(&gate));
    let mut leader = proxy.connect().await;
    ask(&mut leader, &origin.url("/")).await;
    assert_eq!(next_head(&mut leader).await, early("<a>"));
    let mut follower = proxy.connect().await;
    ask(&mut follower, &origin.url("/")).await;
    gate.open();
    assert_eq!(receive(&mut leader).await.text(), "page");
    let followed = receive(&mut follower).await;
    assert_eq!((followed.text().as_str(), followed.interim.len()), ("page", 0));
    assert_eq!(origin.request_count(), 1);
}

#[tokio::test]
async fn they_go_with_an_expectation_and_with_an_upload() {
    let (origin, proxy) = pair(&[]).await;
    let gate = Gate::closed();
    let reply = Reply::new(201).interim(102, Fields::default()).wait(&gate);
    origin.on("PUT", "/", reply.interim(103, link("<a>")));
    let put = Request::new("PUT", &origin.url("/")).field("expect", "100-continue");
    let mut client = proxy.connect().await;
    client.send(&put.field("content-length", "5").to_bytes()).await.expect("sent");
    assert_eq!(next_head(&mut client).await.0, "HTTP/1.1 100 Continue");
    client.send(b"hello").await.expect("sent");
    assert_eq!(next_head(&mut client).await.0, "HTTP/1.1 102 Processing");
    gate.open();
    let response = soon(client.receive("PUT")).await.expect("a response");
    assert_eq!((response.status, response.interim.len()), (201, 1));
    assert_eq!(origin.requests()[0].body, b"hello");
}

#[tokio::test]
async fn they_come_before_a_switch_of_protocols_and_not_after() {
    let (origin, proxy) = pair(&[]).await;
    origin.on("GET", "/chat", Reply::upgrade("echo").interim(103, link("<a>")));
    let handshake =
        Request::new("GET", &origin.url("/chat")).field("connection", "upgrade").field("upgrade", "echo");
    let mut client = proxy.connect().await;
    client.send(&handshake.to_bytes()).await.expect("sent");
    assert_eq!(next_head(&mut client).await, early("<a>"));
    assert!(next_head(&mut client).await.0.starts_with("HTTP/1.1 101"));
    client.send(b"HTTP/1.1 103 Early Hints\r\n\r\n").await.expect("sent");
    assert_eq!(soon(client.receive_exactly(28)).await.expect("an echo"), b"HTTP/1.1 103 Early Hints\r\n\r\n");
}

#[tokio::test]
async fn an_origin_that_breaks_off_after_one_is_not_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let origin = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut heard = [0; 1024];
        for said in
            ["HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\n"]
        {
            assert!(stream.read(&mut heard).await.expect("a request") > 0);
            stream.write_all(said.as_bytes()).await.expect("sent");
        }
        drop(stream);
        listener
    });
    let proxy = start(&[]).await;
    let mut client = proxy.connect().await;
    for status in [200, 502] {
        ask(&mut client, &url).await;
        let response = receive(&mut client).await;
        assert_eq!((response.status, response.interim.len()), (status, usize::from(status == 502)));
    }
    let listener = soon(origin).await.expect("both were asked on one connection");
    let again = std::future::poll_fn(|cx| std::task::Poll::Ready(listener.poll_accept(cx).is_ready())).await;
    assert!(!again);
}
