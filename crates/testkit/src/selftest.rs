//! The testkit tested against itself: a client straight at an origin, and every misbehaviour seen by it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::client::{Client, Request, Response};
use crate::contents;
use crate::load::{self, Paths, Plan, Until, Way};
use crate::message::{Ending, Fields};
use crate::origin::{Origin, Traffic};
use crate::reply::{Gate, Reply};
use crate::scenario::Scenario;

async fn pair() -> (Origin, Client) {
    let origin = Origin::start().await.expect("a free port");
    let client = Client::connect(origin.address()).await.expect("the origin listens");
    (origin, client)
}

async fn get(client: &mut Client, path: &str) -> Response {
    client.request(&Request::new("GET", path)).await.expect("an answer")
}

#[tokio::test]
async fn answers_come_in_order_and_the_last_may_stay() {
    let (origin, mut client) = pair().await;
    origin.on("GET", "/a", Reply::new(200).body("one"));
    origin.always("GET", "/a", Reply::new(200).body("two"));
    for expected in ["one", "two", "two"] {
        assert_eq!(get(&mut client, "/a").await.text(), expected);
    }
    assert_eq!(get(&mut client, "/b").await.status, 599);
    assert_eq!(origin.leftovers(), ["GET /b was not scripted"]);
    assert!(origin.requests().iter().all(|request| request.connection == 0));
}

#[tokio::test]
async fn requests_are_recorded_byte_for_byte() {
    let (origin, mut client) = pair().await;
    origin.on("PUT", "/a", Reply::new(204));
    let head = "PUT /a HTTP/1.1\r\nhOsT: x\r\nX-B:  two  \r\nx-b: one\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(head.as_bytes()).await.expect("sent");
    client.send(b"3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 9\r\n\r\n").await.expect("sent");
    assert_eq!(client.receive("PUT").await.expect("an answer").status, 204);
    let request = &origin.requests()[0];
    assert_eq!(request.raw_head, head.as_bytes());
    assert_eq!(request.fields.values("x-b"), ["two", "one"]);
    assert_eq!(request.body, b"abcde");
    assert_eq!(request.trailers.value("x-sum"), Some("9"));
}

#[tokio::test]
async fn bytes_are_counted_by_connection() {
    let (origin, mut client) = pair().await;
    let raw = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    origin.on("GET", "/", Reply::raw(*raw));
    let request = Request::new("GET", "/");
    assert_eq!(client.request(&request).await.expect("an answer").text(), "ok");
    let expected = Traffic { read: request.to_bytes().len() as u64, written: raw.len() as u64 };
    assert_eq!(origin.traffic(), [expected]);
    assert_eq!(client.receive_rest().await.expect("the end"), b"");
}

#[tokio::test]
async fn a_gate_holds_an_answer_behind_its_interim_responses() {
    let (origin, mut client) = pair().await;
    let gate = Gate::closed();
    let early = Reply::new(200).interim(103, Fields::default()).wait(&gate);
    origin.on("GET", "/", early.interim(102, Fields::default()).body("hello"));
    client.send(&Request::new("GET", "/").to_bytes()).await.expect("sent");
    let head = client.receive_head().await.expect("an interim response at once");
    assert_eq!(head.start_line, "HTTP/1.1 103 Interim");
    gate.open();
    let response = client.receive("GET").await.expect("an answer");
    assert_eq!((response.interim.len(), response.text().as_str()), (1, "hello"));
}

#[tokio::test]
async fn a_gate_holds_a_body_until_it_opens() {
    let (origin, mut client) = pair().await;
    let gate = Gate::closed();
    origin.on("GET", "/", Reply::new(200).body("hello").hold_after(2, &gate));
    client.send(&Request::new("GET", "/").to_bytes()).await.expect("sent");
    client.receive_head().await.expect("the head comes at once");
    assert_eq!(client.receive_exactly(2).await.expect("two bytes"), b"he");
    gate.open();
    assert_eq!(client.receive_exactly(3).await.expect("the rest"), b"llo");
}

