//! What takes a link's rate away as time goes by: outages, passes, rain and handovers.
//!
//! Owns each of them as a pure function of the time since the link began and of the seed: asked about any moment it
//! answers alike, whatever was asked before. It knows no rate, only the share of it that is left. Times are
//! nanoseconds.

use crate::seed::{Purpose, below, draw};
use crate::spec::{Cycle, Direction, LinkSpec};
use crate::track::nanos;

/// The whole of a share.
pub(crate) const WHOLE: u64 = 1_000_000;
/// What is left of the rate in the steps of a rain cell, from its edge to its middle: adaptive coding of a DVB-S2 link.
const RAIN_STEPS: [u64; 5] = [750_000, 500_000, 330_000, 160_000, 80_000];
/// A handover is silent for this long at least, and this much longer at most.
const SILENCE_MIN: u64 = 180_000_000;
const SILENCE_MORE: u64 = 240_000_000;
/// After a handover at least this much of the rate is left.
const SHARE_MIN: u64 = 500_000;

/// The share of the rate that is left, in millionths, until a moment that is always later than the one asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) millionths: u64,
    pub(crate) until: u64,
}

/// Everything that takes from the rate of one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Generators {
    seed: u64,
    direction: Direction,
    pass: Option<Rhythm>,
    outage: Option<Rhythm>,
    rain: Option<Rhythm>,
    handover: Option<u64>,
}

/// A [`Cycle`] of whole nanoseconds. The period is never zero, the length never more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rhythm {
    length: u64,
    period: u64,
}

impl Generators {
    pub(crate) fn new(spec: &LinkSpec, direction: Direction) -> Self {
        Self {
            seed: spec.seed,
            direction,
            // What is open all the time, or takes nothing away, need not be asked.
            pass: rhythm(spec.pass).filter(|pass| pass.length < pass.period),
            outage: rhythm(spec.outage).filter(|outage| outage.length > 0),
            rain: rhythm(spec.rain).filter(|rain| rain.length > 0),
            handover: spec.handover.map(nanos).filter(|period| *period > 0),
        }
    }

    /// Whether the whole rate is there at all times.
    pub(crate) fn is_empty(&self) -> bool {
        self.pass.is_none() && self.outage.is_none() && self.rain.is_none() && self.handover.is_none()
    }

    /// What is left at `offset` after the link began.
    pub(crate) fn share(&self, offset: u64) -> Share {
        let mut share = Share { millionths: WHOLE, until: u64::MAX };
        let pass = self.pass.map(|pass| passing(pass, offset));
        share = share.and(pass);
        let outage = (share.millionths > 0).then_some(self.outage).flatten();
        share = share.and(outage.map(|outage| self.outside(outage, offset)));
        let handover = (share.millionths > 0).then_some(self.handover).flatten();
        share = share.and(handover.map(|period| self.handed_over(period, offset)));
        let rain = (share.millionths > 0).then_some(self.rain).flatten();
        share.and(rain.map(|rain| self.rained_on(rain, offset)))
    }

    /// Nothing during the outage of each period, which begins where the seed says.
    fn outside(&self, outage: Rhythm, offset: u64) -> Share {
        if outage.length == outage.period {
            return Share { millionths: 0, until: u64::MAX };
        }
        let (begin, index) = outage.at(offset);
        let place = begin.saturating_add(self.place(Purpose::Outage, outage, index));
        let end = place.saturating_add(outage.length);
        if offset < place {
            Share { millionths: WHOLE, until: place }
        } else if offset < end {
            Share { millionths: 0, until: end }
        } else {
            Share { millionths: WHOLE, until: begin.saturating_add(outage.period) }
        }
    }

    /// A silence first, except at the very start, then another share of the rate for each direction.
    fn handed_over(&self, period: u64, offset: u64) -> Share {
        let index = offset / period;
        let begin = index * period;
        let until = begin.saturating_add(period);
        if index > 0 {
            let silence =
                SILENCE_MIN + below(draw(self.seed, Purpose::Silence, index, None), SILENCE_MORE + 1);
            // However often satellites change, something crosses in between.
            let end = begin.saturating_add(silence.min(period / 2));
            if offset < end {
                return Share { millionths: 0, until: end };
            }
        }
        let more = below(draw(self.seed, Purpose::Share, index, Some(self.direction)), WHOLE - SHARE_MIN + 1);
        Share { millionths: SHARE_MIN + more, until }
    }

    /// One cell in each period: the rate goes down by steps to the depth of the cell, and up again.
    fn rained_on(&self, rain: Rhythm, offset: u64) -> Share {
        let (begin, index) = rain.at(offset);
        let place = begin.saturating_add(self.place(Purpose::Rain, rain, index));
        let Some(inside) = offset.checked_sub(place) else {
            return Share { millionths: WHOLE, until: place };
        };
        if inside >= rain.length {
            return Share { millionths: WHOLE, until: begin.saturating_add(rain.period) };
        }
        // One more than there are steps is a cell of all steps with an outage in the middle.
        let depth = 1 + below(draw(self.seed, Purpose::Depth, index, None), 6);
        let within = step_of_rain(depth, rain.length, inside);
        Share { until: place.saturating_add(within.until), ..within }
    }

