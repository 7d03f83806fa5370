//! Requests that two recipients could read differently (RFC 9112 §11.2): refused, or passed on as one message that can
//! be read in one way only. Each goes out on a connection of its own with a plain request behind it, so that a request
//! nobody framed would show at the origin, and an answer too many at the client.

use std::fmt::Write as _;
use std::time::Duration;

use testkit::client::{Client, Request};
use testkit::message::Ending;
use testkit::origin::{Origin, Received};
use testkit::reply::Reply;

use crate::proxy::{Running, start};

/// Longest that one exchange may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// An origin, a proxy before it, and what was wrong so far.
pub(crate) struct Stand {
    origin: Origin,
    proxy: Running,
    faults: Vec<String>,
}

/// Bytes from a text in which a line end is CRLF, `␊` a lone LF, `␍` a lone CR, `␀` NUL, `␋` VT, `␉` a tab and `¤` the
/// origin's authority.
fn wire(text: &str, authority: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for character in text.chars() {
        match character {
            '\n' => bytes.extend_from_slice(b"\r\n"),
            '␊' => bytes.push(b'\n'),
            '␍' => bytes.push(b'\r'),
            '␀' => bytes.push(0),
            '␋' => bytes.push(0x0b),
            '␉' => bytes.push(b'\t'),
            'ÿ' => bytes.push(0xff),
            '¤' => bytes.extend_from_slice(authority.as_bytes()),
            other => bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

impl Stand {
    pub(crate) async fn start() -> Self {
        let answer = |_: &Received| Some(Reply::new(200).field("cache-control", "no-store").body("ok"));
        let origin = Origin::with_handler(answer).await.expect("an origin");
        // The client's connection is not held open by a body that never comes.
        let proxy = start(&["--set", "timeouts.idle=2s", "--set", "timeouts.request_head=2s"]).await;
        Self { origin, proxy, faults: Vec::new() }
    }

    /// Sends `text` and, on the same connection, `GET /behind`. `expected` is what the client got and what the origin
    /// saw, as `statuses | method target content; ...`; a body that never ended has `...` behind it.
    pub(crate) async fn check(&mut self, text: &str, expected: &str) {
        let authority = self.origin.address().to_string();
        let behind = "GET http://¤/behind HTTP/1.1\nhost: ¤\nconnection: close\n\n";
        let bytes = wire(&format!("{text}{behind}"), &authority);
        let before = self.origin.request_count();
        let exchange = async {
            let mut client = self.proxy.connect().await;
            client.send(&bytes).await.expect("sent");
            let method = if text.starts_with("HEAD") { "HEAD" } else { "GET" };
            answers(&mut client, method).await
        };
        let mut found = match tokio::time::timeout(PATIENCE, exchange).await {
            Ok(answers) => answers,
            Err(_) => "hangs".to_owned(),
        };
        let requests = self.origin.requests();
        // One that broke off is no request, and the origin notes it whenever it likes.
        let whole = requests.iter().skip(before).filter(|seen| seen.ending != Ending::Cut);
        for (at, seen) in whole.enumerate() {
            let divider = if at == 0 { " |" } else { ";" };
            let content = String::from_utf8_lossy(&seen.body);
            let line = format!("{divider} {} {} {content}", seen.method, seen.target);
            found.push_str(&line.trim_end().replace(&authority, "¤"));
            self.check_framing(text, seen);
        }
        if found != expected {
            self.faults.push(format!("{text:?}\n    expected {expected:?}\n       found {found:?}"));
        }
    }

    /// What goes on is framed once, names its host once, and every line of it ends as a line should.
    fn check_framing(&mut self, text: &str, seen: &Received) {
        let count = |name: &str| seen.fields.values(name).len();
        let raw = &seen.raw_head;
        let ends = raw.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let lone = ends.filter(|(at, _)| raw.get(at.wrapping_sub(1)) != Some(&b'\r')).count();
        let returns = raw.iter().filter(|byte| **byte == b'\r').count();
        let lines = raw.iter().filter(|byte| **byte == b'\n').count();
        let odd = raw.iter().any(|byte| *byte < b' ' && !b"\r\n\t".contains(byte) || *byte == 127);
        let codings = seen.fields.values("transfer-encoding");
        let framings = count("content-length") + codings.len();
        if count("host") != 1 || framings > 1 || lone > 0 || returns != lines || odd {
            let head = String::from_utf8_lossy(raw);
            self.faults.push(format!("{text:?}\n    went on as {head:?}"));
        }
        if codings.iter().any(|coding| *coding != "chunked") || seen.version != "HTTP/1.1" {
            self.faults.push(format!("{text:?}\n    went on with {codings:?} as {}", seen.version));
        }
    }

    pub(crate) fn finish(self) {
        assert!(self.faults.is_empty(), "{}", self.faults.join("\n"));
    }
}

/// The statuses of all responses on the connection, to its end.
async fn answers(client: &mut Client, method: &str) -> String {
    let mut statuses = String::new();
    let mut method = method;
    loop {
        match client.receive(method).await {
            Ok(response) => {
                let whole = if response.is_whole() { "" } else { "-" };
                let _ = write!(statuses, "{}{whole} ", response.status);
            }
            Err(_) => return statuses.trim_end().to_owned(),
        }
        method = "GET";
    }
}

const POST: &str = "POST http://¤/a HTTP/1.1\nhost: ¤\n";

/// RFC 9112 §6.3: which of several lengths counts. CVE-2020-10108 (Twisted), CVE-2019-15605 (Node.js).
#[tokio::test]
async fn lengths_that_contradict_each_other_are_refused_rfc9112_6_3() {
    let mut stand = Stand::start().await;
    for (fields, expected) in [
        ("content-length: 5\n\nhello", "200 200 | POST /a hello; GET /behind"),
        ("content-length: 5\ncontent-length: 5\n\nhello", "200 200 | POST /a hello; GET /behind"),
        ("content-length: 5, 5\n\nhello", "400"),
        ("content-length: 5\ncontent-length: 6\n\nhello", "400"),
        ("content-length: 5, 6\n\nhello", "400"),
        ("content-length: +5\n\nhello", "400"),
        ("content-length: -5\n\nhello", "400"),
        ("content-length: 5 \n\nhello", "200 200 | POST /a hello; GET /behind"),
        ("content-length:5\n\nhello", "200 200 | POST /a hello; GET /behind"),
        ("content-length: 05\n\nhello", "200 200 | POST /a hello; GET /behind"),
        ("content-length: 0x5\n\nhello", "400"),
        ("content-length: 5;\n\nhello", "400"),
        ("content-length: \"5\"\n\nhello", "400"),
        ("content-length: 5 5\n\nhello", "400"),
        ("content-length:\n\nhello", "400"),
        ("content-length: 18446744073709551616\n\nhello", "400"),
        ("content-length: 18446744073709551615\n\nhello", "431"),
        ("content-length: 99999999999999999999999\n\nhello", "400"),
        ("content-length : 5\n\nhello", "400"),
        ("content-length␀: 5\n\nhello", "400"),
        ("content_length: 5\n\n", "200 200 | POST /a; GET /behind"),
    ] {
        stand.check(&format!("{POST}{fields}"), expected).await;
    }
    stand.finish();
}

/// CVE-2019-18277 (HAProxy), CVE-2022-32215 (Node.js), CVE-2019-20445 (Netty).
#[tokio::test]
async fn transfer_codings_are_chunked_or_refused_rfc9112_6_1() {
    let mut stand = Stand::start().await;
    let chunks = "5\nhello\n0\n\n";
    for (fields, expected) in [
        ("transfer-encoding: chunked\n", "200 200 | POST /a hello; GET /behind"),
        ("Transfer-Encoding: CHUNKED\n", "200 200 | POST /a hello; GET /behind"),
        ("transfer-encoding:chunked\n", "200 200 | POST /a hello; GET /behind"),
        ("transfer-encoding: chunked \n", "200 200 | POST /a hello; GET /behind"),
        ("transfer-encoding: chunked, chunked\n", "501"),
        ("transfer-encoding: chunked\ntransfer-encoding: chunked\n", "501"),
        ("transfer-encoding: gzip, chunked\n", "501"),
        ("transfer-encoding: gzip\ntransfer-encoding: chunked\n", "501"),
        ("transfer-encoding: chunked, gzip\n", "400"),
        ("transfer-encoding: identity\n", "400"),
        ("transfer-encoding: chunked, identity\n", "400"),
        ("transfer-encoding: identity, chunked\n", "501"),
        ("transfer-encoding: chunked\ntransfer-encoding: identity\n", "400"),
        ("transfer-encoding: xchunked\n", "400"),
        ("transfer-encoding: chunked;x=1\n", "400"),
        ("transfer-encoding: \"chunked\"\n", "400"),
        ("transfer-encoding: ␋chunked\n", "400"),
        ("transfer-encoding: chunked␋\n", "400"),
        ("transfer-encoding: ␉chunked␉\n", "200 200 | POST /a hello; GET /behind"),
        ("transfer-encoding: chunkedÿ\n", "400"),
        ("transfer-encoding: ,chunked\n", "501"),
        ("transfer-encoding: chunked,\n", "400"),
        ("transfer-encoding:\n", "400"),
        ("transfer-encoding:\n chunked\n", "400"),
        ("transfer-encoding : chunked\n", "400"),
        (" transfer-encoding: chunked\n", "400"),
        ("x: y␊transfer-encoding: chunked\n", "200 200 | POST /a hello; GET /behind"),
        ("x: y␍transfer-encoding: chunked\n", "400"),
        (
            "transfer_encoding: chunked\ncontent-length: 15\n",
            "200 200 | POST /a 5\r\nhello\r\n0; GET /behind",
        ),
        ("content-length: 4\ntransfer-encoding: chunked\n", "200 | POST /a hello"),
        ("transfer-encoding: chunked\ncontent-length: 4\n", "200 | POST /a hello"),
        ("transfer-encoding: chunked\ncontent-length: x\n", "200 | POST /a hello"),
        ("content-length: 4\ncontent-length: 5\ntransfer-encoding: chunked\n", "400"),
        (
            "connection: transfer-encoding\ntransfer-encoding: chunked\n",
            "200 200 | POST /a hello; GET /behind",
        ),
        (
            "connection: content-length\ncontent-length: 15\n",
            "200 200 | POST /a 5\r\nhello\r\n0; GET /behind",
        ),
    ] {
        stand.check(&format!("{POST}{fields}\n{chunks}"), expected).await;
    }
    let old = "POST http://¤/a HTTP/1.0\nhost: ¤\nconnection: keep-alive\n";
    stand.check(&format!("{old}transfer-encoding: chunked\n\n{chunks}"), "400").await;
    stand.finish();
}

/// CVE-2023-46846 (Squid), CVE-2022-32213 (Node.js): what a chunk size line may look like.
#[tokio::test]
async fn chunks_are_framed_as_rfc9112_7_1_has_them() {
    let mut stand = Stand::start().await;
    for (chunks, expected) in [
        ("5\nhello\n0\n\n", "200 200 | POST /a hello; GET /behind"),
        ("005\nhello\n000\n\n", "200 200 | POST /a hello; GET /behind"),
        ("5;name=value;other=\"a b\"\nhello\n0;last\n\n", "200 200 | POST /a hello; GET /behind"),
        ("5 ;x\nhello\n0\n\n", "200 200 | POST /a hello; GET /behind"),
        ("5 \nhello\n0\n\n", "200 200 | POST /a hello; GET /behind"),
        (" 5\nhello\n0\n\n", "400"),
        ("+5\nhello\n0\n\n", "400"),
        ("-5\nhello\n0\n\n", "400"),
        ("0x5\nhello\n0\n\n", "400"),
        ("5h\nhello\n0\n\n", "400"),
        ("5_0\nhello\n0\n\n", "400"),
        ("\nhello\n0\n\n", "400"),
        (";x\nhello\n0\n\n", "400"),
        ("FFFFFFFFFFFFFFFF\nhello\n0\n\n", "408"),
        ("10000000000000005\nhello\n0\n\n", "400"),
        ("5␊hello\n0\n\n", "400"),
        ("5␍hello\n0\n\n", "400"),
        ("5␍␍␊hello\n0\n\n", "400"),
        ("5\nhello␊0\n\n", "400"),
        ("5\nhello0\n\n", "400"),
        ("5\nhelloXX0\n\n", "400"),
        ("4\nhello\n0\n\n", "400"),
        ("5;x␊hello\n0\n\n", "400"),
        ("5;x␍y\nhello\n0\n\n", "400"),
        ("5;␀\nhello\n0\n\n", "200 200 | POST /a hello; GET /behind"),
        ("5\nhello\n0␊␊", "400"),
        ("5\nhello\n0\n␊", "400"),
    ] {
        stand.check(&format!("{POST}transfer-encoding: chunked\n\n{chunks}"), expected).await;
    }
    let long = "x".repeat(20_000);
    let extension = format!("{POST}transfer-encoding: chunked\n\n5;{long}\nhello\n0\n\n");
    stand.check(&extension, "400").await;
    stand.finish();
}

/// RFC 9110 §6.5.1: what would frame, route, authenticate or control, had it come before the content.
#[tokio::test]
async fn trailers_of_a_request_smuggle_nothing_rfc9110_6_5_1() {
    let stand = Stand::start().await;
    let names = [
        "content-length",
        "transfer-encoding",
        "host",
        "authorization",
        "proxy-authorization",
        "cookie",
        "connection",
        "keep-alive",
        "upgrade",
        "te",
        "trailer",
        "expect",
        "range",
        "if-none-match",
        "max-forwards",
        "x-forwarded-for",
        "forwarded",
        "via",
        "cache-control",
        "content-type",
        "x-sum",
    ];
    let trailers: String = names.iter().map(|name| format!("{name}: 1\r\n")).collect();
    let url = stand.origin.url("/a");
    let head = format!(
        "POST {url} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: {}\r\n",
        names.join(",")
    );
    let mut client = stand.proxy.connect().await;
    client.send(format!("{head}\r\n5\r\nhello\r\n0\r\n{trailers}\r\n").as_bytes()).await.expect("sent");
    assert_eq!(client.receive("POST").await.expect("a response").status, 200);
    // All of it was read: the connection takes the next request (RFC 9112 §9.3).
    client.send(&Request::new("GET", &url).to_bytes()).await.expect("sent");
    assert_eq!(client.receive("GET").await.expect("a response").status, 200);
    let seen = stand.origin.requests().remove(0);
    assert_eq!(seen.body, b"hello");
    let arrived: Vec<_> = seen.trailers.iter().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(arrived, ["x-sum"]);
}
