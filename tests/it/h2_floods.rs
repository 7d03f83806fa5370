//! Clients of HTTP/2 that make work without end (RFC 9113 §10.5): each connection ends or costs no more than it may, others
//! are served meanwhile, and memory does not grow with what is sent.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use testkit::origin::Origin;
use testkit::reply::{Gate, Reply};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::h2_frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, End, GOAWAY, HEADERS, PATIENCE,
    PING, PRIORITY, REFUSED_STREAM, RST_STREAM, SETTINGS, Wire, field, frame, get, head, reset, setting,
    string, window,
};
use crate::intercept::{NAME, Scene, scene};
use crate::secure::{secure, trusting};

/// Bytes by which this process, client and origin and all, may grow under one attack, each of which sends or asks for far
/// more.
const ROOM: usize = 24 * 1024 * 1024;

/// What one stored response takes while it waits for its client: a piece of 256 kB, and as much that the allocator keeps of
/// those before.
const EACH: usize = 640 * 1024;

/// A proxy under attack, and an origin over plain http.
struct Stand {
    scene: Scene,
    origin: Origin,
    authority: String,
    before: usize,
}

async fn stand() -> Stand {
    // The limits of one client are not what is tested.
    let flags = ["--https-listen", "127.0.0.1:0", "--set", "timeouts.client=1s"];
    let scene = scene(&flags).await;
    let origin = Origin::start().await.expect("an origin");
    let authority = origin.address().to_string();
    let stored = Reply::new(200).field("cache-control", "max-age=600");
    origin.always("GET", "/small", stored.clone().body("hello"));
    origin.always("GET", "/large", stored.body(vec![b'x'; 4 * 1024 * 1024]));
    let stand = Stand { scene, origin, authority, before: 0 };
    stand.serves().await;
    assert_eq!(stand.scene.proxy.get(&stand.origin.url("/large")).await.body.len(), 4 * 1024 * 1024);
    Stand { before: resident(), ..stand }
}

impl Stand {
    /// Others are served.
    async fn serves(&self) {
        let url = self.origin.url("/small");
        let answered = tokio::time::timeout(PATIENCE, self.scene.proxy.get(&url));
        assert_eq!(answered.await.expect("in time").text(), "hello");
    }

    /// Others are served, and little memory is taken.
    #[track_caller]
    fn check_memory(&self) {
        let grown = resident().saturating_sub(self.before);
        assert!(grown < ROOM, "{grown} bytes");
    }

    async fn wire(&self) -> Wire {
        Wire::plain(&self.scene).await
    }

    /// Floods it with `next`, read or not, and returns what became of the connections.
    async fn flood<I>(&self, next: impl Fn() -> I) -> End
    where
        I: Iterator<Item = Vec<u8>> + Send + 'static,
    {
        let unread = self.wire().await.flood_unread(next());
        let (sent, ()) = tokio::join!(unread, self.serves());
        let flood = self.wire().await.flood(next());
        let (end, ()) = tokio::join!(flood, self.serves());
        self.check_memory();
        End { sent: end.sent.max(sent), ..end }
    }
}

/// Bytes of memory that this process takes.
fn resident() -> usize {
    let told = std::fs::read_to_string("/proc/self/statm").expect("statm");
    let pages: usize = told.split(' ').nth(1).expect("a column").parse().expect("a number");
    pages * 4096
}

/// Sockets that this process has open.
fn sockets() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").expect("descriptors").flatten();
    let targets = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

