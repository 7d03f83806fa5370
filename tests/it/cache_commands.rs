//! `bentpipe cache ...` as a user types it: on a running proxy, on a stopped folder, and where neither can be had.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use testkit::client::{self, Request};
use testkit::origin::Origin;
use testkit::reply::Reply;

use crate::commands::{Home, Served};

async fn origin() -> Origin {
    let origin = Origin::start().await.expect("an origin");
    let reply = || Reply::new(200).field("cache-control", "max-age=600");
    for (path, media_type, length) in [
        ("/a.html", "text/html; charset=utf-8", 100),
        ("/b.html", "text/html", 5_000),
        ("/c.png", "image/png", 20_000),
        ("/d.png", "image/png", 300_000),
    ] {
        let body = vec![path.as_bytes()[1]; length];
        origin.always("GET", path, reply().field("content-type", media_type).body(body));
    }
    origin.always(
        "GET",
        "/stale",
        Reply::new(200).field("cache-control", "max-age=0").field("etag", "\"1\"").body("x"),
    );
    origin
}

async fn fill(served: &Served, origin: &Origin) {
    for path in ["/a.html", "/b.html", "/c.png", "/d.png", "/stale"] {
        client::get(served.address, &origin.url(path)).await.expect("a response");
    }
}

/// Waits until so many bodies are on the disk.
fn until_kept(home: &Home, bodies: u64) {
    let kept = || {
        let stats = home.run(&["cache", "stats", "--json"]);
        let stats: Value = serde_json::from_str(&stats).expect("JSON");
        stats["stats"]["kept"].as_u64()
    };
    while kept() != Some(bodies) {}
}

/// The paths that `ls` lists with these arguments, and its last line.
fn ls(home: &Home, asked: &[&str]) -> (Vec<String>, String) {
    let text = home.run(&[&["cache", "ls"], asked].concat());
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let totals = lines.pop().expect("totals");
    let path = |line: String| {
        let (_, rest) = line.split_once("http://").expect("a URL");
        let path = rest.split_once('/').expect("a path").1;
        path.split(' ').next().unwrap_or_default().to_owned()
    };
    (lines.into_iter().map(path).collect(), totals)
}

#[tokio::test]
async fn what_is_listed_is_filtered_sorted_and_summed_up() {
    let (home, origin) = (Home::new(), origin().await);
    let served = home.serve("cache", &[]);
    fill(&served, &origin).await;
    let port = origin.address().port().to_string();
    let on_port = format!("127.0.0.1:{port}");
    let begins = origin.url("/c");
    let check = |asked: &[&str], expected: &[&str]| assert_eq!(ls(&home, asked).0, expected, "{asked:?}");
    check(&[], &["a.html", "b.html", "c.png", "d.png", "stale"]);
    check(&["--sort", "size"], &["d.png", "c.png", "b.html", "a.html", "stale"]);
    check(&["--type", "text/html"], &["a.html", "b.html"]);
    check(&["--type", "IMAGE/*", "--larger-than", "20k"], &["d.png"]);
    check(&["--smaller-than", "5000"], &["a.html", "stale"]);
    check(&["--host", &on_port, "--newer-than", "1h", "--limit", "1"], &["a.html"]);
    check(&["--host", "127.0.0.?", "--stale"], &["stale"]);
    check(&["--host", "*.example.org"], &[]);
    check(&["--older-than", "1h"], &[]);
    check(&["--prefix", &begins], &["c.png"]);
    check(&[&origin.url("/d.png")], &["d.png"]);
    check(&["--partial"], &[]);
    check(&["--pinned"], &[]);
    let (_, totals) = ls(&home, &["--type", "image/*", "--limit", "1"]);
    assert!(totals.starts_with("1 of 2 stored responses, 320 kB, "), "{totals}");
    let json: Value =
        serde_json::from_str(&home.run(&["cache", "ls", "--json", "--limit", "2"])).expect("JSON");
    assert_eq!(
        (&json["totals"]["responses"], json["responses"].as_array().map(Vec::len)),
        (&5.into(), Some(2))
    );
    assert!(home.fail(&["cache", "ls", "--tag", "apt"], 1).contains("there is no rule named \"apt\""));
    assert!(home.fail(&["cache", "ls", "--older-than", "7"], 2).contains("such as 12h, 7d"));

    let stats = home.run(&["cache", "stats"]);
    for part in [
        "\npinned    0, 0 B\n",
        "\nhits      0 of 5 answers since start (0.0 %), and 0 revalidated (0.0 %); 0.0 %",
        "\nstoring   yes\n",
        "image/png",
        "127.0.0.1\n",
    ] {
        assert!(stats.contains(part), "{part:?} in {stats}");
    }
}

