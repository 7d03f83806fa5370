//! Disks that refuse: read-only, forbidden, nothing but errors, no file descriptors left. bentpipe goes on proxying,
//! and stores again where the trouble can end.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::disk::Disk;
use super::full::wait_for_storing;
use super::load::Load;
use super::row::Row;
use super::stand::{Answer, Stand, why};
use super::{Bench, Mounts};

/// Longer than what is answered stays unwritten and unsynced.
const SETTLE: Duration = Duration::from_millis(6_500);

/// An ext4 disk that met an error and turned read-only.
///
/// # Errors
/// When a process does not come up.
pub(super) async fn readonly(bench: &Bench) -> anyhow::Result<Row> {
    broken_disk(bench, "readonly", Disk::turn_read_only).await
}

/// A disk on which everything fails, reading too.
///
/// # Errors
/// When a process does not come up.
pub(super) async fn errors(bench: &Bench) -> anyhow::Result<Row> {
    broken_disk(bench, "errors", Disk::cut).await
}

async fn broken_disk(
    bench: &Bench,
    name: &str,
    break_it: fn(&Disk) -> anyhow::Result<()>,
) -> anyhow::Result<Row> {
    let disk = match Disk::ext4(bench, 128) {
        Ok(disk) => disk,
        Err(why) => return Ok(Row::skipped(name, format!("{why:#}"))),
    };
    let mut row = Row::new(name);
    let mut stand = Stand::on(bench, disk.folder().join("cache")).await?;
    let (early, late) = (objects("early"), objects("late"));
    let mut program = stand.start().await?;
    let asker = stand.asker(&program);
    let mut tally = asker.ask_all(&early).await.labelled("before");
    tokio::time::sleep(SETTLE).await;
    let slow: Vec<_> = (0..8).map(|n| format!("/{}/slow-middle{n}", 900_000 + n)).collect();
    let arriving = tokio::spawn({
        let (asker, slow) = (asker.clone(), slow.clone());
        async move { asker.ask_all(&slow).await }
    });
    tokio::time::sleep(Duration::from_millis(400)).await;
    if let Err(why) = break_it(&disk) {
        return Ok(Row::skipped(name, format!("{why:#}")));
    }
    tally = tally.merge(arriving.await?.labelled("in mid-body"));
    for _ in 0..3 {
        tally = tally.merge(asker.ask_all(&late).await.labelled("broken"));
        tally = tally.merge(asker.ask_all(&early).await.labelled("broken, what was stored"));
    }
    stand.listen_to(&mut program)?;
    stand.terminate(program).await?;
    row.figure(match stand.start().await {
        Ok(program) => {
            tally = tally.merge(stand.asker(&program).ask_all(&late).await.labelled("started on it"));
            stand.terminate(program).await?;
            "starts on it".to_owned()
        }
        Err(error) => format!("does not start on it ({})", why(&error)),
    });
    disk.remount()?;
    let program = stand.start().await?;
    let again = stand.asker(&program).ask_all(&early).await.labelled("repaired");
    row.share("survived", again.hits.len(), early.len(), 95.0);
    tally = tally.merge(again);
    let stores = wait_for_storing(&stand.asker(&program), &mut tally).await;
    row.goal("stores again", "", stores);
    stand.terminate(program).await?;
    tally.report(&mut row);
    stand.report_panics(&mut row);
    Ok(row)
}

/// A cache folder in which nothing can be made any more, and then again.
///
/// # Errors
/// When a process does not come up.
pub(super) async fn forbidden(bench: &Bench) -> anyhow::Result<Row> {
    if bench.mounts != Mounts::All {
        return Ok(Row::skipped("forbidden", "needs root, to run bentpipe as somebody else"));
    }
    let mut row = Row::new("forbidden");
    let mut stand = Stand::new(bench).await?;
    stand.user = Some(65_534);
    chown(stand.own()?, stand.user, stand.user)?;
    let (early, late) = (objects("early"), objects("late"));
    let mut program = stand.start().await?;
    let asker = stand.asker(&program);
    let mut tally = asker.ask_all(&early).await.labelled("before");
    tokio::time::sleep(Duration::from_millis(2_200)).await;
    allow(&stand.folder, false)?;
    tally = tally.merge(asker.ask_all(&late).await.labelled("forbidden"));
    let again = asker.ask_all(&early).await.labelled("forbidden, what was stored");
    row.share("hits meanwhile", again.hits.len(), early.len(), 100.0);
    tally = tally.merge(again);
    stand.listen_to(&mut program)?;
    allow(&stand.folder, true)?;
    let start = Instant::now();
    let back = wait_for_storing(&asker, &mut tally).await;
    row.goal(format!("stores again after {:.1} s", start.elapsed().as_secs_f64()), "<= 30 s", back);
    stand.terminate(program).await?;
    tally.report(&mut row);
    stand.report_panics(&mut row);
    Ok(row)
}

/// Fewer file descriptors than the load wants. Requests may have to wait and may fail; nothing is wrong, and all is
/// well once there are enough.
///
/// # Errors
/// When a process does not come up.
pub(super) async fn descriptors(bench: &Bench) -> anyhow::Result<Row> {
    let mut row = Row::new("descriptors");
    let mut random = bench.random("descriptors");
    let mut stand = Stand::new(bench).await?;
    let mut program = stand.start().await?;
    let asker = stand.asker(&program);
    let id = i32::try_from(program.id()).ok().and_then(Pid::from_raw).context("no process")?;
    let open = fs::read_dir(format!("/proc/{}/fd", program.id()))?.count();
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = |current| Rlimit { current: Some(current), maximum };
    let early = objects("early");
    let mut tally = asker.ask_all(&early).await.labelled("before");
    let old = prlimit(Some(id), Resource::Nofile, limit(u64::try_from(open)? + 10))?;
    let load = Load::begin(&asker, "short", &mut random);
    tokio::time::sleep(Duration::from_secs(if bench.short { 3 } else { 10 })).await;
    prlimit(Some(id), Resource::Nofile, old)?;
    let answered = load.finish().await;
    let (mut right, mut failed) = (0, 0);
    for answered in answered {
        match answered.answer {
            Answer::Right => right += 1,
            Answer::Failed(_) => failed += 1,
            Answer::Wrong(_) => tally.add(&answered.path, answered.answer, false),
        }
    }
    row.figure(format!("{right} right and {failed} failed with ten descriptors for 8 clients"));
    tally = tally.merge(asker.ask_all(&early).await.labelled("after"));
    let back = wait_for_storing(&asker, &mut tally).await;
    row.goal("stores again", "<= 30 s", back);
    stand.listen_to(&mut program)?;
    stand.terminate(program).await?;
    tally.report(&mut row);
    stand.report_panics(&mut row);
    Ok(row)
}

fn objects(name: &str) -> Vec<String> {
    (0..20).map(|n| format!("/{}/{name}{n}", 1_000 + 9_000 * n)).collect()
}

/// Forbids to make and delete files in `folder` and everywhere below it, or allows it again.
fn allow(folder: &Path, is_allowed: bool) -> std::io::Result<()> {
    let mode = if is_allowed { 0o700 } else { 0o500 };
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            allow(&path, is_allowed)?;
        }
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(mode))
}
