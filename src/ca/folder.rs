//! The folder of the authority: `current/` holds the pair that signs, `next/` the one that is to follow, each with
//! `ca.crt` (PEM, for everybody) and `ca.key` (PKCS #8 in PEM, for its owner alone); `previous/` only the certificate
//! that was replaced.
//!
//! A pair is written into a folder that is then renamed, so that whoever looks finds it whole or not at all. What a
//! certificate says is not this file's matter.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;

use super::authority::{Authority, Made};
use super::certificate::RootCertificate;
use super::error::Error;
use crate::named_file;

const CURRENT: &str = "current";
const NEXT: &str = "next";
const PREVIOUS: &str = "previous";
const CERTIFICATE: &str = "ca.crt";
const KEY: &str = "ca.key";

/// A certificate or a key is far smaller; a larger file is something else.
const LARGEST: u64 = 64 * 1024;

/// The folder in which an authority lives.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the key in force is.
    pub(crate) fn key_path(&self) -> PathBuf {
        self.path.join(CURRENT).join(KEY)
    }

    /// The authority in the folder, ready to sign; none if none was made.
    ///
    /// # Errors
    /// If others can read the key or change the folder, and if the pair is damaged.
    pub(crate) fn load(&self) -> Result<Option<Authority>, Error> {
        self.finish_promotion()?;
        self.look()
    }

    /// As [`load`](Self::load), and leaves the folder as it is, also where a rotation was cut off.
    pub(crate) fn look(&self) -> Result<Option<Authority>, Error> {
        let is_cut_off = !self.path.join(CURRENT).exists() && self.path.join(NEXT).is_dir();
        let name = if is_cut_off { NEXT } else { CURRENT };
        let Some(certificate) = self.certificate(name)? else { return Ok(None) };
        check_mode(&self.path, 0o022, "change", "700")?;
        let path = self.path.join(name).join(KEY);
        check_mode(&path, 0o077, "read", "600")?;
        let key = read_key(&read(&path)?)
            .ok_or(Error::Damaged { path: path.clone(), what: "not a private key" })?;
        let next = if is_cut_off { None } else { self.certificate(NEXT)? };
        let foreign = || Error::Damaged { path, what: "not the key of the certificate beside it" };
        Authority::new(certificate, &key, next).ok_or_else(foreign).map(Some)
    }

    /// The certificates that devices should trust, the one in force first, and their files; empty if none was made. For
    /// whoever needs no key.
    ///
    /// # Errors
    /// If one of them is damaged.
    pub(crate) fn published(&self) -> Result<Vec<(RootCertificate, PathBuf)>, Error> {
        self.finish_promotion()?;
        self.certificates(&[CURRENT, NEXT])
    }

    /// The certificate that was replaced last, which no device needs any longer, and its file.
    ///
    /// # Errors
    /// If it is damaged.
    pub(crate) fn replaced(&self) -> Result<Vec<(RootCertificate, PathBuf)>, Error> {
        self.certificates(&[PREVIOUS])
    }

    fn certificates(&self, names: &[&str]) -> Result<Vec<(RootCertificate, PathBuf)>, Error> {
        let mut found = Vec::new();
        for name in names {
            let path = self.path.join(name).join(CERTIFICATE);
            found.extend(self.certificate(name)?.map(|certificate| (certificate, path)));
        }
        Ok(found)
    }

    /// Puts a new authority in force where there is none.
    ///
    /// # Errors
    /// If there is one, which stays as it is, or if the folder cannot be written.
    pub(crate) fn init(&self, made: &Made) -> Result<(), Error> {
        if self.certificate(CURRENT)?.is_some() {
            return Err(Error::Exists { folder: self.path.clone() });
        }
        self.put(CURRENT, made)
    }

    /// Keeps a new authority that is to follow the one in force.
    ///
    /// # Errors
    /// If none is in force, if one is to follow already, or if the folder cannot be written.
    pub(crate) fn prepare(&self, made: &Made) -> Result<(), Error> {
        if self.certificate(CURRENT)?.is_none() {
            return Err(Error::Nothing { folder: self.path.clone() });
        }
        self.put(NEXT, made)
    }

    /// Puts the authority that is to follow in force, and drops the key of the one it follows.
    ///
    /// # Errors
    /// If none is to follow, or if the folder cannot be written.
    pub(crate) fn promote(&self) -> Result<(), Error> {
        let [current, next, previous] = [CURRENT, NEXT, PREVIOUS].map(|name| self.path.join(name));
        if !next.is_dir() {
            return Err(Error::Nothing { folder: self.path.clone() });
        }
        if previous.is_dir() {
            fs::remove_dir_all(&previous).map_err(|source| file_error(&previous, source))?;
        }
        // A crash between the two leaves no `current`; `finish_promotion` then does the second.
        fs::rename(&current, &previous).map_err(|source| file_error(&current, source))?;
        self.finish_promotion()
    }

    /// Finishes a rotation that was cut off, if one was.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub(crate) fn finish_promotion(&self) -> Result<(), Error> {
        let [current, next, previous] = [CURRENT, NEXT, PREVIOUS].map(|name| self.path.join(name));
        if !current.exists() && next.is_dir() {
            fs::rename(&next, &current).map_err(|source| file_error(&next, source))?;
            sync_folder(&self.path)?;
        }
        match fs::remove_file(previous.join(KEY)) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(file_error(&previous.join(KEY), source))
            }
            _ => Ok(()),
        }
    }

    fn certificate(&self, name: &str) -> Result<Option<RootCertificate>, Error> {
        let path = self.path.join(name).join(CERTIFICATE);
        match read(&path) {
            Ok(pem) => RootCertificate::from_pem(&pem)
                .map(Some)
                .ok_or(Error::Damaged { path, what: "not a certificate that bentpipe made" }),
            Err(Error::File { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a pair under a name that nobody knows, and then gives it its own, which must be free.
    fn put(&self, name: &str, made: &Made) -> Result<(), Error> {
        let create = |path: &Path| {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(|source| file_error(path, source))
        };
        create(&self.path)?;
        check_mode(&self.path, 0o022, "change", "700")?;
        let making = self.path.join(format!(".making-{}", std::process::id()));
        create(&making)?;
        let target = self.path.join(name);
        let put = || -> Result<(), Error> {
            write(&making.join(KEY), made.key.as_bytes(), 0o600)?;
            write(&making.join(CERTIFICATE), made.certificate.pem().as_bytes(), 0o644)?;
            sync_folder(&making)?;
            // A folder takes no other's place unless that is empty.
            match fs::rename(&making, &target) {
                Err(source)
                    if matches!(source.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) =>
                {
                    Err(Error::Exists { folder: target.clone() })
                }
                Err(source) => Err(file_error(&target, source)),
                Ok(()) => sync_folder(&self.path),
            }
        };
        put().inspect_err(|_| _ = fs::remove_dir_all(&making))
    }
}

/// Reads a key from PEM.
pub(super) fn read_key(pem: &[u8]) -> Option<PrivatePkcs8KeyDer<'static>> {
    PrivatePkcs8KeyDer::from_pem_slice(pem).ok()
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    named_file::read(path, LARGEST).map_err(|source| file_error(path, source))
}

fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), Error> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(|source| file_error(path, source))
}

