//! The certificate authority of this proxy: made once, kept in a folder of its own, put on devices by hand, and asked for
//! a certificate for each host whose HTTPS is opened here.
//!
//! It opens no connection. Which hosts are opened is `config::Intercept`'s to say; what a certificate must look like is
//! RFC 5280's and the CA/Browser Forum's.

mod authority;
mod certificate;
mod der;
mod error;
mod folder;
pub(crate) mod leaf;
pub(crate) mod profile;
mod scope;
pub(crate) mod time;
pub(crate) mod trust;

use std::sync::Arc;

pub(crate) use authority::{Authority, Made};
pub(crate) use certificate::RootCertificate;
pub(crate) use error::Error;
pub(crate) use folder::Folder;
pub(crate) use scope::Scope;

use crate::config::Config;

/// The authority that a proxy of `config` serves with; none where nothing is to be opened and none
/// was made. It changes nothing in the folder.
///
/// # Errors
/// [`Error::Missing`] where hosts are to be opened and there is no authority to do it, and whatever is wrong with the
/// folder of the one there is. Where nothing is to be opened that is only a warning: http goes on.
pub(crate) fn open(config: &Config) -> Result<Option<Arc<Authority>>, Error> {
    let folder = Folder::new(&config.ca_dir);
    let is_needed = !config.intercept.hosts.is_empty();
    match folder.look() {
        Ok(Some(authority)) => Ok(Some(Arc::new(authority))),
        Ok(None) if is_needed => Err(Error::Missing { folder: config.ca_dir.clone() }),
        Ok(None) => Ok(None),
        Err(error) if is_needed => Err(error),
        Err(error) => {
            tracing::warn!(%error, "the certificate authority is left alone");
            Ok(None)
        }
    }
}
