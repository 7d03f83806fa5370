//! Clients that stop reading single responses of a connection on which others go on (RFC 9113 §5.2): what they hold is
//! given up in time, and nobody else waits for them.

use std::time::Duration;

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use testkit::reply::Reply;

use crate::intercept::{Scene, scene};
use crate::secure::Sender;

const PATIENCE: Duration = Duration::from_secs(20);

/// Responses over HTTP/2 that come, but for their heads, to nothing that is read.
async fn unread(scene: &Scene, client: &Sender, count: usize) -> Vec<Response<Incoming>> {
    let Sender::Two(sender) = client else { return Vec::new() };
    let endless = Reply::new(200).field("cache-control", "no-store").body(vec![b'x'; 8_000_000]);
    scene.origin.always("GET", "/endless", endless);
    let mut responses = Vec::new();
    for _ in 0..count {
        let mut sender = sender.clone();
        sender.ready().await.expect("room");
        let request = Request::get(format!("https://{}/endless", scene.authority()));
        let request = request.body(Full::<bytes::Bytes>::default()).expect("a request");
        responses.push(sender.send_request(request).await.expect("a head"));
    }
    responses
}

#[tokio::test]
async fn a_response_that_is_not_read_is_given_up_and_its_connection_goes_on() {
    let scene = scene(&["--set", "timeouts.client=800ms"]).await;
    let mut client = scene.client(&["h2"]).await;
    // Two fill their own windows, and leave the client's connection one for others.
    let responses = unread(&scene, &client, 2).await;
    assert_eq!(responses.len(), 2);
    scene.origin.always("GET", "/small", Reply::new(200).body("hello"));
    let given_up = async {
        while scene.origin.resets() < responses.len() {
            assert_eq!(&client.get(&scene.authority(), "/small").await.body()[..], b"hello");
        }
    };
    tokio::time::timeout(PATIENCE, given_up).await.expect("in time");
    for response in responses {
        let read = http_body_util::BodyExt::collect(response.into_body()).await;
        assert!(read.is_err(), "it broke off");
    }
}

#[tokio::test]
async fn those_who_do_not_read_hold_up_nobody_else() {
    let scene = scene(&[]).await;
    let client = scene.client(&["h2"]).await;
    let unread = unread(&scene, &client, 40).await;
    assert_eq!(unread.len(), 40);
    scene.origin.always("GET", "/large", Reply::new(200).body(vec![b'y'; 3_000_000]));
    let mut other = scene.client(&["h2"]).await;
    let large = tokio::time::timeout(PATIENCE, other.get(&scene.authority(), "/large")).await;
    assert_eq!(large.expect("in time").body().len(), 3_000_000);
}
