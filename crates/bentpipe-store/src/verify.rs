//! Reading everything stored and checking it: blocks against the record, the whole against its digest.
//!
//! Owns the walk, a step at a time, so that who takes the steps decides how fast it goes. It reads the files themselves,
//! not what memory holds of them. A body that left the index while it was read is no damage. What is found damaged is
//! reported, and dropped or marked as missing only where that was asked for.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use crate::blocks::{Digest, Fingerprint, Fingerprinter, Stretch};
use crate::content::Content;
use crate::error::Error;
use crate::holding::{Holding, Place};
use crate::record::Kept;
use crate::shelf::Shelf;

/// A check of everything that was stored when it was begun.
pub struct Verification {
    shelf: Arc<Shelf>,
    repair: bool,
    to_check: VecDeque<Arc<Holding>>,
    /// What is left of the stored response that is checked now.
    contents: Vec<(Arc<Holding>, Arc<Kept>)>,
    reading: Option<Reading>,
    /// What is known of a content, which several may share.
    known: HashMap<Digest, Vec<Range<u64>>>,
}

/// What one step of a [`Verification`] did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// Bytes read from the disk.
    pub bytes: u64,
    /// Stored responses that are left to check.
    pub left: usize,
    /// What was found.
    pub damage: Option<Damage>,
}

/// A stored response whose body is not what was stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// What it is stored under.
    pub key: String,
    /// Bytes that are lost, in blocks.
    pub lost: u64,
    /// The length of the body, or of the piece of it, in bytes.
    pub of: u64,
    /// What became of it.
    pub remedy: Remedy,
}

/// What became of something damaged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Remedy {
    /// Nothing: no repair was asked for. Whoever asks for it will find the same and heal it.
    Left,
    /// It is no longer stored.
    Dropped,
    /// The lost blocks are fetched when somebody asks for them.
    MarkedMissing,
}

/// A content file that is being read.
struct Reading {
    holding: Arc<Holding>,
    kept: Arc<Kept>,
    print: Fingerprint,
    file: File,
    position: u64,
    whole: Fingerprinter,
    lost: Vec<Range<u64>>,
}

impl Verification {
    pub(crate) fn new(shelf: Arc<Shelf>, repair: bool) -> Self {
        let listed = shelf.listed(|_| true);
        let to_check = listed.iter().map(|listed| Arc::clone(listed.stored.holding())).collect();
        Self { shelf, repair, to_check, contents: Vec::new(), reading: None, known: HashMap::new() }
    }

    /// How many stored responses are left to check.
    pub fn left(&self) -> usize {
        self.to_check.len()
    }

    /// Reads on, by 256 KiB at most; `None` at the end, or when the store was closed. Waits for the disk.
    ///
    /// # Errors
    /// A file cannot be opened for a reason that is not its own, as when there are no more descriptors. It is passed
    /// over by the next step.
    pub fn step(&mut self) -> Result<Option<Verified>, Error> {
        if !self.shelf.is_open() {
            return Ok(None);
        }
        if self.reading.is_none() {
            match self.begin()? {
                Begun::Nothing => return Ok(None),
                Begun::Known(bytes, damage) => return Ok(Some(self.verified(bytes, damage))),
                Begun::Reading(reading) => self.reading = Some(*reading),
            }
        }
        let Some(mut reading) = self.reading.take() else { return Ok(None) };
        let bytes = reading.read_on();
        if reading.position < reading.print.length {
            self.reading = Some(reading);
            return Ok(Some(self.verified(bytes, None)));
        }
        let Reading { holding, kept, print, lost, .. } = reading.finish();
        self.known.insert(print.digest, lost.clone());
        let damage = self.judge(&holding, &kept, &lost);
        Ok(Some(self.verified(bytes, damage)))
    }

    fn verified(&self, bytes: u64, damage: Option<Damage>) -> Verified {
        Verified { bytes, left: self.left(), damage }
    }

    /// Takes up the next content.
    fn begin(&mut self) -> Result<Begun, Error> {
        loop {
            let Some((holding, kept)) = self.contents.pop() else {
                let Some(holding) = self.to_check.pop_front() else { return Ok(Begun::Nothing) };
                self.contents = contents(&holding);
                if self.contents.is_empty() {
                    // What is in the index is checked when that is read.
                    return Ok(Begun::Known(0, None));
                }
                continue;
            };
            let print = match &*kept {
                Kept::Inline(_) => continue,
                Kept::Small(small) => {
                    let lost = match self.shelf.home.bundles.read(small) {
                        Ok(_) => Vec::new(),
                        Err(Error::Damaged) => all_of(kept.length()),
                        Err(error) => return Err(error),
                    };
                    let damage = self.judge(&holding, &kept, &lost);
                    return Ok(Begun::Known(kept.length(), damage));
                }
                Kept::Content(print) => print,
            };
            if let Some(lost) = self.known.get(&print.digest).cloned() {
                return Ok(Begun::Known(0, self.judge(&holding, &kept, &lost)));
            }
            let print = print.clone();
            let file = open(&self.shelf.home.content, &print)?;
            let Some(file) = file else {
                let lost = all_of(print.length);
                let damage = self.judge(&holding, &kept, &lost);
                self.known.insert(print.digest, lost);
                return Ok(Begun::Known(0, damage));
            };
            let whole = Fingerprinter::new();
            let reading = Reading { holding, kept, print, file, position: 0, whole, lost: Vec::new() };
            return Ok(Begun::Reading(Box::new(reading)));
        }
    }