/// Endless `bytes`, many at a time.
fn endless(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + Send + use<> {
    let many = bytes.repeat(1 + 16_000 / bytes.len());
    std::iter::repeat_n(many, 20_000)
}

/// The streams of a client.
fn streams() -> impl Iterator<Item = u32> + Clone + Send {
    (1..2_000_000).step_by(2)
}

/// CVE-2023-44487: requests that are taken back at once.
#[tokio::test]
async fn rapid_reset_ends_the_connection_rfc9113_10_5() {
    let stand = stand().await;
    let gate = Gate::closed();
    stand.origin.always("GET", "/held", Reply::new(200).wait(&gate));
    let authority = stand.authority.clone();
    let request = move |stream| [get(stream, &authority, "/held"), reset(stream)].concat();
    let end = stand.flood(|| streams().map(request.clone())).await;
    assert_eq!(end.goaway, Some(ENHANCE_YOUR_CALM), "{end:?}");
    // One that waits until each has been looked at.
    let mut wire = stand.wire().await;
    let mut begun = 0;
    for first in streams().step_by(50).take(40) {
        let fifty = (first..first + 100).step_by(2);
        let requests: Vec<_> =
            fifty.clone().flat_map(|stream| get(stream, &stand.authority, "/held")).collect();
        let resets: Vec<_> = fifty.flat_map(reset).collect();
        if wire.send(&requests).await.is_err() || wire.round_trip().await.is_none() {
            break;
        }
        begun += 50;
        if wire.send(&resets).await.is_err() {
            break;
        }
    }
    assert!((1000..1200).contains(&begun), "{begun} requests");
    stand.serves().await;
    stand.check_memory();
}

/// A person who stops one page after another.
#[tokio::test]
async fn requests_may_be_taken_back_rfc9113_5_4_2() {
    let stand = stand().await;
    let gate = Gate::closed();
    stand.origin.always("GET", "/held", Reply::new(200).wait(&gate));
    let mut wire = stand.wire().await;
    for first in streams().step_by(100).take(9) {
        for stream in (first..first + 200).step_by(2) {
            wire.send(&get(stream, &stand.authority, "/held")).await.expect("sent");
        }
        wire.round_trip().await.expect("an answer");
        for stream in (first..first + 200).step_by(2) {
            wire.send(&reset(stream)).await.expect("sent");
        }
    }
    wire.send(&get(100_001, &stand.authority, "/small")).await.expect("sent");
    wire.round_trip().await.expect("an answer");
}

/// CVE-2025-8671: requests that the client makes us reset, here by a window that grows by nothing.
#[tokio::test]
async fn resets_that_are_provoked_end_the_connection_rfc9113_6_9() {
    let stand = stand().await;
    let gate = Gate::closed();
    stand.origin.always("GET", "/held", Reply::new(200).wait(&gate));
    let authority = stand.authority.clone();
    let request = move |stream| [get(stream, &authority, "/held"), window(stream, 0)].concat();
    let end = stand.flood(|| streams().map(request.clone())).await;
    assert!(end.reset < 1100, "{end:?}");
}

/// CVE-2024-27316: a head without end.
#[tokio::test]
async fn a_head_that_goes_on_for_ever_ends_the_connection_rfc9113_6_10() {
    let stand = stand().await;
    for piece in [vec![], field("x", "y"), field("x-long", &"y".repeat(8_000))] {
        let begin = frame(HEADERS, END_STREAM, 1, &head("GET", &stand.authority, "/"));
        let next = move || std::iter::once(begin.clone()).chain(endless(&frame(CONTINUATION, 0, 1, &piece)));
        let end = stand.flood(next).await;
        assert!(end.goaway.is_some_and(|code| code != 0) && end.heads == 0, "{end:?}");
    }
}

/// CVE-2019-9515, CVE-2019-9512, CVE-2019-9513 and CVE-2019-9514: frames that want an answer each or change nothing.
#[tokio::test]
async fn frames_that_carry_nothing_end_the_connection_rfc9113_10_5() {
    for next in [
        frame(SETTINGS, 0, 0, &[]),
        setting(3, 100),
        setting(4, 1),
        frame(PING, 0, 0, &[7; 8]),
        frame(PING, ACK, 0, &[7; 8]),
        frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 200]),
        [frame(PRIORITY, 0, 3, &[0, 0, 0, 5, 1]), frame(PRIORITY, 0, 5, &[0, 0, 0, 3, 1])].concat(),
        window(0, 1),
        frame(99, 0, 0, &[]),
    ] {
        let stand = stand().await;
        let end = stand.flood(|| endless(&next)).await;
        // What is in buffers on the way has been sent.
        assert!(end.sent < 12_000_000, "{next:?}: {end:?}");
    }
}

