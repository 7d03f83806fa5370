//! The credentials that a request presents to a proxy: one Proxy-Authorization field (RFC 9110 §11.7.2) of the scheme
//! Basic (RFC 7617) or Bearer (RFC 6750 §2.1). Whether they are right is `accounts`' affair.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::PROXY_AUTHORIZATION;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// What a request presents.
pub(super) enum Credentials {
    Basic {
        name: String,
        password: Zeroizing<Vec<u8>>,
    },
    /// The digest of a token.
    Bearer([u8; 32]),
}

impl Credentials {
    /// Reads them, and the value of the field they stand in.
    ///
    /// # Errors
    /// Whether anything was presented: false if there is no such field, true if what there is cannot be read.
    pub(super) fn of(headers: &HeaderMap) -> Result<(Self, &[u8]), bool> {
        let mut fields = headers.get_all(PROXY_AUTHORIZATION).iter();
        let value = fields.next().ok_or(false)?.as_bytes();
        // The field is no list: of two, another recipient might take the other.
        if fields.next().is_some() {
            return Err(true);
        }
        let text = std::str::from_utf8(value).map_err(|_| true)?;
        let (scheme, token) = text.trim().split_once(' ').ok_or(true)?;
        let read = match scheme.to_ascii_lowercase().as_str() {
            "basic" => basic(token.trim()),
            "bearer" => Some(Self::Bearer(Sha256::digest(token.trim().as_bytes()).into())),
            _ => None,
        };
        read.map(|credentials| (credentials, value)).ok_or(true)
    }

    /// The account that is meant, where the credentials name one.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Basic { name, .. } => Some(name),
            Self::Bearer(_) => None,
        }
    }
}

/// "The user-id and password MUST NOT contain any control characters", and "a user-id containing a colon character is
/// invalid, as the first colon in a user-pass string separates user-id and password from one another" (RFC 7617 §2).
/// They are UTF-8, as our challenge says (§2.1).
fn basic(token: &str) -> Option<Credentials> {
    let decoded = Zeroizing::new(STANDARD.decode(token).ok()?);
    let text = std::str::from_utf8(&decoded).ok().filter(|text| !text.contains(char::is_control))?;
    let (name, password) = text.split_once(':')?;
    Some(Credentials::Basic { name: name.to_owned(), password: Zeroizing::new(password.as_bytes().to_vec()) })
}

/// The name of the account that the credentials of a request are meant for, whether or not there is one.
pub(super) fn meant(headers: &HeaderMap) -> Option<String> {
    let (credentials, _) = Credentials::of(headers).ok()?;
    credentials.name().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(fields: &[&str], expected: &str) {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(PROXY_AUTHORIZATION, HeaderValue::from_str(field).expect("a value"));
        }
        let found = match Credentials::of(&headers) {
            Ok((Credentials::Basic { name, password }, _)) => {
                format!("{name}:{}", String::from_utf8_lossy(&password))
            }
            Ok((Credentials::Bearer(digest), _)) => {
                assert_eq!(digest, <[u8; 32]>::from(Sha256::digest(b"abc==")));
                "token".to_owned()
            }
            Err(presented) => format!("none, {presented}"),
        };
        assert_eq!(found, expected, "{fields:?}");
    }

    #[test]
    fn basic_and_bearer_credentials_are_read() {
        check(&["Basic YW5uOm9uZQ=="], "ann:one");
        check(&["basic   Ym9iOnQ6d28="], "bob:t:wo");
        check(&["Basic YW5uOsOpw6k="], "ann:\u{e9}\u{e9}");
        check(&["Basic YW5uOg=="], "ann:");
        check(&["BEARER abc=="], "token");
        check(&[], "none, false");
        for wrong in
            ["Basic", "Basic %%%", "Basic YW5u", "Digest YW5uOm9uZQ==", "Basic YW5uOgk=", "Basic YW5uOv8="]
        {
            check(&[wrong], "none, true");
        }
        check(&["Basic YW5uOm9uZQ==", "Basic Ym9iOnQ6d28="], "none, true");
    }
}
