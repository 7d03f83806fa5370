//! The challenges of a 407: by which schemes a client may name its account (RFC 9110 §11.7.1, RFC 7617, RFC 6750 §3).

use http::header::PROXY_AUTHENTICATE;
use http::{HeaderMap, HeaderValue};

/// By which schemes a client may name an account (RFC 9110 §11.7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) basic: bool,
    pub(crate) bearer: bool,
    pub(crate) presented: Presented,
}

/// What a client has presented already, and was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presented {
    Nothing,
    /// A name and a password.
    Password,
    Token,
    /// What could not be read, or is of another scheme.
    Other,
}

impl Challenge {
    /// What the page says to whoever wants to go on. It does not tell whether there is such an account.
    pub(super) fn plainly(self) -> &'static str {
        match (self.basic, self.presented) {
            (true, Presented::Nothing) => {
                "The internet is reached here with a name and a password. Load the page again, and give those that you \
                 were given for this network."
            }
            (true, _) => {
                "The name and the password that were given were not right. Load the page again, and give those that you \
                 were given for this network."
            }
            (false, Presented::Nothing) => {
                "The internet is reached here with a token. It has to be set in the program that you use."
            }
            (false, _) => {
                "The token that was given was not right. It has to be set in the program that you use."
            }
        }
    }

    /// What it says to whoever looks after the proxy. It does not tell whether there is such an account.
    pub(super) fn in_words(self) -> String {
        let wanted = match (self.basic, self.bearer) {
            (true, true) => "a name and a password, or a token,",
            (true, false) => "a name and a password",
            (false, _) => "a token",
        };
        match self.presented {
            Presented::Nothing => {
                format!("This proxy wants {wanted} that it knows, and none came with the request.")
            }
            Presented::Password => {
                format!("The name or the password is wrong. This proxy wants {wanted} that it knows.")
            }
            Presented::Token => format!("The token is wrong. This proxy wants {wanted} that it knows."),
            Presented::Other => {
                format!("What came with the request cannot be read. This proxy wants {wanted} that it knows.")
            }
        }
    }

    /// "A proxy MUST send at least one Proxy-Authenticate header field in each 407 (Proxy Authentication Required)
    /// response that it generates" (RFC 9110 §11.7.1): one challenge in each line, which every client can take apart.
    pub(super) fn put(self, headers: &mut HeaderMap) {
        if self.basic {
            let basic = HeaderValue::from_static("Basic realm=\"bentpipe\", charset=\"UTF-8\"");
            headers.append(PROXY_AUTHENTICATE, basic);
        }
        // "If the request lacks any authentication information ..., the resource server SHOULD NOT include an error
        // code or other error information" (RFC 6750 §3.1).
        let bearer = match self.presented {
            Presented::Token => "Bearer realm=\"bentpipe\", error=\"invalid_token\"",
            _ => "Bearer realm=\"bentpipe\"",
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
        check_challenge(Challenge { basic: true, bearer: false, presented: Presented::Nothing }, &[basic]);
        let both = Challenge { basic: true, bearer: true, presented: Presented::Nothing };
        check_challenge(both, &[basic, "Bearer realm=\"bentpipe\""]);
        let wrong = Challenge { basic: false, bearer: true, presented: Presented::Token };
        check_challenge(wrong, &["Bearer realm=\"bentpipe\", error=\"invalid_token\""]);
    }

    #[test]
    fn what_was_wrong_is_told_apart_from_what_was_not_there() {
        let check = |presented, expected: &str| {
            let said = Challenge { basic: true, bearer: false, presented }.in_words();
            assert_eq!(said, expected);
        };
        check(
            Presented::Nothing,
            "This proxy wants a name and a password that it knows, and none came with the request.",
        );
        check(
            Presented::Password,
            "The name or the password is wrong. This proxy wants a name and a password that it knows.",
        );
    }
}
