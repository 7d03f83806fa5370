//! Tunnels whose bytes go from socket to socket inside the kernel: to clients, to origins and to operators they are tunnels
//! like all others, and become such ones whenever their bytes are to be shaped or looked at.

use std::time::Duration;

use testkit::client::Client;
use testkit::noise;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::capture::Capturing;
use crate::control::ask;
use crate::proxy::{Running, start};

/// Pipes that this process has, among them those of its proxy.
fn pipes() -> usize {
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("descriptors");
    let targets = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("pipe:")).count()
}

/// The exchange under way.
async fn under_way(proxy: &Running) -> serde_json::Value {
    ask(proxy, "GET", "/v1/exchanges", "").await["exchanges"][0].clone()
}

/// Both ends of a new tunnel through `proxy`.
async fn tunnel(proxy: &Running) -> (Client, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let authority = listener.local_addr().expect("an address").to_string();
    let mut client = proxy.connect().await;
    assert_eq!(client.tunnel(&authority).await.expect("an answer").status, 200);
    (client, listener.accept().await.expect("a connection").0)
}

const LARGE: usize = 3_000_000;

/// Sends `bytes` down, and compares.
async fn down(client: &mut Client, origin: &mut TcpStream, bytes: &[u8]) {
    let (sent, received) = tokio::join!(origin.write_all(bytes), client.receive_exactly(bytes.len() as u64));
    sent.expect("sent");
    assert!(received.expect("received") == bytes);
}

/// Sends `bytes` up, and compares.
async fn up(client: &mut Client, origin: &mut TcpStream, bytes: &[u8]) {
    let mut received = vec![0; bytes.len()];
    let (sent, read) = tokio::join!(client.send(bytes), origin.read_exact(&mut received));
    sent.expect("sent");
    read.expect("received");
    assert!(received == bytes);
}

#[tokio::test]
async fn bulk_is_spliced_and_counted_and_half_close_is_passed_on_rfc9110_9_3_6() {
    let proxy = start(&[]).await;
    let before = pipes();
    let (mut client, mut origin) = tunnel(&proxy).await;
    let head = under_way(&proxy).await["client_bytes"].as_u64().expect("bytes") as usize;
    up(&mut client, &mut origin, &noise::bytes(1, 100_000)).await;
    assert_eq!(pipes(), before, "what is little takes no descriptors");
    up(&mut client, &mut origin, &noise::bytes(2, LARGE)).await;
    assert!(pipes() > before, "it was copied");
    client.finish().await.expect("half-closed");
    assert_eq!(origin.read(&mut [0; 8]).await.expect("the client's end"), 0);
    down(&mut client, &mut origin, &noise::bytes(3, LARGE + 1)).await;
    let told = under_way(&proxy).await;
    let expected = [
        ("received_bytes", LARGE + 100_000),
        ("client_bytes", head + LARGE + 1),
        ("link_up", LARGE + 100_000),
        ("link_down", LARGE + 1),
    ];
    for (name, bytes) in expected {
        assert_eq!(told[name], bytes, "{name} of {told}");
    }
    let link = ask(&proxy, "GET", "/v1/link", "").await;
    assert_eq!((&link["up"], &link["down"]), (&(LARGE + 100_000).into(), &(LARGE + 1).into()));
    drop(origin);
    assert!(client.receive_rest().await.expect("the origin's end").is_empty());
    let none_left = async {
        while pipes() > before {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), none_left).await.expect("no pipe is left");
}

