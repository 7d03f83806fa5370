//! `cargo xtask ci`: every check that a change must pass, in one command that runs the same everywhere.
//!
//! It installs nothing (`.ci/run` does) and goes on after a failure, so that one run tells everything.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};

use crate::program::root;

/// A check: its name, the arguments for cargo, and what to do when cargo lacks the command.
struct Step {
    name: &'static str,
    arguments: &'static [&'static str],
    install: Option<&'static str>,
}

const STEPS: [Step; 8] = [
    Step { name: "format", arguments: &["fmt", "--all", "--check"], install: None },
    Step {
        name: "lints",
        arguments: &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
        install: None,
    },
    Step {
        name: "documentation",
        arguments: &["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"],
        install: None,
    },
    Step {
        name: "tests",
        arguments: &["nextest", "run", "--workspace", "--locked", "--no-fail-fast"],
        install: Some("cargo install --locked cargo-nextest"),
    },
    Step { name: "doc tests", arguments: &["test", "--workspace", "--doc", "--locked"], install: None },
    Step {
        name: "benches, once each",
        arguments: &["test", "--workspace", "--bench", "*", "--locked"],
        install: None,
    },
    // By way of the alias in .cargo/config.toml. It needs Linux; what needs root says so and is left out without.
    Step { name: "chaos, short", arguments: &["xtask", "chaos", "--short", "--debug"], install: None },
    Step {
        name: "dependencies",
        arguments: &["deny", "--workspace", "check", "bans", "licenses", "sources"],
        install: Some("cargo install --locked cargo-deny"),
    },
];

/// Runs every check and prints how each went.
///
/// # Errors
/// When a check fails or cannot be started.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut report = Vec::new();
    let mut failed = 0;
    for step in &STEPS {
        println!("\n== {}: cargo {}", step.name, step.arguments.join(" "));
        let start = Instant::now();
        let passed = passes(step)?;
        failed += usize::from(!passed);
        let verdict = if passed { "ok" } else { "FAILED" };
        report.push(format!("{verdict:<7} {:<20} {:>5} s", step.name, start.elapsed().as_secs()));
    }
    println!("\n{}", report.join("\n"));
    if failed > 0 {
        bail!("{failed} of {} checks failed", STEPS.len());
    }
    Ok(())
}

fn passes(step: &Step) -> anyhow::Result<bool> {
    if let Some(install) = step.install {
        let probe = Command::new("cargo").args([step.arguments[0], "--version"]).output()?;
        if !probe.status.success() {
            println!("cargo {} is not installed. Install it with:\n    {install}", step.arguments[0]);
            return Ok(false);
        }
    }
    let status = Command::new("cargo")
        .args(step.arguments)
        .current_dir(root())
        .env("RUSTDOCFLAGS", "-D warnings")
        .status()
        .context("cargo could not be started")?;
    Ok(status.success())
}
