//! Which stored responses an operator means: a URL, a beginning of URLs, or whatever passes some filters. Pure.
//!
//! Owns the filters as they travel to a running proxy, and what each lets pass. It does not fetch anything from the
//! store: keys are tested first, because that costs little, then what was found under them.

use std::time::{Duration, SystemTime};

use bentpipe_store::Listed;
use rfc9111::{CacheKey, Rules, Situation};
use serde::{Deserialize, Serialize};

pub(crate) const NO_URL: &str = "expected a URL such as http://example.org/page";

/// What an operator means, as it was said. All that is given must hold.
// A filter that this bentpipe does not know must not be taken for none: it would purge too much.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Selection {
    /// One URL, or with a star at its end all that begin so.
    pub(crate) url: Option<String>,
    /// The beginning of URLs.
    pub(crate) prefix: Option<String>,
    /// The host of the URL, with `*` and `?`; with its port where there is a colon.
    pub(crate) host: Option<String>,
    /// The media type, with `*` and `?`.
    pub(crate) media_type: Option<String>,
    /// What the operator's rule of this name matches.
    pub(crate) tag: Option<String>,
    /// Seconds since the response was received or last validated.
    pub(crate) older_than: Option<u64>,
    pub(crate) newer_than: Option<u64>,
    /// Bytes of the body that are held.
    pub(crate) larger_than: Option<u64>,
    pub(crate) smaller_than: Option<u64>,
    /// Only what is held in part.
    pub(crate) partial: bool,
    /// Only what is pinned.
    pub(crate) pinned: bool,
    /// Only what is not fresh.
    pub(crate) stale: bool,
    /// Everything that passes the rest.
    pub(crate) all: bool,
}

/// What an operator's rule matches: the key and the media type of a stored response.
pub(crate) type Tagged<'a> = Box<dyn Fn(&CacheKey, Option<&str>) -> bool + 'a>;

/// A selection that makes sense.
pub(crate) struct Chosen<'a> {
    said: &'a Selection,
    key: Keys,
    tagged: Option<Tagged<'a>>,
}

enum Keys {
    Any,
    One(CacheKey),
    Beginning(String),
}

impl Selection {
    /// Reads what was said. `tags` tells what the rule of a name matches.
    ///
    /// # Errors
    /// A URL that is none, or a rule that there is not, in a sentence.
    pub(crate) fn chosen<'a>(
        &'a self,
        tags: impl Fn(&str) -> Option<Tagged<'a>>,
    ) -> Result<Chosen<'a>, String> {
        let beginning =
            |prefix: &str| key_prefix(prefix).map(Keys::Beginning).ok_or_else(|| NO_URL.to_owned());
        let key = match (&self.url, &self.prefix) {
            (Some(_), Some(_)) => return Err("expected a URL or the beginning of some, not both".to_owned()),
            (Some(url), None) => match url.strip_suffix('*') {
                Some(prefix) => beginning(prefix)?,
                None => Keys::One(CacheKey::parse(url).ok_or(NO_URL)?),
            },
            (None, Some(prefix)) => beginning(prefix)?,
            (None, None) => Keys::Any,
        };
        let rule = |name: &String| tags(name).ok_or_else(|| format!("there is no rule named {name:?}"));
        let tagged = self.tag.as_ref().map(rule).transpose()?;
        Ok(Chosen { said: self, key, tagged })
    }

    /// Whether anything was said at all.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Chosen<'_> {
    /// What stands for a URL where `rules` ignore parameters of its query is meant by it.
    pub(crate) fn normalise(&mut self, rules: &Rules) {
        if let Keys::One(key) = &mut self.key {
            *key = rules.normalise(key.clone());
        }
    }

    /// Whether one URL was named, letter by letter.
    pub(crate) fn is_exact(&self) -> bool {
        matches!(self.key, Keys::One(_))
    }

    /// The one key that is meant, if it is one.
    pub(crate) fn only_key(&self) -> Option<&CacheKey> {
        match &self.key {
            Keys::One(key) => Some(key),
            Keys::Any | Keys::Beginning(_) => None,
        }
    }

    /// Whether something stored under `key` may be meant.
    pub(crate) fn passes_key(&self, key: &str) -> bool {
        let named = match &self.key {
            Keys::Any => true,
            Keys::One(one) => one.as_str() == key,
            Keys::Beginning(prefix) => key.starts_with(prefix),
        };
        named && self.said.host.as_ref().is_none_or(|pattern| glob(pattern, host(key, pattern.contains(':'))))
    }

    /// Whether a stored response whose key passes is meant.
    pub(crate) fn passes(&self, listed: &Listed, situation: &Situation) -> bool {
        let said = self.said;
        let (stored, held) = (&listed.stored, listed.stored.arrived());
        let age = || age(stored.head().response_time, situation.now).as_secs();
        (!said.pinned || listed.is_pinned)
            && said.larger_than.is_none_or(|bytes| held > bytes)
            && said.smaller_than.is_none_or(|bytes| held < bytes)
            && said.older_than.is_none_or(|seconds| age() > seconds)
            && said.newer_than.is_none_or(|seconds| age() < seconds)
            && (!said.partial || stored.is_partial())
            && said.media_type.as_ref().is_none_or(|pattern| is_type(pattern, listed.media_type()))
            && (!said.stale || !rfc9111::freshness(stored.head(), situation).is_fresh())
            && self.tagged.as_ref().is_none_or(|matches| matches(stored.key(), listed.media_type()))
    }
}

