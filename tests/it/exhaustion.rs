//! Peers that take time, memory or connections and give nothing: each is dropped within its limit, and what it costs grows
//! no faster than what it sends.

use std::time::{Duration, Instant};

use testkit::client::{Client, Request};
use testkit::message::Ending;
use testkit::origin::Origin;
use testkit::reply::{Gate, Reply};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::proxy::{Running, start};

/// Longer than any limit these tests set, and far shorter than the defaults.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the proxy sends to one who has sent `bytes` and stays silent, until it ends the connection.
async fn silence(proxy: &Running, bytes: &[u8]) -> String {
    let mut client = proxy.connect().await;
    client.send(bytes).await.expect("sent");
    let rest = tokio::time::timeout(PATIENCE, client.receive_rest());
    let received = rest.await.expect("the connection is ended").unwrap_or_default();
    String::from_utf8_lossy(&received).into_owned()
}

#[tokio::test]
async fn a_head_that_never_ends_ends_the_connection() {
    let proxy = start(&["--set", "timeouts.request_head=300ms"]).await;
    for bytes in [
        "",
        "\r\n",
        "G",
        "GET http://127.0.0.1:9/ HTTP/1.1\r\nhost: a\r\n",
        "GET http://127.0.0.1:9/ HTTP/1.1\r\nx",
    ] {
        let received = silence(&proxy, bytes.as_bytes()).await;
        assert!(received.is_empty() || received.starts_with("HTTP/1.1 4"), "{bytes:?}: {received}");
    }
}

