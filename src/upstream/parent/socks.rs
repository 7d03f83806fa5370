//! The way through a SOCKS 5 proxy (RFC 1928), with a name and a password where the configuration has them (RFC 1929).
//! Names go to the proxy as they are, and it resolves them.

use std::io;
use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{Asked, broken, refused};
use crate::config::{Credentials, Parent};
use crate::host::Host;
use crate::respond::Refusal;

const VERSION: u8 = 5;
/// RFC 1929 §2.
const PASSWORD_VERSION: u8 = 1;
const CONNECT: u8 = 1;

/// Methods of authentication (RFC 1928 §3).
const NO_AUTHENTICATION: u8 = 0;
const PASSWORD: u8 = 2;
const NONE_ACCEPTABLE: u8 = 0xff;

/// Kinds of addresses (RFC 1928 §4).
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// What may go wrong besides the connection itself.
enum Fault {
    Io(io::Error),
    Protocol,
    Said(&'static str, bool),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

pub(super) async fn open<S>(io: &mut S, parent: &Parent, asked: Asked<'_>) -> Result<(), Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let origin = || parent.authority();
    let opened = async {
        agree(io, parent.credentials.as_ref()).await?;
        ask(io, asked).await
    };
    opened.await.map_err(|fault| match fault {
        Fault::Io(error) => {
            tracing::debug!(%error, parent = origin(), "a parent broke off");
            broken(parent, Refusal::ConnectionTerminated { origin: origin() })
        }
        Fault::Protocol => broken(parent, Refusal::NotSocks { origin: origin() }),
        Fault::Said(said, denied) => refused(parent, said, denied),
    })
}

/// Agrees on a method, and carries it out.
async fn agree<S>(io: &mut S, credentials: Option<&Credentials>) -> Result<(), Fault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let offer: &[u8] = match credentials {
        Some(_) => &[VERSION, 2, NO_AUTHENTICATION, PASSWORD],
        None => &[VERSION, 1, NO_AUTHENTICATION],
    };
    send(io, offer).await?;
    let [version, method] = read(io).await?;
    match (version, method, credentials) {
        (VERSION, NO_AUTHENTICATION, _) => Ok(()),
        (VERSION, PASSWORD, Some(credentials)) => authenticate(io, credentials).await,
        (VERSION, NONE_ACCEPTABLE, Some(_)) => Err(Fault::Said("it takes no name and password", true)),
        (VERSION, NONE_ACCEPTABLE, None) => Err(Fault::Said("it wants to know who asks", true)),
        _ => Err(Fault::Protocol),
    }
}

async fn authenticate<S>(io: &mut S, credentials: &Credentials) -> Result<(), Fault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut message = vec![PASSWORD_VERSION];
    for text in [&credentials.user, &credentials.password] {
        // The configuration has no longer ones.
        message.push(u8::try_from(text.len()).map_err(|_| Fault::Protocol)?);
        message.extend_from_slice(text.as_bytes());
    }
    send(io, &message).await?;
    match read(io).await? {
        [PASSWORD_VERSION, 0] => Ok(()),
        [PASSWORD_VERSION, _] => Err(Fault::Said("it does not accept the name and password", true)),
        _ => Err(Fault::Protocol),
    }
}

/// Asks for a connection (RFC 1928 §4), and reads the reply to its end (§6).
async fn ask<S>(io: &mut S, asked: Asked<'_>) -> Result<(), Fault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut message = vec![VERSION, CONNECT, 0];
    match asked.host {
        Host::Address(IpAddr::V4(address)) => {
            message.push(IPV4);
            message.extend_from_slice(&address.octets());
        }
        Host::Address(IpAddr::V6(address)) => {
            message.push(IPV6);
            message.extend_from_slice(&address.octets());
        }
        Host::Name(name) => {
            message.push(NAME);
            message.push(u8::try_from(name.text().len()).map_err(|_| Fault::Protocol)?);
            message.extend_from_slice(name.text().as_bytes());
        }
    }
    message.extend_from_slice(&asked.port.to_be_bytes());
    send(io, &message).await?;
    let [version, reply, _reserved, kind] = read(io).await?;
    if version != VERSION {
        return Err(Fault::Protocol);
    }
    if reply != 0 {
        return Err(said(reply));
    }
    // The address that the proxy has taken is of no use to us, but stands before what is.
    let length = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => usize::from(io.read_u8().await?),
        _ => return Err(Fault::Protocol),
    };
    let mut bound = [0; 255 + 2];
    let bound = bound.get_mut(..length + 2).ok_or(Fault::Protocol)?;
    io.read_exact(bound).await?;
    Ok(())
}

