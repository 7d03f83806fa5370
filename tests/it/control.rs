//! The control interface: the link set while it carries, the cache looked into and purged, decisions explained.

use serde_json::{Value, json};
use testkit::origin::Origin;
use testkit::reply::{Gate, Reply};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::proxy::{Running, start};

/// Asks the control socket of `proxy` for one thing.
pub(crate) async fn ask(proxy: &Running, method: &str, path: &str, content: &str) -> Value {
    let socket = proxy.folder.path().join("control.sock");
    let mut stream = UnixStream::connect(socket).await.expect("a control socket");
    let request = format!("{method} {path} HTTP/1.0\r\ncontent-length: {}\r\n\r\n{content}", content.len());
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).await.expect("an answer");
    let (_, content) = response.split_once("\r\n\r\n").expect("a head");
    serde_json::from_str(content).expect("JSON")
}

#[tokio::test]
async fn the_link_is_seen_and_set_while_it_runs() {
    let proxy = start(&["--link", "512k"]).await;
    assert_eq!(ask(&proxy, "GET", "/v1/link", "").await["spec"], "512k");
    let set = ask(&proxy, "PUT", "/v1/link", r#"{"spec": "64k/32k,rtt=600ms"}"#).await;
    assert_eq!(set["spec"], "64k/32k,rtt=600ms");
    let wrong = ask(&proxy, "PUT", "/v1/link", r#"{"spec": "64q"}"#).await;
    assert!(wrong["error"].as_str().expect("an error").contains("64q"));
    assert_eq!(ask(&proxy, "GET", "/v1/link", "").await["spec"], "64k/32k,rtt=600ms", "nothing was lost");
    assert!(ask(&proxy, "PUT", "/v1/link", "nonsense").await["error"].is_string());
    assert!(ask(&proxy, "GET", "/v1/nowhere", "").await["error"].is_string());
}

#[tokio::test]
async fn what_is_under_way_is_counted() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    let gate = Gate::closed();
    origin.always("GET", "/a", Reply::new(200).body("hello").wait(&gate));
    let under_way = async || {
        let told = ask(&proxy, "GET", "/v1/proxy", "").await["under_way"].clone();
        (told["connections"].as_u64().expect("a count"), told["exchanges"].as_u64().expect("a count"))
    };
    assert_eq!(under_way().await, (0, 0));
    let url = origin.url("/a");
    let (answer, ()) = tokio::join!(proxy.get(&url), async {
        origin.wait_for_requests(1).await;
        assert_eq!(under_way().await, (1, 1));
        gate.open();
    });
    assert_eq!(answer.text(), "hello");
    while under_way().await != (0, 0) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_cache_is_listed_explained_and_purged() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&[]).await);
    origin.always("GET", "/a", Reply::new(200).field("cache-control", "max-age=60").body("hello"));
    let url = origin.url("/a");
    assert_eq!(proxy.get(&url).await.text(), "hello");
    let listed = ask(&proxy, "GET", "/v1/cache/responses", "").await;
    assert_eq!(
        (&listed["responses"][0]["key"], &listed["responses"][0]["status"]),
        (&json!(url), &json!(200))
    );
    assert_eq!(ask(&proxy, "GET", "/v1/cache", "").await["stats"]["objects"], 1);

    let given = json!({ "url": url }).to_string();
    let fresh = ask(&proxy, "POST", "/v1/explain", &given).await;
    assert_eq!(fresh["decision"], "serve the stored response");
    assert!(fresh["section"].as_str().expect("a section").starts_with("RFC 9111"));
    let steps = fresh["steps"].as_array().expect("steps");
    let told = |question: &str| {
        let step = steps.iter().find(|step| step["question"] == question).expect(question);
        step["answer"].as_str().expect("an answer").to_owned()
    };
    assert_eq!((told("Is it fresh?").as_str(), told("What is the cache key?")), ("yes", url.clone()));
    assert_eq!(told("May the origin be dialled?"), "yes");
    assert_eq!(told("Which class has it on the link?"), "interactive");
    let reload = json!({ "url": url, "headers": [["Cache-Control", "no-cache"]] }).to_string();
    assert_ne!(ask(&proxy, "POST", "/v1/explain", &reload).await["decision"], fresh["decision"]);

    assert_eq!(ask(&proxy, "POST", "/v1/cache/purge", &given).await["purged"], 1);
    assert_eq!(ask(&proxy, "POST", "/v1/explain", &given).await["decision"], "forward to the origin");
    assert_eq!(proxy.get(&url).await.text(), "hello");
    assert_eq!(origin.request_count(), 2);
    assert!(ask(&proxy, "POST", "/v1/explain", r#"{"url": "not a url"}"#).await["error"].is_string());
}

#[tokio::test]
async fn the_socket_is_its_owners_or_a_groups() {
    use std::os::unix::fs::MetadataExt as _;

    let mode = async |flags: &[&str]| {
        let proxy = start(flags).await;
        assert_eq!(ask(&proxy, "GET", "/v1/link", "").await["spec"], "unlimited");
        let metadata = std::fs::metadata(proxy.folder.path().join("control.sock")).expect("a socket");
        (metadata.mode() & 0o777, metadata.gid())
    };
    let own = rustix::process::getgid().as_raw();
    assert_eq!(mode(&[]).await.0, 0o600);
    assert_eq!(mode(&["--set", &format!("control.group={own}")]).await, (0o660, own));
}
