//! Forwarding as RFC 9110 §7 and RFC 9112 want it, where a scenario file cannot say it: bytes on the wire, timing of
//! one message against another, connections.

use std::time::Duration;

use testkit::client::Request;
use testkit::message::{Ending, Fields};
use testkit::origin::Origin;
use testkit::reply::{Gate, Reply};

use crate::proxy::start;

#[tokio::test]
async fn options_for_the_whole_origin_goes_on_in_asterisk_form() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    origin.always("OPTIONS", "*", Reply::new(204));
    origin.always("OPTIONS", "/", Reply::new(204));
    let bare = format!("http://{}", origin.address());
    assert_eq!(proxy.request(&Request::new("OPTIONS", &bare)).await.status, 204);
    assert_eq!(proxy.request(&Request::new("OPTIONS", &origin.url("/"))).await.status, 204);
    let targets: Vec<_> = origin.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(targets, ["*", "/"]);
}

#[tokio::test]
async fn a_request_behind_an_options_keeps_its_own_target() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    origin.always("OPTIONS", "*", Reply::new(204));
    origin.on("GET", "/page", Reply::new(200).field("cache-control", "max-age=60").body("page"));
    let mut client = proxy.connect().await;
    let options = Request::new("OPTIONS", &format!("http://{}", origin.address()));
    let both = [options.to_bytes(), Request::new("GET", &origin.url("/page")).to_bytes()].concat();
    client.send(&both).await.expect("sent");
    assert_eq!(client.receive("OPTIONS").await.expect("a response").status, 204);
    assert_eq!(client.receive("GET").await.expect("a response").text(), "page");
    assert_eq!(origin.requests()[1].target, "/page");
}

#[tokio::test]
async fn transfer_encoding_beside_content_length_ends_the_connection() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    origin.on("POST", "/", Reply::new(200));
    let smuggling = Request::new("POST", &origin.url("/"))
        .field("content-length", "4")
        .field("transfer-encoding", "chunked")
        .body("5\r\nhello\r\n0\r\n\r\nGET http://elsewhere/ HTTP/1.1\r\nhost: elsewhere\r\n\r\n");
    let mut client = proxy.connect().await;
    client.send(&smuggling.to_bytes()).await.expect("sent");
    assert_eq!(client.receive("POST").await.expect("a response").status, 200);
    assert!(client.receive_rest().await.expect("the end").is_empty(), "nothing behind it is answered");
    let arrived = origin.requests().remove(0);
    assert_eq!((arrived.body.as_slice(), arrived.fields.has("content-length")), (b"hello".as_slice(), false));
}

#[tokio::test]
async fn content_that_was_not_asked_for_never_reaches_the_origin() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    let gate = Gate::closed();
    origin.on("PUT", "/no", Reply::new(401).body("denied").hold_after(3, &gate).before_contents());
    let mut client = proxy.connect().await;
    let expecting =
        Request::new("PUT", &origin.url("/no")).field("expect", "100-continue").field("content-length", "50");
    client.send(&expecting.to_bytes()).await.expect("sent");
    client.receive_head().await.expect("a final head");
    // Longer than the patience for an origin that knows nothing of 100 (Continue).
    tokio::time::timeout(Duration::from_millis(1500), std::future::pending::<()>())
        .await
        .expect_err("time passes");
    client.send(&[b'x'; 50]).await.expect("sent");
    gate.open();
    assert_eq!(client.receive_exactly(6).await.expect("the contents"), b"denied");
    assert!(origin.traffic()[0].read < 400, "none of it reached the origin");
}

#[tokio::test]
async fn a_listed_content_length_becomes_one() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    for (path, caching) in [("/stored", "max-age=60"), ("/passed", "no-store")] {
        let raw = format!("HTTP/1.1 200 OK\r\ncache-control: {caching}\r\ncontent-length: 5, 5\r\n\r\nhello");
        origin.on("GET", path, Reply::raw(raw));
        let response = proxy.get(&origin.url(path)).await;
        assert_eq!(
            (response.text().as_str(), response.field("content-length")),
            ("hello", Some("5")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_protocol_switch_is_not_answered_from_the_cache() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    origin.on(
        "GET",
        "/chat",
        Reply::new(200).field("cache-control", "max-age=0").field("etag", "\"v\"").body("page"),
    );
    assert_eq!(proxy.get(&origin.url("/chat")).await.text(), "page");
    origin.on("GET", "/chat", Reply::upgrade("websocket"));
    let handshake = Request::new("GET", &origin.url("/chat"))
        .field("connection", "upgrade")
        .field("upgrade", "websocket");
    let mut client = proxy.connect().await;
    client.send(&handshake.to_bytes()).await.expect("sent");
    let head = client.receive_head().await.expect("a head");
    assert!(head.start_line.starts_with("HTTP/1.1 101"), "{}", head.start_line);
}

#[tokio::test]
async fn max_forwards_ends_here_at_zero() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    origin.always("OPTIONS", "/", Reply::new(204));
    let trace = Request::new("TRACE", &origin.url("/a")).field("max-forwards", "0").field("cookie", "secret");
    let response = proxy.request(&trace).await;
    assert_eq!((response.status, response.field("content-type")), (200, Some("message/http")));
    assert!(response.text().contains("max-forwards: 0") && !response.text().contains("secret"));
    let options = |left: &str| Request::new("OPTIONS", &origin.url("/")).field("max-forwards", left);
    assert_eq!(proxy.request(&options("0")).await.status, 200);
    assert_eq!(proxy.request(&options("2")).await.status, 204);
    let arrived = origin.requests();
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0].fields.values("max-forwards"), ["1"]);
}

