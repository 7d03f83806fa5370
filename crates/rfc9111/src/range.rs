//! Byte ranges: what of a stored response a client asks for (RFC 9110 §14, §13.1.5).
//!
//! Only complete 200 responses are cut here. A Range that is broken, excessive or conditional on another
//! representation is ignored, as §14.2 allows, and the whole is served.

use std::fmt;
use std::time::Duration;

use http::header::{HeaderMap, IF_RANGE, RANGE};
use http::{HeaderValue, Method, StatusCode};

use crate::date::parse_date;
use crate::etag::EntityTag;
use crate::fields::{self, Escapes};
use crate::request::{Kind, Presented};
use crate::stored::StoredResponse;

/// More ranges than this in one request are ignored. §14.2: "A server that supports range requests MAY ignore or reject
/// a Range header field that contains […] many small ranges".
const MOST_RANGES: usize = 16;

/// Ranges closer than this are sent as one: a part's own header costs about as much (§15.3.7.2).
const SMALLEST_GAP: u64 = 80;

/// Some bytes of a representation: positions from 0, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// The position of the first byte.
    pub first: u64,
    /// The position of the last byte, not before the first.
    pub last: u64,
}

impl ByteRange {
    /// How many bytes there are.
    pub fn length(&self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }
}

/// A Content-Range field (§14.4), printed and parsed as its value.
///
/// ```
/// use rfc9111::{ByteRange, ContentRange};
///
/// let part = ContentRange { range: Some(ByteRange { first: 0, last: 4 }), complete_length: Some(10) };
/// assert_eq!(part.to_string(), "bytes 0-4/10");
/// assert_eq!(ContentRange::parse(b"bytes */10"), Some(ContentRange { range: None, complete_length: Some(10) }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// The range enclosed in the message; none in a 416.
    pub range: Option<ByteRange>,
    /// The length of the complete representation in bytes, where it is known.
    pub complete_length: Option<u64>,
}

/// What of a stored response to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranging {
    /// All of it, as 200.
    Whole,
    /// One range, as 206.
    Part(ByteRange),
    /// Several, none near another, as 206 with multipart/byteranges.
    Parts(Vec<ByteRange>),
    /// Nothing: 416 with `Content-Range: bytes */length`.
    NotSatisfiable,
}

/// What of a stored response a presented request asks for; `complete_length` is the length of its body in bytes.
pub fn ranging(presented: &Presented<'_>, stored: &StoredResponse, complete_length: u64) -> Ranging {
    // §14.2: "A server MUST ignore a Range header field received with a request method that is unrecognized or for
    // which range handling is not defined. For this specification, GET is the only method for which range handling is
    // defined."
    if !presented.has(Kind::Range) || *presented.method != Method::GET || stored.status != StatusCode::OK {
        return Ranging::Whole;
    }
    let Some(range) = fields::only(presented.headers, &RANGE) else { return Ranging::Whole };
    if !if_range_holds(presented.headers, stored) {
        return Ranging::Whole;
    }
    let Some(specified) = specified(range) else { return Ranging::Whole };
    // An empty representation has no range that a Content-Range could name.
    if complete_length == 0 && specified.iter().any(|specified| matches!(specified, Specified::Last(1..))) {
        return Ranging::Whole;
    }
    let satisfiable = specified.iter().filter_map(|specified| specified.within(complete_length));
    coalesced(satisfiable)
}

/// One range as specified (§14.1.2).
#[derive(Clone, Copy)]
enum Specified {
    /// `first-last`
    Between(u64, u64),
    /// `first-`
    From(u64),
    /// `-length`
    Last(u64),
}

