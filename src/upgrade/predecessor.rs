//! The process before this one, as seen from the new one: what it hands over, when it makes way, and what it still has to
//! say. Alone is how most processes start; then there is nothing of this.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bentpipe_store::Store;
use rfc9111::CacheKey;
use tokio::time::timeout;

use super::portion::Portion;
use super::program::MARK;
use super::sockets::Inherited;
use super::talk::{Talk, Word};

/// The process before this one.
#[derive(Debug)]
pub(crate) struct Predecessor {
    talk: Talk,
    /// Where what is said to the operator is to go; until all is well it goes to the predecessor.
    standard_error: Option<OwnedFd>,
}

/// How long what is handed over, and the last word of it, may take. The predecessor has nothing to wait for then.
const PROMPTLY: Duration = Duration::from_secs(10);

impl Predecessor {
    /// The process that started this one in its place, and the sockets it hands over; none if there is none.
    ///
    /// # Errors
    /// If what it says is not to be understood.
    pub(crate) async fn meet() -> anyhow::Result<Option<(Self, Inherited)>> {
        if std::env::var_os(MARK).is_none() {
            return Ok(None);
        }
        let end = std::io::stdin().as_fd().try_clone_to_owned()?;
        let Ok(talk) = Talk::over(end) else {
            // Whatever this process starts inherits the mark, but not the predecessor.
            return Ok(None);
        };
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        let handed = timeout(PROMPTLY, Self::hear_all(talk)).await;
        handed.context("the process to take over from says nothing")?.map(Some)
    }

    async fn hear_all(talk: Talk) -> anyhow::Result<(Self, Inherited)> {
        let (mut sockets, mut standard_error) = (Inherited::default(), None);
        loop {
            match talk.hear().await? {
                Some((Word::Socket(label), Some(socket))) => sockets.add(label, socket),
                Some((Word::StandardError, Some(to))) => standard_error = Some(to),
                Some((Word::Begin, _)) => return Ok((Self { talk, standard_error }, sockets)),
                Some(_) => bail!("the process to take over from says something else than was expected"),
                None => bail!("the process to take over from is gone"),
            }
        }
    }

    /// Says that all is well here, and waits until the cache folder is free.
    pub(crate) async fn make_way(&self) {
        if self.talk.say(&Word::Ready).await.is_err() {
            tracing::warn!("the process to take over from is gone");
            return;
        }
        loop {
            match self.talk.hear().await {
                Ok(Some((Word::Open, _))) => return,
                Ok(Some(_)) => {}
                // Its sockets are here: somebody has to serve.
                Ok(None) | Err(_) => return tracing::warn!("the process to take over from is gone"),
            }
        }
    }

    /// Says that requests are answered here, and commands taken at `control`. From then on the predecessor finishes what it has begun, and tells what has
    /// to be invalidated in `store`, and has a part of the link. Ready when this is the main process for the service manager, too.
    pub(crate) async fn take_over(self, store: Store, portion: Portion, control: Option<PathBuf>) {
        let Self { talk, standard_error } = self;
        if let Some(Err(error)) = standard_error.map(rustix::stdio::dup2_stderr) {
            tracing::debug!(%error, "standard error stays with the process before");
        }
        let version = env!("CARGO_PKG_VERSION").to_owned();
        if talk.say(&Word::Serving { version, control }).await.is_err() {
            return;
        }
        let main = async {
            loop {
                match talk.hear().await {
                    Ok(Some((Word::Invalidate { key }, _))) => invalidate(&store, &key).await,
                    Ok(Some((Word::Main, _)) | None) | Err(_) => return,
                    Ok(Some(_)) => {}
                }
            }
        };
        let _ = timeout(PROMPTLY, main).await;
        tokio::spawn(listen(talk, store, portion));
    }
}

/// Hears the predecessor out.
async fn listen(talk: Talk, store: Store, portion: Portion) {
    while let Ok(Some((word, _))) = talk.hear().await {
        match word {
            Word::Invalidate { key } => invalidate(&store, &key).await,
            Word::Users(users) => {
                let _ = talk.say(&Word::Portion(portion.leave_to(users))).await;
            }
            _ => {}
        }
    }
    portion.leave_to(0);
    tracing::info!("the process before this one has finished");
}

async fn invalidate(store: &Store, key: &str) {
    let (store, key) = (store.clone(), CacheKey::from_normal_form(key));
    let dropped = tokio::task::spawn_blocking(move || store.invalidate(&key)).await;
    tracing::debug!(?dropped, "invalidated by the process before");
}
