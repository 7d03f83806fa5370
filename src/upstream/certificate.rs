//! Judging an origin's certificate, and saying in plain words what is wrong with it. The judgement is rustls' own, for
//! every connection and without exception; this adds what a reader needs to know and rustls does not tell: who issued a
//! certificate that nobody here knows. Which authorities are trusted is `roots`' to say.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};

use crate::respond::TlsFault;

/// Judges as rustls does. Where it finds no authority behind a certificate, the verdict names the issuer.
#[derive(Debug)]
pub(super) struct Verifier(pub(super) Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now).map_err(
            |error| match (error, Untrusted::of(end_entity)) {
                // Whoever issued it, and whether that is trusted, does not matter.
                (error, _) if is_ca_as_end_entity(&error) => error,
                (
                    Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::Other(_)),
                    Some(untrusted),
                ) => CertificateError::Other(OtherError(Arc::new(untrusted))).into(),
                (error, _) => error,
            },
        )
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Whether the certificate is one with which others are signed (RFC 5280 §4.2.1.9), and is shown as the server's own. rustls
/// hands on what its certificate library says, of which only the name is to be had.
fn is_ca_as_end_entity(error: &Error) -> bool {
    match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => {
            format!("{other:?}") == "CaUsedAsEndEntity"
        }
        _ => false,
    }
}

/// A certificate that descends from no authority known here.
#[derive(Debug)]
struct Untrusted {
    /// Whether it was issued by whom it is for.
    self_signed: bool,
    /// The issuer's name.
    issuer: Option<String>,
}

impl Untrusted {
    /// What `certificate` says of its issuer (RFC 5280 §4.1); none where it cannot be read.
    fn of(certificate: &[u8]) -> Option<Self> {
        let (_, certificate, _) = element(certificate)?;
        let (_, signed, _) = element(certificate)?;
        let (tag, _, after_first) = element(signed)?;
        // The version, which may be left out, comes before the serial number.
        let from_serial = if tag == EXPLICIT_VERSION { after_first } else { signed };
        let (_, _, from_algorithm) = element(from_serial)?;
        let (_, _, from_issuer) = element(from_algorithm)?;
        let (_, issuer, from_validity) = element(from_issuer)?;
        let (_, _, from_subject) = element(from_validity)?;
        let (_, subject, _) = element(from_subject)?;
        Some(Self { self_signed: issuer == subject, issuer: name(issuer) })
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.issuer {
            _ if self.self_signed => f.write_str("is self-signed: nobody but itself vouches for it"),
            Some(issuer) => {
                write!(f, "was issued by \u{201c}{issuer}\u{201d}, an authority that is not trusted here")
            }
            None => f.write_str("was issued by an authority that is not trusted here"),
        }
    }
}

impl std::error::Error for Untrusted {}

/// The tag of the version of a certificate.
const EXPLICIT_VERSION: u8 = 0xa0;

/// Tag and content of the first DER element of `bytes`, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        let digits =
            digits.iter().try_fold(0_usize, |sum, digit| sum.checked_mul(256)?.checked_add((*digit).into()));
        (digits?, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// The common name or, without one, the organisation in a DER Name.
fn name(name: &[u8]) -> Option<String> {
    const COMMON_NAME: [u8; 5] = [6, 3, 0x55, 4, 3];
    const ORGANISATION: [u8; 5] = [6, 3, 0x55, 4, 10];
    let find = |attribute: [u8; 5]| {
        let at = name.windows(attribute.len()).position(|window| window == attribute)?;
        let (_, value, _) = element(name.get(at + attribute.len()..)?)?;
        let text: String =
            String::from_utf8_lossy(value).chars().filter(|c| !c.is_control()).take(80).collect();
        (!text.is_empty()).then_some(text)
    };
    find(COMMON_NAME).or_else(|| find(ORGANISATION))
}

/// What `error` means to somebody who wanted a page.
pub(super) fn fault(error: &Error) -> TlsFault {
    match error {
        error if is_ca_as_end_entity(error) => TlsFault::Certificate(CA_AS_END_ENTITY.to_owned()),
        Error::InvalidCertificate(why) => TlsFault::Certificate(wrong_with(why)),
        Error::NoCertificatesPresented => TlsFault::Certificate("was not shown".to_owned()),
        Error::AlertReceived(alert) => TlsFault::Alert((*alert).into(), snake_case(&format!("{alert:?}"))),
        Error::InvalidMessage(_) => TlsFault::Protocol("what it answers is not TLS".to_owned()),
        Error::PeerIncompatible(why) => {
            TlsFault::Protocol(format!("it knows only what is no longer safe, or is unknown here ({why:?})"))
        }
        other => TlsFault::Protocol(other.to_string()),
    }
}

/// The rest of a sentence that begins with "its certificate".
const CA_AS_END_ENTITY: &str = "is a CA certificate used as a server's own (CA:TRUE), which is not accepted, not even \
                                where tls.roots names it; the server needs one of its own, signed with this one, or \
                                self-signed with CA:FALSE";

/// The rest of a sentence that begins with "its certificate".
fn wrong_with(error: &CertificateError) -> String {
    use CertificateError as E;
    match error {
        E::ExpiredContext { time, not_after } => {
            format!("expired on {} (the clock of this machine says {})", date(*not_after), date(*time))
        }
        E::Expired => "has expired".to_owned(),
        E::NotValidYetContext { time, not_before } => format!(
            "is valid only from {} on (the clock of this machine says {}, which may be wrong)",
            date(*not_before),
            date(*time)
        ),
        E::NotValidYet => "is not valid yet; the clock of this machine may be wrong".to_owned(),
        E::NotValidForNameContext { presented, .. } => {
            let names: Vec<_> = presented.iter().take(MOST_NAMES).map(|name| bare(name)).collect();
            let more = if presented.len() > MOST_NAMES { " and others" } else { "" };
            match names.as_slice() {
                [] => "is for no name at all".to_owned(),
                names => format!("is for other names: {}{more}", names.join(", ")),
            }
        }
        E::NotValidForName => "is for other names".to_owned(),
        E::UnknownIssuer => "was issued by an authority that is not trusted here".to_owned(),
        E::Revoked => "was revoked by its issuer".to_owned(),
        E::BadSignature => "does not bear the signature of its issuer".to_owned(),
        E::BadEncoding => "cannot be read".to_owned(),
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            "is for another purpose than a web site".to_owned()
        }
        E::Other(OtherError(other)) if other.is::<Untrusted>() => other.to_string(),
        other => format!("is not acceptable ({other})"),
    }
}

