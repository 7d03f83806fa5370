//! `bentpipe link probe`: what the real uplink is like, from one server that is named, or from what has passed through
//! the running proxy.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use anyhow::bail;
use http::Method;
use linkio::ByteCount;
use serde_json::{Value, json};

use crate::admin::client::Operator;
use crate::admin::human;
use crate::config::Loaded;
use crate::probe::{self, Found, Options, Target, rates};

/// What to ask and what it may cost.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Probe {
    /// An http URL to measure with, without the proxy: a file that takes some seconds to load, on a server whose own
    /// link is faster. Without it the running proxy is asked what it has seen pass
    url: Option<String>,
    /// Longest that content is read, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=3600))]
    seconds: u16,
    /// Most bytes of content to ask for; the link may be paid by the byte
    #[arg(long, value_name = "BYTES", default_value = "5M")]
    bytes: ByteCount,
    /// Also send so many bytes to the URL with POST, to measure the other direction
    #[arg(long, value_name = "BYTES", requires = "url")]
    upload: Option<ByteCount>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Measures, or asks.
///
/// # Errors
/// If the target is none or cannot be measured, no proxy runs, or it has seen too little.
pub(super) fn run(command: &Probe, loaded: &Loaded) -> anyhow::Result<()> {
    let text = match &command.url {
        Some(url) => {
            let found = measure(url, command)?;
            if command.json { format!("{:#}\n", object(&found)) } else { table(&found) }
        }
        None => passive(command.json, loaded)?,
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

fn measure(url: &str, command: &Probe) -> anyhow::Result<Found> {
    let target = Target::parse(url)?;
    let options = Options {
        period: Duration::from_secs(command.seconds.into()),
        most: command.bytes.0.max(1),
        upload: command.upload.map(|bytes| bytes.0).filter(|bytes| *bytes > 0),
    };
    if !command.json {
        let upload = options.upload.map_or_else(String::new, |bytes| format!(" and {} up", human(bytes)));
        eprintln!(
            "measuring with {url}: at most {} down{upload}, {} s",
            human(options.most),
            command.seconds
        );
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(probe::run(&target, &options));
    // A name server that does not answer keeps a thread; nothing is worth waiting for it.
    runtime.shutdown_timeout(Duration::from_millis(100));
    found
}

fn table(found: &Found) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name:<11} {value}");
    };
    let middle = rates::median(&found.idle).unwrap_or_default();
    let (down, up) = found.cost;
    line("target", format!("{} ({})", found.url, found.address));
    let handshakes = found.idle.len();
    line(
        "round trip",
        format!("{} least, {} median of {handshakes} handshakes", millis(found.rtt()), millis(middle)),
    );
    line("first byte", format!("{} after the request", millis(found.download.first_byte)));
    let content = format!("{} in {:.1} s", human(found.download.bytes), found.download.over.as_secs_f64());
    match (found.rates.sustained, found.rates.peak) {
        (Some(rate), Some(peak)) => {
            line("down", format!("{} sustained, {} at its peak; {content}", bits(rate), bits(peak)));
        }
        _ => line("down", format!("too little to tell; {content}")),
    }
    match &found.upload {
        None => line("up", "not measured; --upload 1M would send a megabyte and tell".to_owned()),
        Some(upload) => {
            let rate = upload.rate.map_or_else(|| "too little to tell".to_owned(), bits);
            line("up", format!("{rate}; {} in {:.1} s", human(upload.sent), upload.over.as_secs_f64()));
        }
    }
    match (found.queueing(), rates::median(&found.loaded)) {
        (Some(more), Some(loaded)) => {
            let count = found.loaded.len();
            line(
                "under load",
                format!("{} median of {count} handshakes: {} in queues", millis(loaded), millis(more)),
            );
        }
        _ => line("under load", "not seen".to_owned()),
    }
    line(
        "cost",
        format!(
            "{} down and {} up of payload; packet headers and handshakes are more",
            human(down),
            human(up)
        ),
    );
    match found.doubts().as_slice() {
        [] => line("sure", "yes: the rate had settled and the link was full".to_owned()),
        doubts => doubts.iter().for_each(|doubt| line("not sure", doubt.to_string())),
    }
    if let (Some(guard), Some(imitate)) = (found.to_guard(), found.to_imitate()) {
        let _ = write!(
            text,
            "\nto share this link so that its queue stays here:  --link {guard}\nto imitate it elsewhere:  \
             \x20                       --link {imitate}\n"
        );
    }
    text.push_str(
        "\nRates are payload: the bytes of the streams, without the headers of packets. kbit is 1000 bits.\n",
    );
    text
}

