//! Parent proxies: requests in absolute-form and tunnels through an HTTP proxy, everything through SOCKS 5, who is told
//! which password, and what happens when a parent is out of reach or says no.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bentpipe::Config;
use serde_json::Value;
use testkit::client::{Request, Response};
use testkit::origin::Origin;
use testkit::reply::Reply;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

use crate::control::ask;
use crate::proxy::{Running, start};

/// A proxy behind the parent at `url`, for whatever is asked of it.
async fn start_behind(url: &str, flags: &[&str]) -> Running {
    let fixed = ["--set=no_parent=", "--parent", url];
    start(&fixed.iter().chain(flags).copied().collect::<Vec<_>>()).await
}

async fn origin() -> Origin {
    let origin = Origin::start().await.expect("an origin");
    origin.always("GET", "/", Reply::new(200).field("cache-control", "no-store").body("here"));
    origin
}

/// A port of this machine where nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address")
}

/// Bytes that came down the link of `proxy`.
async fn came_down(proxy: &Running) -> u64 {
    let link: Value = ask(proxy, "GET", "/v1/link", "").await;
    link["down"].as_u64().expect("bytes")
}

fn check_status(response: &Response, status: u16, parts: &[&str]) {
    let said = response.field("proxy-status").expect("a Proxy-Status");
    assert_eq!(response.status, status, "{said}");
    assert!(parts.iter().all(|part| said.contains(part)), "{said}");
}

#[tokio::test]
async fn requests_tunnels_and_upgrades_pass_through_an_http_parent() {
    let (origin, parent) = (origin().await, start(&["--set=admission.users=ann:open sesame"]).await);
    let url = format!("http://ann:open%20sesame@{}", parent.address());
    let proxy = start_behind(&url, &[]).await;
    let credentials = Request::new("GET", &origin.url("/")).field("proxy-authorization", "Basic eDp5");
    assert_eq!(proxy.request(&credentials).await.text(), "here");
    let received = &origin.requests()[0];
    assert!(!received.fields.has("proxy-authorization"), "neither ours nor the client's");
    let via = received.fields.values("via").join(", ");
    assert_eq!(via.matches("bentpipe-").count(), 2, "{via}");
    let before = came_down(&parent).await;
    assert!(before > 0, "the parent fetched it");

    let mut tunnel = proxy.connect().await;
    assert_eq!(tunnel.tunnel(&origin.address().to_string()).await.expect("an answer").status, 200);
    let inside = Request::new("GET", "/").field("host", "inside");
    assert_eq!(tunnel.request(&inside).await.expect("a response").text(), "here");
    drop(tunnel);

    origin.on("GET", "/chat", Reply::upgrade("websocket"));
    let mut client = proxy.connect().await;
    let upgrade = Request::new("GET", &origin.url("/chat"))
        .field("connection", "upgrade")
        .field("upgrade", "websocket");
    client.send(&upgrade.to_bytes()).await.expect("sent");
    let head = client.receive_head().await.expect("a head");
    assert!(head.start_line.starts_with("HTTP/1.1 101"), "{}", head.start_line);
    client.send(b"ping").await.expect("sent");
    assert_eq!(client.receive_exactly(4).await.expect("the echo"), b"ping");
    assert!(came_down(&parent).await > before, "so did the others");
}

#[tokio::test]
async fn all_origins_share_the_connections_to_an_http_parent() {
    // What a parent gets is in absolute-form (RFC 9112 §3.2.2).
    let parent = Origin::start().await.expect("a parent");
    let proxy = start_behind(&parent.url("").replace("http://", "http://ann:pw@"), &[]).await;
    let targets = ["http://one.example/a?b", "http://two.example:8080/"];
    for (target, path) in targets.into_iter().zip(["/a?b", "/"]) {
        parent.on("GET", path, Reply::new(200).field("cache-control", "no-store").body("through"));
        assert_eq!(proxy.get(target).await.text(), "through");
    }
    let received = parent.requests();
    assert_eq!(received.iter().map(|request| request.connection).collect::<Vec<_>>(), [0, 0]);
    assert_eq!(received.iter().map(|request| request.target.as_str()).collect::<Vec<_>>(), targets);
    for (request, host) in received.iter().zip(["one.example", "two.example:8080"]) {
        assert_eq!(request.fields.value("host"), Some(host));
        assert_eq!(request.fields.values("proxy-authorization"), ["Basic YW5uOnB3"]);
    }
}