/// How long ago `then` was.
pub(crate) fn age(then: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(then).unwrap_or_default()
}

/// The host of a cache key, with or without its port.
pub(crate) fn host(key: &str, with_port: bool) -> &str {
    let authority = key.split_once("://").map_or(key, |(_, rest)| rest);
    let authority = authority.split(['/', '?']).next().unwrap_or(authority);
    match authority.rsplit_once(':') {
        Some((host, port)) if !with_port && !port.ends_with(']') => host,
        _ => authority,
    }
}

/// The media type of a Content-Type without its parameters.
pub(crate) fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

fn is_type(pattern: &str, media_type: Option<&str>) -> bool {
    media_type.is_some_and(|media_type| glob(pattern, essence(media_type)))
}

/// Whether `text` is what `pattern` says: `*` stands for any characters, `?` for one; the case of letters does not
/// count. Takes no longer than the product of their lengths.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on when the star that was met last takes one more character.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(wanted) if *wanted == b'?' || wanted.eq_ignore_ascii_case(&text[t]) => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                (p, t) = (at + 1, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// What the keys begin with that are meant by the beginning of a URL. With a path it is a URL itself and has a normal
/// form; a host that may go on has none but its small letters.
fn key_prefix(prefix: &str) -> Option<String> {
    let (scheme, rest) = prefix.split_once("://")?;
    if rest.contains(['/', '?']) {
        return CacheKey::parse(prefix).map(|key| key.as_str().to_owned());
    }
    let scheme = scheme.to_ascii_lowercase();
    ["http", "https"].contains(&scheme.as_str()).then(|| format!("{scheme}://{}", rest.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prefixes_take_the_form_of_keys() {
        let check = |prefix: &str, expected: Option<&str>| {
            assert_eq!(key_prefix(prefix).as_deref(), expected, "{prefix}");
        };
        check("http://example.org/", Some("http://example.org/"));
        check("HTTP://Example.org:80/A", Some("http://example.org/A"));
        check("http://example.org?q=", Some("http://example.org/?q="));
        check("http://Example.o", Some("http://example.o"));
        check("http://", Some("http://"));
        check("ftp://example.org/", None);
        check("example.org", None);
        check("", None);
    }

    #[test]
    fn globs_know_stars_and_question_marks() {
        let check = |pattern: &str, text: &str, expected: bool| {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        };
        check("*.example.org", "www.EXAMPLE.org", true);
        check("*.example.org", "example.org", false);
        check("image/*", "image/png", true);
        check("image/*", "text/html", false);
        check("a?c", "abc", true);
        check("a?c", "ac", false);
        check("*a*b", "xaxxb", true);
        check("*a*b", "xaxxbx", false);
        check("", "", true);
        check("*", "", true);
        check("", "a", false);
    }

    #[test]
    fn hosts_are_tested_with_their_port_where_one_is_named() {
        let check = |selection: Selection, key: &str, expected: bool| {
            let chosen = selection.chosen(|_| None).unwrap();
            assert_eq!(chosen.passes_key(key), expected, "{selection:?} {key}");
        };
        let on = |host: &str| Selection { host: Some(host.to_owned()), ..Selection::default() };
        check(on("example.org"), "http://example.org:8080/a", true);
        check(on("example.org:8080"), "http://example.org:8080/a", true);
        check(on("example.org:80??"), "http://example.org/a:8080", false);
        check(on("*.org"), "http://example.com/a.org", false);
        check(on("example.org"), "http://example.org?a", true);
        check(on("[::1]:*"), "http://[::1]:80/", true);
        let of = |url: &str| Selection { url: Some(url.to_owned()), ..Selection::default() };
        check(of("http://a/b"), "http://a/b", true);
        check(of("http://a/b"), "http://a/bc", false);
        check(of("http://a/b*"), "http://a/bc", true);
        check(Selection::default(), "http://a/", true);
        assert_eq!(host("http://[::1]/", false), "[::1]");
    }

    #[test]
    fn what_makes_no_sense_is_said_to() {
        let check = |selection: Selection, expected: &str| {
            assert_eq!(selection.chosen(|_| None).err().as_deref(), Some(expected));
        };
        check(Selection { url: Some("a".into()), ..Selection::default() }, NO_URL);
        check(Selection { prefix: Some("a".into()), ..Selection::default() }, NO_URL);
        check(
            Selection { tag: Some("apt".into()), ..Selection::default() },
            "there is no rule named \"apt\"",
        );
        assert!(serde_json::from_str::<Selection>(r#"{"hots": "a"}"#).is_err(), "a filter that is not known");
    }

    proptest! {
        #[test]
        fn any_text_is_its_own_glob_and_one_with_stars(text in "[ -~]{0,20}", at in 0usize..20) {
            prop_assume!(!text.contains(['*', '?']));
            prop_assert!(glob(&text, &text));
            let at = at.min(text.len());
            let starred = format!("{}*{}", &text[..at], &text[at..]);
            prop_assert!(glob(&starred, &text));
            let longer = format!("{text}?");
            prop_assert!(!glob(&longer, &text));
        }

        #[test]
        fn any_texts_are_globbed_without_panic(pattern: String, text: String) {
            glob(&pattern, &text);
            host(&text, false);
        }
    }
}
