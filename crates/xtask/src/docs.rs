//! `cargo xtask docs`: writes the generated pages of `docs/` from the program itself.
//!
//! It makes no text: what stands in a page is the program's answer to a command.

use std::fs;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::program::root;

/// Each generated page and the arguments that make bentpipe print it.
const PAGES: [(&str, &[&str]); 2] =
    [("docs/config.md", &["config", "reference"]), ("docs/metrics.md", &["metrics", "--reference"])];

/// Writes every generated page.
///
/// # Errors
/// When bentpipe cannot be built or does not print a page, and those of writing.
pub(crate) fn run() -> anyhow::Result<()> {
    for (page, arguments) in PAGES {
        let output = Command::new("cargo")
            .args(["run", "--quiet", "--package", "bentpipe", "--"])
            .args(arguments)
            .current_dir(root())
            .output()
            .context("cargo could not be started")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "bentpipe {}: {errors}", arguments.join(" "));
        fs::write(root().join(page), output.stdout).with_context(|| page.to_owned())?;
        println!("wrote {page}");
    }
    Ok(())
}
