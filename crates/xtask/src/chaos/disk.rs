//! Small disks of our own: an ext4 file system in an image file, or one in memory, mounted where nobody else sees it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::native::{shutdown, tool};
use super::{Bench, Mounts};

/// A mounted file system; unmounted and gone when this is dropped.
#[derive(Debug)]
pub(super) struct Disk {
    own: tempfile::TempDir,
    is_image: bool,
}

impl Disk {
    /// An ext4 file system of `mebibytes` in an image file.
    ///
    /// # Errors
    /// Why it cannot be had here.
    pub(super) fn ext4(bench: &Bench, mebibytes: u64) -> anyhow::Result<Self> {
        ensure!(bench.mounts == Mounts::All, "needs root for a loop mount");
        let disk = Self { own: tempfile::tempdir()?, is_image: true };
        fs::create_dir(disk.folder())?;
        fs::File::create(disk.image())?.set_len(mebibytes << 20)?;
        // No blocks are reserved for root, who would otherwise never see the disk full.
        tool(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(disk.image()))?;
        disk.mount()?;
        Ok(disk)
    }

    /// A file system of `mebibytes` in memory.
    ///
    /// # Errors
    /// Why it cannot be had here.
    pub(super) fn memory(bench: &Bench, mebibytes: u64) -> anyhow::Result<Self> {
        ensure!(bench.mounts != Mounts::Nothing, "needs a mount namespace");
        let disk = Self { own: tempfile::tempdir()?, is_image: false };
        fs::create_dir(disk.folder())?;
        let size = format!("size={mebibytes}m");
        tool(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(disk.folder()))?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub(super) fn folder(&self) -> PathBuf {
        self.own.path().join("disk")
    }

    /// Unmounts it and mounts it again, which replays its journal. Nobody may use it.
    ///
    /// # Errors
    /// When somebody does.
    pub(super) fn remount(&self) -> anyhow::Result<()> {
        tool(Command::new("umount").arg(self.folder()))?;
        self.mount()
    }

    /// Cuts the power: what was not written by now never will be, and every access fails until [`Disk::remount`].
    ///
    /// # Errors
    /// When there is no C compiler, or the file system has no such thing.
    pub(super) fn cut(&self) -> anyhow::Result<()> {
        let program = shutdown(self.own.path())?;
        tool(Command::new(program).arg(self.folder()))
    }

    /// Lets ext4 meet an error, upon which it turns read-only, open files included.
    ///
    /// # Errors
    /// When this kernel cannot be asked for that.
    pub(super) fn turn_read_only(&self) -> anyhow::Result<()> {
        let output = Command::new("findmnt").args(["-no", "SOURCE"]).arg(self.folder()).output()?;
        let device = String::from_utf8_lossy(&output.stdout).trim().trim_start_matches("/dev/").to_owned();
        let trigger = Path::new("/sys/fs/ext4").join(device).join("trigger_fs_error");
        fs::write(&trigger, "chaos").with_context(|| format!("{}", trigger.display()))
    }

    /// Fills what room there is with a file outside of the cache folder, down to the last byte.
    ///
    /// # Errors
    /// Any but the one that is wanted.
    pub(super) fn fill(&self) -> anyhow::Result<()> {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(self.filler())?;
        // Whole pages first, then byte by byte: the last page has room yet.
        for size in [1 << 20, 4096, 1] {
            let bytes = vec![0x55; size];
            while let Ok(()) = file.write_all(&bytes) {
                if size == 1 {
                    break;
                }
            }
        }
        // ext4 promises blocks before it has them; a sync makes it find out.
        drop(file.sync_all());
        Ok(())
    }

    /// Makes room again.
    ///
    /// # Errors
    /// Those of deleting.
    pub(super) fn make_room(&self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.filler())?)
    }

    /// The free bytes.
    ///
    /// # Errors
    /// Those of asking.
    pub(super) fn free(&self) -> anyhow::Result<u64> {
        let status = rustix::fs::statvfs(self.folder())?;
        Ok(status.f_bavail * status.f_frsize)
    }

    fn mount(&self) -> anyhow::Result<()> {
        let options = "loop,errors=remount-ro";
        tool(Command::new("mount").args(["-t", "ext4", "-o", options]).arg(self.image()).arg(self.folder()))
    }

    fn image(&self) -> PathBuf {
        self.own.path().join("image")
    }

    fn filler(&self) -> PathBuf {
        self.folder().join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // With the namespace it would go anyway; the image cannot be deleted before.
        let lazy = Command::new("umount").arg("--lazy").arg(self.folder()).output();
        drop(lazy);
        if self.is_image {
            drop(fs::remove_file(self.image()));
        }
    }
}
