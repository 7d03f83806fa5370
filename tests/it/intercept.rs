//! Tunnels that are looked into: what comes out of them is cached, collapsed and logged as any request is, and who does
//! not want it is passed on.

use std::time::Duration;

use http::Request;
use http_body_util::Full;
use tempfile::TempDir;
use testkit::origin::Origin;
use testkit::reply::Reply;
use testkit::tls::Tls;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::commands::Home;
use crate::control::ask;
use crate::proxy::{Running, start};
use crate::secure::{speak, through, trusting, tunnel};

/// The name that clients know the origin by.
pub(crate) const NAME: &str = "site.test";

/// A name that leads to an address which clients may not reach.
pub(crate) const INNER: &str = "inner.test";

/// A secure origin, and a proxy with an authority of its own that looks into tunnels to it.
pub(crate) struct Scene {
    pub(crate) origin: Origin,
    pub(crate) proxy: Running,
    /// The authority's certificate.
    pub(crate) pem: String,
    /// Where the authority is: `ca`.
    pub(crate) home: TempDir,
}

pub(crate) async fn scene(flags: &[&str]) -> Scene {
    scene_of(Tls::new().for_names(&[NAME]), flags).await
}

async fn scene_of(tls: Tls, flags: &[&str]) -> Scene {
    scene_for(tls, NAME, flags).await
}

/// The same, where `hosts` are looked into.
pub(crate) async fn scene_for(tls: Tls, hosts: &str, flags: &[&str]) -> Scene {
    let origin = Origin::start_tls(&tls).await.expect("an origin");
    let home = tempfile::tempdir().expect("a folder");
    let file = |name: &str| home.path().join(name).to_string_lossy().into_owned();
    std::fs::write(file("roots.pem"), origin.root_pem()).expect("written");
    let authority = Home::new();
    let folder = file("ca");
    let intercept = ["--ca-dir", &folder, "--intercept", hosts];
    authority.run(&[&intercept[..], &["ca", "init"]].concat());
    let pem = authority.run(&[&intercept[..], &["ca", "export"]].concat());
    let (roots, names) = (file("roots.pem"), format!("dns.hosts={NAME}=127.0.0.1,{INNER}=10.9.9.9"));
    let fixed = ["--tls-roots", &roots, "--set", &names];
    let proxy = start(&[&intercept[..], &fixed, flags].concat()).await;
    to_the_present(&proxy);
    Scene { origin, proxy, pem, home }
}

/// Certificates are made by the proxy's clock, and clients judge them by this machine's.
pub(crate) fn to_the_present(proxy: &Running) {
    let now = bentpipe::Clock::system().now();
    proxy.clock.advance(now.duration_since(proxy.clock.now()).expect("a moment behind"));
}

impl Scene {
    pub(crate) fn authority(&self) -> String {
        format!("{NAME}:{}", self.origin.address().port())
    }

    pub(crate) async fn client(&self, protocols: &[&str]) -> crate::secure::Sender {
        let config = trusting(&self.pem, protocols);
        speak(through(self.proxy.address(), &self.authority(), NAME, &config).await.expect("a handshake"))
            .await
    }
}

fn lasting(body: &str) -> Reply {
    Reply::new(200).field("cache-control", "max-age=600").body(body)
}

#[tokio::test]
async fn what_comes_out_of_a_tunnel_is_cached_and_served_without_the_origin() {
    for protocols in [&["h2", "http/1.1"][..], &["http/1.1"], &[]] {
        let scene = scene(&[]).await;
        scene.origin.always("GET", "/a", lasting("hello"));
        let mut client = scene.client(protocols).await;
        let first = client.get(&scene.authority(), "/a").await;
        assert_eq!((first.status().as_u16(), &first.body()[..]), (200, &b"hello"[..]), "{protocols:?}");
        assert_eq!(first.headers()["cache-status"], "bentpipe; fwd=uri-miss; stored");
        scene.origin.stop().await;
        let mut other = scene.client(protocols).await;
        let second = other.get(&scene.authority(), "/a").await;
        assert!(second.headers()["cache-status"].to_str().expect("text").starts_with("bentpipe; hit"));
        assert_eq!(&second.body()[..], b"hello");
        assert_eq!(scene.origin.request_count(), 1);
        // The same target in absolute-form is the same stored response.
        let url = format!("https://{}/a", scene.authority());
        assert_eq!(scene.proxy.get(&url).await.text(), "hello");
        let listed = ask(&scene.proxy, "GET", "/v1/cache/responses", "").await;
        assert_eq!(listed["responses"][0]["key"], url, "{listed}");
    }
}

