//! What a configuration names and a start opens, as it is told to whoever checks, reloads or asks the doctor; and what
//! is said of accounts, on pages, in the log and on the first screen.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};

use crate::commands::Home;

const ANN: &str = "ann:$2y$04$oz.BsUYJzkG.7m3ndiK6ou9ul3bCN7ApD2AuiSX5NNTixsyYhdHt6\n";

#[test]
fn a_broken_file_of_users_is_told_before_the_next_start_refuses_it() {
    let home = Home::new();
    let (users, file) = (home.folder("users"), home.folder("bentpipe.toml"));
    fs::write(&users, ANN).expect("written");
    fs::write(&file, format!("[admission]\nusers_file = '{users}'\n")).expect("written");
    let served = home.serve("cache", &["--config", &file]);
    let named = |command: &'static str| ["--config", &file, command].map(str::to_owned);
    let run = |command| home.run(&named(command).each_ref().map(String::as_str));
    assert_eq!(get(served.address, "ann:sesame").0, 200);
    fs::write(&users, format!("{ANN}\nbob:sesame\n")).expect("written");
    let wrong = format!(
        "{file}:2: admission.users_file: {users}: line 3: bob has a password that is not hashed, which is quickly guessed; \
         make a new one: htpasswd -B {users} bob"
    );
    assert_eq!(home.fail(&["--config", &file, "config", "check"], 2), wrong);
    assert_eq!(home.fail(&["--config", &file, "reload"], 1), format!("bentpipe: {wrong}"));
    assert!(home.run(&["link", "set", "1M"]).starts_with("link 1M\n"), "that has nothing to do with it");
    home.run(&["config", "set", "cache.size=5G"]);
    let doctor = home.command(&["--config", &file, "doctor"]).output().expect("a run");
    let said = String::from_utf8(doctor.stdout).expect("text");
    assert!(said.contains(&format!("FAIL  config        {wrong}")), "{said}");
    assert_eq!(get(served.address, "ann:sesame").0, 200, "the old ones hold");
    let start = ["--config", &file, "--listen", "127.0.0.1:0", "--cache-dir", &home.folder("other")];
    assert_eq!(home.fail(&start, 1), format!("bentpipe: {wrong}"));
    fs::write(&users, ANN.replacen("ann", "bob", 1)).expect("written");
    run("reload");
    let statuses = [get(served.address, "bob:sesame").0, get(served.address, "ann:sesame").0];
    assert_eq!(statuses, [200, 407], "read at once, also where no option has changed");
    served.stop();
}

#[test]
fn a_check_makes_nothing() {
    let home = Home::new();
    let file = home.folder("bentpipe.toml");
    let (log, cache) = (home.folder("access.log"), home.folder("cache"));
    fs::write(&file, format!("log.access = '{log}'\ncache.dir = '{cache}'\n")).expect("written");
    assert_eq!(home.run(&["--config", &file, "config", "check"]), format!("ok ({file})\n"));
    let names: Vec<_> =
        fs::read_dir(home.path()).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["bentpipe.toml"]);
}

/// The status and the page of the proxy's answer to a request with this name and password.
fn get(proxy: SocketAddr, pair: &str) -> (u16, String) {
    use base64::Engine as _;
    let coded = base64::engine::general_purpose::STANDARD.encode(pair);
    let field =
        if pair.is_empty() { String::new() } else { format!("proxy-authorization: Basic {coded}\r\n") };
    let mut stream = TcpStream::connect(proxy).expect("a connection");
    let request = format!(
        "OPTIONS http://192.0.2.1/ HTTP/1.1\r\nhost: 192.0.2.1\r\nmax-forwards: 0\r\n{field}connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("an answer");
    let status = said.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, said)
}

/// A proxy whose first screen and log can be read.
struct Heard {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStderr>>,
    screen: String,
    address: SocketAddr,
}

