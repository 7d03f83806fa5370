//! `bentpipe link`: see or change the link of the running proxy, and find out what links there are. What takes a file
//! of its own is beside this one.

mod probe;
mod selftest;
mod simulate;

use std::io::Write as _;

use clap::Subcommand;
use http::Method;
use linkio::BitRate;
use serde_json::{Value, json};

use crate::admin::client::Operator;
use crate::admin::human;
use crate::config::{Loaded, trace};

/// See, change, try out or measure a link.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum LinkCommand {
    /// Print what the link of the running proxy is and who uses it
    Show {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Change the link of the running proxy at once; nothing that is under way is lost
    Set {
        /// Rates down/up, a preset, or auto=90%, and options: 512k, 512k/128k,rtt=600ms, geo,rtt=550ms, unlimited. A
        /// rate of 0 closes its direction
        spec: String,
        /// Files that say how much can cross when: FILE for both directions, or down=FILE,up=FILE
        #[arg(long, value_name = "FILES", default_value = "off")]
        trace: String,
    },
    Simulate(simulate::Simulate),
    /// Measure how exact and how fair the link of this build is on this machine
    ///
    /// It runs proxies, origins and clients of its own on loopback, whatever else is configured, and compares what the
    /// clients get with what the link should give. The exit code is 1 if any figure misses its goal.
    Selftest(selftest::Selftest),
    /// Estimate rate and round trip of the real uplink, from a target or from passing traffic
    ///
    /// With a URL it measures without the proxy and its link: some handshakes, then one download, with handshakes
    /// during it that show how much waits in queues (bufferbloat). It says how sure it is, and what to give as --link.
    Probe(probe::Probe),
    /// List the links that have a name
    Presets {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
}

/// Carries out `command`.
pub(crate) fn run(command: LinkCommand, loaded: &Loaded) -> anyhow::Result<()> {
    match command {
        LinkCommand::Show { json } => show(&Operator::running(loaded)?, json),
        LinkCommand::Set { spec, trace } => set(&Operator::running(loaded)?, &spec, &trace),
        LinkCommand::Presets { json } => presets(json),
        LinkCommand::Simulate(command) => simulate::run(&command, loaded),
        LinkCommand::Selftest(command) => selftest::run(command),
        LinkCommand::Probe(command) => probe::run(&command, loaded),
    }
}

fn show(proxy: &Operator, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let mut state = proxy.ask(&Method::GET, "/v1/link", None)?;
    state["proxy"] = proxy.name().into();
    if json {
        write!(out, "{}", crate::cli::shown::json(&state))?;
    } else {
        out.write_all(table(&state).as_bytes())?;
    }
    Ok(())
}

fn set(proxy: &Operator, spec: &str, trace: &str) -> anyhow::Result<()> {
    // The proxy may stand in another folder than whoever types a file's name.
    let trace =
        trace::parse(trace).map_err(|error| anyhow::anyhow!("--trace {trace:?}: {error}"))?.absolute();
    let given = json!({ "spec": spec, "trace": trace.to_string() });
    let state = proxy.ask(&Method::PUT, "/v1/link", Some(&given))?;
    let traced = if trace.is_off() { String::new() } else { format!("\ntrace {trace}") };
    writeln!(std::io::stdout(), "link {}{traced}\n{LASTS}", state["spec"].as_str().unwrap_or("?"))?;
    Ok(())
}

/// For how long, as `config set` says it.
const LASTS: &str =
    "This lasts until the next restart or reload; what lasts longer is link.spec in a configuration file.";

fn presets(json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        let each = |preset: &linkio::Preset| json!({ "name": preset.name, "spec": preset.spec, "what": preset.what });
        writeln!(out, "{:#}", Value::from_iter(linkio::presets().iter().map(each)))?;
        return Ok(());
    }
    for preset in linkio::presets() {
        writeln!(out, "{:<14} {}\n{:14} {}", preset.name, preset.what, "", preset.spec)?;
    }
    writeln!(
        out,
        "\nUse one as it is or changed: --link geo,rtt=550ms. Where the figures are from: docs/links.md."
    )?;
    Ok(())
}

/// Clients that are shown, of those who used most.
const CLIENTS: usize = 10;

fn table(state: &Value) -> String {
    let text = |name: &str| state[name].as_str().unwrap_or("?").to_owned();
    let direction = |name: &str| {
        let lane = &state[format!("queue_{name}")];
        let delay = lane["queueing_delay_seconds"].as_f64();
        format!(
            "{:<9} {} crossed, {} queued ({}), busy {:.0} % of the last 10 s\n",
            name,
            bytes(&state[name]),
            bytes(&lane["queued_bytes"]),
            delay.map_or_else(
                || "for as long as it is closed".to_owned(),
                |delay| format!("{:.0} ms", delay * 1e3)
            ),
            lane["utilisation"].as_f64().unwrap_or(0.0) * 100.0,
        )
    };
    let mut table = format!("proxy     {}\nlink      {}\n", text("proxy"), text("spec"));
    if text("spec").starts_with("auto=") {
        let rate = |name: &str| {
            state[name].as_u64().map_or_else(
                || "not known yet".to_owned(),
                |bits| BitRate::from_bits_per_second(bits).to_string(),
            )
        };
        let (down, up) = (rate("rate_down_bits_per_second"), rate("rate_up_bits_per_second"));
        table += &format!("kept to   {down} down, {up} up\n");
    }
    if state["trace"] != "off" {
        table += &format!("trace     {}\n", text("trace"));
    }
    table += &direction("down");
    table += &direction("up");
    table += &format!("flows     {} open\n", state["flows"]);
    table += &used("class", &state["classes"], usize::MAX);
    table += &used("client", &state["clients"], CLIENTS);
    let counted = match state["rates_count"].as_str() {
        Some("wire") => "Rates count packets with their headers; bytes",
        _ => "Rates and bytes",
    };
    table + &format!("{counted} are payload: the HTTP, TLS and tunnel bytes of connections to origins.\n")
}

/// What each of `users` had of the link, where there is more than one to tell apart.
fn used(kind: &str, users: &Value, most: usize) -> String {
    let line = |(name, used): (&str, &Value)| {
        format!("{kind:<9} {name}: {} down, {} up\n", bytes(&used["down"]), bytes(&used["up"]))
    };
    let some = |used: &Value| used["down"].as_u64().unwrap_or(0) + used["up"].as_u64().unwrap_or(0) > 0;
    let lines: Vec<String> = match users {
        Value::Object(users) => {
            users.iter().filter(|(_, used)| some(used)).map(|(name, used)| line((name, used))).collect()
        }
        Value::Array(users) => {
            users.iter().map(|used| line((used["client"].as_str().unwrap_or("?"), used))).collect()
        }
        _ => Vec::new(),
    };
    if lines.len() < 2 { String::new() } else { lines.into_iter().take(most).collect() }
}

fn bytes(count: &Value) -> String {
    human(count.as_u64().unwrap_or(0))
}
