//! The decision about a request: reuse, validate, forward (RFC 9111 §4).
//!
//! A request for which a fresh response is stored is decided without allocating. Preconditions and ranges of the
//! client come afterwards, in `precondition` and `range`; what happens when the origin fails is `stale`'s.

use http::Method;
use http::uri::Scheme;

use crate::because::Because;
use crate::choosing::choose;
use crate::directives::CacheControl;
use crate::freshness::freshness_by;
use crate::request::{Presented, Situation};
use crate::rules::{Keep, judged};
use crate::stale::{accepted, client_refuses, forbids_reuse, while_revalidating};
use crate::stored::StoredResponse;
use crate::targeted::governing_stored;

/// What to do with a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Answer with a stored response as it is.
    Reuse {
        /// The index of the stored response.
        stored: usize,
        /// Why it may be reused.
        because: Because,
    },
    /// Ask the origin whether a stored response is still good (§4.3).
    Validate {
        /// The index of the stored response.
        stored: usize,
        /// Why it may not be reused as it is.
        because: Because,
    },
    /// Forward the request.
    Forward(Because),
    /// Answer 504: only a stored response was asked for (§5.2.1.7), and none may be reused.
    GatewayTimeout(Because),
}

impl Decision {
    /// Why.
    pub fn because(&self) -> &Because {
        match self {
            Self::Reuse { because, .. }
            | Self::Validate { because, .. }
            | Self::Forward(because)
            | Self::GatewayTimeout(because) => because,
        }
    }
}

/// Decides what to do with a request, given all responses stored under its cache key.
///
/// ```
/// use http::{HeaderMap, Method, Uri};
/// use rfc9111::{Because, Decision, Policy, Presented, Situation};
///
/// let (target, fields) = (Uri::from_static("http://example.com/"), HeaderMap::new());
/// let presented = Presented::new(&Method::GET, &target, &fields);
/// let situation = Situation { now: std::time::UNIX_EPOCH, policy: Policy::default() };
/// let decision = rfc9111::decide(&presented, &[], &situation);
/// assert_eq!(decision, Decision::Forward(Because::NothingStored));
/// ```
pub fn decide(presented: &Presented<'_>, stored: &[&StoredResponse], situation: &Situation) -> Decision {
    // §4: "When presented with a request, a cache MUST NOT reuse a stored response unless: the presented target URI
    // […] and that of the stored response match, and". That is the cache key's part. "…the request method associated
    // with the stored response allows it to be used for the presented request, and": GET serves GET and HEAD.
    if *presented.method != Method::GET && *presented.method != Method::HEAD {
        return Decision::Forward(Because::Method(presented.method.clone()));
    }
    if presented.has_content() {
        return Decision::Forward(Because::RequestContent);
    }
    if let Some(name) = presented.overriding() {
        return Decision::Forward(Because::Overriding(name.clone()));
    }
    let request = presented.directives();
    let decision = match choose(presented, stored) {
        Ok((index, chosen)) => weigh(presented, index, chosen, &request, situation),
        Err(because) => Decision::Forward(because),
    };
    match decision {
        // §5.2.1.7: "Caches that honor this request directive SHOULD, upon receiving it, respond with either a stored
        // response consistent with the other constraints of the request or a 504 (Gateway Timeout) status code."
        Decision::Validate { because, .. } | Decision::Forward(because) if request.only_if_cached => {
            Decision::GatewayTimeout(Because::OnlyIfCached(Box::new(because)))
        }
        decision => decision,
    }
}

fn weigh(
    presented: &Presented<'_>,
    index: usize,
    stored: &StoredResponse,
    request: &CacheControl,
    situation: &Situation,
) -> Decision {
    let judge = |situation: &Situation| may_reuse(presented, stored, request, situation);
    match judged(situation, situation.policy.rules.about_stored(stored), judge) {
        Ok(because) => Decision::Reuse { stored: index, because },
        Err(because) if *because.bare() == Because::NeverKept => Decision::Forward(because),
        Err(because) if stored.has_validator() => Decision::Validate { stored: index, because },
        Err(because) => Decision::Forward(because),
    }
}

