//! Content files that are truncated, altered, emptied, deleted, replaced or unreadable, with bentpipe stopped and with
//! it running: every answer is right, and the second is a hit again.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::files::{all, append, contents, cut, flip};
use super::row::Row;
use super::stand::{Asker, Stand, Tally};
use super::{Bench, Mounts};

/// Longer than what is answered stays unwritten.
const SETTLE: Duration = Duration::from_millis(2_200);
/// What keeping a body may take once it has been served.
const PLACING: Duration = Duration::from_millis(50);
/// Whoever it is, it is not root: root may read everything.
const NOBODY: u32 = 65_534;

/// What is done to a content file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Halved,
    CutToABlock,
    AlteredFirst,
    AlteredLast,
    AlteredMiddle,
    Emptied,
    Zeroed,
    Lengthened,
    Deleted,
    Folder,
    FullFolder,
    DanglingLink,
    Unreadable,
}

const DAMAGES: [Damage; 13] = [
    Damage::Halved,
    Damage::CutToABlock,
    Damage::AlteredFirst,
    Damage::AlteredLast,
    Damage::AlteredMiddle,
    Damage::Emptied,
    Damage::Zeroed,
    Damage::Lengthened,
    Damage::Deleted,
    Damage::Folder,
    Damage::FullFolder,
    Damage::DanglingLink,
    Damage::Unreadable,
];

/// What was seen of the asks after a damage.
#[derive(Default)]
struct Seen {
    tally: Tally,
    unhealed: Vec<String>,
    bystanders: Vec<String>,
    lost: Vec<String>,
}

/// One object and what is done to it.
struct Victim {
    path: String,
    damage: Damage,
}

/// Runs all damages at once on a stopped cache, then on a running one; those that leave a folder by themselves, since
/// nothing can be put in its place without more ado.
///
/// # Errors
/// When a process does not come up or a content file cannot be found.
pub(super) async fn run(bench: &Bench) -> anyhow::Result<Row> {
    let mut row = Row::new("content");
    if bench.mounts != Mounts::All {
        row.figure("a file that may not be read: SKIPPED, needs root");
    }
    let (folders, files): (Vec<_>, Vec<_>) = victims(bench)
        .into_iter()
        .partition(|victim| matches!(victim.damage, Damage::Folder | Damage::FullFolder));
    row.figure(format!("{} damaged files, twice", folders.len() + files.len()));
    let mut seen = Seen::default();
    let mut last: Option<Stand> = None;
    for victims in [files, folders] {
        let mut stand = Stand::new(bench).await?;
        if bench.mounts == Mounts::All {
            become_nobody(&mut stand)?;
        }
        if let Some(before) = &mut last {
            stand.follow(before);
        }
        try_all(&mut stand, &victims, &mut seen).await?;
        last = Some(stand);
    }
    if let Some(stand) = last {
        stand.report_panics(&mut row);
    }
    seen.tally.report(&mut row);
    row.none_of("not healed on first ask", &seen.unhealed);
    row.none_of("bystanders lost", &seen.bystanders);
    row.none_of("lost in the end", &seen.lost);
    Ok(row)
}

async fn try_all(stand: &mut Stand, victims: &[Victim], seen: &mut Seen) -> anyhow::Result<()> {
    let bystanders: Vec<_> = (0..6).map(|n| format!("/{}/bystander", 1_000 + 20_001 * n)).collect();
    let every: Vec<_> = victims.iter().map(|victim| victim.path.clone()).chain(bystanders.clone()).collect();
    let program = stand.start().await?;
    stand.asker(&program).ask_all(&every).await;
    tokio::time::sleep(SETTLE).await;
    stand.terminate(program).await?;

    let missing = damage(&stand.folder, victims, &every)?;
    ensure!(missing.is_empty(), "content files were not found: {missing:?}");
    let mut program = stand.start().await?;
    seen.look(&stand.asker(&program), victims, &bystanders, "stopped").await;
    tokio::time::sleep(SETTLE).await;
    seen.unhealed.extend(damage(&stand.folder, victims, &every)?);
    seen.look(&stand.asker(&program), victims, &bystanders, "running").await;
    tokio::time::sleep(SETTLE).await;
    stand.listen_to(&mut program)?;
    stand.terminate(program).await?;

    let program = stand.start().await?;
    let asker = stand.asker(&program);
    // What was in memory was not seen to be damaged while bentpipe ran: it is healed now.
    seen.tally = std::mem::take(&mut seen.tally).merge(asker.ask_all(&every).await.labelled("started again"));
    let last = asker.ask_all(&every).await;
    seen.lost.extend(every.iter().filter(|path| !last.hits.contains(path)).cloned());
    seen.tally = std::mem::take(&mut seen.tally).merge(last.labelled("in the end"));
    stand.terminate(program).await?;
    Ok(())
}

