//! Whether anything has grown: the samples of a soak against its goals. Pure.

use super::sample::{Sample, megabytes};

/// The last third of the load may hold so much more than the second, in percent.
const GROWTH: u64 = 5;
/// What a storm may leave behind, in bytes.
pub(super) const LEFT_BY_STORM: u64 = 6_000_000;
/// Descriptors more than at the start that are no leak: files of the store, which it keeps open once it has them.
const DESCRIPTORS: usize = 4;
/// Tasks more than at the start: the one that answers the question, and the store's.
const TASKS: u64 = 4;

/// One goal and whether it was met.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Goal {
    /// What was seen, and what should have been.
    pub(super) text: String,
    /// Whether it was met.
    pub(super) is_met: bool,
}

fn goal(text: String, is_met: bool) -> Goal {
    Goal { text, is_met }
}

/// What the samples taken under load say, the storm not among them.
pub(super) fn under_load(samples: &[Sample]) -> Vec<Goal> {
    let third = samples.len() / 3;
    let mean = |samples: &[Sample]| {
        let sum: u64 = samples.iter().map(|sample| sample.memory).sum();
        sum / u64::try_from(samples.len()).unwrap_or(1).max(1)
    };
    let (second, last) = (mean(&samples[third..2 * third]), mean(&samples[samples.len() - third..]));
    let text = format!(
        "memory in the last third {} MB, in the second {} MB (goal: at most {GROWTH} % more)",
        megabytes(last),
        megabytes(second)
    );
    vec![goal(text, third > 0 && last <= second + second * GROWTH / 100)]
}

/// What is left once all load has stopped and every wait is over, against the start.
pub(super) fn at_rest(start: &Sample, end: &Sample) -> Vec<Goal> {
    let descriptors = start.descriptors + DESCRIPTORS;
    let tasks = start.tasks + TASKS;
    vec![
        goal(
            format!(
                "descriptors {} at rest, {} at the start (goal: at most {descriptors})",
                end.descriptors, start.descriptors
            ),
            end.descriptors <= descriptors,
        ),
        goal(
            format!("tasks {} at rest, {} at the start (goal: at most {tasks})", end.tasks, start.tasks),
            end.tasks <= tasks,
        ),
        goal(
            format!(
                "{} connections and {} exchanges under way at rest (goal: 0)",
                end.connections, end.exchanges
            ),
            end.connections == 0 && end.exchanges == 0,
        ),
        goal(format!("{} faults (goal: 0)", end.faults), end.faults == 0),
    ]
}

/// What a storm has left behind.
pub(super) fn after_storm(before: &Sample, peak: u64, after: &Sample) -> Vec<Goal> {
    let text = format!(
        "memory before the storm {} MB, at its peak {} MB, afterwards {} MB (goal: at most {} MB more than before)",
        megabytes(before.memory),
        megabytes(peak),
        megabytes(after.memory),
        megabytes(LEFT_BY_STORM)
    );
    vec![goal(text, after.memory <= before.memory + LEFT_BY_STORM)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(memory: impl Fn(u64) -> u64) -> bool {
        let samples: Vec<_> = (0..30).map(|n| Sample { memory: memory(n), ..Sample::default() }).collect();
        under_load(&samples).iter().all(|goal| goal.is_met)
    }

    #[test]
    fn memory_that_grows_to_the_end_is_found() {
        assert!(load(|_| 50_000_000), "flat");
        assert!(load(|n| 20_000_000 + 3_000_000 * n.min(10)), "flat once it is warm");
        assert!(load(|n| 80_000_000 - 1_000_000 * n), "shrinking");
        assert!(!load(|n| 20_000_000 + 1_000_000 * n), "growing");
        assert!(under_load(&[]).iter().any(|goal| !goal.is_met), "nothing seen is nothing shown");
    }

    #[test]
    fn what_is_left_at_rest_is_found() {
        let start = Sample { descriptors: 20, tasks: 10, ..Sample::default() };
        let check = |end: Sample, met: bool| {
            assert_eq!(at_rest(&start, &end).iter().all(|goal| goal.is_met), met, "{end:?}");
        };
        check(start, true);
        check(Sample { descriptors: 25, ..start }, false);
        check(Sample { tasks: 15, ..start }, false);
        check(Sample { connections: 1, ..start }, false);
        check(Sample { exchanges: 1, ..start }, false);
        check(Sample { faults: 1, ..start }, false);
    }

    #[test]
    fn a_storm_may_leave_little() {
        let check = |memory, met| {
            let (before, after) =
                (Sample { memory: 20_000_000, ..Sample::default() }, Sample { memory, ..Sample::default() });
            assert_eq!(after_storm(&before, 90_000_000, &after)[0].is_met, met);
        };
        check(25_900_000, true);
        check(15_000_000, true);
        check(26_100_000, false);
    }
}