#[tokio::test]
async fn a_body_that_several_share_is_summed_up_once() {
    let (home, origin) = (Home::new(), Origin::start().await.expect("an origin"));
    let served = home.serve("cache", &[]);
    for path in ["/a", "/b", "/c"] {
        let reply = Reply::new(200).field("cache-control", "max-age=600").body("x".repeat(200_000));
        origin.on("GET", path, reply);
        assert_eq!(client::get(served.address, &origin.url(path)).await.expect("a response").status, 200);
    }
    // What is stored is on disk a moment after its last byte has left.
    let listed = loop {
        let listed = home.run(&["cache", "ls", "--json"]);
        let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
        let on_disk = |stored: &serde_json::Value| stored["on_disk"].as_u64().is_some_and(|bytes| bytes > 0);
        if listed["responses"].as_array().is_some_and(|all| all.len() == 3 && all.iter().all(on_disk)) {
            break listed["totals"].clone();
        }
        tokio::task::yield_now().await;
    };
    let total = |name: &str| listed[name].as_u64().expect("bytes");
    let files: u64 = contents(&Path::new(&home.folder("cache")).join("content-v2"))
        .iter()
        .map(|path| fs::metadata(path).expect("a file").len())
        .sum();
    assert!(files >= 200_000 && total("on_disk") >= files, "{files}: {listed}");
    // Beside the one body there are only three records.
    assert!(total("on_disk") < files + 20_000 && total("shared") > 400_000, "{files}: {listed}");
    let text = home.run(&["cache", "ls"]);
    assert!(text.contains(" less, since equal bodies are kept once)\n"), "{text}");
    let dry = home.run(&["cache", "purge", "--all", "--dry-run"]);
    assert!(dry.contains("would purge 3 stored responses, 2"), "{dry}");
}

#[tokio::test]
async fn a_revalidated_answer_is_no_hit_and_its_bytes_are_the_caches_rfc9211_2() {
    let (home, origin) = (Home::new(), Origin::start().await.expect("an origin"));
    let served = home.serve("cache", &[]);
    let fields = |reply: Reply| reply.field("cache-control", "no-cache").field("etag", "\"1\"");
    origin.on("GET", "/a", fields(Reply::new(200)).body("x".repeat(9_000)));
    origin.on("GET", "/a", fields(Reply::new(304)));
    for _ in 0..2 {
        assert_eq!(client::get(served.address, &origin.url("/a")).await.expect("a response").status, 200);
    }
    let expected = "0 of 2 answers since start (0.0 %), and 1 revalidated (50.0 %); ";
    // An exchange ends a moment after its last byte.
    let stats = loop {
        let stats = home.run(&["cache", "stats"]);
        if stats.contains("2 answers") {
            break stats;
        }
        tokio::task::yield_now().await;
    };
    assert!(stats.contains(expected) && stats.contains("held      1 response, "), "{stats}");
    let bytes = stats.split_once(expected).expect("a line").1;
    assert!(bytes.starts_with("49.") || bytes.starts_with("50."), "{stats}");
}

#[tokio::test]
async fn what_is_shown_tells_variants_fields_and_freshness() {
    let (home, origin) = (Home::new(), origin().await);
    let served = home.serve("cache", &[]);
    let reply = Reply::new(200).field("cache-control", "max-age=600").field("vary", "accept-language");
    origin.always("GET", "/v", reply.body("hello"));
    for language in ["de", "fr"] {
        let request = Request::new("GET", &origin.url("/v")).field("accept-language", language);
        let mut client = client::Client::connect(served.address).await.expect("a connection");
        client.request(&request).await.expect("a response");
    }
    let shown = home.run(&["cache", "show", &origin.url("/v")]);
    for part in [
        "  varies by  accept-language: de\n",
        "  varies by  accept-language: fr\n",
        "  freshness  fresh: age ",
        " of 600 s (max-age)\n",
        "    vary: accept-language\n",
        "  on disk    ",
        "\n  decision ",
    ] {
        assert!(shown.contains(part), "{part:?} in {shown}");
    }
}

