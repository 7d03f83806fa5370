//! What clients are told that are refused for what they are, how much they want, or where they want to go: status, the
//! text for whoever looks after the proxy, and the words for whoever reads the page. Which of the refusals it is, is
//! `admit`'s and `upstream`'s to say.

use http::StatusCode;

use super::Refusal;
use super::refusal::{Plainly, Told, told as said};

/// What is told of a refusal that is about who asks, or for what; none for any other.
pub(super) fn told(refusal: &Refusal) -> Option<Told> {
    use StatusCode as S;
    const DENIED: &str = "http_request_denied";
    const PROHIBITED: &str = "destination_ip_prohibited";
    let (status, error) = match refusal {
        Refusal::ForbiddenAddress { .. } | Refusal::OwnListener => (S::FORBIDDEN, PROHIBITED),
        Refusal::NotAdmitted { .. } | Refusal::ForbiddenPort { .. } | Refusal::OwnNameOverTls => {
            (S::FORBIDDEN, DENIED)
        }
        Refusal::AuthenticationRequired(_) => (S::PROXY_AUTHENTICATION_REQUIRED, DENIED),
        Refusal::TooManyRequests { .. }
        | Refusal::TooManyFailures { .. }
        | Refusal::TooManyAtOnce
        | Refusal::TooManyConnections => (S::TOO_MANY_REQUESTS, DENIED),
        _ => return None,
    };
    Some(Told { plainly: Some(plainly(refusal)), ..said(status, error, text(refusal)) })
}

/// For whoever looks after the proxy.
fn text(refusal: &Refusal) -> String {
    let text = match refusal {
        Refusal::NotAdmitted { by, .. } => return format!("This proxy may not be used for this: {by}."),
        Refusal::ForbiddenAddress { host } => {
            return format!(
                "{host} is a loopback, link-local, private or reserved address. To let clients reach it, start bentpipe \
                 with --allow-destination (option destinations.allow)."
            );
        }
        Refusal::ForbiddenPort { port } => {
            return format!(
                "CONNECT to port {port} is not open. To open it, add it to the option destinations.connect_ports, or name \
                 it with --allow-destination ADDRESS:{port}."
            );
        }
        Refusal::OwnListener => {
            "The destination is this proxy itself, or its admin interface. Nobody is led to the admin interface through \
             the proxy, and no option opens that way: ask for it without the proxy. The proxy's own pages are at \
             http://bentpipe.local/."
        }
        Refusal::AuthenticationRequired(challenge) => return challenge.in_words(),
        Refusal::TooManyRequests { .. } => {
            "More requests a second than admission.requests_per_second allows one client."
        }
        Refusal::TooManyFailures { .. } => "Too many wrong passwords or tokens came of late.",
        Refusal::TooManyAtOnce => {
            "More requests at the same moment than limits.requests_per_client allows one client."
        }
        Refusal::TooManyConnections => {
            "More connections than limits.connections_per_client allows one client."
        }
        _ => {
            "This proxy's own pages are at http://bentpipe.local/, without the s: there is no certificate for https."
        }
    };
    text.to_owned()
}

/// For whoever reads the page: what happened, and until when.
fn plainly(refusal: &Refusal) -> Plainly {
    const NOT_HERE: &str = "Not open from here";
    const TOO_FAST: &str = "One moment, please";
    let (heading, text) = match refusal {
        Refusal::NotAdmitted { opens: Some(_), .. } => {
            ("Not open now", "The rules of this network do not allow this at this time.")
        }
        Refusal::NotAdmitted { .. } => {
            ("Not open to you here", "The rules of this network do not allow this.")
        }
        Refusal::ForbiddenAddress { .. } | Refusal::ForbiddenPort { .. } => (
            NOT_HERE,
            "This address cannot be reached by way of this network's proxy. Nothing is wrong with your device.",
        ),
        Refusal::OwnListener => (
            NOT_HERE,
            "This address is the proxy's own: what your browser asks the internet through. There is no page for you here.",
        ),
        Refusal::AuthenticationRequired(challenge) => ("Please sign in", challenge.plainly()),
        Refusal::TooManyRequests { .. } => (
            TOO_FAST,
            "Your device has asked for very much in a short time, and others want their turn, too.",
        ),
        Refusal::TooManyFailures { .. } => {
            ("Please wait", "A wrong password or token came from here too often.")
        }
        Refusal::TooManyAtOnce | Refusal::TooManyConnections => (
            TOO_FAST,
            "Your device is loading very much at the same moment. Let some of it finish, or close some pages.",
        ),
        _ => (NOT_HERE, "The pages of this proxy are at http://bentpipe.local/, with http and not https."),
    };
    let then = match refusal {
        Refusal::NotAdmitted { opens, .. } => {
            opens.as_ref().map(|opens| format!("It is open again {opens}."))
        }
        other => other.retry_after().map(|wait| format!("Try again in {}.", duration(wait))),
    };
    Plainly { heading, text: text.to_owned(), then }
}

