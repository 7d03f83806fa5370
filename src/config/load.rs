//! `load`: where values are looked for, and in which order: default < file < environment < flag. What is made of them is
//! `merge`'s.

use std::path::PathBuf;

use crate::config::folders::{self, Folders};
use crate::config::merge::Merging;
use crate::config::nearest;
use crate::config::options::OptionRow;
use crate::config::{Config, ConfigError, ConfigErrors, Flags, Source};

/// A configuration, and where it came from.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The configuration.
    pub(crate) config: Config,
    /// The same before values that depend on others or on the machine were settled.
    pub(super) unsettled: Config,
    /// Where the value of each option came from, in the order of `OPTIONS`.
    pub(super) sources: Vec<(&'static OptionRow, Source)>,
    /// The one file to read, if a flag has named one.
    pub(super) named: Option<PathBuf>,
    /// The files that were read.
    pub(crate) files: Vec<PathBuf>,
    /// Variables that look like an option's and are not. They may be meant for somebody else, so they stop nothing.
    pub(crate) doubts: Vec<ConfigError>,
}

impl Loaded {
    /// Whether nobody has set the option `key`.
    pub(crate) fn is_default(&self, key: &str) -> bool {
        self.sources.iter().any(|(row, source)| row.key == key && *source == Source::Default)
    }

    /// That the value of the option `key` cannot be, with the place where it was given.
    pub(crate) fn refused(&self, key: &'static str, reason: String) -> ConfigError {
        let source = self.sources.iter().find(|(row, _)| row.key == key).map(|(_, source)| source.clone());
        ConfigError::Value { place: source.unwrap_or(Source::Default), key, value: None, reason }
    }

    /// Whether the option `key` was given on the command line, and not by files or environment.
    pub(crate) fn is_flag(&self, key: &str) -> bool {
        self.sources.iter().any(|(row, source)| row.key == key && matches!(source, Source::Flag(_)))
    }
}

/// Reads files, the environment of this process and flags into one configuration.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_here(flags: &Flags) -> Result<Loaded, ConfigErrors> {
    load(flags, folders::environment, &folders::variables(nearest::PREFIX))
}

/// Reads files, environment and flags into one configuration. `env` is the value of a variable, `variables` the names
/// of those that are set, in which misspelled ones are found.
///
/// # Errors
/// All that is wrong with any of them: a missing or unreadable file, TOML that is none, unknown keys and variables,
/// values that cannot be what they are, and those that contradict each other.
pub(crate) fn load(
    flags: &Flags,
    env: impl Fn(&str) -> Option<String>,
    variables: &[String],
) -> Result<Loaded, ConfigErrors> {
    let folders = Folders::new(&env);
    let mut errors: Vec<_> = nearest::unknown_variables(variables).collect();
    match load_from(flags, env, &folders, &folders.files()) {
        Ok(loaded) => Ok(Loaded { doubts: errors, ..loaded }),
        Err(ConfigErrors(mut others)) => {
            others.append(&mut errors);
            Err(ConfigErrors(others))
        }
    }
}

/// As [`load`], on a machine with no environment and no files of its own but the one that `flags` may name.
pub(super) fn without_surroundings(flags: &Flags) -> Result<Loaded, ConfigErrors> {
    load_from(flags, |_| None, &Folders::default(), &[])
}

