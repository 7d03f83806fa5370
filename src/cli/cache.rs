//! `bentpipe cache` and `bentpipe explain`: see or change what is stored, of the running proxy or, where none runs, in
//! its folder.

use std::io::Write as _;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use crate::admin::client::Operator;
use crate::admin::explain::Explanation;
use crate::admin::human;
use crate::config::Config;

/// See or change what is stored.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// List the stored responses
    Ls {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show what is stored for a URL
    Show {
        /// As it was asked for, such as `http://example.org/page`
        url: String,
    },
    /// Drop what is stored for a URL
    Purge {
        /// As it was asked for, such as `http://example.org/page`
        url: String,
    },
    /// Print how much is stored
    Stats {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Say what would be done for a URL now, and why.
#[derive(Clone, Debug, Args)]
pub(crate) struct Explain {
    /// The URL, such as `http://example.org/page`
    url: String,
    /// A field of the request, such as 'Accept-Language: de'; may be repeated
    #[arg(short = 'H', long = "header", value_name = "FIELD: VALUE")]
    headers: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Carries out `command`. `folder_named`: the cache folder was named, so that it is the one meant.
pub(crate) fn run(command: CacheCommand, config: &Config, folder_named: bool) -> anyhow::Result<()> {
    let operator = Operator::running_or_folder(config, folder_named)?;
    let mut out = std::io::stdout().lock();
    match command {
        CacheCommand::Ls { json } => {
            let reply = operator.ask(&Method::GET, "/v1/cache/responses", None)?;
            if json {
                writeln!(out, "{reply:#}")?;
                return Ok(());
            }
            for stored in responses(&reply) {
                writeln!(out, "{}", line(stored))?;
            }
        }
        CacheCommand::Show { url } => {
            let given = json!({ "url": url });
            let explanation = operator.ask(&Method::POST, "/v1/explain", Some(&given))?;
            let reply = operator.ask(&Method::GET, "/v1/cache/responses", None)?;
            let normal =
                rfc9111::CacheKey::parse(&url).context("expected a URL such as http://example.org/page")?;
            for stored in responses(&reply).iter().filter(|stored| stored["key"] == normal.as_str()) {
                writeln!(out, "{stored:#}")?;
            }
            write!(out, "{}", explanation_of(explanation)?)?;
        }
        CacheCommand::Purge { url } => {
            let reply = operator.ask(&Method::POST, "/v1/cache/purge", Some(&json!({ "url": url })))?;
            writeln!(out, "purged {} stored responses", reply["purged"])?;
        }
        CacheCommand::Stats { json } => {
            let reply = operator.ask(&Method::GET, "/v1/cache", None)?;
            if json { writeln!(out, "{reply:#}")? } else { write!(out, "{}", figures(&reply))? }
        }
    }
    Ok(())
}

/// Prints the decision for a URL.
pub(crate) fn explain(command: &Explain, config: &Config, folder_named: bool) -> anyhow::Result<()> {
    let mut headers = Vec::with_capacity(command.headers.len());
    for field in &command.headers {
        let (name, value) = field.split_once(':').with_context(|| format!("not a field: {field}"))?;
        headers.push([name.trim(), value.trim()]);
    }
    let operator = Operator::running_or_folder(config, folder_named)?;
    let given = json!({ "url": command.url, "headers": headers });
    let reply = operator.ask(&Method::POST, "/v1/explain", Some(&given))?;
    let mut out = std::io::stdout().lock();
    if command.json {
        writeln!(out, "{reply:#}")?;
    } else {
        write!(out, "{}", explanation_of(reply)?)?;
    }
    Ok(())
}

fn explanation_of(reply: Value) -> anyhow::Result<Explanation> {
    serde_json::from_value(reply).context("the running bentpipe is of another version")
}

fn responses(reply: &Value) -> &[Value] {
    reply["responses"].as_array().map_or(&[], Vec::as_slice)
}

/// One stored response: status, length, uses, media type, URL.
fn line(stored: &Value) -> String {
    let length = stored["length"].as_u64().map_or_else(|| "arriving".to_owned(), human);
    format!(
        "{status} {length:>9} {uses:>6} uses  {media_type:24} {url}",
        status = stored["status"],
        uses = stored["uses"].as_u64().unwrap_or(0),
        media_type = stored["media_type"].as_str().unwrap_or("-"),
        url = stored["key"].as_str().unwrap_or("?"),
    )
}

fn figures(reply: &Value) -> String {
    let stats = &reply["stats"];
    let count = |name: &str| stats[name].as_u64().unwrap_or(0);
    let storing = if stats["is_storing"] == false {
        "no: the disk fails, responses are passed unstored"
    } else {
        "yes"
    };
    format!(
        "folder    {}\nheld      {} responses, {} of {}\narriving  {}\nstored    {} since start, {} evicted, {} found \
         damaged\nhits      {} since start\nstoring   {storing}\n",
        reply["folder"].as_str().unwrap_or("?"),
        count("objects"),
        human(count("bytes")),
        human(count("limit")),
        count("arriving"),
        count("kept"),
        count("evicted"),
        count("damaged"),
        count("hits"),
    )
}
