//! `bentpipe doctor` as a user types it: on a stopped proxy, on one that runs, and where something is wrong. Origins need
//! threads of their own here, since a command is waited for.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;
use testkit::origin::Origin;
use testkit::reply::Reply;
use testkit::tls::Tls;

use crate::commands::Home;

/// A port on which nothing runs, as a flag.
const NOWHERE: [&str; 2] = ["--listen", "127.0.0.1:1"];

/// What the doctor prints, and whether it is content.
fn doctor(home: &Home, flags: &[&str], urls: &[&str]) -> (String, bool) {
    let output = home.command(&[flags, &["doctor"], urls].concat()).output().expect("a run");
    let said = String::from_utf8(output.stdout).expect("text");
    let code = output.status.code();
    assert!(code == Some(0) || code == Some(1), "{code:?}: {}", String::from_utf8_lossy(&output.stderr));
    (said, code == Some(0))
}

/// The lines of one check: what was found, and what to do.
#[track_caller]
fn check(said: &str, found: &str, advice: &str) {
    let mut lines = said.lines().skip_while(|line| !line.contains(found));
    assert!(lines.next().is_some(), "{found:?} in {said}");
    if !advice.is_empty() {
        let next = lines.next().unwrap_or_default();
        assert!(
            next.trim_start().starts_with("-> ") && next.contains(advice),
            "{advice:?} below {found:?} in {said}"
        );
    }
}

#[test]
fn a_proxy_that_does_not_run_is_told_and_the_rest_is_checked() {
    let home = Home::new();
    let (said, is_well) = doctor(&home, &NOWHERE, &[]);
    assert!(!is_well, "{said}");
    check(&said, "ok    config        read from ", "");
    check(&said, "ok    clock         ", "");
    check(&said, "FAIL  proxy         no bentpipe of yours is running", "start it: bentpipe");
    check(&said, "  disk          ", "");
    check(&said, "skip  link          no proxy could be asked", "");
    check(&said, "ok    CA            none, and none is needed", "");
    check(&said, "skip  reachability  the way out was not tried; give it a URL that should work", "");
    let error = home.fail(&[&NOWHERE[..], &["doctor"]].concat(), 1);
    assert!(error.starts_with("bentpipe: 1 of ") && error.ends_with(" checks failed"), "{error}");
    assert!(!Path::new(&home.folder(".cache")).exists(), "nothing was made");
    assert!(home.fail(&["doctor", "example.org"], 2).contains("expected a URL such as https://example.org/"));
}

