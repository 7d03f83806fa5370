//! A tunnel through an HTTP proxy: CONNECT (RFC 9110 §9.3.6), and what the proxy answers. The head of its answer is read
//! byte by byte, since what follows it is no longer the proxy's.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{Asked, authorization, broken, refused};
use crate::config::Parent;
use crate::respond::Refusal;

/// Bytes of an answer's head that are read.
const LONGEST_HEAD: usize = 16 * 1024;

/// Interim answers before the final one.
const MOST_INTERIM: usize = 8;

/// Characters of a reason that are repeated.
const LONGEST_REASON: usize = 100;

pub(super) async fn open<S>(io: &mut S, parent: &Parent, asked: Asked<'_>) -> Result<(), Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let closed = || broken(parent, Refusal::ConnectionTerminated { origin: parent.authority() });
    let malformed = || broken(parent, Refusal::ProtocolError { origin: parent.authority() });
    let request = request(parent, asked);
    io.write_all(&request).await.map_err(|_| closed())?;
    io.flush().await.map_err(|_| closed())?;
    for _ in 0..=MOST_INTERIM {
        let head = match head(io).await {
            Ok(Some(head)) => head,
            Ok(None) => return Err(malformed()),
            Err(_) => return Err(closed()),
        };
        let (status, reason) = status(&head).ok_or_else(malformed)?;
        match status {
            // "Any 2xx (Successful) response indicates that the sender (and all inbound proxies) will switch to tunnel
            // mode immediately after the response header section" (RFC 9110 §9.3.6).
            200..=299 => return Ok(()),
            100 | 102..=199 => {}
            // It is the origin that is out of reach, or the parent's own trouble.
            502..=504 => return Err(refused(parent, format!("{status} {reason}"), false)),
            _ => return Err(refused(parent, format!("{status} {reason}"), true)),
        }
    }
    Err(malformed())
}

fn request(parent: &Parent, asked: Asked<'_>) -> Vec<u8> {
    let authority = asked.authority();
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
    if let Some(value) = authorization(parent) {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    if !asked.via.is_empty() {
        request.extend_from_slice(format!("Via: {}\r\n", asked.via).as_bytes());
    }
    request.extend_from_slice(b"\r\n");
    request
}

/// The bytes up to an empty line; none if it does not come.
async fn head<S: AsyncRead + Unpin>(io: &mut S) -> std::io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    while head.len() < LONGEST_HEAD {
        head.push(io.read_u8().await?);
        if head.ends_with(b"\r\n\r\n") || head.ends_with(b"\n\n") {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

/// The status of an answer, and what is said of it in words that can be shown.
fn status(head: &[u8]) -> Option<(u16, String)> {
    let line = head.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line);
    let rest = line.trim_end().strip_prefix("HTTP/1.")?;
    let mut words = rest.splitn(3, ' ');
    let (minor, code, reason) = (words.next()?, words.next()?, words.next().unwrap_or_default());
    let digits = |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(minor, 1) || !digits(code, 3) {
        return None;
    }
    let shown = reason.chars().filter(|character| matches!(character, ' '..='~')).take(LONGEST_REASON);
    Some((code.parse().ok()?, shown.collect()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::duplex;

    use super::*;
    use crate::Config;
    use crate::host::Host;

    /// What comes of `answer`, and what is left on the connection behind it.
    async fn check(answer: &[u8], expected: Result<(), &str>, rest: &str) {
        let (mut near, mut far) = duplex(64 * 1024);
        let config = Config::from_flags(["--parent=http://ann:sesame@p.example:3128"]).unwrap();
        let parent = config.parents.parent.unwrap();
        let host = Host::read("Host.example").unwrap();
        far.write_all(answer).await.unwrap();
        far.shutdown().await.unwrap();
        let asked = Asked { host: &host, port: 443, via: "1.1 a, 1.1 b" };
        let opened = open(&mut near, &parent, asked).await;
        match (opened, expected) {
            (Ok(()), Ok(())) => {}
            (Err(refusal), Err(error)) => assert_eq!(refusal.error(), Some(error), "{refusal:?}"),
            (opened, expected) => panic!("{opened:?}, but expected {expected:?}"),
        }
        let mut left = String::new();
        near.read_to_string(&mut left).await.unwrap();
        assert_eq!(left, rest);
        drop(near);
        let mut sent = String::new();
        far.read_to_string(&mut sent).await.unwrap();
        let request = "CONNECT host.example:443 HTTP/1.1\r\nHost: host.example:443\r\nProxy-Authorization: Basic \
                       YW5uOnNlc2FtZQ==\r\nVia: 1.1 a, 1.1 b\r\n\r\n";
        assert_eq!(sent, request);
    }

    #[tokio::test]
    async fn a_2xx_opens_and_nothing_behind_its_head_is_touched() {
        check(b"HTTP/1.1 200 Connection established\r\n\r\ntunnel", Ok(()), "tunnel").await;
        check(b"HTTP/1.0 204\r\nContent-Length: 6\r\n\r\ntunnel", Ok(()), "tunnel").await;
        check(b"HTTP/1.1 200 OK\nX: y\n\ntunnel", Ok(()), "tunnel").await;
        check(b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\n\r\nt", Ok(()), "t").await;
    }

    #[tokio::test]
    async fn what_the_parent_says_against_it_is_told_apart() {
        check(b"HTTP/1.1 403 No\r\n\r\n", Err("http_request_denied"), "").await;
        check(b"HTTP/1.1 407 Who?\r\n\r\n", Err("http_request_denied"), "").await;
        check(b"HTTP/1.1 502 Gone\r\n\r\n", Err("destination_unavailable"), "").await;
        check(b"HTTP/1.1 504 Late\r\n\r\n", Err("destination_unavailable"), "").await;
    }

    #[tokio::test]
    async fn what_is_no_answer_is_none() {
        check(b"", Err("connection_terminated"), "").await;
        check(b"HTTP/1.1 200 OK\r\nX: ", Err("connection_terminated"), "").await;
        check(b"SSH-2.0-x\r\n\r\n", Err("http_protocol_error"), "").await;
        check(b"HTTP/1.1 2000 OK\r\n\r\n", Err("http_protocol_error"), "").await;
        let endless = b"HTTP/1.1 102 Processing\r\n\r\n".repeat(MOST_INTERIM + 1);
        check(&endless, Err("http_protocol_error"), "").await;
        let long = [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &b"x".repeat(LONGEST_HEAD)].concat();
        let rest = "x".repeat(long.len() - LONGEST_HEAD);
        check(&long, Err("http_protocol_error"), &rest).await;
    }

    proptest! {
        #[test]
        fn any_head_is_read_without_panic(head in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some((code, reason)) = status(&head) {
                prop_assert!(code < 1000 && reason.chars().all(|character| matches!(character, ' '..='~')));
            }
        }
    }
}
