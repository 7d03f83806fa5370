//! A storm of connections that mean no good: heads that never end, garbage, thousands of fields, chunk-extension and
//! trailer floods, long pipelines, answers that nobody reads, origins that overdo it. Only what it leaves behind matters.

use std::collections::VecDeque;
use std::time::Duration;

use testkit::Request;
use tokio::net::TcpStream;

use super::plain::Visitor;
use super::sample::Sample;
use super::stand::Stand;
use super::tally::Tally;
use crate::chaos::random::Random;

/// Connections that are open at the same moment at most, and how many of them are closed then.
const OPEN: usize = 1_000;
const CLOSED: usize = 500;
/// How long those that are open are left alone.
const PAUSE: Duration = Duration::from_millis(300);

/// Sends `count` hostile connections to the proxy of `stand` and returns the most memory seen meanwhile, in bytes.
///
/// # Errors
/// When the process is gone.
pub(super) async fn blow(
    stand: &Stand,
    tally: &Tally,
    count: usize,
    random: &mut Random,
) -> anyhow::Result<u64> {
    let mut open = VecDeque::new();
    let mut peak = 0;
    for number in 0..count {
        if let Ok(stream) = TcpStream::connect(stand.proxy()).await {
            let bytes = hostile(stand, number, random);
            if stream.writable().await.is_ok() {
                // What the socket does not take at once is never sent: half of something is hostile, too.
                let _ = stream.try_write(&bytes);
            }
            open.push_back(stream);
        }
        if open.len() >= OPEN {
            tokio::time::sleep(PAUSE).await;
            peak = peak.max(Sample::of(stand, tally, Duration::ZERO).await?.memory);
            open.drain(..CLOSED);
        }
    }
    tokio::time::sleep(3 * PAUSE).await;
    Ok(peak.max(Sample::of(stand, tally, Duration::ZERO).await?.memory))
}

/// The bytes of hostile connection `number`.
fn hostile(stand: &Stand, number: usize, random: &mut Random) -> Vec<u8> {
    let url = |path: &str| stand.source.url(path);
    let get = |path: &str| Request::new("GET", &url(path)).to_bytes();
    let with = |name: &str, value: &str| Request::new("GET", &url("/pass/2/a")).field(name, value).to_bytes();
    let chunked = |content: String| {
        let request = Request::new("POST", &url("/upload/2/a")).field("transfer-encoding", "chunked");
        request.body(content).to_bytes()
    };
    match number % 20 {
        0 => Vec::new(),
        1 => b"GET ht".to_vec(),
        2 => get("/pass/2/a")[..30].to_vec(),
        3 => b"G".repeat(70_000),
        4 => with("x", &"y".repeat(200_000)),
        5 => {
            let plain = Request::new("GET", &url("/pass/2/a"));
            (0..5_000).fold(plain, |request, n| request.field(&format!("x-{n}"), "y")).to_bytes()
        }
        6 => {
            let request = Request::new("POST", &url("/upload/1000000/a")).field("content-length", "1000000");
            request.body(vec![b'x'; 300_000]).to_bytes()
        }
        7 => chunked("5\r\nhello\r\nzz".into()),
        8 => get("/pass/3000000/a"),
        9 => get("/fields/2/a"),
        10 => get("/cut/100000/a"),
        11 => get("/interim/2/a"),
        12 => get("/long/2/a"),
        13 => get("/pass/2/a").repeat(200),
        14 => random.bytes(5_000),
        15 => chunked(format!("1;{}", "x".repeat(30_000))),
        16 => with("connection", &"a,".repeat(20_000)),
        17 => chunked(format!("5\r\nhello\r\n0\r\n{}", "x: y\r\n".repeat(20_000))),
        18 => get(&format!("/keep/300000/storm-{number}")),
        _ => get("/hang/100000/a"),
    }
}

/// What came before a storm: enough visits that what is made once is made.
pub(super) async fn warm_up(visitor: &mut Visitor, tally: &Tally, visits: usize) {
    for _ in 0..visits {
        let (kind, outcome) = visitor.visit().await;
        tally.count(kind, outcome);
    }
}
