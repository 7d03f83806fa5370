//! Bodies on disk, by digest. The only file that names cacache.
//!
//! Owns the folder's content files (cacache's layout, `content-v2/sha256/ab/cd/...`) and the temporary files they come
//! from. It does not know which stored response refers to which content: the ledger counts references.
//!
//! cacache's own index entries are not written. Our journal is the authority, so nothing would ever read them; each
//! costs a file, an append and a path to keep in step on eviction; and cacache appends to an entry on every rewrite
//! and never shortens it. A content file is complete without one: `cacache::read_hash_sync` reads what is put here.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use ssri::{Algorithm, Integrity};

use crate::blocks::Digest;
use crate::error::Error;
use crate::locked::lock;

/// Placing and removing one digest exclude each other; digests share this many locks.
const STRIPES: usize = 64;

/// The content files and temporary files of one cache folder.
pub(crate) struct Content {
    folder: PathBuf,
    temporary: PathBuf,
    stripes: [Mutex<()>; STRIPES],
    unsynced: Mutex<Vec<Digest>>,
    is_ours: AtomicBool,
}

/// Where the bytes of a complete body are before they are content.
pub(crate) enum Source {
    /// In memory.
    Memory(Bytes),
    /// In a temporary file of this folder.
    File(Temporary),
}

/// A file in `tmp/`, deleted on drop unless it has become content.
pub(crate) struct Temporary {
    path: PathBuf,
    placed: bool,
}

impl Content {
    /// Uses `folder`, which must exist. Nothing is removed unless it `is_ours`.
    pub(crate) fn new(folder: &Path, is_ours: bool) -> Self {
        Self {
            folder: folder.to_owned(),
            temporary: folder.join("tmp"),
            stripes: std::array::from_fn(|_| Mutex::default()),
            unsynced: Mutex::default(),
            is_ours: AtomicBool::new(is_ours),
        }
    }

    /// Whether another process may remove what it will, and we nothing.
    pub(crate) fn renounce(&self, renounced: bool) {
        self.is_ours.store(!renounced, Ordering::Release);
    }

