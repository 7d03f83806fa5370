//! Who is compared: bentpipe (one binary or several), hyper's floor, and the servers that are installed here; what each of
//! them can do, and the command that starts it. What the servers are told stands in `tuning`.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use testkit::load::SECURE_NAME;

use super::scenario::{Measure, Needs};
use super::tuning;
use crate::program::serving;

/// What a program is, which decides how it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bentpipe,
    Floor,
    Squid,
    TrafficServer,
    Apache,
    Nginx,
    Varnish,
    Haproxy,
}

/// The servers, by the names that `--peers` knows, with their programs.
pub(super) const SERVERS: [(&str, Kind, &str); 6] = [
    ("squid", Kind::Squid, "squid"),
    ("trafficserver", Kind::TrafficServer, "traffic_server"),
    ("apache2", Kind::Apache, "apache2"),
    ("nginx", Kind::Nginx, "nginx"),
    ("varnish", Kind::Varnish, "varnishd"),
    ("haproxy", Kind::Haproxy, "haproxy"),
];

/// Where servers are that are not in everyone's `PATH`.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];

/// One of those that are compared.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) binary: PathBuf,
}

/// Where one of them runs: its own folder, which outlives a restart, its address, and the origin it is to reach.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) folder: &'a Path,
    pub(super) address: SocketAddr,
    pub(super) origin: SocketAddr,
    /// The origin's root certificate, for who speaks TLS to it.
    pub(super) root: &'a Path,
    /// The origin with TLS.
    pub(super) secure_origin: SocketAddr,
}

impl Peer {
    /// The server of that name, where it is installed.
    pub(super) fn installed(name: &str, kind: Kind, program: &str) -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain(FOLDERS.iter().map(PathBuf::from));
        let binary = folders.map(|folder| folder.join(program)).find(|file| file.is_file())?;
        Some(Self { name: name.to_owned(), kind, binary })
    }

    /// Whether it can do what a scenario needs.
    pub(super) fn can(&self, needs: Needs) -> bool {
        let is_reverse = matches!(self.kind, Kind::Nginx | Kind::Varnish | Kind::Haproxy);
        match needs {
            Needs::Cache | Needs::Forward | Needs::Serve => true,
            Needs::Store => self.kind != Kind::Floor,
            Needs::Tunnel => !is_reverse,
            Needs::Bentpipe => self.kind == Kind::Bentpipe,
        }
    }

    /// Whether what it stores is on a disk, so that it can be there after a restart.
    pub(super) fn has_disk(&self) -> bool {
        !matches!(self.kind, Kind::Varnish | Kind::Haproxy | Kind::Floor)
    }

    /// How long it takes until what it has stored would be there after an orderly stop.
    pub(super) fn settling(&self) -> Duration {
        // Traffic Server writes its directory every minute (proxy.config.cache.dir.sync_frequency), and not when it stops.
        Duration::from_secs(if self.kind == Kind::TrafficServer { 75 } else { 2 })
    }

    /// What it says of its version, for the report.
    pub(super) fn version(&self) -> String {
        let flag = match self.kind {
            Kind::Floor => return String::new(),
            Kind::Squid | Kind::Apache | Kind::Nginx | Kind::Haproxy => "-v",
            Kind::Varnish | Kind::TrafficServer => "-V",
            Kind::Bentpipe => "--version",
        };
        let output = Command::new(&self.binary).arg(flag).stdin(Stdio::null()).output();
        let Ok(output) = output else { return String::new() };
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        // Some say first where they look for their files.
        let line = text.lines().find(|line| line.contains(|sign: char| sign.is_ascii_digit()));
        line.unwrap_or_default().trim().to_owned()
    }

    /// The command that starts it at `place`, whose folder is made ready; it stays in the foreground.
    ///
    /// # Errors
    /// When files cannot be written or a server's own preparation fails.
    pub(super) fn command(&self, place: &Place<'_>, measure: Measure) -> anyhow::Result<Command> {
        open_folder(place.folder)?;
        let mut command = Command::new(&self.binary);
        match self.kind {
            Kind::Bentpipe => self.bentpipe(&mut command, place, measure)?,
            Kind::Floor => {
                let forwards =
                    matches!(measure, Measure::Load { policy: "passed", .. } | Measure::Tunnel { .. });
                command.arg(if forwards { "forward" } else { "serve" });
                command.arg(place.address.port().to_string());
            }
            Kind::Squid => {
                let file = write(
                    place,
                    "squid.conf",
                    &tuning::squid(place, matches!(measure, Measure::Crowd { .. })),
                )?;
                let cache = place.folder.join("cache");
                if !cache.exists() {
                    open_folder(&cache)?;
                    let mut prepare = Command::new(&self.binary);
                    run(prepare.args(["-N", "-n", &squid_name(place.address), "-z", "-f"]).arg(&file))?;
                }
                command.args(["-N", "-n", &squid_name(place.address), "-f"]).arg(file);
            }
            Kind::TrafficServer => {
                let runroot = tuning::traffic_server(place)?;
                command.env("TS_RUNROOT", runroot);
            }
            Kind::Apache => {
                let file = write(place, "apache2.conf", &tuning::apache(place))?;
                open_folder(&place.folder.join("cache"))?;
                command.args(["-D", "FOREGROUND", "-f"]).arg(file);
            }
            Kind::Nginx => {
                let file = write(place, "nginx.conf", &tuning::nginx(place))?;
                command.arg("-p").arg(place.folder).arg("-c").arg(file);
                command.args(["-e", "stderr"]);
            }
            Kind::Varnish => {
                let file = write(place, "varnish.vcl", &tuning::varnish(place))?;
                command.arg("-F").arg("-n").arg(place.folder.join("work")).arg("-f").arg(file);
                command.arg("-a").arg(place.address.to_string()).args(tuning::VARNISH);
            }
            Kind::Haproxy => {
                let file = write(place, "haproxy.cfg", &tuning::haproxy(place))?;
                command.args(["-db", "-f"]).arg(file);
            }
        }
        Ok(command)
    }

    /// Removes what it leaves outside its folder when it is killed.
    pub(super) fn tidy(&self, address: SocketAddr) {
        if self.kind != Kind::Squid {
            return;
        }
        let start = squid_name(address) + "-";
        for entry in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&start) {
                // What is left is memory that nobody maps any more; to leave some is no fault of the figures.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn bentpipe(&self, command: &mut Command, place: &Place<'_>, measure: Measure) -> anyhow::Result<()> {
        // Nobody's own configuration is meant.
        command.env("HOME", place.folder).env_remove("XDG_CONFIG_HOME").env_remove("XDG_DATA_HOME");
        command.args(serving(place.address, &place.folder.join("cache")));
        command.args(["--set", "limits.connections=10000", "--set", "limits.connections_per_client=10000"]);
        command.args(["--set", "limits.requests_per_client=10000", "--set", "cache.size=40G"]);
        let ports =
            format!("destinations.connect_ports={},{}", place.origin.port(), place.secure_origin.port());
        command.args(["--set", &ports]);
        match measure {
            Measure::Link { .. } => {
                command.args(["--link", "100M"]);
            }
            Measure::Intercept { .. } => {
                let authority = place.folder.join("ca");
                if !authority.exists() {
                    let own = |words: &[&str]| {
                        let mut command = Command::new(&self.binary);
                        command.env("HOME", place.folder).arg("--ca-dir").arg(&authority).args(words);
                        run(&mut command)
                    };
                    own(&["ca", "init"])?;
                    fs::write(place.folder.join("authority.pem"), own(&["ca", "export"])?)?;
                }
                command.arg("--ca-dir").arg(&authority).arg("--tls-roots").arg(place.root);
                command.args([
                    "--intercept",
                    SECURE_NAME,
                    "--set",
                    &format!("dns.hosts={SECURE_NAME}=127.0.0.1"),
                ]);
            }
            _ => {}
        }
        Ok(())
    }
}

