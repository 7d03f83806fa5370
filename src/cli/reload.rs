//! `bentpipe reload`: the running proxy reads its configuration again; and how changes of it are told.

use std::io::Write as _;

use clap::Args;
use http::Method;
use serde_json::Value;

use crate::admin::client::Operator;
use crate::config::Loaded;

/// Have the running proxy read its configuration again
///
/// Files, environment and flags are those with which it was started. It is checked as a whole: where anything is wrong, all
/// of it is printed and the proxy goes on as it was. What was set by hand (`bentpipe link set`, `bentpipe config set`) is
/// dropped. Requests under way are not touched.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Reload {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Carries it out.
pub(crate) fn run(command: Reload, loaded: &Loaded) -> anyhow::Result<()> {
    let changed = Operator::running(loaded)?.ask(&Method::POST, "/v1/reload", None)?;
    let mut out = std::io::stdout().lock();
    if command.json {
        writeln!(out, "{changed:#}")?;
    } else {
        out.write_all(told(&changed).as_bytes())?;
    }
    Ok(())
}

/// What was changed, a line each.
pub(super) fn told(changed: &Value) -> String {
    let rows = |name: &str| changed[name].as_array().map_or(&[][..], Vec::as_slice);
    let line = |change: &Value| {
        let key = change["key"].as_str().unwrap_or("?");
        let (before, after) = (shown(&change["before"]), shown(&change["after"]));
        if before == after {
            format!("{key}: changed ({after})")
        } else {
            format!("{key}: {before} -> {after}")
        }
    };
    let names = |name: &str| {
        rows(name).iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>().join(", ")
    };
    let mut text: String = rows("changed").iter().map(|change| line(change) + "\n").collect();
    if text.is_empty() {
        text = "no option has another value; the files that they name were read again\n".to_owned();
    }
    for change in rows("restart") {
        text += &format!("{} (takes effect after a restart)\n", line(change));
    }
    if !rows("dropped").is_empty() {
        text += &format!("set by hand before, and no longer: {}\n", names("dropped"));
    }
    text
}

/// A value as people write it.
pub(super) fn shown(value: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match value {
        Value::Array(values) if values.is_empty() => "none".to_owned(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        value => text(value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_are_told_a_line_each() {
        let changed = json!({
            "changed": [
                { "key": "cache.size", "before": "10G", "after": "20G" },
                { "key": "admission.users", "before": ["ann:***"], "after": ["ann:***"] },
                { "key": "listen", "before": ["127.0.0.1:1"], "after": [] },
            ],
            "restart": [{ "key": "cache.dir", "before": "/a", "after": "/b" }],
            "by_hand": [],
            "dropped": ["link.spec", "link.trace"],
        });
        let expected = "cache.size: 10G -> 20G\nadmission.users: changed (ann:***)\nlisten: 127.0.0.1:1 -> none\n\
                        cache.dir: /a -> /b (takes effect after a restart)\n\
                        set by hand before, and no longer: link.spec, link.trace\n";
        assert_eq!(told(&changed), expected);
        assert_eq!(
            told(&json!({})),
            "no option has another value; the files that they name were read again\n"
        );
    }
}
