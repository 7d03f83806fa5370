//! Cache safety (RFC 9111 §7.1): what one client asks for, and how, never changes what another one gets. A first request
//! sets the trap; a plain one after it must get what it would have got without.

use testkit::client::{Client, Request, Response};
use testkit::message::Fields;
use testkit::origin::{Origin, Received};
use testkit::reply::{Gate, Reply};

use crate::proxy::{Running, start};

const FRESH: &str = "max-age=600";

/// An origin that puts everything of a request into its response and says of it all that it is fresh.
fn echo(request: &Received) -> Option<Reply> {
    let fields = request.fields.iter().map(|(name, value)| format!("{name}: {value}; ")).collect::<String>();
    let text = format!("{} {} {fields}", request.method, request.target);
    Some(Reply::new(200).field("cache-control", FRESH).field("etag", "\"v\"").body(text))
}

async fn echoing() -> (Origin, Running) {
    (Origin::with_handler(echo).await.expect("an origin"), start(&[]).await)
}

async fn scripted() -> (Origin, Running) {
    (Origin::start().await.expect("an origin"), start(&[]).await)
}

fn fresh(body: &str) -> Reply {
    Reply::new(200).field("cache-control", FRESH).body(body)
}

fn is_hit(response: &Response) -> bool {
    response.field("cache-status").is_some_and(|status| status.contains("; hit"))
}

/// RFC 9111 §2, RFC 9110 §4.2.3: a path is taken exactly as it is written. Two proxies, or a proxy and an origin, that
/// normalise differently are how one page gets stored as another ("path confusion").
#[tokio::test]
async fn every_spelling_of_a_path_is_a_target_of_its_own_rfc9111_2() {
    let (origin, proxy) = echoing().await;
    let spellings = [
        "/b", "/B", "/a/../b", "/./b", "//b", "/b/", "/b//", "/%62", "/b%2F", "/b%2f", "/b/..%2f", "/b%00",
        "/b%0d%0a", "/b;x", "/b.css", "/b/x.css", "/b%3Fx", "/b?", "/b?x", "/b?x&y", "/b?y&x", "/b?x&x",
        "/b?X", "/b?%78", "/b?x=", "/b?x%26y", "/b\\", "/b~", "/b%7E", "/b+c", "/b%20c",
    ];
    for round in 0..2 {
        for spelling in spellings {
            let response = proxy.get(&origin.url(spelling)).await;
            assert!(
                response.text().starts_with(&format!("GET {spelling} ")),
                "{spelling}: {}",
                response.text()
            );
            assert_eq!(is_hit(&response), round == 1, "{spelling}");
        }
    }
    assert_eq!(origin.request_count(), spellings.len());
    // A fragment is no part of the target (RFC 9110 §4.2.5), nor is the case of scheme and host of the key.
    let authority = origin.address();
    for same in [format!("http://{authority}/b#c"), format!("HTTP://{authority}/b")] {
        assert!(is_hit(&proxy.get(&same).await), "{same}");
    }
}

/// "Web cache poisoning": a field that is not part of the key, and that the response follows from (CVE-2018-14773).
#[tokio::test]
async fn fields_that_replace_the_target_change_nothing_for_others_rfc9111_2() {
    let (origin, proxy) = echoing().await;
    for (at, (name, value)) in [
        ("X-Forwarded-Host", "evil.example"),
        ("X-Host", "evil.example"),
        ("X-Forwarded-Server", "evil.example"),
        ("X-Forwarded-Scheme", "nothttps"),
        ("X-Forwarded-Proto", "nothttps"),
        ("X-Forwarded-Port", "4711"),
        ("X-Forwarded-Prefix", "/evil"),
        ("X-Original-URL", "/evil"),
        ("X-Rewrite-URL", "/evil"),
        ("X-HTTP-Method-Override", "POST"),
        ("X-HTTP-Method", "DELETE"),
        ("X-Method-Override", "PUT"),
        ("Forwarded", "for=192.0.2.1;host=evil.example"),
    ]
    .into_iter()
    .enumerate()
    {
        let url = origin.url(&format!("/{at}"));
        for method in ["GET", "HEAD"] {
            let trap = Request::new(method, &url).field(name, value);
            assert_eq!(proxy.request(&trap).await.status, 200);
            let passed = origin.requests().pop().expect("it was forwarded");
            assert_eq!(passed.fields.value(name), Some(value), "it passes through");
        }
        let victim = proxy.get(&url).await;
        assert!(!victim.text().contains(value) && !is_hit(&victim), "{name}: {}", victim.text());
        let again = proxy.request(&Request::new("GET", &url).field(name, value)).await;
        assert!(
            again.text().contains(value) && !is_hit(&again),
            "{name} is not answered from what is stored"
        );
        // Nor does it reach what is stored by way of a validation.
        let trap = Request::new("GET", &url).field(name, value).field("cache-control", "no-cache");
        proxy.request(&trap).await;
        proxy.request(&Request::new("HEAD", &url).field(name, value)).await;
        let victim = proxy.get(&url).await;
        assert!(!victim.text().contains(value) && is_hit(&victim), "{name}: {}", victim.text());
    }
}

