//! A disk that is really full: it fills up while bodies arrive, bentpipe serves on, stops and starts on it, and stores
//! again when there is room.

use std::time::{Duration, Instant};

use super::Bench;
use super::disk::Disk;
use super::row::Row;
use super::stand::{Asker, Stand, Tally};

/// The longest that storing may take to come back.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs it, on ext4 where we may mount that, else on a file system in memory.
///
/// # Errors
/// When a process does not come up, which on a full disk it must.
pub(super) async fn run(bench: &Bench) -> anyhow::Result<Row> {
    let disk = match Disk::ext4(bench, 64).or_else(|_| Disk::memory(bench, 64)) {
        Ok(disk) => disk,
        Err(why) => return Ok(Row::skipped("full", format!("{why:#}"))),
    };
    let mut row = Row::new("full");
    let mut stand = Stand::on(bench, disk.folder().join("cache")).await?;
    let mut tally = Tally::default();
    let early: Vec<_> = (0..20).map(|n| format!("/{}/early{n}", 1_000 + 5_000 * n)).collect();
    let middle: Vec<_> = (0..8).map(|n| format!("/{}/slow-middle{n}", 1_000_000 + n)).collect();
    let late: Vec<_> = (0..20).map(|n| format!("/{}/late{n}", 1_000 + 50_000 * n)).collect();

    let mut program = stand.start().await?;
    let asker = stand.asker(&program);
    tally = tally.merge(asker.ask_all(&early).await.labelled("before"));
    // As for a power cut, what is 5 s old is on the disk; on one that others keep busy it may take as long.
    tokio::time::sleep(Duration::from_millis(5_200)).await;
    let arriving = tokio::spawn({
        let (asker, middle) = (asker.clone(), middle.clone());
        async move { asker.ask_all(&middle).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    disk.fill()?;
    let free = disk.free()?;
    row.goal(format!("{free} bytes free"), "< 262144", free < 262_144);
    tally = tally.merge(arriving.await?.labelled("filling up"));
    tally = tally.merge(asker.ask_all(&late).await.labelled("full"));
    disk.fill()?;
    let again = asker.ask_all(&early).await.labelled("full");
    row.share("hits while full", again.hits.len(), early.len(), 100.0);
    tally = tally.merge(again);
    stand.listen_to(&mut program)?;

    stand.kill(program)?;
    disk.fill()?;
    tally = tally.merge(look(&mut stand, &early, "started while full", &mut row).await?);
    disk.fill()?;
    let program = stand.start().await?;
    stand.terminate(program).await?;
    disk.fill()?;
    tally = tally.merge(look(&mut stand, &early, "stopped and started while full", &mut row).await?);

    let program = stand.start().await?;
    let asker = stand.asker(&program);
    tally = tally.merge(asker.ask_all(&late).await.labelled("full"));
    disk.make_room()?;
    let start = Instant::now();
    let back = wait_for_storing(&asker, &mut tally).await;
    let figure = format!("stores again {:.1} s after there is room", start.elapsed().as_secs_f64());
    row.goal(figure, "<= 30 s", back);
    stand.terminate(program).await?;
    tally = tally.merge(look(&mut stand, &early, "in the end", &mut row).await?);
    tally.report(&mut row);
    stand.report_panics(&mut row);
    Ok(row)
}

/// Starts, asks for what was stored before the trouble, and kills.
async fn look(stand: &mut Stand, paths: &[String], when: &str, row: &mut Row) -> anyhow::Result<Tally> {
    let program = stand.start().await?;
    let tally = stand.asker(&program).ask_all(paths).await.labelled(when);
    row.share(when, tally.hits.len(), paths.len(), 99.5);
    stand.kill(program)?;
    Ok(tally)
}

/// Asks for ever new objects, each twice, until the second is a hit; says whether that came in time.
pub(super) async fn wait_for_storing(asker: &Asker, tally: &mut Tally) -> bool {
    let start = Instant::now();
    let mut number = 0;
    while start.elapsed() < PATIENCE {
        let path = format!("/20000/again{number}");
        number += 1;
        let (answer, is_hit) = asker.ask_for_hit(&path).await;
        tally.add(&path, answer, is_hit);
        let (answer, is_hit) = asker.ask_for_hit(&path).await;
        tally.add(&path, answer, is_hit);
        if is_hit {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    false
}
