//! What stands around the programs: the origin with its counter, and the load, both the helper `stand` of testkit, built
//! for release, on the second processor; and the pinning.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use tempfile::TempDir;
use testkit::client::{Client, Request};

use super::processes::Processes;
use crate::program::free_port;

/// How long a run of load may take beyond its time before it is taken to hang.
const PATIENCE: Duration = Duration::from_secs(300);

/// The origin and the load of one run of the bench.
#[derive(Debug)]
pub(super) struct Stand {
    helper: PathBuf,
    folder: TempDir,
    origin: Processes,
    secure_origin: SocketAddr,
    is_pinned: bool,
}

/// A run of load, as the helper takes it.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) proxy: SocketAddr,
    /// `absolute`, `tunnel`, or the file of a root certificate for TLS in a tunnel.
    pub(super) way: String,
    /// `one:PATH`, `any:COUNT:START` or `each:START`.
    pub(super) paths: String,
    pub(super) connections: usize,
    pub(super) until: Until,
}

/// When a run of load ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    Time(Duration),
    Count(u64),
    /// Connections are cut where they are; what came in the first fifth does not count.
    Cut(Duration),
}

/// What a run of load counted; `testkit::load` says what of it is checked.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    pub(super) answers: f64,
    /// Of contents.
    pub(super) bytes: f64,
    pub(super) seconds: f64,
    /// The longest time from a request to the first byte of its answer.
    pub(super) slowest_start: f64,
    /// Bytes of each connection.
    pub(super) shares: Vec<f64>,
}

impl Stand {
    /// Starts the origin of `helper`.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) async fn start(helper: PathBuf) -> anyhow::Result<Self> {
        let is_pinned = pin_load();
        let folder = tempfile::tempdir()?;
        // Servers that give up being root want to reach their own folder in it.
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let (address, secure_origin) = (free_port()?, free_port()?);
        let mut command = Command::new(&helper);
        command.args(["serve", &address.port().to_string(), &secure_origin.port().to_string()]);
        command.arg(folder.path().join("root.pem"));
        let origin = Processes::start(command, address, &folder.path().join("origin.said")).await?;
        Ok(Self { helper, folder, origin, secure_origin, is_pinned })
    }

    /// Whether programs and load have a processor each.
    pub(super) fn is_pinned(&self) -> bool {
        self.is_pinned
    }

    pub(super) fn origin(&self) -> SocketAddr {
        self.origin.address()
    }

    /// The origin with TLS.
    pub(super) fn secure_origin(&self) -> SocketAddr {
        self.secure_origin
    }

    /// The certificate that the origin's descends from.
    pub(super) fn root(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    /// Where programs have their folders.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `command` on the programs' processor.
    pub(super) fn on_processor(&self, command: &Command) -> Command {
        if !self.is_pinned {
            return copy(command, Command::new(command.get_program()));
        }
        let mut pinned = Command::new("taskset");
        pinned.args(["--cpu-list", "0"]).arg(command.get_program());
        copy(command, pinned)
    }

    /// How often the origin was asked so far.
    ///
    /// # Errors
    /// When it does not say.
    pub(super) async fn requests(&self) -> anyhow::Result<u64> {
        let mut client = Client::connect(self.origin()).await?;
        let answer = client.request(&Request::new("GET", "/requests")).await?;
        answer.text().parse().context("the origin's counter")
    }

    /// Runs `load`.
    ///
    /// # Errors
    /// When an answer was not what it should be, or none came.
    pub(super) async fn load(&self, load: &Load) -> anyhow::Result<Tally> {
        let (until, time) = match load.until {
            Until::Time(time) => (format!("time:{}", time.as_millis()), time),
            Until::Cut(time) => (format!("cut:{}", time.as_millis()), time),
            Until::Count(count) => (format!("count:{count}"), Duration::from_millis(count)),
        };
        let is_secure = !matches!(load.way.as_str(), "absolute" | "tunnel");
        let origin = if is_secure { self.secure_origin } else { self.origin() };
        let mut command = tokio::process::Command::new(&self.helper);
        command.args(["load", &load.proxy.to_string(), &origin.to_string(), &load.way, &load.paths]);
        command.args([&load.connections.to_string(), &until]).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(time + PATIENCE, command.output()).await;
        let output = output.context("the load does not end")??;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        read_tally(&output.stdout).context("the load's count")
    }
}

fn read_tally(text: &[u8]) -> Option<Tally> {
    let told: serde_json::Value = serde_json::from_slice(text).ok()?;
    let shares = told["shares"].as_array()?;
    Some(Tally {
        answers: told["answers"].as_f64()?,
        bytes: told["bytes"].as_f64()?,
        seconds: told["seconds"].as_f64()?,
        slowest_start: told["slowest_start"].as_f64()?,
        shares: shares.iter().filter_map(serde_json::Value::as_f64).collect(),
    })
}

/// Gives `to` the arguments and variables of `from`.
fn copy(from: &Command, mut to: Command) -> Command {
    to.args(from.get_args());
    for (name, value) in from.get_envs() {
        match value {
            Some(value) => to.env(name, value),
            None => to.env_remove(name),
        };
    }
    to
}

/// Moves this process and all that it starts to processor 1; false where that is not possible.
fn pin_load() -> bool {
    let own = std::process::id().to_string();
    let moved = Command::new("taskset").args(["--all-tasks", "--cpu-list", "--pid", "1", &own]).output();
    moved.is_ok_and(|output| output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_read() {
        let tally = br#"{"answers":2,"bytes":300,"compared":1,"seconds":0.5,"slowest_start":0.01,"shares":[100, 200]}"#;
        let tally = read_tally(tally).expect("a count");
        assert!((tally.bytes - 300.0).abs() < f64::EPSILON && tally.shares.len() == 2, "{tally:?}");
        assert!(read_tally(b"").is_none());
    }
}
