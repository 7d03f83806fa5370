//! How much of one connection the system may hold on either side of the link.

use std::time::Duration;

use linkio::{BitRate, SharedLink};

/// Bytes the system may hold of one connection at `rate`, whose peer is `rtt` away by the real network: one and a half
/// of what is on its way anyway. More would only be taken ahead of the link, from an origin or from a client that
/// uploads, and a large buffer makes a peer send in bursts. `None` leaves it to the system.
pub(crate) fn size(rate: Option<BitRate>, rtt: Duration) -> Option<usize> {
    let rtt = u64::try_from(rtt.as_millis()).unwrap_or(u64::MAX);
    let bytes = rate?.bytes_in_millis(rtt.saturating_mul(3) / 2).max(LEAST_BUFFER);
    usize::try_from(bytes).ok().filter(|bytes| *bytes <= MOST_BUFFER)
}

/// What `link` carries down and up, or may carry, where it is guarded and that is not known yet; none where it is not
/// limited.
pub(crate) fn carried(link: &SharedLink) -> (Option<BitRate>, Option<BitRate>) {
    let unknown = link.is_guarded().then_some(UNKNOWN);
    let (down, up) = link.rates();
    (down.or(unknown), up.or(unknown))
}

/// What a guarded link may carry of which nothing is known yet.
const UNKNOWN: BitRate = BitRate::from_bits_per_second(10_000_000);

/// Below it a connection is slow whatever the link.
const LEAST_BUFFER: u64 = 32 * 1024;
/// Systems go no higher by themselves.
const MOST_BUFFER: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_follow_what_is_on_its_way() {
        let size = |rate: &str, rtt| size(Some(rate.parse().expect("a rate")), Duration::from_millis(rtt));
        assert_eq!(size("56k", 600), Some(32_768));
        assert_eq!(size("2M", 600), Some(225_000));
        assert_eq!(size("10M", 0), Some(32_768));
        assert_eq!(size("100M", 600), None);
        assert_eq!(super::size(None, Duration::ZERO), None);
    }
}
