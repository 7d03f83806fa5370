//! Processes for the other commands: bentpipe's binary and helpers, built, started on a free port,
//! watched and ended.
//!
//! It knows bentpipe's flags only as far as every command needs them.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::net::TcpStream;

/// How long a process may take until it accepts connections.
const PATIENCE: Duration = Duration::from_secs(20);

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folder of the fixture site.
pub(crate) fn site_folder() -> PathBuf {
    root().join("fixtures/site")
}

/// Builds a release binary with cargo and gives its path. `what` are the arguments that select it.
///
/// # Errors
/// When the build fails or makes no executable.
pub(crate) fn build(what: &[&str]) -> anyhow::Result<PathBuf> {
    build_in("release", what)
}

/// The same in any profile.
fn build_in(profile: &str, what: &[&str]) -> anyhow::Result<PathBuf> {
    println!("building {} ...", what.join(" "));
    let output = Command::new("cargo")
        .args(["build", "--profile", profile, "--locked", "--message-format=json-render-diagnostics"])
        .args(what)
        .current_dir(root())
        .stderr(Stdio::inherit())
        .output()
        .context("cargo could not be started")?;
    ensure!(output.status.success(), "the build failed");
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let executable =
        messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).next_back();
    executable.context("the build made no executable")
}

/// bentpipe's release binary.
///
/// # Errors
/// Those of [`build`].
pub(crate) fn build_bentpipe() -> anyhow::Result<PathBuf> {
    build(&["--package", "bentpipe", "--bin", "bentpipe"])
}

/// bentpipe's debug binary, which checks its arithmetic and is built in seconds.
///
/// # Errors
/// Those of [`build`].
pub(crate) fn build_bentpipe_for_debugging() -> anyhow::Result<PathBuf> {
    build_in("dev", &["--package", "bentpipe", "--bin", "bentpipe"])
}

/// A port of 127.0.0.1 that was free a moment ago.
///
/// # Errors
/// Those of binding.
pub(crate) fn free_port() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

/// A running process that listens; it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    address: SocketAddr,
    /// What it wrote to standard error.
    said: File,
}

impl Program {
    /// Starts bentpipe with a cache in `cache` and these further arguments, and waits until it listens.
    ///
    /// # Errors
    /// Those of [`Program::start`].
    pub(crate) async fn bentpipe(binary: &Path, cache: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let address = free_port()?;
        let mut command = Command::new(binary);
        command.args(serving(address, cache)).args(arguments);
        Self::start(command, address).await
    }

    /// Starts `command` and waits until it accepts connections at `address`.
    ///
    /// # Errors
    /// When it cannot be started, ends, or does not listen in time.
    pub(crate) async fn start(mut command: Command, address: SocketAddr) -> anyhow::Result<Self> {
        // What it says would stand between the figures; it is shown when the program does not come up.
        let said = tempfile::tempfile()?;
        command.stdout(Stdio::null()).stderr(said.try_clone()?);
        let child = command.spawn().with_context(|| format!("{command:?} could not be started"))?;
        let mut program = Self { child, address, said };
        let start = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            if let Some(status) = program.child.try_wait()? {
                bail!("{command:?} ended at once: {status}\n{}", program.said()?);
            }
            ensure!(start.elapsed() < PATIENCE, "{command:?} does not listen on {address}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(program)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it wrote to standard error so far.
    ///
    /// # Errors
    /// Those of reading.
    pub(crate) fn said(&self) -> io::Result<String> {
        let mut bytes = vec![0; usize::try_from(self.said.metadata()?.len()).unwrap_or_default()];
        // It may be writing at this moment: the place where it writes must not move.
        self.said.read_exact_at(&mut bytes, 0)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The process's number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// Those of asking.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Kills it as `kill -9` does and waits until it is gone.
    ///
    /// # Errors
    /// Those of the signal and of waiting.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A process that has ended already is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The arguments that make bentpipe serve at `address` with a cache in `cache`, and leave alone what else runs.
pub(crate) fn serving(address: SocketAddr, cache: &Path) -> Vec<OsString> {
    let address = address.to_string();
    let fixed = ["--listen", &address, "--allow-destination", "127.0.0.1", "--control", "off", "--cache-dir"];
    fixed.iter().map(OsString::from).chain([cache.as_os_str().to_owned()]).collect()
}
