//! One direction under guard: its limit, what it is known to carry, and the steps by which the limit rises.
//!
//! Owns rates and their arithmetic. When to cut and when to raise is the controller's.

use std::time::Duration;

use crate::guard::carried::Carried;
use crate::guard::round_trips::AGE;
use crate::moment::Moment;

/// No limit is lower: at less, a TCP handshake does not get through in time.
const FLOOR: u64 = 8_000;

/// Nor is it lower than this part of the best rate of the last ten minutes.
const FLOOR_PERCENT: u64 = 5;

/// One cut takes at most three quarters: evidence may be poor, and a second cut is never far.
const DEEPEST_CUT_PERCENT: u64 = 25;

/// How long a limit stays after a cut before it rises: doubled each time the link proves to be as it was.
const HOLD: Duration = Duration::from_secs(15);
const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// The most bits per second of the present and the last `AGE`.
#[derive(Clone, Copy, Debug, Default)]
struct Highest {
    since: Moment,
    present: u64,
    last: u64,
}

impl Highest {
    fn take(&mut self, rate: u64, now: Moment) {
        if now.since(self.since) >= AGE {
            (self.last, self.present, self.since) = (self.present, 0, now);
        }
        self.present = self.present.max(rate);
    }

    fn value(&self) -> u64 {
        self.present.max(self.last)
    }
}

/// One direction.
#[derive(Clone, Debug, Default)]
pub(super) struct Lane {
    pub(super) carried: Carried,
    /// As the caller said last: its shaper has a backlog.
    pub(super) busy: bool,
    /// When the direction was last not at its limit.
    pub(super) free: Moment,
    limit: Option<u64>,
    /// What the link carried when it was last seen full.
    capacity: Option<u64>,
    best: Highest,
    /// Steps up since the last cut.
    steps: u64,
    hold: Duration,
    hold_until: Moment,
    /// The limit before the first cut since it last rose.
    before: Option<u64>,
    /// A rate that the flow has kept to within a tenth, and since when.
    level: u64,
    level_since: Moment,
}

impl Lane {
    pub(super) fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// The limit while a queue drains: `percent` of what the link carries, never more than the limit itself.
    pub(super) fn limit_at(&self, percent: u64) -> Option<u64> {
        let draining = self.capacity.map_or(u64::MAX, |capacity| part(capacity, percent));
        self.limit.map(|limit| limit.min(draining).max(self.floor()))
    }

    fn floor(&self) -> u64 {
        FLOOR.max(part(self.best.value(), FLOOR_PERCENT))
    }

    /// Takes a report: the total, and whether the shaper has a backlog.
    pub(super) fn note(&mut self, total: u64, busy: bool, now: Moment) {
        self.carried.note(total, now);
        self.busy = busy;
        if !self.is_at_limit() {
            self.free = now;
        }
        let latest = self.carried.latest(Moment::START).unwrap_or(0);
        if !self.carried.is_flowing() || latest.abs_diff(self.level) > self.level / 10 {
            (self.level, self.level_since) = (latest, now);
        }
    }

    /// Whether more would cross if the limit were higher.
    pub(super) fn is_at_limit(&self) -> bool {
        self.carried.is_flowing() && self.keeps_to_limit(Moment::START) == Some(true)
    }

    /// Whether the limit, and not the link or who sends, is what kept bytes back after `since`; `None` until bytes
    /// have flowed for a second.
    pub(super) fn keeps_to_limit(&self, since: Moment) -> Option<bool> {
        let latest = self.carried.latest(since)?;
        Some(self.limit.is_some_and(|limit| latest >= part(limit, 90)))
    }

    /// The rate that the flow has kept to for `time`, below any limit, while nothing is known of the link.
    pub(super) fn level_for(&self, time: Duration, now: Moment) -> Option<u64> {
        let level = self.carried.is_flowing() && now.since(self.level_since) >= time;
        (level && self.capacity.is_none() && !self.is_at_limit()).then_some(self.level)
    }

