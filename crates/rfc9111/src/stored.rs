//! The head of a stored response: what of it is kept (RFC 9111 §3.1), and when it was asked for and received.
//!
//! The body is somebody else's: this crate decides about heads only.

use std::time::SystemTime;

use http::StatusCode;
use http::header::{AGE, CACHE_CONTROL, DATE, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED, SET_COOKIE};

use crate::connection::HopByHop;
use crate::date::{format_date, parse_date};
use crate::directives::CacheControl;
use crate::etag::EntityTag;
use crate::fields::{self, Named};
use crate::nominated::Nominated;
use crate::reckoned::Reckoned;
use crate::request::Presented;

/// The head of a stored response to a GET request.
///
/// What it says of itself is reckoned once: fields and times are changed before anything is asked of it, or in a clone.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredResponse {
    /// The status code.
    pub status: StatusCode,
    /// The header fields that are kept: see [`StoredResponse::new`].
    pub headers: HeaderMap,
    /// The request fields nominated by Vary, with their values in the original request.
    pub nominated: Nominated,
    /// "The value of the clock at the time of the request that resulted in the stored response." (§4.2.3)
    pub request_time: SystemTime,
    /// "The value of the clock at the time the response was received." (§4.2.3)
    pub response_time: SystemTime,
    pub(crate) reckoned: Reckoned,
}

impl StoredResponse {
    /// The head to store for a response received to this request.
    ///
    /// Left out are (§3.1) the fields for one connection, those of proxy authentication, and those listed by
    /// `no-cache="…"` and `private="…"`; also Set-Cookie, which is for the first client only. Age is kept, the age of
    /// the stored response being computed from it. A missing or broken Date becomes the time of receipt.
    pub fn new(
        request: &Presented<'_>,
        status: StatusCode,
        headers: &HeaderMap,
        request_time: SystemTime,
        response_time: SystemTime,
    ) -> Self {
        let nominated = Nominated::new(request.headers, headers);
        let mut kept = storable(headers);
        date_it(&mut kept, response_time);
        Self::from_parts(status, kept, nominated, [request_time, response_time])
    }

    /// A head that was stored before, put together again: `times` are those of the request and of the response.
    pub fn from_parts(
        status: StatusCode,
        headers: HeaderMap,
        nominated: Nominated,
        times: [SystemTime; 2],
    ) -> Self {
        let [request_time, response_time] = times;
        Self { status, headers, nominated, request_time, response_time, reckoned: Reckoned::default() }
    }

    /// Nominates anew the fields that the stored Vary names, with their values in this request.
    ///
    /// For a response that [`freshen`](crate::freshen) gave another Vary: the request that was answered with 304 is
    /// one that this response suits.
    pub fn renominate(&mut self, request: &Presented<'_>) {
        self.nominated = Nominated::new(request.headers, &self.headers);
    }

    /// The fields for a response that is made from it. A single Age or Cache-Status of no value among them is to be filled in,
    /// as it would have to be added otherwise (§5.1, RFC 9211).
    pub fn to_serve(&self) -> HeaderMap {
        Reckoned::to_serve(self)
    }

    /// When the origin made the response: Date, or the time of receipt where that cannot be read.
    pub fn date(&self) -> SystemTime {
        Reckoned::times(self).date
    }

    /// Last-Modified, where it can be read.
    pub fn last_modified(&self) -> Option<SystemTime> {
        Reckoned::times(self).last_modified
    }

    /// Whether there is something to validate the response by (§4.3.1).
    pub fn has_validator(&self) -> bool {
        has_validator(&self.headers)
    }

    pub(crate) fn etag(&self) -> Option<EntityTag<'_>> {
        EntityTag::of(&self.headers)
    }

    /// The same response, older than any lifetime: to be validated before it is used again (§4.3.5).
    pub fn outdated(&self) -> Self {
        Self { request_time: SystemTime::UNIX_EPOCH, response_time: SystemTime::UNIX_EPOCH, ..self.clone() }
    }

    /// The date in a field, read with the time of receipt as the reference for two-digit years.
    pub(crate) fn read_date(&self, name: &HeaderName) -> Option<SystemTime> {
        parse_date(fields::first(&self.headers, name)?, self.response_time)
    }
}

/// Whether header fields hold a validator: an entity tag or a modification date, readable or not, since either is sent
/// back as it came.
pub(crate) fn has_validator(headers: &HeaderMap) -> bool {
    headers.contains_key(LAST_MODIFIED) || EntityTag::of(headers).is_some()
}

/// What of a response's header fields is stored (§3.1).
pub(crate) fn storable(headers: &HeaderMap) -> HeaderMap {
    // "The Connection header field and fields whose names are listed in it are required by Section 7.6.1 of [HTTP] to
    // be removed before forwarding the message. This MAY be implemented by doing so before storage."
    let hop_by_hop = HopByHop::of(headers);
    // "The no-cache […] and private […] cache directives can have arguments that prevent storage of header fields by all
    // caches and shared caches, respectively."
    let has_arguments = |value: &HeaderValue| value.as_bytes().contains(&b'"');
    let withheld = (headers.get_all(CACHE_CONTROL).iter().any(has_arguments))
        .then(|| Named::among(headers, CacheControl::listed_fields(headers)));
    let is_excluded = |name: &HeaderName| {
        hop_by_hop.contains(name)
            // A cookie was set for the client that got it. The others share the response, not the cookie.
            || *name == SET_COOKIE
            || withheld.as_ref().is_some_and(|withheld| withheld.contains(name))
    };
    fields::retain(headers, |name| !is_excluded(name))
}

