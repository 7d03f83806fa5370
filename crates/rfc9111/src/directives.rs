//! Cache-Control and Pragma: the directives of a message, read once (RFC 9111 §5.2, §5.4; RFC 5861; RFC 8246).
//!
//! Reading is forgiving where the RFC says so and errs towards less caching elsewhere. Of a repeated directive the
//! first one counts; a lifetime that cannot be read is none at all (zero); an allowance that cannot be read is not
//! given. What a directive leads to is decided by `storing`, `freshness`, `reuse` and `stale`.

use std::time::Duration;

use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, HeaderMap, HeaderName, PRAGMA, VARY};

use crate::fields::{self, Escapes};

/// The length of `stale-while-revalidate`; a longer name is none of ours.
const LONGEST_NAME: usize = 22;

/// The Cache-Control directives of one message. Directives of requests and of responses share the type, as several
/// have one name and one reading.
///
/// ```
/// use std::time::Duration;
/// use http::HeaderMap;
/// use rfc9111::CacheControl;
///
/// let mut headers = HeaderMap::new();
/// headers.insert("cache-control", "Max-Age=\"60\", public, max-age=5".parse().unwrap());
/// let directives = CacheControl::of(&headers);
/// assert!(directives.public);
/// assert_eq!(directives.max_age, Some(Duration::from_secs(60)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheControl {
    /// `max-age` (§5.2.1.1, §5.2.2.1); zero where its argument cannot be read.
    pub max_age: Option<Duration>,
    /// `s-maxage` (§5.2.2.10); zero where its argument cannot be read.
    pub s_maxage: Option<Duration>,
    /// `max-stale` (§5.2.1.2).
    pub max_stale: Option<MaxStale>,
    /// `min-fresh` (§5.2.1.3).
    pub min_fresh: Option<Duration>,
    /// `stale-while-revalidate` (RFC 5861 §3).
    pub stale_while_revalidate: Option<Duration>,
    /// `stale-if-error` (RFC 5861 §4), in a response or a request.
    pub stale_if_error: Option<Duration>,
    /// `no-store` (§5.2.1.5, §5.2.2.5).
    pub no_store: bool,
    /// `no-cache` (§5.2.1.4, §5.2.2.4) without a list of field names; also `Pragma: no-cache` of a request.
    pub no_cache: bool,
    /// `private` (§5.2.2.7) without a list of field names.
    pub private: bool,
    /// `no-cache` or `private` with a list of field names: they are left out of what is stored.
    pub qualified: bool,
    /// `public` (§5.2.2.9).
    pub public: bool,
    /// `must-revalidate` (§5.2.2.2).
    pub must_revalidate: bool,
    /// `proxy-revalidate` (§5.2.2.8).
    pub proxy_revalidate: bool,
    /// `must-understand` (§5.2.2.3).
    pub must_understand: bool,
    /// `no-transform` (§5.2.1.6, §5.2.2.6).
    pub no_transform: bool,
    /// `only-if-cached` (§5.2.1.7).
    pub only_if_cached: bool,
    /// `immutable` (RFC 8246).
    pub immutable: bool,
    /// Whether these are from a targeted field (RFC 9213), which stands in place of Expires too.
    pub targeted: bool,
}

/// How stale a response the client accepts (§5.2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxStale {
    /// "If no value is assigned to max-stale, then the client will accept a stale response of any age."
    Any,
    /// Not staler than this.
    UpTo(Duration),
}

impl MaxStale {
    /// Whether a response this much past its freshness lifetime is accepted.
    pub fn accepts(self, staleness: Duration) -> bool {
        match self {
            Self::Any => true,
            Self::UpTo(limit) => staleness <= limit,
        }
    }
}

