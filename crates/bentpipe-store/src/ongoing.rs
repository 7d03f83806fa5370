//! What is arriving: how it is shown, noted in the journal, and taken up after a restart.
//!
//! Owns the list of what is arriving, so that exactly one of its writer, its writer's end and the end of the store deals
//! with it. What becomes of the bytes is `keeping`'s. The list is locked before the index and never inside of it.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use rfc9111::{CacheKey, StoredResponse};

use crate::error::Error;
use crate::head::Packed;
use crate::holding::{Holding, Place};
use crate::locked::lock;
use crate::parts::{Coming, Parts, Piece};
use crate::pen::Pen;
use crate::record::{Change, Kept, RestoredSpool, Spooling};
use crate::shelf::{Shelf, find};
use crate::spool::Spool;
use crate::stored::Stored;

/// Something that is arriving.
#[derive(Clone)]
pub(crate) struct Ongoing {
    /// The number of its spool.
    pub(crate) id: u64,
    pub(crate) holding: Arc<Holding>,
    /// The position in the body of the spool's first byte.
    pub(crate) first: u64,
    pub(crate) spool: Arc<Spool>,
    /// How many blocks of the temporary file the journal knows; none while it does not know the file.
    noted: Option<usize>,
}

impl Ongoing {
    /// The journal is told of so many blocks of the temporary file.
    pub(crate) fn note(&mut self, blocks: usize) {
        self.noted = Some(blocks);
    }
}

impl Shelf {
    /// Shows a response of which bytes are about to arrive: from its beginning, or those that `part` says.
    pub(crate) fn arrive(
        &self,
        key: CacheKey,
        head: StoredResponse,
        spool: Arc<Spool>,
        part: Option<(Range<u64>, u64)>,
    ) -> (Ongoing, Arc<Stored>) {
        let first = part.as_ref().map_or(0, |(range, _)| range.start);
        let packed = Packed::new(&head);
        // Where parts can be fetched by themselves, a client may ask for what is far behind the bytes that arrive.
        let length = spool.length().filter(|length| packed.is_mendable() && *length > 0);
        let place = match part.or(length.map(|length| (0..length, length))) {
            None => Place::Arriving(Arc::clone(&spool)),
            Some((range, complete_length)) => {
                let mut parts = Parts::new(Some(complete_length));
                let (first, end) = (range.start, Some(range.end));
                parts.expect(Coming { first, end, spool: Arc::clone(&spool) });
                Place::Parts(Box::new(parts))
            }
        };
        let holding = Holding::new(self.next_id(), key, Arc::clone(&self.home), packed.clone(), place);
        let holding = Arc::new(holding);
        self.index.change(&holding.key, |responses| responses.push(Arc::clone(&holding)));
        let stored = match spool.length().is_some_and(Self::is_short) {
            true => Stored::briefly(head, packed, Arc::clone(&holding)),
            false => Stored::new(head, packed, Arc::clone(&holding)),
        };
        let stored = Arc::new(stored);
        (self.begin(holding, first, spool), stored)
    }

    /// More of a body that is held in part is about to arrive: its bytes from `first` to the one before `end`. Where all
    /// of it is held by now, they are not taken.
    pub(crate) fn fill(
        &self,
        holding: &Arc<Holding>,
        (first, end): (u64, Option<u64>),
        complete_length: Option<u64>,
        spool: Arc<Spool>,
    ) -> Option<Ongoing> {
        holding.put(|place| match place {
            Place::Parts(parts) => {
                parts.expect(Coming { first, end, spool: Arc::clone(&spool) });
                parts.complete_length = parts.complete_length.or(complete_length);
                Some(())
            }
            Place::Arriving(_) | Place::Kept(_) => None,
        })?;
        Some(self.begin(Arc::clone(holding), first, spool))
    }

    /// The temporary file of what was arriving is of no use any more.
    pub(crate) fn forget(&self, ongoing: &Ongoing) {
        if ongoing.noted.is_some() {
            self.append(&Change::Drop { id: ongoing.id });
        }
    }

    /// What is arriving is nobody else's to end from now on; `None` when somebody took it before.
    pub(crate) fn take_ongoing(&self, id: u64) -> Option<Ongoing> {
        lock(&self.ongoing).remove(&id)
    }

    /// Everything that is arriving.
    pub(crate) fn all_ongoing(&self) -> Vec<u64> {
        lock(&self.ongoing).keys().copied().collect()
    }

