//! Names into addresses: what is asked of name servers, what is not, how long answers count, and what happens while
//! there are none. No name is asked of a real name server.

use std::time::Duration;

use bentpipe::serve::Proxy;
use bentpipe::{Clock, Config};
use serde_json::Value;
use testkit::client::{self, Response};
use testkit::origin::Origin;
use testkit::reply::Reply;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::control::ask;
use crate::name_server::{NOERROR, NXDOMAIN, NameServer, SERVFAIL, Says, pass};
use crate::proxy::{Running, start};

/// A proxy that asks `server`, with `flags` besides.
async fn start_asking(server: &NameServer, flags: &[&str]) -> Running {
    let asking = server.flags();
    let flags: Vec<_> = asking.iter().map(String::as_str).chain(flags.iter().copied()).collect();
    start(&flags).await
}

/// An origin whose every answer ends its connection, so that each request needs an address.
async fn origin() -> Origin {
    let origin = Origin::start().await.expect("an origin");
    origin.always("GET", "/", Reply::new(200).field("cache-control", "no-store").body("here").then_close());
    origin
}

/// The URL of `origin` under another name.
fn url(origin: &Origin, name: &str) -> String {
    format!("http://{name}:{}/", origin.address().port())
}

async fn counted(proxy: &Running, what: &str) -> u64 {
    let counted: Value = ask(proxy, "GET", "/v1/dns", "").await;
    counted[what].as_u64().expect("a number")
}

fn proxy_status(response: &Response) -> &str {
    response.field("proxy-status").expect("a Proxy-Status")
}

#[tokio::test]
async fn an_answer_counts_for_its_time_and_then_is_asked_for_again() {
    let (server, origin) = (NameServer::start().await, origin().await);
    let proxy = start_asking(&server, &[]).await;
    server.leads("a.example", &["127.0.0.1"], 60);
    let url = url(&origin, "A.Example");
    for _ in 0..3 {
        assert_eq!(proxy.get(&url).await.text(), "here");
    }
    let mut asked = server.asked();
    asked.sort();
    assert_eq!(asked, ["A a.example", "AAAA a.example"]);
    assert_eq!((counted(&proxy, "queries").await, counted(&proxy, "hits").await), (1, 2));
    pass(Duration::from_secs(61)).await;
    assert_eq!(proxy.get(&url).await.text(), "here");
    assert_eq!(server.asked().len(), 4);
    assert_eq!((counted(&proxy, "queries").await, counted(&proxy, "names").await), (2, 1));
}

#[tokio::test]
async fn one_question_is_asked_for_many_requests_at_once() {
    let (server, origin) = (NameServer::start().await, origin().await);
    let proxy = start_asking(&server, &[]).await;
    server.leads("a.example", &["127.0.0.1"], 60);
    let authority = format!("a.example:{}", origin.address().port());
    // Tunnels share nothing else.
    let tunnel = || async { proxy.connect().await.tunnel(&authority).await.expect("an answer").status };
    assert_eq!(tokio::join!(tunnel(), tunnel(), tunnel()), (200, 200, 200));
    assert_eq!((server.asked().len(), counted(&proxy, "hits").await), (2, 0));
}

#[tokio::test]
async fn what_does_not_exist_is_told_and_remembered_for_the_time_of_its_soa_rfc2308() {
    let (server, origin) = (NameServer::start().await, origin().await);
    let proxy = start_asking(&server, &[]).await;
    server.says("gone.example", Says::Nothing(NXDOMAIN, 30));
    server.says("empty.example", Says::Nothing(NOERROR, 30));
    for (name, rcode) in [("gone.example", "NXDOMAIN"), ("empty.example", "NOERROR")] {
        let response = proxy.get(&url(&origin, name)).await;
        assert_eq!(response.status, 502);
        let expected = format!("rcode=\"{rcode}\"");
        let said = proxy_status(&response);
        assert!(said.contains("error=dns_error") && said.contains(&expected), "{said}");
    }
    proxy.get(&url(&origin, "gone.example")).await;
    assert_eq!(server.asked().len(), 4);
    server.leads("gone.example", &["127.0.0.1"], 60);
    pass(Duration::from_secs(31)).await;
    assert_eq!(proxy.get(&url(&origin, "gone.example")).await.status, 200);
}

#[tokio::test]
async fn a_name_server_that_cannot_say_is_told_from_one_that_is_silent_rfc9209() {
    let (server, origin) = (NameServer::start().await, origin().await);
    let proxy = start_asking(&server, &[]).await;
    server.says("broken.example", Says::Fault(SERVFAIL));
    let broken = proxy.get(&url(&origin, "broken.example")).await;
    assert_eq!(broken.status, 502);
    let said = proxy_status(&broken);
    assert!(said.contains("error=dns_error") && said.contains("rcode=\"SERVFAIL\""), "{said}");
    server.says("silent.example", Says::Silence);
    let silent = proxy.get(&url(&origin, "silent.example")).await;
    assert_eq!(silent.status, 504);
    assert!(proxy_status(&silent).contains("error=dns_timeout"));
    assert_eq!(counted(&proxy, "failures").await, 2);
}

