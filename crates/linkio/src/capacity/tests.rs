//! Exactness of every kind of capacity: parts are the whole, and a stop on the way changes nothing.

use proptest::prelude::*;

use super::*;
use crate::model::{LinkModel, Source};
use crate::spec::{Change, Cycle, Direction, LinkSpec, Point, Schedule};

const SECOND: u64 = 1_000_000_000;

fn constant(bits: u64) -> Capacity {
    Capacity::Constant(BitRate::from_bits_per_second(bits))
}

fn seconds(seconds: u64) -> Moment {
    Moment::from_nanos(seconds * SECOND)
}

fn cycle(length: u64, period: u64) -> Option<Cycle> {
    Some(Cycle { length: Duration::from_millis(length), period: Duration::from_millis(period) })
}

fn down(spec: LinkSpec, start: Moment) -> Capacity {
    LinkModel::from(spec).capacity(Direction::Down, start)
}

fn megabit() -> LinkSpec {
    LinkSpec { down: Some(BitRate::from_bits_per_second(1_000_000)), ..LinkSpec::default() }
}

/// Bytes that cross between two moments, rounded down.
fn bytes(capacity: &Capacity, from: Moment, to: Moment) -> u128 {
    capacity.advance(Clock::starting(from), to).ahead / BYTE
}

/// Points of a schedule of the rate towards the clients: (milliseconds, bits per second, whether a ramp).
fn schedule(points: &[(u64, u64, bool)], repeat: Option<u64>) -> Schedule {
    let point = |(at, bits, ramp): &(u64, u64, bool)| Point {
        at: Duration::from_millis(*at),
        change: if *ramp { Change::Ramp } else { Change::Step },
        down: Some(BitRate::from_bits_per_second(*bits)),
        up: None,
        rtt: None,
        jitter: None,
        loss: None,
    };
    Schedule { points: points.iter().map(point).collect(), repeat: repeat.map(Duration::from_millis) }
}

#[test]
fn a_quantum_is_twenty_milliseconds_within_bounds() {
    for (bits, quantum, limit) in [
        (0, 128, 256),
        (9_600, 128, 256),
        (56_000, 140, 350),
        (512_000, 1280, 3200),
        (1_000_000, 1500, 6250),
        (10_000_000, 1500, 62_500),
        (100_000_000, 1500, 65_536),
        (u64::MAX, 1500, 65_536),
    ] {
        let (constant, now) = (constant(bits), Moment::START);
        assert_eq!((constant.quantum(now), constant.backlog_limit(now)), (quantum, limit), "{bits}");
    }
}

#[test]
fn sizes_follow_the_present_rate_and_a_silent_links_usual_one() {
    let spec = LinkSpec {
        schedule: schedule(&[(10_000, 56_000, false), (20_000, 0, false)], None),
        pass: cycle(15_000, 16_000),
        ..megabit()
    };
    let capacity = down(spec, seconds(100));
    let sizes = |at: u64| (capacity.quantum(seconds(at)), capacity.backlog_limit(seconds(at)));
    assert_eq!([sizes(0), sizes(100), sizes(110)], [(1500, 6250), (1500, 6250), (140, 350)]);
    assert_eq!(sizes(115), (140, 350), "closed after the pass, and as at the rate before");
    assert_eq!(sizes(125), (1500, 6250), "at rate zero as at the highest");
    assert_eq!(capacity.rate(seconds(110)).map(BitRate::bits_per_second), Some(56_000));
    assert!(capacity.is_closed(seconds(115)) && !capacity.is_closed(seconds(116)));
    assert_eq!(capacity.opens(seconds(115)), Some(seconds(116)));
    assert_eq!((capacity.opens(seconds(105)), capacity.opens(seconds(120))), (Some(seconds(105)), None));
}

#[test]
fn a_closed_link_never_finishes_but_carries_what_was_done() {
    assert_eq!(constant(0).finish(Clock::default(), 1), None);
    let half = constant(8).advance(Clock::default(), Moment::from_nanos(SECOND / 2));
    let held = constant(0).advance(half, seconds(9));
    assert_eq!(constant(8).finish(held, 1).map(|done| done.at.as_nanos()), Some(9 * SECOND + SECOND / 2));
}

