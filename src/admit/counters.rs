//! What is counted of clients, whatever the rules are: accounts and who guesses at them, requests, what is held at once. It
//! goes on under another configuration as far as that says the same of it.

use std::sync::Arc;
use std::time::Duration;

use super::accounts::Accounts;
use super::allowance::Allowance;
use super::occupancy::Occupancy;
use super::users_file::UsersFile;
use crate::config::Admission;

/// What is counted of clients.
pub(super) struct Counters {
    pub(super) accounts: Arc<Accounts>,
    pub(super) allowance: Option<Arc<Allowance>>,
    /// Connections and exchanges of each client, of which whoever takes these says how many there may be.
    pub(super) connections: Occupancy,
    pub(super) exchanges: Occupancy,
}

impl Counters {
    /// Nothing so far.
    pub(super) fn new(admission: &Admission, users: Option<UsersFile>) -> Self {
        Self {
            accounts: Arc::new(Accounts::new(admission, users)),
            allowance: allowance(admission),
            connections: Occupancy::new(0),
            exchanges: Occupancy::new(0),
        }
    }

    /// These counters, of a configuration of `before`, as they go on under `now`, with the file of users as
    /// it is then: whoever has it read again wants what stands there, whatever the options say.
    pub(super) fn renewed(self, before: &Admission, now: &Admission, users: Option<UsersFile>) -> Self {
        let is_same = has_same_accounts(before, now) && self.accounts.has_same_users(users.as_ref());
        let accounts = if is_same { self.accounts } else { Arc::new(self.accounts.renewed(now, users)) };
        let is_same_rate = (before.requests_per_second, before.burst) == (now.requests_per_second, now.burst);
        let allowance = if is_same_rate { self.allowance } else { allowance(now) };
        Self { accounts, allowance, ..self }
    }
}

fn allowance(admission: &Admission) -> Option<Arc<Allowance>> {
    let rate = admission.requests_per_second?;
    let burst = admission.burst.unwrap_or(rate);
    Some(Arc::new(Allowance::new(Duration::from_secs(1) / rate.get(), burst)))
}

fn has_same_accounts(one: &Admission, other: &Admission) -> bool {
    (&one.users, &one.users_file, &one.tokens, &one.no_auth)
        == (&other.users, &other.users_file, &other.tokens, &other.no_auth)
}