#[tokio::test]
async fn a_request_that_has_been_here_is_a_loop() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    origin.always("GET", "/", Reply::new(200));
    let via = proxy.get(&origin.url("/")).await.field("via").expect("a Via").to_owned();
    let again = Request::new("GET", &origin.url("/other")).field("via", &format!("1.1 elsewhere, {via}"));
    let response = proxy.request(&again).await;
    assert_eq!(response.status, 508);
    assert!(response.field("proxy-status").expect("a Proxy-Status").contains("proxy_loop_detected"));
    // Through itself for real, without a forged field: nobody is led there, whatever destinations are allowed.
    let itself = proxy.get(&format!("http://{}/elsewhere", proxy.address())).await;
    assert_eq!(itself.status, 403);
    let mut tunnel = proxy.connect().await;
    let nested = tunnel.tunnel(&proxy.address().to_string()).await.expect("an answer");
    assert_eq!(nested.status, 403);
}

#[tokio::test]
async fn contents_stream_both_ways_without_waiting_for_their_end() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    let gate = Gate::closed();
    origin.on("GET", "/slow", Reply::new(200).body(vec![b'x'; 1000]).hold_after(10, &gate));
    let mut client = proxy.connect().await;
    client.send(&Request::new("GET", &origin.url("/slow")).to_bytes()).await.expect("sent");
    client.receive_head().await.expect("a head before the end of the contents");
    assert_eq!(client.receive_exactly(10).await.expect("the first bytes"), [b'x'; 10]);
    gate.open();
    assert_eq!(client.receive_exactly(990).await.expect("the others").len(), 990);

    origin.on("POST", "/up", Reply::new(200));
    let head = Request::new("POST", &origin.url("/up")).field("content-length", "10");
    client.send(&head.to_bytes()).await.expect("sent");
    client.send(b"01234").await.expect("sent");
    let crossed_early = async {
        while !origin.traffic().iter().any(|each| each.read > 100) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), crossed_early)
        .await
        .expect("a head before the end of an upload");
    client.send(b"56789").await.expect("sent");
    assert_eq!(client.receive("POST").await.expect("a response").status, 200);
    assert_eq!(origin.requests().last().expect("a request").body, b"0123456789");
}

#[tokio::test]
async fn trailers_go_through_in_both_directions() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    let reply = Reply::new(200).field("trailer", "x-sum").body("hello").trailer("x-sum", "5");
    origin.on("POST", "/t", reply);
    let request = Request::new("POST", &origin.url("/t"))
        .field("te", "trailers")
        .field("connection", "te")
        .field("trailer", "x-up")
        .field("transfer-encoding", "chunked")
        .body("2\r\nhi\r\n0\r\nx-up: 1\r\n\r\n");
    let response = proxy.request(&request).await;
    assert_eq!((response.text().as_str(), response.trailers.value("x-sum")), ("hello", Some("5")));
    let arrived = origin.requests().remove(0);
    assert_eq!((arrived.body.as_slice(), arrived.trailers.value("x-up")), (b"hi".as_slice(), Some("1")));
}

#[tokio::test]
async fn an_expectation_is_answered_by_the_origin() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    let expecting = |path: &str| {
        let head = Request::new("PUT", &origin.url(path)).field("expect", "100-continue");
        head.field("content-length", "5").to_bytes()
    };
    // Refused: the contents are never asked for, and never cross.
    origin.on("PUT", "/no", Reply::new(417).before_contents());
    let mut client = proxy.connect().await;
    client.send(&expecting("/no")).await.expect("sent");
    let refused = client.receive("PUT").await.expect("a response");
    assert_eq!((refused.status, refused.interim.len()), (417, 0));
    // Wanted: 100 comes from the origin, then the contents go.
    origin.on("PUT", "/yes", Reply::new(201).interim(100, Fields::default()));
    let mut client = proxy.connect().await;
    client.send(&expecting("/yes")).await.expect("sent");
    let interim = client.receive_head().await.expect("an interim response");
    assert!(interim.start_line.starts_with("HTTP/1.1 100"), "{}", interim.start_line);
    client.send(b"hello").await.expect("sent");
    assert_eq!(client.receive("PUT").await.expect("a response").status, 201);
    assert_eq!(origin.requests().last().expect("a request").body, b"hello");
}

