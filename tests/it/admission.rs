//! Who may ask for what, and how often (RFC 9110 §11.7, RFC 7617, RFC 6750, RFC 6585 §4), where a scenario file cannot
//! say it: several connections at once, files of accounts, what is refused before anything is asked.

use testkit::client::{Client, Request, Response};
use testkit::origin::Origin;
use testkit::reply::{Gate, Reply};

use crate::proxy::{Running, start};

/// Of "sesame", by `htpasswd -nbB -C 4`.
const ANN: &str = "ann:$2y$04$oz.BsUYJzkG.7m3ndiK6ou9ul3bCN7ApD2AuiSX5NNTixsyYhdHt6\n";

/// `ann:sesame` and `ann:wrong`.
const RIGHT: &str = "Basic YW5uOnNlc2FtZQ==";
const WRONG: &str = "Basic YW5uOndyb25n";

async fn origin() -> Origin {
    let origin = Origin::start().await.expect("an origin");
    origin.always("GET", "/", Reply::new(200).body("hello"));
    origin
}

fn presenting(origin: &Origin, credentials: &str) -> Request {
    Request::new("GET", &origin.url("/")).field("proxy-authorization", credentials)
}

/// What comes on a connection on which nothing is asked.
async fn unasked(proxy: &Running) -> (Response, Vec<u8>) {
    let mut client = proxy.connect().await;
    let response = client.receive("GET").await.expect("a response");
    (response, client.receive_rest().await.expect("the end"))
}

#[tokio::test]
async fn a_denied_request_is_403_and_names_the_rule_rfc9110_15_5_4() {
    let (origin, proxy) =
        (origin().await, start(&["--deny", "no-posts: method=POST|CONNECT", "--deny", "port=1-1023"]).await);
    let denied = proxy.request(&Request::new("POST", &origin.url("/")).body("x")).await;
    assert_eq!(denied.status, 403);
    assert!(
        denied.text().contains("the rule &quot;no-posts&quot; of its option admission.deny"),
        "{}",
        denied.text()
    );
    assert!(denied.field("proxy-status").expect("a Proxy-Status").contains("error=http_request_denied"));
    let tunnel = proxy.connect().await.tunnel(&origin.address().to_string()).await.expect("an answer");
    assert!(tunnel.status == 403 && tunnel.text().contains("no-posts"));
    let unnamed = proxy.get("http://127.0.0.1:80/").await;
    assert!(unnamed.status == 403 && unnamed.text().contains("port=1-1023"), "{}", unnamed.text());
    assert_eq!(origin.request_count(), 0);
    assert_eq!(proxy.get(&origin.url("/")).await.status, 200);
}

#[tokio::test]
async fn allow_opens_what_the_default_closes() {
    let origin = origin().await;
    let port = origin.address().port();
    let allow = format!("client=127.0.0.0/8; port={port}; method=GET");
    let proxy = start(&["--set", "admission.default=nobody", "--allow", &allow]).await;
    assert_eq!(proxy.get(&origin.url("/")).await.status, 200);
    let denied = proxy.request(&Request::new("HEAD", &origin.url("/"))).await;
    assert_eq!(denied.status, 403);
    assert_eq!(origin.request_count(), 1);
}

#[tokio::test]
async fn a_rule_holds_in_its_hours_alone() {
    let (origin, proxy) = (origin().await, start(&["--deny", "time=Thu UTC"]).await);
    // The clock of tests begins on Thursday, 2026-01-01 at 00:00 UTC.
    let denied = proxy.get(&origin.url("/")).await;
    assert!(denied.status == 403 && denied.text().contains("&quot;time=Thu UTC&quot;"), "{}", denied.text());
    proxy.clock.advance(std::time::Duration::from_hours(24));
    assert_eq!(proxy.get(&origin.url("/")).await.status, 200);
}

#[tokio::test]
async fn a_client_that_may_ask_for_nothing_is_told_before_it_asks_rfc9112_9_6() {
    let proxy = start(&["--set", "admission.default=nobody"]).await;
    let (response, rest) = unasked(&proxy).await;
    assert_eq!((response.status, response.field("connection")), (403, Some("close")));
    assert!(response.is_whole() && rest.is_empty());
    assert!(response.text().contains("admission.default is nobody"), "{}", response.text());
    let proxy = start(&["--deny", "here: client=127.0.0.1"]).await;
    // What it sends all the same does not destroy the answer.
    let mut client = proxy.connect().await;
    let _ = client.send(&Request::new("GET", "http://127.0.0.1:9/").to_bytes()).await;
    let response = client.receive("GET").await.expect("a response");
    assert!(response.status == 403 && response.text().contains("&quot;here&quot;"), "{}", response.text());
}

/// Every way to write an address of this machine or its network that needs no name server. The last two stop at
/// the parser: octets in percent-encoding and user names are no part of a host here (RFC 9110 §4.2.4).
const SPELLINGS: [&str; 19] = [
    "127.0.0.1",
    "127.9.9.9",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "0",
    "0.0.0.0",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "169.254.169.254",
    "[fd00:ec2::254]",
    "127.0.0.1%00",
    "user@127.0.0.1",
];