fn sync_folder(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|source| file_error(path, source))
}

/// Refuses a file or folder whose mode gives others what `bits` stand for.
fn check_mode(path: &Path, bits: u32, what: &'static str, right: &'static str) -> Result<(), Error> {
    let mode = fs::metadata(path).map_err(|source| file_error(path, source))?.permissions().mode() & 0o7777;
    if mode & bits == 0 { Ok(()) } else { Err(Error::Open { path: path.to_owned(), mode, what, right }) }
}

fn file_error(path: &Path, source: io::Error) -> Error {
    Error::File { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::ca::Scope;

    fn now() -> std::time::SystemTime {
        crate::Clock::manual().now()
    }

    fn made() -> Made {
        Made::new("Test", &Scope::Any, now()).expect("an authority")
    }

    fn folder() -> (TempDir, Folder) {
        let parent = TempDir::new().expect("a folder");
        let folder = Folder::new(&parent.path().join("a/ca"));
        (parent, folder)
    }

    fn published(folder: &Folder) -> Vec<RootCertificate> {
        folder.published().expect("certificates").into_iter().map(|(certificate, _)| certificate).collect()
    }

    fn replaced(folder: &Folder) -> Vec<RootCertificate> {
        folder.replaced().expect("certificates").into_iter().map(|(certificate, _)| certificate).collect()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("a file").permissions().mode() & 0o7777
    }

    fn names(folder: &Folder) -> Vec<String> {
        let entries = fs::read_dir(folder.path()).expect("a folder");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_made_is_private_and_found_again() {
        let (_parent, folder) = folder();
        assert!(folder.load().expect("no authority").is_none());
        let made = made();
        folder.init(&made).expect("an authority");
        assert_eq!((mode(folder.path()), mode(&folder.path().join(CURRENT))), (0o700, 0o700));
        assert_eq!(mode(&folder.path().join("current/ca.key")), 0o600);
        let loaded = folder.load().expect("an authority").expect("one");
        assert_eq!(*loaded.certificate(), made.certificate);
        assert!(matches!(folder.init(&self::made()), Err(Error::Exists { .. })));
        assert_eq!(published(&folder), [made.certificate]);
        assert_eq!(names(&folder), [CURRENT]);
    }

    #[test]
    fn what_others_can_read_or_change_is_refused() {
        let (_parent, folder) = folder();
        folder.init(&made()).expect("an authority");
        let key = folder.path().join("current/ca.key");
        let set =
            |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
        for wrong in [0o640, 0o604, 0o644] {
            set(&key, wrong);
            let error = folder.load().err().expect("refused").to_string();
            assert!(
                error.contains(&format!("its mode is {wrong:04o}, so that others can read it: chmod 600 ")),
                "{error}"
            );
        }
        set(&key, 0o400);
        set(folder.path(), 0o770);
        assert!(
            folder.load().err().expect("refused").to_string().contains("others can change it: chmod 700 ")
        );
        set(folder.path(), 0o755);
        assert!(folder.load().is_ok());
    }

    #[test]
    fn the_next_one_follows_and_the_old_key_is_gone() {
        let (_parent, folder) = folder();
        assert!(matches!(folder.prepare(&made()), Err(Error::Nothing { .. })));
        let (old, new) = (made(), made());
        folder.init(&old).expect("an authority");
        assert!(matches!(folder.promote(), Err(Error::Nothing { .. })));
        folder.prepare(&new).expect("a successor");
        assert!(matches!(folder.prepare(&made()), Err(Error::Exists { .. })));
        let loaded = folder.load().expect("an authority").expect("one");
        assert_eq!((loaded.certificate(), loaded.next()), (&old.certificate, Some(&new.certificate)));
        folder.promote().expect("in force");
        let loaded = folder.load().expect("an authority").expect("one");
        assert_eq!((loaded.certificate(), loaded.next()), (&new.certificate, None));
        assert_eq!(replaced(&folder), [old.certificate]);
        assert!(!folder.path().join("previous/ca.key").exists());
        folder.prepare(&made()).expect("another");
        folder.promote().expect("and again");
        assert_eq!(replaced(&folder), [new.certificate]);
    }

    #[test]
    fn a_rotation_that_was_cut_off_is_finished() {
        let (_parent, folder) = folder();
        let (old, new) = (made(), made());
        folder.init(&old).expect("an authority");
        folder.prepare(&new).expect("a successor");
        fs::rename(folder.path().join(CURRENT), folder.path().join(PREVIOUS)).expect("the first half");
        let loaded = folder.load().expect("an authority").expect("one");
        assert_eq!(*loaded.certificate(), new.certificate);
        assert_eq!(names(&folder), [CURRENT, PREVIOUS]);
        assert!(!folder.path().join("previous/ca.key").exists());
    }

    #[test]
    fn damage_is_told_with_its_file() {
        let check = |name: &str, content: &str, what: &str| {
            let (_parent, folder) = folder();
            folder.init(&made()).expect("an authority");
            fs::write(folder.path().join(CURRENT).join(name), content).expect("a file");
            let error = folder.load().err().expect("refused").to_string();
            assert!(error.ends_with(&format!("{name}: {what}")), "{error}");
        };
        check(KEY, "", "not a private key");
        check(KEY, &made().key, "not the key of the certificate beside it");
        check(CERTIFICATE, "-----BEGIN", "not a certificate that bentpipe made");
        check(
            CERTIFICATE,
            &made().certificate.pem().replacen('M', "N", 4),
            "not a certificate that bentpipe made",
        );
    }
}
