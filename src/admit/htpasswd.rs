//! Accounts by a file of htpasswd: names and hashes of passwords, of the kinds that make guessing slow. It reads and
//! compares; when it is asked, and how often, is `accounts`' affair.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, Params, PasswordVerifier as _};

use crate::named_file;

/// The accounts of one file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Users(HashMap<Arc<str>, Hash>);

/// What is kept of a password.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Hash {
    Bcrypt(Box<str>),
    Argon2(Box<str>),
}

/// What a password can be checked against stays out of every log line and panic message.
impl std::fmt::Debug for Hash {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Hash::Bcrypt(_) => "Bcrypt",
            Hash::Argon2(_) => "Argon2",
        })
    }
}

/// Bytes of the largest file that is read.
const LARGEST: u64 = 10_000_000;

/// A bcrypt cost above it keeps a core busy for several seconds for each guess, and argon2's bounds, in KiB, passes and
/// lanes, for longer or with more memory than a proxy should have to give.
const MOST_COST: u32 = 16;
const MOST_MEMORY: u32 = 1024 * 1024;
const MOST_PASSES: u32 = 64;
const MOST_LANES: u32 = 16;

/// The hash of nobody's password, for names that are nobody's: it takes as long as others of its cost.
const NOBODYS: &str = "$2y$10$d1yNsIIJog72DDAYUz1NxepSD8SM6SSPni6yvP0/KzGbTWbs6ZrF.";

impl Users {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// A file that cannot be read, and all lines that are no accounts or whose hashes protect nothing: one line each,
    /// with its number.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text = named_file::text(path, LARGEST).map_err(|error| error.to_string())?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Reads `NAME:HASH` lines; empty lines and comments are none. `file` is how the advice calls the file.
    fn parse(text: &str, file: &str) -> Result<Self, String> {
        let mut users = HashMap::new();
        let mut errors = Errors::default();
        let lines = text.lines().zip(1_usize..).map(|(line, number)| (line.trim(), number));
        for (line, number) in lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#')) {
            let account = line.split_once(':').filter(|(name, _)| !name.is_empty());
            let read = account.ok_or_else(|| "expected NAME:HASH".to_owned()).and_then(|(name, hash)| {
                let hash = Hash::parse(hash)
                    .map_err(|why| format!("{name} has {why}: htpasswd -B {file} {name}"))?;
                Ok((name, hash))
            });
            match read {
                Ok((name, _)) if users.contains_key(name) => {
                    errors.push(format!("line {number}: {name} is there already"));
                }
                Ok((name, hash)) => _ = users.insert(Arc::from(name), hash),
                Err(reason) => errors.push(format!("line {number}: {reason}")),
            }
        }
        if errors.told.is_empty() { Ok(Self(users)) } else { Err(errors.to_string()) }
    }

    /// How many accounts there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The account `name`, and what its password is checked against. For a name that is nobody's it is a hash that
    /// costs as much and of which nothing comes.
    pub(super) fn account(&self, name: &str) -> (Option<Arc<str>>, Hash) {
        match self.0.get_key_value(name) {
            Some((name, hash)) => (Some(name.clone()), hash.clone()),
            None => (None, self.0.values().next().cloned().unwrap_or_else(|| Hash::Bcrypt(NOBODYS.into()))),
        }
    }
}

/// What is wrong with a file: the first lines of it, and how many more.
#[derive(Default)]
struct Errors {
    told: Vec<String>,
    more: usize,
}

impl Errors {
    const MOST: usize = 20;

    fn push(&mut self, error: String) {
        if self.told.len() < Self::MOST {
            self.told.push(error);
        } else {
            self.more += 1;
        }
    }
}

impl std::fmt::Display for Errors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.told.join("\n"))?;
        if self.more > 0 { write!(f, "\nand {} more lines are wrong", self.more) } else { Ok(()) }
    }
}

impl Hash {
    /// # Errors
    /// What is wrong with it, and the beginning of the advice that `parse` completes.
    fn parse(text: &str) -> Result<Self, String> {
        let weak = |kind: &str| Err(format!("{kind}, which is quickly guessed; make a new one"));
        if ["$2y$", "$2a$", "$2b$"].iter().any(|kind| text.starts_with(kind)) {
            return Self::bcrypt(text);
        }
        if text.starts_with("$argon2") {
            return Self::argon2(text);
        }
        if text.starts_with("{SHA}") {
            return weak("an SHA-1 hash");
        }
        if text.starts_with("$apr1$") || text.starts_with("$1$") {
            return weak("an MD5 hash");
        }
        if text.starts_with("$5$") || text.starts_with("$6$") {
            return weak("a hash of crypt");
        }
        if text.starts_with('$') {
            return Err("a hash of a kind that is not known here; make a new one".to_owned());
        }
        let of_crypt = |byte: u8| byte.is_ascii_alphanumeric() || b"./".contains(&byte);
        if text.len() == 13 && text.bytes().all(of_crypt) {
            return weak("a hash of crypt");
        }
        weak("a password that is not hashed")
    }

