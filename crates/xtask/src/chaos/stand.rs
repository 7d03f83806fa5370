//! What a scenario works with: a cache folder, the origin, bentpipe as a process on them, and clients that compare
//! every byte with what the origin has.
//!
//! An answer is right, failed (an error, or a part with an honest end) or wrong (bytes the origin never had, or a
//! part that pretends to be whole). It does not judge whether a failure was due: the scenario does.

use std::fmt;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use testkit::{Client, Request, Response, client};
use tokio::task::JoinSet;

use super::Bench;
use super::row::Row;
use super::source::{Source, body};
use crate::program::{Program, free_port, serving};

/// Longer than any answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Clients that ask at the same time when many objects are asked for.
const CLIENTS: usize = 8;

/// One origin, one cache folder, and the processes that use them one after the other.
#[derive(Debug)]
pub(super) struct Stand {
    /// The origin.
    pub(super) source: Arc<Source>,
    /// The cache folder.
    pub(super) folder: PathBuf,
    /// Further arguments of bentpipe.
    pub(super) arguments: Vec<String>,
    /// Further environment of bentpipe.
    pub(super) environment: Vec<(String, String)>,
    /// The user bentpipe runs as, where it is not ours.
    pub(super) user: Option<u32>,
    binary: PathBuf,
    complaints: Vec<String>,
    own: Option<tempfile::TempDir>,
}

/// Asks one bentpipe for objects of one origin. Clones ask the same.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    source: Arc<Source>,
    proxy: SocketAddr,
}

/// What came of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// The whole body as the origin has it.
    Right,
    /// No answer, an error, or a beginning of the body that ends as cut off.
    Failed(String),
    /// Bytes the origin does not have, or a part that pretends to be the whole.
    Wrong(String),
}

/// What came of many requests.
#[derive(Clone, Default, Debug)]
pub(super) struct Tally {
    /// How many were asked.
    pub(super) asked: usize,
    /// Paths answered without asking the origin.
    pub(super) hits: Vec<String>,
    /// Failed answers.
    pub(super) failed: Vec<String>,
    /// Wrong answers.
    pub(super) wrong: Vec<String>,
}

impl Stand {
    /// A stand with an empty cache folder of its own.
    ///
    /// # Errors
    /// Those of the folder and of the origin's port.
    pub(super) async fn new(bench: &Bench) -> anyhow::Result<Self> {
        let own = tempfile::tempdir()?;
        let folder = own.path().join("cache");
        Ok(Self { own: Some(own), ..Self::on(bench, folder).await? })
    }

    /// A stand whose cache folder is `folder`.
    ///
    /// # Errors
    /// Those of the origin's port.
    pub(super) async fn on(bench: &Bench, folder: PathBuf) -> anyhow::Result<Self> {
        Ok(Self {
            source: Arc::new(Source::start().await?),
            folder,
            arguments: Vec::new(),
            environment: Vec::new(),
            user: None,
            binary: bench.binary.clone(),
            complaints: Vec::new(),
            own: None,
        })
    }

    /// The folder that belongs to this stand alone, for files beside the cache folder.
    ///
    /// # Errors
    /// When the stand was given a folder of somebody else.
    pub(super) fn own(&self) -> anyhow::Result<&Path> {
        self.own.as_ref().map(tempfile::TempDir::path).context("the stand has no folder of its own")
    }

    /// Starts bentpipe and waits until it answers.
    ///
    /// # Errors
    /// When it does not come up.
    pub(super) async fn start(&self) -> anyhow::Result<Program> {
        // A port that was free may have been taken meanwhile, by another scenario as likely as not.
        for _ in 0..5 {
            match self.start_once().await {
                Err(error) if why(&error).contains("Address already in use") => {}
                outcome => return outcome,
            }
        }
        self.start_once().await
    }

    async fn start_once(&self) -> anyhow::Result<Program> {
        let address = free_port()?;
        let mut command = Command::new(&self.binary);
        command.args(serving(address, &self.folder)).args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        // Nobody's own configuration is meant; it may not even be readable to the user it runs as.
        command.env("HOME", &self.folder).env_remove("XDG_CONFIG_HOME").env_remove(super::NAMESPACE);
        let mut program = Program::start(command, address).await?;
        // It listens before it has looked at its folder. What is asked here is refused, and stored nowhere.
        let asked = async { Client::connect(address).await?.request(&Request::new("GET", "/")).await };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(_)) => Ok(program),
            _ => {
                // It may be about to say why.
                tokio::time::sleep(Duration::from_millis(200)).await;
                program.kill()?;
                bail!("it did not come up: {}", program.said()?)
            }
        }
    }

    /// Who asks `program` for objects of the origin.
    pub(super) fn asker(&self, program: &Program) -> Asker {
        Asker { source: Arc::clone(&self.source), proxy: program.address() }
    }

    /// Ends it as `kill -9` does.
    ///
    /// # Errors
    /// Those of the signal.
    pub(super) fn kill(&mut self, mut program: Program) -> anyhow::Result<Instant> {
        self.listen_to(&mut program)?;
        let moment = Instant::now();
        program.kill()?;
        Ok(moment)
    }

    /// Ends it with SIGTERM and waits until it is gone; returns how long that took.
    ///
    /// # Errors
    /// When it does not end.
    pub(super) async fn terminate(&mut self, mut program: Program) -> anyhow::Result<Duration> {
        let start = Instant::now();
        let id = i32::try_from(program.id()).ok().and_then(Pid::from_raw).context("no process")?;
        kill_process(id, Signal::TERM)?;
        let status = loop {
            if let Some(status) = program.ended()? {
                break status;
            }
            ensure!(start.elapsed() < PATIENCE, "SIGTERM does not end it");
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        self.gather(&program)?;
        if !status.success() {
            self.complaints.push(format!("after SIGTERM it ended with {status}"));
        }
        Ok(start.elapsed())
    }

    /// Notes what a process says that none should, and whether it is gone.
    ///
    /// # Errors
    /// Those of asking.
    pub(super) fn listen_to(&mut self, program: &mut Program) -> anyhow::Result<()> {
        if let Some(status) = program.ended()? {
            self.complaints.push(format!("the process ended by itself: {status}"));
        }
        self.gather(program)
    }

    /// Tells `row` whether every process stayed up and panicked nowhere.
    pub(super) fn report_panics(&self, row: &mut Row) {
        row.none_of("panics or exits", &self.complaints);
    }

    /// Takes over what was noted of the processes of another stand, which this one follows.
    pub(super) fn follow(&mut self, other: &mut Self) {
        self.complaints.append(&mut other.complaints);
    }

    fn gather(&mut self, program: &Program) -> anyhow::Result<()> {
        let said = program.said()?;
        let lines = said.lines().filter(|line| line.contains("panicked at"));
        self.complaints.extend(lines.map(str::to_owned));
        Ok(())
    }
}

