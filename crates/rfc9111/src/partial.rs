//! Partial responses: which may be stored, which belong together, and how what is missing is asked for (RFC 9111 §3.3,
//! §3.4; RFC 9110 §13.1.5, §15.3.7.3).
//!
//! Works on heads and byte positions. Which bytes are held is the caller's knowledge, and so are the bytes.

use std::time::{Duration, SystemTime};

use http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, HeaderMap, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
};
use http::{HeaderName, StatusCode};

use crate::connection::end_to_end;
use crate::etag::EntityTag;
use crate::fields;
use crate::freshening::freshen;
use crate::range::{ByteRange, ContentRange};
use crate::request::Presented;
use crate::stored::{StoredResponse, has_validator};

/// A body of at least this many bytes is fetched in pieces where a part of it is asked for: 8 MiB.
const LARGE: u64 = 8 << 20;
/// Pieces end at multiples of this: 1 MiB.
const PIECE: u64 = 1 << 20;
/// Pieces begin at multiples of this: 64 KiB. A client waits for what comes before the first byte it asked for.
const STEP: u64 = 64 << 10;
/// RFC 9110 §8.8.2.2: how much older than its Date a Last-Modified must be to be a strong validator.
const STRONG_AFTER: Duration = Duration::from_secs(60);

/// The part of a representation that a 206 encloses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which bytes.
    pub range: ByteRange,
    /// The length of the complete representation in bytes.
    pub complete_length: u64,
}

impl Part {
    /// The one part of a 206 that may be stored; `None` for other responses, for multipart/byteranges, where the fields
    /// contradict each other, and where the complete length is unknown.
    ///
    /// ```
    /// use http::{HeaderMap, StatusCode, header};
    ///
    /// let headers = HeaderMap::from_iter([(header::CONTENT_RANGE, "bytes 0-4/10".parse().unwrap())]);
    /// let part = rfc9111::Part::of(StatusCode::PARTIAL_CONTENT, &headers).unwrap();
    /// assert_eq!((part.range.first, part.range.last, part.complete_length), (0, 4, 10));
    /// ```
    pub fn of(status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        if status != StatusCode::PARTIAL_CONTENT {
            return None;
        }
        let content_range = ContentRange::parse(fields::only(headers, &CONTENT_RANGE)?)?;
        let (range, complete_length) = (content_range.range?, content_range.complete_length?);
        // What is enclosed is what Content-Range says, or nothing can be believed.
        let stated = headers.get(CONTENT_LENGTH).map(|length| length.to_str().ok()?.trim().parse().ok());
        let is_consistent = stated.is_none_or(|length: Option<u64>| length == Some(range.length()));
        is_consistent.then_some(Self { range, complete_length })
    }
}

/// The part of a 206 as it is stored: [`Part::of`], or, where a 206 has no validator, so that nothing is ever joined to
/// it, the bytes that Content-Length announces, although Content-Range speaks of more. Then the length of the
/// representation is what fits them, if the range reached to its end: a range counted from there was about these bytes.
pub fn part_to_store(status: StatusCode, headers: &HeaderMap) -> Option<Part> {
    let consistent = Part::of(status, headers);
    if consistent.is_some() || status != StatusCode::PARTIAL_CONTENT || has_validator(headers) {
        return consistent;
    }
    let content_range = ContentRange::parse(fields::only(headers, &CONTENT_RANGE)?)?;
    let (range, complete_length) = (content_range.range?, content_range.complete_length?);
    let announced: u64 = headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()?;
    if announced == 0 || announced > range.length() {
        return None;
    }
    let last = range.first.checked_add(announced - 1)?;
    let reaches_end = range.last.checked_add(1) == Some(complete_length);
    let complete_length = if reaches_end { last.checked_add(1)? } else { complete_length };
    Some(Part { range: ByteRange { first: range.first, last }, complete_length })
}

