//! A body that is arriving, and those who follow it.

use std::time::Duration;

use bentpipe_store::{Error, Limits};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout};

use crate::support::*;

#[tokio::test]
async fn a_response_is_found_before_its_body_has_arrived() {
    let (_folder, store) = empty(LIMITS);
    let (mut arrival, stored) = insert(&store, "a", Some(10));
    let found = store.lookup(&key("a"));
    assert_eq!(found.heads()[0], stored.head());
    assert!(found.get(0).unwrap().is_arriving());
    assert_eq!((stored.length(), stored.arrived()), (Some(10), 0));
    arrival.write(Bytes::from_static(b"01234")).await.unwrap();
    assert_eq!(stored.arrived(), 5);
    arrival.write(Bytes::from_static(b"56789")).await.unwrap();
    arrival.commit(None).await.unwrap();
    assert!(!stored.is_arriving());
    assert_eq!(fetch(&store, "a").await.unwrap(), "0123456789");
}

#[tokio::test]
async fn a_live_follower_gets_the_very_bytes_that_arrived() {
    let (_folder, store) = empty(LIMITS);
    let (mut arrival, stored) = insert(&store, "a", None);
    let mut live = stored.body(None);
    let chunk = body(20_000);
    arrival.write(chunk.clone()).await.unwrap();
    let got = live.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(got.as_ptr(), chunk.as_ptr());
    arrival.commit(None).await.unwrap();
    assert!(live.frame().await.is_none());
    assert!(live.is_end_stream());
}

#[tokio::test]
async fn two_followers_and_a_late_one_get_all_of_a_large_body() {
    let (folder, store) = empty(LIMITS);
    let whole = body(5_000_000);
    let (mut arrival, stored) = insert(&store, "a", Some(whole.len()));
    let readers: Vec<_> = (0..2).map(|_| tokio::spawn(read(stored.body(None)))).collect();
    write(&mut arrival, &whole.slice(..3_000_000), 7_001).await;
    assert!(files(&folder.path().join("tmp")).len() == 1);
    let late = tokio::spawn(read(stored.body(None)));
    write(&mut arrival, &whole.slice(3_000_000..), 300_000).await;
    arrival.commit(None).await.unwrap();
    for reader in readers {
        assert_eq!(reader.await.unwrap().unwrap(), whole);
    }
    assert_eq!(late.await.unwrap().unwrap(), whole);
    assert_eq!(fetch(&store, "a").await.unwrap(), whole);
    assert!(files(&folder.path().join("tmp")).is_empty());
}

#[tokio::test]
async fn a_slow_follower_does_not_hold_the_writer_up_and_reads_on_after_the_commit() {
    let (_folder, store) = empty(LIMITS);
    let whole = body(4_000_000);
    let (mut arrival, stored) = insert(&store, "a", None);
    let mut slow = stored.body(None);
    write(&mut arrival, &whole.slice(..100_000), 10_000).await;
    let first = slow.frame().await.unwrap().unwrap().into_data().unwrap();
    write(&mut arrival, &whole.slice(100_000..), 10_000).await;
    arrival.commit(None).await.unwrap();
    assert_eq!(slow.size_hint().exact(), Some((whole.len() - first.len()) as u64));
    let rest = read(slow).await.unwrap();
    assert_eq!([first, rest].concat(), whole);
}

#[tokio::test]
async fn a_part_of_an_arriving_body_is_followed_to_its_last_byte() {
    let (_folder, store) = empty(LIMITS);
    let whole = body(1_000_000);
    let (mut arrival, stored) = insert(&store, "a", Some(whole.len()));
    let part = stored.body(Some(600_000..=700_000));
    assert_eq!(part.size_hint().exact(), Some(100_001));
    let beyond = stored.body(Some(999_999..=5_000_000));
    let reader = tokio::spawn(read(part));
    write(&mut arrival, &whole, 64_000).await;
    assert_eq!(reader.await.unwrap().unwrap(), whole.slice(600_000..=700_000));
    arrival.commit(None).await.unwrap();
    assert_eq!(read(beyond).await.unwrap(), whole.slice(999_999..));
}

#[tokio::test]
async fn content_before_trailers_has_no_length_of_which_its_reader_is_told() {
    for content in ["", "01234"] {
        let (_folder, store) = empty(LIMITS);
        let (mut arrival, stored) = insert(&store, "a", None);
        arrival.write(Bytes::from_static(content.as_bytes())).await.unwrap();
        let (live, part) = (stored.body(None), stored.body(Some(0..=3)));
        let mut trailers = HeaderMap::new();
        trailers.insert("digest", HeaderValue::from_static("1"));
        arrival.commit(Some(trailers.clone())).await.unwrap();
        assert_eq!((live.size_hint().exact(), live.is_end_stream()), (None, false));
        assert!(part.size_hint().exact().is_some());
        assert_eq!(live.collect().await.unwrap().trailers(), Some(&trailers));
        assert_eq!(store.lookup(&key("a")).get(0).unwrap().length(), Some(content.len() as u64));
    }
}

