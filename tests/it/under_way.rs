//! Exchanges under way: seen by an operator with what is known of them, and broken off by their numbers.

use std::time::Duration;

use serde_json::Value;
use testkit::client::{Client, Request};
use testkit::origin::Origin;
use testkit::reply::{Gate, Reply};

use crate::control::ask;
use crate::proxy::{Running, start};

/// The exchanges under way, once there are `count`.
async fn under_way(proxy: &Running, count: usize) -> Vec<Value> {
    let until = async {
        loop {
            let told = ask(proxy, "GET", "/v1/exchanges", "").await;
            let exchanges = told["exchanges"].as_array().cloned().unwrap_or_default();
            if exchanges.len() == count {
                return exchanges;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), until).await.expect("so many")
}

async fn sent(proxy: &Running, request: &Request) -> Client {
    let mut client = Client::connect(proxy.address()).await.expect("a connection");
    client.send(&request.to_bytes()).await.expect("sent");
    client
}

#[tokio::test]
async fn what_is_under_way_is_seen_and_broken_off() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    let gate = Gate::closed();
    let large = Reply::new(200).field("cache-control", "no-store").field("content-type", "video/mp4");
    origin.on("GET", "/large?secret", large.body(vec![b'x'; 500_000]).hold_after(100_000, &gate));
    origin.on("GET", "/silent", Reply::new(200).wait(&gate));
    let mut large = sent(&proxy, &Request::new("GET", &origin.url("/large?secret"))).await;
    large.receive_head().await.expect("a head");
    large.receive_exactly(100_000).await.expect("content");
    let silent = sent(&proxy, &Request::new("GET", &origin.url("/silent"))).await;
    origin.wait_for_requests(2).await;
    let exchanges = under_way(&proxy, 2).await;
    let (first, second) = (&exchanges[0], &exchanges[1]);
    assert_eq!((&first["number"], &second["number"]), (&1.into(), &2.into()));
    assert_eq!((&first["status"], &first["media_type"]), (&200.into(), &"video/mp4".into()));
    assert_eq!(first["url"], origin.url("/large?secret"));
    assert_eq!(first["announced_bytes"], 500_000);
    assert!(first["link_down"].as_u64().is_some_and(|bytes| bytes >= 100_000), "{first}");
    assert_eq!(
        (&second["status"], &second["because"]),
        (&Value::Null, &"Nothing is stored under this URI.".into())
    );
    let stopped = ask(&proxy, "POST", "/v1/exchanges/stop", r#"{"numbers": [1, 2, 99]}"#).await;
    assert_eq!(stopped["stopped"], 2);
    assert!(large.receive_rest().await.is_ok_and(|rest| rest.len() < 400_000), "it broke off");
    let mut silent = silent;
    let refused = silent.receive("GET").await.expect("an answer");
    assert_eq!((refused.status, refused.field("proxy-status").is_some()), (503, true));
    drop((large, silent));
    under_way(&proxy, 0).await;
}

#[tokio::test]
async fn a_tunnel_is_seen_and_broken_off_rfc9110_9_3_6() {
    let (origin, proxy) = (
        Origin::start().await.expect("an origin"),
        start(&["--allow-destination", "127.0.0.1:1-65535"]).await,
    );
    let mut client = Client::connect(proxy.address()).await.expect("a connection");
    assert_eq!(client.tunnel(&origin.address().to_string()).await.expect("a tunnel").status, 200);
    client.send(b"GET /").await.expect("sent");
    let tunnel = loop {
        let exchanges = under_way(&proxy, 1).await;
        if exchanges[0]["received_bytes"] == 5 {
            break exchanges[0].clone();
        }
    };
    assert_eq!(tunnel["method"], "CONNECT");
    ask(&proxy, "POST", "/v1/exchanges/stop", &format!("{{\"numbers\": [{}]}}", tunnel["number"])).await;
    assert_eq!(client.receive_rest().await.unwrap_or_default(), b"");
    under_way(&proxy, 0).await;
}
