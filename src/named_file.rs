//! Files that an operator names for reading. Nothing here waits for more than a disk: a pipe or a device, which may never
//! begin or never end, is refused, and so is what is larger than its kind ever is.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Opens the file at `path`, which is to have at most `most` bytes.
///
/// # Errors
/// If it cannot be read, is no regular file, or is larger.
fn open(path: &Path, most: u64) -> io::Result<File> {
    // Without waiting for somebody to open the other end, should it be a pipe.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    if found.len() > most {
        return Err(too_large(most));
    }
    Ok(file)
}

fn too_large(most: u64) -> io::Error {
    let (number, unit) = if most < 1_000_000 { (most / 1000, "kB") } else { (most / 1_000_000, "MB") };
    io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {number} {unit}"))
}

/// The content of the file at `path`, at most `most` bytes.
///
/// # Errors
/// If it cannot be read, is no regular file, or is larger.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    // It may grow while it is read.
    open(path, most)?.take(most + 1).read_to_end(&mut content)?;
    if content.len() as u64 > most { Err(too_large(most)) } else { Ok(content) }
}

/// The same as text.
///
/// # Errors
/// As [`read`], and if it is not UTF-8.
pub(crate) fn text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read(path, most)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no text in UTF-8"))
}

/// Whether there is a pipe at `path`, which keeps waiting whoever opens it.
pub(crate) fn is_pipe(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &Path, most: u64, expected: Result<&str, &str>) {
        let read = text(path, most).map_err(|error| error.to_string());
        assert_eq!(read.as_deref().map_err(String::as_str), expected, "{}", path.display());
    }

    #[test]
    fn only_a_regular_file_that_is_not_too_large_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        std::fs::write(&path, "12345").expect("written");
        check(&path, 5, Ok("12345"));
        check(&path, 4, Err("it is larger than 0 kB"));
        check(folder.path(), 5, Err("it is no regular file"));
        check(Path::new("/dev/zero"), 5, Err("it is no regular file"));
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .expect("a pipe");
        check(&pipe, 5, Err("it is no regular file"));
        std::fs::write(&path, [0xff]).expect("written");
        check(&path, 4, Err("it is no text in UTF-8"));
        // What says that it is empty, and is not.
        check(Path::new("/proc/self/status"), 4, Err("it is larger than 0 kB"));
    }
}
