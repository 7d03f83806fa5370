//! TLS towards clients: what we speak and what we offer. Which certificate a client sees is its caller's to say.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;

use crate::ca::leaf::Leaves;

/// Sessions of clients that are remembered, for those that take no tickets.
const SESSIONS: usize = 4096;

/// What we speak to clients: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1, with the certificates of `resolver`. Clients come back
/// with a ticket and need no certificate then.
pub(crate) fn config(resolver: Arc<dyn ResolvesServerCert>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
    let mut config = builder.with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = ring::Ticketer::new()?;
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    Ok(Arc::new(config))
}

/// What clients see that speak TLS to the proxy itself.
pub(crate) enum Shown {
    /// What the operator was given by an authority that clients know.
    Given(Arc<CertifiedKey>),
    /// What the local authority says of the name that a client asks for; of `address`, if it asks for none, as it must
    /// for an address (RFC 6066 §3).
    Own { leaves: Arc<Leaves>, address: String },
}

impl Shown {
    /// The certificate chain in the PEM file `certificate`, with the key in `key`.
    ///
    /// # Errors
    /// What is wrong with the files, named with their options.
    pub(crate) fn given(certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .with_context(|| format!("tls.certificate = {:?}", certificate.display()))?;
        let of_key = || format!("tls.key = {:?}", key.display());
        let key = PrivateKeyDer::from_pem_file(key).with_context(of_key)?;
        let certified = CertifiedKey::from_der(chain, key, &ring::default_provider());
        certified.map(|certified| Self::Given(Arc::new(certified))).with_context(of_key)
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        match self {
            Self::Given(certified) => Some(certified.clone()),
            Self::Own { leaves, address } => {
                let name = hello.server_name().unwrap_or(address);
                leaves
                    .certified(name)
                    .inspect_err(|error| tracing::debug!(%error, name, "no certificate"))
                    .ok()
            }
        }
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}
