//! `bentpipe ca`: make, publish and replace the certificate authority with which HTTPS is opened, and put its certificate
//! into the trust stores of this machine.

mod status;
mod trust;

use std::fmt::Write as _;
use std::fs;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};

use crate::ca::{Folder, Made, RootCertificate, Scope, profile};
use crate::clock::Clock;
use crate::config::{Config, Loaded};

const INIT: &str = "The key never leaves this machine: who has it can read the HTTPS of every device that trusts it. If \
tls.intercept.hosts lists names only, the certificate says so (name constraints), and it is good for nothing else.

Examples:
  bentpipe --intercept '*.wikipedia.org,*.wikimedia.org' ca init --name 'Clinic Nord'
  bentpipe ca init";

const ROTATE: &str = "Without --now, a second certificate is made and published beside the first, so that devices can be \
given it; the first goes on signing. With --now the second takes its place, and the key of the first is dropped. Where \
no second was made before, --now replaces the first at once, and devices have to be given the new one to reach the opened \
hosts. A running bentpipe goes on with what it had until it is started anew.

Examples:
  bentpipe ca rotate            # then: bentpipe ca install, and every other device
  bentpipe ca rotate --now      # when all devices have it";

const EXPORT: &str = "Examples:
  bentpipe ca export > bentpipe-ca.pem
  bentpipe ca export --format der -o bentpipe-ca.crt
  bentpipe ca export --format mobileconfig -o bentpipe.mobileconfig";

/// Make, publish and replace the certificate authority with which HTTPS is opened.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum CaCommand {
    /// Make the authority
    Init(Init),
    /// Trust it on this machine: in its system's store and those of browsers
    Install(trust::Change),
    /// Take it out of the trust stores of this machine
    Uninstall(trust::Removal),
    /// Show it, where it is trusted, and which connections are left unopened
    Status {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Open the connections of clients again that would not have it, as after it was installed on them
    Retry,
    /// Replace it
    Rotate(Rotate),
    /// Print its certificate, for other devices
    Export(Export),
}

/// Make the authority.
#[derive(Clone, Debug, Args)]
#[command(after_help = INIT)]
pub(crate) struct Init {
    /// What people see in their lists of certificates, such as the name of the site
    #[arg(long, default_value = "bentpipe")]
    name: String,
}

/// Replace the authority.
#[derive(Clone, Debug, Args)]
#[command(after_help = ROTATE)]
pub(crate) struct Rotate {
    /// Put the new one in force
    #[arg(long)]
    now: bool,
    /// What people see in their lists of certificates; as before unless it is given
    #[arg(long)]
    name: Option<String>,
}

/// Print the certificate.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXPORT)]
pub(crate) struct Export {
    /// How it is written; a profile holds the next one, too, where there is one
    #[arg(long, value_enum, default_value = "pem")]
    format: Format,
    /// The one that is to follow, which `bentpipe ca rotate` has made
    #[arg(long)]
    next: bool,
    /// Write to this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// A form in which devices take a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text, for Linux, Firefox and most tools
    Pem,
    /// Binary, for Windows, Android and Java
    Der,
    /// A configuration profile, for iOS and macOS
    Mobileconfig,
}

