//! Propagation: what has left a link arrives half a round trip later, in order.
//!
//! Owns the counts of bytes in flight of one flow and when they are due. It holds no bytes and waits for nothing.

use std::collections::VecDeque;
use std::time::Duration;

use crate::moment::Moment;

/// Packets that left within this time of each other arrive together, so a fast flow over a long delay keeps an entry
/// for each millisecond, not for each packet. No timer that could tell them apart is finer.
const GRAIN: Duration = Duration::from_millis(1);

/// The bytes of one flow between departure and arrival.
#[derive(Debug, Default)]
pub struct Pipe {
    flights: VecDeque<Flight>,
    bytes: u64,
}

#[derive(Debug)]
struct Flight {
    bytes: u64,
    /// When the first of these bytes could have arrived.
    first: Moment,
    /// When the last of them arrives, and all are handed over.
    due: Moment,
}

impl Pipe {
    /// `bytes` depart at `departure` and arrive `delay` later, or with what departed before them if that is later.
    pub fn depart(&mut self, bytes: u64, departure: Moment, delay: Duration) {
        let due = departure + delay;
        self.bytes += bytes;
        match self.flights.back_mut() {
            Some(last) if due <= last.due || due.since(last.first) <= GRAIN => {
                last.bytes += bytes;
                last.due = last.due.max(due);
            }
            _ => self.flights.push_back(Flight { bytes, first: due, due }),
        }
    }

    /// Takes out the bytes that have arrived by `now`.
    pub fn arrive(&mut self, now: Moment) -> u64 {
        let mut arrived = 0;
        while let Some(flight) = self.flights.pop_front_if(|flight| flight.due <= now) {
            arrived += flight.bytes;
        }
        self.bytes -= arrived;
        arrived
    }

    /// When the next bytes arrive; `None` if nothing is in flight.
    pub fn next(&self) -> Option<Moment> {
        self.flights.front().map(|flight| flight.due)
    }

    /// Bytes in flight.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(micros: u64) -> Moment {
        Moment::from_nanos(micros * 1000)
    }

    #[test]
    fn a_shorter_delay_does_not_overtake() {
        let mut pipe = Pipe::default();
        pipe.depart(1, at(0), Duration::from_millis(300));
        pipe.depart(2, at(5000), Duration::from_millis(10));
        assert_eq!(pipe.arrive(at(299_999)), 0);
        assert_eq!(pipe.next(), Some(at(300_000)));
        assert_eq!(pipe.arrive(at(300_000)), 3);
        assert_eq!(pipe.next(), None);
    }

    proptest! {
        #[test]
        fn bytes_arrive_once_never_early_and_at_most_a_grain_late(
            gaps in prop::collection::vec(0..3000_u64, 1..60), delay in 0..100_000_u64,
        ) {
            let mut pipe = Pipe::default();
            let mut departure = 0;
            let departures: Vec<u64> = gaps.iter().map(|gap| { departure += gap; departure }).collect();
            for micros in &departures {
                pipe.depart(1, at(*micros), Duration::from_micros(delay));
            }
            let mut arrived = 0;
            while let Some(due) = pipe.next() {
                for _ in 0..pipe.arrive(due) {
                    let earliest = at(departures[arrived] + delay);
                    prop_assert!(due >= earliest && due.since(earliest) <= GRAIN);
                    arrived += 1;
                }
            }
            prop_assert_eq!(arrived, departures.len());
            prop_assert_eq!(pipe.bytes(), 0);
        }
    }
}