/// The head that is stored for a 206 to this request: that of the complete representation, with the status and the
/// fields a 200 would have had (§3.4: "…combined […] header fields").
pub fn head_of_part(
    presented: &Presented<'_>,
    headers: &HeaderMap,
    part: &Part,
    request_time: SystemTime,
    response_time: SystemTime,
) -> StoredResponse {
    let mut headers = fields::retain(headers, |name| *name != CONTENT_RANGE);
    fields::replace(&mut headers, &CONTENT_LENGTH, [HeaderValue::from(part.complete_length)]);
    StoredResponse::new(presented, StatusCode::OK, &headers, request_time, response_time)
}

/// What goes into If-Range to ask for more of the same representation: the strong validator of a stored 200, if it has
/// one.
///
/// RFC 9111 §3.4: "A cache that has received an incomplete (or partial) response can […] make a range request […] if
/// they all share the same strong validator".
pub fn strong_validator(stored: &StoredResponse) -> Option<HeaderValue> {
    if stored.status != StatusCode::OK {
        return None;
    }
    if let Some(tag) = stored.etag() {
        return stored.headers.get(ETAG).filter(|_| tag.strong_match(tag)).cloned();
    }
    // RFC 9110 §13.1.5: "A client MUST NOT generate an If-Range header field containing an HTTP-date unless […] the date
    // is a strong validator in the sense defined by Section 8.8.2.2."
    let modified = stored.read_date(&LAST_MODIFIED)?;
    let date = stored.read_date(&DATE).unwrap_or(stored.response_time);
    let age = date.duration_since(modified).unwrap_or_default();
    stored.headers.get(LAST_MODIFIED).filter(|_| age >= STRONG_AFTER).cloned()
}

/// The header fields of the request for the bytes from `first` to `last` (to the end, where there is no last) of what is
/// stored: the client's end-to-end fields, with Range and If-Range in place of its own conditions.
pub fn range_request(
    headers: &HeaderMap,
    validator: HeaderValue,
    first: u64,
    last: Option<u64>,
) -> HeaderMap {
    let conditions: [HeaderName; 6] =
        [RANGE, IF_RANGE, IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE];
    let mut headers = fields::retain(&end_to_end(headers.clone()), |name| !conditions.contains(name));
    let last = last.map_or_else(String::new, |last| last.to_string());
    if let Ok(range) = HeaderValue::try_from(format!("bytes={first}-{last}")) {
        fields::append(&mut headers, RANGE, range);
        fields::append(&mut headers, IF_RANGE, validator);
    }
    headers
}

/// Whether a response with these header fields is of the stored representation (§3.4; RFC 9110 §15.3.7.3: "A client that
/// has received multiple partial responses to GET requests on a target resource MAY combine those responses into a larger
/// continuous range if they share the same strong validator."). What names no validator shares none.
pub fn is_part_of(stored: &StoredResponse, headers: &HeaderMap) -> bool {
    let Some(validator) = strong_validator(stored) else { return false };
    match EntityTag::of(headers) {
        Some(tag) => tag.strong_match(EntityTag::new(validator.as_bytes())),
        None => {
            stored.etag().is_none() && fields::first(headers, &LAST_MODIFIED) == Some(validator.as_bytes())
        }
    }
}

/// Whether the 206 to a [`range_request`] is of the stored representation. It may leave out the date that was its
/// condition: RFC 9110 §15.3.7 asks it to repeat only an ETag, and "SHOULD NOT generate other representation header
/// fields beyond those required".
pub fn answers_if_range(stored: &StoredResponse, headers: &HeaderMap) -> bool {
    let names_none = EntityTag::of(headers).is_none() && !headers.contains_key(LAST_MODIFIED);
    is_part_of(stored, headers)
        || (names_none && stored.etag().is_none() && strong_validator(stored).is_some())
}

/// The stored head with its header fields updated from a 206 that [is a part](is_part_of) of it (§3.4: "the cache MUST
/// use the header fields provided in the new response […] to replace all instances of the corresponding header fields",
/// as §3.2 says it).
pub fn combine(
    stored: &StoredResponse,
    headers: &HeaderMap,
    request_time: SystemTime,
    response_time: SystemTime,
) -> StoredResponse {
    freshen(stored, headers, request_time, response_time)
}

