//! Bodies that are held in part: what arrived is kept, served, completed, joined, and taken up after a kill.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bentpipe_store::{Arrival, Error, Store, Stored};
use bytes::Bytes;
use http_body_util::BodyExt;

use crate::support::*;

fn insert_strong(store: &Store, path: &str, length: Option<usize>) -> (Arrival, Arc<Stored>) {
    store.insert(key(path), head("\"1\""), length.map(|length| length as u64)).unwrap()
}

/// Stores the first `arrived` bytes of `whole`.
async fn cut_at(store: &Store, path: &str, whole: &Bytes, arrived: usize) -> Arc<Stored> {
    let (mut arrival, stored) = insert_strong(store, path, Some(whole.len()));
    write(&mut arrival, &whole.slice(..arrived), 10_000).await;
    drop(arrival);
    settled(&stored, arrived).await;
    stored
}

async fn settled(stored: &Arc<Stored>, bytes: usize) {
    until(|| {
        stored.is_partial()
            && stored.held().iter().map(|part| part.end() + 1 - part.start()).sum::<u64>() == bytes as u64
    })
    .await;
}

async fn fill(store: &Store, stored: &Stored, whole: &Bytes, from: usize, to: usize) {
    let mut arrival = store.fill(stored, from as u64, Some(to as u64 - 1), None).unwrap();
    write(&mut arrival, &whole.slice(from..to), 30_000).await;
    arrival.commit(None).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_arrived_before_a_cut_is_kept_and_the_rest_completes_it() {
    for length in [3_000, 100_000, 2_000_000] {
        let (folder, store) = empty(LIMITS);
        let (whole, half) = (body(length), length / 2);
        let stored = cut_at(&store, "a", &whole, half).await;
        assert_eq!(stored.missing(0..=u64::MAX), Some(half as u64..=length as u64 - 1), "{length}");
        assert_eq!(read(stored.body(Some(5..=half as u64 - 1))).await.unwrap(), whole.slice(5..half));
        let (got, broken) = read_until_broken(stored.body(None)).await;
        assert_eq!((got.len(), broken), (half, true));

        fill(&store, &stored, &whole, half, length).await;
        assert!(!stored.is_partial());
        assert_eq!(fetch(&store, "a").await.unwrap(), whole);
        until(|| content(folder.path()).len() == usize::from(length >= 4096)).await;
        assert_eq!(fetch(&store, "a").await.unwrap(), whole);
        assert_eq!(store.stats().objects, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn parts_are_read_across_and_survive_a_restart() {
    let (folder, store) = empty(LIMITS);
    let whole = body(500_000);
    let (mut arrival, stored) =
        store.insert_part(key("a"), head("\"1\""), 100_000..=199_999, 500_000).unwrap();
    let reader = stored.body(Some(150_000..=160_000));
    write(&mut arrival, &whole.slice(100_000..200_000), 50_000).await;
    arrival.commit(None).await.unwrap();
    assert_eq!(read(reader).await.unwrap(), whole.slice(150_000..=160_000));
    fill(&store, &stored, &whole, 300_000, 302_000).await;
    fill(&store, &stored, &whole, 200_000, 300_000).await;
    assert_eq!(read(stored.body(Some(100_001..=301_999))).await.unwrap(), whole.slice(100_001..302_000));
    store.close().await;

    let store = open(folder.path());
    let found = store.lookup(&key("a"));
    let stored = found.get(0).unwrap();
    assert_eq!(stored.missing(0..=u64::MAX), Some(0..=99_999));
    assert_eq!(stored.missing(100_000..=u64::MAX), Some(302_000..=499_999));
    assert_eq!(read(stored.body(Some(100_001..=301_999))).await.unwrap(), whole.slice(100_001..302_000));
    fill(&store, stored, &whole, 302_000, 500_000).await;
    fill(&store, stored, &whole, 0, 100_000).await;
    until(|| content(folder.path()).len() == 1).await;
    assert_eq!(fetch(&store, "a").await.unwrap(), whole);
}

#[tokio::test]
async fn a_reader_goes_on_when_what_is_missing_comes() {
    let (_folder, store) = empty(LIMITS);
    let whole = body(300_000);
    let (mut arrival, stored) = store.insert_part(key("a"), head("\"1\""), 0..=99_999, 300_000).unwrap();
    write(&mut arrival, &whole.slice(..100_000), 50_000).await;
    arrival.commit(None).await.unwrap();
    let mut reader = stored.body(None);
    let mut got = Vec::new();
    let missing = loop {
        match reader.frame().await.unwrap() {
            Ok(frame) => got.extend_from_slice(&frame.into_data().unwrap()),
            Err(error) => break error,
        }
    };
    assert!(matches!(missing, Error::Missing { first: 100_000, end: Some(300_000) }), "{missing:?}");
    let mut arrival = store.fill(&stored, 100_000, Some(299_999), None).unwrap();
    write(&mut arrival, &whole.slice(100_000..), 50_000).await;
    drop(arrival.commit(None).await);
    got.extend_from_slice(&read(reader).await.unwrap());
    assert_eq!(got, whole);
}

#[tokio::test(start_paused = true)]
async fn what_readers_lack_reaches_them_though_there_is_no_room_for_it() {
    for length in [100_000, 3_000_000] {
        let (_folder, store) = empty(LIMITS);
        let (whole, half) = (body(length), length / 2);
        let stored = cut_at(&store, "a", &whole, half).await;
        store.keep_free(Some(1 << 60));
        let mut reader = stored.body(None);
        let mut got = Vec::new();
        while let Ok(frame) = reader.frame().await.unwrap() {
            got.extend_from_slice(&frame.into_data().unwrap());
        }
        assert_eq!(got.len(), half);
        let mut arrival = store.fill(&stored, half as u64, Some(length as u64 - 1), None).unwrap();
        let reading = tokio::spawn(read(reader));
        write(&mut arrival, &whole.slice(half..), 30_000).await;
        drop(arrival.commit(None).await);
        got.extend_from_slice(&reading.await.unwrap().unwrap());
        assert_eq!(got, whole);
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_block_is_missing_and_can_be_mended() {
    let (folder, store) = empty(LIMITS);
    let whole = body(1_000_000);
    let (mut arrival, stored) = insert_strong(&store, "a", Some(whole.len()));
    write(&mut arrival, &whole, 50_000).await;
    arrival.commit(None).await.unwrap();
    let path = content(folder.path()).remove(0);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"damage", 600_000).unwrap();

    let mut reader = stored.body(None);
    let mut got = Vec::new();
    while let Ok(frame) = reader.frame().await.unwrap() {
        got.extend_from_slice(&frame.into_data().unwrap());
    }
    assert_eq!(got, whole.slice(..589_824));
    assert_eq!(stored.missing(0..=u64::MAX), Some(589_824..=655_359));
    fill(&store, &stored, &whole, 589_824, 655_360).await;
    got.extend_from_slice(&read(reader).await.unwrap());
    assert_eq!(got, whole);
    until(|| std::fs::read(&path).is_ok_and(|read| read == whole)).await;
    assert_eq!(fetch(&store, "a").await.unwrap(), whole);

    file.set_len(70_000).unwrap();
    std::fs::write(&path, &whole[..70_000]).unwrap();
    let (got, _) = read_until_broken(store.lookup(&key("a")).get(0).unwrap().body(None)).await;
    assert_eq!(got.len(), 65_536);
}

#[tokio::test(start_paused = true)]
async fn what_was_arriving_at_a_kill_is_taken_up() {
    let (folder, store) = empty(LIMITS);
    let whole = body(5_000_000);
    let (mut arrival, _stored) = insert_strong(&store, "a", Some(whole.len()));
    write(&mut arrival, &whole.slice(..4_000_000), 50_000).await;
    until(|| std::fs::metadata(folder.path().join("journal-0")).is_ok_and(|file| file.len() > 400)).await;
    let killed = copy(folder.path());
    drop(store);

    let store = open(killed.path());
    until(|| !store.lookup(&key("a")).is_empty()).await;
    let found = store.lookup(&key("a"));
    let stored = found.get(0).unwrap();
    let held = *stored.held()[0].end() + 1;
    assert!(held >= 3_000_000 && held.is_multiple_of(65_536), "{held}");
    assert!(files(&killed.path().join("tmp")).is_empty());
    fill(&store, stored, &whole, held as usize, whole.len()).await;
    assert_eq!(fetch(&store, "a").await.unwrap(), whole);
    until(|| content(killed.path()).len() == 1).await;
    store.close().await;
    assert_eq!(fetch(&open(killed.path()), "a").await.unwrap(), whole);
}

#[tokio::test(start_paused = true)]
async fn a_stop_keeps_what_is_arriving() {
    let (folder, store) = empty(LIMITS);
    let whole = body(1_000_000);
    let (mut arrival, _stored) = insert_strong(&store, "a", Some(whole.len()));
    write(&mut arrival, &whole.slice(..700_001), 50_000).await;
    store.close().await;
    drop((arrival, store));
    let store = open(folder.path());
    assert_eq!(store.lookup(&key("a")).get(0).unwrap().missing(0..=u64::MAX), Some(700_001..=999_999));
}

#[tokio::test(start_paused = true)]
async fn a_part_does_not_take_the_place_of_a_whole() {
    let (_folder, store) = empty(LIMITS);
    keep(&store, "a", &body(9_000)).await;
    cut_at(&store, "a", &body(20_000), 10_000).await;
    assert_eq!(store.lookup(&key("a")).len(), 2);
    keep(&store, "a", &body(9_001)).await;
    assert_eq!(store.lookup(&key("a")).len(), 1);
    assert_eq!(fetch(&store, "a").await.unwrap(), body(9_001));
}

#[tokio::test(start_paused = true)]
async fn a_body_of_which_nothing_is_left_is_a_miss_and_healed_by_the_next() {
    for length in [40_000, 1_000_000] {
        let (folder, mut store) = empty(LIMITS);
        let whole = body(length);
        for round in 0..3 {
            let (mut arrival, _) = insert_strong(&store, "a", Some(length));
            write(&mut arrival, &whole, 50_000).await;
            arrival.commit(None).await.unwrap();
            until(|| store.stats().objects == 1).await;
            store.close().await;
            drop(store);
            store = open(folder.path());
            assert_eq!(fetch(&store, "a").await.unwrap(), whole, "{length} {round}");
            store.close().await;
            drop(store);
            std::fs::write(content(folder.path()).remove(0), b"x").unwrap();
            store = open(folder.path());
            let found = store.lookup(&key("a"));
            assert!(matches!(found.get(0).unwrap().body(None).verified().await, Err(Error::Damaged)));
            assert!(store.lookup(&key("a")).is_empty());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_invalidated_while_it_arrived_is_not_taken_up_after_a_kill() {
    let (folder, store) = empty(LIMITS);
    let (mut arrival, _stored) = insert_strong(&store, "a", Some(5_000_000));
    write(&mut arrival, &body(4_000_000), 50_000).await;
    until(|| std::fs::metadata(folder.path().join("journal-0")).is_ok_and(|file| file.len() > 400)).await;
    assert_eq!(store.invalidate(&key("a")), 1);
    let killed = copy(folder.path());
    let store = open(killed.path());
    until(|| files(&killed.path().join("tmp")).is_empty()).await;
    tokio::time::advance(std::time::Duration::from_secs(5)).await;
    tokio::task::spawn_blocking(|| ()).await.unwrap();
    assert!(store.lookup(&key("a")).is_empty());
}

#[tokio::test]
async fn an_older_response_that_ends_later_does_not_replace_the_newer_one() {
    let (_folder, store) = empty(LIMITS);
    for mendable in [true, false] {
        let tag = |tag: &str| if mendable { format!("\"{tag}\"") } else { format!("W/\"{tag}\"") };
        let path = tag("a").replace(['"', '/'], "");
        let mut newer = head(&tag("new"));
        newer.response_time += std::time::Duration::from_secs(10);
        let (mut slow, _) = store.insert(key(&path), head(&tag("old")), Some(10_000)).unwrap();
        let (mut fast, _) = store.insert(key(&path), newer, Some(9_000)).unwrap();
        write(&mut fast, &body(9_000), 9_000).await;
        fast.commit(None).await.unwrap();
        write(&mut slow, &body(10_000), 9_000).await;
        assert!(matches!(slow.commit(None).await, Err(Error::Invalidated)));
        assert_eq!((store.lookup(&key(&path)).len(), fetch(&store, &path).await.unwrap().len()), (1, 9_000));
    }
}
