//! The admin interface over TCP, and its description: every route of it is there and answers as it says.

use serde_json::{Value, json};
use testkit::client::{Client, Request, Response};
use testkit::origin::Origin;
use testkit::reply::Reply;

use crate::proxy::{Running, start};

const TOKEN: &str = "0123456789abcdef";

async fn start_with_token(flags: &[&str]) -> Running {
    let token = format!("--set=admin.token=ann={TOKEN}");
    start(&[&["--set=admin.listen=127.0.0.1:0", token.as_str()], flags].concat()).await
}

/// A request as a program with the token sends it.
fn request(method: &str, path: &str, content: &str) -> Request {
    let request = Request::new(method, path).field("authorization", &format!("Bearer {TOKEN}"));
    let request = request.field("host", "localhost").field("content-type", "application/json");
    if content.is_empty() { request } else { request.body(content) }
}

async fn send(proxy: &Running, request: &Request) -> Response {
    let mut client = Client::connect(proxy.admin_address()).await.expect("a connection");
    client.request(request).await.expect("a response")
}

async fn ask(proxy: &Running, method: &str, path: &str, content: &str) -> (u16, Value) {
    let response = send(proxy, &request(method, path, content)).await;
    let told = serde_json::from_str(&response.text()).expect("JSON");
    (response.status, told)
}