/// Makes sure that a stored response says when it was made.
///
/// RFC 9110 §6.6.1: "A recipient with a clock that receives a response message without a Date header field MUST record
/// the time it was received and append a corresponding Date header field to the message's header section if it is
/// cached or forwarded downstream." and "…that receives a response with an invalid Date header field value MAY replace
/// that value with the time that response was received."
pub(crate) fn date_it(headers: &mut HeaderMap, response_time: SystemTime) {
    let readable = fields::first(headers, &DATE).and_then(|date| parse_date(date, response_time)).is_some();
    if !readable {
        fields::replace(headers, &DATE, [format_date(response_time)]);
    }
}

/// The Age field's value in seconds (§5.1): zero where there is no such field, and more than any response is fresh for
/// where it cannot be believed.
pub(crate) fn age_value(headers: &HeaderMap) -> u32 {
    let mut lines = headers.get_all(AGE).iter();
    let Some(_) = lines.next() else { return 0 };
    // "Although it is defined as a singleton header field, a cache encountering a message with a list-based Age field
    // value SHOULD use the first member of the field value, discarding subsequent ones."
    let mut members = fields::members(headers, &AGE);
    let first = members.next().unwrap_or_default();
    // A field that was sent twice, or repeats itself, went through something that does not know what it does.
    let is_repeated = lines.next().is_some() || members.next() == Some(first);
    // "If the field value […] is invalid […], a cache SHOULD ignore the field." Then a response that says it is old, in a
    // way that nobody can read, would be new. It is validated in its place, which is always right.
    fields::delta_seconds(first).filter(|_| !is_repeated).unwrap_or(UNBELIEVABLE)
}

/// "If a cache receives a delta-seconds value greater than the greatest integer it can represent […], the cache MUST
/// consider the value to be 2147483648 (2^31)" (§1.2.2).
const UNBELIEVABLE: u32 = 1 << 31;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{START_DATE, headers, stored};

    #[track_caller]
    fn check(received: &str, kept: &str) {
        let kept = headers(&kept.replace("NOW", START_DATE));
        assert_eq!(stored(200, received).headers, kept, "{received}");
    }

    #[test]
    fn fields_for_one_connection_are_not_stored_3_1() {
        check("date: NOW\nconnection: foo\nfoo: 1\nbar: 2\nkeep-alive: 5", "bar: 2\ndate: NOW");
        check("proxy-authenticate: x\nproxy-authentication-info: y", "date: NOW");
    }

    #[test]
    fn unknown_fields_and_duplicates_are_stored_3_1() {
        check("foo: 1\nbar: 2\nfoo: 3", "foo: 1\nbar: 2\nfoo: 3\ndate: NOW");
        check("cache-status: up; hit\nage: 7", "cache-status: up; hit\nage: 7\ndate: NOW");
    }

    #[test]
    fn cookies_are_for_the_first_client_only() {
        check("set-cookie: a\nset-cookie: b\nfoo: c", "foo: c\ndate: NOW");
    }

    #[test]
    fn set_cookie2_means_nothing_any_more_rfc6265_9_4() {
        check("set-cookie2: a", "set-cookie2: a\ndate: NOW");
    }

    #[test]
    fn fields_listed_by_no_cache_and_private_are_not_stored_3_1() {
        let control = "cache-control: no-cache=\"foo\", private=\"bar, etag\", max-age=1";
        check(
            &format!("{control}\nfoo: 1\nbar: 2\netag: x\nbaz: 3"),
            &format!("{control}\nbaz: 3\ndate: NOW"),
        );
    }

    #[test]
    fn a_missing_or_broken_date_is_the_time_of_receipt_rfc9110_6_6_1() {
        check("a: 1", "a: 1\ndate: NOW");
        check("date: yesterday\na: 1", "date: NOW\na: 1");
    }

    #[test]
    fn age_is_the_first_member_and_old_where_it_cannot_be_believed_5_1() {
        for (text, age) in [
            ("age: 7200", 7200),
            ("age: 1, 7200", 1),
            ("age: 7200,0", 7200),
            ("age: 1\nage: 7200", UNBELIEVABLE),
            ("age: 0, 0", UNBELIEVABLE),
            ("age: 7200.0", UNBELIEVABLE),
            ("age: 7200;a=1", UNBELIEVABLE),
            ("age: -1", UNBELIEVABLE),
            ("age: abc, 7200", UNBELIEVABLE),
            ("age: ", UNBELIEVABLE),
            ("age: 99999999999999", 1 << 31),
            ("", 0),
        ] {
            assert_eq!(age_value(&headers(text)), age, "{text}");
        }
    }
}