impl Specified {
    fn parse(text: &[u8]) -> Option<Self> {
        let dash = text.iter().position(|byte| *byte == b'-')?;
        let (first, last) = (&text[..dash], &text[dash + 1..]);
        match (first, last) {
            (b"", length) => Some(Self::Last(position(length)?)),
            (first, b"") => Some(Self::From(position(first)?)),
            (first, last) => {
                // "An int-range is invalid if the last-pos value is present and less than the first-pos." (§14.1.1)
                let (first, last) = (position(first)?, position(last)?);
                (first <= last).then_some(Self::Between(first, last))
            }
        }
    }

    /// The bytes this range has in a representation, if any.
    fn within(self, complete_length: u64) -> Option<ByteRange> {
        let end = complete_length.checked_sub(1)?;
        // "For a GET request, a valid bytes range-spec is satisfiable if it is either: an int-range with a first-pos that
        // is less than the current length of the selected representation or a suffix-range with a non-zero
        // suffix-length." (§14.1.2)
        let (first, last) = match self {
            Self::Between(first, last) => (first, last.min(end)),
            Self::From(first) => (first, end),
            Self::Last(0) => return None,
            Self::Last(length) => (complete_length.saturating_sub(length), end),
        };
        (first <= end).then_some(ByteRange { first, last })
    }
}

/// The specified ranges, or `None` where the field is broken or excessive.
fn specified(range: &[u8]) -> Option<Vec<Specified>> {
    let equals = range.iter().position(|byte| *byte == b'=')?;
    if !range[..equals].eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let members = fields::split(&range[equals + 1..], Escapes::None);
    let specified: Vec<_> = members.take(MOST_RANGES + 1).map(Specified::parse).collect::<Option<_>>()?;
    (!specified.is_empty() && specified.len() <= MOST_RANGES).then_some(specified)
}

/// Joins what overlaps or nearly touches, in the order of the request.
///
/// §14.2: "…MAY ignore or reject a Range header field that contains an invalid ranges-specifier […], a ranges-specifier
/// with more than two overlapping ranges, or a set of many small ranges that are not listed in ascending order, since
/// these are indications of either a broken client or a deliberate denial-of-service attack".
fn coalesced(satisfiable: impl Iterator<Item = ByteRange>) -> Ranging {
    let mut parts: Vec<ByteRange> = Vec::new();
    let mut overlaps = 0;
    for range in satisfiable {
        let mut joined = range;
        parts.retain(|part| {
            let near = part.first <= joined.last.saturating_add(SMALLEST_GAP)
                && joined.first <= part.last.saturating_add(SMALLEST_GAP);
            if near {
                overlaps += usize::from(part.first <= range.last && range.first <= part.last);
                joined = ByteRange { first: part.first.min(joined.first), last: part.last.max(joined.last) };
            }
            !near
        });
        parts.push(joined);
    }
    match parts.as_slice() {
        _ if overlaps > 2 => Ranging::Whole,
        [] => Ranging::NotSatisfiable,
        [part] => Ranging::Part(*part),
        _ => Ranging::Parts(parts),
    }
}

/// §13.1.5: "A recipient of an If-Range header field MUST ignore the Range header field if the If-Range condition
/// evaluates to false."
fn if_range_holds(headers: &HeaderMap, stored: &StoredResponse) -> bool {
    if !headers.contains_key(IF_RANGE) {
        return true;
    }
    let Some(condition) = fields::only(headers, &IF_RANGE) else { return false };
    // "A valid entity-tag can be distinguished from a valid HTTP-date by examining the first three characters for a
    // DQUOTE." Tags without quotes are weak and would not match either.
    if condition.iter().take(3).any(|byte| *byte == b'"') {
        return stored.etag().is_some_and(|own| own.strong_match(EntityTag::new(condition)));
    }
    // "If the HTTP-date validator provided is not a strong validator in the sense defined by Section 8.8.2.2, the
    // condition is false. […] exactly matches the Last-Modified field value for the selected representation, the
    // condition is true." §8.8.2.2 asks for a Date "at least one second after the Last-Modified value" with "enough
    // difference […] to make clock synchronization issues unlikely": a minute.
    let date = parse_date(condition, stored.response_time);
    date.is_some_and(|date| {
        let age = stored.date().duration_since(date).unwrap_or_default();
        stored.last_modified() == Some(date) && age >= Duration::from_secs(60)
    })
}