    /// Notes how much of a large body is in its temporary file, so that a kill does not lose it.
    pub(crate) fn note_progress(&self, id: u64) {
        let mut ongoing = lock(&self.ongoing);
        let Some(ongoing) = ongoing.get_mut(&id).filter(|ongoing| ongoing.holding.is_mendable()) else {
            return;
        };
        let (known, sums) = {
            let state = ongoing.spool.state();
            let known = ongoing.noted.unwrap_or(0);
            if state.disk.sums.len() == known {
                return;
            }
            (known, state.disk.sums[known..].to_vec())
        };
        let blocks = known + sums.len();
        let noted = match ongoing.noted {
            Some(_) => self.append(&Change::Spooled { spool: id, known: known as u64, sums }).is_some(),
            None => self.write_spooling(ongoing, |change| self.append(change).map(drop)).is_some(),
        };
        if noted {
            ongoing.noted = Some(blocks);
            // What the journal knows of it has to be taken back when it leaves the index.
            ongoing.holding.written();
        }
    }

    /// Writes down everything that is arriving and known to the journal, for a snapshot.
    pub(crate) fn write_ongoing(
        &self,
        mut write: impl FnMut(&Change<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        for ongoing in lock(&self.ongoing).values().filter(|ongoing| ongoing.noted.is_some()) {
            self.write_spooling(ongoing, |change| Some(write(change))).transpose()?;
        }
        Ok(())
    }

    /// Takes up what an earlier process was writing when it ended. Waits for the disk.
    pub(crate) fn adopt(&self, spooling: &RestoredSpool) {
        let adopted = self.adopt_file(spooling);
        if let Err(error) = adopted {
            tracing::debug!(%error, key = spooling.key.as_str(), "an interrupted download is not taken up");
        }
        self.append(&Change::Drop { id: spooling.spool });
    }

    fn begin(&self, holding: Arc<Holding>, first: u64, spool: Arc<Spool>) -> Ongoing {
        let id = self.next_id();
        let ongoing = Ongoing { id, holding, first, spool, noted: None };
        lock(&self.ongoing).insert(id, ongoing.clone());
        // Looked at after it is listed: whoever gives the folder up sets this before it goes through the list.
        if self.has_renounced() {
            ongoing.spool.pass_on();
        }
        ongoing
    }

    fn write_spooling<R>(
        &self,
        ongoing: &Ongoing,
        write: impl FnOnce(&Change<'_>) -> Option<R>,
    ) -> Option<R> {
        let holding = &ongoing.holding;
        find(&self.index.lookup(&holding.key), holding.id)?;
        let head = holding.head();
        let complete_length = holding.length();
        let state = ongoing.spool.state();
        write(&Change::Spooling(Spooling {
            spool: ongoing.id,
            id: holding.id,
            key: holding.key.as_str(),
            head: head.as_bytes(),
            first: ongoing.first,
            complete_length,
            file: state.disk.name.as_deref()?,
            sums: state.disk.sums.clone(),
        }))
    }

    fn adopt_file(&self, spooling: &RestoredSpool) -> Result<(), Error> {
        let content = &self.home.content;
        let Some(pen) = Pen::adopt(content, &spooling.file, &spooling.sums)? else { return Ok(()) };
        let (source, fingerprint) = pen.finish().into_source();
        self.placed(source, &fingerprint.clone(), || {
            let (first, length) = (spooling.first, fingerprint.length);
            let piece = Piece { first, length, at: 0, kept: Arc::new(Kept::Content(fingerprint)) };
            let found = self.index.lookup(&spooling.key);
            let holding = match find(&found, spooling.id) {
                Some(place) => Arc::clone(&found[place]),
                None => {
                    let mut parts = Parts::new(spooling.complete_length);
                    // Nobody is to find it with nothing in it.
                    parts.add(&piece);
                    let place = Place::Parts(Box::new(parts));
                    let (key, home) = (spooling.key.clone(), Arc::clone(&self.home));
                    let holding = Holding::new(spooling.id, key, home, spooling.head.clone(), place);
                    let holding = Arc::new(holding);
                    self.index.change(&holding.key, |responses| responses.push(Arc::clone(&holding)));
                    holding
                }
            };
            holding.put(|place| {
                if let Place::Parts(parts) = place {
                    parts.add(&piece);
                }
            });
            self.rewrite(&holding);
            self.note_if_whole(&holding);
            Ok(())
        })
    }
}
