//! Which program takes over: the one that was named, or the one that this process was started by, as it is on the disk now.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use tokio::process::Command;

/// Says to the new process that the old one is at its standard input. Not an option, and named unlike one.
pub(super) const MARK: &str = "_BENTPIPE_UPGRADE";

/// How this process was started.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// As this process was started. To be asked at its start: what `/proc/self/exe` names is gone after a package was
    /// upgraded, and a link that leads to the program may lead to another one by then.
    pub(crate) fn of_this_process() -> Self {
        let mut arguments = std::env::args_os();
        let name = PathBuf::from(arguments.next().unwrap_or_default());
        let own = std::env::current_exe().unwrap_or_default();
        let path = called(&name, std::env::var_os("PATH").as_deref().unwrap_or_default());
        Self { path: path.unwrap_or(own), arguments: arguments.collect() }
    }

    /// What is started in its place: `binary`, or the same path.
    pub(super) fn path<'a>(&'a self, binary: Option<&'a Path>) -> &'a Path {
        binary.unwrap_or(&self.path)
    }

    /// Starts `path` with the same arguments and environment.
    pub(super) fn command(&self, path: &Path) -> Command {
        let mut command = std::process::Command::new(path);
        command.arg0(path).args(&self.arguments).env(MARK, "1");
        // These are said to one process, by its number.
        for own in ["WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
            command.env_remove(own);
        }
        command.into()
    }
}

/// The file that the shell found for `name`.
fn called(name: &Path, folders: &std::ffi::OsStr) -> Option<PathBuf> {
    let is_path = name.components().count() > 1 || name.is_absolute();
    let path = if is_path {
        std::path::absolute(name).ok()
    } else {
        std::env::split_paths(folders).map(|folder| folder.join(name)).find(|path| path.is_file())
    };
    path.filter(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_where_it_was_called_from() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bentpipe");
        std::fs::write(&file, "").unwrap();
        let folders = std::env::join_paths([Path::new("/nowhere"), folder.path()]).unwrap();
        assert_eq!(called(Path::new("bentpipe"), &folders), Some(file.clone()));
        assert_eq!(called(&file, "".as_ref()), Some(file.clone()));
        assert_eq!(called(Path::new("bentpipe"), "".as_ref()), None);
        assert_eq!(called(Path::new("/nowhere/bentpipe"), &folders), None);
    }
}
