//! Keeping just below the rate of a real link, so that the queue stays on our side: `auto=90%`.
//!
//! Owns the controller: which round trips show a queue, which direction it is blamed on, and how far its limit is cut
//! or raised. It reads no clock and opens no connection; whoever drives it measures handshakes and counts bytes.
//!
//! The idea is that of cake-autorate: cut to a share of what was carried when round trips grow, stay there, and rise
//! slowly while they do not. Estimates are the windowed maximum of the rate and minimum of the round trip (BBR); the
//! minimum ages over ten minutes, and noise is what remains with no queue of ours (LEDBAT, RFC 6817).
//!
//! - No estimate, no limit: the first comes from a queue, or from a flow that has long been as fast as it gets.
//! - After a cut the queue drains at a lower rate still. Where round trips do not fall with it, the direction was the
//!   wrong one; if they do not fall with any, they are what the link is like, and the cuts are taken back.
//! - While nothing crosses although something waits (an outage), nothing is learnt and nothing changes.

mod carried;
mod lane;
mod round_trips;

use std::time::Duration;

use crate::guard::carried::PAUSE;
use crate::guard::lane::{Lane, part};
use crate::guard::round_trips::{Excess, RoundTrips};
use crate::moment::Moment;
use crate::rate::BitRate;

/// Probes are at least so far apart, and from the last handshake that was seen anyway.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);

/// Slower handshakes have been lost, not delayed.
const SLOWEST: Duration = Duration::from_secs(60);

/// What limits rates is looked for in this time.
const EVIDENCE: Duration = Duration::from_secs(5);

/// A flow that has been as fast as it gets for so long fills the link, or its origin is slow.
const LEVEL: Duration = Duration::from_secs(8);

/// Percent of the share at which such a flow is first limited: the queue that may always have been there drains, and
/// shows what round trips are without it.
const BEGIN: u64 = 65;

/// Limits rise no faster than this, and without any round trips to go by than `BLIND_STEP`.
const STEP: Duration = Duration::from_secs(3);
const BLIND_STEP: Duration = Duration::from_secs(10);

/// Bytes that a sender may send at a time, and the longest time they may take and still be no queue.
const BURST: u64 = 3 * 1500;
const LONGEST_BURST: Duration = Duration::from_millis(100);

/// A longer queue is drained at a much lower rate.
const LONG_QUEUE: Duration = Duration::from_millis(250);
/// Percent of the share at which it drains.
const DRAIN: u64 = 65;
const LONGEST_DRAIN: Duration = Duration::from_secs(12);

/// After so many cuts that did not help, the queue is none of ours.
const MOST_IN_VAIN: u32 = 3;

/// A direction at this percentage of its limit may be what fills the link.
const NEAR_LIMIT: u64 = 75;

/// Uplinks are commonly that much slower: while nothing is known, the same rate is nearer to an uplink's limit.
const ASYMMETRY: u64 = 4;

/// The last cut: what it answered, and how its effect is awaited.
#[derive(Clone, Copy, Debug)]
struct Cut {
    over: Duration,
    /// Percent of the capacity at which the queue drains.
    drain: u64,
    drained: Moment,
}

/// The controller of one link's two limits.
///
/// ```
/// use std::time::Duration;
/// use linkio::{Guard, Moment};
///
/// let mut guard = Guard::new(90);
/// guard.round_trip(Duration::from_millis(40), Moment::START);
/// guard.crossed(0, 0, false, false, Moment::START);
/// assert_eq!(guard.rates(), (None, None));
/// ```
#[derive(Clone, Debug)]
pub struct Guard {
    /// Percent of the link's rate that the limits are.
    share: u64,
    /// Down and up.
    lanes: [Lane; 2],
    round_trips: RoundTrips,
    /// The last cut, until it has led to calm.
    cut: Option<Cut>,
    /// Queues that stood, since a limit last rose, at limits that were kept to.
    in_vain: u32,
    /// What was measured before this moment was measured under other limits, or in an outage.
    since: Moment,
    /// When the last round trip was known to have no queue in it.
    calm: Moment,
    stalled: bool,
    asked: Option<Moment>,
    now: Moment,
}