#[tokio::test]
async fn names_are_the_parents_to_resolve_and_what_names_an_address_is_judged_here() {
    let origin = origin().await;
    let parent = start(&["--set=dns.hosts=far.example=127.0.0.1"]).await;
    let url = format!("http://{}", parent.address());
    let proxy = start_behind(&url, &[]).await;
    let port = origin.address().port();
    assert_eq!(proxy.get(&format!("http://far.example:{port}/")).await.text(), "here");
    for host in ["127.0.0.2", "0x7f.2", "[::1]", "169.254.169.254", "localhost"] {
        let refused = proxy.get(&format!("http://{host}:{port}/")).await;
        check_status(&refused, 403, &["destination_ip_prohibited"]);
        assert!(refused.field("proxy-status").is_some_and(|said| !said.contains("next-hop")), "{host}");
    }
    let port = proxy.connect().await.tunnel("far.example:25").await.expect("an answer");
    assert!(port.status == 403 && port.text().contains("connect_ports"));
}

#[tokio::test]
async fn what_a_parent_says_against_it_is_told_as_its_words() {
    let (origin, parent) = (origin().await, start(&["--set=admission.users=ann:sesame"]).await);
    let proxy = start_behind(&format!("http://ann:wrong@{}", parent.address()), &[]).await;
    let next_hop = format!("next-hop=\"{}\"", parent.address());
    let parts = ["http_request_denied", "407", &next_hop];
    let refused = proxy.get(&origin.url("/")).await;
    check_status(&refused, 502, &parts);
    assert!(refused.field("proxy-authenticate").is_none(), "it is not for the client to answer");
    let tunnel = proxy.connect().await.tunnel(&origin.address().to_string()).await.expect("an answer");
    check_status(&tunnel, 502, &parts);

    let scripted = Origin::start().await.expect("a parent");
    let proxy = start_behind(&scripted.url(""), &[]).await;
    for (status, error) in [(403, "http_request_denied"), (502, "destination_unavailable")] {
        scripted.on("CONNECT", "a.example:443", Reply::new(status));
        let refused = proxy.connect().await.tunnel("a.example:443").await.expect("an answer");
        check_status(&refused, 502, &[error, &status.to_string(), "next-hop"]);
    }
    assert!(scripted.requests()[0].fields.value("via").is_some_and(|via| via.contains("bentpipe-")));
    scripted.on("CONNECT", "a.example:443", Reply::raw("SSH-2.0-none\r\n\r\n"));
    let refused = proxy.connect().await.tunnel("a.example:443").await.expect("an answer");
    check_status(&refused, 502, &["http_protocol_error", "next-hop"]);
}

#[tokio::test]
async fn a_parent_out_of_reach_is_an_error_unless_direct_connections_are_allowed() {
    let (origin, gone) = (origin().await, nobody().await);
    for url in [format!("http://{gone}"), format!("socks5://{gone}")] {
        let proxy = start_behind(&url, &[]).await;
        let parts = ["connection_refused", &format!("next-hop=\"{gone}\"")];
        check_status(&proxy.get(&origin.url("/")).await, 502, &parts);
        let tunnel = proxy.connect().await.tunnel(&origin.address().to_string()).await.expect("an answer");
        check_status(&tunnel, 502, &parts);
        assert_eq!(origin.request_count(), 0);
    }
    for (count, url) in [format!("http://{gone}"), format!("socks5://{gone}")].iter().enumerate() {
        let proxy = start_behind(url, &["--set=parent_fallback=direct"]).await;
        assert_eq!(proxy.get(&origin.url("/")).await.text(), "here");
        let tunnel = proxy.connect().await.tunnel(&origin.address().to_string()).await.expect("an answer");
        assert_eq!((tunnel.status, origin.request_count()), (200, count + 1));
        // Whatever is reached directly is judged as if there were no parent.
        check_status(&proxy.get("http://127.0.0.2/").await, 403, &["destination_ip_prohibited"]);
    }
}

#[tokio::test]
async fn what_is_stored_serves_while_the_parent_is_out_of_reach() {
    let parent = Origin::start().await.expect("a parent");
    let proxy = start_behind(&parent.url(""), &[]).await;
    parent.on("GET", "/", Reply::new(200).field("cache-control", "max-age=60").body("stored"));
    assert_eq!(proxy.get("http://a.example/").await.text(), "stored");
    parent.stop().await;
    proxy.clock.advance(Duration::from_secs(61));
    let stale = proxy.get("http://a.example/").await;
    assert_eq!((stale.status, stale.text().as_str()), (200, "stored"));
    check_status(&proxy.get("http://b.example/").await, 502, &["connection_refused", "next-hop"]);
}

