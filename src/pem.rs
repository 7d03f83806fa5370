//! Certificates and keys in PEM files (RFC 7468): read, and what is wrong with a file in words that name it. What they are
//! good for is not its matter.

use std::path::Path;

use rustls::pki_types::pem::{Error, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::named_file;

/// The certificates in the file at `path`, at least one.
///
/// # Errors
/// What is wrong with the file, which is named.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found =
        read(path).and_then(|pem| CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>());
    match found {
        Ok(found) if found.is_empty() => Err(in_words(path, &Error::NoItemsFound, "certificate")),
        found => found.map_err(|error| in_words(path, &error, "certificate")),
    }
}

/// The private key in the file at `path`.
///
/// # Errors
/// As [`certificates`].
pub(crate) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let found = read(path).and_then(|pem| PrivateKeyDer::from_pem_slice(&pem));
    found.map_err(|error| in_words(path, &error, "private key"))
}

/// Bytes of a file. All authorities of a system take a quarter of it.
const LARGEST: u64 = 1_000_000;

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    named_file::read(path, LARGEST).map_err(Error::Io)
}

/// What is wrong with the file at `path`, which was to hold a `what`.
fn in_words(path: &Path, error: &Error, what: &str) -> String {
    let path = path.display();
    match error {
        Error::Io(error) => format!("{path} cannot be read: {error}"),
        Error::NoItemsFound => format!("{path} holds no {what} in PEM, which begins with a line -----BEGIN"),
        Error::MissingSectionEnd { .. } => format!("{path} is cut off: a line -----END is missing"),
        _ => format!("{path} is damaged: what stands between its lines -----BEGIN and -----END is no PEM"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_file_is_a_sentence() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.pem");
        let check = |content: Option<&str>, certificate: &str, private: &str| {
            content.into_iter().for_each(|content| std::fs::write(&path, content).expect("written"));
            let errors =
                [certificates(&path).map(drop), key(&path).map(drop)].map(|read| read.expect_err("wrong"));
            let said = errors.map(|error| error.replace(&path.display().to_string(), "a.pem"));
            assert_eq!(said, [certificate, private].map(|rest| format!("a.pem {rest}")));
        };
        let both = |content, rest| check(content, rest, rest);
        both(None, "cannot be read: No such file or directory (os error 2)");
        let none = "in PEM, which begins with a line -----BEGIN";
        check(
            Some("nothing\n"),
            &format!("holds no certificate {none}"),
            &format!("holds no private key {none}"),
        );
        let cut = "is cut off: a line -----END is missing";
        check(Some("-----BEGIN CERTIFICATE-----\nAAAA\n"), cut, cut);
        let damaged = "is damaged: what stands between its lines -----BEGIN and -----END is no PEM";
        both(Some("-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n"), damaged);
    }
}