/// Slowloris: every byte comes in time, the head does not.
#[tokio::test]
async fn a_head_that_trickles_in_ends_the_connection() {
    let proxy = start(&["--set", "timeouts.request_head=500ms"]).await;
    let stream = TcpStream::connect(proxy.address()).await.expect("a connection");
    let (mut reading, mut writing) = stream.into_split();
    let trickle = async {
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        for byte in b"GET http://127.0.0.1:9/ HTTP/1.1\r\n".iter().chain(b"x: y\r\n".iter().cycle()) {
            pace.tick().await;
            if writing.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
        std::future::pending().await
    };
    let mut received = Vec::new();
    let ended = async {
        tokio::select! {
            ended = reading.read_to_end(&mut received) => ended,
            never = trickle => never,
        }
    };
    assert!(tokio::time::timeout(PATIENCE, ended).await.is_ok(), "the connection is ended");
    // For its slowness: it is far from too large.
    let received = String::from_utf8_lossy(&received);
    assert!(received.is_empty() || received.starts_with("HTTP/1.1 408 "), "{received}");
}

#[tokio::test]
async fn an_idle_connection_is_ended() {
    let (origin, proxy) =
        (Origin::start().await.expect("an origin"), start(&["--set", "timeouts.request_head=300ms"]).await);
    origin.always("GET", "/", Reply::new(200).body("x"));
    let mut client = proxy.connect().await;
    assert_eq!(client.request(&Request::new("GET", &origin.url("/"))).await.expect("a response").status, 200);
    let rest = tokio::time::timeout(PATIENCE, client.receive_rest()).await.expect("the connection is ended");
    assert!(rest.unwrap_or_default().is_empty());
}

/// RFC 9110 §15.5.9.
#[tokio::test]
async fn an_upload_that_falls_silent_is_answered_and_ended() {
    let (origin, proxy) =
        (Origin::start().await.expect("an origin"), start(&["--set", "timeouts.client=300ms"]).await);
    origin.always("POST", "/", Reply::new(200));
    for framing in [
        "content-length: 10\r\n\r\nhello",
        "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: ",
    ] {
        let head = format!("POST {} HTTP/1.1\r\nhost: a\r\n{framing}", origin.url("/"));
        let received = silence(&proxy, head.as_bytes()).await;
        assert!(received.starts_with("HTTP/1.1 408 "), "{framing:?}: {received}");
    }
    // An answer of our own does not wait for content, and does not read it for ever either.
    let head = "POST /not-a-proxy-request HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nhello";
    let received = silence(&proxy, head.as_bytes()).await;
    assert!(received.starts_with("HTTP/1.1 400 ") && received.contains("connection: close"), "{received}");
}

/// A client that asks for much and takes nothing.
#[tokio::test]
async fn a_client_that_takes_nothing_is_dropped() {
    let proxy = start(&["--set", "timeouts.client=500ms"]).await;
    let (url, served) = endless_origin(false).await;
    let mut client = proxy.connect().await;
    client.send(&Request::new("GET", &url).to_bytes()).await.expect("sent");
    client.receive_head().await.expect("a head");
    let served = tokio::time::timeout(PATIENCE, served).await.expect("it is fetched for nobody");
    assert!(served.expect("an origin").1 < ENDLESS, "it was not waited for");
    let rest = tokio::time::timeout(PATIENCE, client.receive_rest()).await.expect("the connection is ended");
    assert!(rest.map_or(0, |rest| rest.len()) < ENDLESS);
}

/// RFC 9209 §2.3.9: before the head and within the content.
#[tokio::test]
async fn an_origin_that_falls_silent_is_given_up() {
    let (origin, proxy) =
        (Origin::start().await.expect("an origin"), start(&["--set", "timeouts.idle=300ms"]).await);
    let gate = Gate::closed();
    let reply = || Reply::new(200).field("cache-control", "no-store").body("hello");
    origin.on("GET", "/never", reply().wait(&gate));
    origin.on("GET", "/half", reply().hold_after(2, &gate));
    let never = tokio::time::timeout(PATIENCE, proxy.get(&origin.url("/never"))).await.expect("an answer");
    assert_eq!(never.status, 504);
    let half = tokio::time::timeout(PATIENCE, proxy.get(&origin.url("/half"))).await.expect("an end");
    assert_eq!((half.status, half.ending), (200, Ending::Cut));
}

/// CPU time of this process, which is all that runs here, so far.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Some proxies compare each field with every other.
#[tokio::test]
async fn five_thousand_fields_cost_no_more_than_they_are_long() {
    let proxy = start(&["--set", "limits.request_head=1M"]).await;
    let request = |fields: usize, name: fn(usize) -> String| {
        let lines: String = (0..fields).map(|at| format!("{}: y\r\n", name(at))).collect();
        format!("GET http://127.0.0.1:9/ HTTP/1.1\r\nhost: a\r\n{lines}\r\n")
    };
    for name in [|at: usize| format!("x-{at}"), |_: usize| "x".to_owned(), |_: usize| "connection".to_owned()]
    {
        let bytes = request(5_000, name);
        let mut client = proxy.connect().await;
        let before = cpu_time();
        client.send(bytes.as_bytes()).await.expect("sent");
        let status = client.receive("GET").await.expect("a response").status;
        let spent = cpu_time() - before;
        assert_eq!(status, 431);
        // Without optimisation; a release build takes a tenth of it.
        assert!(spent < Duration::from_millis(200), "{spent:?} for {} bytes", bytes.len());
    }
}

#[tokio::test]
async fn five_thousand_fields_of_an_origin_are_refused() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    let lines: String = (0..5_000).map(|at| format!("x-{at}: y\r\n")).collect();
    origin.on("GET", "/", Reply::raw(format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{lines}\r\n")));
    let before = cpu_time();
    let response = proxy.get(&origin.url("/")).await;
    let spent = cpu_time() - before;
    assert_eq!(response.status, 502);
    assert!(spent < Duration::from_millis(200), "{spent:?}");
}

#[tokio::test]
async fn a_head_of_ten_megabytes_is_cut_at_the_limit() {
    let proxy = start(&[]).await;
    for head in [
        "GET http://127.0.0.1:9/ HTTP/1.1\r\nx: ",
        "GET http://127.0.0.1:9/",
        "",
        "GET http://127.0.0.1:9/ HTTP/1.1\r\nhost: a\r\n",
    ] {
        let line = if head.ends_with("a\r\n") {
            "x: yyyyyyyyyyyyyyyyyyyyyyy\r\n"
        } else {
            "yyyyyyyyyyyyyyyyyyyyyyyyyyyy"
        };
        let stream = TcpStream::connect(proxy.address()).await.expect("a connection");
        let (mut reading, mut writing) = stream.into_split();
        let sending = async {
            let mut sent = writing.write(head.as_bytes()).await.unwrap_or(0);
            let piece = line.repeat(1000);
            while sent < 10_000_000 {
                match writing.write(piece.as_bytes()).await {
                    Ok(written @ 1..) => sent += written,
                    _ => break,
                }
            }
            sent
        };
        let mut received = Vec::new();
        let (sent, _) = tokio::join!(sending, reading.read_to_end(&mut received));
        let received = String::from_utf8_lossy(&received);
        // What is sent beyond the limit is thrown away for a second at most.
        assert!(received.starts_with("HTTP/1.1 4"), "{head:?} after {sent}: {received}");
    }
}

/// RFC 9112 §7.1.2: "A recipient MUST ignore unrecognized chunk extensions", and limit them (§7.1.1).
#[tokio::test]
async fn chunk_extensions_and_trailers_have_limits() {
    let (origin, proxy) =
        (Origin::start().await.expect("an origin"), start(&["--set", "timeouts.client=1s"]).await);
    origin.always("POST", "/", Reply::new(200));
    for chunks in [
        format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(100_000)),
        format!("{}0\r\n\r\n", "1;xxxxxxxxx\r\ny\r\n".repeat(5_000)),
        format!("5\r\nhello\r\n0\r\nx: {}\r\n\r\n", "y".repeat(200_000)),
        format!("5\r\nhello\r\n0\r\n{}\r\n", "x: y\r\n".repeat(5_000)),
    ] {
        let head =
            format!("POST {} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n", origin.url("/"));
        let mut client = proxy.connect().await;
        // It may be answered and ended before all of it is sent.
        let _ = client.send(format!("{head}{chunks}").as_bytes()).await;
        let status = client.receive("POST").await.map(|response| response.status);
        assert!(matches!(status, Ok(400..=499)), "{status:?}");
    }
}

/// RFC 9110 §9.2.2: what is sent again, and how often.
#[tokio::test]
async fn a_request_that_fails_is_sent_three_times_at_most_and_a_post_once() {
    let (origin, proxy) =
        (Origin::start().await.expect("an origin"), start(&["--set", "timeouts.resume=1s"]).await);
    for (method, most) in [("GET", 3), ("HEAD", 3), ("PUT", 3), ("POST", 1), ("PATCH", 1), ("FOO", 1)] {
        let path = format!("/{method}");
        origin.always(method, &path, Reply::close());
        for prepared in [false, true] {
            if prepared {
                // So that a connection is there that was used before.
                origin.on("GET", "/ready", Reply::new(200).field("cache-control", "no-store"));
                assert_eq!(proxy.get(&origin.url("/ready")).await.status, 200);
            }
            let before = origin.request_count();
            let request = Request::new(method, &origin.url(&path)).field("content-length", "0");
            assert_eq!(proxy.request(&request).await.status, 502, "{method}");
            let sent = origin.request_count() - before;
            assert!((1..=most).contains(&sent), "{method} was sent {sent} times");
        }
    }
}

/// Bytes of content that nobody waits for.
const ENDLESS: usize = 1_000_000_000;

/// An origin whose response to any request goes on, or is waited for in vain, until its connection is closed, and which tells when that was and how
/// much of the content had gone.
async fn endless_origin(is_silent: bool) -> (String, tokio::task::JoinHandle<(Instant, usize)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut head = [0; 4096];
        let _ = stream.read(&mut head).await;
        let start =
            format!("HTTP/1.1 200 OK\r\ncache-control: no-store\r\ncontent-length: {ENDLESS}\r\n\r\n");
        stream.write_all(start.as_bytes()).await.expect("sent");
        let (mut reading, mut writing) = stream.into_split();
        let mut sent = 0;
        loop {
            tokio::select! {
                read = reading.read(&mut head) => if matches!(read, Ok(0) | Err(_)) { return (Instant::now(), sent) },
                written = writing.write(&[b'x'; 16_384]), if !is_silent => match written {
                    Ok(written) => sent += written,
                    Err(_) => return (Instant::now(), sent),
                },
            }
        }
    });
    (url, served)
}

