//! What an operator's commands cost where 100,000 responses are stored.

mod common;

use bentpipe_store::{Limits, Listed, Store};
use bytes::Bytes;
use divan::{Bencher, black_box};
use rfc9111::CacheKey;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use common::head;

const LIMITS: Limits = Limits { max_size: 1 << 34, max_object_size: 1 << 30 };
const STORED: usize = 100_000;
/// What one purge takes.
const PURGED: usize = 1_000;

fn main() {
    divan::main();
}

struct Open {
    runtime: Runtime,
    store: Store,
    _folder: TempDir,
}

async fn keep(store: &Store, url: &str) {
    let Some(key) = CacheKey::parse(url) else { return };
    if let Ok((mut arrival, _)) = store.insert(key, head(), Some(100)) {
        drop(arrival.write(Bytes::from_static(&[7; 100])).await);
        drop(arrival.commit(None).await);
    }
}

fn open() -> Open {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let (Ok(runtime), Ok(folder)) = (runtime, tempfile::tempdir()) else { std::process::exit(1) };
    let store = {
        let _guard = runtime.enter();
        Store::open(folder.path(), LIMITS).unwrap_or_else(|_| std::process::exit(1))
    };
    runtime.block_on(async {
        for number in 0..STORED {
            keep(&store, &format!("http://www{}.example.com/folder/document-{number}.html", number % 100))
                .await;
        }
    });
    Open { runtime, store, _folder: folder }
}

fn purged(key: &str) -> bool {
    key.starts_with("http://purged.example.com/")
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn purge_1000_by_prefix(bencher: Bencher<'_, '_>) {
    let Open { runtime, store, _folder } = open();
    let fill = || {
        runtime.block_on(async {
            for number in 0..PURGED {
                keep(&store, &format!("http://purged.example.com/document-{number}.html")).await;
            }
        });
    };
    bencher.with_inputs(fill).bench_local_values(|()| store.purge(&store.listed(purged)));
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn purge_one_by_url(bencher: Bencher<'_, '_>) {
    let Open { runtime, store, _folder } = open();
    let url = "http://purged.example.com/one";
    let fill = || {
        runtime.block_on(keep(&store, url));
        CacheKey::parse(url)
    };
    bencher.with_inputs(fill).bench_local_values(|key| {
        let purged = key.map(|key| store.purge(&store.listed_under(&key)));
        assert_eq!(purged, Some(1), "what was stored is purged");
    });
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn purge_everything(bencher: Bencher<'_, '_>) {
    bencher.with_inputs(open).bench_local_values(|open| open.store.purge(&open.store.listed(|_| true)));
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn list_everything(bencher: Bencher<'_, '_>) {
    let open = open();
    bencher.bench_local(|| {
        let listed = open.store.listed(|_| true);
        black_box(listed.iter().map(Listed::summary).map(|summary| summary.arrived).sum::<u64>())
    });
}
