//! Which class goes next on a link: by floor, by ceiling, by priority, by weight.
//!
//! Owns what a class may claim and how much of it it had. It knows no flow, no time and no rate: floors and ceilings
//! are shares of what crosses, so they hold on a link whose rate nobody knows.

use crate::flow::{Class, Weight};

/// What one class may claim of a link. Whatever it says, nothing crosses is never the answer while something waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassPolicy {
    /// Whoever has the higher one goes first; equals share by weight.
    pub priority: u8,
    /// The share among classes of equal priority.
    pub weight: Weight,
    /// Percent of what crosses that the class gets in any case while it has something waiting.
    pub floor: u8,
    /// Percent of what crosses beyond which the class gets only what nobody else wants.
    pub ceiling: u8,
}

impl ClassPolicy {
    /// The policy of each class unless told otherwise: interactive before bulk before background, of which the slower
    /// two always get a little.
    pub const DEFAULT: [Self; 3] = [Self::of(2, 0), Self::of(1, 5), Self::of(0, 1)];

    const fn of(priority: u8, floor: u8) -> Self {
        Self { priority, weight: Weight::ONE, floor, ceiling: 100 }
    }
}

/// How far an account of a floor or ceiling may run ahead or behind: two packets.
const ACCOUNT_MAX: i64 = 2 * 1500 * PERCENT;
const PERCENT: i64 = 100;

/// Whose turn it is among the classes.
#[derive(Debug)]
pub(crate) struct Classes {
    policies: [ClassPolicy; 3],
    accounts: [Account; 3],
}

/// What a class had lately, in hundredths of a byte.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    /// What its floor still owes it.
    floor: i64,
    /// What its ceiling still leaves it.
    ceiling: i64,
    /// Bytes it had for each unit of its weight, on a scale that classes of one priority share.
    served: u64,
}

impl Classes {
    pub(crate) fn new(policies: [ClassPolicy; 3]) -> Self {
        Self { policies, accounts: [Account::default(); 3] }
    }

    pub(crate) fn set(&mut self, policies: [ClassPolicy; 3]) {
        *self = Self::new(policies);
    }

    /// The class at `index` has something waiting again: it claims nothing for the time when it had not.
    pub(crate) fn woke(&mut self, index: usize, busy: [bool; 3]) {
        let others = (0..3).filter(|other| *other != index && busy[*other]);
        let least = others.map(|other| self.accounts[other].served).min().unwrap_or(0);
        let account = &mut self.accounts[index];
        account.served = account.served.max(least);
        account.floor = account.floor.min(0);
    }

    /// Which of those that have something waiting goes next.
    pub(crate) fn next(&self, busy: [bool; 3]) -> Option<usize> {
        let waiting = || (0..3).filter(|index| busy[*index]);
        let owed = waiting().filter(|index| self.accounts[*index].floor > 0);
        let free = || waiting().filter(|index| !self.is_above_ceiling(*index));
        self.first_of(owed).or_else(|| self.first_of(free())).or_else(|| self.first_of(waiting()))
    }

    /// `bytes` of the class at `index` cross.
    pub(crate) fn served(&mut self, index: usize, bytes: u64, busy: [bool; 3]) {
        // A grant is a packet on every link that limits; on one that does not, accounts mean nothing.
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX).min(ACCOUNT_MAX);
        for (other, (account, policy)) in self.accounts.iter_mut().zip(&self.policies).enumerate() {
            let used = if other == index { bytes * PERCENT } else { 0 };
            if busy[other] {
                account.floor = bounded(account.floor + bytes * i64::from(policy.floor.min(100)) - used);
            }
            account.ceiling = bounded(account.ceiling + bytes * i64::from(policy.ceiling.min(100)) - used);
        }
        let share = bytes.unsigned_abs() * 1000 / u64::from(self.policies[index].weight.value());
        let account = &mut self.accounts[index];
        account.served = account.served.saturating_add(share);
    }

    fn is_above_ceiling(&self, index: usize) -> bool {
        self.policies[index].ceiling < 100 && self.accounts[index].ceiling < 0
    }

    /// The most urgent of `candidates`; of equals the one that had the least for its weight.
    fn first_of(&self, candidates: impl Iterator<Item = usize>) -> Option<usize> {
        candidates.min_by_key(|index| {
            (std::cmp::Reverse(self.policies[*index].priority), self.accounts[*index].served)
        })
    }
}

impl Default for Classes {
    fn default() -> Self {
        Self::new(ClassPolicy::DEFAULT)
    }
}

impl ClassPolicy {
    /// The policy of `class` unless told otherwise.
    pub fn default_of(class: Class) -> Self {
        Self::DEFAULT[class.index()]
    }
}

fn bounded(account: i64) -> i64 {
    account.clamp(-ACCOUNT_MAX, ACCOUNT_MAX)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    /// Percent of 10,000 packets that each class gets when those of `busy` always have something waiting.
    fn shares(policies: [ClassPolicy; 3], busy: [bool; 3]) -> [u64; 3] {
        let mut classes = Classes::new(policies);
        let mut counts = [0; 3];
        for _ in 0..10_000 {
            let index = classes.next(busy).unwrap();
            classes.served(index, 1500, busy);
            counts[index] += 1;
        }
        counts.map(|count| (count + 50) / 100)
    }

    #[test]
    fn the_urgent_go_first_and_nobody_starves() {
        assert_eq!(shares(ClassPolicy::DEFAULT, [true; 3]), [94, 5, 1]);
        assert_eq!(shares(ClassPolicy::DEFAULT, [false, true, true]), [0, 99, 1]);
        assert_eq!(shares(ClassPolicy::DEFAULT, [false, false, true]), [0, 0, 100]);
    }

    #[test]
    fn a_ceiling_binds_only_while_others_want_something() {
        let mut policies = ClassPolicy::DEFAULT;
        policies[0].ceiling = 60;
        assert_eq!(shares(policies, [true, true, false]), [60, 40, 0]);
        assert_eq!(shares(policies, [true, false, false]), [100, 0, 0]);
    }

    #[test]
    fn equal_priorities_share_by_weight() {
        let mut policies = [ClassPolicy { floor: 0, priority: 1, ..ClassPolicy::DEFAULT[0] }; 3];
        policies[2].weight = Weight::new(NonZeroU32::new(2).unwrap());
        assert_eq!(shares(policies, [true; 3]), [25, 25, 50]);
    }

    #[test]
    fn a_class_claims_nothing_for_the_time_it_rested() {
        let mut policies = [ClassPolicy { floor: 0, priority: 1, ..ClassPolicy::DEFAULT[0] }; 3];
        policies[1].floor = 10;
        let mut classes = Classes::new(policies);
        for _ in 0..1000 {
            classes.served(0, 1500, [true, false, false]);
        }
        classes.woke(1, [true, false, false]);
        let mut counts = [0; 3];
        for _ in 0..100 {
            let index = classes.next([true, true, false]).unwrap();
            classes.served(index, 1500, [true, true, false]);
            counts[index] += 1;
        }
        assert!((49..=51).contains(&counts[1]), "{counts:?}");
    }
}
