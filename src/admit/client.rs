//! Who asks: the address of the connection and, where accounts are configured, the credentials of the Basic scheme
//! (RFC 9110 §11.7, RFC 7617). It keeps no sessions.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::PROXY_AUTHORIZATION;
use sha2::{Digest, Sha256};

use crate::config::User;
use crate::respond::Refusal;
use crate::respond::interim::Interim;

/// The client of one connection, and what its connection knows of the request.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    /// The request is an OPTIONS for the origin as a whole: sent on in asterisk-form (RFC 9112 §3.2.4).
    pub(crate) in_asterisk_form: bool,
    /// How interim responses to the request reach it.
    pub(crate) interim: Interim,
}

/// The accounts that may use the proxy; when there is none, everyone may.
pub(crate) struct Credentials(Vec<Account>);

struct Account {
    name: Arc<str>,
    /// Of `name:password`: digests of one length compare without telling how much of a guess was right.
    digest: [u8; 32],
}

impl Credentials {
    /// The accounts of the configuration.
    pub(crate) fn new(users: &[User]) -> Self {
        let account = |user: &User| Account {
            name: user.name.as_str().into(),
            digest: digest(format!("{}:{}", user.name, user.password).as_bytes()),
        };
        Self(users.iter().map(account).collect())
    }

    /// The name of the account whose credentials the request carries; none where no accounts are configured.
    ///
    /// # Errors
    /// 407 if an account is needed and none was named rightly.
    pub(crate) fn verify(&self, headers: &HeaderMap) -> Result<Option<Arc<str>>, Refusal> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let given = headers.get(PROXY_AUTHORIZATION).and_then(|value| basic(value.as_bytes()));
        let given = digest(&given.ok_or(Refusal::AuthenticationRequired)?);
        // Every account is compared, so that the time taken says nothing of which one matched.
        let mut matched = None;
        for account in &self.0 {
            let difference =
                account.digest.iter().zip(given).fold(0, |seen, (ours, theirs)| seen | (ours ^ theirs));
            if difference == 0 {
                matched = Some(account.name.clone());
            }
        }
        matched.map(Some).ok_or(Refusal::AuthenticationRequired)
    }
}

/// The `name:password` of Basic credentials.
fn basic(value: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(value).ok()?;
    let (scheme, token) = text.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(token.trim()).ok()).flatten()
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(given: Option<&'static str>, expected: Option<&str>) {
        let users = ["ann:one", "bob:t:wo"].map(|text| {
            let (name, password) = text.split_once(':').expect("a colon");
            User { name: name.into(), password: password.into() }
        });
        let mut headers = HeaderMap::new();
        if let Some(given) = given {
            headers.insert(PROXY_AUTHORIZATION, HeaderValue::from_static(given));
        }
        let found = Credentials::new(&users).verify(&headers).ok().flatten();
        assert_eq!(found.as_deref(), expected, "{given:?}");
    }

    #[test]
    fn only_known_credentials_pass() {
        check(Some("Basic YW5uOm9uZQ=="), Some("ann"));
        check(Some("basic Ym9iOnQ6d28="), Some("bob"));
        check(Some("Basic YW5uOnR3bw=="), None);
        check(Some("Bearer YW5uOm9uZQ=="), None);
        check(Some("Basic %%%"), None);
        check(None, None);
    }

    #[test]
    fn without_accounts_everyone_passes() {
        assert!(Credentials::new(&[]).verify(&HeaderMap::new()).expect("no refusal").is_none());
    }
}