#[tokio::test]
async fn the_token_opens_what_the_socket_does() {
    let proxy = start_with_token(&["--link", "512k"]).await;
    assert_eq!(ask(&proxy, "GET", "/v1/link", "").await.1["spec"], "512k");
    let (status, changed) = ask(&proxy, "PATCH", "/v1/config", r#"{"link.spec": "64k"}"#).await;
    assert_eq!((status, &changed["changed"][0]["after"]), (200, &json!("64k")));
    assert_eq!(ask(&proxy, "GET", "/v1/link", "").await.1["spec"], "64k");
    let shown = ask(&proxy, "GET", "/v1/config/admin/token", "").await.1;
    assert_eq!(shown["value"], json!(["ann=***"]));
    assert_eq!(ask(&proxy, "DELETE", "/v1/config", "").await.0, 405);
    assert_eq!(ask(&proxy, "GET", "/v1/nowhere", "").await.0, 404);
    // Another token, which only a command on this machine may set, holds at once.
    let other = r#"{"admin.token": "ann=fedcba9876543210"}"#;
    assert_eq!(ask(&proxy, "PATCH", "/v1/config", other).await.0, 403);
    assert!(crate::control::ask(&proxy, "PATCH", "/v1/config", other).await["changed"].is_array());
    assert_eq!(ask(&proxy, "GET", "/v1/link", "").await.0, 401);
}

#[tokio::test]
async fn without_a_token_this_machine_may_look_and_not_change() {
    let proxy = start_with_token(&[]).await;
    let bare = |method, path| Request::new(method, path).field("host", "127.0.0.1");
    let looked = send(&proxy, &bare("GET", "/v1/link")).await;
    assert_eq!(looked.status, 200);
    let fields = ["cache-control", "x-content-type-options", "x-frame-options", "referrer-policy"];
    assert!(fields.iter().all(|name| looked.field(name).is_some()), "{:?}", looked.fields);
    assert!(looked.field("access-control-allow-origin").is_none() && looked.field("set-cookie").is_none());
    let json =
        bare("PATCH", "/v1/config").field("content-type", "application/json").body(r#"{"link.spec": "64k"}"#);
    let refused = send(&proxy, &json).await;
    assert_eq!((refused.status, refused.field("www-authenticate")), (401, Some("Bearer realm=\"bentpipe\"")));
    // What a form of another site's page can send (CSRF), and what a page can whose name leads here (DNS rebinding).
    let form = request("POST", "/v1/reload", "");
    assert_eq!(send(&proxy, &form.clone().field("origin", "http://evil.example")).await.status, 403);
    assert_eq!(send(&proxy, &form.field("sec-fetch-site", "cross-site")).await.status, 403);
    let text = bare("POST", "/v1/reload").field("content-type", "text/plain").body("{}");
    assert_eq!(send(&proxy, &text).await.status, 415);
    let rebound = Request::new("GET", "/v1/config").field("host", "evil.example");
    assert_eq!(send(&proxy, &rebound).await.status, 421);
}

#[tokio::test]
async fn wrong_tokens_are_slowed() {
    let proxy = start_with_token(&[]).await;
    let wrong =
        Request::new("GET", "/v1/link").field("host", "localhost").field("authorization", "Bearer wrong");
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(send(&proxy, &wrong).await.status);
    }
    assert_eq!((statuses[0], statuses[7]), (401, 429), "{statuses:?}");
    assert!(send(&proxy, &wrong).await.field("retry-after").is_some());
}

#[tokio::test]
async fn content_and_heads_are_limited() {
    let proxy = start_with_token(&[]).await;
    let large = "x".repeat(1024 * 1024 + 1);
    assert_eq!(send(&proxy, &request("PATCH", "/v1/config", &large)).await.status, 413);
    let head = request("GET", "/v1/link", "").field("x", &"y".repeat(20_000));
    assert_eq!(send(&proxy, &head).await.status, 431);
}

#[tokio::test]
async fn no_client_is_led_to_it() {
    let proxy = start_with_token(&[]).await;
    // The flags of a test open every port of this machine, and this one is refused all the same.
    let url = format!("http://{}/v1/link", proxy.admin_address());
    assert_eq!(proxy.get(&url).await.status, 403);
}

/// What is sent to a route so that it is answered with 200.
fn content_for(method: &str, path: &str, url: &str) -> String {
    match (method, path) {
        ("patch", "/v1/config") => json!({ "link.spec": "1M" }).to_string(),
        ("patch", "/v1/config/{key}") => json!("2M").to_string(),
        ("put", "/v1/link") => json!({ "spec": "3M" }).to_string(),
        ("post", "/v1/cache/pin") => json!({ "selection": { "url": url }, "pinned": true }).to_string(),
        ("post", "/v1/cache/show" | "/v1/cache/purge" | "/v1/explain") => json!({ "url": url }).to_string(),
        ("post", "/v1/exchanges/stop") => json!({ "numbers": [1] }).to_string(),
        ("post", "/v1/exchanges/class") => json!({ "numbers": [1], "class": "bulk" }).to_string(),
        ("post", "/v1/debug") => json!({ "client": "192.0.2.7", "seconds": 1 }).to_string(),
        ("get", _) => String::new(),
        _ => "{}".to_owned(),
    }
}

/// Whether `value` is what `schema` says, as far as the description uses schemas.
fn check(schema: &Value, value: &Value, what: &str) {
    let kinds: Vec<_> = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        kind => kind.as_str().into_iter().collect(),
    };
    let is = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    };
    assert!(kinds.is_empty() || kinds.iter().any(|kind| is(kind)), "{what}: {value} is not {kinds:?}");
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        assert!(value.get(name).is_some(), "{what}: no {name} in {value}");
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(name) {
            check(schema, value, &format!("{what}: {name}"));
        }
    }
}

