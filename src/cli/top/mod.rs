//! `bentpipe top`: who uses the link now, by client and by URL; and breaking off or re-classing what is under way. What
//! two looks at the proxy come to is `view`'s, the terminal is `screen`'s.

mod keys;
mod screen;
mod view;

use std::io::{IsTerminal as _, Write as _, stdout};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde_json::{Value, json};

use super::shown::{self, is_dumb};
use crate::admin::client::Operator;
use crate::config::Loaded;
use screen::{Key, Screen};
use view::{Look, Sort, View};

const ABOUT: &str = "Rates are bytes per second over the link (down and up together), of exchanges under way, in the time \
between two looks. What is served from the cache is there, too, without a rate. On a terminal it is refreshed each \
second; q ends it, r, b, e, a and c sort by rate, bytes, eta, age and client, and ? says so. Elsewhere it looks once.

  bentpipe top --once --sort bytes
  bentpipe top stop 17 23               break these exchanges off
  bentpipe top class 17 background      let others go first; rules: as the rules want it again";

/// Show who uses the link of the running proxy now.
#[derive(Clone, Debug, Args)]
#[command(after_help = ABOUT, args_conflicts_with_subcommands = true)]
pub(crate) struct Top {
    #[command(subcommand)]
    command: Option<Change>,
    /// What comes first
    #[arg(long, value_enum, default_value = "rate")]
    sort: Sort,
    /// Look once, and print everything
    #[arg(long)]
    once: bool,
    /// Look once, and print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, Subcommand)]
enum Change {
    /// Break exchanges off, by their numbers
    Stop {
        #[arg(required = true, value_name = "NUMBER")]
        numbers: Vec<u64>,
    },
    /// Put an exchange into another class of the link, at once and whatever the rules say
    ///
    /// On a connection of HTTP/2 that several exchanges share, the most urgent of their classes counts for all of them.
    Class {
        number: u64,
        #[arg(value_enum)]
        class: ClassName,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ClassName {
    Interactive,
    Bulk,
    Background,
    /// As the rules want it
    Rules,
}

/// Carries it out.
pub(crate) fn run(command: &Top, loaded: &Loaded) -> anyhow::Result<()> {
    let proxy = Operator::running(loaded)?;
    match &command.command {
        Some(Change::Stop { numbers }) => stop(&proxy, numbers),
        Some(Change::Class { number, class }) => classify(&proxy, *number, *class),
        None if command.once || command.json || !stdout().is_terminal() || is_dumb() => {
            let view = once(&proxy, command.sort)?;
            let text = if command.json { shown::json(&view.json()) } else { view.text(None) };
            Ok(stdout().lock().write_all(text.as_bytes())?)
        }
        None => watch(&proxy, command.sort),
    }
}

fn stop(proxy: &Operator, numbers: &[u64]) -> anyhow::Result<()> {
    let reply = proxy.ask(&Method::POST, "/v1/exchanges/stop", Some(&json!({ "numbers": numbers })))?;
    let stopped = reply["stopped"].as_u64().unwrap_or(0);
    anyhow::ensure!(stopped > 0, "no such exchange is under way");
    let exchanges = if stopped == 1 { "exchange" } else { "exchanges" };
    Ok(writeln!(stdout(), "broke {stopped} {exchanges} off")?)
}

fn classify(proxy: &Operator, number: u64, class: ClassName) -> anyhow::Result<()> {
    let class = class.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    let given = json!({ "numbers": [number], "class": class });
    let reply = proxy.ask(&Method::POST, "/v1/exchanges/class", Some(&given))?;
    anyhow::ensure!(reply["changed"] == 1, "no exchange {number} is under way");
    let stands = if class == "rules" {
        "stands where the rules want it".to_owned()
    } else {
        format!("is {class} now")
    };
    let off = if reply["crossing"] == 1 { "" } else { "; nothing of it crosses the link at the moment" };
    Ok(writeln!(stdout(), "exchange {number} {stands}{off}")?)
}

/// How far apart two looks are.
const PERIOD: Duration = Duration::from_secs(1);

fn once(proxy: &Operator, sort: Sort) -> anyhow::Result<View> {
    let before = look(proxy)?;
    std::thread::sleep(PERIOD);
    Ok(View::between(&before, &look(proxy)?, sort))
}

fn watch(proxy: &Operator, mut sort: Sort) -> anyhow::Result<()> {
    let mut screen = Screen::begin();
    let (mut before, mut now) = (look(proxy)?, None);
    let mut is_helping = false;
    loop {
        let size @ (columns, lines) = screen.size();
        let bottom = keys::line(sort, screen.takes_keys(), columns);
        if is_helping {
            screen.draw(keys::HELP, &bottom, size)?;
        } else {
            let view = View::between(&before, now.as_ref().unwrap_or(&before), sort);
            screen.draw(&view.text(Some((columns, lines.saturating_sub(1)))), &bottom, size)?;
        }
        match screen.key(PERIOD) {
            Some(Key::Quit) => return Ok(()),
            Some(Key::Other(key)) if is_helping || key == b'?' => is_helping = !is_helping,
            Some(Key::Other(key)) => {
                // The same two looks in another order.
                sort = Sort::by_key(key).unwrap_or(sort);
            }
            None => {
                before = now.take().unwrap_or(before);
                now = Some(look(proxy)?);
            }
        }
    }
}

fn look(proxy: &Operator) -> anyhow::Result<Look> {
    let mut exchanges = proxy.ask(&Method::GET, "/v1/exchanges", None)?;
    let at = Instant::now();
    let link = proxy.ask(&Method::GET, "/v1/link", None)?;
    let exchanges = match exchanges["exchanges"].take() {
        Value::Array(exchanges) => exchanges,
        _ => Vec::new(),
    };
    Ok(Look { at, exchanges, link })
}