impl Guard {
    /// A guard that keeps to `share_percent` of the link's rate, from 1 to 100.
    pub fn new(share_percent: u8) -> Self {
        Self {
            share: u64::from(share_percent.clamp(1, 100)),
            lanes: [Lane::default(), Lane::default()],
            round_trips: RoundTrips::default(),
            cut: None,
            in_vain: 0,
            since: Moment::START,
            calm: Moment::START,
            stalled: false,
            asked: None,
            now: Moment::START,
        }
    }

    /// The limits to keep to now, down and up, of payload; `None` is no limit, as nothing is known yet. Never zero.
    pub fn rates(&self) -> (Option<BitRate>, Option<BitRate>) {
        let draining = self.cut.filter(|cut| self.now < cut.drained);
        let [down, up] = &self.lanes;
        let limit = |lane: &Lane| match draining {
            Some(cut) => lane.limit_at(cut.drain),
            None => lane.limit(),
        };
        (limit(down).map(BitRate::from_bits_per_second), limit(up).map(BitRate::from_bits_per_second))
    }

    /// Whether a handshake with an origin in use should be timed now. Yes is said at most every 2 seconds, while
    /// something crosses: the link may be metered.
    pub fn wants_probe(&mut self, now: Moment) -> bool {
        let now = self.advance(now);
        let lately = |moment: Option<Moment>| moment.is_some_and(|then| now.since(then) < PROBE_INTERVAL);
        let busy = self.lanes.iter().any(|lane| lane.busy || lane.carried.is_flowing());
        let wanted = busy && !lately(self.asked) && !lately(self.round_trips.last());
        if wanted {
            self.asked = Some(now);
        }
        wanted
    }

    /// A TCP handshake that took `sample` and ended at `now`, where all origins are equally far.
    pub fn round_trip(&mut self, sample: Duration, now: Moment) {
        self.round_trip_to(0, sample, now);
    }

    /// A TCP handshake with `origin` (any number that stands for its address) that took `sample` and ended at `now`.
    pub fn round_trip_to(&mut self, origin: u64, sample: Duration, now: Moment) {
        let now = self.advance(now);
        let began = now.before(sample);
        // What waited for the end of an outage did not wait in a queue.
        if sample.is_zero() || sample > SLOWEST || self.stalled {
            return;
        }
        let resting = self.lanes.iter().all(|lane| lane.carried.last_byte() <= began && !lane.busy);
        let Some(excess) = self.round_trips.compare(origin, sample, resting, self.burst(), now) else {
            return;
        };
        if began < self.since {
            return;
        }
        if let Some(cut) = self.cut.as_mut().filter(|cut| began < cut.drained) {
            if !excess.is_calm() {
                return;
            }
            cut.drained = now.min(cut.drained);
        }
        // Behind limits that were cut there is little queue: this is how much round trips vary.
        if !self.lanes.iter().any(Lane::has_risen) {
            self.round_trips.spread_to(excess.over.min(excess.noise));
        }
        self.round_trips.push(excess);
    }

