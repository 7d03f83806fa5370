//! `bentpipe setup`: five questions with safe answers, and a configuration file made of them. What to ask is `questions`',
//! where the file goes and how it gets there `place`'s.
//!
//! Every flag that sets an option is an answer, too: it stands in the file and is not asked for. It starts nothing and
//! changes nothing but the file, and where names need passwords the file of those.

mod accounts;
mod place;
mod questions;
mod sense;

use std::io::{self, BufRead, IsTerminal as _, Write};
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use crate::config::{Draft, Flags, read_alone};
use accounts::Account;
use place::Place;
use questions::Questions;

const ABOUT: &str = "It asks who may use the proxy, which link it is to keep to, how much disk it may take, whose HTTPS it opens, \
and who needs a password; then it writes bentpipe.toml (that of root is /etc/bentpipe/bentpipe.toml, another one is named \
by --config) and says what to do next. Every other option may be given as a flag and then stands in the file as well.

Examples:
  bentpipe setup
  bentpipe setup --yes --link geo --cache-size 50G
  bentpipe setup --yes --listen 0.0.0.0:3128 --account ann --account ben
  bentpipe setup --yes --config ship.toml --link auto=90% --set timeouts.idle=10m";

/// Answer five questions and write the configuration file.
#[derive(Clone, Debug, Args)]
#[command(after_help = ABOUT)]
pub(crate) struct Setup {
    /// Ask nothing: what no flag says is answered the safe way
    #[arg(short, long)]
    yes: bool,
    /// Replace a file that is there; it is kept with .old behind its name
    #[arg(long)]
    replace: bool,
    /// Someone who needs a password, which is made and shown once; then nobody else gets in
    #[arg(long = "account", value_name = "NAME")]
    accounts: Vec<String>,
}

/// What is wrong with how bentpipe was called, as clap has it.
const USAGE: u8 = 2;

/// Carries out `command`, with `flags` as answers.
pub(crate) fn run(command: &Setup, flags: &Flags) -> ExitCode {
    let draft = match Draft::of(flags) {
        Ok(draft) => draft,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(USAGE);
        }
    };
    if let Err(why) = sense::of_flags(&draft) {
        eprintln!("bentpipe: {why}");
        return ExitCode::from(USAGE);
    }
    if !command.yes && !io::stdin().is_terminal() {
        eprintln!(
            "bentpipe: standard input is no terminal, so nobody can be asked: answer with flags and --yes, as in\n  \
             bentpipe setup --yes --link geo --cache-size 20G"
        );
        return ExitCode::from(USAGE);
    }
    let set_up = Place::of(flags)
        .and_then(|place| answer(command, draft, &place, &mut io::stdin().lock(), &mut io::stdout().lock()));
    match set_up {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bentpipe: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Asks what has to be asked, writes the file, and says what it holds and what comes next.
fn answer(
    command: &Setup,
    mut draft: Draft,
    place: &Place,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    place.complete(&mut draft)?;
    let mut names = command.accounts.clone();
    let mut questions = Questions { input, out, silent: command.yes };
    questions.all(&mut draft, &mut names, place)?;
    let mut replace = command.replace;
    let taken = place.taken(!names.is_empty());
    if !replace && !taken.is_empty() {
        if command.yes {
            bail!("{}", place.refusal(&taken));
        }
        replace = questions.whether_to_replace(&place.question(&taken))?;
        if !replace {
            writeln!(out, "nothing was written")?;
            return Ok(());
        }
    }
    let accounts = names.iter().map(|name| Account::new(name)).collect::<anyhow::Result<Vec<_>>>()?;
    if !accounts.is_empty() {
        place.write_users(&accounts, replace)?;
        put(&mut draft, "admission.users_file", &place.users().display().to_string())?;
    }
    let text = place.head() + &draft.text();
    place.write(&text, draft.holds_secrets(), replace)?;
    say(&draft, place, &accounts, &text, out)
}

/// Puts in what is no answer of the user's and cannot be wrong.
fn put(draft: &mut Draft, key: &str, text: &str) -> anyhow::Result<()> {
    draft.put(key, text).map_err(anyhow::Error::msg)
}

/// What was written, whether it is fit to be used, and the next steps.
fn say(
    draft: &Draft,
    place: &Place,
    accounts: &[Account],
    text: &str,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    writeln!(out, "\nwrote {}\n", place.path().display())?;
    if draft.holds_secrets() {
        writeln!(out, "  (not shown: there are secrets in it)")?;
    } else {
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            writeln!(out, "  {line}")?;
        }
    }
    for (account, before) in accounts.iter().zip(std::iter::once("\n").chain(std::iter::repeat(""))) {
        writeln!(out, "{before}password of {}: {}", account.name, account.password)?;
    }
    if !accounts.is_empty() {
        writeln!(
            out,
            "Passwords are not shown again; {} holds only hashes of them (another one: htpasswd -B).",
            place.users().display()
        )?;
    }
    // It was checked value by value; the environment of this machine may say otherwise.
    let read = read_alone(place.path())?;
    for doubt in &read.doubts {
        writeln!(out, "warning: {doubt}")?;
    }
    writeln!(out, "\nNext:")?;
    for (step, number) in place.next_steps(draft).iter().zip(1_usize..) {
        writeln!(out, "  {number}. {step}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
