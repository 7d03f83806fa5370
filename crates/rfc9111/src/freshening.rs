//! Freshening: what the 304 to a validation, a 206, or the 200 to a HEAD makes of a stored head (RFC 9111 §3.2, §4.3.4,
//! §4.3.5).
//!
//! Which stored response is meant is `validation`'s to say.

use std::time::SystemTime;

use http::header::{
    AGE, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderMap,
    HeaderName, LAST_MODIFIED,
};

use crate::directives::CacheControl;
use crate::fields;
use crate::media_type::same_type;
use crate::nominated::{ANYTHING, Nominated};
use crate::request::Presented;
use crate::stored::{StoredResponse, date_it, storable};

/// A stored response with its header fields updated from a 304 (§3.2).
///
/// Fields that describe the stored body stay as they are. Where the new Vary nominates fields whose values are not
/// known, the result matches no request until it is [renominated](StoredResponse::renominate).
pub fn freshen(
    stored: &StoredResponse,
    headers: &HeaderMap,
    request_time: SystemTime,
    response_time: SystemTime,
) -> StoredResponse {
    // The times are those of the new response, and so must be the age and the date that belong to them.
    let mut updated = fields::retain(&stored.headers, |name| *name != AGE && *name != DATE);
    let received = storable(headers);
    for name in received.keys().filter(|name| !describes_body(name, stored, &received)) {
        // "the cache MUST add each header field in the provided response to the stored response, replacing field values
        // that are already present, with the following exceptions: Header fields excepted from storage in Section 3.1,
        // Header fields that the cache's stored response depends upon, […] and The Content-Length header field."
        fields::replace(&mut updated, name, received.get_all(name).iter().cloned());
    }
    // The new Cache-Control may list fields (§3.1) that the old one did not.
    let mut updated = storable(&updated);
    date_it(&mut updated, response_time);

    let nominated = if stored.nominated.covers(&updated) {
        stored.nominated.clone()
    } else {
        Nominated::from_parts([(ANYTHING.clone(), None)])
    };
    StoredResponse::from_parts(stored.status, updated, nominated, [request_time, response_time])
}

/// A stored response updated from the 200 to a HEAD request (§4.3.5), or `None` where that shows it to be outdated.
///
/// "…if the stored response and HEAD response have matching values for any received validator fields (ETag and
/// Last-Modified) and, if the HEAD response has a Content-Length header field, the value of Content-Length matches that
/// of the stored response, the cache SHOULD update the stored response […]; otherwise, the cache SHOULD consider the
/// stored response to be stale." A stored response that states no length is not compared by it. Where the HEAD response has
/// none of the three, nothing is known, and the stored response stays as it is.
pub fn freshen_by_head(
    stored: &StoredResponse,
    headers: &HeaderMap,
    request_time: SystemTime,
    response_time: SystemTime,
) -> Option<StoredResponse> {
    let matches = |name: &HeaderName| {
        headers.get(name).is_none_or(|value| stored.headers.get(name).is_some_and(|own| own == value))
    };
    if ![ETAG, LAST_MODIFIED, CONTENT_LENGTH].iter().any(|name| headers.contains_key(name)) {
        return Some(stored.clone());
    }
    let same_length = matches(&CONTENT_LENGTH) || !stored.headers.contains_key(CONTENT_LENGTH);
    (matches(&ETAG) && matches(&LAST_MODIFIED) && same_length)
        .then(|| freshen(stored, headers, request_time, response_time))
}

/// Whether the header fields of what answered a presented request may go into a stored response, which others are
/// served. They are a part of a response like any other: "A cache MUST NOT store any part of either this request or any
/// response to it" (§5.2.1.5), nor of one that is for one user (§5.2.2.7, §3.5).
pub fn may_freshen(presented: &Presented<'_>, stored: &StoredResponse, headers: &HeaderMap) -> bool {
    let (old, new) = (CacheControl::of(&stored.headers), CacheControl::of(headers));
    let is_shared =
        [old, new].iter().any(|said| said.public || said.must_revalidate || said.s_maxage.is_some());
    presented.overriding().is_none()
        && !presented.directives().no_store
        && !new.no_store
        && !new.private
        && (is_shared || !presented.headers.contains_key(AUTHORIZATION))
}

