//! `explain` beside what really becomes of the same request: the verdict is one, and so is the rule that it names.

use serde_json::{Value, json};
use testkit::client::Request;
use testkit::origin::Origin;
use testkit::reply::Reply;

use crate::control::ask;
use crate::proxy::{Running, start};

async fn explained(proxy: &Running, given: Value) -> (String, String) {
    let reply = ask(proxy, "POST", "/v1/explain", &given.to_string()).await;
    let text = |name: &str| reply[name].as_str().unwrap_or_default().to_owned();
    (text("decision"), text("because"))
}

/// A GET of `url` is refused, explained as refused, and both for this reason.
async fn check_refused(proxy: &Running, url: &str, status: u16, reason: &str) {
    let response = proxy.get(url).await;
    assert_eq!(response.status, status, "{url}");
    let said = response.field("proxy-status").expect("a Proxy-Status").replace("\\\"", "\"");
    let (decision, because) = explained(proxy, json!({ "url": url })).await;
    assert!(decision.starts_with(&format!("answer {status} (")), "{url}: {decision}");
    let same = because.split(" For a request of an account").next().expect("a reason");
    assert!(said.contains(same) && because.contains(reason), "{url}: {because:?} in {said}");
}

#[tokio::test]
async fn what_is_refused_is_explained_as_refused_rfc9110_15_5_4() {
    let origin = Origin::start().await.expect("an origin");
    let flags = [
        "--deny=games: host=*.games.test",
        "--deny=now: host=school.test; time=00:00-12:00 UTC",
        "--deny=later: host=school.test; time=12:00-24:00 UTC",
        "--set=dns.hosts=inside.test=10.255.255.1",
        "--set=admin.listen=127.0.0.1:0",
    ];
    let proxy = start(&flags).await;
    check_refused(&proxy, "http://a.games.test/", 403, "the rule \"games\"").await;
    check_refused(&proxy, "http://school.test/", 403, "the rule \"").await;
    check_refused(&proxy, "http://127.0.0.2:9/", 403, "127.0.0.2 is a loopback").await;
    check_refused(&proxy, "http://[::1]:9/", 403, "::1 is a loopback").await;
    check_refused(&proxy, "http://0x7f.2:9/", 403, "127.0.0.2 is a loopback").await;
    check_refused(&proxy, "http://inside.test/", 403, "inside.test is a loopback, link-local, private").await;
    check_refused(&proxy, &format!("http://{}/x", proxy.admin_address()), 403, "or its admin interface")
        .await;
    assert_eq!(origin.request_count(), 0);

    // What may be asked for is explained as before.
    origin.always("GET", "/a", Reply::new(200).field("cache-control", "max-age=60").body("hello"));
    let url = origin.url("/a");
    assert_eq!(explained(&proxy, json!({ "url": url })).await.0, "forward to the origin");
    assert_eq!(proxy.get(&url).await.text(), "hello");
    assert_eq!(explained(&proxy, json!({ "url": url })).await.0, "serve the stored response");
    let own = format!("http://{}/", proxy.address());
    assert_eq!(proxy.get(&own).await.status, 200);
    assert_eq!(explained(&proxy, json!({ "url": own })).await.0, "answer with a page of bentpipe's own");
}