#[tokio::test]
async fn every_route_of_the_description_answers_as_it_says() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start_with_token(&[]).await);
    origin.always("GET", "/a", Reply::new(200).field("cache-control", "max-age=60").body("hello"));
    let url = origin.url("/a");
    assert_eq!(proxy.get(&url).await.status, 200);
    let (_, description) = ask(&proxy, "GET", "/v1/openapi.json", "").await;
    assert_eq!(description["openapi"], "3.1.0");
    let mut walked = 0;
    for (path, item) in description["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            walked += 1;
            if path == "/v1/events" || path == "/metrics" {
                // One never ends, the other is no JSON.
                continue;
            }
            let what = format!("{method} {path}");
            let at = path.replace("{key}", "link/spec");
            let content = content_for(method, path, &url);
            let takes = operation["requestBody"]["content"]["application/json"]["schema"].clone();
            if let (false, Ok(content)) = (takes.is_null(), serde_json::from_str::<Value>(&content)) {
                check(&takes, &content, &format!("{what}: request"));
            }
            let (status, told) = ask(&proxy, &method.to_ascii_uppercase(), &at, &content).await;
            let responses = operation["responses"].as_object().expect("responses");
            // Nobody here starts processes, and a capture is not for those who come over TCP.
            let refused = match path.as_str() {
                "/v1/upgrade" => Some(409),
                "/v1/capture" => Some(403),
                _ => None,
            };
            if let Some(refused) = refused {
                assert!(status == refused && told["error"].as_str().is_some(), "{what}: {status} {told}");
                continue;
            }
            assert_eq!(status, 200, "{what}: {told}");
            check(&responses["200"]["content"]["application/json"]["schema"], &told, &what);
            if !takes.is_null() {
                let (status, told) = ask(&proxy, &method.to_ascii_uppercase(), &at, "{").await;
                assert!(status == 400 && responses.contains_key("400"), "{what}: {status}");
                check(&description["components"]["schemas"]["Error"], &told, &what);
            }
            let bare = Request::new(&method.to_ascii_uppercase(), &at).field("host", "localhost");
            let bare = send(&proxy, &bare.field("content-type", "application/json").body(content)).await;
            // An empty requirement says that it may do without.
            let is_open = operation["security"].as_array().expect("security").contains(&json!({}));
            assert_eq!(bare.status == 401, !is_open, "{what}: {}", bare.status);
        }
    }
    assert!(walked >= 20, "{walked} routes");
}

#[tokio::test]
async fn a_token_names_no_program_to_run() {
    let proxy = start_with_token(&[]).await;
    let (status, told) = ask(&proxy, "POST", "/v1/upgrade", r#"{"binary": "/bin/true"}"#).await;
    assert_eq!(status, 403, "{told}");
}

#[tokio::test]
async fn a_token_sets_nothing_that_reaches_beyond_the_proxy() {
    let proxy = start_with_token(&[]).await;
    let attempts = [
        ("PATCH", "/v1/config", r#"{"link.spec": "1M", "log.access": "/dev/null"}"#, "log.access"),
        ("PATCH", "/v1/config/tls/roots", r#"["/etc/passwd"]"#, "tls.roots"),
        ("PATCH", "/v1/config/admin.token", "null", "admin.token"),
        ("PATCH", "/v1/config", r#"{"dns.hosts": ["@file:/etc/passwd"]}"#, "dns.hosts"),
        ("PUT", "/v1/link", r#"{"spec": "1M", "trace": "/etc/passwd"}"#, "link.trace"),
    ];
    for (method, path, content, key) in attempts {
        let (status, told) = ask(&proxy, method, path, content).await;
        let expected = format!("only a command on this machine may set {key}");
        assert_eq!((status, told["error"].as_str()), (403, Some(expected.as_str())), "{content}");
    }
    assert_eq!(ask(&proxy, "GET", "/v1/link", "").await.1["spec"], "unlimited", "all or nothing");
    let plain = r#"{"spec": "1M", "trace": "off"}"#;
    assert_eq!(ask(&proxy, "PUT", "/v1/link", plain).await.0, 200);
    let folder = tempfile::tempdir().expect("a folder");
    let log = json!({ "log.access": folder.path().join("access.log") }).to_string();
    let changed = crate::control::ask(&proxy, "PATCH", "/v1/config", &log).await;
    assert_eq!(changed["changed"][0]["key"], "log.access", "{changed}");
}

/// Neither connections that say nothing nor those that take no answer keep others out, even from one address.
#[tokio::test]
async fn nobody_without_a_token_keeps_others_out() {
    let proxy = start_with_token(&[]).await;
    let requests = "GET / HTTP/1.1\r\nhost: evil\r\n\r\n".repeat(2000);
    let mut held = Vec::new();
    for number in 0..128 {
        let stream = tokio::net::TcpStream::connect(proxy.admin_address()).await.expect("a connection");
        stream.writable().await.expect("room");
        if number % 8 == 0 {
            while stream.try_write(requests.as_bytes()).is_ok() {}
        }
        held.push(stream);
    }
    assert_eq!(ask(&proxy, "GET", "/v1/link", "").await.0, 200);
    drop(held);
}
