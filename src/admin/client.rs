//! How the command line asks: the running proxy through its socket, or, where none runs, the cache folder itself.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bentpipe_store::{Limits, Store};
use http::{Method, StatusCode};
use serde_json::Value;

use super::{Admin, api, socket};
use crate::clock::Clock;
use crate::config::{Config, Control};

/// Someone who can carry commands out.
pub(crate) enum Operator {
    /// A running proxy, behind its socket.
    Proxy(PathBuf),
    /// A cache folder that no proxy has open.
    Folder { admin: Box<Admin>, store: Store, runtime: tokio::runtime::Runtime },
}

impl Operator {
    /// The running proxy that `config` points to: the one of its control socket, or the only one of this user, or of
    /// several the one that listens on its port.
    ///
    /// # Errors
    /// If none runs, or if it cannot be told which is meant.
    pub(crate) fn running(config: &Config) -> anyhow::Result<Self> {
        match &config.control {
            Control::Path(path) if UnixStream::connect(path).is_ok() => Ok(Self::Proxy(path.clone())),
            Control::Path(path) => bail!("no bentpipe takes commands at {}", path.display()),
            Control::Off => bail!("control.socket is off: there is no way to ask a running bentpipe"),
            Control::Auto => choose(sockets(), config.listen.first()).map(Self::Proxy),
        }
    }

    /// The running proxy, or else the cache folder of `config`.
    ///
    /// # Errors
    /// If there is neither, or the folder is in use by a proxy that cannot be asked.
    pub(crate) fn running_or_folder(config: &Config, explicit_folder: bool) -> anyhow::Result<Self> {
        if let Ok(proxy) = Self::running(config)
            && (!explicit_folder || proxy.has_folder(config))
        {
            return Ok(proxy);
        }
        let folder = &config.cache.dir;
        if !folder.is_dir() {
            bail!("no bentpipe is running, and there is no cache folder at {}", folder.display());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let limits = Limits { max_size: config.cache.size.0, max_object_size: config.cache.max_object.0 };
        let store = {
            let _entered = runtime.enter();
            Store::open(folder, limits).with_context(|| folder.display().to_string())?
        };
        let admin = Box::new(Admin::of_folder(store.clone(), Clock::system(), config));
        Ok(Self::Folder { admin, store, runtime })
    }

    fn has_folder(&self, config: &Config) -> bool {
        let Ok(reply) = self.ask(&Method::GET, "/v1/cache", None) else { return false };
        let canonical = |path: &std::path::Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        reply["folder"]
            .as_str()
            .is_some_and(|folder| canonical(folder.as_ref()) == canonical(&config.cache.dir))
    }

    /// Asks for one thing and returns the answer.
    ///
    /// # Errors
    /// What the proxy says is wrong with it, or that it cannot be reached.
    pub(crate) fn ask(&self, method: &Method, path: &str, content: Option<&Value>) -> anyhow::Result<Value> {
        let content = content.map(Value::to_string).unwrap_or_default();
        let (status, reply) = match self {
            Self::Proxy(socket) => exchange(socket, method, path, &content)
                .with_context(|| format!("asking the bentpipe at {}", socket.display()))?,
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

/// The control sockets of this user's proxies that answer, with their ports.
fn sockets() -> Vec<(u16, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(socket::folder()) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let named = paths
        .filter_map(|path| Some((path.file_name()?.to_str()?.strip_suffix(".sock")?.parse().ok()?, path)));
    named.filter(|(_, path)| UnixStream::connect(path).is_ok()).collect()
}

fn choose(mut running: Vec<(u16, PathBuf)>, listen: Option<&SocketAddr>) -> anyhow::Result<PathBuf> {
    if running.len() > 1 {
        let ports = running.iter().map(|(port, _)| port.to_string()).collect::<Vec<_>>().join(", ");
        running.retain(|(port, _)| listen.is_some_and(|listen| listen.port() == *port));
        if running.is_empty() {
            bail!("several bentpipes are running, on ports {ports}: say which with --listen 127.0.0.1:PORT");
        }
    }
    match running.pop() {
        Some((_, path)) => Ok(path),
        None => bail!("no bentpipe of yours is running; start one with: bentpipe"),
    }
}

/// One request and its whole response over a socket. HTTP/1.0, so that the response ends with the connection.
fn exchange(
    socket: &std::path::Path,
    method: &Method,
    path: &str,
    content: &str,
) -> anyhow::Result<(StatusCode, Value)> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
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

    fn check(ports: &[u16], listen: &str, expected: Option<u16>) {
        let running = ports.iter().map(|port| (*port, PathBuf::from(format!("{port}.sock")))).collect();
        let listen = listen.parse().expect("an address");
        let chosen = choose(running, Some(&listen)).ok();
        assert_eq!(chosen, expected.map(|port| PathBuf::from(format!("{port}.sock"))), "{ports:?}");
    }

    #[test]
    fn the_only_proxy_is_meant_and_of_several_the_one_on_the_port() {
        check(&[], "127.0.0.1:3128", None);
        check(&[4000], "127.0.0.1:3128", Some(4000));
        check(&[4000, 3128], "127.0.0.1:3128", Some(3128));
        check(&[4000, 5000], "127.0.0.1:3128", None);
    }
}