fn may_reuse(
    presented: &Presented<'_>,
    stored: &StoredResponse,
    request: &CacheControl,
    situation: &Situation,
) -> Result<Because, Because> {
    let rules = &situation.policy.rules;
    if rules.about_stored(stored).is_some_and(|rule| rule.keep == Keep::Never) {
        return Err(Because::NeverKept);
    }
    let response = governing_stored(stored, &situation.policy);
    let freshness = freshness_by(stored, &response, situation);
    let request = &rules.heard(request, stored, freshness.is_fresh());
    // "the stored response does not contain the no-cache directive (Section 5.2.2.4), unless it is successfully
    // validated (Section 4.3), and"
    if let Some(because) = forbids_reuse(&response, stored.status) {
        return Err(because);
    }
    // §5.2.1.4: "The no-cache request directive indicates that the client prefers a stored response not be used to
    // satisfy the request without successful validation on the origin server."
    // RFC 9211 §2.2 keeps `request` for when a fresh response was there; a stale one had to be validated anyway.
    let asked = |because| if freshness.is_fresh() { because } else { Because::Stale(freshness) };
    if request.no_cache {
        return Err(asked(Because::RequestNoCache));
    }
    if let Some(because) = client_refuses(request, &freshness) {
        let reload = matches!(because, Because::RequestMaxAge { .. });
        let immutable = reload && freshness.is_fresh() && is_immutable(presented, &response);
        return if immutable { Ok(Because::Immutable(freshness)) } else { Err(asked(because)) };
    }
    // "the stored response is one of the following: fresh (see Section 4.2), or"
    if freshness.is_fresh() {
        return Ok(Because::Fresh(freshness));
    }
    // "allowed to be served stale (see Section 4.2.4), or successfully validated (see Section 4.3)."
    match request.max_stale {
        Some(max_stale) if response.forbids_stale().is_none() => {
            accepted(max_stale, freshness).map_err(|_| Because::Stale(freshness))
        }
        Some(_) => Err(Because::Stale(freshness)),
        None => while_revalidating(&response, freshness).ok_or(Because::Stale(freshness)),
    }
}

