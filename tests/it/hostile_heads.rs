//! Request lines, field lines, targets and Host fields that two recipients could read differently: as `hostile`, for what
//! stands in front of the content.

use crate::hostile::Stand;

const GET: &str = "GET http://¤/a HTTP/1.1\nhost: ¤\n";

/// RFC 9112 §5: field lines. CVE-2019-16869 (Netty), CVE-2022-32214 (Node.js).
#[tokio::test]
async fn field_lines_are_refused_or_made_plain_rfc9112_5() {
    let mut stand = Stand::start().await;
    for (fields, expected) in [
        ("x: y\n", "200 200 | GET /a; GET /behind"),
        ("x : y\n", "400"),
        ("x␉: y\n", "400"),
        (" x: y\n", "400"),
        ("x: y\n folded: z\n", "400"),
        ("x: y\n␉z\n", "400"),
        ("x: y\n  \n", "400"),
        (": y\n", "400"),
        ("x\n", "400"),
        ("x y: z\n", "400"),
        ("x(y: z\n", "400"),
        ("x\u{e9}: z\n", "400"),
        ("x␀: z\n", "400"),
        ("x: a␀b\n", "400"),
        ("x: a\u{1}b\n", "400"),
        ("x: a\u{7f}b\n", "400"),
        ("x: a␍b\n", "400"),
        ("x: a␍␍\n", "400"),
        ("x: a␊y: b\n", "200 200 | GET /a; GET /behind"),
        ("x: a\u{e9}b\n", "200 200 | GET /a; GET /behind"),
        ("x: aÿb\n", "200 200 | GET /a; GET /behind"),
        ("x: ␉ a ␉\n", "200 200 | GET /a; GET /behind"),
        ("x:\n", "200 200 | GET /a; GET /behind"),
        ("x: y␊", "200 200 | GET /a; GET /behind"),
    ] {
        stand.check(&format!("{GET}{fields}\n"), expected).await;
    }
    stand.check("GET http://¤/a HTTP/1.1␊host: ¤␊␊", "200 200 | GET /a; GET /behind").await;
    stand.check("GET http://¤/a HTTP/1.1\n host: ¤\n\n", "400").await;
    stand.check("GET http://¤/a HTTP/1.1\n\nhost: ¤\n\n", "400").await;
    stand.finish();
}

