//! How the command line asks: the running proxy through its socket, or, where none runs, the cache folder itself.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bentpipe_store::{Error, Limits, Store};
use http::{Method, StatusCode};
use serde_json::Value;

use super::{Admin, api, socket};
use crate::clock::Clock;
use crate::config::{Config, Control, Loaded};

/// Someone who can carry commands out.
pub(crate) enum Operator {
    /// A running proxy, behind its socket.
    Proxy(Running),
    /// A cache folder that no proxy has open.
    Folder { admin: Box<Admin>, store: Store, runtime: tokio::runtime::Runtime },
}

/// A running proxy that takes commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    /// The port that its clients connect to, where its socket is named after it.
    port: Option<u16>,
    socket: PathBuf,
}

impl Operator {
    /// The running proxy that is meant: the one at the named control socket, or on the named port, or the only one.
    ///
    /// # Errors
    /// If none runs, or if it cannot be told which is meant.
    pub(crate) fn running(loaded: &Loaded) -> anyhow::Result<Self> {
        let running = match &loaded.config.control {
            Control::Path(path) => Some(Running::at(path).with_context(|| nobody_at(path, loaded))?),
            Control::Off => bail!("control.socket is off: there is no way to ask a running bentpipe"),
            Control::Auto => choose(sockets(), &named_ports(loaded))?,
        };
        let none = || format!("no bentpipe of yours is running; start one with: {}", loaded.program());
        running.map(Self::Proxy).with_context(none)
    }

    /// The running proxy that is meant, where a named cache folder tells it too, or else the cache folder itself.
    ///
    /// # Errors
    /// If there is neither, if it cannot be told which is meant, or if the folder is in use by a proxy that cannot be
    /// asked.
    pub(crate) fn running_or_folder(loaded: &Loaded) -> anyhow::Result<Self> {
        let config = &loaded.config;
        // A port that was typed is meant rather than a folder that a file names.
        let folder_decides =
            !loaded.is_default("cache.dir") && (loaded.is_flag("cache.dir") || !loaded.is_flag("listen"));
        let running = match &config.control {
            Control::Path(path) => match Running::at(path) {
                None if loaded.is_flag("control.socket") => bail!(stopped_at(path, loaded)),
                running => running.filter(|proxy| !folder_decides || proxy.has_folder(&config.cache.dir)),
            },
            Control::Off => None,
            Control::Auto if folder_decides => {
                sockets().into_iter().find(|proxy| proxy.has_folder(&config.cache.dir))
            }
            Control::Auto => choose(sockets(), &named_ports(loaded))?,
        };
        match running {
            Some(proxy) => Ok(Self::Proxy(proxy)),
            None if loaded.is_flag("listen") && !folder_decides => {
                bail!(
                    "no bentpipe of yours is running; without --listen the cache folder itself is looked at"
                )
            }
            None => Self::folder(config),
        }
    }

    fn folder(config: &Config) -> anyhow::Result<Self> {
        let folder = &config.cache.dir;
        if !folder.is_dir() {
            bail!("no running bentpipe could be asked, and there is no cache folder at {}", folder.display());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // Whoever looks at a folder evicts nothing from it: the proxy it is of may have been given another size.
        let limits = Limits { max_size: u64::MAX, max_object_size: u64::MAX };
        let opened = {
            let _entered = runtime.enter();
            Store::open(folder, limits)
        };
        let store = match opened {
            Ok(store) => store,
            Err(Error::Locked) => bail!(
                "{}: it is in use by a running bentpipe whose control socket is off or not yours, which holds the lock \
                 {}; ask as the user who runs it, name its socket with --control PATH, or stop it",
                folder.display(),
                folder.join("lock").display()
            ),
            Err(error) => return Err(error).with_context(|| folder.display().to_string()),
        };
        let admin = Box::new(Admin::of_folder(store.clone(), Clock::system(), config));
        Ok(Self::Folder { admin, store, runtime })
    }

    /// Who is asked, for people: where the proxy is.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Proxy(Running { port: Some(port), .. }) => format!("on port {port}"),
            Self::Proxy(Running { socket, .. }) => format!("at {}", socket.display()),
            Self::Folder { .. } => "none is running; this is its folder".to_owned(),
        }
    }

    /// The socket of the proxy that is asked, if one is.
    pub(crate) fn socket(&self) -> Option<&Path> {
        match self {
            Self::Proxy(proxy) => Some(&proxy.socket),
            Self::Folder { .. } => None,
        }
    }

    /// Whether a running proxy is asked.
    pub(crate) fn is_proxy(&self) -> bool {
        matches!(self, Self::Proxy(_))
    }

    /// Asks for one thing and returns the answer.
    ///
    /// # Errors
    /// What the proxy says is wrong with it, or that it cannot be reached.
    pub(crate) fn ask(&self, method: &Method, path: &str, content: Option<&Value>) -> anyhow::Result<Value> {
        let content = content.map(Value::to_string).unwrap_or_default();
        let (status, reply) = match self {
            Self::Proxy(proxy) => proxy.ask(method, path, &content)?,
            Self::Folder { admin, .. } => api::answer(admin, method, path, content.as_bytes()),
        };
        if status.is_success() {
            return Ok(reply);
        }
        bail!("{}", reply["error"].as_str().unwrap_or("the proxy refused"))
    }
}

impl Drop for Operator {
    /// What was changed in a folder is written down.
    fn drop(&mut self) {
        if let Self::Folder { store, runtime, .. } = self {
            runtime.block_on(store.close());
        }
    }
}