/// Carries out `command`.
pub(crate) fn run(command: CaCommand, loaded: &Loaded) -> anyhow::Result<()> {
    let config = &loaded.config;
    let folder = Folder::new(&folder(&command, loaded));
    let now = Clock::system().now();
    let text = match command {
        CaCommand::Init(command) => init(&folder, &command, config, now)?,
        CaCommand::Install(command) => return trust::install(&folder, command),
        CaCommand::Uninstall(command) => return trust::uninstall(&folder, &command),
        CaCommand::Status { json: true } => return print(&status::status(&folder, loaded, now, true)?),
        CaCommand::Status { json: false } => status::status(&folder, loaded, now, false)?,
        CaCommand::Retry => status::retry(loaded)?,
        CaCommand::Rotate(command) => rotate(&folder, &command, config, now)?,
        CaCommand::Export(command) => return export(&folder, &command),
    };
    print(&loaded.advised_of_authority(&text, folder.path()))
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

/// Where the authority is: where the running proxy has it that was named by its socket or its port, or else where the
/// configuration says. Absolute, so that what is told of it holds wherever it is read.
fn folder(command: &CaCommand, loaded: &Loaded) -> PathBuf {
    let is_named = loaded.is_flag("control.socket") || loaded.is_flag("listen");
    let asks = is_named && !loaded.is_flag("ca.dir") && !matches!(command, CaCommand::Init(_));
    let folder = if asks { status::folder(loaded) } else { None };
    let folder = folder.unwrap_or_else(|| loaded.config.ca_dir.clone());
    std::path::absolute(&folder).unwrap_or(folder)
}

fn init(folder: &Folder, command: &Init, config: &Config, now: SystemTime) -> anyhow::Result<String> {
    let made = Made::new(&command.name, &Scope::of(&config.intercept.hosts), now)?;
    folder.init(&made)?;
    let mut text = format!("made a certificate authority\n\n{}", facts(&made.certificate));
    writeln!(text, "key          {} (who has it can read what is opened)", folder.key_path().display())?;
    if config.intercept.hosts.is_empty() {
        text += "\ntls.intercept.hosts is empty, so this one may sign for any host. To have one that is good for some hosts\n\
                 only, name them first, and then: bentpipe ca rotate --now\n";
    }
    let port = config.listen.first().map_or(3128, |address| address.port());
    let start = if config.intercept.hosts.is_empty() {
        "Say whose HTTPS is opened, in bentpipe.toml, and then: bentpipe reload (or start it)\n\
         \x20      [tls.intercept]\n\
         \x20      hosts = [\"*.wikipedia.org\"]"
    } else {
        "bentpipe reload, if it runs; start it if it does not. It needs the same tls.intercept.hosts."
    };
    write!(
        text,
        "\nNext:\n\
         \x20 1. {start}\n\
         \x20 2. Trust it on this machine:       bentpipe ca install\n\
         \x20 3. Trust it on every other device: open http://bentpipe.local/ through the proxy there, or\n\
         \x20    http://ADDRESS-OF-THIS-MACHINE:{port}/ without it\n"
    )?;
    Ok(text)
}

fn rotate(folder: &Folder, command: &Rotate, config: &Config, now: SystemTime) -> anyhow::Result<String> {
    let published = folder.published()?;
    let (current, _) = published.first().with_context(|| nothing(folder))?;
    if published.len() < 2 {
        let name = command.name.as_deref().unwrap_or(current.given_name());
        // Nobody who names no hosts wants an authority that is good for more than the one before.
        let hosts = &config.intercept.hosts;
        let scope = if hosts.is_empty() { current.scope.clone() } else { Scope::of(hosts) };
        folder.prepare(&Made::new(name, &scope, now)?)?;
    } else if !command.now {
        bail!("the next certificate is made already: bentpipe ca rotate --now puts it in force");
    }
    if command.now {
        folder.promote()?;
    }
    let published = folder.published()?;
    let certificate = published.last().map(|(certificate, _)| certificate).context("it has vanished")?;
    let (done, next) = if command.now {
        (
            "put in force",
            "Have a running one use it: bentpipe reload. The one before it can be removed from devices; here: bentpipe ca uninstall --replaced",
        )
    } else {
        (
            "made, and published beside the one in force",
            "Have the pages of a running one show both: bentpipe reload. Then give it to this machine (bentpipe ca install) and every\n\
             other device. When all have it: bentpipe ca rotate --now",
        )
    };
    Ok(format!("{done}\n\n{}\n{next}\n", facts(certificate)))
}

/// By what a certificate is told from another.
fn facts(certificate: &RootCertificate) -> String {
    let RootCertificate { name, scope, .. } = certificate;
    let (fingerprint, last_day) = (certificate.fingerprint(), certificate.last_day());
    format!(
        "name         {name}\nfingerprint  {fingerprint} (SHA-256)\nvalid until  {last_day}\nsigns for    {scope}\n"
    )
}

fn export(folder: &Folder, command: &Export) -> anyhow::Result<()> {
    let published = folder.published()?;
    let mut certificates = published.iter().map(|(certificate, _)| certificate);
    let mut wanted = certificates.next().with_context(|| nothing(folder))?;
    if command.next {
        wanted = certificates.next().context("none is to follow: bentpipe ca rotate makes one")?;
    }
    let content = match command.format {
        Format::Pem => wanted.pem().into_bytes(),
        Format::Der => wanted.der.to_vec(),
        Format::Mobileconfig => {
            profile::mobileconfig(published.iter().map(|(certificate, _)| certificate)).into_bytes()
        }
    };
    if let Some(path) = &command.output {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        fs::write(&path, content).with_context(|| path.display().to_string())?;
        writeln!(std::io::stdout().lock(), "written into {}", path.display())?;
        return Ok(());
    }
    if command.format == Format::Der && std::io::stdout().is_terminal() {
        bail!("DER is binary: name a file with -o FILE");
    }
    std::io::stdout().lock().write_all(&content)?;
    Ok(())
}

fn nothing(folder: &Folder) -> String {
    format!(
        "there is no certificate authority in {}: make one with bentpipe ca init",
        folder.path().display()
    )
}

#[cfg(test)]
mod tests {
    /// The help of every command, as it is printed.
    #[test]
    fn the_help_reads_well() {
        for command in ["init", "install", "uninstall", "status", "rotate", "export"] {
            let line = ["bentpipe", "ca", command, "--help"];
            let help = crate::cli::command().term_width(100).try_get_matches_from(line).unwrap_err();
            insta::assert_snapshot!(command, help.to_string());
        }
    }
}