#[tokio::test]
async fn trailers_reach_live_followers() {
    let (_folder, store) = empty(LIMITS);
    let (mut arrival, stored) = insert(&store, "a", None);
    let live = stored.body(None);
    arrival.write(Bytes::from_static(b"x")).await.unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("digest", HeaderValue::from_static("1"));
    arrival.commit(Some(trailers.clone())).await.unwrap();
    assert_eq!(live.collect().await.unwrap().trailers(), Some(&trailers));
    assert_eq!(fetch(&store, "a").await.unwrap(), "x");
}

#[tokio::test]
async fn a_body_cut_short_breaks_off_and_is_not_stored() {
    let (folder, store) = empty(LIMITS);
    let whole = body(2_000_000);
    for length in [1_000, 100_000, 2_000_000] {
        let (mut arrival, stored) = insert(&store, "a", None);
        let follower = stored.body(None);
        write(&mut arrival, &whole.slice(..length), 50_000).await;
        drop(arrival);
        assert!(store.lookup(&key("a")).is_empty());
        let (got, broken) = read_until_broken(follower).await;
        assert!(broken);
        assert_eq!(got, whole.slice(..length));
    }
    assert_eq!((store.stats().objects, store.stats().arriving), (0, 0));
    assert!(content(folder.path()).is_empty());
}

#[tokio::test]
async fn a_length_other_than_declared_is_never_stored() {
    let (_folder, store) = empty(LIMITS);
    let (mut arrival, stored) = insert(&store, "short", Some(10));
    let follower = stored.body(None);
    arrival.write(Bytes::from_static(b"123456789")).await.unwrap();
    let outcome = arrival.commit(None).await;
    assert!(matches!(outcome, Err(Error::Length { declared: 10, arrived: 9 })));
    assert!(read_until_broken(follower).await.1);

    let (mut arrival, _) = insert(&store, "long", Some(2));
    let outcome = arrival.write(Bytes::from_static(b"123")).await;
    assert!(matches!(outcome, Err(Error::Length { declared: 2, arrived: 3 })));
    drop(arrival);
    assert!(store.lookup(&key("short")).is_empty() && store.lookup(&key("long")).is_empty());
}

#[tokio::test]
async fn a_body_that_outgrows_the_limit_is_served_and_not_stored() {
    let (folder, store) = empty(Limits { max_object_size: 600_000, ..LIMITS });
    let outcome = store.insert(key("a"), head("1"), Some(600_001));
    assert!(matches!(outcome, Err(Error::TooLarge { limit: 600_000 })));

    let whole = body(6_000_000);
    let (mut arrival, stored) = insert(&store, "a", None);
    let readers: Vec<_> = (0..2).map(|_| tokio::spawn(read(stored.body(None)))).collect();
    write(&mut arrival, &whole, 30_000).await;
    assert!(matches!(arrival.refusal(), Some(Error::TooLarge { .. })));
    assert!(store.lookup(&key("a")).is_empty());
    // Who looked it up before and reads only now is told before a head is sent.
    assert!(matches!(stored.body(None).verified().await, Err(Error::CutShort)));
    assert!(matches!(arrival.commit(None).await, Err(Error::TooLarge { .. })));
    for reader in readers {
        assert_eq!(reader.await.unwrap().unwrap(), whole);
    }
    assert!(content(folder.path()).is_empty());
}

#[tokio::test]
async fn an_outgrown_body_waits_for_its_slowest_follower_until_that_leaves() {
    let (_folder, store) = empty(Limits { max_object_size: 100_000, ..LIMITS });
    let (mut arrival, stored) = insert(&store, "a", None);
    let stuck = stored.body(None);
    let writer = tokio::spawn(async move {
        write(&mut arrival, &body(8_000_000), 100_000).await;
        arrival.followers()
    });
    while stored.arrived() < 1_000_000 {
        tokio::task::yield_now().await;
    }
    assert!(!writer.is_finished());
    assert!(stored.arrived() < 1_500_000);
    drop(stuck);
    assert_eq!(writer.await.unwrap(), 0);
    assert_eq!(stored.arrived(), 8_000_000);
}

