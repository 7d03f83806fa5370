//! A program under test with all its processes: started in a group of their own, looked at in `/proc`, ended together.
//!
//! Servers fork: what one costs is the sum over its descendants, those that have ended and been waited for included.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::net::TcpStream;

/// How long a program may take until it accepts connections, and until it ends when asked to.
const PATIENCE: Duration = Duration::from_secs(20);

/// What `/proc/PID/stat` says of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// User and system time of its threads, in ticks.
    own: u64,
    /// The same of its children that have ended and were waited for.
    of_children: u64,
}

/// A running program.
#[derive(Debug)]
pub(super) struct Processes {
    child: Child,
    address: SocketAddr,
    ticks_per_second: u64,
    /// Its numbers may be another's by now.
    is_gone: bool,
}

impl Processes {
    /// Starts `command` and waits until something listens at `address`. What it writes goes to `said`.
    ///
    /// # Errors
    /// When it cannot be started, ends, or does not listen in time; with what it has said.
    pub(super) async fn start(
        mut command: Command,
        address: SocketAddr,
        said: &std::path::Path,
    ) -> anyhow::Result<Self> {
        let output = File::create(said)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
        let child = command.spawn().with_context(|| format!("{command:?} could not be started"))?;
        let mut processes = Self { child, address, ticks_per_second: ticks_per_second()?, is_gone: false };
        let start = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            let words = || fs::read_to_string(said).unwrap_or_default();
            if let Some(status) = processes.child.try_wait()? {
                bail!("{command:?} ended at once: {status}\n{}", words());
            }
            ensure!(start.elapsed() < PATIENCE, "{command:?} does not listen on {address}\n{}", words());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(processes)
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The processor time that all its processes have used, in seconds.
    ///
    /// # Errors
    /// When `/proc` does not tell (it is Linux's).
    #[expect(clippy::cast_precision_loss, reason = "ticks stay far below 2^53")]
    pub(super) fn processor_seconds(&self) -> anyhow::Result<f64> {
        let all = stats()?;
        let tree = descendants(self.child.id(), &all);
        ensure!(!tree.is_empty(), "the program has ended");
        let ticks: u64 =
            all.iter().filter(|(id, _)| tree.contains(id)).map(|(_, stat)| stat.own + stat.of_children).sum();
        Ok(ticks as f64 / self.ticks_per_second as f64)
    }

    /// The processor time once it does not grow any more: what was left to do after the last answer counts.
    ///
    /// # Errors
    /// Those of [`Self::processor_seconds`].
    pub(super) async fn settled_seconds(&self) -> anyhow::Result<f64> {
        let mut last = self.processor_seconds()?;
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now = self.processor_seconds()?;
            // A program that only ticks over uses less than one tick in this time, or two.
            if now - last < 0.015 {
                return Ok(now);
            }
            last = now;
        }
        Ok(last)
    }

    /// Its memory in bytes: resident if it is one process, and of several the proportional shares (PSS), because what they
    /// share is there once.
    ///
    /// # Errors
    /// When `/proc` does not tell.
    pub(super) fn memory(&self) -> anyhow::Result<u64> {
        let tree = descendants(self.child.id(), &stats()?);
        let field = if tree.len() > 1 { "Pss:" } else { "Rss:" };
        let mut sum = 0;
        for id in tree {
            let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
            sum += kilobytes(&text, field).with_context(|| format!("no {field} of process {id}"))? * 1024;
        }
        Ok(sum)
    }

    /// Ends all of it as `kill -9` does, and waits until it is gone.
    ///
    /// # Errors
    /// Those of waiting.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        if self.is_gone {
            return Ok(());
        }
        let tree = stats().map(|all| descendants(self.child.id(), &all)).unwrap_or_default();
        // The group first, so that nobody is there to start a new worker; then those that have left it.
        let _ = Pid::from_raw(self.child.id().try_into()?).map(|id| kill_process_group(id, Signal::KILL));
        for id in &tree {
            let _ = Pid::from_raw((*id).try_into()?).map(|id| kill_process(id, Signal::KILL));
        }
        self.child.wait()?;
        let start = Instant::now();
        while tree.iter().any(|id| is_running(*id)) {
            ensure!(start.elapsed() < PATIENCE, "a killed process stays");
            std::thread::sleep(Duration::from_millis(1));
        }
        self.is_gone = true;
        Ok(())
    }

    /// Asks it to stop (SIGTERM) and waits until it has; what does not is killed.
    ///
    /// # Errors
    /// Those of waiting.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(id) = Pid::from_raw(self.child.id().try_into()?) {
            let _ = kill_process(id, Signal::TERM);
        }
        let start = Instant::now();
        while start.elapsed() < PATIENCE && self.child.try_wait()?.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.kill()
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        // What has ended already is what is wanted.
        let _ = self.kill();
    }
}