    /// Cuts to `share` percent of `capacity`, until it rises again.
    pub(super) fn cut(&mut self, capacity: u64, share: u64, until: Moment) {
        let capacity = self.known_capacity().unwrap_or(capacity);
        let steady = self.capacity.is_some_and(|known| capacity.abs_diff(known) <= known / 10);
        self.hold = if steady { self.hold.saturating_mul(2).min(LONGEST_HOLD) } else { HOLD };
        let deepest = self.limit.map_or(0, |limit| part(limit, DEEPEST_CUT_PERCENT));
        let limit = part(capacity, share).max(deepest).max(self.floor());
        self.before = self.before.or(self.limit).or(Some(limit));
        self.limit = Some(limit);
        self.capacity = Some(capacity.max(self.floor()));
        self.steps = 0;
        self.hold_until = until + self.hold;
    }

    /// What the link carried before, where the limit rose again, but not beyond it, and was kept to: such a queue may
    /// be chance, and what was good until then is tried first.
    fn known_capacity(&self) -> Option<u64> {
        let limit = self.limit.filter(|_| self.steps > 0 && self.is_at_limit())?;
        self.capacity.filter(|known| limit <= *known)
    }

    /// A first limit for a link of which nothing is known but that it carries `rate`: it may rise at once.
    pub(super) fn begin(&mut self, rate: u64) {
        self.limit = Some(rate.max(self.floor()));
    }

    /// The cuts since the limit last rose have not helped: they are taken back, as far as they are fresh.
    pub(super) fn restore(&mut self, now: Moment) {
        let before = self.before.take().or(self.limit);
        self.limit = self.limit.zip(before).map(|(limit, before)| before.min(limit.saturating_mul(4)));
        self.hold_until = now;
    }

    /// Whether it was cut, and has not risen since.
    pub(super) fn is_cut(&self) -> bool {
        self.before.is_some()
    }

    /// Forgets what the link once carried, if that is what keeps the limit from being lower.
    pub(super) fn lower_floor(&mut self) -> bool {
        let floor = self.floor();
        let used = self.carried.latest(Moment::START).is_some_and(|latest| latest >= part(floor, 25));
        let lowered = used && self.limit.is_some_and(|limit| limit <= floor) && floor > FLOOR;
        if lowered {
            self.best = Highest { since: self.best.since, present: floor, last: 0 };
        }
        lowered
    }

    /// Whether the limit is higher than the last cut left it, or there is none.
    pub(super) fn has_risen(&self) -> bool {
        self.steps > 0 || self.capacity.is_none() && self.carried.is_flowing()
    }

    /// Whether the limit may rise at `now`, as far as this direction knows.
    pub(super) fn may_rise(&self, now: Moment) -> bool {
        self.limit.is_some() && now >= self.hold_until && self.is_at_limit()
    }

    /// Raises the limit, which was good until `now`, by a step: 25 % while nothing is known; 4 % up to what the link carried, and more with each
    /// step beyond it, as a link that carries more than before may carry much more.
    pub(super) fn rise(&mut self, now: Moment) {
        let Some(limit) = self.limit else { return };
        self.best.take(limit, now);
        let percent = match self.capacity {
            None => 25,
            Some(capacity) if limit <= part(capacity, 106) => 4,
            Some(_) if limit < part(self.best.value(), 75) => 25,
            Some(_) => (2 * self.steps).clamp(4, 12),
        };
        self.limit = Some(limit.saturating_add(part(limit, percent)).max(self.floor()));
        self.steps += 1;
        self.before = None;
        self.level_since = now;
    }
}

/// `percent` of `rate`, at most `u64::MAX`.
pub(super) fn part(rate: u64, percent: u64) -> u64 {
    u64::try_from(u128::from(rate) * u128::from(percent) / 100).unwrap_or(u64::MAX)
}
