//! The origin, whose bodies follow from their paths, and the far end of the tunnels.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use testkit::{Origin, Received, Reply};
use tokio::net::TcpListener;

/// Bytes of a short body.
const SHORT: usize = 4_000;
/// Bytes of a long one, which takes the origin two minutes to send.
pub(super) const DOWNLOAD: usize = 2_400_000;
/// What of it comes at once, and how often.
const PIECE: (usize, Duration) = (10_000, Duration::from_millis(500));

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// To be stored.
    Hit(u64),
    /// Not to be stored.
    Miss(u64),
    /// Long, and slow at its origin.
    Download(u64),
    /// To be stored, and short.
    Object(u64),
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hit(number) => write!(formatter, "/hit/{number}"),
            Self::Miss(number) => write!(formatter, "/miss/{number}"),
            Self::Download(number) => write!(formatter, "/download/{number}"),
            Self::Object(number) => write!(formatter, "/object/{number}"),
        }
    }
}

impl Path {
    fn parse(text: &str) -> Option<Self> {
        let (kind, number) = text.strip_prefix('/')?.split_once('/')?;
        let number = number.parse().ok()?;
        match kind {
            "hit" => Some(Self::Hit(number)),
            "miss" => Some(Self::Miss(number)),
            "download" => Some(Self::Download(number)),
            "object" => Some(Self::Object(number)),
            _ => None,
        }
    }
}

/// The body of `path`.
pub(super) fn body(path: &Path) -> Vec<u8> {
    let (length, number) = match path {
        Path::Hit(number) => (SHORT, *number),
        Path::Miss(number) => (SHORT, *number ^ 0x5555_5555),
        Path::Download(number) => (DOWNLOAD, *number ^ 0x3333_3333),
        Path::Object(number) => (100, *number),
    };
    testkit::noise::bytes(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, length)
}

/// Starts the origin.
///
/// # Errors
/// Those of binding.
pub(super) async fn start() -> std::io::Result<Origin> {
    Origin::with_handler(|request| Some(reply(request))).await
}

fn reply(request: &Received) -> Reply {
    let Some(path) = Path::parse(&request.target) else { return Reply::new(404) };
    let answer = Reply::new(200).body(body(&path));
    match path {
        Path::Hit(_) | Path::Object(_) => answer.field("cache-control", "max-age=360000"),
        Path::Miss(_) => answer.field("cache-control", "no-store"),
        Path::Download(_) => {
            answer.field("cache-control", "max-age=360000").field("etag", "\"1\"").pace(PIECE.0, PIECE.1)
        }
    }
}

/// A server that says everything again.
///
/// # Errors
/// Those of binding.
pub(super) async fn echo() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    Ok(address)
}
