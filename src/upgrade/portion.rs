//! One link for two processes: as long as the old one has something to finish, both together use what one may use. How
//! much each gets follows from how many connections of each have something to say.
//!
//! Rates are divided where they are constant. A link whose rate changes with time, or is found out, is used by both in
//! full: the one that finds out notices the other as it would notice anybody.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use linkio::{BitRate, Capacity, Direction, LinkModel, LinkSpec, Moment, SharedLink};

/// How often it is looked at anew.
pub(super) const TURN: Duration = Duration::from_millis(250);

/// All of the link, in thousandths.
const ALL: u32 = 1000;
/// Nobody gets less of it: who begins something has to get on until the next look.
const LEAST: u32 = 100;

/// What this process may use of the link. Clones are of the same one.
#[derive(Clone)]
pub(crate) struct Portion(Arc<Inner>);

struct Inner {
    link: SharedLink,
    /// What the process after this one leaves to it and those before it.
    left: AtomicU32,
    /// What this one leaves to the process before it.
    given: AtomicU32,
    /// How many connections the processes before this one use the link with.
    before: AtomicU32,
    applied: Mutex<Applied>,
}

/// What was last done to the link, and what had crossed it when it was last looked at.
struct Applied {
    spec: LinkSpec,
    portion: u32,
    crossed: u64,
}

impl Portion {
    /// All of `link`.
    pub(crate) fn all_of(link: SharedLink) -> Self {
        let applied = Applied { spec: link.model().spec, portion: ALL, crossed: 0 };
        let (left, given, before) = (AtomicU32::new(ALL), AtomicU32::new(0), AtomicU32::new(0));
        Self(Arc::new(Inner { link, left, given, before, applied: Mutex::new(applied) }))
    }

    /// How many connections use the link, of this process and of those before it; none where nothing crosses.
    pub(super) fn users(&self) -> u32 {
        self.own_users() + self.0.before.load(Ordering::Relaxed)
    }

    /// The process after this one leaves it `portion` of the link.
    pub(super) fn is_left(&self, portion: u32) {
        self.0.left.store(portion.clamp(LEAST, ALL), Ordering::Relaxed);
        self.apply();
    }

    /// The process before this one uses the link with `users` connections; returns what is left to it.
    pub(super) fn leave_to(&self, users: u32) -> u32 {
        let given = given(self.own_users(), users);
        self.0.before.store(users, Ordering::Relaxed);
        self.0.given.store(given, Ordering::Relaxed);
        self.apply();
        self.0.left.load(Ordering::Relaxed) * given / ALL
    }

    fn own_users(&self) -> u32 {
        let state = self.0.link.snapshot();
        let crossed = state.usage.down + state.usage.up;
        let mut applied = self.applied();
        let before = std::mem::replace(&mut applied.crossed, crossed);
        let is_used = crossed != before || state.down.backlog > 0 || state.up.backlog > 0;
        if is_used { u32::try_from(state.flows).unwrap_or(u32::MAX / 4).clamp(1, u32::MAX / 4) } else { 0 }
    }

    fn apply(&self) {
        let Inner { link, left, given, .. } = &*self.0;
        let portion = left.load(Ordering::Relaxed) * (ALL - given.load(Ordering::Relaxed)) / ALL;
        let model = link.model();
        let mut applied = self.applied();
        if (applied.portion == portion && applied.spec == model.spec) || !is_constant(&model) {
            return;
        }
        let LinkSpec { down, up, .. } = model.spec;
        link.set_rates(part(down, portion), part(up, portion));
        (applied.portion, applied.spec) = (portion, model.spec);
    }

    fn applied(&self) -> std::sync::MutexGuard<'_, Applied> {
        self.0.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a process with `own` connections that use the link leaves to the one before it, which has `theirs`.
fn given(own: u32, theirs: u32) -> u32 {
    if theirs == 0 {
        return 0;
    }
    let share = u64::from(theirs) * u64::from(ALL) / (u64::from(own) + u64::from(theirs));
    u32::try_from(share).unwrap_or(ALL).clamp(LEAST, ALL - LEAST)
}

fn part(rate: Option<BitRate>, portion: u32) -> Option<BitRate> {
    let part = |rate: BitRate| rate.bits_per_second().saturating_mul(u64::from(portion)) / u64::from(ALL);
    rate.map(|rate| BitRate::from_bits_per_second(part(rate)))
}

/// Whether the rates of `model` are those of its specification, now and always.
fn is_constant(model: &LinkModel) -> bool {
    let LinkSpec { down, up, auto, .. } = &model.spec;
    let is = |direction, rate| model.capacity(direction, Moment::START) == Capacity::from_spec(rate);
    auto.is_none() && is(Direction::Down, *down) && is(Direction::Up, *up)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(link: &SharedLink) -> (u64, u64) {
        let (down, up) = link.rates();
        (down.unwrap().bits_per_second(), up.unwrap().bits_per_second())
    }

    fn link(spec: &str) -> SharedLink {
        SharedLink::new(spec.parse::<LinkSpec>().unwrap())
    }

    #[test]
    fn the_link_is_divided_by_who_uses_it() {
        for (own, theirs, expected) in
            [(0, 0, 0), (5, 0, 0), (0, 1, 900), (1, 1, 500), (3, 1, 250), (1, 3, 750), (500, 1, 100)]
        {
            assert_eq!(given(own, theirs), expected, "{own} {theirs}");
        }
        assert_eq!(given(u32::MAX, u32::MAX), 500);
    }

    #[tokio::test]
    async fn all_portions_together_are_the_link() {
        let links = ["1M/500k", "1M/500k", "1M/500k"].map(link);
        let [first, second, third] = links.each_ref().map(|link| Portion::all_of(link.clone()));
        first.is_left(second.leave_to(1));
        second.is_left(third.leave_to(second.users()));
        first.is_left(second.leave_to(1));
        assert_eq!(rates(&links[2]), (100_000, 50_000));
        assert_eq!(rates(&links[1]), (90_000, 45_000));
        assert_eq!(rates(&links[0]), (810_000, 405_000));
        // What has ended leaves its portion.
        second.leave_to(0);
        third.leave_to(0);
        assert_eq!(rates(&links[2]), (1_000_000, 500_000));
    }

    #[tokio::test]
    async fn a_link_that_was_set_meanwhile_is_divided_too_and_others_are_left_alone() {
        let shared = link("1M/500k");
        let portion = Portion::all_of(shared.clone());
        portion.leave_to(1);
        shared.set("2M/1M".parse::<LinkSpec>().unwrap());
        portion.leave_to(1);
        assert_eq!(rates(&shared), (200_000, 100_000));
        for spec in ["unlimited", "auto=90%"] {
            let shared = link(spec);
            let before = shared.rates();
            Portion::all_of(shared.clone()).leave_to(1);
            assert_eq!(shared.rates(), before, "{spec}");
        }
    }
}