#[tokio::test(start_paused = true)]
async fn of_an_outgrown_body_a_follower_that_holds_others_up_is_cut_off_after_10_s() {
    let (_folder, store) = empty(Limits { max_object_size: 100_000, ..LIMITS });
    let whole = body(8_000_000);
    let (mut arrival, stored) = insert(&store, "a", None);
    let mut stuck = stored.body(None);
    let readers: Vec<_> = (0..2).map(|_| tokio::spawn(read(stored.body(None)))).collect();
    let start = Instant::now();
    let writing = async {
        write(&mut arrival, &whole, 100_000).await;
        // Who was cut off does not follow it any more.
        assert_eq!(arrival.followers(), 2);
        drop(arrival.commit(None).await);
    };
    timeout(Duration::from_secs(60), writing).await.unwrap();
    let waited = start.elapsed();
    assert!(waited >= Duration::from_secs(10) && waited < Duration::from_secs(11), "{waited:?}");
    for reader in readers {
        assert_eq!(reader.await.unwrap().unwrap(), whole);
    }
    assert!(matches!(stuck.frame().await, Some(Err(Error::TooSlow))));
    assert!(stuck.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn of_an_outgrown_body_the_only_follower_may_take_its_time() {
    let (_folder, store) = empty(Limits { max_object_size: 100_000, ..LIMITS });
    let whole = body(4_000_000);
    let (mut arrival, stored) = insert(&store, "a", None);
    let only = stored.body(None);
    let all = whole.clone();
    let writer = tokio::spawn(async move {
        write(&mut arrival, &all, 100_000).await;
        drop(arrival.commit(None).await);
    });
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(!writer.is_finished());
    assert_eq!(read(only).await.unwrap(), whole);
    writer.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn of_an_outgrown_body_who_has_its_part_is_not_waited_for() {
    let (_folder, store) = empty(Limits { max_object_size: 100_000, ..LIMITS });
    let whole = body(4_000_000);
    let (mut arrival, stored) = insert(&store, "a", None);
    let mut part = stored.body(Some(0..=9));
    arrival.write(whole.slice(..10_000)).await.unwrap();
    assert_eq!(part.frame().await.unwrap().unwrap().into_data().unwrap(), whole.slice(..10));
    let rest = whole.slice(10_000..);
    timeout(Duration::from_secs(5), write(&mut arrival, &rest, 100_000)).await.unwrap();
    assert!(part.is_end_stream());
}

#[tokio::test]
async fn a_body_that_is_known_to_break_off_is_not_begun() {
    let (_folder, store) = empty(LIMITS);
    let (mut arrival, stored) = insert(&store, "a", Some(10));
    let (before, part) = (stored.body(None), stored.body(Some(1..=4)));
    arrival.write(Bytes::from_static(b"01234")).await.unwrap();
    assert!(stored.body(None).verified().await.is_ok());
    drop(arrival);
    for body in [before, stored.body(None), stored.body(Some(4..=5))] {
        assert!(matches!(body.verified().await, Err(Error::CutShort)));
    }
    // What was asked for is all there.
    assert_eq!(read(part.verified().await.unwrap()).await.unwrap(), "1234");
}

#[tokio::test]
async fn who_writes_learns_when_nobody_follows() {
    let (_folder, store) = empty(LIMITS);
    let (arrival, stored) = insert(&store, "a", None);
    arrival.followers_gone().await;
    let (one, other) = (stored.body(None), stored.body(Some(0..=9)));
    assert_eq!(arrival.followers(), 2);
    let gone = tokio::spawn(async move { arrival.followers_gone().await });
    drop(one);
    tokio::task::yield_now().await;
    assert!(!gone.is_finished());
    drop(other);
    gone.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_follower_is_woken_by_what_arrives() {
    let (_folder, store) = empty(LIMITS);
    let (mut arrival, stored) = insert(&store, "a", None);
    let reader = tokio::spawn(read(stored.body(None)));
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        arrival.write(Bytes::from_static(b"tick")).await.unwrap();
    }
    arrival.commit(None).await.unwrap();
    assert_eq!(reader.await.unwrap().unwrap(), "tick".repeat(10));
}

#[tokio::test]
async fn an_invalidated_body_is_served_to_its_followers_and_not_kept() {
    let (folder, store) = empty(LIMITS);
    let whole = body(10_000);
    let (mut arrival, stored) = insert(&store, "a", None);
    let follower = stored.body(None);
    assert_eq!(store.invalidate(&key("a")), 1);
    write(&mut arrival, &whole, 1_000).await;
    assert!(matches!(arrival.commit(None).await, Err(Error::Invalidated)));
    assert_eq!(read(follower).await.unwrap(), whole);
    assert!(store.lookup(&key("a")).is_empty());
    assert_eq!(store.stats().bytes, 0);
    assert!(content(folder.path()).is_empty());
}