    /// Reports what is `lost`, if anything is, and does about it what was asked for.
    fn judge(&self, holding: &Arc<Holding>, kept: &Arc<Kept>, lost: &[Range<u64>]) -> Option<Damage> {
        if lost.is_empty() || !self.is_indexed(holding) {
            return None;
        }
        // What is known to be missing was reported when it was found.
        let held = held(holding, kept);
        let is_held =
            |lost: &&Range<u64>| held.iter().any(|held| lost.start < held.end && held.start < lost.end);
        let lost: Vec<_> = lost.iter().filter(is_held).cloned().collect();
        if lost.is_empty() {
            return None;
        }
        let remedy = if self.repair {
            lost.iter().for_each(|lost| holding.found_damaged(kept, lost));
            if holding.is_damaged() { Remedy::Dropped } else { Remedy::MarkedMissing }
        } else {
            Remedy::Left
        };
        let bytes = lost.iter().map(|lost| lost.end.min(kept.length()).saturating_sub(lost.start)).sum();
        Some(Damage { key: holding.key.as_str().to_owned(), lost: bytes, of: kept.length(), remedy })
    }

    fn is_indexed(&self, holding: &Holding) -> bool {
        let found = self.shelf.index.lookup(&holding.key);
        found.iter().any(|other| other.id == holding.id)
    }
}

enum Begun {
    Nothing,
    /// Nothing needs to be read.
    Known(u64, Option<Damage>),
    Reading(Box<Reading>),
}

impl Reading {
    /// Reads the next blocks and returns how many bytes that were.
    fn read_on(&mut self) -> u64 {
        let (position, length) = (self.position, self.print.length);
        let Some(stretch) = Stretch::at(position, length, length, &self.print.sums) else {
            self.position = length;
            return 0;
        };
        match stretch.read(&self.file, position, length) {
            Ok(bytes) => {
                self.whole.update(&bytes);
                self.position += bytes.len() as u64;
            }
            Err(_) => {
                let damage = stretch.damage(&self.file, self.print.length, &self.print.sums);
                // Blocks before it are fine and blocks behind it are looked at next.
                self.position = damage.end.min(length).max(position + 1);
                self.lost.push(damage);
            }
        }
        self.position - position
    }

    /// What the whole says: blocks that are as the record says, in a file that is not, are a record that is wrong.
    fn finish(mut self) -> Self {
        let whole = std::mem::replace(&mut self.whole, Fingerprinter::new()).finish();
        if self.lost.is_empty() && whole.digest != self.print.digest {
            self.lost = all_of(self.print.length);
        }
        self
    }
}

/// What a stored response has on disk, each once.
fn contents(holding: &Arc<Holding>) -> Vec<(Arc<Holding>, Arc<Kept>)> {
    let kept: Vec<Arc<Kept>> = holding.with(|place| place.kept().cloned().collect());
    let mut contents: Vec<(Arc<Holding>, Arc<Kept>)> = Vec::new();
    for kept in kept.into_iter().filter(|kept| !matches!(**kept, Kept::Inline(_))) {
        if !contents.iter().any(|(_, other)| Arc::ptr_eq(other, &kept)) {
            contents.push((Arc::clone(holding), kept));
        }
    }
    contents
}

fn all_of(length: u64) -> Vec<Range<u64>> {
    std::iter::once(0..length).collect()
}

/// The bytes of `kept` that are part of a stored response's body now.
fn held(holding: &Holding, kept: &Arc<Kept>) -> Vec<Range<u64>> {
    let is_it = |other: &Arc<Kept>| Arc::ptr_eq(other, kept);
    holding.with(|place| match place {
        Place::Kept(other) if is_it(other) => all_of(kept.length()),
        Place::Arriving(_) | Place::Kept(_) => Vec::new(),
        Place::Parts(parts) => {
            let pieces = parts.pieces().iter().filter(|piece| is_it(&piece.kept));
            pieces.map(|piece| piece.at..piece.at + piece.length).collect()
        }
    })
}

/// The content file; `None` when there is none.
fn open(content: &Content, print: &Fingerprint) -> Result<Option<File>, Error> {
    match content.open(&print.digest) {
        Ok(file) => Ok(Some(file)),
        Err(Error::Damaged) => Ok(None),
        Err(error) => Err(error),
    }
}
