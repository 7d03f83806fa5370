//! What is stored: replaced, freshened, invalidated, evicted.

use std::sync::Arc;

use bentpipe_store::{Error, Limits, Store};
use bytes::Bytes;
use http::HeaderValue;
use http_body::Body;

use crate::support::*;

#[tokio::test]
async fn bodies_of_every_size_come_back_whole_and_in_parts() {
    let (_folder, store) = empty(LIMITS);
    for length in [0, 1, 4_095, 4_096, 65_535, 65_536, 65_537, 262_144, 262_145, 300_000, 1_000_000] {
        let path = length.to_string();
        let whole = body(length);
        let stored = keep(&store, &path, &whole).await;
        assert_eq!(stored.body(None).size_hint().exact(), Some(length as u64));
        assert_eq!(stored.body(None).is_end_stream(), length == 0);
        assert_eq!(fetch(&store, &path).await.unwrap(), whole, "{length}");
        for (first, last) in
            [(0, 0), (1, 65_536), (length / 2, length), (65_535, 131_073), (length, length + 1)]
        {
            let part = stored.body(Some(first as u64..=last as u64));
            let wanted = whole.slice(first.min(length)..(last + 1).min(length).max(first.min(length)));
            assert_eq!(part.size_hint().exact(), Some(wanted.len() as u64));
            assert_eq!(read(part).await.unwrap(), wanted, "{length}: {first}-{last}");
        }
    }
}

#[tokio::test]
async fn an_older_response_is_replaced_when_the_newer_one_is_complete() {
    let (folder, store) = empty(LIMITS);
    keep(&store, "a", &body(50_000)).await;
    let (mut arrival, _) = store.insert(key("a"), head("\"2\""), None).unwrap();
    assert_eq!(store.lookup(&key("a")).len(), 2);
    drop(arrival);
    assert_eq!(fetch(&store, "a").await.unwrap(), body(50_000));

    (arrival, _) = store.insert(key("a"), head("\"2\""), None).unwrap();
    write(&mut arrival, &body(60_000), 60_000).await;
    arrival.commit(None).await.unwrap();
    assert_eq!(store.lookup(&key("a")).len(), 1);
    assert_eq!(fetch(&store, "a").await.unwrap(), body(60_000));
    store.close().await;
    assert_eq!(content(folder.path()).len(), 1);
}

#[tokio::test]
async fn variants_are_stored_side_by_side() {
    let (_folder, store) = empty(LIMITS);
    for foo in ["1", "2", "1"] {
        let (mut arrival, _) = store.insert(key("a"), variant(foo, foo), None).unwrap();
        arrival.write(Bytes::copy_from_slice(foo.as_bytes())).await.unwrap();
        arrival.commit(None).await.unwrap();
    }
    let found = store.lookup(&key("a"));
    assert_eq!(found.len(), 2);
    assert_eq!(read(found.get(0).unwrap().body(None)).await.unwrap(), "2");
}

#[tokio::test]
async fn a_vary_on_something_unique_does_not_fill_the_memory() {
    let (_folder, store) = empty(LIMITS);
    for foo in 0..200 {
        let (arrival, _) = store.insert(key("a"), variant("1", &foo.to_string()), None).unwrap();
        arrival.commit(None).await.unwrap();
    }
    assert_eq!(store.lookup(&key("a")).len(), 64);
    assert_eq!(store.stats().objects, 64);
}

#[tokio::test]
async fn a_fresh_head_keeps_the_body() {
    let (_folder, store) = empty(LIMITS);
    let stored = keep(&store, "a", &body(40_000)).await;
    let fresh = store.freshen(&key("a"), &stored, head("\"fresh\""));
    assert_eq!(read(fresh.body(None)).await.unwrap(), body(40_000));
    let found = store.lookup(&key("a"));
    assert_eq!((found.len(), found.heads()[0]), (1, &head("\"fresh\"")));
}

#[tokio::test]
async fn an_invalidated_response_is_not_found_and_its_readers_read_on() {
    let (folder, store) = empty(LIMITS);
    let stored = keep(&store, "a", &body(1_000_000)).await;
    let reading = stored.body(None).verified().await.unwrap();
    assert_eq!(store.invalidate(&key("a")), 1);
    assert_eq!(store.invalidate(&key("a")), 0);
    assert!(fetch(&store, "a").await.is_none());
    let fresh = store.freshen(&key("a"), &stored, head("\"late\""));
    assert_eq!(fresh.head(), &head("\"late\""));
    assert!(store.lookup(&key("a")).is_empty());
    store.close().await;
    assert!(content(folder.path()).is_empty());
    assert_eq!(read(reading).await.unwrap(), body(1_000_000));
}

#[tokio::test]
async fn equal_bodies_share_their_content() {
    let (folder, store) = empty(LIMITS);
    keep(&store, "a", &body(40_000)).await;
    let one = store.stats().bytes;
    keep(&store, "b", &body(40_000)).await;
    assert!(store.stats().bytes < one + 4_096);
    assert_eq!(content(folder.path()).len(), 1);
    store.invalidate(&key("a"));
    store.close().await;
    assert_eq!(fetch(&store, "b").await.unwrap(), body(40_000));
}