/// A validation on a poisoner's behalf: the fields of a 304 go into what is stored (RFC 9111 §3.2).
#[tokio::test]
async fn a_304_for_one_user_changes_nothing_for_others_rfc9111_3_5() {
    let (origin, proxy) = scripted().await;
    let first = || fresh("page").field("etag", "\"v\"").field("x-user", "nobody");
    for (at, (name, value)) in
        [("authorization", "Basic YTpi"), ("x-forwarded-host", "evil.example")].into_iter().enumerate()
    {
        let path = format!("/{at}");
        origin.on("GET", &path, first());
        assert_eq!(proxy.get(&origin.url(&path)).await.field("x-user"), Some("nobody"));
        let reply = |status| Reply::new(status).field("etag", "\"v\"").field("x-user", "somebody");
        origin.on("GET", &path, reply(304));
        let request =
            Request::new("GET", &origin.url(&path)).field(name, value).field("if-none-match", "\"v\"");
        proxy.request(&request.field("cache-control", "no-cache")).await;
        origin.on("HEAD", &path, reply(200).body("page"));
        proxy
            .request(
                &Request::new("HEAD", &origin.url(&path))
                    .field(name, value)
                    .field("cache-control", "no-cache"),
            )
            .await;
        let victim = proxy.get(&origin.url(&path)).await;
        assert_eq!((victim.text().as_str(), victim.field("x-user")), ("page", Some("nobody")), "{name}");
    }
}

