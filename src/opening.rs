//! What a configuration opens: the files that it names, read and judged before anything is put to use. The start, a reload
//! and `bentpipe config check` all ask here, so that none of them takes what another refuses. Nothing is made or changed;
//! addresses that are listened on are `serve`'s, and the configuration file's own text is `config`'s.

use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;

use crate::admit::users_file::UsersFile;
use crate::ca::{self, Authority};
use crate::config::{AccessLog, Config, ConfigError, ConfigErrors, Loaded};
use crate::named_file;
use crate::secure;
use crate::upstream::roots;

/// What was found.
pub(crate) struct Opened {
    pub(crate) authority: Option<Arc<Authority>>,
    /// The certificate that clients see who speak TLS to the proxy itself, where the operator has one.
    pub(crate) shown: Option<Arc<CertifiedKey>>,
    /// The authorities of the operator's for origins.
    pub(crate) roots: Vec<CertificateDer<'static>>,
    /// None where no file is named, and where it is to stay as it was read before.
    pub(crate) users: Option<UsersFile>,
}

/// Opens what `loaded` names. Reads files.
///
/// # Errors
/// Everything that is wrong, each with the place where the configuration names it.
pub(crate) fn open(loaded: &Loaded) -> Result<Opened, ConfigErrors> {
    open_beside(loaded, None)
}

/// As [`open`], for a proxy that runs with the configuration `before` and in which something else is changed by hand: the
/// users, the log and the cache that go on are not looked at again. A link must be changed in a hurry, also while
/// somebody has half edited the file of users.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_beside(loaded: &Loaded, before: Option<&Config>) -> Result<Opened, ConfigErrors> {
    let config = &loaded.config;
    let mut faults = Faults { loaded, errors: Vec::new() };
    let file = config.admission.users_file.as_deref();
    let goes_on = |before: &Config| before.admission.users_file.as_deref() == file;
    let users = file.filter(|_| !before.is_some_and(goes_on)).map(UsersFile::open).transpose();
    let users = faults.all("admission.users_file", users).flatten();
    let roots = faults.all("tls.roots", roots::extra(&config.tls.roots)).unwrap_or_default();
    let authority = authority(config, &mut faults);
    let shown = shown(config, authority.is_some(), &mut faults);
    if before.is_none_or(|before| before.log.access != config.log.access) {
        faults.note("log.access", access_log(&config.log.access));
    }
    if before.is_none() {
        faults.note("cache.dir", cache_folder(&config.cache.dir));
    }
    match faults.errors.is_empty() {
        true => Ok(Opened { authority, shown, roots, users }),
        false => Err(ConfigErrors(faults.errors)),
    }
}

/// What is wrong so far.
struct Faults<'a> {
    loaded: &'a Loaded,
    errors: Vec<ConfigError>,
}

impl Faults<'_> {
    /// What came of the option `key`.
    fn note<T>(&mut self, key: &'static str, found: Result<T, String>) -> Option<T> {
        self.all(key, found.map_err(|reason| vec![reason]))
    }

    fn all<T>(&mut self, key: &'static str, found: Result<T, Vec<String>>) -> Option<T> {
        let refused = |reasons: Vec<String>| {
            self.errors.extend(reasons.into_iter().map(|reason| self.loaded.refused(key, reason)));
        };
        found.map_err(refused).ok()
    }
}

fn authority(config: &Config, faults: &mut Faults<'_>) -> Option<Arc<Authority>> {
    let opened = ca::open(config);
    // Where the folder is the usual one, it is for the hosts that it has to be right.
    let is_missing = matches!(opened, Err(ca::Error::Missing { .. }));
    let of_hosts = is_missing || faults.loaded.is_default("ca.dir");
    let key = if of_hosts { "tls.intercept.hosts" } else { "ca.dir" };
    faults.note(key, opened.map_err(|error| error.to_string())).flatten()
}

