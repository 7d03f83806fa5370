//! The temporary file of a large body that is arriving, and the fingerprint made while it is written.
//!
//! Owns the file until it is handed over as content; dropped before that, the file is deleted. All of it is work for
//! blocking threads. It does not decide when to write.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;

use crate::blocks::{BLOCK, Fingerprint, Fingerprinter, to_usize, xxh3_64};
use crate::content::{Content, Source, Temporary};
use crate::head::contiguous;
use crate::holding::Holding;
use crate::parts::Piece;
use crate::reader;

/// Bodies up to this length are joined in memory. Bytes.
const IN_MEMORY: u64 = 256 * 1024;

/// Writes one body to a temporary file.
pub(crate) struct Pen {
    temporary: Temporary,
    file: Arc<File>,
    written: u64,
    fingerprinter: Fingerprinter,
}

/// A body, or a part of one, that is ready to become content.
pub(crate) enum Complete {
    /// It never left memory.
    Memory(Vec<Bytes>),
    /// It is in a temporary file.
    File(Source, Fingerprint),
}

impl Pen {
    /// Goes on in a temporary file that an earlier process left, whose first blocks have the checksums `sums`. What
    /// follows the last of them that is as it was written is cut off. `None` when nothing is left.
    ///
    /// # Errors
    /// What the disk said.
    pub(crate) fn adopt(content: &Content, name: &str, sums: &[u64]) -> io::Result<Option<Self>> {
        let (temporary, file) = content.adopt(name)?;
        let mut pen =
            Self { temporary, file: Arc::new(file), written: 0, fingerprinter: Fingerprinter::new() };
        let mut block = vec![0; to_usize(BLOCK)];
        for sum in sums {
            if pen.file.read_exact_at(&mut block, pen.written).is_err() || xxh3_64(&block) != *sum {
                break;
            }
            pen.fingerprinter.update(&block);
            pen.written += BLOCK;
        }
        pen.file.set_len(pen.written)?;
        Ok((pen.written > 0).then_some(pen))
    }

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

    /// The name of the file in the folder of temporary files.
    pub(crate) fn name(&self) -> Option<&str> {
        self.temporary.name()
    }

    /// The file, for those who read what is written.
    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// The file stays, for the next process to go on with.
    pub(crate) fn leave(mut self) {
        self.temporary.leave();
    }

    /// The checksums of the blocks that are whole by now.
    pub(crate) fn whole_blocks(&self) -> &[u64] {
        self.fingerprinter.whole_blocks()
    }

    /// What is written is all there will be.
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

/// The whole of a body whose pieces are these, one behind the other; `None` when some byte of it turns out not to be
/// held.
///
/// # Errors
/// What the disk said when it was to be written.
pub(crate) fn join(
    content: &Content,
    holding: &Arc<Holding>,
    pieces: &[Piece],
) -> io::Result<Option<Complete>> {
    let total: u64 = pieces.iter().map(|piece| piece.length).sum();
    let mut memory = Vec::new();
    let mut pen = if total > IN_MEMORY { Some(Pen::new(content)?) } else { None };
    for piece in pieces {
        let (mut position, end) = (piece.at, piece.at + piece.length);
        while position < end {
            let Ok(bytes) = reader::read_kept(holding, &piece.kept, position, end) else { return Ok(None) };
            position += bytes.len() as u64;
            match &mut pen {
                Some(pen) => drop(pen.write(&[bytes])?),
                None => memory.push(bytes),
            }
        }
    }
    Ok(Some(pen.map_or(Complete::Memory(memory), Pen::finish)))
}
