//! Power cuts: an ext4 file system is shut down without flushing anything, mounted again, and bentpipe started on it.
//!
//! What is lost is the system's page cache and ext4's own log in memory; what a drive loses that lies about its cache
//! is not simulated.

use std::time::Duration;

use super::Bench;
use super::disk::Disk;
use super::load::{Load, split};
use super::row::Row;
use super::stand::{Answer, Stand, Tally};

/// What was stored this long before the cut should survive it.
const SETTLED: Duration = Duration::from_secs(5);

/// Runs the rounds.
///
/// # Errors
/// When a process does not come up or the disk cannot be mounted again.
pub(super) async fn run(bench: &Bench) -> anyhow::Result<Row> {
    let mut random = bench.random("power");
    let disk = match Disk::ext4(bench, 4096) {
        Ok(disk) => disk,
        Err(why) => return Ok(Row::skipped("power", format!("{why:#}"))),
    };
    let mut row = Row::new("power");
    let mut stand = Stand::on(bench, disk.folder().join("cache")).await?;
    let rounds = if bench.short { 1 } else { 8 };
    let (mut tally, mut settled, mut survived, mut young) = (Tally::default(), 0, 0, (0, 0));
    for round in 0..rounds {
        let program = stand.start().await?;
        let load = Load::begin(&stand.asker(&program), &format!("round{round}"), &mut random);
        tokio::time::sleep(random.milliseconds(9_000..12_000)).await;
        let moment = std::time::Instant::now();
        disk.cut()?;
        // What the process still says of its memory is lost with it.
        stand.kill(program)?;
        let answered = load.finish().await;
        for answered in answered.iter().filter(|answered| matches!(answered.answer, Answer::Wrong(_))) {
            tally.add(&answered.path, answered.answer.clone(), false);
        }
        disk.remount()?;
        let (old, new) = split(&answered, moment, SETTLED);
        let program = stand.start().await?;
        let asker = stand.asker(&program);
        let found = asker.ask_all(&old).await;
        settled += old.len();
        survived += found.hits.len();
        let other = asker.ask_all(&new).await;
        young = (young.0 + other.hits.len(), young.1 + new.len());
        tally = tally.merge(found).merge(other);
        stand.kill(program)?;
    }
    row.figure(format!("{rounds} cuts"));
    tally.report(&mut row);
    row.share("5 s old survived", survived, settled, 95.0);
    row.figure(format!("younger survived {} of {}", young.0, young.1));
    stand.report_panics(&mut row);
    Ok(row)
}