fn shown(config: &Config, has_authority: bool, faults: &mut Faults<'_>) -> Option<Arc<CertifiedKey>> {
    if config.https_listen.is_empty() {
        return None;
    }
    match (&config.tls.certificate, &config.tls.key) {
        (Some(certificate), Some(key)) => match secure::given(certificate, key) {
            Ok(certified) => return Some(certified),
            Err((key, reason)) => _ = faults.note::<()>(key, Err(reason)),
        },
        (None, None) if has_authority => {}
        (None, None) => {
            let reason = "wants a certificate: tls.certificate and tls.key, or an authority of its own, \
                          which `bentpipe ca init` makes";
            faults.note::<()>("https_listen", Err(reason.to_owned()));
        }
        (given, _) => {
            let (there, lacking) = ("tls.certificate", "tls.key");
            let (key, lacking) = if given.is_some() { (there, lacking) } else { (lacking, there) };
            faults.note::<()>(key, Err(format!("wants {lacking}, too")));
        }
    }
    None
}

/// Whether the access log can be opened for appending, or made.
fn access_log(log: &AccessLog) -> Result<(), String> {
    let AccessLog::File(path) = log else { return Ok(()) };
    let shown = path.display();
    if path.is_dir() {
        return Err(format!("{shown} is a folder; name a file in it"));
    }
    if named_file::is_pipe(path) {
        return Err(format!("{shown} is a pipe; name a file"));
    }
    if path.exists() {
        return access(path, Access::WRITE_OK).map_err(|error| format!("{shown} cannot be written: {error}"));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let may = access(folder, Access::WRITE_OK | Access::EXEC_OK);
    may.map_err(|error| format!("{shown} cannot be made in {}: {error}", folder.display()))
}

/// Whether the cache folder can be used, or made. One on a disk that takes no writes can be served from.
fn cache_folder(folder: &Path) -> Result<(), String> {
    let Some(there) = folder.ancestors().find(|folder| folder.exists()) else { return Ok(()) };
    let shown = there.display();
    if !there.is_dir() {
        return Err(format!("{shown} is no folder"));
    }
    match access(there, Access::WRITE_OK | Access::EXEC_OK) {
        Err(error) if error != Errno::ROFS => Err(format!("{shown} cannot be written: {error}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::config::Given;

    /// What is said of a file of `lines`, of which `@` is the folder that it is in.
    #[track_caller]
    fn check(folder: &TempDir, lines: &str, expected: &[&str]) {
        let at = folder.path().display().to_string();
        let file = folder.path().join("b.toml");
        std::fs::write(&file, lines.replace('@', &at)).expect("written");
        let given = Given::by_flags(["--config", &file.display().to_string()]).expect("flags");
        let loaded = given.load().expect("values that can be");
        let said = open(&loaded).err().map_or_else(String::new, |errors| errors.to_string());
        let said: Vec<_> = said.lines().map(|line| line.replace(&at, "@")).collect();
        assert_eq!(said, expected, "{lines}");
    }

    #[test]
    fn what_cannot_be_opened_is_told_with_the_line_that_names_it() {
        let folder = TempDir::new().expect("a folder");
        std::fs::write(folder.path().join("users"), "\nann:sesame\nbob\n").expect("written");
        std::fs::write(folder.path().join("roots.pem"), "nothing").expect("written");
        let advice = "make a new one: htpasswd -B @/users ann";
        let weak = format!(
            "@/b.toml:2: admission.users_file: @/users: line 2: ann has a password that is not hashed, which is quickly \
             guessed; {advice}"
        );
        let text = "[admission]\nusers_file = '@/users'\n[log]\naccess = '@/none/access.log'\n[tls]\n\
                    roots = ['@/roots.pem', '@/none.pem']\nintercept.hosts = ['a.example']\n[ca]\ndir = '@/ca'\n\
                    [cache]\ndir = '@/users/cache'\n";
        let expected = [
            &weak,
            "@/b.toml:2: admission.users_file: @/users: line 3: expected NAME:HASH",
            "@/b.toml:6: tls.roots: @/roots.pem holds no certificate in PEM, which begins with a line -----BEGIN",
            "@/b.toml:6: tls.roots: @/none.pem cannot be read: No such file or directory (os error 2)",
            "@/b.toml:7: tls.intercept.hosts: names hosts, and there is no certificate authority in \
             @/ca to open them with: make one with bentpipe ca init",
            "@/b.toml:4: log.access: @/none/access.log cannot be made in @/none: No such file or directory (os error 2)",
            "@/b.toml:11: cache.dir: @/users is no folder",
        ];
        check(&folder, text, &expected);
        let names: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").collect();
        assert_eq!(names.len(), 3, "nothing was made");
        check(&folder, "log.access = '@/access.log'\ncache.dir = '@/cache'\nca.dir = '@/ca'\n", &[]);
        assert!(!folder.path().join("access.log").exists() && !folder.path().join("cache").exists());
        let pipe = folder.path().join("pipe");
        let (here, kind) = (rustix::fs::CWD, rustix::fs::FileType::Fifo);
        rustix::fs::mknodat(here, &pipe, kind, 0o600.into(), 0).expect("a pipe");
        check(
            &folder,
            "log.access = '@/pipe'\ntls.roots = ['@/pipe']\nadmission.users_file = '@/pipe'\n",
            &[
                "@/b.toml:3: admission.users_file: @/pipe: it is no regular file",
                "@/b.toml:2: tls.roots: @/pipe cannot be read: it is no regular file",
                "@/b.toml:1: log.access: @/pipe is a pipe; name a file",
            ],
        );
        check(&folder, "log.access = '@'\n", &["@/b.toml:1: log.access: @ is a folder; name a file in it"]);
    }

    #[test]
    fn tls_wants_a_certificate_and_its_key() {
        let folder = TempDir::new().expect("a folder");
        let listen = "https_listen = ['127.0.0.1:0']\nca.dir = '@/ca'\n";
        let wants = "wants a certificate: tls.certificate and tls.key, or an authority of its own, which \
                     `bentpipe ca init` makes";
        check(&folder, listen, &[&format!("@/b.toml:1: https_listen: {wants}")]);
        let half = "@/b.toml:3: tls.key: wants tls.certificate, too";
        check(&folder, &format!("{listen}tls.key = '@/key.pem'\n"), &[half]);
        let both = format!("{listen}tls.key = '@/key.pem'\ntls.certificate = '@/cert.pem'\n");
        let gone =
            "@/b.toml:4: tls.certificate: @/cert.pem cannot be read: No such file or directory (os error 2)";
        check(&folder, &both, &[gone]);
        for name in ["one", "other"] {
            let made = ca::Made::new(name, &ca::Scope::Any, crate::Clock::manual().now()).expect("a pair");
            ca::Folder::new(&folder.path().join(name)).init(&made).expect("written");
        }
        let copy = |from: &str, to| {
            std::fs::copy(folder.path().join(from), folder.path().join(to)).expect("a copy");
        };
        copy("one/current/ca.crt", "cert.pem");
        copy("other/current/ca.key", "key.pem");
        let foreign = "@/b.toml:3: tls.key: @/key.pem is not the key of the certificate in @/cert.pem";
        check(&folder, &both, &[foreign]);
        copy("one/current/ca.key", "key.pem");
        check(&folder, &both, &[]);
    }

    #[test]
    fn looking_finishes_no_rotation() {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("ca");
        let made =
            || ca::Made::new("x", &ca::Scope::Any, crate::Clock::manual().now()).expect("an authority");
        let ca = ca::Folder::new(&path);
        ca.init(&made()).expect("an authority");
        ca.prepare(&made()).expect("the next");
        std::fs::rename(path.join("current"), path.join("previous")).expect("the first half");
        check(&folder, "tls.intercept.hosts = ['a.example']\nca.dir = '@/ca'\n", &[]);
        assert!(path.join("next").is_dir() && path.join("previous/ca.key").exists());
    }
}