#[test]
fn what_never_opens_is_answered() {
    let never = [
        LinkSpec { pass: cycle(0, 10), ..megabit() },
        LinkSpec { outage: cycle(10, 10), ..megabit() },
        LinkSpec { schedule: schedule(&[(0, 0, false)], Some(1)), ..megabit() },
        LinkSpec { schedule: schedule(&[(0, 0, false)], None), outage: cycle(1, 2), ..megabit() },
        // The rate is zero whenever the satellite passes: found out by looking at very many of the passes.
        LinkSpec {
            schedule: schedule(&[(0, 0, false), (500, 1, false)], Some(1000)),
            pass: cycle(400, 1000),
            ..megabit()
        },
    ];
    for spec in never {
        let capacity = down(spec.clone(), Moment::START);
        assert_eq!(capacity.time_for(seconds(1), 1), None, "{spec:?}");
        assert_eq!(capacity.opens(seconds(1)), None, "{spec:?}");
        assert!(capacity.is_closed(seconds(1)), "{spec:?}");
    }
}

#[test]
fn a_link_that_changes_all_the_time_is_answered_at_its_mean_rate() {
    let nanos = |nanos| Duration::from_nanos(nanos);
    let pass = Some(Cycle { length: nanos(1), period: nanos(2) });
    let capacity = down(LinkSpec { pass, ..megabit() }, Moment::START);
    assert_eq!(capacity.time_for(Moment::START, 1_000_000), Some(Duration::from_secs(16)));
    assert_eq!(bytes(&capacity, Moment::START, seconds(16)), 1_000_000);
}

#[test]
fn a_pass_is_the_first_part_of_each_period() {
    let capacity = down(LinkSpec { pass: cycle(2000, 10_000), ..megabit() }, seconds(5));
    assert_eq!(bytes(&capacity, seconds(5), seconds(15)), 250_000);
    assert_eq!(bytes(&capacity, seconds(7), seconds(15)), 0);
    assert_eq!(capacity.time_for(seconds(5), 250_000), Some(Duration::from_secs(2)));
    assert_eq!(capacity.time_for(seconds(5), 250_125), Some(Duration::from_millis(10_001)));
}

#[test]
fn a_ramp_carries_the_mean_of_its_ends() {
    let spec = LinkSpec { schedule: schedule(&[(10_000, 3_000_000, true)], None), ..megabit() };
    let capacity = down(spec, seconds(1));
    assert_eq!(bytes(&capacity, seconds(1), seconds(11)), 2_500_000);
    assert_eq!(bytes(&capacity, seconds(1), seconds(6)), 937_500);
    assert_eq!(bytes(&capacity, seconds(0), seconds(1)), 125_000, "before it begins, as at its beginning");
    assert_eq!(capacity.rate(seconds(6)).map(BitRate::bits_per_second), Some(2_000_000));
    assert_eq!(capacity.time_for(seconds(1), 2_500_000), Some(Duration::from_secs(10)));
}

#[test]
fn nothing_crosses_an_unlimited_link_during_its_outage() {
    let spec = LinkSpec { pass: cycle(1000, 10_000), ..LinkSpec::default() };
    let capacity = down(spec, Moment::START);
    assert_eq!(capacity.rate(Moment::START), None);
    assert!(capacity.time_for(Moment::START, 1_000_000) < Some(Duration::from_micros(1)));
    assert_eq!(capacity.time_for(seconds(4), 1500), Some(Duration::from_nanos(6 * SECOND + 2)));
    assert_eq!(capacity.rate(seconds(4)), Some(BitRate::ZERO));
}

#[test]
fn a_chance_that_nobody_used_is_lost() {
    let trace = Arc::new(Trace::parse("10\n20\n20\n30\n").unwrap());
    let capacity = Capacity::Trace(trace, seconds(1));
    let finish = |from: Clock, bytes| capacity.finish(from, bytes).unwrap();
    let millis = |at: u64| Moment::from_nanos(SECOND + at * 1_000_000);
    let first = finish(Clock::starting(seconds(1)), 700);
    assert_eq!((first.at, first.ahead), (millis(10), 800 * BYTE));
    assert_eq!(finish(first, 800), Clock::starting(millis(10)));
    let second = finish(first, 801);
    assert_eq!((second.at, second.ahead), (millis(20), 2999 * BYTE), "both chances of the millisecond");
    assert_eq!(finish(second, 2999).at, millis(20));
    assert_eq!(finish(Clock::starting(millis(20)), 1).at, millis(30));
    assert_eq!(finish(Clock::starting(millis(30)), 1).at, millis(40));
    assert_eq!(capacity.rate(millis(0)).map(BitRate::bits_per_second), Some(1_600_000));
}

