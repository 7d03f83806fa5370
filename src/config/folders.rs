//! The places of the machine that values may leave open: home, cache folder, data folder, configuration folder.
//!
//! Follows the XDG Base Directory Specification: a variable that is empty or not absolute does not count. It
//! creates no folder and looks at no disk.

use std::env;
use std::path::{Path, PathBuf};

/// How `cache.dir` and `ca.dir` ask for the platform's own place.
pub(super) const AUTO: &str = "auto";

const SYSTEM_CACHE: &str = "/var/cache";
const SYSTEM_DATA: &str = "/var/lib";
/// The file of the whole machine, which the service of a package reads.
pub(crate) const SYSTEM_FILE: &str = "/etc/bentpipe/bentpipe.toml";

/// Below the folder of a user's configurations.
const USER_FILE: &str = "bentpipe/bentpipe.toml";

/// What the environment says about places.
#[derive(Debug, Default)]
pub(super) struct Folders {
    home: Option<PathBuf>,
    cache: Option<PathBuf>,
    config: Option<PathBuf>,
    data: Option<PathBuf>,
}

impl Folders {
    /// Reads `HOME`, `XDG_CACHE_HOME`, `XDG_CONFIG_HOME` and `XDG_DATA_HOME`.
    pub(super) fn new(env: impl Fn(&str) -> Option<String>) -> Folders {
        let absolute = |name| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = absolute("HOME");
        let below_home = |name| home.as_ref().map(|home| home.join(name));
        let cache = absolute("XDG_CACHE_HOME").or_else(|| below_home(".cache"));
        let config = absolute("XDG_CONFIG_HOME").or_else(|| below_home(".config"));
        let data = absolute("XDG_DATA_HOME").or_else(|| below_home(".local/share"));
        Folders { home, cache, config, data }
    }

    /// The files that are read when none is named: the system's first, then the user's, which wins.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let user = self.config.as_ref().map(|folder| folder.join(USER_FILE));
        [PathBuf::from(SYSTEM_FILE)].into_iter().chain(user).collect()
    }

    /// Gives `auto` its place, and a path below `~` its home.
    pub(super) fn settle_cache(&self, dir: &mut PathBuf) {
        if dir.as_os_str() == AUTO {
            *dir = self.cache.as_deref().unwrap_or(Path::new(SYSTEM_CACHE)).join("bentpipe");
        } else {
            self.expand_home(dir);
        }
    }

    /// As [`settle_cache`](Self::settle_cache), for the certificate authority, which must outlive any cache.
    pub(super) fn settle_ca(&self, dir: &mut PathBuf) {
        if dir.as_os_str() == AUTO {
            *dir = self.data.as_deref().unwrap_or(Path::new(SYSTEM_DATA)).join("bentpipe/ca");
        } else {
            self.expand_home(dir);
        }
    }

    /// Replaces a leading `~` by the home folder. No shell has seen the values of a file, and a folder that is
    /// really named `~` is nobody's wish. Without a home the path stays as it was written.
    pub(super) fn expand_home(&self, path: &mut PathBuf) {
        if let (Some(home), Ok(rest)) = (&self.home, path.strip_prefix("~")) {
            *path = home.join(rest);
        }
    }
}

/// A variable of the process, for [`load`](super::load::load). What is not UTF-8 arrives with replacement
/// characters, which `load` refuses: a path that is nearly the right one would be worse than an error.
pub(super) fn environment(name: &str) -> Option<String> {
    env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// The file in which this user keeps a configuration; none without a home.
pub(crate) fn usual_file() -> Option<PathBuf> {
    Folders::new(environment).config.map(|folder| folder.join(USER_FILE))
}

/// The folder of the stored responses, where nobody names one.
pub(crate) fn usual_cache() -> PathBuf {
    let mut folder = PathBuf::from(AUTO);
    Folders::new(environment).settle_cache(&mut folder);
    folder
}

/// The variables of the process that are set to something and whose names begin with `prefix`, sorted.
pub(super) fn variables(prefix: &str) -> Vec<String> {
    let set = env::vars_os().filter(|(_, value)| !value.is_empty());
    let names = set.map(|(name, _)| name.to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|name| name.starts_with(prefix)).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(variables: &'static [(&str, &str)]) -> Folders {
        Folders::new(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string())
        })
    }

    fn check_cache(variables: &'static [(&str, &str)], written: &str, expected: &str) {
        let mut dir = PathBuf::from(written);
        folders(variables).settle_cache(&mut dir);
        assert_eq!(dir, PathBuf::from(expected), "{written} with {variables:?}");
    }

    #[test]
    fn the_cache_goes_where_the_platform_keeps_caches() {
        check_cache(&[("HOME", "/home/a"), ("XDG_CACHE_HOME", "/fast")], "auto", "/fast/bentpipe");
        check_cache(&[("HOME", "/home/a")], "auto", "/home/a/.cache/bentpipe");
        check_cache(&[("HOME", "/home/a"), ("XDG_CACHE_HOME", "")], "auto", "/home/a/.cache/bentpipe");
        check_cache(&[("HOME", "/home/a"), ("XDG_CACHE_HOME", "rel")], "auto", "/home/a/.cache/bentpipe");
        check_cache(&[], "auto", "/var/cache/bentpipe");
    }

    fn check_ca(variables: &'static [(&str, &str)], written: &str, expected: &str) {
        let mut dir = PathBuf::from(written);
        folders(variables).settle_ca(&mut dir);
        assert_eq!(dir, PathBuf::from(expected), "{written} with {variables:?}");
    }

    #[test]
    fn the_authority_goes_where_the_platform_keeps_data() {
        check_ca(&[("HOME", "/home/a"), ("XDG_DATA_HOME", "/data")], "auto", "/data/bentpipe/ca");
        check_ca(&[("HOME", "/home/a")], "auto", "/home/a/.local/share/bentpipe/ca");
        check_ca(&[], "auto", "/var/lib/bentpipe/ca");
        check_ca(&[("HOME", "/home/a")], "~/ca", "/home/a/ca");
    }

    #[test]
    fn a_tilde_is_the_home_folder_only_where_it_stands_alone_and_first() {
        check_cache(&[("HOME", "/home/a")], "~/web", "/home/a/web");
        check_cache(&[("HOME", "/home/a")], "~b/web", "~b/web");
        check_cache(&[("HOME", "/home/a")], "/x/~/web", "/x/~/web");
        check_cache(&[("HOME", "/home/a")], "./auto", "./auto");
        check_cache(&[], "~/web", "~/web");
    }

    #[test]
    fn the_users_file_comes_after_the_systems() {
        let files = folders(&[("HOME", "/home/a")]).files();
        let expected = ["/etc/bentpipe/bentpipe.toml", "/home/a/.config/bentpipe/bentpipe.toml"];
        assert_eq!(files, expected.map(PathBuf::from));
        assert_eq!(folders(&[]).files(), [PathBuf::from("/etc/bentpipe/bentpipe.toml")]);
    }
}
