//! Tests of `content`.

use super::*;
use crate::blocks::Fingerprinter;

fn digest(body: &[u8]) -> Digest {
    let mut fingerprinter = Fingerprinter::new();
    fingerprinter.update(body);
    fingerprinter.finish().digest
}

fn content() -> (tempfile::TempDir, Content) {
    let folder = tempfile::tempdir().unwrap();
    let content = Content::new(folder.path(), true);
    content.sweep_temporary(&[]).unwrap();
    (folder, content)
}

#[test]
fn our_path_is_where_cacache_writes() {
    let (folder, content) = content();
    cacache::write_hash_sync(folder.path(), b"written by cacache").unwrap();
    let read = fs::read(content.path(&digest(b"written by cacache"))).unwrap();
    assert_eq!(read, b"written by cacache");
}

#[test]
fn cacache_reads_what_was_renamed_and_what_was_written() {
    let (folder, content) = content();
    let (temporary, mut file) = content.temporary().unwrap();
    io::Write::write_all(&mut file, b"spooled").unwrap();
    content.place(Source::File(temporary), &digest(b"spooled"), || ()).unwrap();
    let body = Bytes::from_static(b"in memory");
    content.place(Source::Memory(body), &digest(b"in memory"), || ()).unwrap();
    for body in ["spooled", "in memory"] {
        let integrity = Integrity::from(body);
        assert_eq!(cacache::read_hash_sync(folder.path(), &integrity).unwrap(), body.as_bytes());
    }
    content.sync().unwrap();
    assert_eq!(names(&folder.path().join("tmp")).count(), 0);
}

#[test]
fn a_recovery_finds_every_content_file() {
    let (_folder, content) = content();
    let digest = digest(b"body");
    content.place(Source::Memory(Bytes::from_static(b"body")), &digest, || ()).unwrap();
    let found: Vec<Digest> = (0..=255).flat_map(|first| content.beginning_with(first)).collect();
    assert_eq!(found, [digest]);
    content.remove(&digest, || false);
    assert!(content.open(&digest).is_ok());
    content.remove(&digest, || true);
    assert!(matches!(content.open(&digest), Err(Error::Damaged)));
    let sha256 = content.folder.join("content-v2/sha256");
    assert_eq!(names(&sha256).count(), 0, "its folders go with it");
}

#[test]
fn a_temporary_file_that_is_dropped_is_deleted() {
    let (folder, content) = content();
    drop(content.temporary().unwrap());
    fs::write(folder.path().join("tmp/left behind"), b"x").unwrap();
    content.sweep_temporary(&[]).unwrap();
    assert_eq!(names(&folder.path().join("tmp")).count(), 0);
}