/// CVE-2019-9518: frames of content with nothing in them.
#[tokio::test]
async fn empty_frames_end_the_connection_rfc9113_10_5() {
    let stand = stand().await;
    let upload = frame(HEADERS, END_HEADERS, 1, &head("POST", &stand.authority, "/upload"));
    for kind in [DATA, HEADERS] {
        let empty = frame(kind, if kind == HEADERS { END_HEADERS } else { 0 }, 1, &[]);
        let upload = upload.clone();
        let end = stand.flood(move || std::iter::once(upload.clone()).chain(endless(&empty))).await;
        assert!(end.goaway.is_some_and(|code| code != 0), "{kind}: {end:?}");
    }
}

/// CVE-2019-9516: fields with neither name nor value, which take more memory than they are long.
#[tokio::test]
async fn fields_of_no_length_take_no_memory_rfc9113_10_5_1() {
    let stand = stand().await;
    let empty = [0, 0, 0].repeat(5_000);
    let authority = stand.authority.clone();
    let request = move |stream| {
        let fields = [head("GET", &authority, "/small"), empty.clone()].concat();
        frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields)
    };
    let end = stand.flood(|| streams().map(request.clone())).await;
    assert!(end.goaway.is_some_and(|code| code != 0), "{end:?}");
    assert_eq!(end.heads, 0);
}

/// A field of 4,000 bytes in the table, and a head of nothing but references to it (RFC 7541 §7.3).
#[tokio::test]
async fn a_head_that_grows_when_it_is_read_is_not_read_rfc9113_10_5_1() {
    let stand = stand().await;
    let large = [&[0x40][..], &string("x"), &string(&"y".repeat(4_000))].concat();
    let authority = stand.authority.clone();
    let request = move |stream| {
        let fields = [head("GET", &authority, "/small"), large.clone(), vec![0x80 | 62; 10_000]].concat();
        frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields)
    };
    let end = stand.flood(|| streams().map(request.clone())).await;
    assert_eq!((end.goaway, end.heads), (Some(ENHANCE_YOUR_CALM), 0), "{end:?}");
}

