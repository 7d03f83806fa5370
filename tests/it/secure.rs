//! Clients that speak TLS, to an origin through a tunnel or to the proxy that looks into it, and HTTP/1.1 or HTTP/2 over
//! it.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// What a client trusts and offers.
pub(crate) fn trusting(pem: &str, protocols: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.expect("a certificate")).expect("a root");
    }
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// Opens a tunnel through `proxy` to `authority` and speaks TLS in it, naming `name`.
pub(crate) async fn through(
    proxy: SocketAddr,
    authority: &str,
    name: &str,
    config: &Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    secure(tunnel(proxy, authority).await?, name, config).await
}

/// Speaks TLS on `stream`, naming `name`.
pub(crate) async fn secure(
    stream: TcpStream,
    name: &str,
    config: &Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    TlsConnector::from(config.clone()).connect(name, stream).await
}

/// Opens a tunnel through `proxy` to `authority`.
pub(crate) async fn tunnel(proxy: SocketAddr, authority: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(proxy).await?;
    stream.write_all(format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\r\n").as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
    Ok(stream)
}

/// A connection on which requests are sent one after the other or, with HTTP/2, at once.
pub(crate) enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

/// Speaks what was agreed on in the handshake.
pub(crate) async fn speak(stream: TlsStream<TcpStream>) -> Sender {
    let is_two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let io = TokioIo::new(stream);
    if is_two {
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), io).await.expect("a connection of HTTP/2");
        tokio::spawn(connection);
        Sender::Two(sender)
    } else {
        let (sender, connection) = http1::handshake(io).await.expect("a connection of HTTP/1.1");
        tokio::spawn(connection.with_upgrades());
        Sender::One(sender)
    }
}

impl Sender {
    /// Sends `request` and receives all of the response.
    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Bytes>> {
        let response = match self {
            Self::One(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Self::Two(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        let (parts, body) = response.into_parts();
        Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
    }

    /// GETs `path` of `host` and receives all of the response.
    pub(crate) async fn get(&mut self, host: &str, path: &str) -> Response<Bytes> {
        let request = match self {
            Self::One(_) => Request::get(path).header("host", host),
            Self::Two(_) => Request::get(format!("https://{host}{path}")),
        };
        let request = request.body(Full::default()).expect("a request");
        self.send(request).await.expect("a response")
    }
}
