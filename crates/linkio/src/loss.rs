//! Packets that are lost: which, and what each costs in time.
//!
//! Bytes are never lost here: TCP sends them again, so a loss is a stall of its flow and a second crossing. What a
//! stream sees is the arrival, a retransmission later. Chance comes from a seed: the same packets are lost each run.

use std::time::Duration;

use crate::moment::Moment;
use crate::propagation::Propagation;
use crate::seed::{Purpose, below, draw};
use crate::spec::Direction;

/// Retransmissions of one packet; beyond it a real connection would be given up.
const TRIES_MAX: u32 = 8;
/// What a sender waits beyond a round trip before it takes a retransmission for lost, too (RFC 6298 has 1 s; Linux
/// and others wait 200 ms).
const TIMEOUT: Duration = Duration::from_millis(200);

/// Draws the packets that are lost.
#[derive(Clone, Debug)]
pub(crate) struct Losses {
    propagation: Propagation,
    direction: Direction,
    seed: u64,
    packets: u64,
}

impl Losses {
    pub(crate) fn new(propagation: Propagation, direction: Direction, seed: u64) -> Self {
        Self { propagation, direction, seed, packets: 0 }
    }

    /// How often the packet that begins to cross `at` is lost.
    pub(crate) fn draw(&mut self, at: Moment) -> u32 {
        let loss = self.propagation.loss(at);
        let mut lost = 0;
        while lost < TRIES_MAX {
            self.packets = self.packets.wrapping_add(1);
            let number = draw(self.seed, Purpose::Loss, self.packets, Some(self.direction));
            if below(number, 1_000_000) >= u64::from(loss.0) {
                break;
            }
            lost += 1;
        }
        lost
    }
}

/// How much later a packet arrives that was lost `times`: the first loss shows by what arrives behind it, a round trip
/// later (RFC 5681 §3.2, fast retransmit); a loss of the retransmission only by a timer, which doubles (RFC 6298 §5.5).
pub(crate) fn stall(times: u32, rtt: Duration) -> Duration {
    let Some(timeouts) = times.checked_sub(1) else { return Duration::ZERO };
    let waits = (1_u32 << timeouts.min(TRIES_MAX)) - 1;
    rtt.saturating_add((rtt + TIMEOUT).saturating_mul(waits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_loss_waits_for_a_timer() {
        let rtt = Duration::from_millis(600);
        assert_eq!(stall(0, rtt), Duration::ZERO);
        assert_eq!(stall(1, rtt), rtt);
        assert_eq!(stall(2, rtt), rtt + rtt + TIMEOUT);
        assert_eq!(stall(3, rtt), rtt + 3 * (rtt + TIMEOUT));
    }
}
