//! TLS towards origins, over streams that cross the link: TLS 1.2 and later, every certificate verified, sessions resumed
//! and certificates taken compressed, because a handshake is seconds of a thin link. Which HTTP is spoken is agreed upon
//! in the handshake (ALPN, RFC 7301). It does not dial, and knows no HTTP.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::compress::{CertDecompressor, DecompressionFailed};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateCompressionAlgorithm, ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificate::{Verifier, fault};
use super::origin::Origin;
use super::roots;
use crate::clock::Clock;
use crate::respond::{Refusal, TlsFault};

/// What speaks TLS with origins.
pub(crate) struct Tls {
    /// The operator's authorities.
    extra: Vec<CertificateDer<'static>>,
    clock: Clock,
    /// Made for the first https origin: most of it is reading what this machine trusts.
    connectors: OnceCell<Connectors>,
}

struct Connectors {
    /// Offers HTTP/2 and HTTP/1.1.
    any: TlsConnector,
    /// Offers HTTP/1.1 alone.
    http1: TlsConnector,
}

/// Which HTTP an origin is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    Any,
    /// For what HTTP/2 cannot do: switching to another protocol (RFC 9113 §8.6).
    Http1,
}

/// Sessions of TLS that are kept for being resumed, of all origins together, some 4 kB each. rustls keeps up to eight of
/// an origin, so this is at least a thousand origins.
const SESSIONS: usize = 8192;

impl Tls {
    /// TLS that trusts what this machine trusts and the operator's authorities, `extra`, by the time of `clock`.
    pub(crate) fn new(extra: Vec<CertificateDer<'static>>, clock: Clock) -> Self {
        Self { extra, clock, connectors: OnceCell::new() }
    }

    /// Whether the operator's authorities are the same as those of `other`.
    pub(crate) fn trusts_as(&self, other: &Self) -> bool {
        self.extra == other.extra
    }

    /// Makes `io`, which leads to `origin`, safe.
    ///
    /// # Errors
    /// A refusal that says why it cannot be.
    pub(crate) async fn secure<T>(
        &self,
        io: T,
        origin: &Origin,
        offer: Offer,
    ) -> Result<TlsStream<T>, Refusal>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let name = server_name(origin).ok_or(Refusal::BadRequest("The target's host is not a name."))?;
        let connectors = self.connectors.get_or_try_init(|| self.load()).await;
        let connectors = connectors.map_err(|error| {
            let fault = TlsFault::Protocol(format!("this proxy cannot speak it at all ({error})"));
            Refusal::Tls { origin: origin.to_string(), fault }
        })?;
        let connector = match offer {
            Offer::Any => &connectors.any,
            Offer::Http1 => &connectors.http1,
        };
        connector.connect(name, io).await.map_err(|error| refused(&error, origin))
    }

    async fn load(&self) -> Result<Connectors, rustls::Error> {
        let extra = self.extra.clone();
        let roots = tokio::task::spawn_blocking(move || roots::all(&extra)).await;
        let roots = roots.map_err(|error| rustls::Error::General(error.to_string()))?;
        let http1 = config(roots, self.clock.clone())?;
        // One set of sessions for both.
        let mut any = http1.clone();
        any.alpn_protocols.insert(0, HTTP2.to_vec());
        Ok(Connectors { any: Arc::new(any).into(), http1: Arc::new(http1).into() })
    }
}

/// The name of HTTP/2 in ALPN.
const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// Whether the handshake of `stream` agreed on HTTP/2.
pub(crate) fn speaks_http2<T>(stream: &TlsStream<T>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP2)
}

fn config(roots: Arc<RootCertStore>, clock: Clock) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
    let verifier = verifier.map_err(|error| rustls::Error::General(error.to_string()))?;
    let builder = ClientConfig::builder_with_details(provider, Arc::new(Time(clock)));
    let builder = builder.with_protocol_versions(&[&TLS13, &TLS12])?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Verifier(verifier)));
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![HTTP1.to_vec()];
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    config.cert_decompressors = vec![&Brotli];
    Ok(config)
}

