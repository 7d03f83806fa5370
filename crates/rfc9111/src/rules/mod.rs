//! The operator's rules: what he decides about some targets and media types in place of their origins.
//!
//! Owns what a rule can say and which rule counts: the first one that matches, and it alone. What a rule does to
//! directives and lifetimes is in `bend`, what it does to the cache key in `query`. How rules are written is the
//! caller's; there are none unless he gives some, and then every decision they change says so ([`Because::ByRule`]).
//!
//! [`Because::ByRule`]: crate::Because::ByRule

mod bend;
mod pattern;
mod query;

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::header::CONTENT_TYPE;

pub(crate) use bend::judged;
pub use pattern::Pattern;
pub use query::IgnoredQuery;

use crate::fields;
use crate::key::CacheKey;
use crate::stored::StoredResponse;

/// What the operator decides about the responses that match. An empty list of patterns matches everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it is called in Cache-Status and in explanations: a token.
    pub name: Arc<str>,
    /// Hosts of the target URI, without ports, brackets and the dot at the end of a name, in any case. They are compared as
    /// texts: that an address has one spelling is seen to by whoever gives the targets and the patterns.
    pub hosts: Vec<Pattern>,
    /// Paths of the target URI, without the query, as they were sent.
    pub paths: Vec<Pattern>,
    /// Media types without parameters, in any case. Such a rule matches no response without a Content-Type.
    pub media_types: Vec<Pattern>,
    /// The least freshness lifetime of a successful response, whatever it says.
    pub min_fresh: Option<Duration>,
    /// The greatest freshness lifetime, whatever the response says. It wins over `min_fresh`.
    pub max_fresh: Option<Duration>,
    /// What a client's reload leads to.
    pub reload: Reload,
    /// Whether responses are stored.
    pub keep: Keep,
    /// Directives of responses that count for nothing.
    pub disregard: Vec<Directive>,
    /// Query parameters that do not tell one target from another. Not for rules with media types: the key is needed
    /// before there is a response.
    pub ignore_query: IgnoredQuery,
}

/// What a client's reload (`no-cache`, `max-age=0`, `Pragma: no-cache`) leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reload {
    /// To a validation with the origin itself: caches on the way are told of the reload.
    #[default]
    AsAsked,
    /// To a plain conditional request, which caches on the way may answer.
    Revalidate,
    /// To nothing while the stored response is fresh.
    Ignore,
}

/// Whether responses are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Where RFC 9111 §3 allows it and a later request could use them.
    #[default]
    AsStated,
    /// Never, and what is stored is not used.
    Never,
    /// Successful ones also where nothing in them asks for it. What forbids it still forbids it.
    Always,
}

/// A directive of a response that a rule may disregard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directive {
    /// `no-store` (§5.2.2.5).
    NoStore,
    /// `private` (§5.2.2.7).
    Private,
    /// `no-cache` (§5.2.2.4).
    NoCache,
    /// `must-revalidate`, `proxy-revalidate`, and what s-maxage implies of them (§5.2.2.2, §5.2.2.8, §5.2.2.10).
    MustRevalidate,
}

impl Rule {
    /// A rule that matches everything and changes nothing.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            hosts: Vec::new(),
            paths: Vec::new(),
            media_types: Vec::new(),
            min_fresh: None,
            max_fresh: None,
            reload: Reload::AsAsked,
            keep: Keep::AsStated,
            disregard: Vec::new(),
            ignore_query: IgnoredQuery::None,
        }
    }

    /// Whether its name is `tag`, or begins so before a `-`.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.name.strip_prefix(tag).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }

    /// Whether it may speak of responses for this target: its media types are another matter.
    pub fn matches_target(&self, target: &Uri) -> bool {
        let host = target.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        // A name with a dot at its end is the same name, said to be complete (RFC 3986 §3.2.2).
        let host = host.strip_suffix('.').unwrap_or(host);
        let path = if target.path().is_empty() { "/" } else { target.path() };
        any(&self.hosts, |pattern| pattern.matches_in_any_case(host.as_bytes()))
            && any(&self.paths, |pattern| pattern.matches(path.as_bytes()))
    }

    /// `content_type` is a Content-Type field's value.
    fn matches_type(&self, content_type: Option<&[u8]>) -> bool {
        let essence = content_type.and_then(|value| value.split(|byte| *byte == b';').next());
        match essence {
            Some(essence) => {
                any(&self.media_types, |pattern| pattern.matches_in_any_case(fields::trim(essence)))
            }
            None => self.media_types.is_empty(),
        }
    }
}

fn any(patterns: &[Pattern], matches: impl Fn(&Pattern) -> bool) -> bool {
    patterns.is_empty() || patterns.iter().any(matches)
}

/// All rules, in the order in which they are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules(Option<Arc<[Arc<Rule>]>>);

