//! `Admission`: who may ask, and how often; and how its values, the limits of each client and what is logged of it are
//! written.
//!
//! As in `value`: what is printed reads back as the same value, and an error is the sentence that says what is right.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use ipnet::IpNet;
use linkio::ByteCount;
use zeroize::Zeroize as _;

use crate::config::value::{parse_connections, parse_path, parse_size, print_path};
use crate::config::{AccessRule, Others, QueryLog, Token};

/// Who may ask, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The accounts of proxy authentication (RFC 9110 section 11.7). When there is none, nobody is asked.
    pub users: Vec<User>,
    /// More accounts, in a file of htpasswd.
    pub users_file: Option<PathBuf>,
    /// Accounts that are known by tokens of the Bearer scheme (RFC 6750).
    pub tokens: Vec<Token>,
    /// Networks whose clients are not asked for accounts.
    pub no_auth: Vec<IpNet>,
    /// Requests a second that each client address may make; `None` is no limit.
    pub requests_per_second: Option<NonZeroU32>,
    /// Requests that a client may make at once; `None` is as many as a second allows.
    pub burst: Option<NonZeroU32>,
    /// What may be asked for that `deny` does not forbid.
    pub allow: Vec<AccessRule>,
    /// What may not be asked for.
    pub deny: Vec<AccessRule>,
    /// Who may ask for what no rule speaks of.
    pub others: Others,
}

impl Admission {
    /// Whether anyone is asked for an account.
    pub fn wants_accounts(&self) -> bool {
        !self.users.is_empty() || self.users_file.is_some() || !self.tokens.is_empty()
    }
}

/// An account of the Basic scheme (RFC 7617).
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The user-id: not empty, without a colon.
    pub name: String,
    /// The password: not empty.
    pub password: String,
}

impl Drop for User {
    fn drop(&mut self) {
        self.password.zeroize();
    }
}

/// The password stays out of every log line and panic message.
impl fmt::Debug for User {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What the type of a request target can hold is a little more than the upper end.
const URI_SIZES: RangeInclusive<u64> = 256..=64_000;

/// Fewer stop browsers, and more are held in memory for each request that is read.
const FIELD_COUNTS: RangeInclusive<usize> = 50..=10_000;

pub(super) fn parse_query_log(text: &str) -> Result<QueryLog, String> {
    match text {
        "keep" => Ok(QueryLog::Keep),
        "hash" => Ok(QueryLog::Hash),
        "drop" => Ok(QueryLog::Drop),
        _ => Err("expected keep, hash or drop".to_owned()),
    }
}

pub(super) fn print_query_log(query: &QueryLog) -> String {
    match query {
        QueryLog::Keep => "keep",
        QueryLog::Hash => "hash",
        QueryLog::Drop => "drop",
    }
    .to_owned()
}

pub(super) fn parse_burst(text: &str) -> Result<Option<NonZeroU32>, String> {
    match text {
        "auto" => Ok(None),
        _ => text.parse().map(Some).map_err(|_| "expected a number from 1, or auto".to_owned()),
    }
}

pub(super) fn print_burst(burst: &Option<NonZeroU32>) -> String {
    burst.map_or_else(|| "auto".to_owned(), |burst| burst.to_string())
}

pub(super) fn parse_file(text: &str) -> Result<Option<PathBuf>, String> {
    match text {
        "off" => Ok(None),
        _ => parse_path(text).map(Some).map_err(|_| "expected a file, or off".to_owned()),
    }
}

pub(super) fn print_file(path: &Option<PathBuf>) -> String {
    path.as_deref().map_or_else(|| "off".to_owned(), print_path)
}

/// What one client may have of what there are `limits.connections` of.
pub(super) fn parse_share(text: &str) -> Result<Option<usize>, String> {
    match text {
        "auto" => Ok(None),
        _ => parse_connections(text).map(Some).map_err(|expected| format!("{expected}, or auto")),
    }
}

pub(super) fn print_share(share: &Option<usize>) -> String {
    share.map_or_else(|| "auto".to_owned(), |share| share.to_string())
}

pub(super) fn parse_uri_size(text: &str) -> Result<ByteCount, String> {
    let size = parse_size(text)?;
    if URI_SIZES.contains(&size.0) { Ok(size) } else { Err("expected a size from 256 to 64k".to_owned()) }
}

pub(super) fn parse_field_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if FIELD_COUNTS.contains(&count) => Ok(count),
        _ => Err("expected a number from 50 to 10000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printed` is the canonical form of `written`, or the start of what is wrong with it.
    #[track_caller]
    fn check<T>(parse: fn(&str) -> Result<T, String>, print: fn(&T) -> String, written: &str, printed: &str) {
        match parse(written) {
            Ok(value) => assert_eq!(print(&value), printed, "{written:?}"),
            Err(reason) => assert!(reason.starts_with(printed), "{written:?}: {reason}"),
        }
    }

    #[test]
    fn words_beside_values() {
        check(parse_burst, print_burst, "auto", "auto");
        check(parse_burst, print_burst, "20", "20");
        check(parse_burst, print_burst, "off", "expected a number from 1, or auto");
        check(parse_query_log, print_query_log, "hash", "hash");
        check(parse_query_log, print_query_log, "off", "expected keep, hash or drop");
        check(parse_file, print_file, "off", "off");
        check(parse_file, print_file, "/etc/users", "/etc/users");
        check(parse_share, print_share, "auto", "auto");
        check(parse_share, print_share, "9", "9");
        check(parse_share, print_share, "0", "expected a number from 1 to 1000000, or auto");
    }

    #[test]
    fn bounds() {
        assert!(
            parse_uri_size("255").is_err() && parse_uri_size("64k").is_ok() && parse_uri_size("65k").is_err()
        );
        assert!(parse_field_count("49").is_err() && parse_field_count("10000").is_ok());
    }
}
