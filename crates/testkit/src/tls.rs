//! TLS of a test's own: an authority made for it, certificates as they should be or with a fault, and what of TLS an
//! origin speaks. Nothing of it is on disk, and no two tests share any.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::compress::{CertCompressor, CompressionFailed, CompressionLevel};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateCompressionAlgorithm, ServerConfig, SupportedProtocolVersion};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::origin::{Origin, Received, lock, machine_time};
use crate::reply::Reply;
use crate::stream::Socket;

/// What TLS an origin speaks, and with what certificate: a valid one for 127.0.0.1 and localhost unless told otherwise.
#[derive(Clone, Debug)]
pub struct Tls {
    names: Vec<String>,
    validity: Validity,
    self_signed: bool,
    is_authority: bool,
    protocols: Vec<Vec<u8>>,
    versions: &'static [&'static SupportedProtocolVersion],
}

static BOTH_VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
static TLS12_ALONE: &[&SupportedProtocolVersion] = &[&TLS12];

#[derive(Clone, Copy, Debug)]
enum Validity {
    Long,
    Over,
    Ahead,
}

/// How a connection to an origin was made safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Whether an earlier session was resumed, so that no certificate crossed.
    pub resumed: bool,
    /// What both sides agreed to speak (ALPN).
    pub protocol: Option<String>,
    /// Such as `TLSv1_3`.
    pub version: String,
}

/// What accepts connections, ready to run.
pub(crate) struct Running {
    acceptor: TlsAcceptor,
    pub(crate) root_pem: String,
    pub(crate) compressed: Arc<AtomicUsize>,
}

impl Default for Tls {
    fn default() -> Self {
        Self::new()
    }
}

impl Tls {
    /// TLS 1.2 and 1.3 with HTTP/2 and HTTP/1.1.
    #[must_use]
    pub fn new() -> Self {
        Self {
            names: vec!["127.0.0.1".to_owned(), "localhost".to_owned()],
            validity: Validity::Long,
            self_signed: false,
            is_authority: false,
            protocols: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            versions: BOTH_VERSIONS,
        }
    }

    /// With a certificate that expired on 2025-12-01.
    #[must_use]
    pub fn expired(mut self) -> Self {
        self.validity = Validity::Over;
        self
    }

    /// With a certificate that is valid from 2040-01-01 on.
    #[must_use]
    pub fn not_yet_valid(mut self) -> Self {
        self.validity = Validity::Ahead;
        self
    }

    /// With a certificate for `names` alone.
    #[must_use]
    pub fn for_names(mut self, names: &[&str]) -> Self {
        self.names = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// With a certificate that nobody but its own key has signed.
    #[must_use]
    pub fn self_signed(mut self) -> Self {
        self.self_signed = true;
        self
    }

    /// With a certificate of an authority as its own: one that nobody else has signed, and that is trusted.
    #[must_use]
    pub fn authority_itself(mut self) -> Self {
        self.self_signed = true;
        self.is_authority = true;
        self
    }

    /// Offering exactly these protocols (ALPN), such as `h2` and `http/1.1`.
    #[must_use]
    pub fn protocols(mut self, protocols: &[&str]) -> Self {
        self.protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        self
    }

    /// With HTTP/1.1 alone.
    #[must_use]
    pub fn http1(self) -> Self {
        self.protocols(&["http/1.1"])
    }

    /// With TLS 1.2 alone.
    #[must_use]
    pub fn tls12(mut self) -> Self {
        self.versions = TLS12_ALONE;
        self
    }

    /// What speaks this on sockets of a test's own, and its authority's certificate as text (PEM).
    ///
    /// # Errors
    /// Names that cannot stand in a certificate.
    pub fn acceptor(&self) -> io::Result<(TlsAcceptor, String)> {
        self.start().map(|running| (running.acceptor, running.root_pem))
    }

    /// Makes an authority and its certificate for this.
    ///
    /// # Errors
    /// Names that cannot stand in a certificate.
    pub(crate) fn start(&self) -> io::Result<Running> {
        let (chain, key, root_pem) = self.certificate().map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(self.versions);
        let builder = builder.map_err(io::Error::other)?.with_no_client_auth();
        let mut config = builder.with_single_cert(chain, key).map_err(io::Error::other)?;
        config.alpn_protocols = self.protocols.clone();
        let compressed = Arc::<AtomicUsize>::default();
        // rustls wants one that lives for ever; a test makes a few.
        config.cert_compressors = vec![Box::leak(Box::new(Stored(Arc::clone(&compressed))))];
        Ok(Running { acceptor: Arc::new(config).into(), root_pem, compressed })
    }

    fn certificate(
        &self,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, String), rcgen::Error> {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "The Test's Authority");
        let authority_key = KeyPair::generate()?;
        let root = authority.self_signed(&authority_key)?;
        let mut leaf = CertificateParams::new(self.names.clone())?;
        leaf.distinguished_name.push(DnType::CommonName, "The Test's Origin");
        match self.validity {
            Validity::Long => {}
            Validity::Over => leaf.not_after = date_time_ymd(2025, 12, 1),
            Validity::Ahead => leaf.not_before = date_time_ymd(2040, 1, 1),
        }
        if self.is_authority {
            leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let key = KeyPair::generate()?;
        let certificate = if self.self_signed {
            leaf.self_signed(&key)?
        } else {
            leaf.signed_by(&key, &Issuer::new(authority, authority_key))?
        };
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let trusted = if self.is_authority { certificate.der() } else { root.der() };
        Ok((vec![certificate.der().clone()], key, pem(trusted)))
    }
}

/// Origins that speak TLS.
impl Origin {
    /// An origin that speaks TLS, and over it HTTP/2 or HTTP/1.1 as it agrees with the client.
    ///
    /// # Errors
    /// Those of binding a port and of making certificates.
    pub async fn start_tls(tls: &Tls) -> io::Result<Self> {
        Self::start_tls_with(tls, None).await
    }

