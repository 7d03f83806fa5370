//! A clock that is wrong and jumps: every answer has the right bytes all the same, and nothing panics.
//!
//! The machine's clock is not touched: a preloaded library moves that of the process alone. One thing is shown and is
//! no goal: a start before 1970. hyper renders a Date of its own on every connection, wanted or not, and panics there.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Bench;
use super::native;
use super::row::Row;
use super::stand::{Stand, Tally, why};

/// Seconds since 1970 of the moments the clock is set to, with their names.
const MOMENTS: [(&str, i64); 8] = [
    ("now", i64::MAX),
    ("1969", -86_400),
    ("1901", -2_177_452_800),
    ("1970", 0),
    ("2038", 2_147_483_648),
    ("2100", 4_102_444_800),
    ("2600", 19_880_899_200),
    ("9999", 253_402_300_000),
];

/// Sets the clock to each moment while bentpipe runs, and starts bentpipe at each.
///
/// # Errors
/// When a process does not come up.
pub(super) async fn run(bench: &Bench) -> anyhow::Result<Row> {
    let mut stand = Stand::new(bench).await?;
    let library = match native::clock(stand.own()?) {
        Ok(library) => library,
        Err(why) => return Ok(Row::skipped("clock", format!("{why:#}"))),
    };
    let offset = stand.own()?.join("offset");
    set(&offset, "now", i64::MAX)?;
    let variables = [("LD_PRELOAD", &library), ("CHAOS_CLOCK", &offset)];
    stand.environment =
        variables.map(|(name, path)| (name.to_owned(), path.to_string_lossy().into_owned())).to_vec();
    let mut row = Row::new("clock");
    let mut tally = Tally::default();
    let (mut not_started, mut unserved) = (Vec::new(), 0);

    // Running, it jumps from each moment to each: old objects, and new ones that are asked for again in the next.
    let mut program = stand.start().await?;
    let (mut paths, mut number) = (Vec::new(), 0);
    let times = if bench.short { 2 } else { 10 };
    for (name, moment) in MOMENTS.iter().chain(MOMENTS.iter().rev()).cycle().take(MOMENTS.len() * times) {
        set(&offset, name, *moment)?;
        paths.extend(
            (number..number + 3).map(|number| format!("/{}/clock{number}", 500 + 9_000 * (number % 3))),
        );
        number += 3;
        let asker = stand.asker(&program);
        tally = tally.merge(asker.ask_all(&paths).await.labelled(format!("jumped to {name}")));
        tokio::time::sleep(Duration::from_millis(if bench.short { 20 } else { 300 })).await;
    }
    stand.listen_to(&mut program)?;
    stand.terminate(program).await?;

    for (name, moment) in MOMENTS {
        set(&offset, name, moment)?;
        match stand.start().await {
            Ok(program) => {
                let asker = stand.asker(&program);
                tally = tally.merge(asker.ask_all(&paths).await.labelled(format!("started in {name}")));
                stand.terminate(program).await?;
            }
            Err(_) if moment < 0 => unserved += 1,
            Err(error) => not_started.push(format!("{name}: {}", why(&error))),
        }
    }
    row.figure(format!(
        "{} jumps and {} starts, {} answers",
        MOMENTS.len() * times,
        MOMENTS.len(),
        tally.asked
    ));
    row.figure(format!("{unserved} of 2 starts before 1970 served nothing (hyper's Date)"));
    tally.report(&mut row);
    row.none_of("starts that failed", &not_started);
    stand.report_panics(&mut row);
    Ok(row)
}

/// Makes the clock of the process show `moment`; [`i64::MAX`] is the machine's time.
#[expect(clippy::disallowed_methods, reason = "the machine's time is what is to be moved away from")]
fn set(offset: &Path, name: &str, moment: i64) -> anyhow::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let by = if name == "now" { 0 } else { moment.saturating_sub_unsigned(now) };
    // In place: the file is mapped by the process.
    let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(offset)?;
    std::os::unix::fs::FileExt::write_all_at(&file, &by.to_ne_bytes(), 0)?;
    Ok(())
}
