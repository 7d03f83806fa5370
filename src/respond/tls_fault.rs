//! What is told of an origin with which no safe connection came about: its certificate, an alert of its, or no TLS that
//! both understand. How it is found out, and the words for certificates, are `upstream`'s.

/// Why no TLS connection to an origin came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TlsFault {
    /// Its certificate proves nothing; why, as the rest of a sentence about "its certificate".
    Certificate(String),
    /// It ended the handshake with an alert: the number and the name in the TLS Alerts registry (RFC 8446 §6).
    Alert(u8, String),
    /// What it sent is no TLS, or none that is spoken here; says what.
    Protocol(String),
}

impl TlsFault {
    /// The error type of RFC 9209 §2.3.
    pub(super) fn error(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "tls_certificate_error",
            Self::Alert(..) => "tls_alert_received",
            Self::Protocol(_) => "tls_protocol_error",
        }
    }

    /// The parameters that RFC 9209 §2.3.15 gives to the error type, each behind its semicolon.
    pub(super) fn parameters(&self) -> String {
        match self {
            Self::Alert(number, name) => format!("; alert-id={number}; alert-message=\"{name}\""),
            Self::Certificate(_) | Self::Protocol(_) => String::new(),
        }
    }

    /// What is said of `origin`, in sentences.
    pub(super) fn text(&self, origin: &str) -> String {
        match self {
            Self::Certificate(why) => format!(
                "{origin} could not prove that it is what it claims to be: its certificate {why}. Nothing was sent to it."
            ),
            Self::Alert(_, name) => {
                format!("{origin} ended the TLS handshake with the alert {name}; it gave no other reason.")
            }
            Self::Protocol(what) => {
                format!("{origin} and this proxy found no common way of speaking TLS: {what}.")
            }
        }
    }
}
