//! `Token`: an account that is known by a token of the Bearer scheme (RFC 6750), as value and as text:
//! `robot=TOKEN` or `robot=sha256:HEX`. The token itself is not kept, only its digest.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// An account that is known by a token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The account's name: not empty, without a colon or an equals sign.
    pub name: String,
    /// The SHA-256 digest of the token.
    pub digest: [u8; 32],
}

/// Shorter ones can be guessed.
const SHORTEST: usize = 16;

/// Longer ones are no tokens; a field can hold more.
const LONGEST: usize = 4096;

/// Reads `NAME=TOKEN`.
pub(super) fn parse(text: &str) -> Result<Token, String> {
    let expected = || {
        format!(
            "expected name=token, the token at least {SHORTEST} letters, digits and -._~+/, or name=sha256:HEX"
        )
    };
    let (name, given) = text.split_once('=').ok_or_else(expected)?;
    let named = !name.is_empty() && !name.contains([':', ',', ';', '|']) && !name.contains(char::is_control);
    let digest = match given.strip_prefix("sha256:") {
        Some(hex) => digest(hex),
        None => is_token(given).then(|| Sha256::digest(given.as_bytes()).into()),
    };
    match digest {
        Some(digest) if named => Ok(Token { name: name.to_owned(), digest }),
        _ => Err(expected()),
    }
}

/// "b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="" (RFC 6750 section 2.1).
fn is_token(text: &str) -> bool {
    let bare = text.trim_end_matches('=');
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    (SHORTEST..=LONGEST).contains(&text.len()) && !bare.is_empty() && bare.bytes().all(fits)
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (place, pair) in digest.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *place = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

/// Two tokens for one name are one too many when one of them is taken back.
pub(super) fn distinct(tokens: &[Token]) -> Result<(), String> {
    let repeated =
        tokens.iter().enumerate().find(|(n, token)| tokens[..*n].iter().any(|t| t.name == token.name));
    repeated
        .map_or(Ok(()), |(_, token)| Err(format!("expected each name once, {:?} is repeated", token.name)))
}

impl fmt::Display for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}=sha256:", self.name)?;
        self.digest.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// What a token can be checked against stays out of every log line and panic message.
impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Token").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(written: &str, printed: &str) {
        match parse(written) {
            Ok(token) => {
                assert_eq!(token.to_string(), printed, "{written:?}");
                assert_eq!(parse(printed), Ok(token), "{written:?}");
            }
            Err(reason) => assert!(reason.starts_with(printed), "{written:?}: {reason}"),
        }
    }

    #[test]
    fn tokens_are_kept_as_digests() {
        let digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        check(&format!("robot=sha256:{digest}"), &format!("robot=sha256:{digest}"));
        let text = parse("robot=abcdefghijklmnop==").expect("a token").to_string();
        assert!(text.starts_with("robot=sha256:") && !text.contains("abcdefgh"), "{text}");
        assert!(!format!("{:?}", parse("robot=abcdefghijklmnop==")).contains("digest"));
        for wrong in
            ["robot", "robot=short", "=abcdefghijklmnop", "a:b=abcdefghijklmnop", "robot=================="]
        {
            check(wrong, "expected name=token");
        }
        for wrong in ["robot=sha256:9f86", "robot=abcdefgh ijklmnop", "robot=abcdefghijk\u{e9}lmnop"] {
            check(wrong, "expected name=token");
        }
    }
}
