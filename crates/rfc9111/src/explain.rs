//! The whole way to a decision, told step by step for people: what is asked, what the answer is, and which section asks.
//!
//! It puts the same questions as `decide`, with the same functions and in the same order, and ends with what `decide`
//! says; that both agree is a property that is tested. It decides nothing itself and is not made to be fast.

use http::header::{ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use http::{Method, StatusCode};

use crate::because::Because;
use crate::choosing::choose;
use crate::date::format_date;
use crate::directives::{CacheControl, MaxStale};
use crate::fields;
use crate::freshness::freshness_by;
use crate::key::CacheKey;
use crate::request::{Presented, Situation};
use crate::reuse::{Decision, decide, is_immutable};
use crate::stale::{Failure, accepted, client_refuses, forbids_reuse, may_serve_stale, while_revalidating};
use crate::stored::StoredResponse;
use crate::storing::request_forbids;
use crate::targeted::governing_stored;
use crate::validation::conditional_request;

/// One question on the way to a decision, and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The part of the way it belongs to, such as "request" or "stored 1".
    pub section: String,
    /// What is asked, such as "Is it fresh?".
    pub question: &'static str,
    /// The answer, in words.
    pub answer: String,
    /// The section that asks, such as "RFC 9111 §4.2".
    pub because: &'static str,
}

/// A decision and the way to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// Every question that was asked, in order.
    pub steps: Vec<Step>,
    /// What [`decide`] says.
    pub decision: Decision,
}

/// Tells how [`decide`] comes to its decision, and what would be sent and stored because of it.
///
/// ```
/// use http::{HeaderMap, Method, Uri};
/// use rfc9111::{Policy, Presented, Situation};
///
/// let (target, fields) = (Uri::from_static("http://example.com/"), HeaderMap::new());
/// let presented = Presented::new(&Method::GET, &target, &fields);
/// let situation = Situation { now: std::time::UNIX_EPOCH, policy: Policy::default() };
/// let explained = rfc9111::explain(&presented, &[], &situation);
/// assert!(explained.steps.iter().any(|step| step.answer == "no: Nothing is stored under this URI."));
/// ```
pub fn explain(presented: &Presented<'_>, stored: &[&StoredResponse], situation: &Situation) -> Explained {
    let mut way = Way { section: String::new(), steps: Vec::new() };
    way.request(presented);
    for (index, stored) in stored.iter().enumerate() {
        way.section = format!("stored {}", index + 1);
        way.stored(presented, stored, situation);
    }
    way.section = "reuse".to_owned();
    way.reuse(presented, stored, situation);
    let decision = decide(presented, stored, situation);
    way.origin(presented, stored, &decision, situation);
    Explained { steps: way.steps, decision }
}

/// The steps so far, and the section that the next one belongs to.
struct Way {
    section: String,
    steps: Vec<Step>,
}

impl Way {
    fn step(&mut self, question: &'static str, answer: impl Into<String>, because: &'static str) {
        self.steps.push(Step { section: self.section.clone(), question, answer: answer.into(), because });
    }

    /// A question whose answer "no" ends the way.
    fn passes(&mut self, question: &'static str, refused: Option<&Because>, because: &'static str) -> bool {
        match refused {
            None => self.step(question, "yes", because),
            Some(refused) => self.step(question, format!("no: {refused}"), refused.section()),
        }
        refused.is_none()
    }

    fn request(&mut self, presented: &Presented<'_>) {
        "request".clone_into(&mut self.section);
        let key = CacheKey::for_target(presented.target);
        let key =
            key.map_or_else(|| "none: nothing is stored for it".to_owned(), |key| key.as_str().to_owned());
        self.step("What is the cache key?", key, "RFC 9111 §2");
        let directives = named(&presented.directives());
        let directives = if directives.is_empty() { "none".to_owned() } else { directives };
        self.step("Which directives does it have?", directives, "RFC 9111 §5.2.1");
    }

