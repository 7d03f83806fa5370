//! `Merging`: which of several given values counts, where it came from, and everything that is wrong with them.
//!
//! Option by option the one given last counts; a later list replaces an earlier one. Every value is checked, also one
//! that another overrides: it would be wrong the day the other goes.

use std::io::ErrorKind;
use std::path::Path;

use crate::config::file::{self, Written};
use crate::config::flags::GivenFlag;
use crate::config::folders::Folders;
use crate::config::load::Loaded;
use crate::config::nearest;
use crate::config::options::{self, OPTIONS, OptionRow, Rejected};
use crate::config::{Config, ConfigError, ConfigErrors, Source, secret};
use crate::named_file;

/// The configuration so far.
pub(super) struct Merging<'a> {
    loaded: Loaded,
    errors: Vec<ConfigError>,
    /// The value of an environment variable.
    env: &'a dyn Fn(&str) -> Option<String>,
}

/// Bytes of a configuration file, and mistakes in it that are told.
const LARGEST: u64 = 1_000_000;
const TOLD: usize = 100;

impl<'a> Merging<'a> {
    pub(super) fn new(env: &'a dyn Fn(&str) -> Option<String>) -> Merging<'a> {
        let sources = OPTIONS.iter().map(|row| (row, Source::Default)).collect();
        let loaded = Loaded { sources, ..Loaded::of(Config::unsettled()) };
        Merging { loaded, errors: Vec::new(), env }
    }

    /// Goes on where `base` was finished.
    pub(super) fn resume(base: &Loaded, env: &'a dyn Fn(&str) -> Option<String>) -> Merging<'a> {
        let loaded = Loaded {
            sources: base.sources.clone(),
            files: base.files.clone(),
            named: base.named.clone(),
            ..Loaded::of(base.unsettled.clone())
        };
        Merging { loaded, errors: Vec::new(), env }
    }

    pub(super) fn file(&mut self, path: &Path, required: bool) {
        let text = match named_file::text(path, LARGEST) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && !required => return,
            Err(error) => {
                let (path, reason) = (path.to_owned(), error.to_string());
                return self.errors.push(ConfigError::Unreadable { path, reason });
            }
        };
        self.loaded.files.push(path.to_owned());
        match file::entries(&text) {
            Ok(entries) => {
                for file::Entry { key, line, written } in entries {
                    self.entry(key, Source::File { path: path.to_owned(), line }, written);
                }
            }
            Err(errors) => self.errors.extend(errors.into_iter().map(|error| {
                let file::SyntaxError { line, column, reason } = error;
                ConfigError::Syntax { path: path.to_owned(), line, column, reason }
            })),
        }
    }

    fn entry(&mut self, key: String, place: Source, written: Written) {
        let Some(row) = options::find(&key) else {
            return self.unknown(key, place, matches!(written, Written::Other(_)));
        };
        match written {
            Written::One(text) => self.give(row, &row.split(&text), place),
            Written::Many(texts) if row.list => self.give(row, &texts, place),
            Written::Many(_) => self.refuse(row, place, None, "expected one value, not an array".to_owned()),
            Written::Tables(tables) => self.tables(row, place, &tables),
            Written::Other(what) => self.refuse(row, place, None, format!("expected a text, not {what}")),
        }
    }

    /// Tables are read as the texts they amount to.
    fn tables(&mut self, row: &'static OptionRow, place: Source, tables: &[file::Table]) {
        let mut texts = Vec::new();
        let mut is_right = true;
        for table in tables {
            match row.tables.map_or_else(|| Ok(String::new()), |read| read(table)) {
                Ok(text) => texts.push(text),
                Err(errors) => {
                    is_right = false;
                    for (line, reason) in errors {
                        self.refuse(row, place.at_line(line), None, reason);
                    }
                }
            }
        }
        if is_right {
            self.give(row, &texts, place);
        }
    }

    pub(super) fn environment(&mut self) {
        for row in OPTIONS {
            let name = row.variable();
            // A variable that is set to nothing counts as not set, as the XDG specification has it for its own.
            match (self.env)(&name).filter(|text| !text.is_empty()) {
                None => {}
                Some(text) if text.contains(char::REPLACEMENT_CHARACTER) => {
                    self.refuse(row, Source::Environment(name), None, "expected text in UTF-8".to_owned());
                }
                Some(text) => self.give(row, &row.split(&text), Source::Environment(name)),
            }
        }
    }

    /// Flags of a list add up; of other options the last one counts, and all are checked.
    pub(super) fn flags(&mut self, given: &[GivenFlag]) {
        let mut lists: Vec<(&'static OptionRow, Vec<String>, Source)> = Vec::new();
        for GivenFlag { flag, key, value } in given {
            let place = Source::Flag(flag.clone());
            let Some(row) = options::find(key) else {
                self.unknown(key.clone(), place, false);
                continue;
            };
            let Some(text) = value else {
                self.refuse(row, place, None, format!("expected {key}={}", row.value_name));
                continue;
            };
            let texts = row.split(text);
            match lists.iter_mut().find(|(known, ..)| known.key == row.key) {
                Some((_, values, _)) => values.extend(texts),
                None if row.list => lists.push((row, texts, place)),
                None => self.give(row, &texts, place),
            }
        }
        for (row, values, place) in lists {
            self.give(row, &values, place);
        }
    }

    pub(super) fn give(&mut self, row: &'static OptionRow, values: &[String], place: Source) {
        let mut found = Vec::new();
        for value in values {
            match secret::look_up(value, row, self.env) {
                Ok(values) => found.extend(values),
                Err(reason) => return self.refuse(row, place, None, reason),
            }
        }
        let texts: Vec<&str> = found.iter().map(|found| found.text.as_str()).collect();
        match (row.set)(&mut self.loaded.config, &texts) {
            Ok(()) => {
                let known = self.loaded.sources.iter_mut().find(|(known, _)| known.key == row.key);
                known.into_iter().for_each(|(_, source)| *source = place.clone());
            }
            Err(Rejected { value, reason }) => {
                let wrong = found.iter().find(|found| Some(&found.text) == value.as_ref());
                let elsewhere = wrong.and_then(|found| found.place.as_ref());
                let reason = elsewhere.map_or(reason.clone(), |elsewhere| format!("{elsewhere}: {reason}"));
                self.refuse(row, place, value, reason);
            }
        }
    }

    fn refuse(&mut self, row: &'static OptionRow, place: Source, value: Option<String>, reason: String) {
        let value = value.filter(|_| !row.secret);
        self.errors.push(ConfigError::Value { place, key: row.key, value, reason });
    }

    fn unknown(&mut self, key: String, place: Source, is_section: bool) {
        if self.errors.len() >= TOLD {
            return;
        }
        let nearest = if is_section { nearest::section(&key) } else { nearest::options(&key) };
        self.errors.push(ConfigError::UnknownKey { place, key, nearest });
    }

    /// Refuses values that cannot be beside each other.
    fn agree(&mut self) {
        self.agree_on_sizes();
        if let Some(open) = self.loaded.config.admin.unguarded()
            && let Some((row, place)) = self.source("admin.listen")
        {
            let reason = "others than this machine reach it, so it wants an admin.token".to_owned();
            self.refuse(row, place, Some(open.to_string()), reason);
        }
    }

    fn source(&self, key: &str) -> Option<(&'static OptionRow, Source)> {
        let found = self.loaded.sources.iter().find(|(row, _)| row.key == key);
        found.map(|(row, source)| (*row, source.clone()))
    }

    /// Refuses an object size that was given and cannot be: the default alone gives way to a smaller cache.
    fn agree_on_sizes(&mut self) {
        let cache = &self.loaded.config.cache;
        let source = |key| self.source(key);
        let (Some((row, place)), Some((_, size_place))) = (source("cache.max_object"), source("cache.size"))
        else {
            return;
        };
        if cache.max_object > cache.size && place != Source::Default {
            let reason = format!("larger than cache.size, which is {} ({size_place})", cache.size);
            self.refuse(row, place, Some(cache.max_object.to_string()), reason);
        }
    }

    pub(super) fn finish(mut self, folders: &Folders) -> Result<Loaded, ConfigErrors> {
        if self.errors.is_empty() {
            self.agree();
        }
        if !self.errors.is_empty() {
            return Err(ConfigErrors(self.errors));
        }
        self.loaded.unsettled = self.loaded.config.clone();
        self.loaded.config.settle(folders);
        Ok(self.loaded)
    }
}
