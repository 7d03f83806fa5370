//! The request fields a stored response nominates with Vary (RFC 9111 §4.1), and whether a request presents the same.
//!
//! Values are compared after the normalisation §4.1 allows without knowing a field's meaning: field lines combined,
//! white space around list members dropped; language ranges and codings also in one case, without inner white space,
//! and in one order, since their weights carry the preference. Members of other fields are never reordered.

use http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, GetAll, HeaderMap, HeaderName, HeaderValue, VARY};

use crate::fields;

/// The request fields nominated by a stored response's Vary field, with their values in the request that led to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nominated {
    /// Sorted by name.
    fields: Vec<(HeaderName, Option<Vec<u8>>)>,
}

impl Nominated {
    /// What a response with these header fields nominates in the request with those.
    pub fn new(request: &HeaderMap, response: &HeaderMap) -> Self {
        let mut names = Vec::new();
        for name in fields::members(response, &VARY) {
            // A name that is none nominates what cannot be compared, as "*" does.
            let name = HeaderName::from_bytes(name).unwrap_or_else(|_| ANYTHING.clone());
            if names.contains(&name) {
                continue;
            }
            if names.len() == MOST {
                return Self::from_parts([(ANYTHING.clone(), None)]);
            }
            names.push(name);
        }
        Self::from_parts(names.into_iter().map(|name| {
            let lines = request.get_all(&name);
            let value = is_present(&lines).then(|| normalised(&name, &lines));
            (name, value)
        }))
    }

    /// Puts nominated fields together again from what [`Nominated::parts`] gave.
    pub fn from_parts(parts: impl IntoIterator<Item = (HeaderName, Option<Vec<u8>>)>) -> Self {
        let mut fields: Vec<_> = parts.into_iter().collect();
        fields.sort_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
        fields.dedup_by(|(one, _), (other, _)| one == other);
        fields.shrink_to_fit();
        Self { fields }
    }

    /// The nominated fields and their normalised values; no value means the request did not carry the field.
    pub fn parts(&self) -> impl Iterator<Item = (&HeaderName, Option<&[u8]>)> {
        self.fields.iter().map(|(name, value)| (name, value.as_deref()))
    }

    /// Whether a request presents the same values. Allocates nothing.
    pub fn matches(&self, request: &HeaderMap) -> bool {
        self.mismatch(request).is_none()
    }

    /// The first nominated field in which a request differs.
    pub fn mismatch(&self, request: &HeaderMap) -> Option<&HeaderName> {
        // §4.1: "When a cache receives a request that can be satisfied by a stored response and that stored response
        // contains a Vary header field, the cache MUST NOT use that stored response without revalidation unless all
        // the presented request header fields nominated by that Vary field value match those fields in the original
        // request".
        let differs = |(name, value): &&(HeaderName, Option<Vec<u8>>)| {
            let lines = request.get_all(name);
            match value {
                // "A stored response with a Vary header field value containing a member "*" always fails to match."
                _ if *name == ANYTHING => true,
                // "If (after any normalization that might take place) a header field is absent from a request, it can
                // only match another request if it is also absent there."
                None => is_present(&lines),
                Some(value) => !is_present(&lines) || !is_normalised(name, &lines, value),
            }
        };
        self.fields.iter().find(differs).map(|(name, _)| name)
    }

    /// Whether the response varies on something that is in no request: `Vary: *`.
    pub fn is_any(&self) -> bool {
        self.fields.iter().any(|(name, _)| *name == ANYTHING)
    }

    /// Whether every field that a response's Vary names is among these.
    pub(crate) fn covers(&self, response: &HeaderMap) -> bool {
        fields::members(response, &VARY).all(|name| {
            self.fields.iter().any(|(known, _)| known.as_str().as_bytes().eq_ignore_ascii_case(name))
        })
    }
}

/// `Vary: *`, kept as the name of a field that no request can carry.
pub(crate) static ANYTHING: HeaderName = HeaderName::from_static("*");

/// As many fields are compared as any origin nominates; a response that nominates more suits no second request.
const MOST: usize = 64;

