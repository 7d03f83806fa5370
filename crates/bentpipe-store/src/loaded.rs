//! What the durable index says at start: its snapshot and the journals after it, read once, in order.
//!
//! Owns reading only. Nothing else of the folder is looked at: a start costs what the index is long, not what is stored.
//! What is torn, damaged or of another version is left out.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::blocks::to_usize;
use crate::bundles::Bundles;
use crate::frames::{self, AfterDamage};
use crate::head::Packed;
use crate::journal::{GENERATIONS, generation_of, journal_path};
use crate::record::{Change, Restored, RestoredSpool};
use crate::roll::Roll;

/// What the durable index says at start.
pub(crate) struct Loaded {
    /// Every stored response, by its id.
    pub(crate) restored: Roll<u64, Restored>,
    /// What was arriving.
    pub(crate) spooling: Vec<RestoredSpool>,
    /// The ids of what is pinned.
    pub(crate) pins: HashSet<u64>,
    /// Whether the last process closed the store in good order: no content is unaccounted for.
    pub(crate) clean: bool,
    /// Greater than every number in it.
    pub(crate) next_id: u64,
    pub(crate) next_generation: u64,
    pub(crate) journals: Vec<u64>,
    pub(crate) journal_bytes: u64,
    pub(crate) snapshot_bytes: u64,
    /// Whether it says what is not so any more.
    pub(crate) is_outdated: bool,
}

impl Loaded {
    /// Reads the durable index of `folder`, whose short bodies are in `bundles`. What is torn, damaged or of another version is left out: an answer with
    /// fewer stored responses, never an error.
    ///
    /// # Errors
    /// Only when the folder itself cannot be read.
    pub(crate) fn read(folder: &Path, bundles: &Bundles) -> io::Result<Self> {
        let mut found = Gathered::new(bundles);
        let snapshot_bytes = read_file(&folder.join("snapshot"), AfterDamage::Skip, &mut found);
        let (first, was_clean) = found.begin.unwrap_or((0, false));
        let mut journals = Vec::new();
        for entry in fs::read_dir(folder)? {
            journals.extend(entry?.file_name().to_str().and_then(generation_of));
        }
        journals.sort_unstable();
        let mut journal_bytes = 0;
        for generation in journals.iter().filter(|generation| **generation >= first) {
            journal_bytes += read_file(&journal_path(folder, *generation), AfterDamage::Cut, &mut found);
        }
        Ok(Self {
            next_id: found.next_id,
            restored: found.restored,
            spooling: found.spooling.into_values().collect(),
            pins: found.pins,
            clean: was_clean && journals.is_empty(),
            next_generation: journals.last().map_or(first, |last| first.max(last + 1)),
            journals,
            journal_bytes,
            snapshot_bytes,
            is_outdated: bundles.took_up(),
        })
    }
}

/// Takes up what a file says, which is nothing where there is none; returns its size in bytes.
fn read_file(path: &Path, after_damage: AfterDamage, found: &mut Gathered<'_>) -> u64 {
    let Ok(file) = File::open(path) else { return 0 };
    let is_snapshot = after_damage == AfterDamage::Skip;
    frames::read(file, after_damage, |change, size| match change {
        Change::Begin { generation, clean } => found.begin = Some((generation.min(GENERATIONS), clean)),
        // Without its first frame a snapshot does not say what comes after it.
        _ if is_snapshot && found.begin.is_none() => {}
        change => found.apply(change, size),
    })
}

/// What snapshot and journals say so far, by id.
struct Gathered<'a> {
    bundles: &'a Bundles,
    /// From the first frame of the snapshot: the first journal after it, and whether it is the last word.
    begin: Option<(u64, bool)>,
    next_id: u64,
    restored: Roll<u64, Restored>,
    spooling: HashMap<u64, RestoredSpool>,
    pins: HashSet<u64>,
}

impl<'a> Gathered<'a> {
    fn new(bundles: &'a Bundles) -> Self {
        Self {
            bundles,
            begin: None,
            next_id: 0,
            restored: Roll::default(),
            spooling: HashMap::new(),
            pins: HashSet::new(),
        }
    }