/// CVE-2019-9517: much is asked for, and there is no room for it, in the windows of HTTP/2 or in that of TCP.
#[tokio::test]
async fn a_client_that_takes_nothing_is_dropped_rfc9113_10_5() {
    let stand = stand().await;
    for window_size in [0, 1, 0x7fff_ffff] {
        let before = sockets();
        let mut wires = Vec::new();
        for _ in 0..2 {
            let mut wire = Wire::open(&stand.scene, &setting(4, window_size)).await;
            wire.send(&window(0, 0x7fff_0000)).await.expect("sent");
            for stream in streams().take(100) {
                wire.send(&get(stream, &stand.authority, "/large")).await.expect("sent");
            }
            wires.push(wire);
        }
        stand.serves().await;
        // Nothing is read of what is sent, so that the end cannot be seen there.
        let dropped = async {
            let mut looks = tokio::time::interval(Duration::from_millis(20));
            while sockets() > before + wires.len() {
                looks.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, dropped).await.expect("the connections end");
        // 800 MB were asked for, three times.
        let grown = resident().saturating_sub(stand.before);
        assert!(grown < ROOM + 200 * EACH, "{window_size}: {grown} bytes");
    }
}

/// CVE-2019-9511: content is taken byte by byte.
#[tokio::test]
async fn windows_of_a_byte_end_the_connection_rfc9113_10_5() {
    let stand = stand().await;
    let mut wire = Wire::open(&stand.scene, &setting(4, 0)).await;
    let requests = streams().take(100);
    let gets: Vec<_> = requests.clone().flat_map(|stream| get(stream, &stand.authority, "/large")).collect();
    wire.send(&gets).await.expect("sent");
    let bytes: Vec<_> = requests.flat_map(|stream| window(stream, 1)).collect();
    let end = wire.flood(endless(&bytes)).await;
    assert!(end.sent < 12_000_000, "{end:?}");
    let grown = resident().saturating_sub(stand.before);
    assert!(grown < ROOM + 100 * EACH, "{grown} bytes");
}

/// RFC 9113 §5.1.2: what a client sends before it knows the limit is refused, and may be sent again; it harms nothing.
#[tokio::test]
async fn more_streams_than_allowed_are_refused_alone_rfc9113_5_1_2() {
    let stand = stand().await;
    let gate = Gate::closed();
    stand.origin.always("GET", "/held", Reply::new(200).body("at last").wait(&gate));
    let mut wire = stand.wire().await;
    let gets: Vec<_> =
        streams().take(600).flat_map(|stream| get(stream, &stand.authority, "/held")).collect();
    wire.send(&gets).await.expect("sent");
    let mut refused = 0;
    while refused < 600 - 128 {
        let frame = wire.receive().await.expect("a frame");
        assert_ne!(frame.kind, GOAWAY, "{frame:?}");
        if frame.kind == RST_STREAM {
            assert_eq!(frame.code(), REFUSED_STREAM);
            refused += 1;
        }
    }
    gate.open();
    let mut heads = 0;
    while heads < 128 {
        let frame = wire.receive().await.expect("a frame");
        assert!(![GOAWAY, RST_STREAM].contains(&frame.kind), "{frame:?}");
        heads += usize::from(frame.kind == HEADERS);
    }
    wire.send(&get(5_001, &stand.authority, "/small")).await.expect("sent");
    wire.round_trip().await.expect("an answer");
}

/// A client of use asks for a thousand things at once, having guessed the limit wrong, and gets all of them.
#[tokio::test]
async fn a_client_that_keeps_to_the_limit_gets_everything_rfc9113_8_7() {
    let stand = stand().await;
    let stream = TcpStream::connect(stand.scene.proxy.https_address()).await.expect("a connection");
    let stream = secure(stream, NAME, &trusting(&stand.scene.pem, &["h2"])).await.expect("a handshake");
    let mut builder = h2::client::Builder::new();
    let (sender, connection) =
        builder.initial_max_send_streams(400).handshake::<_, Bytes>(stream).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let requests = (0..1000).map(|_| {
        let (sender, url) = (sender.clone(), stand.origin.url("/small"));
        tokio::spawn(async move {
            loop {
                let mut sender = sender.clone().ready().await.expect("room");
                let request = Request::get(&url).body(()).expect("a request");
                let (response, _) = sender.send_request(request, true).expect("sent");
                match response.await {
                    Ok(response) => return response.status(),
                    Err(error) => assert_eq!(error.reason(), Some(h2::Reason::REFUSED_STREAM), "{error}"),
                }
            }
        })
    });
    for request in requests.collect::<Vec<_>>() {
        assert_eq!(request.await.expect("an answer"), 200);
    }
    drop(sender);
    assert!(connection.await.expect("the connection").is_ok());
}

/// RFC 9110 §9.3.6, RFC 9113 §8.5: a tunnel is no idle connection.
#[tokio::test]
async fn a_tunnel_keeps_its_connection_rfc9113_8_5() {
    let scene = scene(&["--https-listen", "127.0.0.1:0", "--set", "timeouts.client=400ms"]).await;
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let authority = server.local_addr().expect("an address").to_string();
    let stream = TcpStream::connect(scene.proxy.https_address()).await.expect("a connection");
    let stream = secure(stream, NAME, &trusting(&scene.pem, &["h2"])).await.expect("a handshake");
    let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    let mut connection = tokio::spawn(connection);
    let mut sender = sender.ready().await.expect("room");
    let connect = Request::connect(&authority).body(()).expect("a request");
    let (response, mut to) = sender.send_request(connect, false).expect("sent");
    let (mut far, _) = server.accept().await.expect("a connection");
    let mut from = response.await.expect("a response").into_body();
    // As long as several times what a connection may rest.
    assert!(tokio::time::timeout(Duration::from_secs(2), &mut connection).await.is_err(), "it ended");
    to.send_data(Bytes::from_static(b"ping"), false).expect("sent");
    let mut received = [0; 4];
    far.read_exact(&mut received).await.expect("all of it");
    far.write_all(b"pong").await.expect("sent");
    assert_eq!(&from.data().await.expect("data").expect("data")[..], b"pong");
    let mut sender = sender.ready().await.expect("no GOAWAY");
    let page = Request::get("http://bentpipe.local/ca.pem").body(()).expect("a request");
    let (page, _) = sender.send_request(page, true).expect("sent");
    assert_eq!(page.await.expect("a page").status(), 200);
    drop((to, from, far));
    assert!(tokio::time::timeout(PATIENCE, connection).await.expect("it ends once it rests").is_ok());
}
