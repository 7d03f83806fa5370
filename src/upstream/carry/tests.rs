//! Tests of `carry`, over sockets of this machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use testkit::noise;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;

/// A socket that is bare as its test wants it, and counts what went by in each direction, down and up.
struct Socket {
    io: TcpStream,
    /// Given how often it was asked.
    is_bare: fn(usize) -> bool,
    asked: AtomicUsize,
    passed: Arc<[AtomicU64; 2]>,
}

impl Bare for Socket {
    fn socket(&self, _: Direction) -> Option<&TcpStream> {
        (self.is_bare)(self.asked.fetch_add(1, Ordering::Relaxed)).then_some(&self.io)
    }

    fn passed(&self, direction: Direction, bytes: u64) {
        let way = usize::from(direction == Direction::Up);
        self.passed[way].fetch_add(bytes, Ordering::Relaxed);
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

struct Tunnel {
    client: TcpStream,
    origin: TcpStream,
    /// What went by at the client's end, and at the origin's.
    passed: [Arc<[AtomicU64; 2]>; 2],
    carrying: JoinHandle<io::Result<()>>,
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.expect("a connection"), far.expect("a connection").0)
}

/// A tunnel whose ends, the client's and the origin's, are bare so.
async fn tunnel(client_is_bare: fn(usize) -> bool, origin_is_bare: fn(usize) -> bool) -> Tunnel {
    let ((client, near), (far, origin)) = (pair().await, pair().await);
    let passed: [Arc<[AtomicU64; 2]>; 2] = Default::default();
    let end =
        |io, is_bare, passed: &Arc<_>| Socket { io, is_bare, asked: 0.into(), passed: Arc::clone(passed) };
    let mut near = end(near, client_is_bare, &passed[0]);
    let mut far = end(far, origin_is_bare, &passed[1]);
    let carrying = tokio::spawn(async move { both_ways(&mut near, &mut far).await });
    Tunnel { client, origin, passed, carrying }
}

impl Tunnel {
    /// Bytes that went by, down and up, at the client's end and at the origin's.
    fn passed(&self) -> [[u64; 2]; 2] {
        self.passed.each_ref().map(|end| end.each_ref().map(|bytes| bytes.load(Ordering::Relaxed)))
    }

    /// Sends both ways at once, and compares what comes.
    async fn exchange(&mut self, down: &[u8], up: &[u8]) {
        let (mut client_reads, mut client_writes) = self.client.split();
        let (mut origin_reads, mut origin_writes) = self.origin.split();
        let (mut at_client, mut at_origin) = (Vec::new(), Vec::new());
        let sending = async {
            let sent = tokio::join!(origin_writes.write_all(down), client_writes.write_all(up));
            sent.0.expect("sent");
            sent.1.expect("sent");
            tokio::join!(origin_writes.shutdown(), client_writes.shutdown())
        };
        let (_, first, second) = tokio::join!(
            sending,
            client_reads.read_to_end(&mut at_client),
            origin_reads.read_to_end(&mut at_origin)
        );
        first.expect("the origin's end");
        second.expect("the client's end");
        assert!(at_client == down, "{} of {} bytes came down", at_client.len(), down.len());
        assert!(at_origin == up, "{} of {} bytes went up", at_origin.len(), up.len());
        (&mut self.carrying).await.expect("a task").expect("both ends");
    }
}

const LARGE: usize = 6_000_000;

#[tokio::test]
async fn bulk_goes_by_both_ways_at_once_to_the_byte() {
    let mut tunnel = tunnel(|_| true, |_| true).await;
    tunnel.exchange(&noise::bytes(1, LARGE), &noise::bytes(2, LARGE + 1)).await;
    let [client, origin] = tunnel.passed();
    assert_eq!(client, origin, "what came in went out");
    let expected = [LARGE as u64 - BULK - BUFFER as u64, LARGE as u64 - BULK];
    assert!(client.iter().all(|bytes| *bytes >= expected[0] && *bytes <= expected[1] + 1), "{client:?}");
}

#[tokio::test]
async fn what_is_little_takes_no_pipe() {
    let mut tunnel = tunnel(|_| true, |_| true).await;
    tunnel.exchange(&noise::bytes(1, 200_000), &noise::bytes(2, 5)).await;
    assert_eq!(tunnel.passed(), [[0; 2]; 2]);
}

#[tokio::test]
async fn an_end_that_is_not_bare_is_copied() {
    for (client, origin) in [(true, false), (false, true)] {
        let is = |bare: bool| -> fn(usize) -> bool { if bare { |_| true } else { |_| false } };
        let mut tunnel = tunnel(is(client), is(origin)).await;
        tunnel.exchange(&noise::bytes(1, LARGE), &noise::bytes(2, LARGE)).await;
        assert_eq!(tunnel.passed(), [[0; 2]; 2]);
    }
}

#[tokio::test]
async fn where_no_pipe_is_to_be_had_bytes_are_copied() {
    let share = Share::new();
    let all: Vec<_> = std::iter::from_fn(|| share.pipe()).collect();
    let mut tunnel = tunnel(|_| true, |_| true).await;
    tunnel.exchange(&noise::bytes(1, LARGE), &noise::bytes(2, LARGE)).await;
    assert_eq!(tunnel.passed(), [[0; 2]; 2]);
    drop(all);
}

#[tokio::test]
async fn what_is_in_the_pipe_is_copied_where_it_may_not_go_by() {
    // Both ends are asked in turn: what was let in is never let out.
    let mut tunnel = tunnel(|asked| asked % 3 != 1, |asked| asked % 5 != 2).await;
    tunnel.exchange(&noise::bytes(3, LARGE), &noise::bytes(4, LARGE)).await;
    let [client, origin] = tunnel.passed();
    assert!(origin[0] > client[0] && client[1] > origin[1], "what came in: {client:?}, {origin:?}");
}

#[tokio::test]
async fn one_way_goes_on_after_the_other_has_ended() {
    let mut tunnel = tunnel(|_| true, |_| true).await;
    let (down, up) = (noise::bytes(5, LARGE), noise::bytes(6, LARGE));
    let sending = async {
        tunnel.origin.write_all(&down).await.expect("sent");
        tunnel.origin.shutdown().await.expect("half-closed");
    };
    let mut at_client = Vec::new();
    let (_, read) = tokio::join!(sending, tunnel.client.read_to_end(&mut at_client));
    assert_eq!(read.expect("the origin's end"), LARGE);
    assert!(at_client == down);
    tunnel.exchange(&[], &up).await;
}

#[tokio::test]
async fn a_reset_is_no_end() {
    let mut tunnel = tunnel(|_| true, |_| true).await;
    let (bulk, mut received) = (noise::bytes(7, LARGE), vec![0; LARGE]);
    let (sent, read) = tokio::join!(tunnel.origin.write_all(&bulk), tunnel.client.read_exact(&mut received));
    sent.expect("sent");
    read.expect("received");
    tunnel.origin.set_zero_linger().expect("a reset to come");
    drop(tunnel.origin);
    let failed = tunnel.carrying.await.expect("a task").expect_err("a reset");
    assert_eq!(failed.kind(), ErrorKind::ConnectionReset);
}
