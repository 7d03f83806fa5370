//! `bentpipe debug`: every step of one client's or one host's exchanges on the standard error of the running proxy, for a
//! while.

use std::io::Write as _;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use crate::admin::client::Operator;
use crate::config::{Loaded, parse_duration};

/// Show every step of one client's or one host's exchanges for a while
///
/// They are written where the running proxy writes what it has to say, its standard error, whatever log.level is. It
/// ends by itself. Without a client or host it prints who is watched.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Debug {
    #[command(subcommand)]
    command: Option<DebugCommand>,
    /// The client with this address, or those of this network
    #[arg(long, value_name = "ADDRESS", conflicts_with = "host")]
    client: Option<String>,
    /// Exchanges for this host, or those below it: example.org, *.example.org
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// For how long, at most a day
    #[arg(long = "for", value_name = "TIME", default_value = "10m")]
    period: String,
}

#[derive(Clone, Debug, Subcommand)]
enum DebugCommand {
    /// Watch nobody any more
    Off,
}

/// Carries it out.
pub(crate) fn run(command: &Debug, loaded: &Loaded) -> anyhow::Result<()> {
    let period = parse_duration(&command.period);
    let period = period.map_err(|error| anyhow::anyhow!("--for {:?}: {error}", command.period))?;
    let proxy = Operator::running(loaded)?;
    let ask = |given: Value| proxy.ask(&Method::POST, "/v1/debug", Some(&given));
    let seconds = period.as_secs();
    let told = match (&command.command, &command.client, &command.host) {
        (Some(DebugCommand::Off), ..) => ask(json!({ "off": true }))?,
        (None, Some(client), _) => ask(json!({ "client": client, "seconds": seconds }))?,
        (None, None, Some(host)) => ask(json!({ "host": host, "seconds": seconds }))?,
        (None, None, None) => proxy.ask(&Method::GET, "/v1/debug", None)?,
    };
    std::io::stdout().lock().write_all(list(&told).as_bytes())?;
    Ok(())
}

fn list(told: &Value) -> String {
    let watched = told["watched"].as_array().map_or(&[][..], Vec::as_slice);
    let each = |watched: &Value| {
        let (subject, seconds) = (watched["subject"].as_str().unwrap_or("?"), watched["seconds"].as_u64());
        format!("watching {subject} for {} s more\n", seconds.unwrap_or(0))
    };
    if watched.is_empty() { "watching nobody\n".to_owned() } else { watched.iter().map(each).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_watched_is_listed() {
        assert_eq!(list(&json!({ "watched": [] })), "watching nobody\n");
        let one = json!({ "watched": [{ "subject": "host a.example", "seconds": 600 }] });
        assert_eq!(list(&one), "watching host a.example for 600 s more\n");
    }
}
