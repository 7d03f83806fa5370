//! https origins, named in absolute-form (RFC 9112 §3.2.2): TLS with every certificate verified, HTTP/2 with one
//! connection for many requests, and the same line of one request as for http.

use std::time::Duration;

use testkit::client::Request;
use testkit::message::Ending;
use testkit::origin::Origin;
use testkit::reply::{Gate, Reply};
use testkit::tls::Tls;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::proxy::{Running, start};

/// An origin that speaks `tls`, and a proxy that trusts its authority, with `flags` besides.
async fn pair_with(tls: &Tls, flags: &[&str]) -> (Origin, Running) {
    let origin = Origin::start_tls(tls).await.expect("an origin");
    let proxy = trusting(&origin, flags).await;
    (origin, proxy)
}

async fn pair(tls: &Tls) -> (Origin, Running) {
    pair_with(tls, &[]).await
}

/// A proxy that trusts the authority of `origin`.
async fn trusting(origin: &Origin, flags: &[&str]) -> Running {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("roots.pem");
    std::fs::write(&path, origin.root_pem()).expect("written");
    let path = path.to_string_lossy().into_owned();
    start(&[&["--tls-roots", &path], flags].concat()).await
}

fn fresh() -> Reply {
    Reply::new(200).field("cache-control", "max-age=60").body("content")
}

/// How many connections the requests came on.
fn connections(origin: &Origin) -> usize {
    let mut numbers: Vec<_> = origin.requests().iter().map(|request| request.connection).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers.len()
}

#[tokio::test]
async fn an_https_target_is_fetched_cached_and_served_rfc9111() {
    for tls in [Tls::new(), Tls::new().http1(), Tls::new().tls12(), Tls::new().tls12().http1()] {
        let (origin, proxy) = pair(&tls).await;
        origin.on("GET", "/page", fresh().field("x-hop", "1"));
        let url = origin.url("/page");
        let first = proxy.get(&url).await;
        assert_eq!((first.status, first.text().as_str()), (200, "content"), "{:?}", first.fields);
        assert_eq!(first.field("cache-status"), Some("bentpipe; fwd=uri-miss; stored"));
        let second = proxy.get(&url).await;
        assert!(second.field("cache-status").expect("a status").starts_with("bentpipe; hit"));
        assert_eq!(second.text(), "content");
        let [request] = &origin.requests()[..] else { panic!("one request") };
        assert_eq!(request.target, "/page");
        let host = request.fields.value(":authority").or(request.fields.value("host"));
        assert_eq!(host, Some(origin.address().to_string().as_str()));
        assert!(!request.fields.has("connection"));
        let via = first.field("via").expect("a Via");
        let received = if request.version == "HTTP/2.0" { "2 " } else { "1.1 " };
        assert!(via.starts_with(received), "{via} {}", request.version);
    }
}

#[tokio::test]
async fn forty_resources_come_on_one_connection_rfc9113_5() {
    let (origin, proxy) = pair(&Tls::new()).await;
    let gate = Gate::closed();
    for number in 0..40 {
        let body = number.to_string();
        origin.on("GET", &format!("/{number}"), Reply::new(200).body(body).wait(&gate));
    }
    let url = |number| origin.url(&format!("/{number}"));
    let gets = (0..40).map(|number| {
        let (address, url) = (proxy.address(), url(number));
        tokio::spawn(async move { testkit::client::get(address, &url).await.expect("a response") })
    });
    let gets: Vec<_> = gets.collect();
    origin.wait_for_requests(40).await;
    gate.open();
    for (number, get) in gets.into_iter().enumerate() {
        let response = get.await.expect("an answer");
        assert_eq!((response.status, response.text()), (200, number.to_string()));
    }
    assert_eq!(origin.traffic().len(), 1, "connections accepted");
    assert_eq!(origin.handshakes().len(), 1);
}

