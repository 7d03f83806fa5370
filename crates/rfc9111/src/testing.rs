//! What the tests of this crate share: header sections as text, and moments as seconds.
//!
//! Compiled for tests only.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use crate::{Policy, Presented, Situation, StoredResponse};

/// The second all tests count from: Sun, 06 Nov 1994 08:49:37 GMT.
pub(crate) const START: u64 = 784_111_777;

/// The date of [`START`].
pub(crate) const START_DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// A header section: a field a line, as on the wire.
pub(crate) fn headers(text: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').expect("a field has a colon");
        let name: HeaderName = name.parse().expect("a field name");
        headers.append(name, HeaderValue::from_bytes(value.trim().as_bytes()).expect("a field value"));
    }
    headers
}

/// So many seconds after [`START`].
pub(crate) fn at(second: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(START + second)
}

/// The situation so many seconds after [`START`].
pub(crate) fn situation(second: u64) -> Situation {
    Situation { now: at(second), policy: Policy::default() }
}

/// A request that owns its parts.
pub(crate) struct Request {
    method: Method,
    target: Uri,
    headers: HeaderMap,
}

impl Request {
    pub(crate) fn presented(&self) -> Presented<'_> {
        Presented::new(&self.method, &self.target, &self.headers)
    }
}

/// A request with this method and these header fields.
pub(crate) fn request(method: &str, fields: &str) -> Request {
    Request {
        method: method.parse().expect("a method"),
        target: Uri::from_static("http://example.com/a"),
        headers: headers(fields),
    }
}

/// A response to GET with these header fields, asked for and received at [`START`].
pub(crate) fn stored(status: u16, fields: &str) -> StoredResponse {
    stored_for("", status, fields)
}

/// The same, with the header fields of the request.
pub(crate) fn stored_for(request_fields: &str, status: u16, fields: &str) -> StoredResponse {
    let status = StatusCode::from_u16(status).expect("a status");
    let request = request("GET", request_fields);
    StoredResponse::new(&request.presented(), status, &headers(fields), at(0), at(0))
}