/// Each damage for each size; every length is its own, by which the file is found.
fn victims(bench: &Bench) -> Vec<Victim> {
    let large = if bench.short { 6_000_000 } else { 20_000_000 };
    let mut victims = Vec::new();
    for (number, damage) in DAMAGES.into_iter().enumerate() {
        if matches!(damage, Damage::Unreadable) && bench.mounts != Mounts::All {
            continue;
        }
        let is_telling = matches!(damage, Damage::AlteredMiddle | Damage::Deleted);
        for length in [40_000, 1_000_000, large] {
            if length < large || !bench.short || is_telling {
                victims.push(Victim { path: format!("/{}/victim", length + number), damage });
            }
        }
    }
    victims
}

/// Damages what it finds; returns the objects whose content file it does not.
fn damage(folder: &Path, victims: &[Victim], every: &[String]) -> anyhow::Result<Vec<String>> {
    let files = contents(folder, every);
    let mut missing = Vec::new();
    for Victim { path, damage } in victims {
        match files.get(path) {
            Some(file) => damage.apply(file).with_context(|| format!("{damage:?}"))?,
            // What stands behind the end is never read, so the file stays as it is, and is not found a second time.
            None if matches!(damage, Damage::Lengthened) => {}
            None => missing.push(format!("{path}: no content file after {damage:?}")),
        }
    }
    Ok(missing)
}

/// Lets bentpipe run as somebody who may not read everything.
fn become_nobody(stand: &mut Stand) -> anyhow::Result<()> {
    fs::create_dir_all(&stand.folder)?;
    for path in [stand.own()?.to_owned(), stand.folder.clone()] {
        chown(path, Some(NOBODY), Some(NOBODY))?;
    }
    ensure!(all(&stand.folder).is_empty(), "the cache folder is not empty");
    stand.user = Some(NOBODY);
    Ok(())
}

impl Seen {
    async fn look(&mut self, asker: &Asker, victims: &[Victim], bystanders: &[String], when: &str) {
        for Victim { path, damage } in victims {
            let label = format!("{when}, {damage:?}");
            let mut tally = Tally::default();
            let (answer, is_hit) = asker.ask_for_hit(path).await;
            let was_right = answer == super::stand::Answer::Right;
            tally.add(path, answer, is_hit);
            // What was fetched anew is put in its place behind the client's back.
            tokio::time::sleep(PLACING).await;
            let (answer, is_hit) = asker.ask_for_hit(path).await;
            if !(was_right && is_hit) {
                self.unhealed.push(format!("[{label}] {path}"));
            }
            tally.add(path, answer, is_hit);
            self.tally = std::mem::take(&mut self.tally).merge(tally.labelled(&label));
        }
        let tally = asker.ask_all(bystanders).await;
        let lost = bystanders.iter().filter(|path| !tally.hits.contains(path));
        self.bystanders.extend(lost.map(|path| format!("[{when}] {path}")));
        self.tally = std::mem::take(&mut self.tally).merge(tally.labelled(when));
    }
}

impl Damage {
    fn apply(self, file: &Path) -> anyhow::Result<()> {
        let length = usize::try_from(fs::metadata(file)?.len())?;
        match self {
            Self::Halved => cut(file, length / 2)?,
            Self::CutToABlock => cut(file, length / 65_536 * 65_536)?,
            Self::AlteredFirst => flip(file, 7, 0x10)?,
            Self::AlteredLast => flip(file, length - 1, 0x01)?,
            Self::AlteredMiddle => flip(file, length / 2, 0x80)?,
            Self::Emptied => cut(file, 0)?,
            Self::Zeroed => {
                cut(file, 0)?;
                cut(file, length)?;
            }
            Self::Lengthened => append(file, b"x")?,
            Self::Deleted => fs::remove_file(file)?,
            Self::Folder => {
                fs::remove_file(file)?;
                fs::create_dir(file)?;
            }
            Self::FullFolder => {
                fs::remove_file(file)?;
                fs::create_dir(file)?;
                fs::write(file.join("junk"), "junk")?;
            }
            Self::DanglingLink => {
                fs::remove_file(file)?;
                symlink("nowhere", file)?;
            }
            Self::Unreadable => fs::set_permissions(file, fs::Permissions::from_mode(0o000))?,
        }
        if matches!(self, Self::Folder | Self::FullFolder) {
            chown(file, Some(NOBODY), Some(NOBODY)).ok();
        }
        Ok(())
    }
}