#[tokio::test]
async fn more_requests_than_the_origin_allows_go_on_further_connections_rfc9113_5_1_2() {
    let origin = Origin::start_tls_with(&Tls::new(), 3).await.expect("an origin");
    let proxy = trusting(&origin, &["--set", "timeouts.idle=2s"]).await;
    // The origin's settings are known after the first exchange.
    origin.on("GET", "/first", Reply::new(200));
    proxy.get(&origin.url("/first")).await;
    let gate = Gate::closed();
    let gets: Vec<_> = (0..6)
        .map(|number| {
            let path = format!("/{number}");
            origin.on("GET", &path, Reply::new(200).wait(&gate));
            let (address, url) = (proxy.address(), origin.url(&path));
            tokio::spawn(async move { testkit::client::get(address, &url).await.expect("a response").status })
        })
        .collect();
    origin.wait_for_requests(7).await;
    gate.open();
    for get in gets {
        assert_eq!(get.await.expect("an answer"), 200);
    }
    let accepted = origin.traffic().len();
    assert!((2..=4).contains(&accepted), "{accepted} connections");
}

#[tokio::test]
async fn an_origin_without_http2_gets_as_many_connections_as_are_needed() {
    let (origin, proxy) = pair(&Tls::new().http1()).await;
    let gate = Gate::closed();
    let gets: Vec<_> = (0..6)
        .map(|number| {
            let path = format!("/{number}");
            origin.on("GET", &path, Reply::new(200).body("x").wait(&gate));
            let (address, url) = (proxy.address(), origin.url(&path));
            tokio::spawn(async move { testkit::client::get(address, &url).await.expect("a response").status })
        })
        .collect();
    // Requests are recorded before their answers wait.
    origin.wait_for_requests(6).await;
    assert_eq!(connections(&origin), 6);
    gate.open();
    for get in gets {
        assert_eq!(get.await.expect("an answer"), 200);
    }
}