impl Drop for Heard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Heard {
    fn start(home: &Home, flags: &[&str]) -> Self {
        let cache = home.folder("cache");
        let fixed = ["--listen", "127.0.0.1:0", "--cache-dir", &cache];
        let mut command = home.command(&[&fixed[..], flags].concat());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a proxy");
        let mut lines = BufReader::new(child.stderr.take().expect("its standard error")).lines();
        let mut screen = String::new();
        while !screen.contains("Stop it with") {
            screen += &(lines.next().expect("a line").expect("text") + "\n");
        }
        let after = screen.split("listening on").nth(1).expect("an address");
        let address =
            after.trim().lines().next().and_then(|text| text.trim().parse().ok()).expect("an address");
        Self { child, lines, screen, address }
    }

    /// The next line that has `part` in it.
    fn line(&mut self, part: &str) -> String {
        self.lines.find_map(|line| line.ok().filter(|line| line.contains(part))).expect("a line")
    }
}

#[test]
fn wrong_credentials_are_told_on_the_page_and_in_the_log() {
    let home = Home::new();
    let mut proxy = Heard::start(&home, &["--set", "admission.users=ann:sesame"]);
    let pages = ["", "ann:wrong-street", "eve:wrong-street"].map(|pair| get(proxy.address, pair));
    assert_eq!(pages.each_ref().map(|(status, _)| *status), [407; 3]);
    assert!(pages[0].1.contains("and none came with the request"), "{}", pages[0].1);
    assert!(pages[1].1.contains("The name or the password is wrong."), "{}", pages[1].1);
    let page = |answer: &str| answer.split("\r\n\r\n").nth(1).map(str::to_owned);
    assert_eq!(page(&pages[1].1), page(&pages[2].1), "whether there is such an account is not told");
    let first = proxy.line("wrong credentials were presented");
    assert!(first.contains("WARN") && first.contains("127.0.0.1") && first.contains("ann"), "{first}");
    assert!(!first.contains("street"), "{first}");
    let second = proxy.line("wrong credentials were presented");
    assert!(second.contains("eve"), "{second}");
    // The same again is counted, and a terminal acts on no name.
    assert_eq!(get(proxy.address, "ann:wrong-street").0, 407);
    assert_eq!(get(proxy.address, "a\u{202e}b\"c:wrong-street").0, 407);
    let third = proxy.line("wrong credentials were presented");
    assert!(third.contains(r#"a\u{202e}b\"c"#) && third.contains("unsaid=1"), "{third}");
}

#[test]
fn commands_that_are_advised_find_the_proxy() {
    let home = Home::new();
    let (socket, ca) = (home.folder("b.sock"), home.folder("elsewhere"));
    let said = home.run(&["--ca-dir", &ca, "--control", &socket, "ca", "init"]);
    assert!(said.contains(&format!("bentpipe --control {socket} --ca-dir {ca} ca install")), "{said}");
    let proxy = Heard::start(&home, &["--control", &socket, "--ca-dir", &ca]);
    let line = proxy.screen.lines().find(|line| line.contains("cache stats")).expect("a command");
    assert_eq!(line, format!("  bentpipe --control {socket} cache stats"));
    let words: Vec<_> = line.split_whitespace().skip(1).collect();
    assert!(home.run(&words).contains(&format!("proxy     at {socket}")));
    // The authority is that of the proxy which is asked.
    let status = home.run(&["--control", &socket, "ca", "status"]);
    assert!(status.contains(&format!("key          {ca}/current/ca.key")), "{status}");
    let several = home.run(&["--control", &socket, "config", "get", "cache.size", "ca.dir"]);
    assert!(
        several.contains("cache.size = 10G  # default\n") && several.contains("ca.dir     = "),
        "{several}"
    );
    let error = home.fail(&["--control", &socket, "config", "get", "cache.size", "cache.siez"], 1);
    assert_eq!(error, "bentpipe: \"cache.siez\" is not an option");
}

#[test]
fn what_is_written_is_told_by_its_whole_path() {
    let home = Home::new();
    let run = |arguments: &[&str]| {
        let output = home.command(arguments).current_dir(home.path()).output().expect("a run");
        String::from_utf8(output.stdout).expect("text")
    };
    let at = home.path().display();
    assert!(
        run(&["--ca-dir", "ca", "ca", "init"]).contains(&format!("key          {at}/ca/current/ca.key "))
    );
    assert_eq!(run(&["--ca-dir", "ca", "ca", "export", "-o", "a.pem"]), format!("written into {at}/a.pem\n"));
}
