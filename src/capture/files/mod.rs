//! What a capture writes: a folder with, for each connection, two raw streams (`0001-client.in`, `0001-client.out`) and a
//! dump for reading (`0001.txt`), and one HAR file for all exchanges. Only their owner may read them: they hold what was
//! said, passwords included. It takes frames in order and knows neither sockets nor the proxy.

mod dump;
mod handles;
mod har;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Ended;
use super::frame::{Frame, Kind};
use super::wire::About;
use crate::text::counted;
use dump::Dump;
use handles::Handles;
use har::HarFile;

/// Where a capture is written, and how much of it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    /// Most bytes of all files together.
    pub(crate) most: u64,
    /// Bytes of each connection that are shown in its dump.
    pub(crate) shown: u64,
    /// When the capture began, for those who read it.
    pub(crate) began: SystemTime,
    /// Whether there are exchanges.
    pub(crate) har: bool,
}

/// Writes one capture down.
pub(crate) struct Recorder {
    place: Place,
    raw: Handles,
    dump: Dump,
    har: Option<HarFile>,
    open: BTreeMap<u32, Connection>,
    written: u64,
    sum: Sum,
}

/// What became of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Connection {
    client: String,
    /// Read from the client, and written to it.
    bytes: [u64; 2],
    lost: [u64; 2],
}

/// What a capture came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) connections: u64,
    pub(crate) exchanges: u64,
    pub(crate) bytes: [u64; 2],
    /// Connections whose raw streams have gaps, and the bytes that are missing there.
    pub(crate) gaps: BTreeMap<u32, u64>,
    /// What the other side says of it; none if it broke off.
    pub(crate) ended: Option<Ended>,
}

/// Why no more can be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stopped {
    #[error("the files have grown to the size that was allowed (--max-size)")]
    Full,
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Gaps that are told one by one.
const MOST_GAPS: usize = 100;

impl Recorder {
    /// Makes the folder, or uses one that is there and holds no capture.
    ///
    /// # Errors
    /// If it cannot be written to.
    pub(crate) fn begin(place: Place) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&place.folder)?;
        check_own(&place.folder)?;
        // The first files of a capture, and of one without exchanges.
        if ["capture.har", "0001.txt"].iter().any(|name| place.folder.join(name).exists()) {
            let folder = place.folder.display();
            let told = format!("{folder} has a capture in it already; name another folder with -o");
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, told));
        }
        let har = place.har.then(|| HarFile::create(&place.folder.join("capture.har"))).transpose()?;
        let dump = Dump::begin(&place)?;
        let raw = Handles::new(&place.folder);
        Ok(Self { place, raw, dump, har, open: BTreeMap::new(), written: 0, sum: Sum::default() })
    }

    /// Writes `frame` down; a line about it, if it is worth one.
    ///
    /// # Errors
    /// If nothing more can or may be written.
    pub(crate) fn take(&mut self, frame: Frame) -> Result<Option<String>, Stopped> {
        if self.written.saturating_add(self.dump.written()) > self.place.most {
            return Err(Stopped::Full);
        }
        let told = match frame.kind {
            Kind::Opened => {
                self.opened(&frame)?;
                None
            }
            Kind::In | Kind::Out => {
                self.raw(&frame)?;
                None
            }
            Kind::LostIn | Kind::LostOut => Some(self.lost(&frame)?),
            Kind::Closed => self.closed(frame.number),
            Kind::Entry => {
                self.entry(&frame)?;
                return Ok(None);
            }
            Kind::SkippedIn | Kind::SkippedOut | Kind::Note | Kind::End => None,
        };
        self.dump.take(frame)?;
        Ok(told)
    }

    fn opened(&mut self, frame: &Frame) -> Result<(), Stopped> {
        let about: About = serde_json::from_slice(&frame.payload).map_err(io::Error::other)?;
        for end in ["in", "out"] {
            drop(create(&self.place.folder.join(raw_name(frame.number, end)))?);
        }
        let client = about
            .port
            .map_or_else(|| about.client.to_string(), |port| format!("{} port {port}", about.client));
        self.open.insert(frame.number, Connection { client, bytes: [0; 2], lost: [0; 2] });
        self.sum.connections += 1;
        Ok(())
    }

    fn raw(&mut self, frame: &Frame) -> Result<(), Stopped> {
        let at = usize::from(frame.kind == Kind::Out);
        let end = if at == 0 { "in" } else { "out" };
        self.raw.of(&raw_name(frame.number, end))?.write_all(&frame.payload)?;
        let length = frame.payload.len() as u64;
        self.written += length;
        self.sum.bytes[at] += length;
        if let Some(connection) = self.open.get_mut(&frame.number) {
            connection.bytes[at] += length;
        }
        Ok(())
    }

    /// What is missing is a hole in the raw stream, so that what follows stands where it stood on the wire.
    fn lost(&mut self, frame: &Frame) -> Result<String, Stopped> {
        let at = usize::from(frame.kind == Kind::LostOut);
        let (end, count) = (if at == 0 { "in" } else { "out" }, frame.count());
        let name = raw_name(frame.number, end);
        let file = self.raw.of(&name)?;
        let offset = file.metadata()?.len();
        file.set_len(offset.saturating_add(count))?;
        let mut marks = append(&self.place.folder.join(format!("{name}.lost")))?;
        writeln!(marks, "{count} bytes from offset {offset} are missing; zeros stand for them")?;
        if let Some(connection) = self.open.get_mut(&frame.number) {
            connection.lost[at] += count;
        }
        let gaps = &mut self.sum.gaps;
        if gaps.len() < MOST_GAPS || gaps.contains_key(&frame.number) {
            *gaps.entry(frame.number).or_default() += count;
        }
        Ok(format!("{name}: {count} bytes LOST at offset {offset}"))
    }

    fn closed(&mut self, number: u32) -> Option<String> {
        let Connection { client, bytes, lost } = self.open.remove(&number)?;
        ["in", "out"].iter().for_each(|end| self.raw.close(&raw_name(number, end)));
        let lost: u64 = lost.iter().sum();
        let lost = if lost > 0 { format!(", {lost} bytes LOST") } else { String::new() };
        Some(format!("{number:04}  {client}  {} bytes in, {} bytes out{lost}", bytes[0], bytes[1]))
    }

    fn entry(&mut self, frame: &Frame) -> io::Result<()> {
        if let Some(har) = &mut self.har {
            har.add(&frame.payload)?;
            self.written += frame.payload.len() as u64;
            self.sum.exchanges += 1;
        }
        Ok(())
    }

    /// Everything that was taken is written when this returns.
    ///
    /// # Errors
    /// If something cannot be written.
    pub(crate) fn end(self, ended: Option<Ended>) -> io::Result<Sum> {
        self.dump.end()?;
        Ok(Sum { ended, ..self.sum })
    }

    /// Bytes of all files.
    pub(crate) fn written(&self) -> u64 {
        self.written + self.dump.written()
    }
}

