//! Any fields in request and response: every rule of RFC 9111 gives an answer, and the ones that matter most
//! hold whatever the peer wrote.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
use rfc9111::{Decision, Policy, Presented, Ranging, Situation, StoredResponse, Storing};

/// Fields that some rule reads.
const NAMES: [&str; 24] = [
    "cache-control",
    "date",
    "expires",
    "age",
    "last-modified",
    "etag",
    "vary",
    "pragma",
    "range",
    "if-range",
    "if-none-match",
    "if-modified-since",
    "if-match",
    "if-unmodified-since",
    "authorization",
    "connection",
    "keep-alive",
    "via",
    "location",
    "content-location",
    "content-length",
    "content-range",
    "set-cookie",
    "accept-language",
];

/// Words that get random values past the first letter of a grammar.
const WORDS: [&str; 24] = [
    "max-age=",
    "s-maxage=",
    "no-store",
    "no-cache",
    "private",
    "public",
    "must-revalidate",
    "stale-if-error=",
    "must-understand",
    "\"",
    "=",
    ",",
    " ",
    "*",
    "W/\"v\"",
    "bytes=",
    "-",
    "0",
    "99999999999999999999",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
    "http://a.example/x",
    "accept-language",
];

/// A field: which name, the words of its value, and bytes behind them.
type Field = (u8, Vec<u8>, Vec<u8>);

#[test]
fn any_fields_get_an_answer() {
    type Input = (u8, u16, Vec<Field>, Vec<Field>, u32);
    bolero::check!().with_iterations(2_000).with_type::<Input>().for_each(
        |(method, status, request, response, age)| {
            let method =
                [Method::GET, Method::HEAD, Method::POST, Method::DELETE][usize::from(*method) % 4].clone();
            let status = StatusCode::from_u16(100 + status % 500).unwrap_or(StatusCode::OK);
            exercise(
                &method,
                status,
                &headers(request),
                &headers(response),
                Duration::from_secs((*age).into()),
            );
        },
    );
}

fn exercise(method: &Method, status: StatusCode, request: &HeaderMap, response: &HeaderMap, age: Duration) {
    let target = Uri::from_static("http://a.example/b?c");
    let presented = Presented::new(method, &target, request);
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
    let at = |now| Situation { now, policy: Policy::default() };
    let storing = rfc9111::may_store(&presented, status, response, &at(then));
    let directives: Vec<_> = response.get_all("cache-control").iter().map(HeaderValue::as_bytes).collect();
    if directives == [b"no-store".as_slice()] {
        assert!(matches!(storing, Storing::Pass(_)), "no-store was stored");
    }
    let stored = StoredResponse::new(&presented, status, response, then, then);
    let early = rfc9111::freshness(&stored, &at(then));
    let late = rfc9111::freshness(&stored, &at(then + age));
    assert!(early.is_fresh() || !late.is_fresh(), "more age made it fresh");
    match rfc9111::decide(&presented, &[&stored], &at(then + age)) {
        Decision::Reuse { stored: index, .. } | Decision::Validate { stored: index, .. } => {
            assert_eq!(index, 0);
        }
        Decision::Forward(because) | Decision::GatewayTimeout(because) => {
            assert!(!because.to_string().is_empty());
        }
    }
    let conditional = rfc9111::conditional_request(&presented, &[&stored]);
    assert!(!conditional.contains_key("connection"));
    let freshened = rfc9111::freshen(&stored, response, then, then);
    assert_eq!(freshened.headers.get("content-length"), stored.headers.get("content-length"));
    check_ranges(&presented, &stored);
    let _ = rfc9111::evaluate(&presented, &stored);
    let _ = rfc9111::invalidated(method, status, &target, response);
    let mut kept = rfc9111::end_to_end(response.clone());
    assert!(!kept.contains_key("connection") && !kept.contains_key("keep-alive"));
    let via = rfc9111::Via::new("fuzz");
    via.append(&mut kept, Version::HTTP_11);
    assert!(via.is_in(&kept));
}

fn check_ranges(presented: &Presented<'_>, stored: &StoredResponse) {
    for length in [0, 1, 10_000, u64::MAX] {
        let ranges = match rfc9111::ranging(presented, stored, length) {
            Ranging::Part(range) => vec![range],
            Ranging::Parts(ranges) => ranges,
            _ => Vec::new(),
        };
        for range in ranges {
            assert!(range.first <= range.last && range.last < length, "{range:?} of {length}");
        }
    }
}

fn headers(fields: &[Field]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, words, rest) in fields {
        let name = NAMES[usize::from(*name) % NAMES.len()];
        let mut value: Vec<u8> =
            words.iter().flat_map(|word| WORDS[usize::from(*word) % WORDS.len()].bytes()).collect();
        value.extend_from_slice(rest);
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    headers
}