#[tokio::test]
async fn no_spelling_of_this_machine_is_a_destination_ssrf_cwe_918() {
    let origin = origin().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_string_lossy().into_owned();
    let port = origin.address().port();
    let ports = format!("destinations.connect_ports={port}");
    let flags = ["--listen", "127.0.0.1:0", "--cache-dir", &path, "--control", "off", "--set", &ports];
    let config = bentpipe::Config::from_flags(flags).expect("flags");
    let proxy = bentpipe::serve::Proxy::start(config, bentpipe::Clock::manual()).await.expect("a proxy");
    for spelling in SPELLINGS {
        let authority = format!("{spelling}:{port}");
        let get = Request::new("GET", &format!("http://{authority}/")).field("host", "x");
        for request in [get, Request::new("CONNECT", &authority).field("host", "x")] {
            let mut client = Client::connect(proxy.local_address()).await.expect("a connection");
            let response = client.request(&request).await.expect("a response");
            assert!([400, 403].contains(&response.status), "{request:?}: {}", response.status_line);
        }
    }
    assert_eq!(origin.total_traffic().read, 0);
    proxy.shutdown().await;
}

#[tokio::test]
async fn accounts_of_a_file_and_tokens_open_the_proxy_rfc7617_rfc6750() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("users");
    std::fs::write(&file, ANN).expect("written");
    let flag = format!("admission.users_file={}", file.display());
    let origin = origin().await;
    let proxy = start(&["--set", &flag, "--set", "admission.tokens=robot=0123456789abcdef"]).await;
    let denied = proxy.get(&origin.url("/")).await;
    assert_eq!(denied.status, 407);
    let challenges = denied.fields.values("proxy-authenticate");
    assert_eq!(challenges, ["Basic realm=\"bentpipe\", charset=\"UTF-8\"", "Bearer realm=\"bentpipe\""]);
    let wrong = proxy.request(&presenting(&origin, "Bearer 0123456789abcdeX")).await;
    let challenges = wrong.fields.values("proxy-authenticate");
    assert_eq!((wrong.status, challenges[1]), (407, "Bearer realm=\"bentpipe\", error=\"invalid_token\""));
    assert_eq!(proxy.request(&presenting(&origin, WRONG)).await.status, 407);
    assert_eq!(origin.request_count(), 0);
    for right in [RIGHT, "bearer 0123456789abcdef"] {
        assert_eq!(proxy.request(&presenting(&origin, right)).await.status, 200, "{right}");
    }
    // The scheme for origins is none for this proxy (RFC 9110 §11.6.2).
    let elsewhere = Request::new("GET", &origin.url("/")).field("authorization", RIGHT);
    assert_eq!(proxy.request(&elsewhere).await.status, 407);
    assert!(origin.requests().iter().all(|request| !request.fields.has("proxy-authorization")));
}

#[tokio::test]
async fn a_tunnel_and_an_upgrade_need_credentials_which_stay_here_rfc9110_11_7_2() {
    let origin = origin().await;
    origin.on("GET", "/chat", Reply::upgrade("websocket"));
    let proxy = start(&["--set", "admission.users=ann:sesame"]).await;
    let authority = origin.address().to_string();
    let mut client = proxy.connect().await;
    // The connection stays open for the second attempt, as 407 invites to.
    assert_eq!(client.tunnel(&authority).await.expect("an answer").status, 407);
    let connect = Request::new("CONNECT", &authority).field("proxy-authorization", RIGHT);
    assert_eq!(client.request(&connect).await.expect("an answer").status, 200);
    client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    assert_eq!(client.receive("GET").await.expect("a response").text(), "hello");
    let upgrade = |credentials| {
        Request::new("GET", &origin.url("/chat"))
            .field("connection", "upgrade, proxy-authorization")
            .field("upgrade", "websocket")
            .field("proxy-authorization", credentials)
    };
    assert_eq!(proxy.request(&upgrade(WRONG)).await.status, 407);
    let mut client = proxy.connect().await;
    client.send(&upgrade(RIGHT).to_bytes()).await.expect("sent");
    assert!(client.receive_head().await.expect("a head").start_line.starts_with("HTTP/1.1 101"));
    assert!(origin.requests().iter().all(|request| !request.fields.has("proxy-authorization")));
}

#[tokio::test]
async fn clients_of_named_networks_are_not_asked() {
    let origin = origin().await;
    let flags = ["--set", "admission.users=ann:sesame", "--set", "admission.no_auth=127.0.0.0/8"];
    assert_eq!(start(&flags).await.get(&origin.url("/")).await.status, 200);
}

