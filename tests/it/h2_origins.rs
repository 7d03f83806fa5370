//! Origins of HTTP/2 (RFC 9113) that turn away what is under way, frame by frame: it goes on on one other connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use testkit::client::{Request, get};
use testkit::tls::Tls;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::h2_frames::{
    ACK, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, PATIENCE, PING, RST_STREAM, SETTINGS,
    frame, receive,
};
use crate::proxy::{Running, start};

/// Requests under way when an origin turns them away.
const WAITING: usize = 30;

/// What an origin says to the requests behind the first on its first connection.
#[derive(Clone, Copy, Debug)]
enum Says {
    /// A GOAWAY after which nothing but the first has been processed (RFC 9113 §6.8).
    Goodbye,
    /// A reset of each with this code (RFC 9113 §7).
    Reset(u32),
}

/// An origin that answers the first request on its first connection, and turns away the next ones once there are
/// `WAITING`; on further connections it answers all.
struct Wayward {
    url: String,
    connections: Arc<AtomicUsize>,
    proxy: Running,
    _folder: tempfile::TempDir,
}

async fn wayward(says: Says) -> Wayward {
    let (acceptor, pem) = Tls::new().protocols(&["h2"]).acceptor().expect("a certificate");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}", listener.local_addr().expect("an address"));
    let connections = Arc::<AtomicUsize>::default();
    let counted = connections.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let is_first = counted.fetch_add(1, Ordering::SeqCst) == 0;
            tokio::spawn(serve(acceptor.clone(), socket, is_first.then_some(says)));
        }
    });
    let folder = tempfile::tempdir().expect("a folder");
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, pem).expect("written");
    let proxy = start(&["--tls-roots", &roots.to_string_lossy()]).await;
    Wayward { url, connections, proxy, _folder: folder }
}

/// Serves one connection to its end.
async fn serve(acceptor: TlsAcceptor, socket: TcpStream, says: Option<Says>) -> Option<()> {
    let mut stream = acceptor.accept(socket).await.ok()?;
    stream.read_exact(&mut [0; 24]).await.ok()?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.ok()?;
    let mut waiting = Vec::new();
    loop {
        let received = receive(&mut stream).await?;
        let answer = match (received.kind, says) {
            (SETTINGS | PING, _) if received.flags & ACK == 0 => {
                frame(received.kind, ACK, 0, &received.payload)
            }
            // `:status` 200 is the eighth entry of the table (RFC 7541 Appendix A).
            (HEADERS, None) => frame(HEADERS, END_STREAM | END_HEADERS, received.stream, &[0x88]),
            (HEADERS, _) if received.stream == 1 => frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0x88]),
            (HEADERS, Some(says)) => {
                waiting.push(received.stream);
                if waiting.len() < WAITING { Vec::new() } else { turn_away(says, &waiting) }
            }
            _ => Vec::new(),
        };
        let answer = if received.kind == SETTINGS && !answer.is_empty() {
            frame(SETTINGS, ACK, 0, &[])
        } else {
            answer
        };
        stream.write_all(&answer).await.ok()?;
        stream.flush().await.ok()?;
    }
}

fn turn_away(says: Says, waiting: &[u32]) -> Vec<u8> {
    match says {
        Says::Goodbye => frame(GOAWAY, 0, 0, &[1_u32.to_be_bytes(), 0_u32.to_be_bytes()].concat()),
        Says::Reset(code) => {
            waiting.iter().flat_map(|stream| frame(RST_STREAM, 0, *stream, &code.to_be_bytes())).collect()
        }
    }
}

/// Sends one request and then many at once; the connections that the origin has seen in the end.
async fn check(says: Says, connections: usize) {
    let wayward = wayward(says).await;
    let first = wayward.proxy.get(&format!("{}/first", wayward.url)).await;
    assert_eq!(first.status, 200);
    let gets: Vec<_> = (0..WAITING)
        .map(|number| {
            let (address, url) = (wayward.proxy.address(), format!("{}/{number}", wayward.url));
            tokio::spawn(async move { get(address, &url).await.expect("a response").status })
        })
        .collect();
    for get in gets {
        let status = tokio::time::timeout(PATIENCE, get).await.expect("in time").expect("a status");
        assert_eq!(status, 200, "{says:?}");
    }
    assert_eq!(wayward.connections.load(Ordering::SeqCst), connections, "{says:?}");
}

/// The endpoint says which "might have been processed", and the others may be sent again: together, on one connection.
#[tokio::test]
async fn requests_after_a_goodbye_go_on_together_rfc9113_6_8() {
    check(Says::Goodbye, 2).await;
}

/// "The endpoint detected that its peer is exhibiting a behavior that might be generating excessive load" says nothing of a
/// request, and all of the connection.
#[tokio::test]
async fn requests_that_are_asked_to_be_calm_go_on_elsewhere_rfc9113_7() {
    check(Says::Reset(ENHANCE_YOUR_CALM), 2).await;
}

/// "A proxy MUST NOT automatically retry non-idempotent requests" (RFC 9110 §9.2.2).
#[tokio::test]
async fn a_post_that_is_asked_to_be_calm_is_not_sent_again_rfc9110_9_2_2() {
    let wayward = wayward(Says::Reset(ENHANCE_YOUR_CALM)).await;
    assert_eq!(wayward.proxy.get(&format!("{}/first", wayward.url)).await.status, 200);
    let posts: Vec<_> = (0..WAITING)
        .map(|number| {
            let post = Request::new("POST", &format!("{}/{number}", wayward.url)).body("all of it");
            let address = wayward.proxy.address();
            tokio::spawn(async move {
                let mut client = testkit::client::Client::connect(address).await.expect("a connection");
                client.request(&post).await.expect("a response").status
            })
        })
        .collect();
    for post in posts {
        assert_eq!(post.await.expect("a status"), 502);
    }
    assert_eq!(wayward.connections.load(Ordering::SeqCst), 1);
}
