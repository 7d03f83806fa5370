//! Responses that two recipients could read differently (RFC 9112 §6.3, §11.1): refused with a 502, cut off, or passed on
//! as one message. After each, the same client asks for another page: it must get that page and nothing else, whatever
//! the origin left on its connection.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use testkit::client::{Client, Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::proxy::{Running, start};

/// An origin that answers each path with bytes as they are, and leaves the connection open behind them.
#[derive(Clone, Default)]
struct RawOrigin {
    script: Arc<Mutex<HashMap<String, Raw>>>,
    connections: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Raw {
    bytes: Vec<u8>,
    then_close: bool,
}

impl RawOrigin {
    async fn start() -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (origin, address) = (Self::default(), listener.local_addr().expect("an address"));
        let accepting = origin.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                accepting.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(accepting.clone().serve(stream));
            }
        });
        (origin, address)
    }

    fn on(&self, path: &str, raw: Raw) {
        self.script.lock().expect("a script").insert(path.to_owned(), raw);
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut ahead = Vec::new();
        loop {
            let end = ahead.windows(4).position(|window| window == b"\r\n\r\n");
            let Some(end) = end else {
                match stream.read_buf(&mut ahead).await {
                    Ok(1..) => continue,
                    _ => return,
                }
            };
            let head = String::from_utf8_lossy(&ahead[..end]).into_owned();
            ahead.drain(..end + 4);
            let path = head.split(' ').nth(1).unwrap_or_default();
            let raw = self.script.lock().expect("a script").get(path).cloned().expect("a scripted path");
            if stream.write_all(&raw.bytes).await.is_err() || raw.then_close {
                return;
            }
        }
    }
}

struct Stand {
    origin: RawOrigin,
    address: SocketAddr,
    proxy: Running,
    count: usize,
    faults: Vec<String>,
}

const NO_STORE: &str = "cache-control: no-store\n";
const FRESH: &str = "cache-control: max-age=60\n";