    /// The cache folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes `tmp/` if need be and deletes what an earlier process left there, but for the files named in `wanted`.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub(crate) fn sweep_temporary(&self, wanted: &[&str]) -> io::Result<()> {
        if self.temporary.is_file() {
            fs::remove_file(&self.temporary)?;
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.temporary)?;
        for entry in fs::read_dir(&self.temporary)?.flatten() {
            if !entry.file_name().to_str().is_some_and(|name| wanted.contains(&name)) {
                // What cannot be removed is in nobody's way.
                drop(remove_anything(&entry.path()));
            }
        }
        Ok(())
    }

    /// Deletes the temporary files that other processes left.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(crate) fn sweep_others(&self) -> io::Result<()> {
        let ours = format!("spool-{}-", std::process::id());
        for entry in fs::read_dir(&self.temporary)?.flatten() {
            if !entry.file_name().to_str().is_some_and(|name| name.starts_with(&ours)) {
                drop(remove_anything(&entry.path()));
            }
        }
        Ok(())
    }

    /// The temporary file of this name that an earlier process left.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn adopt(&self, name: &str) -> io::Result<(Temporary, File)> {
        if name.contains(['/', '\\']) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let path = self.temporary.join(name);
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        Ok((Temporary { path, placed: false }, file))
    }

    /// A new temporary file, open for reading and writing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn temporary(&self) -> io::Result<(Temporary, File)> {
        // No other store of this process, closed or open, ever uses the same name.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = self.temporary.join(format!("spool-{}-{number}", std::process::id()));
            let created = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
            match created {
                // An earlier process of the same number left it, and it is about to be adopted.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                created => return Ok((Temporary { path, placed: false }, created?)),
            }
        }
    }

    /// Makes `source` the content of `digest`, replacing what is there (which heals a damaged file; who has that open
    /// reads on in it). `refer` runs before any removal of the same digest can look at the references.
    ///
    /// # Errors
    /// When the file cannot be written or moved; `refer` has not run then.
    pub(crate) fn place(&self, source: Source, digest: &Digest, refer: impl FnOnce()) -> io::Result<()> {
        let _stripe = lock(self.stripe(digest));
        match source {
            Source::Memory(body) => self.rename(self.write(&body)?, digest)?,
            Source::File(temporary) => self.rename(temporary, digest)?,
        }
        lock(&self.unsynced).push(*digest);
        refer();
        Ok(())
    }

    /// Unlinks the content of `digest` if `unreferenced` still says so once nobody can be placing it.
    pub(crate) fn remove(&self, digest: &Digest, unreferenced: impl FnOnce() -> bool) {
        let _stripe = lock(self.stripe(digest));
        if !self.is_ours.load(Ordering::Acquire) || !unreferenced() {
            return;
        }
        let removed = Integrity::from_hex(hex(digest), Algorithm::Sha256)
            .map_err(cacache::Error::from)
            .and_then(|integrity| cacache::remove_hash_sync(&self.folder, &integrity));
        // An unlink that fails leaves a file nobody refers to; the next recovery finds it again.
        if let Err(error) = removed.map_err(to_io).or_else(|error| {
            let path = self.path(digest);
            if path.is_dir() { fs::remove_dir_all(path) } else { Err(error) }
        }) {
            tracing::debug!(%error, "content file not removed");
        }
        // Its folders go with the last file in them: 65536 empty ones would take 256 MiB. Nobody can be placing
        // anything there now, since one stripe is for all digests that begin with the same byte.
        let path = self.path(digest);
        drop(path.ancestors().skip(1).take(2).try_for_each(fs::remove_dir));
    }

    /// Opens the content of `digest`. Whether its bytes are what was stored shows when they are read.
    ///
    /// # Errors
    /// [`Error::Damaged`] when there is no such file, else what the disk said.
    pub(crate) fn open(&self, digest: &Digest) -> Result<File, Error> {
        open_file(&self.path(digest))
    }

    /// Brings what was placed since the last call to the platter: the files, then the folders that name them.
    ///
    /// # Errors
    /// What the disk said. What was not synced is tried again by the next call.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let digests = std::mem::take(&mut *lock(&self.unsynced));
        let synced = self.sync_files(&digests);
        if synced.is_err() {
            lock(&self.unsynced).extend(digests);
        }
        synced
    }

    /// Whether there has never been a content file here.
    pub(crate) fn is_unused(&self) -> bool {
        !self.folder.join("content-v2").exists()
    }

    /// The digests of all content files whose digest begins with `first`: one of 256 parts of a recovery.
    pub(crate) fn beginning_with(&self, first: u8) -> Vec<Digest> {
        let mut found = Vec::new();
        let name = format!("{first:02x}");
        let folder = self.folder.join("content-v2").join("sha256").join(&name);
        for second in names(&folder) {
            for rest in names(&folder.join(&second)) {
                found.extend(parse(&format!("{name}{second}{rest}")));
            }
        }
        found
    }

    /// What an empty folder takes on this file system, in bytes.
    pub(crate) fn folder_cost(&self) -> u64 {
        // A folder that once held many files stays large, so this one may be no measure.
        blocks(&self.temporary).min(4096)
    }

    /// The bytes on disk of the folders that are always there.
    pub(crate) fn frame(&self) -> u64 {
        let content = self.folder.join("content-v2");
        let sha256 = content.join("sha256");
        [&self.folder, &self.temporary, &content, &sha256].map(|folder| blocks(folder)).iter().sum()
    }

    /// The path of a content file. A test pins it to what cacache writes.
    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        let hex = hex(digest);
        let mut path = self.folder.join("content-v2");
        path.extend(["sha256", &hex[..2], &hex[2..4], &hex[4..]]);
        path
    }

    /// cacache's own way to write hashes once more what is hashed already, and takes for written what it could not move
    /// to its place.
    fn write(&self, body: &Bytes) -> io::Result<Temporary> {
        let (temporary, file) = self.temporary()?;
        file.write_all_at(body, 0)?;
        Ok(temporary)
    }

    fn rename(&self, mut temporary: Temporary, digest: &Digest) -> io::Result<()> {
        let path = self.path(digest);
        let renamed = fs::rename(&temporary.path, &path).or_else(|_| {
            self.make_way(&path)?;
            fs::rename(&temporary.path, &path)
        });
        temporary.placed = renamed.is_ok();
        renamed
    }

    /// Makes the folders above `path`, and removes what stands there, or in their places, and is none.
    fn make_way(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            fs::remove_dir_all(path)?;
        }
        let above = path.ancestors().skip(1).take_while(|folder| *folder != self.folder);
        if let Some(obstacle) = above.filter(|folder| folder.is_file()).last() {
            fs::remove_file(obstacle)?;
        }
        DirBuilder::new().recursive(true).mode(0o700).create(path.parent().unwrap_or(path))
    }

    fn sync_files(&self, digests: &[Digest]) -> io::Result<()> {
        let mut folders = BTreeSet::new();
        for digest in digests {
            let path = self.path(digest);
            folders.extend(path.ancestors().skip(1).take(2).map(Path::to_owned));
            sync(&path, File::sync_data)?;
        }
        folders.iter().try_for_each(|folder| sync(folder, File::sync_all))
    }

    fn stripe(&self, digest: &Digest) -> &Mutex<()> {
        &self.stripes[usize::from(digest.0[0]) % STRIPES]
    }
}

