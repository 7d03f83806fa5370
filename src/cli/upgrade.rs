//! `bentpipe upgrade`: a new process takes over from the running proxy. What is done is the proxy's affair.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use http::Method;
use serde_json::json;

use crate::admin::client::Operator;
use crate::config::Loaded;

/// Have a new process take over from the running proxy, without dropping a connection.
///
/// The running proxy starts the new process with its own flags and environment, and hands over its sockets and the cache
/// folder when the new one is ready. What is in flight goes on in the old one until it is finished, for timeouts.upgrade
/// at most. If the new one does not come up, the old one goes on, the exit code is 1, and it is said why. The signal USR2
/// does the same with the program as it is on the disk now.
#[derive(Clone, Debug, Args)]
pub(crate) struct Upgrade {
    /// The program that takes over, in place of the present one as it is on the disk now
    #[arg(value_name = "NEW_BINARY")]
    binary: Option<PathBuf>,
}

/// Asks for it and waits for what comes of it.
pub(crate) fn run(command: &Upgrade, loaded: &Loaded) -> anyhow::Result<()> {
    let binary = command.binary.as_ref().map(std::path::absolute).transpose()?;
    let binary = binary.as_ref().map(|path| path.to_str().context("the path is not text in UTF-8"));
    let proxy = Operator::running(loaded)?;
    let answer = proxy.ask(&Method::POST, "/v1/upgrade", Some(&json!({ "binary": binary.transpose()? })))?;
    let version = answer["version"].as_str().unwrap_or_default();
    let (process, before) = (&answer["process"], &answer["before"]);
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "process {process} serves, bentpipe {version}; process {before} finishes what it has begun"
    )?;
    Ok(())
}
