//! The dump of each connection for reading: both directions in the order in which they came, with times, offsets, bytes in
//! hexadecimal and as text. Written in a thread of its own, since it takes five times the bytes; what that thread has no
//! time for is in the raw streams alone, and the dump says so.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::handles::Handles;
use super::{Place, create};
use crate::capture::frame::{Frame, Kind};
use crate::capture::queue::{Frames, Queue};
use crate::capture::wire::About;

/// The writer of all dumps.
pub(super) struct Dump {
    queue: Queue,
    written: Arc<AtomicU64>,
    thread: JoinHandle<io::Result<()>>,
}

/// Bytes that wait to be dumped.
const QUEUE: usize = 16 * 1024 * 1024;

/// Text that is put together before it is written.
const BUFFER: usize = 64 * 1024;

impl Dump {
    /// Begins to write dumps as `place` says.
    pub(super) fn begin(place: &Place) -> io::Result<Self> {
        let (queue, frames) = Queue::new(QUEUE);
        let written = Arc::new(AtomicU64::new(0));
        let began = jiff::Timestamp::try_from(place.began).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let writer = Writer {
            place: place.clone(),
            files: Handles::new(&place.folder),
            open: HashMap::new(),
            began: format!("{began:.6}"),
            written: written.clone(),
        };
        let thread =
            std::thread::Builder::new().name("dump".to_owned()).spawn(move || writer.run(&frames))?;
        Ok(Self { queue, written, thread })
    }

