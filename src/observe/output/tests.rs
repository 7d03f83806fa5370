//! Tests of `output`, on files of their own and on a device that is always full.

use flate2::read::GzDecoder;
use std::io::Read as _;

use linkio::ByteCount;

use super::*;

struct Stand {
    folder: tempfile::TempDir,
    clock: Clock,
    lost: Arc<Lost>,
}

impl Stand {
    fn new() -> Self {
        let (folder, clock) = (tempfile::tempdir().expect("a folder"), Clock::manual());
        Self { folder, clock, lost: Arc::default() }
    }

    fn open(&self, size: u64, age: u64) -> Output {
        let rotation = Rotation {
            size: (size > 0).then_some(ByteCount(size)),
            age: (age > 0).then(|| Duration::from_secs(age)),
            keep: 3,
        };
        let path = self.folder.path().join("a.log");
        Output::open(Some(&path), rotation, self.lost.clone(), self.clock.clone()).expect("a file")
    }

    /// The lines of all files, the oldest first, each file behind its name.
    fn read(&self) -> String {
        let mut all = String::new();
        for name in ["a.log.3.gz", "a.log.2.gz", "a.log.1.gz", "a.log.2", "a.log.1", "a.log"] {
            let Ok(mut file) = File::open(self.folder.path().join(name)) else { continue };
            let mut text = String::new();
            let read = match name.ends_with(".gz") {
                true => GzDecoder::new(file).read_to_string(&mut text),
                false => file.read_to_string(&mut text),
            };
            read.expect("text");
            all += &format!("{name}: {}; ", text.replace('\n', " ").trim_end());
        }
        all
    }
}

#[test]
fn a_file_that_would_be_too_long_is_set_aside_and_compressed_when_there_is_time() {
    let stand = Stand::new();
    let mut output = stand.open(8, 0);
    for line in ["one\n", "two\n", "three\n", "four\n", "five\n"] {
        output.write(line);
    }
    output.flush();
    assert_eq!(stand.read(), "a.log.2: three; a.log.1: four; a.log: five; ");
    while output.compress_a_little() {}
    assert_eq!(stand.read(), "a.log.3.gz: one two; a.log.2.gz: three; a.log.1.gz: four; a.log: five; ");
    output.write("sixth\n");
    output.close();
    assert_eq!(stand.read(), "a.log.3.gz: three; a.log.2.gz: four; a.log.1: five; a.log: sixth; ");
}

#[test]
fn a_file_that_is_old_enough_is_set_aside_with_the_next_line() {
    let stand = Stand::new();
    let mut output = stand.open(0, 60);
    stand.clock.advance(Duration::from_secs(90));
    output.write("one\n");
    output.flush();
    stand.clock.advance(Duration::from_secs(59));
    output.write("two\n");
    output.flush();
    assert_eq!(stand.read(), "a.log: one two; ", "an empty file has no age");
    stand.clock.advance(Duration::from_secs(1));
    output.write("three\n");
    output.close();
    assert_eq!(stand.read(), "a.log.1: one two; a.log: three; ");
}

#[test]
fn what_a_process_left_is_finished_by_the_next() {
    let stand = Stand::new();
    let mut output = stand.open(4, 0);
    output.write("one\n");
    output.flush();
    output.write("two\n");
    assert!(output.compress_a_little(), "begun");
    output.flush();
    // As if it were killed: the part is left.
    let part = stand.folder.path().join("a.log.1.gz.part");
    drop(output);
    std::fs::write(&part, "half").expect("written");
    let mut output = stand.open(4, 0);
    assert!(!part.exists());
    while output.compress_a_little() {}
    assert_eq!(stand.read(), "a.log.1.gz: one; a.log: two; ");
}

#[test]
fn the_file_is_followed_when_somebody_else_sets_it_aside() {
    let stand = Stand::new();
    let (mut old, mut new) = (stand.open(8, 0), stand.open(8, 0));
    old.write("one\n");
    old.flush();
    new.write("two\n");
    new.flush();
    new.write("three\n");
    new.flush();
    old.write("four\n");
    old.close();
    new.close();
    assert_eq!(stand.read(), "a.log.1: one two; a.log: three four; ");
}

#[test]
fn lines_without_room_are_counted_and_the_others_written_later() {
    let stand = Stand::new();
    let mut output = stand.open(0, 0);
    let To::File(open) = &mut output.to else { panic!("a file") };
    // On it every write fails as on a full disk.
    open.file = OpenOptions::new().write(true).open("/dev/full").expect("a device");
    let line = format!("{}\n", "x".repeat(1023));
    (0..70).for_each(|_| output.write(&line));
    assert_eq!((stand.lost.so_far(), output.failing), (6, true));
    output.reopen();
    output.write("last\n");
    assert_eq!(output.buffer, b"last\n", "what waited was written");
    output.close();
    let text = std::fs::read_to_string(stand.folder.path().join("a.log")).expect("a log");
    assert_eq!((text.lines().count(), text.ends_with("last\n"), stand.lost.so_far()), (65, true, 6));
}