    /// Where in its period the `index`-th one begins, so that it ends in the same period.
    fn place(&self, purpose: Purpose, rhythm: Rhythm, index: u64) -> u64 {
        below(draw(self.seed, purpose, index, None), (rhythm.period - rhythm.length).saturating_add(1))
    }
}

impl Share {
    /// Both at once; as long as nothing is left of one, the other does not matter.
    fn and(self, other: Option<Self>) -> Self {
        match other {
            None => self,
            Some(other) if other.millionths == 0 => other,
            Some(_) if self.millionths == 0 => self,
            Some(other) => Self {
                millionths: self.millionths * other.millionths / WHOLE,
                until: self.until.min(other.until),
            },
        }
    }
}

impl Rhythm {
    /// When the period of `offset` begins, and its number.
    fn at(self, offset: u64) -> (u64, u64) {
        let index = offset / self.period;
        (index * self.period, index)
    }
}

fn rhythm(cycle: Option<Cycle>) -> Option<Rhythm> {
    let cycle = cycle?;
    let period = nanos(cycle.period);
    (period > 0).then(|| Rhythm { length: nanos(cycle.length).min(period), period })
}

/// Open for the first part of each period.
fn passing(pass: Rhythm, offset: u64) -> Share {
    let (begin, _) = pass.at(offset);
    if pass.length == 0 {
        Share { millionths: 0, until: u64::MAX }
    } else if offset - begin < pass.length {
        Share { millionths: WHOLE, until: begin.saturating_add(pass.length) }
    } else {
        Share { millionths: 0, until: begin.saturating_add(pass.period) }
    }
}

