//! The HAR file of a capture: whole after each entry, whatever happens then.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::Path;

/// A HAR file that grows.
pub(super) struct HarFile {
    file: File,
    /// Where the next entry goes.
    end: u64,
    is_empty: bool,
}

const FOOT: &str = "\n]}}\n";

impl HarFile {
    /// A file without entries, where there was none.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut file = super::create(path)?;
        let version = env!("CARGO_PKG_VERSION");
        let head = format!(
            "{{\"log\":{{\"version\":\"1.2\",\"creator\":{{\"name\":\"bentpipe\",\"version\":\"{version}\"}},\"pages\":[],\"entries\":["
        );
        file.write_all(format!("{head}{FOOT}").as_bytes())?;
        Ok(Self { file, end: head.len() as u64, is_empty: true })
    }

    /// Adds an entry, which is JSON.
    pub(super) fn add(&mut self, entry: &[u8]) -> io::Result<()> {
        let before: &[u8] = if self.is_empty { b"\n" } else { b",\n" };
        let whole = [before, entry, FOOT.as_bytes()].concat();
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(&whole)?;
        self.end += (before.len() + entry.len()) as u64;
        self.is_empty = false;
        Ok(())
    }
}