#[tokio::test]
async fn requests_of_one_connection_go_on_at_once() {
    let scene = scene(&[]).await;
    for number in 0..40 {
        scene.origin.always("GET", &format!("/{number}"), lasting(&"x".repeat(1_000 + number)));
    }
    let client = scene.client(&["h2"]).await;
    let crate::secure::Sender::Two(sender) = client else { panic!("HTTP/2 was agreed on") };
    let requests = (0..40).map(|number| {
        let mut sender = sender.clone();
        let url = format!("https://{}/{number}", scene.authority());
        tokio::spawn(async move {
            let request = Request::get(url).body(Full::<bytes::Bytes>::default()).expect("a request");
            sender.ready().await.expect("room");
            let response = sender.send_request(request).await.expect("a response");
            http_body_util::BodyExt::collect(response.into_body()).await.expect("all of it").to_bytes().len()
        })
    });
    let requests: Vec<_> = requests.collect();
    for (number, request) in requests.into_iter().enumerate() {
        assert_eq!(request.await.expect("an answer"), 1_000 + number);
    }
}

/// RFC 9110 §15.5.20: a connection that was opened for one host serves no other.
#[tokio::test]
async fn a_request_for_another_host_is_misdirected() {
    let scene = scene(&[]).await;
    for protocols in [&["h2"][..], &["http/1.1"]] {
        let mut client = scene.client(protocols).await;
        assert_eq!(client.get("other.test", "/a").await.status(), 421, "{protocols:?}");
    }
    let mut client = scene.client(&["http/1.1"]).await;
    let request = Request::get("http://other.test/a").header("host", scene.authority());
    let response = client.send(request.body(Full::default()).expect("a request")).await.expect("a response");
    assert_eq!(response.status(), 421);
    assert_eq!(scene.origin.request_count(), 0);
}

/// RFC 9112 §3.2.4: "the asterisk-form of request-target is only used for a server-wide OPTIONS request".
#[tokio::test]
async fn an_asterisk_is_no_path() {
    let scene = scene(&[]).await;
    scene.origin.always("GET", "/", lasting("the page"));
    scene.origin.always("OPTIONS", "*", Reply::new(204));
    for (method, status) in [("GET", 400), ("OPTIONS", 204)] {
        let request = Request::builder().method(method).uri("*").header("host", scene.authority());
        let request = request.body(Full::default()).expect("a request");
        let response = scene.client(&["http/1.1"]).await.send(request).await.expect("a response");
        assert_eq!(response.status(), status, "{method}");
        let page = scene.client(&["http/1.1"]).await.get(&scene.authority(), "/").await;
        assert_eq!(&page.body()[..], b"the page");
    }
}

/// What a client may have of connections holds for tunnels, looked into or not.
#[tokio::test]
async fn tunnels_count_as_connections() {
    let scene = scene(&["--set", "limits.connections_per_client=2"]).await;
    scene.origin.always("GET", "/a", lasting("hello"));
    let mut first = scene.client(&["h2"]).await;
    assert_eq!(first.get(&scene.authority(), "/a").await.status(), 200);
    let _second = tunnel(scene.proxy.address(), &scene.authority()).await.expect("a tunnel");
    assert_eq!(scene.proxy.get("/ca.pem").await.status, 429);
    assert_eq!(first.get(&scene.authority(), "/a").await.status(), 200);
}

