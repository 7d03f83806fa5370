//! A link that changes under open streams loses nothing and takes effect at once.

use std::time::Duration;

use linkio::{BitRate, ClientKey, Direction, LinkSpec, LinkedIo, SharedLink};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex, split};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::{link, pair, pattern};

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_when_the_link_changes_under_open_streams() {
    let link = link("unlimited");
    let (stream, origin) = pair(&link, 1);
    let (meter, body) = (stream.meter(), pattern(3_000_000));
    let (mut read_origin, mut write_origin) = split(origin);
    let (mut read_stream, mut write_stream) = split(stream);
    let (sent, uploaded) = (body.clone(), body.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        write_origin.write_all(&sent).await.unwrap();
        write_origin.shutdown().await.unwrap();
    });
    tasks.spawn(async move {
        write_stream.write_all(&uploaded).await.unwrap();
        write_stream.shutdown().await.unwrap();
    });
    let changing = link.clone();
    tasks.spawn(async move {
        for spec in [
            "1M",
            "0",
            "56k,rtt=300ms",
            "unlimited,rtt=20ms",
            "unlimited",
            "5M/300k,rtt=10ms",
            "0,rtt=1s",
            "20M",
        ] {
            sleep(Duration::from_millis(700)).await;
            changing.set(spec.parse::<LinkSpec>().unwrap());
        }
    });
    let (mut down, mut up) = (Vec::new(), Vec::new());
    let reads = async { tokio::join!(read_stream.read_to_end(&mut down), read_origin.read_to_end(&mut up)) };
    let (first, second) = timeout(Duration::from_secs(60), reads).await.unwrap();
    assert_eq!((first.unwrap(), second.unwrap()), (body.len(), body.len()));
    assert!(down == body && up == body);
    assert_eq!((meter.down(), meter.up()), (3_000_000, 3_000_000));
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    assert_eq!(link.usage().total(), 6_000_000);
    assert_eq!((link.snapshot().down.backlog, link.snapshot().up.backlog), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stream_may_be_used_directly_while_its_direction_is_open_and_empty() {
    let link = link("unlimited");
    let (mut stream, mut origin) = pair(&link, 1);
    let is_direct = |stream: &LinkedIo<_>| {
        [Direction::Down, Direction::Up].map(|direction| stream.direct(direction).is_some())
    };
    assert_eq!(is_direct(&stream), [true, true]);
    stream.count_direct(Direction::Down, 3);
    stream.count_direct(Direction::Up, 5);
    assert_eq!((stream.meter().down(), stream.meter().up()), (3, 5));
    assert_eq!((link.usage().down, link.usage().up), (3, 5));
    link.set("unlimited/8k".parse::<LinkSpec>().unwrap());
    assert_eq!(is_direct(&stream), [true, false]);
    stream.write_all(&[1; 100]).await.unwrap();
    link.set(LinkSpec::default());
    assert_eq!(is_direct(&stream), [true, false], "something is left");
    stream.flush().await.unwrap();
    origin.read_exact(&mut [0; 100]).await.unwrap();
    assert_eq!(is_direct(&stream), [true, true]);
    assert_eq!((stream.meter().up(), link.usage().up), (105, 105));
}

#[tokio::test(start_paused = true)]
async fn a_change_takes_effect_within_ten_milliseconds() {
    let link = link("8k");
    let (mut stream, mut origin) = pair(&link, 1);
    origin.write_all(&[1; 10_000]).await.unwrap();
    let waiting = tokio::spawn(async move {
        let mut body = vec![0; 10_000];
        stream.read_exact(&mut body).await.unwrap();
        Instant::now()
    });
    sleep(Duration::from_secs(1)).await;
    let changed = Instant::now();
    link.set("unlimited".parse::<LinkSpec>().unwrap());
    assert!(waiting.await.unwrap() - changed <= Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_starts_closed_can_open() {
    let link = link("0");
    let (mut stream, mut origin) = pair(&link, 1);
    origin.write_all(&[1; 1000]).await.unwrap();
    let waiting = tokio::spawn(async move {
        stream.read_exact(&mut [0; 1000]).await.unwrap();
        Instant::now()
    });
    sleep(Duration::from_secs(5)).await;
    assert_eq!((link.usage().down, link.snapshot().down.queueing_delay), (0, None));
    let opened = Instant::now();
    link.set("8k".parse::<LinkSpec>().unwrap());
    assert_eq!(waiting.await.unwrap() - opened, Duration::from_secs(1));
}

/// One exchange of random sizes over a link that changes at random: what arrives is what was sent.
async fn exchange(specs: Vec<LinkSpec>, body: Vec<u8>, write: usize, read: usize, far: usize) {
    let link = SharedLink::new(specs[0].clone());
    let (near, origin) = duplex(far);
    let stream = link.wrap(near, ClientKey(1));
    let meter = stream.meter();
    let mut tasks = JoinSet::new();
    let changing = link.clone();
    tasks.spawn(async move {
        for spec in specs.into_iter().cycle().take(40) {
            changing.set(spec);
            sleep(Duration::from_millis(130)).await;
        }
        changing.set(LinkSpec::default());
    });
    let ((from_origin, to_origin), (from_stream, to_stream)) = (split(origin), split(stream));
    for (mut to, body) in [
        (Box::new(to_origin) as Box<dyn AsyncWrite + Send + Unpin>, body.clone()),
        (Box::new(to_stream), body.clone()),
    ] {
        tasks.spawn(async move {
            for part in body.chunks(write) {
                to.write_all(part).await.unwrap();
            }
            to.shutdown().await.unwrap();
        });
    }
    for (mut from, body) in [
        (Box::new(from_origin) as Box<dyn AsyncRead + Send + Unpin>, body.clone()),
        (Box::new(from_stream), body.clone()),
    ] {
        tasks.spawn(async move {
            let (mut got, mut part) = (Vec::new(), vec![0; read]);
            while let count @ 1.. = from.read(&mut part).await.unwrap() {
                got.extend_from_slice(&part[..count]);
            }
            assert!(got == body, "{} of {}", got.len(), body.len());
        });
    }
    let all = timeout(Duration::from_secs(600), async {
        while tasks.join_next().await.transpose().unwrap().is_some() {}
    });
    all.await.unwrap();
    assert_eq!((meter.down(), meter.up()), (body.len() as u64, body.len() as u64));
}

fn specs() -> impl Strategy<Value = LinkSpec> {
    let rate = || {
        let limited = (3..30_u32).prop_map(|bits| Some(BitRate::from_bits_per_second(1 << bits)));
        prop_oneof![1 => Just(None), 1 => Just(Some(BitRate::ZERO)), 6 => limited]
    };
    let rtt = prop_oneof![Just(0), 0..300_u64].prop_map(Duration::from_millis);
    (rate(), rate(), rtt).prop_map(|(down, up, rtt)| LinkSpec { down, up, rtt, ..LinkSpec::default() })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_the_link_does_the_bytes_arrive_in_order(
        specs in prop::collection::vec(specs(), 1..8), length in 0..200_000_usize,
        write in 1..5000_usize, read in 1..5000_usize, far in 1..10_000_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(exchange(specs, pattern(length), write, read, far));
    }
}
