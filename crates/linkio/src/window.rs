//! The congestion window of one TCP connection in one direction: how much of it may be on its way.
//!
//! Owns RFC 5681's slow start and congestion avoidance as far as they show in time: ten segments at first (RFC 6928),
//! what is acknowledged more each round trip, half after a loss. It knows no queue and no rate. An idle connection
//! keeps its window: the connections of a proxy are rarely idle for long.

use std::time::Duration;

use crate::delay::Pipe;
use crate::moment::Moment;

/// A segment's payload, in bytes.
const SEGMENT: u64 = 1448;
const INITIAL: u64 = 10 * SEGMENT;
const LEAST: u64 = 2 * SEGMENT;
/// What a receiver lets be on its way at most: the usual limit of a receive buffer.
const MOST: u64 = 6 * 1024 * 1024;

/// What one connection may have on its way.
#[derive(Debug)]
pub(crate) struct Window {
    limit: u64,
    /// Below it the window doubles each round trip, above it a segment is added.
    threshold: u64,
    /// Bytes accepted and not yet acknowledged.
    outstanding: u64,
    /// Acknowledgements on their way.
    acknowledgements: Pipe,
    /// Until what was sent after the last loss is acknowledged: losses before it are the same one, and nothing grows.
    recovered: Moment,
}

impl Window {
    pub(crate) fn new() -> Self {
        Self {
            limit: INITIAL,
            threshold: MOST,
            outstanding: 0,
            acknowledgements: Pipe::default(),
            recovered: Moment::START,
        }
    }

    /// Bytes that may be sent now.
    pub(crate) fn room(&self) -> u64 {
        self.limit.saturating_sub(self.outstanding)
    }

    /// When there may be more room; `None` while nothing is on its way.
    pub(crate) fn opens(&self) -> Option<Moment> {
        self.acknowledgements.next()
    }

    /// `bytes` are handed to the link.
    pub(crate) fn sent(&mut self, bytes: u64) {
        self.outstanding = self.outstanding.saturating_add(bytes);
    }

    /// `bytes` arrive at `arrival` and are acknowledged `back` later; on the way they were lost if `lost`.
    pub(crate) fn arrives(&mut self, bytes: u64, arrival: Moment, back: Duration, lost: bool) {
        self.acknowledgements.depart(bytes, arrival, back);
        if lost && arrival >= self.recovered {
            self.recovered = arrival + back * 2;
            self.threshold = (self.limit / 2).max(LEAST);
            self.limit = self.threshold;
        }
    }

    /// Counts what has been acknowledged by `now`.
    pub(crate) fn acknowledge(&mut self, now: Moment) {
        let bytes = self.acknowledgements.arrive(now);
        // "cwnd-limited": a window that was not used is not known to be safe (RFC 7661 §4.1).
        let used = self.outstanding.saturating_mul(2) >= self.limit;
        self.outstanding = self.outstanding.saturating_sub(bytes);
        if bytes == 0 || !used || now < self.recovered {
            return;
        }
        let growth = if self.limit < self.threshold {
            bytes.min(self.threshold - self.limit)
        } else {
            // In 128 bits, for a window of megabytes times an acknowledgement of as many.
            u64::try_from(u128::from(SEGMENT) * u128::from(bytes) / u128::from(self.limit)).unwrap_or(0)
        };
        self.limit = (self.limit + growth).min(MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(600);

    /// Sends all the window allows for `rounds` round trips; returns what each carried, in segments.
    fn rounds(window: &mut Window, rounds: u64, lose: Option<u64>) -> Vec<u64> {
        let mut sent = Vec::new();
        for round in 0..rounds {
            let now = Moment::START + RTT * u32::try_from(round).unwrap();
            window.acknowledge(now);
            let room = window.room();
            window.sent(room);
            window.arrives(room, now + RTT / 2, RTT / 2, lose == Some(round));
            sent.push(room / SEGMENT);
        }
        sent
    }

    #[test]
    fn it_doubles_each_round_trip_up_to_what_a_receiver_takes() {
        let got = rounds(&mut Window::new(), 11, None);
        assert_eq!(got[..5], [10, 20, 40, 80, 160]);
        assert_eq!(got[10], MOST / SEGMENT);
    }

    #[test]
    fn a_loss_halves_it_and_it_grows_by_a_segment() {
        let got = rounds(&mut Window::new(), 6, Some(2));
        assert_eq!(got, [10, 20, 40, 20, 21, 22]);
    }

    #[test]
    fn a_window_that_is_not_used_does_not_grow() {
        let mut window = Window::new();
        for round in 0..10 {
            let now = Moment::START + RTT * round;
            window.acknowledge(now);
            window.sent(SEGMENT);
            window.arrives(SEGMENT, now, RTT, false);
        }
        window.acknowledge(Moment::from_nanos(u64::MAX));
        assert_eq!(window.room(), INITIAL);
    }
}
