//! A guard in front of a simulated real link: a fluid queue in each direction, with handshakes that wait in it.

use std::time::Duration;

use linkio::{BitRate, Guard, Moment};
use proptest::prelude::*;

const TICK: u64 = 10;
const PACKET: u64 = 1448;
/// What the sockets of uploads hold: milliseconds of the first rate, about two bandwidth-delay products.
const SOCKET: u64 = 500;

/// One direction of the real link, and of the guarded traffic on it.
#[derive(Clone, Debug, Default)]
struct Way {
    /// Bits per second now.
    rate: u64,
    /// Bits that wait on the far side of our limit, in thousandths (a tick is that part of a second).
    queue: u64,
    /// Bits that wait in the sockets of uploads, in thousandths.
    socket: u64,
    buffer: u64,
    /// The queue holds so many milliseconds of `rate`; more is lost, or waits at its sender.
    room: u64,
    /// Bits per second that the traffic would take; the link's own rate several times over is saturation.
    demand: u64,
    /// Bits that left the queue, in thousandths.
    carried: u64,
    backlog: bool,
}

impl Way {
    /// Downloads queue before us while the link is slower than the limit, and nothing waits on our side.
    fn download(&mut self, limit: Option<BitRate>) {
        let limit = limit.map_or(u64::MAX, BitRate::bits_per_second);
        let most = (self.room * self.rate).max(self.queue);
        self.queue = (self.queue + self.demand.min(limit) * TICK).min(most + self.rate * TICK);
        let out = self.queue.min(self.rate * TICK);
        self.queue -= out;
        self.carried += out;
        self.backlog = limit < self.demand && limit <= self.rate;
    }

    /// Uploads are carried once a socket has taken them, which has room of its own.
    fn upload(&mut self, limit: Option<BitRate>) {
        let limit = limit.map_or(u64::MAX, BitRate::bits_per_second);
        let room = (self.room * self.rate + self.buffer).saturating_sub(self.queue + self.socket);
        let taken = (self.demand.min(limit) * TICK).min(room + self.rate * TICK);
        self.carried += taken;
        self.socket += taken;
        let sent = self.socket.min((self.room * self.rate).saturating_sub(self.queue) + self.rate * TICK);
        self.socket -= sent;
        self.queue = (self.queue + sent).saturating_sub(self.rate * TICK);
        self.backlog = limit < self.demand;
    }

    fn wait(&self) -> u64 {
        self.queue / self.rate.max(1)
    }

    /// Whole packets only, as a socket gives them.
    fn total(&self) -> u64 {
        self.carried / 8000 / PACKET * PACKET
    }
}

struct World {
    guard: Guard,
    ways: [Way; 2],
    base: u64,
    jitter: u64,
    now: u64,
    /// Handshakes under way: when they end, and how long they took.
    trips: Vec<(u64, u64)>,
    seed: u64,
}

impl World {
    fn new(down: u64, up: u64, base: u64) -> Self {
        let way = |rate| Way { rate, room: 1000, buffer: SOCKET * rate, ..Way::default() };
        let guard = Guard::new(90);
        Self { guard, ways: [way(down), way(up)], base, jitter: 0, now: 0, trips: Vec::new(), seed: 7 }
    }

    fn saturate(mut self, place: usize) -> Self {
        self.ways[place].demand = 1_000_000_000;
        self
    }

    fn limit(&self, place: usize) -> Option<u64> {
        let (down, up) = self.guard.rates();
        [down, up][place].map(BitRate::bits_per_second)
    }

    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.seed >> 33
    }

    fn handshake(&mut self) {
        let shake = if self.jitter == 0 { 0 } else { self.random() % self.jitter };
        let trip = self.base + shake + self.ways.iter().map(Way::wait).sum::<u64>();
        self.trips.push((self.now + trip, trip));
    }

    fn moment(&self) -> Moment {
        Moment::START + Duration::from_millis(self.now)
    }

    /// Runs for `seconds` and calls `each` every 100 ms.
    fn run(&mut self, seconds: u64, mut each: impl FnMut(&World)) {
        let end = self.now + seconds * 1000;
        while self.now < end {
            self.now += TICK;
            let (down, up) = self.guard.rates();
            self.ways[0].download(down);
            self.ways[1].upload(up);
            let now = self.moment();
            let (ended, under_way) = self.trips.iter().partition(|(end, _)| *end <= self.now);
            self.trips = under_way;
            for (_, trip) in Vec::<(u64, u64)>::from_iter::<Vec<_>>(ended) {
                self.guard.round_trip(Duration::from_millis(trip), now);
            }
            if self.now.is_multiple_of(100) {
                let [down, up] = &self.ways;
                self.guard.crossed(down.total(), up.total(), down.backlog, up.backlog, now);
                if self.guard.wants_probe(now) && self.ways.iter().all(|way| way.rate > 0) {
                    self.handshake();
                }
                each(self);
            }
        }
    }

    /// The medians over `seconds` of the limit in percent of the real rate, and of the queue in ms.
    fn medians(&mut self, place: usize, seconds: u64) -> (u64, u64) {
        let (mut limits, mut queues) = (Vec::new(), Vec::new());
        self.run(seconds, |world| {
            // Without a limit the median is beyond every bound.
            let limit = world.limit(place).unwrap_or(u64::MAX / 100);
            limits.push(limit * 100 / world.ways[place].rate.max(1));
            queues.push(world.ways[place].wait());
        });
        (median(limits), median(queues))
    }
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// A saturated link is known within a minute, and its queue gone.
fn check_converges(place: usize, rate: u64, base: u64, jitter: u64) {
    let mut world = World::new(rate, rate, base).saturate(place);
    world.jitter = jitter;
    world.run(60, |_| ());
    let (limit, queue) = world.medians(place, 120);
    let what = format!("{rate} bit/s, {base} ms: limit {limit} %, queue {queue} ms");
    assert!((80..=95).contains(&limit) && queue < 100, "{what}");
    assert_eq!(world.limit(1 - place), None, "the other direction carried nothing: {what}");
}