fn server_name(origin: &Origin) -> Option<ServerName<'static>> {
    // The name in a certificate, and in the handshake, has no dot at its end (RFC 6066 §3).
    let host = origin.host();
    ServerName::try_from(host.strip_suffix('.').unwrap_or(host).to_owned()).ok()
}

/// What a handshake that failed means.
fn refused(error: &io::Error, origin: &Origin) -> Refusal {
    let origin = origin.to_string();
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => {
            tracing::debug!(origin, %error, "no safe connection came about");
            Refusal::Tls { origin, fault: fault(error) }
        }
        None if error.kind() == ErrorKind::TimedOut => Refusal::ConnectionTimeout { origin },
        None => {
            tracing::debug!(origin, %error, "a TLS handshake broke off");
            Refusal::ConnectionTerminated { origin }
        }
    }
}

/// The clock, as rustls asks for it.
#[derive(Debug)]
struct Time(Clock);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        self.0.now().duration_since(UNIX_EPOCH).ok().map(UnixTime::since_unix_epoch).or(Some(BEGINNING))
    }
}

/// A clock that shows a time before 1970 is wrong, and certificates say so by being of the future.
const BEGINNING: UnixTime = UnixTime::since_unix_epoch(Duration::ZERO);

/// Certificates compressed with brotli (RFC 8879): what servers offer. rustls gives a chain 64 kB at most.
#[derive(Debug)]
struct Brotli;

impl CertDecompressor for Brotli {
    fn decompress(&self, input: &[u8], output: &mut [u8]) -> Result<(), DecompressionFailed> {
        let memory = StandardAlloc::default;
        let mut state = BrotliState::new_strict(memory(), memory(), memory());
        let (mut input_left, mut input_at) = (input.len(), 0);
        let (mut output_left, mut output_at, mut total) = (output.len(), 0, 0);
        let result = BrotliDecompressStream(
            &mut input_left,
            &mut input_at,
            input,
            &mut output_left,
            &mut output_at,
            output,
            &mut total,
            &mut state,
        );
        match result {
            BrotliResult::ResultSuccess if input_left == 0 && output_left == 0 => Ok(()),
            _ => Err(DecompressionFailed),
        }
    }

    fn algorithm(&self) -> CertificateCompressionAlgorithm {
        CertificateCompressionAlgorithm::Brotli
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressed_certificate_has_the_length_it_declares_rfc8879_4() {
        // A stream of one piece that is not compressed (RFC 7932 §9.2), and its end.
        let stream = [0x8b, 0x01, 0x80, b'c', b'e', b'r', b't', 0x03];
        let decompress = |input: &[u8], length| {
            let mut output = vec![0; length];
            Brotli.decompress(input, &mut output).map(|()| output).ok()
        };
        assert_eq!(decompress(&stream, 4).as_deref(), Some(b"cert".as_slice()));
        assert_eq!(decompress(&stream, 3), None);
        assert_eq!(decompress(&stream, 5), None);
        assert_eq!(decompress(&stream[..5], 4), None);
        assert_eq!(decompress(&[&stream[..], b"x"].concat(), 4), None);
        assert_eq!(decompress(b"\xff\xff\xff\xff", 4), None);
    }

    #[test]
    fn a_name_in_a_certificate_has_no_dot_at_its_end() {
        let name = |target: &'static str| {
            server_name(&Origin::of(&http::Uri::from_static(target)).expect("an origin"))
        };
        assert_eq!(
            name("https://Example.org./").map(|name| name.to_str().into_owned()).as_deref(),
            Some("example.org")
        );
        assert!(matches!(name("https://[::1]/"), Some(ServerName::IpAddress(_))));
        assert!(name("https://a..b/").is_none());
    }
}
