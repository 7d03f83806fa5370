//! The words for whoever reads the page of a site that could not be reached, or did not answer as it should: whose fault
//! it is, as far as that is known, and what to do. The text for whoever looks after the proxy is `refusal`'s.

use super::refusal::Plainly;
use super::{Refusal, TlsFault};

const NO_CONNECTION: &str = "No connection now";
const NO_ANSWER: &str = "The site does not answer";
const SOON: &str = "Nothing is wrong with your device. Try again in a few minutes.";
const LATER: &str = "Nothing is wrong with your device. Try again later.";

/// What is said of a refusal that is about the way to a site, or about the site; none for any other.
pub(super) fn plainly(refusal: &Refusal) -> Option<Plainly> {
    let (heading, text, then) = match refusal {
        Refusal::LinkClosed { .. } => {
            (NO_CONNECTION, "The link of this place is closed at the moment.".to_owned(), LATER)
        }
        Refusal::Unroutable { .. } | Refusal::ParentUnreachable { .. } | Refusal::NotSocks { .. } => {
            (NO_CONNECTION, "This place has no connection to the internet at the moment.".to_owned(), LATER)
        }
        Refusal::NameFailure { host, .. } => {
            let text = format!(
                "Where {host} is could not be found out. This place may have no connection to the internet at the moment."
            );
            (NO_CONNECTION, text, SOON)
        }
        Refusal::NameNotFound { host } | Refusal::NameWithoutAddress { host } => {
            let text = format!("There is no site called {host}.");
            ("There is no such site", text, "Look whether the address is written rightly.")
        }
        Refusal::ConnectionRefused { origin }
        | Refusal::ConnectionTimeout { origin }
        | Refusal::ConnectionTerminated { origin }
        | Refusal::ResponseTimeout { origin } => {
            let text = format!("{} does not answer. It may be out of order, or very busy.", host(origin));
            (NO_ANSWER, text, SOON)
        }
        Refusal::ProtocolError { origin } | Refusal::TooManyInterim { origin } => {
            let text = format!("What {} answers makes no sense. It seems to be out of order.", host(origin));
            ("The site is out of order", text, SOON)
        }
        Refusal::ParentRefused { .. } => {
            let text = "The network through which this place reaches the internet did not let this through.";
            ("Not let through", text.to_owned(), "Nothing is wrong with your device.")
        }
        Refusal::Tls { origin, fault: TlsFault::Certificate(_) } => {
            let text = format!(
                "{} could not prove that it is what it claims to be: its certificate is not trusted. It may be another \
                 site that only looks like it, so nothing was sent to it.",
                host(origin)
            );
            ("This site is not trusted", text, "Do not type a password there until this is set right.")
        }
        Refusal::Tls { origin, .. } => {
            let text = format!("No safe connection to {} came about.", host(origin));
            ("No safe connection", text, SOON)
        }
        _ => return None,
    };
    Some(Plainly { heading, text, then: Some(then.to_owned()) })
}

/// The host of `origin`, without the port that is nobody's concern.
fn host(origin: &str) -> &str {
    origin.rsplit_once(':').map_or(origin, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(refusal: &Refusal, expected: &str) {
        let plainly = plainly(refusal).expect("words for readers");
        let said = format!("{}: {}", plainly.heading, plainly.text);
        assert!(said.contains(expected) && !said.contains(":443"), "{said}");
    }

    #[test]
    fn a_reader_is_told_whose_fault_it_is() {
        let origin = || "a.example:443".to_owned();
        check(&Refusal::LinkClosed { origin: origin() }, "The link of this place is closed at the moment");
        check(&Refusal::Unroutable { origin: origin() }, "no connection to the internet");
        check(&Refusal::ConnectionTimeout { origin: origin() }, "a.example does not answer");
        check(&Refusal::ResponseTimeout { origin: origin() }, "a.example does not answer");
        check(&Refusal::NameNotFound { host: "a.example".into() }, "no site called a.example");
        check(&Refusal::NameFailure { host: "a.example".into(), rcode: None }, "could not be found out");
        check(&Refusal::ProtocolError { origin: origin() }, "out of order");
        let fault = TlsFault::Certificate("has ended".into());
        check(&Refusal::Tls { origin: origin(), fault }, "its certificate is not trusted");
        let fault = TlsFault::Protocol("no version".into());
        check(&Refusal::Tls { origin: origin(), fault }, "No safe connection");
        let why = Refusal::ConnectionRefused { origin: "p:1".into() };
        check(&Refusal::ParentUnreachable { parent: "p:1".into(), why: why.into() }, "no connection");
        assert!(plainly(&Refusal::OnlyIfCached).is_none());
    }
}
