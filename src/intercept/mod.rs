//! Looking into tunnels: for the hosts that the operator lists, a CONNECT is answered here, with a certificate of the
//! local authority, and what comes out of the tunnel are requests for `https` targets. Who is not to be looked into,
//! and who does not want it, is found out from the first bytes; everything read of them is passed on.

mod hello;
pub(crate) mod rewound;
pub(crate) mod spliced;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::ca::leaf::Leaves;
use crate::clock::Clock;
use crate::config::Intercept;
use crate::count::{Count, Handshakes};
use crate::host::Host;
use crate::secure;
use hello::Beginning;
use rewound::Rewound;
use spliced::{Because, Refused, Spliced};

/// How long a client may take for its first message; nothing of it is waited for as long as `SILENCE`.
const HELLO: Duration = Duration::from_secs(10);

/// How long nothing at all may come before the connection is taken for one on which the server speaks first.
const SILENCE: Duration = Duration::from_secs(3);

/// How long a handshake may take: it is the client's network that it crosses, not the link.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// Decides which tunnels are looked into, and begins it.
pub(crate) struct Interception {
    hosts: Intercept,
    leaves: Arc<Leaves>,
    config: Arc<ServerConfig>,
    spliced: Arc<Spliced>,
    clock: Clock,
    tunnels: Arc<Tunnels>,
}

/// What became of tunnels that were answered here, in figures.
#[derive(Debug, Default)]
pub(crate) struct Tunnels {
    opened: Count,
    spliced: Count,
    refused: Count,
    gone: Count,
    pub(crate) handshakes: Handshakes,
}

impl Tunnels {
    /// Opened, spliced after all, refused by their clients, and gone.
    pub(crate) fn read(&self) -> [u64; 4] {
        [&self.opened, &self.spliced, &self.refused, &self.gone].map(Count::read)
    }
}

/// What became of a tunnel that was answered here.
pub(crate) enum Opened<T> {
    /// Its client speaks to us, thinking of the host.
    Ours(Box<TlsStream<Rewound<T>>>),
    /// It is to be passed on to the host, from its first byte.
    Others(Rewound<T>),
    /// Nobody is there any more.
    Nobody,
}

/// How a client left before anything came out of its tunnel.
enum Left {
    /// It would not have our certificate, or seems so.
    Refusing,
    Otherwise,
}

impl Interception {
    /// Looks into tunnels to `hosts` with certificates of `leaves`.
    pub(crate) fn new(hosts: Intercept, leaves: Arc<Leaves>, clock: Clock) -> Result<Self, rustls::Error> {
        let config = secure::config(Arc::new(ByName(leaves.clone())))?;
        Ok(Self { hosts, leaves, config, spliced: Arc::default(), clock, tunnels: Arc::default() })
    }

    /// Looks into tunnels to `hosts`, with the same certificates where `leaves` are the same. Which clients would not have
    /// it is remembered only then: others may be another matter.
    pub(crate) fn renewed(&self, hosts: Intercept, leaves: Arc<Leaves>) -> Result<Self, rustls::Error> {
        if !Arc::ptr_eq(&self.leaves, &leaves) {
            return Self::new(hosts, leaves, self.clock.clone());
        }
        let (config, spliced, clock) = (self.config.clone(), self.spliced.clone(), self.clock.clone());
        Ok(Self { hosts, leaves, config, spliced, clock, tunnels: self.tunnels.clone() })
    }

    /// Whether a tunnel of `client` to `port` of `host` is to be looked into.
    pub(crate) fn is_for(&self, client: IpAddr, host: &str, port: u16) -> bool {
        let covers = Host::read(host).is_ok_and(|host| self.hosts.covers(&host));
        covers && !self.spliced.has(client, &place(host, port), self.clock.now())
    }

    /// Whether there is a certificate for `host` that clients accept.
    pub(crate) fn can_be(&self, host: &str) -> bool {
        self.leaves.certified(host).is_ok()
    }

