//! `bentpipe ca install` and `uninstall`: the trust stores of this machine, changed. Every step is shown before it is
//! done; what only an administrator may do is shown to everybody else and not tried.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;

use super::nothing;
use crate::ca::trust::{Machine, Step, Store};
use crate::ca::{Folder, RootCertificate};

const STORES: &str = "Known are the stores of Debian, Ubuntu, Alpine, Fedora, RHEL, SUSE, Arch and macOS, and those of \
Chromium and Firefox (by certutil, package libnss3-tools or nss-tools). Every command is shown before it is run. As an \
ordinary user only the browsers' stores are changed, and the commands for the system's are printed.

Other systems and tools: http://bentpipe.local/ and docs/https.md.";

/// Change the trust stores of this machine.
#[derive(Clone, Copy, Debug, Args)]
#[command(after_help = STORES)]
pub(crate) struct Change {
    /// Change nothing; print the commands
    #[arg(long)]
    dry_run: bool,
}

/// Take certificates out of the trust stores of this machine.
#[derive(Clone, Debug, Args)]
#[command(after_help = STORES)]
pub(crate) struct Removal {
    #[command(flatten)]
    change: Change,
    /// Only the certificate that was replaced by `bentpipe ca rotate --now`
    #[arg(long)]
    replaced: bool,
}

type Certificates = Vec<(RootCertificate, PathBuf)>;

/// Puts what is published into every trust store.
pub(crate) fn install(folder: &Folder, command: Change) -> anyhow::Result<()> {
    let certificates = folder.published()?;
    let lacks = |store: &Store, certificate: &RootCertificate| !store.holds(certificate);
    change(folder, command, &certificates, lacks, Store::install)
}

/// Takes what is or was published out of every trust store.
pub(crate) fn uninstall(folder: &Folder, command: &Removal) -> anyhow::Result<()> {
    let mut certificates = folder.replaced()?;
    if !command.replaced {
        certificates.extend(folder.published()?);
    }
    change(folder, command.change, &certificates, Store::holds, Store::uninstall)
}

fn change(
    folder: &Folder,
    command: Change,
    certificates: &Certificates,
    matters: impl Fn(&Store, &RootCertificate) -> bool,
    steps: impl Fn(&Store, &RootCertificate, &std::path::Path) -> Vec<Step>,
) -> anyhow::Result<()> {
    if certificates.is_empty() {
        bail!(nothing(folder));
    }
    let machine = Machine::here();
    let found = machine.stores();
    let mut out = std::io::stdout().lock();
    let (mut failed, mut left) = (0, false);
    for store in &found.stores {
        let concerned = certificates.iter().filter(|(certificate, _)| matters(store, certificate));
        let mut to_do: Vec<_> =
            concerned.flat_map(|(certificate, file)| steps(store, certificate, file)).collect();
        keep_last(&mut to_do);
        if to_do.is_empty() {
            writeln!(out, "{store}: nothing to do")?;
            continue;
        }
        writeln!(out, "{store}:")?;
        let is_allowed = machine.is_administrator || !store.needs_administrator();
        left |= !is_allowed && !command.dry_run;
        failed += usize::from(!carry_out(&mut out, &to_do, is_allowed, command.dry_run)?);
    }
    for note in &found.notes {
        writeln!(out, "{note}")?;
    }
    if left {
        writeln!(out, "Commands with sudo were not run: only an administrator may.")?;
    }
    if failed > 0 {
        bail!("{failed} of the trust stores could not be changed");
    }
    out.flush().context("standard output")
}

/// A program that is to run after each of several changes runs after the last.
fn keep_last(steps: &mut Vec<Step>) {
    let all = steps.clone();
    let mut position = 0;
    steps.retain(|step| {
        position += 1;
        !matches!(step, Step::Run { .. } | Step::MakeFolder(_)) || !all[position..].contains(step)
    });
}

/// Shows the steps and does them; whether all of them succeeded.
fn carry_out(
    out: &mut impl std::io::Write,
    steps: &[Step],
    is_allowed: bool,
    is_dry: bool,
) -> anyhow::Result<bool> {
    for step in steps {
        writeln!(out, "  {}{step}", if is_allowed { "" } else { "sudo " })?;
        out.flush()?;
        if is_dry || !is_allowed {
            continue;
        }
        if let Err(error) = step.perform() {
            writeln!(out, "    failed: {error}")?;
            return Ok(false);
        }
    }
    Ok(true)
}
