//! Heads as they are kept in memory: all field values in one allocation.
//!
//! Owns the copying and nothing else. A value that came off the wire is a slice of the buffer it was read into, and so
//! is every other: kept as it came, a head of 400 bytes keeps 8 KiB. It does not choose which fields are kept (RFC 9111
//! §3.1 is rfc9111's) and changes neither their values nor the order of the lines of a field (RFC 9110 §5.3).

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use rfc9111::StoredResponse;

/// The same head, holding on to no memory but its own.
pub(crate) fn pack(head: StoredResponse) -> StoredResponse {
    let mut values = contiguous(|| head.headers.values().map(HeaderValue::as_bytes));
    let mut headers = HeaderMap::with_capacity(head.headers.keys_len());
    for (name, value) in &head.headers {
        let copy = HeaderValue::from_maybe_shared(values.split_to(value.len()));
        // What is a field value already is one again.
        let mut copy = copy.unwrap_or_else(|_| value.clone());
        copy.set_sensitive(value.is_sensitive());
        headers.append(name.clone(), copy);
    }
    StoredResponse { headers, ..head }
}

/// All of `values`, one behind the other, in an allocation of exactly their size.
pub(crate) fn contiguous<'a, I: Iterator<Item = &'a [u8]>>(values: impl Fn() -> I) -> Bytes {
    let mut gathered = Vec::with_capacity(values().map(<[u8]>::len).sum());
    values().for_each(|value| gathered.extend_from_slice(value));
    Bytes::from(gathered)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use http::StatusCode;
    use http::header::HeaderName;
    use proptest::prelude::*;
    use rfc9111::Nominated;

    use super::*;
    use crate::record::Head;

    fn head(headers: HeaderMap) -> StoredResponse {
        StoredResponse {
            status: StatusCode::OK,
            headers,
            nominated: Nominated::from_parts([]),
            request_time: SystemTime::UNIX_EPOCH,
            response_time: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_sensitive_value_stays_sensitive() {
        let mut secret = HeaderValue::from_static("secret");
        secret.set_sensitive(true);
        let packed = pack(head([(HeaderName::from_static("a"), secret)].into_iter().collect()));
        assert!(packed.headers["a"].is_sensitive());
    }

    proptest! {
        #[test]
        fn a_head_that_is_kept_or_loaded_is_equal_and_its_values_lie_side_by_side(
            fields in prop::collection::vec(("[a-c]{1,2}", "[ -~]{0,20}"), 0..12),
        ) {
            let mut headers = HeaderMap::new();
            for (name, value) in &fields {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                headers.append(name, HeaderValue::from_str(value).unwrap());
            }
            let original = head(headers);
            let loaded = Head::new(&original).restore().unwrap();
            for packed in [pack(original.clone()), loaded] {
                prop_assert_eq!(&packed, &original);
                // Equality of maps does not look at the order of fields.
                prop_assert!(packed.headers.iter().eq(original.headers.iter()));
                let values: Vec<_> = packed.headers.values().filter(|value| !value.is_empty()).collect();
                for pair in values.windows(2) {
                    prop_assert_eq!(pair[0].as_bytes().as_ptr_range().end, pair[1].as_bytes().as_ptr());
                }
            }
        }
    }
}
