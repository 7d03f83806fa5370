//! Entity tags and how they compare (RFC 9110 §8.8.3).
//!
//! Origins exist that forget the quotes. Such a tag is kept and sent back as it came, and compares only weakly: there
//! is no telling what its sender meant by it, so no range is ever built on it.

use http::header::{ETAG, HeaderMap};

use crate::fields;

/// An entity tag as it stands in a field value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntityTag<'a> {
    weak: bool,
    opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// Reads one entity tag. Any bytes are one; only the quoted form without `W/` is strong.
    pub(crate) fn new(value: &'a [u8]) -> Self {
        match value.strip_prefix(b"W/") {
            Some(opaque) => Self { weak: true, opaque },
            None => Self { weak: value.len() < 2 || fields::quoted(value).is_none(), opaque: value },
        }
    }

    /// The entity tag of a response.
    pub(crate) fn of(headers: &'a HeaderMap) -> Option<Self> {
        fields::first(headers, &ETAG).filter(|value| !value.is_empty()).map(Self::new)
    }

    /// "two entity tags are equivalent if both are not weak and their opaque-tags match character-by-character."
    /// (§8.8.3.2)
    pub(crate) fn strong_match(self, other: EntityTag<'_>) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// "two entity tags are equivalent if their opaque-tags match character-by-character, regardless of either or both
    /// being tagged as "weak"." (§8.8.3.2)
    pub(crate) fn weak_match(self, other: EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(one: &str, other: &str, strong: bool, weak: bool) {
        let (one, other) = (EntityTag::new(one.as_bytes()), EntityTag::new(other.as_bytes()));
        assert_eq!((one.strong_match(other), one.weak_match(other)), (strong, weak), "{one:?} {other:?}");
    }

    #[test]
    fn tags_compare_as_in_the_table_of_8_8_3_2() {
        check(r#"W/"1""#, r#"W/"1""#, false, true);
        check(r#"W/"1""#, r#"W/"2""#, false, false);
        check(r#"W/"1""#, r#""1""#, false, true);
        check(r#""1""#, r#""1""#, true, true);
    }

    #[test]
    fn a_tag_without_quotes_is_weak() {
        check("1", "1", false, true);
        check("1", r#""1""#, false, false);
        check("\"", "\"", false, true);
    }
}
