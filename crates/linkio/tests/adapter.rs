//! The tokio adapter in paused time: rates, fairness, delay, live change, and no lost wake-up.
#![expect(clippy::disallowed_methods, reason = "a test of the adapter reads the paused clock it runs on")]
#![expect(clippy::unwrap_used, reason = "helpers outside the tests proper fail the test, too")]

use std::time::Duration;

use linkio::{ClientKey, LinkSpec, LinkedIo, SharedLink};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, copy_bidirectional, duplex, split,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

fn link(spec: &str) -> SharedLink {
    SharedLink::new(spec.parse::<LinkSpec>().unwrap())
}

/// A stream over `link` and the origin at its far end.
fn pair(link: &SharedLink, client: u64) -> (LinkedIo<DuplexStream>, DuplexStream) {
    let (near, far) = duplex(64 * 1024);
    (link.wrap(near, ClientKey(client)), far)
}

/// Writes for ever.
async fn gush(mut to: impl AsyncWrite + Unpin) {
    let block = [0x5a; 8192];
    while to.write_all(&block).await.is_ok() {}
}

/// Reads for ever.
async fn drain(mut from: impl AsyncRead + Unpin) {
    let mut block = vec![0; 16 * 1024];
    while from.read(&mut block).await.is_ok_and(|count| count > 0) {}
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 31 % 251) as u8).collect()
}

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
        let rtt = link.spec().rtt;
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
            changing.set(spec.parse().unwrap());
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
    link.set("unlimited".parse().unwrap());
    assert!(waiting.await.unwrap() - changed <= Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn copy_bidirectional_echoes_everything() {
    for spec in ["unlimited", "2M", "2M,rtt=100ms", "unlimited,rtt=100ms", "10M/1M,rtt=5ms"] {
        let link = link(spec);
        let (mut stream, mut origin) = pair(&link, 1);
        let meter = stream.meter();
        let (mut middle, client) = duplex(1000);
        tokio::spawn(async move {
            let (mut read, mut write) = split(&mut origin);
            tokio::io::copy(&mut read, &mut write).await.unwrap();
            write.shutdown().await.unwrap();
        });
        tokio::spawn(async move { copy_bidirectional(&mut middle, &mut stream).await.unwrap() });
        let body = pattern(300_000);
        let (mut read, mut write) = split(client);
        let sent = body.clone();
        tokio::spawn(async move {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        });
        let mut echoed = Vec::new();
        timeout(Duration::from_secs(60), read.read_to_end(&mut echoed)).await.unwrap().unwrap();
        assert!(echoed == body, "{spec}: {} of {}", echoed.len(), body.len());
        assert_eq!((meter.up(), meter.down()), (300_000, 300_000), "{spec}");
    }
}

/// The answer is awaited by a task that only reads, after a write that nobody flushes.
#[tokio::test(start_paused = true)]
async fn reading_alone_drives_what_was_written() {
    for spec in ["100k", "100k,rtt=80ms", "unlimited,rtt=80ms"] {
        let link = link(spec);
        // A far stream so narrow that writing to it blocks again and again.
        let (near, mut origin) = duplex(16);
        let mut stream = link.wrap(near, ClientKey(1));
        let echo = async {
            let mut request = [0; 200];
            origin.read_exact(&mut request).await.unwrap();
            origin.write_all(&request[..50]).await.unwrap();
        };
        let ask = async {
            assert_eq!(stream.write(&[9; 200]).await.unwrap(), 200);
            let mut response = [0; 50];
            stream.read_exact(&mut response).await.unwrap();
        };
        timeout(Duration::from_secs(5), async { tokio::join!(echo, ask) }).await.expect(spec);
    }
}

/// The reader gives up while the writer still waits: what the reader waited for must wake the writer as well.
#[tokio::test(start_paused = true)]
async fn a_reader_that_gives_up_leaves_the_writer_awake() {
    for spec in ["100k", "100k,rtt=80ms", "unlimited,rtt=80ms"] {
        let link = link(spec);
        let (near, mut origin) = duplex(16);
        let (mut read, mut write) = split(link.wrap(near, ClientKey(1)));
        let writer = tokio::spawn(async move {
            write.write_all(&[1; 20_000]).await.unwrap();
            write.flush().await.unwrap();
        });
        let reader = tokio::spawn(async move {
            let mut byte = [0];
            for _ in 0..50 {
                let _ = timeout(Duration::from_millis(3), read.read(&mut byte)).await;
            }
            sleep(Duration::from_secs(1000)).await;
        });
        let mut request = vec![0; 20_000];
        timeout(Duration::from_secs(60), origin.read_exact(&mut request)).await.expect(spec).unwrap();
        writer.await.unwrap();
        reader.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn flush_means_written_to_the_far_stream() {
    let link = link("80k");
    let (mut stream, origin) = pair(&link, 1);
    let start = Instant::now();
    stream.write_all(&[1; 10_000]).await.unwrap();
    assert!(stream.meter().up() < 10_000);
    stream.flush().await.unwrap();
    assert_eq!(stream.meter().up(), 10_000);
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    drop(origin);
}

#[tokio::test(start_paused = true)]
async fn dropping_a_stream_gives_back_what_has_not_crossed() {
    let link = link("8k");
    let (mut stream, mut origin) = pair(&link, 1);
    origin.write_all(&[1; 256]).await.unwrap();
    let mut body = [0; 256];
    let _ = timeout(Duration::from_millis(10), stream.read(&mut body)).await;
    assert_eq!(link.snapshot().down.backlog, 256);
    assert_eq!(link.snapshot().down.queueing_delay, Some(Duration::from_millis(246)));
    drop(stream);
    // The packet that was crossing is still on its way; the rest is withdrawn.
    assert_eq!((link.snapshot().down.backlog, link.snapshot().flows), (128, 0));
    sleep(Duration::from_secs(1)).await;
    assert_eq!((link.snapshot().down.backlog, link.usage().down), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_far_stream_that_refuses_bytes_is_reported_and_stays_refused() {
    let link = link("80k");
    let (mut stream, origin) = pair(&link, 1);
    drop(origin);
    stream.write_all(&[1; 200]).await.unwrap();
    assert!(stream.flush().await.is_err());
    assert!(stream.write(&[1]).await.is_err());
    assert_eq!((stream.meter().up(), link.snapshot().up.backlog), (0, 0));
    link.set(LinkSpec::default());
    assert!(stream.write(&[1]).await.is_err());
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

#[tokio::test(start_paused = true)]
async fn the_link_is_freed_with_its_last_handle() {
    let link = link("8k");
    let (mut stream, mut origin) = pair(&link, 1);
    let meter = stream.meter();
    origin.write_all(&[1; 100]).await.unwrap();
    let mut body = [0; 100];
    stream.read_exact(&mut body).await.unwrap();
    drop((stream, link, origin));
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
    assert_eq!(meter.down(), 100);
    meter.assign(ClientKey(9));
}
