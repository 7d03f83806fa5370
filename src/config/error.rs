//! What can be wrong with a configuration, and where a value came from.
//!
//! Errors are collected, not thrown at the first: whoever edits a file wants to see every line to mend.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// Where a value came from; later ones win over earlier ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody gave one.
    Default,
    /// A configuration file.
    File {
        /// The file as it was named.
        path: PathBuf,
        /// The line of the key, from 1.
        line: usize,
    },
    /// This environment variable.
    Environment(String),
    /// This flag, as typed: `--cache-size` or `--set`.
    Flag(String),
    /// An operator, while bentpipe ran.
    Hand,
}

impl Source {
    /// Another line of the same file; whatever is no file has no lines.
    pub(super) fn at_line(&self, line: usize) -> Source {
        match self {
            Source::File { path, .. } => Source::File { path: path.clone(), line },
            other => other.clone(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => formatter.write_str("default"),
            Source::Hand => formatter.write_str("set by hand"),
            Source::File { path, line } => write!(formatter, "{}:{line}", path.display()),
            Source::Environment(name) | Source::Flag(name) => formatter.write_str(name),
        }
    }
}

/// One thing that is wrong; its text is one line that names the place, the value and what is right.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file is missing that was named, or cannot be read.
    #[error("{}: cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A file is not TOML.
    #[error("{}:{line}:{column}: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// What the TOML reader says.
        reason: String,
    },
    /// No option has this key.
    #[error("{place}: {key:?} is not an option{}", suggestion(nearest))]
    UnknownKey {
        /// Where the key stands.
        place: Source,
        /// The key as written.
        key: String,
        /// The options or the section that may be meant.
        nearest: Vec<&'static str>,
    },
    /// An environment variable is named like an option's, and is none's.
    #[error("{name} is not an option's variable{}", suggestion(nearest))]
    UnknownVariable {
        /// The variable.
        name: String,
        /// The variables that may be meant.
        nearest: Vec<String>,
    },
    /// The value of an option cannot be what was written.
    #[error("{}{key}{}: {reason}", before(place), equals(value.as_deref()))]
    Value {
        /// Where the value stands.
        place: Source,
        /// The option.
        key: &'static str,
        /// The part of the value that is wrong, unless it is secret or not a text at all.
        value: Option<String>,
        /// What is right.
        reason: String,
    },
    /// The flags themselves cannot be read.
    #[error("{0}")]
    Usage(String),
}

fn suggestion(nearest: &[impl AsRef<str>]) -> String {
    let names: Vec<&str> = nearest.iter().map(AsRef::as_ref).collect();
    match names.as_slice() {
        [] => String::new(),
        [name] => format!("; did you mean {name}?"),
        [names @ .., last] => format!("; did you mean {} or {last}?", names.join(", ")),
    }
}

/// A value that nobody gave has no place.
fn before(place: &Source) -> String {
    if *place == Source::Default { String::new() } else { format!("{place}: ") }
}

fn equals(value: Option<&str>) -> String {
    value.map_or_else(String::new, |value| format!(" = {value:?}"))
}

/// Everything that is wrong with a configuration; never empty. Its text is one line an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, error) in self.0.iter().enumerate() {
            if position > 0 {
                formatter.write_str("\n")?;
            }
            error.fmt(formatter)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