/// A reply in words, and whether it is a matter of what is allowed.
fn said(reply: u8) -> Fault {
    match reply {
        1 => Fault::Said("general SOCKS server failure", false),
        2 => Fault::Said("connection not allowed by ruleset", true),
        3 => Fault::Said("network unreachable", false),
        4 => Fault::Said("host unreachable", false),
        5 => Fault::Said("connection refused", false),
        6 => Fault::Said("TTL expired", false),
        7 => Fault::Said("command not supported", true),
        8 => Fault::Said("address type not supported", true),
        _ => Fault::Said("a reply that no standard knows", false),
    }
}

async fn send<S: AsyncWrite + Unpin>(io: &mut S, message: &[u8]) -> io::Result<()> {
    io.write_all(message).await?;
    io.flush().await
}

async fn read<S: AsyncRead + Unpin, const N: usize>(io: &mut S) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    io.read_exact(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;
    use crate::Config;

    /// What comes of `answers` of a parent that is given as `url`, what was sent to it, and what is left behind them.
    async fn check(
        url: &str,
        host: &str,
        answers: &[u8],
        expected: Result<(), &str>,
        sent: &[u8],
        rest: &str,
    ) {
        let (mut near, mut far) = duplex(4096);
        let config = Config::from_flags(["--parent", url]).unwrap();
        let parent = config.parents.parent.unwrap();
        let host = Host::read(host).unwrap();
        far.write_all(answers).await.unwrap();
        far.shutdown().await.unwrap();
        let opened = open(&mut near, &parent, Asked { host: &host, port: 0x1234, via: "" }).await;
        assert_eq!(
            opened.as_ref().map_err(|refusal| refusal.error().unwrap_or_default()),
            expected.as_ref().map_err(|e| *e).map(|()| &()),
            "{opened:?}"
        );
        let mut left = String::new();
        near.read_to_string(&mut left).await.unwrap();
        assert_eq!(left, rest);
        drop(near);
        let mut received = Vec::new();
        far.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, sent);
    }

    const PLAIN: &str = "socks5://p:1080";
    const KNOWN: &str = "socks5://ann:pw@p:1080";

    #[tokio::test]
    async fn names_go_to_the_parent_and_addresses_as_addresses() {
        let sent = b"\x05\x01\x00\x05\x01\x00\x03\x05a.exa\x12\x34";
        check(PLAIN, "A.exa", b"\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00rest", Ok(()), sent, "rest")
            .await;
        let sent = b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x12\x34";
        check(PLAIN, "0x7f.1", b"\x05\x00\x05\x00\x00\x03\x02hi\x00\x00rest", Ok(()), sent, "rest").await;
        let mut sent = b"\x05\x01\x00\x05\x01\x00\x04".to_vec();
        sent.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x12, 0x34]);
        let mut answers = b"\x05\x00\x05\x00\x00\x04".to_vec();
        answers.extend_from_slice(&[0; 18]);
        check(PLAIN, "::1", &answers, Ok(()), &sent, "").await;
    }

    #[tokio::test]
    async fn a_name_and_a_password_are_given_where_they_are_wanted_rfc1929() {
        let ask = b"\x05\x01\x00\x03\x01a\x12\x34";
        let sent = [b"\x05\x02\x00\x02\x01\x03ann\x02pw".as_slice(), ask].concat();
        let answers = b"\x05\x02\x01\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00";
        check(KNOWN, "a", answers, Ok(()), &sent, "").await;
        let sent = [b"\x05\x02\x00\x02".as_slice(), ask].concat();
        check(KNOWN, "a", b"\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", Ok(()), &sent, "").await;
        let wrong = Err("http_request_denied");
        check(KNOWN, "a", b"\x05\x02\x01\x01", wrong, b"\x05\x02\x00\x02\x01\x03ann\x02pw", "").await;
        check(PLAIN, "a", b"\x05\xff", wrong, b"\x05\x01\x00", "").await;
        check(PLAIN, "a", b"\x05\x02", Err("proxy_configuration_error"), b"\x05\x01\x00", "").await;
    }

    #[tokio::test]
    async fn replies_are_told_apart() {
        let sent = b"\x05\x01\x00\x05\x01\x00\x03\x01a\x12\x34";
        for (reply, error) in [
            (1, "destination_unavailable"),
            (2, "http_request_denied"),
            (4, "destination_unavailable"),
            (99, "destination_unavailable"),
        ] {
            let answers = [5, 0, 5, reply, 0, 1];
            check(PLAIN, "a", &answers, Err(error), sent, "").await;
        }
        check(PLAIN, "a", b"HTTP/1.1 400", Err("proxy_configuration_error"), b"\x05\x01\x00", "TP/1.1 400")
            .await;
        check(PLAIN, "a", b"\x05\x00\x05", Err("connection_terminated"), sent, "").await;
    }
}
