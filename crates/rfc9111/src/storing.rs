//! Whether a response may be stored (RFC 9111 §3).
//!
//! What of it is stored is `stored`'s (§3.1). Stored are responses to GET, and to POST where they stand for what GET would
//! get (RFC 9110 §9.3.3); of those with 206 (§3.3, §3.4) only the ones whose missing parts can be asked for.

use http::header::{AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::{Method, StatusCode};

use crate::because::Because;
use crate::directives::CacheControl;
use crate::fields;
use crate::freshness::{freshness_by, has_explicit_freshness, is_heuristically_cacheable};
use crate::invalidation::names_target;
use crate::partial::{head_of_part, part_to_store, strong_validator};
use crate::range::ContentRange;
use crate::request::{Presented, Situation};
use crate::rules::{Keep, judged};
use crate::stored::StoredResponse;
use crate::targeted::governing;
use crate::unkeyed::is_about_request;

/// Whether a response may be stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Storing {
    /// It may, and it is worth it.
    Store(Because),
    /// It is only passed on.
    Pass(Because),
}

/// Decides whether the response to a presented request may be stored.
///
/// `headers` are the response's fields as received, hop-by-hop fields included: some of those speak against storing.
pub fn may_store(
    presented: &Presented<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    situation: &Situation,
) -> Storing {
    let content_type = fields::first(headers, &CONTENT_TYPE);
    let check = |situation: &Situation| check(presented, status, headers, situation);
    match judged(situation, situation.policy.rules.about(content_type), check) {
        Ok(because) => Storing::Store(because),
        Err(because) => Storing::Pass(because),
    }
}

fn check(
    presented: &Presented<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    situation: &Situation,
) -> Result<Because, Because> {
    let content_type = fields::first(headers, &CONTENT_TYPE);
    let rule = situation.policy.rules.about(content_type);
    if rule.is_some_and(|rule| rule.keep == Keep::Never) {
        return Err(Because::NeverKept);
    }
    let directives = governing(headers, &situation.policy);
    request_allows(presented, status, headers, &directives)
        .and_then(|()| status_allows(status, &directives))
        .and_then(|()| directives_allow(presented, status, &directives))
        .and_then(|()| framing_allows(status, headers))
        .and_then(|()| {
            let always = rule.is_some_and(|rule| rule.keeps(status));
            worth_storing(presented, status, headers, &directives, always, situation)
        })
}

/// "A cache MUST NOT store a response to a request unless: the request method is understood by the cache" (§3)
fn request_allows(
    presented: &Presented<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    directives: &CacheControl,
) -> Result<(), Because> {
    request_forbids(presented).map_or(Ok(()), Err)?;
    if *presented.method == Method::POST {
        // RFC 9110 §9.3.3: "Responses to POST requests are only cacheable when they include explicit freshness
        // information […] and a Content-Location header field that has the same value as the POST's target URI […]. A
        // cached POST response can be reused to satisfy a later GET or HEAD request." Of the statuses only 200 says
        // that the content is what GET would get.
        let stands_for_get = status == StatusCode::OK
            && has_explicit_freshness(headers, directives)
            && names_target(presented.target, headers);
        if !stands_for_get {
            return Err(Because::NotForGet);
        }
    }
    Ok(())
}

/// Why no response to a request may be stored, whatever it says.
pub(crate) fn request_forbids(presented: &Presented<'_>) -> Option<Because> {
    if *presented.method != Method::GET && *presented.method != Method::POST {
        return Some(Because::Method(presented.method.clone()));
    }
    // The cache key does not hold the content, so that one client's content would choose what all others get.
    if *presented.method == Method::GET && presented.has_content() {
        return Some(Because::RequestContent);
    }
    if let Some(name) = presented.overriding() {
        return Some(Because::Overriding(name.clone()));
    }
    // §5.2.1.5: "The no-store request directive indicates that a cache MUST NOT store any part of either this request
    // or any response to it."
    presented.directives().no_store.then_some(Because::RequestNoStore)
}

/// "the response status code is final (see Section 15 of \[HTTP\]); if the response status code is 206 or 304, or the
/// must-understand cache directive (see Section 5.2.2.3) is present: the cache understands the response status code"
fn status_allows(status: StatusCode, directives: &CacheControl) -> Result<(), Because> {
    match status {
        _ if status.is_informational() => Err(Because::NotFinal(status)),
        StatusCode::NOT_MODIFIED => Err(Because::NotModified),
        _ if is_about_request(status) => Err(Because::AboutRequest(status)),
        _ if directives.must_understand && !is_understood(status) => Err(Because::NotUnderstood(status)),
        _ => Ok(()),
    }
}