fn specs() -> impl Strategy<Value = LinkSpec> {
    let times = (1..3000_u64, 1..3000_u64).prop_map(|(one, other)| cycle(one.min(other), one.max(other)));
    let cycles = || prop_oneof![2 => Just(None), 1 => times.clone()];
    let handover = prop::option::of((1..5000_u64).prop_map(Duration::from_millis));
    let rate = || prop_oneof![1 => Just(0_u64), 9 => 1..5_000_000_000_u64];
    let point = (0..8000_u64, rate(), any::<bool>());
    let points = (prop::collection::vec(point, 0..6), prop::option::of(1..9000_u64));
    (prop::option::of(rate()), cycles(), cycles(), cycles(), handover, points, any::<u64>()).prop_map(
        |(down, outage, pass, rain, handover, (mut points, repeat), seed)| {
            points.sort_unstable();
            points.dedup_by_key(|(at, _, _)| *at);
            let down = down.map(BitRate::from_bits_per_second);
            let schedule = schedule(&points, repeat);
            LinkSpec { down, outage, pass, rain, handover, schedule, seed, ..LinkSpec::default() }
        },
    )
}

fn traces() -> impl Strategy<Value = Trace> {
    prop::collection::vec(0..400_u32, 1..40).prop_map(|mut millis| {
        millis.push(400);
        millis.sort_unstable();
        let text: String = millis.iter().map(|at| format!("{at}\n")).collect();
        Trace::parse(&text).unwrap()
    })
}

fn capacities() -> impl Strategy<Value = Capacity> {
    let start = || (0..5000_u64).prop_map(|millis| Moment::from_nanos(millis * 1_000_000));
    prop_oneof![
        2 => (0..20_000_000_000_u64).prop_map(constant),
        6 => (specs(), start())
            .prop_map(|(spec, start)| down(spec, start))
            .prop_filter("a limit", |capacity| *capacity != Capacity::Unlimited),
        2 => (traces(), start()).prop_map(|(trace, start)| Capacity::Trace(Arc::new(trace), start)),
    ]
}

/// So many changes are no more than `CHANGES_MAX` even at the shortest of the periods above.
const HORIZON: u64 = 20 * SECOND;

