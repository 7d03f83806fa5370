//! Which account a client has: the credentials that its request presents are compared with the configured ones, in a
//! time that says nothing of how near they were. Slow comparisons run beside the runtime, a few at a time, and what
//! they found is remembered for a while. It keeps no sessions.
//!
//! Guesses are slowed by `failures`, but never the client that has presented the very same credentials from where it is
//! before, and rightly: a neighbour's guesses, or another file of users, are not to keep it out.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;

use http::HeaderMap;
use ipnet::IpNet;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::client::Identity;
use super::credentials::Credentials;
use super::failures::Failures;
use super::remembered::{Mark, Remembered};
use super::users_file::UsersFile;
use crate::config::Admission;
use crate::respond::Refusal;
use crate::respond::challenge::{Challenge, Presented};

/// The accounts that may use the proxy; when there is none, everyone may.
pub(crate) struct Accounts {
    /// Of `name:password`: digests of one length compare without telling how much of a guess was right.
    passwords: Vec<Known>,
    tokens: Vec<Known>,
    file: Option<UsersFile>,
    no_auth: Vec<IpNet>,
    challenge: Challenge,
    remembered: Remembered,
    failures: Arc<Failures>,
    /// Slow comparisons at the same moment.
    comparisons: Arc<Semaphore>,
    /// Of the same credentials one comparison at a time, so that the others find what it found.
    turns: [Mutex<()>; TURNS],
    #[cfg(test)]
    compared: std::sync::atomic::AtomicUsize,
}

struct Known {
    name: Arc<str>,
    digest: [u8; 32],
}

const TURNS: usize = 64;

/// More slow comparisons at once would take every core from whoever is in already.
const MOST_COMPARISONS: usize = 4;

impl Accounts {
    /// The accounts of the configuration, and of the `file` of users that it names.
    pub(crate) fn new(admission: &Admission, file: Option<UsersFile>) -> Self {
        Self::with(admission, file, Arc::new(Failures::new()), Remembered::new())
    }

    /// Other accounts in place of these. Who has to wait because of guesses goes on waiting, and who was right need not.
    /// Without a `file` although one is named, it is the one of these.
    pub(crate) fn renewed(&self, admission: &Admission, file: Option<UsersFile>) -> Self {
        let known =
            || self.file.as_ref().filter(|_| admission.users_file.is_some()).map(UsersFile::carried_over);
        let file = file.or_else(known);
        Self::with(admission, file, self.failures.clone(), self.remembered.carried_over())
    }

    /// Whether the file of users says what `file` says; also if there is none, or it was not read again.
    pub(crate) fn has_same_users(&self, file: Option<&UsersFile>) -> bool {
        match (&self.file, file) {
            (Some(one), Some(other)) => one.is_same(other),
            (_, other) => other.is_none(),
        }
    }

