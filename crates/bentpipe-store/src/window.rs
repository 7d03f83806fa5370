//! The bytes of an arriving body that are in memory: a run of chunks, as they arrived. Pure.
//!
//! Owns the chunks and what they cost. It does not decide what may leave it: the spool knows what is on disk and what
//! its followers still need.

use std::collections::VecDeque;

use bytes::Bytes;

/// Chunks shorter than this are copied together: a tiny one would pin the whole buffer it was read into.
const SMALL: usize = 1024;
/// Small chunks are gathered up to this length.
const GATHERED: usize = 16 * 1024;
/// What a chunk costs beyond its bytes.
const OVERHEAD: usize = 64;

/// A run of chunks of a body, beginning at some byte of it and ending at the last that arrived.
#[derive(Default)]
pub(crate) struct Window {
    chunks: VecDeque<Chunk>,
    cost: usize,
}

struct Chunk {
    start: u64,
    bytes: Bytes,
    gathered: bool,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    fn cost(&self) -> usize {
        self.bytes.len() + OVERHEAD
    }
}

impl Window {
    /// Adds `bytes`, which begin at byte `start` of the body and follow on what was added before.
    pub(crate) fn push(&mut self, start: u64, bytes: Bytes) {
        if bytes.len() >= SMALL {
            self.add(Chunk { start, bytes, gathered: false });
        } else if !self.gather(&bytes) {
            self.add(Chunk { start, bytes: Bytes::copy_from_slice(&bytes), gathered: true });
        }
    }

    /// The first chunk from byte `position` on, up to byte `end`; `None` when that byte is not here.
    pub(crate) fn at(&self, position: u64, end: u64) -> Option<Bytes> {
        let after = self.chunks.partition_point(|chunk| chunk.start <= position);
        let chunk = self.chunks.get(after.checked_sub(1)?)?;
        let until = chunk.end().min(end);
        if position >= until {
            return None;
        }
        // Both ends are within the chunk, whose length is a usize.
        let (from, to) = ((position - chunk.start) as usize, (until - chunk.start) as usize);
        Some(chunk.bytes.slice(from..to))
    }

    /// All chunks from byte `position` on.
    pub(crate) fn from(&self, position: u64) -> Vec<Bytes> {
        let first = self.chunks.partition_point(|chunk| chunk.end() <= position);
        let chunks = self.chunks.iter().skip(first);
        chunks.filter_map(|chunk| self.at(position.max(chunk.start), chunk.end())).collect()
    }

    /// Lets chunks go from the front while `may_go` says so of the byte after the chunk and the cost of the window.
    pub(crate) fn trim(&mut self, may_go: impl Fn(u64, usize) -> bool) {
        while let Some(front) = self.chunks.front()
            && may_go(front.end(), self.cost)
        {
            self.cost -= front.cost();
            self.chunks.pop_front();
        }
    }

    /// The memory it takes, in bytes.
    pub(crate) fn cost(&self) -> usize {
        self.cost
    }

    fn add(&mut self, chunk: Chunk) {
        self.cost += chunk.cost();
        self.chunks.push_back(chunk);
    }

    /// Appends to the last chunk if that is a gathered one which nobody is reading.
    fn gather(&mut self, bytes: &Bytes) -> bool {
        let Some(last) = self.chunks.back_mut() else { return false };
        if !last.gathered || last.bytes.len() + bytes.len() > GATHERED {
            return false;
        }
        match std::mem::take(&mut last.bytes).try_into_mut() {
            Ok(mut gathered) => {
                gathered.extend_from_slice(bytes);
                last.bytes = gathered.freeze();
                self.cost += bytes.len();
                true
            }
            Err(shared) => {
                last.bytes = shared;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(pieces: &[&'static [u8]]) -> Window {
        let mut window = Window::default();
        let mut start = 0;
        for piece in pieces {
            window.push(start, Bytes::from_static(piece));
            start += piece.len() as u64;
        }
        window
    }

    #[test]
    fn a_large_chunk_is_handed_on_as_it_came() {
        let arrived = Bytes::from(vec![7; SMALL]);
        let mut window = Window::default();
        window.push(0, arrived.clone());
        assert_eq!(window.at(0, u64::MAX).unwrap().as_ptr(), arrived.as_ptr());
    }

    #[test]
    fn small_chunks_share_one() {
        let window = window(&[b"a", b"b", b"c"]);
        assert_eq!(window.at(1, u64::MAX).unwrap(), "bc");
        assert_eq!(window.cost(), 3 + OVERHEAD);
    }

    #[test]
    fn a_chunk_that_is_being_read_does_not_change() {
        let mut window = window(&[b"a"]);
        let reading = window.at(0, u64::MAX).unwrap();
        window.push(1, Bytes::from_static(b"b"));
        assert_eq!(reading, "a");
        assert_eq!(window.at(1, u64::MAX).unwrap(), "b");
    }

    proptest! {
        #[test]
        fn every_byte_that_was_not_let_go_is_found(
            lengths in prop::collection::vec(1usize..3000, 1..40), limit in 0usize..40_000
        ) {
            let mut window = Window::default();
            let mut body = Vec::new();
            for length in lengths {
                let piece: Vec<u8> = (body.len()..body.len() + length).map(|i| (i % 251) as u8).collect();
                window.push(body.len() as u64, Bytes::from(piece.clone()));
                body.extend(piece);
            }
            window.trim(|_, cost| cost > limit);
            prop_assert!(window.cost() <= limit || window.cost() == 0);
            let first = window.chunks.front().map_or(body.len() as u64, |chunk| chunk.start);
            prop_assert_eq!(window.from(first).concat(), &body[first as usize..]);
            for position in first..body.len() as u64 {
                prop_assert_eq!(window.at(position, u64::MAX).unwrap()[0], body[position as usize]);
            }
            prop_assert!(first == 0 || window.at(first - 1, u64::MAX).is_none());
        }
    }
}
