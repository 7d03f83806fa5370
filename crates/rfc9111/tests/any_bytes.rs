//! Whatever bytes a peer puts into a field, every decision is taken without a panic.

use std::time::{Duration, UNIX_EPOCH};

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri};
use proptest::prelude::*;
use rfc9111::{CacheKey, Failure, Policy, Presented, Situation, StoredResponse};

/// Every field this crate reads, and one it does not.
const NAMES: [&str; 28] = [
    "accept-language",
    "age",
    "authorization",
    "cache-control",
    "connection",
    "content-length",
    "content-location",
    "content-range",
    "date",
    "etag",
    "expires",
    "foo",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "pragma",
    "range",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
];

/// What the grammars of the values are made of, and what they are not.
const PIECES: [&str; 36] = [
    "max-age=9",
    "no-store",
    "no-cache=",
    "private",
    "s-maxage=",
    "public",
    "stale-if-error=1",
    "immutable",
    "bytes=",
    "0-1",
    "-5",
    "7-",
    "W/",
    "\"a\"",
    "\"",
    "*",
    ",",
    ";",
    "=",
    " ",
    "\t",
    "foo",
    "\\",
    "/",
    "..",
    "?",
    ":",
    "http://",
    "//",
    "2147483649",
    "99999999999999999999",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sunday, 06-Nov-94",
    "chunked",
    "\u{80}",
    "\u{ff}",
];

fn value() -> impl Strategy<Value = HeaderValue> {
    let pieces = prop::collection::vec(prop::sample::select(PIECES.as_slice()), 0..6);
    pieces.prop_filter_map("a field value", |pieces| HeaderValue::from_bytes(pieces.concat().as_bytes()).ok())
}

fn headers() -> impl Strategy<Value = HeaderMap> {
    let name = prop::sample::select(NAMES.as_slice()).prop_map(HeaderName::from_static);
    prop::collection::vec((name, value()), 0..8).prop_map(|fields| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, value);
        }
        headers
    })
}

proptest! {
    #[test]
    fn every_decision_is_taken(
        asked in headers(), answered in headers(), later in headers(),
        status in 100u16..600, seconds in 0u64..u64::MAX >> 3, length: u64,
    ) {
        let target = Uri::from_static("http://example.com/a");
        let presented = Presented::new(&Method::GET, &target, &asked);
        let now = UNIX_EPOCH + Duration::from_secs(seconds);
        let situation = Situation { now, policy: Policy::default() };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);

        rfc9111::may_store(&presented, status, &answered, &situation);
        let stored = StoredResponse::new(&presented, status, &answered, UNIX_EPOCH, now);
        rfc9111::decide(&presented, &[&stored, &stored], &situation);
        rfc9111::evaluate(&presented, &stored);
        rfc9111::ranging(&presented, &stored, length);
        rfc9111::not_modified_headers(&stored.headers);
        let _ = rfc9111::may_serve_stale(&presented, &stored, Failure::Unreachable, &situation);

        rfc9111::conditional_request(&presented, &[&stored]);
        rfc9111::select_validated(&presented, &[&stored], &later);
        rfc9111::confirms_client(&presented, &later);
        let freshened = rfc9111::freshen(&stored, &later, now, UNIX_EPOCH);
        rfc9111::freshen_by_head(&freshened, &answered, now, now);
        rfc9111::decide(&presented, &[&freshened], &situation);

        rfc9111::invalidated(&Method::POST, status, &target, &answered);
        rfc9111::Via::new("bentpipe").is_in(&asked);
        rfc9111::end_to_end(asked);
    }

    #[test]
    fn freshening_twice_is_freshening_once(
        asked in headers(), answered in headers(), later in headers(), seconds in 0u64..1 << 40,
    ) {
        let target = Uri::from_static("http://example.com/a");
        let presented = Presented::new(&Method::GET, &target, &asked);
        let now = UNIX_EPOCH + Duration::from_secs(seconds);
        let stored = StoredResponse::new(&presented, StatusCode::OK, &answered, UNIX_EPOCH, now);
        let once = rfc9111::freshen(&stored, &later, now, now);
        prop_assert_eq!(rfc9111::freshen(&once, &later, now, now), once);
    }

    #[test]
    fn whatever_else_is_said_no_store_is_never_stored(
        asked in headers(), mut answered in headers(), status in 100u16..600, now in 0u64..1 << 40,
    ) {
        let target = Uri::from_static("http://example.com/a");
        let presented = Presented::new(&Method::GET, &target, &asked);
        answered.append("cache-control", HeaderValue::from_static("no-store"));
        let situation = Situation { now: UNIX_EPOCH + Duration::from_secs(now), policy: Policy::default() };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        let storing = rfc9111::may_store(&presented, status, &answered, &situation);
        prop_assert!(matches!(storing, rfc9111::Storing::Pass(_)));
    }

    #[test]
    fn explaining_ends_with_the_decision(
        asked in headers(), answered in headers(), status in 200u16..600, seconds in 0u64..1 << 40,
    ) {
        let target = Uri::from_static("http://example.com/a");
        let presented = Presented::new(&Method::GET, &target, &asked);
        let now = UNIX_EPOCH + Duration::from_secs(seconds);
        let situation = Situation { now, policy: Policy::default() };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        let stored = StoredResponse::new(&presented, status, &answered, UNIX_EPOCH, UNIX_EPOCH);
        let explained = rfc9111::explain(&presented, &[&stored], &situation);
        prop_assert_eq!(explained.decision, rfc9111::decide(&presented, &[&stored], &situation));
    }

    #[test]
    fn a_key_is_made_or_not(target in "(http://|https://)?[ -~]{0,24}") {
        if let Some(key) = CacheKey::parse(&target) {
            prop_assert!(key.as_str().starts_with(key.origin()));
            prop_assert_eq!(CacheKey::parse(key.as_str()), Some(key));
        }
    }
}
