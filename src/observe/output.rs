//! What the access log is written to: a file or standard output, through a buffer, and the file set aside when it is long
//! or old enough. Everything here may wait for the disk and is done by the log's own thread. A disk that is full or does
//! not answer costs the lines for which there is no room in the buffer, which are counted.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::compressing::Compressing;
use super::lost::Lost;
use super::rotation::SetAside;
use crate::clock::Clock;
use crate::config::Rotation;
use crate::named_file;

/// Where lines go.
pub(super) struct Output {
    to: To,
    /// Lines that are not written yet, of the first perhaps a part.
    buffer: Vec<u8>,
    lost: Arc<Lost>,
    failing: bool,
    clock: Clock,
}

enum To {
    Stdout,
    File(Box<Open>),
}

/// A file that is written.
struct Open {
    path: PathBuf,
    file: File,
    /// Bytes in it.
    size: u64,
    begun: SystemTime,
    rotation: Rotation,
    aside: SetAside,
    /// When setting aside is tried again, after it failed.
    again: Option<SystemTime>,
    compressing: Option<Compressing>,
    /// Whether there may be something to compress.
    look: bool,
}

/// What may wait to be written; a line that is longer may wait alone. Bytes.
const ROOM: usize = 64 * 1024;

/// How long nothing is set aside after it failed.
const PATIENCE: Duration = Duration::from_secs(60);

impl Output {
    /// The file `path`, to append to, or standard output.
    ///
    /// # Errors
    /// If the file cannot be opened for appending.
    pub(super) fn open(
        path: Option<&Path>,
        rotation: Rotation,
        lost: Arc<Lost>,
        clock: Clock,
    ) -> io::Result<Self> {
        let to = match path {
            None => To::Stdout,
            Some(path) => To::File(Box::new(Open::new(path, rotation, clock.now())?)),
        };
        Ok(Self { to, buffer: Vec::with_capacity(ROOM), lost, failing: false, clock })
    }

    /// Takes `line`, which has its line feed.
    pub(super) fn write(&mut self, line: &str) {
        self.rotate_if_due(line.len());
        if self.buffer.len() + line.len() > ROOM {
            self.flush();
        }
        if self.buffer.is_empty() || self.buffer.len() + line.len() <= ROOM {
            self.buffer.extend_from_slice(line.as_bytes());
        } else {
            self.lost.count(1, "the access log cannot be written");
        }
    }