#[tokio::test]
async fn a_parent_that_answers_with_a_no_is_not_passed_over() {
    let (origin, parent) = (origin().await, start(&["--set=admission.users=ann:sesame"]).await);
    let proxy =
        start_behind(&format!("http://{}", parent.address()), &["--set=parent_fallback=direct"]).await;
    check_status(&proxy.get(&origin.url("/")).await, 502, &["http_request_denied"]);
    assert_eq!(origin.request_count(), 0);
}

#[tokio::test]
async fn content_goes_once_to_whoever_is_reached() {
    let (origin, gone) = (Origin::start().await.expect("an origin"), nobody().await);
    let proxy = start_behind(&format!("http://{gone}"), &["--set=parent_fallback=direct"]).await;
    origin.on("POST", "/up", Reply::new(200).body("thanks"));
    let upload = Request::new("POST", &origin.url("/up")).body(vec![b'u'; 100_000]);
    assert_eq!(proxy.request(&upload).await.text(), "thanks");
    assert_eq!(origin.requests()[0].body.len(), 100_000);
}

#[tokio::test]
async fn rules_and_exceptions_say_which_way() {
    let origin = origin().await;
    let parents = [Origin::start().await.expect("a parent"), Origin::start().await.expect("a parent")];
    let [one, other] = &parents;
    let rules = format!("--set=parent_rules=*.one.example={}", one.url(""));
    let url = other.url("");
    let exceptions = "--set=no_parent=127.0.0.0/8,near.example";
    let flags = ["--parent", &url, &rules, exceptions, "--set=dns.hosts=near.example=127.0.0.1"];
    let proxy = start(&flags).await;
    one.on("GET", "/", Reply::new(200).body("one"));
    other.on("GET", "/", Reply::new(200).body("other"));
    assert_eq!(proxy.get("http://a.one.example/").await.text(), "one");
    assert_eq!(proxy.get("http://one.example/").await.text(), "other");
    assert_eq!(proxy.get(&origin.url("/")).await.text(), "here");
    assert_eq!(proxy.get(&format!("http://near.example:{}/", origin.address().port())).await.text(), "here");
}

/// Carries whoever connects to it to `to`, once that is known.
async fn relay(to: Arc<Mutex<Option<SocketAddr>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let to = to.lock().await.expect("a destination");
            tokio::spawn(async move {
                let mut far = TcpStream::connect(to).await.expect("a connection");
                let _ = copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn proxies_in_a_circle_find_out_rfc9110_7_6_3() {
    let (origin, to) = (origin().await, Arc::default());
    let back = relay(Arc::clone(&to)).await;
    let second = start_behind(&format!("http://{back}"), &[]).await;
    let first = start_behind(&format!("http://{}", second.address()), &[]).await;
    *to.lock().await = Some(first.address());
    let response = first.get(&origin.url("/")).await;
    assert_eq!(response.status, 508);
    let tunnel = first.connect().await.tunnel(&origin.address().to_string()).await.expect("an answer");
    // Ours is the first of three answers, each of which is about the next.
    check_status(&tunnel, 502, &["destination_unavailable", "next-hop"]);
    assert_eq!(origin.request_count(), 0);
}

/// A SOCKS 5 proxy for one user, which knows one name and says what it was asked for.
async fn socks(known: &'static str, asked: Arc<Mutex<Vec<String>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve_socks(stream, known, Arc::clone(&asked)));
        }
    });
    address
}

async fn read<const N: usize>(stream: &mut TcpStream) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.expect("bytes");
    bytes
}

async fn read_text(stream: &mut TcpStream) -> String {
    let [length] = read(stream).await;
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await.expect("a text");
    String::from_utf8(bytes).expect("UTF-8")
}