/// As many members are put into one order as any client sends; longer lists keep theirs.
const ORDERED: usize = 24;

fn is_present(lines: &GetAll<'_, HeaderValue>) -> bool {
    lines.iter().next().is_some()
}

/// The combined value of a field.
fn normalised(name: &HeaderName, lines: &GetAll<'_, HeaderValue>) -> Vec<u8> {
    let mut value = Vec::new();
    each_normalised(name, lines, |byte| {
        value.push(byte);
        true
    });
    value
}

/// Whether that is `value`.
fn is_normalised(name: &HeaderName, lines: &GetAll<'_, HeaderValue>, value: &[u8]) -> bool {
    let mut rest = value.iter();
    each_normalised(name, lines, |byte| rest.next() == Some(&byte)) && rest.next().is_none()
}

/// Gives it byte by byte, as long as `next` wants another; whether it wanted all.
fn each_normalised(
    name: &HeaderName,
    lines: &GetAll<'_, HeaderValue>,
    mut next: impl FnMut(u8) -> bool,
) -> bool {
    let folds = *name == ACCEPT_LANGUAGE || *name == ACCEPT_ENCODING;
    let fold = |byte: &u8| if folds { byte.to_ascii_lowercase() } else { *byte };
    let mut member = |(at, member): (usize, &[u8])| {
        let mut bytes = member.iter().filter(|byte| !folds || !is_space(**byte));
        (at == 0 || next(b',')) && bytes.all(|byte| next(fold(byte)))
    };
    let mut slots = [[].as_slice(); ORDERED];
    match folds.then(|| ordered(lines, &mut slots)).flatten() {
        Some(ordered) => ordered.iter().copied().enumerate().all(&mut member),
        None => fields::members_of(lines).enumerate().all(&mut member),
    }
}

/// The members of a list of weighted choices in one order; `None` where there are too many.
///
/// §4.1 allows "normalizing both header field values in a way that is known to have identical semantics, according to
/// the header field's specification (e.g., reordering field values when order is not significant […])". RFC 9110 §12.4.2
/// gives each member its weight. §12.5.4 notes of languages "that some recipients treat the order in which language
/// tags are listed as an indication of descending priority, particularly for tags that are assigned equal quality values
/// […]. However, this behavior cannot be relied upon." What cannot be relied upon is not what the field means.
fn ordered<'a, 's>(
    lines: &GetAll<'a, HeaderValue>,
    slots: &'s mut [&'a [u8]; ORDERED],
) -> Option<&'s [&'a [u8]]> {
    let mut count = 0;
    for member in fields::members_of(lines) {
        *slots.get_mut(count)? = member;
        count += 1;
    }
    let members = slots.get_mut(..count)?;
    members.sort_unstable_by(|one, other| folded(one).cmp(folded(other)));
    Some(members)
}