proptest! {
    #[test]
    fn no_rounding_drifts(capacity in capacities(), sizes in prop::collection::vec(1..70_000_u64, 1..100)) {
        let total: u64 = sizes.iter().sum();
        let piecewise = sizes.iter().try_fold(Clock::default(), |clock, size| capacity.finish(clock, *size));
        let whole = capacity.finish(Clock::default(), total);
        // Beyond, the answer may be one of a mean rate.
        if whole.is_some_and(|whole| whole.at.as_nanos() < HORIZON) {
            prop_assert_eq!(piecewise, whole);
        }
    }

    #[test]
    fn a_stop_on_the_way_changes_nothing(
        capacity in capacities(), bytes in 1..1_000_000_u64, stops in prop::collection::vec(0..1000_u64, 1..5),
    ) {
        let whole = capacity.finish(Clock::default(), bytes);
        let end = whole.map_or(0, |clock| clock.at.as_nanos());
        if end < HORIZON {
            let mut clock = Clock::default();
            for stop in stops {
                clock = capacity.advance(clock, Moment::from_nanos(end / 1000 * stop));
            }
            prop_assert_eq!(capacity.finish(clock, bytes).map(|c| c.at), whole.map(|c| c.at));
        }
    }

    #[test]
    fn a_finish_is_the_first_moment_at_which_enough_was_done(capacity in capacities(), bytes in 1..1_000_000_u64, from in 0..HORIZON) {
        let from = Clock::starting(Moment::from_nanos(from));
        if let Some(done) = capacity.finish(from, bytes).filter(|done| done.at.as_nanos() < 2 * HORIZON) {
            let work = u128::from(bytes) * BYTE;
            let at = capacity.advance(from, done.at);
            let before = capacity.advance(from, done.at.before(Duration::from_nanos(1)));
            prop_assert_eq!(at.ahead, work + done.ahead);
            prop_assert!(before.ahead < work);
        }
    }

    #[test]
    fn what_crosses_follows_the_rate(spec in specs(), from in 0..10_000_u64) {
        let capacity = down(spec, Moment::START);
        let at = |millis: u64| Moment::from_nanos(millis * 1_000_000);
        // Within a millisecond in which the rate is the same at many moments, it is the work's.
        let moments = (0..=20_u64).map(|part| Moment::from_nanos(from * 1_000_000 + part * 50_000));
        let rates: Vec<Option<BitRate>> = moments.map(|moment| capacity.rate(moment)).collect();
        if let (true, Some(rate)) = (rates.windows(2).all(|pair| pair[0] == pair[1]), rates[0]) {
            let done = capacity.advance(Clock::starting(at(from)), at(from + 1)).ahead;
            prop_assert_eq!(done, u128::from(rate.bits_per_second()) * 1_000_000);
        }
    }

    #[test]
    fn a_link_is_closed_until_it_opens(spec in specs(), at in 0..HORIZON) {
        let (capacity, at) = (down(spec, Moment::START), Moment::from_nanos(at));
        match capacity.opens(at) {
            Some(open) if open == at => prop_assert!(!capacity.is_closed(at) || capacity.rate(at) == Some(BitRate::ZERO)),
            Some(open) => {
                prop_assert!(capacity.is_closed(at));
                prop_assert_eq!(capacity.advance(Clock::starting(at), open).ahead, 0);
            }
            None => prop_assert_eq!(capacity.finish(Clock::starting(at), 1), None),
        }
    }

    #[test]
    fn any_numbers_are_answered(
        bits: u64, other: u64, bytes: u64, at: u64, start: u64, ahead: u128,
        times: [u64; 9], ramp: bool, trace in traces(),
    ) {
        let time = Duration::from_nanos;
        // The larger, the fewer changes to look through: what is answered slowly is tested above.
        let cycle = |length: u64, period: u64| Some(Cycle { length: time(length), period: time(period | 1 << 40) });
        let mut schedule = schedule(&[(times[0] % 1000, other, ramp), (1000 + times[0] / 2_000_000, bits, ramp)], None);
        schedule.repeat = (times[1] % 2 == 0).then_some(time(times[1] | 1 << 40));
        let spec = LinkSpec {
            down: Some(BitRate::from_bits_per_second(bits)),
            outage: cycle(times[2], times[3]), pass: cycle(times[4] | 1 << 60, times[5]), rain: cycle(times[6], times[7]),
            handover: Some(time(times[8] | 1 << 40)), schedule, seed: at, ..LinkSpec::default()
        };
        let mut model = LinkModel::from(spec);
        let varied = model.capacity(Direction::Down, Moment::from_nanos(start));
        model.down = Some(Source::Trace(Arc::new(trace)));
        let traced = model.capacity(Direction::Down, Moment::from_nanos(start));
        for capacity in [constant(bits), varied, traced] {
            let from = Clock { at: Moment::from_nanos(at), ahead };
            let _ = (capacity.finish(from, bytes), capacity.finish(Clock::starting(from.at), bytes % 100_000));
            let late = capacity.advance(from, Moment::from_nanos(u64::MAX));
            prop_assert_eq!(late.at, Moment::from_nanos(u64::MAX));
            let _ = (capacity.finish(late, bytes), capacity.rate(from.at), capacity.opens(from.at));
            prop_assert!(capacity.quantum(from.at) >= 128 && capacity.backlog_limit(from.at) >= 256);
        }
    }
}

#[test]
fn bytes_between_two_moments_are_whole() {
    let at = |millis: u64| Moment::from_nanos(millis * 1_000_000);
    let rate = |text: &str| Capacity::from_spec(Some(text.parse().unwrap()));
    assert_eq!(rate("8k").bytes_between(at(500), at(1999)), 1499);
    assert_eq!(rate("8k").bytes_between(at(5), at(5)), 0);
    assert_eq!(Capacity::Unlimited.bytes_between(at(0), at(1)), u64::MAX);
    let trace = Capacity::Trace(Arc::new(Trace::parse("10\n20\n").unwrap()), Moment::START);
    assert_eq!(trace.bytes_between(at(0), at(39)), 4500);
}
