//! What a failure between here and an origin is called towards the client: judged, looked up, or dialled in vain.

use std::io::{self, ErrorKind};

use linkio::SharedLink;

use super::destination::Forbidden;
use super::names::Missing;
use super::origin::Origin;
use crate::respond::Refusal;

pub(super) fn refused(forbidden: Forbidden, origin: &Origin) -> Refusal {
    match forbidden {
        Forbidden::Address => Refusal::ForbiddenAddress { host: origin.host().to_string() },
        Forbidden::OwnListener => Refusal::OwnListener,
        Forbidden::Port => Refusal::ForbiddenPort { port: origin.port() },
    }
}

pub(super) fn not_found(missing: Missing, host: String) -> Refusal {
    match missing {
        Missing::NoName => Refusal::NameNotFound { host },
        Missing::NoAddress => Refusal::NameWithoutAddress { host },
        Missing::Failed(rcode) => Refusal::NameFailure { host, rcode },
    }
}

pub(super) fn timed_out(origin: &Origin) -> Refusal {
    Refusal::ConnectionTimeout { origin: origin.to_string() }
}

/// Whether nothing crosses `link`, since it is set to 0 in one direction at least.
pub(crate) fn is_closed(link: &SharedLink) -> bool {
    let (down, up) = link.rates();
    [down, up].into_iter().flatten().any(|rate| rate.bits_per_second() == 0)
}

/// What came to nothing for want of time is no origin's fault while `link` is closed.
pub(super) fn over(link: &SharedLink, origin: &Origin, refusal: Refusal) -> Refusal {
    let late = match &refusal {
        Refusal::ParentUnreachable { why, .. } => why,
        refusal => refusal,
    };
    let is_late = matches!(
        late,
        Refusal::ConnectionTimeout { .. }
            | Refusal::ResponseTimeout { .. }
            | Refusal::NameFailure { rcode: None, .. }
    );
    if is_late && is_closed(link) { Refusal::LinkClosed { origin: origin.to_string() } } else { refusal }
}

pub(super) fn failed(error: &io::Error, origin: &Origin) -> Refusal {
    let origin = origin.to_string();
    match error.kind() {
        ErrorKind::ConnectionRefused => Refusal::ConnectionRefused { origin },
        ErrorKind::TimedOut => Refusal::ConnectionTimeout { origin },
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => {
            Refusal::Unroutable { origin }
        }
        _ => Refusal::ConnectionTerminated { origin },
    }
}
