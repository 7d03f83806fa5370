//! `bentpipe cache purge`, `pin` and `unpin`: what is stored, changed.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};

use anyhow::bail;
use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::filters::Filters;
use crate::admin::client::Operator;
use crate::admin::human;
use crate::admin::selection::Selection;
use crate::admin::stock::{self, Listing};

const PURGES: &str = "What is pinned stays, unless its whole URL is named or --pinned is given.

Examples:
  bentpipe cache purge http://example.org/page
  bentpipe cache purge --prefix http://example.org/images/ --dry-run
  bentpipe cache purge --host '*.example.org' --older-than 30d
  bentpipe cache purge --all --yes";

const PINS: &str =
    "What is pinned is never evicted, also after a restart; what takes its place when it changes at the
origin is pinned too. It is still validated, invalidated and purged like the rest.

Examples:
  bentpipe cache pin http://example.org/manual.pdf
  bentpipe cache pin --prefix http://deb.debian.org/debian/dists/";

const UNPINS: &str = "Examples:
  bentpipe cache unpin http://example.org/manual.pdf
  bentpipe cache unpin --all";

/// Drop stored responses.
#[derive(Clone, Debug, Args)]
#[command(after_help = PURGES)]
pub(crate) struct Purge {
    /// As it was asked for, such as `http://example.org/page`, or its beginning and a star, `http://example.org/*`
    url: Option<String>,
    /// Drop everything (that the other filters let pass)
    #[arg(long, conflicts_with = "url")]
    all: bool,
    /// Drop what is pinned, too
    #[arg(long)]
    pinned: bool,
    /// Drop nothing; say what would be dropped
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    filters: Filters,
}

/// Which ones to pin.
#[derive(Clone, Debug, Args)]
pub(crate) struct Pinned {
    /// As it was asked for, such as `http://example.org/page`, or its beginning and a star, `http://example.org/*`
    url: Option<String>,
    /// Everything (that the other filters let pass)
    #[arg(long, conflicts_with = "url")]
    all: bool,
    #[command(flatten)]
    filters: Filters,
}

/// Never evict stored responses.
#[derive(Clone, Debug, Args)]
#[command(after_help = PINS)]
pub(crate) struct Pin {
    #[command(flatten)]
    which: Pinned,
}

/// Let pinned responses be evicted like others again.
#[derive(Clone, Debug, Args)]
#[command(after_help = UNPINS)]
pub(crate) struct Unpin {
    #[command(flatten)]
    which: Pinned,
}

impl Pin {
    /// Which ones.
    pub(crate) fn which(self) -> Pinned {
        self.which
    }
}

impl Unpin {
    /// Which ones.
    pub(crate) fn which(self) -> Pinned {
        self.which
    }
}

/// Purges; returns what to print.
pub(crate) fn purge(operator: &Operator, command: Purge) -> anyhow::Result<String> {
    let Purge { url, filters, all, pinned, dry_run, yes } = command;
    let selection = Selection { all, ..filters.selection(url.clone()) };
    if selection.is_empty() {
        usage("purge", "say what to purge: a URL, filters such as --host, or --all");
    }
    if all && !yes && !dry_run {
        if !std::io::stdin().is_terminal() {
            usage(
                "purge",
                "nobody can be asked here whether everything should go; --yes says that it should",
            );
        }
        if !is_sure(operator, &selection)? {
            bail!("nothing was purged");
        }
    }
    let asked = stock::Purge { selection, dry_run, pinned_too: pinned };
    let reply = operator.ask(&Method::POST, "/v1/cache/purge", Some(&json!(asked)))?;
    if dry_run {
        return Ok(would(&reply));
    }
    let purged = reply["purged"].as_u64().unwrap_or(0);
    let spared = spared(&reply);
    match url {
        Some(url) if purged == 0 && spared.is_empty() => bail!("nothing was stored for {url}"),
        _ => Ok(format!("purged {}{spared}\n", counted(purged))),
    }
}

/// Pins, or lets be evicted again; returns what to print.
pub(crate) fn pin(operator: &Operator, which: Pinned, pinned: bool) -> anyhow::Result<String> {
    let Pinned { url, filters, all } = which;
    let mut selection = Selection { all, ..filters.selection(url) };
    let done = if pinned { "pin" } else { "unpin" };
    if selection.is_empty() {
        usage(done, &format!("say what to {done}: a URL, filters such as --host, or --all"));
    }
    // Only what is pinned can be let go.
    selection.pinned = !pinned;
    let asked = json!(stock::Pin { selection, pinned });
    let reply = operator.ask(&Method::POST, "/v1/cache/pin", Some(&asked))?;
    let (found, changed) = (reply["found"].as_u64().unwrap_or(0), reply["changed"].as_u64().unwrap_or(0));
    let rest = if found > changed { format!("; {} pinned already", found - changed) } else { String::new() };
    Ok(format!("{done}ned {}{}\n", counted(changed), if pinned { rest } else { String::new() }))
}

/// A command line that says too little: told as clap tells it, with exit code 2.
fn usage(command: &str, why: &str) -> ! {
    eprintln!("error: {why}\n\nFor more information, try 'bentpipe cache {command} --help'.");
    std::process::exit(2)
}

/// Asks whoever sits at the terminal.
fn is_sure(operator: &Operator, selection: &Selection) -> anyhow::Result<bool> {
    let listing = json!(Listing { selection: selection.clone(), limit: Some(0), ..Listing::default() });
    let reply = operator.ask(&Method::POST, "/v1/cache/list", Some(&listing))?;
    let total = |name: &str| reply["totals"][name].as_u64().unwrap_or(0);
    let (meant, bytes) = (counted(total("responses")), human(total("on_disk")));
    let mut stderr = std::io::stderr();
    write!(stderr, "purge {meant}, {bytes} on disk? [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}

/// What a dry run says.
fn would(reply: &Value) -> String {
    let mut text = String::new();
    let keys = reply["keys"].as_array().map_or(&[][..], Vec::as_slice);
    for key in keys {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", key.as_str().unwrap_or("?"));
    }
    let purged = reply["would_purge"].as_u64().unwrap_or(0);
    let more = purged.saturating_sub(keys.len() as u64);
    if more > 0 {
        let _ = writeln!(text, "and {more} more");
    }
    let bytes = human(reply["bytes"].as_u64().unwrap_or(0));
    let _ = writeln!(text, "would purge {}, {bytes} on disk{}", counted(purged), spared(reply));
    text
}

fn spared(reply: &Value) -> String {
    match reply["spared"].as_u64().unwrap_or(0) {
        0 => String::new(),
        spared => format!("; {spared} pinned ones stay (--pinned purges them too)"),
    }
}

fn counted(responses: u64) -> String {
    crate::text::counted(responses, "stored response")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_says_what_would_go_and_what_would_stay() {
        let reply =
            json!({ "would_purge": 3, "spared": 2, "bytes": 12_288, "keys": ["http://a/", "http://b/"] });
        let expected = "http://a/\nhttp://b/\nand 1 more\nwould purge 3 stored responses, 12.3 kB on disk; 2 pinned ones \
                        stay (--pinned purges them too)\n";
        assert_eq!(would(&reply), expected);
    }
}
