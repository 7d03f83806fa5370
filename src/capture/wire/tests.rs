//! Tests of `wire`: what a connection says, and what of it comes out of the queue.

use super::*;
use crate::capture::Asked;

fn wire(captures: &Captures) -> Wire {
    Wire::new(captures, IpAddr::from([127, 0, 0, 1]), Way::Plain)
}

fn asked(hosts: &[&str]) -> Asked {
    Asked { hosts: hosts.iter().map(ToString::to_string).collect(), ..Asked::default() }
}

fn say(wire: &Wire, text: &[u8]) {
    wire.read(text, || Some(7));
}

/// What came out: kinds and payloads, but for whose connection it is.
fn taken(frames: &crate::capture::queue::Frames) -> Vec<(Kind, String)> {
    let mut all = Vec::new();
    while let Ok(Some(frame)) = frames.next_now() {
        let text = String::from_utf8_lossy(&frame.payload).into_owned();
        all.push((frame.kind, if frame.kind == Kind::Opened { String::new() } else { text }));
    }
    all
}

#[test]
fn a_connection_is_captured_from_when_it_can_be_told_and_its_request_is_in_it() {
    let captures = Captures::default();
    let early = wire(&captures);
    say(&early, b"before");
    let (session, frames) = captures.begin(&asked(&["a.example"])).expect("a capture");
    let (mine, other) = (wire(&captures), wire(&captures));
    say(&mine, b"GET http://a.example/");
    say(&other, b"GET http://b.example/");
    mine.wrote(&[IoSlice::new(b"O"), IoSlice::new(b"K and more")], 3, || None);
    let ask = |wire: &Wire, target: &'static str| {
        let mut request = Request::get(target).body(()).expect("a request");
        wire.asked(&mut request);
        request.extensions().get::<Asker>().map(|asker| asker.number)
    };
    assert_eq!(ask(&mine, "http://a.example/"), Some(1));
    assert_eq!(ask(&other, "http://b.example/"), None);
    say(&mine, b"more");
    say(&other, b"more");
    mine.closed();
    other.closed();
    let opened = (Kind::Opened, String::new());
    let said =
        [(Kind::In, "GET http://a.example/"), (Kind::Out, "OK "), (Kind::In, "more"), (Kind::Closed, "")];
    let said = said.map(|(kind, text)| (kind, text.to_owned()));
    assert_eq!(taken(&frames), [vec![opened], said.to_vec()].concat());
    assert_eq!(session.held.load(Ordering::Relaxed), 0);
    captures.end(&session);
    say(&mine, b"too late");
    assert_eq!(taken(&frames), [(Kind::End, String::new())]);
}

#[test]
fn what_has_no_room_is_counted_and_said_before_what_follows() {
    let captures = Captures::default();
    let (session, frames) = captures.begin(&Asked::default()).expect("a capture");
    let wire = wire(&captures);
    let piece = vec![b'x'; 1024 * 1024];
    for _ in 0..70 {
        say(&wire, &piece);
    }
    let lost = session.ended().lost_bytes;
    assert!(lost >= 6 * piece.len() as u64, "{lost}");
    let before = taken(&frames);
    say(&wire, b"after");
    wire.closed();
    let after =
        [(Kind::LostIn, lost.to_string()), (Kind::In, "after".to_owned()), (Kind::Closed, String::new())];
    assert_eq!(taken(&frames), after);
    assert_eq!((before.len() as u64 - 1) * piece.len() as u64 + lost, 70 * piece.len() as u64);
}

#[test]
fn what_is_held_back_is_bounded_and_what_was_let_go_is_told() {
    let captures = Captures::default();
    let (session, frames) = captures.begin(&asked(&["a.example"])).expect("a capture");
    let wire = wire(&captures);
    for _ in 0..100 {
        say(&wire, &[b'x'; 1024]);
    }
    assert_eq!(session.held.load(Ordering::Relaxed), MOST_HELD);
    wire.asked(&mut Request::get("http://a.example/").body(()).expect("a request"));
    let opened = frames.next().expect("a beginning");
    let about: About = serde_json::from_slice(&opened.payload).expect("JSON");
    assert_eq!((about.before, about.port, about.joined), ([36 * 1024, 0], Some(7), false));
    assert_eq!(taken(&frames).len(), 64);
}

#[test]
fn there_is_one_capture_at_a_time() {
    let captures = Captures::default();
    let (session, _frames) = captures.begin(&Asked::default()).expect("a capture");
    assert!(captures.begin(&Asked::default()).is_err());
    captures.end(&session);
    let (second, _frames) = captures.begin(&Asked::default()).expect("a capture");
    captures.end(&session);
    assert!(captures.begin(&Asked::default()).is_err(), "the end of the first is not that of the second");
    captures.end(&second);
}