/// A client that closes looks like one that half-closes until something is sent to it, for which a silent origin gives no
/// occasion (RFC 9112 §9.6).
#[tokio::test]
async fn a_fetch_for_nobody_is_given_up_within_a_second() {
    for is_silent in [false, true] {
        let proxy = start(&[]).await;
        let (url, served) = endless_origin(is_silent).await;
        let mut client = Client::connect(proxy.address()).await.expect("a connection");
        client.send(&Request::new("GET", &url).to_bytes()).await.expect("sent");
        client.receive_head().await.expect("a head");
        drop(client);
        let left = Instant::now();
        let (closed, _) = tokio::time::timeout(PATIENCE, served).await.expect("in time").expect("an origin");
        // A second is the goal; the rest is for machines that have other work.
        assert!(closed - left < Duration::from_secs(2), "{is_silent}: {:?}", closed - left);
    }
}

/// Fields that somebody here reads as a list, and a member of it.
const LISTS: &str = r#"
    x a,|connection a,|connection x-9,|te trailers,|vary a,|vary x-1,|cache-control a,|cache-control max-age=1,
    cache-control no-cache="a,b",|cache-control private="x-1",|if-none-match "a",|if-none-match W/"v",|if-match "a",
    range 1-2,|via 1.1 a,|accept-encoding a;q=0.5,|accept-language a-b,|upgrade a,|pragma a,|cookie a=b;|expect a,
    forwarded for=a,|forwarded a=b;|date 1|expires a |age 1,|etag "a",|content-type a/b;c=d;|cache-status a;b=c,
    content-location ../|location ../|set-cookie a=b;|trailer a,|warning 199 - "a",|content-encoding a,|link </a>;b=c,
    proxy-authorization Basic |content-range bytes 1-2/3|if-range "a"|cdn-cache-control max-age=1,
