//! CONNECT tunnels and upgraded connections: bytes both ways, half-close, refusals.

use testkit::client::Request;
use testkit::origin::Origin;
use testkit::reply::Reply;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::proxy::start;

#[tokio::test]
async fn a_tunnel_carries_bytes_both_ways_and_passes_half_close_on() {
    let proxy = start(&[]).await;
    let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let authority = server.local_addr().expect("an address").to_string();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = server.accept().await.expect("a connection");
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.expect("the client's end");
        stream.write_all(b"got ").await.expect("sent");
        stream.write_all(&received).await.expect("sent");
    });
    let mut client = proxy.connect().await;
    let opened = client.tunnel(&authority).await.expect("an answer");
    assert_eq!(opened.status, 200);
    assert!(opened.field("content-length").is_none() && opened.field("transfer-encoding").is_none());
    let up = vec![b'u'; 300_000];
    client.send(&up).await.expect("sent");
    client.finish().await.expect("half-closed");
    let back = client.receive_rest().await.expect("the answer after the client's end");
    assert_eq!(back, [b"got ".as_slice(), &up].concat());
    serving.await.expect("the server");
}

#[tokio::test]
async fn http_inside_a_tunnel_is_left_alone() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    origin.on("GET", "/inside", Reply::new(404).body("as it was sent"));
    let mut client = proxy.connect().await;
    assert_eq!(client.tunnel(&origin.address().to_string()).await.expect("an answer").status, 200);
    client.send(&Request::new("GET", "/inside").field("host", "inside").to_bytes()).await.expect("sent");
    let response = client.receive("GET").await.expect("a response");
    assert_eq!((response.status, response.text().as_str()), (404, "as it was sent"));
    assert!(response.field("cache-status").is_none());
}

#[tokio::test]
async fn a_tunnel_goes_on_upwards_after_the_origin_has_ended() {
    let proxy = start(&["--link", "unlimited/8M"]).await;
    let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let authority = server.local_addr().expect("an address").to_string();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = server.accept().await.expect("a connection");
        stream.shutdown().await.expect("half-closed");
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.expect("the client's end");
        received.len()
    });
    let mut client = proxy.connect().await;
    assert_eq!(client.tunnel(&authority).await.expect("an answer").status, 200);
    assert!(client.receive_rest().await.expect("the origin's end").is_empty());
    client.send(&vec![b'u'; 500_000]).await.expect("sent");
    client.finish().await.expect("half-closed");
    assert_eq!(serving.await.expect("the server"), 500_000);
}

#[tokio::test]
async fn a_websocket_handshake_switches_both_sides() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    origin.on("GET", "/chat", Reply::upgrade("websocket").field("sec-websocket-accept", "x"));
    let mut client = proxy.connect().await;
    let handshake = Request::new("GET", &origin.url("/chat"))
        .field("connection", "keep-alive, Upgrade")
        .field("upgrade", "websocket")
        .field("sec-websocket-key", "k");
    client.send(&handshake.to_bytes()).await.expect("sent");
    let head = client.receive_head().await.expect("a head");
    assert!(head.start_line.starts_with("HTTP/1.1 101"), "{}", head.start_line);
    assert_eq!(head.fields.value("upgrade"), Some("websocket"));
    assert!(head.fields.lists("connection", "upgrade"));
    client.send(b"ping").await.expect("sent");
    assert_eq!(client.receive_exactly(4).await.expect("the echo"), b"ping");
    client.finish().await.expect("half-closed");
    assert!(client.receive_rest().await.expect("the end").is_empty());
}

#[tokio::test]
async fn connect_is_refused_where_it_may_not_go() {
    let proxy = start(&[]).await;
    let refused = |authority: &'static str| {
        let proxy = &proxy;
        async move { proxy.connect().await.tunnel(authority).await.expect("an answer") }
    };
    let forbidden = refused("127.0.0.2:443").await;
    assert_eq!(forbidden.status, 403);
    assert!(forbidden.text().contains("--allow-destination"));
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let unanswered = proxy.connect().await.tunnel(&gone.to_string()).await.expect("an answer");
    assert_eq!(unanswered.status, 502);
    assert!(unanswered.field("proxy-status").expect("a Proxy-Status").contains("connection_refused"));
}

#[tokio::test]
async fn connect_reaches_only_the_ports_that_are_open_to_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_string_lossy().into_owned();
    let flags = [
        "--listen",
        "127.0.0.1:0",
        "--cache-dir",
        &path,
        "--control",
        "off",
        "--allow-destination",
        "127.0.0.1",
    ];
    let config = bentpipe::Config::from_flags(flags).expect("flags");
    let proxy = bentpipe::serve::Proxy::start(config, bentpipe::Clock::manual()).await.expect("a proxy");
    let mut client = testkit::client::Client::connect(proxy.local_address()).await.expect("a connection");
    let refused = client.tunnel("127.0.0.1:25").await.expect("an answer");
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("connect_ports"));
    proxy.shutdown().await;
}
