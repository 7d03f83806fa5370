//! The file of users while bentpipe runs: read at the start, and again when it has changed. A file that is wrong by
//! then leaves the accounts as they were, and is said to be.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::htpasswd::{Hash, Users};

/// The accounts of the file as they were read last.
pub(crate) struct UsersFile {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    users: Arc<Users>,
    stamp: Stamp,
    looked: Instant,
}

/// By what a change of a file is known.
type Stamp = Option<(u64, SystemTime)>;

/// The file is looked at no more often.
const EVERY: Duration = Duration::from_secs(5);

impl UsersFile {
    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong with it, a line each.
    pub(crate) fn open(path: &Path) -> Result<Self, Vec<String>> {
        let stamp = stamp(path);
        let users = Users::read(path).map_err(|reasons| {
            reasons.lines().map(|reason| format!("{}: {reason}", path.display())).collect::<Vec<_>>()
        })?;
        let state = State { users: Arc::new(users), stamp, looked: Instant::now() };
        Ok(Self { path: path.to_owned(), state: Mutex::new(state) })
    }

    /// The same, as it was read, for accounts that take the place of others.
    pub(super) fn carried_over(&self) -> Self {
        let state = self.lock();
        let state = State { users: state.users.clone(), stamp: state.stamp, looked: state.looked };
        Self { path: self.path.clone(), state: Mutex::new(state) }
    }

    /// Reads the file again if it has changed and was not looked at for a while. Whether there are other accounts now.
    pub(super) async fn refresh(&self, now: Instant) -> bool {
        let known = {
            let mut state = self.lock();
            if now.saturating_duration_since(state.looked) < EVERY {
                return false;
            }
            state.looked = now;
            state.stamp
        };
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || {
            // Taken before the file is read: what is written meanwhile is seen at the next look.
            let stamp = stamp(&path);
            (stamp != known).then(|| (stamp, Users::read(&path)))
        });
        let Ok(Some((stamp, read))) = read.await else { return false };
        let mut state = self.lock();
        state.stamp = stamp;
        match read {
            Ok(users) => {
                tracing::info!(file = %self.path.display(), accounts = users.len(), "the users were read again");
                state.users = Arc::new(users);
                true
            }
            Err(reason) => {
                let reason = reason.replace('\n', "; ");
                tracing::warn!(file = %self.path.display(), %reason, "the users stay as they were");
                false
            }
        }
    }

    /// Whether both hold the same accounts with the same passwords.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let one = self.lock().users.clone();
        let its = other.lock().users.clone();
        self.path == other.path && one == its
    }

    /// The account `name`, and what its password is checked against.
    pub(super) fn account(&self, name: &str) -> (Option<Arc<str>>, Hash) {
        let users = self.lock().users.clone();
        users.account(name)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: &str = "ann:$2y$04$oz.BsUYJzkG.7m3ndiK6ou9ul3bCN7ApD2AuiSX5NNTixsyYhdHt6\n";

    #[tokio::test]
    async fn a_changed_file_is_read_again_and_a_wrong_one_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users");
        fs::write(&path, ANN).expect("written");
        let file = UsersFile::open(&path).expect("accounts");
        let later = |looks: u32| Instant::now() + EVERY * looks;
        assert!(!file.refresh(later(1)).await, "nothing has changed");
        fs::write(&path, ANN.replacen("ann", "anna", 1)).expect("written");
        assert!(!file.refresh(later(1)).await, "not so soon");
        assert!(file.refresh(later(3)).await);
        assert!(file.account("ann").0.is_none() && file.account("anna").0.is_some());
        fs::write(&path, "ann:sesame\n").expect("written");
        assert!(!file.refresh(later(5)).await);
        assert!(file.account("anna").0.is_some());
        fs::remove_file(&path).expect("removed");
        assert!(!file.refresh(later(7)).await && file.account("anna").0.is_some());
        assert!(UsersFile::open(&path).is_err());
    }
}
