//! The Unix socket on which a running proxy takes commands: where it is, who may use it (its owner), and serving it.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::{Admin, api};
use crate::config::Control;

/// A listening control socket; its file goes when it is dropped.
pub(crate) struct Socket {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Socket {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
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

/// Listens for commands where `control` says, for a proxy whose clients connect to `addresses`; nowhere if it is off.
///
/// # Errors
/// If the socket cannot be made, or another proxy answers on it.
pub(crate) async fn listen(
    control: &Control,
    addresses: &[SocketAddr],
    admin: Arc<Admin>,
) -> anyhow::Result<Option<Socket>> {
    let path = match control {
        Control::Off => return Ok(None),
        Control::Path(path) => path.clone(),
        Control::Auto => {
            let folder = folder();
            private(&folder).with_context(|| format!("control.socket: {}", folder.display()))?;
            let port = addresses.first().map_or(0, SocketAddr::port);
            folder.join(format!("{port}.sock"))
        }
    };
    let listener = bind(&path).await.with_context(|| format!("control.socket = {:?}", path.display()))?;
    let task = tokio::spawn(serve(listener, admin));
    Ok(Some(Socket { path, task }))
}

/// Makes a folder that only its owner may enter, or checks that it is one: somebody else's could lead commands to
/// their own socket.
fn private(folder: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let metadata = std::fs::symlink_metadata(folder)?;
    let owner = std::os::unix::fs::MetadataExt::uid(&metadata);
    let open_to_others = metadata.permissions().mode() & 0o077 != 0;
    if !metadata.is_dir() || owner != rustix::process::getuid().as_raw() || open_to_others {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "must be a folder of your own with mode 0700",
        ));
    }
    Ok(())
}

/// Binds `path`, in place of a socket that a proxy left behind when it was killed.
async fn bind(path: &Path) -> io::Result<UnixListener> {
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
    Ok(listener)
}

/// Connections that are served at once; more wait in the system's queue.
const MAX_CONNECTIONS: usize = 64;

/// How long a client may take to send the head of a command, and as long for its content.
const PATIENCE: Duration = Duration::from_secs(10);

async fn serve(listener: UnixListener, admin: Arc<Admin>) {
    let limit = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let permit = limit.clone().acquire_owned().await;
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        let admin = admin.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| command(request, &admin));
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = served.await {
                tracing::debug!(%error, "a control connection ended");
            }
            drop(permit);
        });
    }
}

/// Bytes of a command's content.
const MAX_CONTENT: usize = 64 * 1024;

async fn command(request: Request<Incoming>, admin: &Arc<Admin>) -> Result<Response<Full<Bytes>>, Late> {
    let (parts, body) = request.into_parts();
    let (status, reply) = match collect(body).await? {
        Some(content) => {
            // Files may be read for it, and whoever is served meanwhile must not wait for that.
            let (admin, method, path) = (admin.clone(), parts.method, parts.uri.path().to_owned());
            let work = move || api::answer(&admin, &method, &path, &content);
            tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
                (StatusCode::INTERNAL_SERVER_ERROR, serde_json::json!({ "error": "the command failed" }))
            })
        }
        None => (StatusCode::PAYLOAD_TOO_LARGE, serde_json::json!({ "error": "the content is too large" })),
    };
    let mut response = Response::new(Full::new(api::content(&reply)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// A command's content did not arrive in time; its connection is dropped.
#[derive(Debug, thiserror::Error)]
#[error("the content of a command did not arrive in time")]
struct Late;

/// The content of a command; none if it is too large or breaks off.
async fn collect(body: impl Body<Data = Bytes, Error: Into<BoxError>>) -> Result<Option<Bytes>, Late> {
    let collected = tokio::time::timeout(PATIENCE, Limited::new(body, MAX_CONTENT).collect()).await;
    collected.map(|content| content.ok().map(Collected::to_bytes)).map_err(|_| Late)
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use super::*;

    struct Silent;

    impl Body for Silent {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<io::Result<http_body::Frame<Bytes>>>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn content_that_does_not_arrive_is_not_waited_for() {
        let begun = tokio::time::Instant::now();
        assert!(matches!(collect(Silent).await, Err(Late)));
        assert_eq!(begun.elapsed(), PATIENCE);
    }

    #[tokio::test]
    async fn content_is_limited() {
        let full = |length| Full::new(Bytes::from(vec![b' '; length]));
        assert_eq!(collect(full(MAX_CONTENT)).await.unwrap().map(|content| content.len()), Some(MAX_CONTENT));
        assert!(collect(full(MAX_CONTENT + 1)).await.unwrap().is_none());
    }
}
