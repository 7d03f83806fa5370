//! Whether the cache folder can be used, and whether its file system has room for what the cache may hold. It writes
//! nothing there.

use std::path::{Path, PathBuf};

use http::Method;
use rustix::fs::{Access, access, statvfs};
use serde_json::Value;

use super::Finding;
use super::proxy::Running;
use crate::admin::human;
use crate::config::Config;

const NAME: &str = "disk";

/// What the store keeps free where nobody says how much: a twentieth of the file system, but no more than this. Bytes.
const SHARE: u64 = 20;
const ENOUGH: u64 = 512_000_000;

/// Fewer files than these are soon used up: a stored response of some size is one.
const FEW_FILES: u64 = 10_000;

/// What there is, in bytes and files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    free: u64,
    /// What is to be kept free.
    kept: u64,
    /// What the cache holds, and what it may hold at most; none where no proxy says.
    held: Option<u64>,
    limit: u64,
    /// Files that can be made and those of the whole file system; 0 of 0 where it has no such limit.
    files: (u64, u64),
}

/// Looks at the cache folder of the running proxy, or at the configured one.
pub(super) fn check(config: &Config, running: &Running) -> Vec<Finding> {
    let reply = running.ask(&Method::GET, "/v1/cache");
    let folder = reply["folder"].as_str().map_or_else(|| config.cache.dir.clone(), PathBuf::from);
    let stats = &reply["stats"];
    // A proxy that runs knows better than whoever asks, who may be another user, whether it can write.
    if let Some(why) = stats["not_storing"].as_str() {
        let free =
            stats["disk_free"].as_u64().map_or_else(String::new, |free| format!(" ({} free)", human(free)));
        let text = format!("nothing new is stored in {}: {why}{free}", folder.display());
        return vec![Finding::fail(NAME, text, remedy(&folder))];
    }
    let mut findings: Vec<_> = stats.is_null().then(|| unusable(&folder)).flatten().into_iter().collect();
    match room(&folder, config, stats) {
        Some(room) => findings.extend(judge(&folder, room)),
        None => findings
            .push(Finding::skip(NAME, format!("the system does not say how full {} is", folder.display()))),
    }
    findings
}

fn remedy(folder: &Path) -> String {
    format!(
        "make room on the disk of {}, or see what takes it: bentpipe cache stats; then set cache.size or cache.min_free",
        folder.display()
    )
}

/// Why the cache folder cannot be used by whoever asks.
fn unusable(folder: &Path) -> Option<Finding> {
    let shown = folder.display();
    if folder.exists() && !folder.is_dir() {
        let advice = "name another one: --cache-dir FOLDER (option cache.dir)";
        return Some(Finding::fail(NAME, format!("{shown} is no folder"), advice));
    }
    // Where it is not there yet, bentpipe makes it.
    let place = nearest(folder)?;
    let error = access(&place, Access::WRITE_OK | Access::EXEC_OK).err()?;
    let advice =
        format!("chown it to the user who runs bentpipe ({shown}), or name another one: --cache-dir FOLDER");
    Some(Finding::fail(NAME, format!("{} cannot be written: {error}", place.display()), advice))
}

/// The folder itself, or the one above it that is there.
fn nearest(folder: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(folder).ok()?;
    absolute.ancestors().find(|path| path.exists()).map(Path::to_owned)
}

fn room(folder: &Path, config: &Config, stats: &Value) -> Option<Room> {
    let disk = statvfs(&nearest(folder)?).ok()?;
    // Unprivileged processes do not get what is reserved for root.
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let usual = || (disk.f_blocks.saturating_mul(disk.f_frsize) / SHARE).min(ENOUGH);
    let kept = stats["min_free"].as_u64();
    let kept = kept.unwrap_or_else(|| config.cache.min_free.map_or_else(usual, |bytes| bytes.0));
    let limit = stats["limit"].as_u64().unwrap_or(config.cache.size.0);
    let files = (disk.f_favail, disk.f_files);
    Some(Room { free, kept, held: stats["disk_bytes"].as_u64(), limit, files })
}

fn judge(folder: &Path, room: Room) -> Vec<Finding> {
    let (shown, free) = (folder.display(), human(room.free));
    let mut findings = Vec::new();
    let growth = room.limit.saturating_sub(room.held.unwrap_or(0));
    if room.free < room.kept {
        let text = format!(
            "{free} free on the disk of {shown}, and {} are to be kept free: nothing new is stored",
            human(room.kept)
        );
        findings.push(Finding::fail(NAME, text, remedy(folder)));
    } else if room.held.is_some() && room.free - room.kept < growth {
        let text = format!(
            "{free} free on the disk of {shown}: too little for the cache to grow to its {}",
            human(room.limit)
        );
        let most = room.held.unwrap_or(0).saturating_add(room.free - room.kept);
        findings.push(Finding::warn(
            NAME,
            text,
            format!("set cache.size to {} at most, or make room", human(most)),
        ));
    } else if room.held.is_none() && room.free < room.kept.saturating_add(room.limit) {
        let text = format!("{free} free on the disk of {shown}, and cache.size is {}", human(room.limit));
        let advice =
            "fine if the cache is large already (bentpipe cache stats); otherwise set a smaller cache.size";
        findings.push(Finding::warn(NAME, text, advice));
    }
    match room.files {
        (_, 0) => {}
        (0, _) => findings.push(Finding::fail(
            NAME,
            format!("the disk of {shown} takes no more files"),
            "delete what has many small files, or make its file system anew with more inodes; see df -i",
        )),
        (left, _) if left < FEW_FILES => findings.push(Finding::warn(
            NAME,
            format!("the disk of {shown} takes {left} more files only"),
            "delete what has many small files; see df -i",
        )),
        _ => {}
    }
    if findings.is_empty() {
        let held = room.held.map_or_else(String::new, |held| format!("{} held, ", human(held)));
        let text = format!("{shown}: {held}{free} free; cache.size is {}", human(room.limit));
        findings.push(Finding::ok(NAME, text));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict::{self, Fail, Ok, Warn};

    const GB: u64 = 1_000_000_000;

    #[track_caller]
    fn check(free: u64, held: Option<u64>, files: (u64, u64), expected: &[Verdict]) {
        let room = Room { free, kept: GB / 2, held, limit: 10 * GB, files };
        let found = judge(Path::new("/cache"), room);
        assert_eq!(found.iter().map(|finding| finding.verdict).collect::<Vec<_>>(), expected, "{found:?}");
    }

    #[test]
    fn the_cache_needs_room_to_grow() {
        let files = (100_000, 200_000);
        check(20 * GB, None, files, &[Ok]);
        check(20 * GB, Some(GB), files, &[Ok]);
        check(2 * GB, None, files, &[Warn]);
        check(2 * GB, Some(GB), files, &[Warn]);
        check(2 * GB, Some(9 * GB), files, &[Ok]);
        check(GB / 4, Some(9 * GB), files, &[Fail]);
        check(GB / 4, None, files, &[Fail]);
    }

    #[test]
    fn files_can_be_used_up_where_there_is_a_limit() {
        check(20 * GB, None, (0, 0), &[Ok]);
        check(20 * GB, None, (0, 1_000), &[Fail]);
        check(20 * GB, None, (9_999, 1_000_000), &[Warn]);
        check(GB / 4, None, (0, 1_000), &[Fail, Fail]);
    }

    #[test]
    fn a_folder_that_is_still_to_be_made_is_no_fault() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(unusable(&home.path().join("a/b")), None);
        let file = home.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(unusable(&file).unwrap().text.ends_with("is no folder"));
    }
}
