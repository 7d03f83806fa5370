//! A host is one host in every spelling of it (RFC 3986 §6.2.2.1, §7.4): rules that name an address or a name mean it however
//! it is asked for, and what is no host for everyone is refused (RFC 9110 §4.2). CVE-2021-29923 (Go), CVE-2021-28918
//! (netmask), CVE-2021-29922 (Rust): numbers that one reads as octal and another does not. No name is looked up.

use testkit::client::{Request, Response};
use testkit::origin::Origin;
use testkit::reply::Reply;

use crate::proxy::{Running, start};

/// Spellings of 127.0.0.1 (RFC 3986 §7.4, RFC 4291 §2.5.5.2).
const ADDRESS: [&str; 15] = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0X7F000001",
    "0x7f.1",
    "0x7f.0x0.0x0.0x1",
    "017700000001",
    "0177.0.0.1",
    "0177.0.0x1",
    "[::ffff:127.0.0.1]",
    "[::FFFF:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:0001]",
];

/// Spellings of `site.test` (RFC 9110 §4.2.3, RFC 1034 §3.1).
const NAME: [&str; 4] = ["site.test", "SITE.test", "site.test.", "Site.Test."];

/// Names of this machine's addresses that no name server has to be asked for.
const NAMES: [&str; 2] = ["--set=dns.hosts=site.test=127.0.0.1", "--set=dns.hosts=www.site.test=127.0.0.1"];

async fn scene(flags: &[&str]) -> (Origin, Running) {
    let origin = Origin::start().await.expect("an origin");
    origin.always("GET", "/", Reply::new(200).field("cache-control", "no-store").body("here"));
    (origin, start(&[&NAMES[..], flags].concat()).await)
}

async fn get(proxy: &Running, origin: &Origin, host: &str) -> Response {
    proxy.get(&format!("http://{host}:{}/", origin.address().port())).await
}

async fn connect(proxy: &Running, origin: &Origin, host: &str) -> Response {
    let authority = format!("{host}:{}", origin.address().port());
    proxy.connect().await.tunnel(&authority).await.expect("an answer")
}

/// Whether `rule` denies GET and CONNECT of every one of `hosts`, and the origin sees nothing of them.
async fn check_denied(rule: &str, hosts: &[&str]) {
    let (origin, proxy) = scene(&["--deny", &format!("named: host={rule}")]).await;
    for host in hosts {
        for response in [get(&proxy, &origin, host).await, connect(&proxy, &origin, host).await] {
            let text = response.text();
            assert!(response.status == 403 && text.contains("&quot;named&quot;"), "{rule} {host}: {text}");
        }
    }
    assert_eq!(origin.request_count(), 0);
}

#[tokio::test]
async fn a_denied_address_is_denied_in_every_spelling_rfc3986_7_4() {
    for rule in ["127.0.0.1", "0x7f.1", "[::ffff:127.0.0.1]", "127.*"] {
        check_denied(rule, &ADDRESS).await;
    }
}

#[tokio::test]
async fn a_denied_name_is_denied_in_every_spelling_rfc9110_4_2_3() {
    check_denied("Site.Test.", &NAME).await;
    check_denied("*.test", &NAME).await;
    check_denied("site*", &NAME).await;
}

/// Whether `rule` alone lets GET and CONNECT of every one of `hosts` through.
async fn check_allowed(rule: &str, hosts: &[&str], others: &[&str]) {
    let allow = format!("host={rule}");
    let (origin, proxy) = scene(&["--set=admission.default=nobody", "--allow", &allow]).await;
    for host in hosts {
        let response = get(&proxy, &origin, host).await;
        assert_eq!((response.status, response.text().as_str()), (200, "here"), "{rule} {host}");
        assert_eq!(connect(&proxy, &origin, host).await.status, 200, "{rule} {host}");
    }
    for host in others {
        let response = get(&proxy, &origin, host).await;
        let text = response.text();
        assert!(response.status == 403 && text.contains("admission.default is nobody"), "{host}: {text}");
        assert_eq!(connect(&proxy, &origin, host).await.status, 403, "{host}");
    }
    assert_eq!(origin.request_count(), hosts.len());
}