/// Seconds as people count them, rounded up.
fn duration(seconds: u64) -> String {
    match seconds {
        ..=1 => "a second".to_owned(),
        2..=90 => format!("{seconds} seconds"),
        _ => format!("{} minutes", seconds.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::respond::challenge::{Challenge, Presented};

    /// What the reader is told, and what whoever looks after the proxy.
    #[track_caller]
    fn check(refusal: &Refusal, plain: &str, technical: &str) {
        let told = told(refusal).expect("one that is denied");
        let Plainly { heading, text, then } = told.plainly.expect("plain words");
        let plainly = format!("{heading}. {text} {}", then.unwrap_or_default());
        assert!(plainly.contains(plain), "{plain:?} in {plainly:?}");
        assert!(told.text.contains(technical), "{technical:?} in {:?}", told.text);
        // No option and no number of a standard is a reader's business.
        for word in ["admission.", "limits.", "destinations.", "--", "RFC", "40", "42"] {
            assert!(!plainly.contains(word), "{word} in {plainly:?}");
        }
    }

    #[test]
    fn readers_are_told_what_happened_and_until_when() {
        let by = || "the rule \"games\" of its option admission.deny forbids it".to_owned();
        check(&Refusal::NotAdmitted { by: by(), opens: None }, "do not allow this.", "\"games\"");
        let opens = Some("today at 17:00 (UTC)".to_owned());
        check(
            &Refusal::NotAdmitted { by: by(), opens },
            "It is open again today at 17:00 (UTC).",
            "\"games\"",
        );
        let wait = Duration::from_millis(2_500);
        check(&Refusal::TooManyRequests { wait }, "Try again in 3 seconds.", "admission.requests_per_second");
        let wait = Duration::from_secs(300);
        check(&Refusal::TooManyFailures { wait }, "Try again in 6 minutes.", "wrong passwords");
        check(&Refusal::TooManyAtOnce, "Try again in a second.", "limits.requests_per_client");
        check(&Refusal::TooManyConnections, "close some pages", "limits.connections_per_client");
        check(
            &Refusal::ForbiddenAddress { host: "10.0.0.1".into() },
            "cannot be reached",
            "--allow-destination",
        );
        check(&Refusal::ForbiddenPort { port: 25 }, "cannot be reached", "ADDRESS:25");
        check(&Refusal::OwnNameOverTls, "http://bentpipe.local/", "no certificate");
        let challenge = |basic, presented| {
            Refusal::AuthenticationRequired(Challenge { basic, bearer: !basic, presented })
        };
        check(&challenge(true, Presented::Nothing), "a name and a password", "none came");
        check(&challenge(true, Presented::Password), "were not right", "password is wrong");
        check(&challenge(false, Presented::Nothing), "a token", "a token that it knows");
    }

    #[test]
    fn nothing_is_advised_that_does_not_open_our_own_addresses() {
        check(&Refusal::OwnListener, "the proxy's own", "no option opens that way");
        let told = told(&Refusal::OwnListener).expect("one that is denied");
        assert!(!told.text.contains("--allow-destination"), "{}", told.text);
    }
}