#[test]
fn what_else_listens_on_the_port_is_told() {
    let home = Home::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = listener.accept().expect("a connection");
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello");
    });
    let (said, is_well) = doctor(&home, &["--listen", &address], &[]);
    assert!(!is_well);
    check(&said, &format!("something else answers on {address}"), "another port");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_works_is_well() {
    let (home, origin) = (Home::new(), Origin::start().await.expect("an origin"));
    origin.always("GET", "/", Reply::new(200).field("cache-control", "max-age=600").body("hello"));
    let served = home.serve("cache", &["--set", "cache.size=1M", "--set", "cache.min_free=1M"]);
    let url = origin.url("/");
    let (said, is_well) = doctor(&home, &[], &[&url]);
    assert!(is_well, "{said}");
    let address = served.address;
    let version = env!("CARGO_PKG_VERSION");
    let proxy = format!(
        "ok    proxy         version {version} runs on port {}; listening on {address}\n",
        address.port()
    );
    check(&said, proxy.trim_end(), "");
    check(&said, &format!("ok    port          http://{address}/ shows the proxy's page"), "");
    check(&said, &format!("ok    disk          {}: ", home.folder("cache")), "");
    check(&said, "ok    link          unlimited; 0 B and 0 B crossed", "");
    check(&said, "ok    DNS           0 names looked up", "");
    check(&said, "skip  DNS           127.0.0.1 is an address", "");
    check(&said, &format!("ok    reachability  {url}: 200, first byte after "), "");
    check(&said, "ok    clock         agrees with what the origins say", "");
    check(&said, " crossed during these checks", "");
    assert!(!said.contains("FAIL") && !said.contains("\nwarn"), "{said}");
    // What is stored by now hides no origin that is gone (RFC 9111 §5.2.1.4).
    assert_eq!(origin.request_count(), 1);
    let (_, is_well) = doctor(&home, &[], &[&url]);
    assert!(is_well && origin.request_count() == 2);

    let json = home.run(&["doctor", "--json", &url]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let checks = json["checks"].as_array().expect("checks");
    assert!(json["ok"] == true && checks.len() > 7, "{json}");
    assert!(checks.iter().all(|check| check["name"].is_string() && check["verdict"] != "fail"), "{json}");

    // Nor does a stale one that is served in an outage (RFC 9111 §4.2.4).
    origin.stop().await;
    let (said, is_well) = doctor(&home, &[], &[&url, &origin.url("/other")]);
    assert!(!is_well, "{said}");
    check(&said, "; the origin cannot be reached", "bentpipe link show");
    check(
        &said,
        &format!("FAIL  reachability  {}: 502 from the proxy: ", origin.url("/other")),
        "check the port",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_proxy_refuses_names_the_option_rfc9209() {
    let home = Home::new();
    let hosts = ["--set", "dns.hosts=a.games.test=10.255.255.1,x.test=10.255.255.1"];
    let flags = [&hosts[..], &["--deny", "games: host=*.games.test"]].concat();
    let _served = home.serve("cache", &flags);
    let (said, is_well) = doctor(&home, &hosts, &["http://a.games.test/", "http://x.test:81/"]);
    assert!(!is_well, "{said}");
    check(&said, "ok    DNS           x.test is 10.255.255.1 (by dns.hosts)", "");
    check(&said, "FAIL  reachability  http://a.games.test/: 403 from the proxy: ", "admission.deny");
    check(
        &said,
        "FAIL  reachability  http://x.test:81/: 403 from the proxy: ",
        "--allow-destination ADDRESS:81",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_wants_an_account_is_asked_with_one_rfc9110_11_7_2() {
    let (home, origin) = (Home::new(), Origin::start().await.expect("an origin"));
    origin.always("GET", "/", Reply::new(200).body("hello"));
    let served = home.serve("cache", &["--set", "admission.users=ann:o:pen"]);
    let urls = [origin.url("/"), origin.url("/other")];
    let (said, is_well) = doctor(&home, &[], &[&urls[0], &urls[1]]);
    assert!(!is_well && origin.request_count() == 0, "{said}");
    check(&said, &format!("FAIL  reachability  {}: 407 from the proxy", urls[0]), "doctor --user NAME");
    check(&said, "skip  reachability  1 URL not tried: the proxy wants an account first", "");
    assert!(!said.contains("during these checks") && said.matches("FAIL").count() == 1, "{said}");

    let proxy = format!("http://ann:o%3Apen@{}", served.address);
    let mut from_environment = home.command(&["doctor", &urls[0]]);
    from_environment.env("http_proxy", proxy);
    let mut typed = home.command(&["doctor", "--user", "ann", &urls[0]]);
    let password = home.path().join("password");
    fs::write(&password, "o:pen\n").expect("written");
    typed.stdin(fs::File::open(&password).expect("the password"));
    let given = home.command(&["doctor", "--user=ann:o:pen", &urls[0]]);
    for mut command in [given, typed, from_environment] {
        let output = command.output().expect("a run");
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8(said).expect("text")).concat();
        check(&said, &format!("ok    reachability  {}: 200, ", urls[0]), "");
        assert!(output.status.success() && !said.contains("o:pen") && !said.contains("o%3Apen"), "{said}");
    }
    assert!(home.fail(&["doctor", "--user=:x", &urls[0]], 1).contains("--user: expected NAME:PASSWORD"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_differs_from_the_origins_is_wrong_rfc9110_6_6_1() {
    let home = Home::new();
    let origin = Origin::start().await.expect("an origin");
    let dated = |date: &str| Reply::new(200).field("date", date).body("hello");
    origin.always("GET", "/", dated("Sun, 06 Nov 2033 08:49:37 GMT"));
    let _served = home.serve("cache", &[]);
    let (said, is_well) = doctor(&home, &[], &[&origin.url("/")]);
    assert!(!is_well, "{said}");
    check(
        &said,
        "what the origins say: certificates and the age of what is stored are misjudged",
        "set the clock",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_has_expired_is_told() {
    let home = Home::new();
    let (clock, openssl) = ("check the clock of this machine", "basicConstraints=critical,CA:FALSE");
    for (tls, advice, why) in [
        (Tls::new(), None, ""),
        (Tls::new().expired(), Some(clock), "expired"),
        (Tls::new().authority_itself(), Some(openssl), "is a CA certificate used as a server's own"),
    ] {
        let origin = Origin::start_tls(&tls).await.expect("an origin");
        origin.always("GET", "/", Reply::new(200).body("hello"));
        let roots = home.folder("roots.pem");
        fs::write(&roots, origin.root_pem()).expect("written");
        let served = home.serve("cache", &["--tls-roots", &roots]);
        let url = origin.url("/");
        let (said, is_well) = doctor(&home, &[], &[&url]);
        assert_eq!(is_well, advice.is_none(), "{said}");
        let authority = origin.address();
        if let Some(advice) = advice {
            check(&said, &format!("FAIL  origin TLS    {authority}: "), advice);
            // It is the one thing that is wrong, and nothing else could be tried.
            assert!(said.contains(why) && said.matches("FAIL").count() == 1, "{said}");
            assert!(!said.contains("reachability") && !said.contains("during these checks"), "{said}");
        } else {
            check(&said, &format!("ok    origin TLS    {authority}: its certificate was verified"), "");
        }
        served.stop();
    }
}

#[test]
fn an_authority_that_is_missing_or_open_to_others_is_told() {
    let home = Home::new();
    let flags = ["--listen", "127.0.0.1:1", "--intercept", "*.wiki.example"];
    let (said, _) = doctor(&home, &flags, &[]);
    check(
        &said,
        "FAIL  CA            tls.intercept.hosts names hosts, and there is no authority in ",
        "bentpipe ca init",
    );
    home.run(&["--intercept", "*.wiki.example", "ca", "init"]);
    let (said, _) = doctor(&home, &flags, &[]);
    check(&said, "ok    CA            bentpipe CA ", "");
    let (said, _) = doctor(&home, &["--listen", "127.0.0.1:1", "--intercept", "other.example"], &[]);
    check(&said, "was made for other hosts than other.example", "bentpipe ca rotate");
    let key = home.path().join(".local/share/bentpipe/ca/current/ca.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("a mode");
    let (said, _) = doctor(&home, &flags, &[]);
    check(&said, "its mode is 0644, so that others can read it", &format!("chmod 600 {}", key.display()));
}

#[test]
fn a_proxy_that_cannot_be_asked_may_run_all_the_same() {
    let home = Home::new();
    let served = home.serve("cache", &["--control", "off"]);
    let (said, is_well) = doctor(&home, &["--listen", &served.address.to_string()], &[]);
    assert!(is_well, "{said}");
    check(&said, "warn  proxy         a bentpipe answers on ", "--control PATH");
}

#[test]
fn a_closed_link_is_told() {
    let home = Home::new();
    let _served = home.serve("cache", &["--link", "64k"]);
    home.run(&["link", "set", "0/64k"]);
    let (said, is_well) = doctor(&home, &[], &[]);
    assert!(!is_well, "{said}");
    check(&said, "FAIL  link          the rate down is 0", "bentpipe link set");
}

#[test]
fn a_dangerous_configuration_is_told() {
    let home = Home::new();
    let (said, _) = doctor(&home, &["--listen", "0.0.0.0:1", "--set", "admission.default=any"], &[]);
    check(&said, "FAIL  config        anybody who reaches 0.0.0.0:1 may use the proxy", "admission.default");
}

#[test]
fn a_cache_folder_that_cannot_be_written_is_told() {
    if rustix::process::getuid().is_root() {
        eprintln!("SKIPPED: root may write anywhere, so that no folder of a test's own refuses it");
        return;
    }
    let home = Home::new();
    let folder = home.folder("cache");
    fs::create_dir(&folder).expect("a folder");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).expect("a mode");
    let (said, _) = doctor(&home, &["--listen", "127.0.0.1:1", "--cache-dir", &folder], &[]);
    check(&said, &format!("FAIL  disk          {folder} cannot be written: "), "chown");
}

#[test]
fn a_cache_folder_that_is_none_is_told() {
    let home = Home::new();
    let file = home.folder("file");
    fs::write(&file, "").expect("a file");
    let (said, _) = doctor(&home, &["--listen", "127.0.0.1:1", "--cache-dir", &file], &[]);
    check(&said, &format!("FAIL  disk          {file} is no folder"), "--cache-dir FOLDER");
}
