//! The operator's rules from a configuration file to the answer: what is stored, what is said of it, and what commands
//! tell about it. What each part of a rule does is in fixtures/scenarios.

use std::process::{Command, Output};

use serde_json::json;
use testkit::origin::Origin;
use testkit::reply::Reply;

use crate::control::ask;
use crate::proxy::start;

const FILE: &str = "\
[cache]
packs = ['apt']

[[cache.rule]]
name = 'docs'
path = ['/docs/*', '/manual/*']
min_fresh = '1h'
ignore_query = ['utm_*']

[[cache.rule]]
name = 'live'
host = 'live.example'
keep = 'never'
";

/// What the built program prints with this configuration file: to standard output, or what is wrong.
fn bentpipe(file: &str, arguments: &[&str]) -> Result<String, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bentpipe.toml");
    std::fs::write(&path, file).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bentpipe"));
    command.env_clear().env("HOME", folder.path()).arg("--config").arg(&path).args(arguments);
    let Output { status, stdout, stderr } = command.output().expect("a run");
    let place = format!("{}/", folder.path().display());
    let text = |bytes| String::from_utf8(bytes).expect("text").replace(&place, "");
    if status.success() { Ok(text(stdout)) } else { Err(text(stderr)) }
}

#[test]
fn commands_tell_the_rules_in_force() {
    let listed = bentpipe(FILE, &["cache", "rules"]).expect("a list");
    let mut lines = listed.lines();
    let first: Vec<_> = lines.by_ref().take(4).collect();
    let docs = "docs: path=/docs/*|/manual/*; min-fresh=1h; ignore-query=utm_*";
    assert_eq!(first, ["# cache.rule", docs, "live: host=live.example; keep=never", "# cache.packs: apt"]);
    assert!(lines.next().is_some_and(|line| line.starts_with("apt-by-hash: ")));
    let one = bentpipe(FILE, &["cache", "rules", "http://live.example/"]).expect("a list");
    assert_eq!(one, "# cache.rule\nlive: host=live.example; keep=never\n");
    let shown = bentpipe(FILE, &["config", "show"]).expect("a list");
    let line = shown.lines().find(|line| line.starts_with("cache.rule ")).expect("its line");
    assert!(line.contains(docs) && line.ends_with("# bentpipe.toml:4"), "{line}");
    let flags = [
        "--cache-rule",
        "a: path=/a keep=never",
        "--cache-packs=npm",
        "cache",
        "rules",
        "http://a.example/a",
    ];
    assert_eq!(bentpipe(FILE, &flags).expect("a list"), "# cache.rule\na: path=/a; keep=never\n");
}

#[test]
fn everything_wrong_with_rules_is_told_at_once_with_its_line() {
    let wrong =
        FILE.replace("min_fresh", "min_frehs").replace("'never'", "'nevre'").replace("'apt'", "'atp'");
    let expected = "\
bentpipe.toml:2: cache.packs = \"atp\": expected apt, pypi, npm, crates, windows-updates, apple-updates; did you mean apt?
bentpipe.toml:7: cache.rule: \"min_frehs\" is no part of a rule; did you mean min-fresh?
bentpipe.toml:13: cache.rule: keep: expected as-stated, never, always
";
    assert_eq!(bentpipe(&wrong, &["config", "check"]).expect_err("errors"), expected);
    assert_eq!(bentpipe(FILE, &["config", "check"]).expect("no errors"), "ok (bentpipe.toml)\n");
    let twice =
        bentpipe("", &["--cache-rule=a: keep=never", "--cache-rule=a: keep=always", "config", "check"]);
    let repeated = "--cache-rule: cache.rule: expected each name once, \"a\" is repeated\n";
    assert_eq!(twice.expect_err("an error"), repeated);
}

#[tokio::test]
async fn a_rule_of_a_file_is_obeyed_explained_and_purged_by_any_of_its_urls() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rules.toml");
    std::fs::write(&path, FILE).expect("written");
    let (origin, proxy) =
        (Origin::start().await.expect("an origin"), start(&["--config", &path.to_string_lossy()]).await);
    origin.always("GET", "/docs/a?utm_source=x", Reply::new(200).body("hello"));
    let (url, other) = (origin.url("/docs/a?utm_source=x"), origin.url("/docs/a?utm_medium=y"));
    for url in [&url, &other, &origin.url("/docs/a")] {
        assert_eq!(proxy.get(url).await.text(), "hello");
    }
    assert_eq!(origin.request_count(), 1);
    let given = json!({ "url": other }).to_string();
    let explained = ask(&proxy, "POST", "/v1/explain", &given).await;
    assert_eq!(
        (&explained["decision"], &explained["section"]),
        (&json!("serve the stored response"), &json!("cache.rule"))
    );
    assert!(
        explained["because"].as_str().expect("words").ends_with("(Decided by the operator's rule docs.)")
    );
    assert_eq!(explained["stored"][0]["lifetime_source"], "an operator's rule");
    assert_eq!(ask(&proxy, "POST", "/v1/cache/purge", &given).await["purged"], 1);
    assert_eq!(ask(&proxy, "POST", "/v1/explain", &given).await["decision"], "forward to the origin");
}
