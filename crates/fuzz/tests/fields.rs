//! Any bytes in the three fields whose grammar has traps of its own: Cache-Control, Range and dates.

use std::time::{Duration, SystemTime};

use http::header::{CACHE_CONTROL, CONTENT_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use rfc9111::{CacheControl, ContentRange, Presented, Ranging, StoredResponse};

const DIRECTIVES: [&str; 16] = [
    "max-age=",
    "s-maxage",
    "no-store",
    "no-cache",
    "private",
    "=\"",
    "\"",
    "\\",
    ",",
    "=",
    " ",
    "must-revalidate",
    "5",
    "-1",
    "99999999999999999999",
    "stale-while-revalidate=",
];

const RANGES: [&str; 16] = [
    "bytes=",
    "BYTES=",
    "bytes ",
    "-",
    ",",
    " ",
    "0",
    "9",
    "10",
    "18446744073709551615",
    "18446744073709551616",
    "*",
    "/",
    "=",
    "1-2",
    "+",
];

const DATES: [&str; 16] = [
    "Sun, ",
    "Sunday, ",
    "Sun ",
    "06 Nov 1994 ",
    "06-Nov-94 ",
    "Nov  6 ",
    "08:49:37",
    " GMT",
    " 1994",
    "99",
    "Feb",
    "29",
    "60",
    "-",
    " ",
    "0",
];

fn value(pieces: &[(u8, Option<u8>)], words: &[&str; 16]) -> Option<HeaderValue> {
    let mut bytes = Vec::new();
    for (word, byte) in pieces {
        bytes.extend_from_slice(words[usize::from(*word) % 16].as_bytes());
        bytes.extend(byte.filter(|_| *word >= 192));
    }
    HeaderValue::from_bytes(&bytes).ok()
}

#[test]
fn any_cache_control_is_read() {
    bolero::check!().with_iterations(2_000).with_type::<Vec<(u8, Option<u8>)>>().for_each(|pieces| {
        let Some(value) = value(pieces, &DIRECTIVES) else { return };
        let mut headers = HeaderMap::new();
        headers.append(CACHE_CONTROL, value.clone());
        let alone = CacheControl::of(&headers);
        CacheControl::of_request(&headers);
        // A directive in a line of its own is seen, whatever stands in the other.
        headers.append(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        assert!(CacheControl::of(&headers).no_store, "{value:?}");
        assert!(alone.max_age.is_none_or(|age| age <= Duration::from_secs(1 << 31)), "{value:?}");
    });
}

#[test]
fn any_range_is_within_the_content() {
    let (method, target) = (Method::GET, Uri::from_static("http://a.example/b"));
    bolero::check!().with_iterations(2_000).with_type::<(u64, Vec<(u8, Option<u8>)>)>().for_each(
        |(length, pieces)| {
            let Some(value) = value(pieces, &RANGES) else { return };
            let headers: HeaderMap = [(RANGE, value.clone())].into_iter().collect();
            let presented = Presented::new(&method, &target, &headers);
            let then = SystemTime::UNIX_EPOCH;
            let stored = StoredResponse::new(&presented, StatusCode::OK, &HeaderMap::new(), then, then);
            for length in [*length, length % 100, 0] {
                let ranges = match rfc9111::ranging(&presented, &stored, length) {
                    Ranging::Part(range) => vec![range],
                    Ranging::Parts(ranges) => ranges,
                    _ => Vec::new(),
                };
                assert!(ranges.len() <= 200, "{} ranges of {value:?}", ranges.len());
                let inside = ranges.iter().all(|range| range.first <= range.last && range.last < length);
                assert!(inside, "{ranges:?} of {length} for {value:?}");
            }
            if let Some(range) = ContentRange::parse(value.as_bytes()) {
                assert_eq!(ContentRange::parse(range.to_value().as_bytes()), Some(range), "{value:?}");
            }
            let headers: HeaderMap = [(CONTENT_RANGE, value)].into_iter().collect();
            let _ = rfc9111::part_to_store(StatusCode::PARTIAL_CONTENT, &headers);
            let mut passed = rfc9111::end_to_end(headers);
            rfc9111::Via::new("fuzz").append(&mut passed, Version::HTTP_11);
        },
    );
}

#[test]
fn any_date_is_a_date_or_none() {
    bolero::check!().with_iterations(2_000).with_type::<(u32, Vec<(u8, Option<u8>)>)>().for_each(
        |(now, pieces)| {
            let Some(value) = value(pieces, &DATES) else { return };
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(*now));
            if let Some(date) = rfc9111::parse_date(value.as_bytes(), now) {
                let again = rfc9111::format_date(date);
                assert_eq!(rfc9111::parse_date(again.as_bytes(), now), Some(date), "{value:?}");
            }
        },
    );
}
