//! Memory that comes back: after a peak the allocator holds on to what was freed, since it lies between what is in use.
//! Now and then, in a quiet moment if there is one, it is told to give that to the system (docs/decisions/0012).
//!
//! Owns when that is done. It frees nothing itself and knows no cache: what is held on purpose stays.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use crate::exchange::Observers;

/// From one look to the next.
const LOOK: Duration = Duration::from_secs(1);
/// Growth that is worth the effort: so many bytes, and this part of what is needed anyway.
const WORTH: u64 = 2 << 20;
const SHARE: u64 = 16;
/// How long memory may wait for a quiet moment.
const PATIENCE: Duration = Duration::from_secs(60);
/// From one attempt to the next where one left more than was needed before the growth: what was in use may be free by then.
/// First, and at most.
const AGAIN: Duration = Duration::from_secs(2);
const SELDOM: Duration = Duration::from_secs(3600);

/// Looks after the memory of this process as long as anyone holds `observers`, who know what is under way.
pub(crate) async fn look_after(observers: Weak<Observers>) {
    if !heap::CAN_GIVE_BACK {
        return;
    }
    let mut watch = Watch::default();
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (Some(observers), Some(held)) = (observers.upgrade(), held()) else { return };
        let is_quiet = observers.count() == 0;
        drop(observers);
        if watch.is_due(held, is_quiet, Instant::now()) {
            // It takes milliseconds, which are nobody's who is being served.
            let given = tokio::task::spawn_blocking(heap::give_back).await;
            let left = self::held().unwrap_or(held);
            watch.given_back(left, Instant::now());
            tracing::debug!(?given, before = held, after = left, "memory was given back");
        }
    }
}

/// When it is worth it.
#[derive(Debug, Default)]
struct Watch {
    /// The least that was ever held, and the least since memory was last given back; so much seems to be needed.
    ever: Option<u64>,
    least: Option<u64>,
    /// Since when there is more than that.
    since: Option<Instant>,
    /// When to try once more, after which pause.
    again: Option<(Instant, Duration)>,
}

impl Watch {
    /// Whether memory is to be given back, `held` bytes being held at `now`.
    fn is_due(&mut self, held: u64, is_quiet: bool, now: Instant) -> bool {
        let [ever, least] = [self.ever, self.least].map(|least| least.map_or(held, |least| least.min(held)));
        (self.ever, self.least) = (Some(ever), Some(least));
        if !is_growth(ever, held) {
            self.again = None;
        }
        if !is_growth(least, held) {
            self.since = None;
            return is_quiet && self.again.is_some_and(|(at, _)| now >= at);
        }
        // Never at the first look that finds it: what the last exchanges leave is free a moment later.
        let for_so_long = now.duration_since(*self.since.get_or_insert(now));
        let is_due = (is_quiet && !for_so_long.is_zero()) || for_so_long >= PATIENCE;
        if is_due {
            self.again = None;
        }
        is_due
    }

    /// Memory was given back at `now`, and `held` bytes are held still.
    fn given_back(&mut self, held: u64, now: Instant) {
        self.least = Some(held);
        self.since = None;
        let pause = self.again.map_or(AGAIN, |(_, pause)| SELDOM.min(pause * 2));
        self.again = self.ever.is_some_and(|ever| is_growth(ever, held)).then(|| (now + pause, pause));
    }
}

/// Whether `held` bytes are so much more than `least` that it is worth the effort.
fn is_growth(least: u64, held: u64) -> bool {
    held >= least.saturating_add(WORTH + least / SHARE)
}

/// Resident memory that is no file's, in bytes; none where the system does not tell.
fn held() -> Option<u64> {
    read(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// proc(5): "RssAnon: Size of resident anonymous memory", in kB that are KiB.
fn read(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    /// What is decided at each of `moments`: seconds, MB held, whether it is quiet. What is given back is all above `needed`
    /// MB.
    fn check(needed: u64, moments: &[(u64, u64, bool)], expected: &[bool]) {
        let (mut watch, begin) = (Watch::default(), Instant::now());
        let decided: Vec<_> = moments
            .iter()
            .map(|(second, held, is_quiet)| {
                let now = begin + Duration::from_secs(*second);
                let is_due = watch.is_due(held * MB, *is_quiet, now);
                if is_due {
                    watch.given_back(needed.min(*held) * MB, now);
                }
                is_due
            })
            .collect();
        assert_eq!(decided, expected, "{moments:?}");
    }

    #[test]
    fn what_a_peak_leaves_is_given_back_in_the_next_quiet_moment() {
        check(
            10,
            &[(0, 10, true), (2, 90, false), (4, 90, false), (6, 90, true), (8, 10, true)],
            &[false, false, false, true, false],
        );
        check(
            10,
            &[(0, 10, true), (1, 90, true), (2, 90, true), (3, 10, true)],
            &[false, false, true, false],
        );
    }

    #[test]
    fn no_quiet_moment_is_waited_for_longer_than_a_minute() {
        check(
            10,
            &[(0, 10, false), (2, 90, false), (60, 90, false), (62, 90, false), (64, 10, false)],
            &[false, false, false, true, false],
        );
    }

    #[test]
    fn what_was_in_use_is_asked_for_again_ever_less_often() {
        let quiet = |second, held| (second, held, true);
        check(
            90,
            &[
                quiet(0, 10),
                quiet(1, 90),
                quiet(2, 90),
                quiet(3, 90),
                quiet(4, 90),
                quiet(7, 90),
                quiet(8, 90),
            ],
            &[false, false, true, false, true, false, true],
        );
        check(
            10,
            &[quiet(0, 10), quiet(1, 90), quiet(2, 90), quiet(4, 10), quiet(3600, 10)],
            &[false, false, true, false, false],
        );
    }

    #[test]
    fn what_is_needed_is_left_alone() {
        check(
            10,
            &[(0, 10, true), (2, 12, true), (4, 13, true), (6, 13, true), (8, 12, true), (10, 13, true)],
            &[false, false, false, true, false, false],
        );
        // A peak that has gone by itself starts the minute anew.
        check(
            10,
            &[(0, 10, false), (2, 20, false), (30, 10, false), (40, 20, false), (70, 20, false)],
            &[false; 5],
        );
    }

    #[test]
    fn the_systems_figure_is_read() {
        assert_eq!(read("VmRSS:\t  9 kB\nRssAnon:\t    1024 kB\n"), Some(MB));
        assert_eq!(read("VmRSS:\t  9 kB\n"), None);
        assert_eq!(read("RssAnon:\t99999999999999999999 kB\n"), None);
        #[cfg(target_os = "linux")]
        assert!(held().is_some_and(|held| held > 0));
    }
}
