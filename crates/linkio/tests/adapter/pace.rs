//! Rates, fairness and round trips.

use std::time::Duration;

use linkio::ClientKey;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{drain, gush, link, pair};

fn error_of(bytes: u64, bits: u64, seconds: u64) -> f64 {
    (bytes as f64 * 8.0 / (bits * seconds) as f64 - 1.0).abs()
}

/// How far the time for ten seconds' worth of bytes is from ten seconds, as a part of them.
async fn rate_error(
    bits: u64,
    from: impl AsyncWrite + Unpin + Send + 'static,
    mut to: impl AsyncRead + Unpin,
) -> f64 {
    let start = Instant::now();
    let source = tokio::spawn(gush(from));
    let mut block = vec![0; 16 * 1024];
    let mut left = usize::try_from(bits * 10 / 8).unwrap();
    while left > 0 {
        let part = left.min(block.len());
        left -= to.read(&mut block[..part]).await.unwrap();
    }
    source.abort();
    (start.elapsed().as_secs_f64() / 10.0 - 1.0).abs()
}

#[tokio::test(start_paused = true)]
async fn rates_are_exact() {
    for (rate, bits) in [("56k", 56_000), ("512k", 512_000), ("10M", 10_000_000), ("100M", 100_000_000)] {
        let link = link(rate);
        let (stream, origin) = pair(&link, 1);
        let down = rate_error(bits, origin, stream).await;
        let (stream, origin) = pair(&link, 1);
        let up = rate_error(bits, stream, origin).await;
        println!("{rate}: down {down:.6}, up {up:.6}");
        assert!(down <= 0.001 && up <= 0.001, "{rate}: {down} {up}");
    }
}

#[tokio::test(start_paused = true)]
async fn ten_equal_flows_share_equally() {
    for rate in ["512k", "10M", "100M"] {
        let link = link(rate);
        let mut tasks = JoinSet::new();
        let mut meters = Vec::new();
        for client in 0..10 {
            let (stream, origin) = pair(&link, client);
            meters.push(stream.meter());
            tasks.spawn(gush(origin));
            tasks.spawn(drain(stream));
        }
        sleep(Duration::from_secs(10)).await;
        let shares: Vec<f64> = meters.iter().map(|meter| meter.down() as f64).collect();
        let (sum, squares) = (shares.iter().sum::<f64>(), shares.iter().map(|x| x * x).sum::<f64>());
        let jain = sum * sum / (10.0 * squares);
        println!("{rate}: jain {jain:.6} {shares:?}");
        assert!(jain >= 0.999, "{rate}: {jain}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_with_eight_flows_gets_no_more_than_one_with_one() {
    let link = link("1M");
    let mut tasks = JoinSet::new();
    let mut meters = Vec::new();
    for flow in 0..9 {
        let (stream, origin) = pair(&link, u64::from(flow > 0));
        meters.push(stream.meter());
        tasks.spawn(gush(origin));
        tasks.spawn(drain(stream));
    }
    sleep(Duration::from_secs(20)).await;
    let one = meters[0].down() as f64;
    let eight = meters[1..].iter().map(|meter| meter.down()).sum::<u64>() as f64;
    assert!((one / eight - 1.0).abs() < 0.01, "{one} {eight}");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stalls_costs_others_nothing() {
    let link = link("1M");
    let mut tasks = JoinSet::new();
    let (mut stalled, origin) = pair(&link, 1);
    tasks.spawn(gush(origin));
    let mut byte = [0];
    stalled.read_exact(&mut byte).await.unwrap();
    let (stream, origin) = pair(&link, 2);
    let meter = stream.meter();
    tasks.spawn(gush(origin));
    tasks.spawn(drain(stream));
    sleep(Duration::from_secs(10)).await;
    let error = error_of(meter.down(), 1_000_000, 10);
    assert!(error < 0.01, "{error}");
    assert!(stalled.meter().down() <= 20_000);
}

#[tokio::test(start_paused = true)]
async fn connect_and_a_request_take_one_round_trip_each() {
    for spec in ["unlimited,rtt=600ms", "100M,rtt=600ms", "100M/1M,rtt=40ms"] {
        let link = link(spec);
        let rtt = link.rtt();
        let start = Instant::now();
        let (near, mut origin) = duplex(4096);
        let mut stream = link.connect(async { Ok::<_, ()>(near) }, ClientKey(1)).await.unwrap();
        assert_eq!(start.elapsed(), rtt, "{spec}");
        let answer = async {
            let mut request = [0; 4];
            origin.read_exact(&mut request).await.unwrap();
            origin.write_all(b"pong").await.unwrap();
            drop(origin);
        };
        let ask = async {
            stream.write_all(b"ping").await.unwrap();
            let mut response = Vec::new();
            stream.read_to_end(&mut response).await.unwrap();
            response
        };
        let (_, response) = tokio::join!(answer, ask);
        assert_eq!(response, b"pong");
        let extra = start.elapsed() - 2 * rtt;
        assert!(extra <= Duration::from_millis(4), "{spec}: {extra:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_takes_a_round_trip_and_charges_nothing() {
    let link = link("1M,rtt=250ms");
    let start = Instant::now();
    let dial = async {
        sleep(Duration::from_millis(50)).await;
        Err::<DuplexStream, _>("refused")
    };
    assert_eq!(link.connect(dial, ClientKey(1)).await.err(), Some("refused"));
    assert_eq!(start.elapsed(), Duration::from_millis(300));
    assert_eq!((link.usage().total(), link.snapshot().flows), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_end_arrives_after_the_bytes_and_half_a_round_trip() {
    let link = link("80k,rtt=200ms");
    let (mut stream, mut origin) = pair(&link, 1);
    origin.write_all(&[1; 1000]).await.unwrap();
    drop(origin);
    let start = Instant::now();
    let mut body = Vec::new();
    stream.read_to_end(&mut body).await.unwrap();
    assert_eq!((body.len(), start.elapsed()), (1000, Duration::from_millis(200)));
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pooled_connection_changes_hands() {
    let link = link("1M");
    let mut tasks = JoinSet::new();
    let mut meters = Vec::new();
    for _ in 0..3 {
        let (stream, origin) = pair(&link, 1);
        meters.push(stream.meter());
        tasks.spawn(gush(origin));
        tasks.spawn(drain(stream));
    }
    meters[0].assign(ClientKey(2));
    sleep(Duration::from_secs(20)).await;
    let [moved, second, third] = [0, 1, 2].map(|index: usize| meters[index].down() as f64);
    assert!((moved / (second + third) - 1.0).abs() < 0.01, "{moved} {second} {third}");
}
