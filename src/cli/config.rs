//! `bentpipe config`: look at the configuration without serving anything, or at that of the running proxy.
//!
//! The texts are made by `config`; here is only which of them goes where, and the exit code.

mod running;

use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;

use clap::Subcommand;

use super::with_config;
use crate::config::{self, ConfigErrors, Flags, Loaded};
use crate::opening;

/// What is wrong with how bentpipe was called, and not with what happened then; as clap has it.
const USAGE: u8 = 2;

/// Look at the configuration.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say what is wrong with files, environment and flags, or `ok`.
    ///
    /// What they name is opened as a start would: the file of users, certificates and keys, the authority, and the folders of
    /// cache and log. Nothing is made or changed; run it as the user who runs the proxy.
    Check,
    /// Print every value and where it came from.
    Show {
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Print a file with every option at its default.
    Example,
    /// Print the reference of all options in Markdown.
    Reference,
    Get(running::Get),
    Set(running::Set),
}

/// Carries out `command` with the values that `flags`, environment and files give.
pub(crate) fn run(command: &ConfigCommand, flags: &Flags) -> ExitCode {
    let text = match command {
        ConfigCommand::Check => load(flags).and_then(|loaded| checked(&loaded)),
        ConfigCommand::Show { json: false } => load(flags).map(|loaded| config::show(&loaded)),
        ConfigCommand::Show { json: true } => load(flags).map(|loaded| config::show_json(&loaded)),
        ConfigCommand::Example => Ok(config::example()),
        ConfigCommand::Reference => Ok(config::reference()),
        ConfigCommand::Get(command) => return with_config(flags, |loaded| running::get(command, &loaded)),
        ConfigCommand::Set(command) => return with_config(flags, |loaded| running::set(command, &loaded)),
    };
    match text {
        Ok(text) => print(&text),
        Err(errors) => {
            eprintln!("{errors}");
            ExitCode::from(USAGE)
        }
    }
}

fn load(flags: &Flags) -> Result<Loaded, ConfigErrors> {
    config::load_here(flags)
}

fn checked(loaded: &Loaded) -> Result<String, ConfigErrors> {
    let mut wrong = loaded.doubts.clone();
    wrong.extend(opening::open(loaded).err().into_iter().flat_map(|ConfigErrors(errors)| errors));
    if !wrong.is_empty() {
        return Err(ConfigErrors(wrong));
    }
    Ok(match loaded.files.as_slice() {
        [] => "ok (no file was read)\n".to_owned(),
        files => {
            let files: Vec<_> = files.iter().map(|path| path.display().to_string()).collect();
            format!("ok ({})\n", files.join(", "))
        }
    })
}

/// Prints to standard output. A reader that has seen enough, as `head` does, is no failure.
fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("bentpipe: standard output: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