    fn bcrypt(text: &str) -> Result<Self, String> {
        let parts = text.parse::<bcrypt::HashParts>();
        let parts = parts.map_err(|_| "a hash of bcrypt that is not whole; make a new one".to_owned())?;
        if parts.get_cost() > MOST_COST {
            return Err(format!("a hash of bcrypt whose cost is above {MOST_COST}; make a new one"));
        }
        Ok(Self::Bcrypt(text.into()))
    }

    fn argon2(text: &str) -> Result<Self, String> {
        let wrong = || "a hash of argon2 that is not whole; make a new one".to_owned();
        let hash = PasswordHash::new(text).map_err(|_| wrong())?;
        let params = Params::try_from(&hash).map_err(|_| wrong())?;
        if hash.salt.is_none() || hash.hash.is_none() {
            return Err(wrong());
        }
        if params.m_cost() > MOST_MEMORY || params.t_cost() > MOST_PASSES || params.p_cost() > MOST_LANES {
            return Err("a hash of argon2 that takes more than 1 GiB, 64 passes or 16 lanes; make a new one"
                .to_owned());
        }
        Ok(Self::Argon2(text.into()))
    }

    /// Whether it is the hash of `password`. Takes long, on purpose.
    pub(super) fn is_of(&self, password: &[u8]) -> bool {
        match self {
            Hash::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Hash::Argon2(hash) => PasswordHash::new(hash)
                .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of "sesame" by `htpasswd -nbB -C 4`, and of "password" by the reference implementation's own test.
    const BCRYPT: &str = "$2y$04$oz.BsUYJzkG.7m3ndiK6ou9ul3bCN7ApD2AuiSX5NNTixsyYhdHt6";
    const ARGON2: &str =
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

    #[test]
    fn only_the_first_errors_of_a_long_file_are_told() {
        let text = "ann:sesame\n".repeat(100_000);
        let told = Users::parse(&text, "users").expect_err("no hashes");
        assert_eq!(told.lines().count(), 21);
        assert!(told.ends_with("\nand 99980 more lines are wrong"), "{told}");
    }

    #[test]
    fn passwords_are_checked_against_hashes() {
        let users =
            Users::parse(&format!("# school\n\nann:{BCRYPT}\r\nbob:{ARGON2}\n"), "users").expect("accounts");
        assert_eq!(users.len(), 2);
        for (name, password) in [("ann", "sesame"), ("bob", "password")] {
            let (account, hash) = users.account(name);
            assert_eq!(account.as_deref(), Some(name));
            assert!(hash.is_of(password.as_bytes()) && !hash.is_of(b"Sesame") && !hash.is_of(b""), "{name}");
        }
        let other = BCRYPT.replacen("$2y$", "$2b$", 1);
        assert!(
            Users::parse(&format!("ann:{other}"), "users")
                .expect("accounts")
                .account("ann")
                .1
                .is_of(b"sesame")
        );
        assert_eq!(users.account("eve").0, None);
    }

    #[test]
    fn a_name_that_is_nobodys_takes_as_long() {
        assert!(bcrypt::verify(b"x", NOBODYS).is_ok_and(|matches| !matches), "a hash that can be checked");
        let users = Users::parse(&format!("ann:{BCRYPT}"), "users").expect("accounts");
        assert!(matches!(users.account("eve"), (None, Hash::Bcrypt(hash)) if &*hash == BCRYPT));
    }

    #[track_caller]
    fn check_refused(hash: &str, why: &str) {
        let said = Users::parse(&format!("\nann:{hash}"), "/etc/users").expect_err("a refusal");
        let advice = "make a new one: htpasswd -B /etc/users ann";
        assert_eq!(said, format!("line 2: ann has {why}; {advice}"));
    }

    #[test]
    fn hashes_that_protect_nothing_are_refused_with_advice() {
        check_refused("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "an SHA-1 hash, which is quickly guessed");
        check_refused("$apr1$x$y", "an MD5 hash, which is quickly guessed");
        check_refused("$1$x$y", "an MD5 hash, which is quickly guessed");
        check_refused("$6$x$y", "a hash of crypt, which is quickly guessed");
        check_refused("rl.3StKT.4T8M", "a hash of crypt, which is quickly guessed");
        check_refused("sesame", "a password that is not hashed, which is quickly guessed");
        check_refused("$7$x", "a hash of a kind that is not known here");
        check_refused("$2y$05$short", "a hash of bcrypt that is not whole");
        check_refused(&BCRYPT.replacen("$04$", "$17$", 1), "a hash of bcrypt whose cost is above 16");
        check_refused("$argon2id$v=19$m=16,t=2,p=1", "a hash of argon2 that is not whole");
        let all = Users::parse("ann\n:x\nbob:x\n", "f").expect_err("refusals");
        assert_eq!(all.lines().count(), 3);
        assert!(!all.contains("bob:x"));
        let twice = Users::parse(&format!("ann:{BCRYPT}\nann:{BCRYPT}"), "f").expect_err("a refusal");
        assert_eq!(twice, "line 2: ann is there already");
    }
}