    /// The same at `address`, where another origin was before.
    ///
    /// # Errors
    /// Those of [`Origin::start_tls`].
    pub async fn start_tls_at(tls: &Tls, address: SocketAddr) -> io::Result<Self> {
        let running = tls.start()?;
        Self::build_at(address, Box::new(machine_time), Box::new(|_| None), Some(running), None).await
    }

    /// The same, where a client may have `most_streams` requests under way on an HTTP/2 connection.
    ///
    /// # Errors
    /// Those of [`Origin::start_tls`].
    pub async fn start_tls_with(tls: &Tls, most_streams: impl Into<Option<u32>>) -> io::Result<Self> {
        let running = tls.start()?;
        let address = ([127, 0, 0, 1], 0).into();
        let most_streams = most_streams.into();
        Self::build_at(address, Box::new(machine_time), Box::new(|_| None), Some(running), most_streams).await
    }

    /// The same, where `handler` is asked for what no script answers.
    ///
    /// # Errors
    /// Those of [`Origin::start_tls`].
    pub async fn start_tls_with_handler(
        tls: &Tls,
        handler: impl Fn(&Received) -> Option<Reply> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let running = tls.start()?;
        let address = ([127, 0, 0, 1], 0).into();
        Self::build_at(address, Box::new(machine_time), Box::new(handler), Some(running), None).await
    }

    /// The certificate of the authority behind this origin's, as text (PEM); none without TLS.
    #[must_use]
    pub fn root_pem(&self) -> &str {
        self.shared.tls.as_ref().map_or("", |tls| &tls.root_pem)
    }

    /// Handshakes of TLS that have succeeded, in that order.
    #[must_use]
    pub fn handshakes(&self) -> Vec<Handshake> {
        lock(&self.shared.handshakes).clone()
    }

    /// How often the certificate was compressed for a client.
    #[must_use]
    pub fn compressed(&self) -> usize {
        self.shared.tls.as_ref().map_or(0, |tls| tls.compressed.load(Ordering::Relaxed))
    }

    /// How many streams of HTTP/2 clients have reset.
    #[must_use]
    pub fn resets(&self) -> usize {
        self.shared.resets.load(Ordering::Relaxed)
    }
}

impl Running {
    /// The server's side of a handshake on `socket`.
    pub(crate) async fn accept(&self, socket: Socket) -> io::Result<(TlsStream<Socket>, Handshake)> {
        let stream = self.acceptor.accept(socket).await?;
        let connection = stream.get_ref().1;
        let handshake = Handshake {
            resumed: connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
            protocol: connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
            version: connection.protocol_version().map_or_else(String::new, |version| format!("{version:?}")),
        };
        Ok((stream, handshake))
    }
}

/// Certificates in a brotli stream (RFC 7932) that stores them as they are: correct, and no smaller.
#[derive(Debug)]
struct Stored(Arc<AtomicUsize>);

impl CertCompressor for Stored {
    fn compress(&self, input: Vec<u8>, _: CompressionLevel) -> Result<Vec<u8>, CompressionFailed> {
        let length = u32::try_from(input.len()).ok().and_then(|length| length.checked_sub(1));
        let length = length.filter(|length| *length < 1 << 16).ok_or(CompressionFailed)?;
        // A window of 22 bits; one meta-block, not the last, not compressed (§9.1, §9.2).
        let header = (0x0b | (length << 7) | (1 << 23)).to_le_bytes();
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok([&header[..3], &input, &[3]].concat())
    }

    fn algorithm(&self) -> CertificateCompressionAlgorithm {
        CertificateCompressionAlgorithm::Brotli
    }
}

/// A certificate as text (RFC 7468).
fn pem(der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("-----BEGIN CERTIFICATE-----");
    for (number, three) in der.chunks(3).enumerate() {
        if number % 16 == 0 {
            text.push('\n');
        }
        let bytes = [three[0], three.get(1).copied().unwrap_or(0), three.get(2).copied().unwrap_or(0)];
        let group = bytes.iter().fold(0_usize, |group, byte| group << 8 | usize::from(*byte));
        for digit in 0..4 {
            let there = digit <= three.len();
            text.push(if there { char::from(DIGITS[group >> (18 - 6 * digit) & 63]) } else { '=' });
        }
    }
    text + "\n-----END CERTIFICATE-----\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_as_text_is_base64_in_lines() {
        let text = |der: &[u8]| pem(der).lines().nth(1).map(str::to_owned);
        assert_eq!(text(b"Man").as_deref(), Some("TWFu"));
        assert_eq!(text(b"Ma").as_deref(), Some("TWE="));
        assert_eq!(text(b"M").as_deref(), Some("TQ=="));
        assert_eq!(pem(&[0; 49]).lines().count(), 4);
    }
}