impl CacheControl {
    /// The directives of a response, or of a request without its Pragma.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for member in fields::members(headers, &CACHE_CONTROL) {
            let (name, argument) = name_and_argument(member);
            directives.add(name, argument);
        }
        directives
    }

    /// The directives of a request.
    pub fn of_request(headers: &HeaderMap) -> Self {
        if headers.contains_key(CACHE_CONTROL) {
            return Self::of(headers);
        }
        // RFC 7234 §5.4: "When the Cache-Control header field is not present in a request, caches MUST consider the
        // no-cache request pragma-directive as having the same effect as if "Cache-Control: no-cache" were present".
        // RFC 9111 §5.4 deprecates the field; clients of that time still send it.
        let no_cache =
            fields::members(headers, &PRAGMA).any(|member| member.eq_ignore_ascii_case(b"no-cache"));
        Self { no_cache, ..Self::default() }
    }

    /// The fields that a response's `no-cache` or `private` list (§3.1: they "can have arguments that prevent storage of
    /// header fields"), as they are written.
    pub(crate) fn listed_fields(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
        fields::members(headers, &CACHE_CONTROL)
            .map(name_and_argument)
            .filter(|(directive, _)| is(directive, "no-cache") || is(directive, "private"))
            .filter_map(|(_, argument)| argument.filter(|argument| lists_fields(argument)))
            .filter_map(fields::quoted)
            .flat_map(|list| fields::split(list, Escapes::Backslash))
    }

    /// The response directive that forbids serving it once it is stale.
    ///
    /// §4.2.4: "A cache MUST NOT generate a stale response if it is prohibited by an explicit in-protocol directive
    /// (e.g., by a no-cache response directive, a must-revalidate response directive, or an applicable s-maxage or
    /// proxy-revalidate response directive; see Section 5.2.2)."
    pub fn forbids_stale(&self) -> Option<&'static str> {
        if self.must_revalidate {
            Some("must-revalidate")
        } else if self.proxy_revalidate {
            Some("proxy-revalidate")
        } else if self.s_maxage.is_some() {
            // §5.2.2.10: "The s-maxage directive incorporates the semantics of the proxy-revalidate response directive".
            Some("s-maxage")
        } else {
            None
        }
    }

    pub(crate) fn add(&mut self, name: &[u8], argument: Option<&[u8]>) {
        // "Cache directives are identified by a token, to be compared case-insensitively" (§5.2).
        let mut lower = [0; LONGEST_NAME];
        let Some(lower) = lower.get_mut(..name.len()) else { return };
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        let name: &[u8] = lower;
        let seconds = || argument.and_then(seconds);
        // §4.2.1: "Caches are encouraged to consider responses that have invalid freshness information (e.g., a
        // max-age directive with non-integer content) to be stale."
        let lifetime = || seconds().or(Some(Duration::ZERO));
        let lists_fields = || argument.is_some_and(lists_fields);
        match name {
            // §4.2.1: "When there is more than one value present for a given directive […] either the first occurrence
            // should be used or the response should be considered stale."
            b"max-age" => self.max_age = self.max_age.or_else(lifetime),
            b"s-maxage" => self.s_maxage = self.s_maxage.or_else(lifetime),
            b"no-store" => self.no_store = true,
            b"no-cache" if lists_fields() => self.qualified = true,
            b"no-cache" => self.no_cache = true,
            b"private" if lists_fields() => self.qualified = true,
            b"private" => self.private = true,
            b"public" => self.public = true,
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"must-understand" => self.must_understand = true,
            b"no-transform" => self.no_transform = true,
            b"only-if-cached" => self.only_if_cached = true,
            b"immutable" => self.immutable = true,
            b"min-fresh" => self.min_fresh = self.min_fresh.or_else(seconds),
            b"max-stale" => self.max_stale = self.max_stale.or_else(|| max_stale(argument)),
            b"stale-if-error" => self.stale_if_error = self.stale_if_error.or_else(seconds),
            b"stale-while-revalidate" => {
                self.stale_while_revalidate = self.stale_while_revalidate.or_else(seconds);
            }
            // §5.2.3: "A cache MUST ignore unrecognized cache directives."
            _ => {}
        }
    }
}

fn is(name: &[u8], directive: &str) -> bool {
    name.eq_ignore_ascii_case(directive.as_bytes())
}

/// A directive's name and argument. White space around the `=` is not part of the grammar: before it, it is taken for
/// part of nothing, so that `no-store =1` still counts; after it, it spoils a number.
fn name_and_argument(member: &[u8]) -> (&[u8], Option<&[u8]>) {
    match member.iter().position(|byte| *byte == b'=') {
        Some(at) => (fields::trim(&member[..at]), Some(&member[at + 1..])),
        None => (member, None),
    }
}

/// §5.2: "For the directives defined below that define arguments, recipients ought to accept both forms": token and quoted
/// string.
fn seconds(argument: &[u8]) -> Option<Duration> {
    let digits = fields::quoted(argument).unwrap_or(argument);
    fields::delta_seconds(digits).map(|seconds| Duration::from_secs(u64::from(seconds)))
}

fn max_stale(argument: Option<&[u8]>) -> Option<MaxStale> {
    match argument {
        None => Some(MaxStale::Any),
        Some(argument) => seconds(argument).map(MaxStale::UpTo),
    }
}

