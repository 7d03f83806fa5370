//! What must not be seen by others: secrets of the configuration, and what the log says of URLs.

use std::fs;

use testkit::client::Request;
use testkit::origin::Origin;
use testkit::reply::Reply;

use crate::commands::Home;
use crate::proxy::start;

#[test]
fn secrets_may_stand_in_files_and_variables_and_are_never_shown() {
    let home = Home::new();
    let users = home.folder("users");
    fs::write(&users, "# accounts\nann:sesame-street\n").expect("written");
    let file = home.folder("bentpipe.toml");
    let text = format!("[admission]\nusers = '@file:{users}'\ntokens = '@env:TOKENS'\n");
    fs::write(&file, text).expect("written");
    let run = |arguments: &[&str]| {
        let mut command = home.command(arguments);
        command.env("TOKENS", "robot=open-sesame-open-sesame");
        let output = command.output().expect("a run");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).expect("text"))
    };
    for command in [&["config", "show"][..], &["config", "show", "--json"], &["config", "check"]] {
        let (success, said) = run(&[&["--config", &file], command].concat());
        assert!(success && !said.contains("street") && !said.contains("sesame"), "{command:?}: {said}");
        assert!(command[1] == "check" || (said.contains("ann:***") && said.contains("robot=***")), "{said}");
    }
    fs::write(&users, "ann:sesame-street\n\nbob-sesame-street\n").expect("written");
    let (success, said) = run(&["--config", &file, "config", "check"]);
    assert!(!success && !said.contains("street"), "{said}");
    let expected = format!("bentpipe.toml:2: admission.users: {users}, line 3: expected name:password");
    assert!(said.contains(&expected), "{said}");
    fs::remove_file(&users).expect("removed");
    let (_, said) = run(&["--config", &file, "config", "check"]);
    assert!(said.contains("admission.users: ") && said.contains("cannot be read"), "{said}");
}

#[tokio::test]
async fn the_log_says_of_urls_only_what_it_is_to() {
    let origin = Origin::start().await.expect("an origin");
    origin.always("GET", "/a?password=sesame", Reply::new(200));
    for (query, format, seen) in [
        ("keep", "squid", "/a?password=sesame"),
        ("hash", "squid", "/a?~"),
        ("drop", "squid", "/a "),
        ("hash", "json", "/a?~"),
        ("drop", "json", "/a\""),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("access.log").to_string_lossy().into_owned();
        let (query_flag, format) = (format!("log.query={query}"), format!("log.format={format}"));
        let proxy = start(&["--access-log", &log, "--set", &query_flag, "--set", &format]).await;
        assert_eq!(proxy.get(&origin.url("/a?password=sesame")).await.status, 200);
        let with_password =
            Request::new("GET", "http://ann:secret@127.0.0.1:9/").field("host", "127.0.0.1:9");
        assert_eq!(proxy.request(&with_password).await.status, 400);
        proxy.stop().await;
        let said = fs::read_to_string(&log).expect("a log");
        assert_eq!(said.lines().count(), 2, "{said}");
        assert!(said.contains(seen) && !said.contains("secret"), "{query} {format}: {said}");
        assert_eq!(said.contains("sesame"), query == "keep", "{said}");
    }
}
