//! Any bytes as a request, and any bytes as a response, through a whole proxy: what comes out on the other side is HTTP that
//! can be read in one way only, by a reader that takes nothing but the letter of RFC 9112, and the next exchange is as it
//! should be.
//!
//! Every target names the origin of the test by its address: no name is ever looked up.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of a test; clippy excuses only what stands in #[test] functions"
)]

mod strict;
mod words;

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bentpipe::serve::Proxy;
use bentpipe::{Clock, Config};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use strict::{Read, check_responses, request, show};
use words::{REQUEST_WORDS, RESPONSE_WORDS};

/// What stands for a message in the generator: which words, and bytes between them.
type Pieces = Vec<(u8, Option<u8>)>;

const PLAIN: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncache-control: no-store\r\n\r\nplain";

/// How long bytes may stay away before an exchange counts as ended.
const QUIET: Duration = Duration::from_millis(30);

/// How long the answer to a plain request may take.
const PATIENCE: Duration = Duration::from_secs(10);

static PANICKED: AtomicBool = AtomicBool::new(false);

struct Stand {
    proxy: SocketAddr,
    origin: SocketAddr,
    /// What the origin answers with to anything but `/plain`.
    answer: Arc<Mutex<Vec<u8>>>,
    /// What was wrong with requests at the origin.
    faults: Arc<Mutex<Vec<String>>>,
    _running: AssertUnwindSafe<(Proxy, TempDir)>,
}

#[test]
fn any_bytes_are_a_request_or_none() {
    let (runtime, stand) = stand();
    bolero::check!().with_iterations(300).with_type::<Pieces>().for_each(|pieces| {
        let bytes = message(pieces, &REQUEST_WORDS, stand.origin);
        *stand.answer.lock().expect("a lock") = PLAIN.to_vec();
        runtime.block_on(async {
            let received = exchange(stand.proxy, &bytes, QUIET).await;
            check_responses(&received, None, &bytes);
            stand.check_plain(&bytes).await;
        });
        stand.check(&bytes);
    });
}

#[test]
fn any_bytes_are_a_response_or_none() {
    let (runtime, stand) = stand();
    let mut number = 0_u64;
    let number = std::sync::Mutex::new(&mut number);
    bolero::check!().with_iterations(300).with_type::<(bool, Pieces)>().for_each(|(head, pieces)| {
        let bytes = message(pieces, &RESPONSE_WORDS, stand.origin);
        *stand.answer.lock().expect("a lock") = bytes.clone();
        let path = {
            let mut number = number.lock().expect("a lock");
            **number += 1;
            format!("/{}", **number)
        };
        let method = if *head { "HEAD" } else { "GET" };
        runtime.block_on(async {
            for _ in 0..2 {
                let request = format!(
                    "{method} http://{0}{path} HTTP/1.1\r\nhost: {0}\r\nconnection: te\r\nte: trailers\r\n\r\n",
                    stand.origin
                );
                let received = exchange(stand.proxy, request.as_bytes(), QUIET).await;
                check_responses(&received, Some(method), &bytes);
                stand.check_plain(&bytes).await;
            }
        });
        stand.check(&bytes);
    });
}

fn message(pieces: &Pieces, words: &[&str; 64], origin: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (word, byte) in pieces {
        // Words more often than bytes, or nothing would ever be a message.
        bytes.extend(words[usize::from(*word) % 64].replace('¤', &origin.to_string()).into_bytes());
        if *word >= 192 {
            bytes.extend(byte);
        }
    }
    bytes
}

fn stand() -> (Runtime, Stand) {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICKED.store(true, Ordering::Relaxed);
        hook(info);
    }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let stand = runtime.block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_string_lossy().into_owned();
        let flags = ["--listen", "127.0.0.1:0", "--cache-dir", &path, "--control", "off"];
        let short = [
            "--set",
            "timeouts.idle=20ms",
            "--set",
            "timeouts.request_head=20ms",
            "--set",
            "timeouts.resume=1ms",
        ];
        let open = ["--allow-destination", "127.0.0.1:1-65535"];
        let config = Config::from_flags(flags.iter().chain(&short).chain(&open)).expect("flags");
        let running = Proxy::start(config, Clock::manual()).await.expect("a proxy");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = listener.local_addr().expect("an address");
        let (answer, faults) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        tokio::spawn(accept(listener, answer.clone(), faults.clone()));
        let (proxy, _running) = (running.local_address(), AssertUnwindSafe((running, folder)));
        Stand { proxy, origin, answer, faults, _running }
    });
    (runtime, stand)
}

impl Stand {
    /// After whatever went before, a plain request gets its answer.
    async fn check_plain(&self, after: &[u8]) {
        let request = format!("GET http://{0}/plain HTTP/1.1\r\nhost: {0}\r\n\r\n", self.origin);
        let received = exchange(self.proxy, request.as_bytes(), PATIENCE).await;
        assert!(received.ends_with(b"plain"), "{} behind {}", show(&received), show(after));
    }

    fn check(&self, bytes: &[u8]) {
        let faults = std::mem::take(&mut *self.faults.lock().expect("a lock"));
        assert!(faults.is_empty(), "{faults:?} after {}", show(bytes));
        assert!(!PANICKED.load(Ordering::Relaxed), "a task panicked over {}", show(bytes));
    }
}

/// Sends `bytes`, and returns what comes until the connection ends or falls quiet.
async fn exchange(proxy: SocketAddr, bytes: &[u8], quiet: Duration) -> Vec<u8> {
    let mut stream = TcpStream::connect(proxy).await.expect("a connection");
    let mut received = Vec::new();
    let _ = stream.write_all(bytes).await;
    while let Ok(Ok(1..)) = tokio::time::timeout(quiet, stream.read_buf(&mut received)).await {
        if received.ends_with(b"\r\n\r\nplain") {
            break;
        }
    }
    received
}

async fn accept(listener: TcpListener, answer: Arc<Mutex<Vec<u8>>>, faults: Arc<Mutex<Vec<String>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, answer.clone(), faults.clone()));
    }
}

/// Answers requests as long as they can be read.
async fn serve(mut stream: TcpStream, answer: Arc<Mutex<Vec<u8>>>, faults: Arc<Mutex<Vec<String>>>) {
    let mut ahead = Vec::new();
    loop {
        let (length, target) = match request(&ahead) {
            Read::Whole(length, target) => (length, target),
            Read::Wrong(why) => {
                faults.lock().expect("a lock").push(format!("{why} in {}", show(&ahead)));
                return;
            }
            Read::Partial => match stream.read_buf(&mut ahead).await {
                Ok(1..) => continue,
                _ => return,
            },
        };
        ahead.drain(..length);
        let bytes = if target == "/plain" { PLAIN.to_vec() } else { answer.lock().expect("a lock").clone() };
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