#[tokio::test]
async fn a_gate_may_hold_the_head_of_chunks_too() {
    let (origin, mut client) = pair().await;
    let gate = Gate::closed();
    origin.on("GET", "/", Reply::new(200).body("hello").chunked(5).hold_after(0, &gate));
    client.send(&Request::new("GET", "/").to_bytes()).await.expect("sent");
    client.receive_head().await.expect("the head comes at once");
    gate.open();
    assert_eq!(client.receive_exactly(15).await.expect("the chunks"), b"5\r\nhello\r\n0\r\n\r\n");
}

#[tokio::test]
async fn a_paced_body_comes_whole() {
    let (origin, mut client) = pair().await;
    origin.on("GET", "/", Reply::new(200).body("abcdefg").pace(3, Duration::from_millis(1)));
    let answer = get(&mut client, "/").await;
    assert_eq!((answer.text().as_str(), answer.ending), ("abcdefg", Ending::Clean));
}

#[tokio::test]
async fn an_upgrade_echoes() {
    let (origin, mut client) = pair().await;
    origin.on("GET", "/", Reply::upgrade("echo"));
    let answer = get(&mut client, "/").await;
    assert_eq!((answer.status, answer.field("upgrade")), (101, Some("echo")));
    client.send(b"ping").await.expect("sent");
    assert_eq!(client.receive_exactly(4).await.expect("the echo"), b"ping");
    client.finish().await.expect("finished");
    assert_eq!(client.receive_rest().await.expect("the end"), b"");
}

#[tokio::test]
async fn continue_is_sent_before_contents_are_read_and_not_when_the_answer_is_early() {
    let (origin, mut client) = pair().await;
    origin.on("POST", "/", Reply::new(200));
    origin.on("POST", "/", Reply::new(413).before_contents());
    let head = b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
    client.send(head).await.expect("sent");
    assert!(client.receive_head().await.expect("an interim head").start_line.contains("100"));
    client.send(b"ok").await.expect("sent");
    assert_eq!(client.receive("POST").await.expect("an answer").status, 200);
    client.send(head).await.expect("sent");
    let answer = client.receive("POST").await.expect("an answer");
    assert_eq!((answer.status, answer.interim.len()), (413, 0));
}

#[tokio::test]
async fn an_origin_that_stops_is_gone() {
    let (origin, mut client) = pair().await;
    origin.on("GET", "/", Reply::new(200));
    assert_eq!(get(&mut client, "/").await.status, 200);
    origin.stop().await;
    client.request(&Request::new("GET", "/")).await.expect_err("the connection is closed");
    Client::connect(origin.address()).await.expect_err("nothing listens");
}

#[tokio::test]
async fn load_counts_whole_answers_and_compares_some() {
    let origin = Origin::start().await.expect("a free port");
    let path = "/kept/5000/a";
    let plan = |path: &str, until| Plan {
        proxy: origin.address(),
        origin: origin.address(),
        way: Way::Absolute,
        paths: Paths::One(path.to_owned()),
        connections: 2,
        until,
    };
    origin.always("GET", path, Reply::new(200).body(contents::beginning(path, 5_000)));
    origin.always("GET", "/kept/5000/wrong", Reply::new(200).body(vec![b'x'; 5_000]));
    let tally = load::run(plan(path, Until::Time(Duration::from_millis(20)))).await.expect("answers");
    assert!(tally.answers >= 2 && tally.bytes == tally.answers * 5_000, "{tally:?}");
    assert!(tally.compared >= 2 && tally.shares.iter().sum::<u64>() == tally.bytes, "{tally:?}");
    let tally = load::run(plan(path, Until::Count(7))).await.expect("answers");
    assert_eq!(tally.answers, 7);
    let fault = load::run(plan("/kept/5000/wrong", Until::Count(1))).await.expect_err("other bytes");
    assert!(fault.to_string().contains("wrong bytes"), "{fault}");
}

#[test]
fn every_scenario_in_the_fixtures_can_be_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/scenarios");
    let files: Vec<_> =
        fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("a file").path()).collect();
    assert!(files.len() >= 25, "{} scenarios", files.len());
    for file in files {
        Scenario::load(&file).unwrap_or_else(|fault| panic!("{fault}"));
    }
}
