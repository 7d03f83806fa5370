//! Field names that are so common that a packed head spells them with one byte.
//!
//! Owns the list, which is part of the durable form: new names go to its end, and no name ever moves.

use std::sync::LazyLock;

use foldhash::HashMap;
use http::header::{self, HeaderName};

/// The code of no name: the name is spelled out.
pub(crate) const SPELLED: u8 = 0;

/// The name that `code` stands for, if it does.
pub(crate) fn name(code: u8) -> Option<HeaderName> {
    NAMES.get(usize::from(code).checked_sub(1)?).cloned()
}

/// The code of `name`, if it has one.
pub(crate) fn code(name: &HeaderName) -> Option<u8> {
    static CODES: LazyLock<HashMap<&HeaderName, u8>> = LazyLock::new(|| NAMES.iter().zip(1..).collect());
    CODES.get(name).copied()
}

/// Names that the `http` crate does not know are as cheap to make when they are static.
const fn other(name: &'static str) -> HeaderName {
    HeaderName::from_static(name)
}

/// Codes count from 1.
static NAMES: [HeaderName; 88] = [
    header::DATE,
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::ETAG,
    header::LAST_MODIFIED,
    header::CACHE_CONTROL,
    header::EXPIRES,
    header::AGE,
    header::VARY,
    header::SERVER,
    header::VIA,
    header::ACCEPT_RANGES,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LOCATION,
    header::CONTENT_DISPOSITION,
    header::CONTENT_RANGE,
    header::LOCATION,
    header::LINK,
    header::PRAGMA,
    header::WARNING,
    header::RETRY_AFTER,
    header::ALLOW,
    header::ALT_SVC,
    header::CACHE_STATUS,
    header::CDN_CACHE_CONTROL,
    header::STRICT_TRANSPORT_SECURITY,
    header::CONTENT_SECURITY_POLICY,
    header::CONTENT_SECURITY_POLICY_REPORT_ONLY,
    header::REFERRER_POLICY,
    header::REFRESH,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
    header::X_CONTENT_TYPE_OPTIONS,
    header::X_FRAME_OPTIONS,
    header::X_XSS_PROTECTION,
    header::X_DNS_PREFETCH_CONTROL,
    // Nominated by Vary.
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::ORIGIN,
    header::USER_AGENT,
    header::COOKIE,
    header::REFERER,
    header::AUTHORIZATION,
    // What servers, frameworks and networks of caches add.
    other("x-powered-by"),
    other("x-cache"),
    other("x-cache-hits"),
    other("x-cache-lookup"),
    other("x-cache-status"),
    other("x-served-by"),
    other("x-timer"),
    other("x-varnish"),
    other("x-request-id"),
    other("x-amz-request-id"),
    other("x-amz-id-2"),
    other("x-amz-cf-id"),
    other("x-amz-cf-pop"),
    other("x-amz-version-id"),
    other("x-amz-server-side-encryption"),
    other("x-amz-meta-sha256"),
    other("x-goog-generation"),
    other("x-goog-hash"),
    other("x-goog-metageneration"),
    other("x-goog-storage-class"),
    other("x-goog-stored-content-encoding"),
    other("x-goog-stored-content-length"),
    other("x-guploader-uploadid"),
    other("x-robots-tag"),
    other("x-ua-compatible"),
    other("cf-cache-status"),
    other("cf-ray"),
    other("nel"),
    other("report-to"),
    other("reporting-endpoints"),
    other("server-timing"),
    other("timing-allow-origin"),
    other("permissions-policy"),
    other("priority"),
    other("repr-digest"),
    other("content-digest"),
    other("cross-origin-opener-policy"),
    other("cross-origin-resource-policy"),
    other("cross-origin-embedder-policy"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_own_code() {
        for (name_of, code_of) in NAMES.iter().zip(1..) {
            assert_eq!((code(name_of), name(code_of).as_ref()), (Some(code_of), Some(name_of)));
        }
        assert_eq!((name(SPELLED), name(NAMES.len() as u8 + 1)), (None, None));
        assert_eq!(code(&HeaderName::from_static("x-unheard-of")), None);
    }

    #[test]
    fn the_order_is_part_of_the_durable_form() {
        for (code_of, text) in
            [(1, "date"), (4, "etag"), (41, "x-dns-prefetch-control"), (50, "x-powered-by")]
        {
            assert_eq!(name(code_of).unwrap().as_str(), text);
        }
    }
}
