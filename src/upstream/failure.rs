//! What a failure between here and an origin is called towards the client: judged, looked up, or dialled in vain.

use std::io::{self, ErrorKind};

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