/// RFC 9113 §8.2.3: cookies in several fields are one field to whoever speaks HTTP/1.1.
#[tokio::test]
async fn cookies_of_http2_are_put_together() {
    let scene = scene(&[]).await;
    scene.origin.always("GET", "/", Reply::new(200));
    let mut client = scene.client(&["h2"]).await;
    let request = Request::get(format!("https://{}/", scene.authority())).header("cookie", "a=1");
    let request = request.header("cookie", "b=2").body(Full::default()).expect("a request");
    assert_eq!(client.send(request).await.expect("a response").status(), 200);
    assert_eq!(scene.origin.requests()[0].fields.value("cookie"), Some("a=1; b=2"));
}

#[tokio::test]
async fn a_client_that_does_not_trust_us_reaches_the_origin_itself() {
    let scene = scene(&[]).await;
    scene.origin.always("GET", "/a", lasting("untouched"));
    let pinned = trusting(scene.origin.root_pem(), &["http/1.1"]);
    let refused = through(scene.proxy.address(), &scene.authority(), NAME, &pinned).await;
    assert!(refused.is_err(), "it was shown our certificate");
    // Its alert is on its way.
    let known = async {
        loop {
            let told = ask(&scene.proxy, "GET", "/v1/ca", "").await;
            if let Some(pair) = told["spliced"].get(0) {
                return pair.clone();
            }
        }
    };
    let pair = tokio::time::timeout(Duration::from_secs(10), known).await.expect("it is remembered");
    assert_eq!((&pair["client"], &pair["host"]), (&"127.0.0.1".into(), &scene.authority().into()));
    let opened =
        through(scene.proxy.address(), &scene.authority(), NAME, &pinned).await.expect("a handshake");
    let response = speak(opened).await.get(&scene.authority(), "/a").await;
    assert!(&response.body()[..] == b"untouched" && !response.headers().contains_key("via"));
    scene.proxy.clock.advance(Duration::from_secs(86_401));
    assert!(through(scene.proxy.address(), &scene.authority(), NAME, &pinned).await.is_err(), "a day later");
    assert_eq!(ask(&scene.proxy, "POST", "/v1/ca/forget", "").await["forgotten"], 1);
}

#[tokio::test]
async fn what_names_another_host_or_none_is_passed_on() {
    let scene = scene(&[]).await;
    scene.origin.always("GET", "/a", lasting("untouched"));
    let mut pinned = (*trusting(scene.origin.root_pem(), &["http/1.1"])).clone();
    pinned.enable_sni = false;
    let opened = through(scene.proxy.address(), &scene.authority(), NAME, &pinned.into()).await;
    let response = speak(opened.expect("a handshake")).await.get(&scene.authority(), "/a").await;
    assert!(!response.headers().contains_key("via"));
    assert!(ask(&scene.proxy, "GET", "/v1/ca", "").await["spliced"].as_array().expect("a list").is_empty());
}

