//! A folder that goes from one store to another while both have readers.

use std::fs;

use bentpipe_store::{Error, Store};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn what_is_stored_is_served_by_both() {
    let (folder, old) = empty(LIMITS);
    let (small, large) = (body(100), body(300_000));
    keep(&old, "small", &small).await;
    keep(&old, "large", &large).await;
    let under_way = old.lookup(&key("large")).get(0).unwrap().body(None).verified().await.unwrap();
    let _owed = old.give_up().await.unwrap();
    assert!(!old.is_open());
    assert_eq!(old.stats().not_storing, Some("another process has the folder"));
    let new = open(folder.path());
    for store in [&old, &new] {
        assert_eq!(fetch(store, "small").await.unwrap(), small);
        assert_eq!(fetch(store, "large").await.unwrap(), large);
    }
    assert_eq!(read(under_way).await.unwrap(), large);
    assert!(matches!(old.insert(key("b"), head("\"b\""), None), Err(Error::Closed)));
    keep(&new, "b", &small).await;
    // What the old one finds damaged by now is not its own to remove.
    new.invalidate(&key("large"));
    until(|| content(folder.path()).is_empty()).await;
    drop(fetch(&old, "large").await);
    keep(&new, "large", &large).await;
    drop(fetch(&old, "large").await);
    old.close().await;
    assert_eq!(fetch(&new, "large").await.unwrap(), large);
    assert!(new.is_open());
}

#[tokio::test(start_paused = true)]
async fn what_is_arriving_reaches_its_followers_and_the_next_store_has_what_came() {
    for (arrived, length) in [(1_000_usize, 3_000), (3_000_000, 4_000_000)] {
        let (folder, old) = empty(LIMITS);
        let whole = body(length);
        let (mut arrival, stored) = old.insert(key("a"), head("\"1\""), Some(length as u64)).unwrap();
        let early = tokio::spawn(read(stored.body(None)));
        let slow = stored.body(None);
        write(&mut arrival, &whole.slice(..arrived), 40_000).await;
        let _owed = old.give_up().await.unwrap();
        let new = open(folder.path());
        let slow = tokio::spawn(read(slow));
        write(&mut arrival, &whole.slice(arrived..), 40_000).await;
        assert!(arrival.commit(None).await.is_err(), "it is not stored");
        assert_eq!(early.await.unwrap().unwrap(), whole);
        assert_eq!(slow.await.unwrap().unwrap(), whole);
        // Only what outgrew memory has a file that outlives its process.
        if arrived > 500_000 {
            until(|| new.stats().objects == 1).await;
            let found = new.lookup(&key("a"));
            let part = found.get(0).unwrap();
            let held = part.held().iter().map(|part| part.end() + 1 - part.start()).sum::<u64>();
            // No more than a mebibyte of it was still in memory.
            assert!((arrived as u64 - (1 << 20) - (1 << 17)..=arrived as u64).contains(&held), "{held}");
            let got = read(part.body(Some(0..=held - 1))).await.unwrap();
            assert_eq!(got, whole.slice(..got.len()));
        }
        assert!(old.lookup(&key("a")).get(0).is_none(), "what is not stored is not found");
        old.close().await;
        new.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_body_that_is_held_in_part_comes_without_being_stored() {
    let (folder, old) = empty(LIMITS);
    let whole = body(1_000_000);
    let (mut arrival, stored) = old.insert(key("a"), head("\"1\""), Some(1_000_000)).unwrap();
    write(&mut arrival, &whole.slice(..600_000), 40_000).await;
    drop(arrival);
    until(|| stored.is_partial()).await;
    let _owed = old.give_up().await.unwrap();
    let mut more = old.fill(&stored, 600_000, Some(999_999), None).unwrap();
    let reader = tokio::spawn(read(stored.body(Some(600_000..=999_999))));
    write(&mut more, &whole.slice(600_000..), 40_000).await;
    assert!(more.commit(None).await.is_err());
    assert_eq!(reader.await.unwrap().unwrap(), whole.slice(600_000..));
    drop(open(folder.path()));
}

#[tokio::test(start_paused = true)]
async fn what_the_old_one_invalidates_is_told_to_the_new_one() {
    let (_folder, old) = empty(LIMITS);
    keep(&old, "a", &body(10)).await;
    let mut owed = old.give_up().await.unwrap();
    assert_eq!(old.invalidate(&key("a")), 1);
    assert_eq!(old.invalidate(&key("b")), 0);
    assert!(fetch(&old, "a").await.is_none());
    assert_eq!([owed.recv().await.unwrap(), owed.recv().await.unwrap()], [key("a"), key("b")]);
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_nobody_takes_is_taken_back() {
    let (folder, old) = empty(LIMITS);
    let (one, two) = (body(40_000), body(80_000));
    keep(&old, "a", &one).await;
    assert!(matches!(old.take_back().await, Err(Error::Closed)));
    let _owed = old.give_up().await.unwrap();
    let new = open(folder.path());
    assert!(matches!(old.take_back().await, Err(Error::Locked)));
    keep(&new, "b", &two).await;
    fs::write(folder.path().join("tmp/spool-1-1"), "left").unwrap();
    // As a kill leaves it: nothing is written down, and the lock is gone.
    new.close().await;
    old.take_back().await.unwrap();
    assert!(old.is_open());
    assert_eq!(fetch(&old, "a").await.unwrap(), one);
    assert!(fetch(&old, "b").await.is_none());
    keep(&old, "c", &two).await;
    assert!(!folder.path().join("tmp/spool-1-1").exists());
    assert!(matches!(Store::open(folder.path(), LIMITS), Err(Error::Locked)));
    old.close().await;
    let next = open(folder.path());
    assert_eq!(fetch(&next, "a").await.unwrap(), one);
    assert_eq!(fetch(&next, "c").await.unwrap(), two);
    assert!(fetch(&next, "b").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn short_bodies_are_right_in_both_and_after_the_folder_was_taken_back() {
    let (folder, old) = empty(LIMITS);
    // Nothing stays in memory: each is read from the file that both stores append to.
    old.keep_in_memory(0);
    let (one, other) = (body(1_000), body(2_000));
    keep(&old, "a", &one).await;
    let _owed = old.give_up().await.unwrap();
    let new = open(folder.path());
    keep(&new, "b", &other).await;
    assert!(matches!(old.insert(key("c"), head("\"c\""), None), Err(Error::Closed)));
    for store in [&old, &new] {
        assert_eq!(fetch(store, "a").await.unwrap(), one);
    }
    new.close().await;
    old.take_back().await.unwrap();
    assert!(fetch(&old, "b").await.is_none());
    keep(&old, "c", &other).await;
    assert_eq!(fetch(&old, "a").await.unwrap(), one);
    old.close().await;
    let next = open(folder.path());
    assert_eq!((fetch(&next, "a").await.unwrap(), fetch(&next, "c").await.unwrap()), (one, other));
    assert!(fetch(&next, "b").await.is_none());
}
