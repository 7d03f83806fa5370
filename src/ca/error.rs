//! What can be wrong with a certificate authority, and what to do about it.

use std::io;
use std::path::PathBuf;

/// Why there is no authority, or no certificate from it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    /// Hosts are to be opened, and nothing was made to do it with. Said of tls.intercept.hosts.
    #[error(
        "names hosts, and there is no certificate authority in {} to open them with: make one with bentpipe ca init",
        folder.display()
    )]
    Missing { folder: PathBuf },
    /// There is one, which devices may trust already.
    #[error(
        "{}: there is a certificate authority already; to replace it see bentpipe ca rotate --help",
        folder.display()
    )]
    Exists { folder: PathBuf },
    /// Nothing to go on with where `rotate` needs it.
    #[error("there is no certificate authority in {}: make one with bentpipe ca init", folder.display())]
    Nothing { folder: PathBuf },
    /// A folder or key that others can read or change.
    #[error("{}: its mode is {mode:04o}, so that others can {what} it: chmod {right} {}", path.display(), path.display())]
    Open { path: PathBuf, mode: u32, what: &'static str, right: &'static str },
    /// A file that cannot be read or written.
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// A certificate or key that is none, or one that bentpipe did not make.
    #[error("{}: {what}", path.display())]
    Damaged { path: PathBuf, what: &'static str },
    /// A certificate for something that is no host.
    #[error("{host:?} is not a host")]
    NotAHost { host: String },
    /// A host that the certificate's name constraints (RFC 5280 §4.2.1.10) leave out: no client would accept it.
    #[error("the certificate authority was made for other hosts than {host}: see bentpipe ca rotate --help")]
    OutOfScope { host: String },
    /// The authority is not valid at the moment.
    #[error(
        "the certificate authority is {0}: check the clock of this machine, or see bentpipe ca rotate --help"
    )]
    NotValidNow(&'static str),
    /// What the cryptography says.
    #[error("a certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The system gave no random numbers.
    #[error("this system gave no random numbers")]
    NoRandom,
    /// A key that TLS cannot use.
    #[error("the key cannot be used: {0}")]
    Key(#[from] rustls::Error),
}
