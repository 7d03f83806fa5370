//! Another process takes over, and no connection is dropped. This process starts it, hands it the listening sockets, waits
//! until it is ready, gives it the cache folder, and finishes what it has begun. Whatever goes wrong before the other one
//! answers requests, this one goes on as if nothing had happened.
//!
//! Both accept for a moment, from the same queue: no client waits for the change. In between responses are not stored.
//! Accepting and draining are `serve`'s; this says when.

mod portion;
mod predecessor;
mod program;
pub(crate) mod sockets;
mod successor;
mod talk;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bentpipe_store::{Error, Store};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub(crate) use portion::Portion;
pub(crate) use predecessor::Predecessor;
pub(crate) use program::Program;
use sockets::{Held, Inherited};
use successor::Candidate;
pub(crate) use successor::Successor;

use crate::systemd;

/// What a process has from others when it starts.
#[derive(Debug, Default)]
pub(crate) struct Inheritance {
    /// Sockets that listen already.
    pub(crate) sockets: Inherited,
    /// The process whose place it takes.
    pub(crate) predecessor: Option<Predecessor>,
}

impl Inheritance {
    /// What this process has: from a service manager, or from the process before it.
    ///
    /// # Errors
    /// If there is one, and it is not to be understood.
    pub(crate) async fn of_this_process(activated: Inherited) -> anyhow::Result<Self> {
        Ok(match Predecessor::meet().await? {
            Some((predecessor, sockets)) => Self { sockets, predecessor: Some(predecessor) },
            None => Self { sockets: activated, predecessor: None },
        })
    }
}

/// How an operator's command asks for an upgrade, where somebody hears it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asking(Arc<OnceLock<mpsc::Sender<Asked>>>);

/// An upgrade that was asked for, and who waits for what comes of it.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The program; the present one if it is none.
    pub(crate) binary: Option<PathBuf>,
    answer: Option<oneshot::Sender<Outcome>>,
}

/// The process that has taken over, or why none has.
pub(crate) type Outcome = Result<Successor, String>;

impl Asking {
    /// Where it is heard, for the first who wants to. One upgrade is waited for, and one is asked for meanwhile.
    pub(crate) fn heard(&self) -> Option<mpsc::Receiver<Asked>> {
        let (asking, asked) = mpsc::channel(1);
        self.0.set(asking).ok().map(|()| asked)
    }

    /// Asks for an upgrade to `binary` and waits for what comes of it. Not to be called from a task.
    pub(crate) fn upgrade(&self, binary: Option<PathBuf>) -> Outcome {
        let (answer, answered) = oneshot::channel();
        let asked = Asked { binary, answer: Some(answer) };
        let heard =
            self.0.get().ok_or("this proxy is part of another program, which has to start the next one")?;
        heard.try_send(asked).map_err(|_| "another upgrade is under way, or this process is leaving")?;
        answered.blocking_recv().unwrap_or_else(|_| Err("this process is leaving".to_owned()))
    }
}

impl Asked {
    /// By a signal: nobody waits.
    pub(crate) fn by_signal() -> Self {
        Self { binary: None, answer: None }
    }

    /// Tells who waits.
    pub(crate) fn answer(self, outcome: &Outcome) {
        if let Some(answer) = self.answer {
            // Who has left does not want to know.
            let _ = answer.send(outcome.clone());
        }
    }
}

/// How long a process that has the folder may take to read its index. A million stored responses take some seconds.
const OPENING: Duration = Duration::from_secs(60);

/// What a process that takes over has from this one.
pub(crate) struct Estate<'a> {
    /// Where clients and commands come in.
    pub(crate) sockets: &'a [Held],
    /// The cache folder.
    pub(crate) store: &'a Store,
    /// The link.
    pub(crate) portion: &'a Portion,
}

/// Has another process take over: `binary`, or the present program as it is on the disk now. It has `patience` to come up.
/// When this returns the other one answers requests and has all of `estate`, of the link what this one does not need to
/// finish; whatever listens on its sockets here is to stop.
///
/// The handle is ready when the other one has been told all that is invalidated here, once the store is closed.
///
/// # Errors
/// Why there is none, for people. This process is as it was then.
pub(crate) async fn hand_over(
    program: &Program,
    binary: Option<&Path>,
    estate: Estate<'_>,
    patience: Duration,
) -> Result<(Successor, JoinHandle<()>), String> {
    let (path, Estate { sockets, store, portion }) = (program.path(binary), estate);
    tracing::info!(program = %path.display(), "another process is to take over");
    let mut candidate = Candidate::start(program, path, sockets).await?;
    candidate.ready(patience).await?;
    let since = Instant::now();
    let owed = match store.give_up().await {
        Ok(owed) => Some(owed),
        // Nothing is stored here: the disk takes no writes.
        Err(Error::Closed) => None,
        Err(error) => {
            return Err(back(candidate, store, format!("the cache was not given up: {error}")).await);
        }
    };
    match candidate.take_over(OPENING).await {
        Ok(successor) => {
            let not_storing = since.elapsed().as_millis();
            tracing::info!(
                process = successor.process,
                version = successor.version,
                not_storing,
                "it has taken over"
            );
            systemd::succeeded_by(successor.process);
            let parting = candidate.part(owed, portion.clone()).await;
            Ok((successor, parting))
        }
        Err(fault) => Err(back(candidate, store, fault).await),
    }
}

/// Ends `candidate`, which cannot take over, and takes the folder back; returns `why` it was.
async fn back(mut candidate: Candidate, store: &Store, why: String) -> String {
    candidate.end().await;
    match store.take_back().await {
        Ok(()) | Err(Error::Closed) => why,
        Err(error) => {
            tracing::warn!(%error, "the cache folder cannot be taken back; nothing is stored from now on");
            format!(
                "{why}; and the cache folder cannot be taken back ({error}): nothing is stored from now on"
            )
        }
    }
}
