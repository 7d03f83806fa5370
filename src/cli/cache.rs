//! `bentpipe cache` and `bentpipe explain`: see or change what is stored, of the running proxy or, where none runs, in
//! its folder.

use std::io::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::rules;
use crate::admin::client::Operator;
use crate::admin::explain::Explanation;
use crate::admin::human;
use crate::config::Loaded;

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
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Drop what is stored for a URL
    Purge {
        /// As it was asked for, such as `http://example.org/page`, or its beginning and a star, `http://example.org/*`
        #[arg(required_unless_present = "all")]
        url: Option<String>,
        /// Drop everything
        #[arg(long, conflicts_with = "url")]
        all: bool,
    },
    /// Print the rules in force, in the order in which they are asked
    Rules {
        /// Only those that may speak of this URL
        url: Option<String>,
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

/// Carries out `command`.
pub(crate) fn run(command: CacheCommand, loaded: &Loaded) -> anyhow::Result<()> {
    if let CacheCommand::Rules { url } = command {
        return rules::print(url.as_deref(), loaded);
    }
    let operator = Operator::running_or_folder(loaded)?;
    let mut out = std::io::stdout().lock();
    match command {
        CacheCommand::Rules { .. } => {}
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
        CacheCommand::Show { url, json } => out.write_all(show(&operator, &url, json, loaded)?.as_bytes())?,
        CacheCommand::Purge { url, all } => writeln!(out, "{}", purge(&operator, url.as_deref(), all)?)?,
        CacheCommand::Stats { json } => {
            let mut reply = operator.ask(&Method::GET, "/v1/cache", None)?;
            reply["proxy"] = operator.name().into();
            if json { writeln!(out, "{reply:#}")? } else { write!(out, "{}", figures(&reply))? }
        }
    }
    Ok(())
}

/// What is stored for `url`, and what would be done with it.
fn show(operator: &Operator, url: &str, json: bool, loaded: &Loaded) -> anyhow::Result<String> {
    let explanation = operator.ask(&Method::POST, "/v1/explain", Some(&json!({ "url": url })))?;
    let reply = operator.ask(&Method::GET, "/v1/cache/responses", None)?;
    let key = rfc9111::CacheKey::parse(url).context("expected a URL such as http://example.org/page")?;
    let key = loaded.config.cache.rules_in_force().normalise(key);
    let stored: Vec<_> = responses(&reply).iter().filter(|stored| stored["key"] == key.as_str()).collect();
    if stored.is_empty() {
        bail!("nothing is stored for {url}");
    }
    if json {
        return Ok(format!("{:#}\n", json!({ "responses": stored, "explanation": explanation })));
    }
    let details: String = stored.into_iter().map(details).collect();
    Ok(format!("{details}{}", explanation_of(explanation)?))
}

fn purge(operator: &Operator, url: Option<&str>, all: bool) -> anyhow::Result<String> {
    let given = if all { json!({ "all": true }) } else { json!({ "url": url }) };
    let reply = operator.ask(&Method::POST, "/v1/cache/purge", Some(&given))?;
    match (reply["purged"].as_u64().unwrap_or(0), url) {
        (0, Some(url)) => bail!("nothing was stored for {url}"),
        (1, _) => Ok("purged 1 stored response".to_owned()),
        (purged, _) => Ok(format!("purged {purged} stored responses")),
    }
}

/// Prints the decision for a URL.
pub(crate) fn explain(command: &Explain, loaded: &Loaded) -> anyhow::Result<()> {
    let mut headers = Vec::with_capacity(command.headers.len());
    for field in &command.headers {
        let (name, value) = field.split_once(':').with_context(|| format!("not a field: {field}"))?;
        headers.push([name.trim(), value.trim()]);
    }
    let operator = Operator::running_or_folder(loaded)?;
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

/// One stored response: status, length, uses, media type, URL, and how much is there of one that is arriving.
fn line(stored: &Value) -> String {
    let arriving = arriving(stored).map_or_else(String::new, |arrived| format!("  (arriving: {arrived})"));
    format!(
        "{status} {length:>9} {uses:>6} uses  {media_type:24} {url}{arriving}",
        status = stored["status"],
        length = stored["length"].as_u64().map_or_else(|| "?".to_owned(), human),
        uses = stored["uses"].as_u64().unwrap_or(0),
        media_type = stored["media_type"].as_str().unwrap_or("-"),
        url = stored["key"].as_str().unwrap_or("?"),
    )
}

/// How much has arrived of a response that is arriving. One without a length is, whatever else is said of it.
fn arriving(stored: &Value) -> Option<String> {
    let is_arriving = stored["arriving"].as_bool().unwrap_or_else(|| stored["length"].is_null());
    is_arriving.then(|| {
        let arrived = stored["arrived"].as_u64().map_or_else(|| "some".to_owned(), human);
        match stored["length"].as_u64() {
            Some(length) => format!("{arrived} of {}", human(length)),
            None => format!("{arrived} so far"),
        }
    })
}

/// One stored response, a line for each thing that is known of it.
fn details(stored: &Value) -> String {
    let length = match (arriving(stored), stored["length"].as_u64()) {
        (Some(arrived), _) => format!("{arrived}, still arriving"),
        (None, Some(length)) if length < 1000 => human(length),
        (None, Some(length)) => format!("{} ({length} bytes)", human(length)),
        (None, None) => "unknown".to_owned(),
    };
    let stored_at =
        stored["stored_at"].as_u64().and_then(|at| UNIX_EPOCH.checked_add(Duration::from_secs(at)));
    let stored_at = stored_at.map(rfc9111::format_date);
    format!(
        "{url}\n  status     {status}\n  length     {length}\n  type       {media_type}\n  stored     {stored_at}\n  uses       \
         {uses}\n",
        url = stored["key"].as_str().unwrap_or("?"),
        status = stored["status"],
        media_type = stored["media_type"].as_str().unwrap_or("-"),
        stored_at = stored_at.as_ref().and_then(|date| date.to_str().ok()).unwrap_or("?"),
        uses = stored["uses"].as_u64().unwrap_or(0),
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
        "proxy     {}\nfolder    {}\nheld      {} responses, {} of {}\narriving  {}\nstored    {} since start, {} evicted, {} found \
         damaged\nhits      {} since start\nstoring   {storing}\n",
        reply["proxy"].as_str().unwrap_or("?"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_that_is_arriving_is_marked() {
        let stored = json!({ "key": "http://a/", "status": 200, "length": 10_200, "uses": 2 });
        assert_eq!(line(&stored), format!("200   10.2 kB      2 uses  {:24} http://a/", "-"));
        let mut here = stored;
        (here["arriving"], here["arrived"]) = (true.into(), 5100.into());
        assert!(line(&here).ends_with(" http://a/  (arriving: 5.1 kB of 10.2 kB)"), "{}", line(&here));
        here["length"] = Value::Null;
        assert!(line(&here).ends_with(" http://a/  (arriving: 5.1 kB so far)"), "{}", line(&here));
    }

    #[test]
    fn a_stored_response_is_shown_line_by_line() {
        let stored = json!({ "key": "http://a/", "status": 200, "length": 10_200, "media_type": "text/html",
            "stored_at": 784_111_777, "uses": 2, "arriving": false });
        let expected = [
            "http://a/",
            "  status     200",
            "  length     10.2 kB (10200 bytes)",
            "  type       text/html",
            "  stored     Sun, 06 Nov 1994 08:49:37 GMT",
            "  uses       2",
        ];
        assert_eq!(details(&stored).lines().collect::<Vec<_>>(), expected);
        let text = details(&json!({ "stored_at": u64::MAX }));
        assert!(text.contains("stored     ?"), "{text}");
    }
}
