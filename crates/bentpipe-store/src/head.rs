//! The head of a stored response as it is kept, in memory and on disk alike: one run of bytes.
//!
//! Owns that form: status, times, nominated fields and header fields, well-known names as one byte each. A map of
//! header fields takes some 2 KiB, and of many stored responses nobody asks; so one is made for each lookup, whose
//! response needs one of its own anyway. It does not choose which fields are kept (RFC 9111 §3.1 is rfc9111's) and
//! changes neither their values nor the order of the lines of a field (RFC 9110 §5.3).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use rfc9111::{Nominated, StoredResponse};

use crate::blocks::to_usize;
use crate::names;

/// The flag of a head with a strong validator.
const MENDABLE: u8 = 1;
/// Fields that a response has beyond those of the head it is made from: Age, Cache-Status, and one that belongs to the
/// request.
const ADDED: usize = 3;
/// Flags (1), status (2), and the times of request and response (8 each).
const FIXED: usize = 1 + 2 + 8 + 8;

/// A packed head. Clones are the same head.
///
/// ```text
/// flags, status, request_time, response_time (nanoseconds since 1970, little endian)
/// the length of the nominated fields; for each: its name, 1 + the length of its value (0 for none), its value
/// the number of lines; for each: its name, twice the length of its value (+ 1 if it is sensitive), its value
/// ```
/// Lengths have 7 bits a byte, the lowest first. A name is its code, or zero, its length and its text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Packed(Arc<[u8]>);

impl Packed {
    /// Packs `head`; what it is a slice of is let go. Times before 1970 become 1970.
    pub(crate) fn new(head: &StoredResponse) -> Self {
        let mut nominated = Vec::new();
        for (name, value) in head.nominated.parts() {
            push_name(&mut nominated, name);
            push_length(&mut nominated, value.map_or(0, |value| value.len() + 1));
            nominated.extend_from_slice(value.unwrap_or_default());
        }
        let values: usize = head.headers.values().map(HeaderValue::len).sum();
        let mut bytes = Vec::with_capacity(FIXED + nominated.len() + values + 16 * head.headers.len() + 8);
        bytes.push(if rfc9111::strong_validator(head).is_some() { MENDABLE } else { 0 });
        bytes.extend_from_slice(&head.status.as_u16().to_le_bytes());
        bytes.extend_from_slice(&to_nanoseconds(head.request_time).to_le_bytes());
        bytes.extend_from_slice(&to_nanoseconds(head.response_time).to_le_bytes());
        push_length(&mut bytes, nominated.len());
        bytes.extend_from_slice(&nominated);
        push_length(&mut bytes, head.headers.len());
        for (name, value) in &head.headers {
            push_name(&mut bytes, name);
            push_length(&mut bytes, value.len() << 1 | usize::from(value.is_sensitive()));
            bytes.extend_from_slice(value.as_bytes());
        }
        Self(bytes.into())
    }

    /// A head again, from its bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// Its durable form.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The head; `None` when the bytes are none. The values share one allocation, and that is this head's.
    pub(crate) fn unpack(&self) -> Option<StoredResponse> {
        let bytes = Bytes::from_owner(Arc::clone(&self.0));
        let mut reader = Reader { rest: &self.0 };
        let [_flags] = reader.array()?;
        let status = StatusCode::from_u16(u16::from_le_bytes(reader.array()?)).ok()?;
        let request_time = from_nanoseconds(u64::from_le_bytes(reader.array()?));
        let response_time = from_nanoseconds(u64::from_le_bytes(reader.array()?));
        let nominated = unpack_nominated(reader.text()?)?;
        let lines = reader.length()?;
        // A line has two bytes at least, so garbage cannot ask for memory.
        let mut headers = HeaderMap::with_capacity(lines.min(reader.rest.len() / 2) + ADDED);
        for _ in 0..lines {
            let name = reader.name()?;
            let length = reader.length()?;
            let at = self.0.len() - reader.rest.len();
            reader.take(length >> 1)?;
            let value = bytes.slice(at..at + (length >> 1));
            let mut value = HeaderValue::from_maybe_shared(value).ok()?;
            value.set_sensitive(length & 1 == 1);
            headers.append(name, value);
        }
        Some(StoredResponse::from_parts(status, headers, nominated, [request_time, response_time]))
    }

    /// Whether what is missing of the body can be fetched by itself: the head has a strong validator (RFC 9111 §3.4).
    pub(crate) fn is_mendable(&self) -> bool {
        self.0.first().is_some_and(|flags| flags & MENDABLE != 0)
    }

    /// The nominated fields, for comparing: equal ones are equal bytes.
    pub(crate) fn nominated(&self) -> Option<&[u8]> {
        let mut reader = Reader { rest: self.0.get(FIXED..)? };
        reader.text()
    }

    /// Where it is in memory, which tells it from every other as long as it is there.
    pub(crate) fn address(&self) -> usize {
        self.0.as_ptr().addr()
    }

    /// Whether the two are one head, not merely equal ones.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

fn unpack_nominated(bytes: &[u8]) -> Option<Nominated> {
    let mut reader = Reader { rest: bytes };
    let mut parts = Vec::new();
    while !reader.rest.is_empty() {
        let name = reader.name()?;
        let value = match reader.length()?.checked_sub(1) {
            Some(length) => Some(reader.take(length)?.to_vec()),
            None => None,
        };
        parts.push((name, value));
    }
    Some(Nominated::from_parts(parts))
}

/// Takes a packed head apart from its beginning.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }

