//! What happens when the system has no more of something: a proxy of its own, as a process with little of it.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_without_descriptors_pauses_and_serves_again() {
    let (home, origin) = (Home::new(), Origin::start().await.expect("an origin"));
    origin.always("GET", "/", Reply::new(200).field("cache-control", "no-store").body("hello"));
    let folder = home.folder("cache");
    let limited = "ulimit -n 64; exec \"$0\" \"$@\"";
    let flags =
        ["--listen", "127.0.0.1:0", "--cache-dir", &folder, "--allow-destination", "127.0.0.1:1-65535"];
    let mut child = Command::new("sh")
        .args(["-c", limited, env!("CARGO_BIN_EXE_bentpipe")])
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
    std::thread::spawn(move || reader.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let line = wait_for(&lines, "listening on");
    let address: SocketAddr = line.rsplit(' ').next().and_then(|word| word.parse().ok()).expect("an address");

    // More than it has descriptors for: the system accepts them, and the proxy cannot.
    let hostile: Vec<_> =
        (0..100).map(|_| TcpStream::connect(address).expect("a place in the queue")).collect();
    wait_for(&lines, "no connection could be accepted");
    assert!(child.try_wait().expect("a state").is_none(), "it lives");
    drop(hostile);
    let response = tokio::time::timeout(PATIENCE, client::get(address, &origin.url("/"))).await;
    assert_eq!(response.expect("in time").expect("a response").text(), "hello");
    child.kill().expect("killed");
    child.wait().expect("its end");
}
