//! What is different between two configurations, as an operator is told: option by option, before and after, with
//! secrets masked; and which of it waits for a restart.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::config::load::Loaded;
use crate::config::options::{self, OPTIONS, OptionRow};
use crate::config::{Config, Source, show};

/// One option that has another value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    pub(crate) key: &'static str,
    /// A text, or an array of texts for a list.
    pub(crate) before: Value,
    pub(crate) after: Value,
}

/// The options of which `after` says something else than `before`.
pub(crate) fn between(before: &Config, after: &Config) -> Vec<Change> {
    changed(before, after).map(|row| change(row, before, after)).collect()
}

/// Puts back what only a restart can change, so that `after` says what holds; returns what was put back.
pub(crate) fn hold_back(before: &Config, after: &mut Config) -> Vec<Change> {
    let rows: Vec<_> = changed(before, after).filter(|row| row.restart).collect();
    let held = rows.iter().map(|row| change(row, before, after)).collect();
    for row in rows {
        let values = (row.get)(before);
        let values: Vec<_> = values.iter().map(String::as_str).collect();
        // What a row prints it reads back.
        if (row.set)(after, &values).is_err() {
            tracing::warn!(option = row.key, "the value in force could not be kept");
        }
    }
    held
}

fn changed<'a>(before: &'a Config, after: &'a Config) -> impl Iterator<Item = &'static OptionRow> + 'a {
    OPTIONS.iter().filter(|row| (row.get)(before) != (row.get)(after))
}

fn change(row: &'static OptionRow, before: &Config, after: &Config) -> Change {
    Change { key: row.key, before: value(row, before), after: value(row, after) }
}

fn value(row: &OptionRow, config: &Config) -> Value {
    let values = show::visible(row, config);
    if row.list { json!(values) } else { json!(values.concat()) }
}

/// Every option: its value, where that comes from, and whether another takes effect after a restart only.
pub(crate) fn all(loaded: &Loaded) -> Value {
    let option =
        |(row, source): &(&'static OptionRow, Source)| (row.key.to_owned(), told(row, source, loaded));
    Value::Object(loaded.sources.iter().map(option).collect::<Map<_, _>>())
}

/// The option `key`, as in [`all`]; none if there is none of this name.
pub(crate) fn one(loaded: &Loaded, key: &str) -> Option<Value> {
    let (row, source) = loaded.sources.iter().find(|(row, _)| row.key == key)?;
    let mut told = told(row, source, loaded);
    told["key"] = row.key.into();
    Some(told)
}

fn told(row: &OptionRow, source: &Source, loaded: &Loaded) -> Value {
    json!({ "value": value(row, &loaded.config), "source": source.to_string(), "restart": row.restart })
}

/// Whether only a command on this machine may set the option `key` to `value`. A secret that stands elsewhere is a file or
/// a variable of this machine, whatever option it is for.
pub(crate) fn is_local(key: &str, value: &Value) -> bool {
    options::find(key).is_some_and(|row| row.local) || stands_elsewhere(value)
}

fn stands_elsewhere(value: &Value) -> bool {
    match value {
        Value::String(text) => {
            text.split(',').any(|part| ["@file:", "@env:"].iter().any(|start| part.trim().starts_with(start)))
        }
        Value::Array(values) => values.iter().any(stands_elsewhere),
        _ => false,
    }
}

/// The names of all options.
pub(crate) fn keys() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().map(|row| row.key)
}

/// How `value` of the option `key`, as it was told, is written in a file: the section and the line in it. None for what
/// is no option, or a secret, of which nobody knows what it was.
pub(crate) fn file_line(key: &str, value: &Value) -> Option<(String, String)> {
    let row = options::find(key).filter(|row| !row.secret)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let values: Vec<_> = match value {
        Value::Array(values) => values.iter().map(text).collect(),
        value => vec![text(value)],
    };
    let (section, name) = row.key.split_once('.').unwrap_or(("", row.key));
    Some((section.to_owned(), format!("{name} = {}", show::toml_value(row, &values))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(flags: &[&str]) -> Config {
        Config::from_flags(flags).unwrap()
    }

    #[test]
    fn changes_are_told_by_option_and_without_secrets() {
        let before = config(&["--set=admission.users=ann:one"]);
        let after = config(&["--set=admission.users=ann:two", "--cache-size=1G"]);
        let told = json!(between(&before, &after));
        let expected = json!([
            { "key": "cache.size", "before": "10G", "after": "1G" },
            { "key": "admission.users", "before": ["ann:***"], "after": ["ann:***"] },
        ]);
        assert_eq!(told, expected);
        assert!(between(&before, &before).is_empty());
    }

    #[test]
    fn what_reaches_beyond_the_proxy_is_for_this_machine() {
        let check = |key, value, expected| assert_eq!(is_local(key, &value), expected, "{key} {value}");
        check("log.access", json!("/a"), true);
        check("admin.token", Value::Null, true);
        check("link.spec", json!("1M"), false);
        check("dns.hosts", json!(["a.example=10.0.0.1", "@file:/a"]), true);
        check("dns.hosts", json!("a.example=10.0.0.1, @env:PATH"), true);
        check("nothing", json!("/a"), false);
    }

    #[test]
    fn what_needs_a_restart_is_put_back() {
        let before = config(&["--cache-dir=/a", "--cache-size=1G"]);
        let mut after = config(&["--cache-dir=/b", "--cache-size=2G", "--set=admin.listen=3129"]);
        let held: Vec<_> = hold_back(&before, &mut after).into_iter().map(|change| change.key).collect();
        assert_eq!(held, ["cache.dir", "admin.listen"]);
        assert_eq!(after, config(&["--cache-dir=/a", "--cache-size=2G"]));
    }

    #[test]
    fn a_change_is_written_as_a_line_of_a_file() {
        let line =
            |key, value: Value| file_line(key, &value).map(|(section, line)| format!("[{section}] {line}"));
        assert_eq!(line("link.spec", json!("1M")).as_deref(), Some("[link] spec = \"1M\""));
        assert_eq!(line("listen", json!(["127.0.0.1:1"])).as_deref(), Some("[] listen = [\"127.0.0.1:1\"]"));
        assert_eq!(line("limits.connections", json!("9")).as_deref(), Some("[limits] connections = 9"));
        assert_eq!(line("admission.users", json!(["ann:***"])), None);
        assert_eq!(line("nothing", json!("9")), None);
    }
}
