//! `Given`: where a configuration comes from, so that it can be read again while bentpipe runs; and `Hand`, what an
//! operator has set meanwhile. Which of several values counts is `merge`'s to say.

use std::path::PathBuf;

use serde_json::Value;

use crate::config::folders::{self, Folders};
use crate::config::load::{self, Loaded};
use crate::config::merge::Merging;
use crate::config::options::{self, OPTIONS, OptionRow};
use crate::config::{Config, ConfigError, ConfigErrors, Flags, Source, nearest};

/// Where a configuration comes from.
#[derive(Debug)]
pub struct Given(Origin);

#[derive(Debug)]
enum Origin {
    /// Files, the environment of this process, and flags.
    Here(Flags),
    /// Flags, and the file that one of them names.
    Flags(Flags),
    /// A program that made it.
    Nowhere,
}

impl Given {
    /// What `flags` say and the defaults for the rest: no environment, and no file but the one a `--config` among them
    /// names.
    ///
    /// # Errors
    /// Flags that are unknown or lack a value.
    pub fn by_flags(flags: impl IntoIterator<Item: AsRef<str>>) -> Result<Self, ConfigErrors> {
        Flags::parse(flags).map(|flags| Self(Origin::Flags(flags)))
    }

    /// What files, the environment of this process, and `flags` say.
    pub(crate) fn here(flags: Flags) -> Self {
        Self(Origin::Here(flags))
    }

    /// What a program has put together.
    pub(crate) fn nowhere() -> Self {
        Self(Origin::Nowhere)
    }

    /// Whether there is anything to be read again.
    pub(crate) fn can_be_read(&self) -> bool {
        !matches!(self.0, Origin::Nowhere)
    }

    /// Reads it, once more.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place.
    pub(crate) fn load(&self) -> Result<Loaded, ConfigErrors> {
        match &self.0 {
            Origin::Here(flags) => load::load_here(flags),
            Origin::Flags(flags) => load::without_surroundings(flags),
            Origin::Nowhere => Ok(Loaded::of(Config::default())),
        }
    }

    /// `base` with what was set by hand over it, checked as a whole.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn with_hand(&self, base: &Loaded, hand: &Hand) -> Result<Loaded, ConfigErrors> {
        let (env, folders): (fn(&str) -> Option<String>, _) = match self.0 {
            Origin::Here(_) => (folders::environment, Folders::new(folders::environment)),
            Origin::Flags(_) | Origin::Nowhere => (|_| None, Folders::default()),
        };
        let mut merging = Merging::resume(base, &env);
        for (row, values) in &hand.0 {
            merging.give(row, values, Source::Hand);
        }
        merging.finish(&folders)
    }
}

impl Loaded {
    /// A configuration that a program has made.
    pub(crate) fn of(config: Config) -> Self {
        let sources = OPTIONS.iter().map(|row| (row, Source::Default)).collect();
        let (unsettled, files, doubts) = (config.clone(), Vec::<PathBuf>::new(), Vec::new());
        Self { unsettled, config, sources, named: None, files, doubts }
    }
}

/// What an operator has set while bentpipe runs, in the order in which it was.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hand(Vec<(&'static OptionRow, Vec<String>)>);

impl Hand {
    /// Sets the option `key` to `value`: a text, number or truth value, an array of such for a list, or null for what
    /// counts without it. Nothing is checked but that there is such an option, which may be changed so.
    ///
    /// # Errors
    /// If there is none, or it needs a restart: what is set by hand does not outlast one.
    pub(crate) fn set(&mut self, key: &str, value: &Value) -> Result<(), ConfigError> {
        let Some(row) = options::find(key) else {
            let (place, nearest) = (Source::Hand, nearest::options(key));
            return Err(ConfigError::UnknownKey { place, key: key.to_owned(), nearest });
        };
        let refused = |reason: &str| {
            Err(ConfigError::Value {
                place: Source::Hand,
                key: row.key,
                value: None,
                reason: reason.to_owned(),
            })
        };
        if row.restart {
            return refused(
                "takes effect after a restart, which drops what was set by hand: write it into the file",
            );
        }
        let Some(texts) = texts(row, value) else {
            return refused("expected a text, a number, a truth value or, for a list, an array of such");
        };
        self.0.retain(|(known, _)| known.key != row.key);
        self.0.extend(texts.map(|texts| (row, texts)));
        Ok(())
    }

    /// The options that are set so.
    pub(crate) fn keys(&self) -> Vec<&'static str> {
        self.0.iter().map(|(row, _)| row.key).collect()
    }
}

/// The values that `value` stands for; `Some(None)` is null.
fn texts(row: &OptionRow, value: &Value) -> Option<Option<Vec<String>>> {
    let scalar = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    };
    match value {
        Value::Null => Some(None),
        Value::Array(values) if row.list => values.iter().map(scalar).collect::<Option<Vec<_>>>().map(Some),
        value => scalar(value).map(|text| Some(row.split(&text))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What comes of setting `key` to `value` over the flag `--cache-size=5M`: the values, or what is wrong.
    fn check(key: &str, value: &Value, expected: Result<&str, &str>) {
        let given = Given::by_flags(["--cache-size=5M"]).unwrap();
        let base = given.load().unwrap();
        let mut hand = Hand::default();
        let set = hand.set(key, value).map_err(|error| error.to_string());
        let done = set.and_then(|()| given.with_hand(&base, &hand).map_err(|errors| errors.to_string()));
        let found = done.map(|loaded| (options::find(key).unwrap().get)(&loaded.config).join(" "));
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{key} = {value}");
    }

    #[test]
    fn options_are_set_by_hand_and_checked_as_a_whole() {
        check("cache.size", &json!("20G"), Ok("20G"));
        check("cache.size", &json!(null), Ok("5M"));
        check("limits.connections", &json!(7), Ok("7"));
        check("link.dns", &json!("on"), Ok("on"));
        check("destinations.connect_ports", &json!([443, "8443"]), Ok("443 8443"));
        check("destinations.connect_ports", &json!("443, 8443"), Ok("443 8443"));
        check(
            "cache.dir",
            &json!("/x"),
            Err(
                "set by hand: cache.dir: takes effect after a restart, which drops what was set by hand: write it into the file",
            ),
        );
        check(
            "cache.szie",
            &json!("1G"),
            Err("set by hand: \"cache.szie\" is not an option; did you mean cache.size?"),
        );
        check(
            "cache.size",
            &json!(["1G"]),
            Err(
                "set by hand: cache.size: expected a text, a number, a truth value or, for a list, an array of such",
            ),
        );
        check(
            "cache.size",
            &json!("much"),
            Err("set by hand: cache.size = \"much\": expected a size such as 10G or 500M"),
        );
        check(
            "cache.max_object",
            &json!("6M"),
            Err("set by hand: cache.max_object = \"6M\": larger than cache.size, which is 5M (--cache-size)"),
        );
        check(
            "admission.users",
            &json!("sesame"),
            Err("set by hand: admission.users: expected name:password, neither of them empty"),
        );
    }

    #[test]
    fn what_a_smaller_value_had_clamped_comes_back() {
        let given = Given::nowhere();
        let base = Loaded::of(Config::default());
        let max_object = |size: &str| {
            let mut hand = Hand::default();
            hand.set("cache.size", &json!(size)).unwrap();
            given.with_hand(&base, &hand).unwrap().config.cache.max_object.0
        };
        assert_eq!((max_object("5M"), max_object("20G")), (5_000_000, 1_000_000_000));
    }
}
