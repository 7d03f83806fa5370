//! Tests of `files`: frames in, files out.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::*;

fn recorder(folder: &Path, most: u64) -> Recorder {
    let place =
        Place { folder: folder.to_owned(), most, shown: 1024, began: SystemTime::UNIX_EPOCH, har: true };
    Recorder::begin(place).expect("a folder")
}

fn frame(kind: Kind, number: u32, payload: &[u8]) -> Frame {
    Frame { kind, number, at: Duration::from_millis(5), payload: payload.to_vec() }
}

fn opened(number: u32) -> Frame {
    let seen = "what is on the wire".to_owned();
    let client = [127, 0, 0, 1].into();
    let about = About { client, port: Some(7), seen, joined: true, before: [0; 2] };
    frame(Kind::Opened, number, &serde_json::to_vec(&about).expect("JSON"))
}

#[test]
fn raw_streams_dump_and_har_are_written_for_their_owner_alone() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("capture");
    let mut recorder = recorder(&folder, u64::MAX);
    let entry = frame(Kind::Entry, 0, br#"{"n":1}"#);
    let said =
        [opened(1), frame(Kind::In, 1, b"GET"), frame(Kind::Out, 1, b"200"), frame(Kind::In, 1, b" /")];
    for frame in said.into_iter().chain([entry.clone(), frame(Kind::Note, 1, b"an end"), entry]) {
        assert_eq!(recorder.take(frame).expect("room"), None);
    }
    let told = recorder.take(frame(Kind::Closed, 1, b"")).expect("room");
    assert_eq!(told.as_deref(), Some("0001  127.0.0.1 port 7  5 bytes in, 3 bytes out"));
    let sum = recorder.end(Some(Ended::default())).expect("written");
    assert_eq!((sum.connections, sum.exchanges, sum.bytes), (1, 2, [5, 3]));
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect(name);
    assert_eq!((read("0001-client.in"), read("0001-client.out")), ("GET /".to_owned(), "200".to_owned()));
    let har: serde_json::Value = serde_json::from_str(&read("capture.har")).expect("JSON");
    assert_eq!((&har["log"]["version"], &har["log"]["entries"][1]["n"]), (&"1.2".into(), &1.into()));
    let dump = read("0001.txt");
    assert!(dump.contains("open before the capture") && dump.contains("an end"), "{dump}");
    let mode = |path: &Path| std::fs::metadata(path).expect("a file").permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for name in ["0001-client.in", "0001-client.out", "0001.txt", "capture.har"] {
        assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
    }
    let again =
        Recorder::begin(Place { folder, most: 1, shown: 1, began: SystemTime::UNIX_EPOCH, har: true });
    let said = again.err().expect("an error").to_string();
    assert!(said.ends_with(" has a capture in it already; name another folder with -o"), "{said}");
}

#[test]
fn a_folder_that_others_may_write_is_not_written_into() {
    let parent = tempfile::tempdir().expect("a folder");
    let begin = |folder: &Path| {
        let place =
            Place { folder: folder.to_owned(), most: 1, shown: 1, began: SystemTime::UNIX_EPOCH, har: true };
        Recorder::begin(place).map(|_| ()).map_err(|error| error.kind())
    };
    let (own, open, link) =
        (parent.path().join("own"), parent.path().join("open"), parent.path().join("link/"));
    for folder in [&own, &open] {
        std::fs::create_dir(folder).expect("a folder");
    }
    std::os::unix::fs::symlink(&own, parent.path().join("link")).expect("a link");
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o755)).expect("ours");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).expect("ours");
    let denied = Err(std::io::ErrorKind::PermissionDenied);
    assert_eq!((begin(&open), begin(&link), begin(&own)), (denied, denied, Ok(())));
}

#[test]
fn what_was_lost_is_a_hole_and_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut recorder = recorder(folder.path(), u64::MAX);
    for frame in
        [opened(1), frame(Kind::Out, 1, b"ab"), frame(Kind::LostOut, 1, b"3"), frame(Kind::Out, 1, b"c")]
    {
        recorder.take(frame).expect("room");
    }
    let sum = recorder.end(Some(Ended { lost_bytes: 3, ..Ended::default() })).expect("written");
    assert_eq!(std::fs::read(folder.path().join("0001-client.out")).expect("a stream"), b"ab\0\0\0c");
    let marks = std::fs::read_to_string(folder.path().join("0001-client.out.lost")).expect("marks");
    assert!(marks.starts_with("3 bytes from offset 2"), "{marks}");
    assert!(sum.to_string().contains(".lost: 3 bytes of connection 0001"), "{sum}");
}

#[test]
fn more_than_was_allowed_is_not_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut recorder = recorder(folder.path(), 1000);
    recorder.take(opened(1)).expect("room");
    recorder.take(frame(Kind::In, 1, &[0; 2000])).expect("room");
    assert!(matches!(recorder.take(frame(Kind::In, 1, b"more")), Err(Stopped::Full)));
}

#[test]
fn more_connections_than_open_files_are_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut recorder = recorder(folder.path(), u64::MAX);
    (1..=300).for_each(|number| drop(recorder.take(opened(number)).expect("room")));
    for text in ["one ", "two"] {
        (1..=300)
            .for_each(|number| drop(recorder.take(frame(Kind::In, number, text.as_bytes())).expect("room")));
    }
    recorder.end(None).expect("written");
    for number in [1, 150, 300] {
        let stream = std::fs::read(folder.path().join(raw_name(number, "in"))).expect("a stream");
        assert_eq!(stream, b"one two", "{number}");
    }
}