fn directives_allow(
    presented: &Presented<'_>,
    status: StatusCode,
    directives: &CacheControl,
) -> Result<(), Because> {
    forbids_keeping(directives, status).map_or(Ok(()), Err)?;
    // "if the cache is shared: the Authorization header field is not present in the request […] or a response
    // directive is present that explicitly allows shared caching (see Section 3.5)": "must-revalidate […], public […],
    // and s-maxage".
    let shared = directives.must_revalidate || directives.public || directives.s_maxage.is_some();
    if presented.headers.contains_key(AUTHORIZATION) && !shared {
        return Err(Because::Authorization);
    }
    Ok(())
}

/// Why a response's directives forbid having it stored at all, if they do.
pub(crate) fn forbids_keeping(directives: &CacheControl, status: StatusCode) -> Option<Because> {
    // "the no-store cache directive is not present in the response (see Section 5.2.2.5)". §5.2.2.3: "When a cache
    // that implements the must-understand directive receives a response that includes it, the cache SHOULD ignore the
    // no-store directive if it understands and implements the status code's caching requirements."
    let understood = directives.must_understand && is_understood(status);
    if directives.no_store && !understood {
        return Some(Because::ResponseNoStore);
    }
    // "if the cache is shared: the private response directive is either not present or allows a shared cache to store
    // a modified response; see Section 5.2.2.7)".
    directives.private.then_some(Because::Private)
}

/// What was received must be the whole of a representation, decoded as far as it will be.
fn framing_allows(status: StatusCode, headers: &HeaderMap) -> Result<(), Because> {
    // RFC 9110 §14.4: "The Content-Range header field has no meaning for status codes that do not explicitly describe
    // its semantic." One that names a range all the same is taken for the mistake of an origin that means 206.
    let names_range = |value: &HeaderValue| ContentRange::parse(value.as_bytes()).is_some();
    if status != StatusCode::PARTIAL_CONTENT && headers.get_all(CONTENT_RANGE).iter().any(names_range) {
        return Err(Because::ContentRange);
    }
    if fields::members(headers, &TRANSFER_ENCODING).any(|coding| !coding.eq_ignore_ascii_case(b"chunked")) {
        return Err(Because::TransferCoding);
    }
    Ok(())
}

/// "the response contains at least one of the following: a public response directive […]; an Expires header field […];
/// a max-age response directive […]; if the cache is shared: an s-maxage response directive […]; or a status code that
/// is defined as heuristically cacheable" (§3), and there is a way it could be reused.
fn worth_storing(
    presented: &Presented<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    directives: &CacheControl,
    always: bool,
    situation: &Situation,
) -> Result<Because, Because> {
    let explicit = has_explicit_freshness(headers, directives);
    if !always && !directives.public && !explicit && !is_heuristically_cacheable(status) {
        return Err(Because::NotCacheable(status));
    }
    let head = match part_to_store(status, headers) {
        Some(part) => head_of_part(presented, headers, &part, situation.now, situation.now),
        None => StoredResponse::new(presented, status, headers, situation.now, situation.now),
    };
    // §3.3: "…if the request method is GET, the response status code is 200 (OK), and the entire response header section
    // has been received, a cache MAY store the response even if it is incomplete […]; Likewise, a 206 (Partial Content)
    // response MAY be stored as if it were an incomplete 200 (OK) response." Without a strong validator nothing can be
    // joined to it (§3.4): then it is worth storing while it is fresh. A weak one would have the whole validated for it.
    let freshness = freshness_by(&head, directives, situation);
    let stands_alone = freshness.is_fresh() && !directives.no_cache && !head.has_validator();
    let can_be_used = head.status != status && (stands_alone || strong_validator(&head).is_some());
    if status == StatusCode::PARTIAL_CONTENT && !can_be_used {
        return Err(Because::PartialContent);
    }
    if head.nominated.is_any() {
        return Err(Because::VariesOnAnything);
    }
    if freshness.is_fresh() && !directives.no_cache {
        Ok(Because::StoredFresh(freshness))
    } else if head.has_validator() {
        Ok(Because::StoredToValidate)
    } else if (explicit || always) && !directives.no_cache && directives.forbids_stale().is_none() {
        Ok(Because::StoredForOutages)
    } else {
        Err(Because::NothingToReuse)
    }
}