/// RFC 9112 §3: request lines. CVE-2021-33193, CVE-2023-25690 (Apache httpd).
#[tokio::test]
async fn request_lines_are_refused_or_made_plain_rfc9112_3() {
    let mut stand = Stand::start().await;
    for (line, expected) in [
        ("GET http://¤/a HTTP/1.1\n", "200 200 | GET /a; GET /behind"),
        ("\n\nGET http://¤/a HTTP/1.1\n", "200 200 | GET /a; GET /behind"),
        ("␊␊GET http://¤/a HTTP/1.1\n", "200 200 | GET /a; GET /behind"),
        ("GET  http://¤/a HTTP/1.1\n", "400"),
        ("GET http://¤/a  HTTP/1.1\n", "400"),
        ("GET␉http://¤/a␉HTTP/1.1\n", "400"),
        (" GET http://¤/a HTTP/1.1\n", "400"),
        ("GET http://¤/a HTTP/1.1 \n", "400"),
        ("GET http://¤/a HTTP/1.1 x\n", "400"),
        ("GET http://¤/a b HTTP/1.1\n", "400"),
        ("GET http://¤/a\n", "400"),
        ("GET http://¤/a HTTP/0.9\n", "400"),
        ("GET http://¤/a HTTP/1.0\n", "200 | GET /a"),
        ("GET http://¤/a HTTP/1.2\n", "400"),
        ("GET http://¤/a HTTP/2.0\n", "400"),
        ("GET http://¤/a HTTP/1.10\n", "400"),
        ("GET http://¤/a http/1.1\n", "400"),
        ("GET http://¤/a HTTP/1,1\n", "400"),
        ("get http://¤/a HTTP/1.1\n", "200 200 | get /a; GET /behind"),
        ("G(T http://¤/a HTTP/1.1\n", "400"),
        ("G\u{e9}T http://¤/a HTTP/1.1\n", "400"),
        ("GET http://¤/a␀b HTTP/1.1\n", "400"),
        ("GET http://¤/a␍b HTTP/1.1\n", "400"),
        ("GET http://¤/a\u{1}b HTTP/1.1\n", "400"),
        ("GET http://¤/a\u{e9} HTTP/1.1\n", "200 200 | GET /aé; GET /behind"),
        ("GET http://¤/aÿ HTTP/1.1\n", "400"),
        ("GET http://¤/a\"<>{}|^` HTTP/1.1\n", "400"),
        ("GET http://¤/a\\b HTTP/1.1\n", "200 200 | GET /a\\b; GET /behind"),
        ("GET http://¤/a%00b HTTP/1.1\n", "200 200 | GET /a%00b; GET /behind"),
        ("GET http://¤/a%0d%0ab HTTP/1.1\n", "200 200 | GET /a%0d%0ab; GET /behind"),
        ("GET http://¤/a#b HTTP/1.1\n", "200 200 | GET /a; GET /behind"),
        ("GET http://¤#b HTTP/1.1\n", "200 200 | GET /; GET /behind"),
        ("GET HTTP://¤/a HTTP/1.1\n", "200 200 | GET /a; GET /behind"),
        ("GET http:/¤/a HTTP/1.1\n", "400"),
        ("GET http:///a HTTP/1.1\n", "400"),
        ("GET //¤/a HTTP/1.1\n", "400 200 | GET /behind"),
        ("GET ¤ HTTP/1.1\n", "400 200 | GET /behind"),
        ("GET /a HTTP/1.1\n", "400 200 | GET /behind"),
        ("GET * HTTP/1.1\n", "400"),
        ("OPTIONS * HTTP/1.1\n", "200 200 | GET /behind"),
        ("OPTIONS http://¤ HTTP/1.1\n", "200 200 | OPTIONS *; GET /behind"),
        ("OPTIONS http://¤?q HTTP/1.1\n", "200 200 | OPTIONS /?q; GET /behind"),
        ("GET http://¤?q HTTP/1.1\n", "200 200 | GET /?q; GET /behind"),
        ("GET http://¤/a?b?c/../d HTTP/1.1\n", "200 200 | GET /a?b?c/../d; GET /behind"),
        ("GET http://¤/a/../b//c/./d HTTP/1.1\n", "200 200 | GET /a/../b//c/./d; GET /behind"),
        ("PRI * HTTP/2.0\n", "400"),
    ] {
        stand.check(&format!("{line}host: ¤\n\n"), expected).await;
    }
    stand.check("PRI * HTTP/2.0\n\nSM\n\n", "").await;
    stand.check("GET /\n\n", "400").await;
    stand.finish();
}

/// RFC 9112 §3.2, RFC 9110 §7.2: which host is meant.
#[tokio::test]
async fn one_host_is_meant_rfc9112_3_2() {
    let mut stand = Stand::start().await;
    for (target, host, expected) in [
        ("¤", "host: ¤\n", "200 200 | GET /a; GET /behind"),
        ("¤", "", "400"),
        ("¤", "host: ¤\nhost: ¤\n", "400"),
        ("¤", "host: ¤\nhost: elsewhere\n", "400"),
        ("¤", "host:\n", "200 200 | GET /a; GET /behind"),
        ("¤", "host: elsewhere.example\n", "200 200 | GET /a; GET /behind"),
        ("¤", "host: a, b\n", "400"),
        ("¤", "host: a b\n", "400"),
        ("¤", "host: a/b\n", "400"),
        ("¤", "host: a?b\n", "400"),
        ("¤", "host: a#b\n", "400"),
        ("¤", "host: me@a\n", "400"),
        ("¤", "host: a:b\n", "400"),
        ("¤", "host: a:99999\n", "400"),
        ("¤", "host: a:80:80\n", "400"),
        ("¤", "host: [::1\n", "400"),
        ("¤", "host: [::1]x\n", "400"),
        ("¤", "host: [::1%25eth0]\n", "400"),
        ("¤", "host: \u{e9}.example\n", "400"),
        ("¤", "host: a%00b\n", "400"),
        ("¤", "host: a\\b\n", "400"),
        ("¤", "host: <a>\n", "400"),
        ("¤", "Host: ¤\nhOST : elsewhere\n", "400"),
        ("me:secret@¤", "host: ¤\n", "400"),
        ("@¤", "host: ¤\n", "400"),
        ("127.0.0.1:0", "host: a\n", "400"),
        ("127.0.0.1:65536", "host: a\n", "400"),
        ("127.0.0.1:+80", "host: a\n", "400"),
        ("127.0.0.1:80:80", "host: a\n", "400"),
        ("127.0.0.1:8x", "host: a\n", "400"),
        ("127.0.0.1:00000000080", "host: a\n", "502 200 | GET /behind"),
        ("[::1]x:9", "host: a\n", "400"),
        ("[::1", "host: a\n", "400"),
        ("::1", "host: a\n", "400"),
        ("[127.0.0.1]:9", "host: a\n", "400"),
    ] {
        stand.check(&format!("GET http://{target}/a HTTP/1.1\n{host}\n"), expected).await;
    }
    stand.check("GET http://¤/a HTTP/1.0\n\n", "200 | GET /a").await;
    for target in [
        "¤",
        "me@¤",
        "¤/",
        "http://¤/",
        "127.0.0.1",
        "127.0.0.1:",
        ":443",
        "[::1]",
        "/",
        "*",
        "127.0.0.1:443x",
    ] {
        if target != "¤" {
            stand.check(&format!("CONNECT {target} HTTP/1.1\nhost: a\n\n"), "400").await;
        }
    }
    stand.finish();
}

