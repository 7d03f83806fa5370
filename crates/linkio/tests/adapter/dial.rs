//! Connections that are being opened while the link changes.

use std::convert::Infallible;
use std::time::Duration;

use linkio::{ClientKey, LinkSpec};
use tokio::io::duplex;
use tokio::time::{Instant, sleep};

use super::link;

#[tokio::test(start_paused = true)]
async fn a_handshake_takes_a_round_trip_of_the_link_as_it_is() {
    let link = link("unlimited,rtt=10s");
    let start = Instant::now();
    let dial = async { Ok::<_, Infallible>(duplex(64).0) };
    let mended = async {
        sleep(Duration::from_secs(1)).await;
        link.set("unlimited,rtt=100ms".parse::<LinkSpec>().unwrap());
    };
    let (dialled, ()) = tokio::join!(link.connect(dial, ClientKey(1)), mended);
    dialled.unwrap();
    assert!(start.elapsed() <= Duration::from_millis(1060), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_handshake_waits_for_a_closed_link_to_open() {
    let link = link("1M,pass=1s/10s,rtt=100ms");
    sleep(Duration::from_secs(5)).await;
    let start = Instant::now();
    let dial = async { Ok::<_, Infallible>(duplex(64).0) };
    link.connect(dial, ClientKey(1)).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_millis(5100));
}
