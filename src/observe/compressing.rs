//! Compressing one file that was set aside, a little at a time, so that whoever does it can do other things between.
//!
//! The compressed file has its name only when it is whole and on the disk, and the other is removed only then: whenever
//! it breaks off, every line is still in one of them.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

/// A file on its way to being compressed. Dropped before its end it leaves things as they were.
pub(super) struct Compressing {
    from: PathBuf,
    part: PathBuf,
    to: PathBuf,
    source: File,
    read: u64,
    encoder: GzEncoder<File>,
}

/// What is compressed at a time: some milliseconds of a small computer. Bytes.
const STEP: usize = 64 * 1024;

impl Compressing {
    /// Begins with `from`, which becomes a file of that name with `.gz` behind it.
    ///
    /// # Errors
    /// If it cannot be read, or nothing can be written beside it.
    pub(super) fn begin(from: &Path) -> io::Result<Self> {
        let named = |end: &str| {
            let mut name = from.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        };
        let (part, to) = (named(".gz.part"), named(".gz"));
        let source = File::open(from)?;
        let target = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        // Who may read what is written now may read it afterwards.
        let permissions = source.metadata()?.permissions();
        target.set_permissions(permissions)?;
        let encoder = GzEncoder::new(target, Compression::default());
        Ok(Self { from: from.to_owned(), part, to, source, read: 0, encoder })
    }

    /// Does a little of it; whether it is done.
    ///
    /// # Errors
    /// If something cannot be read or written: then the file is as it was.
    pub(super) fn step(&mut self) -> io::Result<bool> {
        let mut piece = Vec::with_capacity(STEP);
        (&self.source).take(STEP as u64).read_to_end(&mut piece)?;
        self.read = self.read.saturating_add(piece.len() as u64);
        if !piece.is_empty() {
            return self.encoder.write_all(&piece).map(|()| false);
        }
        self.encoder.try_finish()?;
        self.encoder.get_ref().sync_all()?;
        // Another process that has it open, as while one bentpipe follows another, may have written a last line.
        if self.source.metadata()?.len() != self.read {
            return Err(io::Error::other("it grows while it is compressed"));
        }
        std::fs::rename(&self.part, &self.to)?;
        std::fs::remove_file(&self.from)?;
        Ok(true)
    }
}

impl Drop for Compressing {
    fn drop(&mut self) {
        // Nothing is there to remove once it is done.
        let _ = std::fs::remove_file(&self.part);
    }
}

#[cfg(test)]
mod tests {
    use flate2::read::GzDecoder;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).expect("a folder");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_compressed_step_by_step() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.log.1");
        let lines: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
        std::fs::write(&path, &lines).expect("written");
        let mut compressing = Compressing::begin(&path).expect("begun");
        let mut steps = 1;
        while !compressing.step().expect("a step") {
            assert_eq!(names(folder.path()), ["a.log.1", "a.log.1.gz.part"], "until it is whole");
            steps += 1;
        }
        drop(compressing);
        assert_eq!((steps, names(folder.path())), (lines.len() / STEP + 2, vec!["a.log.1.gz".to_owned()]));
        let (mut read, file) = (String::new(), File::open(folder.path().join("a.log.1.gz")).expect("a file"));
        GzDecoder::new(file).read_to_string(&mut read).expect("gzip");
        assert!(read == lines, "every line is there");
    }

    #[test]
    fn broken_off_it_leaves_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.log.1");
        std::fs::write(&path, "line\n").expect("written");
        let mut compressing = Compressing::begin(&path).expect("begun");
        assert!(!compressing.step().expect("a step"));
        std::fs::write(&path, "line\nanother\n").expect("written");
        compressing.step().expect("a step");
        let mut appended = std::fs::OpenOptions::new().append(true).open(&path).expect("a file");
        let mut compressing = Compressing::begin(&path).expect("begun");
        assert!(!compressing.step().expect("a step"));
        // Between reading the last of it and looking at its length.
        compressing.read -= 1;
        appended.write_all(b"late\n").expect("written");
        assert!(!compressing.step().expect("a step"));
        assert!(compressing.step().is_err(), "lines would be lost");
        drop(compressing);
        assert_eq!(std::fs::read_to_string(&path).expect("the file"), "line\nanother\nlate\n");
        assert_eq!(names(folder.path()), ["a.log.1"]);
    }
}
