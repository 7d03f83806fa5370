//! `bentpipe link`: see or change the link of the running proxy.

use std::io::Write as _;

use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use crate::admin::client::Operator;
use crate::admin::human;
use crate::config::Loaded;

/// See or change the link of the running proxy.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum LinkCommand {
    /// Print what the link is and what has crossed it
    Show {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Change the link at once; nothing that is under way is lost
    Set {
        /// Bits per second down and up, and the round trip: 512k, 512k/128k,rtt=600ms, unlimited. A rate of 0 closes
        /// its direction
        spec: String,
    },
}

/// Carries out `command` on the running proxy that is meant.
pub(crate) fn run(command: LinkCommand, loaded: &Loaded) -> anyhow::Result<()> {
    let proxy = Operator::running(loaded)?;
    let mut out = std::io::stdout().lock();
    match command {
        LinkCommand::Show { json } => {
            let mut state = proxy.ask(&Method::GET, "/v1/link", None)?;
            state["proxy"] = proxy.name().into();
            if json { writeln!(out, "{state:#}")? } else { out.write_all(table(&state).as_bytes())? }
        }
        LinkCommand::Set { spec } => {
            let state = proxy.ask(&Method::PUT, "/v1/link", Some(&json!({ "spec": spec })))?;
            writeln!(out, "link {}", state["spec"].as_str().unwrap_or("?"))?;
        }
    }
    Ok(())
}

fn table(state: &Value) -> String {
    let bytes = |name: &str| human(state[name].as_u64().unwrap_or(0));
    format!(
        "proxy     {}\nlink      {}\ndown      {} crossed, {} queued\nup        {} crossed, {} queued\nflows     {} open\n\
         Rates and bytes are payload: the HTTP, TLS and tunnel bytes of connections to origins.\n",
        state["proxy"].as_str().unwrap_or("?"),
        state["spec"].as_str().unwrap_or("?"),
        bytes("down"),
        bytes("queued_down"),
        bytes("up"),
        bytes("queued_up"),
        state["flows"]
    )
}