/// The bytes to ask for where `hole` is missing and a client wants only `wanted` of it: of a large body whole pieces, so
/// that what it asks for next is likely to be there.
///
/// A piece begins at a multiple of 64 KiB and ends before a multiple of 1 MiB, but reaches into nothing that is held:
/// `hole` is bounded by that. Of a small body just what is wanted is asked for: a piece could be most of it.
pub fn piece(hole: ByteRange, wanted: ByteRange, complete_length: Option<u64>) -> ByteRange {
    let (first, last) = (wanted.first.max(hole.first), wanted.last.min(hole.last));
    if complete_length.is_none_or(|length| length < LARGE) {
        return ByteRange { first, last };
    }
    ByteRange {
        first: (first - first % STEP).max(hole.first),
        last: (last - last % PIECE).saturating_add(PIECE - 1).min(hole.last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, headers, request, stored};

    #[track_caller]
    fn check_part(fields: &str, expected: Option<(u64, u64, u64)>) {
        let part = Part::of(StatusCode::PARTIAL_CONTENT, &headers(fields));
        let found = part.map(|part| (part.range.first, part.range.last, part.complete_length));
        assert_eq!(found, expected, "{fields}");
    }

    #[test]
    fn a_206_encloses_what_content_range_says_15_3_7_1() {
        check_part("content-range: bytes 2-5/10\ncontent-length: 4", Some((2, 5, 10)));
        check_part("content-range: bytes 2-5/10", Some((2, 5, 10)));
        check_part("content-range: bytes 2-5/10\ncontent-length: 3", None);
        check_part("content-range: bytes 2-5/*", None);
        check_part("content-range: bytes 2-5/5", None);
        check_part("content-type: multipart/byteranges; boundary=a", None);
        assert_eq!(Part::of(StatusCode::OK, &headers("content-range: bytes 0-1/2")), None);
    }

    #[test]
    fn of_a_part_that_is_never_joined_the_bytes_are_believed() {
        let check = |fields: &str, expected| {
            let part = part_to_store(StatusCode::PARTIAL_CONTENT, &headers(fields));
            assert_eq!(
                part.map(|part| (part.range.first, part.range.last, part.complete_length)),
                expected,
                "{fields}"
            );
        };
        check("content-range: bytes 2-5/10\ncontent-length: 4", Some((2, 5, 10)));
        check("content-range: bytes 4-9/10\ncontent-length: 5", Some((4, 8, 9)));
        check("content-range: bytes 4-7/10\ncontent-length: 3", Some((4, 6, 10)));
        check("content-range: bytes 4-9/10\ncontent-length: 7", None);
        check("content-range: bytes 4-9/10\ncontent-length: 0", None);
        check("content-range: bytes 4-9/10\ncontent-length: x", None);
        check("content-range: bytes 4-9/*\ncontent-length: 5", None);
        check("content-range: bytes 4-9/10\ncontent-length: 5\netag: \"1\"", None);
        check("content-range: bytes 4-9/10\ncontent-length: 6\netag: \"1\"", Some((4, 9, 10)));
        assert_eq!(part_to_store(StatusCode::OK, &headers("content-range: bytes 4-9/10")), None);
    }

    #[test]
    fn a_part_is_stored_under_the_head_of_the_whole_3_4() {
        let fields = headers("content-range: bytes 2-5/10\ncontent-length: 4\netag: \"1\"");
        let part = Part::of(StatusCode::PARTIAL_CONTENT, &fields).unwrap();
        let head = head_of_part(&request("GET", "").presented(), &fields, &part, at(0), at(0));
        assert_eq!((head.status, &head.headers["content-length"]), (StatusCode::OK, &HeaderValue::from(10)));
        assert!(!head.headers.contains_key(CONTENT_RANGE));
    }

    #[test]
    fn only_a_strong_validator_joins_parts_3_4() {
        let validator = |fields: &str| strong_validator(&stored(200, fields));
        assert_eq!(validator("etag: \"1\"").unwrap(), "\"1\"");
        assert_eq!(validator("etag: W/\"1\""), None);
        let modified = "Sun, 06 Nov 1994 08:00:00 GMT";
        assert_eq!(validator(&format!("last-modified: {modified}")).unwrap(), modified);
        assert_eq!(validator(&format!("last-modified: {modified}\ndate: {modified}")), None);
        assert_eq!(validator(&format!("last-modified: {modified}\netag: W/\"1\"")), None);
        assert_eq!(validator(""), None);
        assert_eq!(strong_validator(&stored(404, "etag: \"1\"")), None);
    }

    #[test]
    fn what_is_missing_is_asked_for_with_if_range_13_1_5() {
        let client = headers("a: 1\nrange: bytes=5-6\nif-none-match: \"2\"\nconnection: b\nb: 2");
        let asked = range_request(&client, HeaderValue::from_static("\"1\""), 7, Some(9));
        assert_eq!(asked, headers("a: 1\nrange: bytes=7-9\nif-range: \"1\""));
        let asked = range_request(&client, HeaderValue::from_static("\"1\""), 7, None);
        assert_eq!(asked["range"], "bytes=7-");
    }

    #[test]
    fn parts_of_something_else_are_not_joined_3_4() {
        let tagged = stored(200, "etag: \"1\"");
        assert!(is_part_of(&tagged, &headers("etag: \"1\"")));
        assert!(!is_part_of(&tagged, &headers("etag: \"2\"")));
        assert!(!is_part_of(&tagged, &headers("etag: W/\"1\"")));
        let dated = stored(200, "last-modified: Sun, 06 Nov 1994 08:00:00 GMT");
        assert!(is_part_of(&dated, &headers("last-modified: Sun, 06 Nov 1994 08:00:00 GMT")));
        assert!(!is_part_of(&dated, &headers("last-modified: Sun, 06 Nov 1994 08:00:01 GMT")));
        assert!(!is_part_of(&dated, &headers("etag: \"1\"")));
        assert!(!is_part_of(&dated, &headers("")) && answers_if_range(&dated, &headers("")));
        assert!(!is_part_of(&tagged, &headers("")) && !answers_if_range(&tagged, &headers("")));
        assert!(!answers_if_range(&tagged, &headers("last-modified: Sun, 06 Nov 1994 08:00:00 GMT")));
        assert!(!answers_if_range(&dated, &headers("etag: \"1\"")));
        assert!(!is_part_of(&stored(200, "etag: W/\"1\""), &headers("etag: W/\"1\"")));
    }

    #[test]
    fn a_combined_head_is_that_of_the_whole_3_4() {
        let whole = stored(200, "etag: \"1\"\ncontent-length: 10\na: 1");
        let part = headers("etag: \"1\"\ncontent-length: 4\ncontent-range: bytes 2-5/10\na: 2");
        let combined = combine(&whole, &part, at(5), at(6));
        assert_eq!(
            (&combined.headers["content-length"], &combined.headers["a"]),
            (&HeaderValue::from(10), &HeaderValue::from(2))
        );
        assert!(!combined.headers.contains_key(CONTENT_RANGE));
        assert_eq!(combined.response_time, at(6));
    }

    #[test]
    fn of_a_large_body_whole_pieces_are_asked_for() {
        let range = |first, last| ByteRange { first, last };
        let (all, mib) = (range(0, (100 << 20) - 1), 1 << 20);
        let check = |hole, wanted, expected| assert_eq!(piece(hole, wanted, Some(100 << 20)), expected);
        check(all, range(0, 0), range(0, mib - 1));
        check(all, range(5 * mib + 70_000, 5 * mib + 70_001), range(5 * mib + 65_536, 6 * mib - 1));
        check(all, range(mib - 1, mib), range(mib - 65_536, 2 * mib - 1));
        check(range(5 * mib + 70_000, 5 * mib + 80_000), all, range(5 * mib + 70_000, 5 * mib + 80_000));
        check(all, range(all.last, all.last), range(100 * mib - 65_536, all.last));
        assert_eq!(piece(range(0, 999), range(5, 9), Some(1000)), range(5, 9));
        assert_eq!(piece(range(10, u64::MAX), range(0, u64::MAX), None), range(10, u64::MAX));
        assert_eq!(piece(range(0, u64::MAX), range(0, u64::MAX), Some(u64::MAX)).last, u64::MAX);
    }
}
