//! `bentpipe cache` and `bentpipe explain`: see or change what is stored, of the running proxy or, where none runs, in
//! its folder.

mod change;
mod filters;
mod list;
mod stats;

use std::io::Write as _;
use std::net::IpAddr;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::{rules, shown};
use crate::admin::client::Operator;
use crate::admin::explain::Explanation;
use crate::config::Loaded;
use crate::text::harmless_lines;

/// See or change what is stored.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// List the stored responses
    Ls(list::Ls),
    /// Show all that is known of what is stored for a URL
    Show {
        /// As it was asked for, such as `http://example.org/page`
        url: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Drop stored responses
    Purge(change::Purge),
    /// Never evict stored responses
    Pin(change::Pin),
    /// Let pinned responses be evicted like others again
    Unpin(change::Unpin),
    /// Print the rules in force, in the order in which they are asked
    Rules {
        /// Only those that may speak of this URL
        url: Option<String>,
    },
    /// Print how much is stored, and how useful it was
    Stats {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Read every stored body and check it
    Verify(stats::Verify),
}

/// Say what would be done for a URL now, and why.
#[derive(Clone, Debug, Args)]
pub(crate) struct Explain {
    /// The URL, such as `http://example.org/page`
    url: String,
    /// A field of the request, such as 'Accept-Language: de'; may be repeated
    #[arg(short = 'H', long = "header", value_name = "FIELD: VALUE")]
    headers: Vec<String>,
    /// Whose request it is thought to be, where not this machine's: rules may depend on it
    #[arg(long, value_name = "ADDRESS")]
    client: Option<IpAddr>,
    /// The account that the request names rightly
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Carries out `command`.
pub(crate) fn run(command: CacheCommand, loaded: &Loaded) -> anyhow::Result<()> {
    if let CacheCommand::Rules { url } = command {
        return rules::print(url.as_deref(), loaded);
    }
    let operator = Operator::running_or_folder(loaded)?;
    let text = match command {
        CacheCommand::Rules { .. } => return Ok(()),
        CacheCommand::Ls(command) => list::ls(&operator, command)?,
        CacheCommand::Show { url, json } => list::show(&operator, &url, json)?,
        CacheCommand::Purge(command) => change::purge(&operator, command)?,
        CacheCommand::Pin(command) => change::pin(&operator, command.which(), true)?,
        CacheCommand::Unpin(command) => change::pin(&operator, command.which(), false)?,
        CacheCommand::Stats { json } => stats::stats(&operator, json)?,
        CacheCommand::Verify(command) => stats::verify(&operator, &command)?,
    };
    // JSON is harmless already, and has nothing in it that would be written out once more.
    std::io::stdout().lock().write_all(harmless_lines(&text).as_bytes())?;
    Ok(())
}

/// Prints the decision for a URL.
pub(crate) fn explain(command: &Explain, loaded: &Loaded) -> anyhow::Result<()> {
    let mut headers = Vec::with_capacity(command.headers.len());
    for field in &command.headers {
        let (name, value) = field.split_once(':').with_context(|| format!("not a field: {field}"))?;
        headers.push([name.trim(), value.trim()]);
    }
    let operator = Operator::running_or_folder(loaded)?;
    let Explain { url, client, user, .. } = command;
    let given = json!({ "url": url, "headers": headers, "client": client, "user": user });
    let reply = operator.ask(&Method::POST, "/v1/explain", Some(&given))?;
    let mut out = std::io::stdout().lock();
    if command.json {
        write!(out, "{}", shown::json(&reply))?;
    } else {
        write!(out, "{}", harmless_lines(&explanation_of(reply)?.to_string()))?;
    }
    Ok(())
}

fn explanation_of(reply: Value) -> anyhow::Result<Explanation> {
    serde_json::from_value(reply).context("the running bentpipe is of another version")
}

fn responses(reply: &Value) -> &[Value] {
    reply["responses"].as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    /// The help of every command, as it is printed.
    #[test]
    fn the_help_reads_well() {
        for command in ["ls", "show", "purge", "pin", "unpin", "stats", "verify"] {
            let line = ["bentpipe", "cache", command, "--help"];
            let help = crate::cli::command().term_width(100).try_get_matches_from(line).unwrap_err();
            insta::assert_snapshot!(command, help.to_string());
        }
    }
}