    /// Clients that would not have it, for a day.
    pub(crate) fn refused(&self) -> Vec<Refused> {
        self.spliced.list(self.clock.now())
    }

    /// Lets every client be tried again; returns how many pairs of client and host that are.
    pub(crate) fn forget_refused(&self) -> usize {
        self.spliced.forget()
    }

    /// Certificates that are ready.
    pub(crate) fn leaves(&self) -> usize {
        self.leaves.len()
    }

    /// What became of tunnels so far.
    pub(crate) fn tunnels(&self) -> &Tunnels {
        &self.tunnels
    }

    /// Begins with `io`, the client's end of a tunnel to `port` of `host`.
    pub(crate) async fn open<T>(&self, io: T, client: IpAddr, host: &str, port: u16) -> Opened<T>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let begun = self.begin(io, client, host, port).await;
        let (counted, opened) = match begun {
            Ok(opened @ Opened::Others(_)) => (&self.tunnels.spliced, opened),
            Ok(opened) => (&self.tunnels.opened, opened),
            Err(Left::Refusing) => (&self.tunnels.refused, Opened::Nobody),
            Err(Left::Otherwise) => (&self.tunnels.gone, Opened::Nobody),
        };
        counted.one();
        opened
    }

    async fn begin<T>(&self, mut io: T, client: IpAddr, host: &str, port: u16) -> Result<Opened<T>, Left>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let mut ahead = BytesMut::with_capacity(2048);
        let is_for_host = match timeout(HELLO, read_hello(&mut io, &mut ahead)).await {
            Ok(Ok(named)) => named.is_some_and(|named| is_same(&named, host)),
            Ok(Err(error)) => {
                tracing::debug!(%error, %client, host, "a tunnel ended before it began");
                return Err(Left::Otherwise);
            }
            // Half a message for so long is no client's way.
            Err(_) => return Err(Left::Otherwise),
        };
        let rewound = Rewound::new(ahead.freeze(), io);
        // Another name, or none, is not a client that means this host: one whose hello is encrypted (ECH) names the host of
        // its outer message, and one that speaks no TLS names nobody. And where no certificate can be had, none is shown.
        if !is_for_host || self.leaves.certified(host).is_err() {
            return Ok(Opened::Others(rewound));
        }
        let accepted = timeout(HANDSHAKE, TlsAcceptor::from(self.config.clone()).accept(rewound)).await;
        match accepted {
            Ok(Ok(stream)) => {
                self.tunnels.handshakes.made(stream.get_ref().1.handshake_kind());
                self.spliced.accepted(client, &place(host, port));
                Ok(Opened::Ours(Box::new(stream)))
            }
            Ok(Err(error)) => {
                self.tunnels.handshakes.failed();
                let refusal = refusal(&error);
                if let Some(because) = refusal
                    && self.spliced.note(client, &place(host, port), because, self.clock.now())
                {
                    tracing::info!(%client, host, ?because, "the certificate was not accepted; tunnels of this client to this host are passed on for a day");
                }
                tracing::debug!(%error, %client, host, "a handshake failed");
                Err(refusal.map_or(Left::Otherwise, |_| Left::Refusing))
            }
            Err(_) => {
                self.tunnels.handshakes.failed();
                Err(Left::Otherwise)
            }
        }
    }
}

/// Whether a ClientHello names the host that a CONNECT has asked for: only the latter may have a dot at its end.
fn is_same(named: &str, host: &str) -> bool {
    Host::read(named).is_ok_and(|named| Host::read(host).is_ok_and(|host| host.is(&named)))
}

/// What a refusal is remembered of: one port is not another, where somebody else may listen.
fn place(host: &str, port: u16) -> String {
    if port == 443 { host.to_owned() } else { format!("{host}:{port}") }
}