fn object(found: &Found) -> Value {
    let seconds = |durations: &[Duration]| durations.iter().map(Duration::as_secs_f64).collect::<Vec<_>>();
    let upload = found.upload.as_ref().map(|upload| {
        json!({
            "bits_per_second": upload.rate,
            "sent_bytes": upload.sent,
            "seconds": upload.over.as_secs_f64(),
        })
    });
    json!({
        "url": found.url,
        "address": found.address.to_string(),
        "rtt_seconds": found.rtt().as_secs_f64(),
        "handshakes_seconds": seconds(&found.idle),
        "loaded_handshakes_seconds": seconds(&found.loaded),
        "queueing_seconds": found.queueing().map(|more| more.as_secs_f64()),
        "first_byte_seconds": found.download.first_byte.as_secs_f64(),
        "down": {
            "sustained_bits_per_second": found.rates.sustained,
            "peak_bits_per_second": found.rates.peak,
            "received_bytes": found.download.bytes,
            "seconds": found.download.over.as_secs_f64(),
            "window_seconds": rates::WINDOW.as_secs_f64(),
            "windows_bytes": found.download.windows,
        },
        "up": upload,
        "cost": { "received_bytes": found.cost.0, "sent_bytes": found.cost.1 },
        "doubts": found.doubts().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "counts": "payload",
        "suggested": { "guard": found.to_guard(), "imitate": found.to_imitate() },
    })
}

/// What the running proxy has seen.
fn passive(json: bool, loaded: &Loaded) -> anyhow::Result<String> {
    let proxy = Operator::running(loaded)?;
    let state = proxy.ask(&Method::GET, "/v1/link", None)?;
    let seen = &state["passive"];
    if json {
        return Ok(format!("{:#}\n", json!({ "proxy": proxy.name(), "passive": seen })));
    }
    let Some(text) = seen_table(seen) else {
        bail!(
            "the proxy {} has not seen enough traffic yet to say what its uplink is like; use it for a while, or name a \
             target: bentpipe link probe http://HOST/FILE",
            proxy.name()
        );
    };
    Ok(format!("{:<11} {}\n{text}", "proxy", proxy.name()))
}

/// The proxy's estimate for people. None if it is none.
fn seen_table(seen: &Value) -> Option<String> {
    let rtt = seen["rtt_seconds"].as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let [down, up] = ["down_bits_per_second", "up_bits_per_second"].map(|name| seen[name].as_f64());
    if rtt.is_none() && down.is_none() && up.is_none() {
        return None;
    }
    let rate = |rate: Option<f64>| {
        rate.map_or_else(|| "not seen".to_owned(), |rate| format!("{} at least", bits(rate)))
    };
    let samples = seen["rtt_samples"].as_u64().unwrap_or(0);
    let rtt = rtt.map_or_else(
        || "not seen".to_owned(),
        |rtt| format!("{} least of {samples} handshakes", millis(rtt)),
    );
    let since = seen["since_seconds"].as_f64().unwrap_or(0.0);
    Some(format!(
        "{:<11} {rtt}\n{:<11} {}\n{:<11} {}\n{:<11} {since:.0} s of passing traffic; the highest rates kept up for a \
         second, payload\n",
        "round trip",
        "down",
        rate(down),
        "up",
        rate(up),
        "from",
    ))
}

fn millis(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1e3;
    if millis < 10.0 { format!("{millis:.1} ms") } else { format!("{millis:.0} ms") }
}

/// Bits per second as people read them: three digits and a decimal unit.
fn bits(rate: f64) -> String {
    let mut value = rate;
    let mut units = ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"].iter();
    let mut unit = units.next().unwrap_or(&"bit/s");
    while value >= 999.5 {
        let Some(next) = units.next() else { break };
        value /= 1000.0;
        unit = next;
    }
    let decimals = if value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rate: f64, expected: &str) {
        assert_eq!(bits(rate), expected);
    }

    #[test]
    fn rates_are_shown_with_three_digits() {
        check(481_234.0, "481 kbit/s");
        check(9_600.0, "9.60 kbit/s");
        check(56_000.0, "56.0 kbit/s");
        check(999_700.0, "1.00 Mbit/s");
        check(2.5e9, "2.50 Gbit/s");
        check(0.0, "0.00 bit/s");
    }

    #[test]
    fn what_the_proxy_has_seen_is_told_or_is_nothing() {
        let seen = json!({ "rtt_seconds": 0.612, "rtt_samples": 9, "down_bits_per_second": 481_000,
                           "up_bits_per_second": null, "since_seconds": 432.1 });
        let text = seen_table(&seen).unwrap();
        for part in ["612 ms least of 9", "481 kbit/s at least", "up          not seen", "432 s of passing"] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        assert_eq!(seen_table(&Value::Null), None);
        assert_eq!(seen_table(&json!({ "rtt_seconds": null, "rtt_samples": 0 })), None);
        assert!(seen_table(&json!({ "rtt_seconds": -1.0, "up_bits_per_second": 1 })).is_some());
    }
}
