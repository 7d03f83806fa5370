//! The certificates of an authority as Apple's systems take them: a configuration profile. Other forms are
//! `RootCertificate`'s own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::certificate::RootCertificate;
use crate::text::escaped;

/// A configuration profile (Apple's "Configuration Profile Reference", payload `com.apple.security.root`) with all
/// certificates. The same certificates make the same profile, so that it is replaced and not added when it is installed
/// again.
pub(crate) fn mobileconfig<'a>(certificates: impl IntoIterator<Item = &'a RootCertificate>) -> String {
    let certificates: Vec<_> = certificates.into_iter().collect();
    let name = certificates.first().map_or("bentpipe", |certificate| certificate.name.as_str());
    let all: Vec<u8> = certificates.iter().flat_map(|certificate| certificate.digest()).collect();
    let payloads: String = certificates.iter().map(|certificate| payload(certificate)).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
         <plist version=\"1.0\">\n<dict>\n\t<key>PayloadContent</key>\n\t<array>\n{payloads}\t</array>\n\
         \t<key>PayloadDescription</key>\n\
         \t<string>Lets the proxy of this site open and keep HTTPS pages.</string>\n\
         \t<key>PayloadDisplayName</key>\n\t<string>{name}</string>\n\
         \t<key>PayloadIdentifier</key>\n\t<string>bentpipe.ca.{uuid}</string>\n\
         \t<key>PayloadRemovalDisallowed</key>\n\t<false/>\n\
         \t<key>PayloadType</key>\n\t<string>Configuration</string>\n\
         \t<key>PayloadUUID</key>\n\t<string>{uuid}</string>\n\
         \t<key>PayloadVersion</key>\n\t<integer>1</integer>\n</dict>\n</plist>\n",
        name = escaped(name),
        uuid = uuid("profile", &all),
    )
}

fn payload(certificate: &RootCertificate) -> String {
    format!(
        "\t\t<dict>\n\
         \t\t\t<key>PayloadCertificateFileName</key>\n\t\t\t<string>bentpipe-{short}.crt</string>\n\
         \t\t\t<key>PayloadContent</key>\n\t\t\t<data>{data}</data>\n\
         \t\t\t<key>PayloadDisplayName</key>\n\t\t\t<string>{name}</string>\n\
         \t\t\t<key>PayloadIdentifier</key>\n\t\t\t<string>bentpipe.ca.certificate.{uuid}</string>\n\
         \t\t\t<key>PayloadType</key>\n\t\t\t<string>com.apple.security.root</string>\n\
         \t\t\t<key>PayloadUUID</key>\n\t\t\t<string>{uuid}</string>\n\
         \t\t\t<key>PayloadVersion</key>\n\t\t\t<integer>1</integer>\n\
         \t\t</dict>\n",
        short = certificate.short(),
        data = STANDARD.encode(&certificate.der),
        name = escaped(&certificate.name),
        uuid = uuid("certificate", &certificate.digest()),
    )
}

/// A UUID that follows from what it is of (RFC 9562 §5.8, version 8).
fn uuid(purpose: &str, of: &[u8]) -> String {
    let digest: [u8; 32] = Sha256::new().chain_update(purpose).chain_update(of).finalize().into();
    let mut octets: Vec<u8> = digest.into_iter().take(16).collect();
    for (octet, keep, set) in [(6, 0x0f, 0x80), (8, 0x3f, 0x80)] {
        octets.get_mut(octet).into_iter().for_each(|octet| *octet = *octet & keep | set);
    }
    let mut text = String::with_capacity(36);
    for (position, octet) in octets.iter().enumerate() {
        if matches!(position, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text += &format!("{octet:02X}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::authority::Made;
    use crate::ca::scope::Scope;

    fn certificate(name: &str) -> RootCertificate {
        Made::new(name, &Scope::Any, crate::Clock::manual().now()).expect("an authority").certificate
    }

    #[test]
    fn a_profile_holds_every_certificate_and_repeats_itself() {
        let [one, two] = ["Ann & <Bob>", "Two"].map(certificate);
        let profile = mobileconfig([&one, &two]);
        assert_eq!(profile, mobileconfig([&one, &two]));
        assert_ne!(profile, mobileconfig([&one]));
        assert!(profile.contains("Ann &amp; &lt;Bob&gt; CA ") && !profile.contains("<Bob>"), "{profile}");
        for certificate in [&one, &two] {
            assert!(profile.contains(&STANDARD.encode(&certificate.der)));
        }
        // XML that is well-formed closes what it opens.
        for tag in ["dict", "array", "plist"] {
            let [opened, closed] =
                [format!("<{tag}"), format!("</{tag}>")].map(|part| profile.matches(&part).count());
            assert_eq!(opened, closed, "{tag}");
        }
    }

    #[test]
    fn uuids_are_well_formed() {
        let uuid = uuid("test", b"x");
        let lengths: Vec<_> = uuid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert!(uuid[14..].starts_with('8') && "89AB".contains(&uuid[19..20]), "{uuid}");
    }
}