#[tokio::test]
async fn a_file_whose_hashes_protect_nothing_is_refused_with_line_and_advice() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("users");
    std::fs::write(&file, format!("{ANN}bob:{{SHA}}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n")).expect("written");
    let path = folder.path().join("cache").to_string_lossy().into_owned();
    let flag = format!("admission.users_file={}", file.display());
    let flags = ["--listen", "127.0.0.1:0", "--cache-dir", &path, "--control", "off", "--set", &flag];
    let config = bentpipe::Config::from_flags(flags).expect("flags");
    let error =
        bentpipe::serve::Proxy::start(config, bentpipe::Clock::manual()).await.err().expect("an error");
    let said = error.to_string();
    assert!(
        said.contains("admission.users_file") && said.contains("line 2: bob has an SHA-1 hash"),
        "{said}"
    );
    assert!(said.contains("htpasswd -B") && !said.contains("W6ph5"), "{said}");
}

#[tokio::test]
async fn guessing_is_slowed_for_the_guesser_alone_rfc6585_4() {
    let origin = origin().await;
    let proxy = start(&["--set", "admission.users=ann:sesame,bob:sesame"]).await;
    assert_eq!(proxy.request(&presenting(&origin, RIGHT)).await.status, 200);
    // At most one in five seconds is looked at behind the first five, however slow this machine is.
    let mut refused = 0;
    for _ in 0..12 {
        let response = proxy.request(&presenting(&origin, WRONG)).await;
        assert!([407, 429].contains(&response.status), "{}", response.status_line);
        if response.status == 429 {
            refused += 1;
            let wait: u64 = response.field("retry-after").expect("a Retry-After").parse().expect("seconds");
            assert!((1..=6).contains(&wait), "{wait}");
        }
    }
    assert!(refused >= 3, "{refused} of 12 guesses were not looked at");
    // Whoever was in already stays in, and whoever presents nothing is still told how.
    assert_eq!(proxy.request(&presenting(&origin, RIGHT)).await.status, 200);
    assert_eq!(proxy.get(&origin.url("/")).await.status, 407);
}

#[tokio::test]
async fn a_burst_passes_and_then_the_rate_holds_rfc6585_4() {
    let origin = origin().await;
    let flags = ["--set", "admission.requests_per_second=1", "--set", "admission.burst=3"];
    let proxy = start(&flags).await;
    let mut client = proxy.connect().await;
    client.send(&Request::new("GET", &origin.url("/")).to_bytes().repeat(20)).await.expect("sent");
    let mut statuses = Vec::new();
    for _ in 0..20 {
        let response = client.receive("GET").await.expect("a response");
        assert!(response.status == 200 || response.field("retry-after").is_some());
        statuses.push(response.status);
    }
    assert_eq!(statuses[..3], [200; 3]);
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn a_client_has_so_many_requests_under_way_and_no_more() {
    let origin = origin().await;
    let gate = Gate::closed();
    origin.on("GET", "/slow", Reply::new(200).body("slow").wait(&gate));
    let proxy = start(&["--set", "limits.requests_per_client=1"]).await;
    let mut first = proxy.connect().await;
    first.send(&Request::new("GET", &origin.url("/slow")).to_bytes()).await.expect("sent");
    origin.wait_for_requests(1).await;
    let second = proxy.get(&origin.url("/")).await;
    assert_eq!((second.status, second.field("retry-after")), (429, Some("1")));
    assert!(second.text().contains("limits.requests_per_client"));
    gate.open();
    assert_eq!(first.receive("GET").await.expect("a response").text(), "slow");
    // The exchange ends a moment after its last byte.
    while proxy.get(&origin.url("/")).await.status != 200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_client_has_so_many_connections_and_no_more() {
    let origin = origin().await;
    let proxy = start(&["--set", "limits.connections_per_client=2"]).await;
    let mut held = [proxy.connect().await, proxy.connect().await];
    for client in &mut held {
        let response = client.request(&Request::new("GET", &origin.url("/"))).await.expect("a response");
        assert_eq!(response.status, 200);
    }
    let (response, rest) = unasked(&proxy).await;
    assert_eq!((response.status, response.field("connection")), (429, Some("close")));
    assert!(rest.is_empty() && response.text().contains("limits.connections_per_client"));
    drop(held);
    while proxy.get(&origin.url("/")).await.status != 200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn long_targets_are_414_and_many_fields_431_rfc9112_3() {
    let origin = origin().await;
    origin.always("GET", &format!("/{}", "a".repeat(15_000)), Reply::new(200));
    let proxy = start(&[]).await;
    let long = |length| Request::new("GET", &origin.url(&format!("/{}", "a".repeat(length))));
    assert_eq!(proxy.request(&long(15_000)).await.status, 200);
    for length in [16_000, 70_000] {
        assert_eq!(proxy.request(&long(length)).await.status, 414, "{length}");
    }
    let many = |count| {
        let request = Request::new("GET", &origin.url("/"));
        (0..count).fold(request, |request, number| request.field(&format!("x-{number}"), "1"))
    };
    assert_eq!(proxy.request(&many(90)).await.status, 200);
    assert_eq!(proxy.request(&many(101)).await.status, 431);
    let more = start(&["--set", "limits.request_fields=500"]).await;
    assert_eq!(more.request(&many(400)).await.status, 200);
    assert_eq!(more.request(&many(501)).await.status, 431);
    let fewer = start(&["--set", "limits.request_fields=50"]).await;
    assert_eq!(fewer.request(&many(60)).await.status, 431);
}