impl Rules {
    /// These rules in this order.
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        Self(shared(rules.into_iter().map(Arc::new)))
    }

    /// Those that may speak of responses for this target. Costs nothing where there are none.
    ///
    /// ```
    /// use http::Uri;
    /// use rfc9111::{Pattern, Rule, Rules};
    ///
    /// let rule = Rule { hosts: vec![Pattern::new("*.example.com")], ..Rule::new("example") };
    /// let rules = Rules::new([rule]);
    /// assert!(!rules.for_target(&Uri::from_static("http://www.example.com/a")).is_empty());
    /// assert!(rules.for_target(&Uri::from_static("http://example.com/a")).is_empty());
    /// ```
    pub fn for_target(&self, target: &Uri) -> TargetRules {
        let all = self.0.as_deref().unwrap_or_default();
        TargetRules(shared(all.iter().filter(|rule| rule.matches_target(target)).cloned()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a rule has this tag: it is its name, or the beginning of its name before a `-`, as `apt` is of the rules of
    /// that pack.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.0.as_deref().unwrap_or_default().iter().any(|rule| rule.has_tag(tag))
    }

    /// A key as it is where query parameters are ignored.
    pub fn normalise(&self, key: CacheKey) -> CacheKey {
        if self.0.is_none() {
            return key;
        }
        let target = key.as_str().parse::<Uri>();
        target.ok().and_then(|target| self.for_target(&target).key(&target)).unwrap_or(key)
    }
}

/// The rules that may speak of responses for one target, in order; which one counts depends on the media type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetRules(Option<Arc<[Arc<Rule>]>>);

impl TargetRules {
    /// Whether no rule speaks of this target.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The key of the target these rules were chosen for. `None` where it has none.
    pub fn key(&self, target: &Uri) -> Option<CacheKey> {
        let key = CacheKey::for_target(target)?;
        Some(match self.about(None) {
            Some(rule) => rule.ignore_query.applied_to(key),
            None => key,
        })
    }

    /// The rule that counts for a response with this Content-Type; `None` also before there is a response.
    pub fn about(&self, content_type: Option<&[u8]>) -> Option<&Arc<Rule>> {
        self.0.as_ref()?.iter().find(|rule| rule.matches_type(content_type))
    }

    /// The rule that counts for a stored response.
    pub(crate) fn about_stored(&self, stored: &StoredResponse) -> Option<&Arc<Rule>> {
        if self.is_empty() { None } else { self.about(fields::first(&stored.headers, &CONTENT_TYPE)) }
    }
}

/// Nothing at all for no rules, so that having none costs nothing.
fn shared(rules: impl Iterator<Item = Arc<Rule>>) -> Option<Arc<[Arc<Rule>]>> {
    let mut rules = rules.peekable();
    rules.peek().is_some().then(|| rules.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| Pattern::new(text)).collect()
    }

    #[track_caller]
    fn check(hosts: &[&str], paths: &[&str], target: &str, matches: bool) {
        let rule = Rule { hosts: patterns(hosts), paths: patterns(paths), ..Rule::new("r") };
        let target: Uri = target.parse().expect("a target");
        assert_eq!(rule.matches_target(&target), matches, "{hosts:?} {paths:?} {target}");
    }

    #[test]
    fn hosts_match_in_any_case_and_without_ports() {
        check(&["*.debian.org"], &[], "http://DEB.debian.org:80/a", true);
        check(&["*.debian.org"], &[], "http://deb.debian.org./a", true);
        check(&["*.debian.org"], &[], "http://debian.org/a", false);
        check(&["*.debian.org"], &[], "http://debian.org.example.com/a", false);
        check(&["a.example", "b.example"], &[], "http://b.example/", true);
        check(&["2001:db8::1"], &[], "http://[2001:DB8::1]:8080/a", true);
        check(&[], &[], "http://anything.example/", true);
    }

    #[test]
    fn paths_match_without_the_query_and_in_their_case() {
        check(&[], &["/pool/*.deb"], "http://a.example/pool/x.deb?y=1", true);
        check(&[], &["/pool/*.deb"], "http://a.example/pool/x.DEB", false);
        check(&[], &["/pool/*.deb"], "http://a.example/?/pool/x.deb", false);
        check(&[], &["/"], "http://a.example", true);
        check(&["b.example"], &["/a"], "http://a.example/a", false);
    }

    #[test]
    fn the_first_rule_that_matches_counts_alone() {
        let typed = Rule { media_types: patterns(&["video/*"]), ..Rule::new("video") };
        let rules = Rules::new([typed, Rule::new("all"), Rule::new("never reached")]);
        let rules = rules.for_target(&Uri::from_static("http://a.example/"));
        let name = |content_type: Option<&str>| {
            rules.about(content_type.map(str::as_bytes)).map(|rule| rule.name.to_string())
        };
        assert_eq!(name(Some("Video/MP4; codecs=\"x\"")).as_deref(), Some("video"));
        assert_eq!(name(Some("text/html")).as_deref(), Some("all"));
        assert_eq!(name(None).as_deref(), Some("all"));
    }

    #[test]
    fn no_rules_are_nothing() {
        let rules = Rules::new([]);
        assert_eq!(rules, Rules::default());
        assert!(rules.for_target(&Uri::from_static("http://a.example/")).is_empty());
    }
}
