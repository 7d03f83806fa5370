//! What clients are told that are refused for what they are or how much they want: status and text of the page. Which
//! of the refusals it is, is `admit`'s to say.

use http::StatusCode;

use super::Refusal;

/// The status and the text of a refusal that is about who asks; none for any other.
pub(super) fn told(refusal: &Refusal) -> Option<(StatusCode, String)> {
    use StatusCode as S;
    let (status, text) = match refusal {
        Refusal::NotAdmitted { by } => (S::FORBIDDEN, format!("You may not use this proxy for this: {by}.")),
        Refusal::AuthenticationRequired(challenge) => {
            (S::PROXY_AUTHENTICATION_REQUIRED, challenge.in_words())
        }
        Refusal::TooManyRequests { .. } => {
            let text = "More requests a second than admission.requests_per_second allows one client.";
            (S::TOO_MANY_REQUESTS, text.to_owned())
        }
        Refusal::TooManyFailures { .. } => {
            let text = "Too many wrong passwords or tokens came of late; try again in a moment.";
            (S::TOO_MANY_REQUESTS, text.to_owned())
        }
        Refusal::TooManyAtOnce => {
            let text = "More requests at the same moment than limits.requests_per_client allows one client.";
            (S::TOO_MANY_REQUESTS, text.to_owned())
        }
        Refusal::TooManyConnections => {
            let text = "More connections than limits.connections_per_client allows one client.";
            (S::TOO_MANY_REQUESTS, text.to_owned())
        }
        Refusal::OwnNameOverTls => {
            let text = "This proxy's own pages are at http://bentpipe.local/ here, without the s: there is no \
                        certificate for https.";
            (S::FORBIDDEN, text.to_owned())
        }
        _ => return None,
    };
    Some((status, text))
}
