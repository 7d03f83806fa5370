//! The access log: a reader that hands each line to a thread of its own, which writes it to a file or to standard
//! output. A log that cannot keep up, or a full disk, loses lines and says how many; it never holds a request up.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::line;
use super::url::Urls;
use crate::config::{AccessFormat, AccessLog as Destination, LogConfig};
use crate::count::Count;
use crate::exchange::{Reader, Record};

/// Lines that may wait for the disk.
const QUEUE: usize = 8192;

/// Tells a log to open its file anew, as after it was moved away.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reopen(Arc<AtomicBool>);

impl Reopen {
    /// Before the next line.
    pub(crate) fn ask(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

/// Writes a line for every exchange.
pub(crate) struct AccessLog {
    format: AccessFormat,
    urls: Urls,
    reopen: Reopen,
    /// None once closed, which ends the thread.
    lines: Option<SyncSender<String>>,
    lost: Arc<Count>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl AccessLog {
    /// Opens the log that `config` asks for; none if it is off.
    ///
    /// # Errors
    /// If the file cannot be opened for appending or the thread cannot be started.
    pub(crate) fn open(config: &LogConfig) -> io::Result<Option<Self>> {
        let path = match &config.access {
            Destination::Off => return Ok(None),
            Destination::Stdout => None,
            Destination::File(path) => Some(path.clone()),
        };
        let mut to = destination(path.as_deref())?;
        let (lines, received) = sync_channel(QUEUE);
        let reopen = Reopen::default();
        let asked = reopen.clone();
        let writing =
            move || write(&received, &mut to, || asked.take().then(|| destination(path.as_deref())));
        let thread = std::thread::Builder::new().name("access-log".into()).spawn(writing)?;
        Ok(Some(Self {
            format: config.format,
            urls: Urls::new(config.query),
            reopen,
            lines: Some(lines),
            lost: Arc::default(),
            thread: Mutex::new(Some(thread)),
        }))
    }
}

impl AccessLog {
    /// Lines that were lost.
    pub(crate) fn lost(&self) -> Arc<Count> {
        self.lost.clone()
    }

    /// For whoever is told to have it opened anew.
    pub(crate) fn reopen(&self) -> Reopen {
        self.reopen.clone()
    }
}

/// The file `path`, to append to, or standard output.
fn destination(path: Option<&Path>) -> io::Result<Output> {
    let Some(path) = path else { return Ok(BufWriter::new(Box::new(io::stdout()))) };
    let file = OpenOptions::new().create(true).append(true).open(path);
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    Ok(BufWriter::with_capacity(64 * 1024, Box::new(file.map_err(named)?)))
}

type Output = BufWriter<Box<dyn Write + Send>>;

impl Reader for AccessLog {
    fn read(&self, record: &Record) {
        let mut text = String::with_capacity(256);
        match self.format {
            AccessFormat::Squid => line::native(&mut text, record, &self.urls),
            AccessFormat::Json => line::json(&mut text, record, &self.urls),
        }
        let taken = self.lines.as_ref().is_some_and(|lines| lines.try_send(text).is_ok());
        if !taken {
            self.lost.one();
            let lost = self.lost.read();
            if lost.is_power_of_two() {
                tracing::warn!(lost, "the access log cannot keep up; lines were lost");
            }
        }
    }
}

/// A log that goes on under another configuration.
impl Reader for Arc<AccessLog> {
    fn read(&self, record: &Record) {
        AccessLog::read(self, record);
    }
}

impl Drop for AccessLog {
    /// Waits until everything is written.
    fn drop(&mut self) {
        self.lines = None;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::warn!("the access log's thread failed");
        }
    }
}

/// Writes lines until the log is closed; flushes whenever there is nothing more to write. `anew` gives another output
/// when there is to be one.
fn write(lines: &Receiver<String>, to: &mut Output, anew: impl Fn() -> Option<io::Result<Output>>) {
    let mut failing = false;
    loop {
        let line = match lines.try_recv() {
            Ok(line) => Some(line),
            Err(TryRecvError::Disconnected) => None,
            Err(TryRecvError::Empty) => {
                note(to.flush(), &mut failing);
                lines.recv().ok()
            }
        };
        let Some(line) = line else { break };
        match anew() {
            Some(Ok(output)) => {
                note(to.flush(), &mut failing);
                *to = output;
            }
            Some(Err(error)) => note(Err(error), &mut failing),
            None => {}
        }
        note(to.write_all(line.as_bytes()), &mut failing);
    }
    note(to.flush(), &mut failing);
}

/// Says once that the log fails, and once that it works again.
fn note(result: io::Result<()>, failing: &mut bool) {
    match result {
        Err(error) if !*failing => tracing::warn!(%error, "the access log cannot be written"),
        Ok(()) if *failing => tracing::info!("the access log is written again"),
        _ => return,
    }
    *failing = !*failing;
}
