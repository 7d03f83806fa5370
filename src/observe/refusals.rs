//! Refusals, told to whoever reads what bentpipe says of itself: a reader of exchanges that says why a client was
//! refused, once a minute for each client and reason, and whose credentials were presented wrongly.

use std::hash::{BuildHasher as _, RandomState};

use http::StatusCode;
use tokio::time::Instant;

use super::flood::Flood;
use crate::exchange::{Details, Reader, Record};

/// Tells of refusals.
pub(crate) struct Refusals {
    flood: Flood,
    key: RandomState,
}

/// Reasons of one client, and lines in all, a minute.
const EACH: usize = 10;
const ALL: usize = 300;

/// Characters of a name that are told.
const LONGEST: usize = 64;

impl Refusals {
    pub(crate) fn new() -> Self {
        Self { flood: Flood::new(EACH, ALL, Instant::now()), key: RandomState::new() }
    }
}

impl Reader for std::sync::Arc<Refusals> {
    fn read(&self, record: &Record, details: &Details) {
        if let Some(name) = &details.guessed {
            return self.tell_of_guess(record, name);
        }
        let Some((status, reason)) = refused(details) else { return };
        let likeness = self.key.hash_one((status, &*reason));
        let Some(unsaid) = self.flood.may_say(record.client, Some(likeness), Instant::now()) else { return };
        let status = status.as_u16();
        tracing::info!(client = %record.client, status, reason = %reason, unsaid, "a client was refused");
    }
}

impl Refusals {
    /// Wrong credentials for `name`: somebody's own, typed wrongly or no longer right, or a guess.
    fn tell_of_guess(&self, record: &Record, name: &str) {
        let likeness = self.key.hash_one(("guess", name));
        let Some(unsaid) = self.flood.may_say(record.client, Some(likeness), Instant::now()) else { return };
        tracing::warn!(client = %record.client, user = %shown(name), unsaid, "wrong credentials were presented");
    }
}

/// A name that a client chose, as no log or terminal acts on it.
fn shown(name: &str) -> String {
    if name.is_empty() {
        "-".to_owned()
    } else {
        name.chars().take(LONGEST).flat_map(char::escape_debug).collect()
    }
}

/// What a client was refused with, and why: by us, and for what it is or wants. What an origin or the way there is to
/// blame for is no refusal, nor is the question for a password, which every browser is asked first.
fn refused(details: &Details) -> Option<(StatusCode, std::sync::Arc<str>)> {
    let status = details.status.filter(|status| status.is_client_error());
    let status = status.filter(|status| *status != StatusCode::PROXY_AUTHENTICATION_REQUIRED)?;
    details.error?;
    Some((status, details.reason.clone()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, error: Option<&'static str>, expected: bool) {
        let details = Details {
            status: StatusCode::from_u16(status).ok(),
            error,
            reason: error.map(|_| "Why.".into()),
            ..Details::default()
        };
        assert_eq!(refused(&details).is_some(), expected, "{status} {error:?}");
    }

    #[test]
    fn refusals_are_ours_and_about_the_client() {
        check(403, Some("http_request_denied"), true);
        check(429, Some("http_request_denied"), true);
        check(400, Some("http_request_error"), true);
        check(407, Some("http_request_denied"), false);
        check(502, Some("connection_refused"), false);
        check(403, None, false);
    }

    #[test]
    fn a_name_is_a_clients_to_choose() {
        assert_eq!(shown("ann"), "ann");
        assert_eq!(shown(""), "-");
        assert_eq!(shown("a\r\nb\u{1b}[2J\"x"), "a\\r\\nb\\u{1b}[2J\\\"x");
        assert_eq!(shown(&"x".repeat(9_000)).len(), LONGEST);
    }
}
