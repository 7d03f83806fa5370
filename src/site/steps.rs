//! How each system and tool comes to trust the certificate, in words that a person at the device can follow. The same
//! steps stand in docs/https.md.

/// One system or tool: its name, and the steps in HTML, in which `{site}` is the address of the proxy.
pub(super) struct Steps {
    pub(super) name: &'static str,
    steps: &'static str,
}

impl Steps {
    /// The steps for a proxy that is reached at `proxy`, which is escaped already.
    pub(super) fn at(&self, proxy: &str) -> String {
        self.steps.replace("{site}", proxy)
    }
}

pub(super) const ALL: [Steps; 13] = [
    Steps {
        name: "Windows",
        steps: "<p>Download <a href=\"/ca.crt\">bentpipe-ca.crt</a>, open it, and choose <b>Install Certificate</b>, \
                <b>Local Machine</b>, <b>Place all certificates in the following store</b>, <b>Trusted Root \
                Certification Authorities</b>. Or in a terminal of an administrator:</p>\n\
                <pre><code>certutil -addstore -f Root bentpipe-ca.crt</code></pre>\n\
                <p>Edge, Chrome and Firefox take it from there. The curl of Windows wants \
                <code>--ssl-no-revoke</code>: certificates made here have no revocation list.</p>",
    },
    Steps {
        name: "macOS",
        steps: "<p>Download <a href=\"/ca.crt\">bentpipe-ca.crt</a>, then in Terminal:</p>\n\
                <pre><code>sudo security add-trusted-cert -d -r trustRoot \\\n  \
                -k /Library/Keychains/System.keychain ~/Downloads/bentpipe-ca.crt</code></pre>\n\
                <p>Or open the <a href=\"/ca.mobileconfig\">profile</a>, install it in System Settings under \
                <b>General, Device Management</b>, and set the certificate to <b>Always Trust</b> in Keychain Access.</p>",
    },
    Steps {
        name: "iPhone and iPad",
        steps: "<p>Open the <a href=\"/ca.mobileconfig\">profile</a> in Safari and allow the download. Then, in \
                Settings: <b>Profile Downloaded, Install</b>; and after that <b>General, About, Certificate Trust \
                Settings</b>, where the switch beside the certificate must be on.</p>",
    },
    Steps {
        name: "Android",
        steps: "<p>Download <a href=\"/ca.crt\">bentpipe-ca.crt</a>. Then, in Settings, look for <b>CA certificate</b> \
                (under Security, Encryption &amp; credentials, Install a certificate), choose <b>Install anyway</b> and \
                the file. Chrome takes it from there. In Firefox: Settings, About Firefox, tap the logo five times, \
                back, <b>Secret Settings, Use third party CA certificates</b>. Most other apps trust no certificate that \
                was installed by hand; their connections are left as they are.</p>",
    },
    Steps {
        name: "Debian, Ubuntu",
        steps: "<pre><code>sudo curl -o /usr/local/share/ca-certificates/bentpipe.crt http://{site}/ca.pem\n\
                sudo update-ca-certificates</code></pre>",
    },
    Steps {
        name: "Fedora, RHEL",
        steps: "<pre><code>sudo curl -o /etc/pki/ca-trust/source/anchors/bentpipe.crt http://{site}/ca.pem\n\
                sudo update-ca-trust</code></pre>\n<p>Arch: <code>sudo trust anchor --store bentpipe-ca.pem</code></p>",
    },
    Steps {
        name: "Firefox on Linux",
        steps: "<p>Download <a href=\"/ca.pem\">bentpipe-ca.pem</a>. Settings, <b>Privacy &amp; Security</b>, \
                Certificates, <b>View Certificates, Authorities, Import</b>: choose the file and tick <b>Trust this CA \
                to identify websites</b>.</p>",
    },
    Steps {
        name: "Chromium and Chrome on Linux",
        steps: "<p>With <code>certutil</code> (package libnss3-tools or nss-tools):</p>\n\
                <pre><code>curl -o bentpipe-ca.pem http://{site}/ca.pem\n\
                certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n bentpipe -i bentpipe-ca.pem</code></pre>",
    },
    Steps {
        name: "Java",
        steps: "<pre><code>curl -o bentpipe-ca.crt http://{site}/ca.crt\n\
                keytool -importcert -cacerts -storepass changeit -noprompt \\\n  \
                -alias bentpipe -file bentpipe-ca.crt</code></pre>",
    },
    Steps {
        name: "Python and pip",
        steps: "<p>Add the certificate to the system first (above). pip from 24.2 on finds it there; others are told \
                of the system's bundle:</p>\n\
                <pre><code>export REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt\n\
                export SSL_CERT_FILE=$REQUESTS_CA_BUNDLE PIP_CERT=$REQUESTS_CA_BUNDLE</code></pre>\n\
                <p>(Fedora: <code>/etc/pki/tls/certs/ca-bundle.crt</code>.)</p>",
    },
    Steps {
        name: "npm and Node.js",
        steps: "<pre><code>curl -o ~/bentpipe-ca.pem http://{site}/ca.pem\n\
                export NODE_EXTRA_CA_CERTS=$HOME/bentpipe-ca.pem</code></pre>",
    },
    Steps {
        name: "git",
        steps: "<p>git takes the system's store (above). Where it cannot be changed:</p>\n\
                <pre><code>git config --global http.sslCAInfo $HOME/bundle.pem</code></pre>\n\
                <p>with a file of the system's bundle and <a href=\"/ca.pem\">bentpipe-ca.pem</a>, one behind the \
                other: it stands in place of the system's.</p>",
    },
    Steps {
        name: "curl",
        steps: "<p>curl takes the system's store (above). For one call: \
                <code>curl --cacert bentpipe-ca.pem https://example.org/</code></p>",
    },
];
