//! Another process takes over: nothing that is in flight is dropped, and one that does not come up changes nothing. The
//! built program, as a service manager or an operator has it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use testkit::client::{self, Client, Request};
use testkit::origin::Origin;
use testkit::reply::{Gate, Reply};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::spawn_blocking;

use crate::commands::{Home, Served};
use crate::secure::{secure, speak, trusting};

/// A proxy and those that take over from it; all end with the test.
struct Lineage {
    home: Home,
    first: Option<Served>,
    address: SocketAddr,
    port: String,
}

impl Lineage {
    fn start(home: Home, flags: &[&str]) -> Self {
        let first = home.serve("cache", flags);
        let (address, port) = (first.address, first.port());
        Self { home, first: Some(first), address, port }
    }

    async fn connect(&self) -> Client {
        Client::connect(self.address).await.expect("a connection")
    }

    async fn get(&self, url: &str) -> client::Response {
        client::get(self.address, url).await.expect("a response")
    }

    /// `bentpipe upgrade`; what it says.
    fn upgrade(&self) -> String {
        self.home.run(&["--listen", &self.port, "upgrade"])
    }

    /// The process that takes commands now.
    fn process(&self) -> Option<Pid> {
        let socket = self.home.path().join("bentpipe").join(format!("{}.sock", self.port));
        let mut stream = UnixStream::connect(socket).ok()?;
        stream.write_all(b"GET /v1/proxy HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let answer: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
        Pid::from_raw(i32::try_from(answer["process"].as_i64()?).ok()?)
    }

    /// Waits until the first process has ended, which it must by itself.
    async fn first_has_ended(&mut self) {
        let first = self.first.take().expect("the first");
        let ended = tokio::time::timeout(Duration::from_secs(60), spawn_blocking(|| first.wait())).await;
        assert!(ended.expect("in time").expect("an end").success());
    }
}

impl Drop for Lineage {
    fn drop(&mut self) {
        if let Some(process) = self.process() {
            let _ = kill_process(process, Signal::KILL);
        }
    }
}

fn is_hit(response: &client::Response) -> bool {
    response.field("cache-status").is_some_and(|status| status.starts_with("bentpipe; hit"))
}

fn lasting(body: impl Into<Vec<u8>>) -> Reply {
    Reply::new(200).field("cache-control", "max-age=600").field("etag", "\"1\"").body(body)
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at * 7 % 251).expect("a byte")).collect()
}

