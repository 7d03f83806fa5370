//! What an operator does with a store: pin, purge, verify, keep space free; and what it says it takes on disk.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use bentpipe_store::{Damage, Error, Limits, Listed, Remedy, Store};

use crate::support::*;

fn meant(store: &Store, path: &str) -> Vec<Listed> {
    store.listed(|key| key == format!("http://origin/{path}"))
}

fn pinned(store: &Store) -> Vec<String> {
    store.list().into_iter().filter(|stored| stored.pinned).map(|stored| stored.key).collect()
}

/// What `du` says of a folder, in bytes.
fn du(folder: &Path) -> u64 {
    let own = fs::symlink_metadata(folder).unwrap().blocks() * 512;
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let below = entries.map(|path| match fs::symlink_metadata(&path).unwrap() {
        metadata if metadata.is_dir() => du(&path),
        metadata => metadata.blocks() * 512,
    });
    own + below.sum::<u64>()
}

fn is_du(store: &Store, folder: &Path) -> bool {
    let (said, is) = (store.stats().disk_bytes, du(folder));
    said.abs_diff(is) * 100 <= is
}

fn check_du(store: &Store, folder: &Path, when: &str) {
    let (said, is) = (store.stats().disk_bytes, du(folder));
    assert!(is_du(store, folder), "{when}: {said} was said to be taken, {is} is");
}

#[tokio::test(start_paused = true)]
async fn what_is_said_to_be_taken_is_what_du_says() {
    let (folder, store) = empty(LIMITS);
    for number in 0..400usize {
        let length = [300, 4_095, 4_096, 39_000, 70_000, 300_000][number % 6] + number;
        keep(&store, &number.to_string(), &body(length)).await;
    }
    let (mut arrival, _) = insert(&store, "arriving", Some(3_000_000));
    write(&mut arrival, &body(2_000_000), 50_000).await;
    let part = store.insert_part(key("part"), head("\"1\""), 100_000..=199_999, 500_000);
    let (mut part, _) = part.unwrap();
    write(&mut part, &body(100_000), 50_000).await;
    part.commit(None).await.unwrap();
    // What arrives is written beside us, and the index by the keeper: until nothing moves any more.
    let (mut last, mut still) = (0, 0);
    until(|| {
        let now = du(folder.path());
        still = if now == last { still + 1 } else { 0 };
        last = now;
        still > 100
    })
    .await;
    check_du(&store, folder.path(), "while it arrives");
    drop(arrival);
    let half = store.listed(|key| key.ends_with(['0', '2', '4', '6']));
    assert!(store.purge(&half) > 100);
    store.close().await;
    check_du(&store, folder.path(), "after a purge");
    let again = open(folder.path());
    again.close().await;
    check_du(&again, folder.path(), "after a restart");
}

#[tokio::test(start_paused = true)]
async fn what_is_pinned_is_never_evicted_and_survives_restarts() {
    let limits = Limits { max_size: 1_000_000, max_object_size: 200_000 };
    let (folder, store) = empty(limits);
    keep(&store, "pinned", &body(100_000)).await;
    assert_eq!(store.pin(&meant(&store, "nothing"), true), 0);
    assert_eq!(store.pin(&meant(&store, "pinned"), true), 1);
    assert_eq!(store.pin(&meant(&store, "pinned"), true), 0, "it is pinned already");
    for round in 0..3 {
        for number in 0..30 {
            let stored =
                keep(&store, &format!("{round}/{number}"), &body(50_000 + 30 * round + number)).await;
            stored.note_use();
        }
        until(|| store.stats().disk_bytes <= limits.max_size).await;
        assert_eq!(fetch(&store, "pinned").await.unwrap(), body(100_000));
    }
    assert_eq!((store.stats().pinned, pinned(&store)), (1, vec!["http://origin/pinned".to_owned()]));

    // What a kill leaves, and what closing leaves.
    until(|| content(folder.path()).len() == store.stats().objects).await;
    let killed = copy(folder.path());
    store.close().await;
    for folder in [killed.path(), folder.path()] {
        let store = Store::open(folder, limits).unwrap();
        assert_eq!(pinned(&store), ["http://origin/pinned"]);
        assert_eq!(store.pin(&meant(&store, "pinned"), false), 1);
        store.close().await;
        let store = Store::open(folder, limits).unwrap();
        assert!(pinned(&store).is_empty() && !store.lookup(&key("pinned")).is_empty());
        store.close().await;
    }
}

#[tokio::test]
async fn what_takes_the_place_of_something_pinned_is_pinned() {
    let (_folder, store) = empty(LIMITS);
    keep(&store, "a", &body(10)).await;
    store.pin(&meant(&store, "a"), true);
    keep(&store, "a", &body(5_000)).await;
    assert_eq!((pinned(&store).len(), store.stats().objects), (1, 1));
    store.invalidate(&key("a"));
    keep(&store, "a", &body(10)).await;
    assert!(pinned(&store).is_empty(), "a pin does not outlive what it was set on");
}

#[tokio::test(start_paused = true)]
async fn where_pins_take_everything_nothing_else_is_stored() {
    let limits = Limits { max_size: 500_000, max_object_size: 400_000 };
    let (_folder, store) = empty(limits);
    for path in ["a", "b"] {
        keep(&store, path, &body(240_000)).await;
        store.pin(&meant(&store, path), true);
    }
    until(|| !store.stats().is_storing).await;
    assert!(matches!(store.insert(key("c"), head("1"), Some(10)), Err(Error::NoRoom)));
    assert!(store.stats().not_storing.unwrap().contains("pinned"));
    assert_eq!(store.stats().objects, 2);
    store.pin(&meant(&store, "a"), false);
    until(|| store.stats().is_storing).await;
    keep(&store, "c", &body(10)).await;
}

