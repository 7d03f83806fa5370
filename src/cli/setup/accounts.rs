//! Accounts as `bentpipe setup` makes them: a name, a password that nobody has chosen, and the line for the file of
//! users (as `htpasswd -B` writes it).

use anyhow::anyhow;
use bcrypt::Version;
use rustls::crypto::ring;

/// Characters that are not taken for one another, on paper or on the telephone: 32 of them, so each is 5 bits.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Characters of a password: 80 bits.
const LENGTH: usize = 16;

/// The cost of a hash: some 60 ms for each guess. What has 80 bits is not guessed anyway.
const COST: u32 = 10;

/// Characters of the longest name.
const LONGEST_NAME: usize = 64;

/// Someone who may use the proxy.
pub(super) struct Account {
    pub(super) name: String,
    /// In groups of four, between hyphens that belong to it.
    pub(super) password: String,
    hash: String,
}

impl Account {
    /// An account of this name, with a password of its own.
    ///
    /// # Errors
    /// If the name cannot be one, or the system gives no random numbers.
    pub(super) fn new(name: &str) -> anyhow::Result<Account> {
        check_name(name).map_err(anyhow::Error::msg)?;
        let password = password(random()?);
        let hash = bcrypt::hash_with_salt(&password, COST, random()?).map_err(|error| anyhow!("{error}"))?;
        Ok(Account { name: name.to_owned(), password, hash: hash.format_for_version(Version::TwoY) })
    }

    /// The line of the file of users.
    pub(super) fn line(&self) -> String {
        format!("{}:{}\n", self.name, self.hash)
    }
}

/// Whether `name` can be somebody's: RFC 7617 §2 allows no colon in it and no control characters.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let is_wrong = |letter: char| letter == ':' || letter.is_control() || letter.is_whitespace();
    if name.is_empty()
        || name.starts_with('#')
        || name.contains(is_wrong)
        || name.chars().count() > LONGEST_NAME
    {
        return Err(format!(
            "{name:?}: expected a name of at most {LONGEST_NAME} characters, no colon and no space among them"
        ));
    }
    Ok(())
}

/// Whether each of `names` can be somebody's, and no two are the same: a file of users has each once.
pub(super) fn check_names(names: &[String]) -> Result<(), String> {
    for (name, before) in names.iter().zip(0_usize..) {
        check_name(name)?;
        if names.iter().take(before).any(|other| other == name) {
            return Err(format!("{name:?} is named twice: each account once"));
        }
    }
    Ok(())
}

fn password(random: [u8; LENGTH]) -> String {
    let mut password = String::new();
    for (octet, place) in random.iter().zip(0_usize..) {
        if place > 0 && place.is_multiple_of(4) {
            password.push('-');
        }
        // 32 divides 256: no letter is likelier than another.
        password.push(char::from(LETTERS[usize::from(*octet) % LETTERS.len()]));
    }
    password
}

fn random() -> anyhow::Result<[u8; LENGTH]> {
    let mut octets = [0; LENGTH];
    ring::default_provider()
        .secure_random
        .fill(&mut octets)
        .map_err(|_| anyhow!("the system gives no random numbers"))?;
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_there_twice() {
        let check =
            |names: &[&str]| check_names(&names.iter().copied().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(check(&["ann", "ben"]), Ok(()));
        assert!(check(&["ann", "ben", "ann"]).is_err_and(|why| why.contains("\"ann\" is named twice")));
        assert!(check(&["a:b"]).is_err());
    }

    #[test]
    fn an_account_opens_with_its_password_alone() {
        let (ann, ben) = (Account::new("ann").unwrap(), Account::new("ben").unwrap());
        assert!(ann.line().starts_with("ann:$2y$10$") && ann.line().ends_with('\n'));
        assert_eq!(bcrypt::verify(&ann.password, &ann.hash).ok(), Some(true));
        assert_eq!(bcrypt::verify(&ben.password, &ann.hash).ok(), Some(false));
        assert_eq!(ann.password.len(), LENGTH + 3);
        assert!(!ann.line().contains(&ann.password));
    }

    #[test]
    fn names_are_what_a_line_and_a_request_can_carry() {
        for good in ["ann", "Jürgen", "a.b@ship.example", &"x".repeat(64)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for wrong in ["", "a:b", "a b", "a\nb", "#a", "a\u{7f}", &"x".repeat(65)] {
            assert!(check_name(wrong).is_err(), "{wrong:?}");
        }
    }
}
