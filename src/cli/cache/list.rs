//! `bentpipe cache ls` and `cache show`: what is stored, one line each, and all that is known of one URL.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::bail;
use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::filters::Filters;
use super::{explanation_of, responses};
use crate::admin::client::Operator;
use crate::admin::human;
use crate::admin::stock::{Listing, Sort};
use crate::cli::shown;
use crate::text::counted;

const EXAMPLES: &str = "Examples:
  bentpipe cache ls --host '*.debian.org' --sort size --limit 20
  bentpipe cache ls --type 'video/*' --older-than 7d --larger-than 10M
  bentpipe cache ls --partial --json";

/// List the stored responses.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Ls {
    /// A URL, or its beginning and a star; everything without
    url: Option<String>,
    /// The order: by URL, or the largest, oldest or most used first
    #[arg(long, value_enum, default_value = "key")]
    sort: Sort,
    /// At most so many; the totals are of all
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filters: Filters,
    /// Those that are never evicted
    #[arg(long)]
    pinned: bool,
}

/// What `ls` prints.
pub(crate) fn ls(operator: &Operator, command: Ls) -> anyhow::Result<String> {
    let Ls { url, filters, pinned, sort, limit, json } = command;
    let mut selection = filters.selection(url);
    selection.pinned = pinned;
    let listing = json!(Listing { selection, sort, limit });
    let reply = operator.ask(&Method::POST, "/v1/cache/list", Some(&listing))?;
    if json {
        return Ok(shown::json(&reply));
    }
    let mut text: String = responses(&reply).iter().map(|stored| line(stored) + "\n").collect();
    text.push_str(&totals(&reply));
    Ok(text)
}

/// What `show` prints.
pub(crate) fn show(operator: &Operator, url: &str, json: bool) -> anyhow::Result<String> {
    let mut reply = operator.ask(&Method::POST, "/v1/cache/show", Some(&json!({ "url": url })))?;
    if responses(&reply).is_empty() {
        bail!("nothing is stored for {url}");
    }
    if json {
        return Ok(shown::json(&reply));
    }
    let details: String = responses(&reply).iter().map(details).collect();
    Ok(format!("{details}{}", explanation_of(reply["explanation"].take())?))
}

/// What all that is meant comes to, and how much of it is not shown.
fn totals(reply: &Value) -> String {
    let total = |name: &str| reply["totals"][name].as_u64().unwrap_or(0);
    let (meant, shown) = (total("responses"), responses(reply).len() as u64);
    let of = if shown < meant { format!("{shown} of ") } else { String::new() };
    let (held, on_disk) = (human(total("bytes")), human(total("on_disk")));
    let responses = counted(meant, "stored response");
    let shared = match total("shared") {
        0 => String::new(),
        shared => format!(" ({} less, since equal bodies are kept once)", human(shared)),
    };
    format!("{of}{responses}, {held}, {on_disk} on disk{shared}\n")
}

