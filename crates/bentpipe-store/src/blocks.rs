//! Fingerprints of bodies: one sha256 of the whole, one xxh3 for each block of 64 KiB.
//!
//! Owns how they are made while bytes arrive and how a block read back is checked. It does not decide what a
//! mismatch means. The digest names the content (it is cacache's address); the block checksums are what lets a reader
//! verify at memory speed exactly the part it is about to send.

use std::fs::File;
use std::hash::Hasher as _;
use std::io;
use std::mem;
use std::ops::{Deref, Range};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread};
use sha2::{Digest as _, Sha256};
use smallvec::SmallVec;
use twox_hash::XxHash3_64;
use twox_hash::xxhash3_64::{DEFAULT_SECRET_LENGTH, RawHasher, SecretBuffer};

/// Bytes covered by one checksum.
pub(crate) const BLOCK: u64 = 64 * 1024;

/// Blocks read from a file at once, 256 KiB: large enough that the hop to a blocking thread does not matter.
const READ_BLOCKS: u64 = 4;

/// The sha256 of a whole body: its address in the content store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct Digest(pub(crate) [u8; 32]);

/// What identifies a complete body on disk and lets every block of it be verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fingerprint {
    /// The sha256 of the whole.
    pub(crate) digest: Digest,
    /// The xxh3 of each block, in order; the last block may be short.
    pub(crate) sums: Sums,
    /// The complete length in bytes.
    pub(crate) length: u64,
}

/// The xxh3 of each block of a body. One block is the rule, so one needs no allocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Sums {
    /// Of a body of one block.
    One(u64),
    /// Of a body of none, or of more than one.
    Many(Box<[u64]>),
}

impl Deref for Sums {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        match self {
            Self::One(sum) => std::slice::from_ref(sum),
            Self::Many(sums) => sums,
        }
    }
}

impl From<Vec<u64>> for Sums {
    fn from(sums: Vec<u64>) -> Self {
        match sums[..] {
            [sum] => Self::One(sum),
            _ => Self::Many(sums.into()),
        }
    }
}

/// The xxh3 of bytes that come in pieces.
type Xxh3 = RawHasher<&'static [u8; DEFAULT_SECRET_LENGTH]>;

/// Makes a [`Fingerprint`] from bytes in order.
pub(crate) struct Fingerprinter {
    sha: Sha256,
    block: Xxh3,
    sums: Vec<u64>,
    length: u64,
}

impl Fingerprinter {
    /// Nothing seen yet.
    pub(crate) fn new() -> Self {
        Self { sha: Sha256::new(), block: xxh3(), sums: Vec::new(), length: 0 }
    }

    /// Takes the next bytes of the body.
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        self.sha.update(bytes);
        while !bytes.is_empty() {
            let left = BLOCK - self.length % BLOCK;
            let (now, later) = bytes.split_at(bytes.len().min(to_usize(left)));
            self.block.write(now);
            self.length += now.len() as u64;
            if self.length.is_multiple_of(BLOCK) {
                self.close_block();
            }
            bytes = later;
        }
    }

    /// The checksums of the blocks that are whole by now.
    pub(crate) fn whole_blocks(&self) -> &[u64] {
        &self.sums
    }

    /// The fingerprint of everything seen.
    pub(crate) fn finish(mut self) -> Fingerprint {
        if !self.length.is_multiple_of(BLOCK) {
            self.close_block();
        }
        let digest = Digest(self.sha.finalize().into());
        Fingerprint { digest, sums: self.sums.into(), length: self.length }
    }

    fn close_block(&mut self) {
        self.sums.push(mem::replace(&mut self.block, xxh3()).finish());
    }
}

/// The xxh3 of `bytes`, which are all in one piece.
pub(crate) fn xxh3_64(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(bytes)
}

fn xxh3() -> Xxh3 {
    RawHasher::new(SecretBuffer::default())
}

