//! Scenarios: text files that say what an origin answers, what a client asks and what it must get, with time
//! moved by `wait`. This file reads them; `line.rs` reads one line, `run.rs` carries them out.
//!
//! It knows no proxy: the runner is given an address and two closures for time. The lines, whose parts are
//! separated by two or more spaces:
//!
//! ```text
//! # a comment; the first one names the scenario and its RFC section
//! proxy   --set  cache.max_object=1k             flags for the program under test, for whoever starts it
//! origin  GET /a  200  etag: "v"  :chunked 4  | hello      one answer, given once, in order
//! origin  GET /a  close                          or `reset`: no answer
//! origin  stop                                   the origin leaves the network
//! client  POST /a  accept: text/html  | text  ->  200  cache-status: ~hit  !age  | hello
//! client  GET /a  ->  closed                     the connection ends without an answer; `*` is any status
//! wait    2s
//! expect  origin 1 requests                      so far, all paths together
//! origin  saw GET /a  via: *  !connection        the last request the origin received
//! ```
//!
//! - Expected fields: `name: value` exact, `name: ~part` contained, `name: *` there, `!name` absent. The same
//!   name several times must occur in that order. A body that is given must be equal.
//! - Answers carry Date of the scenario's time unless they set `date`; `date: none` leaves it out.
//! - Marks of an answer: `:chunked N`, `:trailer name: value`, `:length N` (declared, true or not), `:cut N`
//!   (close after N bytes of the framed body), `:until-close`, `:interim 103 name: value`, `:close` (after).
//! - Marks of an expectation: `:cut` (the body breaks off), `:trailer name: value`, `:interim 103`, `:length N`.
//! - `$ORIGIN` is the origin's `http://host:port`, `$HOST` its `host:port`; `{now}`, `{now-10d}`, `{start+1h}`
//!   are HTTP dates of the scenario's time now or at its start; a body `<1000>` is that many bytes of filler.
//!   In a body `\r`, `\n` and `\\` are escapes.
//! - A request-target that starts with `/` is sent in absolute-form to the origin; any other as it is.

mod line;
mod run;

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use self::line::{Step, Variables};

/// What is wrong with a scenario, or with the program under test, and on which line it shows.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Fault {
    /// `file:line`.
    place: String,
    /// One sentence.
    what: String,
}

impl Fault {
    /// A fault at a line of a file, counted from 1.
    pub(crate) fn new(file: &str, line: usize, what: impl fmt::Display) -> Self {
        Self { place: format!("{file}:{line}"), what: what.to_string() }
    }
}

/// A scenario that has been read and whose lines all parse.
#[derive(Clone, Debug)]
pub struct Scenario {
    file: String,
    flags: Vec<String>,
    lines: Vec<(usize, String)>,
}

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// A file that cannot be read, and every error of [`Scenario::parse`].
    pub fn load(path: &Path) -> Result<Self, Fault> {
        let file = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| Fault::new(&file, 0, error))?;
        Self::parse(&file, &text)
    }

    /// Reads a scenario from `text`; `file` is what faults name.
    ///
    /// # Errors
    /// The first line that does not parse, and a scenario in which no client asks anything.
    pub fn parse(file: &str, text: &str) -> Result<Self, Fault> {
        let mut scenario = Self { file: file.to_owned(), flags: Vec::new(), lines: Vec::new() };
        let mut asked = false;
        for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim_end())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(flags) = line.strip_prefix("proxy ") {
                scenario.flags.extend(flags.split_whitespace().map(str::to_owned));
                continue;
            }
            let sample = Variables::sample();
            let step = line::parse(line, &sample).map_err(|what| Fault::new(file, number, what))?;
            asked |= matches!(step, Step::Ask(_));
            scenario.lines.push((number, line.to_owned()));
        }
        if asked { Ok(scenario) } else { Err(Fault::new(file, 1, "no client line: it would prove nothing")) }
    }

    /// The flags of its `proxy` lines, for whoever starts the program under test.
    #[must_use]
    pub fn flags(&self) -> &[String] {
        &self.flags
    }

    /// Carries the scenario out against the proxy at `proxy` with an origin of its own. `advance` moves the
    /// proxy's time, `now` tells it.
    ///
    /// # Errors
    /// The first line whose expectation fails; at the end, answers that nobody asked for.
    pub async fn run(
        &self,
        proxy: std::net::SocketAddr,
        advance: impl Fn(std::time::Duration),
        now: impl Fn() -> SystemTime + Clone + Send + Sync + 'static,
    ) -> Result<(), Fault> {
        run::run(self, Some(proxy), advance, now).await
    }

    /// Carries the scenario out without a proxy: the client talks to the origin itself. For scenarios about
    /// the testkit, and for showing what a scenario says of an origin alone.
    ///
    /// # Errors
    /// As [`Scenario::run`].
    pub async fn run_direct(
        &self,
        advance: impl Fn(std::time::Duration),
        now: impl Fn() -> SystemTime + Clone + Send + Sync + 'static,
    ) -> Result<(), Fault> {
        run::run(self, None, advance, now).await
    }
}
