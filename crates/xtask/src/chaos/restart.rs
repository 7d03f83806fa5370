//! SIGTERM under load, and a new start: everything that had been answered is there.

use std::time::{Duration, Instant};

use super::Bench;
use super::load::{Load, split};
use super::row::Row;
use super::stand::{Answer, Stand, Tally};

/// Runs the rounds.
///
/// # Errors
/// When a process does not come up or does not end.
pub(super) async fn run(bench: &Bench) -> anyhow::Result<Row> {
    let mut random = bench.random("restart");
    let mut row = Row::new("restart");
    let mut stand = Stand::new(bench).await?;
    let rounds = if bench.short { 2 } else { 20 };
    let (mut tally, mut stored, mut survived) = (Tally::default(), 0, 0);
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        let program = stand.start().await?;
        let load = Load::begin(&stand.asker(&program), &format!("round{round}"), &mut random);
        tokio::time::sleep(random.milliseconds(500..1_500)).await;
        let took = stand.terminate(program).await?;
        slowest = slowest.max(took);
        let answered = load.finish().await;
        for answered in &answered {
            // After SIGTERM nothing new is taken; what was begun is finished, or says that it was not.
            if matches!(answered.answer, Answer::Wrong(_)) {
                tally.add(&answered.path, answered.answer.clone(), false);
            }
        }
        let (right, _) = split(&answered, Instant::now(), Duration::ZERO);
        let program = stand.start().await?;
        let found = stand.asker(&program).ask_all(&right).await;
        stored += right.len();
        survived += found.hits.len();
        tally = tally.merge(found);
        stand.terminate(program).await?;
    }
    row.figure(format!("{rounds} stops, the slowest took {} ms", slowest.as_millis()));
    tally.report(&mut row);
    row.share("survived", survived, stored, 100.0);
    stand.report_panics(&mut row);
    Ok(row)
}
