//! The challenges of a 407: by which schemes a client may name its account (RFC 9110 §11.7.1, RFC 7617, RFC 6750 §3).

use http::header::PROXY_AUTHENTICATE;
use http::{HeaderMap, HeaderValue};

/// By which schemes a client may name an account (RFC 9110 §11.7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) basic: bool,
    pub(crate) bearer: bool,
    /// A token was presented, and is none.
    pub(crate) wrong_token: bool,
}

impl Challenge {
    /// "A proxy MUST send at least one Proxy-Authenticate header field in each 407 (Proxy Authentication Required)
    /// response that it generates" (RFC 9110 §11.7.1): one challenge in each line, which every client can take apart.
    pub(super) fn put(self, headers: &mut HeaderMap) {
        if self.basic {
            let basic = HeaderValue::from_static("Basic realm=\"bentpipe\", charset=\"UTF-8\"");
            headers.append(PROXY_AUTHENTICATE, basic);
        }
        // "If the request lacks any authentication information ..., the resource server SHOULD NOT include an error
        // code or other error information" (RFC 6750 §3.1).
        let bearer = match self.wrong_token {
            true => "Bearer realm=\"bentpipe\", error=\"invalid_token\"",
            false => "Bearer realm=\"bentpipe\"",
        };
        if self.bearer {
            headers.append(PROXY_AUTHENTICATE, HeaderValue::from_static(bearer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_challenge(challenge: Challenge, expected: &[&str]) {
        let mut headers = HeaderMap::new();
        challenge.put(&mut headers);
        let fields: Vec<_> = headers.get_all(PROXY_AUTHENTICATE).iter().collect();
        assert_eq!(fields, expected);
    }

    #[test]
    fn a_407_says_by_which_schemes_an_account_is_named() {
        let basic = "Basic realm=\"bentpipe\", charset=\"UTF-8\"";
        check_challenge(Challenge { basic: true, bearer: false, wrong_token: false }, &[basic]);
        let both = Challenge { basic: true, bearer: true, wrong_token: false };
        check_challenge(both, &[basic, "Bearer realm=\"bentpipe\""]);
        let wrong = Challenge { basic: false, bearer: true, wrong_token: true };
        check_challenge(wrong, &["Bearer realm=\"bentpipe\", error=\"invalid_token\""]);
    }
}
