//! `bentpipe doctor`: whether everything is as it should be, printed one line a check, and what to do where it is not.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use serde_json::json;

use super::secret;
use crate::clock::Clock;
use crate::config::Loaded;
use crate::doctor::{self, Account, Finding, Target, Tried, Verdict};
use crate::text::counted;

const ABOUT: &str = "It looks at the configuration, the running proxy, the clock, the disk, the link, name lookups and the \
certificate authority. With URLs it also asks for each of them through the proxy, and so tries name servers, TLS, the \
clock and the link; up to 64 kB of each are read, and a stored response is confirmed by its origin. Nobody else is asked \
for anything, and nothing is changed.

One line a check: ok, warn (it works, but look at it), FAIL, or skip (nothing to tell). It exits with 1 if a check \
fails. Run it as the user who runs the proxy, and with the same configuration.

A proxy that wants an account is asked by that of --user, or by the one in http_proxy (http://NAME:PASSWORD@HOST:PORT).

Examples:
  bentpipe doctor
  bentpipe doctor https://example.org/ http://example.com/
  bentpipe doctor --json https://example.org/";

/// What to try.
#[derive(Clone, Debug, Args)]
#[command(after_help = ABOUT)]
pub(crate) struct Doctor {
    /// URLs that should work
    #[arg(value_name = "URL")]
    targets: Vec<Target>,
    /// The account by which the proxy is asked; without a password it is read from standard input
    #[arg(long, value_name = "NAME[:PASSWORD]")]
    user: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Carries all checks out, and prints each as soon as it is done.
///
/// # Errors
/// If a check fails.
pub(crate) fn run(command: &Doctor, loaded: &Loaded) -> anyhow::Result<()> {
    let clock = Clock::system();
    let account = command.user.as_deref().map(account).transpose()?;
    let mut out = io::stdout().lock();
    let mut findings = Vec::new();
    let mut printed = Ok(());
    doctor::examine(
        loaded,
        Tried { targets: &command.targets, account: account.as_ref() },
        || clock.now(),
        |finding| {
            let advice = finding.advice.map(|advice| loaded.advised(&advice));
            let finding = Finding { advice, ..finding };
            if !command.json && printed.is_ok() {
                printed = out.write_all(line(&finding).as_bytes()).and_then(|()| out.flush());
            }
            findings.push(finding);
        },
    );
    printed?;
    let failed = findings.iter().filter(|finding| finding.verdict == Verdict::Fail).count();
    if command.json {
        writeln!(out, "{:#}", json!({ "ok": failed == 0, "checks": findings }))?;
    }
    if failed > 0 {
        bail!("{failed} of {} failed", counted(findings.len() as u64, "check"));
    }
    Ok(())
}

/// The account that is meant; its password is asked for where it was not given.
fn account(user: &str) -> anyhow::Result<Account> {
    if user.contains(':') {
        return Account::read(user).map_err(|why| anyhow!("--user: {why}"));
    }
    let password = secret::asked(&format!("password of {user}: ")).context("--user: the password")?;
    Account::read(&format!("{user}:{}", *password)).map_err(|why| anyhow!("--user: {why}"))
}

/// A finding for people: what was found, and below it what to do.
fn line(finding: &Finding) -> String {
    let Finding { name, verdict, text, advice } = finding;
    let mut lines = format!("{:<4}  {name:<12}  {text}\n", verdict.word());
    if let Some(advice) = advice {
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "{:20}-> {advice}", "");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_stands_below_what_was_found() {
        let finding = |advice: Option<&str>| Finding {
            name: "disk",
            verdict: Verdict::Fail,
            text: "full".to_owned(),
            advice: advice.map(str::to_owned),
        };
        assert_eq!(line(&finding(None)), "FAIL  disk          full\n");
        assert_eq!(
            line(&finding(Some("delete something"))),
            "FAIL  disk          full\n                    -> delete something\n"
        );
    }

    #[test]
    fn the_help_reads_well() {
        let line = ["bentpipe", "doctor", "--help"];
        let help = crate::cli::command().term_width(100).try_get_matches_from(line).unwrap_err();
        insta::assert_snapshot!("doctor", help.to_string());
    }
}
