//! Validation: the conditional request, and what its answer does to what is stored (RFC 9111 §4.3, §3.2).
//!
//! Complete stored responses are validated as a whole; the client's range is taken from the result. What to do when
//! the origin does not answer is `stale`'s.

use std::time::SystemTime;

use http::HeaderValue;
use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderMap, HeaderName,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};

use crate::connection::end_to_end;
use crate::etag::EntityTag;
use crate::fields;
use crate::media_type::same_type;
use crate::nominated::{ANYTHING, Nominated};
use crate::request::Presented;
use crate::reuse::recency;
use crate::stored::{StoredResponse, date_it, storable};

/// The header fields of the request that validates stored responses (§4.3.1): the client's end-to-end fields with our
/// conditions in place of its own.
///
/// If-Match and If-Unmodified-Since are left to the origin ("not applicable to a cache", §4.3.2). Range and If-Range
/// are taken out: what is stored is complete. Where nothing stored has a validator, only hop-by-hop fields are removed.
pub fn conditional_request(presented: &Presented<'_>, stored: &[&StoredResponse]) -> HeaderMap {
    let headers = end_to_end(presented.headers.clone());
    if !stored.iter().any(|candidate| candidate.has_validator()) {
        return headers;
    }
    let tags = stored_tags(stored);
    let conditional = |name: &HeaderName| {
        // Our tags take the place of the client's, which become part of them. Without tags of ours, If-None-Match would
        // make the origin overlook our If-Modified-Since (RFC 9110 §13.2.2).
        [RANGE, IF_RANGE, IF_MODIFIED_SINCE].contains(name) || (*name == IF_NONE_MATCH && tags.is_empty())
    };
    let mut headers = fields::retain(headers, |name| !conditional(name));
    if !tags.is_empty() {
        // "MUST send the relevant entity tags (using If-Match, If-None-Match, or If-Range) if the entity tags were
        // provided in the stored response(s) being validated." §4.3.2: "…the cache MAY combine the received list with a
        // list of entity tags from its own stored set of responses (fresh or stale) and send the union of the two lists
        // as a replacement If-None-Match header field value in the forwarded request."
        let clients = fields::tags(presented.headers, &IF_NONE_MATCH).filter(|tag| *tag != b"*");
        if let Some(union) = union(&tags, clients) {
            fields::replace(&mut headers, &IF_NONE_MATCH, [union]);
        }
    }
    // "SHOULD send the Last-Modified value (using If-Modified-Since) if the request is not for a subrange, a single
    // stored response is being validated, and that response contains a Last-Modified value." Of several without tags,
    // the most recent one is validated.
    let dated = match stored {
        [single] => Some(*single),
        _ if tags.is_empty() => stored.iter().copied().max_by_key(|candidate| recency(candidate)),
        _ => None,
    };
    if let Some(value) = dated.and_then(|dated| dated.headers.get(LAST_MODIFIED)) {
        fields::replace(&mut headers, &IF_MODIFIED_SINCE, [value.clone()]);
    }
    headers
}