#[tokio::test]
async fn who_asks_matters_as_it_does_for_requests() {
    let rules = [
        "--set=admission.default=private",
        "--set=admission.users=ann:one",
        "--deny=visitors: client=10.0.0.0/8; host=*.games.test",
    ];
    let proxy = start(&rules).await;
    check_refused(&proxy, "http://a.games.test/", 407, "a name and a password").await;
    let asked =
        |client: &'static str| json!({ "url": "http://a.games.test/", "user": "ann", "client": client });
    let (decision, because) = explained(&proxy, asked("10.0.0.7")).await;
    assert!(decision.starts_with("answer 403") && because.contains("\"visitors\""), "{decision} {because}");
    assert_eq!(explained(&proxy, asked("192.168.0.7")).await.0, "forward to the origin");
    let (_, because) = explained(&proxy, asked("203.0.113.7")).await;
    assert!(because.contains("203.0.113.7 is in none of them"), "{because}");
    let wrong = ask(&proxy, "POST", "/v1/explain", r#"{"url": "http://a/", "client": "me"}"#).await;
    assert!(wrong["error"].as_str().expect("an error").contains("an address"), "{wrong}");
}

#[tokio::test]
async fn the_tunnel_of_an_https_url_is_judged_too_rfc9110_9_3_6() {
    let proxy = start(&["--set=dns.hosts=open.test=203.0.113.9"]).await;
    let reply = ask(&proxy, "POST", "/v1/explain", r#"{"url": "https://open.test:25/"}"#).await;
    assert_eq!(reply["decision"], "forward to the origin");
    let tunnel = reply["tunnel"].as_str().expect("the tunnel");
    assert!(tunnel.starts_with("answer 403 (Forbidden): CONNECT to port 25 is not open"), "{tunnel}");
    let refused = proxy.connect().await.tunnel("open.test:25").await.expect("an answer");
    assert_eq!(refused.status, 403);
    let reply = ask(&proxy, "POST", "/v1/explain", r#"{"url": "https://open.test/"}"#).await;
    assert!(reply["tunnel"].is_null(), "{reply}");
}

#[tokio::test]
async fn a_stored_response_of_an_origin_that_may_not_be_asked_is_served_as_explained() {
    let origin = Origin::start().await.expect("an origin");
    origin.always("GET", "/a", Reply::new(200).field("cache-control", "max-age=60").body("hello"));
    let proxy = start(&[]).await;
    assert_eq!(proxy.get(&origin.url("/a")).await.text(), "hello");
    let closed = ask(&proxy, "PATCH", "/v1/config", r#"{"destinations.allow": []}"#).await;
    assert!(closed["error"].is_null(), "{closed}");
    let given = json!({ "url": origin.url("/a") });
    assert_eq!(explained(&proxy, given).await.0, "serve the stored response");
    assert_eq!(proxy.get(&origin.url("/a")).await.text(), "hello");
    let reload = Request::new("GET", &origin.url("/a")).field("cache-control", "no-cache");
    assert_eq!(proxy.request(&reload).await.status, 403);
    let given = json!({ "url": origin.url("/a"), "headers": [["cache-control", "no-cache"]] });
    assert_eq!(explained(&proxy, given).await.0, "answer 403 (Forbidden)");
}

/// A page as its reader sees it: nothing of it is about options before the line that sets them off.
async fn check_page(proxy: &Running, url: &str, status: u16, parts: &[&str]) {
    let response = proxy.get(url).await;
    let page = response.text();
    assert!(response.status == status && page.len() < 4096, "{status}, {} bytes", page.len());
    let (reader, administrator) = page.split_once("<hr>").expect("two parts");
    let parts: Vec<_> = parts.iter().collect();
    let (last, first) = parts.split_last().expect("what to look for");
    for part in first {
        assert!(reader.contains(**part), "{part:?} in {reader}");
    }
    assert!(administrator.contains(**last), "{last:?} in {administrator}");
    assert!(!reader.contains("admission.") && !reader.contains("--"), "{reader}");
}

#[tokio::test]
async fn pages_speak_to_their_readers_first() {
    let contact = "--set=pages.contact=Ms Rao & Co <12>";
    let flags =
        [contact, "--deny=lessons: host=*.games.test; time=00:00-24:00 UTC", "--deny=videos: host=v.test"];
    let proxy = start(&flags).await;
    let ask = "Ask Ms Rao &amp; Co &lt;12&gt;.";
    check_page(&proxy, "http://v.test/", 403, &["Not open to you here", ask, "the rule &quot;videos&quot;"])
        .await;
    check_page(&proxy, "http://127.0.0.2:9/", 403, &["cannot be reached", ask, "--allow-destination"]).await;
    let proxy = start(&["--set=admission.users=ann:one", "--set=pages.contact=help@school.test"]).await;
    let mail = "<a href=\"mailto:help@school.test\">";
    check_page(
        &proxy,
        "http://v.test/",
        407,
        &["Please sign in", "a name and a password", mail, "that it knows"],
    )
    .await;
    let limited = ["--set=admission.requests_per_second=1", "--set=admission.burst=1"];
    let proxy = start(&limited).await;
    while proxy.get("http://127.0.0.2:9/").await.status != 429 {}
    let parts =
        ["One moment, please", "Try again in a second.", "Ask whoever", "admission.requests_per_second"];
    check_page(&proxy, "http://127.0.0.2:9/", 429, &parts).await;
}

#[tokio::test]
async fn a_closed_link_is_the_reason_rfc9209_2_3_4() {
    let origin = Origin::start().await.expect("an origin");
    let proxy = start(&["--link", "0", "--set", "timeouts.connect=1s"]).await;
    let url = origin.url("/a");
    let response = proxy.get(&url).await;
    let said = response.field("proxy-status").expect("a Proxy-Status");
    assert!(response.status == 503 && said.contains("error=destination_unavailable"), "{said}");
    assert!(
        response.text().contains("The link of this place is closed at the moment"),
        "{}",
        response.text()
    );
    check_refused(&proxy, &url, 503, "it is set to 0").await;
    let told = ask(&proxy, "POST", "/v1/explain", &json!({ "url": url }).to_string()).await;
    assert!(
        told["steps"].to_string().contains("the link is set to 0: what has to cross it waits for 1 s"),
        "{told}"
    );
}
