//! Any bytes on the control socket: an answer or an end, and the proxy goes on taking commands.

#![cfg(unix)]
#![expect(
    clippy::expect_used,
    reason = "helpers of a test; clippy excuses only what stands in #[test] functions"
)]

use std::path::Path;
use std::time::Duration;

use bentpipe::serve::Proxy;
use bentpipe::{Clock, Config};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

const ROUTES: [&str; 15] = [
    "GET /v1/link",
    "PUT /v1/link",
    "GET /v1/cache",
    "GET /v1/cache/survey",
    "GET /v1/cache/responses",
    "POST /v1/cache/list",
    "POST /v1/cache/show",
    "POST /v1/cache/purge",
    "POST /v1/cache/pin",
    "GET /v1/cache/verification",
    "POST /v1/cache/verification",
    "POST /v1/explain",
    "PATCH /v1/config",
    "PATCH /v1/config/link/spec",
    "PATCH /v1/config/cache/rule",
];

const WORDS: [&str; 32] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\",
    "null",
    "true",
    "-1",
    "1e999",
    "18446744073709551616",
    "\"url\":",
    "\"urls\":",
    "\"host\":",
    "\"all\":",
    "\"older\":",
    "\"size\":",
    "\"limit\":",
    "\"rate\":",
    "\"spec\":",
    "\"pin\":",
    "\"prefix\":",
    "\"http://127.0.0.1/a\"",
    "\"*\"",
    "\"1M\"",
    "\"10m\"",
    "\"512k\"",
    "\"headers\":",
    "{}",
    "\"\\ud800\"",
];

#[test]
fn any_command_gets_an_answer() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("control.sock");
    let (path, at) = (folder.path().to_string_lossy(), socket.to_string_lossy());
    let flags = ["--listen", "127.0.0.1:0", "--cache-dir", &path, "--control", &at];
    let config = Config::from_flags(flags).expect("flags");
    let _proxy = runtime.block_on(Proxy::start(config, Clock::manual())).expect("a proxy");
    bolero::check!().with_iterations(200).with_type::<(u8, Vec<(u8, Option<u8>)>)>().for_each(
        |(route, pieces)| {
            let mut content = Vec::new();
            for (word, byte) in pieces {
                content.extend_from_slice(WORDS[usize::from(*word) % 32].as_bytes());
                content.extend(byte.filter(|_| *word >= 192));
            }
            runtime.block_on(async {
                let received = ask(&socket, ROUTES[usize::from(*route) % 15], &content).await;
                let shown = || format!("{} to {}", received.escape_ascii(), content.escape_ascii());
                assert!(received.starts_with(b"HTTP/1.1 "), "{}", shown());
                assert!(!received.starts_with(b"HTTP/1.1 5"), "{}", shown());
                let link = ask(&socket, "GET /v1/link", b"").await;
                assert!(link.starts_with(b"HTTP/1.1 200"), "after {}", shown());
            });
        },
    );
}

async fn ask(socket: &Path, route: &str, content: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(socket).await.expect("a connection");
    let length = content.len();
    let head =
        format!("{route} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let _ = stream.write_all(content).await;
    let mut received = Vec::new();
    let reading = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut received));
    let _ = reading.await.expect("an end");
    received
}
