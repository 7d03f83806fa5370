//! What happens when the system gives no more of something: a proxy of its own, as a process with little of it.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use testkit::client;
use testkit::origin::Origin;
use testkit::reply::Reply;

use crate::commands::Home;

/// Long enough for anything that happens at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// The next line of `lines` that contains `part`.
fn wait_for(lines: &Receiver<String>, part: &str) -> String {
    loop {
        let line = lines.recv_timeout(PATIENCE).expect(part);
        if line.contains(part) {
            return line;
        }
    }
}

/// A proxy with little.
struct Limited {
    child: Child,
    lines: Receiver<String>,
    address: SocketAddr,
    _home: Home,
}

impl Limited {
    /// One for which `ulimit` was called with these.
    fn start(limits: &str) -> Self {
        let home = Home::new();
        let folder = home.folder("cache");
        let limited = format!("ulimit {limits}; exec \"$0\" \"$@\"");
        let flags =
            ["--listen", "127.0.0.1:0", "--cache-dir", &folder, "--allow-destination", "127.0.0.1:1-65535"];
        let mut child = Command::new("sh")
            .args(["-c", &limited, env!("CARGO_BIN_EXE_bentpipe")])
            .args(flags)
            .env_clear()
            .env("HOME", home.path())
            .env("XDG_RUNTIME_DIR", home.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a proxy");
        let (sender, lines) = channel();
        let reader = BufReader::new(child.stderr.take().expect("its standard error"));
        std::thread::spawn(move || {
            reader.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let line = wait_for(&lines, "listening on");
        let address = line.rsplit(' ').next().and_then(|word| word.parse().ok()).expect("an address");
        Self { child, lines, address, _home: home }
    }

    /// Whether it answers.
    async fn check(&mut self, origin: &Origin) {
        assert!(self.child.try_wait().expect("a state").is_none(), "it lives");
        let response = tokio::time::timeout(PATIENCE, client::get(self.address, &origin.url("/"))).await;
        assert_eq!(response.expect("in time").expect("a response").text(), "hello");
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn origin() -> Origin {
    let origin = Origin::start().await.expect("an origin");
    origin.always("GET", "/", Reply::new(200).field("cache-control", "no-store").body("hello"));
    origin
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_connections_are_served_at_once_than_there_are_descriptors_for() {
    let (origin, mut proxy) = (origin().await, Limited::start("-n 64"));
    // Three quarters of them, three for each.
    let hostile: Vec<_> =
        (0..100).map(|_| TcpStream::connect(proxy.address).expect("a place in the queue")).collect();
    drop(hostile);
    // Those that waited are served, and find descriptors for their origin.
    proxy.check(&origin).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_without_descriptors_pauses_and_serves_again() {
    let (origin, mut proxy) = (origin().await, Limited::start("-n 256"));
    let pid = Pid::from_child(&proxy.child);
    let limit = |descriptors| {
        let limit = Rlimit { current: Some(descriptors), maximum: Some(256) };
        prlimit(Some(pid), Resource::Nofile, limit).expect("its limit");
    };
    // Fewer than it has already.
    limit(4);
    let waiting = TcpStream::connect(proxy.address).expect("a place in the queue");
    wait_for(&proxy.lines, "no connection could be accepted");
    limit(256);
    drop(waiting);
    proxy.check(&origin).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_may_not_grow_ends_nothing() {
    // SIGXFSZ ends a process that does not look after it.
    let (origin, mut proxy) = (origin().await, Limited::start("-f 100"));
    for number in 0..8 {
        let (path, body) = (format!("/{number}"), vec![b'a' + number; 400_000]);
        let reply = Reply::new(200).field("cache-control", "max-age=60").body(body.clone());
        origin.always("GET", &path, reply);
        let answered = tokio::time::timeout(PATIENCE, client::get(proxy.address, &origin.url(&path))).await;
        assert!(answered.expect("in time").expect("a response").body == body, "{path}");
    }
    proxy.check(&origin).await;
}
