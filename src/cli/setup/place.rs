//! Where `bentpipe setup` writes, and how: the file of the machine for root, one's own for everybody else; whole or not at
//! all, readable for whom it concerns, and never over a file that is there without its having been kept.
//!
//! The file of the machine is the one that the service of a package reads, so it names that service's folders: commands of
//! root then mean the same proxy.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rustix::fs::statvfs;

use super::accounts::Account;
use super::put;
use crate::config::{Draft, Flags, SYSTEM_FILE, usual_cache, usual_file};

/// Whom the service of a package runs as, user and group.
const SERVICE: &str = "bentpipe";

/// The service's folders and its socket, as the unit makes them, by option.
const FOLDERS: [(&str, &str); 3] = [
    ("cache.dir", "/var/cache/bentpipe"),
    ("control.socket", "/run/bentpipe/control.sock"),
    ("ca.dir", "/var/lib/bentpipe/ca"),
];

/// What stands above the options.
const HEAD: &str = "\
# Written by `bentpipe setup`. All other options, with their defaults: bentpipe config example. What is wrong with this
# file: bentpipe config check. Which value counts and where it comes from: bentpipe config show.
";

/// A configuration file that is to be written.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    /// The group of the service, where this is its file and there is such a group.
    group: Option<u32>,
    /// Whether bentpipe finds the file by itself.
    is_usual: bool,
}

impl Place {
    /// The file that `flags` name, or the usual one of whoever calls.
    ///
    /// # Errors
    /// If there is no home to put it in.
    pub(super) fn of(flags: &Flags) -> anyhow::Result<Place> {
        let usual = match rustix::process::getuid().is_root() {
            true => Some(PathBuf::from(SYSTEM_FILE)),
            false => usual_file(),
        };
        let path = flags.named_file().map(Path::to_owned).or_else(|| usual.clone());
        let path = path.context("there is no home folder to write to: name a file with --config FILE")?;
        // The file of users is named in it, and a proxy may be started anywhere.
        let path = std::path::absolute(path)?;
        let is_system = path == Path::new(SYSTEM_FILE);
        let group = is_system.then(service_group).flatten();
        Ok(Place { is_usual: is_system || Some(&path) == usual.as_ref(), path, group })
    }

    /// Where the file is to be.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file of users beside it.
    pub(super) fn users(&self) -> PathBuf {
        self.path.with_file_name("users")
    }

    /// What stands above the options.
    pub(super) fn head(&self) -> String {
        HEAD.to_owned()
    }

    /// Puts in what nobody is asked: the service's folders.
    ///
    /// # Errors
    /// None that could happen.
    pub(super) fn complete(&self, draft: &mut Draft) -> anyhow::Result<()> {
        for (key, value) in FOLDERS.iter().filter(|_| self.group.is_some()) {
            if !draft.says(key) {
                put(draft, key, value)?;
            }
        }
        Ok(())
    }

