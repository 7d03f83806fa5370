//! `bentpipe capture`: the raw streams are what clients sent and received, byte for byte, and traffic goes on as without it.

use std::io::{BufRead as _, BufReader, Lines, Read as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use testkit::origin::Origin;
use testkit::reply::Reply;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::intercept::scene;
use crate::proxy::{Running, start};
use crate::secure::{through, trusting};

/// A capture that is going on.
pub(crate) struct Capturing {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    folder: TempDir,
}

fn command(proxy: &Running, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bentpipe"));
    let socket = proxy.folder.path().join("control.sock");
    command.args(["capture", "--control"]).arg(socket).args(flags).stdin(Stdio::null());
    command
}

impl Capturing {
    /// Begins a capture of `proxy`, which runs in other threads of this process.
    pub(crate) fn begin(proxy: &Running, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = command(proxy, flags);
        command.arg("-o").arg(folder.path().join("capture"));
        let mut child = command.stdout(Stdio::piped()).spawn().expect("a capture");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut capturing = Self { child, lines, folder };
        capturing.until("Capturing into");
        capturing
    }

    /// Waits for a line that begins so.
    pub(crate) fn until(&mut self, beginning: &str) -> String {
        tokio::task::block_in_place(|| {
            let line = self.lines.find(|line| line.as_ref().is_ok_and(|line| line.starts_with(beginning)));
            line.expect("the line").expect("text")
        })
    }

    /// Ends it as Ctrl-C does; what it said at the end.
    pub(crate) fn end(&mut self) -> String {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::INT).expect("a signal");
        tokio::task::block_in_place(|| {
            let rest = self.lines.by_ref().map(|line| line.expect("text") + "\n").collect();
            assert!(self.child.wait().expect("its end").success(), "{rest}");
            rest
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("capture").join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect(name)
    }

    fn har(&self) -> Vec<Value> {
        let har: Value = serde_json::from_slice(&self.read("capture.har")).expect("JSON");
        assert_eq!(har["log"]["version"], "1.2");
        har["log"]["entries"].as_array().expect("entries").clone()
    }
}

impl Drop for Capturing {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two byte strings that may be large are the same.
fn assert_same(one: &[u8], other: &[u8], what: &str) {
    let at = one.iter().zip(other).position(|(one, other)| one != other);
    assert!(one == other, "{what}: {} and {} bytes, which differ at {at:?}", one.len(), other.len());
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("a connection")
}

/// Reads until what was read ends so.
async fn read_until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    while !read.ends_with(end) {
        read.push(stream.read_u8().await.expect("more"));
    }
    read
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keep_alive_pipelined_and_chunked_are_equal_to_the_wire() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    let large: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    origin.always("GET", "/a", Reply::new(200).field("cache-control", "max-age=60").body("the first"));
    origin.always("GET", "/b", Reply::new(200).body(large.clone()).chunked(7_001));
    origin.always("POST", "/c", Reply::new(201).field("content-type", "text/plain").body("the last"));
    let mut capturing = Capturing::begin(&proxy, &["--client", "127.0.0.1"]);
    let mut stream = connect(proxy.address()).await;
    let get = |path: &str| format!("GET {} HTTP/1.1\r\nhost: {}\r\n\r\n", origin.url(path), origin.address());
    let first = get("/a");
    let post = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        origin.url("/c"),
        origin.address()
    );
    let pipelined = get("/a") + &get("/b") + &post;
    stream.write_all(first.as_bytes()).await.expect("sent");
    let mut received = read_until(&mut stream, b"the first").await;
    stream.write_all(pipelined.as_bytes()).await.expect("sent");
    stream.read_to_end(&mut received).await.expect("all of it");
    drop(stream);
    assert!(received.ends_with(b"the last"));
    capturing.until("0001  127.0.0.1 port");
    let told = capturing.end();
    assert!(told.contains("1 connection, 4 exchanges") && told.contains("Nothing was lost"), "{told}");
    assert_same(&capturing.read("0001-client.in"), (first + &pipelined).as_bytes(), "in");
    assert_same(&capturing.read("0001-client.out"), &received, "out");
    let dump = String::from_utf8(capturing.read("0001.txt")).expect("text");
    let asked = "> 00000000  47 45 54 20 68 74 74 70  3a 2f 2f 31 32 37 2e 30  |GET http://127.0|";
    assert!(
        dump.contains(asked) && dump.contains("not shown: more than the dump is to show"),
        "{}",
        &dump[..999]
    );

    let entries = capturing.har();
    let [miss, hit, chunked, post] = &entries[..] else { panic!("{} entries", entries.len()) };
    assert_eq!(
        (&miss["_cacheStatus"], &hit["_cacheStatus"]),
        (&"bentpipe; fwd=uri-miss; stored".into(), &"bentpipe; hit".into())
    );
    assert_eq!((&hit["response"]["content"]["text"], &hit["connection"]), (&"the first".into(), &"1".into()));
    assert_eq!(
        hit["request"]["headers"][0],
        serde_json::json!({"name": "host", "value": origin.address().to_string()})
    );
    let content = &chunked["response"]["content"];
    assert_eq!((&content["size"], &content["encoding"]), (&large.len().into(), &"base64".into()));
    assert_eq!(content["comment"], format!("the first 1000000 of {} bytes", large.len()));
    assert_eq!(
        (&post["request"]["postData"]["text"], &post["response"]["status"]),
        (&"abcde".into(), &201.into())
    );
    for entry in &entries {
        let parts = entry["timings"].as_object().expect("timings").iter().filter(|(name, _)| *name != "ssl");
        let sum: f64 = parts.filter_map(|(_, took)| took.as_f64()).filter(|took| *took >= 0.0).sum();
        assert!((sum - entry["time"].as_f64().expect("a time")).abs() < 0.01, "{entry}");
    }
    let mode = |name: &str| std::fs::metadata(capturing.path(name)).expect(name).permissions().mode() & 0o777;
    assert_eq!(
        (mode(""), mode("0001-client.in"), mode("0001.txt"), mode("capture.har")),
        (0o700, 0o600, 0o600, 0o600)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_is_equal_to_the_wire_rfc9110_9_3_6() {
    let proxy = start(&[]).await;
    let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let authority = server.local_addr().expect("an address").to_string();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = server.accept().await.expect("a connection");
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.expect("the client's end");
        stream.write_all(&received).await.expect("sent");
    });
    let mut capturing = Capturing::begin(&proxy, &["--host", "127.0.0.1"]);
    let mut stream = connect(proxy.address()).await;
    let head = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut received = read_until(&mut stream, b"\r\n\r\n").await;
    let up: Vec<u8> = (0..700_000_u32).map(|at| (at % 253) as u8).collect();
    stream.write_all(&up).await.expect("sent");
    stream.shutdown().await.expect("half-closed");
    stream.read_to_end(&mut received).await.expect("all of it");
    serving.await.expect("the server");
    drop(stream);
    capturing.until("0001  ");
    assert!(capturing.end().contains("Nothing was lost"));
    assert_same(&capturing.read("0001-client.in"), &[head.as_bytes(), &up].concat(), "in");
    assert_same(&capturing.read("0001-client.out"), &received, "out");
    let dump = String::from_utf8(capturing.read("0001.txt")).expect("text");
    assert!(dump.contains("the other side ended its sending") && dump.contains("s: closed"));
    let entries = capturing.har();
    assert_eq!((entries.len(), &entries[0]["request"]["method"]), (1, &"CONNECT".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_in_the_middle_has_got_a_beginning_of_what_was_written() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    origin.on("GET", "/large", Reply::new(200).body(vec![b'x'; 20_000_000]));
    let mut capturing = Capturing::begin(&proxy, &["--all"]);
    let mut stream = connect(proxy.address()).await;
    let request = format!("GET {} HTTP/1.1\r\nhost: a\r\n\r\n", origin.url("/large"));
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut received = vec![0; 100_000];
    stream.read_exact(&mut received).await.expect("a beginning");
    stream.set_zero_linger().expect("a reset");
    drop(stream);
    capturing.until("0001  ");
    assert!(capturing.end().contains("Nothing was lost"));
    assert_same(&capturing.read("0001-client.in"), request.as_bytes(), "in");
    let written = capturing.read("0001-client.out");
    assert!(written.len() >= received.len() && written.len() < 20_000_000, "{}", written.len());
    assert_same(&written[..received.len()], &received, "out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_inside_of_an_intercepted_tunnel_is_seen_as_it_is_there() {
    let scene = scene(&[]).await;
    scene.origin.always("GET", "/a", Reply::new(200).body("secret"));
    let mut capturing = Capturing::begin(&scene.proxy, &["--host", "*.test"]);
    let config = trusting(&scene.pem, &["http/1.1"]);
    let tunnel = through(scene.proxy.address(), &scene.authority(), crate::intercept::NAME, &config).await;
    let mut inside = tunnel.expect("a handshake");
    let request = format!("GET /a HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", scene.authority());
    inside.write_all(request.as_bytes()).await.expect("sent");
    let mut received = Vec::new();
    inside.read_to_end(&mut received).await.expect("all of it");
    drop(inside);
    capturing.until("000");
    capturing.until("000");
    capturing.end();
    // The tunnel itself is the first, what came out of it the second.
    assert!(capturing.read("0001-client.in").starts_with(b"CONNECT "));
    assert_same(&capturing.read("0002-client.in"), request.as_bytes(), "in");
    assert_same(&capturing.read("0002-client.out"), &received, "out");
    let dump = String::from_utf8(capturing.read("0002.txt")).expect("text");
    assert!(dump.contains("inside of the TLS in a tunnel to site.test"), "{dump}");
    let urls: Vec<_> = capturing.har().iter().map(|entry| entry["request"]["url"].clone()).collect();
    assert!(urls.contains(&format!("https://{}/a", scene.authority()).into()), "{urls:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_meant_is_not_captured_and_open_connections_are_joined() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    origin.always("GET", "/a", Reply::new(200).body("hello"));
    let mut early = proxy.connect().await;
    let request = testkit::client::Request::new("GET", &origin.url("/a"));
    early.request(&request).await.expect("a response");
    let mut capturing = Capturing::begin(&proxy, &["--client", "127.0.0.1", "--host", "127.0.0.1"]);
    proxy.get("http://bentpipe.local/").await;
    early.request(&request).await.expect("a response");
    drop(early);
    capturing.until("0001  ");
    let told = capturing.end();
    assert!(told.contains("1 connection, 1 exchange, "), "{told}");
    assert_same(&capturing.read("0001-client.in"), &request.to_bytes(), "in");
    assert!(String::from_utf8_lossy(&capturing.read("0001.txt")).contains("open before the capture"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capture_wants_a_filter_a_folder_of_its_own_and_the_proxy_to_itself() {
    let proxy = start(&[]).await;
    let failed = |flags: &[&str]| {
        let output = tokio::task::block_in_place(|| command(&proxy, flags).output().expect("it runs"));
        assert!(!output.status.success());
        String::from_utf8(output.stderr).expect("text")
    };
    assert!(failed(&[]).contains("say whose connections"));
    assert!(failed(&["--client", "nobody"]).contains("--client nobody: expected an address"));
    let mut capturing = Capturing::begin(&proxy, &["--all"]);
    assert!(failed(&["--all"]).contains("one at a time"));
    capturing.end();
    let folder = capturing.path("").to_string_lossy().into_owned();
    assert!(failed(&["--all", "-o", &folder]).contains("has a capture in it already"));
    // That one has let the proxy go.
    Capturing::begin(&proxy, &["--all"]).end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capture_that_takes_nothing_holds_up_nobody() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    let body = vec![b'x'; 8_000_000];
    origin.always("GET", "/a", Reply::new(200).field("cache-control", "max-age=60").body(body.clone()));
    let capturing = Capturing::begin(&proxy, &["--all"]);
    let process = rustix::process::Pid::from_child(&capturing.child);
    rustix::process::kill_process(process, rustix::process::Signal::STOP).expect("a signal");
    let url = origin.url("/a");
    for _ in 0..12 {
        // More than the queue holds.
        assert_eq!(proxy.get(&url).await.body.len(), body.len());
    }
    rustix::process::kill_process(process, rustix::process::Signal::CONT).expect("a signal");
    let mut capturing = capturing;
    let told = capturing.end();
    assert!(told.contains(".lost: ") && !told.contains("Nothing was lost"), "{told}");
    let marked = std::fs::read_dir(capturing.path("")).expect("a folder");
    let marks = marked.filter(|entry| {
        entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|end| end == "lost"))
    });
    assert!(marks.count() > 0, "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_grow_no_larger_than_allowed() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    origin.always("GET", "/a", Reply::new(200).body(vec![b'x'; 4_000_000]));
    let mut capturing = Capturing::begin(&proxy, &["--all", "--max-size", "1M"]);
    assert_eq!(proxy.get(&origin.url("/a")).await.body.len(), 4_000_000);
    let mut told = String::new();
    tokio::task::block_in_place(|| {
        told.extend(capturing.lines.by_ref().map(|line| line.expect("text") + "\n"));
        assert!(capturing.child.wait().expect("its end").success());
    });
    assert!(told.contains("ended at --max-size"), "{told}");
    let mut stream = std::fs::File::open(capturing.path("0001-client.out")).expect("a stream");
    let mut head = [0; 15];
    stream.read_exact(&mut head).expect("a head");
    assert_eq!(&head, b"HTTP/1.1 200 OK");
}