#[tokio::test]
async fn a_link_that_is_set_in_the_middle_shapes_at_once() {
    const REST: usize = 30_000_000;
    let proxy = start(&[]).await;
    let before = pipes();
    let (mut client, mut origin) = tunnel(&proxy).await;
    down(&mut client, &mut origin, &noise::bytes(1, LARGE)).await;
    assert!(pipes() > before, "it was copied");
    let sent = noise::bytes(2, REST);
    let (sending, mut received) = (sent.clone(), Vec::new());
    let origin = tokio::spawn(async move {
        origin.write_all(&sending).await.expect("sent");
        origin
    });
    received.extend(client.receive_exactly(1_000_000).await.expect("a beginning"));
    ask(&proxy, "PUT", "/v1/link", r#"{"spec": "0"}"#).await;
    // All that has crossed arrives, and no more crosses.
    let crossed = async {
        loop {
            let crossed = ask(&proxy, "GET", "/v1/link", "").await["down"].as_u64().expect("bytes");
            let missing = crossed - (LARGE + received.len()) as u64;
            if missing == 0 {
                break received.len();
            }
            received.extend(client.receive_exactly(missing).await.expect("what has crossed"));
        }
    };
    let crossed = timeout(Duration::from_secs(20), crossed).await.expect("all that has crossed");
    assert!(crossed < REST, "it went on");
    ask(&proxy, "PUT", "/v1/link", r#"{"spec": "400M"}"#).await;
    received.extend(client.receive_exactly((REST - received.len()) as u64).await.expect("the rest"));
    assert!(received == sent);
    let mut origin = origin.await.expect("the origin");
    let shaped = ask(&proxy, "GET", "/v1/link", "").await["classes"]["interactive"]["down"].clone();
    assert!(shaped.as_u64().is_some_and(|bytes| bytes > 0), "{shaped}");
    ask(&proxy, "PUT", "/v1/link", r#"{"spec": "unlimited"}"#).await;
    down(&mut client, &mut origin, &noise::bytes(3, LARGE)).await;
    up(&mut client, &mut origin, &noise::bytes(4, LARGE)).await;
    let link = ask(&proxy, "GET", "/v1/link", "").await;
    assert_eq!((&link["up"], &link["down"]), (&LARGE.into(), &(2 * LARGE + REST).into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capture_that_begins_in_the_middle_sees_what_follows() {
    let proxy = start(&[]).await;
    let before = pipes();
    let (mut client, mut origin) = tunnel(&proxy).await;
    up(&mut client, &mut origin, &noise::bytes(1, LARGE)).await;
    down(&mut client, &mut origin, &noise::bytes(2, LARGE)).await;
    assert!(pipes() > before, "it was copied");
    let mut capturing = Capturing::begin(&proxy, &["--all"]);
    let (asked, answered) = (noise::bytes(3, 300_000), noise::bytes(4, 400_000));
    up(&mut client, &mut origin, &asked).await;
    down(&mut client, &mut origin, &answered).await;
    drop((client, origin));
    capturing.until("0001  127.0.0.1 port");
    assert!(capturing.end().contains("Nothing was lost"));
    assert!(capturing.read("0001-client.in") == asked);
    assert!(capturing.read("0001-client.out") == answered);
}

#[tokio::test]
async fn a_tunnel_that_rests_is_closed_and_one_that_carries_is_not() {
    let proxy = start(&["--set", "timeouts.tunnel_idle=1s"]).await;
    let before = pipes();
    let (mut client, mut origin) = tunnel(&proxy).await;
    let begun = std::time::Instant::now();
    let mut seed = 1;
    // All of it goes by, and for longer than it may rest.
    while begun.elapsed() < Duration::from_millis(2500) {
        down(&mut client, &mut origin, &noise::bytes(seed, LARGE)).await;
        seed += 1;
    }
    assert!(pipes() > before, "it was copied");
    let closed = timeout(Duration::from_secs(20), client.receive_rest()).await.expect("closed in time");
    assert!(closed.unwrap_or_default().is_empty());
}

#[tokio::test]
async fn a_tunnel_is_broken_off_while_its_client_takes_nothing() {
    let proxy = start(&[]).await;
    let before = pipes();
    let (client, mut origin) = tunnel(&proxy).await;
    let sending = tokio::spawn(async move { origin.write_all(&noise::bytes(1, 30_000_000)).await });
    let spliced = async {
        while pipes() == before {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), spliced).await.expect("a pipe");
    let stopped = ask(&proxy, "POST", "/v1/exchanges/stop", r#"{"numbers": [1]}"#).await;
    assert_eq!(stopped["stopped"], 1);
    assert!(sending.await.expect("the origin").is_err(), "it went on");
    drop(client);
}
