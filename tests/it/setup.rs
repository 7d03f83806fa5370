//! `bentpipe setup` as a user runs it: without a terminal, with flags as answers, and a proxy started with what it wrote.

use std::fs;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use testkit::client::{Client, Request};
use testkit::origin::Origin;
use testkit::reply::Reply;

use crate::commands::Home;

#[test]
fn without_a_terminal_it_says_how_to_answer() {
    let home = Home::new();
    let mut command = home.command(&["setup"]);
    let output = command.stdin(Stdio::null()).output().expect("a run");
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("no terminal") && error.contains("setup --yes"), "{error}");
    assert!(!home.path().join("set-up.toml").exists());
}

#[test]
fn wrong_flags_are_told_as_for_any_command() {
    let home = Home::new();
    let error = home.fail(&["setup", "--yes", "--cache-size", "much"], 2);
    assert_eq!(error, "--cache-size: cache.size = \"much\": expected a size such as 10G or 500M");
    let file = home.folder("set-up.toml");
    let error = home.fail(&["--config", &file, "setup", "--yes", "--account", "a b"], 1);
    assert!(error.contains("\"a b\": expected a name"), "{error}");
    assert!(!home.path().join("set-up.toml").exists());
}

#[test]
fn what_it_writes_is_read_without_a_warning() {
    let home = Home::new();
    let flags = [
        "--link",
        "geo",
        "--cache-size",
        "500M",
        "--intercept",
        "*.wikipedia.org",
        "--cache-packs",
        "apt,pypi",
    ];
    let deny = ["--deny", "games: host=*.games.example; time=Mon-Fri 08:00-17:00"];
    let further = ["--set", "link.price=12 EUR/GB", "--set", "timeouts.idle=10m", "--account", "ann"];
    for (name, flags) in [("plain", &[][..]), ("full", &[&flags[..], &deny, &further].concat())] {
        let file = home.folder(&format!("{name}.toml"));
        let said = home.run(&[&["--config", &file, "setup", "--yes"], flags].concat());
        assert!(said.contains(&format!("wrote {file}\n")) && !said.contains("warning"), "{said}");
        if name == "full" {
            // As it says.
            home.run(&["--config", &file, "ca", "init"]);
        }
        let output = home.command(&["--config", &file, "config", "check"]).output().expect("a run");
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("ok ({file})\n"));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let error = home.fail(&["--config", &file, "setup", "--yes"], 1);
        assert_eq!(
            error,
            format!("bentpipe: {file} is there already; --replace replaces it and keeps the old one")
        );
        fs::remove_file(home.path().join("users")).ok();
    }
}

#[test]
fn without_a_named_file_it_writes_where_bentpipe_looks() {
    let home = Home::new();
    if rustix::process::getuid().is_root() {
        return; // Root's file is that of the machine.
    }
    home.run(&["setup", "--yes"]);
    let file = home.path().join(".config/bentpipe/bentpipe.toml");
    assert_eq!(home.run(&["config", "check"]), format!("ok ({})\n", file.display()));
}

#[tokio::test]
async fn the_password_that_is_shown_opens_the_proxy() {
    let (home, origin) = (Home::new(), Origin::start().await.expect("an origin"));
    origin.always("GET", "/", Reply::new(200).body("hello"));
    let file = home.folder("set-up.toml");
    let said = home.run(&["--config", &file, "setup", "--yes", "--account", "ann"]);
    let password = said.lines().find_map(|line| line.strip_prefix("password of ann: ")).expect("a password");
    let served = home.serve("cache", &["--config", &file]);
    for (password, status) in [(password, 200), ("guessed", 407)] {
        let credentials = format!("Basic {}", STANDARD.encode(format!("ann:{password}")));
        let request = Request::new("GET", &origin.url("/")).field("proxy-authorization", &credentials);
        let mut connection = Client::connect(served.address).await.expect("a connection");
        let response = connection.request(&request).await.expect("a response");
        assert_eq!(response.status, status);
    }
}
