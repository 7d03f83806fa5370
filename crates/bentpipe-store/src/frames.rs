//! The frames in which the durable index is written: versioned, checksummed, one for each change.
//!
//! Owns the bytes of a frame: its length, a version, the change (postcard) and an xxh3 of all of that. It knows nothing
//! of what a change means. What does not parse is told from what is damaged only as far as the reader needs: nothing
//! after a cut can be trusted in a journal.

use std::io::{ErrorKind, Read};

use crate::blocks::xxh3_64;
use crate::record::Change;

/// Changes when a frame of the old form can no longer be read. Another version is an empty cache.
const VERSION: u8 = 3;
/// Length (4) and version (1) before the change, checksum (8) after it.
const OVERHEAD: usize = 4 + 1 + 8;
/// No record is larger; a length beyond this is garbage, not a reason to allocate.
const LARGEST: usize = 64 << 20;
/// What is read of a file at once, in bytes: little enough to stay in the processor's cache.
const AT_ONCE: usize = 1 << 18;

/// Appends the frame of `change` to `frames` and returns its size in bytes.
pub(crate) fn write(change: &Change<'_>, frames: &mut Vec<u8>) -> u64 {
    let start = frames.len();
    frames.extend_from_slice(&[0; 4]);
    frames.push(VERSION);
    // Serializing plain data into memory does not fail; were it to, the change would be one that is not written.
    if postcard::to_io(change, &mut *frames).is_err() {
        frames.truncate(start);
        return 0;
    }
    let payload = u32::try_from(frames.len() - start - 5).unwrap_or(u32::MAX);
    frames[start..start + 4].copy_from_slice(&payload.to_le_bytes());
    let sum = xxh3_64(&frames[start..]);
    frames.extend_from_slice(&sum.to_le_bytes());
    (frames.len() - start) as u64
}

/// The changes in `frames`, in order, each with the size of its frame.
pub(crate) struct Changes<'a> {
    frames: &'a [u8],
    after_damage: AfterDamage,
    is_over: bool,
}

/// What a reader does behind a frame that is damaged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterDamage {
    /// Cut: in a journal each change may depend on the one before.
    Cut,
    /// Go on: the records of a snapshot stand alone.
    Skip,
}

impl<'a> Changes<'a> {
    /// Reads `frames`.
    pub(crate) fn new(frames: &'a [u8], after_damage: AfterDamage) -> Self {
        Self { frames, after_damage, is_over: false }
    }
}

impl<'a> Iterator for Changes<'a> {
    type Item = (Change<'a>, u64);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.is_over {
                return None;
            }
            let payload = u32::from_le_bytes(*self.frames.first_chunk()?) as usize;
            if payload > LARGEST {
                self.is_over = true;
                return None;
            }
            let (frame, rest) = self.frames.split_at_checked(payload + OVERHEAD)?;
            self.frames = rest;
            if let Some(change) = parse(frame) {
                return Some((change, frame.len() as u64));
            }
            self.is_over = self.after_damage == AfterDamage::Cut;
        }
    }
}

fn parse(frame: &[u8]) -> Option<Change<'_>> {
    let (summed, sum) = frame.split_last_chunk()?;
    if xxh3_64(summed) != u64::from_le_bytes(*sum) || summed[4] != VERSION {
        return None;
    }
    postcard::from_bytes(&summed[5..]).ok()
}

/// Shows every change in `source` to `each`, with the size of its frame, and returns how many bytes were read. A source
/// that fails ends there: what was read is good.
pub(crate) fn read(source: impl Read, after_damage: AfterDamage, each: impl FnMut(Change<'_>, u64)) -> u64 {
    read_in(source, AT_ONCE, after_damage, each)
}

fn read_in(
    mut source: impl Read,
    at_once: usize,
    after_damage: AfterDamage,
    mut each: impl FnMut(Change<'_>, u64),
) -> u64 {
    let (mut buffer, mut filled, mut total) = (vec![0; at_once], 0, 0);
    let mut is_over = false;
    loop {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => return total,
            Ok(length) => (filled, total) = (filled + length, total + length as u64),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return total,
        }
        if is_over {
            filled = 0;
            continue;
        }
        let mut changes = Changes::new(&buffer[..filled], after_damage);
        changes.by_ref().for_each(|(change, size)| each(change, size));
        is_over = changes.is_over;
        let rest = changes.frames.len();
        buffer.copy_within(filled - rest..filled, 0);
        filled = rest;
        if filled == buffer.len() {
            // One frame is longer than the buffer; it is no longer than the longest.
            buffer.resize(2 * filled, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn changes(frames: &[u8], after: AfterDamage) -> Vec<u64> {
        let ids = Changes::new(frames, after).map(|(change, _)| match change {
            Change::Drop { id } => id,
            other => panic!("{other:?} was never written"),
        });
        ids.collect()
    }

    fn drops() -> Vec<u8> {
        let mut frames = Vec::new();
        for id in 0..5 {
            write(&Change::Drop { id }, &mut frames);
        }
        frames
    }

    #[test]
    fn behind_a_damaged_frame_a_journal_is_cut_and_a_snapshot_goes_on() {
        let mut frames = drops();
        let size = frames.len() / 5;
        frames[2 * size + 6] ^= 1;
        assert_eq!(changes(&frames, AfterDamage::Cut), [0, 1]);
        assert_eq!(changes(&frames, AfterDamage::Skip), [0, 1, 3, 4]);
    }

    #[test]
    fn another_version_is_nothing() {
        let mut frames = Vec::new();
        let size = write(&Change::Drop { id: 1 }, &mut frames) as usize;
        frames[4] = VERSION + 1;
        let sum = xxh3_64(&frames[..size - 8]);
        frames[size - 8..].copy_from_slice(&sum.to_le_bytes());
        assert!(changes(&frames, AfterDamage::Cut).is_empty());
    }

    proptest! {
        #[test]
        fn a_torn_tail_is_cut(cut in 0usize..200) {
            let frames = drops();
            let cut = cut.min(frames.len());
            let whole = cut / (frames.len() / 5);
            prop_assert_eq!(changes(&frames[..cut], AfterDamage::Cut), (0..whole as u64).collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>, flip in any::<prop::sample::Index>()) {
            prop_assert_eq!(Changes::new(&bytes, AfterDamage::Skip).count(), 0);
            let mut frames = drops();
            let flip = flip.index(frames.len());
            frames[flip] ^= 0x10;
            prop_assert!(changes(&frames, AfterDamage::Cut).len() <= 4);
        }

        #[test]
        fn a_file_is_read_like_a_slice(sizes in prop::collection::vec(0usize..3000, 0..20), damage: prop::sample::Index) {
            let mut frames = Vec::new();
            for (id, size) in sizes.iter().enumerate() {
                write(&Change::Freshen { id: id as u64, head: &vec![7; *size] }, &mut frames);
            }
            let damage = damage.index(frames.len() + 1);
            frames.iter_mut().skip(damage).take(1).for_each(|byte| *byte ^= 1);
            for after in [AfterDamage::Cut, AfterDamage::Skip] {
                let sliced: Vec<_> = Changes::new(&frames, after).map(|(change, size)| (format!("{change:?}"), size)).collect();
                let mut read = Vec::new();
                let bytes = read_in(&frames[..], 64, after, |change, size| read.push((format!("{change:?}"), size)));
                prop_assert_eq!(&read, &sliced);
                prop_assert_eq!(bytes, frames.len() as u64);
            }
        }
    }
}