#[test]
fn a_saturated_downlink_is_found_within_a_minute() {
    for rate in [40_000, 128_000, 512_000, 1_000_000, 5_000_000, 20_000_000] {
        check_converges(0, rate, 600, 0);
        check_converges(0, rate, 40, 0);
    }
}

#[test]
fn a_saturated_uplink_is_found_within_a_minute() {
    for rate in [40_000, 512_000, 20_000_000] {
        check_converges(1, rate, 600, 0);
        check_converges(1, rate, 20, 0);
    }
}

#[test]
fn jitter_does_not_count_as_a_queue() {
    for (place, rate, base, jitter) in [
        (0, 1_000_000, 600, 150),
        (0, 1_000_000, 50, 12),
        (0, 300_000, 150, 37),
        (0, 90_000, 350, 87),
        (1, 3_000_000, 750, 187),
        (1, 500_000, 60, 15),
    ] {
        check_converges(place, rate, base, jitter);
    }
}

/// The limit's percent of the real rate `seconds` after the rate was multiplied by `numerator / denominator`.
fn check_follows(place: usize, rate: u64, numerator: u64, denominator: u64, seconds: u64) {
    let mut world = World::new(rate, rate, 300).saturate(place);
    let then = rate * numerator / denominator;
    world.ways[place].buffer = SOCKET * rate.min(then);
    world.run(120, |_| ());
    world.ways[place].rate = then;
    world.run(seconds, |_| ());
    let (limit, queue) = world.medians(place, 60);
    let what = format!("{rate} bit/s x {numerator} / {denominator}: limit {limit} %, queue {queue} ms");
    assert!((65..=99).contains(&limit) && queue < 100, "{what}");
}

#[test]
fn a_rate_that_changes_is_followed() {
    for place in [0, 1] {
        for rate in [100_000, 2_000_000, 20_000_000] {
            check_follows(place, rate, 1, 2, 45);
            check_follows(place, rate, 2, 1, 120);
        }
    }
    check_follows(0, 20_000_000, 1, 20, 90);
    check_follows(1, 20_000_000, 1, 20, 90);
}

#[test]
fn without_traffic_nothing_changes() {
    let mut world = World::new(1_000_000, 1_000_000, 600).saturate(0);
    world.run(90, |_| ());
    world.ways[0].demand = 0;
    world.run(20, |_| ());
    let before = world.guard.rates();
    let mut asked = 0;
    world.run(900, |world| {
        assert_eq!(world.guard.rates(), before);
        asked += world.trips.len();
    });
    assert_eq!(asked, 0, "no handshake is asked for");
}

#[test]
fn little_traffic_changes_nothing_either() {
    let mut world = World::new(1_000_000, 1_000_000, 600).saturate(0);
    world.run(90, |_| ());
    world.ways[0].demand = 100_000;
    world.run(20, |_| ());
    let before = world.guard.rates();
    world.run(600, |world| assert_eq!(world.guard.rates(), before));
}

#[test]
fn an_outage_changes_nothing() {
    for place in [0, 1] {
        let mut world = World::new(1_000_000, 1_000_000, 600).saturate(place);
        world.run(90, |_| ());
        let before = world.limit(place).unwrap();
        world.ways[place].rate = 0;
        world.run(300, |_| ());
        let during = world.limit(place).unwrap();
        world.ways[place].rate = 1_000_000;
        world.run(10, |_| ());
        let after = world.limit(place).unwrap();
        assert!(during >= before * 85 / 100 && after >= before / 2, "{before} {during} {after}");
        let (limit, queue) = world.medians(place, 120);
        assert!((80..=97).contains(&limit) && queue < 100, "{limit} % {queue} ms");
    }
}

#[test]
fn a_longer_route_is_not_taken_for_a_queue_for_long() {
    let mut world = World::new(1_000_000, 1_000_000, 100).saturate(0);
    world.run(90, |_| ());
    world.base = 180;
    world.run(120, |_| ());
    let (limit, _) = world.medians(0, 60);
    assert!((75..=120).contains(&limit), "{limit} %");
}