fn folded(member: &[u8]) -> impl Iterator<Item = u8> {
    member.iter().filter(|byte| !is_space(**byte)).map(u8::to_ascii_lowercase)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::headers;

    #[track_caller]
    fn check(vary: &str, original: &str, presented: &str, matches: bool) {
        let nominated = Nominated::new(&headers(original), &headers(vary));
        assert_eq!(nominated.matches(&headers(presented)), matches, "{vary} | {original} | {presented}");
    }

    #[test]
    fn a_response_that_nominates_very_many_fields_suits_no_request() {
        let vary = |count: usize| {
            let names: Vec<_> = (0..count).map(|at| format!("x-{at}")).collect();
            headers(&format!("vary: {0}\nvary: {0}", names.join(",")))
        };
        let request = headers("a: 1");
        assert!(Nominated::new(&request, &vary(MOST)).matches(&request));
        assert!(!Nominated::new(&request, &vary(MOST + 1)).matches(&request));
    }

    #[test]
    fn nominated_fields_must_match_4_1() {
        check("vary: foo", "foo: 1", "foo: 1", true);
        check("vary: foo", "foo: 1", "foo: 2", false);
        check("vary: foo", "foo: 1", "foo: 1\nbar: 2", true);
        check("vary: foo, bar", "foo: 1\nbar: 2", "foo: 1\nbar: 3", false);
        check("vary: foo\nvary: bar", "foo: 1\nbar: 2", "foo: 1\nbar: 3", false);
        check("vary: FOO", "foo: 1", "Foo: 1", true);
    }

    #[test]
    fn absent_matches_only_absent_4_1() {
        check("vary: foo", "", "", true);
        check("vary: foo", "foo: 1", "", false);
        check("vary: foo", "", "foo: 1", false);
        check("vary: foo", "", "foo:", false);
    }

    #[test]
    fn a_star_never_matches_4_1() {
        check("vary: *", "", "", false);
        check("vary: foo, *", "foo: 1", "foo: 1", false);
        check("vary: b@d", "", "", false);
    }

    #[test]
    fn values_are_normalised_4_1() {
        check("vary: foo", "foo: 1, 2", "foo:  1,2 ", true);
        check("vary: foo", "foo: 1, 2", "foo: 1\nfoo: 2", true);
        check("vary: foo", "foo: a", "foo: A", false);
        check("vary: foo", "foo: 1, 2", "foo: 2, 1", false);
        check("vary: accept-language", "accept-language: en-GB, de", "accept-language: EN-gb,de", true);
        check("vary: accept-language", "accept-language: en;q=0.5", "accept-language: en; q=0.5", true);
        check("vary: accept-encoding", "accept-encoding: gzip", "accept-encoding: GZIP", true);
    }

    #[test]
    fn weighted_choices_are_compared_in_one_order_4_1() {
        check("vary: accept-language", "accept-language: en, de", "accept-language: De, eN", true);
        check(
            "vary: accept-language",
            "accept-language: en, de; q=0.5",
            "accept-language: de;q=0.5,en",
            true,
        );
        check(
            "vary: accept-language",
            "accept-language: en, de;q=0.5",
            "accept-language: de, en;q=0.5",
            false,
        );
        check("vary: accept-language", "accept-language: en, en, de", "accept-language: en, de, de", false);
        check(
            "vary: accept-encoding",
            "accept-encoding: gzip\naccept-encoding: br",
            "accept-encoding: br, gzip",
            true,
        );
        check("vary: accept", "accept: text/html, text/plain", "accept: text/plain, text/html", false);
    }

    #[test]
    fn lists_longer_than_any_client_sends_keep_their_order() {
        let list = |numbers: &mut dyn Iterator<Item = usize>| {
            format!("accept-language: {}", numbers.map(|n| format!("l{n}")).collect::<Vec<_>>().join(", "))
        };
        for (count, matches) in [(ORDERED, true), (ORDERED + 1, false)] {
            check("vary: accept-language", &list(&mut (0..count)), &list(&mut (0..count).rev()), matches);
            check("vary: accept-language", &list(&mut (0..count)), &list(&mut (0..count)), true);
        }
    }

    #[test]
    fn no_vary_matches_everything() {
        check("etag: 1", "foo: 1", "foo: 2", true);
    }

    proptest! {
        #[test]
        fn parts_make_the_same_again(values in prop::collection::vec(prop::option::of(any::<Vec<u8>>()), 0..4), star: bool) {
            let names = ["accept", "foo", "bar", if star { "*" } else { "baz" }];
            let parts = names.into_iter().zip(values).map(|(name, value)| (HeaderName::from_static(name), value));
            let nominated = Nominated::from_parts(parts);
            let again = nominated.parts().map(|(name, value)| (name.clone(), value.map(<[u8]>::to_vec)));
            prop_assert_eq!(Nominated::from_parts(again), nominated);
        }

        #[test]
        fn a_request_matches_itself(value in "[a-z ,\";=\\\\]{0,12}", name in "accept-language|foo") {
            let request = headers(&format!("{name}: {value}"));
            let response = headers(&format!("vary: {name}"));
            prop_assert!(Nominated::new(&request, &response).matches(&request));
        }
    }
}