    /// What has crossed by `now`, in payload bytes since the start: `down_total` read from origins, `up_total` written
    /// to them. A direction is busy if its shaper has a backlog, or, while it has no limit, if bytes flowed all the
    /// time. To be called about every 100 ms, also while nothing crosses.
    pub fn crossed(&mut self, down_total: u64, up_total: u64, busy_down: bool, busy_up: bool, now: Moment) {
        let now = self.advance(now);
        let [down, up] = &mut self.lanes;
        down.note(down_total, busy_down, now);
        up.note(up_total, busy_up, now);
        let silent = |lane: &Lane| now.since(lane.carried.last_byte()) >= PAUSE;
        self.stalled = self.lanes.iter().any(|lane| lane.busy) && self.lanes.iter().all(silent);
        if self.stalled {
            self.since = now;
            return;
        }
        let middle = self.round_trips.middle(self.since, now);
        match middle {
            Some(excess) if excess.is_queue() => self.relieve(excess),
            Some(excess) => {
                self.calm = self.calm.max(excess.began);
                self.cut = self.cut.filter(|cut| now < cut.drained);
                if excess.is_calm() {
                    self.rise(STEP);
                }
            }
            None if self.round_trips.last().is_none_or(|last| now.since(last) > BLIND_STEP) => {
                self.rise(BLIND_STEP);
            }
            None => {}
        }
        let free = middle.is_some_and(|excess| excess.is_calm()) && self.round_trips.has_rested();
        if !free && self.cut.is_none() {
            self.begin_at_level();
        }
    }

    /// Time as seen here: it never goes back.
    fn advance(&mut self, now: Moment) -> Moment {
        self.now = self.now.max(now);
        self.now
    }

    /// What a few packets take on the link: senders send some at a time, and one that waits behind them waits in no queue.
    fn burst(&self) -> Duration {
        let limits = self.lanes.iter().filter(|lane| lane.busy).filter_map(Lane::limit);
        let nanos = |limit: u64| BURST * 8 * 1_000_000_000 / limit.max(1);
        limits.map(nanos).max().map_or(Duration::ZERO, Duration::from_nanos).min(LONGEST_BURST)
    }

    /// Answers a queue.
    fn relieve(&mut self, excess: Excess) {
        let from = self.cut.map_or(self.since, |cut| cut.drained);
        let cut = self.lanes.iter().filter(|lane| lane.is_cut() && lane.carried.is_flowing());
        let kept: Option<Vec<bool>> = cut.map(|lane| lane.keeps_to_limit(from)).collect();
        // Less than a second of evidence.
        let Some(kept) = kept else { return };
        // Behind limits that were cut and are kept to no queue can grow, unless the link became slower.
        let kept = !kept.is_empty() && kept.iter().all(|kept| *kept);
        if kept && self.cut.is_some_and(|cut| excess.over <= cut.over / 2) {
            return self.drain(excess);
        }
        let tried = kept && self.in_vain > MOST_IN_VAIN;
        let lowered = (tried || !kept) && self.lower_floors();
        if tried && !lowered {
            return self.accept(excess);
        }
        let blamed = self.blamed(kept && self.in_vain > 1);
        let capacities = [0, 1].map(|place| {
            let lane = self.lanes.get(place).filter(|_| blamed.contains(&place))?;
            self.capacity_of(lane, excess)
        });
        if capacities.iter().all(Option::is_none) {
            return;
        }
        self.in_vain = if kept { self.in_vain + 1 } else { 1 };
        self.drain(excess);
        let drained = self.cut.map_or(self.now, |cut| cut.drained);
        for (lane, capacity) in self.lanes.iter_mut().zip(capacities) {
            if let Some(capacity) = capacity {
                lane.cut(capacity, self.share, drained);
            }
        }
    }

    /// Leaves a queue the time to drain, at a rate that lets it.
    fn drain(&mut self, excess: Excess) {
        let drain = if excess.over > LONG_QUEUE { part(self.share, DRAIN) } else { self.share.min(90) };
        let spare = u32::try_from(100 - drain).unwrap_or(100);
        let wait = (excess.over.saturating_mul(125) / spare).min(LONGEST_DRAIN);
        let drained = self.now + wait + Duration::from_millis(200);
        self.cut = Some(Cut { over: excess.over, drain, drained });
        self.since = self.now;
    }

    /// Takes back the cuts that made nothing better: this is what the link is like.
    fn accept(&mut self, excess: Excess) {
        self.round_trips.accept(excess.over);
        self.lanes.iter_mut().for_each(|lane| lane.restore(self.now));
        (self.cut, self.in_vain, self.since) = (None, 0, self.now);
    }