    /// Writes down what waits, as far as that is possible.
    pub(super) fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let followed = match &mut self.to {
            To::File(open) if open.rotation.is_on() => open.follow(self.clock.now()),
            _ => Ok(()),
        };
        let written = followed.and_then(|()| self.write_down());
        self.note(written);
    }

    fn write_down(&mut self) -> io::Result<()> {
        while !self.buffer.is_empty() {
            let written = match &mut self.to {
                To::Stdout => io::stdout().lock().write(&self.buffer),
                To::File(open) => open.write(&self.buffer, self.clock.now()),
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => _ = self.buffer.drain(..written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if let To::Stdout = self.to { io::stdout().lock().flush() } else { Ok(()) }
    }

    /// Opens the file anew, as after it was moved away. What waits goes to the one that is there.
    pub(super) fn reopen(&mut self) {
        self.flush();
        if let To::File(open) = &mut self.to {
            let opened = open.reopen(self.clock.now());
            self.note(opened);
        }
    }

    fn rotate_if_due(&mut self, line: usize) {
        let To::File(open) = &self.to else { return };
        let now = self.clock.now();
        if !open.is_due(self.buffer.len() as u64, line as u64, now) {
            return;
        }
        self.flush();
        if let To::File(open) = &mut self.to
            && self.buffer.is_empty()
            && let Err(error) = open.rotate(now)
        {
            tracing::warn!(%error, "the access log's file cannot be set aside; it is written on");
            open.again = now.checked_add(PATIENCE);
        }
    }

    /// Compresses a little of what was set aside; whether there was something to do.
    pub(super) fn compress_a_little(&mut self) -> bool {
        let To::File(open) = &mut self.to else { return false };
        open.compress_a_little().unwrap_or_else(|error| {
            tracing::warn!(%error, "a file of the access log that was set aside is not compressed");
            (open.compressing, open.look) = (None, false);
            false
        })
    }

    /// Nothing more will come.
    pub(super) fn close(mut self) {
        self.flush();
        let left = self.buffer.iter().filter(|byte| **byte == b'\n').count();
        self.lost.count(left as u64, "the access log could not be written");
    }

    /// Says once that the log fails, and once that it works again.
    fn note(&mut self, result: io::Result<()>) {
        match result {
            Err(error) if !self.failing => tracing::warn!(%error, "the access log cannot be written"),
            Ok(()) if self.failing => {
                tracing::info!(lost = self.lost.so_far(), "the access log is written again");
            }
            _ => return,
        }
        self.failing = !self.failing;
    }
}

impl Open {
    fn new(path: &Path, rotation: Rotation, now: SystemTime) -> io::Result<Self> {
        let file = opened(path)?;
        let metadata = file.metadata()?;
        // How old a file is that was begun before tells the file system, if anybody does.
        let begun = metadata.created().ok().filter(|_| metadata.len() > 0).unwrap_or(now);
        let aside = SetAside::of(path, rotation.keep);
        if rotation.is_on()
            && let Err(error) = aside.tidy()
        {
            tracing::warn!(%error, "old files of the access log cannot be tidied up");
        }
        let (size, look) = (metadata.len(), rotation.is_on());
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
            begun,
            rotation,
            aside,
            again: None,
            compressing: None,
            look,
        })
    }

    fn write(&mut self, bytes: &[u8], now: SystemTime) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        if self.size == 0 {
            self.begun = now;
        }
        self.size = self.size.saturating_add(written as u64);
        Ok(written)
    }

    /// Whether it is to be set aside, once what is `waiting` is in it, before `more` bytes come. An empty one never is.
    fn is_due(&self, waiting: u64, more: u64, now: SystemTime) -> bool {
        let size = self.size.saturating_add(waiting);
        if size == 0 || self.again.is_some_and(|again| now < again) {
            return false;
        }
        let too_long = self.rotation.size.is_some_and(|most| size.saturating_add(more) > most.0);
        // A clock that was set back makes nothing older.
        let begun = if self.size == 0 { now } else { self.begun };
        let age = now.duration_since(begun).unwrap_or_default();
        too_long || self.rotation.age.is_some_and(|most| age >= most)
    }

    /// Sets the file aside and begins another.
    fn rotate(&mut self, now: SystemTime) -> io::Result<()> {
        if self.is_where_it_was() {
            // What is compressed has another name in a moment, and is begun anew.
            self.compressing = None;
            self.aside.push()?;
        }
        self.reopen(now)?;
        self.look = true;
        self.aside.tidy()
    }

    fn reopen(&mut self, now: SystemTime) -> io::Result<()> {
        let file = opened(&self.path)?;
        self.size = file.metadata()?.len();
        (self.file, self.begun, self.again) = (file, now, None);
        Ok(())
    }

    /// Goes to the file that is there now, if another process has set ours aside: nothing may be written to what is
    /// being compressed.
    fn follow(&mut self, now: SystemTime) -> io::Result<()> {
        if self.is_where_it_was() { Ok(()) } else { self.reopen(now) }
    }

    fn is_where_it_was(&self) -> bool {
        let (Ok(there), Ok(ours)) = (std::fs::metadata(&self.path), self.file.metadata()) else {
            return false;
        };
        (there.dev(), there.ino()) == (ours.dev(), ours.ino())
    }

    fn compress_a_little(&mut self) -> io::Result<bool> {
        if let Some(compressing) = &mut self.compressing {
            if compressing.step()? {
                self.compressing = None;
            }
            return Ok(true);
        }
        let next = if self.look { self.aside.uncompressed() } else { None };
        self.look = next.is_some();
        self.compressing = next.map(|path| Compressing::begin(&path)).transpose()?;
        Ok(self.compressing.is_some())
    }
}

/// A new one may be read by its owner and its group alone, whatever else the umask would allow: it says who reads what.
fn opened(path: &Path) -> io::Result<File> {
    // A pipe would be waited for until somebody reads it.
    if named_file::is_pipe(path) {
        let why = format!("{}: a log is a file, and this is a pipe", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path);
    file.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests;
