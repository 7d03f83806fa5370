//! The trust stores of this machine: which there are, whether a certificate is in them, and the steps that put it there or
//! take it away. Each step can be shown as the command it is before it is done.
//!
//! Known are the stores of the usual Linux systems and of macOS, and the NSS databases of browsers, which are changed by
//! NSS's own `certutil`. What needs an administrator is not tried by anybody else.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::certificate::RootCertificate;

/// The machine as far as its trust stores are concerned; another one in tests.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// `/`.
    root: PathBuf,
    home: Option<PathBuf>,
    /// Where programs are.
    search: Vec<PathBuf>,
    /// Whether whoever runs this may change what belongs to the system.
    pub(crate) is_administrator: bool,
}

/// A place in which certificates are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// A folder of certificates, and the program that makes the system's store from it.
    Folder { anchors: PathBuf, update: PathBuf },
    /// The system's keychain of macOS, and the program that changes it.
    Keychain { security: PathBuf },
    /// An NSS database, and the program that changes it. A new one is made where the browser has none yet.
    Nss { folder: PathBuf, certutil: PathBuf, is_new: bool },
}

/// One step of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Copy { from: PathBuf, to: PathBuf },
    Remove(PathBuf),
    MakeFolder(PathBuf),
    Run { program: PathBuf, arguments: Vec<OsString> },
}

/// What there is on a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) stores: Vec<Store>,
    /// Sentences about what could not be looked into.
    pub(crate) notes: Vec<String>,
}

/// Folders of certificates that belong to the system, below `/`, and what makes them count: Debian, Ubuntu and Alpine;
/// Fedora and RHEL; SUSE; Arch.
const FOLDERS: [(&str, &str); 4] = [
    ("usr/local/share/ca-certificates", "update-ca-certificates"),
    ("etc/pki/ca-trust/source/anchors", "update-ca-trust"),
    ("etc/pki/trust/anchors", "update-ca-certificates"),
    ("etc/ca-certificates/trust-source/anchors", "update-ca-trust"),
];

/// NSS databases of Chromium and its kin, below the home.
const CHROMIUM: [&str; 2] = [".pki/nssdb", "snap/chromium/current/.pki/nssdb"];

/// Programs that use the first of them, and make it when they first run.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "brave-browser"];

/// Folders of Firefox's profiles, below the home; each profile has a database.
const FIREFOX: [&str; 4] = [
    ".mozilla/firefox",
    "snap/firefox/common/.mozilla/firefox",
    ".var/app/org.mozilla.firefox/.mozilla/firefox",
    "Library/Application Support/Firefox/Profiles",
];

/// Profiles beyond this are not a person's.
const MOST_PROFILES: usize = 64;

/// Where administration programs are, although the search path of others does not say so.
const ADMINISTRATION: [&str; 2] = ["/usr/sbin", "/sbin"];

impl Machine {
    /// This machine, and whoever runs this program on it.
    pub(crate) fn here() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let search = std::env::split_paths(&path).chain(ADMINISTRATION.map(PathBuf::from));
        Self {
            root: PathBuf::from("/"),
            home: std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute()),
            search: search.filter(|folder| folder.is_absolute()).collect(),
            is_administrator: rustix::process::geteuid().is_root(),
        }
    }

    /// The trust stores there are.
    pub(crate) fn stores(&self) -> Found {
        let mut found = Found::default();
        let folder = FOLDERS.iter().find_map(|(folder, update)| {
            let anchors = self.root.join(folder);
            let update = self.program(update)?;
            anchors.is_dir().then_some(Store::Folder { anchors, update })
        });
        let keychain = || self.program("security").map(|security| Store::Keychain { security });
        match folder.or_else(|| cfg!(target_os = "macos").then(keychain).flatten()) {
            Some(store) => found.stores.push(store),
            None => found.notes.push(
                "No trust store of this system is known here: add the certificate as its manual says."
                    .to_owned(),
            ),
        }
        let databases = self.databases();
        match self.program("certutil") {
            Some(certutil) => found.stores.extend(databases.into_iter().map(|(folder, is_new)| {
                Store::Nss { folder, certutil: certutil.clone(), is_new }
            })),
            None if databases.is_empty() => {}
            None => found.notes.push(
                "Chromium and Firefox have stores of their own, which are changed by certutil; it is not installed \
                 (package libnss3-tools or nss-tools)."
                    .to_owned(),
            ),
        }
        found
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        self.search.iter().map(|folder| folder.join(name)).find(|path| path.is_file())
    }

    /// The folders of NSS databases, and whether each is still to be made.
    fn databases(&self) -> Vec<(PathBuf, bool)> {
        let Some(home) = &self.home else { return Vec::new() };
        let has_database = |folder: &PathBuf| folder.join("cert9.db").is_file();
        let chromium = CHROMIUM.iter().map(|folder| home.join(folder)).filter(has_database);
        let mut databases: Vec<_> = chromium.map(|folder| (folder, false)).collect();
        if databases.is_empty() && BROWSERS.iter().any(|browser| self.program(browser).is_some()) {
            databases.push((home.join(CHROMIUM[0]), true));
        }
        let profiles = FIREFOX.iter().filter_map(|folder| fs::read_dir(home.join(folder)).ok());
        let mut profiles: Vec<_> = profiles
            .flat_map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())))
            .filter(has_database)
            .take(MOST_PROFILES)
            .collect();
        profiles.sort();
        databases.into_iter().chain(profiles.into_iter().map(|folder| (folder, false))).collect()
    }
}

