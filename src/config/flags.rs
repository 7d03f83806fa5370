//! `Flags`: what the command line says about options, still as text.
//!
//! The arguments are made from the option table, so this is `clap::Args` by hand. It judges no value: a wrong one
//! is reported by `load`, together with those of files and environment.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use clap::builder::{StringValueParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::config::options::{OPTIONS, OptionRow};
use crate::config::{ConfigError, ConfigErrors};

const FILE: &str = "config-file";
const SET: &str = "set";
const HEADING: &str = "Configuration";

/// The flags that set options, in the order in which they were given.
///
/// All of them are global: they may stand before a subcommand, behind it, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    /// The only file to read, in place of the usual ones.
    pub(super) file: Option<PathBuf>,
    pub(super) given: Vec<GivenFlag>,
}

/// One flag that sets an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GivenFlag {
    /// The flag as typed: `--cache-size` or `--set`.
    pub(super) flag: String,
    /// The key, which for `--set` may be no option's.
    pub(super) key: String,
    /// The value; `None` for a `--set` without an equals sign.
    pub(super) value: Option<String>,
}

impl Flags {
    /// The file that is named, of those that were given.
    pub(crate) fn named_file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Reads flags alone, without the name of a program before them.
    pub(super) fn parse(flags: impl IntoIterator<Item: AsRef<str>>) -> Result<Flags, ConfigErrors> {
        let flags = flags.into_iter().map(|flag| flag.as_ref().to_owned());
        Self::augment_args(Command::new("bentpipe").no_binary_name(true).disable_help_flag(true))
            .try_get_matches_from(flags)
            .and_then(|matches| Flags::from_arg_matches(&matches))
            .map_err(|error| ConfigErrors(vec![ConfigError::Usage(error.to_string().trim_end().to_owned())]))
    }
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        let record = Record::default();
        let recorded = |key, flag| {
            let recorder = Recorder { flag, key, record: record.clone() };
            Arg::new(key.unwrap_or(SET)).long(flag).action(ArgAction::Append).value_parser(recorder)
        };
        let file =
            Arg::new(FILE).long("config").value_name("FILE").value_parser(clap::value_parser!(PathBuf));
        let file = file.help("Read this file instead of the system's and the user's bentpipe.toml");
        let set = recorded(None, SET).value_name("KEY=VALUE");
        let set = set.help("Set any option, such as limits.connections=100; see `bentpipe config reference`");
        let flagged = OPTIONS.iter().filter_map(|row| {
            let arg = recorded(Some(row.key), row.flag?).value_name(row.value_name);
            Some(arg.help(help(row)))
        });
        command.args([file, set].into_iter().chain(flagged).map(|arg| arg.help_heading(HEADING).global(true)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn help(row: &OptionRow) -> String {
    let default = match row.default().join(",") {
        default if default.is_empty() => "none".to_owned(),
        default => default,
    };
    format!("{} [default: {default}]", row.help.trim_end_matches('.'))
}

/// All flags of one command line, each with the length of the name of its subcommand (`bentpipe config show`).
///
/// Clap itself keeps no order between the two sides of a subcommand, and of a global argument on both sides only
/// what stands behind: a `--set` in front would be lost without a word. So each value is recorded when it is
/// parsed, and stands for the record. The last one before a subcommand is parsed after those behind it, hence
/// the lengths: names grow from left to right. One `Command` serves one command line.
type Record = Arc<Mutex<Vec<(usize, GivenFlag)>>>;

/// Reads the value of one flag into the record.
#[derive(Clone)]
struct Recorder {
    flag: &'static str,
    /// The option; `None` for `--set`, whose value names it.
    key: Option<&'static str>,
    record: Record,
}

impl TypedValueParser for Recorder {
    type Value = Record;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<Record, clap::Error> {
        let text = StringValueParser::new().parse_ref(command, arg, value)?;
        let (key, value) = match (self.key, text.split_once('=')) {
            (Some(key), _) => (key.to_owned(), Some(text)),
            (None, Some((key, value))) => (key.trim().to_owned(), Some(value.to_owned())),
            (None, None) => (text, None),
        };
        let given = GivenFlag { flag: format!("--{}", self.flag), key, value };
        let depth = command.get_bin_name().map_or(0, str::len);
        self.record.lock().unwrap_or_else(PoisonError::into_inner).push((depth, given));
        Ok(self.record.clone())
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Flags, clap::Error> {
        let flagged = OPTIONS.iter().filter(|row| row.flag.is_some()).map(|row| row.key);
        let record = flagged.chain([SET]).find_map(|id| matches.get_one::<Record>(id));
        let given = record.map(|record| record.lock().unwrap_or_else(PoisonError::into_inner).clone());
        let mut given = given.unwrap_or_default();
        given.sort_by_key(|(depth, _)| *depth);
        let given = given.into_iter().map(|(_, flag)| flag).collect();
        Ok(Flags { file: matches.get_one::<PathBuf>(FILE).cloned(), given })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Flags::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(flags: &str, expected: &[(&str, &str, Option<&str>)]) {
        let parsed = Flags::parse(flags.split_whitespace()).unwrap();
        let given: Vec<_> =
            parsed.given.iter().map(|g| (g.flag.as_str(), g.key.as_str(), g.value.as_deref())).collect();
        assert_eq!(given, expected, "{flags}");
    }

    #[test]
    fn flags_keep_the_order_of_the_command_line() {
        check(
            "--set cache.size=1G --cache-size 2G --listen=[::1]:1 --set cache.size=3G",
            &[
                ("--set", "cache.size", Some("1G")),
                ("--cache-size", "cache.size", Some("2G")),
                ("--listen", "listen", Some("[::1]:1")),
                ("--set", "cache.size", Some("3G")),
            ],
        );
        check("--set nonsense", &[("--set", "nonsense", None)]);
        check("--set log.level=a=b", &[("--set", "log.level", Some("a=b"))]);
    }

    #[test]
    fn unknown_flags_are_refused_in_words() {
        let error = Flags::parse(["--cache-szie", "1G"]).unwrap_err().to_string();
        assert!(error.contains("--cache-szie"), "{error}");
        assert!(Flags::parse(["--cache-size"]).is_err());
    }

    #[test]
    fn flags_may_stand_before_and_behind_a_subcommand() {
        let command = || Flags::augment_args(Command::new("bentpipe").subcommand(Command::new("config")));
        let parse = |line: &str| {
            let matches = command().try_get_matches_from(line.split_whitespace()).unwrap();
            Flags::from_arg_matches(&matches).unwrap()
        };
        let before = parse("bentpipe --config a.toml --link 56k --set log.level=warn config");
        let behind = parse("bentpipe config --config a.toml --link 56k --set log.level=warn");
        assert_eq!(before, behind);
        assert_eq!((before.file, before.given.len()), (Some(PathBuf::from("a.toml")), 2));

        let keys = |flags: Flags| flags.given.into_iter().map(|given| given.key).collect::<Vec<_>>();
        let both = parse("bentpipe --set a=1 --link 56k config --set b=2 --cache-size 1G");
        assert_eq!(keys(both), ["a", "link.spec", "b", "cache.size"]);
    }

    #[test]
    fn the_arguments_make_a_valid_command() {
        Flags::augment_args(Command::new("bentpipe")).debug_assert();
    }
}
