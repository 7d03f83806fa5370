//! Connections that rest between requests, for so long that nothing is kept of them but their sockets: whatever comes after a
//! rest, or around one, is served as if there had been none (RFC 9112 §9.3).

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use testkit::client::{Client, Request};
use testkit::origin::{Origin, Received};
use testkit::reply::Reply;
use tokio::net::TcpListener;

use crate::metrics::{samples, scrape};
use crate::name_server::pass;
use crate::proxy::{Running, start};

/// Enough for anything that happens at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// Lets `time` pass at once, after everything that is under way has happened, and what follows from it, too.
async fn rest(time: u64) {
    everything().await;
    pass(Duration::from_secs(time)).await;
    everything().await;
}

async fn everything() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// An origin whose content is what was asked for, and a proxy with `flags`.
async fn scene(flags: &[&str]) -> (Origin, Running) {
    let echo = |request: &Received| {
        Some(Reply::new(200).field("cache-control", "no-store").body(request.target.clone()))
    };
    (Origin::with_handler(echo).await.expect("an origin"), start(flags).await)
}

async fn next(client: &mut Client) -> String {
    let response = tokio::time::timeout(PATIENCE, client.receive("GET")).await.expect("in time");
    response.expect("a response").text()
}

async fn ask(client: &mut Client, origin: &Origin) {
    client.send(&Request::new("GET", &origin.url("/asked")).to_bytes()).await.expect("sent");
    assert_eq!(next(client).await, "/asked");
}

#[tokio::test]
async fn a_head_may_come_in_two_pieces_around_a_rest() {
    let (origin, proxy) = scene(&[]).await;
    let mut client = proxy.connect().await;
    rest(2).await;
    let request = Request::new("GET", &origin.url("/cut")).to_bytes();
    for cut in [0, 1, 20, request.len() - 1] {
        for before in [0, 2] {
            rest(before).await;
            let (first, second) = request.split_at(cut);
            client.send(first).await.expect("sent");
            rest(2).await;
            client.send(second).await.expect("sent");
            assert_eq!(next(&mut client).await, "/cut", "{cut} after {before} s");
        }
    }
    assert_eq!(origin.requests().len(), 8);
}

#[tokio::test]
async fn what_comes_at_once_after_a_rest_is_answered_in_order() {
    let (origin, proxy) = scene(&[]).await;
    let mut client = proxy.connect().await;
    let get = |target: &str| Request::new("GET", &origin.url(target)).to_bytes();
    let long = Request::new("GET", &origin.url("/long")).field("x-long", &"x".repeat(10_000)).to_bytes();
    let post = Request::new("POST", &origin.url("/post")).body(vec![b'p'; 20_000]).to_bytes();
    for _ in 0..3 {
        client.send(&[get("/1"), post.clone(), long.clone(), get("/2")].concat()).await.expect("sent");
        for expected in ["/1", "/post", "/long", "/2"] {
            assert_eq!(next(&mut client).await, expected);
        }
        rest(2).await;
    }
    let posts = origin.requests().into_iter().filter(|request| request.method == "POST");
    assert!(posts.map(|request| request.body.len()).eq([20_000; 3]));
}

#[tokio::test]
async fn what_is_no_request_is_told_so_after_a_rest_too() {
    let (origin, proxy) = scene(&[]).await;
    let mut client = proxy.connect().await;
    ask(&mut client, &origin).await;
    rest(2).await;
    client.send(b"\x01\r\n\r\n").await.expect("sent");
    assert!(next(&mut client).await.contains("not an HTTP request"));
    assert!(client.receive_rest().await.expect("the end").is_empty());
}

#[tokio::test]
async fn a_tunnel_may_begin_after_a_rest() {
    let (origin, proxy) = scene(&[]).await;
    let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let authority = server.local_addr().expect("an address").to_string();
    let mut client = proxy.connect().await;
    ask(&mut client, &origin).await;
    rest(2).await;
    assert_eq!(client.tunnel(&authority).await.expect("an answer").status, 200);
    client.send(b"up").await.expect("sent");
    let (stream, _) = server.accept().await.expect("a connection");
    let mut up = [0; 2];
    while stream.peek(&mut up).await.expect("what was sent") < 2 {}
    assert_eq!(&up, b"up");
    rest(2).await;
    stream.try_write(b"down").expect("sent");
    assert_eq!(client.receive_exactly(4).await.expect("all of it"), b"down");
}

/// Slowloris, once more: a rest is no way around the limit.
#[tokio::test]
async fn the_time_for_a_head_is_the_same_with_a_rest() {
    let (origin, proxy) = scene(&["--set", "timeouts.request_head=30s"]).await;
    for asks in [false, true] {
        for piece in ["", "G", "GET http://"] {
            let mut client = proxy.connect().await;
            if asks {
                ask(&mut client, &origin).await;
            }
            rest(20).await;
            client.send(piece.as_bytes()).await.expect("sent");
            rest(8).await;
            let mut end = pin!(client.receive_rest());
            let is_over = std::future::poll_fn(|cx| Poll::Ready(end.as_mut().poll(cx).is_ready())).await;
            assert!(!is_over, "{piece:?} had 30 s");
            rest(3).await;
            let end = tokio::time::timeout(PATIENCE, end).await.expect("it is ended");
            assert!(end.unwrap_or_default().is_empty(), "{piece:?}");
        }
    }
}

#[tokio::test]
async fn leaving_waits_for_nobody_who_rests() {
    let (origin, proxy) = scene(&[]).await;
    let (mut asked, mut silent) = (proxy.connect().await, proxy.connect().await);
    ask(&mut asked, &origin).await;
    rest(2).await;
    let leaving = tokio::spawn(proxy.stop());
    for client in [&mut asked, &mut silent] {
        let rest = tokio::time::timeout(PATIENCE, client.receive_rest()).await.expect("it is ended");
        assert!(rest.expect("an orderly end").is_empty());
    }
    drop((asked, silent));
    tokio::time::timeout(PATIENCE, leaving).await.expect("soon").expect("the end of the proxy");
}

/// Waits until so many connections are active and idle.
async fn wait_for_counts(proxy: &Running, active: f64, idle: f64) {
    let counted = async {
        loop {
            let samples = samples(&scrape(proxy, "*/*").await.1);
            let of = |state| {
                samples[&format!(r#"bentpipe_client_connections{{protocol="http1",state="{state}"}}"#)]
            };
            if (of("active"), of("idle")) == (active, idle) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.expect("these counts");
}

#[tokio::test]
async fn one_that_rests_is_counted_and_keeps_its_place_until_it_ends() {
    let (origin, proxy) = scene(&["--set", "limits.connections_per_client=2"]).await;
    let (mut asked, silent) = (proxy.connect().await, proxy.connect().await);
    ask(&mut asked, &origin).await;
    rest(2).await;
    wait_for_counts(&proxy, 0.0, 2.0).await;
    let refused = Client::connect(proxy.address()).await.expect("a connection").receive("GET").await;
    assert_eq!(refused.expect("an answer").status, 429);
    ask(&mut asked, &origin).await;
    rest(2).await;
    drop((asked, silent));
    wait_for_counts(&proxy, 0.0, 0.0).await;
    ask(&mut proxy.connect().await, &origin).await;
}
