//! Short bodies, which share files: what they take of memory and disk, and what becomes of them.

use std::fs;
use std::path::{Path, PathBuf};

use bentpipe_store::{Limits, Store};
use bytes::Bytes;

use crate::support::*;

/// Waits until the keeper has done two rounds after all that was done before.
async fn settled(store: &Store, folder: &Path) {
    for _ in 0..2 {
        let marker = format!("marker-{}", store.stats().kept);
        keep(store, &marker, &Bytes::new()).await;
        let is_marked = |file: &PathBuf| {
            let bytes = fs::read(file).unwrap_or_default();
            bytes.windows(marker.len()).any(|bytes| bytes == marker.as_bytes())
        };
        until(|| files(folder).iter().any(is_marked)).await;
    }
}

fn bundles(folder: &Path) -> Vec<PathBuf> {
    files(folder).into_iter().filter(|file| file.to_string_lossy().contains("bundle-")).collect()
}

fn size(files: &[PathBuf]) -> u64 {
    files.iter().filter_map(|file| fs::metadata(file).ok()).map(|metadata| metadata.len()).sum()
}

#[tokio::test(start_paused = true)]
async fn the_memory_they_take_is_bounded_and_all_of_them_are_there() {
    let (folder, store) = empty(LIMITS);
    store.keep_in_memory(400_000);
    for number in 0..1_000 {
        keep(&store, &number.to_string(), &body(3_000 + number)).await;
        assert_eq!(fetch(&store, &number.to_string()).await.unwrap(), body(3_000 + number));
    }
    let check = async |store: &Store| {
        for number in 0..1_000 {
            assert_eq!(fetch(store, &number.to_string()).await.unwrap(), body(3_000 + number), "{number}");
        }
        assert!(store.stats().memory_bytes <= 400_000, "{}", store.stats().memory_bytes);
    };
    check(&store).await;
    settled(&store, folder.path()).await;
    check(&store).await;
    let killed = copy(folder.path());
    store.close().await;
    for folder in [killed.path(), folder.path()] {
        let store = open(folder);
        assert_eq!(store.stats().memory_bytes, 0);
        store.keep_in_memory(400_000);
        check(&store).await;
        assert!(size(&bundles(folder)) < 3_700_000);
        store.close().await;
    }
}

#[tokio::test]
async fn one_that_is_asked_for_again_comes_from_memory() {
    let (folder, store) = empty(LIMITS);
    keep(&store, "a", &body(3_000)).await;
    store.close().await;
    let store = open(folder.path());
    assert!(!store.lookup(&key("a")).get(0).unwrap().body(None).is_in_memory());
    assert_eq!(fetch(&store, "a").await.unwrap(), body(3_000));
    let part = store.lookup(&key("a")).get(0).unwrap().body(Some(100..=200));
    assert!(part.is_in_memory());
    assert_eq!(read(part).await.unwrap(), body(3_000).slice(100..=200));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_damaged_is_never_served() {
    let (folder, store) = empty(LIMITS);
    for number in 0..20 {
        keep(&store, &number.to_string(), &body(1_000 + number)).await;
    }
    store.close().await;
    let bundle = bundles(folder.path()).remove(0);
    let mut bytes = fs::read(&bundle).unwrap();
    let damaged = bytes.windows(1_007).position(|window| window == body(1_007)).unwrap();
    bytes[damaged + 500] ^= 1;
    fs::write(&bundle, bytes).unwrap();
    let store = open(folder.path());
    for number in 0..20 {
        let expected = (number != 7).then(|| body(1_000 + number));
        assert_eq!(fetch(&store, &number.to_string()).await, expected);
    }
    until(|| store.stats().objects == 19).await;
    keep(&store, "7", &body(1_007)).await;
    assert_eq!(fetch(&store, "7").await.unwrap(), body(1_007));
}

#[tokio::test(start_paused = true)]
async fn the_space_of_those_that_are_gone_comes_back() {
    let (folder, store) = empty(LIMITS);
    for number in 0..3_000 {
        keep(&store, &number.to_string(), &body(2_000 + number % 50)).await;
    }
    store.pin(&store.listed_under(&key("0")), true);
    settled(&store, folder.path()).await;
    let before = size(&bundles(folder.path()));
    assert!(before > 6_000_000);
    let reading = store.lookup(&key("1")).get(0).unwrap().body(Some(1..=3_000));
    let order =
        |store: &Store| store.list().into_iter().map(|listed| (listed.key, listed.uses)).collect::<Vec<_>>();
    let gone = store.listed(|key| !key.ends_with('0'));
    store.purge(&gone);
    drop(gone);
    until(|| size(&bundles(folder.path())) < before / 5 + (2 << 20)).await;
    assert_eq!(read(reading).await.unwrap(), body(2_001).slice(1..), "who reads reads on");
    until(|| size(&bundles(folder.path())) < before / 5).await;
    settled(&store, folder.path()).await;
    let (stats, listed) = (store.stats(), order(&store));
    let du: u64 = files(folder.path()).iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    assert!(stats.disk_bytes >= du && stats.disk_bytes < du + 100_000, "{stats:?} {du}");
    let killed = copy(folder.path());
    store.close().await;
    for folder in [killed.path(), folder.path()] {
        let store = open(folder);
        assert_eq!((order(&store), store.stats().pinned), (listed.clone(), 1));
        for number in (0..3_000).step_by(10) {
            assert_eq!(fetch(&store, &number.to_string()).await.unwrap(), body(2_000 + number % 50));
        }
        store.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_small_cache_is_mostly_content() {
    let limits = Limits { max_size: 8_000_000, max_object_size: 100_000 };
    let (folder, store) = empty(limits);
    let mut content = Vec::new();
    for number in 0..20_000 {
        keep(&store, &number.to_string(), &body(1_000 + number % 100)).await;
        if number % 2_000 == 1_999 {
            settled(&store, folder.path()).await;
            until(|| store.stats().disk_bytes <= limits.max_size).await;
            content.push(store.list().iter().map(|listed| listed.arrived).sum::<u64>());
        }
    }
    let full = &content[content.len() / 2..];
    assert!(full.iter().all(|content| *content > limits.max_size / 2), "{full:?}");
    assert!(store.stats().evicted > 10_000);
}
