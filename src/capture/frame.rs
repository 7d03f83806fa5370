//! What a capture consists of: frames, one for each thing that happened, and how they go over the control socket to the
//! command that writes the files. Both ends are of one build; the form has no life beyond that.

use std::io::{self, Read, Write};
use std::time::Duration;

/// One thing that happened on one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    /// Of the connection, counted from 1 within the capture; 0 where it is about none.
    pub(crate) number: u32,
    /// Since the capture began.
    pub(crate) at: Duration,
    /// Bytes as they were on the wire, or what the kind says.
    pub(crate) payload: Vec<u8>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A connection is captured from here on: whose it is, in JSON.
    Opened,
    /// These bytes were read from the socket,
    In,
    /// or written to it.
    Out,
    /// So many bytes, in decimal digits, were read and not captured,
    LostIn,
    /// or written and not captured.
    LostOut,
    /// Bytes that were captured and are not shown in the dump, of either direction: so many, in decimal digits.
    SkippedIn,
    SkippedOut,
    /// Something else about the connection, in words.
    Note,
    /// It is over.
    Closed,
    /// An exchange is over: its entry of the HAR file, in JSON.
    Entry,
    /// The capture is over: what it came to, in JSON.
    End,
}

const KINDS: [Kind; 11] = [
    Kind::Opened,
    Kind::In,
    Kind::Out,
    Kind::LostIn,
    Kind::LostOut,
    Kind::SkippedIn,
    Kind::SkippedOut,
    Kind::Note,
    Kind::Closed,
    Kind::Entry,
    Kind::End,
];

/// Bytes before the payload.
const HEAD: usize = 1 + 4 + 8 + 4;

/// Longest payload that is believed.
const LONGEST: usize = 64 * 1024 * 1024;

impl Kind {
    fn byte(self) -> u8 {
        let at = KINDS.iter().position(|kind| *kind == self);
        at.and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
    }
}

impl Frame {
    /// Writes it.
    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let micros = u64::try_from(self.at.as_micros()).unwrap_or(u64::MAX);
        let length = u32::try_from(self.payload.len()).map_err(io::Error::other)?;
        let mut head = Vec::with_capacity(HEAD);
        head.push(self.kind.byte());
        head.extend(self.number.to_be_bytes());
        head.extend(micros.to_be_bytes());
        head.extend(length.to_be_bytes());
        out.write_all(&head)?;
        out.write_all(&self.payload)
    }

    /// Reads one; none at the end.
    ///
    /// # Errors
    /// If it breaks off or is none.
    pub(crate) fn read<R: Read>(from: &mut R) -> io::Result<Option<Self>> {
        let mut kind = [0];
        if from.read(&mut kind)? == 0 {
            return Ok(None);
        }
        let malformed = || io::Error::new(io::ErrorKind::InvalidData, "what the proxy sends is no capture");
        let kind = KINDS.get(usize::from(kind[0])).copied().ok_or_else(malformed)?;
        let (mut number, mut micros, mut length) = ([0; 4], [0; 8], [0; 4]);
        from.read_exact(&mut number)?;
        from.read_exact(&mut micros)?;
        from.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > LONGEST {
            return Err(malformed());
        }
        let mut payload = Vec::with_capacity(length);
        Read::take(&mut *from, length as u64).read_to_end(&mut payload)?;
        if payload.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let at = Duration::from_micros(u64::from_be_bytes(micros));
        Ok(Some(Self { kind, number: u32::from_be_bytes(number), at, payload }))
    }

    /// The payload as the count that it is.
    pub(crate) fn count(&self) -> u64 {
        std::str::from_utf8(&self.payload).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// What it takes while it waits.
    pub(super) fn cost(&self) -> usize {
        self.payload.len() + OVERHEAD
    }
}

/// Bytes of memory of a frame besides its payload.
const OVERHEAD: usize = 96;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames() -> impl Strategy<Value = Frame> {
        let kinds = prop::sample::select(KINDS.to_vec());
        let payload = prop::collection::vec(any::<u8>(), 0..300);
        (kinds, any::<u32>(), any::<u32>(), payload).prop_map(|(kind, number, micros, payload)| Frame {
            kind,
            number,
            at: Duration::from_micros(micros.into()),
            payload,
        })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(frames in prop::collection::vec(frames(), 0..8)) {
            let mut bytes = Vec::new();
            frames.iter().for_each(|frame| frame.write(&mut bytes).expect("room"));
            let mut from = bytes.as_slice();
            let mut read = Vec::new();
            while let Some(frame) = Frame::read(&mut from).expect("a frame") {
                read.push(frame);
            }
            prop_assert_eq!(read, frames);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut from = bytes.as_slice();
            while let Ok(Some(_)) = Frame::read(&mut from) {}
        }
    }
}