#[tokio::test]
async fn the_last_answer_serves_while_no_name_server_gives_another_rfc8767() {
    let (server, origin) = (NameServer::start().await, origin().await);
    let proxy = start_asking(&server, &["--set=dns.timeout=1h"]).await;
    let url = url(&origin, "a.example");
    server.leads("a.example", &["127.0.0.1"], 60);
    assert_eq!(proxy.get(&url).await.status, 200);
    pass(Duration::from_secs(61)).await;
    server.says("a.example", Says::Fault(SERVFAIL));
    assert_eq!(proxy.get(&url).await.status, 200, "an answer that is no answer");
    let asked = server.asked().len();
    assert_eq!(proxy.get(&url).await.status, 200);
    assert_eq!((server.asked().len(), counted(&proxy, "stale").await), (asked, 2), "not asked again at once");
    // Silence: a little patience, then the last answer, and the question goes on without the request.
    pass(Duration::from_secs(31)).await;
    server.says("a.example", Says::Silence);
    let waiting = async {
        server.wait_for(asked + 1).await;
        pass(Duration::from_secs(2)).await;
    };
    let (response, ()) = tokio::join!(proxy.get(&url), waiting);
    assert_eq!((response.status, counted(&proxy, "stale").await), (200, 3));
    assert_eq!(counted(&proxy, "failures").await, 1, "it has not been given up yet");
    // Days later, too.
    pass(Duration::from_hours(6 * 24)).await;
    assert_eq!(proxy.get(&url).await.status, 200);
}

#[tokio::test]
async fn no_answer_serves_beyond_its_time_if_told_so() {
    let (server, origin) = (NameServer::start().await, origin().await);
    let proxy = start_asking(&server, &["--set=dns.stale=0s"]).await;
    server.leads("a.example", &["127.0.0.1"], 60);
    assert_eq!(proxy.get(&url(&origin, "a.example")).await.status, 200);
    server.says("a.example", Says::Fault(SERVFAIL));
    pass(Duration::from_secs(61)).await;
    assert_eq!(proxy.get(&url(&origin, "a.example")).await.status, 502);
}

#[tokio::test]
async fn names_of_the_configuration_and_of_the_standards_are_asked_of_nobody() {
    let (server, origin) = (NameServer::start().await, origin().await);
    let hosts = "--set=dns.hosts=intranet.example=127.0.0.1,*.lab.example=127.0.0.1";
    let proxy = start_asking(&server, &[hosts]).await;
    for name in
        ["intranet.example", "Intranet.Example.", "a.lab.example", "localhost", "a.localhost", "localhost."]
    {
        assert_eq!(proxy.get(&url(&origin, name)).await.status, 200, "{name}");
    }
    for name in ["a.invalid", "printer.local"] {
        assert!(proxy_status(&proxy.get(&url(&origin, name)).await).contains("dns_error"), "{name}");
    }
    assert_eq!((server.asked().len(), counted(&proxy, "local").await), (0, 8));
}

#[tokio::test]
async fn numbers_are_addresses_and_nothing_else_is_handed_to_a_name_server() {
    let (server, origin) = (NameServer::start().await, origin().await);
    let proxy = start_asking(&server, &[]).await;
    for host in ["127.1", "0x7f.1", "2130706433", "017700000001", "127.0.0.1."] {
        assert_eq!(proxy.get(&url(&origin, host)).await.status, 200, "{host}");
    }
    for host in ["127.2", "0x7f.0.0.2", "2130706434", "0xa9fea9fe", "[::ffff:127.0.0.2]", "0"] {
        assert_eq!(proxy.get(&url(&origin, host)).await.status, 403, "{host}");
    }
    for host in ["1.2.3.4.5", "256.1.1.1", "-a.example", "a..example", "0x7g.1"] {
        assert_eq!(proxy.get(&url(&origin, host)).await.status, 400, "{host}");
    }
    assert_eq!(server.asked(), [""; 0]);
}

/// A proxy to whose clients only `allowed` is open on this machine.
async fn start_open_to(allowed: &str, server: &NameServer) -> (Proxy, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_string_lossy().into_owned();
    let [servers, timeout] = server.flags();
    let flags = ["--listen=127.0.0.1:0", "--control=off", "--allow-destination", allowed, &servers, &timeout];
    let config = Config::from_flags(flags.into_iter().chain(["--cache-dir", &path])).expect("flags");
    (Proxy::start(config, Clock::manual()).await.expect("a proxy"), folder)
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_the_next_time_is_judged_again() {
    // DNS rebinding: the address really dialled is what counts, each time (CWE-350).
    let server = NameServer::start().await;
    let open = TcpListener::bind("127.0.0.2:0").await.expect("a port");
    let port = open.local_addr().expect("an address").port();
    let (proxy, _folder) = start_open_to("127.0.0.2", &server).await;
    let serving = tokio::spawn(async move {
        let (mut stream, _) = open.accept().await.expect("a connection");
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await.expect("a request");
        let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nCache-Control: no-store\r\nContent-Length: 4\r\n\r\nopen";
        stream.write_all(answer).await.expect("sent");
    });
    let url = format!("http://rebound.example:{port}/");
    // What is not open is left out even where it stands beside something open.
    server.leads("rebound.example", &["127.0.0.1", "127.0.0.2"], 1);
    let first = client::get(proxy.local_address(), &url).await.expect("a response");
    assert_eq!(first.text(), "open");
    serving.await.expect("the server");
    server.leads("rebound.example", &["127.0.0.1", "::1", "169.254.169.254"], 1);
    pass(Duration::from_secs(2)).await;
    let second = client::get(proxy.local_address(), &url).await.expect("a response");
    assert_eq!(second.status, 403);
    assert!(proxy_status(&second).contains("destination_ip_prohibited"));
    proxy.shutdown().await;
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_passed_over_rfc8305() {
    let (server, origin) = (NameServer::start().await, origin().await);
    let open = "--allow-destination=127.0.0.3:1-65535";
    let proxy = start_asking(&server, &[open]).await;
    server.leads("many.example", &["127.0.0.3", "127.0.0.1"], 60);
    for _ in 0..2 {
        assert_eq!(proxy.get(&url(&origin, "many.example")).await.text(), "here");
    }
}