impl Running {
    /// The proxy behind `socket`, if one answers there.
    fn at(socket: &Path) -> Option<Self> {
        UnixStream::connect(socket).is_ok().then(|| Self { port: None, socket: socket.to_owned() })
    }

    fn has_folder(&self, folder: &Path) -> bool {
        let Ok((_, reply)) = self.ask(&Method::GET, "/v1/cache", "") else { return false };
        let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        reply["folder"].as_str().is_some_and(|its| canonical(its.as_ref()) == canonical(folder))
    }

    fn ask(&self, method: &Method, path: &str, content: &str) -> anyhow::Result<(StatusCode, Value)> {
        exchange(&self.socket, method, path, content)
            .with_context(|| format!("asking the bentpipe at {}", self.socket.display()))
    }
}

fn nobody_at(socket: &Path, loaded: &Loaded) -> String {
    let shown = socket.display();
    if socket.is_dir() {
        return format!(
            "{shown} is a folder; --control names the socket that a running bentpipe makes in it"
        );
    }
    let start = format!("start one that does with: {}", loaded.program());
    format!("no bentpipe of yours takes commands at {shown}; {start}")
}

/// As [`nobody_at`], where the folder of a proxy that is stopped would do as well.
fn stopped_at(socket: &Path, loaded: &Loaded) -> String {
    let folder = match loaded.is_default("cache.dir") {
        true => "--cache-dir FOLDER".to_owned(),
        false => format!("--cache-dir {}", loaded.config.cache.dir.display()),
    };
    let look = format!("to look into the cache of one that is stopped, leave --control out and say {folder}");
    format!("{}; {look}", nobody_at(socket, loaded))
}

/// This user's proxies that take commands, by port.
fn sockets() -> Vec<Running> {
    let Ok(entries) = std::fs::read_dir(socket::folder()) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut running: Vec<_> = paths
        .filter_map(|path| {
            let port = path.file_name()?.to_str()?.strip_suffix(".sock")?.parse().ok()?;
            Some(Running { port: Some(port), ..Running::at(&path)? })
        })
        .collect();
    running.sort_by_key(|proxy| proxy.port);
    running
}

/// The ports that were named; none if nobody named one.
fn named_ports(loaded: &Loaded) -> Vec<u16> {
    if loaded.is_default("listen") {
        return Vec::new();
    }
    loaded.config.listen.iter().map(|address| address.port()).filter(|port| *port != 0).collect()
}

/// Which of the `running` proxies is meant: the one on a port of `named`, or the only one. None if none runs.
fn choose(running: Vec<Running>, named: &[u16]) -> anyhow::Result<Option<Running>> {
    if running.is_empty() {
        return Ok(None);
    }
    let listed = |ports: &mut dyn Iterator<Item = u16>| {
        ports.map(|port| port.to_string()).collect::<Vec<_>>().join(", ")
    };
    let ports = listed(&mut running.iter().filter_map(|proxy| proxy.port));
    if !named.is_empty() {
        let meant = running.into_iter().find(|proxy| proxy.port.is_some_and(|port| named.contains(&port)));
        let named = listed(&mut named.iter().copied());
        return meant
            .map(Some)
            .with_context(|| format!("no bentpipe of yours listens on port {named}; running: {ports}"));
    }
    if running.len() > 1 {
        bail!("several bentpipes are running, on ports {ports}: say which with --listen 127.0.0.1:PORT");
    }
    Ok(running.into_iter().next())
}

/// How long an answer may take. The new process of an upgrade reads an index, and may be given more time by the
/// configuration.
fn patience(path: &str) -> Duration {
    if path == "/v1/upgrade" { Duration::from_secs(600) } else { Duration::from_secs(30) }
}

/// One request and its whole response over a socket. HTTP/1.0, so that the response ends with the connection.
fn exchange(
    socket: &Path,
    method: &Method,
    path: &str,
    content: &str,
) -> anyhow::Result<(StatusCode, Value)> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience(path)))?;
    let length = content.len();
    write!(stream, "{method} {path} HTTP/1.0\r\ncontent-length: {length}\r\n\r\n{content}")?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response)?;
    let text = String::from_utf8_lossy(&response);
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP");
    let (head, content) = text.split_once("\r\n\r\n").ok_or_else(malformed)?;
    let status = head.split(' ').nth(1).ok_or_else(malformed)?;
    Ok((StatusCode::from_bytes(status.as_bytes())?, serde_json::from_str(content)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ports: &[u16], named: &[u16], expected: Result<Option<u16>, &str>) {
        let proxy = |port: &u16| Running { port: Some(*port), socket: PathBuf::from(format!("{port}.sock")) };
        let chosen = choose(ports.iter().map(proxy).collect(), named);
        let chosen =
            chosen.map(|proxy| proxy.and_then(|proxy| proxy.port)).map_err(|error| error.to_string());
        assert_eq!(chosen, expected.map_err(str::to_owned), "{named:?} of {ports:?}");
    }

    #[test]
    fn the_proxy_on_the_named_port_is_meant_or_the_only_one() {
        let several =
            "several bentpipes are running, on ports 3128, 4000: say which with --listen 127.0.0.1:PORT";
        check(&[], &[], Ok(None));
        check(&[], &[4000], Ok(None));
        check(&[4000], &[], Ok(Some(4000)));
        check(&[4000], &[4000], Ok(Some(4000)));
        check(&[3128, 4000], &[4000], Ok(Some(4000)));
        check(&[3128, 4000], &[], Err(several));
        check(&[4100], &[4102], Err("no bentpipe of yours listens on port 4102; running: 4100"));
        check(&[3128, 4000], &[1, 2], Err("no bentpipe of yours listens on port 1, 2; running: 3128, 4000"));
    }
}