fn load_from(
    flags: &Flags,
    env: impl Fn(&str) -> Option<String>,
    folders: &Folders,
    usual_files: &[PathBuf],
) -> Result<Loaded, ConfigErrors> {
    let mut merging = Merging::new(&env);
    match &flags.file {
        Some(path) => merging.file(path, true),
        None => usual_files.iter().for_each(|path| merging.file(path, false)),
    }
    merging.environment();
    merging.flags(&flags.given);
    merging.finish(folders).map(|loaded| Loaded { named: flags.file.clone(), ..loaded })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use linkio::ByteCount;
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;
    use crate::config::ConfigError;
    use crate::config::flags::GivenFlag;
    use crate::config::options::OPTIONS;

    /// Where values are given in a test: the texts of files, variables and flags.
    #[derive(Default)]
    struct Given<'a> {
        system: &'a str,
        user: &'a str,
        env: &'a [(&'a str, &'a str)],
        flags: &'a [&'a str],
    }

    impl Given<'_> {
        fn load(&self) -> Result<(Loaded, TempDir), (ConfigErrors, TempDir)> {
            let folder = TempDir::new().unwrap();
            let files = ["system.toml", "user.toml"].map(|name| folder.path().join(name));
            for (path, text) in files.iter().zip([self.system, self.user]) {
                fs::write(path, text).unwrap();
            }
            let env = |name: &str| {
                self.env.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string())
            };
            let flags = Flags::parse(self.flags).unwrap();
            match load_from(&flags, env, &Folders::default(), &files) {
                Ok(loaded) => Ok((loaded, folder)),
                Err(errors) => Err((errors, folder)),
            }
        }

        fn check_size(&self, size: u64, from: &str) {
            let (loaded, folder) = self.load().map_err(|(errors, _)| errors).unwrap();
            assert_eq!(loaded.config.cache.size, ByteCount(size));
            let (_, source) = loaded.sources.iter().find(|(row, _)| row.key == "cache.size").unwrap();
            assert_eq!(short(source, &folder), from);
        }

        fn check_errors(&self, expected: &[&str]) {
            let (errors, folder) = self.load().err().unwrap();
            let errors = short(&errors, &folder);
            assert_eq!(errors.lines().collect::<Vec<_>>(), expected);
        }
    }

    fn short(text: &impl ToString, folder: &TempDir) -> String {
        text.to_string().replace(&format!("{}/", folder.path().display()), "")
    }

    const SYSTEM: &str = "[cache]\nsize = '1G'";
    const USER: &str = "\ncache.size = '2G'";
    const ENV: &[(&str, &str)] = &[("BENTPIPE_CACHE_SIZE", "3G")];

    #[test]
    fn flags_win_over_environment_over_files_over_defaults() {
        Given::default().check_size(10_000_000_000, "default");
        Given { system: SYSTEM, ..Given::default() }.check_size(1_000_000_000, "system.toml:2");
        Given { system: SYSTEM, user: USER, ..Given::default() }.check_size(2_000_000_000, "user.toml:2");
        let env = Given { system: SYSTEM, user: USER, env: ENV, ..Given::default() };
        env.check_size(3_000_000_000, "BENTPIPE_CACHE_SIZE");
        Given { flags: &["--cache-size", "4G"], ..env }.check_size(4_000_000_000, "--cache-size");
    }

    #[test]
    fn files_combine_key_by_key() {
        let user = "[cache]\nmax_object = '5M'\n[timeouts]\nidle = '1m'";
        let given = Given { system: SYSTEM, user, ..Given::default() };
        given.check_size(1_000_000_000, "system.toml:2");
        let (loaded, _folder) = given.load().map_err(|(errors, _)| errors).unwrap();
        assert_eq!(loaded.config.cache.max_object, ByteCount(5_000_000));
        assert_eq!(loaded.config.timeouts.idle, Duration::from_secs(60));
        assert_eq!(loaded.files.len(), 2);
    }

    #[test]
    fn the_last_flag_counts() {
        let check = |flags: &[&str], size, from| Given { flags, ..Given::default() }.check_size(size, from);
        check(&["--cache-size", "1G", "--set", "cache.size=2G"], 2_000_000_000, "--set");
        check(&["--set", "cache.size=2G", "--cache-size", "1G"], 1_000_000_000, "--cache-size");
    }

    #[test]
    fn flags_of_a_list_add_up_and_replace_what_files_say() {
        let check = |flags: &[&str], expected: &[u16]| {
            let user = "[destinations]\nconnect_ports = [1, 2]";
            let (loaded, _folder) =
                Given { user, flags, ..Given::default() }.load().map_err(|(errors, _)| errors).unwrap();
            assert_eq!(loaded.config.destinations.connect_ports, expected, "{flags:?}");
        };
        check(&[], &[1, 2]);
        check(
            &["--set", "destinations.connect_ports=3, 4", "--set", "destinations.connect_ports=5"],
            &[3, 4, 5],
        );
        check(&["--set", "destinations.connect_ports="], &[]);
    }

    #[test]
    fn a_variable_of_a_list_is_split_at_commas_and_an_empty_one_is_not_set() {
        let env = [("BENTPIPE_LISTEN", "127.0.0.1:1, [::1]:2"), ("BENTPIPE_CACHE_SIZE", "")];
        let (loaded, _folder) =
            Given { env: &env, ..Given::default() }.load().map_err(|(errors, _)| errors).unwrap();
        assert_eq!(loaded.config.listen, ["127.0.0.1:1", "[::1]:2"].map(|a| a.parse().unwrap()));
    }

    #[test]
    fn all_errors_are_told_at_once_with_their_places() {
        let given = Given {
            system: "[cache]\nsize = '10X'\nszie = '1G'\n[lnik]\nspec = '1M'\n",
            user: "link = '512k'\nlisten = []\n[timeouts]\nidle = 30\ndrain = ['1s']\n[log]\nlevel = { a = 1 }\n",
            env: &[("BENTPIPE_DESTINATIONS_ALLOW", "10.0.0.0/8,10.0.0.1/8")],
            flags: &["--set", "cachesize=1G", "--set", "log.format", "--access-log="],
        };
        given.check_errors(&[
            r#"system.toml:2: cache.size = "10X": expected a size such as 10G or 500M"#,
            r#"system.toml:3: "cache.szie" is not an option; did you mean cache.size?"#,
            r#"system.toml:4: "lnik" is not an option; did you mean link?"#,
            r#"user.toml:1: "link" is not an option; did you mean link.spec?"#,
            "user.toml:2: listen: expected at least one address",
            r#"user.toml:4: timeouts.idle = "30": expected a time such as 30s, 5m or 1h30m"#,
            "user.toml:5: timeouts.drain: expected one value, not an array",
            "user.toml:7: log.level: expected a text, not a table",
            r#"BENTPIPE_DESTINATIONS_ALLOW: destinations.allow = "10.0.0.1/8": expected no bits beyond the prefix: 10.0.0.0/8 or 10.0.0.1"#,
            r#"--set: "cachesize" is not an option; did you mean cache.size?"#,
            "--set: log.format: expected log.format=FORMAT",
            r#"--access-log: log.access = "": expected off, a file, or - for standard output"#,
        ]);
    }

    #[test]
    fn a_file_that_is_not_toml_is_told_with_line_and_column_beside_other_errors() {
        let flags = ["--cache-size", "much"];
        let given = Given { user: "[cache]\nsize 1", flags: &flags, ..Given::default() };
        let (errors, folder) = given.load().err().unwrap();
        let errors = short(&errors, &folder);
        assert!(errors.starts_with("user.toml:2:"), "{errors}");
        assert!(errors.contains("--cache-size: cache.size = \"much\""), "{errors}");
    }

    #[test]
    fn a_secret_is_in_no_error() {
        let user = "[admission]\nusers = ['sesame', 'a:sesame', 'a:sesame']";
        let given =
            Given { user, flags: &["--set", "admission.users=a:sesame,a:sesame"], ..Given::default() };
        given.check_errors(&[
            "user.toml:2: admission.users: expected name:password, neither of them empty",
            r#"--set: admission.users: expected each name once, "a" is repeated"#,
        ]);
    }

    #[test]
    fn text_that_is_not_utf_8_is_refused() {
        let env = [("BENTPIPE_CACHE_DIR", "/caf\u{fffd}")];
        Given { env: &env, ..Given::default() }
            .check_errors(&["BENTPIPE_CACHE_DIR: cache.dir: expected text in UTF-8"]);
    }

    #[test]
    fn a_misspelled_variable_is_told_beside_errors() {
        let flags = Flags::parse(["--cache-size", "much"]).unwrap();
        let variables = ["BENTPIPE_LINK", "BENTPIPE_CACHE_SIZE"].map(str::to_owned);
        let env = |name: &str| (name == "HOME").then(|| "/nonexistent".to_owned());
        let errors = load(&flags, env, &variables).unwrap_err().to_string();
        assert!(errors.contains("--cache-size: cache.size = \"much\""), "{errors}");
        assert!(
            errors.ends_with("BENTPIPE_LINK is not an option's variable; did you mean BENTPIPE_LINK_SPEC?")
        );
    }

    #[test]
    fn a_named_file_must_exist_and_is_the_only_one() {
        let folder = TempDir::new().unwrap();
        let (named, usual) = (folder.path().join("named.toml"), folder.path().join("usual.toml"));
        fs::write(&usual, USER).unwrap();
        let flags = Flags::parse(["--config", named.to_str().unwrap()]).unwrap();
        let load =
            |flags: &Flags| load_from(flags, |_| None, &Folders::default(), std::slice::from_ref(&usual));
        assert!(matches!(load(&flags).unwrap_err().0[..], [ConfigError::Unreadable { .. }]));
        fs::write(&named, SYSTEM).unwrap();
        assert_eq!(load(&flags).unwrap().config.cache.size, ByteCount(1_000_000_000));
        fs::remove_file(&usual).unwrap();
        assert_eq!(load(&Flags::default()).unwrap().config, Config::default());
    }

    proptest! {
        #[test]
        fn any_file_is_read_or_refused_line_by_line(
            lines in proptest::collection::vec((0..OPTIONS.len(), "[0-9a-z\"'\\[\\]{}.:, =-]{0,10}|[0-9]{1,24}"), 0..4),
        ) {
            let line = |(row, value): &(usize, String)| format!("{} = {value}\n", OPTIONS[*row].key);
            let user: String = lines.iter().map(line).collect();
            if let Err((errors, folder)) = (Given { user: &user, ..Given::default() }).load() {
                for error in short(&errors, &folder).lines() {
                    let place: usize = error.split(':').nth(1).unwrap().parse().unwrap();
                    prop_assert!(error.starts_with("user.toml:") && place <= lines.len() + 1, "{}", error);
                }
            }
        }

        #[test]
        fn any_value_of_any_option_is_read_or_refused(
            row in 0..OPTIONS.len(),
            text in "[0-9a-z:./,=\\[\\]-]{0,24}|\\PC{0,24}",
        ) {
            let flags = Flags { file: None, given: vec![GivenFlag {
                flag: "--set".to_owned(),
                key: OPTIONS[row].key.to_owned(),
                value: Some(text),
            }] };
            if let Err(errors) = without_surroundings(&flags) {
                prop_assert_eq!(errors.to_string().lines().count(), 1);
            }
        }
    }
}