    /// Where a limit is as low as it may be, the link may be slower still; whether there was such a limit.
    fn lower_floors(&mut self) -> bool {
        let lowered = self.lanes.each_mut().map(Lane::lower_floor);
        lowered.contains(&true)
    }

    /// The directions that may have made the queue: those near their limits, else the nearest; `all` that matter,
    /// if that one was wrong.
    fn blamed(&self, all: bool) -> Vec<usize> {
        let loads = self.loads();
        let most = loads.iter().copied().max().unwrap_or(0);
        let least = if all { 1 } else { most.clamp(1, NEAR_LIMIT) };
        (0..loads.len()).filter(|place| loads.get(*place).is_some_and(|load| *load >= least)).collect()
    }

    fn loads(&self) -> [u64; 2] {
        let [down, up] = &self.lanes;
        [load(down, 1, up, ASYMMETRY), load(up, ASYMMETRY, down, 1)]
    }

    /// What the link carries in a direction that fills it: what it carried, at most its limit; and if the queue grew
    /// behind our limit, no more than what explains its growth.
    fn capacity_of(&self, lane: &Lane, excess: Excess) -> Option<u64> {
        let peak = lane.carried.peak(self.since.max(self.now.before(EVIDENCE)))?;
        let Some(limit) = lane.limit() else { return Some(peak) };
        let time = self.now.since(self.calm.max(self.since)).as_millis().max(1);
        let grown = time.saturating_add(excess.over.as_millis());
        let explained = u128::from(limit).saturating_mul(time) / grown;
        let explained = u64::try_from(explained).unwrap_or(limit).max(part(limit, 75));
        Some(peak.min(limit).min(explained))
    }

    /// Raises what is at its limit, if nothing changed for `wait`.
    fn rise(&mut self, wait: Duration) {
        let now = self.now;
        if self.cut.is_some() || now.since(self.since) < wait {
            return;
        }
        for lane in &mut self.lanes {
            if lane.may_rise(now) && now.since(lane.free) >= wait {
                lane.rise(now);
                (self.since, self.in_vain) = (now, 0);
            }
        }
    }

    /// Limits a flow that has long been as fast as it gets, where no round trip says that it leaves the link free.
    fn begin_at_level(&mut self) {
        let loads = self.loads();
        for (lane, load) in self.lanes.iter_mut().zip(loads) {
            let level =
                lane.level_for(LEVEL, self.now).filter(|_| lane.limit().is_some() || load >= NEAR_LIMIT);
            if let Some(level) = level {
                lane.begin(part(level, part(self.share, BEGIN)));
                self.since = self.now;
            }
        }
    }
}

/// How near `lane` is to its limit, in percent: 0 if it cannot be what fills the link. The limits that are not known
/// yet are compared by rates, each multiplied by its weight.
fn load(lane: &Lane, weight: u64, other: &Lane, other_weight: u64) -> u64 {
    let rate = |lane: &Lane, weight| lane.carried.latest(Moment::START).unwrap_or(0).saturating_mul(weight);
    let (own, others) = (rate(lane, weight), rate(other, other_weight));
    match lane.limit() {
        _ if !lane.carried.is_flowing() || own == 0 => 0,
        Some(_) if lane.busy => 100,
        Some(limit) => percentage(own, limit.saturating_mul(weight)).max(1),
        // The requests of a download fill no uplink.
        None if own < others / 8 => 0,
        None if other.limit().is_none() => percentage(own, own.max(others)),
        None => NEAR_LIMIT - 1,
    }
}

/// `rate` of `whole` in percent, at most 100.
fn percentage(rate: u64, whole: u64) -> u64 {
    let percent = u128::from(rate) * 100 / u128::from(whole.max(1));
    u64::try_from(percent).unwrap_or(100).min(100)
}
