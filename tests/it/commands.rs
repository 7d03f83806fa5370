//! The commands as a user types them: the built program, run beside proxies that are also its own.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;
use testkit::client;
use testkit::origin::Origin;
use testkit::reply::Reply;

/// A home of a test's own, in which nothing else runs.
pub(crate) struct Home(TempDir);

/// A proxy that ends with its test.
pub(crate) struct Served {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bentpipe"));
        command.env_clear().env("HOME", self.path()).env("XDG_RUNTIME_DIR", self.path());
        command.args(arguments);
        command
    }

    /// Starts a proxy on a free port whose cache is in the folder `name`, and waits until it serves.
    pub(crate) fn serve(&self, name: &str, flags: &[&str]) -> Served {
        let folder = self.folder(name);
        let fixed = ["--listen", "127.0.0.1:0", "--cache-dir", &folder];
        let open = ["--allow-destination", "127.0.0.1:1-65535"];
        let mut command = self.command(&[&fixed[..], &open, flags].concat());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a proxy");
        let mut lines = BufReader::new(child.stderr.take().expect("its standard error")).lines();
        let address = lines
            .find_map(|line| line.expect("text").trim().strip_prefix("listening on")?.trim().parse().ok())
            .expect("an address");
        // Nobody reads on, but a proxy whose standard error is gone is no healthy one.
        std::thread::spawn(move || lines.for_each(drop));
        Served { child, address }
    }

    pub(crate) fn folder(&self, name: &str) -> String {
        self.path().join(name).to_string_lossy().into_owned()
    }

    /// What a command prints; it must succeed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.command(arguments).output().expect("a run");
        assert!(status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).expect("text")
    }

    /// What a command says is wrong; it must exit with `code`.
    pub(crate) fn fail(&self, arguments: &[&str], code: i32) -> String {
        let Output { status, stdout, stderr } = self.command(arguments).output().expect("a run");
        assert_eq!(status.code(), Some(code), "{arguments:?}: {}", String::from_utf8_lossy(&stdout));
        String::from_utf8(stderr).expect("text").trim_end().to_owned()
    }
}

impl Served {
    /// Ends the proxy as a service manager would, and waits until it has ended.
    pub(crate) fn stop(mut self) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).expect("a signal");
        self.child.wait().expect("its end");
    }

    /// Waits until the process has ended by itself.
    pub(crate) fn wait(mut self) -> std::process::ExitStatus {
        self.child.wait().expect("its end")
    }

    pub(crate) fn process(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    pub(crate) fn port(&self) -> String {
        self.address.port().to_string()
    }
}

#[test]
fn commands_reach_the_proxy_that_is_meant() {
    let home = Home::new();
    for command in [&["link", "show"][..], &["link", "set", "1M"]] {
        assert!(home.fail(command, 1).contains("no bentpipe of yours is running"));
    }
    assert!(home.fail(&["--listen", "1", "cache", "ls"], 1).contains("no bentpipe of yours is running"));
    let nowhere = home.folder("nowhere.sock");
    let error = home.fail(&["--control", &nowhere, "cache", "ls"], 1);
    let expected = format!(
        "bentpipe: no bentpipe of yours takes commands at {nowhere}; start one that does with: bentpipe --control \
         {nowhere}; to look into the cache of one that is stopped, leave --control out and say --cache-dir FOLDER"
    );
    assert_eq!(error, expected);
    let folder = home.path().to_string_lossy().into_owned();
    assert!(
        home.fail(&["--control", &folder, "link", "show"], 1)
            .contains("is a folder; --control names the socket")
    );
    let one = home.serve("one", &["--link", "64k"]);
    let shown = home.run(&["link", "show"]);
    assert!(shown.contains(&format!("proxy     on port {}\nlink      64k", one.port())), "{shown}");
    assert!(home.run(&["cache", "stats"]).contains(&format!("proxy     on port {}\n", one.port())));
    let set = home.run(&["--listen", &one.port(), "link", "set", "128k"]);
    assert!(set.starts_with("link 128k\nThis lasts until the next restart or reload"), "{set}");

    // Another port is another proxy, also when only one runs.
    let nobody = format!("bentpipe: no bentpipe of yours listens on port 1; running: {}", one.port());
    let asking =
        [&["link", "show"][..], &["cache", "ls"], &["cache", "stats"], &["explain", "http://example.org/"]];
    for command in asking {
        assert_eq!(home.fail(&[&["--listen", "127.0.0.1:1"], command].concat(), 1), nobody);
    }

    let two = home.serve("two", &["--link", "32k"]);
    for command in asking {
        let error = home.fail(command, 1);
        assert!(error.contains("several bentpipes are running, on ports "), "{error}");
        assert!(error.contains(&one.port()) && error.contains(&two.port()), "{error}");
    }
    assert!(home.run(&["--listen", &format!(":{}", two.port()), "link", "show"]).contains("32k"));

    // A folder that is named is the cache of whoever has it.
    for (name, served) in [("one", &one), ("two", &two)] {
        let stats = home.run(&["--cache-dir", &home.folder(name), "cache", "stats"]);
        assert!(stats.contains(&format!("proxy     on port {}\n", served.port())), "{stats}");
    }
}

