//! Field values as lists (RFC 9110 §5.6.1), split the way a recipient must: forgiving, and without allocating.
//!
//! Owns list members, quoted strings, non-negative integers and the singleton rule. What a member means is decided by
//! the module of its field.

use std::collections::HashSet;

use http::header::{GetAll, HeaderMap, HeaderName, HeaderValue};

/// The members of a list field over all its field lines, in order, without the empty ones.
pub(crate) fn members<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    members_of(&headers.get_all(name))
}

/// The same of the lines of a field.
pub(crate) fn members_of<'a>(lines: &GetAll<'a, HeaderValue>) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    lines.iter().flat_map(|value| split(value.as_bytes(), Escapes::Backslash))
}

/// The members of a list of entity tags, in which a backslash is an ordinary character (RFC 9110 §8.8.3).
pub(crate) fn tags<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).iter().flat_map(|value| split(value.as_bytes(), Escapes::None))
}

/// The value of a field that is not a list; the first line where a sender repeated it.
pub(crate) fn first<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    headers.get(name).map(|value| trim(value.as_bytes()))
}

/// The value of a field that has exactly one line.
pub(crate) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut lines = headers.get_all(name).iter();
    let value = lines.next()?;
    lines.next().is_none().then(|| trim(value.as_bytes()))
}

/// Those fields of a message that a list names. The list is read once: to read it for each field would cost as much as
/// the number of fields times the length of the list, and both are the peer's to choose.
pub(crate) struct Named(HashSet<HeaderName>);

impl Named {
    /// The fields in `headers` that `list` names.
    pub(crate) fn among<'a>(headers: &HeaderMap, list: impl Iterator<Item = &'a [u8]>) -> Self {
        let present = |name: &&[u8]| std::str::from_utf8(name).is_ok_and(|name| headers.contains_key(name));
        Self(list.filter(present).filter_map(|name| HeaderName::from_bytes(name).ok()).collect())
    }

    pub(crate) fn contains(&self, name: &HeaderName) -> bool {
        !self.0.is_empty() && self.0.contains(name)
    }
}

/// The fields that `keep` says, with their order and duplicates. The map's own removal fills the gap with the last
/// field, which would change the order.
pub(crate) fn retain(headers: &HeaderMap, keep: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    if headers.keys().all(&keep) {
        return headers.clone();
    }
    let mut kept = HeaderMap::with_capacity(headers.keys_len());
    for (name, value) in headers.iter().filter(|(name, _)| keep(name)) {
        append(&mut kept, name.clone(), value.clone());
    }
    kept
}

/// Appends a field line. A map refuses more than 32768 of them, far beyond what any message that was read can hold.
pub(crate) fn append(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    let _ = headers.try_append(name, value);
}

/// Replaces all lines of a field in its place, or appends it.
pub(crate) fn replace(
    headers: &mut HeaderMap,
    name: &HeaderName,
    values: impl IntoIterator<Item = HeaderValue>,
) {
    let mut values = values.into_iter();
    if let Some(first) = values.next() {
        let _ = headers.try_insert(name.clone(), first);
    }
    for value in values {
        append(headers, name.clone(), value);
    }
}

/// How a double quote is written inside a quoted string.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Escapes {
    /// `quoted-pair` (RFC 9110 §5.6.4).
    Backslash,
    /// Not at all: entity tags.
    None,
}

/// Splits one field value at the commas outside quoted strings.
pub(crate) fn split(value: &[u8], escapes: Escapes) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        while let Some(value) = rest {
            let end = member_end(value, escapes);
            rest = value.get(end + 1..);
            let member = trim(&value[..end]);
            if !member.is_empty() {
                return Some(member);
            }
        }
        None
    })
}

/// The content of a quoted string, escapes and all, or `None` where the value is not one.
pub(crate) fn quoted(value: &[u8]) -> Option<&[u8]> {
    value.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

/// A non-negative integer: digits only, saturating at 2^31.
///
/// RFC 9111 §1.2.2: "If a cache receives a delta-seconds value greater than the greatest integer it can represent, or
/// if any of its subsequent calculations overflows, the cache MUST consider the value to be 2147483648 (2^31)".
pub(crate) fn delta_seconds(value: &[u8]) -> Option<u32> {
    const LARGEST: u32 = 1 << 31;
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds =
        value.iter().fold(0u32, |sum, digit| sum.saturating_mul(10).saturating_add(u32::from(digit - b'0')));
    Some(seconds.min(LARGEST))
}

/// Removes optional white space (RFC 9110 §5.6.3) from both ends.
pub(crate) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Where the first member ends: at a comma that is not inside a quoted string, or at the end.
fn member_end(value: &[u8], escapes: Escapes) -> usize {
    let mut at = 0;
    while let Some(byte) = value.get(at) {
        match byte {
            b',' => return at,
            // A quote nobody closes is an ordinary character: it must not swallow a `no-store` that follows it.
            b'"' => at = quoted_end(value, at + 1, escapes).unwrap_or(at) + 1,
            _ => at += 1,
        }
    }
    value.len()
}

fn quoted_end(value: &[u8], mut at: usize, escapes: Escapes) -> Option<usize> {
    loop {
        match value.get(at)? {
            b'"' => return Some(at),
            b'\\' if escapes == Escapes::Backslash => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(value: &str, members: &[&str]) {
        let found: Vec<_> =
            split(value.as_bytes(), Escapes::Backslash).map(String::from_utf8_lossy).collect();
        assert_eq!(found, members, "{value}");
    }

    #[test]
    fn lists_are_split_at_commas_outside_quotes_5_6_1() {
        check("a, b\t ,c", &["a", "b", "c"]);
        check(" , ,a,, ", &["a"]);
        check("", &[]);
        check(r#"a="1,2", b"#, &[r#"a="1,2""#, "b"]);
        check(r#"a="1\",2", b"#, &[r#"a="1\",2""#, "b"]);
    }

    #[test]
    fn an_unclosed_quote_swallows_nothing() {
        check(r#"a="1, no-store"#, &[r#"a="1"#, "no-store"]);
        check(r#"a="1\", no-store"#, &[r#"a="1\""#, "no-store"]);
    }

    #[test]
    fn a_backslash_ends_no_entity_tag_8_8_3() {
        let found: Vec<_> = split(br#""a\", "b""#, Escapes::None).collect();
        assert_eq!(found, [br#""a\""#.as_slice(), br#""b""#.as_slice()]);
    }

    #[test]
    fn seconds_are_digits_and_saturate_1_2_2() {
        assert_eq!(delta_seconds(b"0060"), Some(60));
        assert_eq!(delta_seconds(b"2147483649"), Some(1 << 31));
        assert_eq!(delta_seconds(b"99999999999999999999999"), Some(1 << 31));
        for broken in ["", "-1", "+1", "1.0", "1 2", "0x1", "\"1\""] {
            assert_eq!(delta_seconds(broken.as_bytes()), None, "{broken}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_split(value: Vec<u8>) {
            for escapes in [Escapes::Backslash, Escapes::None] {
                for member in split(&value, escapes) {
                    prop_assert!(!member.is_empty());
                }
            }
        }
    }
}
