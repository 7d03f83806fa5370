//! `bentpipe cache stats` and `cache verify`: how the cache is.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::filters::parse_size;
use crate::admin::client::Operator;
use crate::admin::human;
use crate::admin::verification;
use crate::cli::shown;
use crate::text::{counted, harmless_lines};

const EXAMPLES: &str = "Reads every stored body and compares it with what was stored: each block, and the whole. What is
damaged would be found and healed when somebody asks for it, too; this finds it before. It exits with 1 if anything
is damaged and was not repaired.

Examples:
  bentpipe cache verify
  bentpipe cache verify --repair --rate 5M
  bentpipe cache verify --progress";

/// Read every stored body and check it.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Verify {
    /// Drop what is damaged, or only the lost blocks where these can be fetched by themselves
    #[arg(long)]
    repair: bool,
    /// Bytes to read in a second, at most; a running proxy reads 20M without, a stopped folder is read at full speed
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    rate: Option<u64>,
    /// Begin nothing; say how far the one is that runs, or what the last one found
    #[arg(long, conflicts_with_all = ["repair", "rate"])]
    progress: bool,
    /// Do not wait for the end; it goes on in the running proxy
    #[arg(long)]
    background: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What a running proxy reads in a second unless told otherwise: little beside what a disk can, so that clients do not
/// notice. Bytes.
const RATE: u64 = 20_000_000;
const VERIFICATION: &str = "/v1/cache/verification";
/// How often progress is asked for.
const GLANCE: Duration = Duration::from_millis(100);

/// Verifies; returns what to print.
pub(crate) fn verify(operator: &Operator, command: &Verify) -> anyhow::Result<String> {
    let Verify { repair, rate, progress, background, json } = *command;
    if !progress {
        let bytes_per_second = rate.or_else(|| operator.is_proxy().then_some(RATE));
        let asked = json!(verification::Verify { repair, bytes_per_second });
        operator.ask(&Method::POST, VERIFICATION, Some(&asked))?;
    }
    let leave_at_once = progress || (background && operator.is_proxy());
    let reply = if leave_at_once { operator.ask(&Method::GET, VERIFICATION, None)? } else { wait(operator)? };
    let found = reply["damaged"].as_array().map_or(0, Vec::len);
    let text = if json { shown::json(&reply) } else { report(&reply) };
    if found > 0 && reply["repair"] != true && !leave_at_once {
        write!(std::io::stdout(), "{}", harmless_lines(&text))?;
        bail!(
            "damaged: {found}; bentpipe cache verify --repair drops what is lost, so that it is fetched anew"
        );
    }
    Ok(text)
}

fn wait(operator: &Operator) -> anyhow::Result<Value> {
    let is_watched = std::io::stderr().is_terminal();
    loop {
        let reply = operator.ask(&Method::GET, VERIFICATION, None)?;
        if is_watched {
            eprint!("\r{} ", how_far(&reply));
        }
        if reply["running"] != true {
            if is_watched {
                eprintln!();
            }
            return Ok(reply);
        }
        std::thread::sleep(GLANCE);
    }
}

fn how_far(reply: &Value) -> String {
    let count = |name: &str| reply[name].as_u64().unwrap_or(0);
    let (checked, total, bytes) = (count("checked"), count("total"), human(count("bytes")));
    format!("checked {checked} of {}, {bytes} read", counted(total, "stored response"))
}

fn report(reply: &Value) -> String {
    if reply["begun"] != true {
        return "no verification has been begun since the start\n".to_owned();
    }
    let mut text = String::new();
    let damaged = reply["damaged"].as_array().map_or(&[][..], Vec::as_slice);
    for damage in damaged {
        let bytes = |name: &str| human(damage[name].as_u64().unwrap_or(0));
        let (key, remedy) = (damage["key"].as_str().unwrap_or("?"), damage["remedy"].as_str().unwrap_or("?"));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "damaged: {key}  ({} of {} lost; {remedy})", bytes("lost"), bytes("of"));
    }
    let running = if reply["running"] == true { "; it goes on" } else { "" };
    let unread = match reply["unread"].as_u64().unwrap_or(0) {
        0 => String::new(),
        unread => format!(", {unread} could not be read"),
    };
    let _ = writeln!(text, "{}, {} damaged{unread}{running}", how_far(reply), damaged.len());
    text
}