/// What is told of an origin with which no safe connection comes about.
#[track_caller]
fn check_fault(response: &testkit::client::Response, error: &str, words: &[&str]) {
    assert_eq!(response.status, 502);
    let told = response.field("proxy-status").expect("a Proxy-Status").to_owned();
    assert!(told.starts_with(&format!("bentpipe; error={error}")), "{told}");
    for word in words {
        assert!(response.text().contains(word), "{word}: {}", response.text());
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_is_never_passed_rfc9110_4_3_4() {
    for (tls, words) in [
        (Tls::new().expired(), ["expired on Mon, 01 Dec 2025", "machine says Thu, 01 Jan 2026"]),
        (Tls::new().not_yet_valid(), ["is valid only from Sun, 01 Jan 2040", "may be wrong"]),
        (
            Tls::new().for_names(&["a.example", "b.example"]),
            ["other names: a.example, b.example", "Nothing was sent"],
        ),
        (Tls::new().self_signed(), ["is self-signed", "nobody but itself"]),
        // Trusted, but not as this.
        (Tls::new().authority_itself(), ["is a CA certificate used as a server", "signed with this one"]),
    ] {
        let (origin, proxy) = pair(&tls).await;
        let refused = proxy.get(&origin.url("/")).await;
        check_fault(&refused, "tls_certificate_error", &words);
        assert_eq!(origin.request_count(), 0, "nothing was asked");
    }
    let origin = Origin::start_tls(&Tls::new()).await.expect("an origin");
    let refused = start(&[]).await.get(&origin.url("/")).await;
    check_fault(&refused, "tls_certificate_error", &["The Test&#39;s Authority", "not trusted here"]);
}

#[tokio::test]
async fn a_handshake_that_fails_says_why_rfc9209_2_3() {
    let (origin, proxy) = pair(&Tls::new().protocols(&["spdy/1"])).await;
    let refused = proxy.get(&origin.url("/")).await;
    check_fault(&refused, "tls_alert_received", &["no_application_protocol"]);
    let told = refused.field("proxy-status").expect("a Proxy-Status");
    assert!(told.contains("alert-id=120; alert-message=\"no_application_protocol\""), "{told}");
    // An origin that knows nothing of TLS.
    let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}/", server.local_addr().expect("an address"));
    let serving = tokio::spawn(async move {
        let (mut stream, _) = server.accept().await.expect("a connection");
        stream.read_u8().await.expect("a hello");
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("sent");
        stream
    });
    let refused = proxy.get(&url).await;
    check_fault(&refused, "tls_protocol_error", &["what it answers is not TLS"]);
    serving.await.expect("the server");
}

#[tokio::test]
async fn a_bad_certificate_is_no_outage_rfc5861_4() {
    let (origin, proxy) = pair(&Tls::new()).await;
    let stale =
        Reply::new(200).field("cache-control", "max-age=1, stale-if-error=86400").body("x").then_close();
    origin.on("GET", "/", stale);
    assert_eq!(proxy.get(&origin.url("/")).await.status, 200);
    // The certificate is of no use fifty years on; what is stored is.
    proxy.clock.advance(Duration::from_secs(10));
    origin.stop().await;
    let other = Origin::start_tls_at(&Tls::new().self_signed(), origin.address()).await.expect("the port");
    let refused = proxy.get(&other.url("/")).await;
    check_fault(&refused, "tls_certificate_error", &["self-signed"]);
}

#[tokio::test]
async fn a_second_connection_resumes_the_session_rfc8446_2_2() {
    for tls in [Tls::new().http1(), Tls::new().tls12().http1()] {
        let (origin, proxy) = pair(&tls).await;
        for path in ["/a", "/b"] {
            origin.on("GET", path, Reply::new(200).body("x").then_close());
            assert_eq!(proxy.get(&origin.url(path)).await.status, 200);
        }
        let resumed: Vec<_> = origin.handshakes().iter().map(|handshake| handshake.resumed).collect();
        assert_eq!(resumed, [false, true], "{tls:?}");
    }
}

#[tokio::test]
async fn certificates_are_taken_compressed_rfc8879() {
    let (origin, proxy) = pair(&Tls::new()).await;
    origin.on("GET", "/", Reply::new(200));
    assert_eq!(proxy.get(&origin.url("/")).await.status, 200);
    assert_eq!(origin.compressed(), 1);
}

#[tokio::test]
async fn a_websocket_goes_over_http1_to_an_origin_that_speaks_http2_rfc9113_8_6() {
    let (origin, proxy) = pair(&Tls::new()).await;
    origin.on("GET", "/page", Reply::new(200));
    assert_eq!(proxy.get(&origin.url("/page")).await.status, 200);
    origin.on("GET", "/chat", Reply::upgrade("websocket").field("sec-websocket-accept", "x"));
    let mut client = proxy.connect().await;
    let handshake = Request::new("GET", &origin.url("/chat"))
        .field("connection", "Upgrade")
        .field("upgrade", "websocket")
        .field("sec-websocket-key", "k");
    client.send(&handshake.to_bytes()).await.expect("sent");
    let head = client.receive_head().await.expect("a head");
    assert!(head.start_line.starts_with("HTTP/1.1 101"), "{}", head.start_line);
    client.send(b"ping").await.expect("sent");
    assert_eq!(client.receive_exactly(4).await.expect("the echo"), b"ping");
    let spoken: Vec<_> = origin.requests().into_iter().map(|request| request.version).collect();
    assert_eq!(spoken, ["HTTP/2.0", "HTTP/1.1"]);
}

#[tokio::test]
async fn the_link_and_the_log_count_the_handshake_and_every_stream() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("access.log");
    let log_flag = log.to_string_lossy().into_owned();
    let flags = ["--access-log", &log_flag, "--set", "log.format=json"];
    let (origin, proxy) = pair_with(&Tls::new(), &flags).await;
    for path in ["/a", "/b", "/c"] {
        origin.on("GET", path, Reply::new(200).body(vec![b'x'; 30_000]));
        assert_eq!(proxy.get(&origin.url(path)).await.body.len(), 30_000);
    }
    let crossed = origin.total_traffic();
    proxy.stop().await;
    let lines = std::fs::read_to_string(&log).expect("a log");
    let down: Vec<_> = lines.lines().map(|line| number(line, "link_down")).collect();
    let up: Vec<_> = lines.lines().map(|line| number(line, "link_up")).collect();
    let [first, second, third] = down[..] else { panic!("three lines: {lines}") };
    assert!(first > second + 300, "the first pays for the handshake: {down:?}");
    assert!((30_000..32_000).contains(&second) && (30_000..32_000).contains(&third), "{down:?}");
    let (down, up): (u64, u64) = (down.iter().sum(), up.iter().sum());
    assert!(down <= crossed.written && down + 1500 > crossed.written, "{down} of {}", crossed.written);
    assert!(up <= crossed.read && up + 1500 > crossed.read, "{up} of {}", crossed.read);
}

