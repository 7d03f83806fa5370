//! The process after this one, as seen from the old one: started, given the sockets, waited for, and given up if it does
//! not come up. What this process does meanwhile is its own affair.

use std::collections::VecDeque;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rfc9111::CacheKey;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, ChildStderr};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};

use super::portion::{Portion, TURN};
use super::program::Program;
use super::sockets::Held;
use super::talk::{Talk, Word};

/// A process that is to take over. It is killed when this is dropped before it has.
#[derive(Debug)]
pub(super) struct Candidate {
    child: Child,
    talk: Talk,
    said: Said,
    reading: JoinHandle<()>,
    has_taken_over: bool,
}

/// A process that has taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Successor {
    /// Its number.
    pub(crate) process: u32,
    /// The version of its program.
    pub(crate) version: String,
    /// Where it takes commands.
    pub(crate) control: Option<PathBuf>,
}

/// How long a process that has ended may take until all it said was read.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Candidate {
    /// Starts `path` as `program` was, and hands it `sockets`.
    ///
    /// # Errors
    /// Why it cannot be, for people.
    pub(super) async fn start(program: &Program, path: &Path, sockets: &[Held]) -> Result<Self, String> {
        let cannot = |error: std::io::Error| format!("{} cannot be started: {error}", path.display());
        let (talk, end) = Talk::pair().map_err(cannot)?;
        let mut command = program.command(path);
        command.stdin(Stdio::from(end)).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(cannot)?;
        // The command keeps the other end.
        drop(command);
        let said = Said::default();
        let reading = tokio::spawn(said.clone().read(child.stderr.take()));
        let mut candidate = Self { child, talk, said, reading, has_taken_over: false };
        match candidate.hand_over(sockets).await {
            Ok(()) => Ok(candidate),
            // It has ended already, and may have said why.
            Err(error) => Err(candidate.fault(&error.to_string()).await),
        }
    }

    async fn hand_over(&self, sockets: &[Held]) -> std::io::Result<()> {
        for (label, socket) in sockets.iter().map(Held::parts) {
            self.talk.hand(&Word::Socket(label.clone()), socket).await?;
        }
        self.talk.hand(&Word::StandardError, std::io::stderr().as_fd()).await?;
        self.talk.say(&Word::Begin).await
    }

    /// Waits until all is well with it, but for the cache folder.
    ///
    /// # Errors
    /// Why it will not come up, for people.
    pub(super) async fn ready(&mut self, patience: Duration) -> Result<(), String> {
        self.hear(patience, |word| (word == Word::Ready).then_some(())).await
    }

    /// Gives it the cache folder and waits until it answers requests.
    ///
    /// # Errors
    /// Why it does not, for people.
    pub(super) async fn take_over(&mut self, patience: Duration) -> Result<Successor, String> {
        // If it is gone, that shows in what is heard.
        let _ = self.talk.say(&Word::Open).await;
        let serving = self.hear(patience, |word| match word {
            Word::Serving { version, control } => Some((version, control)),
            _ => None,
        });
        let (version, control) = serving.await?;
        self.has_taken_over = true;
        Ok(Successor { process: self.child.id().unwrap_or_default(), version, control })
    }

    /// Stays in touch with it, which has taken over, as long as this process lives: what comes from `owed` it is to
    /// invalidate, and the link is divided. What is returned is ready when `owed` has come to its end and all of it is said.
    pub(super) async fn part(
        mut self,
        mut owed: Option<mpsc::Receiver<CacheKey>>,
        portion: Portion,
    ) -> JoinHandle<()> {
        // If it is gone, that shows at once.
        let _ = self.talk.say(&Word::Main).await;
        let mut turns = interval(TURN);
        tokio::spawn(async move {
            loop {
                let key = async {
                    match &mut owed {
                        Some(owed) => owed.recv().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    key = key => {
                        let Some(key) = key else { return };
                        let key = key.as_str().to_owned();
                        let _ = self.talk.say(&Word::Invalidate { key }).await;
                    }
                    _ = turns.tick() => {
                        let _ = self.talk.say(&Word::Users(portion.users())).await;
                    }
                    Ok(Some((Word::Portion(left), _))) = self.talk.hear() => portion.is_left(left),
                    ended = self.child.wait() => {
                        // One after it may have taken over.
                        if !ended.is_ok_and(|status| status.success()) {
                            tracing::warn!("the process that took over has ended in bad order");
                        }
                        return;
                    }
                }
            }
        })
    }

    /// Ends it; when this returns, all it held is free.
    pub(super) async fn end(&mut self) {
        let _ = self.child.start_kill();
        let _ = self.child.wait().await;
    }

    async fn hear<T>(&mut self, patience: Duration, is_it: impl Fn(Word) -> Option<T>) -> Result<T, String> {
        let heard = async {
            loop {
                let Ok(Some((word, _))) = self.talk.hear().await else { return None };
                let told = is_it(word);
                if told.is_some() {
                    return told;
                }
            }
        };
        match timeout(patience, heard).await {
            Ok(Some(told)) => Ok(told),
            Ok(None) => Err(self.fault("it hung up").await),
            Err(_) => {
                let silent = format!("nothing was heard of it for {} s", patience.as_secs_f64());
                self.end().await;
                Err(self.fault(&silent).await)
            }
        }
    }

    /// What to say of it after `what` went wrong: how it ended, and its last words.
    async fn fault(&mut self, what: &str) -> String {
        let ended = timeout(LAST_WORDS, self.child.wait()).await;
        let was_silent = what.starts_with("nothing");
        let how = match ended {
            Ok(Ok(status)) if !was_silent => format!("it ended ({status})"),
            _ => what.to_owned(),
        };
        self.end().await;
        let _ = timeout(LAST_WORDS, &mut self.reading).await;
        match self.said.text() {
            said if said.is_empty() => format!("the new process did not take over: {how}"),
            said => format!("the new process did not take over: {how}; it said:\n{said}"),
        }
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        if !self.has_taken_over {
            let _ = self.child.start_kill();
        }
    }
}

