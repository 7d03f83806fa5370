//! Bodies that are asked for again: served from memory, for as long as something refers to them.

use std::fs;
use std::path::Path;

use bentpipe_store::Limits;

use crate::support::*;

/// Takes every content file away: what is still served comes from memory.
fn unlink(folder: &Path) {
    content(folder).iter().for_each(|file| fs::remove_file(file).unwrap());
}

#[tokio::test]
async fn what_was_read_whole_once_is_read_from_memory() {
    for length in [4_096, 40_000, 65_537, 262_144] {
        let (folder, store) = empty(LIMITS);
        keep(&store, "a", &body(length)).await;
        assert_eq!(fetch(&store, "a").await.unwrap(), body(length));
        unlink(folder.path());
        let (one, other) = (fetch(&store, "a").await.unwrap(), fetch(&store, "a").await.unwrap());
        assert_eq!(one, body(length), "{length}");
        assert_eq!(one.as_ptr(), other.as_ptr(), "copied");
        let found = store.lookup(&key("a"));
        let part = found.get(0).unwrap().body(Some(100..=4_000)).verified().await.unwrap();
        assert_eq!(read(part).await.unwrap(), body(length).slice(100..=4_000));
    }
}

#[tokio::test]
async fn a_part_or_a_body_that_is_too_long_does_not_stay_in_memory() {
    for (length, range) in [(262_145, None), (100_000, Some(1..=99_999))] {
        let (folder, store) = empty(LIMITS);
        let stored = keep(&store, "a", &body(length)).await;
        read(stored.body(range.clone())).await.unwrap();
        unlink(folder.path());
        assert!(stored.body(range).verified().await.is_err(), "{length}");
    }
}

#[tokio::test]
async fn what_somebody_followed_is_in_memory_already() {
    for (is_followed, length) in [(true, 40_000), (true, 200_000), (false, 40_000)] {
        let (folder, store) = empty(LIMITS);
        let (mut arrival, stored) = insert(&store, "a", None);
        let follower = is_followed.then(|| stored.body(None));
        write(&mut arrival, &body(length), 80_000).await;
        arrival.commit(None).await.unwrap();
        drop(follower);
        unlink(folder.path());
        assert_eq!(fetch(&store, "a").await.is_some(), is_followed, "{length}");
    }
}

#[tokio::test]
async fn what_is_invalidated_leaves_memory_with_the_last_that_refers_to_it() {
    let (folder, store) = empty(LIMITS);
    for path in ["a", "b"] {
        keep(&store, path, &body(40_000)).await;
    }
    fetch(&store, "a").await.unwrap();
    store.invalidate(&key("a"));
    unlink(folder.path());
    assert_eq!(fetch(&store, "b").await.unwrap(), body(40_000));
    store.invalidate(&key("b"));
    keep(&store, "c", &body(40_000)).await;
    unlink(folder.path());
    assert!(fetch(&store, "c").await.is_none());
}

#[tokio::test]
async fn who_reads_on_after_an_invalidation_does_not_bring_it_back_to_memory() {
    let (folder, store) = empty(LIMITS);
    let old = keep(&store, "a", &body(40_000)).await;
    let reading = old.body(None);
    store.invalidate(&key("a"));
    keep(&store, "a", &body(40_000)).await;
    assert_eq!(read(reading).await.unwrap(), body(40_000));
    unlink(folder.path());
    assert!(fetch(&store, "a").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_evicted_leaves_memory() {
    let (folder, store) = empty(Limits { max_size: 400_000, max_object_size: 200_000 });
    keep(&store, "a", &body(40_000)).await;
    fetch(&store, "a").await.unwrap();
    let mut number = 0;
    while !store.lookup(&key("a")).is_empty() {
        number += 1;
        keep(&store, &number.to_string(), &body(80_000 + number)).await;
        until(|| store.stats().bytes <= 400_000).await;
    }
    keep(&store, "a", &body(40_000)).await;
    unlink(folder.path());
    assert!(fetch(&store, "a").await.is_none());
}