#[tokio::test]
async fn purging_takes_what_is_meant_and_spares_what_is_pinned() {
    let (home, origin) = (Home::new(), origin().await);
    let served = home.serve("cache", &[]);
    fill(&served, &origin).await;
    until_kept(&home, 5);
    let pinned = origin.url("/c.png");
    assert_eq!(home.run(&["cache", "pin", &pinned]), "pinned 1 stored response\n");
    assert_eq!(home.run(&["cache", "pin", &pinned]), "pinned 0 stored responses; 1 pinned already\n");
    let nothing =
        "bentpipe: nothing that is meant is stored; a pin is set on what is stored, so fetch it first";
    assert_eq!(home.fail(&["cache", "pin", &origin.url("/nothing")], 1), nothing);
    assert_eq!(ls(&home, &["--pinned"]).0, ["c.png"]);
    assert!(home.run(&["cache", "show", &pinned]).contains("  pinned     yes: never evicted\n"));

    let dry = home.run(&["cache", "purge", "--type", "image/*", "--dry-run"]);
    assert!(dry.starts_with(&format!("{}\nwould purge 1 stored response, ", origin.url("/d.png"))), "{dry}");
    assert_eq!(ls(&home, &[]).0.len(), 5, "a dry run purges nothing");
    let spared = "; 1 pinned ones stay (--pinned purges them too)\n";
    let purge = |asked: &[&str]| home.run(&[&["cache", "purge"], asked].concat());
    assert_eq!(purge(&["--type", "image/*"]), format!("purged 1 stored response{spared}"));
    assert_eq!(purge(&["--prefix", &origin.url("/a")]), "purged 1 stored response\n");
    assert!(home.fail(&["cache", "purge", "--all"], 2).contains("--yes says that it should"));
    assert_eq!(purge(&["--all", "--yes"]), format!("purged 2 stored responses{spared}"));
    assert_eq!(purge(&[&pinned]), "purged 1 stored response\n", "it is named by its whole URL");

    fill(&served, &origin).await;
    until_kept(&home, 10);
    home.run(&["cache", "pin", "--type", "image/*"]);
    assert_eq!(home.run(&["cache", "unpin", &pinned]), "unpinned 1 stored response\n");
    assert_eq!(purge(&["--all", "--pinned", "--yes"]), "purged 5 stored responses\n");
    assert!(home.fail(&["cache", "purge", "--dry-run"], 2).contains("say what to purge"));
    assert!(home.fail(&["cache", "pin"], 2).contains("say what to pin"));
}

#[tokio::test]
async fn what_an_operators_rule_speaks_of_is_meant_by_its_name() {
    let (home, origin) = (Home::new(), origin().await);
    let rules = [
        "--cache-rule",
        "pictures-png: type=image/png min-fresh=2h",
        "--cache-rule",
        "a: path=/a* keep=as-stated",
    ];
    let served = home.serve("cache", &rules);
    fill(&served, &origin).await;
    until_kept(&home, 5);
    assert_eq!(ls(&home, &["--tag", "pictures"]).0, ["c.png", "d.png"], "the beginning of a name");
    assert_eq!(ls(&home, &["--tag", "a"]).0, ["a.html"]);
    let shown = home.run(&["cache", "show", &origin.url("/c.png")]);
    assert!(shown.contains(" of 7200 s (") && shown.contains("pictures-png"), "{shown}");
    assert_eq!(home.run(&["cache", "purge", "--tag", "pictures"]), "purged 2 stored responses\n");
    assert_eq!(ls(&home, &[]).0, ["a.html", "b.html", "stale"]);
    assert!(home.fail(&["cache", "purge", "--tag", "pict"], 1).contains("there is no rule named"));
}

#[tokio::test]
async fn a_stopped_folder_is_looked_after_like_a_running_proxy() {
    let (home, origin) = (Home::new(), origin().await);
    let served = home.serve("cache", &[]);
    fill(&served, &origin).await;
    served.stop();
    let folder = home.folder("cache");
    let here = |asked: &[&str]| home.run(&[&["--cache-dir", &folder, "cache"], asked].concat());
    let pinned = origin.url("/d.png");
    assert_eq!(here(&["pin", &pinned]), "pinned 1 stored response\n");
    assert_eq!(here(&["purge", "--type", "text/html"]), "purged 2 stored responses\n");
    // A smaller cache in the configuration of whoever looks evicts nothing.
    let listed = home.run(&["--cache-dir", &folder, "--cache-size", "100k", "cache", "ls"]);
    assert!(listed.contains("3 stored responses"), "{listed}");
    assert!(here(&["stats"]).contains("none is running"));

    // Both survive a restart; the pin, and what else is left, can be asked for again.
    let served = home.serve("cache", &[]);
    assert_eq!(ls(&home, &["--pinned"]).0, ["d.png"]);
    assert_eq!(ls(&home, &[]).0, ["c.png", "d.png", "stale"]);
    let before = origin.request_count();
    client::get(served.address, &pinned).await.expect("a response");
    assert_eq!(origin.request_count(), before, "it is stored");
}