/// What a cell of `depth` steps that lasts `length` leaves at `inside` of it; `until` counts from its beginning too.
fn step_of_rain(depth: u64, length: u64, inside: u64) -> Share {
    let steps = 2 * depth.min(5) - 1;
    let (length, inside) = (u128::from(length), u128::from(inside));
    let number = inside * u128::from(steps) / length;
    let edge = |number: u128| (number * length).div_ceil(u128::from(steps));
    let nearest = number.min(u128::from(steps) - 1 - number);
    let left = usize::try_from(nearest).ok().and_then(|step| RAIN_STEPS.get(step)).copied().unwrap_or(WHOLE);
    let (first, end) = (edge(number), edge(number + 1));
    let (mut millionths, mut until) = (left, end);
    if depth > 5 && nearest == 4 {
        // The middle third of the deepest step.
        let third = (end - first) / 3;
        let (from, to) = (first + third, end - third);
        (millionths, until) = match inside {
            inside if inside < from => (left, from),
            inside if inside < to => (0, to),
            _ => (left, end),
        };
    }
    Share { millionths, until: u64::try_from(until).unwrap_or(u64::MAX) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn cycle(length: u64, period: u64) -> Option<Cycle> {
        Some(Cycle { length: Duration::from_secs(length), period: Duration::from_secs(period) })
    }

    fn generators(spec: &LinkSpec, direction: Direction) -> Generators {
        Generators::new(spec, direction)
    }

    /// The shares between two moments, each with how long it holds.
    fn shares(generators: &Generators, mut from: u64, to: u64) -> Vec<(u64, u64)> {
        let mut shares = Vec::new();
        while from < to {
            let share = generators.share(from);
            assert!(share.until > from && share.millionths <= WHOLE);
            let until = share.until.min(to);
            shares.push((share.millionths, until - from));
            from = until;
        }
        shares
    }

    fn silence(shares: &[(u64, u64)]) -> u64 {
        shares.iter().filter(|(share, _)| *share == 0).map(|(_, time)| time).sum()
    }

    #[test]
    fn each_period_has_its_outage_at_a_place_of_its_own_alike_in_both_directions() {
        let spec = LinkSpec { outage: cycle(15, 300), seed: 7, ..LinkSpec::default() };
        let (down, up) = (generators(&spec, Direction::Down), generators(&spec, Direction::Up));
        let mut places = Vec::new();
        for index in 0..200 {
            let (begin, end) = (index * 300 * SECOND, (index + 1) * 300 * SECOND);
            let period = shares(&down, begin, end);
            assert_eq!(silence(&period), 15 * SECOND);
            assert_eq!(period, shares(&up, begin, end));
            places.push(period[0].1 / SECOND);
        }
        // Uniform between 0 and 285 s: a mean of 142.5 with a deviation of 82.3 / sqrt(200) = 5.8.
        let mean = places.iter().sum::<u64>() / 200;
        assert!((125..160).contains(&mean), "{mean}");
        assert!(places.iter().min() < Some(&15) && places.iter().max() > Some(&270));
    }

    #[test]
    fn another_seed_is_another_link() {
        let places = |seed| {
            generators(&LinkSpec { outage: cycle(15, 300), seed, ..LinkSpec::default() }, Direction::Down)
                .share(0)
        };
        assert_ne!(places(1), places(2));
        assert_eq!(places(1), places(1));
    }

    #[test]
    fn a_cell_of_rain_goes_down_by_steps_and_up_again() {
        let spec = LinkSpec { rain: cycle(270, 1000), ..LinkSpec::default() };
        let (rain, up) = (generators(&spec, Direction::Down), generators(&spec, Direction::Up));
        let mut depths = [0; 7];
        for index in 0..600 {
            let (begin, end) = (index * 1000 * SECOND, (index + 1) * 1000 * SECOND);
            let cell = shares(&rain, begin, end);
            assert_eq!(cell, shares(&up, begin, end));
            let cell: Vec<_> = cell.into_iter().filter(|(share, _)| *share < WHOLE).collect();
            assert_eq!(cell.iter().map(|(_, time)| time).sum::<u64>(), 270 * SECOND);
            let falling: Vec<_> = cell.iter().take(cell.len().div_ceil(2)).map(|(share, _)| *share).collect();
            let depth = falling.len();
            let steps = [750_000, 500_000, 330_000, 160_000, 80_000, 0];
            assert_eq!(falling, &steps[..depth]);
            assert!(cell.iter().map(|(share, _)| share).eq(cell.iter().rev().map(|(share, _)| share)));
            assert_eq!(silence(&cell), if depth == 6 { 10 * SECOND } else { 0 });
            depths[depth] += 1;
        }
        assert!(depths[0] == 0 && depths[1..].iter().all(|count| (60..140).contains(count)), "{depths:?}");
    }

    #[test]
    fn a_handover_is_silent_and_then_leaves_another_share_each_way() {
        let spec = LinkSpec { handover: Some(Duration::from_secs(15)), ..LinkSpec::default() };
        let (down, up) = (generators(&spec, Direction::Down), generators(&spec, Direction::Up));
        assert_eq!(shares(&down, 0, 15 * SECOND).len(), 1, "no silence before the first satellite");
        let (mut silences, mut left) = (Vec::new(), Vec::new());
        for index in 1..400 {
            let slot = |side| shares(side, index * 15 * SECOND, (index + 1) * 15 * SECOND);
            let (down, up) = (slot(&down), slot(&up));
            assert_eq!((down.len(), down[0]), (2, up[0]));
            assert_ne!(down[1].0, up[1].0);
            silences.push(down[0].1 / 1_000_000);
            left.push(down[1].0);
        }
        assert!(silences.iter().all(|silence| (180..=420).contains(silence)));
        assert!(left.iter().all(|left| (500_000..=1_000_000).contains(left)));
        let mean = left.iter().sum::<u64>() / 399;
        assert!((725_000..775_000).contains(&mean), "{mean}");
        assert!(silences.iter().min() < Some(&190) && silences.iter().max() > Some(&410));
    }

    #[test]
    fn a_pass_opens_each_period() {
        let pass = generators(&LinkSpec { pass: cycle(2, 10), ..LinkSpec::default() }, Direction::Up);
        assert_eq!(
            shares(&pass, 0, 20 * SECOND),
            [(WHOLE, 2 * SECOND), (0, 8 * SECOND), (WHOLE, 2 * SECOND), (0, 8 * SECOND)]
        );
        assert!(
            generators(
                &LinkSpec { pass: cycle(10, 10), outage: cycle(0, 9), ..LinkSpec::default() },
                Direction::Up
            )
            .is_empty()
        );
        assert!(
            !generators(&LinkSpec { pass: cycle(0, 10), ..LinkSpec::default() }, Direction::Up).is_empty()
        );
    }

    proptest! {
        #[test]
        fn time_always_goes_on(
            lengths: [u64; 3], periods: [u64; 3], handover: u64, seed: u64, offset: u64, small: bool,
        ) {
            let time = |nanos: u64| Duration::from_nanos(if small { nanos % 50 } else { nanos });
            let cycle = |index: usize| Some(Cycle { length: time(lengths[index]), period: time(periods[index]) });
            let spec = LinkSpec {
                outage: cycle(0), pass: cycle(1), rain: cycle(2), handover: Some(time(handover)), seed, ..LinkSpec::default()
            };
            let generators = Generators::new(&spec, Direction::Down);
            let share = generators.share(offset);
            prop_assert!(share.until > offset || offset == u64::MAX);
            prop_assert!(share.millionths <= WHOLE);
            // The same until the moment it names, whenever it is asked. Of two silences at once either may be named.
            let middle = offset + (share.until - offset).saturating_sub(1) / 2;
            let later = generators.share(middle);
            prop_assert_eq!(later.millionths, share.millionths);
            prop_assert!(later.until == share.until || share.millionths == 0);
        }
    }
}
