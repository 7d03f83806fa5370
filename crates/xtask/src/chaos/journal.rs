//! Index files that are torn, altered, missing, of another version or from the future: bentpipe starts, what stands
//! before the damage is still there, and no answer is wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use super::Bench;
use super::files::{append, before, copy, cut, flip};
use super::random::Random;
use super::row::Row;
use super::stand::{Stand, Tally, names, why};

/// Longer than what is answered stays unwritten.
const SETTLE: Duration = Duration::from_millis(2_200);

/// A cache folder as a stopped bentpipe left it.
struct Template {
    folder: PathBuf,
    /// Everything that is stored in it.
    paths: Vec<String>,
    /// The index file that is to be damaged.
    file: String,
    /// What does not stand in that file.
    elsewhere: Vec<String>,
}

/// One damage.
struct Case {
    name: String,
    damage: Damage,
    /// What stands before it survives.
    keeps_before: usize,
}

/// What is done to the index file.
enum Damage {
    Cut(usize),
    Flip(usize, u8),
    Append(Vec<u8>),
    Replace(Vec<u8>),
    Delete,
    MakeFolder,
    AddFile(&'static str, Vec<u8>),
    AddFolder(&'static str),
}

/// What the cases showed.
#[derive(Default)]
struct Seen {
    cases: usize,
    expected: usize,
    tally: Tally,
    lost: Vec<String>,
    unhealed: Vec<String>,
    not_started: Vec<String>,
}

/// Runs the cases.
///
/// # Errors
/// When the undamaged cache cannot be made.
pub(super) async fn run(bench: &Bench) -> anyhow::Result<Row> {
    let mut random = bench.random("journal");
    let mut row = Row::new("journal");
    let mut stand = Stand::new(bench).await?;
    let templates = templates(&mut stand).await?;
    let repeats = if bench.short { 2 } else { 30 };
    let mut seen = Seen::default();
    for (turn, template) in templates.iter().enumerate() {
        let length = fs::read(template.folder.join(&template.file))?.len();
        let cases = cases(length, repeats, &mut random).into_iter().enumerate();
        // Short of time, each template has every third of them, and another third than the others.
        let due = |number: &usize| !bench.short || (number + turn).is_multiple_of(3);
        for (_, case) in cases.filter(|(number, _)| due(number)) {
            try_case(&mut stand, template, &case, &mut seen).await?;
        }
    }
    row.figure(format!("{} damages", seen.cases));
    seen.tally.report(&mut row);
    row.none_of("starts that failed", &seen.not_started);
    row.goal(format!("{} entries stood before a damage", seen.expected), "some", seen.expected > 0);
    row.none_of("lost of those", &seen.lost);
    row.none_of("not kept afterwards", &seen.unhealed);
    stand.report_panics(&mut row);
    Ok(row)
}

/// A journal alone, a snapshot alone, and a journal after a snapshot.
async fn templates(stand: &mut Stand) -> anyhow::Result<Vec<Template>> {
    let journalled = fill(stand, "j").await?;
    let journal = stand.own()?.join("template-journal");
    copy(&stand.folder, &journal)?;
    let program = stand.start().await?;
    stand.terminate(program).await?;
    let snapshot = stand.own()?.join("template-snapshot");
    copy(&stand.folder, &snapshot)?;
    let later = fill(stand, "k").await?;
    let both = stand.own()?.join("template-both");
    copy(&stand.folder, &both)?;
    let newest = |folder: &Path| {
        let mut journals: Vec<_> =
            names(folder).into_iter().filter(|name| name.starts_with("journal-")).collect();
        journals
            .sort_by_key(|name| fs::metadata(folder.join(name)).map(|found| found.len()).unwrap_or_default());
        journals.pop().context("a killed bentpipe left no journal")
    };
    Ok(vec![
        Template {
            file: newest(&journal)?,
            folder: journal,
            paths: journalled.clone(),
            elsewhere: Vec::new(),
        },
        Template {
            file: "snapshot".into(),
            folder: snapshot,
            paths: journalled.clone(),
            elsewhere: Vec::new(),
        },
        Template {
            file: newest(&both)?,
            folder: both,
            paths: [journalled.clone(), later].concat(),
            elsewhere: journalled,
        },
    ])
}

/// Stores a few objects, one after the other, and kills bentpipe once they are written down.
async fn fill(stand: &mut Stand, prefix: &str) -> anyhow::Result<Vec<String>> {
    let program = stand.start().await?;
    let asker = stand.asker(&program);
    let lengths = [700, 9_000, 90_000].into_iter().cycle();
    let paths: Vec<_> =
        lengths.take(12).enumerate().map(|(n, length)| format!("/{length}/{prefix}{n:02}x")).collect();
    for path in &paths {
        asker.ask(path).await;
    }
    tokio::time::sleep(SETTLE).await;
    stand.kill(program)?;
    Ok(paths)
}

fn cases(length: usize, repeats: usize, random: &mut Random) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: String, keeps_before, damage| cases.push(Case { name, damage, keeps_before });
    for missing in [1, 3, 8, 12, 13, 14, 60].into_iter().filter(|missing| *missing < length) {
        add(format!("{missing} bytes cut off"), length - missing, Damage::Cut(length - missing));
    }
    for left in [0, 1, 4, 5, 12] {
        add(format!("cut to {left} bytes"), left, Damage::Cut(left));
    }
    for _ in 0..repeats {
        let place = random.within(0..length);
        add(format!("cut to {place} bytes"), place, Damage::Cut(place));
        let (place, bit) = (random.within(0..length), random.within(0..8));
        add(format!("bit {bit} of byte {place} altered"), place, Damage::Flip(place, 1 << bit));
    }
    add("another version".into(), 0, Damage::Flip(4, 0x7f));
    let huge = [&(63_u32 << 20).to_le_bytes()[..], &random.bytes(70)].concat();
    let endings = [random.bytes(100), vec![0; 4096], vec![0xff; 64], huge, vec![1]];
    for (number, bytes) in endings.into_iter().enumerate() {
        add(format!("garbage {number} appended"), length, Damage::Append(bytes));
    }
    add("all garbage".into(), 0, Damage::Replace(random.bytes(length)));
    add("all zeros".into(), 0, Damage::Replace(vec![0; length]));
    add("missing".into(), 0, Damage::Delete);
    add("a folder".into(), 0, Damage::MakeFolder);
    for name in ["journal-999999", "journal-18446744073709551614", "journal-18446744073709551615"] {
        add(format!("{name} of garbage added"), length, Damage::AddFile(name, random.bytes(50)));
        add(format!("{name} added, empty"), length, Damage::AddFile(name, Vec::new()));
    }
    for name in ["journal-007", "journal-+5", "journal--1", "journal-", "snapshot.new"] {
        add(format!("{name} added"), length, Damage::AddFile(name, random.bytes(50)));
        add(format!("{name} added, a folder"), length, Damage::AddFolder(name));
    }
    cases
}

async fn try_case(
    stand: &mut Stand,
    template: &Template,
    case: &Case,
    seen: &mut Seen,
) -> anyhow::Result<()> {
    let label = format!("{}: {}", template.file, case.name);
    copy(&template.folder, &stand.folder)?;
    let file = stand.folder.join(&template.file);
    let bytes = fs::read(&file)?;
    let mut expected = before(&bytes, &template.paths, case.keeps_before);
    expected.extend(
        template.elsewhere.iter().filter(|path| !expected.contains(path)).cloned().collect::<Vec<_>>(),
    );
    case.damage.apply(&stand.folder, &file)?;
    seen.cases += 1;
    seen.expected += expected.len();
    let program = match stand.start().await {
        Ok(program) => program,
        Err(error) => {
            seen.not_started.push(format!("{label}: {}", why(&error)));
            return Ok(());
        }
    };
    let first = stand.asker(&program).ask_all(&template.paths).await;
    if let Some(lost) = expected.iter().find(|path| !first.hits.contains(path)) {
        seen.lost.push(format!(
            "{label}: {lost} and {} more",
            expected.len() - first.hits.len().min(expected.len())
        ));
    }
    stand.terminate(program).await?;
    // What was repaired must be so for good.
    match stand.start().await {
        Ok(program) => {
            let second = stand.asker(&program).ask_all(&template.paths).await;
            if second.hits.len() < template.paths.len() {
                seen.unhealed.push(format!("{label}: {} of {}", second.hits.len(), template.paths.len()));
            }
            stand.kill(program)?;
            seen.tally = std::mem::take(&mut seen.tally).merge(second.labelled(&label));
        }
        Err(error) => seen.not_started.push(format!("{label}, second start: {}", why(&error))),
    }
    seen.tally = std::mem::take(&mut seen.tally).merge(first.labelled(&label));
    Ok(())
}

impl Damage {
    fn apply(&self, folder: &Path, file: &Path) -> std::io::Result<()> {
        match self {
            Self::Cut(length) => cut(file, *length),
            Self::Flip(place, bits) => flip(file, *place, *bits),
            Self::Append(bytes) => append(file, bytes),
            Self::Replace(bytes) => fs::write(file, bytes),
            Self::Delete => fs::remove_file(file),
            Self::MakeFolder => fs::remove_file(file).and_then(|()| fs::create_dir(file)),
            Self::AddFile(name, bytes) => fs::write(folder.join(name), bytes),
            Self::AddFolder(name) => fs::create_dir(folder.join(name)),
        }
    }
}
