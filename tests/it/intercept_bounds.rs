//! Where looking into tunnels begins and ends: what is forbidden is refused before it is answered, our own name is always
//! answered here, and a client that goes away has refused nothing yet.

use std::sync::Arc;
use std::time::Duration;

use testkit::tls::Tls;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection};

use crate::control::ask;
use crate::intercept::{INNER, NAME, Scene, scene, scene_for, to_the_present};
use crate::proxy::{Running, start};
use crate::secure::{speak, through, trusting, tunnel};

/// What a CONNECT to `authority` is answered: the status, and what is said of it.
async fn connect(proxy: &Running, authority: &str) -> (u16, String) {
    let answer = proxy.connect().await.tunnel(authority).await.expect("an answer");
    (answer.status, answer.field("proxy-status").unwrap_or_default().to_owned())
}

/// RFC 9110 §9.3.6: "Any 2xx (Successful) response indicates that the sender (and all inbound proxies) will switch to
/// tunnel mode", which is not said of a tunnel that leads where clients may not go.
#[tokio::test]
async fn a_forbidden_tunnel_is_refused_at_once_rfc9110_9_3_6() {
    let scene = scene_for(Tls::new().for_names(&[NAME]), "all", &[]).await;
    for host in
        ["10.9.9.9", "169.254.169.254", "[::1]", "[::ffff:10.9.9.9]", "0x0a090909", "168364297", INNER]
    {
        let (status, said) = connect(&scene.proxy, &format!("{host}:443")).await;
        assert_eq!(status, 403, "{host}");
        assert!(said.contains("destination_ip_prohibited"), "{host}: {said}");
    }
    assert_eq!(connect(&scene.proxy, &scene.authority()).await.0, 200);
    assert_eq!(connect(&scene.proxy, &format!("{NAME}:25")).await.0, 200, "named by allow_destination");
}

async fn own_page(proxy: &Running, pem: &str, protocols: &[&str]) -> String {
    let config = trusting(pem, protocols);
    let stream = through(proxy.address(), "bentpipe.local:443", "bentpipe.local", &config).await;
    let page = speak(stream.expect("a handshake")).await.get("bentpipe.local", "/ca.pem").await;
    assert_eq!(page.status(), 200);
    String::from_utf8_lossy(page.body()).into_owned()
}

#[tokio::test]
async fn our_own_pages_are_there_over_tls() {
    let scene = scene(&[]).await;
    for protocols in [&["h2"][..], &["http/1.1"]] {
        assert_eq!(own_page(&scene.proxy, &scene.pem, protocols).await, scene.pem);
    }
    // A client that leaves TLS to its proxy.
    assert_eq!(scene.proxy.get("https://bentpipe.local/ca.pem").await.text(), scene.pem);
    // They are nobody else's.
    let mut client = speak(
        through(scene.proxy.address(), &scene.authority(), NAME, &trusting(&scene.pem, &["h2"]))
            .await
            .expect("a handshake"),
    )
    .await;
    assert_eq!(client.get("bentpipe.local", "/ca.pem").await.status(), 421);
    // An authority is enough, without a host that is looked into.
    let folder = scene.home.path().join("ca").to_string_lossy().into_owned();
    let proxy = start(&["--ca-dir", &folder]).await;
    to_the_present(&proxy);
    assert_eq!(own_page(&proxy, &scene.pem, &["h2"]).await, scene.pem);
}

#[tokio::test]
async fn without_an_authority_we_say_where_our_pages_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let proxy = start(&["--ca-dir", &folder.path().join("none").to_string_lossy()]).await;
    let answer = proxy.connect().await.tunnel("bentpipe.local:443").await.expect("an answer");
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("http://bentpipe.local/"), "{}", answer.text());
}

/// Says hello, waits for the answer, and leaves without a word.
async fn leave(scene: &Scene, config: &Arc<ClientConfig>) {
    let mut stream = tunnel(scene.proxy.address(), &scene.authority()).await.expect("a tunnel");
    let name = ServerName::try_from(NAME).expect("a name");
    let mut hello = Vec::new();
    let mut session = ClientConnection::new(config.clone(), name).expect("a session");
    session.write_tls(&mut hello).expect("a hello");
    stream.write_all(&hello).await.expect("sent");
    stream.read_u8().await.expect("an answer");
}

/// A browser closes connections that it opened in advance, and a person presses stop.
#[tokio::test]
async fn a_client_that_leaves_once_is_still_looked_into() {
    let scene = scene(&[]).await;
    let config = trusting(&scene.pem, &["http/1.1"]);
    leave(&scene, &config).await;
    through(scene.proxy.address(), &scene.authority(), NAME, &config).await.expect("our certificate");
    leave(&scene, &config).await;
    leave(&scene, &config).await;
    let spliced = async {
        while ask(&scene.proxy, "GET", "/v1/ca", "").await["spliced"].get(0).is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), spliced).await.expect("it is remembered");
    let pinned = trusting(scene.origin.root_pem(), &["http/1.1"]);
    through(scene.proxy.address(), &scene.authority(), NAME, &pinned)
        .await
        .expect("the origin's certificate");
}
