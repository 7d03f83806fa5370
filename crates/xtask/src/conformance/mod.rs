//! `cargo xtask conformance`: the public HTTP cache test suite (npm package `http-cache-tests`) run through bentpipe
//! as a forward proxy in its default configuration: scores, and every test not passed with its explanation.
//!
//! The tests, their origin and their judgement are the suite's; what is ours is the `fetch` it is given, in
//! `driver.mjs`. What the outcomes mean is `verdict`'s. It needs node and npm, and the npm registry once.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::program::{Program, build_bentpipe, build_bentpipe_for_debugging, free_port, root};

mod verdict;

use verdict::{Page, Results};

/// The suite, and the digest of its archive: another archive of that name is another suite.
const PACKAGE: &str = "http-cache-tests@0.4.5";
const INTEGRITY: &str =
    "sha512-DjuwN9nUZXLTW+wav1LRESCZNVxl8SshwOy4z1pxuWbWt5/ay6sM9QQ1lebBaDO6P1IMBoK6mdf+PuVP/QNL8A==";

/// Where the explanations are.
const PAGE: &str = "docs/conformance.md";

/// What is run, and what a missing node means.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Run the debug build instead of the release build.
    #[arg(long)]
    debug: bool,
    /// End with exit code 2 where node or npm is missing, instead of skipping.
    #[arg(long)]
    require_node: bool,
    /// Run only this test and show its messages; may be given several times. Nothing is judged.
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
}

/// Runs the suite, prints what came of it and compares that with the page of explanations.
///
/// # Errors
/// When a program cannot be started, a test that is not passed has no explanation, or the page is out of date.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    if let Some(missing) = ["node", "npm", "tar"].into_iter().find(|program| !is_there(program)) {
        println!(
            "SKIPPED: the public cache test suite needs {missing}, which is not here. Nothing was tested."
        );
        if options.require_node {
            std::process::exit(2);
        }
        return Ok(());
    }
    let binary = if options.debug { build_bentpipe_for_debugging() } else { build_bentpipe() }?;
    let folder = work_folder(&binary)?;
    let package = fetch_package(&folder)?;
    let report = run_suite(&binary, &package, &options.only).await?;
    if !options.only.is_empty() {
        print!("{report}");
        return Ok(());
    }
    let report = report.lines().next_back().unwrap_or_default();
    let results = Results::parse(report).context("the driver's results")?;
    let file = folder.join("results.json");
    fs::write(&file, serde_json::to_string_pretty(&serde_json::from_str::<Value>(report)?)?)?;
    let text = fs::read_to_string(root().join(PAGE)).context(PAGE)?;
    let page = Page::parse(&text);
    print!("{}", results.describe(&page));
    println!("\nall outcomes: {}", file.display());
    let faults = results.faults(&page);
    ensure!(faults.is_empty(), "{PAGE} and the outcomes disagree:\n  {}", faults.join("\n  "));
    println!("every test that is not passed is explained in {PAGE}");
    Ok(())
}

/// Whether a program of this name can be started. It is not tried: npm takes its time to say its version.
fn is_there(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}

/// The folder `conformance` beside the folder of the build's profile.
fn work_folder(binary: &Path) -> anyhow::Result<PathBuf> {
    let target = binary.parent().and_then(Path::parent).context("the binary is in no target folder")?;
    let folder = target.join("conformance");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

/// The unpacked suite, fetched from the npm registry where it is not here yet.
///
/// `npm install` would bring what only its web page and its own command line need, npm 6 among it.
fn fetch_package(folder: &Path) -> anyhow::Result<PathBuf> {
    let package = folder.join(PACKAGE.replace('@', "-"));
    if package.join("package.json").is_file() {
        return Ok(package);
    }
    println!("fetching {PACKAGE} ...");
    let scratch = tempfile::tempdir_in(folder)?;
    let destination = scratch.path();
    let arguments = ["pack", PACKAGE, "--json", "--pack-destination"].map(OsStr::new);
    let said = said_by(Command::new("npm").args(arguments).arg(destination))?;
    let packed: Value = serde_json::from_str(&said).context("npm pack --json")?;
    let packed = &packed[0];
    ensure!(packed["integrity"] == INTEGRITY, "{PACKAGE} is another archive now: {}", packed["integrity"]);
    let archive = packed["filename"].as_str().context("npm pack names no file")?;
    said_by(Command::new("tar").args(["-xzf", archive]).current_dir(destination))?;
    // In place in one step, so that what is there is whole.
    fs::rename(destination.join("package"), &package)?;
    Ok(package)
}

/// Starts the suite's origin and bentpipe, each on a free port, and gives what the tests through them print.
async fn run_suite(binary: &Path, package: &Path, only: &[String]) -> anyhow::Result<String> {
    let driver = root().join("crates/xtask/src/conformance/driver.mjs");
    let address = free_port()?;
    let mut origin = Command::new("node");
    origin.arg(&driver).arg("origin").arg(package).arg(address.port().to_string());
    let _origin = Program::start(origin, address).await?;
    let scratch = tempfile::tempdir()?;
    // An empty file in place of the user's: the configuration is the default one.
    let configuration = scratch.path().join("bentpipe.toml");
    fs::write(&configuration, "")?;
    let configuration = configuration.to_str().context("the temporary folder's name is not UTF-8")?;
    let cache = scratch.path().join("cache");
    let proxy = Program::bentpipe(binary, &cache, &["--config", configuration]).await?;
    println!("running {PACKAGE} ...");
    let mut tests = Command::new("node");
    tests.arg("--no-warnings").arg(&driver).arg("run").arg(package);
    tests.arg(format!("http://{}", proxy.address())).arg(format!("http://{address}")).args(only);
    said_by(&mut tests)
}

/// What a program prints, once it has ended well.
fn said_by(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{command:?} could not be started"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{command:?} ended with {}\n{said}", output.status);
    }
    Ok(said)
}