impl Store {
    /// Whether only an administrator can change it.
    pub(crate) fn needs_administrator(&self) -> bool {
        !matches!(self, Self::Nss { .. })
    }

    /// Whether it holds this certificate. It asks the store's own program where there is no other way.
    pub(crate) fn holds(&self, certificate: &RootCertificate) -> bool {
        match self {
            Self::Folder { anchors, .. } => fs::read(anchors.join(file_name(certificate)))
                .is_ok_and(|held| RootCertificate::from_pem(&held).as_ref() == Some(certificate)),
            Self::Keychain { security } => {
                let arguments = ["find-certificate", "-a", "-p", "-c", &certificate.name];
                printed(security, arguments.map(OsString::from)).contains(certificate.pem().trim_end())
            }
            Self::Nss { is_new: true, .. } => false,
            Self::Nss { folder, certutil, .. } => {
                let arguments =
                    [os("-L"), os("-d"), database(folder), os("-n"), os(&certificate.name), os("-a")];
                RootCertificate::from_pem(printed(certutil, arguments).as_bytes()).as_ref()
                    == Some(certificate)
            }
        }
    }

    /// What puts a certificate, which is in `file`, into the store.
    pub(crate) fn install(&self, certificate: &RootCertificate, file: &Path) -> Vec<Step> {
        match self {
            Self::Folder { anchors, update } => {
                let to = anchors.join(file_name(certificate));
                vec![Step::Copy { from: file.to_owned(), to }, run(update, [])]
            }
            Self::Keychain { security } => {
                let keychain = "/Library/Keychains/System.keychain";
                let arguments =
                    ["add-trusted-cert", "-d", "-r", "trustRoot", "-k", keychain].map(OsString::from);
                vec![run(security, arguments.into_iter().chain([file.into()]))]
            }
            Self::Nss { folder, certutil, is_new } => {
                let made = [os("-N"), os("-d"), database(folder), os("--empty-password")];
                let make = [Step::MakeFolder(folder.clone()), run(certutil, made)];
                // "C" is trust as an authority for servers, and for nothing else.
                let arguments = [os("-A"), os("-d"), database(folder), os("-n"), os(&certificate.name)];
                let arguments = arguments.into_iter().chain([os("-t"), os("C,,"), os("-i"), file.into()]);
                make.into_iter().filter(|_| *is_new).chain([run(certutil, arguments)]).collect()
            }
        }
    }

    /// What takes a certificate out of the store.
    pub(crate) fn uninstall(&self, certificate: &RootCertificate, file: &Path) -> Vec<Step> {
        match self {
            Self::Folder { anchors, update } => {
                vec![Step::Remove(anchors.join(file_name(certificate))), run(update, [])]
            }
            Self::Keychain { security } => {
                vec![run(security, [os("remove-trusted-cert"), os("-d"), file.into()])]
            }
            Self::Nss { folder, certutil, .. } => {
                let arguments = [os("-D"), os("-d"), database(folder), os("-n"), os(&certificate.name)];
                vec![run(certutil, arguments)]
            }
        }
    }
}

impl fmt::Display for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder { anchors, .. } => write!(formatter, "this system ({})", anchors.display()),
            Self::Keychain { .. } => formatter.write_str("this system (System.keychain)"),
            Self::Nss { folder, .. } => write!(formatter, "browser ({})", folder.display()),
        }
    }
}

impl Step {
    /// Does it. What a program prints is not shown unless it fails.
    ///
    /// # Errors
    /// What the system or the program says.
    pub(crate) fn perform(&self) -> io::Result<()> {
        match self {
            Self::Copy { from, to } => fs::copy(from, to).map(drop),
            Self::Remove(path) => match fs::remove_file(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                done => done,
            },
            Self::MakeFolder(path) => fs::create_dir_all(path),
            Self::Run { program, arguments } => {
                let output = Command::new(program).args(arguments).stdin(Stdio::null()).output()?;
                if output.status.success() {
                    return Ok(());
                }
                let said = String::from_utf8_lossy(&output.stderr);
                let said = said.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
                Err(io::Error::other(format!("{}: {said}", output.status)))
            }
        }
    }
}

/// As a shell would take it.
impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |path: &PathBuf| quoted(&path.to_string_lossy());
        match self {
            Self::Copy { from, to } => write!(formatter, "install -m 644 {} {}", path(from), path(to)),
            Self::Remove(file) => write!(formatter, "rm -f {}", path(file)),
            Self::MakeFolder(folder) => write!(formatter, "mkdir -p {}", path(folder)),
            Self::Run { program, arguments } => {
                formatter.write_str(&path(program))?;
                arguments
                    .iter()
                    .try_for_each(|argument| write!(formatter, " {}", quoted(&argument.to_string_lossy())))
            }
        }
    }
}

fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:,=+@".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn file_name(certificate: &RootCertificate) -> String {
    format!("bentpipe-{}.crt", certificate.short())
}

fn database(folder: &Path) -> OsString {
    let mut name = os("sql:");
    name.push(folder);
    name
}

fn os(text: &str) -> OsString {
    OsString::from(text)
}

fn run(program: &Path, arguments: impl IntoIterator<Item = OsString>) -> Step {
    Step::Run { program: program.to_owned(), arguments: arguments.into_iter().collect() }
}

/// What a program prints; nothing if it fails.
fn printed(program: &Path, arguments: impl IntoIterator<Item = OsString>) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.ok().filter(|output| output.status.success());
    output.map_or_else(String::new, |output| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests;
