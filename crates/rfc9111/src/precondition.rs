//! The client's preconditions, evaluated against a stored response (RFC 9110 §13; RFC 9111 §4.3.2).
//!
//! Asked once the stored response may be reused. If-Range is not a precondition of the request and belongs to `range`.

use std::time::SystemTime;

use http::header::{
    AGE, CONTENT_LOCATION, ETAG, HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_UNMODIFIED_SINCE, LAST_MODIFIED, TRAILER,
};
use http::{Method, StatusCode};

use crate::date::parse_date;
use crate::etag::EntityTag;
use crate::fields;
use crate::request::{Kind, Presented};
use crate::stored::StoredResponse;

/// What a request's preconditions lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// They hold, or there are none.
    Proceed,
    /// The client has it already: answer 304 (RFC 9110 §15.4.5).
    NotModified,
    /// If-Match or If-Unmodified-Since does not hold. They "are not applicable to a cache" (RFC 9111 §4.3.2), and the
    /// origin may hold by now what the client names: forward the request. Where that cannot be, answer 412.
    Failed,
}

/// Evaluates the preconditions of a presented request in the order of RFC 9110 §13.2.2.
pub fn evaluate(presented: &Presented<'_>, stored: &StoredResponse) -> Precondition {
    // RFC 9111 §4.3.2: "If a cache receives a request that can be satisfied by reusing a stored 200 (OK) or 206
    // (Partial Content) response, […] the cache SHOULD evaluate any applicable conditional header field preconditions
    // received in that request with respect to the corresponding validators contained within the stored response."
    if !presented.has(Kind::Condition) {
        return Precondition::Proceed;
    }
    let retrieves = *presented.method == Method::GET || *presented.method == Method::HEAD;
    if !retrieves || !matches!(stored.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
        return Precondition::Proceed;
    }
    let headers = presented.headers;
    // Steps 1 and 2, If-Match and If-Unmodified-Since without it, are for "when recipient is the origin server". "A
    // cache or intermediary MAY ignore If-Match" (§13.1.1), but a client that sends it with a Range would join parts of
    // different representations; so that the caller can leave a mismatch to the origin, it is told.
    let unchanged = if headers.contains_key(IF_MATCH) {
        names(headers, &IF_MATCH, stored, |own, tag| own.strong_match(tag))
    } else {
        // "A recipient MUST ignore the If-Unmodified-Since header field if the resource does not have a modification
        // date available." (§13.1.4)
        let since = condition_date(headers, &IF_UNMODIFIED_SINCE, stored);
        since.is_none_or(|date| stored.last_modified().is_none_or(|modified| modified <= date))
    };
    if !unchanged {
        return Precondition::Failed;
    }
    // Steps 3 and 4: If-None-Match, and If-Modified-Since without it. "A recipient MUST ignore If-Modified-Since if the
    // request contains an If-None-Match header field" (§13.1.3).
    let known = if headers.contains_key(IF_NONE_MATCH) {
        names(headers, &IF_NONE_MATCH, stored, |own, tag| own.weak_match(tag))
    } else {
        // RFC 9111 §4.3.2: "If a request contains an If-Modified-Since header field and the Last-Modified header field
        // is not present in a stored response, a cache SHOULD use the stored response's Date field value (or, if no
        // Date field is present, the time that the stored response was received) to evaluate the conditional."
        let modified = || stored.last_modified().unwrap_or_else(|| stored.date());
        condition_date(headers, &IF_MODIFIED_SINCE, stored).is_some_and(|date| modified() <= date)
    };
    if known { Precondition::NotModified } else { Precondition::Proceed }
}

/// The header fields of a 304 made from those of the stored response.
///
/// RFC 9110 §15.4.5: "The server generating a 304 response MUST generate any of the following header fields that would
/// have been sent in a 200 (OK) response to the same request: Content-Location, Date, ETag, and Vary; Cache-Control and
/// Expires". Representation metadata is left out ("SHOULD NOT"), but for Last-Modified where there is no ETag. Other
/// fields stay, such as those of CORS, without which a browser would not use what it has. Age is left to the sender.
pub fn not_modified_headers(stored: &HeaderMap) -> HeaderMap {
    let has_tag = stored.contains_key(ETAG);
    fields::retain(stored, |name| {
        let metadata = (is_content_metadata(name) && *name != CONTENT_LOCATION) || *name == TRAILER;
        !metadata && *name != AGE && (*name != LAST_MODIFIED || !has_tag)
    })
}

/// Fields about the content. Content-Security-Policy is about the page, whatever its name.
fn is_content_metadata(name: &HeaderName) -> bool {
    let name = name.as_str();
    (name.starts_with("content-") && !name.starts_with("content-security-policy"))
        || matches!(name, "accept-ranges" | "repr-digest" | "digest")
}

/// Whether a list of entity tags names the stored response's, or is "*", which any stored response satisfies.
fn names(
    headers: &HeaderMap,
    list: &HeaderName,
    stored: &StoredResponse,
    equivalent: impl Fn(EntityTag<'_>, EntityTag<'_>) -> bool,
) -> bool {
    let own = stored.etag();
    fields::tags(headers, list)
        .any(|tag| tag == b"*" || own.is_some_and(|own| equivalent(own, EntityTag::new(tag))))
}

