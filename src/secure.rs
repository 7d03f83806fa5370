//! TLS towards clients: what we speak and what we offer. Which certificate a client sees is its caller's to say.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;

use crate::ca::leaf::Leaves;
use crate::pem;

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

/// The certificate chain in the PEM file `certificate`, with the key in `key`.
///
/// # Errors
/// The option whose file is wrong, and what is wrong with it.
pub(crate) fn given(certificate: &Path, key: &Path) -> Result<Arc<CertifiedKey>, (&'static str, String)> {
    let chain = pem::certificates(certificate).map_err(|reason| ("tls.certificate", reason))?;
    let private = pem::key(key).map_err(|reason| ("tls.key", reason))?;
    match CertifiedKey::from_der(chain, private, &ring::default_provider()) {
        Ok(certified) => Ok(Arc::new(certified)),
        Err(rustls::Error::InconsistentKeys(_)) => {
            let (certificate, key) = (certificate.display(), key.display());
            Err(("tls.key", format!("{key} is not the key of the certificate in {certificate}")))
        }
        Err(rustls::Error::InvalidCertificate(_)) => {
            Err(("tls.certificate", format!("the first certificate in {} is damaged", certificate.display())))
        }
        Err(error) => Err(("tls.key", format!("{} cannot be used: {error}", key.display()))),
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
