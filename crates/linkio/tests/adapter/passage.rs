//! Crossing in pieces: what is asked for arrives after rate and delay, and is counted.

use std::time::Duration;

use linkio::{ClientKey, Direction};
use tokio::time::Instant;

use super::link;

#[tokio::test(start_paused = true)]
async fn a_piece_crosses_at_the_rate_and_arrives_after_the_delay() {
    let link = link("80k/8k,rtt=200ms");
    let mut passage = link.passage(ClientKey(1));
    let start = Instant::now();
    passage.cross(Direction::Up, 100).await;
    assert_eq!(start.elapsed(), Duration::from_millis(200));
    passage.cross(Direction::Down, 20_000).await;
    assert_eq!(start.elapsed(), Duration::from_millis(200 + 2100));
    assert_eq!((link.usage().up, link.usage().down), (100, 20_000));
    assert_eq!((passage.meter().up(), passage.meter().down()), (100, 20_000));
    passage.cross(Direction::Down, 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_window_holds_a_piece_up_and_lets_it_go_on() {
    let link = link("unlimited,rtt=600ms,tcp=slow-start");
    let mut passage = link.passage(ClientKey(1));
    let start = Instant::now();
    passage.cross(Direction::Down, 14_480 * 3).await;
    assert_eq!(start.elapsed(), Duration::from_millis(900));
}

#[tokio::test(start_paused = true)]
async fn what_has_not_crossed_is_withdrawn() {
    let link = link("8k");
    let mut passage = link.passage(ClientKey(1));
    let crossed = tokio::time::timeout(Duration::from_secs(1), passage.cross(Direction::Down, 5000)).await;
    assert!(crossed.is_err());
    drop(passage);
    assert!(link.usage().down <= 1150, "{}", link.usage().down);
    assert_eq!(link.snapshot().flows, 0);
}