/// Names of a certificate that are told.
const MOST_NAMES: usize = 6;

/// `example.org` from rustls' `DnsName("example.org")`.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

/// A moment as dates are written in HTTP, in the range that they have.
fn date(time: UnixTime) -> String {
    /// The last second of 9999.
    const LAST: u64 = 253_402_300_799;
    let time: SystemTime = UNIX_EPOCH + Duration::from_secs(time.as_secs().min(LAST));
    rfc9111::format_date(time).to_str().unwrap_or_default().to_owned()
}

/// `handshake_failure` from `HandshakeFailure`.
fn snake_case(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    let mut after_small = false;
    for character in name.chars().filter(char::is_ascii_alphanumeric) {
        if character.is_ascii_uppercase() && after_small {
            text.push('_');
        }
        after_small = character.is_ascii_lowercase();
        text.push(character.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustls::{AlertDescription, PeerIncompatible};

    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[track_caller]
    fn check(error: CertificateError, expected: &str) {
        assert_eq!(fault(&error.into()), TlsFault::Certificate(expected.to_owned()));
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_said_in_words() {
        check(
            CertificateError::ExpiredContext { time: at(86_400), not_after: at(0) },
            "expired on Thu, 01 Jan 1970 00:00:00 GMT (the clock of this machine says Fri, 02 Jan 1970 00:00:00 GMT)",
        );
        let expected = ServerName::try_from("a.example").expect("a name");
        let names =
            |presented| CertificateError::NotValidForNameContext { expected: expected.clone(), presented };
        let presented = vec!["DnsName(\"b.example\")".to_owned(), "IpAddress(192.0.2.1)".to_owned()];
        check(names(presented), "is for other names: b.example, 192.0.2.1");
        check(names(vec![]), "is for no name at all");
        let many = (0..9).map(|number| format!("DnsName(\"{number}\")")).collect();
        check(names(many), "is for other names: 0, 1, 2, 3, 4, 5 and others");
        check(CertificateError::Revoked, "was revoked by its issuer");
    }

    #[test]
    fn alerts_have_their_names_in_the_registry() {
        let told = |alert| fault(&Error::AlertReceived(alert));
        assert_eq!(told(AlertDescription::HandshakeFailure), TlsFault::Alert(40, "handshake_failure".into()));
        assert_eq!(told(AlertDescription::UnknownCA), TlsFault::Alert(48, "unknown_ca".into()));
        let old = fault(&PeerIncompatible::ServerDoesNotSupportTls12Or13.into());
        assert!(matches!(old, TlsFault::Protocol(_)));
    }

    /// The sequence of `parts`.
    fn sequence(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        [vec![tag, u8::try_from(content.len()).expect("short")], content].concat()
    }

    fn certificate(version: &[u8], issuer: &[u8], subject: &[u8]) -> Vec<u8> {
        let (number, empty) = ([2, 1, 5].as_slice(), [0x30, 0].as_slice());
        let signed = sequence(0x30, &[version, number, empty, issuer, empty, subject]);
        sequence(0x30, &[&signed])
    }

    #[test]
    fn the_issuer_is_read_from_the_certificate() {
        let named = |oid: u8, text: &str| {
            let value = sequence(0x0c, &[text.as_bytes()]);
            let attribute = sequence(0x30, &[&[6, 3, 0x55, 4, oid], &value]);
            sequence(0x30, &[&sequence(0x31, &[&attribute])])
        };
        let (school, site) = (named(3, "The \u{7}School"), named(10, "The Site"));
        let version = [0xa0, 3, 2, 1, 2];
        let told = |version: &[u8], issuer, subject| {
            Untrusted::of(&certificate(version, issuer, subject)).expect("a certificate").to_string()
        };
        let unknown = "was issued by \u{201c}The School\u{201d}, an authority that is not trusted here";
        assert_eq!(told(&version, &school, &site), unknown);
        assert_eq!(told(&[], &school, &site), unknown);
        assert!(told(&version, &site, &school).contains("\u{201c}The Site\u{201d}"));
        assert!(told(&version, &site, &site).contains("self-signed"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Untrusted::of(&bytes);
            let _ = name(&bytes);
        }
    }
}
