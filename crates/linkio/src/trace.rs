//! Link traces: the moments at which a recorded or computed link could deliver a packet.
//!
//! Owns the packet-delivery format of Mahimahi and the counting of chances, which repeat when the trace is over. A
//! trace knows nothing of queues: a chance that nobody uses when it comes is lost.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::moment::Moment;
use crate::rate::BitRate;

/// What one chance delivers, in bits and in nanobits.
const CHANCE_BITS: u64 = 12_000;
const CHANCE: u128 = 12_000_000_000_000;
/// More chances than this are a mistake rather than a trace: they are hours of a gigabit.
const CHANCES_MAX: usize = 50_000_000;
const NANOS_PER_MILLI: u64 = 1_000_000;
/// A trace counts as silent if the next chance is as far away as this, and as `GAPS` of its mean gaps.
const SILENCE: u64 = 100 * NANOS_PER_MILLI;
const GAPS: u64 = 4;

/// A link as the chances it gives to deliver up to 1500 bytes each, over and over.
///
/// ```
/// # use linkio::Trace;
/// // Two chances in the second millisecond and one at the end of the fifth.
/// let trace = Trace::parse("2\n2\n5\n")?;
/// assert_eq!(trace.chances(), 3);
/// assert_eq!(trace.mean_rate().bits_per_second(), 7_200_000);
/// # Ok::<(), linkio::TraceError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Trace {
    /// In ascending order, no two of the same millisecond; never empty, and the last is not at zero.
    instants: Vec<Instant>,
}

/// A millisecond with chances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instant {
    millis: u32,
    /// Chances of the trace up to and with this millisecond.
    upto: u32,
}

impl Trace {
    /// Reads a trace in the format of Mahimahi: a line for each chance with its whole millisecond, in ascending order;
    /// the last one is also the length of the trace. Blank lines and what follows a `#` are passed over.
    ///
    /// # Errors
    /// Names the first line that is not of this form, or says that there is no chance or no length.
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        let mut instants = Vec::<Instant>::new();
        let (mut count, mut line) = (0, 0);
        for content in text.lines() {
            line += 1;
            let chance = content.split('#').next().unwrap_or_default().trim();
            if chance.is_empty() {
                continue;
            }
            if count == CHANCES_MAX {
                return Err(TraceError::new(line, "expected at most 50 million chances"));
            }
            count += 1;
            let millis = milliseconds(chance).map_err(|message| TraceError::new(line, message))?;
            let upto = u32::try_from(count).unwrap_or(u32::MAX);
            match instants.last_mut() {
                Some(last) if last.millis > millis => {
                    let message =
                        format!("expected no time before {}, that of the chance before", last.millis);
                    return Err(TraceError { line, message: format!("{message}, and not {chance:?}") });
                }
                Some(last) if last.millis == millis => last.upto = upto,
                _ => instants.push(Instant { millis, upto }),
            }
        }
        instants.shrink_to_fit();
        match instants.last() {
            None => Err(TraceError::new(line.max(1), "expected at least one chance: a whole millisecond")),
            Some(last) if last.millis == 0 => {
                Err(TraceError::new(line, "expected a last chance after 0: it is the length of the trace"))
            }
            Some(_) => Ok(Self { instants }),
        }
    }

    /// How many chances there are in one length of the trace.
    pub fn chances(&self) -> u64 {
        u64::from(self.last().upto)
    }

    /// After how long the trace begins again.
    pub fn length(&self) -> Duration {
        Duration::from_millis(u64::from(self.last().millis))
    }

    /// What all chances together carry, over the length, rounded down.
    pub fn mean_rate(&self) -> BitRate {
        // At most 50 million chances in a millisecond: far from the end of the number.
        BitRate::from_bits_per_second(
            self.chances() * CHANCE_BITS * 1000 / u64::from(self.last().millis).max(1),
        )
    }

    /// Nanobits of the chances after `from` until and with `to`, of a trace that began at `start`.
    pub(crate) fn work(&self, start: Moment, from: Moment, to: Moment) -> u128 {
        (self.passed(start, to) - self.passed(start, from)) * CHANCE
    }

    /// The first moment after `from` by which `missing` nanobits could cross, and what could cross by then.
    pub(crate) fn reach(&self, start: Moment, from: Moment, missing: u128) -> Option<(Moment, u128)> {
        let before = self.passed(start, from);
        let at = self.chance(before + missing.div_ceil(CHANCE), start)?;
        // Other chances of the same millisecond are there too, for who comes next.
        Some((at, (self.passed(start, at) - before) * CHANCE))
    }

    /// How many chances were there from `start` until and with `at`.
    pub(crate) fn passed(&self, start: Moment, at: Moment) -> u128 {
        let Some(offset) = at.as_nanos().checked_sub(start.as_nanos()) else { return 0 };
        let last = self.last();
        let millis = offset / NANOS_PER_MILLI;
        let length = u64::from(last.millis).max(1);
        let (lap, within) = (millis / length, millis % length);
        let next = self.instants.partition_point(|instant| u64::from(instant.millis) <= within);
        let upto =
            next.checked_sub(1).and_then(|index| self.instants.get(index)).map_or(0, |instant| instant.upto);
        u128::from(lap) * u128::from(last.upto) + u128::from(upto)
    }

    /// When the `number`-th chance comes, counted from one; `None` if after the end of link time.
    pub(crate) fn chance(&self, number: u128, start: Moment) -> Option<Moment> {
        let last = self.last();
        let (total, index) = (u128::from(last.upto), number.saturating_sub(1));
        let within = index % total.max(1);
        let place = self.instants.partition_point(|instant| u128::from(instant.upto) <= within);
        let millis = u128::from(self.instants.get(place).unwrap_or(&last).millis);
        let lap = (index / total.max(1)).checked_mul(u128::from(last.millis))?;
        start.checked_add_nanos(lap.checked_add(millis)?.checked_mul(u128::from(NANOS_PER_MILLI))?)
    }

    /// Whether the next chance after `at` is so far away that the link counts as closed.
    pub(crate) fn is_closed(&self, start: Moment, at: Moment) -> bool {
        let gap = u64::from(self.last().millis) * NANOS_PER_MILLI / self.chances().max(1);
        let patience = Duration::from_nanos(SILENCE.max(gap.saturating_mul(GAPS)));
        match self.chance(self.passed(start, at) + 1, start) {
            Some(next) => next.since(at) > patience,
            None => true,
        }
    }

    fn last(&self) -> Instant {
        // Never empty; if it were, nothing would ever cross.
        self.instants.last().copied().unwrap_or(Instant { millis: u32::MAX, upto: 0 })
    }
}

