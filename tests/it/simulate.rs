//! `bentpipe link simulate` as a user types it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A folder with nothing but what a test puts there.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, content: &str) -> String {
        std::fs::write(self.path(name), content).expect("a file");
        self.path(name).to_string_lossy().into_owned()
    }

    fn output(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bentpipe"));
        command.env_clear().env("HOME", self.0.path()).current_dir(self.0.path());
        command.args(["link", "simulate"]).args(arguments).output().expect("a run")
    }

    /// What is printed; it must succeed.
    fn run(&self, arguments: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.output(arguments);
        assert!(status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).expect("text")
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let text = self.run(&[arguments, &["--json"]].concat());
        serde_json::from_str(&text).expect("one JSON object")
    }

    /// What is said to be wrong.
    fn fail(&self, arguments: &[&str]) -> String {
        let Output { status, stderr, .. } = self.output(arguments);
        assert!(!status.success(), "{arguments:?}");
        String::from_utf8(stderr).expect("text")
    }
}

fn recording() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/har/page.har");
    path.to_string_lossy().into_owned()
}

/// One request in 10 ms up and 1 s down at 100 kbit/s, and what a hand computes of it.
#[test]
fn a_list_takes_what_a_hand_computes() {
    let folder = Folder::new();
    let list = folder.file("list", "# one\n2s alice 125 12500 name=/index.html\n");
    let report = folder.json(&["--link", "100k,rtt=600ms", &list]);
    let one = &report["transactions"][0];
    assert_eq!(
        (&one["client"], &one["name"], &one["host"]),
        (&"alice".into(), &"/index.html".into(), &"origin".into())
    );
    assert_eq!(one["start_seconds"], 2.0);
    // A handshake, a request and its way, the first packet of 250 bytes and its way.
    assert_eq!(one["first_byte_seconds"], 1.23);
    assert_eq!(one["completion_seconds"], 2.21);
    assert_eq!((&one["queued_up_seconds"], &one["queued_down_seconds"]), (&0.01.into(), &0.02.into()));
    assert_eq!(
        (&report["down"]["crossed_bytes"], &report["up"]["crossed_bytes"]),
        (&12_500.into(), &125.into())
    );
    assert_eq!(report["simulated_seconds"], 4.21);
    assert_eq!(report["down"]["offered_bytes"], 52_625);

    let table = folder.run(&["--link", "100k,rtt=600ms", &list]);
    for part in [
        "link       100k,rtt=600ms\n",
        "rates      payload: ",
        "2.00 s  alice   /index.html  125 B  12.5 kB      1.23 s  2.21 s  45.2 kbit/s\n",
        "completion           2.21 s",
    ] {
        assert!(table.contains(part), "{part:?} in {table}");
    }
}

#[test]
fn the_configured_link_is_meant_unless_another_is_given() {
    let folder = Folder::new();
    let list = folder.file("list", "0s a 1 125k\n");
    let link = |arguments: &[&str]| folder.json(&[arguments, &[&list]].concat())["link"].clone();
    assert_eq!(link(&[]), "unlimited");
    assert_eq!(link(&["--set", "link.spec=1M"]), "1M");
    assert_eq!(link(&["--set", "link.spec=1M", "--link", "2M"]), "2M");
    // A seed is the link's, too, unless it has its own.
    assert_eq!(link(&["--link", "2M", "--seed", "7"]), "2M,seed=7");
    assert_eq!(link(&["--link", "2M,seed=5", "--seed", "7"]), "2M,seed=5");
}

