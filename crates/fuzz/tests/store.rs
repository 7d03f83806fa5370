//! A cache folder with damage anywhere in its index: it opens, and whatever it still serves has the right bytes.

#![expect(
    clippy::expect_used,
    reason = "helpers of a test; clippy excuses only what stands in #[test] functions"
)]

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use bentpipe_store::{Limits, Store};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::BodyExt;
use rfc9111::{CacheKey, Presented, StoredResponse};
use tokio::runtime::Runtime;

const LIMITS: Limits = Limits { max_size: 1 << 30, max_object_size: 1 << 28 };
const LENGTHS: [usize; 4] = [0, 100, 5_000, 150_000];

/// Where the damage is done: which file, how far in, and with what; 0 cuts the file off there.
type Damage = (u8, u16, u8);

#[test]
fn a_damaged_index_is_never_believed() {
    // One folder as a clean stop leaves it (a snapshot) and one as a kill does (journals).
    let folders = [true, false].map(|clean| {
        let folder = tempfile::tempdir().expect("a folder");
        runtime().block_on(fill(folder.path(), clean));
        folder
    });
    bolero::check!().with_iterations(100).with_type::<(bool, Vec<Damage>)>().for_each(|(which, damages)| {
        let copy = tempfile::tempdir().expect("a folder");
        copy_folder(folders[usize::from(*which)].path(), copy.path());
        for damage in damages {
            spoil(copy.path(), *damage);
        }
        runtime().block_on(check(copy.path()));
    });
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

async fn fill(folder: &Path, clean: bool) {
    let store = Store::open(folder, LIMITS).expect("an empty folder opens");
    for length in LENGTHS {
        let (mut arrival, _) =
            store.insert(key(length), head(length), Some(length as u64)).expect("there is room");
        arrival.write(body(length)).await.expect("written");
        arrival.commit(None).await.expect("committed");
    }
    store.close().await;
    if !clean {
        let store = Store::open(folder, LIMITS).expect("a closed folder opens");
        assert_eq!(store.invalidate(&key(LENGTHS[0])), 1);
        drop(store);
    }
}

async fn check(folder: &Path) {
    let store = Store::open(folder, LIMITS).expect("damage is never an error");
    for length in LENGTHS {
        let found = store.lookup(&key(length));
        let Some(stored) = found.get(0) else { continue };
        // A body that breaks off is told; one that ends must be right.
        if let Ok(collected) = stored.body(None).collect().await {
            assert_eq!(collected.to_bytes(), body(length), "wrong bytes were served");
        }
    }
    store.close().await;
}

fn spoil(folder: &Path, (which, place, with): Damage) {
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    if files.is_empty() {
        return;
    }
    let file = &files[usize::from(which) % files.len()];
    let mut bytes = fs::read(file).expect("the file");
    if bytes.is_empty() {
        return;
    }
    let at = usize::from(place) * bytes.len() / (usize::from(u16::MAX) + 1);
    match with {
        0 => bytes.truncate(at),
        with => bytes[at] ^= with,
    }
    fs::write(file, bytes).expect("written");
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the folder");
    for entry in fs::read_dir(from).expect("the folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

fn key(length: usize) -> CacheKey {
    CacheKey::parse(&format!("http://a.example/{length}")).expect("a key")
}

fn head(length: usize) -> StoredResponse {
    let target: Uri = format!("http://a.example/{length}").parse().expect("a target");
    let headers = HeaderMap::new();
    let presented = Presented::new(&Method::GET, &target, &headers);
    let then = SystemTime::UNIX_EPOCH;
    StoredResponse::new(&presented, StatusCode::OK, &headers, then, then)
}

fn body(length: usize) -> Bytes {
    (0..length).map(|at| (at % 251).to_le_bytes()[0]).collect()
}
