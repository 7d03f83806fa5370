//! How many frames of HTTP/2 (RFC 9113 §4.1) a client sends that carry nothing: pings, settings, priorities, window
//! updates, resets. "An endpoint that doesn't monitor use of these features exposes itself to a risk of denial of
//! service. Implementations SHOULD track the use of these features and set limits on their use" (§10.5).
//!
//! Pure: it reads the lengths and types of frames as they pass and is told the time. What they mean is h2's, which also has
//! limits of its own on frames that are empty or continue a head.

use tokio::time::Instant;

/// Such frames that may come at once.
const AT_ONCE: u64 = 10_000;
/// How many may come a second, whatever else is going on.
const A_SECOND: u64 = 100;
/// Bytes written to the client for which it may send one more: it gives window back for what it took. The answers to
/// pings and settings come to less.
const BYTES_FOR_ONE: u64 = 64;

/// "The client connection preface starts with a sequence of 24 octets" (RFC 9113 §3.4).
const PREFACE: u64 = 24;
const HEADER: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;

/// What came of one client so far.
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes that are to pass before the next header.
    pass: u64,
    header: [u8; HEADER],
    /// Bytes of `header` that have come.
    filled: usize,
    /// What may still come, in parts of a frame: so many bytes of writing are worth one.
    allowance: u64,
    refilled: Instant,
}

impl Frames {
    /// Nothing has come at `now`.
    pub(super) fn new(now: Instant) -> Self {
        let allowance = AT_ONCE * BYTES_FOR_ONE;
        Self { pass: PREFACE, header: [0; HEADER], filled: 0, allowance, refilled: now }
    }

    /// Reads what came, at `now`. Whether it is still within bounds.
    pub(super) fn read(&mut self, mut bytes: &[u8], now: Instant) -> bool {
        let mut empty = 0_u64;
        while let Some((first, rest)) = bytes.split_first() {
            if self.pass > 0 {
                let passes = usize::try_from(self.pass).unwrap_or(usize::MAX).min(bytes.len());
                self.pass -= passes as u64;
                bytes = bytes.get(passes..).unwrap_or_default();
                continue;
            }
            if let Some(place) = self.header.get_mut(self.filled) {
                *place = *first;
            }
            self.filled += 1;
            bytes = rest;
            if self.filled == HEADER {
                self.filled = 0;
                let [high, middle, low, kind, ..] = self.header;
                self.pass = u64::from(u32::from_be_bytes([0, high, middle, low]));
                let carries = kind == HEADERS || (kind == DATA && self.pass > 0);
                empty += u64::from(!carries);
            }
        }
        if empty > 0 {
            self.refill(now);
        }
        let cost = empty * BYTES_FOR_ONE;
        let is_within = cost <= self.allowance;
        self.allowance = self.allowance.saturating_sub(cost);
        is_within
    }

    /// The client took so many bytes.
    pub(super) fn wrote(&mut self, bytes: u64) {
        self.allowance = self.allowance.saturating_add(bytes).min(AT_ONCE * BYTES_FOR_ONE);
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.refilled);
        let millis = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        if millis > 0 {
            self.refilled = now;
            self.wrote(millis.saturating_mul(A_SECOND * BYTES_FOR_ONE) / 1000);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const PING: u8 = 6;

    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let mut frame = u32::try_from(length).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, 0, 0, 0, 0, 0]);
        frame.resize(HEADER + length, 0);
        frame
    }

    /// How many frames of a kind and length come through before it is too much, of 100,000.
    fn check(kind: u8, length: usize, expected: Option<u64>) {
        let now = Instant::now();
        let mut frames = Frames::new(now);
        assert!(frames.read(&[b'P'; 24], now));
        let frame = frame(kind, length);
        let through = (0..100_000).find(|_| !frames.read(&frame, now));
        assert_eq!(through, expected, "{kind}, {length}");
    }

    #[test]
    fn frames_that_carry_nothing_are_counted() {
        for (kind, length) in
            [(PING, 8), (4, 0), (4, 6), (2, 5), (3, 4), (8, 4), (DATA, 0), (9, 0), (77, 100)]
        {
            check(kind, length, Some(AT_ONCE));
        }
        check(DATA, 1, None);
        check(HEADERS, 30, None);
    }

    #[test]
    fn who_takes_content_may_give_window_back() {
        let now = Instant::now();
        let mut frames = Frames::new(now);
        frames.read(&[b'P'; 24], now);
        for _ in 0..100_000 {
            frames.wrote(200);
            assert!(frames.read(&[frame(8, 4), frame(8, 4)].concat(), now));
        }
    }

    #[test]
    fn answers_to_pings_do_not_pay_for_them() {
        let begun = Instant::now();
        let mut frames = Frames::new(begun);
        frames.read(&[b'P'; 24], begun);
        let through = (0..100_000).find(|_| {
            frames.wrote(17);
            !frames.read(&frame(PING, 8), begun)
        });
        assert!(through.is_some_and(|through| through < 2 * AT_ONCE), "{through:?}");
        assert!(frames.read(&frame(PING, 8).repeat(50), begun + Duration::from_secs(1)), "a second later");
    }

    proptest! {
        #[test]
        fn pieces_are_read_as_the_whole(
            lengths in prop::collection::vec((0_u8..10, 0_usize..40), 0..30),
            piece in 1_usize..20,
        ) {
            let now = Instant::now();
            let frames = lengths.iter().flat_map(|(kind, length)| frame(*kind, *length));
            let bytes: Vec<_> = [b'P'; 24].into_iter().chain(frames).collect();
            let (mut whole, mut pieces) = (Frames::new(now), Frames::new(now));
            whole.read(&bytes, now);
            for piece in bytes.chunks(piece) {
                pieces.read(piece, now);
            }
            prop_assert_eq!(whole.allowance, pieces.allowance);
            let empty = lengths.iter().filter(|(kind, length)| *kind != HEADERS && !(*kind == DATA && *length > 0));
            prop_assert_eq!(whole.allowance, (AT_ONCE - empty.count() as u64) * BYTES_FOR_ONE);
        }
    }
}
