//! `Leaves`: the certificates that clients are shown, one for each host, made when the first client asks and kept while
//! they are good.
//!
//! All have one key, made when bentpipe starts: it is no more secret than the key of the authority beside it. Nothing is
//! written down, since a certificate costs less than reading one.

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use quick_cache::sync::Cache;
use rcgen::KeyPair;
use rustls::sign::{CertifiedKey, SigningKey};

use super::authority::{self, Authority};
use super::error::Error;
use crate::clock::Clock;
use crate::host::Host;

/// Hosts whose certificates are kept. One takes about 1 kB.
const MOST: usize = 4096;

/// The certificates made so far.
pub(crate) struct Leaves {
    authority: Arc<Authority>,
    clock: Clock,
    key: KeyPair,
    tls_key: Arc<dyn SigningKey>,
    /// By host, as it is printed.
    made: Cache<String, Kept>,
}

#[derive(Clone)]
struct Kept {
    certified: Arc<CertifiedKey>,
    /// From when to when it is shown; then another is made in its place.
    shown: Range<SystemTime>,
}

impl Leaves {
    /// Certificates of `authority`, dated by `clock`.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub(crate) fn new(authority: Arc<Authority>, clock: Clock) -> Result<Self, Error> {
        let key = KeyPair::generate()?;
        let tls_key = authority::tls_key(&key)?;
        Ok(Self { authority, clock, key, tls_key, made: Cache::new(MOST) })
    }

    /// How many hosts have a certificate at the moment.
    pub(crate) fn len(&self) -> usize {
        self.made.len()
    }

    /// The certificate of `host` (a name or an address, as a request or a ClientHello spells it) and its key, as rustls
    /// shows them. It takes some 50 us the first time and less than 1 us from then on, and waits for nothing.
    ///
    /// # Errors
    /// If it is no host, if the authority must not sign for it (both mean that the connection is to be left alone), or
    /// if the authority is not valid at the moment.
    pub(crate) fn certified(&self, host: &str) -> Result<Arc<CertifiedKey>, Error> {
        let host = Host::read(host).map_err(|_| Error::NotAHost { host: host.to_owned() })?;
        let now = self.clock.now();
        let name = host.to_string();
        if let Some(kept) = self.made.get(&name).filter(|kept| kept.shown.contains(&now)) {
            return Ok(kept.certified);
        }
        let leaf = self.authority.sign(&host, &self.key, now)?;
        let certified = Arc::new(CertifiedKey::new(vec![leaf.der], self.tls_key.clone()));
        // Long before it ends, so that no client with a clock that is ahead of ours meets one that has ended. A clock
        // that is set back to before it begins wants another, too.
        let left = leaf.not_after.duration_since(now).unwrap_or_default();
        let shown = leaf.not_before..now + left / 4 * 3;
        self.made.insert(name, Kept { certified: certified.clone(), shown });
        Ok(certified)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use rustls::pki_types::ServerName;

    use super::*;
    use crate::ca::authority::accepts;

    const DAY: Duration = Duration::from_hours(24);

    fn leaves(hosts: &str) -> (Leaves, Clock) {
        let clock = Clock::manual();
        let authority = Arc::new(Authority::for_test(hosts, clock.now()));
        (Leaves::new(authority, clock.clone()).expect("leaves"), clock)
    }

    fn check_shown(leaves: &Leaves, host: &str, name: &'static str, when: SystemTime) {
        let certified = leaves.certified(host).expect("a certificate");
        let root = &leaves.authority.certificate().der;
        let name = ServerName::try_from(name).expect("a name");
        assert!(accepts(root, &certified.cert[0], &name, when), "{host}");
        assert_eq!(certified.keys_match(), Ok(()));
    }

    #[test]
    fn a_host_has_one_certificate_in_every_spelling() {
        let (leaves, clock) = leaves("all");
        let now = clock.now();
        check_shown(&leaves, "www.example.org", "www.example.org", now);
        let one = leaves.certified("www.example.org").expect("a certificate");
        let same = leaves.certified("WWW.Example.org.").expect("a certificate");
        assert!(Arc::ptr_eq(&one, &same) && leaves.len() == 1);
        check_shown(&leaves, "[2001:db8::1]", "2001:db8::1", now);
        check_shown(&leaves, "192.0.2.1", "192.0.2.1", now);
        check_shown(&leaves, "under_score.example", "under_score.example", now);
        assert_eq!(leaves.len(), 4);
    }

    #[test]
    fn what_must_not_be_signed_is_not() {
        let (leaves, _) = leaves("*.example.org");
        assert!(matches!(leaves.certified("example.com"), Err(Error::OutOfScope { .. })));
        for no_host in ["", "a b", "a..b", "a:443", "*.example.org", "x.\u{e9}"] {
            assert!(matches!(leaves.certified(no_host), Err(Error::NotAHost { .. })), "{no_host}");
        }
        assert_eq!(leaves.len(), 0);
    }

    #[test]
    fn a_certificate_is_made_anew_before_it_ends_and_never_outlives_its_authority() {
        let (leaves, clock) = leaves("all");
        let mut last = leaves.certified("a.example").expect("a certificate");
        let mut made = 1;
        for day in 1..3650 {
            clock.advance(DAY);
            let now = leaves.certified("a.example").unwrap_or_else(|error| panic!("day {day}: {error}"));
            made += u32::from(!Arc::ptr_eq(&last, &now));
            last = now;
            check_shown(&leaves, "a.example", "a.example", clock.now() + DAY / 4);
        }
        assert!((10..60).contains(&made), "made {made} times in ten years");
        clock.advance(DAY * 2);
        assert!(matches!(leaves.certified("a.example"), Err(Error::NotValidNow("no longer valid"))));
    }

    /// What openssl says of a chain: the same files, another implementation.
    #[test]
    fn openssl_accepts_what_is_in_scope_and_nothing_else() {
        let (leaves, clock) = leaves("*.example.org");
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, pem: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, pem).expect("a file");
            path
        };
        let root = write("root.pem", leaves.authority.certificate().pem());
        let seconds =
            clock.now().duration_since(SystemTime::UNIX_EPOCH).expect("a time").as_secs().to_string();
        let check = |der: &[u8], name: &str, host: &str, expected: bool| {
            let leaf = write("leaf.pem", crate::ca::certificate::pem("CERTIFICATE", der));
            let mut command = std::process::Command::new("openssl");
            command.args(["verify", "-x509_strict", "-purpose", "sslserver", "-attime", &seconds, "-CAfile"]);
            command.arg(&root).args(["-verify_hostname", host]).arg(&leaf);
            match command.output() {
                Ok(said) => assert_eq!(said.status.success(), expected, "{name} as {host}: {said:?}"),
                Err(error) => eprintln!("SKIPPED: a chain was not shown to openssl: {error}"),
            }
        };
        let leaf = leaves.certified("www.example.org").expect("a certificate");
        check(&leaf.cert[0], "www.example.org", "www.example.org", true);
        check(&leaf.cert[0], "www.example.org", "mail.example.org", false);
        let other = Authority::for_test("all", clock.now());
        let foreign = other
            .sign(&Host::read("www.example.org").expect("a host"), &leaves.key, clock.now())
            .expect("a leaf");
        check(&foreign.der, "another authority's", "www.example.org", false);
    }

    #[test]
    fn no_serial_is_used_twice_and_no_more_are_kept_than_fit() {
        let (leaves, _) = leaves("all");
        let mut serials = HashSet::new();
        for number in 0..5000 {
            let certified = leaves.certified(&format!("h{number}.example")).expect("a certificate");
            // SEQUENCE, SEQUENCE, [0] version, INTEGER: with lengths of two octets the serial begins at 15.
            let der: &[u8] = &certified.cert[0];
            assert_eq!(der[13..15], [2, 20], "an INTEGER of 20 octets");
            assert!(serials.insert(der[15..35].to_vec()));
        }
        assert!(leaves.len() <= MOST, "{}", leaves.len());
    }
}