impl Stand {
    async fn start() -> Self {
        let (origin, address) = RawOrigin::start().await;
        let proxy = start(&["--set", "timeouts.idle=2s", "--set", "timeouts.resume=1s"]).await;
        let behind = b"HTTP/1.1 200 OK\r\ncache-control: no-store\r\ncontent-length: 6\r\n\r\nbehind";
        origin.on("/behind", Raw { bytes: behind.to_vec(), then_close: false });
        Self { origin, address, proxy, count: 0, faults: Vec::new() }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The origin answers `method` with `raw`, in which a line end is CRLF, `␊` a lone LF, `␍` a lone CR and `␀` NUL, and
    /// leaves its connection open unless `raw` ends with `✂`. `expected` is the status and the content the client
    /// gets, with `-` where the content was cut. It is the same whether or not the response may be stored, and so is
    /// what the next client gets.
    async fn check(&mut self, method: &str, raw: &str, expected: &str) {
        for caching in [NO_STORE, FRESH] {
            self.check_one(method, &raw.replace('¤', caching), expected).await;
        }
    }

    async fn check_one(&mut self, method: &str, raw: &str, expected: &str) {
        self.count += 1;
        let path = format!("/{}", self.count);
        let mut bytes = Vec::new();
        for character in raw.chars() {
            match character {
                '\n' => bytes.extend_from_slice(b"\r\n"),
                '␊' => bytes.push(b'\n'),
                '␍' => bytes.push(b'\r'),
                '␀' => bytes.push(0),
                '✂' => {}
                other => bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        self.origin.on(&path, Raw { bytes, then_close: raw.contains('✂') });
        let mut client = self.proxy.connect().await;
        for _ in 0..2 {
            let request = Request::new(method, &self.url(&path)).field("connection", "te");
            let found = ask(&mut client, &request.field("te", "trailers")).await;
            let shown = found.as_ref().map_or("nothing".to_owned(), shown);
            if shown != expected {
                self.faults.push(format!("{raw:?}\n    expected {expected:?}\n       found {shown:?}"));
            }
            if let Some(response) = &found {
                self.check_framing(raw, response);
            }
            if found
                .is_none_or(|response| !response.is_whole() || response.field("connection") == Some("close"))
            {
                client = self.proxy.connect().await;
            }
            let behind = ask(&mut client, &Request::new("GET", &self.url("/behind"))).await;
            let behind = behind.as_ref().map_or("nothing".to_owned(), shown_of);
            if behind != "200 behind" {
                self.faults.push(format!("{raw:?}\n    left {behind:?} for the next request"));
            }
        }
    }

    fn check_framing(&mut self, raw: &str, response: &Response) {
        let lengths = response.fields.values("content-length");
        let codings = response.fields.values("transfer-encoding");
        let framings = lengths.len() + codings.len();
        let digits = lengths.iter().all(|length| length.bytes().all(|byte| byte.is_ascii_digit()));
        if framings > 1 || !digits || codings.iter().any(|coding| *coding != "chunked") {
            self.faults.push(format!("{raw:?}\n    came as {:?}", response.fields));
        }
        for (name, value) in response.trailers.iter() {
            let smuggles = [
                "content-length",
                "transfer-encoding",
                "host",
                "authorization",
                "set-cookie",
                "connection",
                "keep-alive",
                "upgrade",
                "proxy-authenticate",
                "trailer",
                "te",
                "cache-control",
                "age",
                "location",
                "via",
                "vary",
                "date",
            ];
            if smuggles.contains(&name) {
                self.faults.push(format!("{raw:?}\n    came with the trailer {name}: {value}"));
            }
        }
    }

    fn finish(self) {
        assert!(self.faults.is_empty(), "{}", self.faults.join("\n"));
    }
}

async fn ask(client: &mut Client, request: &Request) -> Option<Response> {
    tokio::time::timeout(std::time::Duration::from_secs(15), client.request(request)).await.ok()?.ok()
}

fn shown(response: &Response) -> String {
    // The pages of refusals are long.
    let content = if response.status == 502 { String::new() } else { response.text() };
    let cut = if response.is_whole() { "" } else { "-" };
    format!("{} {content}{cut}", response.status)
}

fn shown_of(response: &Response) -> String {
    shown(response)
}

/// RFC 9112 §6.3.
#[tokio::test]
async fn responses_have_one_length_rfc9112_6_3() {
    let mut stand = Stand::start().await;
    for (raw, expected) in [
        ("HTTP/1.1 200 OK\n¤content-length: 5\n\nhello", "200 hello"),
        ("HTTP/1.1 200 OK\n¤content-length: 5\ncontent-length: 5\n\nhello", "200 hello"),
        ("HTTP/1.1 200 OK\n¤content-length: 5, 5\n\nhello", "200 hello"),
        ("HTTP/1.1 200 OK\n¤content-length: 5,5\ncontent-length: 5\n\nhello", "200 hello"),
        ("HTTP/1.1 200 OK\n¤content-length: 005\n\nhello", "200 hello"),
        ("HTTP/1.1 200 OK\n¤content-length: 5\ncontent-length: 6\n\nhello", "502 "),
        ("HTTP/1.1 200 OK\n¤content-length: 5, 6\n\nhello", "502 "),
        ("HTTP/1.1 200 OK\n¤content-length: +5\n\nhello", "502 "),
        ("HTTP/1.1 200 OK\n¤content-length: -5\n\nhello", "502 "),
        ("HTTP/1.1 200 OK\n¤content-length: 0x5\n\nhello", "502 "),
        ("HTTP/1.1 200 OK\n¤content-length: 5 5\n\nhello", "502 "),
        ("HTTP/1.1 200 OK\n¤content-length:\n\nhello", "502 "),
        ("HTTP/1.1 200 OK\n¤content-length: 18446744073709551616\n\nhello", "502 "),
        ("HTTP/1.1 200 OK\n¤content-length: 18446744073709551615\n\nhello", "502 "),
        ("HTTP/1.1 200 OK\n¤content-length: 7\n\nhello✂", "200 hello-"),
        (
            "HTTP/1.1 200 OK\n¤content-length: 5\n\nhelloHTTP/1.1 200 OK\ncontent-length: 4\n\nevil",
            "200 hello",
        ),
        ("HTTP/1.1 200 OK\n¤\nhello✂", "200 hello"),
        ("HTTP/1.0 200 OK\n¤\nhello✂", "200 hello"),
        ("HTTP/1.0 200 OK\n¤content-length: 5\nconnection: keep-alive\n\nhello", "200 hello"),
    ] {
        stand.check("GET", raw, expected).await;
    }
    stand.finish();
}

/// RFC 9112 §6.1, §7.1.
#[tokio::test]
async fn responses_are_chunked_once_rfc9112_6_1() {
    let mut stand = Stand::start().await;
    let chunks = "5\nhello\n0\n\n";
    for (fields, expected) in [
        ("transfer-encoding: chunked\n", "200 hello"),
        ("transfer-encoding: Chunked\n", "200 hello"),
        ("transfer-encoding: chunked\ncontent-length: 3\n", "200 hello"),
        ("content-length: 3\ntransfer-encoding: chunked\n", "200 hello"),
        ("transfer-encoding: chunked\ncontent-length: x\n", "200 hello"),
        ("transfer-encoding : chunked\n", "200 hello"),
        ("transfer-encoding:\n chunked\n", "200 hello"),
        ("transfer-encoding: chunked, chunked\n", "502 "),
        ("transfer-encoding: chunked\ntransfer-encoding: chunked\n", "502 "),
        ("transfer-encoding: gzip, chunked\n", "502 "),
        ("transfer-encoding: gzip\n", "502 "),
        ("transfer-encoding: identity\n", "502 "),
        ("transfer-encoding: chunked, identity\n", "502 "),
        ("transfer-encoding: xchunked\n", "502 "),
        ("transfer-encoding: chunked;x\n", "502 "),
        ("transfer-encoding: \u{b}chunked\n", "502 "),
        ("transfer-encoding: x\ntransfer-encoding: chunked\n", "502 "),
        ("transfer-encoding:\n", "502 "),
        ("x: y␊transfer-encoding: chunked\n", "200 hello"),
        ("x: y␍transfer-encoding: chunked\n", "502 "),
    ] {
        stand.check("GET", &format!("HTTP/1.1 200 OK\n¤{fields}\n{chunks}"), expected).await;
    }
    stand.check("GET", &format!("HTTP/1.0 200 OK\n¤transfer-encoding: chunked\n\n{chunks}"), "502 ").await;
    for (chunks, expected) in [
        ("5;x=y\nhello\n0;z\n\n", "200 hello"),
        ("5 \nhello\n0\n\n", "200 hello"),
        ("+5\nhello\n0\n\n", "200 -"),
        ("0x5\nhello\n0\n\n", "200 -"),
        ("FFFFFFFFFFFFFFFFF\nhello\n0\n\n", "200 -"),
        ("5␊hello\n0\n\n", "200 -"),
        ("4\nhello\n0\n\n", "200 hell-"),
        ("5\nhello✂", "200 hello-"),
        ("5\nhello\n✂", "200 hello-"),
        ("5\nhello\n0\n✂", "200 hello-"),
        ("9\nhello✂", "200 hello-"),
        ("5\nhello\n0\n\nHTTP/1.1 200 OK\ncontent-length: 4\n\nevil", "200 hello"),
    ] {
        stand
            .check("GET", &format!("HTTP/1.1 200 OK\n¤transfer-encoding: chunked\n\n{chunks}"), expected)
            .await;
    }
    stand.finish();
}

/// RFC 9112 §6.3, first point: "Any response to a HEAD request and any response with a 1xx (Informational), 204 (No
/// Content), or 304 (Not Modified) status code is always terminated by the first empty line after the header fields".
#[tokio::test]
async fn what_follows_a_response_without_content_reaches_nobody_rfc9112_6_3() {
    let mut stand = Stand::start().await;
    let evil = "HTTP/1.1 200 OK\ncontent-length: 4\n\nevil";
    for (method, raw, expected) in [
        ("GET", format!("HTTP/1.1 204 No Content\n¤\n{evil}"), "204 "),
        ("GET", format!("HTTP/1.1 204 No Content\n¤content-length: 5\n\nhello{evil}"), "204 "),
        (
            "GET",
            format!("HTTP/1.1 204 No Content\n¤transfer-encoding: chunked\n\n5\nhello\n0\n\n{evil}"),
            "204 ",
        ),
        ("GET", format!("HTTP/1.1 304 Not Modified\n¤\n{evil}"), "502 "),
        ("GET", format!("HTTP/1.1 205 Reset Content\n¤content-length: 0\n\n{evil}"), "205 "),
        ("HEAD", format!("HTTP/1.1 200 OK\n¤content-length: 5\n\nhello{evil}"), "200 "),
        ("HEAD", format!("HTTP/1.1 200 OK\n¤transfer-encoding: chunked\n\n5\nhello\n0\n\n{evil}"), "200 "),
        ("GET", format!("HTTP/1.1 200 OK\n¤content-length: 0\n\n{evil}"), "200 "),
        (
            "GET",
            format!("HTTP/1.1 103 Early Hints\nlink: </x>\n\nHTTP/1.1 204 No Content\n¤\n{evil}"),
            "204 ",
        ),
        (
            "GET",
            format!(
                "HTTP/1.1 100 Continue\ncontent-length: 40\n\nHTTP/1.1 200 OK\n¤content-length: 5\n\nhello{evil}"
            ),
            "200 hello",
        ),
        (
            "GET",
            format!("HTTP/1.1 101 Switching Protocols\nupgrade: x\nconnection: upgrade\n\n{evil}"),
            "502 ",
        ),
        ("GET", format!("HTTP/1.1 101 Switching Protocols\n\n{evil}"), "502 "),
        (
            "GET",
            format!(
                "HTTP/1.1 206 Partial Content\n¤content-range: bytes 0-4/9\ncontent-length: 5\n\nhello{evil}"
            ),
            "206 hello",
        ),
        ("GET", format!("HTTP/1.1 206 Partial Content\n¤content-length: 5\n\nhello{evil}"), "206 hello"),
        (
            "GET",
            format!(
                "HTTP/1.1 416 Range Not Satisfiable\n¤content-range: bytes */9\ncontent-length: 0\n\n{evil}"
            ),
            "416 ",
        ),
    ] {
        stand.check(method, &raw, expected).await;
    }
    stand.finish();
}

/// RFC 9112 §4, §5.
#[tokio::test]
async fn response_heads_are_refused_or_made_plain_rfc9112_4() {
    let mut stand = Stand::start().await;
    for (head, expected) in [
        ("HTTP/1.1 200\n", "200 hello"),
        ("HTTP/1.1 200 \n", "200 hello"),
        ("HTTP/1.1 200 O\u{e9}K\n", "200 hello"),
        ("HTTP/1.1 200 O␀K\n", "502 "),
        ("HTTP/1.1 200 O␍K\n", "502 "),
        ("HTTP/1.1 200 OK␊", "200 hello"),
        ("HTTP/1.1  200 OK\n", "502 "),
        ("HTTP/1.1 20 OK\n", "502 "),
        ("HTTP/1.1 2000 OK\n", "502 "),
        ("HTTP/1.1 099 OK\n", "502 "),
        ("HTTP/1.1 999 OK\n", "999 hello"),
        ("HTTP/1.1 2x0 OK\n", "502 "),
        ("HTTP/2.0 200 OK\n", "502 "),
        ("HTTP/1.2 200 OK\n", "502 "),
        ("HTTP/0.9 200 OK\n", "502 "),
        ("ICY 200 OK\n", "502 "),
        ("hello\n", "502 "),
        ("\n\nHTTP/1.1 200 OK\n", "200 hello"),
        ("HTTP/1.1 200 OK\nx : y\n", "200 hello"),
        ("HTTP/1.1 200 OK\nx: y\n folded\n", "200 hello"),
        ("HTTP/1.1 200 OK\n x: y\n", "502 "),
        ("HTTP/1.1 200 OK\nx y: z\n", "502 "),
        ("HTTP/1.1 200 OK\nx␀: z\n", "502 "),
        ("HTTP/1.1 200 OK\nx: a␀b\n", "502 "),
        ("HTTP/1.1 200 OK\nx: a␍b\n", "502 "),
        ("HTTP/1.1 200 OK\nx: a␊b: c\n", "200 hello"),
        ("HTTP/1.1 200 OK\n: y\n", "502 "),
        ("HTTP/1.1 200 OK\nx\n", "502 "),
        ("HTTP/1.1 200 OK\nlocation: /a%0d%0aset-cookie: x\n", "200 hello"),
        ("HTTP/1.1 200 OK\nconnection: content-length, cache-control\n", "200 hello"),
    ] {
        stand.check("GET", &format!("{head}¤content-length: 5\n\nhello"), expected).await;
    }
    stand.finish();
}

/// RFC 9110 §6.5.1: "A sender MUST NOT generate a trailer field unless the sender knows the corresponding header field
/// name's definition permits sending that field in trailers".
#[tokio::test]
async fn trailers_smuggle_nothing_rfc9110_6_5_1() {
    let mut stand = Stand::start().await;
    let names = "content-length, transfer-encoding, host, authorization, set-cookie, connection, keep-alive, upgrade, \
                 proxy-authenticate, te, cache-control, age, location, via, vary, date";
    let trailers = "content-length: 9\ntransfer-encoding: chunked\nhost: x\nauthorization: x\nset-cookie: a=b\n\
                    connection: close\nkeep-alive: x\nupgrade: x\nproxy-authenticate: x\ntrailer: x\nte: x\n\
                    cache-control: max-age=9999\nage: 1\nlocation: /x\nvia: x\nvary: x\ndate: x\n";
    let head = format!("HTTP/1.1 200 OK\n¤trailer: {names}\ntransfer-encoding: chunked\n\n");
    stand.check("GET", &format!("{head}5\nhello\n0\n{trailers}\n"), "200 hello").await;
    let head = "HTTP/1.1 200 OK\n¤transfer-encoding: chunked\n\n5\nhello\n0\n";
    stand.check("GET", &format!("{head}x y: z\n\n"), "200 hello-").await;
    stand.check("GET", &format!("{head} x: z\n\n"), "200 hello-").await;
    stand.check("GET", &format!("{head}x: a␀b\n\n"), "200 hello-").await;
    stand.check("GET", &format!("{head}x: {}\n\n", "y".repeat(70_000)), "200 hello-").await;
    stand.check("GET", &format!("{head}{}\n", "x: y\n".repeat(1000)), "200 hello-").await;
    stand.finish();
}

/// RFC 9112 §6.3: a message with both framings "ought to be handled as an error"; what is behind it is not believed.
#[tokio::test]
async fn a_connection_of_doubtful_framing_carries_nothing_more_rfc9112_6_3() {
    let stand = Stand::start().await;
    let clear = "HTTP/1.1 200 OK\r\ncache-control: no-store\r\ntransfer-encoding: chunked\r\n";
    for (path, also, expected) in [("/clear", "", 1), ("/doubtful", "content-length: 5\r\n", 3)] {
        let bytes = format!("{clear}{also}\r\n5\r\nhello\r\n0\r\n\r\n").into_bytes();
        stand.origin.on(path, Raw { bytes, then_close: false });
        let mut client = stand.proxy.connect().await;
        for _ in 0..3 {
            let response = ask(&mut client, &Request::new("GET", &stand.url(path))).await;
            assert_eq!(response.expect("a response").text(), "hello");
        }
        // One of those for /clear is still open.
        let connections = stand.origin.connections.swap(0, Ordering::Relaxed);
        assert!((expected - 1..=expected).contains(&connections), "{path}: {connections}");
    }
}

/// RFC 9110 §7.8: "A server MUST NOT switch to a protocol that was not indicated by the client".
#[tokio::test]
async fn only_a_protocol_that_was_asked_for_is_switched_to_rfc9110_7_8() {
    let stand = Stand::start().await;
    for (asked, switched, expected) in [
        ("websocket", "upgrade: websocket\r\n", 101),
        ("foo/1, websocket", "upgrade: WebSocket\r\n", 101),
        ("websocket", "upgrade: h2c\r\n", 502),
        ("websocket", "upgrade: websocket, foo\r\n", 502),
        ("websocket", "upgrade: \r\n", 502),
        ("websocket", "", 502),
        ("h2c", "upgrade: h2c\r\n", 502),
    ] {
        let bytes = format!("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n{switched}\r\n");
        stand.origin.on("/", Raw { bytes: bytes.into_bytes(), then_close: false });
        let request =
            Request::new("GET", &stand.url("/")).field("connection", "upgrade").field("upgrade", asked);
        let mut client = stand.proxy.connect().await;
        client.send(&request.to_bytes()).await.expect("sent");
        let head = client.receive_head().await.expect("a head");
        assert!(
            head.start_line.starts_with(&format!("HTTP/1.1 {expected}")),
            "{asked} {switched}: {}",
            head.start_line
        );
    }
}
