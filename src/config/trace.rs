//! `LinkTrace`: the files a link's capacity comes from, read and checked, as value and as text.
//!
//! What is in such a file is linkio's to read. It decides nothing: a trace takes the place of what the link's
//! specification says of the same direction.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use linkio::{LinkModel, LinkSpec, Schedule, Source, Trace};

use crate::named_file;

/// What files say of each direction of the link. The default is that there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkTrace {
    /// Towards the clients.
    pub down: Option<TraceFile>,
    /// Towards the origins.
    pub up: Option<TraceFile>,
}

/// One file and what was in it when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceFile {
    path: PathBuf,
    source: Source,
}

impl LinkTrace {
    /// The link of `spec`, as far as the files say nothing else.
    pub fn model(&self, spec: LinkSpec) -> LinkModel {
        let source = |file: &Option<TraceFile>| file.as_ref().map(|file| file.source.clone());
        LinkModel { spec, down: source(&self.down), up: source(&self.up) }
    }

    /// Whether there are no files.
    pub fn is_off(&self) -> bool {
        *self == Self::default()
    }

    /// The same files, named so that they are found from any folder.
    pub(crate) fn absolute(mut self) -> Self {
        for file in [&mut self.down, &mut self.up].into_iter().flatten() {
            file.path = std::path::absolute(&file.path).unwrap_or_else(|_| file.path.clone());
        }
        self
    }
}

/// Bytes of a file: a trace of days.
const LARGEST: u64 = 100_000_000;

const EXPECTED: &str = "expected off, a file for both directions, or down=FILE,up=FILE";

/// Reads `off`, `FILE` for both directions, or `down=FILE,up=FILE` of which either may be left out; and the files.
pub(crate) fn parse(text: &str) -> Result<LinkTrace, String> {
    let text = text.trim();
    let mut trace = LinkTrace::default();
    if text == "off" {
        return Ok(trace);
    }
    if !text.starts_with("down=") && !text.starts_with("up=") {
        let file = read(text)?;
        return Ok(LinkTrace { down: Some(file.clone()), up: Some(file) });
    }
    for part in text.split(',') {
        let (place, path) = match part.trim().split_once('=') {
            Some(("down", path)) => (&mut trace.down, path),
            Some(("up", path)) => (&mut trace.up, path),
            _ => return Err(format!("{EXPECTED} at {part:?}")),
        };
        if place.replace(read(path)?).is_some() {
            return Err("expected each direction only once".to_owned());
        }
    }
    Ok(trace)
}

fn read(path: &str) -> Result<TraceFile, String> {
    if path.is_empty() || path.contains('\0') {
        return Err(EXPECTED.to_owned());
    }
    let unreadable = |error: io::Error| format!("{path}: cannot be read: {error}");
    let text = named_file::text(Path::new(path), LARGEST).map_err(unreadable)?;
    let wrong = |error: linkio::TraceError| format!("{path}: {error}");
    let source = if is_csv(path, &text) {
        Source::Schedule(Arc::new(Schedule::from_csv(&text).map_err(wrong)?))
    } else {
        Source::Trace(Arc::new(Trace::parse(&text).map_err(wrong)?))
    };
    Ok(TraceFile { path: PathBuf::from(path), source })
}

/// A table begins with the names of its columns, a trace with a number.
fn is_csv(path: &str, text: &str) -> bool {
    let bare = |line: &'_ str| line.trim_start_matches(['\u{feff}', '"', ' ', '\t']).to_owned();
    let first = text.lines().map(bare).find(|line| !line.is_empty() && !line.starts_with('#'));
    Path::new(path).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"))
        || first.is_some_and(|line| line.starts_with(|c: char| c.is_ascii_alphabetic()))
}

impl fmt::Display for LinkTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.down, &self.up) {
            (None, None) => f.write_str("off"),
            (Some(down), Some(up)) if down == up => write!(f, "{}", down.path.display()),
            (Some(down), None) => write!(f, "down={}", down.path.display()),
            (None, Some(up)) => write!(f, "up={}", up.path.display()),
            (Some(down), Some(up)) => write!(f, "down={},up={}", down.path.display(), up.path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_for_both_directions_or_each() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let (trace, table) = (file("a.trace", "5\n10\n"), file("b", "time,down\n0,56k\n"));
        let check = |text: &str, canonical: &str| {
            let parsed = parse(text).unwrap();
            assert_eq!(parsed.to_string(), canonical);
            assert_eq!(parse(canonical), Ok(parsed));
        };
        check("off", "off");
        check(&trace, &trace);
        check(&format!("up={trace}"), &format!("up={trace}"));
        check(&format!("up={trace}, down={table}"), &format!("down={table},up={trace}"));
        assert!(matches!(parse(&table).unwrap().down.unwrap().source, Source::Schedule(_)));
        let broken = file("c.trace", "5\n4\n");
        assert!(parse(&broken).unwrap_err().contains("line 2"), "{}", parse(&broken).unwrap_err());
        assert!(parse("/dev/null").unwrap_err().contains("regular file"));
        let quoted = file("d", "\u{feff}\"time\",\"down\"\n0,56k\n");
        assert!(parse(&quoted).is_ok(), "{:?}", parse(&quoted));
        assert!(parse("/nowhere/at/all").unwrap_err().contains("cannot be read"));
        assert!(parse(&format!("down={trace},down={trace}")).unwrap_err().contains("only once"));
        assert!(parse("down=").unwrap_err().starts_with("expected off"));
        assert!(parse("up=,x=1").unwrap_err().starts_with("expected off"));
    }
}