/// Digits only; a position beyond any representation stays beyond.
fn position(digits: &[u8]) -> Option<u64> {
    let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    all_digits.then(|| {
        digits.iter().fold(0u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    })
}

impl ContentRange {
    /// Reads a Content-Range of bytes; `None` where it is none or contradicts itself.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (unit, rest) = value.split_at_checked(6)?;
        if !unit.eq_ignore_ascii_case(b"bytes ") {
            return None;
        }
        let slash = rest.iter().position(|byte| *byte == b'/')?;
        let complete_length = match &rest[slash + 1..] {
            b"*" => None,
            digits => Some(position(digits)?),
        };
        let range = match &rest[..slash] {
            b"*" => None,
            range => match Specified::parse(range)? {
                Specified::Between(first, last) => Some(ByteRange { first, last }),
                _ => return None,
            },
        };
        // "A Content-Range field value is invalid if it contains a range-resp that has a last-pos value less than its
        // first-pos value, or a complete-length value less than or equal to its last-pos value." (§14.4)
        let consistent = match (range, complete_length) {
            (Some(range), Some(length)) => range.last < length,
            (None, None) => false,
            _ => true,
        };
        consistent.then_some(Self { range, complete_length })
    }

    /// The field value.
    pub fn to_value(&self) -> HeaderValue {
        HeaderValue::try_from(self.to_string()).unwrap_or_else(|_| HeaderValue::from_static("bytes */0"))
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.range {
            Some(range) => write!(f, "bytes {}-{}/", range.first, range.last)?,
            None => f.write_str("bytes */")?,
        }
        match self.complete_length {
            Some(length) => write!(f, "{length}"),
            None => f.write_str("*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{request, stored};

    fn found(presented: &str, response: &str, length: u64) -> String {
        let request = request("GET", presented);
        match ranging(&request.presented(), &stored(200, response), length) {
            Ranging::Whole => "whole".into(),
            Ranging::NotSatisfiable => "416".into(),
            Ranging::Part(part) => format!("{}-{}", part.first, part.last),
            Ranging::Parts(parts) => {
                parts.iter().map(|part| format!("{}-{}", part.first, part.last)).collect::<Vec<_>>().join(",")
            }
        }
    }

    /// Of a representation of 1000 bytes.
    #[track_caller]
    fn check(range: &str, expected: &str) {
        assert_eq!(found(&format!("range: {range}"), "", 1000), expected, "{range}");
    }

    #[test]
    fn one_range_14_1_2() {
        check("bytes=0-0", "0-0");
        check("bytes=0-499", "0-499");
        check("Bytes=500-", "500-999");
        check("bytes=-1", "999-999");
        check("bytes=-5000", "0-999");
        check("bytes=900-99999999999999999999999", "900-999");
        check("bytes= 0-1 ,", "0-1");
    }

    #[test]
    fn what_lies_outside_is_not_satisfiable_14_1_2() {
        check("bytes=1000-", "416");
        check("bytes=99999999999999999999999-", "416");
        check("bytes=-0", "416");
        check("bytes=1000-1001, 5-6", "5-6");
        assert_eq!(found("range: bytes=0-", "", 0), "416");
        assert_eq!(found("range: bytes=-5", "", 0), "whole");
    }

    #[test]
    fn a_broken_range_is_ignored_14_2() {
        for range in [
            "bytes=",
            "bytes=5-4",
            "bytes=a-b",
            "bytes=0-1-2",
            "bytes 0-1",
            "lines=0-1",
            "bytes=0-1,x",
            "bytes=-",
            "=0-1",
        ] {
            check(range, "whole");
        }
        assert_eq!(found("range: bytes=0-1\nrange: bytes=2-3", "", 1000), "whole");
    }

    #[test]
    fn several_ranges_are_sent_as_parts_or_joined_15_3_7_2() {
        check("bytes=0-9,500-509", "0-9,500-509");
        check("bytes=500-509,0-9", "500-509,0-9");
        check("bytes=0-9,10-19", "0-19");
        check("bytes=0-9,80-89", "0-89");
        check("bytes=0-9,200-209,5-195", "0-209");
        check("bytes=0-9,-10", "0-9,990-999");
    }

    #[test]
    fn hostile_ranges_are_ignored_14_2() {
        check("bytes=0-,0-,0-,0-", "whole");
        check(&format!("bytes={}", vec!["0-0"; 17].join(",")), "whole");
        let spread: Vec<_> = (0..17).map(|n| format!("{n}00-{n}01")).collect();
        assert_eq!(found(&format!("range: bytes={}", spread.join(",")), "", 10_000), "whole");
        assert_ne!(found(&format!("range: bytes={}", spread[..16].join(",")), "", 10_000), "whole");
    }

    #[test]
    fn if_range_compares_strongly_13_1_5() {
        let ranged = |condition: &str, response: &str| {
            found(&format!("range: bytes=0-1\nif-range: {condition}"), response, 10)
        };
        assert_eq!(ranged("\"1\"", "etag: \"1\""), "0-1");
        assert_eq!(ranged("\"2\"", "etag: \"1\""), "whole");
        assert_eq!(ranged("W/\"1\"", "etag: W/\"1\""), "whole");
        assert_eq!(ranged("1", "etag: 1"), "whole");
        let modified = "Sun, 06 Nov 1994 08:00:00 GMT";
        assert_eq!(ranged(modified, &format!("last-modified: {modified}")), "0-1");
        assert_eq!(ranged("Sun, 06 Nov 1994 08:30:00 GMT", &format!("last-modified: {modified}")), "whole");
        assert_eq!(ranged(modified, &format!("last-modified: {modified}\ndate: {modified}")), "whole");
        assert_eq!(ranged(modified, ""), "whole");
    }

    #[test]
    fn only_get_and_200_have_ranges_14_2() {
        let head = request("HEAD", "range: bytes=0-1");
        assert_eq!(ranging(&head.presented(), &stored(200, ""), 10), Ranging::Whole);
        let get = request("GET", "range: bytes=0-1");
        assert_eq!(ranging(&get.presented(), &stored(404, ""), 10), Ranging::Whole);
    }

    #[test]
    fn content_range_that_contradicts_itself_is_none_14_4() {
        for value in [
            "bytes 5-4/10",
            "bytes 0-10/10",
            "bytes */*",
            "bytes 0-1",
            "bytes=0-1/2",
            "bytes -1/2",
            "bytes 1-/2",
            "",
            "bytes",
        ] {
            assert_eq!(ContentRange::parse(value.as_bytes()), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn content_range_is_read_as_written(first: u64, length: u64, more in prop::option::of(1u64..1000)) {
            let last = first.saturating_add(length);
            let complete_length = more.and_then(|more| last.checked_add(more));
            let range = ContentRange { range: Some(ByteRange { first, last }), complete_length };
            prop_assert_eq!(ContentRange::parse(range.to_value().as_bytes()), Some(range));
        }

        #[test]
        fn parts_lie_within_and_apart(range in "bytes=([0-9]{0,4}-[0-9]{0,4},?){1,6}", length in 0u64..5000) {
            let request = request("GET", &format!("range: {range}"));
            let parts = match ranging(&request.presented(), &stored(200, ""), length) {
                Ranging::Part(part) => vec![part],
                Ranging::Parts(parts) => parts,
                _ => vec![],
            };
            for (at, part) in parts.iter().enumerate() {
                prop_assert!(part.first <= part.last && part.last < length);
                prop_assert!(parts[..at].iter().all(|other| other.last < part.first || part.last < other.first));
            }
        }
    }
}