/// The final status codes of RFC 9110 §15 whose caching requirements are implemented here: all but 206 and 304.
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=205 | 300..=303 | 305 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 500..=505
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{headers, request, situation};

    fn storing(method: &str, request_fields: &str, status: u16, response: &str) -> Storing {
        let status = StatusCode::from_u16(status).expect("a status");
        may_store(&request(method, request_fields).presented(), status, &headers(response), &situation(0))
    }

    #[track_caller]
    fn check(status: u16, response: &str, section: &str) {
        check_request("", status, response, section);
    }

    /// `section` is where storing is refused, or "" where the response is stored.
    #[track_caller]
    fn check_request(request_fields: &str, status: u16, response: &str, section: &str) {
        let found = match storing("GET", request_fields, status, response) {
            Storing::Store(_) => "",
            Storing::Pass(because) => because.section().trim_start_matches("RFC "),
        };
        assert_eq!(found, section, "{request_fields} | {status} | {response}");
    }

    #[test]
    fn explicit_freshness_is_enough_for_any_final_status_3() {
        for status in [200, 201, 202, 299, 302, 307, 400, 404, 500, 503, 599] {
            check(status, "cache-control: max-age=60", "");
            check(status, "cache-control: s-maxage=60", "");
            check(status, "expires: Sun, 06 Nov 1994 09:49:37 GMT", "");
        }
    }

    #[test]
    fn other_statuses_need_public_or_a_heuristic_3() {
        let modified = "last-modified: Sun, 06 Nov 1993 08:49:37 GMT";
        for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
            check(status, modified, "");
            check(status, "etag: \"1\"", "");
        }
        for status in [201, 299, 302, 403, 500, 599] {
            check(status, modified, "9111 §3");
            check(status, &format!("{modified}\ncache-control: public"), "");
        }
    }

    #[test]
    fn what_could_never_be_reused_is_not_stored() {
        check(200, "", "9111 §3");
        check(200, "cache-control: public", "9111 §3");
        check(200, "cache-control: no-cache, max-age=60", "9111 §3");
        check(200, "cache-control: no-cache\netag: \"1\"", "");
        check(200, "cache-control: max-age=0", "");
        check(200, "cache-control: max-age=0, must-revalidate", "9111 §3");
        check(200, "cache-control: max-age=0, must-revalidate\netag: \"1\"", "");
        check(200, "vary: *\ncache-control: max-age=60", "9111 §4.1");
        check(200, "vary: foo\ncache-control: max-age=60", "");
    }

    #[test]
    fn statuses_that_are_not_final_or_not_whole_are_not_stored_3() {
        for (status, section) in
            [(100, "9111 §3"), (103, "9111 §3"), (206, "9111 §3.3"), (304, "9111 §4.3.3")]
        {
            check(status, "cache-control: max-age=60\netag: \"1\"", section);
        }
    }

    #[test]
    fn a_206_is_stored_where_it_can_be_joined_or_stands_alone_3_3() {
        let (part, fresh) = ("content-range: bytes 4-9/10\ncontent-length: 6", "cache-control: max-age=60");
        let shorter = "content-range: bytes 4-9/10\ncontent-length: 5";
        for (fields, section) in [
            (format!("{part}\n{fresh}\netag: \"1\""), ""),
            (format!("{part}\netag: \"1\""), ""),
            (format!("{part}\n{fresh}\nlast-modified: Sun, 06 Nov 1994 08:00:00 GMT"), ""),
            (format!("{part}\n{fresh}"), ""),
            (format!("{shorter}\n{fresh}"), ""),
            (format!("{shorter}\n{fresh}\netag: \"1\""), "9111 §3.3"),
            (format!("{part}\n{fresh}\netag: W/\"1\""), "9111 §3.3"),
            (format!("{part}\n{fresh}, no-cache"), "9111 §3.3"),
            (format!("{part}\ncache-control: max-age=0"), "9111 §3.3"),
            (format!("{part}\n{fresh}, no-store\netag: \"1\""), "9111 §5.2.2.5"),
            (format!("{part}\n{fresh}\netag: \"1\"\nvary: *"), "9111 §4.1"),
            (format!("{fresh}\ncontent-type: multipart/byteranges; boundary=a\netag: \"1\""), "9111 §3.3"),
            (format!("{fresh}\ncontent-range: bytes 4-9/*\netag: \"1\""), "9111 §3.3"),
        ] {
            check(206, &fields, section);
        }
    }

    #[test]
    fn no_store_and_private_are_obeyed_3() {
        check(200, "cache-control: max-age=60, no-store", "9111 §5.2.2.5");
        check(200, "cache-control: max-age=60\ncache-control: No-Store", "9111 §5.2.2.5");
        check(200, "cache-control: max-age=60, private", "9111 §5.2.2.7");
        check(200, "cache-control: max-age=60, private=\"foo\"", "");
        check_request("cache-control: no-store", 200, "cache-control: max-age=60", "9111 §5.2.1.5");
        check_request("cache-control: no-cache", 200, "cache-control: max-age=60", "");
    }

    #[test]
    fn must_understand_lifts_no_store_on_statuses_we_understand_5_2_2_3() {
        check(200, "cache-control: max-age=60, no-store, must-understand", "");
        check(404, "cache-control: max-age=60, no-store, must-understand", "");
        check(299, "cache-control: max-age=60, no-store, must-understand", "9111 §5.2.2.3");
        check(599, "cache-control: max-age=60, must-understand", "9111 §5.2.2.3");
        check(200, "cache-control: max-age=60, private, no-store, must-understand", "9111 §5.2.2.7");
    }

    #[test]
    fn credentials_need_leave_to_share_3_5() {
        let authorised = "authorization: Basic eA==";
        check_request(authorised, 200, "cache-control: max-age=60", "9111 §3.5");
        check_request(authorised, 200, "cache-control: max-age=60, proxy-revalidate", "9111 §3.5");
        for directive in ["public", "must-revalidate", "s-maxage=60"] {
            check_request(authorised, 200, &format!("cache-control: max-age=60, {directive}"), "");
        }
    }

    #[test]
    fn only_get_without_content_is_stored() {
        for method in ["HEAD", "PUT", "OPTIONS", "FOO"] {
            let found = storing(method, "", 200, "cache-control: max-age=60");
            assert!(matches!(found, Storing::Pass(Because::Method(_))), "{method}: {found:?}");
        }
        check_request("content-length: 1", 200, "cache-control: max-age=60", "9110 §9.3.1");
        check_request("transfer-encoding: chunked", 200, "cache-control: max-age=60", "9110 §9.3.1");
        check_request("content-length: 0", 200, "cache-control: max-age=60", "");
    }

    #[test]
    fn a_post_is_stored_where_it_stands_for_a_get_rfc9110_9_3_3() {
        for (status, response, stored) in [
            (200, "cache-control: max-age=60\ncontent-location: /a", true),
            (200, "cache-control: max-age=60\ncontent-location: http://EXAMPLE.com:80/a", true),
            (200, "expires: Sun, 06 Nov 1994 09:49:37 GMT\ncontent-location: a", true),
            (200, "cache-control: max-age=60", false),
            (200, "cache-control: max-age=60\ncontent-location: /b", false),
            (200, "last-modified: Sun, 06 Nov 1993 08:49:37 GMT\ncontent-location: /a", false),
            (200, "cache-control: max-age=60, no-store\ncontent-location: /a", false),
            (201, "cache-control: max-age=60\ncontent-location: /a", false),
        ] {
            let found = storing("POST", "content-length: 3", status, response);
            assert_eq!(matches!(found, Storing::Store(_)), stored, "{status} {response}: {found:?}");
        }
    }

    #[test]
    fn a_framing_we_do_not_know_is_not_stored() {
        check(200, "cache-control: max-age=60\ntransfer-encoding: Chunked", "");
        check(200, "cache-control: max-age=60\ntransfer-encoding: gzip, chunked", "9112 §6.1");
        check(200, "cache-control: max-age=60\ncontent-range: bytes 0-1/2", "9110 §14.4");
        check(200, "cache-control: max-age=60\ncontent-range: x", "");
        check(200, "cache-control: max-age=60\ncontent-range: bytes 1-0/2", "");
    }

    #[test]
    fn cookies_and_the_clients_conditions_do_not_matter() {
        check(200, "cache-control: max-age=60\nset-cookie: a", "");
        check_request("if-none-match: \"1\"\nrange: bytes=0-1", 200, "cache-control: max-age=60", "");
    }

    proptest! {
        #[test]
        fn no_store_is_never_stored(
            before in "(max-age=9|public|s-maxage=9|x=\"[a-z,=]{0,4}\"|immutable)",
            after in "(max-age=9|public|s-maxage=9|x=\"[a-z,=]{0,4}\"|immutable)",
            status in 100u16..600,
        ) {
            let found = storing("GET", "", status, &format!("cache-control: {before}, no-store, {after}\netag: \"1\""));
            prop_assert!(matches!(found, Storing::Pass(_)));
        }
    }
}
