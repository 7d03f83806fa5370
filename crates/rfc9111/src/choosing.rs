//! Which of the responses stored under one key suits a request (RFC 9111 §4, §4.1).
//!
//! Whether it may be reused is `reuse`'s to say.

use std::time::SystemTime;

use crate::because::Because;
use crate::request::Presented;
use crate::stored::StoredResponse;

/// "request header fields nominated by the stored response (if any) match those presented (see Section 4.1)".
///
/// §4: "When more than one suitable response is stored, a cache MUST use the most recent one (as determined by the Date
/// header field)." §4.1: "When a cache has multiple stored responses for a target URI and one or more omits the Vary
/// header field, the cache SHOULD choose the most recent […] stored response with a valid Vary field value."
pub(crate) fn choose<'a>(
    presented: &Presented<'_>,
    stored: &[&'a StoredResponse],
) -> Result<(usize, &'a StoredResponse), Because> {
    let mut chosen: Option<(usize, &StoredResponse)> = None;
    for (index, candidate) in stored.iter().enumerate() {
        if candidate.nominated.matches(presented.headers)
            && chosen.is_none_or(|(_, best)| preference(best) <= preference(candidate))
        {
            chosen = Some((index, candidate));
        }
    }
    chosen.ok_or_else(|| no_variant(presented, stored))
}

fn preference(stored: &StoredResponse) -> (bool, (SystemTime, SystemTime)) {
    (stored.nominated.parts().next().is_some(), recency(stored))
}

/// What makes one stored response more recent than another; of equal dates the one received later.
pub(crate) fn recency(stored: &StoredResponse) -> (SystemTime, SystemTime) {
    (stored.date(), stored.response_time)
}

fn no_variant(presented: &Presented<'_>, stored: &[&StoredResponse]) -> Because {
    let newest = stored.iter().max_by_key(|candidate| recency(candidate));
    match newest.and_then(|newest| newest.nominated.mismatch(presented.headers)) {
        Some(nominated) => Because::NoVariant { nominated: nominated.clone(), stored: stored.len() },
        None => Because::NothingStored,
    }
}
