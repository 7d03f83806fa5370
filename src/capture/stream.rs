//! A capture on its way to the command that asked for it: a thread takes what the queue holds and writes it to the control
//! socket, another one waits for the end of the asking side. When that side ends, so does the capture; when it is slow, the
//! queue fills and bytes are lost, and nobody else notices.

use std::io::{self, BufWriter, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::frame::{Frame, Kind};
use super::queue::Frames;
use super::{Captures, Session};

/// The protocol that the control socket switches to, of one build with itself.
pub(crate) const PROTOCOL: &str = concat!("bentpipe-capture/", env!("CARGO_PKG_VERSION"));

/// Bytes that are written at once, of small frames.
const BUFFER: usize = 64 * 1024;

/// Sends what `frames` brings to `stream` until either side ends the capture.
///
/// # Errors
/// If no thread can be had; the capture has ended then.
pub(crate) fn send(
    captures: &Captures,
    session: &Arc<Session>,
    frames: Frames,
    stream: UnixStream,
) -> io::Result<()> {
    let begun = begin(captures, session, frames, stream);
    if begun.is_err() {
        captures.end(session);
    }
    begun
}

fn begin(captures: &Captures, session: &Arc<Session>, frames: Frames, stream: UnixStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    let mut asking = stream.try_clone()?;
    let ends = (captures.clone(), session.clone());
    let waiting = move || {
        // It says nothing more; whatever comes, be it an end or a failure, is its end.
        let _ = asking.read(&mut [0; 16]);
        ends.0.end(&ends.1);
    };
    std::thread::Builder::new().name("capture-end".to_owned()).spawn(waiting)?;
    let (captures, session) = (captures.clone(), session.clone());
    let writing = move || {
        let written = write(&session, &frames, &stream);
        captures.end(&session);
        if let Err(error) = written {
            tracing::debug!(%error, "a capture broke off");
        }
        let _ = stream.shutdown(Shutdown::Both);
    };
    std::thread::Builder::new().name("capture".to_owned()).spawn(writing)?;
    Ok(())
}

fn write(session: &Session, frames: &Frames, stream: &UnixStream) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(BUFFER, stream);
    while let Ok(now) = frames.next_now() {
        let next = match now {
            Some(frame) => Some(frame),
            None => {
                out.flush()?;
                frames.next()
            }
        };
        match next {
            Some(frame) if frame.kind != Kind::End => frame.write(&mut out)?,
            _ => break,
        }
    }
    let payload = serde_json::to_vec(&session.ended()).unwrap_or_default();
    Frame { kind: Kind::End, number: 0, at: session.elapsed(), payload }.write(&mut out)?;
    out.flush()
}
