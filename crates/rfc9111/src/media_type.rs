//! Media types of Content-Type (RFC 9110 §8.3.1): whether two are the same but for their parameters.
//!
//! It reads no parameters and knows no type by name.

use http::header::{CONTENT_TYPE, HeaderMap};

use crate::fields;

/// Whether both messages have a Content-Type, of the same type and subtype.
pub(crate) fn same_type(one: &HeaderMap, other: &HeaderMap) -> bool {
    // "The type and subtype tokens are case-insensitive."
    essence(one).zip(essence(other)).is_some_and(|(one, other)| one.eq_ignore_ascii_case(other))
}

/// The media type without its parameters.
fn essence(headers: &HeaderMap) -> Option<&[u8]> {
    let value = fields::first(headers, &CONTENT_TYPE)?;
    value.split(|byte| *byte == b';').next().map(fields::trim).filter(|essence| !essence.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::headers;

    #[track_caller]
    fn check(one: &str, other: &str, same: bool) {
        assert_eq!(same_type(&headers(one), &headers(other)), same, "{one} | {other}");
    }

    #[test]
    fn parameters_and_case_do_not_matter_8_3_1() {
        check("content-type: text/html", "content-type: Text/HTML ; charset=utf-8", true);
        check("content-type: text/html;charset=a", "content-type: text/html", true);
        check("content-type: text/html", "content-type: text/plain", false);
    }

    #[test]
    fn no_media_type_is_not_the_same_as_any() {
        check("a: 1", "content-type: text/html", false);
        check("content-type:", "content-type:", false);
        check("content-type: ;a", "content-type: ;a", false);
        check("a: 1", "a: 1", false);
    }
}
