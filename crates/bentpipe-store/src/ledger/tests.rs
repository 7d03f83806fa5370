//! Tests of `ledger`.

use proptest::prelude::*;

use super::*;

fn size(record: u64, body: u64, content: Option<u8>) -> Size {
    Size { record, body, contents: content.map(|byte| (Digest([byte; 32]), body)).into_iter().collect() }
}

/// Enters `(id, body, uses)` and returns the ids in the order in which they are evicted.
fn order(items: &[(u64, u64, u64)]) -> Vec<u64> {
    let mut ledger = Ledger::new();
    for (id, body, uses) in items {
        ledger.enter(*id, *id, &size(500, *body, Some(*id as u8)), *uses);
    }
    ledger.evict(0, usize::MAX).into_iter().map(|removed| removed.what).collect()
}

#[test]
fn what_was_used_less_goes_first() {
    assert_eq!(order(&[(1, 10_000, 5), (2, 10_000, 0), (3, 10_000, 2)]), [2, 3, 1]);
}

#[test]
fn what_wastes_more_of_its_pages_goes_first() {
    assert_eq!(order(&[(1, 4_096, 1), (2, 4_097, 1)]), [2, 1]);
}

#[test]
fn what_was_popular_long_ago_sinks() {
    let mut ledger = Ledger::new();
    ledger.enter(0, 0, &size(0, 4096, Some(0)), 3);
    for id in 1..50 {
        ledger.enter(id, id, &size(0, 4096, Some(id as u8)), 0);
        ledger.evict(2 * PAGE, 1);
    }
    assert!(ledger.standing(0).is_none());
}

#[test]
fn content_is_an_orphan_after_its_last_reference() {
    let mut ledger = Ledger::with_folders(4096);
    ledger.enter(1, (), &size(100, 5_000, Some(7)), 0);
    ledger.enter(2, (), &size(100, 5_000, Some(7)), 0);
    assert_eq!((ledger.total(), ledger.records()), (200 + 8192 + 8192, 200));
    assert!(ledger.remove(1).unwrap().orphans.is_empty());
    assert_eq!(ledger.remove(2).unwrap().orphans[..], [Digest([7; 32])]);
    assert_eq!((ledger.total(), ledger.records(), ledger.len()), (0, 0, 0));
}

#[test]
fn a_restart_keeps_the_order() {
    let mut ledger = Ledger::new();
    let size = size(0, 4096, None);
    let priorities: Vec<_> = (0..4).map(|id| (id, ledger.enter(id, id, &size, id).0)).collect();
    let mut restarted = Ledger::new();
    for (id, priority) in priorities {
        restarted.restore(id, id, &size, id, Priority::from_bits(priority.to_bits()));
    }
    restarted.restored();
    assert_eq!(restarted.inflation, restarted.standing(0).unwrap().1);
}

#[derive(Clone, Debug)]
enum Step {
    Enter(u64, u64, u64, Option<u8>),
    Remove(u64),
    Use(u64, u64),
    Record(u64, u64),
    Evict(u64, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let id = 0u64..12;
    prop_oneof![
        (id.clone(), 0u64..9_000, 0u64..9_000, prop::option::of(0u8..4))
            .prop_map(|(id, record, body, content)| Step::Enter(id, record, body, content)),
        id.clone().prop_map(Step::Remove),
        (id.clone(), 0u64..100).prop_map(|(id, uses)| Step::Use(id, uses)),
        (id, 0u64..9_000).prop_map(|(id, record)| Step::Record(id, record)),
        (0u64..40_000, 1usize..4).prop_map(|(target, batch)| Step::Evict(target, batch)),
    ]
}

proptest! {
    #[test]
    fn the_books_balance(steps in prop::collection::vec(step(), 0..60)) {
        let mut ledger = Ledger::new();
        for step in steps {
            match step {
                // Equal content has equal length.
                Step::Enter(id, record, body, content) => {
                    let body = content.map_or(body, |content| u64::from(content) * 5_000);
                    ledger.enter(id, id, &size(record, body, content), 0);
                }
                Step::Remove(id) => drop(ledger.remove(id)),
                Step::Use(id, uses) => drop(ledger.used(id, uses)),
                Step::Record(id, record) => drop(ledger.record(id, record)),
                Step::Evict(target, batch) => {
                    let evicted = ledger.evict(target, batch).len();
                    prop_assert!(evicted <= batch);
                    prop_assert!(evicted == batch || ledger.total() <= target || ledger.len() == 0);
                }
            }
            let records: u64 = ledger.items.iter().map(|(_, item)| u64::from(item.record)).sum();
            let slots: BTreeSet<_> = ledger.items.iter().flat_map(|(_, item)| item.files.slots()).collect();
            let contents: BTreeSet<_> = ledger.shares.iter().map(|(digest, _)| *digest).collect();
            prop_assert!(slots.iter().all(|slot| ledger.shares.at(**slot).is_some()));
            prop_assert_eq!(slots.len(), contents.len());
            let shares: u64 = contents.iter().map(|digest| on_disk(u64::from(digest.0[0]) * 5_000)).sum();
            prop_assert_eq!(ledger.total(), records + shares);
            prop_assert_eq!(ledger.order.len(), ledger.len());
            prop_assert!(contents.iter().all(|digest| ledger.refers_to(digest)));
            prop_assert_eq!(contents.len(), ledger.shares.len());
        }
    }
}