impl fmt::Debug for Trace {
    /// What it is rather than all of its chances.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("chances", &self.chances()).field("length", &self.length()).finish()
    }
}

/// The whole milliseconds of a line, or what would have been right.
fn milliseconds(chance: &str) -> Result<u32, String> {
    if chance.is_empty() || !chance.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("expected a time in whole milliseconds{}", instead(chance)));
    }
    chance.parse().map_err(|_| format!("expected a time of at most {} ms{}", u32::MAX, instead(chance)))
}

/// What stands there instead, where it looks like a number. Anything else is not repeated: a file that is no trace may hold
/// what whoever named it may not read.
fn instead(chance: &str) -> String {
    const LONGEST: usize = 20;
    let is_number = chance.bytes().all(|byte| byte.is_ascii_digit() || b"+-.".contains(&byte));
    if is_number && chance.len() <= LONGEST { format!(", and not {chance:?}") } else { String::new() }
}

/// A trace or a schedule that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceError {
    /// The line this is about, counted from one.
    pub line: usize,
    /// What was expected and what was found.
    pub message: String,
}

impl TraceError {
    pub(crate) fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl Error for TraceError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LATER: Moment = Moment::from_nanos(7_000_000_000);

    fn trace(text: &str) -> Trace {
        Trace::parse(text).unwrap()
    }

    fn fails(text: &str, line: usize, part: &str) {
        let error = Trace::parse(text).unwrap_err();
        assert_eq!(error.line, line, "{error}");
        assert!(error.message.contains(part), "{error}");
        assert!(error.to_string().starts_with(&format!("line {line}: expected ")), "{error}");
    }

    /// When each of the next chances comes after `from`, in milliseconds of a trace that begins at `LATER`.
    fn chances(trace: &Trace, from: u64, count: usize) -> Vec<u64> {
        let from = LATER + Duration::from_millis(from);
        let first = trace.passed(LATER, from) + 1;
        let at = |number| trace.chance(number, LATER).unwrap().since(LATER).as_millis();
        (first..).take(count).map(|number| u64::try_from(at(number)).unwrap()).collect()
    }

    #[test]
    fn blank_lines_comments_and_returns_are_passed_over() {
        assert_eq!(
            trace("# a trace\r\n\r\n 2 \r\n2 # two at once\r\n\n5").instants,
            trace("2\n2\n5\n").instants
        );
        assert_eq!(trace("0\n0\n10\n").chances(), 3);
        assert_eq!(trace("5").length(), Duration::from_millis(5));
    }