/// One stored response: status, length, uses, media type, URL, and what is special about it.
fn line(stored: &Value) -> String {
    let arriving = arriving(stored).map(|arrived| format!("arriving: {arrived}"));
    let partial = (stored["partial"] == true && arriving.is_none()).then(|| {
        let held = human(stored["arrived"].as_u64().unwrap_or(0));
        format!("{held} held")
    });
    let pinned = (stored["pinned"] == true).then(|| "pinned".to_owned());
    let special: Vec<_> = [pinned, arriving, partial].into_iter().flatten().collect();
    let special = if special.is_empty() { String::new() } else { format!("  ({})", special.join(", ")) };
    format!(
        "{status} {length:>9} {uses:>6} {of_uses}  {media_type:24} {url}{special}",
        status = stored["status"],
        length = stored["length"].as_u64().map_or_else(|| "?".to_owned(), human),
        uses = stored["uses"].as_u64().unwrap_or(0),
        of_uses = if stored["uses"] == 1 { "use " } else { "uses" },
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
    let mut text = format!(
        "{url}\n  status     {status}\n  length     {length}\n  type       {media_type}\n  stored     {stored_at}\n  uses       \
         {uses}\n",
        url = stored["key"].as_str().unwrap_or("?"),
        status = stored["status"],
        media_type = stored["media_type"].as_str().unwrap_or("-"),
        stored_at = stored_at.as_ref().and_then(|date| date.to_str().ok()).unwrap_or("?"),
        uses = stored["uses"].as_u64().unwrap_or(0),
    );
    for (name, value) in [
        ("on disk", stored["on_disk"].as_u64().map(human)),
        ("pinned", (stored["pinned"] == true).then(|| "yes: never evicted".to_owned())),
        ("held", held(stored)),
        ("freshness", freshness(stored)),
        ("varies by", nominated(stored)),
    ] {
        if let Some(value) = value {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {name:<10} {value}");
        }
    }
    for field in stored["fields"].as_array().map_or(&[][..], Vec::as_slice) {
        let _ =
            writeln!(text, "    {}: {}", field[0].as_str().unwrap_or("?"), field[1].as_str().unwrap_or("?"));
    }
    text
}

/// The parts that are held of a body, where that is not all of it.
fn held(stored: &Value) -> Option<String> {
    let parts = stored["held"].as_array().filter(|_| stored["partial"] == true)?;
    let part = |part: &Value| format!("{}-{}", part[0], part[1]);
    Some(format!("bytes {}", parts.iter().map(part).collect::<Vec<_>>().join(", ")))
}

fn freshness(stored: &Value) -> Option<String> {
    let fresh = if stored["fresh"].as_bool()? { "fresh" } else { "stale" };
    let (age, lifetime) = (stored["age"].as_u64()?, stored["freshness_lifetime"].as_u64()?);
    let from = stored["lifetime_source"].as_str().unwrap_or("?");
    Some(format!("{fresh}: age {age} s of {lifetime} s ({from})"))
}

/// The request fields that a response was chosen by (RFC 9111 §4.1).
fn nominated(stored: &Value) -> Option<String> {
    let fields = stored["nominated"].as_array().filter(|fields| !fields.is_empty())?;
    let each = |field: &Value| {
        let name = field[0].as_str().unwrap_or("?");
        field[1].as_str().map_or_else(|| format!("no {name}"), |value| format!("{name}: {value}"))
    };
    Some(fields.iter().map(each).collect::<Vec<_>>().join(", "))
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
        here["pinned"] = true.into();
        here["length"] = Value::Null;
        assert!(line(&here).ends_with(" http://a/  (pinned, arriving: 5.1 kB so far)"), "{}", line(&here));
        (here["arriving"], here["partial"]) = (false.into(), true.into());
        assert!(line(&here).ends_with(" http://a/  (pinned, 5.1 kB held)"), "{}", line(&here));
    }

    #[test]
    fn totals_say_how_much_is_not_shown() {
        let mut reply =
            json!({ "responses": [{}], "totals": { "responses": 1, "bytes": 5100, "on_disk": 8192 } });
        assert_eq!(totals(&reply), "1 stored response, 5.1 kB, 8.2 kB on disk\n");
        reply["totals"]["responses"] = 7.into();
        assert_eq!(totals(&reply), "1 of 7 stored responses, 5.1 kB, 8.2 kB on disk\n");
        reply["totals"]["shared"] = 4096.into();
        let shared = "1 of 7 stored responses, 5.1 kB, 8.2 kB on disk (4.1 kB less, since equal bodies are kept once)\n";
        assert_eq!(totals(&reply), shared);
    }

    #[test]
    fn a_stored_response_is_shown_line_by_line() {
        let stored = json!({ "key": "http://a/", "status": 200, "length": 10_200, "media_type": "text/html",
            "stored_at": 784_111_777, "uses": 2, "arriving": false, "on_disk": 12_288, "pinned": true,
            "partial": true, "held": [[0, 99], [200, 299]], "fresh": true, "age": 5, "freshness_lifetime": 60,
            "lifetime_source": "max-age", "nominated": [["accept", "a/b"], ["x", null]],
            "fields": [["etag", "\"1\""]] });
        let expected = [
            "http://a/",
            "  status     200",
            "  length     10.2 kB (10200 bytes)",
            "  type       text/html",
            "  stored     Sun, 06 Nov 1994 08:49:37 GMT",
            "  uses       2",
            "  on disk    12.3 kB",
            "  pinned     yes: never evicted",
            "  held       bytes 0-99, 200-299",
            "  freshness  fresh: age 5 s of 60 s (max-age)",
            "  varies by  accept: a/b, no x",
            "    etag: \"1\"",
        ];
        assert_eq!(details(&stored).lines().collect::<Vec<_>>(), expected);
        let text = details(&json!({ "stored_at": u64::MAX }));
        assert!(text.contains("stored     ?"), "{text}");
    }
}
