//! Every response bentpipe itself makes: its status, its Proxy-Status (RFC 9209) and what its page says. One match
//! decides all of it. What is answered from the store is not made here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};

use super::challenge::{Challenge, Presented};
use super::page::{Contact, page};
use super::tls_fault::TlsFault;
use super::{denied, page, unreached};
use crate::body::Body;

/// Why a request gets an answer of bentpipe's own.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    /// The request breaks a rule of HTTP; says which.
    BadRequest(&'static str),
    /// Addressed to bentpipe as if it were a web server.
    NotAnOrigin,
    /// Came out of a tunnel to `host`, and is for somewhere else (RFC 9110 §15.5.20).
    Misdirected {
        host: String,
    },
    /// The request has been here before (RFC 9110 §7.6.3).
    Loop,
    /// The destination is loopback, link-local, private or otherwise not for clients.
    ForbiddenAddress {
        host: String,
    },
    /// The destination is bentpipe, or its admin interface.
    OwnListener,
    /// CONNECT to a port that is not open to it.
    ForbiddenPort {
        port: u16,
    },
    /// The rules of admission do not allow it; says which, and when they will, where that is a matter of hours.
    NotAdmitted {
        by: String,
        opens: Option<String>,
    },
    AuthenticationRequired(Challenge),
    /// The client announced content and stopped sending it.
    RequestTimeout,
    /// The client left before the end of its request's content; nobody may be there to be told.
    ClientLeft,
    /// An operator broke the exchange off.
    Stopped,
    ContentTooLarge,
    FieldsTooLarge,
    /// The request target is longer than `limits.uri`.
    TargetTooLong,
    TooManyRequests {
        wait: Duration,
    },
    /// Wrong credentials came too often of late.
    TooManyFailures {
        wait: Duration,
    },
    /// The client has as many requests under way as it may.
    TooManyAtOnce,
    /// The client has as many connections open as it may.
    TooManyConnections,
    /// Asks for bentpipe's own pages over TLS, for which there is no certificate.
    OwnNameOverTls,
    /// Asks for something this proxy does not do; says what.
    NotImplemented(&'static str),
    NameNotFound {
        host: String,
    },
    /// The name exists and has no address.
    NameWithoutAddress {
        host: String,
    },
    /// No name server could say; the response code (RFC 1035 §4.1.1) of one that answered.
    NameFailure {
        host: String,
        rcode: Option<&'static str>,
    },
    /// The parent proxy could not be reached, or broke off.
    ParentUnreachable {
        parent: String,
        why: Arc<Refusal>,
    },
    /// The parent proxy did not open the way; what it said, and whether that is for good.
    ParentRefused {
        parent: String,
        said: String,
        denied: bool,
    },
    /// A parent proxy that is to speak SOCKS 5 and does not.
    NotSocks {
        origin: String,
    },
    ConnectionRefused {
        origin: String,
    },
    ConnectionTimeout {
        origin: String,
    },
    Unroutable {
        origin: String,
    },
    /// The link carries nothing: its rate is 0.
    LinkClosed {
        origin: String,
    },
    ConnectionTerminated {
        origin: String,
    },
    ResponseTimeout {
        origin: String,
    },
    ProtocolError {
        origin: String,
    },
    /// The origin sent one interim response after another, and no end of them.
    TooManyInterim {
        origin: String,
    },
    /// No safe connection to the origin came about.
    Tls {
        origin: String,
        fault: TlsFault,
    },
    /// The client wants a stored response or none, and there is none that may be reused (RFC 9111 §5.2.1.7).
    OnlyIfCached,
    /// OPTIONS for bentpipe itself.
    Options,
    /// TRACE that ends here: the request as received.
    Trace(Bytes),
}

/// What the client and the log are told.
pub(super) struct Told {
    pub(super) status: StatusCode,
    /// The RFC 9209 §2.3 error type.
    pub(super) error: Option<&'static str>,
    /// For the log and for Proxy-Status: what happened, by which option or rule.
    pub(super) text: String,
    /// Further parameters of Proxy-Status, as they are written.
    pub(super) parameters: String,
    /// For whoever reads the page, where the text is for whoever looks after the proxy.
    pub(super) plainly: Option<Plainly>,
}

/// What happened in the words of whoever it happened to.
pub(super) struct Plainly {
    pub(super) heading: &'static str,
    pub(super) text: String,
    /// Until when it is so, or what to do about it.
    pub(super) then: Option<String>,
}

impl Told {
    /// With a parameter whose value is `text` (RFC 9209 §2.1, §2.3).
    fn with(mut self, parameter: &str, text: &str) -> Self {
        self.parameters.push_str(&format!("; {parameter}={}", quoted(text)));
        self
    }
}

pub(super) fn told(status: StatusCode, error: &'static str, text: impl Into<String>) -> Told {
    Told { status, error: Some(error), text: text.into(), parameters: String::new(), plainly: None }
}

/// A refusal put into words, once for the client, the log and whoever else is told.
pub(crate) struct Worded {
    refusal: Refusal,
    told: Told,
}

impl Worded {
    /// The status that it is answered with.
    pub(crate) fn status(&self) -> StatusCode {
        self.told.status
    }

    /// The RFC 9209 error type, for the log.
    pub(crate) fn error(&self) -> Option<&'static str> {
        self.told.error
    }

    /// What happened, in a sentence or two, for the log.
    pub(crate) fn reason(&self) -> &str {
        &self.told.text
    }

    /// The response, complete but for the fields that every response gets. Its page names `contact`.
    pub(crate) fn into_response(self, contact: &Contact) -> Response<Body> {
        let Self { refusal, told } = self;
        let (content_type, content) = match &refusal {
            Refusal::Trace(request) => ("message/http", request.clone()),
            Refusal::Options => ("text/plain", Bytes::new()),
            _ => (page::MEDIA_TYPE, page(&told, contact)),
        };
        let mut response = Response::new(Body::Full(content));
        *response.status_mut() = told.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(error) = told.error {
            headers.insert(&PROXY_STATUS, proxy_status(error, &told));
        }
        if let Some(wait) = refusal.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait));
        }
        match refusal {
            Refusal::Options => {
                headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS, TRACE, CONNECT"));
            }
            Refusal::AuthenticationRequired(challenge) => challenge.put(headers),
            // What was misread once is not read on (RFC 9112 §11.2).
            Refusal::BadRequest(_) | Refusal::ClientLeft => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

impl Refusal {
    /// Whether it means that the origin could not be asked, so that a stale stored response may serve instead
    /// (RFC 9111 §4.2.4).
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::NameNotFound { .. }
                | Self::NameWithoutAddress { .. }
                | Self::NameFailure { .. }
                | Self::ParentUnreachable { .. }
                | Self::ParentRefused { denied: false, .. }
                | Self::ConnectionRefused { .. }
                | Self::ConnectionTimeout { .. }
                | Self::Unroutable { .. }
                | Self::LinkClosed { .. }
                | Self::ConnectionTerminated { .. }
                | Self::ResponseTimeout { .. }
        )
    }

    /// Whether no connection to the origin came about at all.
    pub(crate) fn is_no_connection(&self) -> bool {
        self.is_unreachable()
            && !matches!(self, Self::ConnectionTerminated { .. } | Self::ResponseTimeout { .. })
    }

    /// Whether the destination is one that clients may not reach.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self, Self::ForbiddenAddress { .. } | Self::OwnListener | Self::ForbiddenPort { .. })
    }

    /// Whether credentials were presented that are wrong.
    pub(crate) fn is_guess(&self) -> bool {
        matches!(self, Self::AuthenticationRequired(challenge) if challenge.presented != Presented::Nothing)
    }

    /// The RFC 9209 error type, for a log.
    pub(crate) fn error(&self) -> Option<&'static str> {
        self.told().error
    }

    /// Puts it into words.
    pub(crate) fn worded(self) -> Worded {
        Worded { told: self.told(), refusal: self }
    }

    /// After how many seconds the same may be tried again (RFC 9110 §10.2.3).
    pub(super) fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooManyRequests { wait } | Self::TooManyFailures { wait } => {
                Some(wait.as_secs().saturating_add(1))
            }
            Self::TooManyAtOnce | Self::TooManyConnections => Some(1),
            _ => None,
        }
    }

    fn told(&self) -> Told {
        use StatusCode as S;
        match self {
            Self::Options | Self::Trace(_) => Told { error: None, ..told(S::OK, "", "") },
            Self::BadRequest(reason) => told(S::BAD_REQUEST, "http_request_error", *reason),
            Self::NotAnOrigin => told(S::BAD_REQUEST, "http_request_error", NOT_AN_ORIGIN),
            Self::Misdirected { host } => {
                let text =
                    format!("This connection was opened for {host}, and the request is for another server.");
                told(S::MISDIRECTED_REQUEST, "http_request_error", text)
            }
            Self::Loop => {
                told(S::LOOP_DETECTED, "proxy_loop_detected", "This request has passed here before.")
            }
            Self::RequestTimeout => {
                let text = "The content announced did not arrive: nothing came for as long as timeouts.client allows.";
                told(S::REQUEST_TIMEOUT, "http_request_error", text)
            }
            Self::ClientLeft => {
                let text = "The request's content broke off before its end.";
                told(S::BAD_REQUEST, "http_request_error", text)
            }
            Self::Stopped => {
                let text = "Whoever looks after this proxy has broken this request off.";
                told(S::SERVICE_UNAVAILABLE, "http_request_denied", text)
            }
            Self::ContentTooLarge => {
                let text = "The content sent is larger than this proxy's option limits.request_body allows.";
                told(S::PAYLOAD_TOO_LARGE, "http_request_error", text)
            }
            Self::FieldsTooLarge => {
                let text = "The request's fields are larger than this proxy's option limits.request_head allows, or \
                            more than limits.request_fields.";
                told(S::REQUEST_HEADER_FIELDS_TOO_LARGE, "http_request_error", text)
            }
            Self::TargetTooLong => {
                let text = "The request's target is longer than this proxy's option limits.uri allows.";
                told(S::URI_TOO_LONG, "http_request_error", text)
            }
            Self::NotImplemented(what) => told(S::NOT_IMPLEMENTED, "http_request_error", *what),
            Self::OnlyIfCached => {
                let text = "Only a stored response was asked for, and none is held that may be used \
                            (RFC 9111 section 5.2.1.7).";
                told(S::GATEWAY_TIMEOUT, "destination_unavailable", text)
            }
            other => denied::told(other)
                .unwrap_or_else(|| Told { plainly: unreached::plainly(other), ..other.told_of_helpers() }),
        }
    }

    /// The refusals of whoever stands between us and the origin: name servers and parent proxies.
    fn told_of_helpers(&self) -> Told {
        use StatusCode as S;
        match self {
            Self::NameNotFound { host } => {
                let text = format!("There is no host named {host}, or no address is known for it.");
                told(S::BAD_GATEWAY, "dns_error", text).with("rcode", "NXDOMAIN")
            }
            Self::NameWithoutAddress { host } => {
                let text = format!("The name {host} exists, but there is no address behind it.");
                told(S::BAD_GATEWAY, "dns_error", text).with("rcode", "NOERROR")
            }
            Self::NameFailure { host, rcode: Some(rcode) } => {
                let text =
                    format!("The name {host} could not be looked up: the name server answered {rcode}.");
                told(S::BAD_GATEWAY, "dns_error", text).with("rcode", rcode)
            }
            Self::NameFailure { host, rcode: None } => {
                let text = format!("The name {host} could not be looked up: the name server gave no answer.");
                told(S::GATEWAY_TIMEOUT, "dns_timeout", text)
            }
            Self::ParentUnreachable { parent, why } => {
                let why = why.told();
                let text = format!("The parent proxy {parent} could not be reached. {}", why.text);
                Told { text, ..why }.with("next-hop", parent)
            }
            Self::ParentRefused { parent, said, denied } => {
                let text =
                    format!("The parent proxy {parent} did not let this request through. It said: {said}.");
                let error = if *denied { "http_request_denied" } else { "destination_unavailable" };
                told(S::BAD_GATEWAY, error, text).with("next-hop", parent)
            }
            Self::NotSocks { origin } => {
                told(S::BAD_GATEWAY, "proxy_configuration_error", format!("{origin} does not speak SOCKS 5."))
            }
            other => other.told_of_destination(),
        }
    }

    /// The refusals that are about where the request was to go.
    fn told_of_destination(&self) -> Told {
        use StatusCode as S;
        match self {
            Self::ConnectionRefused { origin } => {
                told(S::BAD_GATEWAY, "connection_refused", format!("{origin} refused the connection."))
            }
            Self::ConnectionTimeout { origin } => {
                let text = format!("{origin} did not accept a connection in time.");
                told(S::GATEWAY_TIMEOUT, "connection_timeout", text)
            }
            Self::Unroutable { origin } => {
                let text = format!("There is no way to {origin} from here: the link may be down.");
                told(S::SERVICE_UNAVAILABLE, "destination_ip_unroutable", text)
            }
            Self::LinkClosed { origin } => {
                // "The intermediary considers the next hop to be unavailable; e.g., recent attempts to communicate with it
                // may have failed, or a health check may indicate that it is down" (RFC 9209 §2.3.4).
                let text = format!(
                    "The link is closed: it is set to 0, so that nothing reaches {origin} (bentpipe link set)."
                );
                told(S::SERVICE_UNAVAILABLE, "destination_unavailable", text)
            }
            Self::ConnectionTerminated { origin } => {
                let text = format!("{origin} closed the connection before it answered.");
                told(S::BAD_GATEWAY, "connection_terminated", text)
            }
            Self::ResponseTimeout { origin } => {
                let text = format!("{origin} did not answer in time.");
                told(S::GATEWAY_TIMEOUT, "http_response_timeout", text)
            }
            Self::ProtocolError { origin } => {
                let text = format!("What {origin} answered is not HTTP.");
                told(S::BAD_GATEWAY, "http_protocol_error", text)
            }
            Self::Tls { origin, fault } => Told {
                parameters: fault.parameters(),
                ..told(S::BAD_GATEWAY, fault.error(), fault.text(origin))
            },
            Self::TooManyInterim { origin } => {
                let text = format!("{origin} sent interim responses (1xx) without end, and no answer.");
                told(S::BAD_GATEWAY, "http_protocol_error", text)
            }
            _ => {
                told(S::INTERNAL_SERVER_ERROR, "proxy_internal_error", "Something went wrong in this proxy.")
            }
        }
    }
}

