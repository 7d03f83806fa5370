//! Metrics as they are scraped: every one documented, none missing, in both formats, and the figures right.

use std::collections::{BTreeMap, BTreeSet};

use testkit::client::Request;
use testkit::origin::Origin;
use testkit::reply::Reply;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::proxy::{Running, start};

/// What the control socket of `proxy` answers: the Content-Type, and the content.
pub(crate) async fn scrape(proxy: &Running, accept: &str) -> (String, String) {
    let mut stream = UnixStream::connect(proxy.folder.path().join("control.sock")).await.expect("a socket");
    let request = format!("GET /metrics HTTP/1.0\r\naccept: {accept}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).await.expect("an answer");
    let (head, content) = response.split_once("\r\n\r\n").expect("a head");
    let media_type = head.lines().find_map(|line| line.strip_prefix("content-type: ")).expect("a type");
    (media_type.to_owned(), content.to_owned())
}

/// Every sample by its name and labels.
pub(crate) fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').expect(line))
        .map(|(name, value)| (name.to_owned(), number(value)))
        .collect()
}

fn number(value: &str) -> f64 {
    value.replace("+Inf", "inf").parse().expect(value)
}

/// The names of what a text says it has.
fn names(text: &str) -> BTreeSet<String> {
    let typed = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    typed.map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
}

fn documented() -> BTreeSet<String> {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md")).expect("a page");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| Some(row.split_once('`')?.0.to_owned())).collect()
}

#[tokio::test]
async fn every_metric_is_documented_and_every_documented_one_is_there() {
    let proxy = start(&[]).await;
    let (media_type, text) = scrape(&proxy, "*/*").await;
    assert_eq!(media_type, "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(names(&text), documented());
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        assert!(documented().contains(family.unwrap_or(name)), "{line}");
    }
    let (media_type, open) = scrape(&proxy, "application/openmetrics-text;version=1.0.0,*/*;q=0.1").await;
    assert_eq!(media_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open.ends_with("# EOF\n") && !text.contains("# EOF"));
    let totals = documented().into_iter().map(|name| name.trim_end_matches("_total").to_owned());
    assert_eq!(names(&open), totals.collect());
}

#[tokio::test]
async fn figures_are_of_what_happened() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&["--link", "8M"]).await);
    origin.always("GET", "/a", Reply::new(200).field("cache-control", "max-age=60").body("hello"));
    origin.always("GET", "/b", Reply::new(404).field("cache-control", "no-store"));
    let url = origin.url("/a");
    for _ in 0..3 {
        assert_eq!(proxy.get(&url).await.text(), "hello");
    }
    assert_eq!(proxy.get(&origin.url("/b")).await.status, 404);
    assert_eq!(proxy.request(&Request::new("GET", "http://10.0.0.1/")).await.status, 403);
    let samples = samples(&scrape(&proxy, "*/*").await.1);
    let check = |name: &str, expected: f64| {
        assert_eq!(samples.get(name).copied().unwrap_or_default(), expected, "{name}: {samples:#?}");
    };
    check(r#"bentpipe_requests_total{result="hit",method="get",status="2xx"}"#, 2.0);
    check(r#"bentpipe_requests_total{result="miss",method="get",status="2xx"}"#, 1.0);
    check(r#"bentpipe_requests_total{result="miss",method="get",status="4xx"}"#, 1.0);
    check(r#"bentpipe_results_total{result="refused"}"#, 1.0);
    check(r#"bentpipe_errors_total{error="destination_ip_prohibited"}"#, 1.0);
    check(r#"bentpipe_cache_answers_total{source="cache"}"#, 2.0);
    check(r#"bentpipe_cache_answers_total{source="origin"}"#, 2.0);
    check(r#"bentpipe_exchange_duration_seconds_count{source="cache"}"#, 2.0);
    check("bentpipe_first_byte_seconds_count", 2.0);
    check("bentpipe_exchanges_begun_total", 5.0);
    check(r#"bentpipe_exchanges_under_way{kind="request"}"#, 0.0);
    check("bentpipe_store_responses", 1.0);
    check(r#"bentpipe_upstream_dials_total{result="connected"}"#, 1.0);
    check("bentpipe_upstream_reused_total", 1.0);
    check(r#"bentpipe_upstream_connections{state="idle"}"#, 1.0);
    check(r#"bentpipe_link_capacity_bytes_per_second{direction="down"}"#, 1e6);
    check("bentpipe_client_connections_accepted_total", 5.0);
    let down = samples[r#"bentpipe_link_bytes_total{direction="down"}"#];
    let classed = samples[r#"bentpipe_link_class_bytes_total{direction="down",class="interactive"}"#];
    assert!(down > 100.0 && down == classed, "{down} {classed}");
    assert!(
        samples["process_resident_memory_bytes"] > 1e6 && samples["bentpipe_time_seconds"] == 1_767_225_600.0
    );
}

#[tokio::test]
async fn nothing_that_clients_send_becomes_a_label() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    origin.always("BREW", "/secret", Reply::new(299));
    origin.always("STEEP", "/secret/2", Reply::new(299));
    proxy.request(&Request::new("BREW", &origin.url("/secret"))).await;
    let before = samples(&scrape(&proxy, "*/*").await.1).len();
    proxy.request(&Request::new("STEEP", &origin.url("/secret/2"))).await;
    let (_, text) = scrape(&proxy, "*/*").await;
    for never in ["secret", "BREW", "brew", "STEEP", "299", "127.0.0.1"] {
        assert!(!text.contains(never), "{never}");
    }
    assert_eq!(samples(&text).len(), before, "another request of the same kind");
}

/// What looks like a metric of ours in a text.
fn mentioned(text: &str) -> BTreeSet<String> {
    let is_part =
        |character: char| character.is_ascii_lowercase() || character == '_' || character.is_ascii_digit();
    let words = text.split(|character: char| !is_part(character));
    words
        .filter(|word| word.starts_with("bentpipe_") || word.starts_with("process_"))
        .map(|word| {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| word.strip_suffix(suffix));
            base.unwrap_or(word).to_owned()
        })
        .collect()
}

#[test]
fn alert_rules_and_dashboard_ask_for_what_exists() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operation");
    for file in ["bentpipe.rules.yml", "bentpipe.rules.test.yml", "grafana.json"] {
        let text = std::fs::read_to_string(format!("{folder}/{file}")).expect(file);
        let (mentioned, documented) = (mentioned(&text), documented());
        let unknown: Vec<_> = mentioned.difference(&documented).collect();
        assert!(unknown.is_empty() && !mentioned.is_empty(), "{file}: {unknown:?}");
    }
}

#[test]
fn the_dashboard_is_whole() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operation/grafana.json");
    let text = std::fs::read_to_string(path).expect("a dashboard");
    let dashboard: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(dashboard["uid"], "bentpipe");
    assert!(dashboard["schemaVersion"].as_u64().is_some_and(|version| version >= 36));
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{panel}");
        assert!(panel["title"].as_str().is_some_and(|title| !title.is_empty()), "{panel}");
        let place = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().expect(side));
        assert!(place[0] + place[2] <= 24, "{panel}");
        for column in place[0]..place[0] + place[2] {
            for row in place[1]..place[1] + place[3] {
                assert!(taken.insert((column, row)), "panels overlap: {panel}");
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        let targets = panel["targets"].as_array().expect("targets");
        assert!(
            targets.iter().all(|target| target["expr"].is_string() && target["refId"].is_string()),
            "{panel}"
        );
        assert_eq!(panel["datasource"]["uid"], "${datasource}");
    }
}
