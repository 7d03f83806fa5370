//! What is done to the files of a cache folder from outside: copied, cut, altered, found by what is in them.
//!
//! It knows no format of bentpipe's. A content file is known by its bytes, an entry of the index by its key.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::source::body;

/// Makes `to` a copy of the folder `from`.
///
/// # Errors
/// What the disk said.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &place)?;
        } else {
            fs::copy(entry.path(), place)?;
        }
    }
    Ok(())
}

/// Cuts a file to its first `length` bytes, or fills it up with zeros.
///
/// # Errors
/// What the disk said.
pub(super) fn cut(file: &Path, length: usize) -> io::Result<()> {
    fs::OpenOptions::new().write(true).open(file)?.set_len(length as u64)
}

/// Alters `bits` of the byte at `place`.
///
/// # Errors
/// What the disk said, or that there is no such byte.
pub(super) fn flip(file: &Path, place: usize, bits: u8) -> io::Result<()> {
    let mut bytes = fs::read(file)?;
    let byte = bytes.get_mut(place).ok_or(io::ErrorKind::UnexpectedEof)?;
    *byte ^= bits;
    // In place: the file's other properties are not what is tried.
    let file = fs::OpenOptions::new().write(true).open(file)?;
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes[place..=place], place as u64)
}

/// Appends `bytes`.
///
/// # Errors
/// What the disk said.
pub(super) fn append(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut whole = fs::read(file)?;
    whole.extend_from_slice(bytes);
    fs::write(file, whole)
}

/// The files in `folder` and below it.
pub(super) fn all(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let below = |path: PathBuf| if path.is_dir() { all(&path) } else { vec![path] };
    entries.flat_map(|entry| below(entry.path())).collect()
}

/// The files of `folder` that hold the body of one of `paths`, by that path. Their lengths must differ.
pub(super) fn contents(folder: &Path, paths: &[String]) -> HashMap<String, PathBuf> {
    let by_length: HashMap<_, _> = paths.iter().map(|path| (body(path).len() as u64, path)).collect();
    let mut found = HashMap::new();
    for file in all(folder) {
        let length = file.metadata().map(|metadata| metadata.len()).unwrap_or_default();
        let Some(path) = by_length.get(&length) else { continue };
        if fs::read(&file).is_ok_and(|bytes| bytes == body(path)) {
            found.insert((*path).clone(), file);
        }
    }
    found
}

/// Which of `paths` are written down in the index file `bytes` wholly before `place`. Each entry holds its key as
/// text, so it has ended where the key of the next one stands.
pub(super) fn before(bytes: &[u8], paths: &[String], place: usize) -> Vec<String> {
    let mut starts: Vec<_> = paths.iter().filter_map(|path| Some((find(bytes, path)?, path))).collect();
    starts.sort_unstable();
    let ends = starts.iter().skip(1).map(|(start, _)| *start).chain([bytes.len()]);
    let ended = starts.iter().zip(ends).filter(|(_, end)| *end <= place);
    ended.map(|((_, path), _)| (*path).clone()).collect()
}

fn find(bytes: &[u8], text: &str) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_ended_where_the_next_key_stands() {
        let paths = ["/1/a".to_owned(), "/1/b".to_owned(), "/1/c".to_owned()];
        let check =
            |place, expected: &[&str]| assert_eq!(before(b"..../1/b--/1/a--", &paths, place), expected);
        check(16, &["/1/b", "/1/a"]);
        check(15, &["/1/b"]);
        check(10, &["/1/b"]);
        check(9, &[]);
    }
}