/// Whether `folder` is one into which nobody else writes: they could put links in the way of what is captured, which holds
/// passwords.
fn check_own(folder: &Path) -> io::Result<()> {
    // Without the slash at the end behind which a link is followed.
    let folder: PathBuf = folder.components().collect();
    let found = fs::symlink_metadata(&folder)?;
    let writes_others = found.mode() & 0o022 != 0;
    if found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() && !writes_others {
        return Ok(());
    }
    let why = "expected a folder of your own into which nobody else may write, and no link to one";
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

fn raw_name(number: u32, end: &str) -> String {
    format!("{number:04}-client.{end}")
}

/// A new file that only its owner may read.
fn create(path: &Path) -> io::Result<std::fs::File> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    opened.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// A file of ours to write on, which may be new.
fn append(path: &Path) -> io::Result<std::fs::File> {
    let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    opened.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

impl fmt::Display for Sum {
    /// For people, in a few lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [read, written] = self.bytes;
        write!(
            f,
            "{}, {}, {} in, {} out",
            counted(self.connections, "connection"),
            counted(self.exchanges, "exchange"),
            counted(read, "byte"),
            counted(written, "byte"),
        )?;
        for (number, lost) in &self.gaps {
            write!(
                f,
                "\n.lost: {lost} bytes of connection {number:04}; its raw streams are not equal to the wire"
            )?;
        }
        let Some(ended) = self.ended else {
            return f.write_str("\nThe proxy ended first: what it had not sent yet is missing.");
        };
        if ended.lost_bytes == 0 && ended.lost_connections == 0 {
            f.write_str("\nNothing was lost: the raw streams are equal to the wire.")?;
        } else {
            write!(
                f,
                "\n.lost: {} and {} in all",
                counted(ended.lost_bytes, "byte"),
                counted(ended.lost_connections, "connection"),
            )?;
        }
        if ended.lost_exchanges > 0 {
            write!(f, "\nmissing in capture.har: {}", counted(ended.lost_exchanges, "exchange"))?;
        }
        if ended.unfinished > 0 {
            write!(
                f,
                "\nnot in capture.har, since still going on: {}",
                counted(ended.unfinished as u64, "exchange")
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
