//! A disk that lies, and a disk that fails: no wrong byte is served, and nothing stops being served.

use std::fs::{self, OpenOptions};
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bentpipe_store::{Error, Limits};
use http_body_util::BodyExt;

use crate::support::*;

/// Flips one bit of the only content file.
fn flip(folder: &Path, at: u64) {
    let file = &content(folder)[0];
    let file = OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_left_the_store_before_it_was_read_is_no_damage() {
    let (folder, store) = empty(LIMITS);
    let stored = keep(&store, "a", &body(300_000)).await;
    assert_eq!(store.invalidate(&key("a")), 1);
    until(|| content(folder.path()).is_empty()).await;
    let (bytes, is_broken) = read_until_broken(stored.body(None)).await;
    assert!(bytes.is_empty() && is_broken);
    // The keeper has had the time to count it.
    let mut turns = 0..5;
    until(|| turns.next().is_none()).await;
    // The same content for another key is not touched by that.
    let other = keep(&store, "b", &body(300_000)).await;
    assert_eq!(read(other.body(None)).await.unwrap(), body(300_000));
    assert_eq!((store.stats().damaged, content(folder.path()).len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_flipped_bit_is_a_miss_and_never_served() {
    for (length, at) in [(50_000, 0), (50_000, 49_999), (65_536, 100), (1_000_000, 200_000)] {
        let (folder, store) = empty(LIMITS);
        let stored = keep(&store, "a", &body(length)).await;
        flip(folder.path(), at);
        assert!(matches!(stored.body(None).verified().await, Err(Error::Damaged)));
        assert!(store.lookup(&key("a")).is_empty(), "{length} {at}");
        until(|| store.stats().objects == 0).await;
        assert_eq!((store.stats().damaged, store.stats().bytes), (1, 0));
        assert!(content(folder.path()).is_empty());

        keep(&store, "a", &body(length)).await;
        assert_eq!(fetch(&store, "a").await.unwrap(), body(length));
    }
}

#[tokio::test]
async fn damage_further_on_breaks_the_body_off_before_it() {
    let (folder, store) = empty(LIMITS);
    let stored = keep(&store, "a", &body(1_000_000)).await;
    flip(folder.path(), 600_000);
    let reading = stored.body(None).verified().await.unwrap();
    let (got, broken) = read_until_broken(reading).await;
    assert!(broken);
    assert!(got.len() >= 262_144 && got.len() <= 600_000);
    assert_eq!(got, body(1_000_000).slice(..got.len()));
    assert!(store.lookup(&key("a")).is_empty());
}

#[tokio::test]
async fn a_part_beside_the_damage_is_served() {
    let (folder, store) = empty(LIMITS);
    let stored = keep(&store, "a", &body(1_000_000)).await;
    flip(folder.path(), 600_000);
    let part = stored.body(Some(700_000..=800_000));
    assert_eq!(read(part).await.unwrap(), body(1_000_000).slice(700_000..=800_000));
    assert!(read(stored.body(Some(600_001..=600_001))).await.is_err());
}

#[tokio::test]
async fn a_shorter_body_or_none_is_a_miss() {
    for length in [0, 49_999] {
        let (folder, store) = empty(LIMITS);
        keep(&store, "a", &body(50_000)).await;
        let file = OpenOptions::new().write(true).open(&content(folder.path())[0]).unwrap();
        file.set_len(length).unwrap();
        assert!(fetch(&store, "a").await.is_none());
        assert!(store.lookup(&key("a")).is_empty());
    }
    let (folder, store) = empty(LIMITS);
    keep(&store, "a", &body(50_000)).await;
    fs::remove_file(&content(folder.path())[0]).unwrap();
    assert!(fetch(&store, "a").await.is_none());
}

#[tokio::test]
async fn damage_done_while_it_arrives_is_not_served_to_those_behind() {
    let (folder, store) = empty(LIMITS);
    let whole = body(3_000_000);
    let (mut arrival, stored) = insert(&store, "a", None);
    let behind = stored.body(None);
    write(&mut arrival, &whole, 100_000).await;
    let spooled = &files(&folder.path().join("tmp"))[0];
    let file = OpenOptions::new().write(true).open(spooled).unwrap();
    file.write_all_at(&[whole[0] ^ 1], 0).unwrap();
    let (got, broken) = read_until_broken(behind).await;
    assert!(broken && got.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fails_does_not_stop_the_service_and_comes_back() {
    let (folder, store) = empty(Limits { max_object_size: 1 << 24, ..LIMITS });
    let tmp = folder.path().join("tmp");
    fs::remove_dir(&tmp).unwrap();
    fs::write(&tmp, b"no folder").unwrap();

    let whole = body(3_000_000);
    let (mut arrival, stored) = insert(&store, "a", None);
    let reader = tokio::spawn(read(stored.body(None)));
    write(&mut arrival, &whole, 50_000).await;
    assert!(matches!(arrival.commit(None).await, Err(Error::Unavailable)));
    assert_eq!(reader.await.unwrap().unwrap(), whole);
    assert!(store.lookup(&key("a")).is_empty());
    assert!(matches!(store.insert(key("a"), head("1"), None), Err(Error::Unavailable)));
    assert!(!store.stats().is_storing);

    fs::remove_file(&tmp).unwrap();
    fs::create_dir(&tmp).unwrap();
    until(|| store.insert(key("probe"), head("1"), None).is_ok()).await;
    keep(&store, "a", &whole).await;
    assert_eq!(fetch(&store, "a").await.unwrap(), whole);
    assert!(store.stats().is_storing);
}

#[tokio::test]
async fn a_reader_that_broke_off_has_ended() {
    let (folder, store) = empty(LIMITS);
    let stored = keep(&store, "a", &body(50_000)).await;
    flip(folder.path(), 1);
    let mut reading = stored.body(None);
    assert!(reading.frame().await.unwrap().is_err());
    assert!(reading.frame().await.is_none());
}

/// So one client that does not read costs no more than what it was handed.
#[tokio::test]
async fn a_long_body_comes_in_blocks_that_hold_no_more_than_they_are() {
    let (folder, store) = empty(LIMITS);
    keep(&store, "a", &body(1_000_000)).await;
    for range in [None, Some(100_000..=999_998)] {
        let stored = Arc::clone(store.lookup(&key("a")).get(0).unwrap());
        let mut reading = stored.body(range.clone()).verified().await.unwrap();
        let mut read = Vec::new();
        while let Some(frame) = reading.frame().await {
            let bytes = frame.unwrap().into_data().unwrap();
            read.extend_from_slice(&bytes);
            assert!(bytes.try_into_mut().unwrap().capacity() <= 65_536);
        }
        let (first, last) = range.map_or((0, 999_999), RangeInclusive::into_inner);
        assert_eq!(read, body(1_000_000)[first as usize..=last as usize]);
    }
    // All that is verified before the first byte is sent is still verified then.
    let file = content(folder.path()).remove(0);
    let mut spoilt = fs::read(&file).unwrap();
    spoilt[200_000] ^= 1;
    fs::write(&file, spoilt).unwrap();
    let stored = Arc::clone(store.lookup(&key("a")).get(0).unwrap());
    assert!(matches!(stored.body(None).verified().await, Err(Error::Damaged)));
}