/// A server behind a tunnel that says everything again.
async fn echo() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_flight_goes_on_and_what_is_new_goes_to_the_new_process() {
    let origin = Origin::start().await.expect("an origin");
    origin.always("GET", "/hit", lasting("hello"));
    let (gate, whole) = (Gate::closed(), bytes(3_000_000));
    origin.on("GET", "/big", lasting(whole.clone()).hold_after(1_000_000, &gate));
    let mut proxy = Lineage::start(Home::new(), &[]);
    let mut kept = proxy.connect().await;
    for _ in 0..2 {
        let hit = kept.request(&Request::new("GET", &origin.url("/hit"))).await.expect("a response");
        assert_eq!((hit.text().as_str(), hit.field("connection")), ("hello", None));
    }
    let mut download = proxy.connect().await;
    download.send(&Request::new("GET", &origin.url("/big")).to_bytes()).await.expect("sent");
    download.receive_head().await.expect("a head");
    let mut tunnel = proxy.connect().await;
    assert_eq!(tunnel.tunnel(&echo().await.to_string()).await.expect("an answer").status, 200);
    tunnel.send(b"one").await.expect("sent");
    assert_eq!(tunnel.receive_exactly(3).await.expect("the echo"), b"one");

    let before = proxy.process().expect("a process");
    let said = proxy.upgrade();
    let second = proxy.process().expect("a process");
    assert_eq!(
        said,
        format!(
            "process {second} serves, bentpipe {}; process {before} finishes what it has begun\n",
            env!("CARGO_PKG_VERSION")
        )
    );
    // The old process answers once more on the connection that it has, and says that it closes it (RFC 9112 §9.6).
    let hit = kept.request(&Request::new("GET", &origin.url("/hit"))).await.expect("a response");
    assert_eq!((hit.text().as_str(), hit.field("connection")), ("hello", Some("close")));
    let hit = proxy.get(&origin.url("/hit")).await;
    assert_eq!((hit.text().as_str(), is_hit(&hit)), ("hello", true));
    // Another one, while the first still has something to do.
    proxy.upgrade();
    assert!(![Some(before), Some(second)].contains(&proxy.process()));
    let hit = proxy.get(&origin.url("/hit")).await;
    assert_eq!((hit.text().as_str(), is_hit(&hit)), ("hello", true));
    assert!(proxy.home.run(&["--listen", &proxy.port, "link", "set", "1M"]).starts_with("link 1M\n"));
    proxy.home.run(&["--listen", &proxy.port, "link", "set", "unlimited"]);

    tunnel.send(b"two").await.expect("sent");
    assert_eq!(tunnel.receive_exactly(3).await.expect("the echo"), b"two");
    gate.open();
    assert!(download.receive_exactly(3_000_000).await.expect("the rest") == whole, "wrong bytes");
    tunnel.finish().await.expect("half-closed");
    assert!(tunnel.receive_rest().await.expect("the end").is_empty());
    drop(download);
    proxy.first_has_ended().await;
    assert_eq!(proxy.get(&origin.url("/hit")).await.text(), "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_old_process_changes_is_changed_in_the_new_one() {
    // RFC 9111 §4.4: a successful unsafe request invalidates what is stored, whoever has it.
    let origin = Origin::start().await.expect("an origin");
    origin.always("GET", "/a", lasting("old"));
    let gate = Gate::closed();
    origin.on("POST", "/a", Reply::new(204).wait(&gate));
    let mut proxy = Lineage::start(Home::new(), &[]);
    proxy.get(&origin.url("/a")).await;
    assert!(is_hit(&proxy.get(&origin.url("/a")).await));
    let mut client = proxy.connect().await;
    client.send(&Request::new("POST", &origin.url("/a")).body("x").to_bytes()).await.expect("sent");
    origin.wait_for_requests(2).await;
    proxy.upgrade();
    assert!(is_hit(&proxy.get(&origin.url("/a")).await));
    gate.open();
    assert_eq!(client.receive("POST").await.expect("a response").status, 204);
    drop(client);
    // All it had to say has been said when it is gone.
    proxy.first_has_ended().await;
    tokio::time::timeout(Duration::from_secs(20), async {
        // The new one may still be hearing it, but hear it must: nobody says it again.
        while is_hit(&proxy.get(&origin.url("/a")).await) {}
    })
    .await
    .expect("it is invalidated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_share_a_connection_are_finished() {
    let origin = Origin::start().await.expect("an origin");
    let gate = Gate::closed();
    origin.on("GET", "/held", Reply::new(200).body("held").wait(&gate));
    origin.always("GET", "/b", lasting("hello"));
    let home = Home::new();
    home.run(&["ca", "init"]);
    let pem = home.run(&["ca", "export"]);
    let secured = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let mut proxy = Lineage::start(home, &["--https-listen", &secured.to_string()]);
    let config = trusting(&pem, &["h2"]);
    let connect = || async {
        let stream = tokio::net::TcpStream::connect(secured).await.expect("a connection");
        speak(secure(stream, "localhost", &config).await.expect("a handshake")).await
    };
    let get = |path: &str| {
        let request = http::Request::get(origin.url(path));
        request.body(http_body_util::Full::default()).expect("a request")
    };
    let (mut idle, mut busy) = (connect().await, connect().await);
    assert_eq!(idle.send(get("/b")).await.expect("a response").body(), "hello");
    let held = get("/held");
    let held = tokio::spawn(async move { busy.send(held).await });
    origin.wait_for_requests(2).await;
    proxy.upgrade();
    assert_eq!(connect().await.send(get("/b")).await.expect("a response").body(), "hello");
    gate.open();
    assert_eq!(held.await.expect("a task").expect("a response").body(), "held");
    proxy.first_has_ended().await;
    assert!(idle.send(get("/b")).await.is_err(), "GOAWAY (RFC 9113 §6.8)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_does_not_come_up_changes_nothing() {
    let origin = Origin::start().await.expect("an origin");
    origin.always("GET", "/a", lasting("hello"));
    let proxy = Lineage::start(Home::new(), &["--set", "timeouts.upgrade_start=1s"]);
    let script = |name: &str, text: &str| {
        let path = proxy.home.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a script");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).expect("a mode");
        path.to_string_lossy().into_owned()
    };
    let program = env!("CARGO_BIN_EXE_bentpipe");
    // The last one finds out when it has the cache folder.
    let late = script("late", &format!("exec {program} \"$@\" --control /proc/nowhere/socket"));
    let faulty = script("faulty", &format!("exec {program} \"$@\" --set cache.sise=1G"));
    let failing = script("failing", "echo 'no such luck' >&2; exit 3");
    let cases = [
        ("/nowhere/bentpipe", "cannot be started: No such file or directory"),
        ("/bin/true", "it ended (exit status: 0)"),
        (&failing, "it ended (exit status: 3); it said:\nno such luck"),
        (&faulty, "\"cache.sise\" is not an option; did you mean cache.size?"),
        (&script("hanging", "exec sleep 100"), "nothing was heard of it for 1 s"),
        (&late, "/proc/nowhere/socket"),
    ];
    let process = proxy.process();
    for (number, (binary, expected)) in cases.into_iter().enumerate() {
        let error = proxy.home.fail(&["--listen", &proxy.port, "upgrade", binary], 1);
        assert!(error.contains(expected), "{binary}: {error}");
        assert_eq!(proxy.process(), process, "{binary}");
        // It accepts, and it stores.
        let url = origin.url(&format!("/a?{number}"));
        origin.always("GET", &format!("/a?{number}"), lasting("hello"));
        assert_eq!(proxy.get(&url).await.text(), "hello", "{binary}");
        assert!(is_hit(&proxy.get(&url).await), "{binary}");
    }
    proxy.upgrade();
    assert_ne!(proxy.process(), process);
    assert!(is_hit(&proxy.get(&origin.url("/a?5")).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_new_process_listens_where_its_configuration_says() {
    let home = Home::new();
    let free = || TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let (one, two) = (free(), free());
    let file = home.path().join("bentpipe.toml");
    let control = home.folder("control");
    let write = |listen: &[SocketAddr]| {
        let listen: Vec<_> = listen.iter().map(|address| format!("'{address}'")).collect();
        std::fs::write(&file, format!("listen = [{}]\n", listen.join(", "))).expect("a file");
    };
    write(&[one]);
    // The flag that `serve` gives is for a port of its own: this proxy is started by hand.
    let text = file.to_string_lossy().into_owned();
    let folder = home.folder("cache");
    let mut command = home.command(&["--config", &text, "--cache-dir", &folder, "--control", &control]);
    let mut child = command.stderr(std::process::Stdio::null()).spawn().expect("a proxy");
    let reached = |address: SocketAddr| async move {
        tokio::time::timeout(Duration::from_secs(20), async {
            while tokio::net::TcpStream::connect(address).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("it listens");
    };
    reached(one).await;
    write(&[one, two]);
    // It listens before it takes commands.
    while UnixStream::connect(&control).is_err() {
        tokio::task::yield_now().await;
    }
    home.run(&["--control", &control, "upgrade"]);
    reached(two).await;
    reached(one).await;
    write(&[two]);
    home.run(&["--control", &control, "upgrade"]);
    reached(two).await;
    tokio::time::timeout(Duration::from_secs(20), async {
        while tokio::net::TcpStream::connect(one).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it does not listen there");
    child.wait().expect("its end");
    let answer = ask(&control);
    let process = Pid::from_raw(i32::try_from(answer["process"].as_i64().expect("a number")).expect("small"));
    kill_process(process.expect("a process"), Signal::TERM).expect("a signal");
}

fn ask(control: &str) -> serde_json::Value {
    let mut stream = UnixStream::connect(control).expect("a connection");
    stream.write_all(b"GET /v1/proxy HTTP/1.0\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    serde_json::from_str(answer.split_once("\r\n\r\n").expect("a head").1).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_does_the_same_and_a_process_that_finishes_can_be_ended() {
    let mut proxy = Lineage::start(Home::new(), &["--set", "timeouts.drain=0s"]);
    let mut tunnel = tokio::net::TcpStream::connect(proxy.address).await.expect("a connection");
    let far = echo().await;
    tunnel
        .write_all(format!("CONNECT {far} HTTP/1.1\r\nhost: {far}\r\n\r\n").as_bytes())
        .await
        .expect("sent");
    let mut head = [0; 12];
    tunnel.read_exact(&mut head).await.expect("a head");
    assert_eq!(&head, b"HTTP/1.1 200");
    let origin = Origin::start().await.expect("an origin");
    origin.always("GET", "/a", lasting("hello"));
    let mut kept = proxy.connect().await;
    let first = proxy.first.as_ref().expect("the first").process();
    assert_eq!(proxy.process(), Some(first));
    kill_process(first, Signal::USR2).expect("a signal");
    tokio::time::timeout(Duration::from_secs(20), async {
        while proxy.process().is_none_or(|process| process == first) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("another process");
    // A stop in the middle of an upgrade would end both: the old process is past it when it closes what it is asked on.
    tokio::time::timeout(Duration::from_secs(20), async {
        let get = Request::new("GET", &origin.url("/a"));
        while kept.request(&get).await.expect("a response").field("connection") != Some("close") {}
    })
    .await
    .expect("it finishes");
    kill_process(first, Signal::TERM).expect("a signal");
    proxy.first_has_ended().await;
    let mut rest = Vec::new();
    let _ = tunnel.read_to_end(&mut rest).await;
    proxy.connect().await;
}