/// The field in which a proxy says how it came to its response.
pub(crate) static PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

const NOT_AN_ORIGIN: &str = "This is a proxy, not a web site. Set it as the HTTP proxy of your browser or program \
                             and ask for the page you want; nothing is served at this address itself.";

/// The whole HTTP/1.1 answer to bytes that are no request, for a connection that ends with it. The `status` is the
/// one the parser chose.
pub(crate) fn unparsable(status: StatusCode) -> Bytes {
    let text = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "The request's fields are too many or too large.",
        StatusCode::URI_TOO_LONG => "The request's target is too long.",
        _ => "What was sent is not an HTTP request.",
    };
    let content = page(&told(status, "http_request_error", text), &Contact::default());
    let mut head = format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: text/html; charset=utf-8\r\n\
         content-length: {}\r\nproxy-status: bentpipe; \
         error=http_request_error\r\n\r\n",
        content.len()
    )
    .into_bytes();
    head.extend_from_slice(&content);
    head.into()
}

fn proxy_status(error: &str, told: &Told) -> HeaderValue {
    let value = format!("bentpipe; error={error}; details={}{}", quoted(&told.text), told.parameters);
    HeaderValue::try_from(value).unwrap_or_else(|_| HeaderValue::from_static("bentpipe"))
}

/// An sf-string holds printable ASCII; quotes and backslashes are escaped (RFC 9651 §3.3.3).
fn quoted(text: &str) -> String {
    let mut value = "\"".to_owned();
    for character in text.chars().filter(|character| matches!(character, ' '..='~')) {
        if matches!(character, '"' | '\\') {
            value.push('\\');
        }
        value.push(character);
    }
    value + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(refusal: Refusal, status: u16, error: &str) {
        let response = refusal.worded().into_response(&Contact::default());
        assert_eq!(response.status().as_u16(), status);
        let said = response.headers().get(&PROXY_STATUS).expect("a Proxy-Status").to_str().expect("ascii");
        assert!(said.starts_with(&format!("bentpipe; error={error}; details=\"")), "{said}");
    }

    #[test]
    fn statuses_mean_what_happened() {
        check(Refusal::BadRequest("No Host."), 400, "http_request_error");
        check(Refusal::ForbiddenAddress { host: "10.0.0.1".into() }, 403, "destination_ip_prohibited");
        let challenge = Challenge { basic: true, bearer: false, presented: Presented::Nothing };
        check(Refusal::AuthenticationRequired(challenge), 407, "http_request_denied");
        check(Refusal::NotAdmitted { by: "the rule".into(), opens: None }, 403, "http_request_denied");
        check(Refusal::TargetTooLong, 414, "http_request_error");
        check(Refusal::TooManyAtOnce, 429, "http_request_denied");
        check(Refusal::OwnNameOverTls, 403, "http_request_denied");
        check(Refusal::RequestTimeout, 408, "http_request_error");
        check(Refusal::ContentTooLarge, 413, "http_request_error");
        check(Refusal::FieldsTooLarge, 431, "http_request_error");
        check(Refusal::NotImplemented("ftp"), 501, "http_request_error");
        check(Refusal::ConnectionRefused { origin: "a:1".into() }, 502, "connection_refused");
        check(Refusal::NameFailure { host: "a".into(), rcode: None }, 504, "dns_timeout");
        check(Refusal::NameFailure { host: "a".into(), rcode: Some("SERVFAIL") }, 502, "dns_error");
        let why = Refusal::ConnectionRefused { origin: "p:1".into() };
        check(
            Refusal::ParentUnreachable { parent: "p:1".into(), why: why.into() },
            502,
            "connection_refused",
        );
        check(Refusal::TooManyInterim { origin: "a:1".into() }, 502, "http_protocol_error");
        check(Refusal::Unroutable { origin: "a:1".into() }, 503, "destination_ip_unroutable");
        check(Refusal::LinkClosed { origin: "a:1".into() }, 503, "destination_unavailable");
        check(Refusal::OnlyIfCached, 504, "destination_unavailable");
        check(Refusal::ConnectionTimeout { origin: "a:1".into() }, 504, "connection_timeout");
        check(Refusal::Loop, 508, "proxy_loop_detected");
    }

    #[test]
    fn parameters_say_more() {
        let said = |refusal: Refusal| {
            let response = refusal.worded().into_response(&Contact::default());
            response.headers()[&PROXY_STATUS].to_str().expect("ascii").to_owned()
        };
        assert!(said(Refusal::NameNotFound { host: "a".into() }).ends_with("; rcode=\"NXDOMAIN\""));
        let refused =
            Refusal::ParentRefused { parent: "p:1".into(), said: "407 \"Who?\"".into(), denied: true };
        let said = said(refused);
        assert!(said.ends_with("; next-hop=\"p:1\"") && said.contains("407 \\\"Who?"), "{said}");
    }

    #[test]
    fn what_a_peer_wrote_is_escaped() {
        let refusal = Refusal::NameNotFound { host: "\"<script>\\\u{e9}".into() };
        let page = page(&refusal.told(), &Contact::default());
        assert!(!page.windows(7).any(|window| window == b"<script"));
        let response = refusal.worded().into_response(&Contact::default());
        let said = response.headers().get(&PROXY_STATUS).expect("a Proxy-Status").to_str().expect("ascii");
        assert!(said.contains("\\\"<script>\\\\"), "{said}");
    }
}
