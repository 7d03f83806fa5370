//! Which authorities an origin's certificate may descend from: those that this machine trusts or, where it names none,
//! those built in; and in either case the operator's own. It reads files and judges nothing.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};

/// What is wrong with a file that the option `tls.roots` names.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RootsError {
    #[error("tls.roots = {:?}: cannot be read: {error:?}", path.display())]
    Unreadable { path: PathBuf, error: pem::Error },
    #[error("tls.roots = {:?}: holds no certificate (PEM)", path.display())]
    Empty { path: PathBuf },
    #[error("tls.roots = {:?}: holds a certificate that is no authority's: {error}", path.display())]
    Unusable { path: PathBuf, error: rustls::Error },
}

/// The certificates in `files`, checked. Reads; not for the runtime's threads.
pub(super) fn extra(files: &[PathBuf]) -> Result<Vec<CertificateDer<'static>>, RootsError> {
    let mut all = Vec::new();
    for path in files {
        let unreadable = |error| RootsError::Unreadable { path: path.clone(), error };
        let found = CertificateDer::pem_file_iter(path).map_err(unreadable)?;
        let found: Vec<_> = found.collect::<Result<_, _>>().map_err(unreadable)?;
        if found.is_empty() {
            return Err(RootsError::Empty { path: path.clone() });
        }
        for certificate in &found {
            let usable = RootCertStore::empty().add(certificate.clone());
            usable.map_err(|error| RootsError::Unusable { path: path.clone(), error })?;
        }
        all.extend(found);
    }
    Ok(all)
}

/// Every authority to trust, `extra` among them. Reads; not for the runtime's threads.
pub(super) fn all(extra: &[CertificateDer<'static>]) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::debug!(%error, "a part of this machine's trusted certificates was not read");
    }
    let (known, ignored) = roots.add_parsable_certificates(native.certs);
    if known == 0 {
        tracing::info!("this machine names no authorities that it trusts: taking those built in");
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots.add_parsable_certificates(extra.iter().cloned());
    tracing::debug!(known, ignored, extra = extra.len(), "authorities are read");
    Arc::new(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("roots.pem");
        let failed = || extra(std::slice::from_ref(&path)).expect_err("no certificates").to_string();
        assert!(failed().contains("cannot be read"), "{}", failed());
        std::fs::write(&path, "nothing\n").expect("written");
        assert!(failed().contains("roots.pem\": holds no certificate"), "{}", failed());
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
            .expect("written");
        assert!(failed().contains("no authority's"), "{}", failed());
    }
}
