//! What is there after a restart, a kill, a power cut.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use bentpipe_store::Store;

use crate::support::*;

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let (folder, store) = empty(LIMITS);
    for length in [0, 100, 50_000, 300_000] {
        keep(&store, &length.to_string(), &body(length)).await.note_use();
    }
    store.insert(key("100"), variant("\"v\"", "x"), None).unwrap().0.commit(None).await.unwrap();
    let (before, stats) = (store.list(), store.stats());
    store.close().await;
    drop(store);
    assert_eq!(journals(folder.path()), 0);

    let store = open(folder.path());
    assert_eq!(format!("{:?}", store.list()), format!("{before:?}"));
    assert_eq!((store.stats().objects, store.stats().bytes), (stats.objects, stats.bytes));
    for length in [0, 100, 50_000, 300_000] {
        let path = length.to_string();
        assert_eq!(store.lookup(&key(&path)).heads()[0], &head("W/\"1\""));
        assert_eq!(fetch(&store, &path).await.unwrap(), body(length));
    }
}

#[tokio::test(start_paused = true)]
async fn a_kill_leaves_what_was_complete_a_second_ago() {
    let (folder, store) = empty(LIMITS);
    keep(&store, "small", &body(100)).await;
    let old = keep(&store, "large", &body(500_000)).await;
    store.freshen(&key("large"), &old, head("\"fresh\""));
    keep(&store, "gone", &body(50_000)).await;
    store.invalidate(&key("gone"));
    let (mut arriving, _) = insert(&store, "arriving", None);
    write(&mut arriving, &body(800_000), 100_000).await;
    flushed(&store, folder.path()).await;

    let killed = copy(folder.path());
    assert_eq!(files(&killed.path().join("tmp")).len(), 1);
    let store = open(killed.path());
    assert_eq!(fetch(&store, "small").await.unwrap(), body(100));
    assert_eq!(fetch(&store, "large").await.unwrap(), body(500_000));
    assert_eq!(store.lookup(&key("large")).heads()[0], &head("\"fresh\""));
    assert!(store.lookup(&key("gone")).is_empty());
    assert!(store.lookup(&key("arriving")).is_empty());
    assert!(files(&killed.path().join("tmp")).is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_invalidated_right_before_a_kill_stays_away() {
    let (folder, store) = empty(LIMITS);
    keep(&store, "small", &body(100)).await;
    keep(&store, "large", &body(50_000)).await;
    flushed(&store, folder.path()).await;
    assert_eq!(store.invalidate(&key("small")), 1);
    let killed = copy(folder.path());
    assert_eq!(store.invalidate(&key("large")), 1);
    let killed_later = copy(folder.path());

    let store = open(killed.path());
    assert!(store.lookup(&key("small")).is_empty());
    assert_eq!(fetch(&store, "large").await.unwrap(), body(50_000));
    let store = open(killed_later.path());
    assert!(store.lookup(&key("small")).is_empty() && store.lookup(&key("large")).is_empty());
}

#[tokio::test(start_paused = true)]
async fn content_without_a_record_is_cleared_away_after_a_kill() {
    let (folder, store) = empty(LIMITS);
    keep(&store, "a", &body(50_000)).await;
    flushed(&store, folder.path()).await;
    cacache::write_hash_sync(folder.path(), body(39_000)).unwrap();
    let killed = copy(folder.path());
    assert_eq!(content(killed.path()).len(), 2);
    let store = open(killed.path());
    until(|| content(killed.path()).len() == 1).await;
    assert_eq!(fetch(&store, "a").await.unwrap(), body(50_000));
}

#[tokio::test(start_paused = true)]
async fn a_journal_cut_anywhere_is_read_up_to_the_cut() {
    let (folder, store) = empty(LIMITS);
    for number in 0..4 {
        keep(&store, &number.to_string(), &body(100 + number)).await;
    }
    flushed(&store, folder.path()).await;
    let journal = folder.path().join("journal-0");
    let whole = fs::read(&journal).unwrap();
    let mut last = 0;
    for cut in (0..=whole.len()).step_by(7).chain([whole.len()]) {
        let killed = copy(folder.path());
        fs::write(killed.path().join("journal-0"), &whole[..cut]).unwrap();
        let store = open(killed.path());
        let objects = store.stats().objects;
        assert!(objects >= last && objects <= 5);
        for number in 0..objects.min(4) {
            assert_eq!(fetch(&store, &number.to_string()).await.unwrap(), body(100 + number));
        }
        last = objects;
    }
    assert_eq!(last, 5);
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_after_a_torn_tail_survives_the_next_kill() {
    let (folder, store) = empty(LIMITS);
    keep(&store, "before", &body(100)).await;
    flushed(&store, folder.path()).await;
    let torn = copy(folder.path());
    let journal = torn.path().join("journal-0");
    OpenOptions::new().append(true).open(journal).unwrap().write_all(&[9, 0, 0, 0, 1, 2, 3]).unwrap();
    let store = open(torn.path());
    keep(&store, "after", &body(200)).await;
    flushed(&store, torn.path()).await;
    let killed = copy(torn.path());
    let store = open(killed.path());
    assert_eq!(fetch(&store, "before").await.unwrap(), body(100));
    assert_eq!(fetch(&store, "after").await.unwrap(), body(200));
}

#[tokio::test]
async fn a_snapshot_with_a_damaged_record_loses_that_one() {
    let (folder, store) = empty(LIMITS);
    for number in 0..20 {
        keep(&store, &number.to_string(), &body(100 + number)).await;
    }
    store.close().await;
    drop(store);
    let snapshot = folder.path().join("snapshot");
    let mut bytes = fs::read(&snapshot).unwrap();
    let marked = bytes.windows(16).position(|window| window == b"http://origin/10").unwrap();
    bytes[marked + 10] ^= 4;
    fs::write(&snapshot, bytes).unwrap();
    let store = open(folder.path());
    assert_eq!(store.stats().objects, 19);
    assert!(fetch(&store, "10").await.is_none());
}

#[tokio::test]
async fn an_unknown_version_is_an_empty_cache() {
    let (folder, store) = empty(LIMITS);
    keep(&store, "a", &body(100)).await;
    store.close().await;
    drop(store);
    for garbage in [vec![0; 1000], vec![255; 1000], b"{}".to_vec(), body(40_000).to_vec()] {
        fs::write(folder.path().join("snapshot"), garbage).unwrap();
        let store = open(folder.path());
        assert_eq!(store.stats().objects, 0);
        store.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_growing_journal_becomes_a_snapshot() {
    let (folder, store) = empty(LIMITS);
    let stored = keep(&store, "a", &body(100)).await;
    let mut large = head("\"2\"");
    large.headers.insert("padding", "x".repeat(1 << 20).parse().unwrap());
    for _ in 0..20 {
        store.freshen(&key("a"), &stored, large.clone());
    }
    until(|| folder.path().join("snapshot").exists() && !folder.path().join("journal-0").exists()).await;
    keep(&store, "b", &body(100)).await;
    flushed(&store, folder.path()).await;
    let killed = copy(folder.path());
    assert!(files(killed.path()).iter().all(|file| fs::metadata(file).unwrap().len() < 4 << 20));
    let store = open(killed.path());
    assert_eq!(store.lookup(&key("a")).heads()[0], &large);
    assert_eq!(fetch(&store, "b").await.unwrap(), body(100));
}

/// Waits until the keeper has written down all that was done: a last change marks the end.
async fn flushed(store: &Store, folder: &Path) {
    let marker = format!("marker-{}", store.stats().objects);
    keep(store, &marker, &body(1)).await;
    let is_marked = |file: &PathBuf| {
        let bytes = fs::read(file).unwrap_or_default();
        let mut stretches = bytes.windows(marker.len());
        file.to_string_lossy().contains("journal") && stretches.any(|bytes| bytes == marker.as_bytes())
    };
    until(|| files(folder).iter().any(is_marked)).await;
}

fn journals(folder: &Path) -> usize {
    files(folder).iter().filter(|file| file.to_string_lossy().contains("journal")).count()
}
