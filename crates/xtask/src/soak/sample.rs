//! One look at the process from outside: memory, descriptors and threads as the system tells them, and what is under way
//! as the process itself does on its control socket.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::stand::Stand;
use super::tally::Tally;

/// What was seen at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    /// Since the soak began.
    pub(super) at: Duration,
    /// Resident memory that is no file's, in bytes: what the process itself holds.
    pub(super) memory: u64,
    /// All resident memory, in bytes: with the program's own pages, which the system may take back at any time.
    pub(super) resident: u64,
    /// Open descriptors.
    pub(super) descriptors: usize,
    /// Threads.
    pub(super) threads: u64,
    /// Tasks of the runtime.
    pub(super) tasks: u64,
    /// Client connections.
    pub(super) connections: u64,
    /// Exchanges under way.
    pub(super) exchanges: u64,
    /// Visits that clients have made so far.
    pub(super) visits: u64,
    /// Faults so far.
    pub(super) faults: u64,
}

impl Sample {
    /// Looks at the proxy of `stand`.
    ///
    /// # Errors
    /// When the process is gone or does not answer.
    pub(super) async fn of(stand: &Stand, tally: &Tally, at: Duration) -> anyhow::Result<Self> {
        let told = tokio::time::timeout(Duration::from_secs(10), ask(&stand.control())).await;
        let told = told.context("the control socket does not answer")?.context("the control socket")?;
        let count =
            |key: &str| told["under_way"][key].as_u64().with_context(|| format!("no `{key}` in {told}"));
        let process = format!("/proc/{}", stand.program.id());
        let status = fs::read_to_string(format!("{process}/status")).context("the process is gone")?;
        let field = |name| field(&status, name).with_context(|| format!("no {name} in {process}/status"));
        Ok(Self {
            at,
            memory: field("RssAnon:")? * 1024,
            resident: field("VmRSS:")? * 1024,
            descriptors: fs::read_dir(format!("{process}/fd"))?.count(),
            threads: field("Threads:")?,
            tasks: count("tasks")?,
            connections: count("connections")?,
            exchanges: count("exchanges")?,
            visits: tally.visits(),
            faults: tally.faults(),
        })
    }

    /// The heading of a table of these.
    pub(super) fn heading() -> String {
        let columns =
            ["s", "RSS MB", "anon MB", "fds", "threads", "tasks", "connections", "exchanges", "visits"];
        let columns: String = columns.iter().map(|column| format!("{column:>12}")).collect();
        format!("{columns}{:>12}", "faults")
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>12}{:>12}{:>12}", self.at.as_secs(), megabytes(self.resident), megabytes(self.memory))?;
        write!(f, "{:>12}{:>12}{:>12}", self.descriptors, self.threads, self.tasks)?;
        write!(f, "{:>12}{:>12}", self.connections, self.exchanges)?;
        write!(f, "{:>12}{:>12}", self.visits, self.faults)
    }
}

/// Bytes as people read them here: MB with one decimal.
pub(super) fn megabytes(bytes: u64) -> String {
    format!("{}.{}", bytes / 1_000_000, bytes / 100_000 % 10)
}

/// The number in a line of `/proc/PID/status`.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

async fn ask(control: &Path) -> anyhow::Result<Value> {
    let mut stream = UnixStream::connect(control).await?;
    stream.write_all(b"GET /v1/proxy HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (_, content) = answer.split_once("\r\n\r\n").context("no head")?;
    Ok(serde_json::from_str(content)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_status_are_found() {
        let status = "Name:\tbentpipe\nVmRSS:\t   20480 kB\nThreads:\t4\n";
        assert_eq!((field(status, "VmRSS:"), field(status, "Threads:")), (Some(20480), Some(4)));
        assert_eq!(field(status, "VmSwap:"), None);
        assert_eq!(megabytes(20_971_520), "20.9");
    }
}
