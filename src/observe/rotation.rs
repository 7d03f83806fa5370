//! Files of the access log that were set aside: their names, `access.log.1` and so on, the youngest first, and `.gz`
//! behind those that are compressed. It moves and removes them; when is `output`'s, compressing them is `compressing`'s.
//!
//! Nothing is ever moved onto another file: whatever breaks off in between leaves a gap in the numbers, and no loss.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// The files beside `path` that were set aside.
#[derive(Clone, Debug)]
pub(super) struct SetAside {
    path: PathBuf,
    keep: u32,
}

impl SetAside {
    /// Those of `path`, of which `keep` are kept.
    pub(super) fn of(path: &Path, keep: u32) -> Self {
        Self { path: path.to_owned(), keep }
    }

    /// Moves the file itself to the first place, and those there one further; the last is removed.
    ///
    /// # Errors
    /// If one could not be moved: then the file is where it was.
    pub(super) fn push(&self) -> io::Result<()> {
        let free = (1..=self.keep).find(|number| !self.is_taken(*number));
        // With all places taken, the last is to be free.
        let free = free.map_or_else(|| self.remove(self.keep).map(|()| self.keep), Ok)?;
        for number in (1..free).rev() {
            for end in ENDS {
                moved(&self.at(number, end), &self.at(number + 1, end))?;
            }
        }
        moved(&self.path, &self.at(1, PLAIN))
    }

    /// Removes what is not to be kept, and what a process left unfinished.
    pub(super) fn tidy(&self) -> io::Result<()> {
        let mut first = Ok(());
        for (number, name) in self.numbered()? {
            let half_done = name.extension().is_some_and(|end| end == "part");
            if (number > self.keep || half_done)
                && let Err(error) = std::fs::remove_file(&name)
            {
                first = first.and(Err(error));
            }
        }
        first
    }

    /// The oldest file that is not compressed yet.
    pub(super) fn uncompressed(&self) -> Option<PathBuf> {
        let numbers = self.numbered().ok()?.into_iter();
        let plain = numbers.filter(|(number, name)| *number <= self.keep && *name == self.at(*number, PLAIN));
        plain.max().map(|(_, name)| name)
    }

    fn is_taken(&self, number: u32) -> bool {
        ENDS.iter().any(|end| self.at(number, end).symlink_metadata().is_ok())
    }

    fn remove(&self, number: u32) -> io::Result<()> {
        ENDS.iter().try_for_each(|end| absent(std::fs::remove_file(self.at(number, end))))
    }

    fn at(&self, number: u32, end: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}{end}"));
        name.into()
    }

    /// Every file named like one of these, with its number.
    fn numbered(&self) -> io::Result<Vec<(u32, PathBuf)>> {
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut begin = self.path.file_name().map(OsString::from).unwrap_or_default();
        begin.push(".");
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let name = entry?.file_name();
            let rest = name.to_str().and_then(|name| name.strip_prefix(begin.to_str()?));
            let digits = rest.map(|rest| rest.strip_suffix(".part").unwrap_or(rest));
            let digits = digits.map(|rest| rest.strip_suffix(COMPRESSED).unwrap_or(rest));
            // As they are written here: without zeros before them, or a sign.
            let number =
                digits.and_then(|digits| digits.parse().ok().filter(|n: &u32| n.to_string() == digits));
            found.extend(
                number.filter(|number| *number > 0).map(|number| (number, self.path.with_file_name(&name))),
            );
        }
        Ok(found)
    }
}

const PLAIN: &str = "";
const COMPRESSED: &str = ".gz";
const ENDS: [&str; 2] = [PLAIN, COMPRESSED];

/// Moves a file, if it is there.
fn moved(from: &Path, to: &Path) -> io::Result<()> {
    absent(std::fs::rename(from, to))
}

/// What is not there needs nothing.
fn absent(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After `push` and `tidy` among files of these names, each with its name as content: which has which.
    #[track_caller]
    fn check(keep: u32, before: &str, after: &str) {
        let folder = tempfile::tempdir().expect("a folder");
        for name in before.split_whitespace() {
            std::fs::write(folder.path().join(name), name).expect("written");
        }
        let aside = SetAside::of(&folder.path().join("a.log"), keep);
        aside.push().and_then(|()| aside.tidy()).expect("moved");
        let mut found: Vec<_> = std::fs::read_dir(folder.path())
            .expect("a folder")
            .map(|entry| {
                let path = entry.expect("an entry").path();
                let was = std::fs::read_to_string(&path).expect("text");
                format!("{}={was}", path.file_name().expect("a name").to_string_lossy())
            })
            .collect();
        found.sort();
        assert_eq!(found.join(" "), after, "{before}");
    }

    #[test]
    fn files_move_one_further_and_the_last_is_removed() {
        check(3, "a.log", "a.log.1=a.log");
        check(3, "a.log a.log.1", "a.log.1=a.log a.log.2=a.log.1");
        check(2, "a.log a.log.1 a.log.2.gz", "a.log.1=a.log a.log.2=a.log.1");
        check(3, "a.log a.log.1.gz a.log.3.gz", "a.log.1=a.log a.log.2.gz=a.log.1.gz a.log.3.gz=a.log.3.gz");
        check(1, "a.log a.log.1.gz", "a.log.1=a.log");
        check(2, "a.log.1.gz", "a.log.2.gz=a.log.1.gz");
    }

    #[test]
    fn what_is_not_kept_or_half_done_goes_and_nothing_else() {
        let others = "a.log.01 a.log.1.bz2 a.log.old b.log.9 a.log.9.gz.x";
        let kept = "a.log.01=a.log.01 a.log.1.bz2=a.log.1.bz2 a.log.1=a.log a.log.9.gz.x=a.log.9.gz.x \
                    a.log.old=a.log.old b.log.9=b.log.9";
        check(2, &format!("a.log a.log.3.gz a.log.12 a.log.1.gz.part {others}"), kept);
    }

    #[test]
    fn the_oldest_is_compressed_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let aside = SetAside::of(&folder.path().join("a.log"), 3);
        assert_eq!(aside.uncompressed(), None);
        for name in ["a.log.1", "a.log.2", "a.log.3.gz", "a.log.4"] {
            std::fs::write(folder.path().join(name), name).expect("written");
        }
        assert_eq!(aside.uncompressed(), Some(folder.path().join("a.log.2")));
    }
}
