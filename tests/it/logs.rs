//! What is written of exchanges, as whoever reads logs sees it: formats that other programs read, files that are set aside,
//! samples, refused connections, and every step of what is watched.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::Stdio;

use flate2::read::GzDecoder;
use serde_json::Value;
use testkit::client::{self, Client, Request};
use testkit::origin::Origin;
use testkit::reply::Reply;

use crate::commands::Home;
use crate::proxy::start;

/// A page that is stored for a minute, and always answered.
async fn origin() -> Origin {
    let origin = Origin::start().await.expect("an origin");
    let page = Reply::new(200).field("cache-control", "max-age=60").field("etag", "\"v\"");
    origin.always("GET", "/a", page.field("content-type", "text/plain; charset=utf-8").body("hello"));
    origin.always("GET", "/missing", Reply::new(404));
    origin
}

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).expect("a log").lines().map(str::to_owned).collect()
}

/// What is behind the elapsed time of a line in Squid's native format, with its bytes left out.
fn told(line: &str) -> String {
    let fields: Vec<_> = line.split_whitespace().collect();
    assert_eq!(fields.len(), 10, "{line}");
    assert!(fields[4].parse::<u64>().is_ok(), "{line}");
    [&fields[3..4], &fields[5..]].concat().join(" ")
}

/// Whether a line has the outward form of what Squid itself writes: `%9ld.%03d %6ld %s %s/%03d ...`.
fn is_squids(line: &str) -> bool {
    let Some((time, rest)) = line.split_at_checked(14) else { return false };
    let is_time = time.as_bytes().iter().enumerate().all(|(at, byte)| match at {
        10 => *byte == b'.',
        _ => byte.is_ascii_digit(),
    });
    let elapsed = rest.get(1..7).unwrap_or_default();
    let fields: Vec<_> = rest.split_whitespace().collect();
    let code = fields.get(2).and_then(|field| field.split_once('/'));
    let is_code = |(tag, status): (&str, &str)| {
        tag.chars().all(|c| c.is_ascii_uppercase() || c == '_')
            && status.len() == 3
            && status.chars().all(|c| c.is_ascii_digit())
    };
    let hierarchy = fields.get(7).is_some_and(|field| field.contains('/'));
    is_time
        && rest.starts_with(' ')
        && elapsed.trim_start().chars().all(|c| c.is_ascii_digit())
        && !rest.contains("  -")
        && fields.len() == 9
        && code.is_some_and(is_code)
        && hierarchy
}

#[test]
fn the_logs_kept_as_examples_have_the_form_of_squids() {
    for (name, count) in [("squid-5.7.log", 30), ("bentpipe.log", 20)] {
        let lines = lines(&Path::new("fixtures/logs").join(name));
        assert!(lines.len() >= count, "{name} has {} lines", lines.len());
        for line in lines {
            assert!(is_squids(&line), "{name}: {line}");
        }
    }
}

#[tokio::test]
async fn squids_format_tells_hits_misses_refusals_and_tunnels_as_squid_does() {
    let (origin, folder) = (origin().await, tempfile::tempdir().expect("a folder"));
    let log = folder.path().join("access.log");
    let proxy = start(&["--access-log", &log.to_string_lossy()]).await;
    let url = origin.url("/a");
    for _ in 0..2 {
        assert_eq!(proxy.get(&url).await.status, 200);
    }
    let tagged = Request::new("GET", &url).field("if-none-match", "\"v\"");
    assert_eq!(proxy.request(&tagged).await.status, 304);
    let only = Request::new("GET", &origin.url("/b")).field("cache-control", "only-if-cached");
    assert_eq!(proxy.request(&only).await.status, 504);
    assert_eq!(proxy.get("http://127.0.0.2/forbidden").await.status, 403);
    let mut tunnel = proxy.connect().await;
    let authority = origin.address().to_string();
    assert_eq!(tunnel.tunnel(&authority).await.expect("a tunnel").status, 200);
    drop(tunnel);
    proxy.stop().await;
    let lines = lines(&log);
    assert!(lines.iter().all(|line| is_squids(line)), "{lines:#?}");
    let told: Vec<_> = lines.iter().map(|line| told(line)).collect();
    let b = origin.url("/b");
    assert_eq!(
        told,
        [
            format!("TCP_MISS/200 GET {url} - HIER_DIRECT/127.0.0.1 text/plain"),
            format!("TCP_MEM_HIT/200 GET {url} - HIER_NONE/- text/plain"),
            format!("TCP_INM_HIT/304 GET {url} - HIER_NONE/- -"),
            format!("TCP_MISS/504 GET {b} - HIER_NONE/- text/html"),
            "TCP_DENIED/403 GET http://127.0.0.2/forbidden - HIER_NONE/- text/html".to_owned(),
            format!("TCP_TUNNEL/200 CONNECT {authority} - HIER_DIRECT/127.0.0.1 -"),
        ]
    );
}

