//! The Unix socket on which a running proxy takes commands: where it is, and who may use it: its owner, and the members
//! of a group if there is to be one.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::serving::{self, Entry};
use super::{Admin, who};
use crate::config::{Config, Control};
use crate::upgrade::sockets::{Held, Inherited, Label, Purpose};

/// A listening control socket; its file goes when it is dropped.
pub(crate) struct Socket {
    path: PathBuf,
    task: JoinHandle<()>,
    limit: Arc<Semaphore>,
    /// For the process after this one.
    held: Held,
    /// Whether the file is another's: of a service manager, or of the process that has taken over.
    is_others: bool,
}

impl Socket {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What it listens on, for the process after this one.
    pub(crate) fn held(&self) -> &Held {
        &self.held
    }

    /// Takes no more commands, since another process takes them at `place`: when this returns, who connects reaches that.
    pub(crate) async fn hand_over(&mut self, place: Option<&Path>) {
        self.is_others |= place == Some(&self.path);
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// Waits a little until the commands that were taken are answered.
    pub(crate) async fn answered(&self) {
        let _ = tokio::time::timeout(LAST_ANSWERS, self.limit.acquire_many(MAX_CONNECTIONS)).await;
    }
}

/// How long answers to the last commands may take.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
        if !self.is_others {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The folder of the control sockets of this user's proxies, one a port: `$XDG_RUNTIME_DIR/bentpipe`, else
/// `/run/bentpipe` for root, else a private one among the temporary files.
pub(crate) fn folder() -> PathBuf {
    let user = rustix::process::getuid();
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder).join("bentpipe"),
        None if user.is_root() => PathBuf::from("/run/bentpipe"),
        None => std::env::temp_dir().join(format!("bentpipe-{}", user.as_raw())),
    }
}

/// The socket of the proxy whose clients connect to `port`, in the `folder` of all of them.
fn of_port(folder: &Path, port: u16) -> PathBuf {
    folder.join(format!("{port}.sock"))
}

/// The socket of a proxy of this user's that takes commands, of those that `config` would have; none if none answers.
pub(crate) fn another(config: &Config) -> Option<PathBuf> {
    let of_port = |address: &SocketAddr| of_port(&folder(), address.port());
    let named = match &config.control {
        Control::Path(path) => Some(path.clone()),
        Control::Auto | Control::Off => None,
    };
    let mut places = config.listen.iter().map(of_port).chain(named);
    places.find(|path| std::os::unix::net::UnixStream::connect(path).is_ok())
}

/// Listens for commands where `config` says, for a proxy whose clients connect to `addresses`; nowhere if it is off. A
/// socket that was `inherited` for this place is taken over.
///
/// # Errors
/// If the socket cannot be made, or another proxy answers on it.
pub(crate) async fn listen(
    config: &Config,
    addresses: &[SocketAddr],
    admin: Arc<Admin>,
    inherited: &mut Inherited,
) -> anyhow::Result<Option<Socket>> {
    let group = config.admin.group.as_deref().map(who::group_number).transpose();
    let group = group.map_err(|reason| anyhow::anyhow!("control.group: {reason}"))?;
    let path = match &config.control {
        Control::Off => return Ok(None),
        Control::Path(path) => path.clone(),
        Control::Auto => {
            let folder = folder();
            private(&folder, group).with_context(|| format!("control.socket: {}", folder.display()))?;
            let port = addresses.first().map_or(0, SocketAddr::port);
            of_port(&folder, port)
        }
    };
    let cannot = || format!("control.socket = {:?}", path.display());
    let place = path.to_string_lossy().into_owned();
    let (label, listener) = match inherited.take(Purpose::Control, &place) {
        Some((label, socket)) => (label, taken_over(socket.into()).with_context(cannot)?),
        None => {
            let label = Label { purpose: Purpose::Control, place, is_activated: false };
            (label, bind(&path, group).await.with_context(cannot)?)
        }
    };
    let held = Held::of(label, listener.as_fd()).with_context(cannot)?;
    let limit = Arc::new(Semaphore::new(MAX_CONNECTIONS as usize));
    let task = tokio::spawn(serve(listener, group, admin, limit.clone()));
    Ok(Some(Socket { path, is_others: held.is_activated(), held, task, limit }))
}

fn taken_over(socket: std::os::unix::net::UnixListener) -> io::Result<UnixListener> {
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket)
}

/// Makes a folder that only its owner may enter, or checks that it is one: somebody else's could lead commands to
/// their own socket. The members of `group` may enter, too.
fn private(folder: &Path, group: Option<u32>) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    if group.is_some() {
        chown(folder, None, group)?;
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o750))?;
    }
    let metadata = std::fs::symlink_metadata(folder)?;
    let owner = std::os::unix::fs::MetadataExt::uid(&metadata);
    let open_to_others = metadata.permissions().mode() & if group.is_some() { 0o027 } else { 0o077 } != 0;
    if !metadata.is_dir() || owner != rustix::process::getuid().as_raw() || open_to_others {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "must be a folder of your own with mode 0700",
        ));
    }
    Ok(())
}

/// Binds `path`, in place of a socket that a proxy left behind when it was killed.
async fn bind(path: &Path, group: Option<u32>) -> io::Result<UnixListener> {
    if UnixStream::connect(path).await.is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another proxy takes commands there"));
    }
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if std::os::unix::fs::FileTypeExt::is_socket(&metadata.file_type()) => {
            std::fs::remove_file(path)?;
        }
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    if group.is_some() {
        // In this order: what was the group's of old is never open to it.
        chown(path, None, group)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    }
    Ok(listener)
}

/// Connections that are served at once; more wait in the system's queue.
const MAX_CONNECTIONS: u32 = 64;

async fn serve(listener: UnixListener, group: Option<u32>, admin: Arc<Admin>, limit: Arc<Semaphore>) {
    loop {
        let permit = limit.clone().acquire_owned().await;
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        let Some(who) = stream.peer_cred().ok().and_then(|peer| who::of_peer(peer, group)) else {
            tracing::warn!("somebody who may not was at the control socket");
            continue;
        };
        let admin = admin.clone();
        tokio::spawn(async move {
            serving::serve(stream, &Entry::Socket(who), &admin).await;
            drop(permit);
        });
    }
}