/// Reads `length` bytes of `file` from the position `at` on, into memory that nobody had to fill first.
///
/// # Errors
/// `UnexpectedEof` when there are fewer, and whatever else reading says.
pub(crate) fn read_at(file: &File, at: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut buffer = Vec::with_capacity(length);
    while buffer.len() < length {
        let position = at + buffer.len() as u64;
        match pread(file, spare_capacity(&mut buffer), position) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // It may have got more room than it asked for.
    buffer.truncate(length);
    Ok(buffer)
}

/// A stretch of whole blocks to read in one go, with what they must hash to.
pub(crate) struct Stretch {
    bytes: Range<u64>,
    sums: SmallVec<[u64; READ_BLOCKS as usize]>,
}

impl Stretch {
    /// The blocks to read for the byte at `position` of a file of `length` bytes whose checksums are `sums`, going no
    /// further than the block which holds the byte before `end`. `None` when that byte has no checksum.
    pub(crate) fn at(position: u64, end: u64, length: u64, sums: &[u64]) -> Option<Self> {
        let first = position / BLOCK;
        let known = (sums.len() as u64).min(length.div_ceil(BLOCK));
        let last = end.min(length).div_ceil(BLOCK).min(first + READ_BLOCKS).min(known);
        if first >= last {
            return None;
        }
        let sums = sums.get(to_usize(first)..to_usize(last))?.into();
        Some(Self { bytes: first * BLOCK..(last * BLOCK).min(length), sums })
    }

    /// Reads the blocks and returns the bytes from `position` up to `end`, all of them verified.
    ///
    /// # Errors
    /// `InvalidData` when a block is not what was stored, `UnexpectedEof` when the file is too short, and whatever
    /// else reading says.
    pub(crate) fn read(&self, file: &File, position: u64, end: u64) -> io::Result<Bytes> {
        let buffer = read_at(file, self.bytes.start, self.len())?;
        self.verified(buffer, position, end)
    }

    fn len(&self) -> usize {
        to_usize(self.bytes.end - self.bytes.start)
    }

    fn verified(&self, buffer: Vec<u8>, position: u64, end: u64) -> io::Result<Bytes> {
        let verified =
            buffer.chunks(to_usize(BLOCK)).zip(&self.sums).all(|(block, sum)| xxh3_64(block) == *sum);
        if !verified {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let end = end.min(self.bytes.end);
        let wanted = to_usize(position - self.bytes.start)..to_usize(end - self.bytes.start);
        Ok(Bytes::from(buffer).slice(wanted))
    }
}

impl Stretch {
    /// The same as [`Stretch::read`], if that takes no waiting for the disk; nothing else, and nothing when a block is not
    /// what was stored.
    ///
    /// # Errors
    /// The file system does not tell.
    #[cfg(target_os = "linux")]
    pub(crate) fn read_cached(&self, file: &File, position: u64, end: u64) -> io::Result<Option<Bytes>> {
        use rustix::io::{ReadWriteFlags, preadv2};

        let mut buffer = vec![0; self.len()];
        let slices = &mut [io::IoSliceMut::new(&mut buffer)];
        match preadv2(file, slices, self.bytes.start, ReadWriteFlags::NOWAIT) {
            Ok(read) if read == buffer.len() => Ok(self.verified(buffer, position, end).ok()),
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The file system does not tell.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn read_cached(&self, _file: &File, _position: u64, _end: u64) -> io::Result<Option<Bytes>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The first bytes of the stretch that are not as they were stored, in positions of the file, and all that follow in
    /// one go, also beyond the stretch: damage comes in runs, and what is known to be lost is fetched by one request.
    /// `length` and `sums` are the file's.
    pub(crate) fn damage(&self, file: &File, length: u64, sums: &[u64]) -> Range<u64> {
        let is_good = |block: u64| {
            let (start, end) = (block * BLOCK, (block * BLOCK + BLOCK).min(length));
            read_at(file, start, to_usize(end.saturating_sub(start)))
                .map(|bytes| sums.get(to_usize(block)) == Some(&xxh3_64(&bytes)))
        };
        let mut blocks = self.bytes.start / BLOCK..self.bytes.end.div_ceil(BLOCK);
        let Some(first) = blocks.find(|block| !matches!(is_good(*block), Ok(true))) else {
            // It reads well by now; the part that did not is not trusted.
            return self.bytes.clone();
        };
        let begun = Instant::now();
        for block in first..length.div_ceil(BLOCK) {
            match is_good(block) {
                Ok(true) => return first * BLOCK..block * BLOCK,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return first * BLOCK..u64::MAX,
                // A failing disk takes its time for every block; what it has not said by then is asked when it is wanted.
                Err(_) | Ok(false) if block > first && begun.elapsed() > PATIENCE => {
                    return first * BLOCK..(block + 1) * BLOCK;
                }
                Err(_) | Ok(false) => {}
            }
        }
        first * BLOCK..length
    }
}

/// How long the end of a damage is looked for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Sizes of buffers and counts of blocks: they fit, or there would be no such buffer.
pub(crate) fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    use proptest::prelude::*;

    use super::*;

    fn fingerprint(pieces: &[&[u8]]) -> Fingerprint {
        let mut fingerprinter = Fingerprinter::new();
        pieces.iter().for_each(|piece| fingerprinter.update(piece));
        fingerprinter.finish()
    }

    #[test]
    fn the_digest_is_sha256() {
        let wanted = ssri::Integrity::from(b"hello world").to_hex().1;
        let digest = fingerprint(&[b"hello ", b"world"]).digest;
        assert_eq!(digest.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), wanted);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn however_it_arrives_a_body_has_one_fingerprint(length in 0usize..200_000, cut in 1usize..100_000) {
            let body: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            let pieces: Vec<&[u8]> = body.chunks(cut).collect();
            prop_assert_eq!(fingerprint(&pieces), fingerprint(&[&body]));
        }

        #[test]
        fn what_is_read_is_what_was_written(length in 1usize..400_000, at in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>()) {
            let mut body: Vec<u8> = (0..length).map(|i| (i % 253) as u8).collect();
            let print = fingerprint(&[&body]);
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&body).unwrap();
            let (position, end) = (at.index(length) as u64, length as u64);
            let stretch = Stretch::at(position, end, end, &print.sums).unwrap();
            let read = stretch.read(&file, position, end).unwrap();
            prop_assert!(!read.is_empty());
            prop_assert_eq!(&read[..], &body[position as usize..][..read.len()]);

            let flip = flip.index(length);
            body[flip] ^= 1;
            file.write_all_at(&body[flip..=flip], flip as u64).unwrap();
            let covered = stretch.bytes.contains(&(flip as u64));
            prop_assert_eq!(stretch.read(&file, position, end).is_err(), covered);
        }

        #[test]
        fn damage_is_found_to_its_end(blocks in 3u64..12, from in 0u64..12, count in 1u64..6, at in 0u64..12) {
            let length = blocks * BLOCK - 5;
            let body: Vec<u8> = (0..length).map(|i| (i % 241) as u8).collect();
            let print = fingerprint(&[&body]);
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&body).unwrap();
            let (from, at) = (from % blocks, at % blocks);
            let to = (from + count).min(blocks);
            for block in from..to {
                file.write_all_at(b"spoilt", block * BLOCK + 100).unwrap();
            }
            let stretch = Stretch::at(at * BLOCK, length, length, &print.sums).unwrap();
            let damage = stretch.damage(&file, length, &print.sums);
            let first = from.max(at);
            if first < to && first < at + READ_BLOCKS {
                prop_assert_eq!(damage, first * BLOCK..(to * BLOCK).min(length));
            } else {
                prop_assert_eq!(damage, stretch.bytes);
            }
        }
    }
}
