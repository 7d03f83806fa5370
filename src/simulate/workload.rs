//! A workload with the names people know it by, and which of three forms an argument is in.
//!
//! Owns `Plan`. What the three forms mean is in `har.rs`, `flow_list.rs` and `describe.rs`.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use linkio::sim::{Transaction, Workload};

use super::{describe, flow_list, har};

/// What is to be done over a link, and what its parts are called.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// What it is, in a line.
    pub(super) title: String,
    /// What should be known of how it was read; a sentence each.
    pub(super) notes: Vec<String>,
    pub(super) workload: Workload,
    /// One for each transaction.
    pub(super) names: Vec<String>,
    /// By client key.
    pub(super) clients: Vec<String>,
    /// By host.
    pub(super) hosts: Vec<String>,
}

/// How a workload is read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    /// What a description leaves to chance is decided by this.
    pub(crate) seed: u64,
    /// Origins answer at once, whatever was recorded.
    pub(crate) no_wait: bool,
    /// How long an idle connection to an origin is kept.
    pub(crate) keep_alive: Duration,
    /// The run ends here.
    pub(crate) until: Option<Duration>,
}

/// Bytes that a run without an end may be asked to carry: minutes of this machine's time.
const MOST: u64 = 1_000_000_000_000;

impl Plan {
    /// Reads `argument`: the name of a file, or a description such as `clients=50,for=24h`.
    ///
    /// # Errors
    /// Says which part of what is wrong, and what would be right.
    pub(crate) fn read(argument: &str, reading: &Reading) -> Result<Self, String> {
        let mut plan = match fs::read(Path::new(argument)) {
            Ok(content) => from_file(argument, &content).map_err(|error| format!("{argument}: {error}"))?,
            Err(error) if error.kind() == ErrorKind::NotFound && argument.contains('=') => {
                describe::plan(argument, reading.seed)?
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(format!(
                    "{argument:?} is neither a file nor a description such as clients=50,for=24h,every=90s"
                ));
            }
            Err(error) => return Err(format!("{argument}: {error}")),
        };
        plan.workload.keep_alive = reading.keep_alive;
        plan.workload.until = reading.until.map(linkio::Moment::after_start);
        let bytes = |asked: &Transaction| asked.up.saturating_add(asked.down);
        let total = plan.workload.transactions.iter().map(bytes).fold(0, u64::saturating_add);
        if total > MOST && reading.until.is_none() {
            return Err("expected at most 1 TB in all, or an end of the run with --until".to_owned());
        }
        if reading.no_wait {
            plan.workload.transactions.iter_mut().for_each(|asked| asked.wait = Duration::ZERO);
        }
        Ok(plan)
    }

    /// The run's input.
    pub(crate) fn workload(&self) -> &Workload {
        &self.workload
    }

    /// The place of `name` in `names`, where it is put if it is new.
    pub(super) fn place(names: &mut Vec<String>, known: &mut Known, name: &str) -> u32 {
        if let Some(place) = known.get(name) {
            return *place;
        }
        let place = u32::try_from(names.len()).unwrap_or(u32::MAX);
        names.push(name.to_owned());
        known.insert(name.to_owned(), place);
        place
    }

    /// Adds a transaction.
    pub(super) fn push(&mut self, name: String, transaction: Transaction) {
        self.names.push(name);
        self.workload.transactions.push(transaction);
    }

    /// The name of a transaction's client.
    pub(super) fn client(&self, transaction: &Transaction) -> &str {
        let key = usize::try_from(transaction.standing.client.0).ok();
        key.and_then(|key| self.clients.get(key)).map_or("", String::as_str)
    }

    /// The name of a transaction's host.
    pub(super) fn host(&self, transaction: &Transaction) -> &str {
        let host = usize::try_from(transaction.host).ok();
        host.and_then(|host| self.hosts.get(host)).map_or("", String::as_str)
    }
}

/// Places of names.
pub(super) type Known = std::collections::HashMap<String, u32>;

fn from_file(name: &str, content: &[u8]) -> Result<Plan, String> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let is_har = Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("har"))
        || content.trim_ascii_start().starts_with(b"{");
    let mut plan = if is_har {
        har::plan(content)?
    } else {
        flow_list::plan(
            str::from_utf8(content).map_err(|_| "expected text in UTF-8, or a HAR file".to_owned())?,
        )?
    };
    plan.title = match is_har {
        true => format!("{name}, a recording"),
        false => format!("{name}, a list"),
    };
    Ok(plan)
}