/// The name under which a squid has its shared memory, so that it does not meet that of another.
fn squid_name(address: SocketAddr) -> String {
    format!("bench{}", address.port())
}

/// Makes a folder that a server may use after it has given up being root.
fn open_folder(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777))?;
    Ok(())
}

fn write(place: &Place<'_>, name: &str, text: &str) -> anyhow::Result<PathBuf> {
    let file = place.folder.join(name);
    fs::write(&file, text)?;
    Ok(file)
}

fn run(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

/// The servers that `names` asks for: those installed, and the names of those that are not.
///
/// # Errors
/// For a name that is none.
pub(super) fn servers(names: &[String]) -> anyhow::Result<(Vec<Peer>, Vec<String>)> {
    let (mut installed, mut missing) = (Vec::new(), Vec::new());
    let is_known =
        |name: &str| matches!(name, "all" | "none") || SERVERS.iter().any(|server| server.0 == name);
    if let Some(name) = names.iter().find(|name| !is_known(name)) {
        bail!("--peers: no `{name}`; there are all, none, {}", SERVERS.map(|server| server.0).join(", "));
    }
    for (name, kind, program) in SERVERS {
        if !names.iter().any(|wanted| wanted == "all" || wanted == name) {
            continue;
        }
        match Peer::installed(name, kind, program) {
            Some(peer) => installed.push(peer),
            None => missing.push(name.to_owned()),
        }
    }
    Ok((installed, missing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_asked_for_by_name() {
        let none = servers(&["none".to_owned()]).expect("a known word");
        assert!(none.0.is_empty() && none.1.is_empty());
        let all = servers(&["all".to_owned()]).expect("a known word");
        assert_eq!(all.0.len() + all.1.len(), SERVERS.len(), "installed or said to be missing");
        let fault = servers(&["wget".to_owned()]).expect_err("no such server");
        assert!(fault.to_string().contains("varnish"), "{fault}");
    }

    #[test]
    fn what_is_not_installed_is_not_found() {
        assert!(Peer::installed("no", Kind::Squid, "no-such-program-anywhere").is_none());
    }
}
