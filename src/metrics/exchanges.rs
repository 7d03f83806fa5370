//! `Exchanges`: counts what becomes of exchanges, as a reader of their records. A dozen relaxed additions each; every
//! label has a fixed, small set of values, whatever clients and origins send.

use http::{Method, StatusCode};

use super::histogram::{DURATIONS, Histogram, SIZES};
use crate::count::Count;
use crate::exchange::{Cut, Details, OUTCOMES, Outcome, Reader, Record};

/// Every value of a label has its place in one of these.
pub(crate) const METHODS: [&str; 5] = ["get", "head", "post", "connect", "other"];
pub(crate) const STATUSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];
/// Where the bytes for a client come from.
pub(crate) const SOURCES: [&str; 4] = ["cache", "origin", "tunnel", "own"];
/// Who broke exchanges off, as `Cut` says it.
pub(crate) const CUTS: [&str; 4] = ["client", "origin", "store", "operator"];

/// The error types that a response of ours can have (RFC 9209 §2.3), and one for any other.
pub(crate) const ERRORS: [&str; 31] = [
    "connection_limit_reached",
    "connection_read_timeout",
    "connection_refused",
    "connection_terminated",
    "connection_timeout",
    "connection_write_timeout",
    "destination_ip_prohibited",
    "destination_ip_unroutable",
    "destination_not_found",
    "destination_unavailable",
    "dns_error",
    "dns_timeout",
    "http_protocol_error",
    "http_request_denied",
    "http_request_error",
    "http_response_body_size",
    "http_response_content_coding",
    "http_response_header_section_size",
    "http_response_header_size",
    "http_response_incomplete",
    "http_response_timeout",
    "http_response_transfer_coding",
    "http_upgrade_failed",
    "proxy_configuration_error",
    "proxy_internal_error",
    "proxy_internal_response",
    "proxy_loop_detected",
    "tls_alert_received",
    "tls_certificate_error",
    "tls_protocol_error",
    "other",
];

/// What was counted of exchanges that are over.
#[derive(Debug)]
pub(crate) struct Exchanges {
    requests: [[[Count; STATUSES.len()]; METHODS.len()]; OUTCOMES.len()],
    errors: [Count; ERRORS.len()],
    cut: [Count; CUTS.len()],
    /// By source, to clients and from them.
    bytes: [(Count, Count); SOURCES.len()],
    /// By source.
    durations: [Histogram; SOURCES.len()],
    sizes: [Histogram; SOURCES.len()],
    first_byte: Histogram,
    connection: Histogram,
    link: Histogram,
}

impl Default for Exchanges {
    fn default() -> Self {
        Self {
            requests: Default::default(),
            errors: Default::default(),
            cut: Default::default(),
            bytes: Default::default(),
            durations: std::array::from_fn(|_| Histogram::new(&DURATIONS)),
            sizes: std::array::from_fn(|_| Histogram::new(&SIZES)),
            first_byte: Histogram::new(&DURATIONS),
            connection: Histogram::new(&DURATIONS),
            link: Histogram::new(&DURATIONS),
        }
    }
}

impl Exchanges {
    /// How many exchanges there were of each kind, of those of which there were any.
    pub(crate) fn requests(&self) -> impl Iterator<Item = ([&'static str; 3], u64)> {
        let place = |outcome: usize, method: usize, status: usize| {
            let labels = [OUTCOMES[outcome].1, METHODS[method], STATUSES[status]];
            (labels, self.requests[outcome][method][status].read())
        };
        let outcomes = 0..OUTCOMES.len();
        let each = outcomes
            .flat_map(|outcome| (0..METHODS.len()).map(move |method| (outcome, method)))
            .flat_map(|(outcome, method)| (0..STATUSES.len()).map(move |status| (outcome, method, status)));
        each.map(move |(outcome, method, status)| place(outcome, method, status))
            .filter(|(_, count)| *count > 0)
    }

    /// How many exchanges had each outcome.
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let sum = |counts: &[[Count; STATUSES.len()]; METHODS.len()]| {
            counts.iter().flatten().map(Count::read).sum()
        };
        OUTCOMES.iter().zip(&self.requests).map(move |((_, name), counts)| (*name, sum(counts)))
    }

    /// How many responses of ours had each error type.
    pub(crate) fn errors(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ERRORS.into_iter().zip(self.errors.iter().map(Count::read))
    }

    /// How many exchanges were broken off by whom.
    pub(crate) fn cut(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CUTS.into_iter().zip(self.cut.iter().map(Count::read))
    }

    /// Bytes to clients and from them, by source.
    pub(crate) fn bytes(&self) -> impl Iterator<Item = (&'static str, u64, u64)> {
        SOURCES.into_iter().zip(&self.bytes).map(|(source, (down, up))| (source, down.read(), up.read()))
    }

    /// How long exchanges took, by source.
    pub(crate) fn durations(&self) -> impl Iterator<Item = (&'static str, &Histogram)> {
        SOURCES.into_iter().zip(&self.durations)
    }

    /// How large responses were, by source.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = (&'static str, &Histogram)> {
        SOURCES.into_iter().zip(&self.sizes)
    }

    /// From the beginning to the head of the origin's response.
    pub(crate) fn first_byte(&self) -> &Histogram {
        &self.first_byte
    }

    /// Waiting for a connection.
    pub(crate) fn connection(&self) -> &Histogram {
        &self.connection
    }

    /// On the link.
    pub(crate) fn link(&self) -> &Histogram {
        &self.link
    }

    /// Returns the place of its source.
    fn count(&self, record: &Record, details: &Details) -> usize {
        let outcome = Outcome::of(details);
        let (at, source) = (outcome.place(), source(outcome));
        self.requests[at][method(&record.method)][status(details.status)].one();
        if let Some(error) = details.error {
            let place = ERRORS.iter().position(|token| *token == error);
            self.errors[place.unwrap_or(ERRORS.len() - 1)].one();
        }
        // A client that left before it had an answer has no status.
        let left = details.status.is_none().then_some(Cut::Client);
        if let Some(cut) = details.cut_short.or(left)
            && let Some(place) = CUTS.iter().position(|name| *name == cut.text())
        {
            self.cut[place].one();
        }
        if let Some(wait) = details.times.first_byte {
            self.first_byte.note(micros(wait));
        }
        if let Some(wait) = details.times.connection {
            self.connection.note(micros(wait));
        }
        let sent = record.client_bytes();
        self.bytes[source].0.add(sent);
        self.sizes[source].note(sent);
        self.durations[source].note(micros(record.duration()));
        source
    }
}

impl Reader for std::sync::Arc<Exchanges> {
    fn read(&self, record: &Record, details: &Details) {
        let source = self.count(record, details);
        self.bytes[source].1.add(record.received());
        let on_link = record.link_time();
        if !on_link.is_zero() {
            self.link.note(micros(on_link));
        }
    }
}

fn source(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Hit | Outcome::Stale | Outcome::Revalidated => 0,
        Outcome::Collapsed | Outcome::Miss | Outcome::Pass => 1,
        Outcome::Tunnel | Outcome::Intercepted => 2,
        Outcome::Failed | Outcome::Refused | Outcome::Own => 3,
    }
}

fn method(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::CONNECT => 3,
        _ => 4,
    }
}

fn status(status: Option<StatusCode>) -> usize {
    match status.map(|status| status.as_u16() / 100) {
        Some(1) => 0,
        Some(2) => 1,
        Some(3) => 2,
        Some(4) => 3,
        Some(5) => 4,
        _ => 5,
    }
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