/// The last of what a process says to its operator, who is ours, too.
#[derive(Clone, Debug, Default)]
struct Said(Arc<Mutex<VecDeque<u8>>>);

/// Bytes of it that are repeated to who asked for the upgrade.
const REMEMBERED: usize = 4096;
/// Pieces of it, of 4 KiB at most, that are written where we write, too: enough for all that a process says before it
/// answers requests.
const REPEATED: usize = 16;

impl Said {
    async fn read(self, from: Option<ChildStderr>) {
        let Some(mut from) = from else { return };
        let mut bytes = [0; 4096];
        let mut left = REPEATED;
        // A thread of its own: whoever is to read what we write may not do so.
        let (repeated, to_repeat) = std::sync::mpsc::sync_channel::<Vec<u8>>(REPEATED);
        let repeat = move || to_repeat.iter().try_for_each(|said| std::io::stderr().write_all(&said));
        let _ = std::thread::Builder::new().name("new-process".to_owned()).spawn(repeat);
        while let Ok(length @ 1..) = from.read(&mut bytes).await {
            let said = &mut bytes[..length];
            // It says what it is told by others, and may not be the program that it was taken for.
            let is_odd = |byte: &u8| byte.is_ascii_control() && !matches!(byte, b'\n' | b'\t');
            said.iter_mut().filter(|byte| is_odd(byte)).for_each(|byte| *byte = b'?');
            if left > 0 {
                left -= 1;
                let _ = repeated.try_send(said.to_vec());
            }
            let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            last.extend(&*said);
            let excess = last.len().saturating_sub(REMEMBERED);
            last.drain(..excess);
        }
    }

    fn text(&self) -> String {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(last.make_contiguous()).trim().to_owned()
    }
}
