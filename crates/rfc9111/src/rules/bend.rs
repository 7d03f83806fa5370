//! What a rule does to a decision: directives that count for nothing, lifetimes within bounds, reloads. And the
//! signature under every verdict that would have been another one without it.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderMap, HeaderValue, PRAGMA};

use super::{Directive, Keep, Reload, Rule, TargetRules};
use crate::because::Because;
use crate::directives::CacheControl;
use crate::fields;
use crate::freshness::LifetimeSource;
use crate::request::Situation;
use crate::stored::StoredResponse;

impl Rule {
    /// A response's directives as far as they count.
    fn left_of(&self, mut directives: CacheControl) -> CacheControl {
        for directive in &self.disregard {
            match directive {
                Directive::NoStore => directives.no_store = false,
                Directive::Private => directives.private = false,
                Directive::NoCache => directives.no_cache = false,
                Directive::MustRevalidate => {
                    (directives.must_revalidate, directives.proxy_revalidate) = (false, false);
                    // Its lifetime stays, without "the semantics of the proxy-revalidate response directive" (§5.2.2.10).
                    directives.max_age = directives.s_maxage.take().or(directives.max_age);
                }
            }
        }
        directives
    }

    /// Whether responses are kept that say nothing about it. Errors and redirects are not what an operator means by
    /// the files of a site.
    pub(crate) fn keeps(&self, status: StatusCode) -> bool {
        self.keep == Keep::Always && status.is_success()
    }
}

impl TargetRules {
    /// The directives of a response with this Content-Type, as far as they count.
    pub(crate) fn left_of(&self, directives: CacheControl, content_type: Option<&[u8]>) -> CacheControl {
        self.about(content_type).map_or(directives, |rule| rule.left_of(directives))
    }

    /// A freshness lifetime within the bounds of the rule.
    pub(crate) fn bound(
        &self,
        stored: &StoredResponse,
        (lifetime, source): (Duration, LifetimeSource),
    ) -> (Duration, LifetimeSource) {
        let Some(rule) = self.about_stored(stored) else { return (lifetime, source) };
        let least = rule.min_fresh.filter(|_| stored.status.is_success()).unwrap_or_default();
        let most = rule.max_fresh.unwrap_or(Duration::MAX);
        match lifetime.max(least).min(most) {
            bounded if bounded == lifetime => (lifetime, source),
            bounded => (bounded, LifetimeSource::Rule),
        }
    }

    /// The directives of a request for a stored response, as far as they count.
    pub(crate) fn heard(
        &self,
        request: &CacheControl,
        stored: &StoredResponse,
        is_fresh: bool,
    ) -> CacheControl {
        match self.about_stored(stored) {
            Some(rule) if rule.reload == Reload::Ignore && is_fresh => CacheControl {
                no_cache: false,
                max_age: request.max_age.filter(|max_age| !max_age.is_zero()),
                ..*request
            },
            _ => *request,
        }
    }

    /// Makes a reload a plain conditional request, which caches on the way may answer, where the rule about one of
    /// these stored responses wants that. Gives the name of the rule if it changed anything.
    pub fn soften_reload(&self, request: &mut HeaderMap, stored: &[&StoredResponse]) -> Option<Arc<str>> {
        let rule = stored.iter().find_map(|stored| self.about_stored(stored))?;
        let directives = CacheControl::of_request(request);
        let reloads = directives.no_cache || directives.max_age == Some(Duration::ZERO);
        if rule.reload != Reload::Revalidate || !reloads {
            return None;
        }
        request.remove(PRAGMA);
        let others: Vec<&[u8]> =
            fields::members(request, &CACHE_CONTROL).filter(|member| !is_reload(member)).collect();
        let others = HeaderValue::from_bytes(&others.join(b", ".as_slice()));
        request.remove(CACHE_CONTROL);
        if let Some(others) = others.ok().filter(|others| !others.is_empty()) {
            fields::append(request, CACHE_CONTROL, others);
        }
        Some(rule.name.clone())
    }
}