/// The stored response that a 304 confirms (§4.3.4), or `None` where it confirms none: then the 304 is either about
/// what the client holds ([`confirms_client`]), or the request has to be repeated without conditions.
///
/// `stored` are the responses named by [`conditional_request`].
pub fn select_validated(
    presented: &Presented<'_>,
    stored: &[&StoredResponse],
    not_modified: &HeaderMap,
) -> Option<usize> {
    let most_recent = |suits: &dyn Fn(&StoredResponse) -> bool| {
        let candidates = stored.iter().enumerate().filter(|(_, candidate)| suits(candidate));
        candidates.max_by_key(|(_, candidate)| recency(candidate)).map(|(index, _)| index)
    };
    if let Some(tag) = EntityTag::of(not_modified) {
        // "If the new response contains one or more strong validators […], then each of those strong validators
        // identifies a selected representation for update." […] "If the new response contains no strong validators but
        // does contain one or more weak validators, and those validators correspond to one of the initial set's
        // stored responses, then the most recent of those matching stored responses is identified for update."
        //
        // A strong tag may also confirm the weak one of the same characters, against the letter: nginx weakens the tag
        // of a 200 that it compresses, but not that of the 304 for it. The origin compared them as equal when it chose
        // to answer 304, and `freshen` keeps the weak tag.
        return most_recent(&|candidate| candidate.etag().is_some_and(|own| own.strong_match(tag)))
            .or_else(|| most_recent(&|candidate| candidate.etag().is_some_and(|own| own.weak_match(tag))));
    }
    if let Some(modified) = fields::first(not_modified, &LAST_MODIFIED) {
        return most_recent(&|candidate| fields::first(&candidate.headers, &LAST_MODIFIED) == Some(modified));
    }
    // "If the new response does not include any form of validator […], and there is only one stored response in
    // the initial set, and that stored response also lacks a validator, then that stored response is identified for update." It is also where it
    // has only a date: RFC 9110 §15.4.5 asks for no Last-Modified in a 304, and no other condition than ours was sent.
    // And it is where its entity tag was the only one sent, although the 304 ought to repeat it: the condition fails
    // only "if one of the listed tags matches the entity tag of the selected representation" (RFC 9110 §13.1.2).
    match stored {
        [single] if sent_nothing_else(presented, single) => Some(0),
        _ => None,
    }
}

/// Whether a request that validates `single` alone named nothing but what is stored: no tag that only the client has.
fn sent_nothing_else(presented: &Presented<'_>, single: &StoredResponse) -> bool {
    let Some(own) = fields::first(&single.headers, &ETAG).filter(|tag| !tag.is_empty()) else { return true };
    fields::tags(presented.headers, &IF_NONE_MATCH).filter(|tag| *tag != b"*").all(|tag| tag == own)
}

/// The stored responses that a 304 confirms besides the `selected` one.
///
/// §4.3.4: "All the stored responses in the initial set with one of those same strong validators are identified for
/// update." The initial set "are those that could have been chosen for that request".
pub fn also_validated(
    presented: &Presented<'_>,
    stored: &[&StoredResponse],
    selected: usize,
    not_modified: &HeaderMap,
) -> Vec<usize> {
    let Some(tag) = EntityTag::of(not_modified) else { return Vec::new() };
    let confirmed = |candidate: &StoredResponse| {
        candidate.etag().is_some_and(|own| own.strong_match(tag))
            && candidate.nominated.matches(presented.headers)
    };
    let others = stored.iter().enumerate().filter(|(index, _)| *index != selected);
    others.filter(|(_, candidate)| confirmed(candidate)).map(|(index, _)| index).collect()
}

/// Whether a 304 is about a representation the client itself holds, so that it can be passed on: the client named its
/// entity tag in If-None-Match.
pub fn confirms_client(presented: &Presented<'_>, not_modified: &HeaderMap) -> bool {
    EntityTag::of(not_modified).is_some_and(|tag| {
        fields::tags(presented.headers, &IF_NONE_MATCH).any(|own| EntityTag::new(own).weak_match(tag))
    })
}

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
    let mut updated = fields::retain(stored.headers.clone(), |name| *name != AGE && *name != DATE);
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
    StoredResponse { status: stored.status, headers: updated, nominated, request_time, response_time }
}

/// A stored response updated from the 200 to a HEAD request (§4.3.5), or `None` where that shows it to be outdated.
///
/// "…if the stored response and HEAD response have matching values for any received validator fields (ETag and
/// Last-Modified) and, if the HEAD response has a Content-Length header field, the value of Content-Length matches that
/// of the stored response, the cache SHOULD update the stored response […]; otherwise, the cache SHOULD consider the
/// stored response to be stale." A stored response that states no length is not compared by it.
pub fn freshen_by_head(
    stored: &StoredResponse,
    headers: &HeaderMap,
    request_time: SystemTime,
    response_time: SystemTime,
) -> Option<StoredResponse> {
    let matches = |name: &HeaderName| {
        headers.get(name).is_none_or(|value| stored.headers.get(name).is_some_and(|own| own == value))
    };
    let same_length = matches(&CONTENT_LENGTH) || !stored.headers.contains_key(CONTENT_LENGTH);
    (matches(&ETAG) && matches(&LAST_MODIFIED) && same_length)
        .then(|| freshen(stored, headers, request_time, response_time))
}