    #[test]
    fn an_error_names_the_line() {
        fails("", 1, "at least one chance");
        fails("# nothing\n\n", 2, "at least one chance");
        fails("1\nx\n", 2, "whole milliseconds");
        fails("1\n-2\n", 2, "\"-2\"");
        fails("1\n2.5\n", 2, "\"2.5\"");
        fails("# head\n5\n4\n", 3, "\"4\"");
        fails("0\n0\n", 2, "length");
        fails("99999999999\n", 1, "at most 4294967295 ms");
        let told = ["root:secret:19000\n", "99999999999999999999999\n"]
            .map(|text| Trace::parse(text).unwrap_err().message);
        assert!(
            told.iter().all(|told| !told.contains("and not")),
            "what is no number is not repeated: {told:?}"
        );
    }

    #[test]
    fn a_trace_begins_again_after_its_last_line() {
        let trace = trace("2\n2\n5\n");
        assert_eq!(chances(&trace, 0, 7), [2, 2, 5, 7, 7, 10, 12]);
        assert_eq!(chances(&trace, 2, 2), [5, 7]);
        assert_eq!(chances(&trace, 5, 2), [7, 7]);
        assert_eq!(chances(&trace, 5000, 2), [5002, 5002]);
    }

    #[test]
    fn a_chance_at_zero_comes_once_more_with_each_end() {
        assert_eq!(chances(&trace("0\n10\n"), 0, 4), [10, 10, 20, 20]);
        // Before it begins, the very first one is still to come.
        let trace = trace("0\n10\n");
        assert_eq!(trace.passed(LATER, Moment::START), 0);
        assert_eq!(trace.chance(1, LATER), Some(LATER));
    }

    #[test]
    fn a_long_gap_is_a_closed_link() {
        let trace = trace("1\n2\n3\n4\n5000\n");
        assert!(!trace.is_closed(LATER, LATER));
        assert!(
            trace.is_closed(LATER, LATER + Duration::from_millis(4))
                != trace.is_closed(LATER, LATER + Duration::from_millis(4900))
        );
    }

    #[test]
    fn the_shared_traces_have_their_rates() {
        for (name, kilobits) in
            [("geo-rain-2M", 1357), ("leo-handover-4M", 2840), ("vsat-contended-512k", 348)]
        {
            let path = format!("{}/../../../shared/traces/{name}.trace", env!("CARGO_MANIFEST_DIR"));
            let Ok(text) = std::fs::read_to_string(&path) else {
                eprintln!("SKIPPED: {path} is not here, so its mean rate was not checked");
                continue;
            };
            let trace = trace(&text);
            assert_eq!(trace.length(), Duration::from_secs(60), "{name}");
            assert_eq!((trace.mean_rate().bits_per_second() + 500) / 1000, kilobits, "{name}");
        }
    }

    proptest! {
        #[test]
        fn volume_is_exact_over_any_number_of_laps(
            mut millis in prop::collection::vec(0..500_u32, 1..60), laps in 1..1_000_000_u64, start in 0..u64::MAX / 2,
        ) {
            millis.push(500);
            millis.sort_unstable();
            let text: String = millis.iter().map(|at| format!("{at}\n")).collect();
            let (trace, start) = (Trace::parse(&text).unwrap(), Moment::from_nanos(start));
            let end = start + trace.length() * u32::try_from(laps).unwrap();
            let zeroes = u128::try_from(millis.iter().filter(|at| **at == 0).count()).unwrap();
            // Those at zero of the next lap come with the end; those of the first are at the start itself.
            prop_assert_eq!(trace.work(start, start, end), u128::from(laps * trace.chances()) * CHANCE);
            prop_assert_eq!(trace.passed(start, start), zeroes);
        }

        #[test]
        fn counting_and_finding_agree(
            mut millis in prop::collection::vec(0..500_u32, 1..60), number in 1..100_000_u128,
        ) {
            millis.push(500);
            millis.sort_unstable();
            let text: String = millis.iter().map(|at| format!("{at}\n")).collect();
            let trace = Trace::parse(&text).unwrap();
            let at = trace.chance(number, LATER).unwrap();
            prop_assert!(trace.passed(LATER, at) >= number);
            prop_assert!(trace.passed(LATER, Moment::from_nanos(at.as_nanos() - 1)) < number);
        }

        #[test]
        fn any_text_reads_without_panic(text in "[0-9#\\r\\n -]*|.*") {
            if let Ok(trace) = Trace::parse(&text) {
                prop_assert!(trace.chances() > 0 && !trace.length().is_zero());
                let end = Moment::from_nanos(u64::MAX);
                let _ = (trace.reach(LATER, end, u128::MAX / 2), trace.reach(LATER, LATER, u128::MAX / 2));
                let _ = (trace.is_closed(LATER, end), trace.work(LATER, Moment::START, end));
            }
        }
    }
}