/// Reads the first message of `io` into `ahead` and returns the host it names; none where it is no ClientHello, or
/// where nothing comes at all.
async fn read_hello<T: AsyncRead + Unpin>(io: &mut T, ahead: &mut BytesMut) -> io::Result<Option<String>> {
    loop {
        let read = match timeout(SILENCE, io.read_buf(ahead)).await {
            Ok(read) => read?,
            Err(_) if ahead.is_empty() => return Ok(None),
            Err(_) => continue,
        };
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match hello::read(ahead) {
            Beginning::Incomplete => {}
            Beginning::Hello(hello) => return Ok(hello.server_name),
            Beginning::Other => return Ok(None),
        }
    }
}

/// Whether a failed handshake was a client's refusal of our certificate: it says so in an alert (RFC 8446 §6.2), or it
/// leaves without a word, or with one that may mean something else.
fn refusal(error: &io::Error) -> Option<Because> {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::AlertReceived(alert)) => of_alert(*alert),
        Some(_) => None,
        None => [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe]
            .contains(&error.kind())
            .then_some(Because::Closed),
    }
}

/// What `alert` says of our certificate.
fn of_alert(alert: AlertDescription) -> Option<Because> {
    use AlertDescription as A;
    match alert {
        A::BadCertificate
        | A::UnsupportedCertificate
        | A::CertificateRevoked
        | A::CertificateExpired
        | A::CertificateUnknown
        | A::UnknownCA => Some(Because::Alert),
        // Some programs that pin certificates say these; a user who presses stop comes to the last.
        A::AccessDenied | A::DecryptError | A::InternalError | A::HandshakeFailure | A::UserCanceled => {
            Some(Because::Closed)
        }
        _ => None,
    }
}

/// Chooses a certificate by the name that the client says.
struct ByName(Arc<Leaves>);

impl fmt::Debug for ByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByName")
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let host = hello.server_name()?;
        match self.0.certified(host) {
            Ok(certified) => Some(certified),
            Err(error) => {
                tracing::warn!(%error, host, "no certificate could be made");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: &io::Error, expected: Option<Because>) {
        assert_eq!(refusal(error), expected, "{error}");
    }

    #[test]
    fn what_a_client_says_of_our_certificate_is_told_from_other_faults() {
        let alert = |alert| io::Error::new(io::ErrorKind::InvalidData, rustls::Error::AlertReceived(alert));
        check(&alert(AlertDescription::UnknownCA), Some(Because::Alert));
        check(&alert(AlertDescription::CertificateUnknown), Some(Because::Alert));
        check(&alert(AlertDescription::UserCanceled), Some(Because::Closed));
        check(&alert(AlertDescription::ProtocolVersion), None);
        check(&io::ErrorKind::UnexpectedEof.into(), Some(Because::Closed));
        check(&io::ErrorKind::ConnectionReset.into(), Some(Because::Closed));
        check(&io::Error::new(io::ErrorKind::InvalidData, rustls::Error::DecryptError), None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_or_something_else_is_passed_on_and_who_dawdles_is_not() {
        use tokio::io::AsyncWriteExt as _;
        let (near, mut far) = tokio::io::duplex(4096);
        let (mut near, mut ahead) = (near, BytesMut::new());
        assert_eq!(read_hello(&mut near, &mut ahead).await.unwrap(), None, "silence");
        far.write_all(b"SSH-2.0-x\r\n").await.unwrap();
        assert_eq!(read_hello(&mut near, &mut ahead).await.unwrap(), None);
        assert_eq!(&ahead[..], b"SSH-2.0-x\r\n");
        ahead.clear();
        far.write_all(&[22, 3, 1, 0, 200, 1]).await.unwrap();
        assert!(timeout(HELLO, read_hello(&mut near, &mut ahead)).await.is_err(), "half a message");
        drop(far);
        assert!(read_hello(&mut near, &mut ahead).await.is_err());
    }
}
