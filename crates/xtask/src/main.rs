//! `cargo xtask`: what is done to bentpipe's tree and its release binary from outside, a file for each command.
//!
//! It holds no code of the program and the program none of it: bentpipe is a process here.

use clap::Parser;

mod bench;
mod browser;
mod chaos;
mod chromium;
mod ci;
mod conformance;
mod dist;
mod docs;
mod program;
mod shots;
mod soak;
mod upgrade;

/// bentpipe's own commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
enum Command {
    /// All of CI: format, lints, documentation, tests, dependencies.
    Ci,
    /// Write the generated pages of docs/.
    Docs,
    /// Make what is given to users: a tarball, and a Debian package (needs cargo-deb).
    Dist(dist::Options),
    /// Compare what bentpipe costs with bare hyper and with the proxies that are installed.
    Bench(bench::Options),
    /// Load the fixture site in Chromium: direct, through a cold and through a warm cache.
    Browser(browser::Options),
    /// Check the dashboard in Chromium, and make the pictures and the terminal output of docs/tour.md.
    Shots(shots::Options),
    /// Run the public HTTP cache test suite through bentpipe (needs node).
    Conformance(conformance::Options),
    /// Do to bentpipe what processes and disks suffer, and check every byte it serves afterwards.
    Chaos(chaos::Options),
    /// Load bentpipe for half an hour with all that clients and origins do, and see that nothing grows.
    Soak(soak::Options),
    /// Upgrade bentpipe five times under mixed load, and count what fails.
    Upgrade(upgrade::Options),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Ci => ci::run(),
        Command::Docs => docs::run(),
        Command::Dist(options) => dist::run(&options),
        Command::Bench(options) => bench::run(&options).await,
        Command::Browser(options) => browser::run(&options).await,
        Command::Shots(options) => shots::run(&options).await,
        Command::Conformance(options) => conformance::run(&options).await,
        Command::Chaos(options) => chaos::run(&options).await,
        Command::Soak(options) => soak::run(&options).await,
        Command::Upgrade(options) => upgrade::run(&options).await,
    }
}