    fn stored(&mut self, presented: &Presented<'_>, stored: &StoredResponse, situation: &Situation) {
        let suits = match stored.nominated.mismatch(presented.headers) {
            None => "yes".to_owned(),
            Some(name) => format!("no: it differs in {name}"),
        };
        self.step("Does it suit the fields of the request?", suits, "RFC 9111 §4.1");
        let date = format_date(stored.date());
        let date = String::from_utf8_lossy(date.as_bytes()).into_owned();
        self.step(
            "When was it made?",
            format!("{date}, with status {}", stored.status.as_u16()),
            "RFC 9111 §4",
        );
        let directives = governing_stored(stored, &situation.policy);
        let names = named(&directives);
        let names = if names.is_empty() { "none".to_owned() } else { names };
        let by = if directives.targeted { "RFC 9213 §2.2" } else { "RFC 9111 §5.2.2" };
        self.step("Which directives does it have?", names, by);
        let freshness = freshness_by(stored, &directives, situation);
        let time_left = match freshness.remaining().as_secs() {
            0 => format!("stale for {} s", freshness.staleness().as_secs()),
            left => format!("{left} s left"),
        };
        self.step("How old is it?", format!("{freshness}: {time_left}"), "RFC 9111 §4.2");
        let validators: Vec<_> = [ETAG, LAST_MODIFIED]
            .iter()
            .filter_map(|name| Some((name, fields::first(&stored.headers, name)?)))
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)))
            .collect();
        let validators = if validators.is_empty() { "no".to_owned() } else { validators.join(", ") };
        self.step("Can it be validated?", validators, "RFC 9111 §4.3.1");
    }

    /// The questions of `decide`.
    fn reuse(&mut self, presented: &Presented<'_>, stored: &[&StoredResponse], situation: &Situation) {
        let method = presented.method;
        let refused =
            (*method != Method::GET && *method != Method::HEAD).then(|| Because::Method(method.clone()));
        if !self.passes("Does a stored response answer the method?", refused.as_ref(), "RFC 9111 §4") {
            return;
        }
        let refused = presented.has_content().then_some(Because::RequestContent);
        if !self.passes("Is the request without content?", refused.as_ref(), "RFC 9110 §9.3.1") {
            return;
        }
        if let Some(name) = presented.overriding() {
            let refused = Because::Overriding(name.clone());
            self.passes("Does it ask for its target alone?", Some(&refused), "RFC 9111 §2");
            return;
        }
        match choose(presented, stored) {
            Err(because) => {
                self.passes("Does a stored response suit it?", Some(&because), "RFC 9111 §4.1");
            }
            Ok((index, chosen)) => {
                let which = format!("yes, the most recent that does: stored {}", index + 1);
                self.step("Does a stored response suit it?", which, "RFC 9111 §4.1");
                self.chosen(presented, chosen, situation);
            }
        }
    }

    /// The questions about the chosen response.
    fn chosen(&mut self, presented: &Presented<'_>, stored: &StoredResponse, situation: &Situation) {
        let request = presented.directives();
        let response = governing_stored(stored, &situation.policy);
        let freshness = freshness_by(stored, &response, situation);
        let refused = forbids_reuse(&response, stored.status);
        if !self.passes("Does it allow reuse without validation?", refused.as_ref(), "RFC 9111 §5.2.2.4") {
            return;
        }
        let refused = request.no_cache.then_some(Because::RequestNoCache);
        if !self.passes(
            "Does the client allow reuse without validation?",
            refused.as_ref(),
            "RFC 9111 §5.2.1.4",
        ) {
            return;
        }
        let refused = client_refuses(&request, &freshness);
        if !self.passes("Is it young enough for the client?", refused.as_ref(), "RFC 9111 §5.2.1") {
            if matches!(refused, Some(Because::RequestMaxAge { .. })) && response.immutable {
                let immutable = is_immutable(presented, &response) && freshness.is_fresh();
                let answer = if immutable { "yes" } else { "no: only over https, and while it is fresh" };
                self.step("Is it immutable?", answer, "RFC 8246 §2");
            }
            return;
        }
        let refused = (!freshness.is_fresh()).then_some(Because::Stale(freshness));
        if self.passes("Is it fresh?", refused.as_ref(), "RFC 9111 §4.2") {
            return;
        }
        let refused = response.forbids_stale().map(Because::StaleForbidden);
        if !self.passes("Does it allow being served stale?", refused.as_ref(), "RFC 9111 §4.2.4") {
            return;
        }
        match request.max_stale {
            Some(max_stale) => {
                let refused = accepted(max_stale, freshness).err();
                self.passes("Does the client accept it stale?", refused.as_ref(), "RFC 9111 §5.2.1.2");
            }
            None => {
                let window = while_revalidating(&response, freshness);
                let answer = window.map_or_else(|| "no".to_owned(), |window| format!("yes: {window}"));
                self.step("May it be served while it is validated?", answer, "RFC 5861 §3");
            }
        }
    }

    /// What goes to the origin because of the decision, and what if that fails.
    fn origin(
        &mut self,
        presented: &Presented<'_>,
        stored: &[&StoredResponse],
        decision: &Decision,
        situation: &Situation,
    ) {
        "origin".clone_into(&mut self.section);
        match decision {
            Decision::Reuse { because, .. } if !because.asks_for_refresh() => return,
            Decision::GatewayTimeout(because) => {
                self.step("May the origin be asked?", format!("no: {because}"), because.section());
                return;
            }
            Decision::Validate { .. } | Decision::Reuse { .. } => {
                let sent = conditional_request(presented, stored);
                let conditions: Vec<_> = [IF_NONE_MATCH, IF_MODIFIED_SINCE]
                    .iter()
                    .filter_map(|name| Some((name, fields::first(&sent, name)?)))
                    .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)))
                    .collect();
                let conditions =
                    if conditions.is_empty() { "none".to_owned() } else { conditions.join(", ") };
                self.step("Which conditions are sent?", conditions, "RFC 9111 §4.3.1");
            }
            Decision::Forward(_) => {
                self.step("Which conditions are sent?", "the client's own", "RFC 9111 §4.3.2");
            }
        }
        let refused = request_forbids(presented);
        let question = "Does the request allow its response to be stored?";
        self.passes(question, refused.as_ref(), "RFC 9111 §3");
        self.failures(presented, stored, situation);
    }

    fn failures(&mut self, presented: &Presented<'_>, stored: &[&StoredResponse], situation: &Situation) {
        let Ok((_, chosen)) = choose(presented, stored) else { return };
        for (question, failure) in [
            ("May it be served if the origin cannot be reached?", Failure::Unreachable),
            ("May it be served if the origin answers 503?", Failure::Status(StatusCode::SERVICE_UNAVAILABLE)),
        ] {
            match may_serve_stale(presented, chosen, failure, situation) {
                Ok(because) => self.step(question, format!("yes: {because}"), because.section()),
                Err(because) => self.step(question, format!("no: {because}"), because.section()),
            }
        }
    }
}

