//! `RootCertificate`: the certificate of an authority, and what it says that matters here.
//!
//! It holds no key. Only certificates that bentpipe made are read: those of others have forms that are not told apart
//! here, and are refused.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};

use super::der::{self, Reader};
use super::scope::Scope;
use super::time;

/// A certificate of an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RootCertificate {
    pub(crate) der: CertificateDer<'static>,
    /// Its common name, by which people and trust stores know it.
    pub(crate) name: String,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    pub(crate) scope: Scope,
}

/// id-at-commonName, and id-ce-nameConstraints.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x1e];

impl RootCertificate {
    /// Reads a certificate; none for what is none of ours.
    pub(crate) fn read(der: CertificateDer<'static>) -> Option<Self> {
        let mut certificate = Reader::new(&der).within(der::SEQUENCE)?;
        // TBSCertificate (RFC 5280 §4.1), in its order.
        let mut fields = certificate.within(der::SEQUENCE)?;
        fields.take(der::constructed(0))?;
        fields.take(der::INTEGER)?;
        fields.take(der::SEQUENCE)?;
        let issuer = fields.take(der::SEQUENCE)?;
        let mut validity = fields.within(der::SEQUENCE)?;
        let not_before = moment(&mut validity)?;
        let not_after = moment(&mut validity)?;
        let subject = fields.take(der::SEQUENCE)?;
        fields.take(der::SEQUENCE)?;
        let extensions = fields.within(der::constructed(3))?.within(der::SEQUENCE)?;
        let name = common_name(Reader::new(subject)).filter(|_| subject == issuer)?;
        let scope = match extension(extensions, NAME_CONSTRAINTS) {
            Some(content) => Scope::parse(content)?,
            None => Scope::Any,
        };
        Some(Self { name, not_before, not_after, scope, der })
    }

    /// Reads the first certificate of a PEM text.
    pub(crate) fn from_pem(pem: &[u8]) -> Option<Self> {
        CertificateDer::from_pem_slice(pem).ok().and_then(Self::read)
    }

    /// As a PEM text (RFC 7468).
    pub(crate) fn pem(&self) -> String {
        pem("CERTIFICATE", &self.der)
    }

    /// The SHA-256 of it, as other tools print it: `AB:CD:...`.
    pub(crate) fn fingerprint(&self) -> String {
        let octets = self.digest();
        octets.iter().map(|octet| format!("{octet:02X}")).collect::<Vec<_>>().join(":")
    }

    /// The beginning of the fingerprint, for the names of files.
    pub(crate) fn short(&self) -> String {
        self.digest().iter().take(4).map(|octet| format!("{octet:02x}")).collect()
    }

    pub(super) fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.der).into()
    }

    /// The part of its name that somebody chose; the rest tells it from others so called.
    pub(crate) fn given_name(&self) -> &str {
        self.name.rsplit_once(" CA ").map_or(&self.name, |(given, _)| given)
    }

    /// The whole days it is still valid; none if that is over.
    pub(crate) fn days_left(&self, now: SystemTime) -> Option<u64> {
        time::days_left(now, self.not_after)
    }

    /// The date on which it ends.
    pub(crate) fn last_day(&self) -> String {
        time::date(self.not_after)
    }
}

/// A PEM text of so many octets.
pub(super) fn pem(label: &str, octets: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    let coded = STANDARD.encode(octets);
    let mut rest = coded.as_str();
    while !rest.is_empty() {
        // "each line except the final line [is] exactly 64 printable characters" (RFC 7468 §2).
        let (line, behind) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = behind;
    }
    text + &format!("-----END {label}-----\n")
}

fn moment(validity: &mut Reader<'_>) -> Option<SystemTime> {
    match validity.any()? {
        (der::UTC_TIME, content) => time::parse(content, false),
        (der::GENERALIZED_TIME, content) => time::parse(content, true),
        _ => None,
    }
}

/// The common name of a Name that has nothing else, as all of ours.
fn common_name(mut name: Reader<'_>) -> Option<String> {
    let mut attribute = name.within(der::SET)?.within(der::SEQUENCE)?;
    let is_common = attribute.take(der::OBJECT_IDENTIFIER)? == COMMON_NAME && name.any().is_none();
    let text = attribute.take(der::UTF8_STRING)?;
    std::str::from_utf8(text).ok().filter(|_| is_common).map(str::to_owned)
}

/// The content of an extension.
fn extension<'a>(mut extensions: Reader<'a>, wanted: &[u8]) -> Option<&'a [u8]> {
    while let Some(mut extension) = extensions.within(der::SEQUENCE) {
        if extension.take(der::OBJECT_IDENTIFIER)? == wanted {
            let (tag, content) = extension.any()?;
            return if tag == der::OCTET_STRING { Some(content) } else { extension.take(der::OCTET_STRING) };
        }
    }
    None
}