#[tokio::test]
async fn after_a_burst_each_exchange_bears_its_own_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("access.log");
    let log_flag = log.to_string_lossy().into_owned();
    let flags = ["--access-log", &log_flag, "--set", "log.format=json"];
    let (origin, proxy) = pair_with(&Tls::new(), &flags).await;
    let burst = (0..20).map(|number| {
        let path = format!("/burst/{number}");
        origin.on(
            "GET",
            &path,
            Reply::new(200).body(vec![b'x'; 30_000]).pace(7_000, Duration::from_millis(3)),
        );
        let (address, url) = (proxy.address(), origin.url(&path));
        tokio::spawn(async move { testkit::client::get(address, &url).await.expect("a response").body.len() })
    });
    for length in burst.collect::<Vec<_>>() {
        assert_eq!(length.await.expect("an answer"), 30_000);
    }
    for path in ["/a", "/b", "/c"] {
        origin.on("GET", path, Reply::new(200).body("y"));
        assert_eq!(proxy.get(&origin.url(path)).await.text(), "y");
    }
    let crossed = origin.total_traffic();
    proxy.stop().await;
    let lines = std::fs::read_to_string(&log).expect("a log");
    let down: Vec<_> = lines.lines().map(|line| number(line, "link_down")).collect();
    assert!(down[20..].iter().all(|down| (20..500).contains(down)), "{down:?}");
    assert!(down[..20].iter().all(|down| (30_000..35_000).contains(down)), "{down:?}");
    let sum: u64 = down.iter().sum();
    assert!(sum.abs_diff(crossed.written) < 15_000, "{sum} of {}", crossed.written);
}

/// The number under `key` in a line of JSON.
fn number(line: &str, key: &str) -> u64 {
    let (_, rest) = line.split_once(&format!("\"{key}\":")).expect(key);
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a number")
}

#[tokio::test]
async fn a_refused_stream_is_sent_again_and_a_post_that_broke_is_not_rfc9113_8_7() {
    let (origin, proxy) = pair(&Tls::new()).await;
    origin.on("GET", "/", Reply::refuse());
    origin.on("GET", "/", Reply::new(200).body("at last"));
    assert_eq!(proxy.get(&origin.url("/")).await.text(), "at last");
    for _ in 0..3 {
        origin.on("GET", "/never", Reply::refuse());
    }
    assert_eq!(proxy.get(&origin.url("/never")).await.status, 502);
    assert_eq!(origin.request_count(), 5, "three tries at most");
    origin.on("POST", "/order", Reply::close());
    let order = |length: usize| Request::new("POST", &origin.url("/order")).body(vec![b'x'; length]);
    assert_eq!(proxy.request(&order(10)).await.status, 502);
    origin.on("POST", "/order", Reply::refuse());
    assert_eq!(proxy.request(&order(10)).await.status, 502, "its content is gone");
    assert_eq!(origin.request_count(), 7);
    assert_eq!(origin.leftovers(), [""; 0]);
}

