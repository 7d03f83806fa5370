//! `Authority`: a key and its certificate, and the certificates they sign.
//!
//! Pure but for the random numbers: it reads no clock and no file (`folder` does), and remembers no certificate that it
//! signed (`leaf` does).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};

use super::certificate::{RootCertificate, pem};
use super::error::Error;
use super::scope::Scope;
use super::time::{self, DAY};
#[cfg(test)]
use crate::config::Config;
use crate::host::Host;

/// How long an authority is valid: devices are visited once in a long while.
const LIFE: Duration = Duration::from_hours(3650 * 24);

/// Clocks of devices may be behind ours by as much.
const BACKDATED: Duration = Duration::from_hours(2 * 24);

/// The whole of a leaf's validity. Clients refuse more than 398 days (CA/Browser Forum Baseline Requirements §6.3.2).
const LEAF_LIFE: Duration = Duration::from_hours(397 * 24);

/// RFC 5280, upper bound of a common name (`ub-common-name`), in characters.
const LONGEST_NAME: usize = 64;

/// An authority that can sign.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: RootCertificate,
    next: Option<RootCertificate>,
}

/// An authority just made, of which the key is still to be written down.
pub(crate) struct Made {
    pub(crate) certificate: RootCertificate,
    /// PKCS #8 in PEM.
    pub(super) key: String,
}

/// A signed certificate for one host.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) der: CertificateDer<'static>,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
}

impl Made {
    /// Makes an authority that is called `name` and signs for the hosts of `scope`, at the moment `now`.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub(crate) fn new(name: &str, scope: &Scope, now: SystemTime) -> Result<Self, Error> {
        let key = KeyPair::generate()?;
        let mut mark = [0; 4];
        random(&mut mark)?;
        // Two authorities of one name confuse the search for a chain, and whoever has to remove one of them.
        let mark: String = mark.iter().map(|octet| format!("{octet:02x}")).collect();
        let name: String = name.chars().filter(|c| !c.is_control()).take(LONGEST_NAME - 12).collect();
        let mut params = issuer_params(&format!("{name} CA {mark}"));
        time::set_validity(&mut params, now - BACKDATED, now + LIFE);
        params.serial_number = Some(serial()?);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.name_constraints = scope.constraints();
        let signed = params.self_signed(&key)?;
        let certificate =
            RootCertificate::read(signed.into()).ok_or(rcgen::Error::CouldNotParseCertificate)?;
        Ok(Self { certificate, key: pem("PRIVATE KEY", key.serialized_der()) })
    }
}

impl Authority {
    /// Joins a certificate and its key, and checks that they belong together. None if they do not.
    pub(super) fn new(
        certificate: RootCertificate,
        key: &PrivatePkcs8KeyDer<'_>,
        next: Option<RootCertificate>,
    ) -> Option<Self> {
        let key = KeyPair::try_from(key).ok()?;
        let issuer = Issuer::new(issuer_params(&certificate.name), key);
        let authority = Self { issuer, certificate, next };
        authority.proves_itself().then_some(authority)
    }

    /// The certificate that devices trust.
    #[cfg(test)]
    pub(crate) fn certificate(&self) -> &RootCertificate {
        &self.certificate
    }

    /// The certificate that is to follow, which devices should trust already.
    #[cfg(test)]
    pub(crate) fn next(&self) -> Option<&RootCertificate> {
        self.next.as_ref()
    }

    /// Both, the one in force first.
    pub(crate) fn published(&self) -> impl Iterator<Item = &RootCertificate> {
        std::iter::once(&self.certificate).chain(&self.next)
    }

    /// Signs a certificate for `host` and the key `key`, at the moment `now`.
    ///
    /// # Errors
    /// If the host is out of scope, or the authority not valid.
    pub(super) fn sign(&self, host: &Host, key: &impl PublicKeyData, now: SystemTime) -> Result<Leaf, Error> {
        if !self.certificate.scope.covers(host) {
            return Err(Error::OutOfScope { host: host.to_string() });
        }
        if now < self.certificate.not_before {
            return Err(Error::NotValidNow("not valid yet"));
        }
        if now >= self.certificate.not_after {
            return Err(Error::NotValidNow("no longer valid"));
        }
        let not_before = (now - BACKDATED).max(self.certificate.not_before);
        let not_after = (not_before + LEAF_LIFE).min(self.certificate.not_after);
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(&host.to_string());
        time::set_validity(&mut params, not_before, not_after);
        // One key has many leaves, so the default, a hash of the key, would be one serial for all of them.
        params.serial_number = Some(serial()?);
        params.subject_alt_names = vec![match host {
            Host::Address(address) => SanType::IpAddress(*address),
            Host::Name(name) => SanType::DnsName(name.text().try_into()?),
        }];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let signed = params.signed_by(key, &self.issuer)?;
        Ok(Leaf { der: signed.into(), not_before, not_after })
    }

    /// Whether a client that trusts the certificate would accept what the key signs: the two belong together.
    fn proves_itself(&self) -> bool {
        let host = match &self.certificate.scope {
            Scope::Domains(domains) => domains.first().cloned().unwrap_or_default(),
            Scope::Any => "bentpipe.example".to_owned(),
        };
        let Ok(name) = ServerName::try_from(host.clone()) else { return false };
        let when = self.certificate.not_before + DAY;
        let Ok(host) = Host::read(&host) else { return false };
        let Ok(leaf) = self.sign(&host, self.issuer.key(), when) else { return false };
        accepts(&self.certificate.der, &leaf.der, &name, when)
    }
}

