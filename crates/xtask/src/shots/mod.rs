//! `cargo xtask shots`: a demo of the whole program, the dashboard checked in headless Chromium against it, and from the same
//! run the pictures and the terminal output that the documentation shows.
//!
//! It needs Chromium and curl, and makes `docs/tour.md` and `docs/pictures`.

mod checks;
mod demo;
mod pictures;
mod tour;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::chromium::devtools::Browser;
use crate::program::{build_bentpipe_for_debugging, root};
use checks::Findings;
use demo::Demo;

/// The demo.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The browser's command.
    #[arg(long, default_value = "chromium")]
    browser: String,
    /// The link of the demo.
    #[arg(long, default_value = "2M,rtt=600ms")]
    link: String,
    /// Seconds that the demo lives before anything is looked at.
    #[arg(long, default_value_t = 40)]
    life: u64,
    /// Only check the dashboard; write nothing.
    #[arg(long)]
    check: bool,
    /// The folder that is written to, in place of docs of this tree.
    #[arg(long)]
    docs: Option<PathBuf>,
    /// The program, in place of a debug build of this tree.
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// Runs the demo, makes the checks, and writes what is shown.
///
/// # Errors
/// When something does not come up, or when a check fails; pictures and page are written all the same, to be looked at.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let binary = options.binary.clone().map_or_else(build_bentpipe_for_debugging, Ok)?;
    let docs = options.docs.clone().unwrap_or_else(|| root().join("docs"));
    let mut demo = Demo::start(&binary, &options.link).await?;
    demo.populate();
    println!("the demo lives for {} s ...", options.life);
    tokio::time::sleep(Duration::from_secs(options.life)).await;
    let start = |profile: &Path| Browser::start(&options.browser, profile, &demo.proxy().to_string());
    let profiles = tempfile::tempdir()?;
    if !options.check {
        println!("pictures");
        let mut browser = start(&profiles.path().join("pictures"))?;
        pictures::take(&mut browser, &demo, &docs.join("pictures")).await?;
    }
    let mut browser = start(&profiles.path().join("checks"))?;
    let mut findings = Findings::default();
    checks::all(&mut browser, &demo, &mut findings).await?;
    drop(browser);
    if !options.check {
        println!("commands");
        std::fs::write(docs.join("tour.md"), tour::write(&mut demo).await?)?;
    }
    findings.verdict()
}
