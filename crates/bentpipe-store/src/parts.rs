//! A body of which parts are held: pieces that are kept, and spools of what is arriving.
//!
//! Owns the arithmetic of what is held and what is missing, in bytes of the whole body (RFC 9111 §3.3, §3.4). It does
//! not fetch and does not decide which parts belong together: whoever adds one has compared the validators.

use std::ops::Range;
use std::sync::Arc;

use crate::record::Kept;
use crate::spool::Spool;

/// No body has more pieces than this; the shortest goes. Hostile ranges must not eat the memory.
const MOST_PIECES: usize = 256;
/// What is arriving comes soon enough for a reader this far ahead of it; further on, it is sooner fetched. Bytes.
const SOON: u64 = 256 * 1024;

/// Bytes of a body that are kept: those from `at` on of what `kept` holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Piece {
    /// The position in the body of the first byte.
    pub(crate) first: u64,
    /// How many bytes there are; never zero.
    pub(crate) length: u64,
    /// The position of the first byte in `kept`.
    pub(crate) at: u64,
    /// Where they are.
    pub(crate) kept: Arc<Kept>,
}

/// Bytes of a body that are arriving.
#[derive(Clone)]
pub(crate) struct Coming {
    /// The position in the body of the spool's first byte.
    pub(crate) first: u64,
    /// The position behind the last byte that was promised, if an end was.
    pub(crate) end: Option<u64>,
    pub(crate) spool: Arc<Spool>,
}

/// What is held of a body.
#[derive(Default)]
pub(crate) struct Parts {
    /// The length of the whole body in bytes, where it is known.
    pub(crate) complete_length: Option<u64>,
    /// In order; none overlaps another.
    pieces: Vec<Piece>,
    /// At most a handful.
    coming: Vec<Coming>,
}

/// Where the byte at some position is.
pub(crate) enum Spot {
    /// Kept.
    Piece(Piece),
    /// In a spool, or to come there.
    Coming(Coming),
    /// Nowhere; the next byte that is held, if any, is at this position.
    Hole(Option<u64>),
    /// Behind the end of the body.
    End,
}

impl Piece {
    /// The position behind the last byte.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.length
    }

    /// The bytes of it that lie in `range`, which must overlap it.
    fn within(&self, range: &Range<u64>) -> Self {
        let (first, end) = (self.first.max(range.start), self.end().min(range.end));
        Self { first, length: end - first, at: self.at + (first - self.first), kept: Arc::clone(&self.kept) }
    }
}

impl Coming {
    /// Whether the byte at `position` is here or will be.
    fn covers(&self, position: u64) -> bool {
        let end = match self.spool.is_open() {
            true => self.end.unwrap_or(u64::MAX),
            // What it promised and did not bring will not come.
            false => self.first + self.spool.arrived(),
        };
        // What is not stored any more is passed on to those who follow it, and kept for nobody else.
        (self.first..end).contains(&position) && self.spool.refusal().is_none()
    }

    /// Whether the byte at `position` is here or will be soon.
    fn brings_soon(&self, position: u64) -> bool {
        self.covers(position) && position - self.first <= self.spool.arrived() + SOON
    }
}

impl Parts {
    /// Nothing held.
    pub(crate) fn new(complete_length: Option<u64>) -> Self {
        Self { complete_length, ..Self::default() }
    }

    /// The pieces, in order.
    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Adds what of `piece` is not held yet.
    pub(crate) fn add(&mut self, piece: &Piece) {
        let mut first = piece.first;
        let mut added = Vec::new();
        for held in &self.pieces {
            if held.first > first && first < piece.end() {
                added.push(piece.within(&(first..held.first.min(piece.end()))));
            }
            first = first.max(held.end());
        }
        if first < piece.end() {
            added.push(piece.within(&(first..piece.end())));
        }
        self.pieces.extend(added);
        self.pieces.sort_unstable_by_key(|piece| piece.first);
        while self.pieces.len() > MOST_PIECES {
            let shortest = self.pieces.iter().enumerate().min_by_key(|(_, piece)| piece.length);
            let Some((shortest, _)) = shortest else { break };
            self.pieces.remove(shortest);
        }
    }

