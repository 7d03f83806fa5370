//! Which field governs a response: a targeted one where the operator lists it (RFC 9213), else Cache-Control.
//!
//! A targeted field is a Dictionary of Structured Fields (RFC 9651) and read strictly, since a broken one is as good as
//! none. What its directives lead to is the same as for Cache-Control and decided elsewhere. Pragma never governs a
//! response.

use http::HeaderName;
use http::header::{CONTENT_TYPE, HeaderMap};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use crate::directives::CacheControl;
use crate::fields;
use crate::reckoned::Reckoned;
use crate::request::Policy;
use crate::stored::StoredResponse;

/// The directives that govern a response: the one place that chooses between its fields.
///
/// RFC 9213 §2.2: "…the cache MUST select the first (in target-list order) field with a valid, non-empty value and use
/// its value to determine the caching policy for the response, and it MUST ignore the Cache-Control and Expires header
/// fields in that response, unless no valid, non-empty value is available from the listed header fields."
///
/// Directives that count for nothing by a rule of the operator are not among them.
pub(crate) fn governing(headers: &HeaderMap, policy: &Policy) -> CacheControl {
    governing_with(headers, policy, || CacheControl::of(headers))
}

/// The same for a stored response, whose Cache-Control is read once.
pub(crate) fn governing_stored(stored: &StoredResponse, policy: &Policy) -> CacheControl {
    governing_with(&stored.headers, policy, || *Reckoned::directives(stored))
}

fn governing_with(headers: &HeaderMap, policy: &Policy, of: impl FnOnce() -> CacheControl) -> CacheControl {
    let targeted = policy.targeted.iter().find_map(|name| directives(headers, name));
    let stated = targeted.unwrap_or_else(of);
    if policy.rules.is_empty() {
        return stated;
    }
    policy.rules.left_of(stated, fields::first(headers, &CONTENT_TYPE))
}

/// The directives of a targeted field. §2.1: "If a targeted field in a given response is empty, or a parsing error is
/// encountered, that field MUST be ignored by the cache".
fn directives(headers: &HeaderMap, name: &HeaderName) -> Option<CacheControl> {
    let lines: Vec<_> = headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect();
    if lines.is_empty() {
        return None;
    }
    let members = Parser::new(&lines.join(b",".as_slice())).parse::<Dictionary>().ok()?;
    let mut directives = CacheControl { targeted: true, ..CacheControl::default() };
    for (directive, member) in &members {
        add(&mut directives, directive.as_str(), member);
    }
    (!members.is_empty()).then_some(directives)
}

/// Adds one directive; §2.1: "Parameters received on cache directives are to be ignored".
fn add(directives: &mut CacheControl, name: &str, member: &ListEntry) {
    // "Implementations SHOULD NOT consume values that violate these inferred constraints." A lifetime that is not an
    // Integer is one that cannot be read, and so none at all; a restriction holds whatever its value.
    const UNREADABLE: &[u8] = b"?";
    let ListEntry::Item(item) = member else { return directives.add(name.as_bytes(), Some(UNREADABLE)) };
    match &item.bare_item {
        BareItem::Boolean(true) => directives.add(name.as_bytes(), None),
        BareItem::Boolean(false) => {}
        BareItem::Integer(seconds) => {
            directives.add(name.as_bytes(), Some(i64::from(*seconds).to_string().as_bytes()));
        }
        // A list of field names (no-cache="a, b") is not kept apart here: the directive then asks for more.
        _ => directives.add(name.as_bytes(), Some(UNREADABLE)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::{headers, request, situation, stored};
    use crate::{Storing, freshness, may_store};

    fn policy() -> Policy {
        let targeted = ["bentpipe-cache-control", "cdn-cache-control"].map(HeaderName::from_static);
        Policy { targeted: targeted.into(), ..Policy::default() }
    }

    /// The lifetime in seconds that governs, or nothing where no max-age does.
    #[track_caller]
    fn check(text: &str, seconds: impl Into<Option<u64>>) {
        let found = governing(&headers(text), &policy());
        assert_eq!(found.max_age, seconds.into().map(Duration::from_secs), "{text}");
    }

    #[test]
    fn the_first_listed_field_governs_2_2() {
        check("cdn-cache-control: max-age=60\ncache-control: max-age=1", 60);
        check("cdn-cache-control: max-age=60\nbentpipe-cache-control: max-age=5", 5);
        check("cdn-cache-control: public\ncache-control: max-age=1", None);
        check("other-cache-control: max-age=60\ncache-control: max-age=1", 1);
        check("cdn-cache-control: public\ncdn-cache-control: max-age=60", 60);
    }

    #[test]
    fn a_field_that_is_empty_or_broken_is_ignored_2_1() {
        for broken in ["", "max-age =100", "max-age= 100", "MaX-aGe=60", "max-age=60, &&&", "max-age=60,"] {
            check(&format!("cdn-cache-control: {broken}\ncache-control: max-age=1"), 1);
        }
        check("bentpipe-cache-control: &&&\ncdn-cache-control: max-age=60\ncache-control: max-age=1", 60);
    }

    #[test]
    fn values_have_the_types_of_2_1() {
        check("cdn-cache-control: max-age=99999999999", 1 << 31);
        check("cdn-cache-control: max-age=60;foo=bar, none", 60);
        for wrong in ["max-age=\"60\"", "max-age=60.0", "max-age", "max-age=(60)", "max-age=-1", "max-age=a"]
        {
            check(&format!("cdn-cache-control: {wrong}\ncache-control: max-age=1"), 0);
        }
        let listed = governing(&headers("cdn-cache-control: no-cache=\"foo\", no-store=?0"), &policy());
        assert!(listed.no_cache && !listed.no_store);
    }

    #[test]
    fn storing_and_freshness_follow_it_2_2() {
        let mut now = situation(0);
        now.policy = policy();
        let storing = |fields: &str| {
            let presented = request("GET", "");
            let found = may_store(&presented.presented(), http::StatusCode::OK, &headers(fields), &now);
            matches!(found, Storing::Store(_))
        };
        assert!(storing("cdn-cache-control: max-age=60\ncache-control: no-store"));
        assert!(!storing("cdn-cache-control: no-store\ncache-control: max-age=60"));
        assert!(!storing("cdn-cache-control: private\ncache-control: max-age=60"));
        let response = stored(200, "cdn-cache-control: max-age=60\nexpires: 0\ncache-control: max-age=1");
        assert_eq!(freshness(&response, &now).lifetime, Duration::from_secs(60));
        let response =
            stored(200, "cdn-cache-control: must-revalidate\nexpires: Sun, 06 Nov 1994 09:49:37 GMT");
        assert_eq!(freshness(&response, &now).lifetime, Duration::ZERO, "Expires is ignored");
    }

    #[test]
    fn without_a_list_no_targeted_field_counts_2_2() {
        let found = governing(&headers("cdn-cache-control: no-store\npragma: no-cache"), &Policy::default());
        assert_eq!(found, CacheControl::default());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(value: Vec<u8>) {
            let mut fields = HeaderMap::new();
            if let Ok(value) = http::HeaderValue::from_bytes(&value) {
                fields.append("cdn-cache-control", value);
            }
            governing(&fields, &policy());
        }
    }
}