/// Whether a fresh response need not be validated although the client limits its age.
pub(crate) fn is_immutable(presented: &Presented<'_>, response: &CacheControl) -> bool {
    // RFC 8246 §2.1: "proxies SHOULD skip conditionally revalidating fresh responses containing the immutable
    // extension unless there is a signal from the client that a validation is necessary (e.g., a no-cache
    // Cache-Control request directive […])". The max-age=0 of a reload is what the extension is meant for. §3:
    // "Clients SHOULD ignore the immutable extension from resources that are not part of an authenticated context
    // such as HTTPS."
    response.immutable && presented.target.scheme() == Some(&Scheme::HTTPS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{at, request, situation, stored, stored_for};

    #[track_caller]
    fn check_request(method: &str, request_fields: &str, response: &str, now: u64, verdict: &str) {
        let stored = stored(200, response);
        let request = request(method, request_fields);
        let found = verdict_of(&decide(&request.presented(), &[&stored], &situation(now)));
        assert_eq!(found, verdict, "{method} {request_fields} | {response} | {now} s");
    }

    #[track_caller]
    fn check(response: &str, now: u64, verdict: &str) {
        check_request("GET", "", response, now, verdict);
    }

    fn verdict_of(decision: &Decision) -> String {
        match decision {
            Decision::Reuse { .. } => "reuse".into(),
            Decision::Validate { .. } => "validate".into(),
            Decision::Forward(because) => format!("forward {}", because.forward_reason()),
            Decision::GatewayTimeout(_) => "504".into(),
        }
    }

    const LASTING: &str = "cache-control: max-age=60\netag: \"1\"";

    #[test]
    fn fresh_responses_are_reused_and_stale_ones_validated_4() {
        check(LASTING, 0, "reuse");
        check(LASTING, 59, "reuse");
        check(LASTING, 60, "validate");
        check("cache-control: max-age=60", 60, "forward stale");
        check("cache-control: max-age=60\nlast-modified: Sun, 06 Nov 1994 08:49:37 GMT", 60, "validate");
        check("cache-control: max-age=60\nage: 50", 10, "forward stale");
    }

    #[test]
    fn without_freshness_information_nothing_is_reused() {
        check("etag: \"1\"", 0, "validate");
        check("", 0, "forward stale");
        check("expires: 0\netag: \"1\"", 0, "validate");
    }

    #[test]
    fn no_cache_needs_validation_5_2_2_4() {
        check("cache-control: max-age=60, no-cache\netag: \"1\"", 0, "validate");
        check("cache-control: max-age=60, no-cache", 0, "forward stale");
        check("cache-control: max-age=60, no-cache=\"foo\"\netag: \"1\"", 0, "reuse");
    }

    #[test]
    fn directives_that_a_304_brought_forbid_reuse() {
        check("cache-control: max-age=60, no-store\netag: \"1\"", 0, "validate");
        check("cache-control: max-age=60, private\netag: \"1\"", 0, "validate");
        check("cache-control: max-age=60, no-store, must-understand", 0, "reuse");
    }

    #[test]
    fn the_client_may_ask_for_validation_5_2_1() {
        check_request("GET", "cache-control: no-cache", LASTING, 0, "validate");
        check_request("GET", "pragma: no-cache", LASTING, 0, "validate");
        check_request("GET", "cache-control: no-cache", "cache-control: max-age=60", 0, "forward request");
        check_request("GET", "cache-control: no-cache", "cache-control: max-age=60", 60, "forward stale");
        check_request("GET", "cache-control: max-age=10", LASTING, 10, "reuse");
        check_request("GET", "cache-control: max-age=10", LASTING, 11, "validate");
        check_request("GET", "cache-control: max-age=0", LASTING, 1, "validate");
        check_request("GET", "cache-control: min-fresh=20", LASTING, 40, "reuse");
        check_request("GET", "cache-control: min-fresh=20", LASTING, 41, "validate");
    }

    #[test]
    fn the_client_may_accept_a_stale_response_5_2_1_2() {
        check_request("GET", "cache-control: max-stale", LASTING, 5000, "reuse");
        check_request("GET", "cache-control: max-stale=10", LASTING, 70, "reuse");
        check_request("GET", "cache-control: max-stale=10", LASTING, 71, "validate");
        for directive in ["must-revalidate", "proxy-revalidate", "s-maxage=60"] {
            let response = format!("cache-control: max-age=60, {directive}\netag: \"1\"");
            check_request("GET", "cache-control: max-stale", &response, 61, "validate");
        }
    }

    #[test]
    fn stale_is_served_while_it_is_revalidated_rfc5861_3() {
        let response = "cache-control: max-age=60, stale-while-revalidate=30\netag: \"1\"";
        check(response, 59, "reuse");
        check(response, 60, "reuse");
        check(response, 90, "reuse");
        check(response, 91, "validate");
        check("cache-control: max-age=60, stale-while-revalidate=30", 90, "reuse");
        check("cache-control: max-age=60, stale-while-revalidate=30", 91, "forward stale");
        check("cache-control: stale-while-revalidate=30\netag: \"1\"", 30, "reuse");
    }

    #[test]
    fn stale_while_revalidate_gives_way_to_what_forbids_stale_rfc5861_3() {
        for directive in ["must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache", "private"] {
            let response =
                format!("cache-control: max-age=60, stale-while-revalidate=30, {directive}\netag: \"1\"");
            check(&response, 61, "validate");
        }
        let response = "cache-control: max-age=60, stale-while-revalidate=30\netag: \"1\"";
        for wish in ["no-cache", "max-age=10", "min-fresh=1", "max-stale=0"] {
            check_request("GET", &format!("cache-control: {wish}"), response, 61, "validate");
        }
    }

    #[test]
    fn a_request_with_no_store_may_be_answered_from_the_store_5_2_1_5() {
        check_request("GET", "cache-control: no-store", LASTING, 0, "reuse");
    }

    #[test]
    fn only_if_cached_never_leads_to_the_origin_5_2_1_7() {
        check_request("GET", "cache-control: only-if-cached", LASTING, 0, "reuse");
        check_request("GET", "cache-control: only-if-cached", LASTING, 60, "504");
        check_request("GET", "cache-control: only-if-cached, max-stale", LASTING, 60, "reuse");
        let request = request("GET", "cache-control: only-if-cached");
        assert_eq!(verdict_of(&decide(&request.presented(), &[], &situation(0))), "504");
    }

    #[test]
    fn immutable_outlives_a_reload_rfc8246_2() {
        let stored = stored(200, "cache-control: max-age=60, immutable\netag: \"1\"");
        for (target, directive, now, verdict) in [
            ("https://example.com/a", "max-age=0", 30, "reuse"),
            ("https://example.com/a", "max-age=0", 60, "validate"),
            ("https://example.com/a", "no-cache", 30, "validate"),
            ("http://example.com/a", "max-age=0", 30, "validate"),
        ] {
            let request = request("GET", &format!("cache-control: {directive}"));
            let target = http::Uri::from_static(target);
            let presented = Presented { target: &target, ..request.presented() };
            assert_eq!(
                verdict_of(&decide(&presented, &[&stored], &situation(now))),
                verdict,
                "{target} {directive} {now}"
            );
        }
    }

    #[test]
    fn get_serves_get_and_head_4() {
        check_request("HEAD", "", LASTING, 0, "reuse");
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "get", "FOO"] {
            check_request(method, "", LASTING, 0, "forward method");
        }
        check_request("GET", "content-length: 3", LASTING, 0, "forward bypass");
    }

    #[test]
    fn credentials_do_not_keep_from_a_shared_response_3_5() {
        check_request("GET", "authorization: Basic eA==", LASTING, 0, "reuse");
    }

    #[test]
    fn nominated_fields_choose_the_response_4_1() {
        let fields = "cache-control: max-age=60\nvary: foo";
        let (one, two) = (stored_for("foo: 1", 200, fields), stored_for("foo: 2", 200, fields));
        let chosen = |presented: &str| {
            let request = request("GET", presented);
            decide(&request.presented(), &[&one, &two], &situation(0))
        };
        assert!(matches!(chosen("foo: 1"), Decision::Reuse { stored: 0, .. }));
        assert!(matches!(chosen("foo: 2"), Decision::Reuse { stored: 1, .. }));
        assert_eq!(verdict_of(&chosen("foo: 3")), "forward vary-miss");
        assert_eq!(
            chosen(""),
            Decision::Forward(Because::NoVariant { nominated: "foo".parse().expect("a name"), stored: 2 })
        );
    }

    #[test]
    fn a_response_that_omits_vary_gives_way_to_one_that_has_it_4_1() {
        let varies =
            stored_for("", 200, "cache-control: max-age=60\nvary: foo\ndate: Sun, 06 Nov 1994 08:49:36 GMT");
        let omits = stored(200, "cache-control: max-age=60\ndate: Sun, 06 Nov 1994 08:49:37 GMT");
        let request = request("GET", "");
        let decision = decide(&request.presented(), &[&varies, &omits], &situation(0));
        assert!(matches!(decision, Decision::Reuse { stored: 0, .. }));
    }

    #[test]
    fn the_most_recent_of_several_is_used_4() {
        let mut older = stored(200, "cache-control: max-age=60\ndate: Sun, 06 Nov 1994 08:49:36 GMT");
        let newer = stored(200, "cache-control: max-age=60\ndate: Sun, 06 Nov 1994 08:49:37 GMT");
        older.response_time = at(5);
        let request = request("GET", "");
        for order in [[&older, &newer], [&newer, &older]] {
            let Decision::Reuse { stored, .. } = decide(&request.presented(), &order, &situation(6)) else {
                panic!("not reused")
            };
            assert_eq!(order[stored], &newer);
        }
    }

    proptest! {
        #[test]
        fn more_age_never_makes_fresh(
            lifetime in 0u64..100, now in 0u64..200, later in 0u64..200,
            wish in "|max-age=50|min-fresh=20|max-stale=10|immutable|max-stale",
        ) {
            let stored = stored(200, &format!("cache-control: max-age={lifetime}, stale-while-revalidate=20, immutable\netag: \"1\""));
            let request = request("GET", &format!("cache-control: {wish}"));
            let reused = |second| verdict_of(&decide(&request.presented(), &[&stored], &situation(second))) == "reuse";
            prop_assert!(reused(now) || !reused(now + later));
        }
    }
}