/// A member of Cache-Control that asks for more than what a cache holds.
fn is_reload(member: &[u8]) -> bool {
    let name = member.split(|byte| *byte == b'=').next().unwrap_or_default();
    ["no-cache", "max-age"].iter().any(|reload| fields::trim(name).eq_ignore_ascii_case(reload.as_bytes()))
}

/// A judgement about a response for which `rule` counts; what would be judged otherwise without it bears its name.
pub(crate) fn judged(
    situation: &Situation,
    rule: Option<&Arc<Rule>>,
    judge: impl Fn(&Situation) -> Result<Because, Because>,
) -> Result<Because, Because> {
    let verdict = judge(situation);
    let Some(rule) = rule else { return verdict };
    if verdict == judge(&situation.without_rules()) {
        return verdict;
    }
    let sign = |because| Because::ByRule { rule: rule.name.clone(), because: Box::new(because) };
    verdict.map(sign).map_err(sign)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rules::{Pattern, Rules};
    use crate::testing::{headers, request, situation, stored};
    use crate::{Decision, Failure, Storing, decide, freshness, may_serve_stale, may_store};

    const DAY: Duration = Duration::from_hours(24);

    /// The situation so many seconds after the start, with one rule about everything.
    fn ruled(rule: &Rule, second: u64) -> Situation {
        let target = request("GET", "");
        let mut situation = situation(second);
        situation.policy.rules = Rules::new([rule.clone()]).for_target(target.presented().target);
        situation
    }

    fn rule() -> Rule {
        Rule::new("r")
    }

    fn signed(because: &Because) -> &'static str {
        if because.rule().is_some() { " by rule" } else { "" }
    }

    #[track_caller]
    fn check_reuse(rule: &Rule, asked: &str, response: &str, second: u64, verdict: &str) {
        let (asked, response) = (request("GET", asked), stored(200, response));
        let decision = decide(&asked.presented(), &[&response], &ruled(rule, second));
        let found = match &decision {
            Decision::Reuse { .. } => "reuse".to_owned(),
            Decision::Validate { .. } => "validate".to_owned(),
            Decision::Forward(because) => format!("forward {}", because.forward_reason()),
            Decision::GatewayTimeout(_) => "504".to_owned(),
        };
        assert_eq!(found + signed(decision.because()), verdict, "{rule:?} {response:?} {second} s");
    }

    #[track_caller]
    fn check_store(rule: &Rule, asked: &str, status: u16, response: &str, verdict: &str) {
        let status = StatusCode::from_u16(status).expect("a status");
        let storing =
            may_store(&request("GET", asked).presented(), status, &headers(response), &ruled(rule, 0));
        let found = match &storing {
            Storing::Store(because) => format!("store{}", signed(because)),
            Storing::Pass(because) => format!("pass{}", signed(because)),
        };
        assert_eq!(found, verdict, "{rule:?} {status} {response}");
    }

    #[track_caller]
    fn check_stale(rule: &Rule, response: &str, verdict: &str) {
        let (asked, response) = (request("GET", ""), stored(200, response));
        let found = may_serve_stale(&asked.presented(), &response, Failure::Unreachable, &ruled(rule, 100));
        let found = match &found {
            Ok(because) => format!("serve{}", signed(because)),
            Err(because) => format!("refuse{}", signed(because)),
        };
        assert_eq!(found, verdict, "{rule:?} {response:?}");
    }

    #[test]
    fn min_fresh_raises_lifetimes_of_successes() {
        let rule = Rule { min_fresh: Some(DAY), ..rule() };
        for response in ["", "expires: 0", "cache-control: max-age=60", "cache-control: s-maxage=0"] {
            check_reuse(&rule, "", response, 86_399, "reuse by rule");
            check_store(&rule, "", 200, response, "store by rule");
        }
        check_reuse(&rule, "", "etag: \"1\"", 86_400, "validate by rule");
        check_reuse(&rule, "", "cache-control: max-age=90000", 86_400, "reuse");
        check_reuse(&rule, "", "cache-control: no-cache\netag: \"1\"", 1, "validate");
        check_store(&rule, "", 200, "cache-control: no-store", "pass");
        check_store(&rule, "", 302, "", "pass");
        check_store(&rule, "", 404, "", "pass");
    }

    #[test]
    fn max_fresh_is_a_cap_on_every_status() {
        let rule = Rule { max_fresh: Some(Duration::ZERO), ..rule() };
        check_reuse(&rule, "", "cache-control: max-age=60\netag: \"1\"", 0, "validate by rule");
        check_store(&rule, "", 404, "cache-control: max-age=60\netag: \"1\"", "store by rule");
        let both = Rule { min_fresh: Some(DAY), max_fresh: Some(Duration::from_secs(5)), ..rule };
        let found = freshness(&stored(200, ""), &ruled(&both, 0));
        assert_eq!((found.lifetime, found.source), (Duration::from_secs(5), LifetimeSource::Rule));
    }

    #[test]
    fn an_ignored_reload_gets_what_is_fresh() {
        let (ignoring, fresh) =
            (Rule { reload: Reload::Ignore, ..rule() }, "cache-control: max-age=60\netag: \"1\"");
        for reload in ["cache-control: no-cache", "pragma: no-cache", "cache-control: max-age=0"] {
            check_reuse(&ignoring, reload, fresh, 30, "reuse by rule");
            check_reuse(&ignoring, reload, fresh, 60, "validate");
            check_reuse(&rule(), reload, fresh, 30, "validate");
        }
        check_reuse(&ignoring, "cache-control: max-age=10", fresh, 30, "validate");
        check_reuse(
            &ignoring,
            "cache-control: no-cache",
            "cache-control: max-age=60, no-cache\netag: \"1\"",
            0,
            "validate",
        );
    }

    #[track_caller]
    fn check_softened(reload: Reload, asked: &str, sent: Option<&str>) {
        let rule = Rule { reload, ..rule() };
        let (mut fields, response) = (headers(asked), stored(200, "etag: \"1\""));
        let changed = ruled(&rule, 0).policy.rules.soften_reload(&mut fields, &[&response]);
        assert_eq!(changed.is_some(), sent.is_some(), "{asked}");
        assert_eq!(fields, headers(sent.unwrap_or(asked)), "{asked}");
    }

    #[test]
    fn a_reload_may_become_a_plain_condition() {
        check_softened(Reload::Revalidate, "cache-control: no-cache\npragma: no-cache\na: 1", Some("a: 1"));
        check_softened(
            Reload::Revalidate,
            "cache-control: Max-Age=0, no-transform",
            Some("cache-control: no-transform"),
        );
        check_softened(Reload::Revalidate, "pragma: no-cache", Some(""));
        check_softened(Reload::Revalidate, "cache-control: max-age=10", None);
        check_softened(Reload::AsAsked, "cache-control: no-cache", None);
    }

    #[test]
    fn never_is_neither_stored_nor_served() {
        let never = Rule { keep: Keep::Never, ..rule() };
        check_store(&never, "", 200, "cache-control: max-age=60", "pass by rule");
        check_reuse(&never, "", "cache-control: max-age=60\netag: \"1\"", 0, "forward bypass by rule");
        check_reuse(&never, "cache-control: only-if-cached", "cache-control: max-age=60", 0, "504 by rule");
        check_stale(&never, "cache-control: max-age=60", "refuse by rule");
    }

    #[test]
    fn always_stores_what_says_nothing_and_nothing_that_is_forbidden() {
        let always = Rule { keep: Keep::Always, ..rule() };
        check_store(&rule(), "", 200, "", "pass");
        check_store(&always, "", 200, "", "store by rule");
        check_store(&always, "", 299, "", "store by rule");
        check_store(&always, "", 404, "", "pass");
        check_store(&always, "", 200, "cache-control: max-age=60", "store");
        for response in
            ["cache-control: no-store", "cache-control: private", "vary: *", "content-range: bytes 0-0/1"]
        {
            check_store(&always, "", 200, response, "pass");
        }
        check_store(&always, "authorization: Basic eA==", 200, "", "pass");
        check_store(&always, "cache-control: no-store", 200, "", "pass");
        check_stale(&always, "", "serve");
    }

    #[test]
    fn directives_are_disregarded_one_by_one() {
        let without = |directive| Rule { disregard: vec![directive], ..rule() };
        let (no_store, private) =
            ("cache-control: no-store, max-age=60", "cache-control: private, max-age=60");
        check_store(&without(Directive::NoStore), "", 200, no_store, "store by rule");
        check_store(&without(Directive::NoStore), "", 200, private, "pass");
        check_store(&without(Directive::Private), "", 200, private, "store by rule");
        check_store(&without(Directive::Private), "authorization: Basic eA==", 200, private, "pass by rule");
        check_reuse(
            &without(Directive::NoCache),
            "",
            "cache-control: no-cache, max-age=60",
            30,
            "reuse by rule",
        );
        for stated in ["must-revalidate, max-age=60", "proxy-revalidate, max-age=60", "s-maxage=60"] {
            let response = format!("cache-control: {stated}");
            check_stale(&without(Directive::MustRevalidate), &response, "serve by rule");
            check_stale(&without(Directive::NoCache), &response, "refuse");
            check_stale(&rule(), &response, "refuse");
        }
    }

    #[test]
    fn a_rule_with_media_types_speaks_of_them_only() {
        let media_types = vec![Pattern::new("video/*")];
        let rule = Rule { media_types, min_fresh: Some(DAY), ..rule() };
        check_reuse(&rule, "", "content-type: video/mp4", 60, "reuse by rule");
        check_reuse(&rule, "", "content-type: text/html", 60, "forward stale");
        check_reuse(&rule, "", "", 60, "forward stale");
    }

    #[test]
    fn a_signature_names_the_rule() {
        let rule = Rule { min_fresh: Some(DAY), ..rule() };
        let (asked, response) = (request("GET", ""), stored(200, ""));
        let decision = decide(&asked.presented(), &[&response], &ruled(&rule, 60));
        assert_eq!(
            decision.because().to_string(),
            "The stored response is 60 s old and fresh for 86400 s by the operator. (Decided by the operator's rule r.)"
        );
        assert_eq!(decision.because().section(), "cache.rule");
    }

    proptest! {
        #[test]
        fn no_rule_shares_what_is_one_clients_own(
            min in proptest::option::of(0..1000_u64), reload in 0..3_usize, keep in 0..3_usize, all: bool, second in 0..2000_u64,
        ) {
            let keep = [Keep::AsStated, Keep::Never, Keep::Always][keep];
            let reload = [Reload::AsAsked, Reload::Revalidate, Reload::Ignore][reload];
            let all = if all { ALL.to_vec() } else { Vec::new() };
            let rule = Rule { min_fresh: min.map(Duration::from_secs), reload, keep, disregard: all, ..rule() };
            for (asked, response) in [("authorization: Basic eA==", "etag: x"), ("cache-control: no-store", "expires: 0"), ("", "vary: *")] {
                let (asked, situation) = (request("GET", asked), ruled(&rule, second));
                let storing = may_store(&asked.presented(), StatusCode::OK, &headers(response), &situation);
                prop_assert!(matches!(storing, Storing::Pass(_)), "{:?}", storing);
            }
        }
    }

    const ALL: [Directive; 4] =
        [Directive::NoStore, Directive::Private, Directive::NoCache, Directive::MustRevalidate];
}
