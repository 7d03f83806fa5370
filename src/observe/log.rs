//! The access log: a reader that hands each line to a thread of its own, which writes it to a file or to standard
//! output. A log that cannot keep up, or a full disk, loses lines and says how many; it never holds a request up.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::line::Lines;
use super::lost::Lost;
use super::output::Output;
use super::sample::Sampler;
use super::url::Urls;
use crate::clock::Clock;
use crate::config::{AccessLog as Destination, LogConfig};
use crate::exchange::{Details, Reader, Record};

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

/// Writes a line for every exchange, or for some.
pub(crate) struct AccessLog {
    form: Lines,
    sampler: Sampler,
    reopen: Reopen,
    /// None once closed, which ends the thread.
    lines: Option<SyncSender<String>>,
    lost: Arc<Lost>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl AccessLog {
    /// Opens the log that `config` asks for; none if it is off. How old its file is, `clock` tells.
    ///
    /// # Errors
    /// If the file cannot be opened for appending or the thread cannot be started.
    pub(crate) fn open(config: &LogConfig, clock: Clock) -> io::Result<Option<Self>> {
        let path = match &config.access {
            Destination::Off => return Ok(None),
            Destination::Stdout => None,
            Destination::File(path) => Some(path.as_path()),
        };
        let lost = Arc::new(Lost::default());
        let output = Output::open(path, config.rotation, lost.clone(), clock)?;
        let (lines, received) = sync_channel(QUEUE);
        let reopen = Reopen::default();
        let asked = reopen.clone();
        let writing = move || write(&received, output, &asked);
        let thread = std::thread::Builder::new().name("access-log".into()).spawn(writing)?;
        Ok(Some(Self {
            form: Lines::new(config.format, Urls::new(config.query)),
            sampler: Sampler::new(config.sampling),
            reopen,
            lines: Some(lines),
            lost,
            thread: Mutex::new(Some(thread)),
        }))
    }

    /// For whoever is told to have it opened anew.
    pub(crate) fn reopen(&self) -> Reopen {
        self.reopen.clone()
    }

    /// How many lines were lost, for whoever wants to tell.
    pub(crate) fn lost(&self) -> Arc<Lost> {
        self.lost.clone()
    }
}

impl Reader for AccessLog {
    fn read(&self, record: &Record, details: &Details) {
        let share = self.sampler.is_on().then(|| self.sampler.share(details));
        if share.is_some_and(|share| !self.sampler.takes(record.number, share)) {
            return;
        }
        let text = self.form.write(record, details, share);
        let taken = self.lines.as_ref().is_some_and(|lines| lines.try_send(text).is_ok());
        if !taken {
            self.lost.count(1, "it cannot keep up");
        }
    }

    fn wants_told(&self) -> bool {
        self.form.wants_told()
    }
}

/// A log that goes on under another configuration.
impl Reader for Arc<AccessLog> {
    fn read(&self, record: &Record, details: &Details) {
        AccessLog::read(self, record, details);
    }

    fn wants_told(&self) -> bool {
        AccessLog::wants_told(self)
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

/// Lines that are written before a little is compressed all the same, where they never end.
const IN_A_ROW: usize = 4096;

/// Writes lines until the log is closed. Whenever there is nothing more to write it flushes, and then compresses what was
/// set aside, a little at a time.
fn write(lines: &Receiver<String>, mut output: Output, reopen: &Reopen) {
    let mut in_a_row = 0;
    loop {
        let line = match lines.try_recv() {
            Ok(line) if in_a_row < IN_A_ROW => line,
            Ok(line) => {
                in_a_row = 0;
                output.compress_a_little();
                line
            }
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                in_a_row = 0;
                output.flush();
                if output.compress_a_little() {
                    continue;
                }
                let Ok(line) = lines.recv() else { break };
                line
            }
        };
        in_a_row += 1;
        if reopen.take() {
            output.reopen();
        }
        output.write(&line);
    }
    output.close();
}
