//! `bentpipe completions` and `bentpipe man`: the command line as shells and as `man` want it, made of the same definition
//! that reads it. Packages install what they print (`cargo xtask dist`).

use std::io::{self, ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

const COMPLETIONS: &str = "Examples:
  bentpipe completions bash > ~/.local/share/bash-completion/completions/bentpipe
  bentpipe completions zsh > /usr/local/share/zsh/site-functions/_bentpipe
  bentpipe completions fish > ~/.config/fish/completions/bentpipe.fish";

const MAN: &str =
    "There is one page for bentpipe and one for each command: bentpipe(1), bentpipe-cache-ls(1) ...

Example:
  bentpipe man ~/.local/share/man/man1 && man bentpipe-setup";

/// Print what makes a shell complete commands and flags.
#[derive(Clone, Copy, Debug, Args)]
#[command(after_help = COMPLETIONS)]
pub(crate) struct Completions {
    /// For which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Write the manual pages.
#[derive(Clone, Debug, Args)]
#[command(after_help = MAN)]
pub(crate) struct Man {
    /// Where to, made if it is not there
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// Prints the completions of `command`.
pub(crate) fn completions(asked: Completions, mut command: clap::Command) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(asked.shell, &mut command, "bentpipe", &mut script);
    match io::stdout().write_all(&script) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => failure("standard output", &error),
        _ => ExitCode::SUCCESS,
    }
}

/// Writes the pages of `command` and of all its commands.
pub(crate) fn man(asked: &Man, command: clap::Command) -> ExitCode {
    let written = std::fs::create_dir_all(&asked.folder)
        // Pages for `help` of this and that would be most of them.
        .and_then(|()| clap_mangen::generate_to(without_help(command), &asked.folder));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure(&asked.folder.display().to_string(), &error),
    }
}

fn without_help(command: clap::Command) -> clap::Command {
    let names: Vec<_> = command.get_subcommands().map(|below| below.get_name().to_owned()).collect();
    let command = command.disable_help_subcommand(true);
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, without_help))
}

fn failure(place: &str, error: &io::Error) -> ExitCode {
    eprintln!("bentpipe: {place}: {error}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paths of all commands below `command`: `cache`, `cache ls`, ...
    fn paths(command: &clap::Command, above: &str) -> Vec<String> {
        let below = command.get_subcommands().filter(|below| below.get_name() != "help");
        below
            .flat_map(|below| {
                let path = format!("{above}{}", below.get_name());
                let further = paths(below, &format!("{path} "));
                std::iter::once(path).chain(further)
            })
            .collect()
    }

    #[test]
    fn every_command_has_its_page() {
        let folder = tempfile::tempdir().unwrap();
        let asked = Man { folder: folder.path().join("man1") };
        assert_eq!(man(&asked, crate::cli::command()), ExitCode::SUCCESS);
        let paths = paths(&crate::cli::command(), "");
        assert!(paths.contains(&"cache ls".to_owned()), "{paths:?}");
        for path in &paths {
            let page = asked.folder.join(format!("bentpipe-{}.1", path.replace(' ', "-")));
            let text = std::fs::read_to_string(&page).unwrap_or_else(|_| panic!("no {}", page.display()));
            assert!(text.contains(".SH SYNOPSIS"), "{path}");
        }
        assert_eq!(std::fs::read_dir(&asked.folder).unwrap().count(), paths.len() + 1);
    }

    #[test]
    fn every_shell_knows_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut crate::cli::command(), "bentpipe", &mut script);
            let script = String::from_utf8(script).unwrap();
            for path in paths(&crate::cli::command(), "") {
                let last = path.rsplit(' ').next().unwrap();
                assert!(script.contains(last), "{shell}: {path}");
            }
            assert!(script.contains("cache-size"), "{shell}: flags");
        }
    }
}
