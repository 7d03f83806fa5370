//! Tests of `view`: two looks, and what they come to.

use std::time::Duration;

use serde_json::json;

use super::*;

fn exchange(number: u64, client: &str, link_down: u64, announced: &Value) -> Value {
    json!({
        "number": number, "client": client, "user": null, "class": "bulk", "duration_ms": 1000.0 * (10.0 - number as f64),
        "link_down": link_down, "link_up": 0, "client_bytes": link_down, "announced_bytes": announced,
        "method": "GET", "url": format!("http://a.example/{number}"),
    })
}

fn looks() -> (Look, Look) {
    let at = Instant::now();
    let link = |down| json!({ "spec": "512k", "down": down, "up": 0, "queue_down": { "utilisation": 0.5 } });
    let before =
        vec![exchange(1, "10.0.0.1", 1000, &json!(9000)), exchange(2, "10.0.0.2", 50_000, &json!(null))];
    let now = vec![
        exchange(1, "10.0.0.1", 3000, &json!(9000)),
        exchange(2, "10.0.0.2", 50_000, &json!(null)),
        exchange(3, "10.0.0.1", 500, &json!(1000)),
    ];
    let later = at + Duration::from_secs(2);
    (
        Look { at, exchanges: before, link: link(51_000) },
        Look { at: later, exchanges: now, link: link(53_500) },
    )
}

fn check_order(sort: Sort, expected: &[u64]) {
    let (before, now) = looks();
    let view = View::between(&before, &now, sort);
    let numbers: Vec<_> = view.exchanges.iter().map(|row| row.number).collect();
    assert_eq!(numbers, expected, "{sort:?}");
}

#[test]
fn it_is_sorted_as_asked_and_equals_stay_where_they_are() {
    check_order(Sort::Rate, &[1, 3, 2]);
    check_order(Sort::Bytes, &[2, 1, 3]);
    check_order(Sort::Eta, &[3, 1, 2]);
    check_order(Sort::Age, &[1, 2, 3]);
    check_order(Sort::Client, &[1, 3, 2]);
    assert_eq!(Sort::by_key(b'B'), Some(Sort::Bytes));
    assert_eq!(Sort::by_key(b'x'), None);
}

#[test]
fn rates_and_what_is_left_come_of_two_looks() {
    let (before, now) = looks();
    let view = View::between(&before, &now, Sort::Rate);
    let first = &view.exchanges[0];
    assert_eq!((first.down, first.eta, first.bytes), (1000.0, Some(6.0), 3000));
    assert_eq!((view.exchanges[2].rate(), view.exchanges[2].eta), (0.0, None));
    assert_eq!((view.link.down, view.link.busy), (1250.0, [0.5, 0.0]));
    let client = &view.clients[0];
    assert_eq!((client.client.as_str(), client.exchanges, client.bytes), ("10.0.0.1", 2, 3500));
    let one_look = View::between(&now, &now, Sort::Rate);
    assert!(one_look.exchanges.iter().all(|row| row.rate() == 0.0 && row.eta.is_none()));
    assert_eq!(view.json()["exchanges"][0]["eta_seconds"], 6.0);
}

#[test]
fn a_tunnel_announces_nothing() {
    let (before, mut now) = looks();
    for (name, value) in [("method", json!("CONNECT")), ("announced_bytes", json!(0))] {
        now.exchanges[0][name] = value;
    }
    let view = View::between(&before, &now, Sort::Rate);
    assert_eq!((view.exchanges[0].announced, view.exchanges[0].eta), (None, None));
}

#[test]
fn a_narrow_screen_keeps_lines_and_columns() {
    let (before, now) = looks();
    let view = View::between(&before, &now, Sort::Rate);
    insta::assert_snapshot!(view.text(None));
    for (columns, lines) in [(80, 24), (40, 8), (1, 1), (0, 0), (200, 60)] {
        let text = view.text(Some((columns, lines)));
        assert!(text.lines().all(|line| line.chars().count() <= columns), "{columns}: {text}");
    }
}

#[test]
fn eighty_columns_show_how_long_and_what() {
    let (before, mut now) = looks();
    now.exchanges[0]["client"] = json!("2001:db8:1234:5678:9abc:def0:1234:5678");
    now.exchanges[0]["url"] = json!(format!("http://a.example/{}/end", "x".repeat(100)));
    insta::assert_snapshot!(View::between(&before, &now, Sort::Rate).text(Some((80, 23))));
}
