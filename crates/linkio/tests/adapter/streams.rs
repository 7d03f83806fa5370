//! What a stream promises its caller: order, flushing, wake-ups, errors and an end.

use std::time::Duration;

use linkio::{ClientKey, LinkSpec};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional, duplex, split};
use tokio::time::{Instant, sleep, timeout};

use super::{link, pair, pattern};

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