"#;

/// Processor time for one of them, without optimisation; a release build takes a tenth of it.
const MOST_SPENT: Duration = Duration::from_millis(300);

/// Thousands of members and many fields beside them, asked for, stored, and answered from what is stored.
#[tokio::test]
async fn long_lists_in_fields_cost_no_more_than_they_are_long() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    let others: Vec<_> = (0..90).map(|at| format!("x-{at}")).collect();
    let lists = LISTS.split(['|', '\n']).map(str::trim_start).filter(|list| !list.is_empty());
    for (at, list) in lists.enumerate() {
        let (name, member) = list.split_once(' ').expect("a name and a member");
        let start = if name == "range" { "bytes=" } else { "" };
        let value = format!("{start}{}", member.repeat(50_000 / member.len()));
        let ask = async |path: String| {
            let mut reply =
                Reply::new(200).field("etag", "\"v\"").field("cache-control", "max-age=60").body("hello");
            let mut request = Request::new("GET", &origin.url(&path));
            for other in &others {
                reply = reply.field(other, "y");
                request = request.field(other, "y");
            }
            origin.always("GET", &path, reply.field(name, &value));
            let request = request.field(name, &value);
            let mut most = Duration::ZERO;
            for _ in 0..3 {
                let before = cpu_time();
                proxy.request(&request).await;
                most = most.max(cpu_time() - before);
            }
            most
        };
        let mut spent = Duration::MAX;
        // What a processor does for others may count as ours: what costs too much does so each time.
        for again in 0..3 {
            spent = spent.min(ask(format!("/{at}/{again}")).await);
            if spent < MOST_SPENT {
                break;
            }
        }
        assert!(spent < MOST_SPENT, "{list}: {spent:?}");
    }
}
