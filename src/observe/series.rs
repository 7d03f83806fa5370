//! The last minutes in figures, a second a row: what crossed the link and how long its queues were, how many requests
//! ended and how many of them were hits. For a chart; whoever wants more asks for metrics.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use linkio::SharedLink;
use serde::Serialize;

use super::recent::seconds;
use super::tally::Tally;
use crate::clock::Clock;

/// The last minutes. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Series(Arc<Mutex<VecDeque<Row>>>);

/// One second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Row {
    /// Its end, in seconds since 1970.
    pub(crate) time: f64,
    /// Bits a second that crossed.
    pub(crate) down: u64,
    pub(crate) up: u64,
    /// Milliseconds that a byte would have waited at its end.
    pub(crate) queue_down_ms: u64,
    pub(crate) queue_up_ms: u64,
    pub(crate) hits: u64,
    pub(crate) forwarded: u64,
}

/// Seconds that are kept.
const ROWS: usize = 900;
const SECOND: Duration = Duration::from_secs(1);

impl Series {
    /// Watches `link` and what `tally` counts, until both this and all its clones are dropped.
    pub(crate) fn watch(link: SharedLink, tally: Tally, clock: Clock) -> Self {
        let series = Self::default();
        let rows = Arc::downgrade(&series.0);
        tokio::spawn(async move {
            let mut second = tokio::time::interval(SECOND);
            second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let (mut used, mut counted) = (link.usage(), tally.counted());
            let mut last = second.tick().await;
            loop {
                let now = second.tick().await;
                let Some(rows) = rows.upgrade() else { return };
                let (state, answers) = (link.snapshot(), tally.counted());
                let per_second = |bytes: u64| rate(bytes, now - last);
                let row = Row {
                    time: seconds(clock.now()),
                    down: per_second(state.usage.down.saturating_sub(used.down)),
                    up: per_second(state.usage.up.saturating_sub(used.up)),
                    queue_down_ms: millis(state.down.queueing_delay),
                    queue_up_ms: millis(state.up.queueing_delay),
                    hits: answers.hits - counted.hits,
                    forwarded: answers.forwarded - counted.forwarded,
                };
                (used, counted, last) = (state.usage, answers, now);
                Self(rows).push(row);
            }
        });
        series
    }

    /// The rows of the last `most` seconds, the oldest first.
    pub(crate) fn rows(&self, most: usize) -> Vec<Row> {
        let rows = self.lock();
        rows.iter().skip(rows.len().saturating_sub(most)).copied().collect()
    }

    fn push(&self, row: Row) {
        let mut rows = self.lock();
        if rows.len() == ROWS {
            rows.pop_front();
        }
        rows.push_back(row);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Row>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bits a second, where `bytes` crossed in `time`.
fn rate(bytes: u64, time: Duration) -> u64 {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
    let bits = u128::from(bytes) * 8_000_000 / u128::from(micros);
    u64::try_from(bits).unwrap_or(u64::MAX)
}

fn millis(delay: Option<Duration>) -> u64 {
    delay.map_or(0, |delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use linkio::LinkSpec;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_row_comes_every_second_and_the_oldest_goes() {
        let link = SharedLink::new("80k".parse::<LinkSpec>().expect("a link"));
        let series = Series::watch(link.clone(), Tally::default(), Clock::manual());
        let mut passage = link.passage(linkio::ClientKey(1));
        passage.cross(linkio::Direction::Down, 10_000).await;
        tokio::time::sleep(3 * SECOND).await;
        let rows = series.rows(100);
        let crossed: u64 = rows.iter().map(|row| row.down).sum();
        assert!((79_000..=81_000).contains(&crossed), "{rows:?}");
        tokio::time::sleep(SECOND * 1_000).await;
        assert_eq!((series.rows(10_000).len(), series.rows(60).len()), (ROWS, 60));
    }

    #[test]
    fn rates_are_bits_a_second() {
        assert_eq!(rate(1_000, SECOND), 8_000);
        assert_eq!(rate(1_000, SECOND / 2), 16_000);
        assert_eq!(rate(u64::MAX, Duration::ZERO), u64::MAX);
    }
}