/// Whether a client that trusts `root` accepts `leaf` as that of `name`.
pub(super) fn accepts(
    root: &CertificateDer<'static>,
    leaf: &CertificateDer<'_>,
    name: &ServerName<'_>,
    when: SystemTime,
) -> bool {
    let mut roots = RootCertStore::empty();
    let since = when.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    roots.add(root.clone()).is_ok()
        && WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().is_ok_and(
            |client| {
                client.verify_server_cert(leaf, &[], name, &[], UnixTime::since_unix_epoch(since)).is_ok()
            },
        )
}

/// The one implementation of cryptography in this program.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// A new key as TLS uses it.
pub(super) fn tls_key(key: &KeyPair) -> Result<Arc<dyn rustls::sign::SigningKey>, Error> {
    let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialized_der().to_vec()));
    Ok(ring::sign::any_supported_type(&der)?)
}

/// What of an authority's own certificate is found again in what it signs: its name.
fn issuer_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    params
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    let cut: String = name.chars().take(LONGEST_NAME).collect();
    distinguished.push(DnType::CommonName, cut);
    distinguished
}

/// A serial number: 20 octets, positive, 158 bits of them random (RFC 5280 §4.1.2.2; CA/Browser Forum: at least 64).
fn serial() -> Result<SerialNumber, Error> {
    let mut octets = [0; 20];
    random(&mut octets)?;
    octets[0] = octets[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&octets))
}

fn random(octets: &mut [u8]) -> Result<(), Error> {
    provider().secure_random.fill(octets).map_err(|_| Error::NoRandom)
}

#[cfg(test)]
impl Authority {
    /// An authority for `hosts`, as it would be read from a folder.
    pub(crate) fn for_test(hosts: &str, now: SystemTime) -> Self {
        let config = Config::from_flags(["--intercept", hosts]).expect("hosts");
        let made = Made::new("Test", &Scope::of(&config.intercept.hosts), now).expect("an authority");
        let key = super::folder::read_key(made.key.as_bytes()).expect("a key");
        Self::new(made.certificate, &key, None).expect("a pair")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(hosts: &str, now: SystemTime) -> Authority {
        Authority::for_test(hosts, now)
    }

    fn now() -> SystemTime {
        crate::Clock::manual().now()
    }

    fn check_accepted(hosts: &str, host: &str, expected: bool) {
        let authority = authority(hosts, now());
        let key = KeyPair::generate().expect("a key");
        let signed = authority.sign(&Host::read(host).expect("a host"), &key, now());
        let accepted = signed.is_ok_and(|leaf| {
            let name = ServerName::try_from(host.to_owned()).expect("a name");
            accepts(&authority.certificate.der, &leaf.der, &name, now())
        });
        assert_eq!(accepted, expected, "{host} from an authority for {hosts}");
    }

    #[test]
    fn clients_accept_what_is_in_scope() {
        check_accepted("all", "www.example.org", true);
        check_accepted("all", "192.0.2.1", true);
        check_accepted("all", "2001:db8::1", true);
        check_accepted("*.example.org", "www.example.org", true);
        check_accepted("*.example.org", "example.org", true);
        check_accepted("*.example.org", "example.com", false);
        check_accepted("*.example.org", "192.0.2.1", false);
        check_accepted("all", &format!("{}.example", ["a".repeat(60), "b".repeat(60)].join(".")), true);
    }

    #[test]
    fn clients_hold_the_authority_to_its_constraints() {
        // Signed as if there were no bounds: the bounds must be in the certificate, and not only in our manners.
        for (host, expected) in [("www.example.org", true), ("example.com", false), ("192.0.2.1", false)] {
            let mut authority = authority("*.example.org", now());
            authority.certificate.scope = Scope::Any;
            let key = KeyPair::generate().expect("a key");
            let leaf = authority.sign(&Host::read(host).expect("a host"), &key, now()).expect("a leaf");
            let name = ServerName::try_from(host).expect("a name");
            assert_eq!(accepts(&authority.certificate.der, &leaf.der, &name, now()), expected, "{host}");
        }
    }

    #[test]
    fn what_the_certificate_says_is_read_back() {
        let read = authority("b.example,*.a.example", now()).certificate;
        assert_eq!(
            read.scope,
            Scope::Domains(["a.example", "b.example", "bentpipe.local"].map(str::to_owned).into())
        );
        assert_eq!((read.not_before, read.not_after), (now() - BACKDATED, now() + LIFE));
        assert!(read.name.starts_with("Test CA ") && read.name.len() == 16, "{}", read.name);
        assert_eq!(RootCertificate::from_pem(read.pem().as_bytes()), Some(read));
    }

    #[test]
    fn a_key_of_another_authority_is_found_out() {
        let [one, other] = [(); 2].map(|()| Made::new("Test", &Scope::Any, now()).expect("an authority"));
        let key = crate::ca::folder::read_key(other.key.as_bytes()).expect("a key");
        assert!(Authority::new(one.certificate, &key, None).is_none());
        assert!(Authority::new(other.certificate, &key, None).is_some());
    }

    #[test]
    fn a_leaf_is_valid_within_its_authority_and_no_longer_than_clients_take() {
        let authority = authority("all", now());
        let key = KeyPair::generate().expect("a key");
        let sign = |when| authority.sign(&Host::read("a.example").expect("a host"), &key, when);
        let leaf = sign(now()).expect("a leaf");
        assert_eq!(leaf.not_after, now() - BACKDATED + LEAF_LIFE);
        assert_eq!(sign(now() + LIFE - DAY).expect("a leaf").not_after, now() + LIFE);
        assert!(matches!(sign(now() + LIFE), Err(Error::NotValidNow(_))));
        assert!(matches!(sign(now() - BACKDATED - DAY), Err(Error::NotValidNow(_))));
        assert!(sign(now() - BACKDATED).is_ok(), "a clock that is a little behind");
    }
}
