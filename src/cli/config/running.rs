//! `bentpipe config get` and `config set`: the configuration that is in force in the running proxy, seen and changed.

use std::io::Write as _;

use anyhow::Context as _;
use clap::Args;
use http::Method;
use serde_json::{Map, Value};

use crate::admin::client::Operator;
use crate::cli::reload::{shown, told};
use crate::config::Loaded;
use crate::config::changes;

/// Print what is in force in the running proxy, and where it comes from.
#[derive(Clone, Debug, Args)]
pub(crate) struct Get {
    /// Options, such as cache.size; all without
    #[arg(value_name = "KEY")]
    keys: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Change options of the running proxy at once, all of them or none.
///
/// It lasts until the proxy is restarted or reloaded; the lines that keep it are printed. A list is separated by commas and
/// replaces the one before.
#[derive(Clone, Debug, Args)]
pub(crate) struct Set {
    /// What is to hold: cache.size=20G link.spec=1M
    #[arg(value_name = "KEY=VALUE", required_unless_present = "unset", value_parser = pair)]
    values: Vec<(String, String)>,
    /// Take back what was set so, of one option or of several
    #[arg(long, value_name = "KEY", num_args = 1..)]
    unset: Vec<String>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// Prints the value of one option, or a line for each of several or all.
pub(super) fn get(command: &Get, loaded: &Loaded) -> anyhow::Result<()> {
    let proxy = Operator::running(loaded)?;
    let mut out = std::io::stdout().lock();
    if let [key] = command.keys.as_slice() {
        let said = proxy.ask(&Method::GET, &path(key)?, None)?;
        match command.json {
            true => writeln!(out, "{said:#}")?,
            false => writeln!(out, "{}", shown(&said["value"]))?,
        }
        return Ok(());
    }
    let said = match command.keys.as_slice() {
        [] => proxy.ask(&Method::GET, "/v1/config", None)?,
        // Before anything is printed: a misspelled one is told alone.
        keys => {
            let told = keys.iter().map(|key| Ok((key.clone(), proxy.ask(&Method::GET, &path(key)?, None)?)));
            Value::Object(told.collect::<anyhow::Result<Map<_, _>>>()?)
        }
    };
    if command.json {
        writeln!(out, "{said:#}")?;
        return Ok(());
    }
    let options = said.as_object().context("the proxy gave no options")?;
    let width = options.keys().map(String::len).max().unwrap_or(0);
    for (key, told) in options {
        let (value, source) = (shown(&told["value"]), told["source"].as_str().unwrap_or("?"));
        writeln!(out, "{key:width$} = {value}  # {}", source.escape_debug())?;
    }
    Ok(())
}

/// Where the option `key` is asked for. What stands in a path has no spaces and the like; no option has.
fn path(key: &str) -> anyhow::Result<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._/".contains(&byte);
    if key.is_empty() || !key.bytes().all(is_plain) {
        anyhow::bail!("{key:?} is not an option");
    }
    Ok(format!("/v1/config/{key}"))
}

/// Sets what is to hold, and prints what that changed and how to keep it.
pub(super) fn set(command: &Set, loaded: &Loaded) -> anyhow::Result<()> {
    let proxy = Operator::running(loaded)?;
    let changed = proxy.ask(&Method::PATCH, "/v1/config", Some(&Value::Object(wanted(command))))?;
    let text = told(&changed) + &how_to_keep(&changed);
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// What is asked for: values, and null for what is taken back.
fn wanted(command: &Set) -> Map<String, Value> {
    let given = command.values.iter().map(|(key, value)| (key.clone(), value.as_str().into()));
    // What follows --unset may be a value again: no key has an equals sign.
    let behind = command.unset.iter().map(|text| match pair(text) {
        Ok((key, value)) => (key, value.into()),
        Err(_) => (text.clone(), Value::Null),
    });
    given.chain(behind).collect()
}

/// The lines that say the same in a file.
fn how_to_keep(changed: &Value) -> String {
    let by_hand =
        |key: &str| changed["by_hand"].as_array().is_some_and(|keys| keys.iter().any(|by| by == key));
    let changes = changed["changed"].as_array().map_or(&[][..], Vec::as_slice);
    let line = |change: &Value| {
        let key = change["key"].as_str().filter(|key| by_hand(key))?;
        let line = changes::file_line(key, &change["after"]);
        Some(line.unwrap_or_else(|| {
            let (section, name) = key.split_once('.').unwrap_or(("", key));
            (section.to_owned(), format!("{name} = ...  # a secret, which is not told"))
        }))
    };
    let mut lines: Vec<_> = changes.iter().filter_map(line).collect();
    if lines.is_empty() {
        return String::new();
    }
    lines.sort_by(|(one, _), (other, _)| one.cmp(other));
    let file = changed["files"].as_array().and_then(|files| files.last()).and_then(Value::as_str);
    let file = file.unwrap_or("a file that bentpipe reads (docs/config.md)");
    let mut text = format!("This lasts until the next restart or reload. To keep it, write into {file}:\n");
    let mut section = "";
    for (within, line) in &lines {
        if within != section {
            section = within;
            text += &format!("  [{section}]\n");
        }
        text += &format!("  {line}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn several_keys_are_taken_back_at_once() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            set: Set,
        }
        let check = |line: &[&str], expected: Value| {
            let line: Line = clap::Parser::try_parse_from(["set"].iter().chain(line)).unwrap();
            assert_eq!(Value::Object(wanted(&line.set)), expected);
        };
        check(&["--unset", "a", "b"], json!({ "a": null, "b": null }));
        check(&["c=1", "--unset", "a", "--unset", "b"], json!({ "a": null, "b": null, "c": "1" }));
        check(&["--unset", "a", "c=1"], json!({ "a": null, "c": "1" }));
    }

    #[test]
    fn the_lines_that_keep_a_change_are_told() {
        let changed = json!({
            "changed": [
                { "key": "listen", "before": ["127.0.0.1:1"], "after": ["127.0.0.1:2", "[::1]:2"] },
                { "key": "link.spec", "before": "unlimited", "after": "1M" },
                { "key": "admission.users", "before": [], "after": ["ann:***"] },
                { "key": "cache.max_object", "before": "1G", "after": "5M" },
            ],
            "by_hand": ["link.spec", "listen", "admission.users"],
            "files": ["/etc/bentpipe/bentpipe.toml"],
        });
        let expected = "This lasts until the next restart or reload. To keep it, write into /etc/bentpipe/bentpipe.toml:\n  \
                        listen = [\"127.0.0.1:2\", \"[::1]:2\"]\n  [admission]\n  \
                        users = ...  # a secret, which is not told\n  [link]\n  spec = \"1M\"\n";
        assert_eq!(how_to_keep(&changed), expected);
        assert_eq!(how_to_keep(&json!({ "changed": [], "by_hand": ["link.spec"] })), "");
    }
}
