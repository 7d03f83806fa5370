//! Patterns of rules: text in which `*` stands for any characters, also for none and for slashes.
//!
//! Matching allocates nothing, and its time is bounded by the product of the two lengths.

use std::fmt;

/// A text with stars.
///
/// ```
/// use rfc9111::Pattern;
///
/// let pattern = Pattern::new("/pool/*.deb");
/// assert!(pattern.matches(b"/pool/main/h/hello.deb"));
/// assert!(!pattern.matches(b"/pool/main/h/hello.deb.asc"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// The pattern written so. Every text is one.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Whether all of `text` matches.
    pub fn matches(&self, text: &[u8]) -> bool {
        matches_by(self.0.as_bytes(), text, |one, other| one == other)
    }

    /// The same, where the case of ASCII letters does not matter.
    pub fn matches_in_any_case(&self, text: &[u8]) -> bool {
        matches_by(self.0.as_bytes(), text, |one, other| one.eq_ignore_ascii_case(&other))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn matches_by(pattern: &[u8], text: &[u8], same: impl Fn(u8, u8) -> bool) -> bool {
    let (mut in_pattern, mut in_text) = (0, 0);
    // Where the last star stands, and what of the text it has taken up to.
    let mut star: Option<(usize, usize)> = None;
    while let Some(letter) = text.get(in_text) {
        match pattern.get(in_pattern) {
            Some(b'*') => {
                star = Some((in_pattern, in_text));
                in_pattern += 1;
            }
            Some(expected) if same(*expected, *letter) => {
                (in_pattern, in_text) = (in_pattern + 1, in_text + 1);
            }
            _ => {
                // The last star takes one more. An earlier one need not: what is between them was found already.
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                (in_pattern, in_text) = (at + 1, taken + 1);
            }
        }
    }
    pattern.iter().skip(in_pattern).all(|rest| *rest == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(pattern: &str, text: &str, matches: bool) {
        assert_eq!(Pattern::new(pattern).matches(text.as_bytes()), matches, "{pattern} {text}");
    }

    #[test]
    fn a_star_is_any_characters() {
        check("a*c", "abbc", true);
        check("a*c", "ac", true);
        check("a*c", "acb", false);
        check("*", "", true);
        check("**", "a/b", true);
        check("", "", true);
        check("", "a", false);
        check("*/by-hash/SHA256/*", "/debian/dists/sid/by-hash/SHA256/00", true);
        check("*ab*ab", "aabab", true);
        check("*ab*ab", "xab", false);
        check("*.utm", ".utm.utm", true);
    }

    #[test]
    fn case_matters_only_where_it_is_asked_to() {
        check("A*", "ab", false);
        assert!(Pattern::new("A*").matches_in_any_case(b"aB"));
    }

    /// The definition, without regard to time.
    fn by_definition(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => (0..=text.len()).any(|taken| by_definition(rest, &text[taken..])),
            ([one, pattern @ ..], [other, text @ ..]) => one == other && by_definition(pattern, text),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_is_as_defined(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            let expected = by_definition(pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(Pattern::new(&pattern).matches(text.as_bytes()), expected);
        }
    }
}
