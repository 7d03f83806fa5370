//! Leaving in good order, and what is left behind: finished downloads and the access log.

use serde_json::Value;
use testkit::client::Request;
use testkit::message::Ending;
use testkit::origin::Origin;
use testkit::reply::{Gate, Reply};

use crate::proxy::start;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_flight_is_finished_before_leaving() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    let gate = Gate::closed();
    origin.on("GET", "/big", Reply::new(200).body(vec![b'x'; 2_000_000]).hold_after(1000, &gate));
    let mut client = proxy.connect().await;
    client.send(&Request::new("GET", &origin.url("/big")).to_bytes()).await.expect("sent");
    origin.wait_for_requests(1).await;
    let address = proxy.address();
    let leaving = tokio::spawn(proxy.stop());
    // Once it refuses new connections it is leaving.
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    gate.open();
    let response = client.receive("GET").await.expect("a response");
    assert_eq!((response.body.len(), response.ending), (2_000_000, Ending::Clean));
    leaving.await.expect("the end of the proxy");
}

#[tokio::test]
async fn the_access_log_tells_each_exchange_and_its_link_bytes() {
    let origin = Origin::start().await.expect("an origin");
    origin.on(
        "GET",
        "/a",
        Reply::new(200)
            .field("cache-control", "max-age=60")
            .field("content-type", "text/plain")
            .body("hello"),
    );
    let folder = tempfile::tempdir().expect("a folder");
    let (json, squid) = (folder.path().join("json.log"), folder.path().join("squid.log"));
    for (log, format) in [(&json, "log.format=json"), (&squid, "log.format=squid")] {
        let proxy = start(&["--access-log", &log.to_string_lossy(), "--set", format]).await;
        if log == &squid {
            origin.on(
                "GET",
                "/a",
                Reply::new(200)
                    .field("cache-control", "max-age=60")
                    .field("content-type", "text/plain")
                    .body("hello"),
            );
        }
        for _ in 0..2 {
            assert_eq!(proxy.get(&origin.url("/a")).await.text(), "hello");
        }
        assert_eq!(proxy.get("http://127.0.0.2/forbidden").await.status, 403);
        proxy.stop().await;
    }
    let text = std::fs::read_to_string(json).expect("a log");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let first = &origin.traffic()[0];
    assert_eq!(lines[0]["cache_status"], "bentpipe; fwd=uri-miss; stored");
    assert_eq!((&lines[0]["link_down"], &lines[0]["link_up"]), (&first.written.into(), &first.read.into()));
    assert_eq!((&lines[1]["cache_status"], &lines[1]["link_down"]), (&"bentpipe; hit".into(), &0.into()));
    assert_eq!((&lines[2]["status"], &lines[2]["error"]), (&403.into(), &"destination_ip_prohibited".into()));

    let text = std::fs::read_to_string(squid).expect("a log");
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let url = origin.url("/a");
    assert_eq!(lines[0][3], "TCP_MISS/200");
    assert_eq!(lines[0][5..], ["GET", &url, "-", "HIER_DIRECT/127.0.0.1", "text/plain"]);
    assert_eq!((lines[1][3], lines[1][8]), ("TCP_MEM_HIT/200", "HIER_NONE/-"));
    assert_eq!(lines[2][3], "TCP_DENIED/403");
    assert!(lines.iter().all(|line| line.len() == 10), "ten fields a line: {text}");
}

#[tokio::test]
async fn a_log_that_was_moved_away_is_begun_anew() {
    let origin = Origin::start().await.expect("an origin");
    origin.always("GET", "/a", Reply::new(200));
    let folder = tempfile::tempdir().expect("a folder");
    let (log, moved) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let proxy = start(&["--access-log", &log.to_string_lossy()]).await;
    assert_eq!(proxy.get(&origin.url("/a")).await.status, 200);
    std::fs::rename(&log, &moved).expect("moved");
    proxy.reopen_log();
    assert_eq!(proxy.get(&origin.url("/a?second")).await.status, 599);
    proxy.stop().await;
    let lines = |path| std::fs::read_to_string(path).expect("a log").lines().count();
    assert_eq!(lines(&moved) + lines(&log), 2);
    assert!(std::fs::read_to_string(&log).expect("a log").contains("/a?second"));
}

/// RFC 9112 §8: content whose sender has closed the connection before the end is incomplete, and nobody's any more.
#[tokio::test]
async fn an_upload_whose_client_has_left_does_not_go_on_crossing_the_link() {
    const SENT: usize = 150_000;
    let (origin, folder) =
        (Origin::start().await.expect("an origin"), tempfile::tempdir().expect("a folder"));
    origin.always("POST", "/up", Reply::new(200));
    let log = folder.path().join("access.log");
    let flags = ["--link", "unlimited/256k", "--access-log", &log.to_string_lossy()];
    let proxy = start(&flags).await;
    let mut client = proxy.connect().await;
    let head = Request::new("POST", &origin.url("/up")).field("content-length", "80000000");
    client.send(&head.to_bytes()).await.expect("sent");
    client.send(&vec![b'u'; SENT]).await.expect("sent");
    drop(client);
    let over = async {
        loop {
            let samples = crate::metrics::samples(&crate::metrics::scrape(&proxy, "*/*").await.1);
            if samples[r#"bentpipe_cut_short_total{by="client"}"#] > 0.0 {
                return samples;
            }
            tokio::task::yield_now().await;
        }
    };
    let samples = tokio::time::timeout(std::time::Duration::from_secs(30), over).await.expect("it is over");
    let up = |source| samples[&format!(r#"bentpipe_client_bytes_total{{direction="up",source="{source}"}}"#)];
    assert!(up("own") == 0.0 && up("origin") > 0.0, "{samples:?}");
    proxy.stop().await;
    let line = std::fs::read_to_string(&log).expect("a log");
    assert!(line.contains("TCP_MISS_ABORTED/000") && line.lines().count() == 1, "{line}");
    let read = origin.traffic()[0].read;
    assert!(read < SENT as u64 - 20_000, "{read} bytes crossed");
}