/// The date of a condition. §13.1.3, §13.1.4: a recipient "MUST ignore" the field "if the received field value is not a
/// valid HTTP-date", which several lines are not.
fn condition_date(headers: &HeaderMap, name: &HeaderName, stored: &StoredResponse) -> Option<SystemTime> {
    parse_date(fields::only(headers, name)?, stored.response_time)
}

#[cfg(test)]
mod tests {
    use super::Precondition::{Failed, NotModified, Proceed};
    use super::*;
    use crate::testing::{headers, request, stored};

    const EARLIER: &str = "Sun, 06 Nov 1994 07:00:00 GMT";
    const MODIFIED: &str = "Sun, 06 Nov 1994 08:00:00 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:30:00 GMT";

    #[track_caller]
    fn check(response: &str, presented: &str, expected: Precondition) {
        for method in ["GET", "HEAD"] {
            let request = request(method, presented);
            assert_eq!(
                evaluate(&request.presented(), &stored(200, response)),
                expected,
                "{response} | {presented}"
            );
        }
    }

    #[test]
    fn if_none_match_compares_weakly_13_1_2() {
        check("etag: \"1\"", "if-none-match: \"1\"", NotModified);
        check("etag: \"1\"", "if-none-match: W/\"1\"", NotModified);
        check("etag: \"1\"", "if-none-match: \"0\", \"1\"", NotModified);
        check("etag: \"1\"", "if-none-match: \"0\"\nif-none-match: \"1\"", NotModified);
        check("etag: \"1,2\"", "if-none-match: \"1,2\"", NotModified);
        check("etag: \"1\"", "if-none-match: *", NotModified);
        check("a: 1", "if-none-match: *", NotModified);
        check("etag: \"1\"", "if-none-match: \"2\"", Proceed);
        check("a: 1", "if-none-match: \"1\"", Proceed);
        check("etag: \"1\"", "", Proceed);
    }

    #[test]
    fn if_none_match_beats_if_modified_since_13_1_3() {
        let response = format!("etag: \"1\"\nlast-modified: {MODIFIED}");
        check(&response, &format!("if-none-match: \"2\"\nif-modified-since: {LATER}"), Proceed);
        check(&response, &format!("if-none-match: \"1\"\nif-modified-since: {EARLIER}"), NotModified);
    }

    #[test]
    fn if_modified_since_compares_dates_13_1_3() {
        let response = format!("last-modified: {MODIFIED}");
        check(&response, &format!("if-modified-since: {MODIFIED}"), NotModified);
        check(&response, &format!("if-modified-since: {LATER}"), NotModified);
        check(&response, &format!("if-modified-since: {EARLIER}"), Proceed);
        check(&response, "if-modified-since: x", Proceed);
        check(&response, &format!("if-modified-since: {LATER}\nif-modified-since: {LATER}"), Proceed);
    }

    #[test]
    fn without_last_modified_the_date_counts_rfc9111_4_3_2() {
        check(&format!("date: {MODIFIED}"), &format!("if-modified-since: {MODIFIED}"), NotModified);
        check(&format!("date: {MODIFIED}"), &format!("if-modified-since: {EARLIER}"), Proceed);
    }

    #[test]
    fn if_match_compares_strongly_13_1_1() {
        check("etag: \"1\"", "if-match: \"1\"", Proceed);
        check("etag: \"1\"", "if-match: *", Proceed);
        check("etag: W/\"1\"", "if-match: W/\"1\"", Failed);
        check("etag: \"1\"", "if-match: \"2\"", Failed);
        check("a: 1", "if-match: \"1\"", Failed);
        check("etag: \"1\"", "if-match: \"1\"\nif-none-match: \"1\"", NotModified);
    }

    #[test]
    fn if_unmodified_since_counts_without_if_match_13_1_4() {
        let response = format!("etag: \"1\"\nlast-modified: {MODIFIED}");
        check(&response, &format!("if-unmodified-since: {MODIFIED}"), Proceed);
        check(&response, &format!("if-unmodified-since: {EARLIER}"), Failed);
        check(&response, &format!("if-match: \"1\"\nif-unmodified-since: {EARLIER}"), Proceed);
        check("etag: \"1\"", &format!("if-unmodified-since: {EARLIER}"), Proceed);
        check(&response, "if-unmodified-since: x", Proceed);
    }

    #[test]
    fn only_what_would_be_a_200_has_preconditions_13_2_1() {
        let request = request("GET", "if-none-match: \"1\"");
        assert_eq!(evaluate(&request.presented(), &stored(404, "etag: \"1\"")), Proceed);
    }

    #[test]
    fn a_304_has_what_15_4_5_asks_for() {
        let kept = "etag: \"1\"\nvary: a\ncache-control: max-age=1\nexpires: 0\ndate: x\ncontent-location: /b\nfoo: 1";
        let all = format!("{kept}\ncontent-type: a/b\ncontent-length: 1\nlast-modified: {MODIFIED}\nage: 5");
        assert_eq!(not_modified_headers(&headers(&all)), headers(kept));
        let dated = format!("last-modified: {MODIFIED}\ncontent-security-policy: x");
        assert_eq!(not_modified_headers(&headers(&dated)), headers(&dated));
    }
}
