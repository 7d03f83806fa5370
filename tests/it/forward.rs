//! `bentpipe forward`: plain TCP across a link.

use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Stdio};

use crate::commands::Home;

/// A forwarder that ends with its test.
struct Forwarding {
    home: Home,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    addresses: Vec<SocketAddr>,
}

impl Forwarding {
    /// Forwards a port of its own to each of `targets`.
    fn begin(targets: &[SocketAddr], listen: &str, flags: &[&str]) -> Self {
        let home = Home::new();
        let targets: Vec<_> = targets.iter().map(ToString::to_string).collect();
        let pairs = targets.iter().flat_map(|target| ["--listen", listen, "--to", target]);
        let mut command = home.command(&["forward"]);
        command.args(pairs).args(flags).current_dir(home.path()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a forwarder");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut addresses = Vec::new();
        for target in &targets {
            let line = lines.next().expect("a line").expect("text");
            let (address, rest) =
                line.strip_prefix("Forwarding ").and_then(|line| line.split_once(" to ")).expect(&line);
            assert!(rest.starts_with(target), "{line}");
            addresses.push(address.parse().expect("an address"));
        }
        Self { home, child, lines, addresses }
    }

    fn line(&mut self, part: &str) -> String {
        let line = self.lines.find(|line| line.as_ref().is_ok_and(|line| line.contains(part)));
        line.expect("the line").expect("text")
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that takes one connection, reads it to its end and sends back what it read, with `before` it.
fn echo(address: &str, before: &'static [u8]) -> Option<SocketAddr> {
    let listener = TcpListener::bind(address).ok()?;
    let address = listener.local_addr().ok();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut read = before.to_vec();
        stream.read_to_end(&mut read).expect("the end");
        stream.write_all(&read).expect("sent");
    });
    address
}

fn ask(address: SocketAddr, up: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.write_all(up).expect("sent");
    stream.shutdown(Shutdown::Write).expect("half-closed");
    let mut back = Vec::new();
    stream.read_to_end(&mut back).expect("all of it");
    back
}

#[test]
fn bytes_go_both_ways_and_half_close_is_passed_on() {
    let targets =
        [echo("127.0.0.1:0", b"one "), echo("127.0.0.1:0", b"two ")].map(|target| target.expect("a port"));
    let mut forwarding = Forwarding::begin(&targets, "0", &["-o", "files"]);
    let up: Vec<u8> = (0..2_000_000_u32).map(|at| (at % 251) as u8).collect();
    let back = ask(forwarding.addresses[0], &up);
    assert!(back == [b"one ", &up[..]].concat(), "{} bytes", back.len());
    let told = forwarding.line(&format!("-> {}", targets[0]));
    assert!(told.contains("ended after") && told.contains("2000000 bytes up, 2000004 bytes down"), "{told}");
    assert_eq!(ask(forwarding.addresses[1], b"x"), b"two x");
    forwarding.line(&format!("-> {}", targets[1]));
    let process = rustix::process::Pid::from_child(&forwarding.child);
    rustix::process::kill_process(process, rustix::process::Signal::INT).expect("a signal");
    assert!(forwarding.child.wait().expect("its end").success());
    forwarding.line("Nothing was lost");
    let read = |name: &str| std::fs::read(forwarding.home.path().join("files").join(name)).expect(name);
    assert!(read("0001-client.in") == up && read("0001-client.out") == back);
    assert_eq!((read("0002-client.in"), read("0002-client.out")), (b"x".to_vec(), b"two x".to_vec()));
}

#[test]
fn a_target_that_is_not_there_is_a_reset_and_is_said() {
    let gone = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let mut forwarding = Forwarding::begin(&[gone], "0", &[]);
    let mut stream = TcpStream::connect(forwarding.addresses[0]).expect("a connection");
    let read = stream.read(&mut [0; 8]);
    assert_eq!(read.map_err(|error| error.kind()), Err(std::io::ErrorKind::ConnectionReset));
    let told = forwarding.line("not connected");
    assert!(told.contains(&gone.to_string()), "{told}");
}

#[test]
fn it_forwards_from_and_to_ipv6() {
    // Where the machine has none there is nothing to see.
    let Some(target) = echo("[::1]:0", b"six ") else { return };
    let forwarding = Forwarding::begin(&[target], "[::1]:0", &[]);
    assert_eq!(ask(forwarding.addresses[0], b"x"), b"six x");
}

#[test]
fn ports_and_targets_go_together() {
    let home = Home::new();
    let failed = |flags: &[&str]| {
        let output = home.command(&[&["forward"], flags].concat()).output().expect("it runs");
        assert!(!output.status.success());
        String::from_utf8(output.stderr).expect("text")
    };
    assert!(failed(&["--to", "127.0.0.1:1"]).contains("--listen PORT"));
    assert!(
        failed(&["--listen", "0", "--listen", "0", "--to", "127.0.0.1:1"])
            .contains("each --listen wants one")
    );
    assert!(failed(&["--listen", "0", "--to", "127.0.0.1"]).contains("expected a host and a port"));
    assert!(failed(&["--listen", "0"]).contains("--to <HOST:PORT>"));
}