    /// What `old` holds is in `new`, too, and read from there from now on.
    pub(crate) fn replace(&mut self, old: &Arc<Kept>, new: &Arc<Kept>) {
        let pieces = self.pieces.iter_mut();
        pieces.filter(|piece| Arc::ptr_eq(&piece.kept, old)).for_each(|piece| piece.kept = Arc::clone(new));
    }

    /// Takes away the bytes of `kept` that lie in `lost`, which is in positions of `kept`.
    pub(crate) fn lose(&mut self, kept: &Arc<Kept>, lost: &Range<u64>) {
        let before = std::mem::take(&mut self.pieces);
        for piece in before {
            if !Arc::ptr_eq(&piece.kept, kept) {
                self.pieces.push(piece);
                continue;
            }
            let held = piece.at..piece.at + piece.length;
            for rest in [held.start..held.end.min(lost.start), held.start.max(lost.end)..held.end] {
                if rest.start < rest.end {
                    let first = piece.first + (rest.start - piece.at);
                    let (length, at) = (rest.end - rest.start, rest.start);
                    self.pieces.push(Piece { first, length, at, kept: Arc::clone(kept) });
                }
            }
        }
    }

    /// A spool that brings bytes from `coming.first` on.
    pub(crate) fn expect(&mut self, coming: Coming) {
        self.coming.push(coming);
    }

    /// The spool brings no more, and what it brought is a piece or lost.
    pub(crate) fn detach(&mut self, spool: &Arc<Spool>) {
        self.coming.retain(|coming| !Arc::ptr_eq(&coming.spool, spool));
    }

    /// Whether anything is arriving.
    pub(crate) fn is_arriving(&self) -> bool {
        self.coming.iter().any(|coming| coming.spool.is_open())
    }

    /// Whether some spool has not been taken account of yet.
    pub(crate) fn is_unsettled(&self) -> bool {
        !self.coming.is_empty()
    }

    /// Where the byte at `position` is.
    pub(crate) fn at(&self, position: u64) -> Spot {
        if self.complete_length.is_some_and(|length| position >= length) {
            return Spot::End;
        }
        let after = self.pieces.partition_point(|piece| piece.first <= position);
        let piece = after.checked_sub(1).and_then(|index| self.pieces.get(index));
        if let Some(piece) = piece.filter(|piece| position < piece.end()) {
            return Spot::Piece(piece.clone());
        }
        // Of two that bring it, the one that began nearer to it brings it sooner.
        let coming = self.coming.iter().filter(|coming| coming.covers(position));
        if let Some(coming) = coming.max_by_key(|coming| coming.first) {
            return Spot::Coming(coming.clone());
        }
        let next_piece = self.pieces.get(after).map(|piece| piece.first);
        let next_coming =
            self.coming.iter().map(|coming| coming.first).filter(|first| *first > position).min();
        Spot::Hole(next_piece.into_iter().chain(next_coming).min())
    }

    /// What is arriving of `range`.
    pub(crate) fn coming(&self, range: &Range<u64>) -> impl Iterator<Item = &Coming> {
        let (start, end) = (range.start, range.end);
        let begins = move |coming: &&Coming| coming.first < end;
        self.coming.iter().filter(begins).filter(move |coming| coming.end.is_none_or(|end| end > start))
    }

    /// The first bytes of `range` that are neither held nor about to arrive. A hole behind which nothing is held ends with
    /// `range`.
    pub(crate) fn hole(&self, range: &Range<u64>) -> Option<Range<u64>> {
        let mut position = range.start;
        while position < range.end {
            position = match self.at(position) {
                Spot::Piece(piece) => piece.end(),
                Spot::Coming(coming) if coming.brings_soon(position) => coming.end?,
                Spot::Coming(Coming { end, .. }) => {
                    return Some(position..end.unwrap_or(u64::MAX).min(range.end));
                }
                Spot::End => return None,
                Spot::Hole(next) => {
                    let end = next.or(self.complete_length).unwrap_or(u64::MAX).min(range.end);
                    return Some(position..end);
                }
            };
        }
        None
    }

    /// All the missing bytes around `position`, which must be one of them.
    pub(crate) fn gap(&self, position: u64) -> Range<u64> {
        let pieces = self.pieces.iter().map(|piece| (piece.first, piece.end()));
        let coming = self.coming.iter().map(|coming| (coming.first, coming.first + coming.spool.arrived()));
        let before = pieces.chain(coming).filter(|(first, _)| *first <= position).map(|(_, end)| end).max();
        let start = before.unwrap_or(0).min(position);
        self.hole(&(position..u64::MAX)).map_or(start..position, |hole| start..hole.end)
    }