#[tokio::test(start_paused = true)]
async fn above_the_limit_what_was_not_used_is_evicted() {
    let limits = Limits { max_size: 4_000_000, max_object_size: 800_000 };
    let (folder, store) = empty(limits);
    for number in 0..60 {
        let path = number.to_string();
        let stored = keep(&store, &path, &body(80_000 + number)).await;
        if number < 10 {
            (0..3).for_each(|_| stored.note_use());
        }
        until(|| store.stats().bytes <= limits.max_size).await;
    }
    let stats = store.stats();
    assert!(stats.evicted > 0 && stats.bytes > limits.max_size / 2, "{stats:?}");
    assert_eq!(stats.objects as u64 + stats.evicted, 60);
    store.close().await;
    assert_eq!(content(folder.path()).len(), stats.objects);
    for popular in 0..10 {
        assert!(fetch(&store, &popular.to_string()).await.is_some(), "{popular}");
    }
}

#[tokio::test]
async fn use_is_counted_and_listed() {
    let (_folder, store) = empty(LIMITS);
    let stored = keep(&store, "b", &body(10)).await;
    keep(&store, "a", &body(5_000)).await;
    stored.note_use();
    stored.note_use();
    let list = store.list();
    assert_eq!(
        list.iter().map(|summary| summary.key.as_str()).collect::<Vec<_>>(),
        ["http://origin/a", "http://origin/b"]
    );
    assert_eq!(
        (list[1].uses, list[1].length, list[1].media_type.as_deref()),
        (2, Some(10), Some("text/plain"))
    );
    assert_eq!((store.stats().objects, store.stats().hits, store.stats().kept), (2, 2, 2));
}

#[tokio::test]
async fn what_is_arriving_is_listed_as_such() {
    let (_folder, store) = empty(LIMITS);
    let (mut arrival, _) = insert(&store, "a", Some(10));
    arrival.write(Bytes::from_static(b"0123")).await.unwrap();
    let listed = |store: &Store| (store.list()[0].arriving, store.list()[0].arrived, store.list()[0].length);
    assert_eq!(listed(&store), (true, 4, Some(10)));
    arrival.write(Bytes::from_static(b"456789")).await.unwrap();
    arrival.commit(None).await.unwrap();
    assert_eq!(listed(&store), (false, 10, Some(10)));
}

#[tokio::test]
async fn a_fresh_head_is_another_stored_response_and_a_second_lookup_is_not() {
    let (_folder, store) = empty(LIMITS);
    let inserted = keep(&store, "a", &body(10)).await;
    let found = || Arc::clone(store.lookup(&key("a")).get(0).unwrap());
    let before = found();
    assert!(before.is_same(&found()) && before.is_same(&inserted));
    let fresh = store.freshen(&key("a"), &before, head("\"fresh\""));
    assert!(fresh.is_same(&found()) && !before.is_same(&fresh));
    keep(&store, "b", &body(10)).await;
    assert!(!before.is_same(store.lookup(&key("b")).get(0).unwrap()));
}

#[tokio::test]
async fn what_is_stored_does_not_keep_the_buffers_alive_it_was_read_into() {
    let (_folder, store) = empty(LIMITS);
    let buffer = Bytes::from(vec![b'x'; 8192]);
    let read_head = |etag: &str| {
        let mut head = head(etag);
        for line in 0..3 {
            let value = HeaderValue::from_maybe_shared(buffer.slice(line..100 + line)).unwrap();
            head.headers.append("x-line", value);
        }
        head
    };
    for length in [10, 2_000] {
        let (mut arrival, stored) = store.insert(key("a"), read_head("1"), None).unwrap();
        arrival.write(buffer.slice(..length)).await.unwrap();
        arrival.commit(None).await.unwrap();
        assert!(buffer.is_unique(), "a slice is kept of a body of {length}");
        assert_eq!(stored.head(), &read_head("1"));
        let fresh = store.freshen(&key("a"), &stored, read_head("2"));
        assert!(buffer.is_unique(), "a slice is kept of a fresh head");
        assert_eq!(fresh.head(), &read_head("2"));
        assert_eq!(fetch(&store, "a").await.unwrap().len(), length);
    }
}

#[tokio::test]
async fn a_folder_has_one_store() {
    let (folder, store) = empty(LIMITS);
    keep(&store, "a", &body(10)).await;
    assert!(matches!(Store::open(folder.path(), LIMITS), Err(Error::Locked)));
    store.close().await;
    let reader = Store::open_read_only(folder.path()).unwrap();
    assert_eq!(fetch(&reader, "a").await.unwrap(), body(10));
    assert!(matches!(reader.insert(key("b"), head("1"), None), Err(Error::Closed)));
    assert_eq!(reader.invalidate(&key("a")), 0);
    assert!(matches!(store.insert(key("b"), head("1"), None), Err(Error::Closed)));
}