#[tokio::test]
async fn an_allowed_host_is_allowed_in_every_spelling_and_no_other_is() {
    let others = ["127.0.0.2", "0177.0.0.2", "2130706434", "[::ffff:127.0.0.2]", "[::1]", "site.test"];
    check_allowed("127.0.0.1", &ADDRESS, &others).await;
    check_allowed("site.test", &NAME, &["www.site.test", "127.1", "site.tes", "asite.test"]).await;
}

/// The origin, the cache and the operator's rules for it see the usual spelling of an address.
#[tokio::test]
async fn an_address_is_one_host_for_cache_and_origin_rfc3986_6_2_2_1() {
    let (origin, proxy) = scene(&["--cache-rule=mine: host=0x7f.1; min-fresh=1h; path=/kept"]).await;
    let port = origin.address().port();
    origin.on("GET", "/kept", Reply::new(200).body("once"));
    let mut seen = Vec::new();
    for host in ADDRESS {
        let response = proxy.get(&format!("http://{host}:{port}/kept")).await;
        assert_eq!((response.status, response.text().as_str()), (200, "once"), "{host}");
        seen.push(response.field("cache-status").expect("a Cache-Status").contains("; hit"));
    }
    let (first, rest) = seen.split_first().expect("some");
    assert!(!first && rest.iter().all(|hit| *hit), "{seen:?}");
    let requests = origin.requests();
    let hosts: Vec<_> = requests.iter().map(|request| request.fields.value("host")).collect();
    assert_eq!(hosts, [Some(format!("127.0.0.1:{port}").as_str())]);
}

#[tokio::test]
async fn no_parent_is_asked_for_what_is_reached_directly_in_any_spelling() {
    let parent = Origin::start().await.expect("a parent");
    let flag = format!("--parent=http://{}", parent.address());
    let (origin, proxy) = scene(&[&flag, "--set=no_parent=127.0.0.1,site.test"]).await;
    for host in ADDRESS.iter().chain(&NAME) {
        assert_eq!(get(&proxy, &origin, host).await.text(), "here", "{host}");
    }
    assert_eq!(parent.request_count(), 0);
}

/// RFC 9110 §4.2.4 (userinfo), RFC 3986 §3.2.2 (zones, and what else is no host), RFC 1123 §2.1 (names).
#[tokio::test]
async fn what_is_no_host_for_everyone_is_refused_rfc9110_4_2() {
    let (origin, proxy) = scene(&["--deny", "host=127.0.0.1"]).await;
    for host in [
        "[fe80::1%25eth0]",
        "[fe80::1%eth0]",
        "[::1%25lo]",
        "[::ffff:127.0.0.1%25lo]",
        "me@127.0.0.1",
        "me:secret@[::1]",
        "site.test@127.0.0.1",
        "@127.0.0.1",
        "127.0.0.1%00",
        "127.0.0.1%2e",
        "%31%32%37.1",
        "127.0.0.1..",
        "127..1",
        "127.0.0.0.1",
        "127.0.0.256",
        "0x7g.1",
        "127.0.0.08",
        "4294967296",
        "-site.test",
        "site..test",
        ".",
        "[v1.127]",
        "[127.0.0.1]",
    ] {
        for method in ["GET", "CONNECT"] {
            let authority = format!("{host}:{}", origin.address().port());
            let target = if method == "GET" { format!("http://{authority}/") } else { authority };
            let request = format!("{method} {target} HTTP/1.1\r\nhost: a\r\n\r\n");
            check_refused(&proxy, &request).await;
        }
        let url = origin.url("/").replace("127.0.0.1", "site.test");
        check_refused(&proxy, &format!("GET {url} HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
    }
    assert_eq!(origin.request_count(), 0);
    assert_eq!(get(&proxy, &origin, "site.test").await.status, 200);
}

async fn check_refused(proxy: &Running, request: &str) {
    let mut client = proxy.connect().await;
    client.send(request.as_bytes()).await.expect("sent");
    let response = client.receive("GET").await.expect("a response");
    assert_eq!(response.status, 400, "{request:?}: {}", response.text());
}

#[tokio::test]
async fn our_own_pages_are_there_by_our_address_in_every_spelling() {
    let proxy = start(&[]).await;
    for host in ADDRESS {
        let url = format!("http://{host}:{}/proxy.pac", proxy.address().port());
        assert_eq!(proxy.request(&Request::new("GET", &url)).await.status, 200, "{host}");
    }
}