async fn serve_socks(mut stream: TcpStream, known: &str, asked: Arc<Mutex<Vec<String>>>) {
    let [5, count] = read(&mut stream).await else { return };
    let mut methods = vec![0; usize::from(count)];
    stream.read_exact(&mut methods).await.expect("methods");
    if !methods.contains(&2) {
        stream.write_all(&[5, 0xff]).await.expect("sent");
        return;
    }
    stream.write_all(&[5, 2]).await.expect("sent");
    let [1] = read(&mut stream).await else { return };
    let (user, password) = (read_text(&mut stream).await, read_text(&mut stream).await);
    let right = (user.as_str(), password.as_str()) == ("ann", "sesame");
    stream.write_all(&[1, u8::from(!right)]).await.expect("sent");
    if !right {
        return;
    }
    let [5, 1, 0, kind] = read(&mut stream).await else { return };
    let host = match kind {
        1 => read::<4>(&mut stream).await.map(|byte| byte.to_string()).join("."),
        _ => read_text(&mut stream).await,
    };
    let port = u16::from_be_bytes(read(&mut stream).await);
    asked.lock().await.push(host.clone());
    if host != known && host != "127.0.0.1" {
        stream.write_all(&[5, 4, 0, 1, 0, 0, 0, 0, 0, 0]).await.expect("sent");
        return;
    }
    let mut far = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
    stream.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0]).await.expect("sent");
    let _ = copy_bidirectional(&mut stream, &mut far).await;
}

#[tokio::test]
async fn everything_passes_through_a_socks_5_parent_rfc1928() {
    let (origin, asked) = (origin().await, Arc::default());
    let address = socks("far.example", Arc::clone(&asked)).await;
    let proxy = start_behind(&format!("socks5://ann:sesame@{address}"), &[]).await;
    let far = format!("http://far.example:{}/", origin.address().port());
    assert_eq!(proxy.get(&far).await.text(), "here");
    assert_eq!(proxy.get(&far).await.text(), "here");
    let received = origin.requests();
    assert_eq!(
        (received[1].target.as_str(), received[1].connection),
        ("/", 0),
        "one connection, in origin-form"
    );
    let mut tunnel = proxy.connect().await;
    assert_eq!(tunnel.tunnel(&origin.address().to_string()).await.expect("an answer").status, 200);
    let inside = Request::new("GET", "/").field("host", "inside");
    assert_eq!(tunnel.request(&inside).await.expect("a response").text(), "here");
    let parts = ["destination_unavailable", "host unreachable", &format!("next-hop=\"{address}\"")];
    check_status(&proxy.get("http://nowhere.example/").await, 502, &parts);
    assert_eq!(*asked.lock().await, ["far.example", "127.0.0.1", "nowhere.example"]);
    check_status(&proxy.get("http://127.0.0.2/").await, 403, &["destination_ip_prohibited"]);
}

#[tokio::test]
async fn a_socks_5_parent_that_wants_another_password_says_so_rfc1929() {
    let (origin, asked) = (origin().await, Arc::default());
    let address = socks("far.example", Arc::clone(&asked)).await;
    for userinfo in ["", "ann:wrong@"] {
        let proxy = start_behind(&format!("socks5h://{userinfo}{address}"), &[]).await;
        check_status(&proxy.get(&origin.url("/")).await, 502, &["http_request_denied", "next-hop"]);
    }
    // A parent that does not speak it at all.
    let http = Origin::start().await.expect("a parent");
    let proxy =
        start_behind(&http.url("").replace("http", "socks5"), &["--set=timeouts.connect=200ms"]).await;
    check_status(&proxy.get(&origin.url("/")).await, 504, &["connection_timeout", "next-hop"]);
    assert!(asked.lock().await.is_empty());
}

#[test]
fn a_wrong_parent_is_told_without_its_password() {
    for flag in ["--parent=ftp://ann:sesame@p:1", "--set=parent_rules=a=http://ann:sesame@p"] {
        let error = Config::from_flags([flag]).expect_err("no parent").to_string();
        assert!(error.contains("expected direct, http://HOST:PORT") && !error.contains("sesame"), "{error}");
    }
    for (flag, expected) in [
        ("--set=parent_fallback=yes", "expected none or direct"),
        ("--set=no_parent=10.0.0.1/8", "expected no bits beyond the prefix"),
        ("--set=dns.hosts=a", "expected a name and its addresses"),
        ("--set=dns.servers=dns.example", "expected the address of a name server"),
        ("--set=dns.timeout=0s", "expected a time longer than 0s"),
    ] {
        let error = Config::from_flags([flag]).expect_err("wrong").to_string();
        assert!(error.contains(expected), "{error}");
    }
}