#[tokio::test]
async fn connections_to_an_origin_are_reused() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    origin.always("GET", "/", Reply::new(200).field("cache-control", "no-store").body("x"));
    for _ in 0..5 {
        assert_eq!(proxy.get(&origin.url("/")).await.status, 200);
    }
    assert_eq!(origin.traffic().len(), 1, "one connection carried all of them");
}

#[tokio::test]
async fn a_request_lost_on_a_reused_connection_is_sent_again_only_if_that_is_safe() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    origin.on("GET", "/first", Reply::new(200));
    origin.on("GET", "/second", Reply::close());
    origin.on("GET", "/second", Reply::new(200).body("again"));
    assert_eq!(proxy.get(&origin.url("/first")).await.status, 200);
    assert_eq!(proxy.get(&origin.url("/second")).await.text(), "again");

    origin.on("POST", "/third", Reply::close());
    let response = proxy.request(&Request::new("POST", &origin.url("/third")).body("once")).await;
    assert_eq!(response.status, 502);
    assert!(response.field("proxy-status").expect("a Proxy-Status").contains("connection_terminated"));
    let posts = origin.requests().iter().filter(|request| request.method == "POST").count();
    assert_eq!(posts, 1, "what is not idempotent is sent once");
}

#[tokio::test]
async fn chunked_content_of_a_get_reaches_the_origin() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    origin.on("GET", "/search", Reply::new(200));
    let search = Request::new("GET", &origin.url("/search")).field("transfer-encoding", "chunked");
    assert_eq!(proxy.request(&search.body("5\r\nhello\r\n0\r\n\r\n")).await.status, 200);
    assert_eq!(origin.requests()[0].body, b"hello");
}

#[tokio::test]
async fn a_half_closed_upload_has_the_time_that_it_takes_to_cross() {
    let (origin, proxy) =
        (Origin::start().await.expect("an origin"), start(&["--link", "unlimited/1M"]).await);
    origin.on("POST", "/up", Reply::new(200).body("got it"));
    let mut client = proxy.connect().await;
    // 600 kB at 1 Mbit/s take 4.8 s, longer than a client that is gone is waited for.
    let upload = Request::new("POST", &origin.url("/up")).body(vec![b'u'; 600_000]);
    client.send(&upload.to_bytes()).await.expect("sent");
    client.finish().await.expect("half-closed");
    assert_eq!(client.receive("POST").await.expect("a response").text(), "got it");
}

#[tokio::test]
async fn an_answer_before_the_end_of_an_upload_announces_the_close() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    origin.on("POST", "/early", Reply::new(403).before_contents());
    let mut client = proxy.connect().await;
    let head = Request::new("POST", &origin.url("/early")).field("content-length", "1000");
    client.send(&head.to_bytes()).await.expect("sent");
    let response = client.receive("POST").await.expect("a response");
    assert_eq!((response.status, response.field("connection")), (403, Some("close")));
}

#[tokio::test]
async fn a_client_that_half_closes_still_gets_its_response() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    let gate = Gate::closed();
    // More than the sockets hold, so that the end of it waits for the client.
    let body = vec![b'x'; 20_000_000];
    origin.on("GET", "/", Reply::new(200).field("cache-control", "no-store").body(body).hold_after(0, &gate));
    let mut client = proxy.connect().await;
    client.send(&Request::new("GET", &origin.url("/")).to_bytes()).await.expect("sent");
    client.finish().await.expect("half-closed");
    origin.wait_for_requests(1).await;
    gate.open();
    client.receive_head().await.expect("a head");
    for _ in 0..20 {
        tokio::task::yield_now().await;
        assert_eq!(client.receive_exactly(1_000_000).await.expect("every byte").len(), 1_000_000);
    }
}