#[tokio::test]
async fn a_parent_proxy_is_named_as_one() {
    let (origin, folder) = (origin().await, tempfile::tempdir().expect("a folder"));
    let log = folder.path().join("access.log");
    let parent = start(&[]).await;
    let flag = format!("parent=http://{}", parent.address());
    let flags = ["--set", &flag, "--set=no_parent="];
    let proxy = start(&[&["--access-log", &*log.to_string_lossy()][..], &flags].concat()).await;
    assert_eq!(proxy.get(&origin.url("/a")).await.status, 200);
    proxy.stop().await;
    let url = origin.url("/a");
    assert_eq!(
        told(&lines(&log)[0]),
        format!("TCP_MISS/200 GET {url} - FIRSTUP_PARENT/127.0.0.1 text/plain")
    );
}

#[tokio::test]
async fn apaches_formats_have_what_clients_tell_of_themselves_only_where_wanted() {
    for (format, end) in [("common", ""), ("combined", r#" "http://ref.example/\"x" "A \\ B""#)] {
        let (origin, folder) = (origin().await, tempfile::tempdir().expect("a folder"));
        let log = folder.path().join("access.log");
        let format = format!("log.format={format}");
        let proxy = start(&["--access-log", &log.to_string_lossy(), "--set", &format]).await;
        let url = origin.url("/a");
        let asked = Request::new("GET", &url)
            .field("referer", "http://ref.example/\"x")
            .field("user-agent", "A \\ B");
        assert_eq!(proxy.request(&asked).await.status, 200);
        proxy.stop().await;
        let line = &lines(&log)[0];
        assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
        assert!(line.ends_with(&format!("] \"GET {url} HTTP/1.1\" 200 5{end}")), "{line}");
    }
}

#[tokio::test]
async fn files_are_set_aside_compressed_and_no_line_is_lost() {
    let (origin, folder) = (origin().await, tempfile::tempdir().expect("a folder"));
    let log = folder.path().join("access.log");
    let rotate = ["--set", "log.rotate_size=2k", "--set", "log.rotate_keep=100", "--set", "log.format=json"];
    let proxy = start(&[&["--access-log", &*log.to_string_lossy()][..], &rotate].concat()).await;
    let mut client = Client::connect(proxy.address()).await.expect("a connection");
    for _ in 0..50 {
        assert_eq!(
            client.request(&Request::new("GET", &origin.url("/a"))).await.expect("a page").status,
            200
        );
    }
    drop(client);
    proxy.stop().await;
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder.path()).expect("a folder") {
        let path = entry.expect("an entry").path();
        let mut text = String::new();
        let mut file = std::fs::File::open(&path).expect("a file");
        match path.extension().is_some_and(|end| end == "gz") {
            true => GzDecoder::new(file).read_to_string(&mut text).expect("gzip"),
            false => file.read_to_string(&mut text).expect("text"),
        };
        assert!(text.len() <= 2000, "{}: {}", path.display(), text.len());
        let number = |line| serde_json::from_str::<Value>(line).expect("JSON")["number"].as_u64();
        numbers.extend(text.lines().map(number));
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=50).map(Some).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_sample_is_said_to_be_one_and_errors_are_always_written() {
    let (origin, folder) = (origin().await, tempfile::tempdir().expect("a folder"));
    let log = folder.path().join("access.log");
    let flags = ["--set", "log.sample=hit=0,miss=0.000001", "--set", "log.format=json"];
    let proxy = start(&[&["--access-log", &*log.to_string_lossy()][..], &flags].concat()).await;
    for _ in 0..3 {
        assert_eq!(proxy.get(&origin.url("/a")).await.status, 200);
    }
    assert_eq!(proxy.get(&origin.url("/missing")).await.status, 404);
    assert_eq!(proxy.get("http://127.0.0.2/forbidden").await.status, 403);
    proxy.stop().await;
    let read: Vec<Value> = lines(&log).iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let told: Vec<_> = read.iter().map(|line| (&line["status"], &line["sample_rate"])).collect();
    assert_eq!(told, [(&404.into(), &1.0.into()), (&403.into(), &1.0.into())]);
}

#[tokio::test]
async fn a_connection_that_is_refused_is_told_of_and_a_flood_of_them_is_not() {
    for (format, expected) in [
        ("squid", "TCP_DENIED/429 - error:accept-client-connection - HIER_NONE/- text/html"),
        ("json", "limits.connections_per_client"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("access.log");
        let format_flag = format!("log.format={format}");
        let limits = ["--set", "limits.connections_per_client=1", "--set", &format_flag];
        let proxy = start(&[&["--access-log", &*log.to_string_lossy()][..], &limits].concat()).await;
        let first = proxy.connect().await;
        for _ in 0..40 {
            let mut refused = Client::connect(proxy.address()).await.expect("a connection");
            let answer = refused.receive("GET").await;
            assert!(answer.is_ok_and(|answer| answer.status == 429));
        }
        drop(first);
        proxy.stop().await;
        let lines = lines(&log);
        assert_eq!(lines.len(), 10, "a minute of one client");
        match format {
            "squid" => assert_eq!(told(&lines[0]), expected),
            _ => {
                let told: Value = serde_json::from_str(&lines[0]).expect("JSON");
                assert!(told["reason"].as_str().is_some_and(|reason| reason.contains(expected)), "{told}");
                assert_eq!((&told["url"], &told["client"]), (&Value::Null, &"127.0.0.1".into()));
            }
        }
    }
}

/// A proxy that says what it has to say to whoever reads lines here.
struct Talking {
    child: std::process::Child,
    lines: std::io::Lines<BufReader<std::process::ChildStderr>>,
    address: std::net::SocketAddr,
}

impl Talking {
    fn start(home: &Home) -> Self {
        let fixed = ["--listen", "127.0.0.1:0", "--allow-destination", "127.0.0.1:1-65535"];
        let folder = home.folder("cache");
        let mut command = home.command(&[&fixed[..], &["--cache-dir", &folder]].concat());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a proxy");
        let mut lines = BufReader::new(child.stderr.take().expect("its standard error")).lines();
        let address = lines
            .find_map(|line| line.expect("text").trim().strip_prefix("listening on")?.trim().parse().ok())
            .expect("an address");
        Self { child, lines, address }
    }

    /// What it says until it says `end`.
    fn until(&mut self, end: &str) -> Vec<String> {
        let mut said = Vec::new();
        while !said.last().is_some_and(|line: &String| line.contains(end)) {
            let line = self.lines.next().transpose().expect("text");
            said.push(line.unwrap_or_else(|| unreachable!("it never said {end}: {said:#?}")));
        }
        said
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_what_is_watched_is_shown_and_of_nothing_else() {
    let (origin, home) = (origin().await, Home::new());
    let mut proxy = Talking::start(&home);
    let address = proxy.address;
    assert_eq!(home.run(&["debug"]), "watching nobody\n");
    client::get(address, &origin.url("/a")).await.expect("a page");
    let told = home.run(&["debug", "--host", "127.0.0.1", "--for", "1h"]);
    assert!(told.starts_with("watching host 127.0.0.1 for 3"), "{told}");
    let said = proxy.until("every step of these exchanges is shown");
    assert!(!said.iter().any(|line| line.contains("DEBUG")), "{said:#?}");
    let secret = Request::new("GET", &origin.url("/missing")).field("cookie", "c2VzYW1l");
    let mut client = Client::connect(address).await.expect("a connection");
    assert_eq!(client.request(&secret).await.expect("a page").status, 404);
    let said = proxy.until("it is over").join("\n");
    for step in ["a request", "/missing", "Nothing is stored", "it goes out", "it is answered", "404"] {
        assert!(said.contains(step), "{step} in {said}");
    }
    assert!(!said.contains("c2VzYW1l"), "{said}");
    assert!(home.fail(&["debug", "--host", "a b"], 1).contains("no host"));
    assert!(home.fail(&["debug", "--client", "127.0.0.1", "--for", "0s"], 1).contains("1 s to a day"));
    // A client that is not this one is watched next: nothing is said of this one any more.
    assert_eq!(home.run(&["debug", "off"]), "watching nobody\n");
    home.run(&["debug", "--client", "192.0.2.1"]);
    client::get(address, &origin.url("/missing")).await.expect("a page");
    home.run(&["debug", "off"]);
    let said = [proxy.until("nobody is watched"), proxy.until("nobody is watched")].concat();
    assert!(!said.iter().any(|line| line.contains("DEBUG")), "{said:#?}");
}
