//! What a hit and a store cost, and how long a start takes.

mod common;

use bentpipe_store::{Limits, Store};
use bytes::Bytes;
use divan::{Bencher, black_box};
use http_body_util::BodyExt;
use rfc9111::CacheKey;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use common::head;

const LIMITS: Limits = Limits { max_size: 1 << 34, max_object_size: 1 << 30 };

fn main() {
    divan::main();
}

struct Open {
    runtime: Runtime,
    store: Store,
    folder: TempDir,
}

fn open() -> Open {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let (Ok(runtime), Ok(folder)) = (runtime, tempfile::tempdir()) else { std::process::exit(1) };
    let store = reopen(&runtime, &folder);
    Open { runtime, store, folder }
}

fn reopen(runtime: &Runtime, folder: &TempDir) -> Store {
    let _guard = runtime.enter();
    Store::open(folder.path(), LIMITS).unwrap_or_else(|_| std::process::exit(1))
}

fn key(number: usize) -> CacheKey {
    let target = format!("http://www.example.com/some/folder/document-{number}.html?version=12");
    CacheKey::parse(&target).unwrap_or_else(|| std::process::exit(1))
}

async fn keep(store: &Store, number: usize, body: Bytes) {
    if let Ok((mut arrival, _)) = store.insert(key(number), head(), Some(body.len() as u64)) {
        drop(arrival.write(body).await);
        drop(arrival.commit(None).await);
    }
}

/// Equal bodies would share their content.
fn body(number: usize, length: usize) -> Bytes {
    let mut body = vec![7; length];
    body[..8].copy_from_slice(&(number as u64).to_le_bytes());
    body.into()
}

#[divan::bench]
fn lookup(bencher: Bencher<'_, '_>) {
    let Open { runtime, store, folder: _folder } = open();
    runtime.block_on(async {
        for number in 0..10_000 {
            keep(&store, number, body(number, 100)).await;
        }
    });
    let keys: Vec<_> = (0..10_000).map(key).collect();
    let mut keys = keys.iter().cycle();
    bencher.bench_local(|| {
        let found = keys.next().map(|key| store.lookup(key));
        black_box(found.as_ref().map(|found| found.heads().len()));
    });
}

#[divan::bench(args = [1_000, 10_000, 100_000])]
fn hit(bencher: Bencher<'_, '_>, length: usize) {
    let Open { runtime, store, folder: _folder } = open();
    runtime.block_on(keep(&store, 0, body(0, length)));
    let key = key(0);
    bencher.bench_local(|| {
        runtime.block_on(async {
            let found = store.lookup(&key);
            let stored = found.get(0)?;
            stored.note_use();
            stored.body(None).collect().await.ok()
        })
    });
}

/// All but the first byte: a part does not stay in memory, so this is what the disk costs every time.
#[divan::bench(args = [10_000, 100_000, 10_000_000])]
fn hit_from_disk(bencher: Bencher<'_, '_>, length: usize) {
    let Open { runtime, store, folder: _folder } = open();
    runtime.block_on(keep(&store, 0, body(0, length)));
    let key = key(0);
    bencher.bench_local(|| {
        runtime.block_on(async {
            let found = store.lookup(&key);
            let mut body = found.get(0)?.body(Some(1..=length as u64)).verified().await.ok()?;
            // As a client would: what was sent is not kept.
            let mut read = 0;
            while let Some(Ok(frame)) = body.frame().await {
                read += frame.data_ref().map_or(0, |data| black_box(data).len());
            }
            Some(read)
        })
    });
}

#[divan::bench(args = [1_000, 10_000, 1_000_000], sample_count = 20, sample_size = 50)]
fn insert_and_commit(bencher: Bencher<'_, '_>, length: usize) {
    let Open { runtime, store, folder: _folder } = open();
    let mut number = 0;
    bencher.bench_local(|| {
        number += 1;
        runtime.block_on(keep(&store, number, body(number, length)));
    });
}

#[divan::bench(sample_count = 10)]
fn open_10_000(bencher: Bencher<'_, '_>) {
    let Open { runtime, store, folder } = open();
    runtime.block_on(async {
        for number in 0..10_000 {
            keep(&store, number, body(number, 100)).await;
        }
        store.close().await;
    });
    bencher.bench_local(|| Store::open_read_only(folder.path()).map(|store| store.lookup(&key(1)).len()));
}
