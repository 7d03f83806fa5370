//! What a link does over time: its specification, and traces or schedules that were read from files.
//!
//! Owns the choice of what says how much of a direction there is, and turns it into a capacity and a propagation. It
//! reads no file and decides nothing about pacing.

use std::sync::Arc;

use crate::capacity::{Capacity, Profile};
use crate::generator::Generators;
use crate::moment::Moment;
use crate::propagation::Propagation;
use crate::rate::BitRate;
use crate::spec::{Direction, LinkSpec, Schedule};
use crate::trace::Trace;
use crate::track::Track;

/// A link, complete.
///
/// ```
/// # use std::sync::Arc;
/// use linkio::{Capacity, Direction, LinkModel, LinkSpec, Moment, Source, Trace};
///
/// let mut model = LinkModel::from("512k/128k,rtt=600ms".parse::<LinkSpec>()?);
/// model.down = Some(Source::Trace(Arc::new(Trace::parse("6\n12\n")?)));
/// let down = model.capacity(Direction::Down, Moment::START);
/// assert_eq!(down.time_for(Moment::START, 3000).map(|time| time.as_millis()), Some(12));
/// let up = model.capacity(Direction::Up, Moment::START);
/// assert_eq!(up, Capacity::from_spec(Some("128k".parse()?)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkModel {
    /// As the user typed it.
    pub spec: LinkSpec,
    /// What takes the place of the specification's rate towards the clients.
    pub down: Option<Source>,
    /// What takes the place of the specification's rate towards the origins.
    pub up: Option<Source>,
}

/// What was read from a file about one direction of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The chances of a trace take the place of the rate and of all that changes it: the specification's schedule of
    /// rates, outages, passes, rain and handovers do not apply on top. Its delays and losses, and their schedule, do.
    Trace(Arc<Trace>),
    /// A schedule takes the place of the one in the specification. All else applies.
    Schedule(Arc<Schedule>),
}

impl From<LinkSpec> for LinkModel {
    fn from(spec: LinkSpec) -> Self {
        Self { spec, down: None, up: None }
    }
}

impl LinkModel {
    /// What `direction` can carry if the link begins at `start`.
    pub fn capacity(&self, direction: Direction, start: Moment) -> Capacity {
        if let Some(Source::Trace(trace)) = self.source(direction) {
            return Capacity::Trace(Arc::clone(trace), start);
        }
        let rate = match direction {
            Direction::Down => self.spec.down,
            Direction::Up => self.spec.up,
        };
        let typed = rate.map_or(Profile::UNLIMITED, BitRate::bits_per_second);
        let track = Track::new(typed, self.schedule(direction), |point| {
            let rate = match direction {
                Direction::Down => point.down,
                Direction::Up => point.up,
            };
            rate.map(BitRate::bits_per_second)
        });
        let generators = Generators::new(&self.spec, direction);
        match track.as_constant() {
            Some(constant) if generators.is_empty() && constant == typed => Capacity::from_spec(rate),
            Some(constant) if generators.is_empty() => {
                Capacity::from_spec(Some(BitRate::from_bits_per_second(constant)))
            }
            _ => Capacity::Profile(Arc::new(Profile::new(start, track, generators))),
        }
    }

    /// How what has crossed `direction` arrives if the link begins at `start`.
    pub fn propagation(&self, direction: Direction, start: Moment) -> Propagation {
        Propagation::new(&self.spec, self.schedule(direction), direction, start)
    }

    fn source(&self, direction: Direction) -> Option<&Source> {
        match direction {
            Direction::Down => self.down.as_ref(),
            Direction::Up => self.up.as_ref(),
        }
    }

    fn schedule(&self, direction: Direction) -> &Schedule {
        match self.source(direction) {
            Some(Source::Schedule(schedule)) => schedule,
            _ => &self.spec.schedule,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::spec::{Cycle, Loss};

    const CSV: &str = "time,down,rtt,loss\n0,64k,100,\n10,128k,200,1%\n20,64k,,\n";

    fn spec(text: &str) -> LinkSpec {
        text.parse().unwrap()
    }

    fn kilobits(capacity: &Capacity, second: u64) -> u64 {
        let at = Moment::after_start(Duration::from_secs(second));
        capacity.rate(at).unwrap().bits_per_second() / 1000
    }

    #[test]
    fn what_does_not_change_is_constant() {
        let model = LinkModel::from(spec("512k/unlimited,rtt=600ms"));
        assert_eq!(
            model.capacity(Direction::Down, Moment::START),
            Capacity::from_spec(Some("512k".parse().unwrap()))
        );
        assert_eq!(model.capacity(Direction::Up, Moment::START), Capacity::Unlimited);
        assert_eq!(LinkModel::default().capacity(Direction::Down, Moment::START), Capacity::Unlimited);
        assert!(LinkModel::default().propagation(Direction::Down, Moment::START).is_none());
    }

    #[test]
    fn a_schedule_from_a_file_takes_the_place_of_the_inline_one() {
        let inline = Schedule::from_csv("time,down,up\n5,8k,16k\n").unwrap();
        let file = Arc::new(Schedule::from_csv(CSV).unwrap());
        let down = Some(Source::Schedule(file));
        let model = LinkModel { spec: LinkSpec { schedule: inline, ..spec("512k") }, down, up: None };
        let (down, up) =
            (model.capacity(Direction::Down, Moment::START), model.capacity(Direction::Up, Moment::START));
        assert_eq!([0, 5, 10, 20].map(|second| kilobits(&down, second)), [64, 64, 128, 64]);
        assert_eq!([0, 5, 10, 20].map(|second| kilobits(&up, second)), [512, 16, 16, 16]);
        let later = Moment::after_start(Duration::from_secs(10));
        let loss = |direction| model.propagation(direction, Moment::START).loss(later);
        assert_eq!((loss(Direction::Down), loss(Direction::Up)), (Loss(10_000), Loss(0)));
    }

    #[test]
    fn a_step_at_once_to_a_constant_rate_is_constant() {
        let schedule = Schedule::from_csv("time,down,up\n0,8k,512k\n").unwrap();
        let model = LinkModel::from(LinkSpec { schedule, ..spec("512k") });
        let rate = |direction| model.capacity(direction, Moment::START);
        assert_eq!(rate(Direction::Down), Capacity::from_spec(Some("8k".parse().unwrap())));
        assert_eq!(rate(Direction::Up), Capacity::from_spec(Some("512k".parse().unwrap())));
    }

    #[test]
    fn nothing_else_applies_on_top_of_a_trace() {
        let trace = Arc::new(Trace::parse("12\n").unwrap());
        let second = Duration::from_secs(1);
        let outage = Some(Cycle { length: second, period: second });
        let down = Some(Source::Trace(trace));
        let model = LinkModel { spec: LinkSpec { outage, ..spec("512k,rtt=600ms") }, down, up: None };
        let capacity = model.capacity(Direction::Down, Moment::START);
        assert_eq!(
            (capacity.time_for(Moment::START, 15_000), kilobits(&capacity, 0)),
            (Some(second * 12 / 100), 1000)
        );
        assert!(model.capacity(Direction::Up, Moment::START).is_closed(Moment::START));
        assert_eq!(model.propagation(Direction::Down, Moment::START).one_way(Moment::START), second * 3 / 10);
    }
}
