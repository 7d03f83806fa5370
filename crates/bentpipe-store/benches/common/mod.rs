//! What the benchmarks store.

use std::time::UNIX_EPOCH;

use http::{HeaderMap, HeaderValue, StatusCode};
use rfc9111::{Nominated, StoredResponse};

/// The head of a response as most are.
pub(crate) fn head() -> StoredResponse {
    let mut headers = HeaderMap::new();
    for name in ["etag", "last-modified", "date", "content-type", "cache-control", "server", "x-cache", "via"]
    {
        headers.insert(name, HeaderValue::from_static("some value of usual length"));
    }
    let nominated = Nominated::from_parts([]);
    StoredResponse::from_parts(StatusCode::OK, headers, nominated, [UNIX_EPOCH; 2])
}