/// The directives that are set, as they are written.
fn named(directives: &CacheControl) -> String {
    let seconds = [
        ("max-age", directives.max_age),
        ("s-maxage", directives.s_maxage),
        ("min-fresh", directives.min_fresh),
        ("stale-while-revalidate", directives.stale_while_revalidate),
        ("stale-if-error", directives.stale_if_error),
    ];
    let flags = [
        ("no-store", directives.no_store),
        ("no-cache", directives.no_cache),
        ("private", directives.private),
        ("public", directives.public),
        ("must-revalidate", directives.must_revalidate),
        ("proxy-revalidate", directives.proxy_revalidate),
        ("must-understand", directives.must_understand),
        ("no-transform", directives.no_transform),
        ("only-if-cached", directives.only_if_cached),
        ("immutable", directives.immutable),
        ("no-cache or private for some fields", directives.qualified),
    ];
    let max_stale = directives.max_stale.map(|max_stale| match max_stale {
        MaxStale::Any => "max-stale".to_owned(),
        MaxStale::UpTo(limit) => format!("max-stale={}", limit.as_secs()),
    });
    let seconds =
        seconds.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?.as_secs())));
    let flags = flags.into_iter().filter(|(_, set)| *set).map(|(name, _)| name.to_owned());
    seconds.chain(max_stale).chain(flags).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{request, situation, stored_for};

    const QUESTIONS: [(&str, &str); 9] = [
        ("Does a stored response answer the method?", "method"),
        ("Is the request without content?", "content"),
        ("Does a stored response suit it?", "suit"),
        ("Does it allow reuse without validation?", "allowed"),
        ("Does the client allow reuse without validation?", "asked"),
        ("Is it young enough for the client?", "young"),
        ("Is it immutable?", "immutable"),
        ("Is it fresh?", "fresh"),
        ("Does it allow being served stale?", "forbidden"),
    ];

    /// What the steps about reuse come to: whether a stored response is reused as it is.
    fn reuses(steps: &[Step]) -> bool {
        steps.iter().rfind(|step| step.section == "reuse").is_some_and(|step| step.answer.starts_with("yes"))
    }

    #[track_caller]
    fn check(request_fields: &str, response: &str, now: u64, question: &str, answer: &str) {
        let question =
            QUESTIONS.iter().find(|(_, short)| *short == question).map_or(question, |(long, _)| long);
        let (request, stored) = (request("GET", request_fields), stored_for("", 200, response));
        let explained = explain(&request.presented(), &[&stored], &situation(now));
        let found = explained.steps.iter().rfind(|step| step.question == question);
        assert_eq!(found.map(|step| step.answer.as_str()), Some(answer), "{explained:#?}");
    }

    #[test]
    fn each_question_has_its_answer() {
        let lasting = "cache-control: max-age=60, stale-if-error=5\netag: \"1\"";
        check("", lasting, 12, "fresh", "yes");
        check("", lasting, 12, "How old is it?", "12 s old and fresh for 60 s by max-age: 48 s left");
        check("", lasting, 12, "Can it be validated?", "etag: \"1\"");
        check("", lasting, 12, "What is the cache key?", "http://example.com/a");
        check(
            "",
            lasting,
            70,
            "How old is it?",
            "70 s old and was fresh for 60 s by max-age: stale for 10 s",
        );
        check("", lasting, 70, "Which conditions are sent?", "if-none-match: \"1\"");
        check(
            "cache-control: no-cache",
            lasting,
            0,
            "asked",
            "no: The client asked for validation (no-cache).",
        );
        check("", "vary: foo", 0, "Does it suit the fields of the request?", "yes");
        check("foo: 1", "vary: foo", 0, "Does it suit the fields of the request?", "no: it differs in foo");
        check(
            "cache-control: max-age=5",
            lasting,
            0,
            "Which directives does it have?",
            "max-age=60, stale-if-error=5",
        );
        check(
            "cache-control: only-if-cached",
            lasting,
            70,
            "May the origin be asked?",
            "no: The client wants a stored response only (only-if-cached). The stored response is 70 s old and was \
             fresh for 60 s by max-age.",
        );
    }

    proptest! {
        #[test]
        fn the_steps_come_to_what_decide_says(
            method in "GET|HEAD|POST",
            asked in prop::collection::vec("no-cache|max-age=[0-9]{1,2}|min-fresh=[0-9]|max-stale|max-stale=[0-9]|only-if-cached", 0..3),
            answered in prop::collection::vec(
                "max-age=[0-9]{1,2}|no-cache|private|immutable|must-revalidate|s-maxage=[0-9]|stale-while-revalidate=[0-9]{1,2}|no-store",
                0..4,
            ),
            nominated in "|vary: foo|vary: \\*", presented_foo in "|foo: 1|content-length: 1", now in 0u64..120, https: bool,
        ) {
            let stored = stored_for("", 200, &format!("cache-control: {}\netag: \"1\"\n{nominated}", answered.join(", ")));
            let request = request(&method, &format!("cache-control: {}\n{presented_foo}", asked.join(", ")));
            let secure = http::Uri::from_static("https://example.com/a");
            let mut presented = request.presented();
            if https {
                presented.target = &secure;
            }
            let explained = explain(&presented, &[&stored], &situation(now));
            prop_assert_eq!(reuses(&explained.steps), matches!(explained.decision, Decision::Reuse { .. }), "{:#?}", explained);
            prop_assert_eq!(explained.decision, decide(&presented, &[&stored], &situation(now)));
        }
    }
}