/// The entity tags of all stored responses, each once.
fn stored_tags<'a>(stored: &[&'a StoredResponse]) -> Vec<&'a [u8]> {
    let mut tags = Vec::new();
    for tag in stored.iter().filter_map(|candidate| fields::first(&candidate.headers, &ETAG)) {
        if !tag.is_empty() && !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    tags
}

fn union<'a>(ours: &[&'a [u8]], clients: impl Iterator<Item = &'a [u8]>) -> Option<HeaderValue> {
    let mut tags = ours.to_vec();
    tags.extend(clients.filter(|tag| !ours.contains(tag)));
    HeaderValue::from_bytes(&tags.join(b", ".as_slice())).ok()
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
    fn check_request(presented: &str, responses: &[&str], sent: &str) {
        let responses: Vec<_> = responses.iter().map(|fields| stored(200, fields)).collect();
        let request = request("GET", presented);
        let found = conditional_request(&request.presented(), &responses.iter().collect::<Vec<_>>());
        assert_eq!(format!("{found:?}"), format!("{:?}", headers(sent)), "{presented} | {responses:?}");
    }

    #[test]
    fn validators_are_sent_4_3_1() {
        check_request("a: 1", &["etag: \"1\""], "a: 1\nif-none-match: \"1\"");
        check_request("a: 1", &["etag: W/\"1\""], "a: 1\nif-none-match: W/\"1\"");
        check_request("a: 1", &["etag: 1"], "a: 1\nif-none-match: 1");
        let since = "if-modified-since: Sun, 06 Nov 1994 00:00:00 GMT";
        check_request("a: 1", &[MODIFIED], &format!("a: 1\n{since}"));
        check_request("", &[&format!("etag: \"1\"\n{MODIFIED}")], &format!("if-none-match: \"1\"\n{since}"));
    }

    #[test]
    fn every_stored_tag_is_sent_once_4_3_1() {
        let responses = ["etag: \"1\"", "etag: \"2\"", "a: 1", "etag: \"1\""];
        check_request("", &responses, "if-none-match: \"1\", \"2\"");
    }

    #[test]
    fn the_clients_tags_are_added_to_ours_4_3_2() {
        check_request(
            "if-none-match: \"2\", \"1\"\na: 1",
            &["etag: \"1\""],
            "if-none-match: \"1\", \"2\"\na: 1",
        );
        check_request("if-none-match: *", &["etag: \"1\""], "if-none-match: \"1\"");
    }

    #[test]
    fn the_clients_conditions_do_not_override_ours() {
        let since = "if-modified-since: Sun, 06 Nov 1994 00:00:00 GMT";
        check_request("if-modified-since: x", &["etag: \"1\""], "if-none-match: \"1\"");
        check_request("if-none-match: \"2\"\nif-modified-since: x", &[MODIFIED], since);
        check_request(
            "range: bytes=0-1\nif-range: \"2\"\na: 1",
            &["etag: \"1\""],
            "a: 1\nif-none-match: \"1\"",
        );
        check_request("if-match: \"2\"", &["etag: \"1\""], "if-match: \"2\"\nif-none-match: \"1\"");
    }

    #[test]
    fn without_a_validator_the_request_goes_as_it_is() {
        check_request(
            "if-none-match: \"2\"\nrange: bytes=0-1\nte: x",
            &["a: 1"],
            "if-none-match: \"2\"\nrange: bytes=0-1",
        );
        check_request("a: 1\nconnection: b\nb: 1\nc: 1", &[], "a: 1\nc: 1");
    }

    #[track_caller]
    fn check_selected(responses: &[&str], not_modified: &str, selected: Option<usize>) {
        check_selected_for("", responses, not_modified, selected);
    }

    #[track_caller]
    fn check_selected_for(presented: &str, responses: &[&str], not_modified: &str, selected: Option<usize>) {
        let responses: Vec<_> = responses.iter().map(|fields| stored(200, fields)).collect();
        let (request, candidates) = (request("GET", presented), responses.iter().collect::<Vec<_>>());
        let found = select_validated(&request.presented(), &candidates, &headers(not_modified));
        assert_eq!(found, selected, "{presented} | {responses:?} | {not_modified}");
    }

    #[test]
    fn a_304_selects_by_its_validator_4_3_4() {
        check_selected(&["etag: \"1\"", "etag: \"2\""], "etag: \"2\"", Some(1));
        check_selected(&["etag: \"1\"", "etag: \"2\""], "etag: \"3\"", None);
        check_selected(&["etag: \"1\""], "etag: \"3\"", None);
        check_selected(&["etag: \"1\"", "etag: W/\"1\""], "etag: \"1\"", Some(0));
        check_selected(&["etag: W/\"1\""], "etag: W/\"1\"", Some(0));
        check_selected(&[MODIFIED], MODIFIED, Some(0));
        check_selected(&[MODIFIED], "last-modified: Sun, 06 Nov 1994 00:00:01 GMT", None);
        check_selected(&[MODIFIED], "etag: \"1\"", None);
    }

    #[test]
    fn the_most_recent_of_several_is_selected_4_3_4() {
        let older = "etag: W/\"1\"\ndate: Sun, 06 Nov 1994 08:00:00 GMT";
        let newer = "etag: W/\"1\"\ndate: Sun, 06 Nov 1994 08:00:01 GMT";
        check_selected(&[older, newer], "etag: W/\"1\"", Some(1));
        check_selected(&[newer, older], "etag: W/\"1\"", Some(0));
    }

    #[test]
    fn every_response_with_the_same_strong_tag_is_confirmed_4_3_4() {
        let responses = [
            stored(200, "etag: \"1\""),
            stored_for("foo: 1", 200, "etag: \"1\"\nvary: foo"),
            stored_for("foo: 2", 200, "etag: \"1\"\nvary: foo"),
            stored(200, "etag: W/\"1\""),
        ];
        let responses: Vec<_> = responses.iter().collect();
        let request = request("GET", "foo: 1");
        assert_eq!(also_validated(&request.presented(), &responses, 1, &headers("etag: \"1\"")), [0]);
        assert!(also_validated(&request.presented(), &responses, 3, &headers("etag: W/\"1\"")).is_empty());
    }

    #[test]
    fn a_304_without_validators_confirms_what_alone_was_asked_about() {
        check_selected(&[MODIFIED], "", Some(0));
        check_selected(&["a: 1"], "", Some(0));
        check_selected(&["etag: \"1\""], "", Some(0));
        check_selected(&[MODIFIED, MODIFIED], "", None);
        check_selected(&["etag: \"1\"", "etag: \"2\""], "", None);
        check_selected_for("if-none-match: \"1\"", &["etag: \"1\""], "", Some(0));
        check_selected_for("if-none-match: *", &["etag: \"1\""], "", Some(0));
        check_selected_for("if-none-match: \"1\", \"2\"", &["etag: \"1\""], "", None);
        check_selected_for("if-none-match: W/\"1\"", &["etag: \"1\""], "", None);
        check_selected_for("if-none-match: \"2\"", &[MODIFIED], "", Some(0));
    }

    #[test]
    fn a_weakened_tag_is_confirmed_by_the_strong_one_and_stays_weak() {
        check_selected(&["etag: W/\"1\""], "etag: \"1\"", Some(0));
        check_freshened("etag: W/\"1\"", "etag: \"1\"", "etag: W/\"1\"\ndate: NOW");
    }

    #[test]
    fn a_304_can_be_about_the_clients_own_copy_4_3_2() {
        let request = request("GET", "if-none-match: \"2\", W/\"3\"");
        for (not_modified, own) in
            [("etag: \"2\"", true), ("etag: \"3\"", true), ("etag: \"1\"", false), ("", false)]
        {
            assert_eq!(confirms_client(&request.presented(), &headers(not_modified)), own, "{not_modified}");
        }
    }

    #[track_caller]
    fn check_freshened(before: &str, not_modified: &str, after: &str) {
        let freshened = freshen(&stored(200, before), &headers(not_modified), at(0), at(0));
        let mut expected = headers(&after.replace("NOW", START_DATE));
        date_it(&mut expected, at(0));
        assert_eq!(freshened.headers, expected, "{before} | {not_modified}");
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
    }
}
