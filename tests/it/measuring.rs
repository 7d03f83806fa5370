//! The commands that measure: `bentpipe link selftest` and `bentpipe link probe`. What they print, and not how good the
//! figures are, which is the machine's affair too.

use std::process::{Command, Output};

use serde_json::Value;
use testkit::origin::Origin;
use testkit::reply::Reply;

/// A run in a home of its own, in which no proxy runs; its exit code and what it printed.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let home = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bentpipe"));
    command.env_clear().env("HOME", home.path()).env("XDG_RUNTIME_DIR", home.path()).args(arguments);
    let Output { status, stdout, stderr } = command.output().expect("a run");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn the_selftest_prints_a_row_a_figure() {
    let (code, out, error) = run(&["link", "selftest", "--seconds", "1", "--rows", "goodput-512k,hit"]);
    assert!(out.contains("1 s a measurement") && out.contains("payload"), "{out}{error}");
    let rows: Vec<&str> = out.lines().filter(|line| line.contains("pass") || line.contains("FAIL")).collect();
    let expected = [
        ("goodput error", "512k"),
        ("cache hit on a busy link, p50", "1M"),
        ("cache hit on a busy link, p95", "1M"),
        ("the download beside the hits, error", "1M"),
    ];
    assert_eq!(rows.len(), expected.len(), "{out}{error}");
    for (row, (metric, setting)) in rows.iter().zip(expected) {
        assert!(row.starts_with(metric) && row.contains(setting), "{row}");
        assert!(!row.contains("could not be measured"), "{row}");
    }
    let failed = rows.iter().filter(|row| row.contains("FAIL")).count();
    assert!(out.ends_with(&format!("{} of 4 figures reach their goals.\n", 4 - failed)), "{out}");
    assert_eq!(code, Some(i32::from(failed > 0)), "{error}");
}

#[test]
fn the_selftest_prints_one_object() {
    let (_, out, error) = run(&["link", "selftest", "--seconds", "1", "--rows", "change", "--json"]);
    let object = json(&out);
    assert_eq!(object["seconds"], 1, "{out}{error}");
    let rows = object["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 2, "{out}");
    for row in rows {
        assert!(row["measured"].is_f64() && row["unit"] == "milliseconds", "{row}");
        assert_eq!(row["goal"]["at_most"], 10.0);
        assert!(row["passed"].is_boolean());
    }
}

#[test]
fn a_measurement_that_there_is_not_is_a_usage_error() {
    let (code, _, error) = run(&["link", "selftest", "--rows", "goodput-3k"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("expected goodput, upload, "), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_measures_and_says_what_it_cost() {
    let origin = Origin::start().await.expect("an origin");
    origin.always("GET", "/file", Reply::new(200).body(vec![b'x'; 300_000]));
    origin.always("GET", "/moved", Reply::new(301).field("location", "http://example.org/"));
    origin.always("POST", "/file", Reply::new(200));
    let url = origin.url("/file");
    let probe = |words: &[&str]| run(&[&["link", "probe"], words].concat());

    let (code, out, error) = probe(&[&url, "--json", "--upload", "20k"]);
    assert_eq!(code, Some(0), "{error}");
    let found = json(&out);
    let cost = found["cost"]["received_bytes"].as_u64().expect("a cost");
    assert!((300_000..301_000).contains(&cost), "{out}");
    assert!((20_000..21_000).contains(&found["cost"]["sent_bytes"].as_u64().expect("a cost")), "{out}");
    assert_eq!(found["handshakes_seconds"].as_array().map(Vec::len), Some(5), "{out}");
    assert!(!found["doubts"].as_array().expect("doubts").is_empty(), "a loopback file is too short: {out}");

    // A cap is kept to; the head comes on top.
    let (_, out, _) = probe(&[&url, "--json", "--bytes", "50k"]);
    assert!(json(&out)["cost"]["received_bytes"].as_u64().expect("a cost") < 50_500, "{out}");

    let (code, out, error) = probe(&[&url]);
    assert_eq!(code, Some(0), "{error}");
    for part in ["round trip ", "first byte ", "down ", "up          not measured", "cost ", "not sure "] {
        assert!(out.contains(part), "{part:?} in {out}");
    }

    let (code, _, error) = probe(&[&origin.url("/moved")]);
    assert!(code == Some(1) && error.contains("sends on to http://example.org/"), "{error}");
}

#[test]
fn a_probe_says_what_it_cannot_do() {
    let check = |arguments: &[&str], code: i32, expected: &str| {
        let (found, _, error) = run(&[&["link", "probe"], arguments].concat());
        assert!(found == Some(code) && error.contains(expected), "{arguments:?}: {error}");
    };
    check(&["https://example.org/"], 1, "https is not available yet");
    check(&["example.org"], 1, "expected a target such as http://example.org/file");
    check(&[], 1, "no bentpipe of yours is running");
    check(&["--upload", "1M"], 2, "required");
    check(&["http://127.0.0.1:1/", "--seconds", "0"], 2, "0 is not in 1..=3600");
    check(&["http://127.0.0.1:1/"], 1, "127.0.0.1:1");
}
