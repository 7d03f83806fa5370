//! Files and folders that do not belong into a cache folder, or stand where something else should: bentpipe starts and
//! every answer is right; what is stored survives, or can be stored again, wherever that is possible.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use super::Bench;
use super::files::copy;
use super::row::Row;
use super::stand::{Stand, Tally, names, why};

/// Longer than what is answered stays unwritten.
const SETTLE: Duration = Duration::from_millis(2_200);

/// One junk: what it is, and whether everything can be stored in spite of it.
type Case = (&'static str, bool, fn(&Path) -> io::Result<()>);

const CASES: [Case; 15] = [
    ("files and folders beside the index", true, |folder| {
        fs::write(folder.join("junk"), "junk")?;
        fs::write(folder.join(OsStr::from_bytes(b"\xff\xfe")), "junk")?;
        fs::create_dir_all(folder.join("folder/in/a/folder"))
    }),
    ("files in tmp", true, |folder| fs::write(folder.join("tmp/spool-1-1"), "junk")),
    ("a folder in tmp", true, |folder| fs::create_dir_all(folder.join("tmp/folder/in/a/folder"))),
    ("tmp is a file", true, |folder| replace_by_file(&folder.join("tmp"))),
    ("tmp is gone", true, |folder| fs::remove_dir_all(folder.join("tmp"))),
    ("junk among the contents", true, |folder| {
        let contents = folder.join("content-v2/sha256");
        fs::write(contents.join("junk"), "junk")?;
        fs::create_dir_all(contents.join("zz/zz/zz"))?;
        for first in names(&contents).iter().map(|name| contents.join(name)).filter(|path| path.is_dir()) {
            fs::write(first.join("junk"), "junk")?;
            fs::create_dir_all(first.join("00/00000000"))?;
        }
        Ok(())
    }),
    ("contents are gone", true, |folder| fs::remove_dir_all(folder.join("content-v2"))),
    ("contents are a file", false, |folder| replace_by_file(&folder.join("content-v2"))),
    ("the folder of a digest is a file", false, |folder| {
        let contents = folder.join("content-v2/sha256");
        names(&contents).iter().try_for_each(|name| replace_by_file(&contents.join(name)))
    }),
    ("the snapshot is a folder", true, |folder| replace_by_folder(&folder.join("snapshot"))),
    ("the snapshot is a full folder", true, |folder| {
        replace_by_folder(&folder.join("snapshot"))?;
        fs::write(folder.join("snapshot/junk"), "junk")
    }),
    ("the next snapshot is a folder", true, |folder| fs::create_dir_all(folder.join("snapshot.new/junk"))),
    ("the lock is gone", true, |folder| fs::remove_file(folder.join("lock"))),
    ("the lock is full of junk", true, |folder| fs::write(folder.join("lock"), "junk")),
    ("the lock is a folder", false, |folder| replace_by_folder(&folder.join("lock"))),
];

/// Runs the cases.
///
/// # Errors
/// When the cache without junk cannot be made.
pub(super) async fn run(bench: &Bench) -> anyhow::Result<Row> {
    let mut row = Row::new("junk");
    let mut stand = Stand::new(bench).await?;
    let paths: Vec<_> = (0..8).map(|n| format!("/{}/junk{n}", 1_000 + 30_000 * n)).collect();
    let program = stand.start().await?;
    stand.asker(&program).ask_all(&paths).await;
    tokio::time::sleep(SETTLE).await;
    stand.terminate(program).await?;
    let template = stand.own()?.join("template");
    copy(&stand.folder, &template)?;

    let (mut tally, mut not_started, mut not_kept) = (Tally::default(), Vec::new(), Vec::new());
    for (name, can_store, make) in CASES {
        copy(&template, &stand.folder)?;
        make(&stand.folder)?;
        // Once with the junk, and once more with what the first made of it.
        for start in ["first start", "second start"] {
            let program = match stand.start().await {
                Ok(program) => program,
                Err(error) => {
                    not_started.push(format!("{name}, {start}: {}", why(&error)));
                    break;
                }
            };
            let asker = stand.asker(&program);
            let first = asker.ask_all(&paths).await;
            let second = asker.ask_all(&paths).await;
            let hits = if start == "first start" { second.hits.len() } else { first.hits.len() };
            if can_store && hits < paths.len() {
                not_kept.push(format!("{name}, {start}: {hits} of {}", paths.len()));
            }
            tally = tally.merge(first.labelled(name)).merge(second.labelled(name));
            stand.terminate(program).await?;
        }
    }
    row.figure(format!("{} kinds of junk", CASES.len()));
    tally.report(&mut row);
    row.none_of("starts that failed", &not_started);
    row.none_of("not kept", &not_kept);
    stand.report_panics(&mut row);
    Ok(row)
}

fn replace_by_file(path: &Path) -> io::Result<()> {
    fs::remove_dir_all(path)?;
    fs::write(path, "junk")
}

fn replace_by_folder(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    fs::create_dir(path)
}
