//! The dashboard: what everybody sees of it through the proxy, and what only its operator does.

use testkit::client::{Client, Request, get};
use testkit::origin::Origin;
use testkit::reply::{Gate, Reply};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use crate::control::ask;
use crate::proxy::{Running, start};

const PAGE: &str = "http://bentpipe.local/status/";

/// The page as a client with another address sees it.
async fn page_of_another(proxy: &Running) -> String {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.2:0".parse().expect("an address")).expect("an address of this machine");
    let mut stream = socket.connect(proxy.address()).await.expect("a connection");
    let request = format!("GET {PAGE} HTTP/1.1\r\nhost: bentpipe.local\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut page = String::new();
    stream.read_to_string(&mut page).await.expect("a page");
    page
}

#[tokio::test]
async fn a_client_sees_the_link_and_what_is_its_own() {
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&["--link", "1M"]).await);
    let gate = Gate::closed();
    origin.on("GET", "/private-film", Reply::new(200).body(vec![b'x'; 9_000]).hold_after(4_000, &gate));
    origin.on("GET", "/private-fault", Reply::close());
    assert_eq!(proxy.get(&origin.url("/private-fault")).await.status, 502);
    let mut client = Client::connect(proxy.address()).await.expect("a connection");
    client.send(&Request::new("GET", &origin.url("/private-film")).to_bytes()).await.expect("sent");
    client.receive_head().await.expect("a head");
    let own = get(proxy.address(), PAGE).await.expect("a page");
    assert_eq!((own.status, own.field("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(own.field("content-security-policy").is_some_and(|policy| policy.contains("script-src 'self'")));
    for shown in ["Link open.", "private-film", "private-fault", "closed the connection"] {
        assert!(own.text().contains(shown), "{shown}: {}", own.text());
    }
    assert!(!own.text().contains("data-stop") && !own.text().contains("/status/"), "{}", own.text());
    let others = page_of_another(&proxy).await;
    assert!(others.contains("Link open.") && !others.contains("private"), "{others}");
    assert!(!own.text().contains("data-name=\"<"), "{}", own.text());
    let seen = ask(&proxy, "GET", "/v1/overview", "").await;
    assert_eq!((&seen["link"]["state"], &seen["link"]["rate_down"]), (&"open".into(), &1_000_000.into()));
    assert_eq!(seen["running"][0]["url"], origin.url("/private-film"));
    assert_eq!(seen["failures"][0]["error"], "connection_terminated");
    assert_eq!(seen["sites"][0]["host"], "127.0.0.1");
}

#[tokio::test]
async fn what_the_page_needs_comes_from_the_proxy_itself() {
    let proxy = start(&[]).await;
    let page = proxy.get(PAGE).await.text();
    assert!(!page.contains("https://") && !page.contains("//cdn"), "{page}");
    let named = page.split('"').filter(|text| text.ends_with(".js") || text.ends_with(".css"));
    let named: Vec<_> = named.collect();
    assert_eq!(named.len(), 4, "{named:?}");
    for name in named {
        let asset = proxy.get(&format!("{PAGE}{name}")).await;
        assert!(asset.status == 200 && asset.body.len() > 500, "{name}");
        assert_eq!(asset.field("x-content-type-options"), Some("nosniff"));
    }
    for missing in ["x.js", "../ca.key", "/etc/passwd"] {
        assert_eq!(proxy.get(&format!("{PAGE}{missing}")).await.status, 404, "{missing}");
    }
    assert_eq!(proxy.get("http://bentpipe.local/favicon.ico").await.status, 404);
}

#[tokio::test]
async fn the_operator_sees_all_of_it_and_is_told_what_ends() {
    let flags = ["--set", "admin.listen=127.0.0.1:0", "--set", "admin.token=ann=0123456789abcdef"];
    let (origin, proxy) = (Origin::start().await.expect("an origin"), start(&flags).await);
    origin.always("GET", "/a", Reply::new(200));
    let mut watching = Client::connect(proxy.admin_address()).await.expect("a connection");
    let request = Request::new("GET", "/v1/events").field("host", "localhost");
    watching.send(&request.to_bytes()).await.expect("sent");
    assert!(watching.receive_head().await.expect("a head").start_line.contains(" 200 "));
    assert_eq!(proxy.get(&origin.url("/a")).await.status, 200);
    let mut told = Vec::new();
    while !String::from_utf8_lossy(&told).contains("/a\"") {
        told.extend(watching.receive_exactly(1).await.expect("an event"));
    }
    for (path, shown) in
        [("/", "id=\"sites\""), ("/dashboard.js", "PERIOD"), ("/uplot.css", "uplot"), ("/icon.svg", "<svg")]
    {
        let mut client = Client::connect(proxy.admin_address()).await.expect("a connection");
        let page =
            client.request(&Request::new("GET", path).field("host", "localhost")).await.expect("a page");
        assert!(page.status == 200 && page.text().contains(shown), "{path}: {}", page.text());
        assert!(page.field("content-security-policy").is_some());
    }
}

#[tokio::test]
async fn a_link_that_carries_nothing_is_down() {
    let proxy = start(&["--link", "0"]).await;
    assert!(proxy.get(PAGE).await.text().contains("Link down."));
}
