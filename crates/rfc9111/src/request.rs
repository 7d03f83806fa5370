//! The request presented to the cache, and the situation a decision is made in.
//!
//! Owns the two inputs that every decision shares besides what is stored, and which kinds of fields a request has: nearly
//! every question about one is answered by that. What a field says is for its module to read. No clock is read: the caller
//! says what time it is. The words are those of RFC 9111 §1.1 and §4 ("presented").

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, Method, Uri};

use crate::directives::CacheControl;
use crate::rules::TargetRules;
use crate::unkeyed;

/// A request presented to the cache (RFC 9111 §4).
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// The request method.
    pub method: &'a Method,
    /// The target URI (RFC 9110 §7.1), in absolute form.
    pub target: &'a Uri,
    /// The header fields as the client sent them.
    pub headers: &'a HeaderMap,
    /// The [`Kind`]s of fields among them, a bit each.
    pub(crate) kinds: u8,
}

/// The kinds of request fields that the cache has questions about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// What directs the cache: Cache-Control, Pragma.
    Directive = 1,
    /// What announces content.
    Content = 2,
    /// What may replace the target (see `unkeyed`).
    Overriding = 4,
    /// Preconditions (RFC 9110 §13.1) without If-Range.
    Condition = 8,
    /// Range.
    Range = 16,
}

impl Kind {
    fn of(name: &HeaderName) -> Option<Self> {
        match name.as_str() {
            "cache-control" | "pragma" => Some(Self::Directive),
            "content-length" | "transfer-encoding" => Some(Self::Content),
            "forwarded" | "front-end-https" => Some(Self::Overriding),
            "if-match" | "if-none-match" | "if-modified-since" | "if-unmodified-since" => {
                Some(Self::Condition)
            }
            "range" => Some(Self::Range),
            name if name.starts_with("x-") => Some(Self::Overriding),
            _ => None,
        }
    }
}

impl<'a> Presented<'a> {
    /// A request with this method, this target URI in absolute form, and these header fields. It looks at the name of
    /// each field, once.
    pub fn new(method: &'a Method, target: &'a Uri, headers: &'a HeaderMap) -> Self {
        let kinds = headers.keys().filter_map(Kind::of).fold(0, |kinds, kind| kinds | kind as u8);
        Self { method, target, headers, kinds }
    }

    /// Whether there is a field of this kind. Where there is none, no look-up by name is needed.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.kinds & kind as u8 != 0
    }

    /// Its directives.
    pub(crate) fn directives(&self) -> CacheControl {
        if self.has(Kind::Directive) {
            CacheControl::of_request(self.headers)
        } else {
            CacheControl::default()
        }
    }

    /// Whether it announces content.
    pub(crate) fn has_content(&self) -> bool {
        self.has(Kind::Content) && unkeyed::has_content(self.headers)
    }

    /// The first field that may replace its host, scheme, path or method.
    pub(crate) fn overriding(&self) -> Option<&'a HeaderName> {
        if self.has(Kind::Overriding) { unkeyed::overriding(self.headers) } else { None }
    }
}

/// What a decision depends on besides the messages: the time, and what the operator decided.
#[derive(Clone, Debug)]
pub struct Situation {
    /// The wall clock at the moment of the decision.
    pub now: SystemTime,
    /// What the operator decided where RFC 9111 leaves a choice.
    pub policy: Policy,
}

/// What the operator decides where RFC 9111 leaves a choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Heuristic freshness as a percentage of the time since Last-Modified (§4.2.2 suggests 10).
    pub heuristic_percent: u32,
    /// The longest lifetime a heuristic may give.
    pub heuristic_cap: Duration,
    /// The target list (RFC 9213 §2.2): response fields that replace Cache-Control and Expires, the most applicable
    /// first.
    pub targeted: Arc<[HeaderName]>,
    /// The operator's rules for the target of the request; none by default.
    pub rules: TargetRules,
}

impl Situation {
    /// The same, if the operator had no rules.
    pub(crate) fn without_rules(&self) -> Self {
        Self { now: self.now, policy: Policy { rules: TargetRules::default(), ..self.policy.clone() } }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            heuristic_percent: 10,
            heuristic_cap: Duration::from_hours(7 * 24),
            targeted: Arc::default(),
            rules: TargetRules::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::request;

    #[track_caller]
    fn check(fields: &str, kind: Kind) {
        let kinds = request("GET", fields).presented().kinds;
        assert_eq!(kinds, kind as u8, "{fields}");
    }

    #[test]
    fn every_field_that_is_asked_about_is_of_its_kind() {
        for name in ["cache-control", "pragma"] {
            check(&format!("{name}: a"), Kind::Directive);
        }
        for name in ["content-length", "transfer-encoding"] {
            check(&format!("accept: a\n{name}: a"), Kind::Content);
        }
        for name in unkeyed::OVERRIDING.iter().chain([&http::header::FORWARDED]) {
            check(&format!("{name}: a\nvia: a"), Kind::Overriding);
        }
        for name in ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"] {
            check(&format!("{name}: a"), Kind::Condition);
        }
        check("range: a\nif-range: a", Kind::Range);
    }

    #[test]
    fn most_fields_are_of_no_kind() {
        let request =
            request("GET", "host: a\nuser-agent: a\naccept: a\ncookie: a\nauthorization: a\ndnt: 1");
        assert_eq!(request.presented().kinds, 0);
    }
}