/// Fields of a 304 that must not replace those stored, since they could contradict the stored body. Content-Digest and
/// Content-MD5 are about the empty content of the 304. An entity tag that confirmed the stored one may differ from it
/// in strength.
///
/// A Content-Type of the same type and subtype replaces the stored one. Another does not, against the letter of §3.2:
/// servers exist that add their default, such as `text/html`, to every 304, and an image must not become a page.
fn describes_body(name: &HeaderName, stored: &StoredResponse, received: &HeaderMap) -> bool {
    [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE].contains(name)
        || matches!(name.as_str(), "content-md5" | "content-digest")
        || (*name == ETAG && stored.headers.contains_key(ETAG))
        || (*name == CONTENT_TYPE && !same_type(&stored.headers, received))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{START_DATE, at, headers, request, stored, stored_for};

    const MODIFIED: &str = "last-modified: Sun, 06 Nov 1994 00:00:00 GMT";

    #[track_caller]
    fn check_freshened(before: &str, not_modified: &str, after: &str) {
        let freshened = freshen(&stored(200, before), &headers(not_modified), at(0), at(0));
        let mut expected = headers(&after.replace("NOW", START_DATE));
        date_it(&mut expected, at(0));
        assert_eq!(freshened.headers, expected, "{before} | {not_modified}");
    }

    #[test]
    fn a_weak_tag_stays_weak_when_the_strong_one_confirms_it() {
        check_freshened("etag: W/\"1\"", "etag: \"1\"", "etag: W/\"1\"\ndate: NOW");
    }

    #[test]
    fn what_is_for_one_user_freshens_nothing_for_others_3_5() {
        let check = |request_fields: &str, before: &str, not_modified: &str, expected: bool| {
            let request = request("GET", request_fields);
            let found = may_freshen(&request.presented(), &stored(200, before), &headers(not_modified));
            assert_eq!(found, expected, "{request_fields} | {before} | {not_modified}");
        };
        check("", "", "", true);
        check("", "", "cache-control: private", false);
        check("", "", "cache-control: no-store", false);
        check("cache-control: no-store", "", "", false);
        check("authorization: x", "", "", false);
        check("authorization: x", "cache-control: public", "", true);
        check("authorization: x", "", "cache-control: s-maxage=1", true);
        check("x-forwarded-host: evil", "cache-control: public", "", false);
    }

    #[test]
    fn a_304_replaces_and_adds_fields_3_2() {
        check_freshened("a: 1\nb: 2\na: 3", "a: 4\nc: 5\nc: 6", "a: 4\nb: 2\nc: 5\nc: 6");
        check_freshened("cache-control: max-age=1", "cache-control: max-age=2", "cache-control: max-age=2");
    }

    #[test]
    fn a_304_never_contradicts_the_body_3_2() {
        let body = "content-length: 5\ncontent-encoding: gzip\ncontent-type: a/b\netag: \"1\"";
        let lies = "content-length: 0\ncontent-encoding: br\ncontent-type: c/d\ncontent-range: bytes 0-1/2\ncontent-digest: x";
        check_freshened(body, lies, body);
        check_freshened("etag: \"1\"", lies, "etag: \"1\"");
    }

    #[test]
    fn a_304_refines_the_media_type_but_does_not_change_it_3_2() {
        check_freshened("content-type: a/b", "content-type: a/b;c=d", "content-type: a/b;c=d");
        check_freshened("content-type: image/png", "content-type: text/html", "content-type: image/png");
        check_freshened("a: 1", "content-type: text/html", "a: 1");
    }

    #[test]
    fn what_is_not_stored_is_not_added_by_a_304_3_1() {
        check_freshened("a: 1", "connection: b\nb: 1\nset-cookie: c", "a: 1");
        check_freshened("a: 1\nb: 2", "cache-control: no-cache=\"b\"", "a: 1\ncache-control: no-cache=\"b\"");
    }

    #[test]
    fn the_age_is_that_of_the_304_4_2_3() {
        check_freshened("age: 50\ndate: Sun, 06 Nov 1994 07:00:00 GMT", "", "date: NOW");
        check_freshened(
            "age: 50",
            "age: 7\ndate: Sun, 06 Nov 1994 08:00:00 GMT",
            "age: 7\ndate: Sun, 06 Nov 1994 08:00:00 GMT",
        );
        let freshened = freshen(&stored(200, "a: 1"), &headers(""), at(7), at(9));
        assert_eq!((freshened.request_time, freshened.response_time), (at(7), at(9)));
    }

    #[test]
    fn a_304_that_varies_on_more_matches_nothing_until_renominated_4_1() {
        let response = stored_for("foo: 1\nbar: 2", 200, "vary: foo");
        assert!(
            freshen(&response, &headers("vary: FOO"), at(0), at(0)).nominated.matches(&headers("foo: 1"))
        );
        let mut freshened = freshen(&response, &headers("vary: foo, bar"), at(0), at(0));
        assert!(!freshened.nominated.matches(&headers("foo: 1\nbar: 2")));
        freshened.renominate(&request("GET", "foo: 1\nbar: 2").presented());
        assert!(freshened.nominated.matches(&headers("foo: 1\nbar: 2")));
    }

    #[test]
    fn a_head_response_freshens_or_outdates_4_3_5() {
        let response = stored(200, "etag: \"1\"\ncontent-length: 5");
        for (head, freshened) in [
            ("etag: \"1\"\ncontent-length: 5\na: 1", true),
            ("a: 1", true),
            ("etag: \"2\"", false),
            ("content-length: 6", false),
            (MODIFIED, false),
        ] {
            let found = freshen_by_head(&response, &headers(head), at(0), at(0));
            assert_eq!(found.is_some(), freshened, "{head}");
        }
        // What says nothing of the representation neither freshens nor outdates it.
        assert_eq!(freshen_by_head(&response, &headers("a: 1"), at(9), at(9)), Some(response));
    }
}
