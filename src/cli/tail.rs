//! `bentpipe tail`: a line for each exchange as it ends.

use std::fmt::Write as _;
use std::io::{Write as _, stdout};

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::shown::{has_colours, time};
use crate::admin::client::Operator;
use crate::admin::human;
use crate::config::Loaded;
use crate::text::{counted, harmless, plain_json};

const ABOUT: &str = "A line has the time at which the request came, the client (or its account), the status, what the cache \
did, the bytes handed to the client, the duration, the method and the URL; and who broke it off, or what was wrong. It \
ends with the proxy, or with Ctrl-C.

Of several values of one kind one has to fit, and something of each kind:
  bentpipe tail --client 10.1.0.0/16 --status 5xx,none
  bentpipe tail --host '*.example.org' --json

What a slow terminal does not take in time is lost, and it says how much; the proxy waits for nobody.";

/// Show exchanges of the running proxy as they end.
#[derive(Clone, Debug, Args)]
#[command(after_help = ABOUT)]
pub(crate) struct Tail {
    /// Those of this address, network or account
    #[arg(long, value_name = "CLIENT", value_delimiter = ',')]
    client: Vec<String>,
    /// Those that asked for this host; stars stand for anything
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    host: Vec<String>,
    /// Those that were answered so: 404, 5xx, or none where the client left first
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    status: Vec<String>,
    /// Print each as one line of JSON
    #[arg(long)]
    json: bool,
}

/// Carries it out.
pub(crate) fn run(command: &Tail, loaded: &Loaded) -> anyhow::Result<()> {
    let (proxy, colours) = (Operator::running(loaded)?, has_colours());
    proxy.follow(&command.path(), |name, data| {
        let event: Value = serde_json::from_str(data)?;
        let line = match name {
            _ if command.json => plain_json(data),
            "exchange" => line(&event, &TimeZone::system(), colours),
            "lost" => {
                let lost = counted(event["lost"].as_u64().unwrap_or(0), "exchange");
                format!("... {lost} lost: this end is too slow")
            }
            _ => return Ok(()),
        };
        // Flushed by itself: a line at a time.
        Ok(writeln!(stdout(), "{line}")?)
    })?;
    if !command.json {
        eprintln!("bentpipe: the proxy has ended");
    }
    Ok(())
}

impl Tail {
    fn path(&self) -> String {
        let mut path = "/v1/events".to_owned();
        let given = [("client", &self.client), ("host", &self.host), ("status", &self.status)];
        for (name, values) in given.into_iter().filter(|(_, values)| !values.is_empty()) {
            let separator = if path.contains('?') { '&' } else { '?' };
            let _ = write!(path, "{separator}{name}={}", encoded(&values.join(",")));
        }
        path
    }
}

/// Percent-encoded, but for what is unreserved (RFC 3986 §2.3).
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            byte => _ = write!(encoded, "%{byte:02X}"),
        }
    }
    encoded
}

/// One exchange.
fn line(event: &Value, zone: &TimeZone, colours: bool) -> String {
    let text = |name: &str| harmless(event[name].as_str().unwrap_or("-"));
    let at =
        event["time"].as_f64().and_then(|seconds| Timestamp::from_millisecond((seconds * 1e3) as i64).ok());
    let at = at.map_or_else(String::new, |at| at.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string());
    let who = event["user"].as_str().map_or_else(|| text("client"), harmless);
    let status = event["status"].as_u64();
    let shown = status.map_or_else(|| "-".to_owned(), |status| status.to_string());
    let sent = human(event["client_bytes"].as_u64().unwrap_or(0));
    let took = time(event["duration_ms"].as_f64().unwrap_or(0.0) / 1e3);
    let why = [("cut_short", "cut short by the "), ("error", "")].into_iter().filter_map(|(name, before)| {
        let said = event[name].as_str()?;
        Some(format!("  {before}{}", harmless(said)))
    });
    let result = text("result");
    format!(
        "{at}  {who:<15}  {shown:>3}  {result:<11}  {sent:>8}  {took:>7}  {method:<7}  {url}{why}",
        shown = coloured(&shown, colour(status), colours),
        result = coloured(&format!("{result:<11}"), if result == "hit" { GREEN } else { PLAIN }, colours),
        method = text("method"),
        url = text("url"),
        why = coloured(&why.collect::<String>(), YELLOW, colours),
    )
}

const PLAIN: &str = "";
const GREEN: &str = "\u{1b}[32m";
const YELLOW: &str = "\u{1b}[33m";
const RED: &str = "\u{1b}[31m";
const CYAN: &str = "\u{1b}[36m";

fn colour(status: Option<u64>) -> &'static str {
    match status.map(|status| status / 100) {
        Some(2) => GREEN,
        Some(3) => CYAN,
        Some(4) => YELLOW,
        Some(5) => RED,
        _ => PLAIN,
    }
}

/// `text`, which is as wide as it is to be, in a colour.
fn coloured(text: &str, colour: &str, colours: bool) -> String {
    if colours && !colour.is_empty() && !text.is_empty() {
        format!("{colour}{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event() -> Value {
        json!({
            "time": 1_767_225_600.5, "client": "10.0.0.5", "user": null, "status": 200, "result": "hit",
            "client_bytes": 10_240, "duration_ms": 12.3, "method": "GET", "url": "http://a.example/\u{1b}[2J",
            "cut_short": null, "error": null,
        })
    }

    #[test]
    fn a_line_is_aligned_and_moves_no_cursor() {
        let expected = "00:00:00  10.0.0.5         200  hit           10.2 kB    12 ms  GET      http://a.example/\\u{1b}[2J";
        assert_eq!(line(&event(), &TimeZone::UTC, false), expected);
        let mut cut = event();
        for (name, value) in [("user", json!("ann")), ("status", Value::Null), ("cut_short", json!("client"))]
        {
            cut[name] = value;
        }
        let expected = "00:00:00  ann                -  hit           10.2 kB    12 ms  GET      http://a.example/\\u{1b}[2J  cut \
                        short by the client";
        assert_eq!(line(&cut, &TimeZone::UTC, false), expected);
    }

    #[test]
    fn colours_change_nothing_else() {
        let coloured = line(&event(), &TimeZone::UTC, true);
        assert!(coloured.contains("\u{1b}[32m200\u{1b}[0m"), "{coloured}");
        let bare = [GREEN, YELLOW, RED, CYAN, "\u{1b}[0m"]
            .iter()
            .fold(coloured, |text, code| text.replace(code, ""));
        assert_eq!(bare, line(&event(), &TimeZone::UTC, false));
    }

    #[test]
    fn filters_are_asked_of_the_proxy() {
        let tail = Tail {
            client: vec!["10.0.0.0/8".into(), "ann".into()],
            host: Vec::new(),
            status: vec!["5xx".into()],
            json: false,
        };
        assert_eq!(tail.path(), "/v1/events?client=10.0.0.0%2F8%2Cann&status=5xx");
    }
}