    fn apply(&mut self, change: Change<'_>, size: u64) {
        match change {
            Change::Begin { .. } => {}
            Change::Keep(record) => {
                if let Some(restored) = record.restore(size, self.bundles) {
                    self.seen(restored.id);
                    self.restored.insert(restored.id, restored);
                }
            }
            Change::Freshen { id, head } => {
                if let Some(restored) = self.restored.get_mut(&id) {
                    restored.head = Packed::from_bytes(head);
                }
            }
            Change::Use { id, uses, priority } => {
                if let Some(restored) = self.restored.get_mut(&id) {
                    restored.uses = uses;
                    restored.priority = priority;
                }
            }
            Change::Pin { id, pinned: true } => drop(self.pins.insert(id)),
            Change::Pin { id, pinned: false } => drop(self.pins.remove(&id)),
            Change::Drop { id } => {
                self.pins.remove(&id);
                self.restored.remove(&id);
                // What is no longer stored is not gone on with either.
                self.spooling.retain(|spool, spooling| *spool != id && spooling.id != id);
            }
            Change::Spooling(spooling) => {
                let restored = spooling.restore();
                self.seen(restored.id.max(restored.spool));
                self.spooling.insert(restored.spool, restored);
            }
            Change::Spooled { spool, known, sums } => {
                let spooling = self.spooling.get_mut(&spool);
                // What comes behind a gap says nothing of the bytes in it.
                if let Some(spooling) = spooling.filter(|spooling| known <= spooling.sums.len() as u64) {
                    spooling.sums.truncate(to_usize(known));
                    spooling.sums.extend(sums);
                }
            }
        }
    }

    fn seen(&mut self, id: u64) {
        self.next_id = self.next_id.max(id.saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::holding::Place;
    use crate::record::{Kept, Record, Spooling};

    fn folder(files: &[(&str, &[Change<'_>])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, changes) in files {
            let mut bytes = Vec::new();
            for change in *changes {
                frames::write(change, &mut bytes);
            }
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        folder
    }

    fn read(folder: &tempfile::TempDir) -> Loaded {
        Loaded::read(folder.path(), &Bundles::new(folder.path())).unwrap()
    }

    fn spooling(spool: u64) -> Change<'static> {
        let (key, head, file) = ("http://origin/a", &b""[..], "spool-1");
        let (first, complete_length, sums) = (0, None, Vec::new());
        Change::Spooling(Spooling { spool, id: spool - 1, key, head, first, complete_length, file, sums })
    }

    #[test]
    fn a_number_is_not_given_again_to_something_else() {
        let loaded = read(&folder(&[("journal-3", &[spooling(9)])]));
        assert_eq!((loaded.next_id, loaded.spooling.len(), loaded.next_generation), (10, 1, 4));
    }

    #[test]
    fn a_snapshot_that_does_not_say_what_comes_after_it_is_nothing() {
        let begin = || Change::Begin { generation: 4, clean: true };
        for (snapshot, clean, spooling) in
            [(&[begin(), spooling(2)][..], true, 1), (&[spooling(2)], false, 0), (&[], false, 0)]
        {
            let loaded = read(&folder(&[("snapshot", snapshot)]));
            assert_eq!((loaded.clean, loaded.spooling.len()), (clean, spooling));
        }
    }

    #[test]
    fn a_body_in_a_record_of_the_earlier_form_moves_to_a_bundle() {
        let (key, head) = (rfc9111::CacheKey::from_normal_form("http://origin/a"), Packed::from_bytes(b""));
        let place = Place::Kept(Arc::new(Kept::Inline(vec![7; 1000].into())));
        let begin = Change::Begin { generation: 0, clean: true };
        let record = Change::Keep(Record::new(1, &key, &head, &place).unwrap());
        let folder = folder(&[("snapshot", &[begin, record])]);
        for opens in [false, true] {
            let bundles = Bundles::new(folder.path());
            if opens {
                bundles.open();
            }
            let loaded = Loaded::read(folder.path(), &bundles).unwrap();
            assert_eq!((loaded.is_outdated, bundles.live()), (opens, if opens { 1000 } else { 0 }));
            let Place::Kept(kept) = &loaded.restored.get(&1).unwrap().place else { panic!("not kept") };
            match &**kept {
                Kept::Small(small) => assert_eq!(bundles.read(small).unwrap(), vec![7; 1000]),
                Kept::Inline(body) => assert!(!opens && *body == vec![7; 1000]),
                Kept::Content(_) => panic!("no content"),
            }
        }
    }

    #[test]
    fn a_journal_that_the_snapshot_contains_is_not_read() {
        let begin = Change::Begin { generation: 4, clean: false };
        let files =
            [("snapshot", &[begin][..]), ("journal-3", &[spooling(2)]), ("journal-4", &[spooling(5)])];
        let loaded = read(&folder(&files));
        assert_eq!(loaded.spooling.iter().map(|spooling| spooling.spool).collect::<Vec<_>>(), [5]);
    }
}