/// RFC 6066 §3: a name in a handshake has no dot at its end, and in a CONNECT it may have one.
#[tokio::test]
async fn a_host_is_looked_into_or_not_in_every_spelling() {
    for (flags, opened) in [(&[][..], true), (&["--intercept-never", "SITE.test."], false)] {
        let scene = scene(flags).await;
        scene.origin.always("GET", "/a", lasting("here"));
        let config = trusting(&format!("{}{}", scene.pem, scene.origin.root_pem()), &["http/1.1"]);
        for spelled in ["site.test", "Site.Test", "site.test.", "SITE.TEST."] {
            let authority = scene.authority().replace(NAME, spelled);
            let stream = through(scene.proxy.address(), &authority, NAME, &config).await;
            let mut sender = speak(stream.expect("a handshake")).await;
            for host in [&scene.authority(), &authority] {
                let response = sender.get(host, "/a").await;
                assert_eq!(
                    (response.status().as_u16(), response.body().as_ref()),
                    (200, &b"here"[..]),
                    "{host}"
                );
                assert_eq!(response.headers().contains_key("via"), opened, "{authority} {host}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_tls_is_passed_on_as_it_is() {
    let scene = scene(&[]).await;
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = server.local_addr().expect("an address").port();
    let mut client = tunnel(scene.proxy.address(), &format!("{NAME}:{port}")).await.expect("a tunnel");
    client.write_all(b"SSH-2.0-client\r\n").await.expect("sent");
    let (mut stream, _) = server.accept().await.expect("a connection");
    let mut received = [0; 16];
    stream.read_exact(&mut received).await.expect("all of it");
    assert_eq!(&received, b"SSH-2.0-client\r\n");
    stream.write_all(b"SSH-2.0-server\r\n").await.expect("sent");
    client.read_exact(&mut received).await.expect("all of it");
    assert_eq!(&received, b"SSH-2.0-server\r\n");
}

/// RFC 9110 §11.7.2: inside of a tunnel nobody is asked again who they are.
#[tokio::test]
async fn whoever_opened_the_tunnel_is_who_asks_inside() {
    let scene = scene(&["--set", "admission.users=ann:one"]).await;
    scene.origin.always("GET", "/a", lasting("hello"));
    let mut stream = tokio::net::TcpStream::connect(scene.proxy.address()).await.expect("a connection");
    let connect = format!("CONNECT {0} HTTP/1.1\r\nhost: {0}\r\n", scene.authority());
    stream.write_all(format!("{connect}\r\n").as_bytes()).await.expect("sent");
    let mut head = vec![0; 12];
    stream.read_exact(&mut head).await.expect("a head");
    assert_eq!(&head, b"HTTP/1.1 407");
    let mut stream = tokio::net::TcpStream::connect(scene.proxy.address()).await.expect("a connection");
    let credentials = "proxy-authorization: Basic YW5uOm9uZQ==\r\n\r\n";
    stream.write_all(format!("{connect}{credentials}").as_bytes()).await.expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a head"));
    }
    let config = trusting(&scene.pem, &["h2"]);
    let mut client = speak(crate::secure::secure(stream, NAME, &config).await.expect("a handshake")).await;
    assert_eq!(client.get(&scene.authority(), "/a").await.status(), 200);
    assert!(scene.origin.requests()[0].fields.value("proxy-authorization").is_none());
}

#[tokio::test]
async fn a_bad_certificate_of_the_origin_is_told_inside() {
    let scene = scene_of(Tls::new().for_names(&[NAME]).expired(), &[]).await;
    scene.origin.always("GET", "/a", lasting("hello"));
    let response = scene.client(&["h2"]).await.get(&scene.authority(), "/a").await;
    assert_eq!(response.status(), 502);
    let told = response.headers()["proxy-status"].to_str().expect("text");
    assert!(told.contains("tls_certificate_error"), "{told}");
    assert_eq!(scene.origin.request_count(), 0);
}

#[tokio::test]
async fn the_proxy_itself_is_reached_over_tls() {
    let scene = scene(&["--https-listen", "127.0.0.1:0"]).await;
    let plain = Origin::start().await.expect("an origin");
    plain.always("GET", "/a", lasting("hello"));
    let address = scene.proxy.https_address();
    // The authority may speak for the intercepted names only, and for this machine's name where it may for all.
    let stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
    let config = trusting(&scene.pem, &["h2"]);
    let mut client = speak(crate::secure::secure(stream, NAME, &config).await.expect("a handshake")).await;
    let request = Request::get(plain.url("/a")).body(Full::default()).expect("a request");
    let response = client.send(request).await.expect("a response");
    assert_eq!((response.status().as_u16(), &response.body()[..]), (200, &b"hello"[..]));
}

#[tokio::test]
async fn the_proxy_hands_out_its_own_pages() {
    let scene = scene(&["--set", "admission.users=ann:one"]).await;
    let own = format!("http://{}", scene.proxy.address());
    for url in ["http://bentpipe.local/ca.pem".to_owned(), format!("{own}/ca.pem"), "/ca.pem".to_owned()] {
        let page = scene.proxy.get(&url).await;
        assert_eq!((page.status, page.text()), (200, scene.pem.clone()), "{url}");
    }
    let script = scene.proxy.get("http://bentpipe.local/proxy.pac").await.text();
    assert!(script.contains(&format!("PROXY {}", scene.proxy.address())), "{script}");
    assert_eq!(scene.proxy.get("/nothing").await.status, 407);
}