#[tokio::test]
async fn a_connection_that_says_goodbye_is_followed_by_another_rfc9113_6_8() {
    let (origin, proxy) = pair(&Tls::new()).await;
    for number in 0..3 {
        origin.on("GET", "/", Reply::new(200).field("cache-control", "no-store").body("x").then_close());
        assert_eq!(proxy.get(&origin.url("/")).await.status, 200, "{number}");
    }
    let order = Request::new("POST", &origin.url("/order")).body("all of it");
    origin.on("POST", "/order", Reply::new(201));
    assert_eq!(proxy.request(&order).await.status, 201);
    assert_eq!(connections(&origin), 4);
    assert_eq!(origin.requests()[3].body, b"all of it");
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_stream_alone_rfc9113_5_4_2() {
    let (origin, proxy) = pair(&Tls::new()).await;
    let gate = Gate::closed();
    let endless = Reply::new(200).field("cache-control", "no-store").body(vec![b'x'; 400_000]);
    origin.on("GET", "/long", endless.hold_after(100_000, &gate));
    let mut client = proxy.connect().await;
    client.send(&Request::new("GET", &origin.url("/long")).to_bytes()).await.expect("sent");
    client.receive_head().await.expect("a head");
    client.receive_exactly(50_000).await.expect("content");
    drop(client);
    while origin.resets() == 0 {
        tokio::task::yield_now().await;
    }
    origin.on("GET", "/next", Reply::new(200));
    assert_eq!(proxy.get(&origin.url("/next")).await.status, 200);
    assert_eq!(origin.traffic().len(), 1);
}

#[tokio::test]
async fn a_stream_that_stalls_ends_whatever_others_carry_rfc9113_5() {
    let (origin, proxy) = pair_with(&Tls::new(), &["--set", "timeouts.idle=1s"]).await;
    let gate = Gate::closed();
    let busy = Reply::new(200).body(vec![b'x'; 400_000]).pace(1000, Duration::from_millis(10));
    origin.on("GET", "/busy", busy.field("cache-control", "no-store"));
    origin.on("GET", "/silent", Reply::new(200).wait(&gate));
    let (address, url) = (proxy.address(), origin.url("/busy"));
    let busy = tokio::spawn(async move { testkit::client::get(address, &url).await.expect("a response") });
    let silent = proxy.get(&origin.url("/silent")).await;
    assert_eq!(silent.status, 504);
    assert!(!busy.is_finished(), "the other was still going on");
    assert_eq!(busy.await.expect("an answer").body.len(), 400_000);
    assert_eq!(origin.traffic().len(), 1);
}

#[tokio::test]
async fn a_trailer_section_without_a_field_is_an_end_rfc9113_8() {
    let (origin, proxy) = pair(&Tls::new()).await;
    let reply = Reply::new(200).body("content").chunked(3);
    origin.always("GET", "/passed", reply.clone().field("cache-control", "no-store"));
    origin.always("GET", "/stored", reply.field("cache-control", "max-age=60"));
    for path in ["/passed", "/stored"] {
        let answer = proxy.get(&origin.url(path)).await;
        assert_eq!((answer.text().as_str(), answer.ending), ("content", Ending::Clean), "{path}");
    }
}

#[tokio::test]
async fn heads_trailers_and_broken_responses_go_through_rfc9113_8() {
    let (origin, proxy) = pair(&Tls::new()).await;
    origin.on("HEAD", "/", Reply::new(200).field("content-length", "12345"));
    let head = proxy.request(&Request::new("HEAD", &origin.url("/"))).await;
    assert_eq!((head.status, head.field("content-length")), (200, Some("12345")));
    origin.on("GET", "/empty", Reply::new(204));
    assert_eq!(proxy.get(&origin.url("/empty")).await.status, 204);
    let trailed = Reply::new(200)
        .field("cache-control", "no-store")
        .body("x")
        .field("trailer", "x-sum")
        .trailer("x-sum", "1");
    origin.on("GET", "/trailers", trailed);
    let asked =
        Request::new("GET", &origin.url("/trailers")).field("te", "trailers").field("connection", "te");
    let trailed = proxy.request(&asked).await;
    assert_eq!((trailed.text().as_str(), trailed.trailers.value("x-sum")), ("x", Some("1")));
    assert_eq!(origin.requests()[2].fields.value("te"), Some("trailers"));
    origin.always("OPTIONS", "*", Reply::new(204));
    let bare = format!("https://{}", origin.address());
    assert_eq!(proxy.request(&Request::new("OPTIONS", &bare)).await.status, 204);
    assert_eq!(origin.traffic().len(), 1);
    let cut = Reply::new(200).field("cache-control", "no-store").body(vec![b'x'; 50_000]).cut_after(20_000);
    origin.on("GET", "/cut", cut);
    assert_eq!(proxy.get(&origin.url("/cut")).await.ending, Ending::Cut);
}

#[tokio::test]
async fn an_upload_goes_up_whole_and_an_expectation_is_met_rfc9110_10_1_1() {
    let (origin, proxy) = pair_with(&Tls::new(), &["--link", "unlimited/8M"]).await;
    let body = vec![b'u'; 300_000];
    origin.on("PUT", "/file", Reply::new(201));
    let put = Request::new("PUT", &origin.url("/file")).body(body.clone());
    assert_eq!(proxy.request(&put).await.status, 201);
    assert_eq!(origin.requests()[0].body, body);
    origin.on("PUT", "/file", Reply::new(201));
    let mut client = proxy.connect().await;
    let expecting = Request::new("PUT", &origin.url("/file")).field("expect", "100-continue");
    client.send(&expecting.field("content-length", "4").to_bytes()).await.expect("sent");
    let asked = client.receive_head().await.expect("a head");
    assert!(asked.start_line.starts_with("HTTP/1.1 100"), "{}", asked.start_line);
    client.send(b"body").await.expect("sent");
    assert_eq!(client.receive("PUT").await.expect("a response").status, 201);
    assert_eq!(origin.requests()[1].body, b"body");
    assert!(!origin.requests()[1].fields.has("expect"));
}

#[tokio::test]
async fn a_response_with_too_many_fields_is_refused() {
    let (origin, proxy) = pair(&Tls::new()).await;
    let many = (0..400).fold(Reply::new(200), |reply, number| reply.field(&format!("x-{number}"), "v"));
    origin.on("GET", "/many", many);
    assert_eq!(proxy.get(&origin.url("/many")).await.status, 502);
    let large = Reply::new(200).field("x-large", &"v".repeat(100_000));
    origin.on("GET", "/large", large);
    assert_eq!(proxy.get(&origin.url("/large")).await.status, 502);
    origin.on("GET", "/after", Reply::new(200));
    assert_eq!(proxy.get(&origin.url("/after")).await.status, 200);
}

#[tokio::test]
async fn one_fetch_serves_many_https_requests_too() {
    let (origin, proxy) = pair(&Tls::new()).await;
    let gate = Gate::closed();
    origin.on("GET", "/", fresh().wait(&gate));
    let gets: Vec<_> = (0..5)
        .map(|_| {
            let (address, url) = (proxy.address(), origin.url("/"));
            tokio::spawn(async move { testkit::client::get(address, &url).await.expect("a response").status })
        })
        .collect();
    origin.wait_for_requests(1).await;
    gate.open();
    for get in gets {
        assert_eq!(get.await.expect("an answer"), 200);
    }
    assert_eq!(origin.request_count(), 1);
}

#[tokio::test]
async fn roots_that_cannot_be_read_stop_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_string_lossy().into_owned();
    let flags =
        ["--listen", "127.0.0.1:0", "--cache-dir", &path, "--control", "off", "--tls-roots", "/nowhere.pem"];
    let config = bentpipe::Config::from_flags(flags).expect("flags");
    let failed =
        bentpipe::serve::Proxy::start(config, bentpipe::Clock::manual()).await.err().expect("an error");
    assert!(failed.to_string().contains("tls.roots: /nowhere.pem cannot be read: No such file"), "{failed}");
}