/// Whether a process is there and not merely waiting to be waited for.
fn is_running(id: u32) -> bool {
    let Ok(text) = fs::read_to_string(format!("/proc/{id}/stat")) else { return false };
    !text.rsplit_once(')').is_some_and(|(_, after)| after.trim_start().starts_with(['Z', 'X']))
}

/// All processes of the machine.
fn stats() -> anyhow::Result<Vec<(u32, Stat)>> {
    let folders = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // A process may end while it is looked at.
    let texts =
        folders.filter_map(|id: u32| Some((id, fs::read_to_string(format!("/proc/{id}/stat")).ok()?)));
    Ok(texts.filter_map(|(id, text)| Some((id, read_stat(&text)?))).collect())
}

/// proc(5): the command's name is in parentheses and may hold anything; after it come the state (3rd), ppid (4th), and
/// utime, stime, cutime and cstime (14th to 17th).
fn read_stat(text: &str) -> Option<Stat> {
    let (_, after) = text.rsplit_once(')')?;
    let words: Vec<_> = after.split_whitespace().collect();
    let number = |at: usize| words.get(at)?.parse::<u64>().ok();
    Some(Stat {
        parent: words.get(1)?.parse().ok()?,
        own: number(11)? + number(12)?,
        of_children: number(13)? + number(14)?,
    })
}

/// `root` and all that descend from it, if it is there.
fn descendants(root: u32, all: &[(u32, Stat)]) -> Vec<u32> {
    let mut found: Vec<u32> = all.iter().map(|(id, _)| *id).filter(|id| *id == root).collect();
    let mut looked_at = 0;
    while looked_at < found.len() {
        let parent = found[looked_at];
        found.extend(all.iter().filter(|(_, stat)| stat.parent == parent).map(|(id, _)| *id));
        looked_at += 1;
    }
    found
}

/// A field of `/proc/PID/smaps_rollup`, such as `Pss:                1234 kB`.
fn kilobytes(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

fn ticks_per_second() -> anyhow::Result<u64> {
    let output = Command::new("getconf").arg("CLK_TCK").output().context("getconf could not be started")?;
    String::from_utf8_lossy(&output.stdout).trim().parse().context("getconf CLK_TCK")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(parent: u32) -> Stat {
        Stat { parent, own: 1, of_children: 0 }
    }

    #[test]
    fn times_are_found_behind_a_name_with_anything_in_it() {
        let text = "42 (a ) 1 (b) S 7 42 42 0 -1 4194304 100 0 0 0 11 22 3 4 20 0 5 0 100 200 300";
        assert_eq!(read_stat(text), Some(Stat { parent: 7, own: 33, of_children: 7 }));
        assert_eq!(read_stat("42 (a) S 7"), None);
        assert_eq!(read_stat(""), None);
    }

    #[test]
    fn a_tree_is_all_that_descends_from_its_root() {
        let all = [(1, stat(0)), (9, stat(5)), (5, stat(1)), (6, stat(9)), (7, stat(1))];
        assert_eq!(descendants(5, &all), [5, 9, 6]);
        assert_eq!(descendants(8, &all), Vec::<u32>::new());
    }

    #[test]
    fn a_field_of_memory_is_in_kilobytes() {
        let text =
            "7f00-7fff ---p 0 00:00 0 [rollup]\nRss:        2048 kB\nPss:     512 kB\nPss_Dirty:  1 kB\n";
        assert_eq!(kilobytes(text, "Rss:"), Some(2048));
        assert_eq!(kilobytes(text, "Pss:"), Some(512));
        assert_eq!(kilobytes(text, "Swap:"), None);
    }

    #[test]
    fn this_process_is_found() {
        let own = std::process::id();
        let all = stats().expect("/proc");
        assert!(descendants(own, &all).contains(&own) && is_running(own));
    }
}
