//! The temporary file of a large body that is arriving, and the fingerprint made while it is written.
//!
//! Owns the file until it is handed over as content; dropped before that, the file is deleted. All of it is work for
//! blocking threads. It does not decide when to write.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;

use crate::blocks::{Fingerprint, Fingerprinter};
use crate::content::{Content, Source, Temporary};
use crate::head::contiguous;

/// Writes one body to a temporary file.
pub(crate) struct Pen {
    temporary: Temporary,
    file: Arc<File>,
    written: u64,
    fingerprinter: Fingerprinter,
}

/// A complete body, ready to become content.
pub(crate) enum Complete {
    /// It never left memory.
    Memory(Vec<Bytes>),
    /// It is in a temporary file.
    File(Source, Fingerprint),
}

impl Pen {
    /// A new temporary file with nothing in it.
    ///
    /// # Errors
    /// What the disk said.
    pub(crate) fn new(content: &Content) -> io::Result<Self> {
        let (temporary, file) = content.temporary()?;
        Ok(Self { temporary, file: Arc::new(file), written: 0, fingerprinter: Fingerprinter::new() })
    }

    /// Appends `chunks` and returns how many bytes that were.
    ///
    /// # Errors
    /// What the disk said. The file is of no use for further writing then.
    pub(crate) fn write(&mut self, chunks: &[Bytes]) -> io::Result<u64> {
        let start = self.written;
        for chunk in chunks {
            self.file.write_all_at(chunk, self.written)?;
            self.fingerprinter.update(chunk);
            self.written += chunk.len() as u64;
        }
        Ok(self.written - start)
    }

    /// The file, for those who read what is written.
    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// The checksums of the blocks that are whole by now.
    pub(crate) fn whole_blocks(&self) -> &[u64] {
        self.fingerprinter.whole_blocks()
    }

    /// The body is complete.
    pub(crate) fn finish(self) -> Complete {
        Complete::File(Source::File(self.temporary), self.fingerprinter.finish())
    }
}

impl Complete {
    /// The bytes and what identifies them. Hashes what is in memory.
    pub(crate) fn into_source(self) -> (Source, Fingerprint) {
        match self {
            Self::Memory(chunks) => {
                let body = contiguous(|| chunks.iter().map(|chunk| &**chunk));
                let mut fingerprinter = Fingerprinter::new();
                fingerprinter.update(&body);
                (Source::Memory(body), fingerprinter.finish())
            }
            Self::File(source, fingerprint) => (source, fingerprint),
        }
    }
}