/// Whether an argument of `no-cache` or `private` is a list of field names that may be left out of what is stored. A
/// list that is none, or that names a field the cache itself depends on, makes the directive an unqualified one, which
/// asks for more.
fn lists_fields(argument: &[u8]) -> bool {
    let Some(list) = fields::quoted(argument) else { return false };
    let mut names = fields::split(list, Escapes::Backslash).peekable();
    names.peek().is_some()
        && names.all(|name| {
            HeaderName::from_bytes(name)
                .is_ok_and(|name| ![AGE, CACHE_CONTROL, DATE, EXPIRES, VARY].contains(&name))
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::headers;

    fn directives(value: &str) -> CacheControl {
        CacheControl::of(&headers(&format!("cache-control: {value}")))
    }

    fn names_field(headers: &HeaderMap, name: &str) -> bool {
        CacheControl::listed_fields(headers).any(|listed| listed.eq_ignore_ascii_case(name.as_bytes()))
    }

    #[track_caller]
    fn check_max_age(value: &str, seconds: impl Into<Option<u64>>) {
        assert_eq!(directives(value).max_age, seconds.into().map(Duration::from_secs), "{value}");
    }

    #[test]
    fn max_age_is_read_as_5_2_says() {
        check_max_age("max-age=60", 60);
        check_max_age("MAX-AGE=60", 60);
        check_max_age("max-age=\"60\"", 60);
        check_max_age("max-age=0060", 60);
        check_max_age("public,max-age=60,", 60);
        check_max_age("max-age=4294967296", 1 << 31);
        check_max_age("max-agex=60", None);
        check_max_age("x-max-age=60", None);
    }

    #[test]
    fn max_age_inside_a_quoted_string_is_no_directive_5_2() {
        check_max_age("extension=\"max-age=3600\", max-age=1", 1);
        check_max_age("max-age=1, extension=\"max-age=3600\"", 1);
        check_max_age("extension=\"\\\"max-age=3600\"", None);
    }

    #[test]
    fn a_lifetime_that_cannot_be_read_is_zero_4_2_1() {
        for broken in ["", "=", "=-1", "=1.0", "='60'", "=a60", "=60a", "= 60", "=\"60", "=\"\""] {
            check_max_age(&format!("max-age{broken}"), 0);
            assert_eq!(directives(&format!("s-maxage{broken}")).s_maxage, Some(Duration::ZERO), "{broken}");
        }
    }

    #[test]
    fn the_first_of_several_counts_4_2_1() {
        check_max_age("max-age=1, max-age=1800", 1);
        check_max_age("max-age=1800, max-age=1", 1800);
        check_max_age("max-age=a, max-age=1800", 0);
        let lines = headers("cache-control: max-age=1\ncache-control: max-age=1800");
        assert_eq!(CacheControl::of(&lines).max_age, Some(Duration::from_secs(1)));
    }

    #[test]
    fn an_allowance_that_cannot_be_read_is_not_given() {
        let broken = directives("stale-if-error=x, stale-while-revalidate, max-stale=x, min-fresh=x");
        assert_eq!(broken, CacheControl::default());
        assert_eq!(directives("max-stale").max_stale, Some(MaxStale::Any));
        assert_eq!(directives("max-stale=5").max_stale, Some(MaxStale::UpTo(Duration::from_secs(5))));
    }

    #[test]
    fn restrictive_directives_count_in_any_dress() {
        for value in
            ["No-Store", "a, no-store", "no-store=1", "no-store =1", "a=\"b, no-store", "max-age=1,no-store"]
        {
            assert!(directives(value).no_store, "{value}");
        }
    }

    #[test]
    fn immutable_ignores_its_argument_rfc8246_2() {
        assert!(directives("immutable=1").immutable && directives("immutable=\"x\"").immutable);
    }

    #[test]
    fn a_list_of_field_names_qualifies_5_2_2_4() {
        let qualified = directives("no-cache=\"Set-Cookie, foo\", private=\"bar\"");
        assert!(qualified.qualified && !qualified.no_cache && !qualified.private);
        let response = headers("cache-control: no-cache=\"Set-Cookie, foo\", private=\"bar\"");
        for (name, named) in [("set-cookie", true), ("foo", true), ("bar", true), ("baz", false)] {
            assert_eq!(names_field(&response, name), named, "{name}");
        }
        let mixed = headers("cache-control: no-cache=\"cache-control, foo\", private=\"bar\"");
        assert!(!names_field(&mixed, "cache-control"));
    }

    #[test]
    fn any_other_argument_does_not_qualify() {
        for value in [
            "no-cache",
            "no-cache=foo",
            "no-cache=\"\"",
            "no-cache=\"a b\"",
            "no-cache=\"vary\"",
            "no-cache=\"a",
        ] {
            assert!(directives(value).no_cache, "{value}");
        }
        for value in ["private", "private=1", "private=\"cache-control\"", "private=\"x\", private"] {
            assert!(directives(value).private, "{value}");
        }
    }

    #[test]
    fn pragma_counts_only_without_cache_control_5_4() {
        for (text, no_cache) in [
            ("pragma: no-cache", true),
            ("pragma: foo, No-Cache", true),
            ("pragma: foo", false),
            ("pragma: no-cache\ncache-control: max-age=1", false),
        ] {
            assert_eq!(CacheControl::of_request(&headers(text)).no_cache, no_cache, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(value in "[ -~\t\u{80}-\u{ff}]{0,64}") {
            let mut headers = HeaderMap::new();
            if let Ok(value) = http::HeaderValue::from_bytes(value.as_bytes()) {
                headers.append(CACHE_CONTROL, value);
            }
            CacheControl::of_request(&headers);
            names_field(&headers, "age");
        }

        #[test]
        fn no_store_is_never_overlooked(before in "[a-z=\", \\\\]{0,16}", after in "[a-z=, \\\\]{0,16}") {
            // No quote after it: inside a closed quoted string it would not be a directive.
            let value = format!("{before},no-store,{after}");
            prop_assert!(directives(&value).no_store, "{}", value);
        }
    }
}