    fn length(&mut self) -> Option<usize> {
        let mut length = 0u64;
        for shift in (0..63).step_by(7) {
            let [byte] = self.array()?;
            length |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(to_usize(length));
            }
        }
        None
    }

    /// Bytes behind their length.
    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    fn name(&mut self) -> Option<HeaderName> {
        match self.array()? {
            [names::SPELLED] => HeaderName::from_bytes(self.text()?).ok(),
            [code] => names::name(code),
        }
    }
}

fn push_name(bytes: &mut Vec<u8>, name: &HeaderName) {
    let Some(code) = names::code(name) else {
        bytes.push(names::SPELLED);
        push_length(bytes, name.as_str().len());
        return bytes.extend_from_slice(name.as_str().as_bytes());
    };
    bytes.push(code);
}

fn push_length(bytes: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
}

fn to_nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn from_nanoseconds(nanoseconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds)
}

/// All of `values`, one behind the other, in an allocation of exactly their size.
pub(crate) fn contiguous<'a, I: Iterator<Item = &'a [u8]>>(values: impl Fn() -> I) -> Bytes {
    let mut gathered = Vec::with_capacity(values().map(<[u8]>::len).sum());
    values().for_each(|value| gathered.extend_from_slice(value));
    Bytes::from(gathered)
}

#[cfg(test)]
pub(crate) use tests::any_head;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(headers: HeaderMap) -> StoredResponse {
        StoredResponse::from_parts(
            StatusCode::OK,
            headers,
            Nominated::from_parts([]),
            [SystemTime::UNIX_EPOCH; 2],
        )
    }

    fn packed(fields: &[(&'static str, &'static str)]) -> Packed {
        let fields = fields.iter();
        Packed::new(&head(
            fields.map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect(),
        ))
    }

    prop_compose! {
        pub(crate) fn any_head()(
            status in 100u16..1000,
            fields in prop::collection::vec(
                (prop_oneof!["[a-z][a-z-]{0,9}", Just("etag".to_owned()), Just("x-cache".to_owned())], "[ -~]{0,200}"),
                0..8,
            ),
            nominated in prop::collection::vec(("[a-z]{1,9}", prop::option::of(any::<Vec<u8>>())), 0..3),
            times in any::<[u32; 2]>(),
        ) -> StoredResponse {
            let name = |name: &str| HeaderName::from_bytes(name.as_bytes()).unwrap();
            let mut headers = HeaderMap::new();
            for (field, value) in &fields {
                headers.append(name(field), HeaderValue::from_str(value).unwrap());
            }
            let nominated = nominated.into_iter().map(|(field, value)| (name(&field), value));
            StoredResponse::from_parts(
                StatusCode::from_u16(status).unwrap(),
                headers,
                Nominated::from_parts(nominated),
                times.map(|time| from_nanoseconds(u64::from(time) << 31)),
            )
        }
    }

    #[test]
    fn a_sensitive_value_stays_sensitive() {
        let mut secret = HeaderValue::from_static("secret");
        secret.set_sensitive(true);
        let packed = Packed::new(&head([(HeaderName::from_static("a"), secret)].into_iter().collect()));
        assert!(packed.unpack().unwrap().headers["a"].is_sensitive());
    }

    #[test]
    fn a_strong_validator_makes_a_body_mendable() {
        assert!(packed(&[("etag", "\"a\"")]).is_mendable());
        assert!(!packed(&[("etag", "W/\"a\"")]).is_mendable());
        assert!(!packed(&[]).is_mendable());
    }

    #[test]
    fn a_well_known_name_takes_a_byte() {
        let (known, other) = (packed(&[("content-type", "a")]), packed(&[("content-tip", "a")]));
        assert_eq!(other.as_bytes().len() - known.as_bytes().len(), 1 + "content-tip".len());
    }

    #[test]
    fn equal_nominated_fields_are_equal_bytes() {
        let mut german = head(HeaderMap::new());
        german.nominated = Nominated::from_parts([(http::header::ACCEPT_LANGUAGE, Some(b"de".to_vec()))]);
        let mut no_language = german.clone();
        no_language.nominated = Nominated::from_parts([(http::header::ACCEPT_LANGUAGE, None)]);
        let (german, none) = (Packed::new(&german), Packed::new(&no_language));
        assert_ne!(german.nominated(), none.nominated());
        assert_eq!(none.nominated(), Packed::new(&no_language).nominated());
        assert_eq!(Packed::from_bytes(b"").nominated(), None);
    }

    proptest! {
        #[test]
        fn a_head_is_unpacked_as_it_was_packed(original in any_head()) {
            let packed = Packed::new(&original);
            let unpacked = Packed::from_bytes(packed.as_bytes()).unpack().unwrap();
            prop_assert_eq!(&unpacked, &original);
            // Equality of maps does not look at the order of fields.
            prop_assert!(unpacked.headers.iter().eq(original.headers.iter()));
        }

        #[test]
        fn any_bytes_are_unpacked_without_panic(
            bytes: Vec<u8>, head in any_head(), at: prop::sample::Index, flip in 1u8..,
        ) {
            drop(Packed::from_bytes(&bytes).unpack());
            let mut bytes = Packed::new(&head).as_bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            drop(Packed::from_bytes(&bytes).unpack());
            drop(Packed::from_bytes(&bytes[..at]).unpack());
            let _ = Packed::from_bytes(&bytes).nominated();
        }
    }
}