#[test]
fn a_recording_is_played_again() {
    let folder = Folder::new();
    let report = folder.json(&["--link", "100k,rtt=600ms", &recording()]);
    assert_eq!(report["notes"][0], "1 entry had from the browser's cache left out.");
    assert_eq!(report["notes"][1], "1 entry without a response over HTTP left out.");
    let all = report["transactions"].as_array().expect("a list");
    let told: Vec<_> = all
        .iter()
        .map(|one| {
            (
                one["name"].as_str(),
                one["start_seconds"].as_f64(),
                one["up_bytes"].as_u64(),
                one["down_bytes"].as_u64(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (Some("GET http://www.example/style.css"), Some(0.5), Some(125), Some(12_500)),
            (Some("GET http://www.example/?q=%3Cb%3E"), Some(0.0), Some(125), Some(12_500)),
            (Some("POST https://api.example:8443/beat"), Some(20.0), Some(500), Some(250)),
        ]
    );
    // The document's origin thinks for 100 ms.
    assert_eq!(all[1]["first_byte_seconds"], 1.33);
    // TCP and TLS, each there and back, with 4.6 kB for TLS; then 500 bytes and 250.
    assert_eq!(all[2]["completion_seconds"], 0.6 + 0.6 + 0.368 + 0.6 + 0.06);
    let at_once = folder.json(&["--link", "100k,rtt=600ms", "--no-wait", &recording()]);
    assert_eq!(at_once["transactions"][1]["first_byte_seconds"], 1.23);
}

#[test]
fn a_description_comes_out_the_same_for_a_seed() {
    let folder = Folder::new();
    let run = |seed: &str| {
        let chart = folder.path("chart.svg");
        let arguments =
            ["--link", "2M,rtt=600ms,jitter=40ms,loss=1%,outage=1m/20m", "clients=5,for=30m,every=1m"];
        let more = ["--seed", seed, "--json", "--svg", &chart.to_string_lossy()];
        (folder.run(&[&arguments[..], &more].concat()), std::fs::read_to_string(&chart).expect("a chart"))
    };
    let one = run("1");
    assert!(one == run("1"), "the same seed gave something else");
    assert!(one.0 != run("2").0, "another seed gave the same");
    let report: Value = serde_json::from_str(&one.0).expect("one JSON object");
    let count = report["transactions"].as_array().map_or(0, Vec::len);
    assert!(count > 200 && report["unfinished"] == 0 && report["done"] == count, "{count}");
    assert!(one.1.contains("Transactions done within a time"));

    let table = folder.run(&["--link", "2M", "clients=3,for=30m", "--until", "20m"]);
    for part in [
        "The slowest 20 of ",
        "\nCLIENT    REQUESTS  UNFINISHED",
        "\nended      after 20m00s\n",
        " not begun, over ",
    ] {
        assert!(table.contains(part), "{part:?} in {table}");
    }
}

#[test]
fn a_chart_stands_alone_and_escapes_what_it_shows() {
    let folder = Folder::new();
    let list = folder.file("list", "0s <script>&amp; 1 1k name=\"/'<b>\n0s b 1 10M\n");
    let chart = folder.path("chart.svg");
    folder.run(&["--link", "1M/64k", &list, "--until", "10s", "--svg", &chart.to_string_lossy()]);
    let chart = std::fs::read_to_string(chart).expect("a chart");
    assert!(chart.starts_with("<svg xmlns=") && chart.ends_with("</svg>\n"), "{chart}");
    assert!(!chart.contains("<script") && !chart.contains("<b>") && !chart.contains("NaN"), "{chart}");
    for part in [
        "&lt;script&gt;&amp;amp; &quot;/&#39;&lt;b&gt;",
        "Utilisation of each direction",
        "time since the start, seconds",
        "until the first byte",
    ] {
        assert!(chart.contains(part), "{part:?} in {chart}");
    }
    // Every element that is opened is closed.
    let (opened, closed) =
        (chart.matches('<').count(), chart.matches("/>").count() + 2 * chart.matches("</").count());
    assert_eq!(opened, closed, "{chart}");
}

#[test]
fn rates_may_come_from_files() {
    let folder = Folder::new();
    let list = folder.file("list", "0s a 1 15k\n");
    // A packet of 1500 bytes each 10 ms, which is 1.2 Mbit/s.
    let trace = folder.file("down.trace", "10\n20\n30\n40\n50\n");
    let report = folder.json(&["--link", "64k", "--link-trace", &format!("down={trace}"), &list]);
    let done = report["transactions"][0]["completion_seconds"].as_f64().expect("it is done");
    assert!((0.100..=0.111).contains(&done), "{done}");
    assert_eq!(report["trace_down"], "a trace of 50 ms, 1.2 Mbit/s on average");
    let schedule = folder.file("link.csv", "time,down,up\n0,1M,1M\n0.06,0,1M\n1,1M,1M\n");
    let report = folder.json(&["--link-trace", &schedule, &list]);
    let done = report["transactions"][0]["completion_seconds"].as_f64().expect("it is done");
    // Half of it crosses before the silence.
    assert!((1.059..=1.061).contains(&done), "{done}");
}

#[test]
fn an_error_says_what_and_where() {
    let folder = Folder::new();
    let check = |arguments: &[&str], expected: &str| {
        let error = folder.fail(arguments);
        assert!(error.contains(expected), "{error}");
    };
    check(&["nothing.har"], "\"nothing.har\" is neither a file nor a description such as clients=50,for=24h");
    check(&["clients=x"], "\"clients=x\": expected a whole number from 1");
    let list = folder.file("list", "0s a 1 1\n0s a 1k\n");
    check(&[&list], "list: line 2: expected START CLIENT UP DOWN");
    check(&[&folder.file("a.har", "{\"log\": 3}")], "a.har: expected a HAR file: invalid type: integer `3`");
    check(&[&list, "--until", "5"], "expected a time such as 90s");
    check(&[&folder.file("huge", "0s a 1 2T\n")], "expected at most 1 TB in all");
    check(&["--link", "64q", &list], "expected a rate");
    check(&["--link-trace", "sideways=x", &list], "sideways=x: cannot be read");
    check(
        &["--link-trace", "down=", &list],
        "expected off, a file for both directions, or down=FILE,up=FILE",
    );
    let trace = folder.file("trace", "1\nx\n");
    check(&["--link-trace", &format!("up={trace}"), &folder.file("good", "0s a 1 1\n")], "trace: line 2: ");
}
