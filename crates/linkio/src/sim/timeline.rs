//! What crossed in each of equally long pieces of a run whose length is not known beforehand.
//!
//! Owns the counts. When there would be too many pieces, each two become one.

use std::time::Duration;

use crate::moment::Moment;

/// A chart needs no more pieces than a screen has columns.
const PIECES: usize = 1024;
/// The shortest piece: 1 ms.
const SHORTEST: u64 = 1_000_000;

/// Bytes by time, in pieces of a width that is a power of two of milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    width: u64,
    bytes: Vec<u64>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { width: SHORTEST, bytes: Vec::new() }
    }
}

impl Timeline {
    /// How long each piece is.
    pub fn width(&self) -> Duration {
        Duration::from_nanos(self.width)
    }

    /// The bytes of each piece from the start, at most 1024 of them; there are none after the last.
    pub fn bytes(&self) -> &[u64] {
        &self.bytes
    }

    /// Counts `bytes` at `now`.
    pub(super) fn add(&mut self, bytes: u64, now: Moment) {
        if let Some(piece) = self.piece(now) {
            *piece += bytes;
        }
    }

    /// Makes pieces up to the one of `end`.
    pub(super) fn reach(&mut self, end: Moment) {
        // A piece that would only begin at the end is empty.
        self.piece(end.before(Duration::from_nanos(1)));
    }

    fn piece(&mut self, now: Moment) -> Option<&mut u64> {
        loop {
            let index = usize::try_from(now.as_nanos() / self.width).unwrap_or(usize::MAX);
            if index < PIECES {
                if self.bytes.len() <= index {
                    self.bytes.resize(index + 1, 0);
                }
                return self.bytes.get_mut(index);
            }
            self.bytes = self.bytes.chunks(2).map(|pair| pair.iter().sum()).collect();
            self.width = self.width.saturating_mul(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn pieces_grow_and_lose_nothing() {
        let mut timeline = Timeline::default();
        for millis in [0, 1, 1, 3, 1023] {
            timeline.add(10, at(millis));
        }
        assert_eq!(
            (timeline.width(), &timeline.bytes()[..4]),
            (Duration::from_millis(1), &[10, 20, 0, 10][..])
        );
        timeline.add(10, at(5000));
        assert_eq!((timeline.width(), &timeline.bytes()[..2]), (Duration::from_millis(8), &[40, 0][..]));
        assert_eq!((timeline.bytes().iter().sum::<u64>(), timeline.bytes().len()), (60, 626));
        timeline.add(10, Moment::from_nanos(u64::MAX));
        assert_eq!(timeline.bytes().iter().sum::<u64>(), 70);
    }

    #[test]
    fn it_reaches_the_end_and_not_beyond() {
        let mut timeline = Timeline::default();
        timeline.reach(at(5));
        assert_eq!(timeline.bytes(), [0; 5]);
    }
}