impl Asker {
    /// Asks for `path` and compares what comes.
    pub(super) async fn ask(&self, path: &str) -> Answer {
        let url = self.source.url(path);
        match tokio::time::timeout(PATIENCE, client::get(self.proxy, &url)).await {
            Ok(Ok(response)) => judge(&response, &body(path)),
            Ok(Err(error)) => Answer::Failed(error.to_string()),
            Err(_) => Answer::Failed(format!("no answer in {PATIENCE:?}")),
        }
    }

    /// Asks for `path`; also says whether the origin was left in peace.
    pub(super) async fn ask_for_hit(&self, path: &str) -> (Answer, bool) {
        let before = self.source.asked(path);
        let answer = self.ask(path).await;
        let is_hit = answer == Answer::Right && self.source.asked(path) == before;
        (answer, is_hit)
    }

    /// Asks for every one of `paths`, several at a time.
    pub(super) async fn ask_all(&self, paths: &[String]) -> Tally {
        let (next, paths): (_, Arc<[String]>) = (Arc::new(AtomicUsize::new(0)), paths.into());
        let mut workers = JoinSet::new();
        for _ in 0..CLIENTS {
            let (asker, next, paths) = (self.clone(), Arc::clone(&next), Arc::clone(&paths));
            workers.spawn(async move {
                let mut tally = Tally::default();
                while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (answer, is_hit) = asker.ask_for_hit(path).await;
                    tally.add(path, answer, is_hit);
                }
                tally
            });
        }
        let tallies = workers.join_all().await;
        tallies.into_iter().fold(Tally::default(), Tally::merge)
    }
}

impl Tally {
    /// Counts one answer.
    pub(super) fn add(&mut self, path: &str, answer: Answer, is_hit: bool) {
        self.asked += 1;
        match answer {
            Answer::Right if is_hit => self.hits.push(path.to_owned()),
            Answer::Right => {}
            Answer::Failed(what) => self.failed.push(format!("{path}: {what}")),
            Answer::Wrong(what) => self.wrong.push(format!("{path}: {what}")),
        }
    }

    /// Both together.
    pub(super) fn merge(mut self, other: Self) -> Self {
        self.asked += other.asked;
        self.hits.extend(other.hits);
        self.failed.extend(other.failed);
        self.wrong.extend(other.wrong);
        self
    }

    /// Writes before every fault what was going on.
    pub(super) fn labelled(mut self, label: impl fmt::Display) -> Self {
        let faults = self.failed.iter_mut().chain(&mut self.wrong);
        faults.for_each(|fault| *fault = format!("[{label}] {fault}"));
        self
    }

    /// Tells `row` that nothing was wrong and nothing failed.
    pub(super) fn report(&self, row: &mut Row) {
        row.none_of("wrong", &self.wrong);
        row.none_of("failed", &self.failed);
    }
}

/// Where the processes of a scenario leave a file to be seen: the names in `folder`, none when there is no such folder.
pub(super) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The last line of what a process said when it did not start: that is where the reason stands.
pub(super) fn why(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let told = text.lines().rev().find(|line| !line.trim().is_empty() && !line.starts_with("note:"));
    told.unwrap_or_default().to_owned()
}

fn judge(answer: &Response, expected: &[u8]) -> Answer {
    let length = answer.body.len();
    match answer.status {
        200 if answer.is_whole() && answer.body == expected => Answer::Right,
        200 if !answer.is_whole() && expected.starts_with(&answer.body) => {
            Answer::Failed(format!("broke off after {length} of {} bytes", expected.len()))
        }
        200 => {
            let same = answer.body.iter().zip(expected).take_while(|(one, other)| one == other).count();
            let whole = if answer.is_whole() { "whole" } else { "cut" };
            Answer::Wrong(format!("{whole}, {length} of {} bytes, {same} right", expected.len()))
        }
        _ => Answer::Failed(answer.status_line.clone()),
    }
}