/// What `stats` prints.
pub(crate) fn stats(operator: &Operator, json: bool) -> anyhow::Result<String> {
    let mut reply = operator.ask(&Method::GET, "/v1/cache", None)?;
    reply["survey"] = operator.ask(&Method::GET, "/v1/cache/survey", None)?;
    reply["proxy"] = operator.name().into();
    Ok(if json { shown::json(&reply) } else { figures(&reply) })
}

fn figures(reply: &Value) -> String {
    let stats = &reply["stats"];
    let count = |name: &str| stats[name].as_u64().unwrap_or(0);
    let size = |name: &str| human(count(name));
    let storing = stats["not_storing"]
        .as_str()
        .map_or_else(|| "yes".to_owned(), |why| format!("no: {why}; responses are passed unstored"));
    let mut text = format!(
        "proxy     {}\nfolder    {}\nheld      {}, {} of {}\n",
        reply["proxy"].as_str().unwrap_or("?"),
        reply["folder"].as_str().unwrap_or("?"),
        counted(count("objects"), "response"),
        size("disk_bytes"),
        size("limit"),
    );
    let survey = &reply["survey"];
    let free = stats["disk_free"].as_u64().map_or_else(|| "unknown".to_owned(), human);
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "pinned    {}, {}\npartial   {}\narriving  {}\nstored    {} since start, {} evicted, {} found damaged\nhits      \
         {}\nmemory    {} of hot bodies\ndisk      {free} free, {} to be kept free\nstoring   {storing}\n",
        count("pinned"),
        size("pinned_bytes"),
        survey["partial"].as_u64().unwrap_or(0),
        count("arriving"),
        count("kept"),
        count("evicted"),
        count("damaged"),
        hits(&reply["answers"]).unwrap_or_else(|| format!("{} since start", count("hits"))),
        size("memory_bytes"),
        size("min_free"),
    );
    for (title, of, name) in [("by host", "hosts", "host"), ("by type", "types", "media_type")] {
        let lines = survey[of].as_array().map_or(&[][..], Vec::as_slice);
        for (index, line) in lines.iter().enumerate() {
            let title = if index == 0 { title } else { "" };
            let (responses, bytes) = (&line["responses"], human(line["on_disk"].as_u64().unwrap_or(0)));
            let _ = writeln!(
                text,
                "{title:<9} {bytes:>9} {responses:>8}  {}",
                line[name].as_str().unwrap_or("?")
            );
        }
    }
    text
}

/// How many of the answers that the cache had a part in were hits, and how many were revalidated; and how many of their
/// bytes were served from what is stored, which is the case with both. None before the first.
fn hits(answers: &Value) -> Option<String> {
    let count = |name: &str| answers[name].as_u64().unwrap_or(0);
    let [hits, revalidated, forwarded] = ["hits", "revalidated", "forwarded"].map(count);
    let all = hits + revalidated + forwarded;
    if all == 0 {
        return None;
    }
    let [hit_bytes, revalidated_bytes, forwarded_bytes] =
        ["hit_bytes", "revalidated_bytes", "forwarded_bytes"].map(count);
    let share = |part: u64, of: u64| 100.0 * part as f64 / of.max(1) as f64;
    let stored = hit_bytes + revalidated_bytes;
    Some(format!(
        "{hits} of {} since start ({:.1} %), and {revalidated} revalidated ({:.1} %); {:.1} % of their bytes came from the \
         cache",
        counted(all, "answer"),
        share(hits, all),
        share(revalidated, all),
        share(stored, stored + forwarded_bytes)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hit_ratio_is_of_what_the_cache_was_asked() {
        assert_eq!(hits(&Value::Null), None);
        let answers = json!({ "hits": 2, "revalidated": 1, "forwarded": 1, "hit_bytes": 100, "revalidated_bytes": 50,
            "forwarded_bytes": 150 });
        let expected = "2 of 4 answers since start (50.0 %), and 1 revalidated (25.0 %); 50.0 % of their bytes came from \
                        the cache";
        assert_eq!(hits(&answers).as_deref(), Some(expected));
    }

    #[test]
    fn what_is_damaged_is_named_with_what_became_of_it() {
        let reply = json!({ "begun": true, "running": false, "checked": 2, "total": 2, "bytes": 5100, "unread": 1,
            "damaged": [{ "key": "http://a/", "lost": 1000, "of": 2000, "remedy": "dropped" }] });
        let expected = "damaged: http://a/  (1 kB of 2 kB lost; dropped)\nchecked 2 of 2 stored responses, 5.1 kB read, \
                        1 damaged, 1 could not be read\n";
        assert_eq!(report(&reply), expected);
        assert!(report(&Value::Null).contains("no verification"));
    }
}