/// Methods, expectations and upgrades that come with content, or without.
#[tokio::test]
async fn content_stays_with_its_request() {
    let mut stand = Stand::start().await;
    for (request, expected) in [
        (
            "GET http://¤/a HTTP/1.1\nhost: ¤\ncontent-length: 5\n\nhello",
            "200 200 | GET /a hello; GET /behind",
        ),
        (
            "GET http://¤/a HTTP/1.1\nhost: ¤\ntransfer-encoding: chunked\n\n5\nhello\n0\n\n",
            "200 200 | GET /a hello; GET /behind",
        ),
        (
            "HEAD http://¤/a HTTP/1.1\nhost: ¤\ncontent-length: 5\n\nhello",
            "200 200 | HEAD /a hello; GET /behind",
        ),
        (
            "DELETE http://¤/a HTTP/1.1\nhost: ¤\ncontent-length: 5\n\nhello",
            "200 200 | DELETE /a hello; GET /behind",
        ),
        ("TRACE http://¤/a HTTP/1.1\nhost: ¤\ncontent-length: 5\n\nhello", "400"),
        (
            "OPTIONS http://¤/a HTTP/1.1\nhost: ¤\ncontent-length: 5\n\nhello",
            "200 200 | OPTIONS /a hello; GET /behind",
        ),
        ("OPTIONS * HTTP/1.1\nhost: ¤\ncontent-length: 5\n\nhello", "200"),
        ("GET /a HTTP/1.1\nhost: ¤\ncontent-length: 5\n\nhello", "400"),
        ("FOO http://¤/a HTTP/1.1\nhost: ¤\n\n", "200 200 | FOO /a; GET /behind"),
        ("POST http://¤/a HTTP/1.1\nhost: ¤\n\n", "200 200 | POST /a; GET /behind"),
        ("POST http://¤/a HTTP/1.0\n\nhello", "200 | POST /a"),
        (
            "POST http://¤/a HTTP/1.1\nhost: ¤\nexpect: x\ncontent-length: 5\n\nhello",
            "200 200 | POST /a hello; GET /behind",
        ),
        (
            "POST http://¤/a HTTP/1.1\nhost: ¤\nexpect: 100-continue, x\ncontent-length: 5\n\nhello",
            "200 200 | POST /a hello; GET /behind",
        ),
        (
            "POST http://¤/a HTTP/1.1\nhost: ¤\nexpect: x\nexpect: 100-continue\ncontent-length: 5\n\nhello",
            "200 200 | POST /a hello; GET /behind",
        ),
        (
            "POST http://¤/a HTTP/1.1\nhost: ¤\nexpect: 100-Continue\ncontent-length: 5\n\nhello",
            "200 200 | POST /a hello; GET /behind",
        ),
        ("GET http://¤/a HTTP/1.1\nhost: ¤\nexpect: 100-continue\n\n", "200 200 | GET /a; GET /behind"),
        (
            "POST http://¤/a HTTP/1.1\nhost: ¤\nupgrade: h2c\nconnection: upgrade\ncontent-length: 5\n\nhello",
            "200 200 | POST /a hello; GET /behind",
        ),
        (
            "POST http://¤/a HTTP/1.1\nhost: ¤\nupgrade: h2c\nhttp2-settings: AAA\nconnection: upgrade, http2-settings\n\n",
            "200 200 | POST /a; GET /behind",
        ),
        ("CONNECT ¤ HTTP/1.1\nhost: ¤\ncontent-length: 5\n\nhello", "400"),
        ("CONNECT ¤ HTTP/1.1\nhost: ¤\ntransfer-encoding: chunked\n\n5\nhello\n0\n\n", "400"),
        ("CONNECT 127.0.0.1:0 HTTP/1.1\nhost: ¤\ncontent-length: 5\n\nhello", "400"),
    ] {
        stand.check(request, expected).await;
    }
    stand.finish();
}