    fn with(
        admission: &Admission,
        file: Option<UsersFile>,
        failures: Arc<Failures>,
        remembered: Remembered,
    ) -> Self {
        let password = |user: &crate::config::User| Known {
            name: user.name.as_str().into(),
            digest: digest(&user.name, user.password.as_bytes()),
        };
        let token =
            |token: &crate::config::Token| Known { name: token.name.as_str().into(), digest: token.digest };
        let cores = available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            passwords: admission.users.iter().map(password).collect(),
            tokens: admission.tokens.iter().map(token).collect(),
            challenge: Challenge {
                basic: file.is_some() || !admission.users.is_empty(),
                bearer: !admission.tokens.is_empty(),
                presented: Presented::Nothing,
            },
            file,
            no_auth: admission.no_auth.clone(),
            remembered,
            failures,
            comparisons: Arc::new(Semaphore::new(cores.min(MOST_COMPARISONS))),
            turns: std::array::from_fn(|_| Mutex::new(())),
            #[cfg(test)]
            compared: std::sync::atomic::AtomicUsize::new(0),
        }
    }

    /// What a client at `address` is told that names no account; none where it need not name one.
    pub(crate) fn wanted(&self, address: IpAddr) -> Option<Challenge> {
        let wanted = self.challenge.basic || self.challenge.bearer;
        let excepted = || self.no_auth.iter().any(|net| net.contains(&address.to_canonical()));
        (wanted && !excepted()).then_some(self.challenge)
    }

    /// Who the client at `address` is by what its request presents; nobody in particular where no account is wanted.
    ///
    /// # Errors
    /// 407 if an account is wanted and none was named rightly, 429 if that happened too often of late.
    pub(crate) async fn identify(&self, address: IpAddr, headers: &HeaderMap) -> Result<Identity, Refusal> {
        if self.wanted(address).is_none() {
            return Ok(Identity::default());
        }
        let now = Instant::now();
        if let Some(file) = &self.file
            && file.refresh(now).await
        {
            self.remembered.doubt();
        }
        let (credentials, value) = match Credentials::of(headers) {
            Ok(read) => read,
            Err(presented) => {
                if presented {
                    self.failures.check(address, None, now)?;
                    self.failures.note(address, None, now);
                }
                let wrong = if presented { Presented::Other } else { Presented::Nothing };
                return Err(self.refused(wrong));
            }
        };
        let mark = self.remembered.mark(address, value);
        if let Some(account) = self.remembered.account(&mark, now) {
            return Ok(Identity { account: Some(account) });
        }
        self.compare(address, credentials, mark).await
    }

    /// Compares credentials of which nothing is remembered.
    async fn compare(
        &self,
        address: IpAddr,
        credentials: Credentials,
        mark: Mark,
    ) -> Result<Identity, Refusal> {
        let meant = credentials.name().map(str::to_owned);
        self.check_patience(address, meant.as_deref(), &mark)?;
        let generation = self.remembered.generation();
        let is_token = matches!(credentials, Credentials::Bearer(_));
        let found = match credentials {
            Credentials::Bearer(digest) => of_digest(&self.tokens, &digest),
            Credentials::Basic { name, password } => {
                match of_digest(&self.passwords, &digest(&name, &password)) {
                    Some(account) => Some(account),
                    None => self.compare_slowly(address, name, password, &mark).await?,
                }
            }
        };
        let now = Instant::now();
        let Some(account) = found else {
            // Once right is not right for ever: from now on they are a guess like any other.
            self.remembered.disprove(&mark);
            self.failures.note(address, meant.as_deref(), now);
            return Err(self.refused(if is_token { Presented::Token } else { Presented::Password }));
        };
        self.remembered.note(mark, account.clone(), generation, now);
        Ok(Identity { account: Some(account) })
    }

    /// Whether credentials are compared now, or have to wait because of guesses. Those that were right of late do not: they
    /// are no guess, and only who guesses learns that others wait.
    fn check_patience(&self, address: IpAddr, meant: Option<&str>, mark: &Mark) -> Result<(), Refusal> {
        let now = Instant::now();
        if self.remembered.is_proven(mark, now) {
            return Ok(());
        }
        self.failures.check(address, meant, now)
    }

    fn refused(&self, presented: Presented) -> Refusal {
        Refusal::AuthenticationRequired(Challenge { presented, ..self.challenge })
    }

    /// Compares with the file of users. A name that is nobody's takes as long as one that is somebody's.
    async fn compare_slowly(
        &self,
        address: IpAddr,
        name: String,
        password: Zeroizing<Vec<u8>>,
        mark: &Mark,
    ) -> Result<Option<Arc<str>>, Refusal> {
        let Some(file) = &self.file else { return Ok(None) };
        let Some(turn) = self.turns.get(mark.stripe(TURNS)) else { return Ok(None) };
        let _turn = turn.lock().await;
        if let Some(account) = self.remembered.account(mark, Instant::now()) {
            return Ok(Some(account));
        }
        let Ok(comparing) = self.comparisons.clone().acquire_owned().await else { return Ok(None) };
        // Of many guesses sent at once the later ones were let in before the earlier ones had failed.
        self.check_patience(address, Some(&name), mark)?;
        let (account, hash) = file.account(&name);
        #[cfg(test)]
        self.compared.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let compared = tokio::task::spawn_blocking(move || {
            let _comparing = comparing;
            hash.is_of(&password)
        });
        let is_right = compared.await.unwrap_or(false);
        Ok(account.filter(|_| is_right))
    }
}