    /// Takes the next frame, in order.
    ///
    /// # Errors
    /// If the thread has failed; why is told at the end.
    pub(super) fn take(&self, frame: Frame) -> io::Result<()> {
        let Err(mut refused) = self.queue.put(frame) else { return Ok(()) };
        let skipped = match refused.kind {
            Kind::In => Kind::SkippedIn,
            Kind::Out => Kind::SkippedOut,
            kind => kind,
        };
        if skipped != refused.kind {
            refused.payload = refused.payload.len().to_string().into_bytes();
            refused.kind = skipped;
        }
        // Without its bytes it is small; and whoever writes files may wait.
        while let Err(again) = self.queue.put_first(refused) {
            if self.thread.is_finished() {
                return Err(io::Error::other("the dumps cannot be written"));
            }
            refused = again;
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Bytes of text so far.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Waits until all is written.
    pub(super) fn end(self) -> io::Result<()> {
        drop(self.queue);
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the dumps broke off")))
    }
}

struct Writer {
    place: Place,
    files: Handles,
    open: HashMap<u32, Dumped>,
    /// When the capture began.
    began: String,
    written: Arc<AtomicU64>,
}

/// The dump of one connection.
#[derive(Default)]
struct Dumped {
    name: String,
    text: String,
    /// Where either direction has got to.
    offsets: [u64; 2],
    /// Bytes that may still be shown.
    left: u64,
}

impl Writer {
    fn run(mut self, frames: &Frames) -> io::Result<()> {
        loop {
            let next = match frames.next_now() {
                Ok(Some(frame)) => Some(frame),
                Ok(None) => {
                    self.flush()?;
                    frames.next()
                }
                Err(_) => None,
            };
            let Some(frame) = next else { break };
            self.take(&frame)?;
        }
        self.flush()
    }

    fn take(&mut self, frame: &Frame) -> io::Result<()> {
        if frame.kind == Kind::Opened {
            return self.opened(frame);
        }
        let Some(dumped) = self.open.get_mut(&frame.number) else { return Ok(()) };
        dumped.add(frame);
        if dumped.text.len() >= BUFFER || frame.kind == Kind::Closed {
            Self::write(&mut self.files, &self.written, dumped)?;
        }
        if frame.kind == Kind::Closed
            && let Some(dumped) = self.open.remove(&frame.number)
        {
            self.files.close(&dumped.name);
        }
        Ok(())
    }

    fn opened(&mut self, frame: &Frame) -> io::Result<()> {
        let about: About = serde_json::from_slice(&frame.payload).map_err(io::Error::other)?;
        let name = format!("{:04}.txt", frame.number);
        drop(create(&self.place.folder.join(&name))?);
        let text = head(frame.number, &about, &self.began);
        let dumped = Dumped { name, text, offsets: [0; 2], left: self.place.shown };
        self.open.insert(frame.number, dumped);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        for dumped in self.open.values_mut().filter(|dumped| !dumped.text.is_empty()) {
            Self::write(&mut self.files, &self.written, dumped)?;
        }
        Ok(())
    }

    fn write(files: &mut Handles, written: &AtomicU64, dumped: &mut Dumped) -> io::Result<()> {
        files.of(&dumped.name)?.write_all(dumped.text.as_bytes())?;
        written.fetch_add(dumped.text.len() as u64, Ordering::Relaxed);
        dumped.text.clear();
        Ok(())
    }
}

fn head(number: u32, about: &About, began: &str) -> String {
    let port = about.port.map_or_else(String::new, |port| format!(" port {port}"));
    let mut text = format!(
        "# Connection {number:04} of {}{port}. Seen is {}.\n\
         # Times are seconds since the capture began at {began}.\n\
         # > came from the client, < went to it, ! is what happened besides.\n",
        about.client, about.seen
    );
    if about.joined {
        text.push_str("# It was open before the capture began: what was said before is not here.\n");
    }
    if about.before != [0; 2] {
        let [read, written] = about.before;
        let _ = writeln!(
            text,
            "# {read} bytes from the client and {written} to it went before the first ones here."
        );
    }
    text
}

impl Dumped {
    fn add(&mut self, frame: &Frame) {
        let at = frame.at;
        match frame.kind {
            Kind::In => self.bytes(0, at, &frame.payload),
            Kind::Out => self.bytes(1, at, &frame.payload),
            Kind::SkippedIn => self.skipped(0, at, frame.count(), "the dump could not keep up"),
            Kind::SkippedOut => self.skipped(1, at, frame.count(), "the dump could not keep up"),
            Kind::LostIn => self.lost(0, at, frame.count()),
            Kind::LostOut => self.lost(1, at, frame.count()),
            Kind::Note => self.happened(at, &String::from_utf8_lossy(&frame.payload)),
            Kind::Closed => self.happened(at, "closed"),
            Kind::Opened | Kind::Entry | Kind::End => {}
        }
    }

    fn bytes(&mut self, direction: usize, at: Duration, bytes: &[u8]) {
        let length = bytes.len() as u64;
        if length > self.left {
            self.left = 0;
            self.skipped(direction, at, length, "more than the dump is to show");
            return;
        }
        self.left -= length;
        self.title(direction, at, length, "");
        let mut offset = self.offsets[direction];
        for row in bytes.chunks(16) {
            put_row(&mut self.text, SIGNS[direction], offset, row);
            offset += row.len() as u64;
        }
        self.offsets[direction] = offset;
    }

    fn skipped(&mut self, direction: usize, at: Duration, length: u64, why: &str) {
        self.title(direction, at, length, &format!(" (not shown: {why}; the raw stream has them)"));
        self.offsets[direction] += length;
    }

    fn title(&mut self, direction: usize, at: Duration, length: u64, why: &str) {
        let (sign, offset) = (SIGNS[direction], self.offsets[direction]);
        let _ =
            writeln!(self.text, "\n{sign} {:.6} s, offset {offset}: {length} bytes{why}", at.as_secs_f64());
    }

    fn lost(&mut self, direction: usize, at: Duration, count: u64) {
        let sign = SIGNS[direction];
        let offset = self.offsets[direction];
        self.happened(
            at,
            &format!(
                ".lost: {count} bytes {sign} from offset {offset}: they came faster than they could be taken"
            ),
        );
        self.offsets[direction] += count;
    }

    fn happened(&mut self, at: Duration, what: &str) {
        let _ = writeln!(self.text, "\n! {:.6} s: {what}", at.as_secs_f64());
    }
}

const SIGNS: [char; 2] = ['>', '<'];

/// One row: `> 00000010  48 65 6c 6c 6f 20 77 6f  72 6c 64                 |Hello world|`.
fn put_row(text: &mut String, sign: char, offset: u64, row: &[u8]) {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    text.push(sign);
    let _ = write!(text, " {offset:08x} ");
    for at in 0..16 {
        if at % 8 == 0 {
            text.push(' ');
        }
        match row.get(at) {
            Some(byte) => {
                text.push(DIGITS[usize::from(byte >> 4)]);
                text.push(DIGITS[usize::from(byte & 15)]);
                text.push(' ');
            }
            None => text.push_str("   "),
        }
    }
    text.push_str(" |");
    text.extend(row.iter().map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' }));
    text.push_str("|\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_as_hexdump_writes_it() {
        let mut text = String::new();
        put_row(&mut text, '<', 16, b"Hello world\n");
        put_row(&mut text, '>', 0, &[0xff; 16]);
        let rows: Vec<_> = text.lines().collect();
        assert_eq!(rows[0], "< 00000010  48 65 6c 6c 6f 20 77 6f  72 6c 64 0a              |Hello world.|");
        assert_eq!(
            rows[1],
            "> 00000000  ff ff ff ff ff ff ff ff  ff ff ff ff ff ff ff ff  |................|"
        );
    }

    #[test]
    fn what_is_lost_or_not_shown_moves_the_offset() {
        let mut dumped = Dumped { left: 4, ..Dumped::default() };
        let frame = |kind, payload: &[u8]| Frame {
            kind,
            number: 1,
            at: Duration::from_millis(1500),
            payload: payload.to_vec(),
        };
        for (kind, payload) in
            [(Kind::In, "abc"), (Kind::LostIn, "7"), (Kind::In, "de"), (Kind::In, "f"), (Kind::Closed, "")]
        {
            dumped.add(&frame(kind, payload.as_bytes()));
        }
        let told: Vec<_> = dumped.text.lines().filter(|line| line.contains(" s")).collect();
        let expected = [
            "> 1.500000 s, offset 0: 3 bytes",
            "! 1.500000 s: .lost: 7 bytes > from offset 3: they came faster than they could be taken",
            "> 1.500000 s, offset 10: 2 bytes (not shown: more than the dump is to show; the raw stream has them)",
            "> 1.500000 s, offset 12: 1 bytes (not shown: more than the dump is to show; the raw stream has them)",
            "! 1.500000 s: closed",
        ];
        assert_eq!(told, expected);
    }
}
