//! How the access log writes the URL of a request: never with a user name or password in it, and with as much of the
//! query as the operator wants to see.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, RandomState};

use http::Uri;

use crate::config::QueryLog;

/// What is written of URLs, with the key of the hashes, which ends with the process.
pub(crate) struct Urls {
    query: QueryLog,
    key: RandomState,
}

impl Urls {
    pub(crate) fn new(query: QueryLog) -> Self {
        Self { query, key: RandomState::new() }
    }

    /// The URL that a Referer field names, as it is written; what is none is written as far as a query would begin.
    pub(crate) fn referred<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        match (Uri::try_from(text), self.query) {
            (Ok(url), _) if url.scheme().is_some() => self.written(&url).into_bytes().into(),
            (_, QueryLog::Keep) => text.into(),
            _ => text.split(|byte| *byte == b'?').next().unwrap_or_default().into(),
        }
    }

    /// `target` as it is written.
    pub(crate) fn written(&self, target: &Uri) -> String {
        let mut text = String::new();
        if let Some(scheme) = target.scheme_str() {
            let _ = write!(text, "{scheme}://");
        }
        if let Some(authority) = target.authority() {
            // "Applications should not render as clear text any data after the first colon (":") character found
            // within a userinfo subcomponent" (RFC 3986 §3.2.1).
            text += authority.as_str().rsplit('@').next().unwrap_or_default();
        }
        // A target of CONNECT is an authority alone, of which the type at hand has no path.
        if target.scheme().is_some() || target.authority().is_none() {
            text += target.path();
        }
        match (target.query(), self.query) {
            (None, _) | (_, QueryLog::Drop) => {}
            (Some(query), QueryLog::Keep) => _ = write!(text, "?{query}"),
            (Some(query), QueryLog::Hash) => {
                let _ = write!(text, "?~{:08x}", self.key.hash_one(query) >> 32);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: QueryLog, target: &str, expected: &str) {
        let written = Urls::new(query).written(&target.parse().expect("a URI"));
        assert_eq!(written, expected);
    }

    #[test]
    fn queries_are_written_as_far_as_wanted_and_user_names_never() {
        check(QueryLog::Keep, "http://a.example/b?c=d", "http://a.example/b?c=d");
        check(QueryLog::Drop, "http://a.example/b?c=d", "http://a.example/b");
        check(QueryLog::Drop, "http://a.example", "http://a.example/");
        check(QueryLog::Keep, "http://ann:sesame@a.example:81/b", "http://a.example:81/b");
        check(QueryLog::Keep, "a.example:443", "a.example:443");
        check(QueryLog::Keep, "ann:sesame@a.example:443", "a.example:443");
        check(QueryLog::Keep, "/b?c", "/b?c");
        check(QueryLog::Keep, "*", "*");
    }

    #[test]
    fn referers_are_written_like_urls() {
        let check = |query, text: &str, expected: &str| {
            assert_eq!(Urls::new(query).referred(text.as_bytes()), expected.as_bytes(), "{text}");
        };
        check(QueryLog::Drop, "http://ann:sesame@a.example/b?c=d", "http://a.example/b");
        check(QueryLog::Keep, "http://a.example/b?c=d", "http://a.example/b?c=d");
        check(QueryLog::Drop, "not a URL?c=d", "not a URL");
        check(QueryLog::Hash, "/b?c=d", "/b");
        check(QueryLog::Keep, "not a URL?c=d", "not a URL?c=d");
    }

    #[test]
    fn a_hash_tells_queries_apart_in_one_run_only() {
        let (one, other) = (Urls::new(QueryLog::Hash), Urls::new(QueryLog::Hash));
        let uri = |text: &str| text.parse::<Uri>().expect("a URI");
        let written = one.written(&uri("http://a/b?password=sesame"));
        assert!(
            written.starts_with("http://a/b?~") && written.len() == "http://a/b?~01234567".len(),
            "{written}"
        );
        assert_eq!(written, one.written(&uri("http://a/b?password=sesame")));
        assert_ne!(written, one.written(&uri("http://a/b?password=open")));
        assert_ne!(written, other.written(&uri("http://a/b?password=sesame")));
    }
}