/// "Cache-poisoned denial of service": an odd field in one request, and an error for everybody (CVE-2019-0941).
#[tokio::test]
async fn an_error_about_one_request_is_nobody_elses_rfc9110_15_5() {
    let (origin, proxy) = scripted().await;
    for (status, name, value) in [
        (416, "range", "bytes=900-"),
        (412, "if-match", "\"none\""),
        (412, "if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
        (417, "expect", "miracles"),
        (407, "x", "y"),
        (408, "x", "y"),
        (413, "x", "y"),
        (421, "x", "y"),
        (429, "x", "y"),
        (431, "x", "long"),
    ] {
        let path = format!("/{status}-{name}");
        let error = Reply::new(status).field("cache-control", "public, max-age=600");
        origin.on("GET", &path, error);
        origin.on("GET", &path, fresh("page"));
        let trap = Request::new("GET", &origin.url(&path)).field(name, value);
        assert_eq!(proxy.request(&trap).await.status, status);
        let victim = proxy.get(&origin.url(&path)).await;
        assert_eq!((victim.status, victim.text().as_str()), (200, "page"), "{status} {name}");
    }
}

/// RFC 9110 §9.3.1: content of a GET is in no cache key ("fat GET").
#[tokio::test]
async fn the_content_of_a_get_changes_nothing_for_others_rfc9110_9_3_1() {
    let (origin, proxy) = echoing().await;
    let url = origin.url("/a");
    let trap = || Request::new("GET", &url).field("content-length", "4").body("evil");
    proxy.request(&trap()).await;
    let victim = proxy.get(&url).await;
    assert!(!is_hit(&victim) && !victim.text().contains("content-length"), "{}", victim.text());
    assert!(!is_hit(&proxy.request(&trap()).await), "nor is it answered from what is stored");
    assert_eq!(origin.requests().pop().expect("a request").body, b"evil");
    assert!(!proxy.get(&url).await.text().contains("content-length"));
}

/// RFC 9111 §3.3, §3.4: a part is never taken for the whole.
#[tokio::test]
async fn a_part_is_never_the_whole_rfc9111_3_3() {
    let (origin, proxy) = scripted().await;
    let whole = "0123456789";
    let part = |content: &str, range: &str| {
        Reply::new(206)
            .field("cache-control", FRESH)
            .field("etag", "\"v\"")
            .field("content-range", range)
            .body(content)
    };
    for (at, reply) in [
        part("01", "bytes 0-1/10"),
        part("01", "bytes 0-1/*"),
        part("01", "bytes 5-6/10"),
        part("01", "bytes 0-9/10"),
        part("01", "bytes */10"),
        part("01", "lines 0-1/10"),
        Reply::new(206).field("cache-control", FRESH).body("01"),
        Reply::new(200).field("cache-control", FRESH).field("content-range", "bytes 0-1/10").body("01"),
        Reply::new(206)
            .field("cache-control", FRESH)
            .field("content-type", "multipart/byteranges; boundary=x")
            .body("01"),
    ]
    .into_iter()
    .enumerate()
    {
        for ranged in [true, false] {
            let path = format!("/{at}/{ranged}");
            origin.on("GET", &path, reply.clone());
            // What is missing, should it be asked for, and the whole.
            origin.always(
                "GET",
                &path,
                Reply::new(200).field("cache-control", FRESH).field("etag", "\"w\"").body(whole),
            );
            let request = Request::new("GET", &origin.url(&path));
            proxy.request(&if ranged { request.field("range", "bytes=0-1") } else { request }).await;
            let victim = proxy.get(&origin.url(&path)).await;
            assert_eq!((victim.status, victim.text().as_str()), (200, whole), "{path}");
        }
    }
}

/// RFC 9110 §15.4.5: a 304 that nobody asked for is no answer, and never becomes one.
#[tokio::test]
async fn an_unasked_304_is_never_an_answer_rfc9110_15_4_5() {
    let (origin, proxy) = scripted().await;
    let unasked = || Reply::new(304).field("cache-control", FRESH).field("etag", "\"v\"");
    origin.on("GET", "/a", unasked());
    assert_eq!(proxy.get(&origin.url("/a")).await.status, 502);
    // One that the client's own condition asked for is the client's, and nobody else's.
    origin.on("GET", "/a", unasked());
    let conditional = Request::new("GET", &origin.url("/a")).field("if-none-match", "\"v\"");
    assert_eq!(proxy.request(&conditional).await.status, 304);
    origin.on("GET", "/a", fresh("page"));
    assert_eq!(proxy.get(&origin.url("/a")).await.text(), "page");
}

/// RFC 9111 §3.3, RFC 9112 §8: content that broke off is never complete, however it was framed.
#[tokio::test]
async fn content_that_broke_off_is_never_whole_rfc9112_8() {
    let (origin, proxy) =
        (Origin::start().await.expect("an origin"), start(&["--set", "timeouts.resume=1s"]).await);
    let head = "HTTP/1.1 200 OK\r\ncache-control: max-age=600\r\n";
    for (path, framed) in [
        ("/length", "content-length: 10\r\n\r\n01234"),
        ("/chunk", "transfer-encoding: chunked\r\n\r\na\r\n01234"),
        ("/between", "transfer-encoding: chunked\r\n\r\n5\r\n01234\r\n"),
        ("/last", "transfer-encoding: chunked\r\n\r\n5\r\n01234\r\n0\r\n"),
        ("/junk", "transfer-encoding: chunked\r\n\r\n5\r\n01234\r\nxyz\r\n0\r\n\r\n"),
    ] {
        origin.on("GET", path, Reply::raw(format!("{head}{framed}")));
        origin.always("GET", path, fresh("0123456789"));
        let first = proxy.get(&origin.url(path)).await;
        assert!(!first.is_whole() || first.text() == "0123456789", "{path}: {}", first.text());
        let victim = proxy.get(&origin.url(path)).await;
        assert_eq!((victim.is_whole(), victim.text().as_str()), (true, "0123456789"), "{path}");
    }
    origin.on("GET", "/reset", fresh("0123456789").until_close().cut_after(5).then_reset());
    origin.always("GET", "/reset", fresh("0123456789"));
    let first = proxy.get(&origin.url("/reset")).await;
    assert!(!first.is_whole() || first.text() == "0123456789", "{}", first.text());
    assert_eq!(proxy.get(&origin.url("/reset")).await.text(), "0123456789");
}

/// RFC 9111 §3.5, §7.3: what is for one user.
#[tokio::test]
async fn credentials_and_cookies_stay_with_their_user_rfc9111_3_5() {
    let (origin, proxy) = scripted().await;
    // Credentials, in either order.
    origin.on("GET", "/secret", fresh("for ann"));
    origin.on("GET", "/secret", Reply::new(401).field("www-authenticate", "Basic").body("who?"));
    let ann = Request::new("GET", &origin.url("/secret")).field("authorization", "Basic YW5uOng=");
    assert_eq!(proxy.request(&ann).await.text(), "for ann");
    assert_eq!(proxy.get(&origin.url("/secret")).await.status, 401);
    // A cookie that is set goes to one, though both wait for the same response.
    let gate = Gate::closed();
    let reply = fresh("page").field("set-cookie", "session=1");
    origin.on("GET", "/page", reply.wait(&gate));
    origin.always("GET", "/page", fresh("page"));
    let (mut one, mut other) = (proxy.connect().await, proxy.connect().await);
    let request = Request::new("GET", &origin.url("/page"));
    one.send(&request.to_bytes()).await.expect("sent");
    origin.wait_for_requests(3).await;
    other.send(&request.to_bytes()).await.expect("sent");
    gate.open();
    let cookies = [receive(&mut one).await, receive(&mut other).await]
        .map(|response| response.field("set-cookie").is_some());
    assert!(cookies.iter().filter(|cookie| **cookie).count() <= 1, "{cookies:?}");
    assert_eq!(proxy.get(&origin.url("/page")).await.field("set-cookie"), None);
    // Nor does one come by way of a trailer.
    let trailer = fresh("page").field("trailer", "set-cookie").chunked(2).trailer("set-cookie", "session=2");
    origin.on("GET", "/trailer", trailer);
    let request =
        Request::new("GET", &origin.url("/trailer")).field("te", "trailers").field("connection", "te");
    for _ in 0..2 {
        let response = proxy.request(&request).await;
        assert_eq!((response.text().as_str(), response.trailers.value("set-cookie")), ("page", None));
    }
}

async fn receive(client: &mut Client) -> Response {
    client.receive("GET").await.expect("a response")
}

/// RFC 9111 §4.1, §4.4: what a response to another method or another variant leaves behind.
#[tokio::test]
async fn other_methods_answer_no_get_rfc9111_4() {
    let (origin, proxy) = scripted().await;
    for method in ["HEAD", "POST", "PUT", "OPTIONS", "DELETE", "PATCH", "FOO"] {
        let path = format!("/{method}");
        origin.on(method, &path, fresh("not a page"));
        origin.on("GET", &path, fresh("page"));
        assert_eq!(
            proxy
                .request(&Request::new(method, &origin.url(&path)).field("content-length", "0"))
                .await
                .status,
            200
        );
        let victim = proxy.get(&origin.url(&path)).await;
        assert_eq!((victim.text().as_str(), is_hit(&victim)), ("page", false), "{method}");
    }
    // A response for another origin is invalidated by nobody (§4.4: "The cache MUST NOT invalidate a URI that has a
    // different origin").
    let elsewhere = Origin::start().await.expect("another origin");
    elsewhere.on("GET", "/kept", fresh("kept"));
    assert_eq!(proxy.get(&elsewhere.url("/kept")).await.text(), "kept");
    let trap = Reply::new(200)
        .field("location", &elsewhere.url("/kept"))
        .field("content-location", &elsewhere.url("/kept"));
    origin.on("POST", "/trap", trap.field("cache-control", FRESH).body("evil"));
    proxy.request(&Request::new("POST", &origin.url("/trap")).field("content-length", "0")).await;
    let victim = proxy.get(&elsewhere.url("/kept")).await;
    assert_eq!((victim.text().as_str(), is_hit(&victim)), ("kept", true));
    // Nor do interim responses go to anyone but the one they were for.
    origin.on("GET", "/hint", fresh("page").interim(103, Fields::from_iter([("link", "</x>")])));
    assert_eq!(proxy.get(&origin.url("/hint")).await.interim.len(), 1);
    assert_eq!(proxy.get(&origin.url("/hint")).await.interim.len(), 0);
}
