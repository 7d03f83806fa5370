//! Which authorities an origin's certificate may descend from: those that this machine trusts or, where it names none,
//! those built in; and in either case the operator's own. It reads files and judges nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use crate::pem;

/// The certificates in `files`, which the option `tls.roots` names, checked. Reads; not for the runtime's threads.
///
/// # Errors
/// What is wrong with each of them, in a sentence that names it.
pub(crate) fn extra(files: &[PathBuf]) -> Result<Vec<CertificateDer<'static>>, Vec<String>> {
    let (mut all, mut errors) = (Vec::new(), Vec::new());
    for path in files {
        match pem::certificates(path).and_then(|found| usable(path, found)) {
            Ok(found) => all.extend(found),
            Err(reason) => errors.push(reason),
        }
    }
    if errors.is_empty() { Ok(all) } else { Err(errors) }
}

fn usable(path: &Path, found: Vec<CertificateDer<'static>>) -> Result<Vec<CertificateDer<'static>>, String> {
    let is_wrong = |found: &CertificateDer<'static>| RootCertStore::empty().add(found.clone()).is_err();
    match found.iter().position(is_wrong) {
        None => Ok(found),
        Some(at) => {
            let (path, number) = (path.display(), at + 1);
            Err(format!("{path}: certificate number {number} in it is damaged, or no authority's"))
        }
    }
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
    fn a_file_without_certificates_of_authorities_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("roots.pem");
        let check = |expected: &str| {
            let errors = extra(std::slice::from_ref(&path)).expect_err("no certificates");
            assert_eq!(errors, [format!("{}{expected}", path.display())]);
        };
        check(" cannot be read: No such file or directory (os error 2)");
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
            .expect("written");
        check(": certificate number 1 in it is damaged, or no authority's");
    }
}