#[test]
fn a_folder_in_use_by_a_proxy_that_cannot_be_asked_is_said_to_be() {
    let home = Home::new();
    let hidden = home.serve("hidden", &["--control", "off"]);
    let error = home.fail(&["--cache-dir", &home.folder("hidden"), "cache", "ls"], 1);
    assert!(
        error.contains("in use by a running bentpipe whose control socket is off or not yours"),
        "{error}"
    );
    drop(hidden);
    assert!(home.run(&["--cache-dir", &home.folder("hidden"), "cache", "stats"]).contains("none is running"));
    let error = home.fail(&["--cache-dir", &home.folder("nowhere"), "cache", "ls"], 1);
    assert!(error.contains("there is no cache folder at "), "{error}");
}

#[tokio::test]
async fn what_is_stored_is_shown_explained_and_purged() {
    let (home, origin) = (Home::new(), Origin::start().await.expect("an origin"));
    for path in ["/a", "/b", "/c"] {
        let reply = Reply::new(200).field("cache-control", "max-age=0").field("etag", "\"1\"");
        origin.always("GET", path, reply.field("content-type", "text/plain").body("hello"));
    }
    let served = home.serve("cache", &[]);
    for path in ["/a", "/b", "/c"] {
        let response = client::get(served.address, &origin.url(path)).await.expect("a response");
        assert_eq!(response.text(), "hello");
    }
    assert_eq!(home.run(&["cache", "ls"]).lines().count(), 3 + 1);
    let shown = home.run(&["cache", "show", &origin.url("/a")]);
    for part in
        ["  status     200\n", "  length     5 B\n", "  type       text/plain\n", " GMT\n", "\n  decision "]
    {
        assert!(shown.contains(part), "{part:?} in {shown}");
    }
    let json = home.run(&["cache", "show", &origin.url("/a"), "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["responses"][0]["status"], 200);

    let explained = home.run(&["explain", &origin.url("/a")]);
    assert!(explained.contains("  decision   ask the origin whether it still holds\n"), "{explained}");
    assert!(explained.contains("if the origin cannot be asked, serve the stored response\n"), "{explained}");

    let one = origin.url("/a");
    assert_eq!(home.run(&["cache", "purge", &one]), "purged 1 stored response\n");
    assert_eq!(home.fail(&["cache", "purge", &one], 1), format!("bentpipe: nothing was stored for {one}"));
    assert_eq!(home.fail(&["cache", "show", &one], 1), format!("bentpipe: nothing is stored for {one}"));
    assert_eq!(home.run(&["cache", "purge", &origin.url("/*")]), "purged 2 stored responses\n");
    assert_eq!(home.run(&["cache", "purge", "--all", "--yes"]), "purged 0 stored responses\n");
    assert!(home.fail(&["cache", "purge"], 2).contains("say what to purge"));
}

#[test]
fn https_is_explained_as_http_is_where_it_is_seen() {
    let home = Home::new();
    let _served = home.serve("cache", &[]);
    let explained = home.run(&["explain", "https://example.org/"]);
    assert!(explained.contains("forward to the origin"), "{explained}");
    assert!(explained.contains("in a CONNECT tunnel it is not seen, and so never cached"), "{explained}");
}

#[test]
fn misspelled_variables_fail_the_check_and_are_told_everywhere() {
    let home = Home::new();
    for (command, prefix, code) in
        [(&["config", "check"][..], "", 2), (&["cache", "ls"], "bentpipe: warning: ", 1)]
    {
        let output = home
            .command(command)
            .envs([("BENTPIPE_LINK", "64k"), ("BENTPIPE_CACHE_SIEZ", "1G"), ("BENTPIPE_NOTHING", "")])
            .output()
            .expect("a run");
        assert_eq!(output.status.code(), Some(code), "{command:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        for line in [
            "BENTPIPE_CACHE_SIEZ is not an option's variable; did you mean BENTPIPE_CACHE_SIZE?",
            "BENTPIPE_LINK is not an option's variable; did you mean BENTPIPE_LINK_SPEC?",
        ] {
            assert!(said.contains(&format!("{prefix}{line}\n")), "{command:?}: {said}");
        }
    }
}

#[test]
fn a_second_start_is_told_who_runs_there() {
    let home = Home::new();
    let served = home.serve("one", &[]);
    let (port, folder) = (served.port(), home.folder("two"));
    let error = home.fail(&["--listen", &port, "--cache-dir", &folder], 1);
    let place = format!("bentpipe/{port}.sock");
    assert!(error.contains("a bentpipe runs there already") && error.contains(&place), "{error}");
    assert!(error.contains(&format!("listen = 127.0.0.1:{port}: cannot be listened on")), "{error}");
}

#[test]
fn a_link_that_is_none_is_told_part_by_part() {
    let home = Home::new();
    let _served = home.serve("cache", &[]);
    let check = |spec: &str, expected: &str| {
        let error = home.fail(&["link", "set", spec], 1);
        assert!(error.contains(expected), "{error}");
    };
    check("64k/", "\"64k/\": expected one rate, or two as down/up such as 512k/128k");
    check("off", "unlimited for no limit");
    check("64k,rtt=5", "in h, m, s, ms, us or ns at \"5\"");
    assert!(home.run(&["link", "set", "10Mbit/s/512Kbps,rtt=1m"]).starts_with("link 10M/512k,rtt=60s\n"));
}
