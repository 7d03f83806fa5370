//! What only C can do: a library that moves the clock of one process, and the ioctl that cuts a file system off.
//! Both are compiled with the machine's `cc` when they are needed; Rust here is free of `unsafe`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

const CLOCK: &str = include_str!("clock.c");
const SHUTDOWN: &str = include_str!("shutdown.c");

/// Compiles the library that adds to the clock of a process the seconds written, as an `i64`, in the file that
/// `CHAOS_CLOCK` names. It is to be preloaded.
///
/// # Errors
/// When there is no C compiler.
pub(super) fn clock(folder: &Path) -> anyhow::Result<PathBuf> {
    compile(folder, "clock", CLOCK, &["-shared", "-fPIC"])
}

/// Compiles the program that makes the file system of its argument drop everything that it has not written.
///
/// # Errors
/// When there is no C compiler.
pub(super) fn shutdown(folder: &Path) -> anyhow::Result<PathBuf> {
    compile(folder, "shutdown", SHUTDOWN, &[])
}

/// Runs a tool and waits for it.
///
/// # Errors
/// When there is no such tool, or it fails: with what it said.
pub(super) fn tool(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("{command:?} could not be started"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", said.trim());
    Ok(())
}

fn compile(folder: &Path, name: &str, source: &str, how: &[&str]) -> anyhow::Result<PathBuf> {
    let (code, binary) = (folder.join(format!("{name}.c")), folder.join(name));
    std::fs::write(&code, source)?;
    tool(Command::new("cc").args(["-O1", "-Wall", "-Werror"]).args(how).arg("-o").arg(&binary).arg(&code))?;
    Ok(binary)
}
