//! `kill -9` at random moments under load: what was stored a second before is still there, nothing is wrong, nothing
//! is left lying about, and the next process answers at once.
//!
//! It says nothing of a power cut: the system's page cache survives a killed process. That is `power.rs`.

use std::time::{Duration, Instant};

use super::Bench;
use super::load::{Load, split};
use super::row::Row;
use super::stand::{Answer, Stand, Tally, names};

/// A cache folder is used for so many rounds, so that recoveries find the remains of earlier ones.
const ROUNDS_A_FOLDER: usize = 10;
/// What was stored this long before the kill should survive it.
const SETTLED: Duration = Duration::from_secs(1);

/// By when what an interrupted download left should have been taken up, though nobody asks for it.
const TAKEN_UP: Duration = Duration::from_secs(1);

/// What the rounds showed.
#[derive(Default)]
struct Seen {
    tally: Tally,
    settled: usize,
    survived: usize,
    lost: Vec<String>,
    left: Vec<String>,
    starts: Vec<Duration>,
}

/// Runs the rounds.
///
/// # Errors
/// When a process does not come up.
pub(super) async fn run(bench: &Bench) -> anyhow::Result<Row> {
    let mut random = bench.random("kill");
    let (rounds, longest) = if bench.short { (5, 1_600) } else { (100, 3_000) };
    let mut row = Row::new("kill");
    let mut seen = Seen::default();
    let mut stand = Stand::new(bench).await?;
    for round in 0..rounds {
        if round > 0 && round % ROUNDS_A_FOLDER == 0 {
            let mut before = std::mem::replace(&mut stand, Stand::new(bench).await?);
            stand.follow(&mut before);
        }
        let program = stand.start().await?;
        let load = Load::begin(&stand.asker(&program), &format!("round{round}"), &mut random);
        tokio::time::sleep(random.milliseconds(1_200..longest)).await;
        let moment = stand.kill(program)?;
        let answered = load.finish().await;
        for answered in &answered {
            // A request that the kill cut off has failed, as it must.
            if matches!(answered.answer, Answer::Wrong(_)) {
                seen.tally.add(&answered.path, answered.answer.clone(), false);
            }
        }
        let (settled, young) = split(&answered, moment, SETTLED);
        look(&mut stand, &settled, &young, &mut seen).await?;
    }
    seen.report(&mut row, rounds, bench.short);
    stand.report_panics(&mut row);
    Ok(row)
}

/// Starts bentpipe again and asks for everything that had been answered.
async fn look(
    stand: &mut Stand,
    settled: &[String],
    young: &[String],
    seen: &mut Seen,
) -> anyhow::Result<()> {
    let start = Instant::now();
    let program = stand.start().await?;
    let asker = stand.asker(&program);
    if let Some(first) = settled.first()
        && asker.ask(first).await == Answer::Right
    {
        seen.starts.push(start.elapsed());
    }
    let old = asker.ask_all(settled).await;
    seen.left.extend(left_behind(stand).await);
    seen.settled += settled.len();
    seen.survived += old.hits.len();
    seen.lost.extend(settled.iter().filter(|path| !old.hits.contains(path)).cloned());
    let tally = std::mem::take(&mut seen.tally);
    seen.tally = tally.merge(old).merge(asker.ask_all(young).await);
    stand.kill(program)?;
    Ok(())
}

/// The temporary files that are there after a while: one of an interrupted download is taken up at the first chance.
async fn left_behind(stand: &Stand) -> Vec<String> {
    let start = Instant::now();
    loop {
        let mut left = names(&stand.folder.join("tmp"));
        left.extend(names(&stand.folder).into_iter().filter(|name| name.ends_with(".new")));
        if left.is_empty() || start.elapsed() > TAKEN_UP {
            return left;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Seen {
    fn report(mut self, row: &mut Row, rounds: usize, short: bool) {
        row.figure(format!("{rounds} kills, {} answers", self.tally.asked));
        self.tally.report(row);
        row.share("survived", self.survived, self.settled, 99.5);
        row.none_of("temporary files left", &self.left);
        self.starts.sort_unstable();
        let median = self.starts.get(self.starts.len() / 2).copied().unwrap_or(Duration::MAX);
        let worst = self.starts.last().copied().unwrap_or(Duration::MAX);
        let figure = format!("first answer {} ms, worst {} ms", median.as_millis(), worst.as_millis());
        if short {
            // No place for a timed test: CI's machine is shared.
            row.figure(figure);
        } else {
            row.goal(figure, "<= 100 ms", median <= Duration::from_millis(100));
        }
    }
}