#[tokio::test(start_paused = true)]
async fn space_that_is_to_be_free_is_not_taken() {
    let (_folder, store) = empty(LIMITS);
    for number in 0..50 {
        keep(&store, &number.to_string(), &body(80_000 + number)).await;
    }
    store.keep_free(Some(1 << 60));
    until(|| !store.stats().is_storing).await;
    let stats = store.stats();
    assert_eq!(stats.objects, 50, "all of it would not be enough");
    assert!(stats.not_storing.unwrap().contains("cache.min_free") && stats.min_free == Some(1 << 60));
    assert!(matches!(store.insert(key("a"), head("1"), Some(10)), Err(Error::NoRoom)));
    store.keep_free(Some(0));
    keep(&store, "a", &body(40_000)).await;
    assert_eq!(fetch(&store, "a").await.unwrap(), body(40_000));

    // What was arriving when space ran short reaches its readers all the same.
    let (mut arrival, stored) = insert(&store, "long", None);
    let (reading, whole) = (stored.body(None), body(3_000_000));
    let reading = tokio::spawn(read(reading));
    write(&mut arrival, &whole.slice(..1_000_000), 50_000).await;
    store.keep_free(Some(1 << 60));
    write(&mut arrival, &whole.slice(1_000_000..), 50_000).await;
    assert!(matches!(arrival.commit(None).await, Err(Error::NoRoom | Error::Invalidated | Error::Closed)));
    assert_eq!(reading.await.unwrap().unwrap(), whole);
}

#[tokio::test]
async fn what_is_purged_is_gone_after_a_kill() {
    let (folder, store) = empty(LIMITS);
    for path in ["a/1", "a/2", "b/1"] {
        keep(&store, path, &body(10)).await;
    }
    let found = store.listed(|key| key.starts_with("http://origin/a/"));
    assert_eq!((store.purge(&found), store.purge(&found)), (2, 0));
    let killed = copy(folder.path());
    let left = open(killed.path()).list();
    assert_eq!(left.iter().map(|stored| &*stored.key).collect::<Vec<_>>(), ["http://origin/b/1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listing_does_not_stop_storing() {
    let (_folder, store) = empty(LIMITS);
    let listing = {
        let store = store.clone();
        tokio::task::spawn_blocking(move || (0..300).map(|_| store.list().len()).max())
    };
    for number in 0..2_000 {
        keep(&store, &(number % 50).to_string(), &body(100)).await;
    }
    assert!(listing.await.unwrap() <= Some(50 + 1));
}

fn verify(store: &Store, repair: bool) -> (u64, Vec<Damage>) {
    let (mut verification, mut bytes, mut damage) = (store.verification(repair), 0, Vec::new());
    while let Some(step) = verification.step().unwrap() {
        bytes += step.bytes;
        damage.extend(step.damage);
    }
    damage.sort_by(|one, other| one.key.cmp(&other.key));
    (bytes, damage)
}

fn flip(file: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_verification_finds_every_damaged_body_and_repairs_what_it_may() {
    let (folder, store) = empty(LIMITS);
    keep(&store, "small", &body(100)).await;
    keep(&store, "good", &body(1_000_000)).await;
    assert_eq!(verify(&store, true), (1_000_100, Vec::new()));
    for (path, etag) in [("weak", "W/\"1\""), ("strong", "\"1\"")] {
        let length = if path == "weak" { 300_000 } else { 600_000 };
        let (mut arrival, _) = store.insert(key(path), head(etag), None).unwrap();
        write(&mut arrival, &body(length), 50_000).await;
        arrival.commit(None).await.unwrap();
        // Another one with the same content.
        keep(&store, &format!("{path}-again"), &body(length)).await;
    }
    for file in content(folder.path()) {
        match fs::metadata(&file).unwrap().len() {
            300_000 => fs::remove_file(file).unwrap(),
            600_000 => [70_000, 400_000].into_iter().for_each(|at| flip(&file, at)),
            _ => {}
        }
    }
    let found = |damage: Vec<Damage>| {
        let told = damage.into_iter().map(|damage| (damage.key[14..].to_owned(), damage.lost, damage.remedy));
        told.collect::<Vec<_>>()
    };
    let expected = |of: fn(&str) -> Remedy| {
        let lost =
            [("strong", 131_072), ("strong-again", 131_072), ("weak", 300_000), ("weak-again", 300_000)];
        lost.map(|(path, lost)| (path.to_owned(), lost, of(path)))
    };
    assert_eq!(found(verify(&store, false).1), expected(|_| Remedy::Left));
    assert_eq!(store.stats().damaged, 0, "it was not asked to change anything");
    let repaired = found(verify(&store, true).1);
    assert_eq!(repaired[0], ("strong".to_owned(), 131_072, Remedy::MarkedMissing));
    assert!(repaired[1..].iter().all(|(_, _, remedy)| *remedy == Remedy::Dropped), "{repaired:?}");
    until(|| store.stats().objects == 3).await;
    assert_eq!(store.list().into_iter().filter(|stored| stored.partial).count(), 1);
}
