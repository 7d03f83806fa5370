//! The request presented to the cache, and the situation a decision is made in.
//!
//! Owns the two inputs that every decision shares besides what is stored. Deliberately holds no logic and reads no
//! clock: the caller says what time it is. The words are those of RFC 9111 §1.1 and §4 ("presented").

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, Method, Uri};

use crate::rules::TargetRules;

/// A request presented to the cache (RFC 9111 §4).
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// The request method.
    pub method: &'a Method,
    /// The target URI (RFC 9110 §7.1), in absolute form.
    pub target: &'a Uri,
    /// The header fields as the client sent them.
    pub headers: &'a HeaderMap,
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
