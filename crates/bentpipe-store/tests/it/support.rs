//! A store in a folder of its own, and the few things every test does with it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bentpipe_store::{Arrival, Error, Limits, Store, Stored, StoredBody};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use rfc9111::{CacheKey, Nominated, StoredResponse};
use tempfile::TempDir;

pub(crate) const LIMITS: Limits = Limits { max_size: 1 << 30, max_object_size: 1 << 28 };

pub(crate) fn open(folder: &Path) -> Store {
    Store::open(folder, LIMITS).unwrap()
}

pub(crate) fn empty(limits: Limits) -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), limits).unwrap();
    (folder, store)
}

pub(crate) fn key(path: &str) -> CacheKey {
    CacheKey::parse(&format!("http://origin/{path}")).unwrap()
}

/// A head that can be told from others by its ETag.
pub(crate) fn head(etag: &str) -> StoredResponse {
    let mut headers = HeaderMap::new();
    headers.insert("etag", HeaderValue::from_str(etag).unwrap());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.append("link", HeaderValue::from_static("</a>"));
    headers.append("link", HeaderValue::from_static("</b>"));
    let time = UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
    let times = [time, time + Duration::from_millis(600)];
    StoredResponse::from_parts(StatusCode::OK, headers, Nominated::from_parts([]), times)
}

/// The same for requests with this `foo` field.
pub(crate) fn variant(etag: &str, foo: &str) -> StoredResponse {
    let nominated = [(HeaderName::from_static("foo"), Some(foo.as_bytes().to_vec()))];
    let mut head = head(etag);
    head.nominated = Nominated::from_parts(nominated);
    head
}

/// Bytes of which no two stretches are alike.
pub(crate) fn body(length: usize) -> Bytes {
    let mut state = 2 * length as u64 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

pub(crate) fn insert(store: &Store, path: &str, length: Option<usize>) -> (Arrival, Arc<Stored>) {
    store.insert(key(path), head("W/\"1\""), length.map(|length| length as u64)).unwrap()
}

pub(crate) async fn write(arrival: &mut Arrival, body: &Bytes, chunk: usize) {
    let mut body = body.clone();
    while !body.is_empty() {
        arrival.write(body.split_to(chunk.min(body.len()))).await.unwrap();
    }
}

/// Stores `body` under `path`.
pub(crate) async fn keep(store: &Store, path: &str, body: &Bytes) -> Arc<Stored> {
    let (mut arrival, stored) = insert(store, path, Some(body.len()));
    write(&mut arrival, body, 50_000).await;
    arrival.commit(None).await.unwrap();
    stored
}

pub(crate) async fn read(body: StoredBody) -> Result<Bytes, Error> {
    Ok(body.collect().await?.to_bytes())
}

/// What is read until the end or the error.
pub(crate) async fn read_until_broken(mut body: StoredBody) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Err(_) => return (bytes, true),
        }
    }
    (bytes, false)
}

/// What a client gets that asks for `path` now.
pub(crate) async fn fetch(store: &Store, path: &str) -> Option<Bytes> {
    let found = store.lookup(&key(path));
    let body = found.get(0)?.body(None).verified().await.ok()?;
    read(body).await.ok()
}

/// Waits until the keeper has made `done` true, for a day at most. Every turn lets a second of virtual time pass.
pub(crate) async fn until(mut done: impl FnMut() -> bool) {
    let (mut turns, begun) = (0, std::time::Instant::now());
    while !done() {
        if turns < 86_400 {
            turns += 1;
            tokio::time::advance(Duration::from_secs(1)).await;
        } else {
            // A day has gone by in some seconds. What is not done by now waits for the disk, which knows no virtual time.
            assert!(begun.elapsed() < Duration::from_secs(60), "it never was");
            std::thread::sleep(Duration::from_millis(1));
        }
        tokio::task::spawn_blocking(|| ()).await.unwrap();
    }
}

/// All files below `folder`.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

pub(crate) fn content(folder: &Path) -> Vec<PathBuf> {
    files(&folder.join("content-v2"))
}

/// What a kill would leave: the folder as it is at this moment.
pub(crate) fn copy(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in files(folder) {
        let to = copy.path().join(file.strip_prefix(folder).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        // The keeper deletes files meanwhile.
        match fs::copy(file, to) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            copied => drop(copied.unwrap()),
        }
    }
    copy
}