#[tokio::test]
async fn an_origin_that_breaks_off_breaks_the_response_off() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    let cacheable = || Reply::new(200).field("cache-control", "max-age=60").body(vec![b'x'; 50_000]);
    origin.on("GET", "/", cacheable().cut_after(20_000));
    origin.on("GET", "/", cacheable());
    let response = proxy.get(&origin.url("/")).await;
    assert_eq!((response.status, response.ending), (200, Ending::Cut));
    let whole = proxy.get(&origin.url("/")).await;
    assert_eq!((whole.body.len(), whole.ending), (50_000, Ending::Clean), "what broke off was not stored");
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_origins_work() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    let gate = Gate::closed();
    let endless = Reply::new(200).field("cache-control", "max-age=60").body(vec![b'x'; 10_000_000]);
    origin.on("GET", "/", endless.hold_after(1_000_000, &gate));
    let mut client = proxy.connect().await;
    client.send(&Request::new("GET", &origin.url("/")).to_bytes()).await.expect("sent");
    client.receive_exactly(100_000).await.expect("the first bytes");
    drop(client);
    gate.open();
    // Looked at from outside: another request for it would follow the fetch and keep it going.
    let given_up = async {
        while crate::control::ask(&proxy, "GET", "/v1/cache", "").await["stats"]["arriving"] != 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), given_up).await.expect("the fetch was given up");
    origin.always("GET", "/", Reply::new(200).body("anew"));
    assert_eq!(proxy.get(&origin.url("/")).await.text(), "anew");
    assert!(origin.traffic()[0].written < 10_000_000, "the rest never crossed");
}

#[tokio::test]
async fn bytes_that_are_no_request_get_a_page_that_says_so() {
    let proxy = start(&[]).await;
    for (bytes, status) in [
        ("GET http://a/ HTTP/1.1\r\nhost: a\r\nbad header\r\n\r\n".to_owned(), 400),
        ("\u{1}\u{2}\u{3}\r\n\r\n".to_owned(), 400),
        (format!("GET http://a/ HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(300_000)), 431),
        (format!("GET http://a/ HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(70_000)), 431),
        ("GET http://a/ HTTP/1.1\r\n\r\n".to_owned(), 400),
    ] {
        let mut client = proxy.connect().await;
        client.send(bytes.as_bytes()).await.expect("sent");
        let response = client.receive("GET").await.expect("a response");
        assert_eq!(response.status, status, "{:.60}", bytes);
        assert!(response.field("proxy-status").is_some_and(|said| said.contains("http_request_error")));
        assert!(response.field("cache-status").is_none());
        assert!(response.text().contains("bentpipe"));
    }
}

#[tokio::test]
async fn an_upload_over_the_limit_is_refused() {
    let origin = Origin::start().await.expect("an origin");
    let proxy = start(&["--set", "limits.request_body=100"]).await;
    let declared = proxy.request(&Request::new("POST", &origin.url("/")).body(vec![0; 101])).await;
    assert_eq!(declared.status, 413);
    assert_eq!(origin.request_count(), 0);
    let chunked = Request::new("POST", &origin.url("/")).field("transfer-encoding", "chunked");
    let chunks = format!("65\r\n{}\r\n0\r\n\r\n", "x".repeat(0x65));
    assert_eq!(proxy.request(&chunked.body(chunks)).await.status, 413);
}

#[tokio::test]
async fn a_client_that_stops_sending_is_told() {
    let origin = Origin::start().await.expect("an origin");
    let proxy = start(&["--set", "timeouts.idle=200ms"]).await;
    origin.on("POST", "/", Reply::new(200));
    let mut client = proxy.connect().await;
    let head = Request::new("POST", &origin.url("/")).field("content-length", "10");
    client.send(&head.to_bytes()).await.expect("sent");
    client.send(b"01234").await.expect("sent");
    assert_eq!(client.receive("POST").await.expect("a response").status, 408);
    // What is not framed as it says is the client's mistake, too.
    let chunked =
        Request::new("POST", &origin.url("/")).field("transfer-encoding", "chunked").body("zz\r\nhello\r\n");
    assert_eq!(proxy.request(&chunked).await.status, 400);
}

#[tokio::test]
async fn accounts_and_rates_are_enforced() {
    let origin = Origin::start().await.expect("an origin");
    origin.always("GET", "/", Reply::new(200));
    let proxy =
        start(&["--set", "admission.users=ann:one", "--set", "admission.requests_per_second=1"]).await;
    let denied = proxy.get(&origin.url("/")).await;
    assert_eq!(denied.status, 407);
    assert!(denied.field("proxy-authenticate").expect("a challenge").starts_with("Basic"));
    let known = Request::new("GET", &origin.url("/")).field("proxy-authorization", "Basic YW5uOm9uZQ==");
    // One a second: of many at once some pass and some do not, however fast this machine is.
    let mut statuses = std::collections::BTreeSet::new();
    while statuses.len() < 2 {
        let response = proxy.request(&known).await;
        assert!(response.status == 200 || response.field("retry-after").is_some(), "{}", response.status);
        statuses.insert(response.status);
    }
    assert!(statuses.iter().eq(&[200, 429]));
    assert!(origin.requests().iter().all(|request| !request.fields.has("proxy-authorization")));
}
