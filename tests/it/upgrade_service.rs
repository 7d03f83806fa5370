//! What a service manager hears of the program, and the sockets that it gives it (sd_notify(3), sd_listen_fds(3)).

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::commands::Home;

/// The service manager's end: what it has heard.
struct Manager(UnixDatagram);

impl Manager {
    fn new(home: &Home) -> Self {
        let socket = UnixDatagram::bind(home.path().join("notify")).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        Self(socket)
    }

    /// The next message that begins with `state`; what came before it is passed over.
    fn hears(&self, state: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let length = self.0.recv(&mut buffer).expect(state);
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.starts_with(state) {
                return text;
            }
        }
    }
}

fn process(text: &str) -> Pid {
    let number = text.trim().strip_prefix("MAINPID=").and_then(|number| number.parse().ok());
    Pid::from_raw(number.expect("a number")).expect("a process")
}

/// The program under a shell that gives it `sockets` from descriptor 3 on, as a service manager does.
fn activated(home: &Home, sockets: [OwnedFd; 2], names: &str, arguments: &[&str]) -> Command {
    let [one, two] = sockets;
    let mut command = home.command(&[]);
    let program = command.get_program().to_owned();
    let mut shell = Command::new("/bin/sh");
    let script = "LISTEN_PID=$$ exec \"$0\" \"$@\" 3<&0 4<&1 </dev/null >/dev/null";
    shell.arg("-c").arg(script).arg(program).args(arguments);
    shell.env_clear().envs(
        command
            .env("LISTEN_FDS", "2")
            .env("LISTEN_FDNAMES", names)
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    shell.stdin(Stdio::from(one)).stdout(Stdio::from(two)).stderr(Stdio::null());
    shell
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_service_manager_is_told_of_starts_reloads_upgrades_and_the_end() {
    let home = Home::new();
    let manager = Manager::new(&home);
    let folder = home.folder("cache");
    let control = home.folder("control");
    let arguments = ["--listen", "127.0.0.1:0", "--cache-dir", &folder, "--control", &control];
    let mut command = home.command(&arguments);
    command.env("NOTIFY_SOCKET", home.path().join("notify")).env("WATCHDOG_USEC", "200000");
    let child = command.stderr(Stdio::null()).spawn().expect("a proxy");
    let first = Pid::from_child(&child);
    let mut child = Ended(child);
    let ready = manager.hears("READY=1");
    assert!(ready.contains("STATUS=listening on 127.0.0.1:"), "{ready}");
    manager.hears("WATCHDOG=1");
    kill_process(first, Signal::HUP).expect("a signal");
    assert!(manager.hears("RELOADING=1").contains("MONOTONIC_USEC="));
    manager.hears("READY=1");

    home.run(&["--control", &control, "upgrade"]);
    // The new process may speak only when it is known as the main one.
    let second = process(&manager.hears("MAINPID="));
    assert_ne!(second, first);
    manager.hears("READY=1");
    assert!(child.0.wait().expect("its end").success());
    manager.hears("WATCHDOG=1");
    kill_process(second, Signal::TERM).expect("a signal");
    manager.hears("STOPPING=1");
}

#[test]
fn sockets_that_were_given_take_the_place_of_the_configured_ones() {
    let home = Home::new();
    let manager = Manager::new(&home);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address: SocketAddr = listener.local_addr().expect("an address");
    let path = home.folder("commands");
    let commands = UnixListener::bind(&path).expect("a socket");
    let folder = home.folder("cache");
    let arguments = ["--listen", "127.0.0.1:1", "--cache-dir", &folder];
    let mut command =
        activated(&home, [listener.into(), commands.into()], "bentpipe.socket:control", &arguments);
    let child = command.env("NOTIFY_SOCKET", home.path().join("notify")).spawn().expect("a proxy");
    // The other copies of the sockets would answer for it.
    drop(command);
    let mut child = Ended(child);
    let ready = manager.hears("READY=1");
    assert!(ready.contains(&format!("listening on {address};")), "{ready}");
    TcpStream::connect(address).expect("a connection");
    assert!(home.run(&["--control", &path, "cache", "stats"]).contains(&folder));

    // They stay, also where the process after it is started without a service manager's help.
    home.run(&["--control", &path, "upgrade"]);
    let second = process(&manager.hears("MAINPID="));
    let ready = manager.hears("READY=1");
    assert!(ready.contains(&format!("listening on {address};")), "{ready}");
    assert!(child.0.wait().expect("its end").success());
    assert!(home.run(&["--control", &path, "cache", "stats"]).contains(&folder));
    kill_process(second, Signal::TERM).expect("a signal");
    manager.hears("STOPPING=1");
    // The service manager's file is its own.
    assert!(std::path::Path::new(&path).exists());
}
