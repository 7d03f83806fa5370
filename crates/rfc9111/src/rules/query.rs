//! Query parameters that do not tell one target from another: what a rule takes out of the cache key.
//!
//! Only the key is changed. The origin is asked for the target as the client wrote it.

use super::pattern::Pattern;
use crate::key::CacheKey;

/// Which query parameters do not count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IgnoredQuery {
    /// All of them count.
    #[default]
    None,
    /// The whole query does not count.
    All,
    /// Those with such names do not count, nor their values.
    Named(Vec<Pattern>),
}

impl IgnoredQuery {
    pub(super) fn applied_to(&self, key: CacheKey) -> CacheKey {
        match self {
            Self::None => key,
            Self::All => key.keeping_parameters(|_| false),
            Self::Named(names) => key.keeping_parameters(|parameter| {
                let name = parameter.split('=').next().unwrap_or_default();
                !names.iter().any(|pattern| pattern.matches(name.as_bytes()))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ignored: &IgnoredQuery, target: &str, key: &str) {
        let found = CacheKey::parse(target).map(|key| ignored.applied_to(key));
        assert_eq!(found.as_ref().map(CacheKey::as_str), Some(key), "{ignored:?} {target}");
    }

    #[test]
    fn named_parameters_go_with_their_values() {
        let utm = IgnoredQuery::Named(vec![Pattern::new("utm_*"), Pattern::new("sid")]);
        check(&utm, "http://a.example/?utm_source=x&page=2&utm_medium", "http://a.example/?page=2");
        check(&utm, "http://a.example/?sid=1", "http://a.example/");
        check(&utm, "http://a.example/?sid2=1&x=utm_a&UTM_a=1", "http://a.example/?sid2=1&x=utm_a&UTM_a=1");
        check(&utm, "http://a.example/?sid=1&a=1?sid=2&b", "http://a.example/?a=1?sid=2&b");
        check(&utm, "http://a.example/?a&&b", "http://a.example/?a&&b");
        check(&utm, "http://a.example/?", "http://a.example/?");
        check(&utm, "http://a.example/sid=1", "http://a.example/sid=1");
    }

    #[test]
    fn the_whole_query_goes() {
        check(&IgnoredQuery::All, "http://a.example/b?c=1&d", "http://a.example/b");
        check(&IgnoredQuery::All, "http://a.example/b?", "http://a.example/b");
        check(&IgnoredQuery::None, "http://a.example/b?c=1&d", "http://a.example/b?c=1&d");
    }
}
