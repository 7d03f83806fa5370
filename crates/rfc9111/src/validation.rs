//! Validation: the conditional request, and which stored response its answer is about (RFC 9111 §4.3).
//!
//! Complete stored responses are validated as a whole; the client's range is taken from the result. What to do when
//! the origin does not answer is `stale`'s.

use http::HeaderValue;
use http::header::{
    ETAG, HeaderMap, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};

use crate::choosing::recency;
use crate::connection::end_to_end;
use crate::etag::EntityTag;
use crate::fields;
use crate::request::Presented;
use crate::stored::StoredResponse;

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
    // "SHOULD send the Last-Modified value (using If-Modified-Since) if the request is not for a subrange, a single
    // stored response is being validated, and that response contains a Last-Modified value." Of several without tags,
    // the most recent one is validated. A date says nothing of which variant it is the date of.
    let mut dated = stored.iter().copied().filter(|candidate| candidate.nominated.matches(presented.headers));
    let dated = match stored {
        [_] => dated.next(),
        _ if tags.is_empty() => dated.max_by_key(|candidate| recency(candidate)),
        _ => None,
    };
    if tags.is_empty() && dated.is_none() {
        return headers;
    }
    let conditional = |name: &HeaderName| {
        // Our tags take the place of the client's, which become part of them. Without tags of ours, If-None-Match would
        // make the origin overlook our If-Modified-Since (RFC 9110 §13.2.2).
        [RANGE, IF_RANGE, IF_MODIFIED_SINCE].contains(name) || (*name == IF_NONE_MATCH && tags.is_empty())
    };
    let mut headers = fields::retain(&headers, |name| !conditional(name));
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
        // "Those that could have been chosen for that request": variants may share a date, and a body is one of them.
        return most_recent(&|candidate| {
            candidate.nominated.matches(presented.headers)
                && fields::first(&candidate.headers, &LAST_MODIFIED) == Some(modified)
        });
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
    let Some(own) = fields::first(&single.headers, &ETAG).filter(|tag| !tag.is_empty()) else {
        return single.nominated.matches(presented.headers);
    };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{headers, request, stored, stored_for};

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
    fn a_weakened_tag_is_confirmed_by_the_strong_one() {
        check_selected(&["etag: W/\"1\""], "etag: \"1\"", Some(0));
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

    #[test]
    fn a_date_is_of_the_variant_that_the_request_selects_4_3_4() {
        let variants = [
            stored_for("accept-encoding: gzip", 200, &format!("vary: accept-encoding\n{MODIFIED}")),
            stored_for("", 200, &format!("vary: accept-encoding\n{MODIFIED}")),
        ];
        let variants: Vec<_> = variants.iter().collect();
        for (presented, selected) in
            [("", Some(1)), ("accept-encoding: gzip", Some(0)), ("accept-encoding: br", None)]
        {
            let request = request("GET", presented);
            assert_eq!(
                select_validated(&request.presented(), &variants, &headers(MODIFIED)),
                selected,
                "{presented}"
            );
            let sent = conditional_request(&request.presented(), &variants);
            assert_eq!(sent.contains_key(IF_MODIFIED_SINCE), selected.is_some(), "{presented}");
        }
        assert_eq!(select_validated(&request("GET", "").presented(), &variants[..1], &headers("")), None);
    }
}