fn of_digest(known: &[Known], digest: &[u8; 32]) -> Option<Arc<str>> {
    let mut found = None;
    // Every account is compared, so that the time taken says nothing of which one matched.
    for account in known {
        if bool::from(account.digest.ct_eq(digest)) {
            found = Some(&account.name);
        }
    }
    found.cloned()
}

fn digest(name: &str, password: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(name).chain_update(b":").chain_update(password).finalize().into()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use http::HeaderValue;
    use http::header::PROXY_AUTHORIZATION;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn accounts(flags: &[&str]) -> Accounts {
        let admission = crate::Config::from_flags(flags).expect("flags").admission;
        let file = admission.users_file.as_deref().map(|path| UsersFile::open(path).expect("users"));
        Accounts::new(&admission, file)
    }

    fn presenting(value: &str) -> HeaderMap {
        [(PROXY_AUTHORIZATION, HeaderValue::from_str(value).expect("a value"))].into_iter().collect()
    }

    fn basic(pair: &str) -> HeaderMap {
        presenting(&format!("Basic {}", STANDARD.encode(pair)))
    }

    /// The account, or what was refused.
    async fn said(accounts: &Accounts, headers: &HeaderMap) -> String {
        match accounts.identify(HERE, headers).await {
            Ok(Identity { account }) => account.as_deref().unwrap_or("nobody").to_owned(),
            Err(refusal) => refusal.worded().status().as_str().to_owned(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_known_credentials_pass() {
        let accounts = accounts(&[
            "--set=admission.users=ann:one,bob:t:wo",
            "--set=admission.tokens=robot=0123456789abcdef",
        ]);
        assert_eq!(said(&accounts, &basic("ann:one")).await, "ann");
        assert_eq!(said(&accounts, &basic("bob:t:wo")).await, "bob");
        assert_eq!(said(&accounts, &presenting("bearer 0123456789abcdef")).await, "robot");
        assert_eq!(said(&accounts, &HeaderMap::new()).await, "407");
        for wrong in ["ann:two", "ann:", "eve:one", "robot:0123456789abcdef"] {
            assert_eq!(said(&accounts, &basic(wrong)).await, "407", "{wrong}");
        }
        assert_eq!(said(&accounts, &presenting("Bearer 0123456789abcdeF")).await, "407");
        assert_eq!(said(&accounts, &basic("ann:one")).await, "ann", "what is remembered holds");
    }

    #[tokio::test(start_paused = true)]
    async fn without_accounts_everyone_passes_and_so_do_the_exempt() {
        assert_eq!(said(&accounts(&[]), &HeaderMap::new()).await, "nobody");
        let exempt = ["--set=admission.users=ann:one", "--set=admission.no_auth=10.0.0.0/8"];
        assert_eq!(said(&accounts(&exempt), &basic("ann:two")).await, "nobody");
        let others = ["--set=admission.users=ann:one", "--set=admission.no_auth=192.168.0.0/16"];
        assert_eq!(said(&accounts(&others), &HeaderMap::new()).await, "407");
    }

    #[tokio::test]
    async fn a_page_of_fifty_requests_costs_one_comparison() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("users");
        let ann = "ann:$2y$04$oz.BsUYJzkG.7m3ndiK6ou9ul3bCN7ApD2AuiSX5NNTixsyYhdHt6\n";
        std::fs::write(&file, ann).expect("written");
        let accounts = Arc::new(accounts(&[&format!("--set=admission.users_file={}", file.display())]));
        let ask = |pair: &'static str| {
            let accounts = accounts.clone();
            tokio::spawn(async move { said(&accounts, &basic(pair)).await })
        };
        for request in [(); 50].map(|()| ask("ann:sesame")) {
            assert_eq!(request.await.expect("an answer"), "ann");
        }
        let compared = || accounts.compared.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(compared(), 1);
        assert_eq!(ask("eve:sesame").await.expect("an answer"), "407");
        assert_eq!(compared(), 2, "a name that is nobody's is compared, too");
        for request in [(); 50].map(|()| ask("ann:wrong")) {
            assert!(["407", "429"].contains(&request.await.expect("an answer").as_str()));
        }
        assert!(compared() < 15, "guesses that wait for their turn are not all compared");
    }

    #[tokio::test(start_paused = true)]
    async fn guessing_is_slowed_and_what_is_remembered_is_not() {
        let accounts = accounts(&["--set=admission.users=ann:one,bob:two"]);
        assert_eq!(said(&accounts, &basic("bob:two")).await, "bob");
        for number in 0..6 {
            assert_eq!(said(&accounts, &basic(&format!("ann:{number}"))).await, "407");
        }
        assert_eq!(said(&accounts, &basic("ann:one")).await, "429", "also of the right password");
        assert_eq!(said(&accounts, &basic("bob:two")).await, "bob");
        tokio::time::advance(std::time::Duration::from_secs(5)).await;
        assert_eq!(said(&accounts, &basic("ann:one")).await, "ann");
    }

    /// Bob has been right, and a neighbour guesses until everybody at their address has to wait.
    async fn beside_a_guesser(accounts: &Accounts) {
        assert_eq!(said(accounts, &basic("bob:two")).await, "bob");
        for number in 0..6 {
            assert_eq!(said(accounts, &basic(&format!("ann:{number}"))).await, "407");
        }
        assert_eq!(said(accounts, &basic("ann:one")).await, "429");
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_right_is_not_kept_out_by_a_neighbours_guesses() {
        let users = |list: &str| {
            let flag = format!("--set=admission.users={list}");
            crate::Config::from_flags([&flag]).expect("flags").admission
        };
        let before = accounts(&["--set=admission.users=ann:one,bob:two"]);
        beside_a_guesser(&before).await;
        let after = before.renewed(&users("ann:one,bob:two,eve:three"), None);
        assert_eq!(said(&after, &basic("ann:one")).await, "429", "it goes on");
        assert_eq!(said(&after, &basic("bob:two")).await, "bob");
        let elsewhere = after.identify(IpAddr::from([10, 0, 0, 2]), &basic("bob:two")).await;
        assert!(elsewhere.is_ok(), "who guesses nothing need not have been there");
        tokio::time::advance(std::time::Duration::from_hours(1)).await;
        for _ in 0..8 {
            let _ = said(&after, &basic("ann:x")).await;
        }
        assert_eq!(said(&after, &basic("ann:one")).await, "429");
        assert_eq!(said(&after, &basic("bob:two")).await, "bob", "also when it has to be compared again");
        let changed = after.renewed(&users("ann:one,bob:other"), None);
        assert_eq!(said(&changed, &basic("bob:two")).await, "407", "the old password is compared");
        assert_eq!(said(&changed, &basic("bob:two")).await, "429", "and is a guess from then on");
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_file_of_users_keeps_nobody_out_who_was_right() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("users");
        let ann = "ann:$2y$04$oz.BsUYJzkG.7m3ndiK6ou9ul3bCN7ApD2AuiSX5NNTixsyYhdHt6\n";
        std::fs::write(&file, ann).expect("written");
        let option = format!("--set=admission.users_file={}", file.display());
        let accounts = accounts(&[&option]);
        assert_eq!(said(&accounts, &basic("ann:sesame")).await, "ann");
        for number in 0..6 {
            assert_eq!(said(&accounts, &basic(&format!("eve:{number}"))).await, "407");
        }
        std::fs::write(&file, format!("{ann}{}", ann.replacen("ann", "bob", 1))).expect("written");
        tokio::time::advance(std::time::Duration::from_secs(5)).await;
        for number in 0..3 {
            let _ = said(&accounts, &basic(&format!("eve:x{number}"))).await;
        }
        assert_eq!(said(&accounts, &basic("bob:sesame")).await, "429", "he was never there");
        assert_eq!(said(&accounts, &basic("ann:sesame")).await, "ann");
        assert!(accounts.has_same_users(UsersFile::open(&file).ok().as_ref()));
        std::fs::write(&file, ann).expect("written");
        assert!(!accounts.has_same_users(UsersFile::open(&file).ok().as_ref()));
        let flags = [&option, "--set=admission.users=eve:x"];
        let after = accounts.renewed(&crate::Config::from_flags(flags).expect("flags").admission, None);
        assert_eq!(said(&after, &HeaderMap::new()).await, "407", "no file that was read is no open door");
        assert_eq!(said(&after, &basic("ann:sesame")).await, "ann");
    }
}