    /// How many bytes are held or have arrived.
    pub(crate) fn held(&self) -> u64 {
        let kept: u64 = self.pieces.iter().map(|piece| piece.length).sum();
        kept + self.coming.iter().map(|coming| coming.spool.arrived()).sum::<u64>()
    }

    /// Whether the pieces are the whole body.
    pub(crate) fn is_whole(&self) -> bool {
        let end = self.pieces.iter().try_fold(0, |end, piece| (piece.first == end).then(|| piece.end()));
        end.is_some() && end == self.complete_length
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn piece(first: u64, length: u64) -> Piece {
        let kept = Arc::new(Kept::Inline(Bytes::from(vec![0; length as usize])));
        Piece { first, length, at: 0, kept }
    }

    fn parts(length: u64, pieces: &[(u64, u64)]) -> Parts {
        let mut parts = Parts::new(Some(length));
        pieces.iter().for_each(|(first, length)| parts.add(&piece(*first, *length)));
        parts
    }

    fn ranges(parts: &Parts) -> Vec<Range<u64>> {
        parts.pieces().iter().map(|piece| piece.first..piece.end()).collect()
    }

    #[test]
    fn only_what_is_missing_is_added() {
        let mut held = parts(100, &[(10, 10), (30, 10)]);
        held.add(&piece(5, 40));
        assert_eq!(ranges(&held), [5..10, 10..20, 20..30, 30..40, 40..45]);
        let (between, behind) = (&held.pieces()[2], &held.pieces()[4]);
        assert_eq!((between.at, between.length, behind.at), (15, 10, 35));
        held.add(&piece(12, 3));
        assert_eq!(held.pieces().len(), 5);
    }

    #[test]
    fn a_hole_is_what_lies_between() {
        let held = parts(100, &[(10, 10), (30, 10)]);
        for (range, hole) in [
            (0..100, Some(0..10)),
            (10..20, None),
            (10..100, Some(20..30)),
            (35..100, Some(40..100)),
            (25..28, Some(25..28)),
            (12..15, None),
        ] {
            assert_eq!(held.hole(&range), hole, "{range:?}");
        }
        assert_eq!(Parts::new(None).hole(&(0..u64::MAX)), Some(0..u64::MAX));
    }

    #[test]
    fn what_is_lost_is_a_hole_again() {
        let mut held = parts(100, &[(0, 100)]);
        let kept = Arc::clone(&held.pieces()[0].kept);
        assert!(held.is_whole());
        held.lose(&kept, &(40..60));
        assert_eq!((ranges(&held), held.is_whole()), (vec![0..40, 60..100], false));
        assert_eq!(held.pieces()[1].at, 60);
        held.lose(&kept, &(0..100));
        assert!(held.pieces().is_empty());
    }

    #[test]
    fn the_number_of_pieces_is_bounded() {
        let mut held = Parts::new(None);
        for number in 0..10 * MOST_PIECES as u64 {
            held.add(&piece(10 * number, 2));
        }
        assert_eq!(held.pieces().len(), MOST_PIECES);
    }

    proptest! {
        #[test]
        fn every_byte_is_held_at_most_once(
            added in prop::collection::vec((0u64..60, 1u64..20), 0..12), asked in 0u64..60, length in 1u64..20,
        ) {
            let held = parts(80, &added);
            let is_held = |position| added.iter().any(|(first, length)| (*first..first + length).contains(&position));
            for position in 0..80 {
                let found = held.pieces().iter().filter(|piece| (piece.first..piece.end()).contains(&position)).count();
                prop_assert_eq!(found, usize::from(is_held(position)));
            }
            let missing: Vec<_> = (asked..asked + length).filter(|position| !is_held(*position)).collect();
            let hole = held.hole(&(asked..asked + length));
            prop_assert_eq!(hole.as_ref().map(|hole| hole.start), missing.first().copied());
            if let Some(hole) = hole {
                prop_assert!(hole.clone().all(|position| !is_held(position)));
                prop_assert!(hole.end == asked + length || is_held(hole.end));
            }
        }
    }
}