    /// The cache folder, and the bytes that are free on its disk if the system says.
    pub(super) fn cache(&self, draft: &Draft) -> (PathBuf, Option<u64>) {
        let folder = if draft.says("cache.dir") { draft.config().cache.dir.clone() } else { usual_cache() };
        let nearest = folder.ancestors().find(|folder| folder.is_dir());
        let disk = nearest.and_then(|folder| statvfs(folder).ok());
        (folder, disk.map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize)))
    }

    /// The files that are there and would be written over.
    pub(super) fn taken(&self, with_users: bool) -> Vec<PathBuf> {
        let users = with_users.then(|| self.users());
        let written = std::iter::once(self.path.clone()).chain(users);
        written.filter(|path| fs::symlink_metadata(path).is_ok()).collect()
    }

    /// Why nothing is written where the files of `taken` are there and nobody can be asked.
    pub(super) fn refusal(&self, taken: &[PathBuf]) -> String {
        let (listed, lost) = (listed(taken), self.lost(taken));
        match taken {
            [_] => format!("{listed} is there already; --replace replaces it and keeps the old one{lost}"),
            _ => format!("{listed} are there already; --replace replaces them and keeps the old ones{lost}"),
        }
    }

    /// Whether the files of `taken` may be replaced, as a question.
    pub(super) fn question(&self, taken: &[PathBuf]) -> String {
        let (listed, lost) = (listed(taken), self.lost(taken));
        match taken {
            [_] => {
                format!(
                    "{listed} is there already. Replace it? It is kept with .old behind its name{lost}. (y, n)"
                )
            }
            _ => format!(
                "{listed} are there already. Replace them? They are kept with .old behind their names{lost}. (y, n)"
            ),
        }
    }

    /// What comes of replacing the file of users, where it is in `taken`.
    fn lost(&self, taken: &[PathBuf]) -> &'static str {
        if taken.contains(&self.users()) { "; the accounts in users go out of force" } else { "" }
    }

    /// Writes the configuration.
    ///
    /// # Errors
    /// Those of the file system, and where a file is there that may not be replaced.
    pub(super) fn write(&self, text: &str, is_secret: bool, replace: bool) -> anyhow::Result<()> {
        self.put(&self.path, text, if is_secret { 0o640 } else { 0o644 }, replace)
    }

    /// Writes the file of users, for nobody's eyes but the proxy's.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub(super) fn write_users(&self, accounts: &[Account], replace: bool) -> anyhow::Result<()> {
        let text: String = accounts.iter().map(Account::line).collect();
        self.put(&self.users(), &text, 0o640, replace)
    }

    fn put(&self, path: &Path, text: &str, mode: u32, replace: bool) -> anyhow::Result<()> {
        let named = || path.display().to_string();
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        // Its group may read it where that is the service's; anybody else's is not meant.
        let mode = if self.group.is_some() || mode & 0o007 != 0 { mode } else { mode & !0o070 };
        let new = beside(path, "new");
        let written = self.fill(&new, text, mode).and_then(|()| {
            if replace {
                keep(path)?;
                return fs::rename(&new, path);
            }
            // Unlike a rename this fails where somebody was faster.
            fs::hard_link(&new, path)?;
            fs::remove_file(&new)
        });
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        match written {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && path.exists() => {
                bail!("{} is there already", named())
            }
            written => written.with_context(named),
        }
    }

    fn fill(&self, path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Open to nobody else until it belongs to whom it should.
        let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        if self.group.is_some() {
            fchown(&file, None, self.group)?;
        }
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }

    /// What is to be done now.
    pub(super) fn next_steps(&self, draft: &Draft) -> Vec<String> {
        let config = draft.config();
        let mut steps = Vec::new();
        let named = if self.is_usual { String::new() } else { format!(" --config {}", self.path.display()) };
        if !config.intercept.hosts.is_empty() {
            let user = if self.group.is_some() { format!("runuser -u {SERVICE} -- ") } else { String::new() };
            steps.push(format!("{user}bentpipe{named} ca init     makes the authority that opens HTTPS"));
            steps.push(format!("bentpipe{named} ca install  trusts it on this machine"));
        }
        if self.group.is_some() && Path::new("/run/systemd/system").exists() {
            steps.push("systemctl restart bentpipe".to_owned());
        } else {
            steps.push(format!("bentpipe{named}"));
        }
        let listen = config.listen.first().copied().unwrap_or(SocketAddr::from(([127, 0, 0, 1], 3128)));
        let own = listen.ip().is_unspecified().then(|| own_address(listen.ip())).flatten();
        let proxy = as_reached(listen, own);
        steps.push(format!("bentpipe{named} doctor, and set {proxy} as HTTP proxy, also for HTTPS"));
        steps
    }
}

/// How clients name a proxy that listens on `listen`, on a machine with the address `own`, if that is known.
fn as_reached(listen: SocketAddr, own: Option<IpAddr>) -> String {
    let port = listen.port();
    match own {
        _ if !listen.ip().is_unspecified() => listen.to_string(),
        Some(own) => {
            format!("{} (here 127.0.0.1:{port}, too)", SocketAddr::new(own, port))
        }
        None => format!("this machine's address, port {port}, (here 127.0.0.1:{port})"),
    }
}

/// The address by which other devices reach this machine, as far as its routes say. Nothing is sent to find out.
fn own_address(listen: IpAddr) -> Option<IpAddr> {
    // A socket for datagrams is connected by choosing a route alone. The addresses are of documentation networks.
    let routed = |any: IpAddr, far: IpAddr| {
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect((far, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    let far = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    let usual = routed(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into());
    let other = || listen.is_ipv6().then(|| routed(Ipv6Addr::UNSPECIFIED.into(), far.into())).flatten();
    let is_of_use = |own: &IpAddr| !own.is_loopback() && !own.is_unspecified();
    usual.filter(is_of_use).or_else(other).filter(is_of_use)
}

/// Paths in a sentence.
fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" and ")
}

/// Keeps the file at `path`, if there is one, under its name with `.old` behind it.
fn keep(path: &Path) -> std::io::Result<()> {
    match fs::rename(path, beside(path, "old")) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// The number of the service's group, if this machine has it.
fn service_group() -> Option<u32> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    let fields = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
    fields.filter(|fields| fields.first() == Some(&SERVICE)).find_map(|fields| fields.get(2)?.parse().ok())
}

#[cfg(test)]
impl Place {
    /// The file at `path`, of no service.
    pub(super) fn at(path: &Path) -> Place {
        Place { path: path.to_owned(), group: None, is_usual: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_named_as_its_clients_reach_it() {
        let check = |listen: &str, own: Option<&str>, expected: &str| {
            let own = own.map(|own| own.parse().unwrap());
            assert_eq!(as_reached(listen.parse().unwrap(), own), expected);
        };
        check("127.0.0.1:3128", None, "127.0.0.1:3128");
        check("10.0.0.5:8080", None, "10.0.0.5:8080");
        check("0.0.0.0:3128", Some("10.0.0.5"), "10.0.0.5:3128 (here 127.0.0.1:3128, too)");
        check("[::]:3128", Some("2001:db8::5"), "[2001:db8::5]:3128 (here 127.0.0.1:3128, too)");
        check("0.0.0.0:3128", None, "this machine's address, port 3128, (here 127.0.0.1:3128)");
    }
}