#[test]
fn jitter_never_seen_at_rest_is_learnt() {
    let mut world = World::new(1_000_000, 1_000_000, 40).saturate(0);
    world.jitter = 120;
    world.run(120, |_| ());
    let (limit, queue) = world.medians(0, 300);
    assert!((75..=120).contains(&limit) && queue < 200, "{limit} %, queue {queue} ms");
}

#[test]
fn a_slow_origin_does_not_pass_for_the_link() {
    let mut world = World::new(10_000_000, 10_000_000, 100);
    world.handshake();
    world.run(1, |_| ());
    world.ways[0].demand = 300_000;
    world.run(300, |world| assert_eq!(world.guard.rates(), (None, None)));
}

#[test]
fn without_a_round_trip_at_rest_a_first_limit_rises_soon() {
    let mut world = World::new(10_000_000, 10_000_000, 100);
    world.ways[0].demand = 300_000;
    world.run(60, |_| ());
    world.ways[0].demand = 1_000_000_000;
    world.run(100, |_| ());
    let (limit, queue) = world.medians(0, 60);
    assert!((80..=97).contains(&limit) && queue < 100, "{limit} %, queue {queue} ms");
}

#[test]
fn both_directions_at_once_are_both_found() {
    let mut world = World::new(4_000_000, 1_000_000, 100).saturate(0).saturate(1);
    world.run(90, |_| ());
    let (down, up) = (world.medians(0, 120), world.medians(1, 120));
    assert!((75..=99).contains(&down.0) && (75..=99).contains(&up.0), "{down:?} {up:?}");
    assert!(down.1 < 100 && up.1 < 100, "{down:?} {up:?}");
}

#[test]
fn a_quiet_direction_is_not_blamed() {
    for call in [5_000, 100_000] {
        let mut world = World::new(1_000_000, 1_000_000, 100).saturate(0);
        world.ways[1].demand = call;
        world.run(600, |_| ());
        assert_eq!(world.limit(1), None, "{call} bit/s up");
    }
}

#[test]
fn probes_are_asked_for_every_two_seconds_at_most() {
    let mut guard = Guard::new(90);
    let mut asked = 0;
    for tick in 0..600 {
        let now = Moment::START + Duration::from_millis(tick * 100);
        guard.crossed(tick * 1000, 0, true, false, now);
        asked += u64::from(guard.wants_probe(now));
        asked += u64::from(guard.wants_probe(now));
    }
    assert!((29..=31).contains(&asked), "{asked} in a minute");
}

#[derive(Clone, Debug)]
enum Input {
    RoundTrip(u64, Duration),
    Crossed(u64, u64, bool, bool),
    Wait(Duration),
    Probe,
}

fn input() -> impl Strategy<Value = Input> {
    let short = || (0_u64..3_000).prop_map(Duration::from_millis);
    prop_oneof![
        (0..3_u64, short()).prop_map(|(origin, sample)| Input::RoundTrip(origin, sample)),
        any::<(u64, Duration)>().prop_map(|(origin, sample)| Input::RoundTrip(origin, sample)),
        (0..1_000_000_u64, 0..1_000_000_u64, any::<bool>(), any::<bool>())
            .prop_map(|(down, up, busy_down, busy_up)| Input::Crossed(down, up, busy_down, busy_up)),
        any::<(u64, u64, bool, bool)>()
            .prop_map(|(down, up, one, other)| Input::Crossed(down, up, one, other)),
        short().prop_map(Input::Wait),
        any::<Duration>().prop_map(Input::Wait),
        Just(Input::Probe),
    ]
}

proptest! {
    #[test]
    fn no_input_makes_a_limit_zero_or_the_guard_panic(
        share: u8,
        inputs in proptest::collection::vec(input(), 0..400),
    ) {
        let mut guard = Guard::new(share);
        let mut now = Moment::START;
        for input in inputs {
            match input {
                Input::RoundTrip(origin, sample) => guard.round_trip_to(origin, sample, now),
                Input::Crossed(down, up, busy_down, busy_up) => guard.crossed(down, up, busy_down, busy_up, now),
                Input::Wait(time) => now = now + time,
                Input::Probe => drop(guard.wants_probe(now)),
            }
            let (down, up) = guard.rates();
            prop_assert!(down.into_iter().chain(up).all(|rate| rate.bits_per_second() >= 8000));
        }
    }

}

proptest! {
    // A case is some minutes of a link.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_round_trips_however_odd_make_a_steady_flow_starve(
        samples in proptest::collection::vec(1..5_000_u64, 1..200),
        rate in 100_000..10_000_000_u64,
    ) {
        let mut world = World::new(rate, rate, 100).saturate(0);
        world.run(60, |_| ());
        for sample in samples {
            world.run(1, |_| ());
            let now = world.moment();
            world.guard.round_trip(Duration::from_millis(sample), now);
        }
        let limit = world.limit(0).unwrap_or(u64::MAX);
        prop_assert!(limit >= rate / 25, "{} of {}", limit, rate);
    }
}