impl Temporary {
    /// It stays where it is, for the next process.
    pub(crate) fn leave(&mut self) {
        self.placed = true;
    }

    /// Its name in `tmp/`.
    pub(crate) fn name(&self) -> Option<&str> {
        self.path.file_name()?.to_str()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.placed {
            return;
        }
        let path = std::mem::take(&mut self.path);
        let remove = move || drop(fs::remove_file(path));
        // Freeing the blocks of a large file takes milliseconds: not on a thread that moves bytes.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

/// Opens the file at `path`, which holds what is stored.
///
/// # Errors
/// As for [`Content::open`].
pub(crate) fn open_file(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|error| match error.kind() {
        // Out of descriptors: the file may be as good as ever.
        _ if matches!(error.raw_os_error(), Some(libc_codes::EMFILE | libc_codes::ENFILE)) => {
            Error::Io(error)
        }
        _ => Error::Damaged,
    })
}

/// What `path` takes on disk, in bytes; nothing when it is not there.
fn blocks(path: &Path) -> u64 {
    // The unit of st_blocks is 512 bytes, whatever the file system's own.
    fs::symlink_metadata(path).map_or(0, |metadata| metadata.blocks() * 512)
}

/// Removes a file, or a folder with all that is in it.
fn remove_anything(path: &Path) -> io::Result<()> {
    fs::remove_file(path).or_else(|error| if path.is_dir() { fs::remove_dir_all(path) } else { Err(error) })
}

/// The two numbers with which all systems that we run on say that there are no more descriptors.
mod libc_codes {
    pub(super) const ENFILE: i32 = 23;
    pub(super) const EMFILE: i32 = 24;
}

/// Opens what `path` names and syncs it. What is gone was evicted meanwhile and needs no sync; what cannot be opened is a
/// damage of its own, which its readers will find, and says nothing of the disk.
fn sync(path: &Path, how: fn(&File) -> io::Result<()>) -> io::Result<()> {
    File::open(path).map_or(Ok(()), |file| how(&file))
}

/// The names in `folder`; none when it cannot be read.
fn names(folder: &Path) -> impl Iterator<Item = String> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
}

fn hex(digest: &Digest) -> String {
    use std::fmt::Write;
    digest.0.iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn parse(hex: &str) -> Option<Digest> {
    let mut digest = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (index, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(Digest(digest))
}

fn to_io(error: cacache::Error) -> io::Error {
    match error {
        cacache::Error::IoError(error, _) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests;