#[tokio::test]
async fn two_processes_never_have_one_folder() {
    let home = Home::new();
    let hidden = home.serve("cache", &["--control", "off"]);
    let folder = home.folder("cache");
    let second = home.fail(&["--listen", "127.0.0.1:0", "--cache-dir", &folder], 1);
    assert!(
        second.contains(&folder) && second.contains("give this one its own with --cache-dir"),
        "{second}"
    );
    for change in [&["purge", "--all", "--yes"][..], &["pin", "--all"], &["verify"], &["ls"]] {
        let error = home.fail(&[&["--cache-dir", &folder, "cache"], change].concat(), 1);
        assert!(error.contains(&format!("holds the lock {folder}/lock;")), "{error}");
    }
    drop(hidden);
    home.run(&["--cache-dir", &folder, "cache", "purge", "--all", "--yes"]);
}

fn contents(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.flat_map(|path| if path.is_dir() { contents(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn damage_is_found_reported_and_repaired() {
    let (home, origin) = (Home::new(), origin().await);
    let served = home.serve("cache", &[]);
    fill(&served, &origin).await;
    until_kept(&home, 5);
    let clean = home.run(&["cache", "verify", "--rate", "100M"]);
    assert_eq!(clean, "checked 5 of 5 stored responses, 325 kB read, 0 damaged\n");
    let folder = home.path().join("cache");
    let largest = contents(&folder.join("content-v2"));
    let largest =
        largest.iter().max_by_key(|path| fs::metadata(path).map_or(0, |of| of.len())).expect("a file");
    let mut bytes = fs::read(largest).expect("its bytes");
    bytes[100_000] ^= 1;
    fs::write(largest, bytes).expect("written");

    let output = home.command(&["cache", "verify"]).output().expect("a run");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let damaged = format!("damaged: {}  (65.5 kB of 300 kB lost; left)\n", origin.url("/d.png"));
    assert!(said.starts_with(&damaged), "{said}");
    assert!(home.run(&["cache", "verify", "--progress"]).starts_with(&damaged));
    served.stop();
    let folder = home.folder("cache");
    let repaired = home.run(&["--cache-dir", &folder, "cache", "verify", "--repair"]);
    assert!(repaired.starts_with(&damaged.replace("left", "dropped")), "{repaired}");
    let again = home.run(&["--cache-dir", &folder, "cache", "verify", "--json"]);
    let again: Value = serde_json::from_str(&again).expect("JSON");
    assert_eq!((&again["total"], &again["damaged"]), (&4.into(), &serde_json::json!([])));
}

#[tokio::test]
async fn nothing_is_stored_where_too_little_space_is_left() {
    let (home, origin) = (Home::new(), origin().await);
    let served = home.serve("cache", &["--cache-min-free", "1000000G"]);
    let response = client::get(served.address, &origin.url("/d.png")).await.expect("a response");
    assert_eq!(response.body.len(), 300_000);
    assert_eq!(ls(&home, &[]).0, [""; 0]);
    let stats = home.run(&["cache", "stats"]);
    assert!(stats.contains("storing   no: the disk has too little space left (cache.min_free)"), "{stats}");
}

#[tokio::test]
async fn a_hostile_vary_does_not_fill_the_index() {
    let (home, origin) = (Home::new(), Origin::start().await.expect("an origin"));
    let served = home.serve("cache", &[]);
    let reply = Reply::new(200).field("cache-control", "max-age=600").field("vary", "x-unique");
    origin.always("GET", "/v", reply.body("hello"));
    let mut client = client::Client::connect(served.address).await.expect("a connection");
    for unique in 0..150 {
        let request = Request::new("GET", &origin.url("/v")).field("x-unique", &unique.to_string());
        client.request(&request).await.expect("a response");
    }
    let (listed, totals) = ls(&home, &[]);
    assert!(listed.len() <= 65 && totals.starts_with(&listed.len().to_string()), "{totals}");
    // The newest is there.
    let before = origin.request_count();
    let request = Request::new("GET", &origin.url("/v")).field("x-unique", "149");
    client.request(&request).await.expect("a response");
    assert_eq!(origin.request_count(), before);
}
